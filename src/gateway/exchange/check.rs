//! What a document's vendors must keep to, as those that are set through the API do.

use reqwest::header::{HeaderName, HeaderValue};
use url::Url;

use super::is_same;
use crate::{
    domain::{
        clock::{HOUR, MINUTE, Millis},
        hours::{DAY_MINUTES, Zone},
        secret::ExposeSecret,
        vendor::{BusinessHours, Dialect, ResponderConfig, ResponseApi, Vendor},
        waba::{INSTANCES_PER_VENDOR_MAX, InstanceKey, WabaInstance, WebhookSecret},
    },
    gateway::{WEBHOOK_SECRET_CHARS_MIN, content},
    store::exchange::Fault,
};

/// Responders of a vendor, rules of a responder, headers of a call.
const LIST_MAX: usize = 200;
/// Spans of one day.
const SPANS_MAX: usize = 12;
/// The longest text that is sent by itself, in characters.
const TEXT_CHARS_MAX: usize = 4_096;
/// The longest chatbot id, web id and signing secret, in characters.
const NAME_CHARS_MAX: usize = 1_024;
/// The longest URL, in characters.
const URL_CHARS_MAX: usize = 2_048;
/// The longest span of time.
const SPAN_MAX: Millis = 30 * 24 * HOUR;

pub(super) fn vendor(it: &Vendor) -> Vec<Fault> {
    let mut faults = Vec::new();
    let mut demand = |is_good: bool, field: &str, why: &str| {
        if !is_good {
            faults.push(Fault::new(field, why));
        }
    };
    let is_short = |it: &String| it.chars().count() <= TEXT_CHARS_MAX;
    let is_text = |it: &Option<String>| it.as_ref().is_none_or(is_short);
    let is_span = |it: Millis| (0..=SPAN_MAX).contains(&it);
    demand(is_text(&it.welcome_message), "welcomeMessage", "at most 4096 characters");
    demand(is_text(&it.apology), "apology", "at most 4096 characters");
    let span = "between 0 and 30 days, in milliseconds";
    demand(is_span(it.silence), "silenceMs", span);
    demand(it.max_answer_age.is_none_or(is_span), "maxAnswerAgeMs", span);
    demand(it.intent_ttl.is_none_or(is_span), "intentTtlMs", span);
    let is_deadline = (MINUTE..=SPAN_MAX).contains(&it.unknown_deadline);
    let deadline = "between 60 seconds and 30 days, in milliseconds";
    demand(is_deadline, "unknownDeadlineMs", deadline);
    let is_forward = it.forward_url.as_deref().is_none_or(is_url);
    demand(is_forward, "forwardUrl", "an http or https URL of at most 2048 characters");
    let secret = it.signing_secret.expose_secret();
    demand((1..=NAME_CHARS_MAX).contains(&secret.len()), "signingSecret", "1 to 1024 characters");
    if let Some(Err(why)) = it.fallback_template.as_deref().map(content::fallback_template) {
        let why = why.split_once(": ").map_or(why.as_str(), |it| it.1);
        faults.push(Fault::new("fallbackTemplate", why));
    }
    faults.extend(responders(&it.responders, "responders"));
    faults.extend(it.hours.as_ref().map(hours).unwrap_or_default());
    faults
}

fn responders(list: &[ResponderConfig], place: &str) -> Vec<Fault> {
    if list.len() > LIST_MAX {
        return vec![Fault::new(place, "at most 200 entries")];
    }
    let fault = |(n, it)| responder(it).map(|why| Fault::new(&format!("{place}[{n}]"), why));
    list.iter().enumerate().filter_map(fault).collect()
}

fn responder(it: &ResponderConfig) -> Option<&'static str> {
    match it {
        ResponderConfig::Rules { rules, .. } => {
            let is_empty = |it: &String| it.trim().is_empty();
            if rules.len() > LIST_MAX {
                return Some("at most 200 rules");
            }
            let is_bad = rules.iter().any(|it| is_empty(&it.contains) || is_empty(&it.reply));
            is_bad.then_some("a rule has a text in contains and in reply")
        }
        ResponderConfig::ResponseApi(api) => response_api(api),
    }
}

