//! What Meta sends, and what it is in our words (`docs/wire/meta-unipile-twilio.md` A3–A10).

mod any;

use serde_json::{Value, json};

use super::{classes, parse};
use crate::{
    domain::{
        event::{Chat, Event, What},
        message::Content,
        secret::SecretString,
        waba::{InstanceKey, ProviderKind},
    },
    provider::{Parsed, Part},
};

const WABA: &str = "102290129340398";
const NUMBER: &str = "106540352242922";
const CUSTOMER: &str = "16505551234";
const BSUID: &str = "US.13491208655302741918";

fn change(field: &str, mut value: Value) -> Value {
    value["messaging_product"] = json!("whatsapp");
    value["metadata"] = json!({ "display_phone_number": "15550783881", "phone_number_id": NUMBER });
    json!({ "field": field, "value": value })
}

fn body(changes: &[Value]) -> Value {
    let entry = json!({ "id": WABA, "changes": changes });
    json!({ "object": "whatsapp_business_account", "entry": [entry] })
}

/// A message with what all messages have.
fn message(kind: &str, object: &Value, more: &Value) -> Value {
    let mut message = json!({
        "from": CUSTOMER, "id": "wamid.X", "timestamp": "1749854575", "type": kind,
    });
    if !object.is_null() {
        message[kind] = object.clone();
    }
    merge(&mut message, more);
    message
}

/// Adds fields; null takes one away.
fn merge(into: &mut Value, more: &Value) {
    let fields = into.as_object_mut().unwrap();
    for (name, value) in more.as_object().into_iter().flatten() {
        match value {
            Value::Null => drop(fields.remove(name)),
            value => drop(fields.insert(name.clone(), value.clone())),
        }
    }
}

fn said(message: &Value) -> Value {
    let profile = json!({ "profile": { "name": "Zoë" }, "wa_id": CUSTOMER, "user_id": BSUID });
    change("messages", json!({ "contacts": [profile], "messages": [message] }))
}

fn parsed(body: &Value) -> Vec<Part> {
    let secret = SecretString::from("app-secret");
    let Parsed { parts } = parse::read(body.to_string().as_bytes(), &[&secret]).unwrap();
    parts
}

/// The events of one change.
fn events(change: &Value) -> Vec<Event> {
    let mut parts = parsed(&body(std::slice::from_ref(change)));
    assert_eq!(parts.len(), 1);
    parts.remove(0).events
}

fn brief(event: &Event) -> String {
    match &event.what {
        What::Message(it) => content(it),
        What::Echo(it) => format!("echo {}", content(it)),
        What::Edit { target, text } => format!("edit {target} {}", text.0),
        What::Revoke { target } => format!("revoke {target}"),
        What::Reaction { target, text } => format!("reaction {target} {}", text.0),
        What::Status { target, status, participant, failure } => {
            let who = participant.as_ref().map_or("", |it| &it.0);
            let code = failure.as_ref().map_or("", |it| &it.code);
            format!("{} {target} {who} {code}", status.as_str()).trim_end().to_owned()
        }
        What::Connection(it) => it.as_str().to_owned(),
        What::Other { name, .. } => format!("other {name}"),
        What::Votes { .. } | What::SendFailed { .. } => panic!("Meta tells of none"),
    }
}

fn content(content: &Content) -> String {
    match content {
        Content::Media(it) => {
            assert_eq!((it.source, &it.media_key), (Some(ProviderKind::Meta), &None));
            let word = |it: &Option<String>| it.clone().unwrap_or_default();
            let (id, mime_type) = (word(&it.id), word(&it.mime_type));
            let (hash, name) = (word(&it.sha256), word(&it.file_name));
            let all = [content.kind(), &id, &mime_type, &hash, &name, &it.caption.0];
            all.join("|")
        }
        Content::Location { latitude, longitude, text } => {
            format!("location {latitude} {longitude} {}", text.0)
        }
        Content::Contact { name, phone, others, .. } => {
            let phone = phone.as_ref().map_or("", |it| &it.0);
            format!("contact {} {phone} +{}", name.0, others.len())
        }
        Content::Chosen { id, title } => format!("chosen {id} {}", title.0),
        Content::Unsupported { kind, text } => format!("unsupported {kind} {}", text.0),
        it => format!("{} {}", it.kind(), it.as_text()),
    }
}

