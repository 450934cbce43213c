//! What a send may look like, and how large it may be (`docs/wire/meta-unipile-twilio.md` B1, B2).

use std::{collections::HashSet, ops::RangeInclusive};

use serde_json::Value;

use super::{error::GraphError, interactive};

pub(super) type Checked<T> = Result<T, GraphError>;

const TEXT: RangeInclusive<usize> = 1..=4_096;
const CAPTION: RangeInclusive<usize> = 1..=1_024;
const CONTACTS: RangeInclusive<usize> = 1..=257;
const REFERENCE_CHARS_MAX: usize = 512;
/// Digits of a phone number.
const PHONE: RangeInclusive<usize> = 7..=15;

/// The type of an uploaded file by its id, if this number has it.
pub(super) type FindFile<'a> = &'a dyn Fn(&str) -> Option<String>;

/// What `POST /{pnid}/messages` asks for.
pub(super) enum Ask {
    /// To send something.
    Send(Order),
    /// To mark a customer's message as read, and perhaps to show that an answer is being written.
    Read { wamid: String, is_typing: bool },
}

/// A message that passed every check.
pub(super) struct Order {
    /// As it was given.
    pub(super) to: String,
    /// Whether it is a scoped id (A10).
    pub(super) is_bsuid: bool,
    pub(super) kind: String,
    /// What a customer reads first.
    pub(super) text: String,
    /// What statuses echo.
    pub(super) reference: Option<String>,
}

impl Ask {
    pub(super) fn read(body: &[u8], find: FindFile<'_>) -> Checked<Self> {
        let body: Value = serde_json::from_slice(body)
            .map_err(|_| GraphError::new(100, "The body is not JSON"))?;
        if body["messaging_product"] != "whatsapp" {
            return Err(GraphError::new(100, "messaging_product must be whatsapp"));
        }
        if body["status"] == "read" {
            let wamid = text(&body, "message_id", 1..=512)?.to_owned();
            let is_typing = match &body["typing_indicator"] {
                Value::Null => false,
                it if it["type"] == "text" => true,
                _ => return Err(GraphError::invalid("typing_indicator", "has no type text")),
            };
            return Ok(Self::Read { wamid, is_typing });
        }
        Order::read(&body, find).map(Self::Send)
    }
}

impl Order {
    fn read(body: &Value, find: FindFile<'_>) -> Checked<Self> {
        let (to, is_bsuid) = recipient(body)?;
        if !matches!(body["recipient_type"].as_str(), None | Some("individual")) {
            return Err(GraphError::invalid("recipient_type", "is not individual"));
        }
        let reference = match &body["biz_opaque_callback_data"] {
            Value::Null => None,
            it => Some(it.as_str().ok_or_else(|| bad_type("biz_opaque_callback_data"))?.to_owned()),
        };
        if reference.as_ref().is_some_and(|it| it.chars().count() > REFERENCE_CHARS_MAX) {
            return Err(GraphError::invalid("biz_opaque_callback_data", "is too long"));
        }
        if !body["context"].is_null() {
            text(&body["context"], "message_id", 1..=512)?;
        }
        let kind = body["type"].as_str().unwrap_or("text").to_owned();
        let object = &body[&kind];
        if !object.is_object() && !object.is_array() {
            return Err(GraphError::missing(&kind));
        }
        let said = said(&kind, object, find)?;
        if is_bsuid && kind == "template" && said == "authentication" {
            return Err(GraphError::new(131_062, "Business-scoped User ID is not supported"));
        }
        Ok(Self { to, is_bsuid, kind, text: said, reference })
    }
}

/// `to` wins over `recipient` (A10).
fn recipient(body: &Value) -> Checked<(String, bool)> {
    if let Some(to) = body["to"].as_str() {
        let number = to.strip_prefix('+').unwrap_or(to);
        let is_phone =
            PHONE.contains(&number.len()) && number.bytes().all(|it| it.is_ascii_digit());
        return if is_phone {
            Ok((to.to_owned(), false))
        } else {
            Err(GraphError::invalid("to", "is not a phone number"))
        };
    }
    let bsuid = body["recipient"].as_str().ok_or_else(|| GraphError::missing("to"))?;
    let (country, id) = bsuid.split_once('.').unwrap_or_default();
    let id = id.strip_prefix("ENT.").unwrap_or(id);
    let is_good = country.len() == 2
        && country.bytes().all(|it| it.is_ascii_uppercase())
        && !id.is_empty()
        && id.bytes().all(|it| it.is_ascii_alphanumeric());
    if is_good {
        Ok((bsuid.to_owned(), true))
    } else {
        Err(GraphError::invalid("recipient", "is not a user id"))
    }
}

