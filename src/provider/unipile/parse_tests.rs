//! Webhooks of both generations, and what they are in our words.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{chats::Chats, parse};
use crate::{
    domain::{
        contact::Address,
        event::{Chat, Event, What},
        id::InstanceId,
        message::Content,
        phone::PhoneNumber,
        secret::SecretString,
        waba::InstanceKey,
    },
    provider::{Parsed, Unreadable},
};

fn content(content: &Content) -> String {
    match content {
        Content::Text { text } => format!("text {}", text.0),
        Content::Media(it) => {
            let [id, mime, name] = [&it.id, &it.mime_type, &it.file_name]
                .map(|it| it.as_deref().unwrap_or("-").to_owned());
            format!("{} {id} {mime} {name} {}", it.kind.as_str(), it.caption.0)
        }
        Content::Unsupported { kind, .. } => format!("unsupported {kind}"),
        other => format!("{other:?}"),
    }
}

/// In one line.
fn brief(event: &Event) -> String {
    let what = match &event.what {
        What::Message(it) => content(it),
        What::Echo(it) => format!("echo {}", content(it)),
        What::Status { target, status, .. } => format!("{} {target}", status.as_str()),
        What::Edit { target, text } => format!("edit {target} {}", text.0),
        What::Revoke { target } => format!("revoke {target}"),
        What::Reaction { target, text } => format!("reaction {target} {}", text.0),
        What::Connection(it) => it.as_str().to_owned(),
        What::Other { name, .. } => format!("other {name}"),
        other => format!("{other:?}"),
    };
    let contact = &event.contact;
    let more = [
        contact.phone.as_ref().map(|it| format!(" p{}", it.digits())),
        contact.lid.as_ref().map(|it| format!(" l{}", it.digits())),
        event.provider_id.as_ref().map(|it| format!(" #{it}")),
        event.quoted.as_ref().map(|it| format!(" quotes {it}")),
        event.name.as_ref().map(|it| format!(" by {}", it.0)),
        (event.chat != Chat::Private && event.chat != Chat::None)
            .then(|| format!(" {:?}", event.chat)),
        event.from_me.then(|| " own".to_owned()),
    ];
    what + &more.into_iter().flatten().collect::<String>()
}

fn read(body: &[u8], secrets: &[&SecretString]) -> Result<Parsed, Unreadable> {
    parse::read(body, secrets, Chats::default().at(&InstanceId::parse("n1").unwrap()))
}

fn parsed(body: &Value) -> Parsed {
    let secrets = [&SecretString::from("a-secret-word")];
    read(body.to_string().as_bytes(), &secrets).unwrap()
}

#[track_caller]
fn check(body: &Value, want: &str) {
    let parsed = parsed(body);
    let got: Vec<_> = parsed.parts.iter().flat_map(|it| &it.events).map(brief).collect();
    assert_eq!(got.join(" | "), want, "{body}");
}

/// `fields` in place of, or beside, those of a customer's text.
fn with(fields: Value) -> Value {
    let mut body = json!({
        "event": "message_received",
        "account_id": "acc1",
        "account_type": "WHATSAPP",
        "account_info": { "user_id": "221771234567@s.whatsapp.net" },
        "chat_id": "chat1",
        "provider_chat_id": "221705555555@s.whatsapp.net",
        "message_id": "m1",
        "provider_message_id": "3EB0",
        "message": "Bonjour",
        "timestamp": "2027-01-15T08:00:00.123Z",
        "sender": ada(),
        "attendees": [ada()],
        "attachments": [],
        "is_sender": false,
    });
    let Value::Object(fields) = fields else { panic!("it is an object") };
    for (name, value) in fields {
        body[name] = value;
    }
    body
}

fn ada() -> Value {
    json!({
        "attendee_id": "a1",
        "attendee_name": "Ada",
        "attendee_provider_id": "221705555555@s.whatsapp.net",
    })
}

fn me() -> Value {
    json!({ "attendee_name": "You", "attendee_provider_id": "221771234567:3@s.whatsapp.net" })
}

