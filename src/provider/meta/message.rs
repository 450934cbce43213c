//! Messages of customers, by type (`docs/wire/meta-unipile-twilio.md` A4).

use serde_json::Value;

use super::wire::{each, float, owned, text, word};
use crate::domain::{
    event::What,
    message::{Card, Content, Media, MediaKind, Text},
    waba::ProviderKind,
};

/// The longest name of Meta's that we keep, in characters.
const NAME_CHARS_MAX: usize = 64;
/// Cards of one message that are kept.
const CARDS_MAX: usize = 257;

/// What a message does: say something, or change another message. `None`: there are no words.
pub(super) fn what(message: &Value, is_echo: bool) -> Option<What> {
    let kind = text(&message["type"])?;
    let object = &message[kind];
    match kind {
        "reaction" => {
            let target = owned(&object["message_id"])?;
            // One that was taken back has none, or an empty one.
            Some(What::Reaction { target, text: own(text(&object["emoji"]).unwrap_or_default()) })
        }
        "edit" => {
            let target = owned(&object["original_message_id"])?;
            let edited = &object["message"];
            let inner = &edited[text(&edited["type"])?];
            let said = text(&inner["body"]).or(text(&inner["caption"]));
            Some(What::Edit { target, text: own(said.unwrap_or_default()) })
        }
        "revoke" => Some(What::Revoke { target: owned(&object["original_message_id"])? }),
        "system" | "request_welcome" | "media_placeholder" => None,
        kind => {
            let content = content(kind, object, message)?;
            Some(if is_echo { What::Echo(content) } else { What::Message(content) })
        }
    }
}

fn content(kind: &str, object: &Value, message: &Value) -> Option<Content> {
    Some(match kind {
        "text" => Content::text(object["body"].as_str()?),
        "image" => media(MediaKind::Image, object),
        "video" => media(MediaKind::Video, object),
        "audio" | "voice" => media(MediaKind::Audio, object),
        "document" => media(MediaKind::Document, object),
        "sticker" => media(MediaKind::Sticker, object),
        "location" => {
            let name = [&object["name"], &object["address"]].into_iter().filter_map(text);
            Content::Location {
                latitude: float(&object["latitude"])?,
                longitude: float(&object["longitude"])?,
                text: own(&name.collect::<Vec<_>>().join(", ")),
            }
        }
        "contacts" => contacts(object)?,
        "interactive" => interactive(object),
        "button" => {
            let title = text(&object["text"]);
            let id = owned(&object["payload"]).or(title.map(str::to_owned))?;
            Content::Chosen { title: own(title.unwrap_or(&id)), id }
        }
        "order" => unsupported("order", &order(object)),
        "unsupported" => {
            let name = text(&object["type"]).unwrap_or("unsupported");
            unsupported(name, "")
        }
        // An object that is not there is told by an error in its place.
        _ if !message["errors"].is_null() => unsupported(kind, ""),
        _ => return None,
    })
}

/// What was tapped, or filled in.
fn interactive(object: &Value) -> Content {
    let Some(kind) = text(&object["type"]) else { return unsupported("interactive", "") };
    let reply = &object[kind];
    if let ("button_reply" | "list_reply", Some(id)) = (kind, owned(&reply["id"])) {
        let title = text(&reply["title"]).unwrap_or_default();
        return Content::Chosen { id, title: own(title) };
    }
    // What was filled in is JSON inside a text; a responder reads it as it is.
    let said = text(&reply["response_json"]).or(text(&reply["response"]));
    unsupported(kind, said.or(text(&reply["body"])).unwrap_or_default())
}

fn media(kind: MediaKind, object: &Value) -> Content {
    Content::Media(Media {
        kind,
        caption: own(text(&object["caption"]).unwrap_or_default()),
        url: owned(&object["url"]),
        mime_type: owned(&object["mime_type"]),
        file_name: owned(&object["filename"]),
        media_key: None,
        sha256: owned(&object["sha256"]),
        encrypted_sha256: None,
        bytes: None,
        upload: None,
        view_once: false,
        id: owned(&object["id"]),
        source: Some(ProviderKind::Meta),
    })
}

fn contacts(object: &Value) -> Option<Content> {
    let card = |it: &Value| Card {
        name: own(text(&it["name"]["formatted_name"]).unwrap_or_default()),
        phone: each(&it["phones"]).iter().find_map(|it| text(&it["phone"])).map(own),
    };
    let mut all = each(object).iter().filter(|it| it.is_object()).take(CARDS_MAX);
    let first = all.next()?;
    let vcard = own(text(&first["vcard"]).unwrap_or_default());
    let Card { name, phone } = card(first);
    Some(Content::Contact { vcard, name, phone, others: all.map(card).collect() })
}

/// A basket: what was written under it, then its lines.
fn order(object: &Value) -> String {
    let line = |it: &Value| {
        let id = word(&it["product_retailer_id"])?;
        let n = word(&it["quantity"]).unwrap_or("1".into());
        Some(format!("{n} × {id}"))
    };
    let lines = each(&object["product_items"]).iter().filter_map(line);
    let said = text(&object["text"]).map(str::to_owned);
    said.into_iter().chain(lines).collect::<Vec<_>>().join("\n")
}

fn unsupported(kind: &str, said: &str) -> Content {
    Content::Unsupported { kind: kind.chars().take(NAME_CHARS_MAX).collect(), text: own(said) }
}

pub(super) fn own(text: &str) -> Text {
    Text(text.to_owned())
}
