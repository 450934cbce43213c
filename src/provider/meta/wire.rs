//! Values of Meta's JSON, read leniently: of the wrong type is absent
//! (`docs/wire/meta-unipile-twilio.md` A3).

use std::borrow::Cow;

use serde_json::Value;

use crate::domain::{
    clock::Millis,
    contact::{Address, Bsuid},
    phone::PhoneNumber,
};

/// Times from here on are in milliseconds, as some once were (A3).
const MILLIS_FROM: i64 = 1_000_000_000_000;
/// No event is of the year 2100 or later, in milliseconds.
const TIME_MAX: Millis = 4_102_444_800_000;

/// Text that is not empty.
pub(super) fn text(value: &Value) -> Option<&str> {
    value.as_str().filter(|it| !it.is_empty())
}

/// An id, which is text even where it is all digits; some write it as a number.
pub(super) fn word(value: &Value) -> Option<Cow<'_, str>> {
    match value {
        Value::Number(it) if it.is_u64() => Some(it.to_string().into()),
        value => text(value).map(Cow::from),
    }
}

pub(super) fn owned(value: &Value) -> Option<String> {
    word(value).map(Cow::into_owned)
}

/// The items of an array, or what stands in its place.
pub(super) fn each(value: &Value) -> &[Value] {
    match value {
        Value::Null => &[],
        Value::Array(items) => items,
        one => std::slice::from_ref(one),
    }
}

pub(super) fn float(value: &Value) -> Option<f64> {
    value.as_f64().or_else(|| value.as_str()?.trim().parse().ok()).filter(|it| it.is_finite())
}

/// A time in seconds, as text or number, unless it is absurd.
pub(super) fn millis(value: &Value) -> Option<Millis> {
    let n = value.as_i64().or_else(|| value.as_str()?.trim().parse().ok())?;
    let ms = if n >= MILLIS_FROM { n } else { n.checked_mul(1_000)? };
    (MILLIS_FROM..TIME_MAX).contains(&ms).then_some(ms)
}

/// A customer: a phone and a scoped id may stand in each other's fields (A10).
pub(super) fn address(fields: [&Value; 2]) -> Address {
    let words = || fields.into_iter().filter_map(word);
    Address {
        phone: words().find_map(|it| PhoneNumber::from_wire(&it).ok()),
        bsuid: words().find_map(|it| Bsuid::from_wire(&it)),
        ..Address::default()
    }
}
