//! Forms, and what they are in our words.

use proptest::prelude::*;
use url::form_urlencoded;

use super::parse::read;
use crate::{
    domain::{
        event::{Chat, Event, What},
        message::Content,
        secret::SecretString,
        waba::InstanceKey,
    },
    provider::Parsed,
};

const URL: &str = "https://gateway.example/api/webhooks/twilio/vendor_001";

fn form(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut form = form_urlencoded::Serializer::new(String::new());
    form.extend_pairs(fields).finish().into_bytes()
}

/// A customer's message with these fields beside, or in place of, those of each.
fn message(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut all = fields.to_vec();
    for field in [
        ("MessageSid", "SM1"),
        ("SmsStatus", "received"),
        ("From", "whatsapp:+221705555555"),
        ("To", "whatsapp:+14155238886"),
        ("WaId", "221705555555"),
        ("ProfileName", "Ada"),
        ("NumMedia", "0"),
        ("Body", "Bonjour"),
    ] {
        if !fields.iter().any(|it| it.0 == field.0) {
            all.push(field);
        }
    }
    form(&all)
}

/// In one line each.
fn brief(event: &Event) -> String {
    let what = match &event.what {
        What::Message(Content::Text { text }) => format!("text {}", text.0),
        What::Message(Content::Media(it)) => {
            let url = it.url.as_deref().unwrap_or("-");
            format!("{} {url} {} {:?}", it.kind.as_str(), it.caption.0, it.source.unwrap())
        }
        What::Message(Content::Location { latitude, longitude, text }) => {
            format!("location {latitude},{longitude} {}", text.0)
        }
        What::Message(Content::Chosen { id, title }) => format!("chosen {id} {}", title.0),
        What::Message(Content::Unsupported { kind, .. }) => format!("unsupported {kind}"),
        What::Status { target, status, failure, .. } => {
            let code = failure.as_ref().map(|it| format!(" {}", it.code)).unwrap_or_default();
            format!("{} {target}{code}", status.as_str())
        }
        What::Other { name, raw } => format!("other {name} {}", raw.0),
        other => format!("{other:?}"),
    };
    let contact = &event.contact;
    let phone = contact.phone.as_ref().map(|it| format!(" p{}", it.digits()));
    let bsuid = contact.bsuid.as_ref().map(|it| format!(" b{}", it.expose()));
    let more = [
        event.provider_id.as_ref().map(|it| format!(" #{it}")),
        event.quoted.as_ref().map(|it| format!(" quotes {it}")),
        event.reference.map(|it| format!(" ref {it}")),
    ];
    let more: String = more.into_iter().flatten().collect();
    format!("{what}{}{}{more}", phone.unwrap_or_default(), bsuid.unwrap_or_default())
}

fn parsed(url: &str, body: &[u8]) -> Parsed {
    read(url, body, &[&SecretString::from("12345-secret")])
}

#[track_caller]
fn check(url: &str, body: &[u8], want: &[&str]) {
    let parsed = parsed(url, body);
    let got: Vec<_> = parsed.parts.iter().flat_map(|it| &it.events).map(brief).collect();
    assert_eq!(got, want);
}

#[test]
fn a_customers_message_is_read_whatever_it_is() {
    const WHO: &str = "p221705555555 #SM1";
    let check = |fields: &[(&str, &str)], want: &str| check(URL, &message(fields), &[want]);
    check(&[], &format!("text Bonjour {WHO}"));
    check(
        &[("Body", "Oui"), ("OriginalRepliedMessageSid", "SM0")],
        &format!("text Oui {WHO} quotes SM0"),
    );
    let image = [
        ("NumMedia", "1"),
        ("MediaUrl0", "https://api.twilio.com/x"),
        ("MediaContentType0", "image/jpeg"),
        ("Body", "ici"),
    ];
    check(&image, &format!("image https://api.twilio.com/x ici Twilio {WHO}"));
    let sticker =
        [("NumMedia", "1"), ("MediaUrl0", "u"), ("MediaContentType0", "image/webp"), ("Body", "")];
    check(&sticker, &format!("sticker u  Twilio {WHO}"));
    let card =
        [("NumMedia", "1"), ("MediaUrl0", "u"), ("MediaContentType0", "text/vcard"), ("Body", "")];
    check(&card, &format!("document u  Twilio {WHO}"));
    let place = [
        ("Latitude", "14.5"),
        ("Longitude", "-17"),
        ("Label", "Ici"),
        ("Address", "Dakar"),
        ("Body", ""),
    ];
    check(&place, &format!("location 14.5,-17 Ici, Dakar {WHO}"));
    check(&[("ButtonPayload", "yes"), ("ButtonText", "Oui")], &format!("chosen yes Oui {WHO}"));
    check(&[("ButtonPayload", "yes"), ("Body", "Oui")], &format!("chosen yes Oui {WHO}"));
    check(&[("Body", ""), ("MessageType", "reaction")], &format!("unsupported reaction {WHO}"));
    check(&[("Body", " "), ("NumMedia", "x")], &format!("unsupported empty {WHO}"));
    let hidden =
        [("From", "whatsapp:US.1349"), ("WaId", ""), ("ExternalUserId", "whatsapp:US.1349")];
    check(&hidden, "text Bonjour bUS.1349 #SM1");
    let both = [("ExternalUserId", "whatsapp:US.1349")];
    check(&both, "text Bonjour p221705555555 bUS.1349 #SM1");
}

