//! Limits of interactive messages (`docs/wire/meta-unipile-twilio.md` B2).

use std::ops::RangeInclusive;

use serde_json::Value;

use super::{
    check::{Checked, FindFile, source, text, unique},
    error::GraphError,
};

const BUTTONS: RangeInclusive<usize> = 1..=3;
const ROWS_MAX: usize = 10;

/// Checks an `interactive` object, and says its body.
pub(super) fn check(object: &Value, find: FindFile<'_>) -> Checked<String> {
    let kind = text(object, "type", 1..=64)?;
    let body_max = if kind == "list" { 4_096 } else { 1_024 };
    let body = text(&object["body"], "text", 1..=body_max)?;
    if !object["footer"].is_null() {
        text(&object["footer"], "text", 1..=60)?;
    }
    header(kind, &object["header"], find)?;
    let action = &object["action"];
    match kind {
        "button" => buttons(action)?,
        "list" => list(action)?,
        "cta_url" => {
            named(action, "cta_url")?;
            text(&action["parameters"], "display_text", 1..=20)?;
            let url = text(&action["parameters"], "url", 1..=2_000)?;
            if !url.starts_with("https://") && !url.starts_with("http://") {
                return Err(GraphError::invalid("url", "is not a URL"));
            }
        }
        "location_request_message" => named(action, "send_location")?,
        "flow" => flow(action)?,
        _ => return Err(GraphError::invalid("interactive['type']", "is unknown")),
    }
    Ok(body.to_owned())
}

/// Text, or for all but lists a file.
fn header(kind: &str, header: &Value, find: FindFile<'_>) -> Checked<()> {
    if header.is_null() {
        return Ok(());
    }
    match header["type"].as_str() {
        Some("text") => text(header, "text", 1..=60).map(drop),
        Some(it @ ("image" | "video" | "document")) if kind != "list" => {
            source(it, &header[it], find)
        }
        _ => Err(GraphError::invalid("header['type']", "is not for this type")),
    }
}

fn buttons(action: &Value) -> Checked<()> {
    let all = action["buttons"].as_array().filter(|it| BUTTONS.contains(&it.len()));
    let all = all.ok_or_else(|| GraphError::invalid("buttons", "must have 1 to 3 items"))?;
    let (mut ids, mut titles) = (Vec::new(), Vec::new());
    for it in all {
        if it["type"] != "reply" {
            return Err(GraphError::invalid("buttons['type']", "is not reply"));
        }
        ids.push(text(&it["reply"], "id", 1..=256)?);
        titles.push(text(&it["reply"], "title", 1..=20)?);
    }
    unique("buttons['id']", &ids)?;
    unique("buttons['title']", &titles)
}

fn list(action: &Value) -> Checked<()> {
    text(action, "button", 1..=20)?;
    let sections = action["sections"].as_array().filter(|it| (1..=10).contains(&it.len()));
    let sections = sections.ok_or_else(|| GraphError::invalid("sections", "must have 1 to 10"))?;
    let mut ids = Vec::new();
    for section in sections {
        if sections.len() > 1 || !section["title"].is_null() {
            text(section, "title", 1..=24)?;
        }
        let rows = section["rows"].as_array().filter(|it| !it.is_empty());
        for row in rows.ok_or_else(|| GraphError::missing("rows"))? {
            ids.push(text(row, "id", 1..=200)?);
            text(row, "title", 1..=24)?;
            if !row["description"].is_null() {
                text(row, "description", 1..=72)?;
            }
        }
    }
    if ids.len() > ROWS_MAX {
        return Err(GraphError::invalid("rows", "may have 10 items in all"));
    }
    unique("rows['id']", &ids)
}

fn flow(action: &Value) -> Checked<()> {
    named(action, "flow")?;
    let parameters = &action["parameters"];
    if parameters["flow_message_version"] != "3" {
        return Err(GraphError::invalid("flow_message_version", "is not 3"));
    }
    if parameters["flow_id"].is_string() == parameters["flow_name"].is_string() {
        return Err(GraphError::missing("flow_id"));
    }
    if !matches!(parameters["mode"].as_str(), None | Some("draft" | "published")) {
        return Err(GraphError::invalid("mode", "is unknown"));
    }
    if parameters["flow_action"] == "navigate" {
        text(&parameters["flow_action_payload"], "screen", 1..=256)?;
    }
    text(parameters, "flow_cta", 1..=30).map(drop)
}

fn named(action: &Value, name: &str) -> Checked<()> {
    if action["name"] == name {
        Ok(())
    } else {
        Err(GraphError::invalid("action['name']", "is not of this type"))
    }
}
