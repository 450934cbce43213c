//! What vendors may send: checked field by field before anything is kept.

use std::{collections::HashSet, ops::RangeInclusive};

use serde::Serialize;
use url::Url;

use crate::{
    domain::{
        choices::OPTIONS_MAX,
        message::{Choice, Content, Flow, Media, MediaKind, Template, Text},
        phone::PhoneNumber,
        route::ProviderKind,
        vendor::Vendor,
        window::TEXT_PLACE,
    },
    provider::plain,
};

/// The longest text, caption or prompt, in characters; longer than one message, it goes in parts.
const TEXT_CHARS_MAX: usize = 65_536;
/// The longest address of a file, in characters.
const URL_CHARS_MAX: usize = 2_048;
/// The longest name of a file, in characters.
const FILE_NAME_CHARS_MAX: usize = 255;
/// The longest id of a file, in characters.
const MEDIA_ID_CHARS_MAX: usize = 64;
/// The longest name of a place, in characters.
const PLACE_CHARS_MAX: usize = 1_000;
/// The longest name on a card, in characters.
const NAME_CHARS_MAX: usize = 200;
/// Options of a poll, at least and at most: `WhatsApp`'s own limits.
const POLL_OPTIONS: RangeInclusive<usize> = 2..=12;
/// The longest question of a poll, in characters: `WhatsApp`'s own limit.
const QUESTION_CHARS_MAX: usize = 255;
/// The longest option of a poll, in characters: `WhatsApp`'s own limit.
const POLL_OPTION_CHARS_MAX: usize = 100;
/// The longest id, title and description of an option, in characters.
const OPTION_ID_CHARS_MAX: usize = 200;
const TITLE_CHARS_MAX: usize = 100;
const DESCRIPTION_CHARS_MAX: usize = 300;

/// The longest text above a button, and the longest text on one, in characters
/// (`docs/wire/meta-unipile-twilio.md` B2).
const BODY_CHARS_MAX: usize = 1_024;
const BUTTON_CHARS_MAX: usize = 20;
const FLOW_CTA_CHARS_MAX: usize = 30;
/// The longest name of a template, in characters, and the most bytes of what fills it in.
const TEMPLATE_NAME_CHARS_MAX: usize = 512;
const COMPONENTS_BYTES_MAX: usize = 32 * 1_024;
/// How often the text may stand in a fallback template.
const TEXT_PLACES_MAX: usize = 10;
/// The longest id, word and token that is passed through, in characters: theirs to judge, ours to
/// bound.
const WORD_CHARS_MAX: usize = 4_096;
/// An emoji may be made of several characters.
const EMOJI_CHARS_MAX: usize = 32;

/// What stands for such content outside the window: the vendor's template with its text in it.
/// `None` where the template has not this provider's form, or would not say all of it.
pub(super) fn in_template(
    vendor: &Vendor,
    content: &Content,
    via: ProviderKind,
) -> Option<Content> {
    let template = vendor.fallback_template.as_deref()?;
    let text = plain::text(content)?;
    template.says(&text, via).then(|| Content::Template(template.with_text(&text)))
}

