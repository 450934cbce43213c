//! Documents in Firestore, which other programs write as they like.

use std::{collections::HashMap, sync::OnceLock};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::Value as Json;
use waba_gateway::{
    domain::{
        id::VendorId,
        known::Known,
        vendor::Vendor,
        waba::{ProviderKind, WabaInstance},
    },
    store::{
        encode,
        firestore::{
            Fault,
            form::{
                self, ArrayValue, Document, MapValue, Operation, Timestamp, Value, ValueType, Write,
            },
        },
    },
    vault::Vault,
};

/// What sealed secrets begin with.
const SEALED: &str = "sealed:v1:";

fn vault() -> &'static Vault {
    static VAULT: OnceLock<Vault> = OnceLock::new();
    let key = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=".to_owned().into();
    VAULT.get_or_init(|| Vault::new(&key, &[]).expect("a key"))
}

/// A vendor's documents in JSON: its id (`vendor`), its configuration (`config`), its numbers
/// (`numbers`, by their ids), and a key and a change (`key` and `deed`, each in a map by its id).
pub fn documents(data: &[u8]) {
    let Ok(all) = serde_json::from_slice::<Json>(data) else { return };
    let id = all["vendor"].as_str().and_then(|it| VendorId::parse(it).ok());
    let id = id.unwrap_or_else(|| VendorId::parse("v").expect("an id"));
    let config = all["config"].as_object();
    let config = config.map(|_| document(&format!("vendor_configs/{id}"), &all["config"]));
    if let Some(config) = &config {
        vendor(&id, config);
    }
    for number in of(&all["numbers"], "waba_instances") {
        instance(&number, &[]);
        if let Some(config) = &config {
            instance(&number, std::slice::from_ref(config));
        }
    }
    of(&all["key"], "gateway_keys").iter().for_each(key);
    of(&all["deed"], "gateway_audit").iter().for_each(deed);
}

fn of(all: &Json, collection: &str) -> Vec<Document> {
    // No id in Firestore has a slash, or is nothing.
    let all = all.as_object().into_iter().flatten();
    let all = all.filter(|it| !it.0.is_empty() && !it.0.contains('/'));
    all.map(|(id, fields)| document(&format!("{collection}/{id}"), fields)).collect()
}

fn vendor(id: &VendorId, document: &Document) {
    let Some(read) = fine(form::vendor(vault(), id, document), document) else { return };
    let (name, bytes) = (&document.name, bytes(&read, None));
    let again = |document: &Document| {
        let again = form::vendor(vault(), id, document).expect("what was written can be read");
        assert!(self::bytes(&again, None) == bytes, "what was written is read as something else");
    };
    let write = |before: Option<&Document>| {
        form::vendor_write(vault(), name, before, &read).expect("it can be written")
    };
    if let Some(edit) = write(Some(document)) {
        let edited = written(Some(document), edit);
        again(&edited);
        assert!(write(Some(&edited)).is_none(), "what is written is written again");
    }
    again(&written(None, write(None).expect("a new document")));
}

fn instance(document: &Document, configs: &[Document]) {
    let read = fine(form::instance(vault(), document, configs), document).flatten();
    let Some(read) = read else { return };
    let (found, has) = (form::instance_keys(document, configs), read.keys());
    assert!(has.iter().all(|it| found.contains(it)), "it is not found by all it has");
    // The number of an account at Meta of which the rest may be lent.
    if read.meta.is_some() || read.provider != ProviderKind::Meta {
        assert!(found.iter().all(|it| has.contains(it)), "it is found by what it has not");
    }
    let vendor = Vendor::new(read.vendor_id.clone(), String::new(), String::new().into(), 0);
    let (name, bytes) = (&document.name, bytes(&vendor, Some(&read)));
    let again = |document: &Document, configs: &[Document]| {
        let again = form::instance(vault(), document, configs);
        let again = again.expect("what was written can be read").expect("there is a number");
        assert_eq!(again.vendor_id, read.vendor_id);
        let again = self::bytes(&vendor, Some(&again));
        assert!(again == bytes, "what was written is read as something else");
    };
    let write = |before: Option<&Document>, configs: &[Document]| {
        form::instance_write(vault(), name, before, configs, &read).expect("it can be written")
    };
    if let Some(edit) = write(Some(document), configs) {
        let edited = written(Some(document), edit);
        again(&edited, configs);
        assert!(write(Some(&edited), configs).is_none(), "what is written is written again");
    }
    // What was lent is its own in a new one.
    again(&written(None, write(None, &[]).expect("a new document")), &[]);
}

fn key(document: &Document) {
    let Some(mut read) = fine(form::key(document), document) else { return };
    let has = |field: &str| document.fields.contains_key(field);
    assert_eq!(read.vendor.is_some(), has("vendorId"), "a vendor's key is no admin's");
    assert_eq!(read.expires_at.is_some(), has("expiresAt"), "a key that ends lasts for ever");
    let again = form::key(&form::key_document(&read)).expect("what was written can be read");
    // This is noted apart.
    read.used_at = None;
    assert_eq!(format!("{again:?}"), format!("{read:?}"));
}

