//! Fields of documents: read leniently, as other programs have written them, and written in one
//! form.

use std::{collections::HashMap, ops::RangeInclusive};

use firestore::gcloud_sdk::{
    google::firestore::v1::{
        ArrayValue, Document, DocumentMask, MapValue, Precondition, Value, Write,
        precondition::ConditionType, value::ValueType, write::Operation,
    },
    prost_types::Timestamp,
};

use crate::domain::clock::{Millis, from_iso, iso};

/// Fields of a document or a map.
pub(super) type Fields = HashMap<String, Value>;

/// The one field in which everything is that only this gateway knows.
pub(super) const OURS: &str = "gateway";

/// Firestore's times: from the year 1 to the end of 9999.
const TIMES: RangeInclusive<Millis> = -62_135_596_800_000..=253_402_300_799_999;

pub(super) fn value(it: ValueType) -> Value {
    Value { value_type: Some(it) }
}

pub(super) fn text(it: impl Into<String>) -> Value {
    value(ValueType::StringValue(it.into()))
}

pub(super) fn flag(it: bool) -> Value {
    value(ValueType::BooleanValue(it))
}

pub(super) fn integer(it: i64) -> Value {
    value(ValueType::IntegerValue(it))
}

pub(super) fn time(at: Millis) -> Value {
    let nanos = i32::try_from(at.rem_euclid(1_000) * 1_000_000).unwrap_or_default();
    value(ValueType::TimestampValue(Timestamp { seconds: at.div_euclid(1_000), nanos }))
}

/// A time in the form in which the document has it already: other programs read it so.
pub(super) fn time_like(present: Option<&Value>, at: Millis) -> Value {
    match present.and_then(|it| it.value_type.as_ref()) {
        Some(ValueType::StringValue(_)) => text(iso(at)),
        Some(ValueType::IntegerValue(_)) => integer(at),
        _ => time(at),
    }
}

/// The last part of a document's name.
pub(super) fn id_of(name: &str) -> &str {
    name.rsplit('/').next().unwrap_or(name)
}

/// The collection in a document's name.
pub(super) fn collection_of(name: &str) -> &str {
    name.rsplit('/').nth(1).unwrap_or_default()
}

/// A field that has text in it; a number counts as its digits.
pub(super) fn get_text(fields: &Fields, name: &str) -> Option<String> {
    let text = match fields.get(name)?.value_type.as_ref()? {
        ValueType::StringValue(it) => it.trim().to_owned(),
        ValueType::IntegerValue(it) => it.to_string(),
        #[expect(clippy::cast_possible_truncation, reason = "it has no fraction and is not larger")]
        ValueType::DoubleValue(it) if it.fract() == 0.0 && it.abs() < 9e15 => {
            (*it as i64).to_string()
        }
        _ => return None,
    };
    Some(text).filter(|it| !it.is_empty())
}

/// What a person wrote, to the blank; nothing but blanks is nothing.
pub(super) fn get_words(fields: &Fields, name: &str) -> Option<String> {
    match fields.get(name)?.value_type.as_ref()? {
        ValueType::StringValue(it) => Some(it.clone()).filter(|it| !it.trim().is_empty()),
        _ => get_text(fields, name),
    }
}

pub(super) fn get_flag(fields: &Fields, name: &str) -> Option<bool> {
    match fields.get(name)?.value_type.as_ref()? {
        ValueType::BooleanValue(it) => Some(*it),
        ValueType::StringValue(it) => it.trim().to_ascii_lowercase().parse().ok(),
        _ => None,
    }
}

pub(super) fn get_integer(fields: &Fields, name: &str) -> Option<i64> {
    match fields.get(name)?.value_type.as_ref()? {
        ValueType::IntegerValue(it) => Some(*it),
        _ => None,
    }
}

/// A time: a Firestore timestamp, ISO text, or milliseconds since the Unix epoch. One that Firestore
/// could not keep as a timestamp is none.
pub(super) fn get_time(fields: &Fields, name: &str) -> Option<Millis> {
    let at = match fields.get(name)?.value_type.as_ref()? {
        ValueType::TimestampValue(it) => millis(it),
        ValueType::StringValue(it) => from_iso(it.trim())?,
        ValueType::IntegerValue(it) => *it,
        _ => return None,
    };
    Some(at).filter(|it| TIMES.contains(it))
}

/// What is in the map of ours.
pub(super) fn ours(document: &Document) -> Option<&Fields> {
    match document.fields.get(OURS)?.value_type.as_ref()? {
        ValueType::MapValue(it) => Some(&it.fields),
        _ => None,
    }
}

/// When a document was made and last changed, where it does not say so itself.
pub(super) fn created_at(document: &Document) -> Millis {
    let told = get_time(&document.fields, "createdAt");
    told.or_else(|| document.create_time.as_ref().map(millis)).unwrap_or_default()
}

pub(super) fn updated_at(document: &Document) -> Millis {
    let told = get_time(&document.fields, "updatedAt");
    told.or_else(|| document.update_time.as_ref().map(millis)).unwrap_or_default()
}

fn millis(it: &Timestamp) -> Millis {
    it.seconds.saturating_mul(1_000).saturating_add(Millis::from(it.nanos) / 1_000_000)
}