#[track_caller]
fn check(kind: &str, object: &Value, more: &Value, want: &str) {
    let events = events(&said(&message(kind, object, more)));
    assert_eq!(events.len(), 1, "{kind}");
    let event = &events[0];
    assert_eq!(brief(event).trim_end(), want, "{kind}");
    assert_eq!((event.chat, event.from_me), (Chat::Private, false));
    assert_eq!(event.contact.phone.as_ref().unwrap().digits(), CUSTOMER);
    assert_eq!(event.contact.bsuid.as_ref().unwrap().expose(), BSUID);
    assert_eq!(event.name.as_ref().unwrap().0, "Zoë");
    assert_eq!(
        (event.provider_id.as_deref(), event.at),
        (Some("wamid.X"), Some(1_749_854_575_000))
    );
}

fn interactive(kind: &str, object: &Value) -> Value {
    json!({ "type": kind, kind: object })
}

#[expect(clippy::too_many_lines, reason = "it is a table")]
#[test]
fn every_type_of_message_has_a_word() {
    let none = json!({});
    let file = json!({ "id": "98", "mime_type": "image/jpeg", "sha256": "aGFzaA==" });
    let file = |more: Value| {
        let mut file = file.clone();
        merge(&mut file, &more);
        file
    };
    let named = |name: &str| json!({ "name": { "formatted_name": name } });
    let mut ada = named("Ada");
    ada["phones"] = json!([{ "type": "CELL" }, { "phone": "+1 555", "wa_id": "1555" }]);
    let reply = json!({ "id": "o1", "title": "Oui", "description": "d" });
    let flow = json!({ "name": "flow", "body": "Sent", "response_json": "{\"a\":1}" });
    let errors = json!({ "errors": [{ "code": 131_051, "title": "Message type unknown" }] });
    let basket = json!({ "catalog_id": "1", "text": "Vite", "product_items": [
        { "product_retailer_id": "sku1", "quantity": 2, "item_price": 1.5, "currency": "XOF" },
        { "product_retailer_id": "sku2", "quantity": "1" }, { "quantity": 3 },
    ] });
    let edited = json!({ "type": "text", "text": { "body": "3" } });
    let caption = json!({ "type": "image", "image": { "id": "1", "caption": "new" } });
    let edit = |it: &Value| json!({ "original_message_id": "wamid.O", "message": it });
    for (kind, object, more, want) in [
        ("text", json!({ "body": "hi" }), &none, "text hi"),
        ("image", file(json!({ "caption": "c" })), &none, "image|98|image/jpeg|aGFzaA==||c"),
        ("video", file(json!({})), &none, "video|98|image/jpeg|aGFzaA==||"),
        ("audio", file(json!({ "voice": true })), &none, "audio|98|image/jpeg|aGFzaA==||"),
        ("voice", file(json!({})), &none, "audio|98|image/jpeg|aGFzaA==||"),
        ("sticker", file(json!({ "animated": true })), &none, "sticker|98|image/jpeg|aGFzaA==||"),
        (
            "document",
            file(json!({ "filename": "a.pdf" })),
            &none,
            "document|98|image/jpeg|aGFzaA==|a.pdf|",
        ),
        (
            "location",
            json!({ "latitude": 14.5, "longitude": "-17", "name": "Marché", "address": "Dakar" }),
            &none,
            "location 14.5 -17 Marché, Dakar",
        ),
        ("contacts", json!([ada, named("Bo")]), &none, "contact Ada +1 555 +1"),
        ("interactive", interactive("button_reply", &reply), &none, "chosen o1 Oui"),
        ("interactive", interactive("list_reply", &reply), &none, "chosen o1 Oui"),
        ("interactive", interactive("nfm_reply", &flow), &none, "unsupported nfm_reply {\"a\":1}"),
        (
            "interactive",
            interactive("call_permission_reply", &json!({ "response": "accept" })),
            &none,
            "unsupported call_permission_reply accept",
        ),
        ("interactive", Value::Null, &errors, "unsupported interactive"),
        ("button", json!({ "payload": "p", "text": "Stop" }), &none, "chosen p Stop"),
        ("button", json!({ "text": "Stop" }), &none, "chosen Stop Stop"),
        ("order", basket, &none, "unsupported order Vite\n2 × sku1\n1 × sku2"),
        ("unsupported", Value::Null, &errors, "unsupported unsupported"),
        ("unsupported", json!({ "type": "poll" }), &errors, "unsupported poll"),
        (
            "reaction",
            json!({ "message_id": "wamid.O", "emoji": "👍" }),
            &none,
            "reaction wamid.O 👍",
        ),
        ("reaction", json!({ "message_id": "wamid.O" }), &none, "reaction wamid.O"),
        ("reaction", json!({ "message_id": "wamid.O", "emoji": "" }), &none, "reaction wamid.O"),
        ("edit", edit(&edited), &none, "edit wamid.O 3"),
        ("edit", edit(&caption), &none, "edit wamid.O new"),
        ("revoke", json!({ "original_message_id": "wamid.O" }), &none, "revoke wamid.O"),
        ("request_welcome", Value::Null, &none, "other messages.request_welcome"),
        ("hologram", json!({ "depth": 3 }), &none, "other messages.hologram"),
        ("text", json!({ "body": 7 }), &none, "other messages.text"),
    ] {
        check(kind, &object, more, want);
    }
}

