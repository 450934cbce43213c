//! Questions to Twilio: what became of a message, how an account is; and typing
//! (`docs/wire/meta-unipile-twilio.md` E1).

use jiff::fmt::rfc2822::DateTimeParser;
use reqwest::Method;
use serde_json::{Value, json};

use super::{
    Account, CHANNEL, JSON, Twilio, codes::failure, content, parse::status_of, send::recipient,
    sender,
};
use crate::{
    domain::{
        clock::{Millis, SECOND},
        event::{Connection, Status},
        id::EntryId,
        waba::WabaInstance,
    },
    provider::{Found, Health, NoAnswer, Outgoing, Question, Received},
};

/// Messages to one customer that are looked at.
const LIST_ITEMS: &str = "50";
/// Twilio's clock may be behind ours by this much; it tells whole seconds.
const LIST_BEFORE: Millis = 4 * SECOND;
/// A message later than this after the request is another send.
const LIST_AFTER: Millis = 120 * SECOND;

impl Twilio {
    /// By its id, else in the list of what was sent to the customer.
    pub(super) async fn ask_message(
        &self,
        instance: &WabaInstance,
        question: &Question<'_>,
    ) -> Option<Found> {
        let account = Self::account(instance)?;
        match question.ticket {
            Some(sid) => {
                let url = self.url_of(account.of, &["Messages", &format!("{sid}.json")]);
                let body = self.ask(&account, &url).await?;
                Some(found(&body))
            }
            None => self.ask_list(instance, &account, question).await,
        }
    }

    /// The list is only believed when exactly one message fits; one that is missing proves nothing.
    async fn ask_list(
        &self,
        instance: &WabaInstance,
        account: &Account<'_>,
        question: &Question<'_>,
    ) -> Option<Found> {
        let to = recipient(question.to)?;
        let mut url = self.url_of(account.of, &["Messages.json"]);
        url.query_pairs_mut()
            .append_pair("To", &to)
            .append_pair("From", &format!("{CHANNEL}{}", sender(instance).expose()))
            .append_pair("PageSize", LIST_ITEMS);
        let body = self.ask(account, &url).await?;
        let mut fitting = body["messages"].as_array()?.iter().filter(|it| fits(it, question));
        let only = fitting.next().filter(|_| fitting.next().is_none())?;
        let sid = only["sid"].as_str()?.to_owned();
        Some(Found { provider_id: Some(sid.clone()), ticket: Some(sid), ..found(only) })
    }

    pub(super) async fn ask_health(&self, instance: &WabaInstance) -> Result<Health, NoAnswer> {
        let account = Self::account(instance).ok_or(NoAnswer)?;
        let url = self.url_of(account.of, &[]);
        let Ok(url) = format!("{url}.json").parse() else { return Err(NoAnswer) };
        let reply = self.call(Method::GET, &url, &account, None).await.map_err(|_| NoAnswer)?;
        if matches!(reply.status.as_u16(), 401 | 403 | 404) {
            let connection = Some(Connection::Disconnected);
            let details = vec![("account", "refused".to_owned())];
            return Ok(Health { connection, details, ..Health::default() });
        }
        let body: Value = serde_json::from_slice(&reply.body).map_err(|_| NoAnswer)?;
        let status = body["status"].as_str().filter(|_| reply.status.is_success());
        let status = status.ok_or(NoAnswer)?;
        let mut health = Health {
            connection: Some(match status {
                "active" => Connection::Connected,
                "suspended" => Connection::Error,
                _ => Connection::Disconnected,
            }),
            phone_number: None,
            details: vec![("account", status.to_owned())],
        };
        // The sandbox, and numbers of a service, are no senders of their own.
        if let Ok(Some(found)) = self.find_sender(instance, &account).await {
            health.phone_number = Some(sender(instance).clone());
            let online = found["status"].as_str().unwrap_or_default();
            if !online.is_empty() && !online.to_ascii_uppercase().starts_with("ONLINE") {
                health.connection = health.connection.map(|it| match it {
                    Connection::Connected => Connection::Error,
                    other => other,
                });
            }
            for (name, place) in [
                ("sender", &found["status"]),
                ("quality", &found["properties"]["quality_rating"]),
                ("limit", &found["properties"]["messaging_limit"]),
            ] {
                if let Some(word) = place.as_str().filter(|it| !it.is_empty()) {
                    health.details.push((name, word.to_owned()));
                }
            }
        }
        Ok(health)
    }

    /// Marks the message as read, too.
    pub(super) async fn show_typing(
        &self,
        instance: &WabaInstance,
        message: &Received<'_>,
    ) -> Result<(), NoAnswer> {
        // What came with several files is one message there.
        let id = message.id.split('/').next().unwrap_or_default();
        if id.is_empty() {
            return Ok(());
        }
        let account = Self::account(instance).ok_or(NoAnswer)?;
        let url = self.messaging_url(&["v3", "Indicators", "Typing.json"]);
        let body = json!({ "channel": "WHATSAPP", "messageId": id }).to_string();
        let reply = self.call(Method::POST, &url, &account, Some((JSON, body))).await;
        let reply = reply.map_err(|_| NoAnswer)?;
        if reply.status.is_success() { Ok(()) } else { Err(NoAnswer) }
    }

    pub(super) async fn ask(&self, account: &Account<'_>, url: &url::Url) -> Option<Value> {
        let reply = self.call(Method::GET, url, account, None).await.ok()?;
        let body: Value = serde_json::from_slice(&reply.body).ok()?;
        reply.status.is_success().then_some(body)
    }
}

fn found(message: &Value) -> Found {
    let status = message["status"].as_str().and_then(status_of);
    let failure = (status == Some(Status::Failed)).then(|| {
        let code = message["error_code"].as_u64().map(|it| it.to_string());
        failure(code.as_deref().or(message["status"].as_str()).unwrap_or_default())
    });
    Found { status, failure, ..Found::default() }
}

fn fits(item: &Value, question: &Question<'_>) -> bool {
    let at = item["date_created"].as_str();
    let at = at.and_then(|it| DateTimeParser::new().parse_timestamp(it).ok());
    let is_near = at.is_some_and(|at| {
        (-LIST_BEFORE..=LIST_AFTER).contains(&(at.as_millisecond() - question.begun_at))
    });
    let message = Outgoing {
        id: EntryId(0),
        to: question.to,
        content: question.content,
        quotes: None,
        file: Some(""),
    };
    let Some(fields) = content::fields(&message) else { return false };
    let field = |name| fields.iter().find(|it| it.0 == name).map(|it| it.1.trim());
    let has_file = item["num_media"].as_str().is_some_and(|it| it != "0");
    // A template's text is filled in there.
    let is_template = field("ContentSid").is_some();
    let body = item["body"].as_str().unwrap_or_default().trim();
    is_near
        && has_file == field("MediaUrl").is_some()
        && (is_template || field("Body").unwrap_or_default() == body)
}
