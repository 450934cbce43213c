//! What we send, and the body that it is at Meta (`docs/wire/meta-unipile-twilio.md` B1, B2).

use serde_json::{Value, json};

use super::content::{body, check};
use crate::{
    domain::{
        choices,
        contact::{Address, Bsuid},
        delivery::{Reason, Refusal},
        id::EntryId,
        message::{Choice, Choices, Content, Text},
        phone::PhoneNumber,
    },
    provider::{Outgoing, Quoted},
};

fn stored(json: Value) -> Content {
    serde_json::from_value(json).unwrap()
}

fn customer() -> Address {
    Address::phone(PhoneNumber::from_wire("+221705550001").unwrap())
}

fn sent(content: &Content, quotes: Option<&str>, file: Option<&str>) -> Result<Value, Refusal> {
    let quotes = quotes.map(|it| Quoted { id: Some(it), ticket: None });
    let (id, to) = (EntryId(0x0123_4567_89ab_cdef), customer());
    body(&Outgoing { id, to: &to, content, quotes, file })
}

/// The type and what stands under it.
#[track_caller]
fn is(content: &Content, kind: &str, want: &Value) {
    let body = sent(content, None, None).unwrap();
    assert_eq!(body["type"], kind, "{body}");
    assert_eq!(body[kind], *want);
}

fn options(all: &[(&str, &str, &str)]) -> Vec<Choice> {
    let option = |it: &(&str, &str, &str)| Choice {
        id: it.0.to_owned(),
        title: Text(it.1.to_owned()),
        description: Text(it.2.to_owned()),
    };
    all.iter().map(option).collect()
}

fn many(n: usize) -> Vec<Choice> {
    let option = |n: usize| Choice {
        id: n.to_string(),
        title: Text(format!("t{n}")),
        description: Text::default(),
    };
    (0..n).map(option).collect()
}

#[test]
fn every_message_says_to_whom_and_what_it_is_known_by() {
    let hi = Content::text("Hi");
    let body = sent(&hi, Some("wamid.Q"), None).unwrap();
    let want = json!({
        "messaging_product": "whatsapp", "recipient_type": "individual", "to": "221705550001",
        "biz_opaque_callback_data": "msg_0123456789abcdef",
        "context": { "message_id": "wamid.Q" },
        "type": "text", "text": { "body": "Hi", "preview_url": false },
    });
    assert_eq!(body, want);
    let bsuid = Bsuid::from_wire("US.13491208655302741918");
    let to = Address { bsuid, ..Address::default() };
    let outgoing = |to: &Address, content: &Content| {
        let quotes = Some(Quoted { id: None, ticket: Some("7") });
        super::content::body(&Outgoing { id: EntryId(1), to, content, quotes, file: None })
    };
    let body = outgoing(&to, &hi).unwrap();
    let (phone, id) = (&body["to"], &body["recipient"]);
    assert_eq!((phone, id), (&json!(null), &json!("US.13491208655302741918")));
    assert_eq!(body["context"], json!({ "message_id": "7" }), "what its send was answered with");
    let nobody = outgoing(&Address::default(), &hi);
    assert_eq!(nobody, Err(Refusal::FailOver(Reason::NoPhone)));
}

#[test]
fn audio_in_ogg_is_a_voice_note() {
    let is_voice = |kind: &str, more: Value| {
        let mut media = json!({ "type": "media", "kind": kind, "caption": "" });
        media.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        sent(&stored(media), None, None).unwrap()[kind]["voice"] == json!(true)
    };
    let link = |url: &str| json!({ "url": url });
    let of = |mime_type: &str| json!({ "mimeType": mime_type, "url": "https://x/f.ogg" });
    for it in [link("https://x/f.OGG?a=b"), link("https://x/f.opus"), of("audio/ogg; codecs=opus")]
    {
        assert!(is_voice("audio", it.clone()), "{it}");
    }
    for it in [link("https://x/f"), link("https://x/f.mp3?a=.ogg"), of("audio/mpeg")] {
        assert!(!is_voice("audio", it.clone()), "{it}");
    }
    assert!(!is_voice("document", of("audio/ogg")));
}

