//! What a back end is told, put together when it is sent.

use serde_json::{Map, Value, json};

use crate::{
    domain::{
        clock::{Millis, iso},
        event::{Chat, Event, Votes, What},
        forward::Topic,
        id::{EntryId, VendorId},
        message::Content,
        phone::PhoneNumber,
    },
    journal::{Forward, Kept, Told},
    present,
};

/// The body of an event: `{"type","timestamp","data"}`. What is not known is left out.
pub(super) fn of(vendor: &VendorId, row: &Forward, told: &Told) -> Vec<u8> {
    let mut data = Map::new();
    let mut put = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            data.insert(name.to_owned(), value);
        }
    };
    let text = |it: &dyn ToString| Some(json!(it.to_string()));
    put("vendorId", text(vendor));
    put("wabaId", text(&told.instance));
    put("messageId", row.message.map(|it| json!(it.to_string())));
    put("conversationId", told.contact.map(|it| json!(it.to_string())));
    let customer = told.address.phone.as_ref().map(PhoneNumber::expose);
    put(if is_outgoing(row, told) { "to" } else { "from" }, customer.map(Value::from));
    put("status", row.status.as_ref().map(|it| json!(it)));
    put("reason", row.reason.as_ref().map(|it| json!(it)));
    put("inReplyTo", told.origin.map(|it| json!(it.to_string())));
    let details = match &told.what {
        Kept::Intent(content) => said(content, row.message),
        Kept::Event(event) => happened(event, row.message),
    };
    data.extend(details);
    let body = json!({
        "type": row.topic.as_str(),
        "timestamp": iso(row.id.ms()),
        "data": data,
    });
    body.to_string().into_bytes()
}

/// A signed event that tells nothing, to try an endpoint with.
pub(super) fn ping(vendor: &VendorId, now: Millis) -> Vec<u8> {
    let data = json!({ "vendorId": vendor.as_str() });
    json!({ "type": "test.ping", "timestamp": iso(now), "data": data }).to_string().into_bytes()
}

/// Whether the customer is who gets the message, not who wrote.
fn is_outgoing(row: &Forward, told: &Told) -> bool {
    match &told.what {
        Kept::Intent(_) => true,
        Kept::Event(event) => row.topic == Topic::Sent || matches!(event.what, What::Echo(_)),
    }
}

fn happened(event: &Event, id: Option<EntryId>) -> Map<String, Value> {
    let mut found = match &event.what {
        What::Message(content) | What::Echo(content) => {
            let mut found = said(content, id);
            // Where the provider keeps a customer's file is for us alone.
            if let Some(media) = found.get_mut("media").and_then(Value::as_object_mut) {
                media.remove("url");
            }
            found
        }
        What::Edit { text, .. } => object(json!({ "message": text })),
        What::Reaction { text, .. } => object(json!({ "reaction": text })),
        What::Votes { results, .. } => {
            let count = |it: &Votes| json!({ "option": it.option, "votes": it.voters.len() });
            object(json!({ "votes": results.iter().map(count).collect::<Vec<_>>() }))
        }
        What::Revoke { .. }
        | What::Status { .. }
        | What::SendFailed { .. }
        | What::Connection(_)
        | What::Other { .. } => Map::new(),
    };
    if matches!(event.what, What::Echo(_)) {
        found.insert("byHuman".to_owned(), json!(true));
    }
    if event.chat == Chat::Group {
        found.insert("chat".to_owned(), json!("group"));
    }
    if let Some(name) = &event.name {
        found.insert("name".to_owned(), json!(name));
    }
    if let Some(at) = event.at {
        found.insert("timestamp".to_owned(), json!(iso(at)));
    }
    found
}

fn said(content: &Content, id: Option<EntryId>) -> Map<String, Value> {
    let mut found = object(json!({ "messageType": content.kind(), "message": content.as_text() }));
    if let Some(id) = id {
        found.extend(present::details(content, id));
    }
    found
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}