fn deed(document: &Document) {
    let Some((n, read)) = fine(form::deed(document), document) else { return };
    let again = form::deed(&form::deed_document(n, &read)).expect("what was written can be read");
    assert_eq!(format!("{again:?}"), format!("{:?}", (n, read)));
}

/// What was read. A fault says which document and which field, and quotes nothing of it.
fn fine<T>(end: Result<T, Fault>, document: &Document) -> Option<T> {
    match end {
        Ok(it) => Some(it),
        Err(Fault::Sealed) => None,
        Err(Fault::Unreadable { document: told, .. }) => {
            let collection = document.name.split('/').next().unwrap_or_default();
            assert!(told == document.name || told == format!("{collection}/…"), "{told}");
            None
        }
        Err(it) => panic!("there is no database: {it}"),
    }
}

/// All of a vendor or a number, its secrets too.
fn bytes(vendor: &Vendor, instance: Option<&WabaInstance>) -> Vec<u8> {
    let known = Known::new(vendor.clone(), instance.cloned().into_iter().collect());
    encode(&known).expect("it can be kept").to_vec()
}

/// The document, once this is written.
fn written(before: Option<&Document>, write: Write) -> Document {
    let Some(Operation::Update(new)) = write.operation else { panic!("it is an update") };
    let mut document = Document { name: new.name, ..before.cloned().unwrap_or_default() };
    for path in write.update_mask.expect("it names its fields").field_paths {
        match path.split_once('.') {
            None => put(&mut document.fields, &new.fields, &path),
            Some((field, inner)) => {
                let none = HashMap::new();
                let new = new.fields.get(field).and_then(map).unwrap_or(&none);
                let is_map = document.fields.get(field).is_some_and(|it| map(it).is_some());
                if !is_map {
                    let empty = ValueType::MapValue(MapValue::default());
                    let empty = Value { value_type: Some(empty) };
                    document.fields.insert(field.to_owned(), empty);
                }
                let value = document.fields.get_mut(field).and_then(|it| it.value_type.as_mut());
                let Some(ValueType::MapValue(value)) = value else { panic!("it is a map") };
                put(&mut value.fields, new, inner);
            }
        }
    }
    document
}

fn put(fields: &mut HashMap<String, Value>, new: &HashMap<String, Value>, field: &str) {
    match new.get(field) {
        Some(it) => fields.insert(field.to_owned(), it.clone()),
        None => fields.remove(field),
    };
}

fn map(it: &Value) -> Option<&HashMap<String, Value>> {
    match &it.value_type {
        Some(ValueType::MapValue(it)) => Some(&it.fields),
        _ => None,
    }
}

fn document(name: &str, fields: &Json) -> Document {
    let fields = fields.as_object().into_iter().flatten();
    let fields = fields.map(|(field, it)| (field.clone(), value(name, field, it))).collect();
    let time = Timestamp { seconds: 1_760_000_000, nanos: 0 };
    Document { name: name.to_owned(), fields, create_time: Some(time), update_time: Some(time) }
}

/// A field's value; those that JSON has not are maps of one field: `$time` (seconds and nanoseconds),
/// `$sealed` (a secret), `$bytes`, `$reference`, `$nothing`.
fn value(document: &str, field: &str, it: &Json) -> Value {
    let value_type = match it {
        Json::Null => ValueType::NullValue(0),
        Json::Bool(it) => ValueType::BooleanValue(*it),
        Json::Number(it) => match it.as_i64() {
            Some(it) => ValueType::IntegerValue(it),
            None => ValueType::DoubleValue(it.as_f64().unwrap_or(f64::NAN)),
        },
        Json::String(it) => ValueType::StringValue(it.clone()),
        Json::Array(it) => {
            let values = it.iter().map(|it| value(document, field, it)).collect();
            ValueType::ArrayValue(ArrayValue { values })
        }
        Json::Object(fields) => match fields.iter().next().filter(|_| fields.len() == 1) {
            Some((kind, it)) if kind.starts_with('$') => return special(document, field, kind, it),
            _ => {
                let fields = fields.iter().map(|it| (it.0.clone(), value(document, it.0, it.1)));
                ValueType::MapValue(MapValue { fields: fields.collect() })
            }
        },
    };
    Value { value_type: Some(value_type) }
}

fn special(document: &str, field: &str, kind: &str, it: &Json) -> Value {
    let text = it.as_str().unwrap_or_default();
    let value_type = match kind {
        "$time" => {
            let nanos = it[1].as_i64().and_then(|it| i32::try_from(it).ok()).unwrap_or_default();
            let seconds = it[0].as_i64().unwrap_or_default();
            Some(ValueType::TimestampValue(Timestamp { seconds, nanos }))
        }
        "$sealed" => {
            let place = format!("{document}/{field}");
            let sealed = vault().seal(&place, text.as_bytes()).expect("it can be sealed");
            let sealed = URL_SAFE_NO_PAD.encode(sealed);
            Some(ValueType::StringValue(format!("{SEALED}{sealed}")))
        }
        "$bytes" => Some(ValueType::BytesValue(text.as_bytes().to_vec())),
        "$reference" => Some(ValueType::ReferenceValue(text.to_owned())),
        _ => None,
    };
    Value { value_type }
}