#[test]
fn every_kind_has_its_body() {
    let text = |it: &str, has_link: bool| json!({ "body": it, "preview_url": has_link });
    is(&Content::text("voir https://x"), "text", &text("voir https://x", true));
    let media = |kind: &str, more: Value| {
        let mut media =
            json!({ "type": "media", "kind": kind, "caption": "c", "url": "https://x/f" });
        media.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        stored(media)
    };
    let none = json!({});
    let link = json!({ "link": "https://x/f", "caption": "c" });
    is(&media("image", none.clone()), "image", &link);
    is(&media("video", none.clone()), "video", &link);
    is(&media("audio", none.clone()), "audio", &json!({ "link": "https://x/f" }));
    is(&media("sticker", none.clone()), "sticker", &json!({ "link": "https://x/f" }));
    let named = json!({ "link": "https://x/f", "caption": "c", "filename": "a.pdf" });
    is(&media("document", json!({ "fileName": "a.pdf" })), "document", &named);
    let by_id = sent(&media("image", none.clone()), None, Some("985")).unwrap();
    assert_eq!(by_id["image"], json!({ "id": "985", "caption": "c" }));
    let place = json!({ "type": "location", "latitude": 14.5, "longitude": -17.0, "text": "" });
    is(&stored(place), "location", &json!({ "latitude": 14.5, "longitude": -17.0 }));
    let place = json!({ "type": "location", "latitude": 1.0, "longitude": 2.0, "text": "Dakar" });
    let want = json!({ "latitude": 1.0, "longitude": 2.0, "name": "Dakar" });
    is(&stored(place), "location", &want);
    let card = json!({ "type": "contact", "name": "Ada", "phone": "+1555",
        "others": [{ "name": "", "phone": "+1556" }, { "name": "Bo" }] });
    let want = |name: &str, phone: &str| {
        json!({ "name": { "formatted_name": name, "first_name": name },
            "phones": [{ "phone": phone, "type": "CELL" }] })
    };
    is(&stored(card), "contacts", &json!([want("Ada", "+1555"), want("+1556", "+1556")]));
    let poll = json!({ "type": "poll", "question": "Q?", "options": ["a", "b"] });
    is(&stored(poll), "text", &text("Q?\n\n1. a\n2. b", false));
    let link = json!({ "type": "ctaUrl", "text": "Voir", "label": "Ouvrir", "url": "https://x" });
    let action = json!({ "name": "cta_url",
        "parameters": { "display_text": "Ouvrir", "url": "https://x" } });
    let want = json!({ "type": "cta_url", "body": { "text": "Voir" }, "action": action });
    is(&stored(link), "interactive", &want);
    let long = "o".repeat(21);
    let link = json!({ "type": "ctaUrl", "text": "Voir", "label": long, "url": "https://x" });
    is(&stored(link), "text", &text(&format!("Voir\n\n{long}: https://x"), true));
    let ask = json!({ "type": "locationRequest", "text": "Où ?" });
    let want = json!({ "type": "location_request_message", "body": { "text": "Où ?" },
        "action": { "name": "send_location" } });
    is(&stored(ask), "interactive", &want);
    let flow = json!({ "type": "flow", "text": "RDV", "cta": "Prendre", "id": "42", "token": "t",
        "action": "navigate", "payload": { "screen": "S" }, "mode": "draft" });
    let parameters = json!({ "flow_message_version": "3", "flow_cta": "Prendre", "flow_id": "42",
        "flow_token": "t", "flow_action": "navigate", "flow_action_payload": { "screen": "S" },
        "mode": "draft" });
    let want = json!({ "type": "flow", "body": { "text": "RDV" },
        "action": { "name": "flow", "parameters": parameters } });
    is(&stored(flow), "interactive", &want);
}

#[test]
fn a_template_goes_as_it_is_and_another_providers_as_its_text() {
    let components = json!([{ "type": "body", "parameters": [{ "type": "text", "text": "Zoë" }] }]);
    let template = json!({ "type": "template", "name": "rappel", "language": "fr",
        "components": components, "text": "Bonjour" });
    let want = json!({ "name": "rappel", "language": { "code": "fr" }, "components": components });
    is(&stored(template), "template", &want);
    let bare = json!({ "type": "template", "name": "rappel", "language": "fr" });
    is(&stored(bare), "template", &json!({ "name": "rappel", "language": { "code": "fr" } }));
    let twilios = json!({ "type": "template", "contentSid": "HX1", "text": "Bonjour" });
    is(&stored(twilios), "text", &json!({ "body": "Bonjour", "preview_url": false }));
    let mute = stored(json!({ "type": "template", "contentSid": "HX1" }));
    assert_eq!(sent(&mute, None, None), Err(Refusal::FailOver(Reason::Unsupported)));
}

#[test]
fn a_reaction_needs_its_message() {
    let reaction = stored(json!({ "type": "reaction", "emoji": "" }));
    let body = sent(&reaction, Some("wamid.Q"), None).unwrap();
    assert_eq!(body["reaction"], json!({ "message_id": "wamid.Q", "emoji": "" }));
    assert_eq!(body["context"], json!(null));
    assert_eq!(sent(&reaction, None, None), Err(Refusal::GiveUp(Reason::Invalid)));
}

