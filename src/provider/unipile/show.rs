//! What a customer is shown: that their message was read, that an answer is written
//! (`docs/wire/meta-unipile-twilio.md` D1, D5).

use reqwest::Method;
use serde_json::{Value, json};
use url::Url;

use super::{Account, Generation, Unipile};
use crate::{
    domain::{contact::Address, waba::WabaInstance},
    provider::{NoAnswer, Received},
};

impl Unipile {
    pub(super) async fn show_read(
        &self,
        instance: &WabaInstance,
        message: &Received<'_>,
    ) -> Result<(), NoAnswer> {
        let account = self.account(instance).ok_or(NoAnswer)?;
        if message.chat.is_empty() {
            return Ok(());
        }
        match account.generation {
            Generation::V1 => {
                let url = account.chat_url(message.chat, &[]);
                let body = json!({ "action": "setReadStatus", "value": true });
                self.show(&account, Method::PATCH, &url, &body).await
            }
            Generation::V2 => {
                let id = message.id.split('/').next().unwrap_or_default();
                let url = account.chat_url(message.chat, &["messages", id, "read"]);
                self.show(&account, Method::POST, &url, &json!({})).await
            }
        }
    }

    /// The first generation shows it only together with a send, for which it would have to wait.
    pub(super) async fn show_typing(
        &self,
        instance: &WabaInstance,
        to: &Address,
        message: &Received<'_>,
    ) -> Result<(), NoAnswer> {
        let account = self.account(instance).ok_or(NoAnswer)?;
        let told = Some(message.chat).filter(|it| !it.is_empty()).map(str::to_owned);
        let chat = told.or_else(|| account.chats.of(account.id, to));
        let Some(chat) = chat.filter(|_| account.generation == Generation::V2) else {
            return Ok(());
        };
        let url = account.chat_url(&chat, &["composing"]);
        self.show(&account, Method::POST, &url, &json!({})).await
    }

    async fn show(
        &self,
        account: &Account<'_>,
        method: Method,
        url: &Url,
        body: &Value,
    ) -> Result<(), NoAnswer> {
        let reply = self.call(account, method, url, Some(body)).await.map_err(|_| NoAnswer)?;
        if reply.status.is_success() { Ok(()) } else { Err(NoAnswer) }
    }
}
