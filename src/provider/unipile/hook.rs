//! Letting an account's webhooks come here (`docs/wire/meta-unipile-twilio.md` D3, D5). The first
//! generation has one for messages and one for the account, both with our secret in a header; the
//! second has one, signed with a secret of its own.

use reqwest::Method;
use serde_json::{Value, json};
use url::Url;

use super::{
    Account, Generation, Unipile,
    wire::{first_word, word},
};
use crate::{
    domain::{
        secret::{ExposeSecret, SecretString},
        waba::WabaInstance,
    },
    http::Reply,
    provider::{HookFault, HookSet, NewHook},
};

/// Bytes of a secret that we make.
const SECRET_BYTES: usize = 32;
/// Of the second generation, in characters.
const URL_CHARS_MAX: usize = 255;
const NAME: &str = "waba-gateway";
const MESSAGING: [&str; 6] = [
    "message_received",
    "message_read",
    "message_reaction",
    "message_edited",
    "message_deleted",
    "message_delivered",
];
const TRIGGERS: [&str; 13] = [
    "account.status.disconnected",
    "account.status.running",
    "account.status.errored",
    "account.status.paused",
    "account.add",
    "account.reconnect",
    "account.remove",
    "message.new",
    "message.update",
    "message.delete",
    "message.receipt.read",
    "message.receipt.delivery",
    "message.reaction.new",
];

/// A webhook that is there.
struct Present {
    id: String,
    url: String,
    /// It is for this account alone.
    is_its: bool,
}

impl Unipile {
    pub(super) async fn set_hooks(
        &self,
        instance: &WabaInstance,
        hook: &NewHook<'_>,
    ) -> Result<HookSet, HookFault> {
        let account = self.account(instance).ok_or(HookFault::Missing("unipile.apiKey"))?;
        if account.generation == Generation::V2 && hook.url.as_str().len() > URL_CHARS_MAX {
            let why = format!("the address has more than {URL_CHARS_MAX} characters");
            return Err(HookFault::Refused(why));
        }
        let present = self.present(&account).await?;
        let elsewhere = present.iter().find(|it| it.url != hook.url.as_str());
        if let Some(it) = elsewhere.filter(|_| !hook.replace) {
            return Err(HookFault::Elsewhere { url: it.url.clone() });
        }
        // The new ones first, so that nothing falls between: what comes twice counts once.
        let secret = match account.generation {
            Generation::V1 => {
                let own = instance.unipile.as_ref().and_then(|it| it.webhook_secret.clone());
                let own = own.filter(|it| !it.expose_secret().is_empty());
                let secret = own.map_or_else(new_secret, Ok)?;
                self.create_v1(&account, hook.url, &secret).await?;
                secret
            }
            Generation::V2 => self.create_v2(&account, hook.url).await?,
        };
        let (former, for_all): (Vec<_>, Vec<_>) = present.into_iter().partition(|it| it.is_its);
        let warning = |it: Present| {
            format!(
                "a webhook for all accounts goes to {}: it gets this account's events too",
                it.url,
            )
        };
        Ok(HookSet {
            secret: Some(secret),
            former: former.into_iter().map(|it| it.id).collect(),
            warnings: for_all.into_iter().map(warning).collect(),
        })
    }

    pub(super) async fn remove_hooks(
        &self,
        instance: &WabaInstance,
        former: &[String],
    ) -> Vec<String> {
        let mut warnings = Vec::new();
        for id in former {
            let done = match self.account(instance) {
                Some(account) => {
                    let url = account.url(&[hooks_path(&account), &[id]].concat());
                    body_of(self.call(&account, Method::DELETE, &url, None).await.ok())
                }
                None => Err(HookFault::Missing("unipile.apiKey")),
            };
            if let Err(fault) = done {
                warnings.push(format!(
                    "the former webhook {id} is still there ({fault}): remove it at Unipile"
                ));
            }
        }
        warnings
    }

    /// The webhooks that this account's messages go to today.
    async fn present(&self, account: &Account<'_>) -> Result<Vec<Present>, HookFault> {
        let url = account.url(&list_path(account));
        let body = body_of(self.call(account, Method::GET, &url, None).await.ok())?;
        let items = body["items"].as_array().or_else(|| body["data"].as_array());
        let found = items.into_iter().flatten().filter_map(|it| {
            // Those of mail and calendars are not ours to touch.
            let is_other =
                word(&it["source"]).is_some_and(|it| !matches!(it, "messaging" | "account_status"));
            let accounts: Vec<&str> =
                it["account_ids"].as_array().into_iter().flatten().filter_map(word).collect();
            let is_for_it = accounts.is_empty() || accounts.contains(&account.id);
            let url = word(&it["request_url"]).or_else(|| word(&it["url"]))?.to_owned();
            let is_its = accounts == [account.id];
            let id = first_word(&it["id"])?;
            (is_for_it && !is_other).then_some(Present { id, url, is_its })
        });
        Ok(found.collect())
    }

    async fn create_v1(
        &self,
        account: &Account<'_>,
        url: &Url,
        secret: &SecretString,
    ) -> Result<(), HookFault> {
        for (source, events) in [("messaging", Some(&MESSAGING)), ("account_status", None)] {
            let mut body = json!({
                "request_url": url.as_str(),
                "source": source,
                "name": NAME,
                "format": "json",
                "enabled": true,
                "account_ids": [account.id],
                // Without the second the type may be missing.
                "headers": [
                    { "key": "Unipile-Auth", "value": secret.expose_secret() },
                    { "key": "Content-Type", "value": "application/json" },
                ],
            });
            if let Some(events) = events {
                body["events"] = json!(events);
            }
            let place = account.url(&list_path(account));
            body_of(self.call(account, Method::POST, &place, Some(&body)).await.ok())?;
        }
        Ok(())
    }

    async fn create_v2(&self, account: &Account<'_>, url: &Url) -> Result<SecretString, HookFault> {
        let body = json!({
            "url": url.as_str(),
            "trigger_events": TRIGGERS,
            "account_ids": [account.id],
            "description": NAME,
        });
        let place = account.url(&list_path(account));
        let made = body_of(self.call(account, Method::POST, &place, Some(&body)).await.ok())?;
        word(&made["secret"]).map(SecretString::from).ok_or(HookFault::NoAnswer)
    }
}

/// The body of a good answer. Errors are told by their word, which quotes nothing.
fn body_of(reply: Option<Reply>) -> Result<Value, HookFault> {
    let reply = reply.ok_or(HookFault::NoAnswer)?;
    let body: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
    match reply.status.as_u16() {
        200..=299 => Ok(body),
        401 | 403 => Err(HookFault::Unauthorized),
        400..=499 if reply.status != reqwest::StatusCode::TOO_MANY_REQUESTS => {
            Err(HookFault::Refused(word(&body["type"]).unwrap_or("refused").to_owned()))
        }
        _ => Err(HookFault::NoAnswer),
    }
}

fn hooks_path(account: &Account<'_>) -> &'static [&'static str] {
    match account.generation {
        Generation::V1 => &["webhooks"],
        Generation::V2 => &["webhooks", "endpoints"],
    }
}

/// The second generation's ends in a slash.
fn list_path(account: &Account<'_>) -> Vec<&'static str> {
    let mut path = hooks_path(account).to_vec();
    if account.generation == Generation::V2 {
        path.push("");
    }
    path
}

fn new_secret() -> Result<SecretString, HookFault> {
    let mut bytes = [0_u8; SECRET_BYTES];
    getrandom::fill(&mut bytes).map_err(|_| HookFault::NoAnswer)?;
    Ok(hex::encode(bytes).into())
}
