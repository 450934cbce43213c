//! Whether Wasender is there, whether it takes our token, and what time it has
//! (`docs/wire/wasender.md` §1.2).

use jiff::fmt::rfc2822::DateTimeParser;
use reqwest::{Method, header::DATE};

use super::{Wasender, session::is_session_key};
use crate::{
    domain::{clock::Millis, secret::SecretString},
    provider::wasender::SessionFault,
};

/// Wasender answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reached {
    /// Its time, to the second.
    pub date: Option<Millis>,
    /// What is wrong with the operator's token, if anything.
    pub fault: Option<SessionFault>,
}

impl Wasender {
    /// Asks whether the operator's token is good. `None`: Wasender did not answer.
    pub async fn check_token(&self) -> Option<Reached> {
        // Without a token it still tells that it is there.
        let none = SecretString::from("none");
        let token = self.token.as_ref();
        let own = match token {
            None => Some(SessionFault::NoToken),
            Some(token) if is_session_key(token) => Some(SessionFault::SessionToken),
            Some(_) => None,
        };
        let key = token.filter(|_| own.is_none()).unwrap_or(&none);
        let reply = self.call(Method::GET, &self.url(&["auth-check"]), key, None).await.ok()?;
        let date = reply.headers.get(DATE).and_then(|it| it.to_str().ok());
        let date = date.and_then(|it| DateTimeParser::new().parse_timestamp(it).ok());
        let fault = own.or(match reply.status.as_u16() {
            200..=299 => None,
            401 | 403 => Some(SessionFault::Refused),
            status => Some(SessionFault::Garbled(status)),
        });
        Some(Reached { date: date.map(jiff::Timestamp::as_millisecond), fault })
    }
}
