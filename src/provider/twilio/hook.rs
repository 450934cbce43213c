//! Letting a sender's webhooks come here: Twilio's Senders API, which has the numbers of an
//! account that are registered for WhatsApp. The sandbox's address, and that of a messaging
//! service, are entered by hand in the console.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::{Account, CHANNEL, JSON, Twilio, sender};
use crate::{
    domain::{phone::PhoneNumber, waba::WabaInstance},
    provider::{HookFault, HookSet, NewHook},
};

/// Senders of an account that are looked at.
const SENDERS: &str = "100";

impl Twilio {
    pub(super) async fn set_sender(
        &self,
        instance: &WabaInstance,
        hook: &NewHook<'_>,
    ) -> Result<HookSet, HookFault> {
        let account = Self::account(instance).ok_or(HookFault::Missing("twilio.authToken"))?;
        let found = self.find_sender(instance, &account).await?;
        let Some(found) = found else {
            return Err(HookFault::Refused(by_hand(hook)));
        };
        let sid = found["sid"].as_str().ok_or(HookFault::NoAnswer)?;
        let present = found["webhook"]["callback_url"].as_str().filter(|it| !it.is_empty());
        if let Some(url) = present.filter(|it| *it != hook.url.as_str() && !hook.replace) {
            return Err(HookFault::Elsewhere { url: url.to_owned() });
        }
        let body = json!({ "webhook": {
            "callback_url": hook.url.as_str(),
            "callback_method": "POST",
            "status_callback_url": hook.url.as_str(),
            "status_callback_method": "POST",
        } });
        let url = self.messaging_url(&["v2", "Channels", "Senders", sid]);
        let body = Some((JSON, body.to_string()));
        let reply = self.call(Method::POST, &url, &account, body).await;
        let reply = reply.map_err(|_| HookFault::NoAnswer)?;
        fault(reply.status, &reply.body).map_or(Ok(()), Err)?;
        let mut warnings = Vec::new();
        if account.of.messaging_service_sid.is_some() {
            warnings.push(format!(
                "the messaging service may send its customers' messages elsewhere: let it leave them to the sender's webhook, or enter {} there",
                hook.url,
            ));
        }
        Ok(HookSet { warnings, ..HookSet::default() })
    }

    /// The sender of the instance's number; `None` when the account has none of it.
    pub(super) async fn find_sender(
        &self,
        instance: &WabaInstance,
        account: &Account<'_>,
    ) -> Result<Option<Value>, HookFault> {
        let mut url = self.messaging_url(&["v2", "Channels", "Senders"]);
        url.query_pairs_mut().append_pair("Channel", "whatsapp").append_pair("PageSize", SENDERS);
        let reply = self.call(Method::GET, &url, account, None).await;
        let reply = reply.map_err(|_| HookFault::NoAnswer)?;
        fault(reply.status, &reply.body).map_or(Ok(()), Err)?;
        let body: Value = serde_json::from_slice(&reply.body).map_err(|_| HookFault::NoAnswer)?;
        let own = sender(instance).alias();
        let is_own = |it: &&Value| {
            let id = it["sender_id"].as_str().and_then(|it| it.strip_prefix(CHANNEL));
            id.and_then(|it| PhoneNumber::from_wire(it).ok()).is_some_and(|it| it.alias() == own)
        };
        Ok(body["senders"].as_array().into_iter().flatten().find(is_own).cloned())
    }
}

fn by_hand(hook: &NewHook<'_>) -> String {
    format!(
        "the account has no WhatsApp sender of this number, so its address cannot be set by a call: enter {} in the Twilio console, as the sandbox's \"When a message comes in\" or the messaging service's incoming webhook",
        hook.url,
    )
}

/// Its words are Twilio's own: they quote no token.
fn fault(status: StatusCode, body: &[u8]) -> Option<HookFault> {
    match status {
        it if it.is_success() => None,
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Some(HookFault::Unauthorized),
        it if it.is_client_error() && it != StatusCode::TOO_MANY_REQUESTS => {
            let body: Option<Value> = serde_json::from_slice(body).ok();
            let code = body.as_ref().and_then(|it| it["code"].as_u64());
            let code = code.map_or_else(|| it.as_u16().to_string(), |it| it.to_string());
            Some(HookFault::Refused(format!("Twilio's error {code}")))
        }
        _ => Some(HookFault::NoAnswer),
    }
}