#[test]
fn a_customer_without_a_phone_is_known_by_their_scoped_id_wherever_it_stands() {
    let contact = json!({ "profile": { "username": "zoe" }, "user_id": BSUID });
    for more in [json!({ "from": null, "from_user_id": BSUID }), json!({ "from": BSUID })] {
        let message = message("text", &json!({ "body": "hi" }), &more);
        let value = json!({ "contacts": [contact], "messages": [message] });
        let event = events(&change("messages", value)).remove(0);
        assert_eq!(event.contact.phone, None);
        assert_eq!(event.contact.bsuid.unwrap().expose(), BSUID);
        assert_eq!((event.name.unwrap().0, event.chat_id.unwrap().0), ("zoe".into(), BSUID.into()));
    }
    let system = json!({ "type": "user_changed_number", "body": "…", "wa_id": "16505559999" });
    let moved = message("system", &system, &json!({}));
    let event = events(&change("messages", json!({ "messages": [moved] }))).remove(0);
    assert_eq!(brief(&event), "other messages.system");
    assert_eq!(event.contact.phone.unwrap().digits(), "16505559999");
    let moved = json!({ "wa_id": CUSTOMER, "timestamp": 1_749_854_575,
        "user_id": { "previous": "US.1", "current": BSUID } });
    let event = events(&change("user_id_update", json!({ "user_id_update": [moved] }))).remove(0);
    assert_eq!((brief(&event).as_str(), event.chat), ("other user_id_update", Chat::Private));
    assert_eq!(event.contact.bsuid.unwrap().expose(), BSUID);
}

#[test]
fn a_reply_names_what_it_quotes_and_a_group_is_no_private_chat() {
    let text = json!({ "body": "hi" });
    let context = json!({ "context": { "from": "15550783881", "id": "wamid.Q" } });
    let event = events(&said(&message("text", &text, &context))).remove(0);
    assert_eq!(event.quoted.as_deref(), Some("wamid.Q"));
    let forwarded = json!({ "context": { "forwarded": true } });
    let event = events(&said(&message("text", &text, &forwarded))).remove(0);
    assert_eq!(event.quoted, None);
    let group = events(&said(&message("text", &text, &json!({ "group_id": "G1" })))).remove(0);
    assert_eq!((group.chat, group.chat_id.unwrap().0.as_str()), (Chat::Group, "G1"));
    // Old times were in milliseconds (A3).
    let late = json!({ "timestamp": "1749854575123" });
    let event = events(&said(&message("text", &text, &late))).remove(0);
    assert_eq!(event.at, Some(1_749_854_575_123));
}

