//! What a message is in the body of `POST /{pnid}/messages` (`docs/wire/meta-unipile-twilio.md`
//! B1, B2). What Meta has no form for becomes text.

use serde_json::{Value, json};

use super::{TEXT_LIMITS, interactive};
use crate::{
    domain::{
        contact::Address,
        delivery::{Reason, Refusal},
        media::base_of,
        message::{Choice, Choices, Content, Media, MediaKind, Template, Text, with_link},
    },
    provider::{Outgoing, Unsendable, plain::fits},
};

/// Cards of one message, at most (B2).
const CONTACTS_MAX: usize = 257;

/// The body of a send; the refusal is of what Meta cannot carry, or cannot send to.
pub(super) fn body(message: &Outgoing<'_>) -> Result<Value, Refusal> {
    let mut body = json!({
        "messaging_product": "whatsapp",
        "recipient_type": "individual",
        // Statuses echo it: what became of a send that nobody answered (A5).
        "biz_opaque_callback_data": message.id.to_string(),
    });
    let (field, to) = recipient(message.to).ok_or(Refusal::FailOver(Reason::NoPhone))?;
    body[field] = json!(to);
    // A customer's message has an id, one of ours the ticket that its send was answered with.
    let quoted = message.quotes.as_ref().and_then(|it| it.id.or(it.ticket));
    let (kind, object) = match message.content {
        Content::Reaction { emoji } => {
            let target = quoted.ok_or(Refusal::GiveUp(Reason::Invalid))?;
            ("reaction", json!({ "message_id": target, "emoji": emoji }))
        }
        content => {
            if let Some(id) = quoted {
                body["context"] = json!({ "message_id": id });
            }
            object(content, message.file)?
        }
    };
    body["type"] = json!(kind);
    body[kind] = object;
    Ok(body)
}

/// Whether Meta could send such content, as far as can be told before.
pub(super) fn check(content: &Content) -> Result<(), Unsendable> {
    match content {
        Content::Unsupported { .. } | Content::Chosen { .. } => {
            Err(Unsendable("type: Meta cannot send this".to_owned()))
        }
        Content::Contact { phone: None, .. } => {
            Err(Unsendable("contact.phone: is missing".to_owned()))
        }
        Content::Media(Media { view_once: true, .. }) => {
            Err(Unsendable("viewOnce: Meta cannot send this".to_owned()))
        }
        Content::Template(it) if it.name.is_empty() && it.text.is_empty() => {
            let why = "template.name: Meta sends templates by their name and language";
            Err(Unsendable(why.to_owned()))
        }
        Content::Template(it) if it.name.is_empty() => fits(content, TEXT_LIMITS.text),
        _ => Ok(()),
    }
}

/// The phone wins, as it does at Meta (A10).
fn recipient(to: &Address) -> Option<(&'static str, String)> {
    let phone = to.phone.as_ref().map(|it| ("to", it.digits().to_owned()));
    phone.or_else(|| to.bsuid.as_ref().map(|it| ("recipient", it.expose().to_owned())))
}

fn object(content: &Content, file: Option<&str>) -> Result<(&'static str, Value), Refusal> {
    let unsupported = Refusal::FailOver(Reason::Unsupported);
    Ok(match content {
        Content::Text { text } => plain(&text.0),
        Content::Media(it) if it.view_once => return Err(unsupported),
        Content::Media(it) => media(it, file).ok_or(Refusal::GiveUp(Reason::Invalid))?,
        Content::Location { latitude, longitude, text } => {
            let mut place = json!({ "latitude": latitude, "longitude": longitude });
            if !text.0.is_empty() {
                place["name"] = json!(text);
            }
            ("location", place)
        }
        Content::Contact { .. } => ("contacts", contacts(content).ok_or(unsupported)?),
        Content::Poll { question, options, .. } => plain(&poll(question, options)),
        Content::Choices(it) => match interactive::choices(it) {
            Some(interactive) => ("interactive", interactive),
            None => plain(&it.text.0),
        },
        Content::CtaUrl { text, label, url } => match interactive::link(text, label, url) {
            Some(interactive) => ("interactive", interactive),
            None => plain(&with_link(text, label, url)),
        },
        Content::Flow(it) => ("interactive", interactive::flow(it)),
        Content::LocationRequest { text } => ("interactive", interactive::location_request(text)),
        Content::Template(it) => template(it).ok_or(unsupported)?,
        Content::Reaction { .. } | Content::Chosen { .. } | Content::Unsupported { .. } => {
            return Err(unsupported);
        }
    })
}

