//! What goes out by itself: status callbacks and customers' messages
//! (`docs/wire/meta-unipile-twilio.md` E2).

use std::{sync::Arc, time::Duration};

use tokio::task::JoinHandle;

use super::{
    form::{Form, sign},
    world::{Line, TwilioFault, TwilioNumber, TwilioSent, World},
};
use crate::twin::{Customer, HookAnswer, port::Post, wire::digits};

/// A number of the messaging service besides the account's own.
const ANOTHER: &str = "+14155550199";

/// What goes wrong after a send that was taken.
#[derive(Clone, Default)]
#[expect(clippy::struct_excessive_bools, reason = "they are switches, each on its own")]
pub(super) struct Moods {
    pub(super) fails_later: Option<u32>,
    pub(super) is_early: bool,
    pub(super) is_out_of_order: bool,
    pub(super) is_silent: bool,
    pub(super) is_unlisted: bool,
    is_from_another: bool,
    is_twice: bool,
    is_forged: bool,
}

impl Moods {
    pub(super) fn of_send(line: &mut Line) -> Self {
        let fails = line.faults.take(|it| matches!(it, TwilioFault::FailsLater(_)));
        let mut has = |fault: TwilioFault| line.faults.take(|it| *it == fault).is_some();
        Self {
            fails_later: match fails {
                Some(TwilioFault::FailsLater(code)) => Some(code),
                _ => None,
            },
            is_early: has(TwilioFault::EarlyStatus),
            is_out_of_order: has(TwilioFault::OutOfOrder),
            is_silent: has(TwilioFault::NoStatuses),
            is_unlisted: has(TwilioFault::NotListed),
            is_from_another: has(TwilioFault::FromAnother),
            is_twice: has(TwilioFault::DuplicateHooks),
            is_forged: has(TwilioFault::WrongSignature),
        }
    }

    fn of_hook(line: &mut Line) -> Self {
        let mut has = |fault: TwilioFault| line.faults.take(|it| *it == fault).is_some();
        let is_twice = has(TwilioFault::DuplicateHooks);
        Self { is_twice, is_forged: has(TwilioFault::WrongSignature), ..Self::default() }
    }
}

/// A send on its way.
pub(super) struct Passage {
    pub(super) number: TwilioNumber,
    pub(super) sent: TwilioSent,
    pub(super) moods: Moods,
}

impl Passage {
    /// Sets out after this time.
    pub(super) fn start(self, world: &Arc<World>, after: Duration) -> Option<JoinHandle<()>> {
        let pending = world.hooks.announce()?;
        let world = Arc::clone(world);
        Some(tokio::spawn(async move {
            let _pending = pending;
            let travel = async {
                tokio::time::sleep(after).await;
                self.travel(&world).await;
            };
            world.hooks.unless_stopped(travel).await;
        }))
    }

    async fn travel(&self, world: &World) {
        if let Some(code) = self.moods.fails_later {
            self.tell(world, "sent", None).await;
            return self.tell(world, "undelivered", Some(code)).await;
        }
        let way = if self.moods.is_out_of_order {
            ["delivered", "sent", "read"]
        } else {
            ["sent", "delivered", "read"]
        };
        for status in way {
            self.tell(world, status, None).await;
        }
    }

    async fn tell(&self, world: &World, status: &'static str, code: Option<u32>) {
        world.progress(&self.sent.sid, status, code);
        let Some(url) = self.sent.form.get("StatusCallback") else { return };
        if self.moods.is_silent {
            return;
        }
        let mut form = Form::default();
        form.set("SmsSid", &self.sent.sid);
        form.set("SmsStatus", status);
        form.set("MessageStatus", status);
        form.set("ChannelToAddress", &self.sent.to.replace("whatsapp:", ""));
        form.set("To", &self.sent.to);
        form.set("ChannelPrefix", "whatsapp");
        form.set("MessageSid", &self.sent.sid);
        form.set("AccountSid", &self.number.account_sid);
        let own = self.number.phone_number.as_str();
        let from = if self.moods.is_from_another { ANOTHER } else { own };
        form.set("From", &format!("whatsapp:{from}"));
        form.set("ApiVersion", "2010-04-01");
        if status == "read" {
            form.set("EventType", "READ");
        }
        if let Some(code) = code {
            form.set("ErrorCode", &code.to_string());
            form.set("ErrorMessage", "Refused by the twin");
        }
        world.post(&self.number, &self.moods, url, status, &form).await;
    }
}

impl World {
    pub(super) async fn customer_sends(
        &self,
        account: &str,
        sid: &str,
        customer: &Customer,
        parameters: &[(&str, &str)],
    ) -> HookAnswer {
        let found =
            self.book().lines.get_mut(account).map(|it| (it.number.clone(), Moods::of_hook(it)));
        let Some((number, moods)) = found else { return HookAnswer::none("no such account") };
        let Some(url) = &number.webhook_url else { return HookAnswer::none("no webhook URL") };
        let phone = customer.phone.as_deref().map(digits).unwrap_or_default();
        let mut form = Form::default();
        form.set("SmsMessageSid", sid);
        form.set("NumMedia", "0");
        form.set("ProfileName", customer.name.as_deref().unwrap_or_default());
        form.set("MessageType", "text");
        form.set("SmsSid", sid);
        form.set("WaId", &phone);
        form.set("SmsStatus", "received");
        form.set("Body", "");
        form.set("To", &format!("whatsapp:{}", number.phone_number));
        form.set("NumSegments", "1");
        form.set("MessageSid", sid);
        form.set("AccountSid", account);
        form.set("From", &format!("whatsapp:+{phone}"));
        form.set("ApiVersion", "2010-04-01");
        for (name, value) in parameters {
            form.set(name, value);
        }
        self.post(&number, &moods, url, "message", &form).await
    }

    /// The answer is that of the first, where it is posted twice.
    async fn post(
        &self,
        number: &TwilioNumber,
        moods: &Moods,
        url: &str,
        event: &str,
        form: &Form,
    ) -> HookAnswer {
        let token = if moods.is_forged { "not-the-token" } else { &number.auth_token };
        let post = || Post {
            account: 0,
            event,
            url,
            headers: vec![
                ("x-twilio-signature", sign(token, url, form)),
                ("content-type", "application/x-www-form-urlencoded; charset=UTF-8".to_owned()),
                ("i-twilio-idempotency-token", form.get("MessageSid").unwrap_or("").to_owned()),
            ],
            body: form.body().into(),
            id: form.get("MessageSid").unwrap_or_default().to_owned(),
        };
        let answer = self.hooks.post_raw(post()).await;
        if moods.is_twice {
            self.hooks.post_raw(post()).await;
        }
        answer
    }
}