#[test]
fn what_is_written_in_the_app_is_an_echo() {
    let echo = json!({ "from": "15550783881", "to": CUSTOMER, "id": "wamid.E",
        "timestamp": "1749854575", "type": "text", "text": { "body": "Oui" } });
    for field in ["smb_message_echoes", "message_echoes"] {
        let event = events(&change(field, json!({ "message_echoes": [echo] }))).remove(0);
        assert_eq!((brief(&event).as_str(), event.from_me), ("echo text Oui", true));
        assert_eq!(event.contact.phone.unwrap().digits(), CUSTOMER);
    }
    let mut edit = echo;
    let inner = json!({ "type": "text", "text": { "body": "Non" } });
    merge(
        &mut edit,
        &json!({ "type": "edit", "text": null,
        "edit": { "original_message_id": "wamid.E", "message": inner } }),
    );
    let event =
        events(&change("smb_message_echoes", json!({ "message_echoes": [edit] }))).remove(0);
    assert_eq!((brief(&event).as_str(), event.from_me), ("edit wamid.E Non", true));
}

#[test]
fn statuses_name_our_own_message_and_say_why_they_failed() {
    let status = |more: Value| {
        let mut status = json!({ "id": "wamid.S", "timestamp": "1749854575",
            "recipient_id": CUSTOMER, "biz_opaque_callback_data": "msg_0123456789abcdef" });
        merge(&mut status, &more);
        status
    };
    let failed = |code: Value| json!({ "status": "failed", "errors": [{ "code": code }] });
    let member = json!({ "status": "read", "recipient_id": "G1", "recipient_type": "group",
        "recipient_participant_id": CUSTOMER });
    for (more, want) in [
        (json!({ "status": "sent" }), "sent wamid.S"),
        (json!({ "status": "delivered" }), "delivered wamid.S"),
        (json!({ "status": "read" }), "read wamid.S"),
        (json!({ "status": "played" }), "played wamid.S"),
        (failed(json!(131_047)), "failed wamid.S  131047"),
        (failed(json!("131049")), "failed wamid.S  131049"),
        (json!({ "status": "failed" }), "failed wamid.S  none"),
        (member.clone(), "read wamid.S 16505551234"),
        (json!({ "status": "deleted" }), "other statuses"),
        (json!({ "status": "sent", "id": null }), "other statuses"),
    ] {
        let event = events(&change("messages", json!({ "statuses": [status(more)] }))).remove(0);
        assert_eq!(brief(&event), want);
        assert_eq!(event.reference.unwrap().to_string(), "msg_0123456789abcdef");
        assert_eq!(event.at, Some(1_749_854_575_000));
    }
    let failure = |code: u64| {
        let status = status(failed(json!(code)));
        let event = events(&change("messages", json!({ "statuses": [status] }))).remove(0);
        let What::Status { failure: Some(failure), .. } = event.what else { panic!() };
        failure.refusal
    };
    for code in [131_047, 131_049, 131_026, 131_053, 130_429, 131_056, 999_999] {
        assert_eq!(failure(code), classes::late(code, 1_749_854_575_000));
    }
    let hidden = json!({ "status": "read", "recipient_id": null, "recipient_user_id": BSUID });
    let event = events(&change("messages", json!({ "statuses": [status(hidden)] }))).remove(0);
    assert_eq!(event.contact.bsuid.unwrap().expose(), BSUID);
    let strange = status(json!({ "status": "sent", "biz_opaque_callback_data": "ours?" }));
    let event = events(&change("messages", json!({ "statuses": [strange] }))).remove(0);
    assert_eq!((brief(&event).as_str(), event.reference), ("sent wamid.S", None));
}