/// Checks what is said, and says what a customer reads first.
fn said(kind: &str, object: &Value, find: FindFile<'_>) -> Checked<String> {
    match kind {
        "text" => {
            flag(object, "preview_url")?;
            text(object, "body", TEXT).map(str::to_owned)
        }
        "image" | "video" | "document" | "audio" | "sticker" => media(kind, object, find),
        "location" => {
            let number = |field: &str| {
                let it = &object[field];
                let number = it.as_f64().or_else(|| it.as_str()?.parse().ok());
                number.ok_or_else(|| GraphError::missing(field))
            };
            let is_there = (-90.0..=90.0).contains(&number("latitude")?)
                && (-180.0..=180.0).contains(&number("longitude")?);
            if !is_there {
                return Err(GraphError::invalid("location", "is nowhere"));
            }
            Ok(object["name"].as_str().unwrap_or_default().to_owned())
        }
        "contacts" => contacts(object),
        "reaction" => {
            text(object, "message_id", 1..=512)?;
            let emoji = object["emoji"].as_str().ok_or_else(|| GraphError::missing("emoji"))?;
            Ok(emoji.to_owned())
        }
        "interactive" => interactive::check(object, find),
        "template" => template(object),
        _ => Err(GraphError::new(131_051, "Unsupported message type")),
    }
}

fn media(kind: &str, object: &Value, find: FindFile<'_>) -> Checked<String> {
    source(kind, object, find)?;
    let may_have = |field: &str, range: RangeInclusive<usize>, is_fine: bool| {
        if object[field].is_null() {
            return Ok("");
        }
        if !is_fine {
            return Err(GraphError::invalid(field, "is not for this type"));
        }
        text(object, field, range)
    };
    may_have("filename", 1..=240, kind == "document")?;
    if kind == "audio" {
        flag(object, "voice")?;
    }
    let has_caption = matches!(kind, "image" | "video" | "document");
    may_have("caption", CAPTION, has_caption).map(str::to_owned)
}

/// Exactly one of `id` and `link`; an id is one of this number's, of a type that fits.
pub(super) fn source(kind: &str, object: &Value, find: FindFile<'_>) -> Checked<()> {
    match (object["id"].as_str(), object["link"].as_str()) {
        (Some(id), None) => {
            let mime_type = find(id).ok_or_else(|| GraphError::invalid("id", "is no media"))?;
            let fits = match kind {
                "image" => matches!(mime_type.as_str(), "image/jpeg" | "image/png"),
                "sticker" => mime_type == "image/webp",
                "video" | "audio" => mime_type.starts_with(kind),
                _ => true,
            };
            if fits { Ok(()) } else { Err(GraphError::invalid("id", "is of another type")) }
        }
        (None, Some(link)) if link.starts_with("https://") || link.starts_with("http://") => Ok(()),
        (None, Some(_)) => Err(GraphError::invalid("link", "is not a URL")),
        (Some(_), Some(_)) => Err(GraphError::invalid("link", "and id are given")),
        (None, None) => Err(GraphError::missing(&format!("{kind}['id'] or {kind}['link']"))),
    }
}

fn contacts(object: &Value) -> Checked<String> {
    let all = object.as_array().filter(|it| CONTACTS.contains(&it.len()));
    let all = all.ok_or_else(|| GraphError::invalid("contacts", "must have 1 to 257 items"))?;
    for it in all {
        let name = &it["name"];
        text(name, "formatted_name", 1..=1_024)?;
        let has_more =
            name.as_object().is_some_and(|it| it.values().filter(|it| it.is_string()).count() > 1);
        if !has_more {
            return Err(GraphError::missing("name['first_name']"));
        }
        for phone in it["phones"].as_array().into_iter().flatten() {
            text(phone, "phone", 1..=64)?;
        }
    }
    Ok(all[0]["name"]["formatted_name"].as_str().unwrap_or_default().to_owned())
}

fn template(object: &Value) -> Checked<String> {
    let name = text(object, "name", 1..=512)?;
    text(&object["language"], "code", 2..=16)?;
    let components = match &object["components"] {
        Value::Null => return Ok(name.to_owned()),
        it => it.as_array().ok_or_else(|| bad_type("components"))?,
    };
    for it in components {
        let kind = text(it, "type", 1..=64)?.to_lowercase();
        if !matches!(
            kind.as_str(),
            "header" | "body" | "button" | "carousel" | "limited_time_offer"
        ) {
            return Err(GraphError::invalid("components", "has an unknown type"));
        }
        if kind == "button" && (it["sub_type"].is_null() || it["index"].is_null()) {
            return Err(GraphError::missing("sub_type"));
        }
    }
    Ok(name.to_owned())
}

/// A text of so many characters.
pub(super) fn text<'a>(
    object: &'a Value,
    field: &str,
    chars: RangeInclusive<usize>,
) -> Checked<&'a str> {
    let text = match &object[field] {
        Value::Null => return Err(GraphError::missing(field)),
        it => it.as_str().ok_or_else(|| bad_type(field))?,
    };
    let n = text.chars().count();
    if n < *chars.start() {
        return Err(GraphError::missing(field));
    }
    if n > *chars.end() {
        return Err(GraphError::invalid(field, &format!("may have {} characters", chars.end())));
    }
    Ok(text)
}

/// All different.
pub(super) fn unique(field: &str, all: &[&str]) -> Checked<()> {
    if all.iter().collect::<HashSet<_>>().len() == all.len() {
        Ok(())
    } else {
        Err(GraphError::invalid(field, "has duplicates"))
    }
}

fn flag(object: &Value, field: &str) -> Checked<()> {
    if object[field].is_null() || object[field].is_boolean() {
        Ok(())
    } else {
        Err(bad_type(field))
    }
}

fn bad_type(field: &str) -> GraphError {
    GraphError::invalid(field, "is of the wrong type")
}