#[test]
fn few_short_options_are_buttons_more_are_a_list_and_the_rest_is_text() {
    let kind = |choices: &Choices| {
        let body = sent(&Content::Choices(choices.clone()), None, None).unwrap();
        body["interactive"]["type"].as_str().unwrap_or("text").to_owned()
    };
    let of = |options: Vec<Choice>, is_list: bool| kind(&Choices::new("Q?", options, is_list));
    let title = |n: usize| options(&[("1", &"é".repeat(n), "")]);
    assert_eq!((of(many(3), false), of(many(3), true)), ("button".into(), "list".into()));
    assert_eq!((of(many(4), false), of(many(10), false)), ("list".into(), "list".into()));
    assert_eq!(of(many(11), false), "text");
    assert_eq!((of(title(20), false), of(title(21), false)), ("button".into(), "list".into()));
    assert_eq!((of(title(24), false), of(title(25), false)), ("list".into(), "text".into()));
    assert_eq!(of(options(&[("1", "a", "two words")]), false), "list");
    assert_eq!(of(options(&[("1", "a", &"d".repeat(73))]), true), "text");
    // Buttons must differ in their titles, rows need not; ids always.
    assert_eq!(of(options(&[("1", "a", ""), ("2", "a", "")]), false), "list");
    assert_eq!(of(options(&[("1", "a", ""), ("1", "b", "")]), false), "text");
    assert_eq!(of(options(&[("", "a", "")]), false), "text");
    let prompt = |n: usize, is_list: bool| kind(&Choices::new(&"p".repeat(n), many(2), is_list));
    assert_eq!((prompt(1_024, false), prompt(1_025, false)), ("button".into(), "text".into()));
    assert_eq!((prompt(4_096, true), prompt(4_097, true)), ("list".into(), "text".into()));
    assert_eq!(prompt(0, false), "text", "what has no body is no interactive message");
    let edge = |n: usize| {
        let header = Text("h".repeat(n));
        kind(&Choices { header, ..Choices::new("Q?", many(2), false) })
    };
    assert_eq!((edge(60), edge(61)), ("button".into(), "text".into()));
}

#[test]
fn options_keep_their_ids_and_what_stands_around_them() {
    let text = |it: &str| Text(it.to_owned());
    let all = options(&[("a", "Oui", ""), ("b", "Non", "")]);
    let choices = Choices {
        header: text("Votre commande"),
        footer: text("Merci"),
        button: text("Choisir"),
        ..Choices::new("On livre ?", all, false)
    };
    let reply =
        |id: &str, title: &str| json!({ "type": "reply", "reply": { "id": id, "title": title } });
    let edges = |kind: &str, action: Value| {
        json!({ "type": kind, "header": { "type": "text", "text": "Votre commande" },
            "body": { "text": "On livre ?" }, "footer": { "text": "Merci" }, "action": action })
    };
    let action = json!({ "buttons": [reply("a", "Oui"), reply("b", "Non")] });
    is(&Content::Choices(choices.clone()), "interactive", &edges("button", action));
    let mut list = Choices { is_list: true, ..choices };
    list.options[1].description = text("plus tard");
    let rows = json!([{ "id": "a", "title": "Oui" },
        { "id": "b", "title": "Non", "description": "plus tard" }]);
    let action = |button: &str| json!({ "button": button, "sections": [{ "rows": rows }] });
    is(&Content::Choices(list.clone()), "interactive", &edges("list", action("Choisir")));
    list.button = Text::default();
    is(&Content::Choices(list), "interactive", &edges("list", action("Menu")));
    const { assert!(choices::OPTIONS_MAX <= 10, "a list has room for all of them") };
}

#[test]
fn what_meta_cannot_send_is_known_beforehand_and_goes_to_the_next_provider() {
    let unsupported = Refusal::FailOver(Reason::Unsupported);
    for content in [
        json!({ "type": "unsupported", "kind": "x", "text": "" }),
        json!({ "type": "chosen", "id": "a", "title": "A" }),
        json!({ "type": "contact", "name": "Ada" }),
        json!({ "type": "media", "kind": "image", "caption": "", "url": "https://x/f",
            "viewOnce": true }),
    ] {
        let content = stored(content);
        assert!(check(&content).is_err());
        assert_eq!(sent(&content, None, None), Err(unsupported));
    }
    let nowhere = stored(json!({ "type": "media", "kind": "image", "caption": "" }));
    assert_eq!(sent(&nowhere, None, None), Err(Refusal::GiveUp(Reason::Invalid)));
    assert!(check(&Content::text("x")).is_ok());
}
