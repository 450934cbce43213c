//! What customers tap, within Meta's limits (`docs/wire/meta-unipile-twilio.md` B2). `None` does
//! not fit, and is sent as text.

use std::{collections::HashSet, ops::RangeInclusive};

use serde_json::{Value, json};

use crate::domain::message::{Choice, Choices, Flow, Text};

const BUTTONS: RangeInclusive<usize> = 1..=3;
const ROWS: RangeInclusive<usize> = 1..=10;
const BUTTON_CHARS_MAX: usize = 20;
const BUTTON_ID_CHARS_MAX: usize = 256;
const ROW_CHARS_MAX: usize = 24;
const ROW_ID_CHARS_MAX: usize = 200;
const DESCRIPTION_CHARS_MAX: usize = 72;
const BODY_CHARS_MAX: usize = 1_024;
const LIST_BODY_CHARS_MAX: usize = 4_096;
/// Headers and footers.
const EDGE_CHARS_MAX: usize = 60;
/// What opens a list, where nobody says; a word that most languages have.
const LIST_BUTTON: &str = "Menu";

/// Buttons where there are few and short ones, else a list.
pub(super) fn choices(it: &Choices) -> Option<Value> {
    let action = (!it.is_list).then(|| buttons(&it.options)).flatten();
    let is_list = action.is_none();
    let action = action.or_else(|| list(it))?;
    let (kind, body_max) =
        if is_list { ("list", LIST_BODY_CHARS_MAX) } else { ("button", BODY_CHARS_MAX) };
    if !fits(&it.prompt, 1..=body_max) {
        return None;
    }
    let mut interactive = interactive(kind, &it.prompt, &action);
    let edge = 1..=EDGE_CHARS_MAX;
    for (field, text) in [("header", &it.header), ("footer", &it.footer)] {
        if text.0.is_empty() {
            continue;
        }
        if !fits(text, edge.clone()) {
            return None;
        }
        interactive[field] = json!({ "text": text });
    }
    if interactive["header"].is_object() {
        interactive["header"]["type"] = json!("text");
    }
    Some(interactive)
}

fn buttons(options: &[Choice]) -> Option<Value> {
    let is_fine = |it: &Choice| {
        fits(&it.title, 1..=BUTTON_CHARS_MAX)
            && (1..=BUTTON_ID_CHARS_MAX).contains(&it.id.chars().count())
            && it.description.0.is_empty()
    };
    let titles: HashSet<&str> = options.iter().map(|it| it.title.0.as_str()).collect();
    let are_fine = BUTTONS.contains(&options.len())
        && options.iter().all(is_fine)
        && titles.len() == options.len()
        && has_own_ids(options);
    let button =
        |it: &Choice| json!({ "type": "reply", "reply": { "id": it.id, "title": it.title } });
    are_fine.then(|| json!({ "buttons": options.iter().map(button).collect::<Vec<_>>() }))
}

fn list(choices: &Choices) -> Option<Value> {
    let options = &choices.options;
    let is_fine = |it: &Choice| {
        fits(&it.title, 1..=ROW_CHARS_MAX)
            && (1..=ROW_ID_CHARS_MAX).contains(&it.id.chars().count())
            && fits(&it.description, 0..=DESCRIPTION_CHARS_MAX)
    };
    if !ROWS.contains(&options.len()) || !options.iter().all(is_fine) || !has_own_ids(options) {
        return None;
    }
    let button = if choices.button.0.is_empty() { LIST_BUTTON } else { &choices.button.0 };
    if button.chars().count() > BUTTON_CHARS_MAX {
        return None;
    }
    let row = |it: &Choice| {
        let mut row = json!({ "id": it.id, "title": it.title });
        if !it.description.0.is_empty() {
            row["description"] = json!(it.description);
        }
        row
    };
    let rows: Vec<Value> = options.iter().map(row).collect();
    Some(json!({ "button": button, "sections": [{ "rows": rows }] }))
}

fn has_own_ids(options: &[Choice]) -> bool {
    options.iter().map(|it| it.id.as_str()).collect::<HashSet<_>>().len() == options.len()
}

/// A link behind a button.
pub(super) fn link(text: &Text, label: &Text, url: &Text) -> Option<Value> {
    let is_fine = fits(text, 1..=BODY_CHARS_MAX) && fits(label, 1..=BUTTON_CHARS_MAX);
    is_fine.then(|| {
        let parameters = json!({ "display_text": label, "url": url });
        interactive("cta_url", text, &json!({ "name": "cta_url", "parameters": parameters }))
    })
}

/// A button that shares where the customer is.
pub(super) fn location_request(text: &Text) -> Value {
    interactive("location_request_message", text, &json!({ "name": "send_location" }))
}

/// A button that opens a flow.
pub(super) fn flow(flow: &Flow) -> Value {
    let mut parameters = json!({ "flow_message_version": "3", "flow_cta": flow.cta });
    let words = [
        ("flow_id", &flow.id),
        ("flow_name", &flow.name),
        ("flow_token", &flow.token),
        ("flow_action", &flow.action),
        ("mode", &flow.mode),
    ];
    for (field, value) in words {
        if let Some(value) = value {
            parameters[field] = json!(value);
        }
    }
    if let Some(payload) = &flow.payload {
        parameters["flow_action_payload"] = payload.clone();
    }
    interactive("flow", &flow.text, &json!({ "name": "flow", "parameters": parameters }))
}

fn interactive(kind: &str, body: &Text, action: &Value) -> Value {
    json!({ "type": kind, "body": { "text": body }, "action": action })
}

fn fits(text: &Text, chars: RangeInclusive<usize>) -> bool {
    chars.contains(&text.0.chars().count())
}
