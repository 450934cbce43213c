//! Sessions at Wasender: what is needed to set a webhook up (`docs/wire/wasender.md` §3).

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use url::Url;

use super::{Wasender, connection_of, send::number_text};
use crate::{
    domain::{
        event::Connection,
        phone::PhoneNumber,
        secret::{ExposeSecret, SecretString},
        waba::WabaInstance,
    },
    http::HttpError,
};

/// A session key is this many hexadecimal digits; an account token never looks like that.
const SESSION_KEY_CHARS: usize = 64;

/// A session, as Wasender has it. Every such answer holds secrets.
#[derive(Clone, Debug)]
pub struct Session {
    /// Its number.
    pub phone_number: Option<PhoneNumber>,
    /// Its state.
    pub status: Option<Connection>,
    /// Its own API key.
    pub api_key: Option<SecretString>,
    /// What its webhooks carry.
    pub webhook_secret: Option<SecretString>,
    /// Where they go.
    pub webhook_url: Option<String>,
    /// Whether they go.
    pub webhook_enabled: bool,
    /// Which events.
    pub webhook_events: Vec<String>,
    /// The provider throttles it to one message in 5 seconds.
    pub account_protection: bool,
    /// Wasender keeps the content of sends, which its log needs to settle unknown outcomes.
    pub log_messages: bool,
}

/// Why a session could not be read or changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SessionFault {
    /// There is no account token.
    #[error(
        "no Wasender personal access token: set WASENDER_API_KEY or the instance's wasenderToken (Wasender dashboard, Settings, Personal Access Token)"
    )]
    NoToken,
    /// The token is a session's key.
    #[error(
        "the Wasender token looks like a session API key (64 hexadecimal digits); a personal access token looks like 123|abc…"
    )]
    SessionToken,
    /// Wasender refuses the token.
    #[error("Wasender refused the personal access token")]
    Refused,
    /// The instance has no session id.
    #[error("the instance has no wasenderInstanceId")]
    NoSessionId,
    /// The account has no such session.
    #[error(
        "the Wasender account of this token has no session with the instance's wasenderInstanceId"
    )]
    NotFound,
    /// Wasender did not answer.
    #[error("Wasender could not be reached")]
    Unreachable,
    /// Its answer is not of its form, or it refused for another reason.
    #[error("Wasender answered with status {0} and nothing this gateway understands")]
    Garbled(u16),
}

impl Wasender {
    /// Reads the instance's session.
    pub async fn session(&self, instance: &WabaInstance) -> Result<Session, SessionFault> {
        let body = self.session_call(instance, Method::GET, None).await?;
        Ok(session_of(&body["data"]))
    }

    /// Points the session's webhooks at `url` and subscribes it to `events`. Answers Wasender's
    /// warning, if it has one, secrets removed.
    pub async fn set_webhook(
        &self,
        instance: &WabaInstance,
        url: &Url,
        events: &[String],
    ) -> Result<Option<String>, SessionFault> {
        let change = json!({ "webhook_url": url.as_str(), "webhook_enabled": true, "webhook_events": events });
        let body = self.session_call(instance, Method::PUT, Some(&change)).await?;
        let secrets: Vec<SecretString> = ["api_key", "webhook_secret"]
            .iter()
            .filter_map(|it| body["data"][*it].as_str().map(SecretString::from))
            .collect();
        let secrets: Vec<&SecretString> = secrets.iter().collect();
        let warning =
            body["warning"].as_str().map(|it| crate::domain::secret::without(it, &secrets));
        Ok(warning)
    }

    /// Switches the session's webhooks off.
    pub async fn silence_webhook(&self, instance: &WabaInstance) -> Result<(), SessionFault> {
        let change = json!({ "webhook_enabled": false });
        self.session_call(instance, Method::PUT, Some(&change)).await.map(|_| ())
    }

    async fn session_call(
        &self,
        instance: &WabaInstance,
        method: Method,
        body: Option<&Value>,
    ) -> Result<Value, SessionFault> {
        let token = self.token(instance).ok_or(SessionFault::NoToken)?;
        if is_session_key(token) {
            return Err(SessionFault::SessionToken);
        }
        let id = instance.wasender.instance_id.as_deref().ok_or(SessionFault::NoSessionId)?;
        let url = self.url(&["whatsapp-sessions", id]);
        let reply = self.call(method, &url, token, body).await.map_err(|error| match error {
            HttpError::NoConnection
            | HttpError::NoAnswer
            | HttpError::BrokeOff
            | HttpError::TooLarge => SessionFault::Unreachable,
            HttpError::Forbidden => SessionFault::Refused,
        })?;
        let garbled = SessionFault::Garbled(reply.status.as_u16());
        match reply.status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(SessionFault::Refused),
            StatusCode::NOT_FOUND => Err(SessionFault::NotFound),
            status if status.is_success() => {
                let body: Value = serde_json::from_slice(&reply.body).map_err(|_| garbled)?;
                if body["data"].is_object() { Ok(body) } else { Err(garbled) }
            }
            _ => Err(garbled),
        }
    }
}

/// Whether this is a session's key where an account's token should be.
pub(super) fn is_session_key(token: &SecretString) -> bool {
    let text = token.expose_secret();
    text.len() == SESSION_KEY_CHARS && text.bytes().all(|it| it.is_ascii_hexdigit())
}

fn session_of(data: &Value) -> Session {
    let text = |name: &str| data[name].as_str().filter(|it| !it.is_empty());
    let phone = number_text(&data["phone_number"]);
    let events = data["webhook_events"].as_array().into_iter().flatten();
    Session {
        phone_number: phone.and_then(|it| PhoneNumber::from_wire(&it).ok()),
        status: text("status").and_then(connection_of),
        api_key: text("api_key").map(SecretString::from),
        webhook_secret: text("webhook_secret").map(SecretString::from),
        webhook_url: text("webhook_url").map(str::to_owned),
        webhook_enabled: data["webhook_enabled"] == json!(true),
        webhook_events: events.filter_map(|it| it.as_str().map(str::to_owned)).collect(),
        account_protection: data["account_protection"] == json!(true),
        log_messages: data["log_messages"] == json!(true),
    }
}