#[test]
fn a_customers_message_is_read_whatever_it_is() {
    let who = "p221705555555 #m1 by Ada";
    check(&with(json!({})), &format!("text Bonjour {who}"));
    // Some have it one level deeper.
    check(
        &json!({ "event": "message_received", "data": with(json!({})) }),
        &format!("text Bonjour {who}"),
    );
    let event = &parsed(&with(json!({}))).parts[0].events[0];
    assert_eq!(event.at, Some(1_800_000_000_123));
    assert_eq!(event.chat_id.as_ref().unwrap().0, "chat1");
    let names = &parsed(&with(json!({}))).parts[0].names;
    assert_eq!(*names, Some(InstanceKey::Unipile("acc1".to_owned())));
    let file = json!({ "id": "f1", "type": "img", "mimetype": "image/jpeg", "file_size": 3 });
    let image = format!("image chat1/m1/f1 image/jpeg - Bonjour {who}");
    check(&with(json!({ "attachments": [file] })), &image);
    // The documents show one where there is a list.
    check(&with(json!({ "attachments": file })), &image);
    let two =
        json!({ "attachments": [file, { "id": "f2", "type": "file", "file_name": "a.pdf" }] });
    check(
        &with(two),
        &format!("{image} | document chat1/m1/f2 - a.pdf  p221705555555 #m1/1 by Ada"),
    );
    let sticker = json!([{ "id": "f1", "type": "img", "sticker": true }]);
    check(
        &with(json!({ "attachments": sticker, "message": null })),
        &format!("sticker chat1/m1/f1 - -  {who}"),
    );
    let gone = json!([{ "id": "f1", "type": "video", "unavailable": true }]);
    check(&with(json!({ "attachments": gone })), &format!("unsupported unavailable video {who}"));
    let odd = json!([{ "id": "../x", "type": "audio" }]);
    check(&with(json!({ "attachments": odd })), &format!("audio - - - Bonjour {who}"));
    check(
        &with(json!({ "message": null, "message_type": "poll" })),
        &format!("unsupported poll {who}"),
    );
    check(
        &with(json!({ "quoted": { "id": "m0" } })),
        "text Bonjour p221705555555 #m1 quotes m0 by Ada",
    );
    check(&with(json!({ "message_id": null })), "text Bonjour p221705555555 #3EB0 by Ada");
    check(&with(json!({ "is_group": true })), &format!("text Bonjour {who} Group"));
    check(&with(json!({ "provider_chat_id": "1203@g.us" })), &format!("text Bonjour {who} Group"));
}

#[test]
fn a_customer_known_by_lid_keeps_the_phone_where_it_is_told() {
    let lid = |more: Value| {
        let mut sender = json!({ "attendee_provider_id": "111122223333444@lid" });
        for (name, value) in more.as_object().unwrap() {
            sender[name] = value.clone();
        }
        with(
            json!({ "sender": sender, "attendees": [], "provider_chat_id": "111122223333444@lid" }),
        )
    };
    let bare = "text Bonjour l111122223333444 #m1";
    let whole = "text Bonjour p221705555555 l111122223333444 #m1";
    check(&lid(json!({})), bare);
    check(&lid(json!({ "attendee_specifics": { "phone_number": "hidden" } })), bare);
    check(&lid(json!({ "attendee_specifics": { "phone_number": "+221 70 555 55 55" } })), whole);
    check(&lid(json!({ "attendee_public_identifier": "221705555555@s.whatsapp.net" })), whole);
}

#[test]
fn what_we_sent_ourselves_is_an_echo_to_the_customer() {
    let echo = "echo text Bonjour p221705555555 #m1";
    check(&with(json!({ "sender": me(), "is_sender": true })), echo);
    check(&with(json!({ "sender": me(), "is_sender": 1 })), echo);
    check(&with(json!({ "sender": me(), "is_sender": null })), echo);
    check(&with(json!({ "sender": me(), "is_sender": null, "attendees": [me(), ada()] })), echo);
    check(&with(json!({ "sender": me(), "is_sender": null, "attendees": [] })), echo);
    // By LID, with the account's number beside it.
    let lid = json!({ "attendee_name": "Boutique", "attendee_provider_id": "999@lid",
        "attendee_specifics": { "phone_number": "+221 77 123 45 67" } });
    check(&with(json!({ "sender": lid, "is_sender": null })), echo);
    let you = json!({ "attendee_name": "You", "attendee_provider_id": "999@lid" });
    check(&with(json!({ "sender": you, "is_sender": null, "account_info": null })), echo);
    // A customer may call themselves so.
    let named =
        json!({ "attendee_name": "You", "attendee_provider_id": "221705555555@s.whatsapp.net" });
    check(&with(json!({ "sender": named })), "text Bonjour p221705555555 #m1 by You");
}

