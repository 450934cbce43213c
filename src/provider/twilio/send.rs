//! `POST …/Messages.json` and what its answers mean (`docs/wire/meta-unipile-twilio.md` E1).

use reqwest::Method;
use serde_json::Value;
use url::{Host, Url, form_urlencoded};

use super::{
    CHANNEL, FORM, Twilio, below,
    codes::{COUNTRY, refusal, refusal_by_status},
    content::{self, Fields},
    sender,
};
use crate::{
    domain::{
        contact::Address,
        delivery::{Outcome, Reason, Refusal},
        id::EntryId,
        waba::WabaInstance,
    },
    http::{HttpError, Reach, Reply, reach},
    provider::{
        Attempt, OF_COUNTRY, Outgoing,
        refused::{refused, refused_as, retry_after, throttled},
    },
};

/// The parameter of a status callback's address that is our own id of the message.
pub(super) const REFERENCE: &str = "message";

impl Twilio {
    pub(super) async fn send_message(
        &self,
        instance: &WabaInstance,
        message: &Outgoing<'_>,
    ) -> Attempt {
        let Some(account) = Self::account(instance) else {
            return refused(Refusal::FailOver(Reason::NoCredentials), "no_credentials");
        };
        let Some(to) = recipient(message.to) else {
            return refused(Refusal::FailOver(Reason::NoPhone), "no_phone");
        };
        let Some(fields) = content::fields(message) else {
            return refused(Refusal::FailOver(Reason::Unsupported), "unsupported_content");
        };
        let form = self.form(instance, message.id, &to, fields);
        let url = self.url_of(account.of, &["Messages.json"]);
        let reply = self.call(Method::POST, &url, &account, Some((FORM, form))).await;
        match reply {
            Ok(reply) => self.read_answer(&reply),
            Err(HttpError::NoConnection | HttpError::Forbidden) => {
                refused(Refusal::Down(Reason::Disconnected), "no_connection")
            }
            Err(HttpError::NoAnswer | HttpError::BrokeOff | HttpError::TooLarge) => {
                Attempt::of(Outcome::Unknown, "no_answer")
            }
        }
    }

    pub(super) fn form(
        &self,
        instance: &WabaInstance,
        id: EntryId,
        to: &str,
        fields: Fields,
    ) -> String {
        let service = instance.twilio.as_ref().and_then(|it| it.messaging_service_sid.as_deref());
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.append_pair("To", to);
        match service.filter(|it| !it.is_empty()) {
            Some(service) => form.append_pair("MessagingServiceSid", service),
            None => form.append_pair("From", &format!("{CHANNEL}{}", sender(instance).expose())),
        };
        if let Some(callback) = self.callback(instance, id) {
            form.append_pair("StatusCallback", callback.as_str());
        }
        form.extend_pairs(fields);
        form.finish()
    }

    /// Where statuses are told. Twilio gives nothing back of what it is told with a message but
    /// this address, so our id is in it, and a send is settled whose answer never came. An address
    /// that Twilio does not reach would have the message refused.
    fn callback(&self, instance: &WabaInstance, id: EntryId) -> Option<Url> {
        if is_private(&self.own) && !is_private(&self.base) {
            return None;
        }
        let path = ["api", "webhooks", "twilio", instance.vendor_id.as_str()];
        let mut url = below(&self.own, path.into_iter());
        url.query_pairs_mut().append_pair(REFERENCE, &id.to_string());
        Some(url)
    }

    pub(super) fn read_answer(&self, reply: &Reply) -> Attempt {
        let body: Option<Value> = serde_json::from_slice(&reply.body).ok().filter(Value::is_object);
        let sid = body.as_ref().and_then(|it| it["sid"].as_str()).filter(|it| !it.is_empty());
        let code = body.as_ref().and_then(|it| code_of(&it["code"]).or(code_of(&it["error_code"])));
        if reply.status.is_success() {
            // It came through; without an id nobody can say what became of it.
            let Some(sid) = sid else { return Attempt::of(Outcome::Unknown, "garbled") };
            let sid = Some(sid.to_owned());
            let sent = Attempt::of(Outcome::Sent, "accepted");
            return Attempt { provider_id: sid.clone(), ticket: sid, ..sent };
        }
        let known = code.and_then(refusal);
        let known = known.filter(|_| !reply.status.is_server_error());
        match known.or_else(|| refusal_by_status(reply.status, code.is_some())) {
            Some(Refusal::Retry { .. }) => throttled(retry_after(&reply.headers), self.clock.now()),
            Some(refusal) if code == Some(COUNTRY) => refused(refusal, OF_COUNTRY),
            Some(refusal) => refused_as(refusal),
            None => Attempt::of(Outcome::Unknown, "failed"),
        }
    }
}

/// By phone, else by BSUID, which has no plus (E1).
pub(super) fn recipient(to: &Address) -> Option<String> {
    let phone = to.phone.as_ref().map(|it| format!("{CHANNEL}{}", it.expose()));
    phone.or_else(|| Some(format!("{CHANNEL}{}", to.bsuid.as_ref()?.expose())))
}

fn code_of(value: &Value) -> Option<u32> {
    let code = value.as_u64().or_else(|| value.as_str()?.parse().ok())?;
    u32::try_from(code).ok()
}

fn is_private(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(it)) => reach(it.into()) != Reach::Public,
        Some(Host::Ipv6(it)) => reach(it.into()) != Reach::Public,
        Some(Host::Domain(it)) => it == "localhost" || it.ends_with(".localhost"),
        None => true,
    }
}