#[test]
fn a_body_with_more_than_meta_puts_into_one_is_kept_as_it_came() {
    let hi = said(&message("text", &json!({ "body": "hi" }), &json!({})));
    let many = |n: usize| {
        let mut hi = hi.clone();
        let one = hi["value"]["messages"][0].clone();
        hi["value"]["messages"] = json!(vec![one; n]);
        parsed(&body(&[hi])).into_iter().map(|it| it.events.len()).sum::<usize>()
    };
    assert_eq!((many(1_000), many(3_000)), (1_000, 1));
    // As many in as many changes, each with who wrote it.
    assert_eq!(parsed(&body(&vec![hi; 1_000])).len(), 1_000);
}

#[test]
fn each_change_goes_to_the_number_that_it_names() {
    let hi = said(&message("text", &json!({ "body": "hi" }), &json!({})));
    let mut other = hi.clone();
    other["value"]["metadata"]["phone_number_id"] = json!(42);
    let mut bare = hi.clone();
    merge(&mut bare["value"], &json!({ "metadata": null }));
    let quality = json!({ "field": "phone_number_quality_update",
        "value": { "display_phone_number": "+1 555 078 3881", "event": "FLAGGED" } });
    let account = json!({ "field": "account_update",
        "value": { "event": "DISABLED_UPDATE", "ban_info": { "waba_ban_state": "DISABLE" } } });
    let mut body = body(&[hi, other, bare, quality]);
    body["entry"].as_array_mut().unwrap().push(json!({ "id": "7", "changes": account }));
    let parts = parsed(&body);
    let accounts: Vec<_> = parts.iter().map(|it| it.account.as_deref()).collect();
    assert_eq!(accounts, [None, None, None, None, Some("7")], "of what names no number");
    let names: Vec<_> = parts.into_iter().map(|it| it.names).collect();
    assert_eq!(names[0], Some(InstanceKey::Meta(NUMBER.to_owned())));
    assert_eq!(names[1], Some(InstanceKey::Meta("42".to_owned())));
    assert_eq!(names[2], Some(InstanceKey::Meta(WABA.to_owned())));
    assert!(matches!(&names[3], Some(InstanceKey::Phone(_))));
    assert_eq!(names[4], None);
}

#[test]
fn what_an_account_may_do_is_a_state_and_everything_else_is_kept() {
    let update = |value: Value| {
        let all = events(&json!({ "field": "account_update", "value": value }));
        all.iter().map(brief).collect::<Vec<_>>().join(", ")
    };
    let ban = |state: &str| {
        update(json!({ "event": "DISABLED_UPDATE", "ban_info": { "waba_ban_state": state } }))
    };
    assert_eq!(ban("DISABLE"), "error, other account_update");
    assert_eq!(ban("REINSTATE"), "connected, other account_update");
    assert_eq!(ban("SCHEDULE_FOR_DISABLE"), "other account_update");
    for (event, want) in [
        ("ACCOUNT_RESTRICTION", "error, other account_update"),
        ("ACCOUNT_DELETED", "disconnected, other account_update"),
        ("ACCOUNT_OFFBOARDED", "disconnected, other account_update"),
        ("PARTNER_REMOVED", "disconnected, other account_update"),
        ("PARTNER_APP_UNINSTALLED", "disconnected, other account_update"),
        ("ACCOUNT_RECONNECTED", "connected, other account_update"),
        ("ACCOUNT_VIOLATION", "other account_update"),
        ("SOMETHING_NEW", "other account_update"),
    ] {
        assert_eq!(update(json!({ "event": event })), want);
    }
    for field in [
        "message_template_status_update",
        "phone_number_quality_update",
        "account_review_update",
        "user_preferences",
        "history",
        "calls",
        "something_new",
    ] {
        let event = events(&json!({ "field": field, "value": { "token": "t" } })).remove(0);
        assert_eq!(brief(&event), format!("other {field}"));
        let What::Other { raw, .. } = event.what else { panic!() };
        assert!(raw.0.contains("[secret]"), "tokens are masked");
    }
    let errors = json!({ "errors": [{ "code": 130_429, "title": "app-secret" }] });
    let event = events(&change("messages", errors)).remove(0);
    let What::Other { name, raw } = event.what else { panic!() };
    assert_eq!((name.as_str(), raw.0.contains("app-secret")), ("errors", false));
}