#[test]
fn receipts_and_changes_speak_of_their_message() {
    let about = |event: &str, more: Value| {
        let mut body = with(more);
        body["event"] = json!(event);
        body
    };
    let own = || json!({ "is_sender": true });
    let who = "p221705555555";
    check(&about("message_delivered", own()), &format!("delivered m1 {who}"));
    check(&about("message_read", own()), &format!("read m1 {who}"));
    check(&about("message_read", json!({ "is_sender": null })), &format!("read m1 {who}"));
    check(&about("message_read", json!({ "is_sender": false })), "other message_read");
    check(&about("message_failed", own()), &format!("failed m1 {who}"));
    check(&about("message_edited", json!({ "message": "Non" })), &format!("edit m1 Non {who}"));
    check(&about("message_deleted", json!({})), &format!("revoke m1 {who}"));
    let reaction = json!({ "reaction": "👍", "reaction_sender": ada(), "is_sender": true });
    check(&about("message_reaction", reaction), &format!("reaction m1 👍 {who}"));
    check(&about("message_dreamt", json!({})), "other message_dreamt");
}

#[test]
fn the_state_of_an_account_is_told() {
    for (word, want) in [
        ("OK", "connected"),
        ("RECONNECTED", "connected"),
        ("SYNC_SUCCESS", "connected"),
        ("CONNECTING", "pending"),
        ("CREDENTIALS", "disconnected"),
        ("DELETED", "disconnected"),
        ("ERROR", "error"),
        ("STOPPED", "error"),
        ("DREAMING", "other account_status"),
    ] {
        let status = json!({ "account_id": "acc1", "account_type": "WHATSAPP", "message": word });
        let body = json!({ "AccountStatus": status });
        check(&body, want);
        let names = parsed(&body).parts[0].names.clone();
        assert_eq!(names, Some(InstanceKey::Unipile("acc1".to_owned())));
    }
    for (word, want) in [
        ("running", "connected"),
        ("disconnected", "disconnected"),
        ("errored", "error"),
        ("paused", "error"),
        ("dreaming", "other account.status.dreaming"),
    ] {
        let kind = format!("account.status.{word}");
        check(&json!({ "id": "evt_1", "account_id": "acc_1", "type": kind, "payload": {} }), want);
    }
}

#[test]
fn the_second_generation_is_read_too() {
    let event = |kind: &str, payload: Value| {
        let at = "2027-01-15T08:00:00.123Z";
        json!({ "id": "evt_1", "created_at": at, "account_id": "acc_1", "type": kind, "payload": payload })
    };
    let message = |more: Value| {
        let mut payload = json!({
            "object": "Message", "id": "m1", "chat_id": "chat1", "text": "Bonjour",
            "sender_id": "221705555555@s.whatsapp.net", "is_sender": false, "is_event": false,
            "sender": { "id": "221705555555@s.whatsapp.net", "display_name": "Ada" },
            "attachments": [], "timestamp": "2027-01-15T08:00:00.123Z",
        });
        for (name, value) in more.as_object().unwrap() {
            payload[name] = value.clone();
        }
        event("message.new", payload)
    };
    check(&message(json!({})), "text Bonjour p221705555555 #m1 by Ada");
    let lid =
        json!({ "sender_id": "1111@lid", "sender": { "public_identifier": "+221705555555" } });
    check(&message(lid), "text Bonjour p221705555555 l1111 #m1");
    check(&message(json!({ "is_event": true })), "other message.new");
    let chat = "221705555555@s.whatsapp.net";
    check(
        &message(json!({ "is_sender": true, "chat_id": chat })),
        "echo text Bonjour p221705555555 #m1",
    );
    check(
        &event("message.receipt.read", json!({ "message_id": "m1", "chat_id": chat })),
        "read m1",
    );
    check(&event("message.receipt.delivery", json!({ "id": ["m1"] })), "delivered m1");
    check(&event("message.update", json!({ "id": "m1", "text": "Non" })), "edit m1 Non");
    check(&event("message.delete", json!({ "id": "m1" })), "revoke m1");
    check(
        &event("message.reaction.new", json!({ "message_id": "m1", "reaction": "👍" })),
        "reaction m1 👍",
    );
    check(&event("chat.update", json!({})), "other chat.update");
}