fn plain(text: &str) -> (&'static str, Value) {
    // As the app itself does with a link.
    let has_link = text.contains("https://") || text.contains("http://");
    ("text", json!({ "body": text, "preview_url": has_link }))
}

/// A file by the id that Meta gave it, else by its address.
fn media(media: &Media, file: Option<&str>) -> Option<(&'static str, Value)> {
    let mut object = match (file, &media.url) {
        (Some(id), _) => json!({ "id": id }),
        (None, Some(url)) => json!({ "link": url }),
        (None, None) => return None,
    };
    let (kind, has_caption) = match media.kind {
        MediaKind::Image => ("image", true),
        MediaKind::Video => ("video", true),
        MediaKind::Document => ("document", true),
        MediaKind::Audio => ("audio", false),
        MediaKind::Sticker => ("sticker", false),
    };
    if has_caption && !media.caption.0.is_empty() {
        object["caption"] = json!(media.caption);
    }
    if let (MediaKind::Document, Some(name)) = (media.kind, &media.file_name) {
        object["filename"] = json!(name);
    }
    if media.kind == MediaKind::Audio && is_ogg(media) {
        object["voice"] = json!(true);
    }
    Some((kind, object))
}

/// Whether it can be heard as a voice note, which other files are none of (B2).
fn is_ogg(media: &Media) -> bool {
    if let Some(of) = &media.mime_type {
        return base_of(of) == "audio/ogg";
    }
    let url = media.url.as_deref().unwrap_or_default();
    let path = url.split(['?', '#']).next().unwrap_or_default().to_ascii_lowercase();
    [".ogg", ".oga", ".opus"].iter().any(|it| path.ends_with(it))
}

/// A question with its options numbered below it.
fn poll(question: &Text, options: &[Text]) -> String {
    let option = |title: &Text| Choice {
        id: String::new(),
        title: title.clone(),
        description: Text::default(),
    };
    Choices::new(&question.0, options.iter().map(option).collect(), true).text.0
}

/// The cards of a contact and the others beside it.
fn contacts(content: &Content) -> Option<Value> {
    let Content::Contact { name, phone, others, .. } = content else { return None };
    let card = |name: &str, phone: &str| {
        let name = if name.trim().is_empty() { phone } else { name };
        // One more part of the name than the formatted one is asked for (B2).
        json!({
            "name": { "formatted_name": name, "first_name": name },
            "phones": [{ "phone": phone, "type": "CELL" }],
        })
    };
    let mut cards = vec![card(&name.0, &phone.as_ref()?.0)];
    for it in others.iter().take(CONTACTS_MAX - 1) {
        if let Some(phone) = &it.phone {
            cards.push(card(&it.name.0, &phone.0));
        }
    }
    Some(Value::Array(cards))
}

/// A template by its name, its components as they are; one of another provider's is its text.
fn template(it: &Template) -> Option<(&'static str, Value)> {
    if it.name.is_empty() {
        return (!it.text.0.is_empty()).then(|| plain(&it.text.0));
    }
    let mut template = json!({ "name": it.name, "language": { "code": it.language } });
    if !it.components.is_empty() {
        template["components"] = json!(it.components);
    }
    Some(("template", template))
}