pub(super) fn from_json(it: &serde_json::Value) -> Value {
    use serde_json::Value as Json;
    value(match it {
        Json::Null => ValueType::NullValue(0),
        Json::Bool(it) => ValueType::BooleanValue(*it),
        Json::Number(it) => match it.as_i64() {
            Some(it) => ValueType::IntegerValue(it),
            None => ValueType::DoubleValue(it.as_f64().unwrap_or_default()),
        },
        Json::String(it) => ValueType::StringValue(it.clone()),
        Json::Array(it) => {
            ValueType::ArrayValue(ArrayValue { values: it.iter().map(from_json).collect() })
        }
        Json::Object(it) => {
            let fields = it.iter().map(|it| (it.0.clone(), from_json(it.1))).collect();
            ValueType::MapValue(MapValue { fields })
        }
    })
}

pub(super) fn to_json(it: &Value) -> serde_json::Value {
    use serde_json::Value as Json;
    match it.value_type.as_ref() {
        Some(ValueType::BooleanValue(it)) => Json::Bool(*it),
        Some(ValueType::IntegerValue(it)) => Json::from(*it),
        Some(ValueType::DoubleValue(it)) => Json::from(*it),
        Some(ValueType::StringValue(it)) => Json::String(it.clone()),
        Some(ValueType::TimestampValue(it)) => Json::from(millis(it)),
        Some(ValueType::ArrayValue(it)) => it.values.iter().map(to_json).collect(),
        Some(ValueType::MapValue(it)) => {
            Json::Object(it.fields.iter().map(|it| (it.0.clone(), to_json(it.1))).collect())
        }
        _ => Json::Null,
    }
}

/// A write of some fields of a document; all others stay as they are.
pub(super) struct Edit {
    document: Document,
    mask: Vec<String>,
    /// Whether it must be there; `None`: whether or not.
    is_there: Option<bool>,
}

impl Edit {
    pub(super) fn of(name: String, is_new: bool) -> Self {
        let document = Document { name, ..Document::default() };
        Self { document, mask: Vec::new(), is_there: Some(!is_new) }
    }

    /// Of a document that may be there or not.
    pub(super) fn over(name: String) -> Self {
        Self { is_there: None, ..Self::of(name, true) }
    }

    pub(super) fn set(&mut self, field: &str, value: Value) {
        self.document.fields.insert(field.to_owned(), value);
        self.mask.push(field.to_owned());
    }

    pub(super) fn remove(&mut self, field: &str) {
        self.mask.push(field.to_owned());
    }

    /// Sets a field of ours, or removes it.
    pub(super) fn set_ours(&mut self, field: &str, new: Option<Value>) {
        self.mask.push(format!("{OURS}.{field}"));
        let Some(new) = new else { return };
        let empty = || value(ValueType::MapValue(MapValue::default()));
        let map = self.document.fields.entry(OURS.to_owned()).or_insert_with(empty);
        if let Some(ValueType::MapValue(map)) = &mut map.value_type {
            map.fields.insert(field.to_owned(), new);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.mask.is_empty()
    }

    /// The write; `None` when nothing differs.
    pub(super) fn write(self) -> Option<Write> {
        if self.is_empty() {
            return None;
        }
        Some(Write {
            update_mask: Some(DocumentMask { field_paths: self.mask }),
            operation: Some(Operation::Update(self.document)),
            current_document: self.is_there.map(exists),
            ..Write::default()
        })
    }
}

pub(super) fn exists(it: bool) -> Precondition {
    Precondition { condition_type: Some(ConditionType::Exists(it)) }
}

/// A whole document, in the place of what was read there.
pub(super) fn whole(name: String, fields: Fields, before: Option<&Document>) -> Write {
    let condition = match before {
        None => exists(false),
        Some(it) => Precondition { condition_type: it.update_time.map(ConditionType::UpdateTime) },
    };
    Write {
        operation: Some(Operation::Update(Document { name, fields, ..Document::default() })),
        current_document: Some(condition),
        ..Write::default()
    }
}

pub(super) fn delete(name: String) -> Write {
    Write { operation: Some(Operation::Delete(name)), ..Write::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_read_in_every_form_and_kept_in_the_one_it_has() {
        let at = 1_700_000_000_123;
        for form in [time(at), text(iso(at)), integer(at)] {
            let fields = Fields::from([("at".to_owned(), form.clone())]);
            assert_eq!(get_time(&fields, "at"), Some(at));
        }
        assert_eq!(time_like(Some(&text("2024-01-01T00:00:00Z")), at), text(iso(at)));
        assert_eq!(time_like(Some(&time(5)), at), time(at));
        assert_eq!(time_like(None, -1), time(-1));
    }

    #[test]
    fn a_time_that_firestore_cannot_keep_is_none() {
        let far = value(ValueType::TimestampValue(Timestamp { seconds: i64::MAX, nanos: 0 }));
        for it in [far, integer(i64::MIN), time(*TIMES.end() + 1)] {
            assert_eq!(get_time(&Fields::from([("at".to_owned(), it)]), "at"), None);
        }
    }

    #[test]
    fn a_number_counts_as_its_digits() {
        let fields = Fields::from([
            ("a".to_owned(), integer(4_001)),
            ("b".to_owned(), value(ValueType::DoubleValue(4_001.0))),
            ("c".to_owned(), text(" 4001 ")),
            ("d".to_owned(), text(" ")),
        ]);
        for name in ["a", "b", "c"] {
            assert_eq!(get_text(&fields, name).as_deref(), Some("4001"));
        }
        assert_eq!(get_text(&fields, "d"), None);
    }
}