/// The content as it may be sent, or the field that is wrong and how. Numbers on cards are
/// completed by the country of `own`.
pub(super) fn checked(content: Content, own: &PhoneNumber) -> Result<Content, String> {
    match &content {
        Content::Text { text } => required("text", text, TEXT_CHARS_MAX)?,
        Content::Media(it) => media(it)?,
        Content::Location { latitude, longitude, text } => {
            within("location.latitude", *latitude, 90.0)?;
            within("location.longitude", *longitude, 180.0)?;
            at_most("location.name", text, PLACE_CHARS_MAX)?;
        }
        Content::Contact { name, phone, vcard, others } => {
            required("contact.name", name, NAME_CHARS_MAX)?;
            let phone = phone.as_ref().ok_or("contact.phone: is missing")?;
            let phone = PhoneNumber::from_person(&phone.0, Some(own));
            let phone = phone.map_err(|it| format!("contact.phone: {it}"))?;
            let phone = Some(Text(phone.expose()));
            let (name, vcard, others) = (name.clone(), vcard.clone(), others.clone());
            return Ok(Content::Contact { name, phone, vcard, others });
        }
        Content::Poll { question, options, .. } => {
            required("poll.question", question, QUESTION_CHARS_MAX)?;
            if !POLL_OPTIONS.contains(&options.len()) {
                let (min, max) = (POLL_OPTIONS.start(), POLL_OPTIONS.end());
                return Err(format!("poll.options: are {min} to {max}"));
            }
            for option in options {
                required("poll.options", option, POLL_OPTION_CHARS_MAX)?;
            }
            distinct("poll.options", options.iter().map(|it| it.0.trim()))?;
        }
        Content::Choices(it) => {
            let field = if it.is_list { "list" } else { "buttons" };
            required(&format!("{field}.text"), &it.text, TEXT_CHARS_MAX)?;
            at_most(&format!("{field}.header"), &it.header, BODY_CHARS_MAX)?;
            at_most(&format!("{field}.footer"), &it.footer, BODY_CHARS_MAX)?;
            at_most(&format!("{field}.button"), &it.button, TITLE_CHARS_MAX)?;
            options(field, &it.options)?;
        }
        Content::Template(it) => template(it)?,
        Content::CtaUrl { text, label, url: to } => {
            required("ctaUrl.text", text, BODY_CHARS_MAX)?;
            required("ctaUrl.label", label, BUTTON_CHARS_MAX)?;
            url("ctaUrl", &to.0)?;
        }
        Content::Flow(it) => flow(it)?,
        Content::LocationRequest { text } => {
            required("locationRequest.text", text, BODY_CHARS_MAX)?;
        }
        Content::Reaction { emoji } => at_most("reaction.emoji", emoji, EMOJI_CHARS_MAX)?,
        Content::Chosen { .. } | Content::Unsupported { .. } => {
            return Err("type: cannot be sent".to_owned());
        }
    }
    Ok(content)
}

pub(super) fn template(it: &Template) -> Result<(), String> {
    let is_half = it.name.is_empty() != it.language.is_empty();
    if is_half || (it.name.is_empty() && it.content_sid.is_none()) {
        return Err("template: has name and language, or contentSid".to_owned());
    }
    if it.name.chars().count() > TEMPLATE_NAME_CHARS_MAX {
        return Err(format!("template.name: has more than {TEMPLATE_NAME_CHARS_MAX} characters"));
    }
    word("template.language", Some(&it.language))?;
    word("template.contentSid", it.content_sid.as_deref())?;
    of_bytes("template.components", &it.components)?;
    of_bytes("template.variables", &it.variables)?;
    at_most("template.text", &it.text, TEXT_CHARS_MAX)
}

/// The template that stands for what comes too late and has a place for it: without one it would
/// say none of the texts.
pub(super) fn new_fallback_template(it: &Template) -> Result<(), String> {
    fallback_template(it)?;
    let places = [(ProviderKind::Meta, "components"), (ProviderKind::Twilio, "variables")];
    for (via, field) in places {
        if it.is_one_at(via) && !it.has_place_at(via) {
            return Err(format!("fallbackTemplate.{field}: has no {TEXT_PLACE}"));
        }
    }
    Ok(())
}

/// One that may have been stored before: each text is written wherever it has a place.
pub(super) fn fallback_template(it: &Template) -> Result<(), String> {
    template(it).map_err(|it| it.replace("template", "fallbackTemplate"))?;
    let filled = serde_json::to_string(&(&it.components, &it.variables)).unwrap_or_default();
    if filled.matches(TEXT_PLACE).count() > TEXT_PLACES_MAX {
        return Err(format!(
            "fallbackTemplate: has {TEXT_PLACE} more than {TEXT_PLACES_MAX} times"
        ));
    }
    Ok(())
}

fn flow(it: &Flow) -> Result<(), String> {
    required("flow.text", &it.text, BODY_CHARS_MAX)?;
    required("flow.cta", &it.cta, FLOW_CTA_CHARS_MAX)?;
    if it.id.is_some() == it.name.is_some() {
        return Err("flow: has either id or name".to_owned());
    }
    word("flow.id", it.id.as_deref())?;
    word("flow.name", it.name.as_deref())?;
    word("flow.token", it.token.as_deref())?;
    word("flow.action", it.action.as_deref())?;
    word("flow.mode", it.mode.as_deref())?;
    of_bytes("flow.payload", &it.payload)
}

fn word(field: &str, word: Option<&str>) -> Result<(), String> {
    if word.is_some_and(|it| it.chars().count() > WORD_CHARS_MAX) {
        return Err(format!("{field}: has more than {WORD_CHARS_MAX} characters"));
    }
    Ok(())
}