fn response_api(ResponseApi { url, headers, dialect }: &ResponseApi) -> Option<&'static str> {
    let is_header = |name: &String, value: &str| {
        HeaderName::from_bytes(name.as_bytes()).is_ok() && HeaderValue::from_str(value).is_ok()
    };
    let is_id = |it: &str| (1..=NAME_CHARS_MAX).contains(&it.trim().chars().count());
    let is_dialect = match dialect {
        Dialect::Bot => true,
        Dialect::Conversation { chatbot_id, web_id } => {
            is_id(chatbot_id) && web_id.as_ref().is_none_or(|it| is_id(it.expose_secret()))
        }
    };
    if !is_url(url) {
        Some("url is an http or https URL of at most 2048 characters")
    } else if headers.len() > LIST_MAX {
        Some("at most 200 headers")
    } else if !headers.iter().all(|it| is_header(&it.0, it.1.expose_secret())) {
        Some("a header has a name or a value that no HTTP request can carry")
    } else if is_dialect {
        None
    } else {
        Some("chatbotId and webId have 1 to 1024 characters")
    }
}

fn hours(it: &BusinessHours) -> Vec<Fault> {
    let mut faults = responders(&it.out_of_hours, "businessHours.outOfHours");
    if it.time_zone.as_deref().is_some_and(|it| Zone::parse(it).is_none()) {
        let why = "an IANA time zone like Africa/Dakar";
        faults.push(Fault::new("businessHours.timeZone", why));
    }
    for (n, spans) in it.days.iter().enumerate() {
        let is_span = |it: &(u16, u16)| it.0 < DAY_MINUTES && it.1 <= DAY_MINUTES && it.0 != it.1;
        if spans.len() > SPANS_MAX || !spans.iter().all(is_span) {
            let why = "at most 12 spans, from 00:00 to 24:00, of two different times";
            faults.push(Fault::new(&format!("businessHours.days[{n}]"), why));
        }
    }
    faults
}

fn is_url(text: &str) -> bool {
    let is_http = |it: Url| matches!(it.scheme(), "http" | "https") && it.has_host();
    text.chars().count() <= URL_CHARS_MAX && Url::parse(text).is_ok_and(is_http)
}

/// What instances of one vendor must not have in common, those that are not named included.
pub(super) fn together(present: &[WabaInstance], named: &[(usize, WabaInstance)]) -> Vec<Fault> {
    let mut faults = Vec::new();
    let rest = present.iter().filter(|it| named.iter().all(|named| named.1.id != it.id));
    let all: Vec<&WabaInstance> = rest.chain(named.iter().map(|it| &it.1)).collect();
    if all.len() > INSTANCES_PER_VENDOR_MAX {
        let why = format!("a vendor has at most {INSTANCES_PER_VENDOR_MAX}");
        faults.push(Fault::new("instances", why));
    }
    for (n, it) in named {
        let others: Vec<&WabaInstance> =
            all.iter().copied().filter(|other| other.id != it.id).collect();
        let place = |fault: Fault| fault.of(&format!("instances[{n}]"));
        faults.extend(instance(it, &others).into_iter().map(place));
    }
    faults
}

fn instance(it: &WabaInstance, others: &[&WabaInstance]) -> Vec<Fault> {
    let mut faults = Vec::new();
    let mut demand = |is_good: bool, field: &str, why: &str| {
        if !is_good {
            faults.push(Fault::new(field, why));
        }
    };
    let taken: Vec<InstanceKey> = others.iter().flat_map(|it| it.keys()).collect();
    for key in it.keys() {
        demand(!taken.contains(&key), key.field(), "another instance of the vendor has it");
    }
    let has_scheme = it.schemes.hmac || it.schemes.secret;
    demand(has_scheme, "signatureSchemes", "at least one of hmac and secret");
    let secrets = &it.wasender.webhook_secrets;
    // The session's own is as long as Wasender made it.
    let is_long = |it: &WebhookSecret| {
        let n_chars = it.secret.expose_secret().chars().count();
        it.is_sessions || n_chars >= WEBHOOK_SECRET_CHARS_MIN
    };
    let field = "wasenderWebhookSecrets";
    demand(secrets.iter().all(is_long), field, "a secret has at least 8 characters");
    let mut theirs = others.iter().flat_map(|it| &it.wasender.webhook_secrets);
    let is_shared =
        theirs.any(|theirs| secrets.iter().any(|it| is_same(&it.secret, &theirs.secret)));
    demand(!is_shared, field, "another instance of the vendor has the same secret");
    faults
}
