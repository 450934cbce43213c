//! A session of the twin: what tests ask for, what they see, and what the API shows.

use std::{fmt, time::Duration};

use serde_json::{Map, Value, json};

use super::{clock, misbehaviour::Misbehaviours, pace::Pace};

/// Every event name of `docs/wire/wasender.md` §4.3.
pub const EVENTS: &[&str] = &[
    "messages.received",
    "messages-personal.received",
    "messages-group.received",
    "messages-newsletter.received",
    "messages.upsert",
    "messages.update",
    "messages.delete",
    "messages.reaction",
    "message-receipt.update",
    "message.sent",
    "session.status",
    "qrcode.updated",
    "passkey.updated",
    "chats.upsert",
    "chats.update",
    "chats.delete",
    "contacts.upsert",
    "contacts.update",
    "groups.upsert",
    "groups.update",
    "group-participants.update",
    "call",
    "poll.results",
];

/// Settings that the twin keeps and shows but does not act on (`docs/wire/wasender.md` §3.1).
const INERT: &[&str] = &[
    "read_incoming_messages",
    "auto_reject_calls",
    "ignore_groups",
    "ignore_channels",
    "ignore_broadcasts",
    "always_online",
];

/// How long after the answer to a send its first webhook leaves.
const HOOKS_AFTER: Duration = Duration::from_millis(20);

/// How a session signs and phrases its webhooks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Dialect {
    /// As Wasender does: `X-Webhook-Signature` is the secret itself (`docs/wire/wasender.md` §4).
    #[default]
    Real,
    /// As the predecessor's own set-up did: `X-Wasender-Signature` is the hexadecimal
    /// HMAC-SHA256 of the raw body (contract §1).
    Predecessor,
}

/// What a new session should be like. Start from [`NewSession::new`].
#[derive(Clone)]
#[expect(clippy::struct_excessive_bools, reason = "they are switches, each on its own")]
pub struct NewSession {
    /// In international format (`+221771234567`).
    pub phone_number: String,
    /// Wasender's integer id; the next free one when absent.
    pub id: Option<u64>,
    /// The session's API key; 64 hexadecimal characters when absent.
    pub api_key: Option<String>,
    /// The secret of its webhooks; 32 hexadecimal characters when absent.
    pub webhook_secret: Option<String>,
    /// One of `docs/wire/wasender.md` §3.3; only a `connected` session sends.
    pub status: String,
    /// How its webhooks look.
    pub dialect: Dialect,
    /// Whether a send is followed by `messages.update` with 2, 3 and 4.
    pub statuses: bool,
    /// Whether a send is followed by `message.sent` and `messages.upsert`.
    pub echoes: bool,
    /// Whether the message logs have the content of sends.
    pub log_messages: bool,
    /// One send per 5 s, where `paced`.
    pub account_protection: bool,
    /// Whether the rate limit of sends is enforced, by 429 (`docs/wire/wasender.md` §1.3); its
    /// headers are told in any case.
    pub paced: bool,
    /// How long after the answer to a send its first webhook leaves.
    pub hooks_after: Duration,
}

impl NewSession {
    /// A connected session that does all that Wasender does, as fast as it is asked to.
    #[must_use]
    pub fn new(phone_number: &str) -> Self {
        Self {
            phone_number: phone_number.to_owned(),
            id: None,
            api_key: None,
            webhook_secret: None,
            status: "connected".to_owned(),
            dialect: Dialect::Real,
            statuses: true,
            echoes: true,
            log_messages: true,
            account_protection: false,
            paced: false,
            hooks_after: HOOKS_AFTER,
        }
    }
}

/// A session as it is at the moment of asking. It prints without its secrets and its number.
#[derive(Clone)]
#[expect(clippy::struct_excessive_bools, reason = "they are switches, each on its own")]
pub struct Session {
    /// Wasender's integer id.
    pub id: u64,
    /// Its name in the dashboard.
    pub name: String,
    /// In international format.
    pub phone_number: String,
    /// What sends are authenticated with.
    pub api_key: String,
    /// What webhooks are signed with.
    pub webhook_secret: String,
    /// One of `docs/wire/wasender.md` §3.3.
    pub status: String,
    /// How its webhooks look.
    pub dialect: Dialect,
    /// Where its webhooks go.
    pub webhook_url: Option<String>,
    /// Whether they go.
    pub webhook_enabled: bool,
    /// Which of them go. The predecessor's dialect does not ask.
    pub webhook_events: Vec<String>,
    /// See [`NewSession::account_protection`].
    pub account_protection: bool,
    /// See [`NewSession::log_messages`].
    pub log_messages: bool,
    /// See [`NewSession::statuses`].
    pub statuses: bool,
    /// See [`NewSession::echoes`].
    pub echoes: bool,
    /// See [`NewSession::paced`].
    pub paced: bool,
    /// See [`NewSession::hooks_after`].
    pub hooks_after: Duration,
}

