//! Questions to Unipile: what became of a message, how an account is
//! (`docs/wire/meta-unipile-twilio.md` D1, D2, D5).

use reqwest::Method;
use serde_json::Value;

use super::{
    Account, Generation, Unipile,
    chats::ids,
    parse::{phone, state_of},
    send::ticket,
    wire::{first_word, millis, truth, word},
};
use crate::{
    domain::{
        clock::{Millis, SECOND},
        contact::Address,
        event::{Connection, Status},
        message::Content,
        waba::WabaInstance,
    },
    provider::{Found, Health, NoAnswer, Question, plain},
};

/// Chats and messages that are looked at.
const CHATS: &str = "250";
const MESSAGES: &str = "50";
/// Unipile's clock may be behind ours by this much.
const LIST_BEFORE: Millis = 3 * SECOND;
/// A message later than this after the request is another send.
const LIST_AFTER: Millis = 120 * SECOND;

impl Unipile {
    /// By its id, else in the chat with the customer.
    pub(super) async fn ask_message(
        &self,
        instance: &WabaInstance,
        question: &Question<'_>,
    ) -> Option<Found> {
        let account = self.account(instance)?;
        match question.ticket.and_then(|it| it.split_once('/')) {
            Some((chat, id)) => {
                let url = match account.generation {
                    Generation::V1 => account.url(&["messages", id]),
                    Generation::V2 => account.chat_url(chat, &["messages", id]),
                };
                let body = self.ask(&account, &url).await?;
                Some(Found { status: Some(status_of(&body)), ..Found::default() })
            }
            None => self.ask_chat(&account, question).await,
        }
    }

    /// The chat is only believed when exactly one message fits; one that is missing proves nothing,
    /// for lists are behind by up to a minute.
    async fn ask_chat(&self, account: &Account<'_>, question: &Question<'_>) -> Option<Found> {
        let known = account.chats.of(account.id, question.to);
        let chat = match known {
            Some(chat) => chat,
            None => self.find_chat(account, question.to).await?,
        };
        let mut url = account.chat_url(&chat, &["messages"]);
        url.query_pairs_mut().append_pair("limit", MESSAGES);
        let body = self.ask(account, &url).await?;
        let mut fitting = items(&body)?.iter().filter(|it| fits(it, question));
        let only = fitting.next().filter(|_| fitting.next().is_none())?;
        let id = first_word(&only["id"])?;
        let status = Some(status_of(only));
        Some(Found { status, failure: None, ticket: ticket(&chat, &id), provider_id: Some(id) })
    }

    async fn find_chat(&self, account: &Account<'_>, to: &Address) -> Option<String> {
        let mut url = match account.generation {
            Generation::V1 => account.url(&["chats"]),
            Generation::V2 => account.url(&[account.id, "chats"]),
        };
        url.query_pairs_mut().append_pair("limit", CHATS);
        if account.generation == Generation::V1 {
            url.query_pairs_mut().append_pair("account_id", account.id);
        }
        let body = self.ask(account, &url).await?;
        let wanted = ids(to);
        let is_wanted = |it: &&Value| {
            let places = [&it["attendee_provider_id"], &it["provider_id"], &it["id"]];
            places.into_iter().filter_map(word).any(|it| wanted.iter().any(|id| id == it))
        };
        let chat = first_word(&items(&body)?.iter().find(is_wanted)?["id"])?;
        account.chats.learn(account.id, &chat, to);
        Some(chat)
    }

    pub(super) async fn ask_health(&self, instance: &WabaInstance) -> Result<Health, NoAnswer> {
        let account = self.account(instance).ok_or(NoAnswer)?;
        let url = account.url(&["accounts", account.id]);
        let reply = self.call(&account, Method::GET, &url, None).await.map_err(|_| NoAnswer)?;
        let body: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
        if matches!(reply.status.as_u16(), 401 | 403 | 404) {
            let why = word(&body["type"]).unwrap_or("refused").to_owned();
            let connection = Some(Connection::Disconnected);
            return Ok(Health { connection, details: vec![("account", why)], ..Health::default() });
        }
        if !reply.status.is_success() {
            return Err(NoAnswer);
        }
        let (words, connection) = match account.generation {
            Generation::V1 => of_sources(&body),
            Generation::V2 => {
                let word = word(&body["status"]).unwrap_or_default();
                (word.to_owned(), of_status(word))
            }
        };
        let number = word(&body["connection_params"]["im"]["phone_number"]).and_then(phone);
        let details = vec![("account", words)].into_iter().filter(|it| !it.1.is_empty());
        Ok(Health { connection, phone_number: number, details: details.collect() })
    }
}

/// The worst of the account's sources is what it is.
fn of_sources(body: &Value) -> (String, Option<Connection>) {
    let sources = body["sources"].as_array().into_iter().flatten();
    let words: Vec<&str> = sources.filter_map(|it| word(&it["status"])).collect();
    let bad = words.iter().find(|it| state_of(it) != Some(Connection::Connected));
    let shown = bad.or(words.first()).copied().unwrap_or_default();
    (shown.to_owned(), state_of(shown))
}

fn of_status(word: &str) -> Option<Connection> {
    Some(match word.to_ascii_lowercase().as_str() {
        "running" => Connection::Connected,
        "disconnected" => Connection::Disconnected,
        "errored" | "paused" => Connection::Error,
        _ => return None,
    })
}

fn items(body: &Value) -> Option<&Vec<Value>> {
    body["items"].as_array().or_else(|| body["data"].as_array())
}

/// How far a message has got: of the first generation `seen`, of the second `is_seen`.
fn status_of(message: &Value) -> Status {
    let is = |names: [&str; 2]| names.into_iter().any(|it| truth(&message[it]) == Some(true));
    if is(["seen", "is_seen"]) {
        Status::Read
    } else if is(["delivered", "is_delivered"]) {
        Status::Delivered
    } else {
        Status::Sent
    }
}

fn fits(item: &Value, question: &Question<'_>) -> bool {
    let near = millis(&item["timestamp"])
        .is_some_and(|at| (-LIST_BEFORE..=LIST_AFTER).contains(&(at - question.begun_at)));
    let has_file = item["attachments"].as_array().is_some_and(|it| !it.is_empty());
    let (text, wants_file) = match question.content {
        Content::Media(it) => (it.caption.0.clone(), true),
        other => (plain::text(other).unwrap_or_default(), false),
    };
    let said = item["text"].as_str().unwrap_or_default();
    truth(&item["is_sender"]) == Some(true)
        && near
        && has_file == wants_file
        && said.trim() == text.trim()
}
