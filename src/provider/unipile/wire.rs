//! Reading JSON of which nobody promises the form.

use serde_json::Value;

use crate::domain::{clock::Millis, message::Text};

/// Characters of a name that is kept.
pub(super) const NAME_CHARS_MAX: usize = 64;

/// A text that says something.
pub(super) fn word(value: &Value) -> Option<&str> {
    value.as_str().map(str::trim).filter(|it| !it.is_empty())
}

/// An id, which is text or, of several, the first.
pub(super) fn first_word(value: &Value) -> Option<String> {
    let first = value.as_array().map_or(Some(value), |it| it.first())?;
    word(first).map(str::to_owned)
}

/// `true`, 1 or `"1"`: each is used.
pub(super) fn truth(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(it) => Some(*it),
        Value::Number(it) => Some(it.as_f64() != Some(0.0)),
        Value::String(it) => match it.as_str() {
            "true" | "1" => Some(true),
            "false" | "0" => Some(false),
            _ => None,
        },
        _ => None,
    }
}

/// A time in ISO 8601, or in milliseconds.
pub(super) fn millis(value: &Value) -> Option<Millis> {
    let text = value.as_str().and_then(|it| it.parse::<jiff::Timestamp>().ok());
    text.map(jiff::Timestamp::as_millisecond).or_else(|| value.as_i64())
}

/// What was written; line ends and spaces are the writer's.
pub(super) fn text(value: &Value) -> Option<Text> {
    value.as_str().filter(|it| !it.trim().is_empty()).map(|it| Text(it.to_owned()))
}

/// A name to keep, which may be any text.
pub(super) fn short(name: &str) -> String {
    name.chars().take(NAME_CHARS_MAX).collect()
}