#[test]
fn an_echo_without_its_customer_is_known_by_its_chat() {
    let (all, number, other) = (Chats::default(), InstanceId::parse("n1"), InstanceId::parse("n2"));
    let (number, other) = (number.unwrap(), other.unwrap());
    let chats = all.at(&number);
    let ada = Address::phone(PhoneNumber::from_wire("+221705555555").unwrap());
    chats.learn("acc_1", "chat1", &ada);
    let payload = json!({ "id": "m1", "chat_id": "chat1", "text": "Oui", "is_sender": true });
    let body =
        json!({ "id": "evt_1", "account_id": "acc_1", "type": "message.new", "payload": payload });
    let parsed = parse::read(body.to_string().as_bytes(), &[], chats).unwrap();
    assert_eq!(brief(&parsed.parts[0].events[0]), "echo text Oui p221705555555 #m1");
    assert_eq!(all.at(&other).of("acc_1", &ada), None, "who proved it for another number");
    chats.forget("acc_1", "chat1");
    assert_eq!((chats.of("acc_1", &ada), chats.with("acc_1", "chat1")), (None, None));
}

#[test]
fn a_text_that_was_cut_inside_an_emoji_is_read() {
    let whole = with(json!({})).to_string();
    let cut = whole.replace("Bonjour", r"Bonjour \ud83d");
    let read = read(cut.as_bytes(), &[]).unwrap();
    assert!(brief(&read.parts[0].events[0]).starts_with("text Bonjour \u{fffd} "));
}

#[test]
fn one_bad_part_does_not_cost_the_others_and_no_secret_is_kept() {
    let body = json!([1, { "event": "x", "key": "a-secret-word" }, with(json!({}))]);
    check(&body, "other unknown | other x | text Bonjour p221705555555 #m1 by Ada");
    let What::Other { raw, .. } = &parsed(&body).parts[1].events[0].what else { panic!() };
    assert!(!raw.0.contains("a-secret-word"), "it is masked");
    let unreadable = read(b"{\"event\":", &[]).unwrap_err();
    assert_eq!((unreadable.line, unreadable.column), (1, 9));
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
        Just(json!("221705555555@s.whatsapp.net")),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        let name = prop::sample::select(vec![
            "id",
            "type",
            "attendee_provider_id",
            "phone_number",
            "attendee_specifics",
            "url",
        ]);
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(name, inner, 0..4)
                .prop_map(|it| it.into_iter().map(|(k, v)| (k.to_owned(), v)).collect()),
        ]
    })
}

proptest! {
    #[test]
    fn no_json_is_too_strange(
        fields in prop::collection::btree_map(prop::sample::select(vec![
            "event", "account_id", "account_info", "chat_id", "provider_chat_id", "message_id",
            "message", "timestamp", "sender", "attendees", "attachments", "is_sender", "quoted",
            "reaction", "data", "AccountStatus", "type", "payload",
        ]), any_json(), 0..10),
        kind in prop::sample::select(vec![
            "message_received", "message_read", "message_reaction", "message_edited", "message.new",
            "message.update", "message.receipt.read",
        ]),
        cut in 0_usize..200,
    ) {
        let mut body = with(json!({}));
        body["event"] = json!(kind);
        for (name, value) in fields {
            body[name] = value;
        }
        let parsed = parsed(&body);
        prop_assert!(!parsed.parts[0].events.is_empty());
        let text = body.to_string();
        let end = text.char_indices().map(|it| it.0).nth(cut).unwrap_or(text.len() - 1);
        // A body that was cut is told from one that was not.
        prop_assert!(read(&text.as_bytes()[..end], &[]).is_err());
    }
}
