//! The test message, as either dialect has it.

use std::time::Duration;

use reqwest::{
    Method,
    header::{CONTENT_TYPE, HeaderMap, HeaderValue},
};
use secrecy::ExposeSecret;

use super::Trial;
use crate::{
    domain::{clock::SECOND, waba::SignatureSchemes},
    http::{Request, Trust},
    twin::{Customer, predecessor_message, real_message, sign_hmac},
};

/// Wasender would not wait longer.
const TIMEOUT: Duration = Duration::from_secs(20);

/// How the message proves itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scheme {
    /// Wasender's own: the secret itself.
    Secret,
    /// The predecessor's: HMAC of the body.
    Hmac,
}

/// What a webhook was answered.
pub(super) struct Answered {
    /// The status code.
    pub(super) status: u16,
    /// The message's id, where it was kept.
    pub(super) id: Option<String>,
}

impl Scheme {
    pub(super) fn is_accepted(self, schemes: SignatureSchemes) -> bool {
        match self {
            Self::Secret => schemes.secret,
            Self::Hmac => schemes.hmac,
        }
    }

    pub(super) fn header(self) -> &'static str {
        match self {
            Self::Secret => "X-Webhook-Signature",
            Self::Hmac => "X-Wasender-Signature",
        }
    }
}

impl Trial {
    /// Posts the message. `None`: nobody answered.
    pub(super) async fn post(&self, scheme: Scheme) -> anyhow::Result<Option<Answered>> {
        let mut random = [0_u8; 8];
        getrandom::fill(&mut random)?;
        let id = format!("waba-gateway-test-{}", hex::encode(random));
        let at = self.gateway.clock().now() / SECOND;
        let from = self.from.expose();
        let (body, signature) = match scheme {
            Scheme::Secret => {
                let body = real_message(&id, &Customer::new(&from), &self.text, at).to_string();
                (body, self.secret.expose_secret().to_owned())
            }
            Scheme::Hmac => {
                let digits = self.from.digits();
                let body = predecessor_message(&self.session, &id, digits, &self.text, at);
                let body = body.to_string();
                let signature = sign_hmac(self.secret.expose_secret(), body.as_bytes());
                (body, signature)
            }
        };
        let mut signature = HeaderValue::from_str(&signature)?;
        signature.set_sensitive(true);
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(
            scheme.header().to_ascii_lowercase().parse::<reqwest::header::HeaderName>()?,
            signature,
        );
        let request = Request {
            method: Method::POST,
            url: &self.hook,
            trust: Trust::Operator,
            headers,
            body: Some(body.into_bytes()),
            timeout: TIMEOUT,
        };
        let Ok(reply) = self.http.send(request).await else { return Ok(None) };
        let body: serde_json::Value = serde_json::from_slice(&reply.body).unwrap_or_default();
        let id = body["processId"].as_str().map(str::to_owned);
        Ok(Some(Answered { status: reply.status.as_u16(), id }))
    }
}
