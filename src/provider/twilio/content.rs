//! What a message is in the form of a send (`docs/wire/meta-unipile-twilio.md` E1).

use serde_json::json;

use crate::{
    domain::message::{Content, Media, MediaKind},
    provider::{Outgoing, Unsendable, plain},
};

/// Of `Body`, in characters.
pub(super) const BODY_CHARS_MAX: usize = 1_600;

/// Parameters of a send.
pub(super) type Fields = Vec<(&'static str, String)>;

/// What the content is; `None` is content that Twilio has no form for.
pub(super) fn fields(message: &Outgoing<'_>) -> Option<Fields> {
    match message.content {
        Content::Media(it) => media(it, message.file),
        Content::Location { latitude, longitude, text } => {
            let label = text.0.replace('|', " ");
            let place = match label.trim() {
                "" => format!("geo:{latitude},{longitude}"),
                label => format!("geo:{latitude},{longitude}|{label}"),
            };
            // A message of a place alone is refused.
            let body =
                if text.is_empty() { plain::maps_link(*latitude, *longitude) } else { label };
            Some(vec![("PersistentAction", place), ("Body", body)])
        }
        Content::Template(it) if it.content_sid.is_some() => {
            let sid = it.content_sid.clone()?;
            let mut fields = vec![("ContentSid", sid)];
            if !it.variables.is_empty() {
                fields.push(("ContentVariables", json!(it.variables).to_string()));
            }
            Some(fields)
        }
        other => {
            let text = plain::text(other)?;
            let fits = !text.trim().is_empty() && text.chars().count() <= BODY_CHARS_MAX;
            fits.then(|| vec![("Body", text)])
        }
    }
}

/// Whether Twilio could send such content.
pub(super) fn check(content: &Content) -> Result<(), Unsendable> {
    let no = |why: &str| Err(Unsendable(why.to_owned()));
    match content {
        Content::Template(it) if it.content_sid.is_none() && it.text.is_empty() => {
            no("template.contentSid: Twilio sends templates by their id, HX…")
        }
        Content::Media(Media { view_once: true, .. }) => no("viewOnce: Twilio cannot send this"),
        Content::Template(it) if it.content_sid.is_some() => Ok(()),
        Content::Media(_) | Content::Location { .. } => Ok(()),
        other if plain::text(other).is_none() => no("type: Twilio cannot send this"),
        other => plain::fits(other, BODY_CHARS_MAX),
    }
}

fn media(media: &Media, file: Option<&str>) -> Option<Fields> {
    if media.view_once {
        // It would stay with the customer.
        return None;
    }
    let url = file.or(media.url.as_deref())?;
    let mut fields = vec![("MediaUrl", url.to_owned())];
    let has_text = !matches!(media.kind, MediaKind::Audio | MediaKind::Sticker);
    if has_text && !media.caption.is_empty() {
        fields.push(("Body", media.caption.0.clone()));
    }
    Some(fields)
}