/// What is passed through as it is.
fn of_bytes(field: &str, what: &impl Serialize) -> Result<(), String> {
    let n_bytes = serde_json::to_vec(what).map_or(usize::MAX, |it| it.len());
    if n_bytes > COMPONENTS_BYTES_MAX {
        return Err(format!("{field}: has more than {COMPONENTS_BYTES_MAX} bytes"));
    }
    Ok(())
}

fn media(media: &Media) -> Result<(), String> {
    let field = match media.kind {
        MediaKind::Image => "image",
        MediaKind::Video => "video",
        MediaKind::Audio => "audio",
        MediaKind::Document => "document",
        MediaKind::Sticker => "sticker",
    };
    match (&media.url, &media.upload) {
        (Some(it), None) => url(field, it)?,
        (None, Some(it)) => media_id(field, it)?,
        _ => return Err(format!("{field}: has either url or mediaId")),
    }
    at_most(&format!("{field}.caption"), &media.caption, TEXT_CHARS_MAX)?;
    let Some(name) = &media.file_name else { return Ok(()) };
    let n_chars = name.chars().count();
    let is_name = (1..=FILE_NAME_CHARS_MAX).contains(&n_chars)
        && !name.chars().any(|it| it.is_control() || matches!(it, '/' | '\\'));
    if is_name {
        Ok(())
    } else {
        Err(format!(
            "{field}.fileName: is a name of 1 to {FILE_NAME_CHARS_MAX} characters, without slashes"
        ))
    }
}

fn url(field: &str, text: &str) -> Result<(), String> {
    let url = Url::parse(text).ok().filter(|it| matches!(it.scheme(), "http" | "https"));
    let is_fine = text.chars().count() <= URL_CHARS_MAX
        && url.is_some_and(|it| it.has_host() && it.username().is_empty());
    if is_fine {
        return Ok(());
    }
    Err(format!(
        "{field}.url: is an http or https address of at most {URL_CHARS_MAX} characters that the provider can reach"
    ))
}

fn media_id(field: &str, text: &str) -> Result<(), String> {
    let is_id = (1..=MEDIA_ID_CHARS_MAX).contains(&text.len())
        && text.bytes().all(|it| it.is_ascii_alphanumeric() || it == b'_');
    if is_id { Ok(()) } else { Err(format!("{field}.mediaId: is not the id of a file")) }
}

fn options(field: &str, options: &[Choice]) -> Result<(), String> {
    if !(1..=OPTIONS_MAX).contains(&options.len()) {
        return Err(format!("{field}.options: are 1 to {OPTIONS_MAX}"));
    }
    for option in options {
        let n_chars = option.id.chars().count();
        if !(1..=OPTION_ID_CHARS_MAX).contains(&n_chars) {
            return Err(format!("{field}.options.id: has 1 to {OPTION_ID_CHARS_MAX} characters"));
        }
        required(&format!("{field}.options.title"), &option.title, TITLE_CHARS_MAX)?;
        let description = format!("{field}.options.description");
        at_most(&description, &option.description, DESCRIPTION_CHARS_MAX)?;
    }
    distinct(&format!("{field}.options.id"), options.iter().map(|it| it.id.as_str()))
}

/// Text that is there and not too long.
pub(super) fn required(field: &str, text: &Text, chars_max: usize) -> Result<(), String> {
    if text.0.trim().is_empty() {
        return Err(format!("{field}: is empty"));
    }
    at_most(field, text, chars_max)
}

fn at_most(field: &str, text: &Text, chars_max: usize) -> Result<(), String> {
    if text.0.chars().count() > chars_max {
        return Err(format!("{field}: has more than {chars_max} characters"));
    }
    Ok(())
}

fn within(field: &str, degrees: f64, max: f64) -> Result<(), String> {
    if (-max..=max).contains(&degrees) {
        return Ok(());
    }
    Err(format!("{field}: is from -{max} to {max} degrees"))
}

fn distinct<'a>(field: &str, items: impl Iterator<Item = &'a str>) -> Result<(), String> {
    let mut seen = HashSet::new();
    for item in items {
        if !seen.insert(item) {
            return Err(format!("{field}: has one twice"));
        }
    }
    Ok(())
}
