//! How a conversation, and everything kept of it, is shown.

use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::views::{MessageView, StepView};
use crate::{
    domain::{
        clock::{Millis, iso},
        event::{Event, What},
        phone::PhoneNumber,
    },
    journal::{Conversation, MessageRow, Record},
};

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ConversationView {
    conversation_id: String,
    waba_id: String,
    /// The customer's number, where it is known.
    customer: Option<String>,
    /// The name they show.
    name: Option<String>,
    last_message: Option<LastView>,
    /// Until when the bot is quiet.
    paused_until: Option<String>,
    /// `human`, `requires_human`, `loop` or `admin`.
    pause_reason: Option<String>,
}

/// The latest message of a conversation.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct LastView {
    message_id: String,
    direction: &'static str,
    #[serde(rename = "type")]
    kind: String,
    message: String,
    status: String,
    created_at: String,
}

impl ConversationView {
    pub(super) fn of(it: &Conversation, now: Millis) -> Self {
        // A pause that is over is none.
        let until = it.paused_until.filter(|it| *it > now);
        Self {
            conversation_id: it.id.to_string(),
            waba_id: it.instance.to_string(),
            customer: it.address.phone.as_ref().map(PhoneNumber::expose),
            name: it.name.as_ref().map(|it| it.0.clone()),
            last_message: it.last.as_ref().map(LastView::from),
            paused_until: until.map(iso),
            pause_reason: it.pause_reason.clone().filter(|_| until.is_some()),
        }
    }
}

impl From<&MessageRow> for LastView {
    fn from(it: &MessageRow) -> Self {
        Self {
            message_id: it.id.to_string(),
            direction: if it.is_inbound { "inbound" } else { "outbound" },
            kind: it.kind.clone(),
            message: it.text.0.clone(),
            status: it.status.clone(),
            created_at: iso(it.id.ms()),
        }
    }
}

/// An entry as an export has it: a message, or what was told of one.
pub(super) fn record(it: &Record) -> Value {
    let steps: Vec<StepView> = it.steps.iter().map(StepView::from).collect();
    if let Some(event) = &it.signal {
        return json!({
            "eventId": it.row.id.to_string(),
            "type": it.row.kind,
            "about": it.row.origin.map(|it| it.to_string()),
            "told": told(event),
            "timestamp": event.at.map(iso),
            "createdAt": iso(it.row.id.ms()),
        });
    }
    let mut shown = json!(MessageView::from(&it.row));
    if let Some(original) = &it.row.original {
        shown["originalMessage"] = json!(original.0);
    }
    shown["attempts"] = json!(it.attempts);
    shown["steps"] = json!(steps);
    shown
}

fn told(event: &Event) -> Value {
    match &event.what {
        What::Message(content) | What::Echo(content) => json!(content.as_text()),
        What::Edit { text, .. } | What::Reaction { text, .. } => json!(text.0),
        What::Status { status, .. } => json!(status.as_str()),
        What::Votes { results, .. } => results.iter().map(|it| it.option.0.clone()).collect(),
        What::SendFailed { error } => json!(error.0),
        What::Connection(state) => json!(state.as_str()),
        What::Other { raw, .. } => json!(raw.0),
        What::Revoke { .. } => Value::Null,
    }
}