#[test]
fn each_file_is_a_message_and_the_text_is_below_the_first() {
    let two = [
        ("NumMedia", "2"),
        ("MediaUrl0", "a"),
        ("MediaContentType0", "image/png"),
        ("MediaUrl1", "b"),
        ("MediaContentType1", "application/pdf"),
    ];
    check(
        URL,
        &message(&two),
        &["image a Bonjour Twilio p221705555555 #SM1", "document b  Twilio p221705555555 #SM1/1"],
    );
}

#[test]
fn statuses_name_their_message_and_ours() {
    let url = format!("{URL}?message=msg_000000000000002a");
    let status = |word: &str, more: &[(&str, &str)]| {
        let mut all = vec![
            ("MessageSid", "SM9"),
            ("MessageStatus", word),
            ("SmsStatus", word),
            ("To", "whatsapp:+221705555555"),
            ("From", "whatsapp:+14155238886"),
        ];
        all.extend(more);
        form(&all)
    };
    let tail = "p221705555555 ref msg_000000000000002a";
    for (word, more, want) in [
        ("queued", &[][..], "pending SM9"),
        ("sent", &[], "sent SM9"),
        ("delivered", &[], "delivered SM9"),
        ("read", &[], "read SM9"),
        ("delivered", &[("EventType", "READ")], "read SM9"),
        ("undelivered", &[("ErrorCode", "63016")], "failed SM9 63016"),
        ("failed", &[], "failed SM9 failed"),
    ] {
        check(&url, &status(word, more), &[&format!("{want} {tail}")]);
    }
    let parsed = parsed(URL, &status("sent", &[]));
    let own = InstanceKey::Phone("14155238886".to_owned());
    assert_eq!(parsed.parts[0].names, Some(own), "it is from our own number");
    assert_eq!(parsed.parts[0].events[0].reference, None);
    let unknown = status("dreamt", &[]);
    let want = format!("other dreamt {}", String::from_utf8_lossy(&unknown));
    check(&url, &unknown, &[&want]);
}

#[test]
fn what_has_no_words_is_kept_without_secrets() {
    let body = form(&[("EventType", "onMessageAdded"), ("Token", "12345-secret")]);
    check(URL, &body, &["other onMessageAdded EventType=onMessageAdded&Token=[secret]"]);
    check(URL, b"", &["other unknown "]);
    let nobody = message(&[("From", "whatsapp:?"), ("WaId", "")]);
    let parsed = parsed(URL, &nobody);
    assert!(matches!(parsed.parts[0].events[0].what, What::Other { .. }));
    assert_eq!(parsed.parts[0].events[0].chat, Chat::None);
}

proptest! {
    #[test]
    fn no_form_is_too_strange(
        fields in prop::collection::vec((prop::sample::select(vec![
            "MessageSid", "SmsStatus", "MessageStatus", "From", "To", "Body", "NumMedia",
            "MediaUrl0", "MediaContentType0", "Latitude", "Longitude", "EventType", "ErrorCode",
            "ButtonPayload", "WaId", "ExternalUserId", "ListId",
        ]), ".{0,20}"), 0..12),
        query in ".{0,30}",
        tail in prop::collection::vec(any::<u8>(), 0..20),
    ) {
        let fields: Vec<_> = fields.iter().map(|it| (it.0, it.1.as_str())).collect();
        let mut body = form(&fields);
        body.extend(tail);
        let parsed = parsed(&format!("{URL}?{query}"), &body);
        prop_assert!(!parsed.parts[0].events.is_empty());
    }
}
