use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::domain::id::{ContactId, EntryId, InstanceId, VendorId};

fn question(content: Content) -> Question {
    Question {
        vendor: VendorId::parse("vendor_001").unwrap(),
        instance: InstanceId::parse("waba_vendor_001").unwrap(),
        conversation: ContactId(7),
        from: PhoneNumber::from_wire("221771234567").ok(),
        name: None,
        content,
        option: None,
        id: EntryId(9),
        at: 1_760_000_000_500,
        history: vec![(true, Text("bonjour".to_owned())), (false, Text("oui ?".to_owned()))],
        is_open: false,
    }
}

fn asked(question: &Question) -> Value {
    serde_json::from_slice(&body(question).unwrap()).unwrap()
}

#[test]
fn a_question_has_all_its_fields() {
    let want = json!({
        "vendorId": "vendor_001", "wabaId": "waba_vendor_001",
        "conversationId": "conv_0000000000000007", "from": "+221771234567", "name": null,
        "message": "horaires", "messageId": "msg_0000000000000009", "type": "text",
        "timestamp": 1_760_000_000, "isOpen": false,
        "conversation": [
            { "role": "user", "content": "bonjour" },
            { "role": "assistant", "content": "oui ?" },
        ],
    });
    assert_eq!(asked(&question(Content::text("horaires"))), want);
}

#[test]
fn a_chosen_option_is_asked_about_by_its_id_and_title() {
    let option = Choice { id: "b".to_owned(), title: Text("Livraison".to_owned()), ..no_choice() };
    let body = asked(&Question { option: Some(option), ..question(Content::text("2")) });
    assert_eq!((&body["type"], &body["message"]), (&json!("option"), &json!("Livraison")));
    assert_eq!((&body["optionId"], &body["title"]), (&json!("b"), &json!("Livraison")));
}

fn no_choice() -> Choice {
    Choice { id: String::new(), title: Text::default(), description: Text::default() }
}

#[test]
fn what_is_not_text_is_asked_about_with_its_details() {
    let place =
        Content::Location { latitude: 14.7, longitude: -17.4, text: Text("Dakar".to_owned()) };
    let body = asked(&question(place));
    assert_eq!((&body["type"], &body["message"]), (&json!("location"), &json!("Dakar")));
    assert_eq!(body["location"]["latitude"], 14.7);
}

fn reply(answer: &Value) -> Result<Reply, ResponderError> {
    match read(answer.to_string().as_bytes())? {
        Answer::Reply(reply) => Ok(reply),
        other => panic!("{other:?}"),
    }
}

/// What is sent, in short: the kind, and the text.
#[track_caller]
fn check(answer: &Value, want: &[(&str, &str)]) {
    let reply = reply(answer).unwrap();
    let got: Vec<_> = reply.contents.iter().map(|it| (it.kind(), it.as_text())).collect();
    assert_eq!(got, want, "{answer}");
}

#[test]
fn a_reply_is_text_buttons_a_list_or_images() {
    let options = json!([{ "id": 1, "title": "Un" }, { "id": "b", "title": "Deux", "x": 1 }]);
    check(&json!({ "message": "Bonjour", "unknown": [] }), &[("text", "Bonjour")]);
    let text = [("buttons", "Que choisir ?\n\n1. Un\n2. Deux")];
    check(&json!({ "message": "Que choisir ?", "type": "buttons", "buttons": options }), &text);
    check(&json!({ "message": "Que choisir ?", "buttons": options, "listItems": [] }), &text);
    let items = json!([{ "id": 1.5, "title": "Un", "description": "le premier" }]);
    check(
        &json!({ "message": "", "listItems": items, "buttons": null }),
        &[("list", "1. Un — le premier")],
    );
    // The type decides.
    check(
        &json!({ "message": "Bonjour", "type": "text", "buttons": options }),
        &[("text", "Bonjour")],
    );
    let Content::Choices(choices) =
        reply(&json!({ "buttons": options })).unwrap().contents.remove(0)
    else {
        panic!("no choices")
    };
    let ids: Vec<&str> = choices.options.iter().map(|it| it.id.as_str()).collect();
    assert_eq!(ids, ["1", "b"]);
    let images = json!(["https://x.sn/a.png", { "url": "https://x.sn/b.png", "caption": "B" }]);
    check(
        &json!({ "message": "Voilà", "images": images }),
        &[("image", ""), ("image", "B"), ("text", "Voilà")],
    );
    check(&json!({ "images": [images[0]] }), &[("image", "")]);
}

