//! Content as plain text, for providers that have no form of their own for it.

use std::fmt::Write;

use super::Unsendable;
use crate::domain::message::{Card, Content, Text, with_link};

/// What a person would read; `None` where that would not say it.
pub(crate) fn text(content: &Content) -> Option<String> {
    let text = match content {
        Content::Text { text } | Content::LocationRequest { text } => text.0.clone(),
        Content::Choices(it) => it.text.0.clone(),
        Content::CtaUrl { text, label, url } => with_link(text, label, url),
        Content::Template(it) => it.text.0.clone(),
        Content::Poll { question, options, .. } => {
            let mut text = question.0.clone();
            for (n, option) in options.iter().enumerate() {
                let _ = write!(text, "\n{}. {}", n + 1, option.0);
            }
            text
        }
        Content::Location { latitude, longitude, text } => {
            let link = maps_link(*latitude, *longitude);
            if text.is_empty() { link } else { format!("{}\n{link}", text.0) }
        }
        Content::Contact { name, phone, others, .. } => {
            let mut lines = vec![card(name, phone.as_ref())?];
            lines.extend(
                others.iter().filter_map(|Card { name, phone }| card(name, phone.as_ref())),
            );
            lines.join("\n")
        }
        Content::Media(_)
        | Content::Flow(_)
        | Content::Chosen { .. }
        | Content::Reaction { .. }
        | Content::Unsupported { .. } => return None,
    };
    Some(text).filter(|it| !it.trim().is_empty())
}

/// Whether what leaves as text fits into one message. Texts, captions and choices go in parts.
pub(crate) fn fits(content: &Content, chars_max: usize) -> Result<(), Unsendable> {
    let field = match content {
        Content::Template(_) => "template.text",
        Content::CtaUrl { .. } => "ctaUrl",
        _ => return Ok(()),
    };
    let n_chars = text(content).map_or(0, |it| it.chars().count());
    if n_chars <= chars_max {
        return Ok(());
    }
    Err(Unsendable(format!(
        "{field}: leaves as text, which has at most {chars_max} characters here"
    )))
}

/// A place on a map that every phone opens.
pub(crate) fn maps_link(latitude: f64, longitude: f64) -> String {
    format!("https://maps.google.com/?q={latitude},{longitude}")
}

fn card(name: &Text, phone: Option<&Text>) -> Option<String> {
    let phone = phone?;
    Some(if name.is_empty() { phone.0.clone() } else { format!("{}: {}", name.0, phone.0) })
}
