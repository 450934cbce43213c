//! The three shops of the day, as they are set up.

use waba_gateway::{
    domain::{
        clock::{MINUTE, Millis},
        vendor::{BusinessHours, Dialect, ResponderConfig, ResponseApi, Rule, VendorStatus},
    },
    gateway::VendorChange,
};

use super::{
    bot::Bot,
    model::{AT_LUNCH, FALLBACK, Rules, SALON, WELCOME},
    script::{At, CLOSED},
};
use crate::{forward::receiver::Receiver, support::change};

/// The one with a bot, a back end, a break at noon and good manners.
pub fn bot_shop(start: Millis, bot: &Bot, back_end: &Receiver) -> VendorChange {
    let api = ResponseApi {
        url: bot.url.clone(),
        headers: vec![("x-api-key".to_owned(), "bot-api-key".to_owned().into())],
        dialect: Dialect::Bot,
    };
    let minute = |at: At| u16::try_from((start / MINUTE + at / 60).rem_euclid(24 * 60)).unwrap();
    // From the end of the break until its beginning on the next day.
    let open = vec![(minute(CLOSED.end), minute(CLOSED.start))];
    let hours = BusinessHours {
        time_zone: Some("Africa/Dakar".to_owned()),
        days: std::array::from_fn(|_| open.clone()),
        out_of_hours: vec![rules(&AT_LUNCH)],
    };
    VendorChange {
        hours: Some(Some(hours)),
        forward_url: Some(Some(back_end.url.clone())),
        mark_as_read: Some(true),
        typing: Some(true),
        ..change(vec![ResponderConfig::ResponseApi(api), rules(&FALLBACK)])
    }
}

/// The one that welcomes.
pub fn rules_shop() -> VendorChange {
    let welcome_message = Some(Some(WELCOME.to_owned()));
    VendorChange { welcome_message, ..change(vec![rules(&SALON)]) }
}

/// The one that is not served.
pub fn inactive_shop() -> VendorChange {
    VendorChange { status: Some(VendorStatus::Inactive), ..change(vec![rules(&SALON)]) }
}

fn rules(rules: &Rules) -> ResponderConfig {
    let named = rules.iter().filter(|it| !it.0.is_empty());
    let rule = |it: &(&str, &str)| Rule { contains: it.0.to_owned(), reply: it.1.to_owned() };
    let otherwise = rules.iter().find(|it| it.0.is_empty()).map(|it| it.1.to_owned());
    ResponderConfig::Rules { rules: named.map(rule).collect(), otherwise }
}