#[test]
fn a_human_may_be_asked_for_without_a_word() {
    let reply = reply(&json!({ "requiresHuman": true, "intent": "Réclamation" })).unwrap();
    let intent = Some("reclamation".to_owned());
    assert_eq!(reply, Reply { contents: Vec::new(), requires_human: true, intent });
}

#[test]
fn what_cannot_be_sent_is_refused_in_words_of_ours() {
    let options = |n: usize| json!(vec![json!({ "id": "a", "title": "A" }); n]);
    let titled = |title: &str| json!([{ "id": "a", "title": title }]);
    let cases = [
        (json!({}), "neither"),
        (json!({ "message": " ", "type": "text" }), "neither"),
        (json!({ "message": "secret", "type": "carousel" }), "none of text"),
        (json!({ "message": "secret", "type": "buttons" }), "there are none"),
        (json!({ "message": "secret", "type": "list", "buttons": options(1) }), "there are none"),
        (json!({ "message": "x", "buttons": options(21) }), "more than 20 options"),
        (json!({ "buttons": options(1), "listItems": options(1) }), "both buttons and listItems"),
        (json!({ "buttons": titled(" ") }), "a title"),
        (json!({ "buttons": titled(&"t".repeat(201)) }), "a title"),
        (json!({ "buttons": [{ "id": "", "title": "A" }] }), "an id"),
        (json!({ "images": vec!["https://x.sn/a.png"; 11] }), "more than 10 images"),
        (json!({ "images": ["file:///etc/passwd"] }), "http or https"),
        (json!({ "images": ["data:image/png;base64,AAAA"] }), "http or https"),
        (json!({ "message": "é".repeat(65_537) }), "65,536"),
    ];
    for (answer, why) in cases {
        let error = reply(&answer).unwrap_err();
        assert!(matches!(error, ResponderError::Unusable(_)), "{error:?}");
        let text = error.to_string();
        assert!(text.contains(why) && !text.contains("secret"), "{text}");
    }
    for garbled in ["", "[]", "Bonjour", r#"{"message":1}"#, r#"{"buttons":[{"title":"A"}]}"#] {
        assert_eq!(read(garbled.as_bytes()), Err(ResponderError::Garbled), "{garbled}");
    }
    // At the limits it is sent.
    assert!(reply(&json!({ "message": "x", "buttons": options(20) })).is_ok());
    assert!(reply(&json!({ "buttons": titled(&"é".repeat(200)) })).is_ok());
}

#[test]
fn an_intent_is_noted_as_a_word_or_not_at_all() {
    let check = |it: &str, want: Option<&str>| assert_eq!(word(it).as_deref(), want, "{it}");
    check("order.status", Some("order.status"));
    check(" Prise de RDV ", Some("prise_de_rdv"));
    check("Réclamation!", Some("reclamation"));
    check("faq-2024", Some("faq-2024"));
    check("call +221771234567", None);
    check("", None);
    check("¿?", None);
    check(&"a".repeat(64), Some(&"a".repeat(64)));
    check(&"a".repeat(65), None);
}

proptest! {
    #[test]
    fn no_answer_makes_it_panic(answer in "\\PC{0,200}") {
        let _ = read(answer.as_bytes());
    }

    #[test]
    fn an_intent_has_only_its_characters(intent in "\\PC{0,100}") {
        if let Some(word) = word(&intent) {
            prop_assert!((1..=INTENT_CHARS_MAX).contains(&word.len()));
            let is_good = |it: u8| it.is_ascii_lowercase() || it.is_ascii_digit() || b"_.-".contains(&it);
            prop_assert!(word.bytes().all(is_good), "{}", word);
        }
    }
}