impl Session {
    /// Whether a webhook of this name leaves the session.
    #[must_use]
    pub fn subscribes(&self, event: &str) -> bool {
        let asked = || self.webhook_events.iter().any(|it| it == event);
        self.has_webhook() && (self.dialect == Dialect::Predecessor || asked())
    }

    /// Whether any webhook leaves the session.
    #[must_use]
    pub fn has_webhook(&self) -> bool {
        self.webhook_enabled && self.webhook_url.is_some()
    }

    /// Whether it can send.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.status.eq_ignore_ascii_case("connected")
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut it = f.debug_struct("Session");
        it.field("id", &self.id).field("status", &self.status).finish_non_exhaustive()
    }
}

/// A session with all that belongs to it.
pub(super) struct Line {
    pub(super) session: Session,
    pub(super) misbehaviours: Misbehaviours,
    pub(super) pace: Pace,
    inert: Map<String, Value>,
    created_at: i64,
    updated_at: i64,
}

impl Line {
    pub(super) fn new(session: Session) -> Self {
        let (inert, now) = (Map::new(), clock::now_secs());
        let pace = Pace::default();
        let misbehaviours = Misbehaviours::default();
        Self { session, misbehaviours, pace, inert, created_at: now, updated_at: now }
    }

    /// The session as the API shows it, secrets included (`docs/wire/wasender.md` §3.1).
    pub(super) fn shown(&mut self) -> Value {
        let number = self.misbehaviours.wrong_number();
        let session = &self.session;
        let mut shown = json!({
            "id": session.id,
            "name": session.name,
            "phone_number": number.unwrap_or_else(|| session.phone_number.clone()),
            "status": session.status,
            "account_protection": session.account_protection,
            "log_messages": session.log_messages,
            "webhook_url": session.webhook_url,
            "webhook_enabled": session.webhook_enabled,
            "webhook_events": session.webhook_events,
            "api_key": session.api_key,
            "webhook_secret": session.webhook_secret,
            "created_at": clock::iso(self.created_at),
            "updated_at": clock::iso(self.updated_at),
        });
        for field in INERT {
            let value = self.inert.get(*field).cloned().unwrap_or(Value::Bool(false));
            shown[*field] = value;
        }
        shown
    }

    /// Takes over the fields that are there, or none of them. The secret cannot be set
    /// (`docs/wire/wasender.md` §3.2); unknown fields are passed over.
    ///
    /// # Errors
    ///
    /// Laravel's `errors`, by field.
    pub(super) fn update(&mut self, fields: &Map<String, Value>) -> Result<(), Value> {
        let errors: Map<_, _> = fields.iter().filter_map(|it| fault(it.0, it.1)).collect();
        if !errors.is_empty() {
            return Err(Value::Object(errors));
        }
        for (field, value) in fields {
            self.set(field, value);
        }
        self.updated_at = clock::now_secs();
        Ok(())
    }

    fn set(&mut self, field: &str, value: &Value) {
        let session = &mut self.session;
        let text = || value.as_str().map(str::to_owned);
        let truth = value.as_bool().unwrap_or_default();
        match field {
            "name" => session.name = text().unwrap_or_default(),
            "phone_number" => session.phone_number = text().unwrap_or_default(),
            "webhook_url" => session.webhook_url = text(),
            "webhook_enabled" => session.webhook_enabled = truth,
            "webhook_events" => {
                let names = value.as_array().into_iter().flatten().filter_map(Value::as_str);
                session.webhook_events = names.map(str::to_owned).collect();
            }
            "account_protection" => session.account_protection = truth,
            "log_messages" => session.log_messages = truth,
            _ if INERT.contains(&field) => {
                self.inert.insert(field.to_owned(), value.clone());
            }
            _ => {}
        }
    }
}

/// What is wrong with the value of a field, as an entry of Laravel's `errors`.
fn fault(field: &str, value: &Value) -> Option<(String, Value)> {
    let name = field.replace('_', " ");
    let text = match field {
        "name" | "phone_number" if !value.is_string() => format!("The {name} must be a string."),
        "webhook_url" if !value.is_string() && !value.is_null() => {
            format!("The {name} must be a string.")
        }
        "webhook_events" if !is_list_of_texts(value) => format!("The {name} must be an array."),
        "webhook_enabled" | "account_protection" | "log_messages" if !value.is_boolean() => {
            format!("The {name} field must be true or false.")
        }
        _ if INERT.contains(&field) && !value.is_boolean() => {
            format!("The {name} field must be true or false.")
        }
        _ => return None,
    };
    Some((field.to_owned(), json!([text])))
}

fn is_list_of_texts(value: &Value) -> bool {
    value.is_null() || value.as_array().is_some_and(|it| it.iter().all(Value::is_string))
}
