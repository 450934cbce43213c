//! Messages changed after they were sent, and what a customer is shown while an answer is written
//! (`docs/wire/wasender.md` §2.3, §2.4).

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use url::Url;

use super::{
    Wasender,
    send::{NOT_CONNECTED, known_refusal},
};
use crate::{
    domain::{contact::Address, message::Text, waba::WabaInstance},
    provider::{ChangeFault, NoAnswer, Received},
};

impl Wasender {
    /// `PUT /messages/{msgId}`.
    pub(super) async fn edit_message(
        &self,
        instance: &WabaInstance,
        ticket: &str,
        text: &Text,
    ) -> Result<(), ChangeFault> {
        let body = json!({ "text": text });
        self.change(instance, Method::PUT, ticket, Some(&body)).await
    }

    /// `DELETE /messages/{msgId}`: for everybody.
    pub(super) async fn delete_message(
        &self,
        instance: &WabaInstance,
        ticket: &str,
    ) -> Result<(), ChangeFault> {
        self.change(instance, Method::DELETE, ticket, None).await
    }

    async fn change(
        &self,
        instance: &WabaInstance,
        method: Method,
        ticket: &str,
        body: Option<&Value>,
    ) -> Result<(), ChangeFault> {
        let key = instance.wasender.session_key.as_ref().ok_or(ChangeFault::NoSessionKey)?;
        let url = self.url(&["messages", ticket]);
        let reply = self.call(method, &url, key, body).await;
        let reply = reply.map_err(|_| ChangeFault::NoAnswer)?;
        let body: Option<Value> = serde_json::from_slice(&reply.body).ok();
        let is_down =
            body.as_ref().and_then(known_refusal).is_some_and(|it| it.word == NOT_CONNECTED);
        // A deletion may be answered without a body.
        let is_done = body.is_none_or(|it| it["success"] != json!(false));
        match reply.status {
            status if status.is_success() && is_done => Ok(()),
            _ if is_down => Err(ChangeFault::NoAnswer),
            StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => {
                Err(ChangeFault::NoAnswer)
            }
            status if status.is_server_error() => Err(ChangeFault::NoAnswer),
            _ => Err(ChangeFault::Refused),
        }
    }

    /// `POST /messages/read`, with the key of the webhook.
    pub(super) async fn mark_message_read(
        &self,
        instance: &WabaInstance,
        message: &Received<'_>,
    ) -> Result<(), NoAnswer> {
        let key = json!({ "id": message.id, "remoteJid": message.chat, "fromMe": false });
        let url = self.url(&["messages", "read"]);
        self.show(instance, &url, &json!({ "key": key })).await
    }

    /// `POST /send-presence-update`: WhatsApp takes it back by itself after a while.
    pub(super) async fn show_typing(
        &self,
        instance: &WabaInstance,
        to: &Address,
    ) -> Result<(), NoAnswer> {
        let Some(to) = &to.phone else { return Ok(()) };
        let body = json!({ "jid": format!("{}@s.whatsapp.net", to.digits()), "type": "composing" });
        self.show(instance, &self.url(&["send-presence-update"]), &body).await
    }

    async fn show(&self, instance: &WabaInstance, url: &Url, body: &Value) -> Result<(), NoAnswer> {
        let key = instance.wasender.session_key.as_ref().ok_or(NoAnswer)?;
        let reply = self.call(Method::POST, url, key, Some(body)).await.map_err(|_| NoAnswer)?;
        if reply.status.is_success() { Ok(()) } else { Err(NoAnswer) }
    }
}
