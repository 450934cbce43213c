//! Sends and what their answers mean (`docs/wire/meta-unipile-twilio.md` D1, D4, D5).

use std::time::Duration;

use reqwest::{
    Method, StatusCode,
    header::{CONTENT_TYPE, HeaderValue},
};
use serde_json::Value;
use url::Url;

use super::{
    Account, Generation, TIMEOUT, Unipile,
    body::{Attachment, Body, Order},
    chats::ids,
    errors::refusal,
    wire::first_word,
};
use crate::{
    domain::{
        delivery::{Outcome, Reason, Refusal},
        message::Content,
        waba::WabaInstance,
    },
    http::{HttpError, Reply, Request},
    provider::{
        Attempt, Outgoing, Upload, plain,
        refused::{refused, refused_as, retry_after, throttled},
    },
};

/// For one message with a file.
const FILE_WITHIN: Duration = Duration::from_mins(5);

impl Unipile {
    pub(super) async fn send_message(
        &self,
        instance: &WabaInstance,
        message: &Outgoing<'_>,
        file: Option<Upload>,
    ) -> Attempt {
        let Some(account) = self.account(instance) else {
            return refused(Refusal::FailOver(Reason::NoCredentials), "no_credentials");
        };
        let reachable = ids(message.to);
        let Some(to) = reachable.first() else {
            return refused(Refusal::FailOver(Reason::NoPhone), "no_phone");
        };
        let (text, file) = match self.content(message, file).await {
            Ok(content) => content,
            Err(attempt) => return attempt,
        };
        let has_file = file.is_some();
        let quoted = quoted(message);
        // A file is read once: it must not meet a chat that is gone again and again.
        let known = quoted.chat.filter(|_| !has_file).map(str::to_owned);
        let known = known.or_else(|| account.chats.of(account.id, message.to));
        if let Some(chat) = known {
            let order = Order { account: account.id, to: None, text: &text, quotes: quoted.id };
            let url = match account.generation {
                Generation::V1 => account.chat_url(&chat, &["messages"]),
                Generation::V2 => account.chat_url(&chat, &["messages", "send"]),
            };
            let reply = self.post(&account, &url, order.body(account.generation, file)).await;
            let is_gone = reply.as_ref().is_ok_and(|it| it.status == StatusCode::NOT_FOUND);
            if !is_gone {
                return self.told(&account, message, Some(&chat), reply);
            }
            // Refused for sure: the chat was deleted, or the quoted message.
            account.chats.forget(account.id, &chat);
            if has_file {
                // It has been read; the next attempt starts with it anew.
                return refused(Refusal::Retry { not_before: None }, "chat_gone");
            }
            return self.start(&account, message, to, &text, None).await;
        }
        self.start(&account, message, to, &text, file).await
    }

    /// Into the chat with the customer, whichever it is. Nothing can be quoted there.
    async fn start(
        &self,
        account: &Account<'_>,
        message: &Outgoing<'_>,
        to: &str,
        text: &str,
        file: Option<Attachment>,
    ) -> Attempt {
        let url = match account.generation {
            Generation::V1 => account.url(&["chats"]),
            Generation::V2 => account.url(&[account.id, "chats", "send"]),
        };
        let order = Order { account: account.id, to: Some(to), text, quotes: None };
        let reply = self.post(account, &url, order.body(account.generation, file)).await;
        self.told(account, message, None, reply)
    }

    async fn content(
        &self,
        message: &Outgoing<'_>,
        file: Option<Upload>,
    ) -> Result<(String, Option<Attachment>), Attempt> {
        let Content::Media(media) = message.content else {
            let text = plain::text(message.content);
            return Ok((text.ok_or_else(unsupported)?, None));
        };
        if media.view_once {
            // It would stay with the customer.
            return Err(unsupported());
        }
        let file = match file {
            Some(file) => file,
            None => self.linked(media).await?,
        };
        let name = media.file_name.clone().unwrap_or_else(|| super::files::name(media, &file));
        Ok((media.caption.0.clone(), Some(Attachment { name, file })))
    }

    async fn post(
        &self,
        account: &Account<'_>,
        url: &Url,
        body: Result<Body, HttpError>,
    ) -> Result<Reply, HttpError> {
        let body = body?;
        let mut headers = account.headers()?;
        let content_type = HeaderValue::from_str(&body.content_type);
        headers.insert(CONTENT_TYPE, content_type.map_err(|_| HttpError::Forbidden)?);
        let request = Request {
            method: Method::POST,
            url,
            trust: account.trust,
            headers,
            body: None,
            timeout: if body.n_bytes > SMALL_BYTES { FILE_WITHIN } else { TIMEOUT },
        };
        self.http.send_stream(request, body.n_bytes, body.pieces).await
    }

    fn told(
        &self,
        account: &Account<'_>,
        message: &Outgoing<'_>,
        chat: Option<&str>,
        reply: Result<Reply, HttpError>,
    ) -> Attempt {
        let reply = match reply {
            Ok(reply) => reply,
            Err(HttpError::NoConnection | HttpError::Forbidden) => {
                return refused(Refusal::Down(Reason::Disconnected), "no_connection");
            }
            Err(HttpError::BrokeOff) => {
                return refused(Refusal::Retry { not_before: None }, "file_broke_off");
            }
            Err(HttpError::NoAnswer | HttpError::TooLarge) => {
                return Attempt::of(Outcome::Unknown, "no_answer");
            }
        };
        if !reply.status.is_success() {
            return self.refused_by(&reply);
        }
        let body: Option<Value> = serde_json::from_slice(&reply.body).ok().filter(Value::is_object);
        // It came through; nobody can say what became of it.
        let Some(body) = body else { return Attempt::of(Outcome::Unknown, "garbled") };
        let chat = body["chat_id"].as_str().or(chat).unwrap_or_default();
        account.chats.learn(account.id, chat, message.to);
        // Without an id it is known by its echo.
        let id = first_word(&body["message_id"]);
        Attempt {
            ticket: id.as_deref().and_then(|it| ticket(chat, it)),
            provider_id: id,
            ..Attempt::of(Outcome::Sent, "accepted")
        }
    }

    pub(super) fn refused_by(&self, reply: &Reply) -> Attempt {
        match refusal(reply) {
            Some(Refusal::Retry { .. }) => throttled(retry_after(&reply.headers), self.clock.now()),
            Some(refusal) => refused_as(refusal),
            None => Attempt::of(Outcome::Unknown, "failed"),
        }
    }
}

/// A body that is larger has a file.
const SMALL_BYTES: u64 = 64 * 1024;

/// The number by which a message is asked about: its chat and its id.
pub(super) fn ticket(chat: &str, id: &str) -> Option<String> {
    let is_plain = |it: &str| !it.is_empty() && !it.contains('/');
    (is_plain(chat) && is_plain(id)).then(|| format!("{chat}/{id}"))
}

struct QuotedIn<'a> {
    chat: Option<&'a str>,
    id: Option<&'a str>,
}

fn quoted<'a>(message: &Outgoing<'a>) -> QuotedIn<'a> {
    let Some(quoted) = message.quotes else { return QuotedIn { chat: None, id: None } };
    let ticket = quoted.ticket.and_then(|it| it.split_once('/'));
    // What came with several files is one message there.
    let own = quoted.id.map(|it| it.split('/').next().unwrap_or(it));
    QuotedIn { chat: ticket.map(|it| it.0), id: own.or(ticket.map(|it| it.1)) }
}
fn unsupported() -> Attempt {
    refused(Refusal::FailOver(Reason::Unsupported), "unsupported_content")
}
