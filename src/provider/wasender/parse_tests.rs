//! What `parse` makes of the bodies of `docs/wire/wasender.md` §4 and of the predecessor's.

use proptest::{collection::vec, prelude::*, sample::select};
use serde_json::{Map, Value, json};

use super::parse::read;
use crate::domain::{
    event::{Event, Votes, What},
    message::Content,
    secret::SecretString,
    waba::InstanceKey,
};

/// A case is an event's name and `data`, or `+` and the members of a message besides its key, or
/// `@` and the members of a message's key, or a whole body. After `=` come its events, with `&`
/// between them.
const CASES: &str = include_str!("parse_cases.txt");

fn events(body: &str) -> Vec<Event> {
    let secrets = ["k-a1", "k-a1b2c3d4e5f6", "987654321"].map(SecretString::from);
    let parsed = read(body.as_bytes(), &secrets.each_ref());
    let parsed = parsed.unwrap_or_else(|it| panic!("{it}: {body}"));
    parsed.parts.into_iter().flat_map(|it| it.events).collect()
}

#[test]
fn every_case_of_the_table() {
    let jid = r#""remoteJid":"15550001111@s.whatsapp.net""#;
    let table = CASES
        .replace("$KEY", &format!(r#""key":{{"id":"3EB0","fromMe":false,{jid}}}"#))
        .replace("$ID", r#""key":{"id":"A"}"#)
        .replace("$MINE", &format!(r#""key":{{"id":"3EB0","fromMe":true,{jid}}}"#))
        .replace("$FROM", "private p15550001111 id:3EB0");
    for line in table.lines().filter(|it| !it.is_empty() && !it.starts_with('#')) {
        let (case, want) = line.split_once(" =").unwrap_or((line, ""));
        let message =
            |it| format!(r#"{{"event":"messages.received","data":{{"messages":{{{it}}}}}}}"#);
        let (body, prefix, suffix) = match case.split_once(' ') {
            Some(("+", rest)) => {
                let key = format!(r#""key":{{"id":"3EB0",{jid}}}"#);
                (message(format!("{key},{rest}")), "", " private p15550001111 id:3EB0")
            }
            Some(("@", key)) => {
                (message(format!(r#""key":{{{key}}},"messageBody":"x""#)), "text(x) ", "")
            }
            Some((name, data)) if !name.starts_with('{') => {
                (format!(r#"{{"event":"{name}","data":{data}}}"#), "", "")
            }
            _ => (case.to_owned(), "", ""),
        };
        let got: Vec<_> = events(&body).iter().map(brief).collect();
        let want = want.split('&').map(|it| format!("{prefix}{}{suffix}", it.trim()));
        let want: Vec<_> =
            want.map(|it| it.trim().to_owned()).filter(|it| !it.is_empty()).collect();
        assert_eq!(got, want, "{case}");
    }
}

fn content(content: &Content) -> String {
    match content {
        Content::Text { text } => format!("text({})", text.0),
        Content::Media(it) => {
            let bytes = it.bytes.map(|it| it.to_string());
            let file = [&it.url, &it.mime_type, &it.file_name, &it.media_key, &it.sha256];
            let file = file.into_iter().chain([&it.encrypted_sha256, &bytes]);
            let file: Vec<_> = file.map(|it| it.as_deref().unwrap_or("-")).collect();
            let once = if it.view_once { " once" } else { "" };
            format!("{}({} {}){once}", content.kind(), it.caption.0, file.join(" "))
        }
        Content::Location { latitude, longitude, text } => {
            format!("location({latitude},{longitude} {})", text.0)
        }
        Content::Contact { vcard, name, phone, .. } => {
            let phone = phone.as_ref().map_or("-", |it| it.0.as_str());
            format!("contact({} {phone} {})", name.0, vcard.0)
                .replace('\r', "\\r")
                .replace('\n', "\\n")
        }
        Content::Poll { question, options, multi_select } => {
            let options: Vec<_> = options.iter().map(|it| it.0.as_str()).collect();
            let many = if *multi_select { " many" } else { "" };
            format!("poll({} {}){many}", question.0, options.join("|"))
        }
        Content::Choices(it) => format!("choices({})", it.text.0),
        Content::Unsupported { kind, text } => format!("unsupported({kind}{})", text.0),
        other => format!("never from here: {}", other.kind()),
    }
}

/// An event in one line; what is absent is left out.
fn brief(event: &Event) -> String {
    let mut line = match &event.what {
        What::Message(it) => content(it),
        What::Echo(it) => format!("echo {}", content(it)),
        What::Edit { target, text } => format!("edit {target}({})", text.0),
        What::Revoke { target } => format!("revoke {target}"),
        What::Reaction { target, text } => format!("reaction {target}({})", text.0),
        What::Votes { target, results } => {
            let voters = |it: &Votes| it.voters.iter().map(|it| it.0.clone()).collect::<Vec<_>>();
            let results =
                results.iter().map(|it| format!("{}:{}", it.option.0, voters(it).join(",")));
            format!("votes {target}({})", results.collect::<Vec<_>>().join("|"))
        }
        What::Status { target, status, participant, .. } => {
            let participant = participant.as_ref().map_or("", |it| it.0.as_str());
            format!("{} {target}{participant}", status.as_str())
        }
        What::SendFailed { error } => format!("failed({})", error.0),
        What::Connection(it) => it.as_str().to_owned(),
        What::Other { name, raw } => format!("other {name} {}", raw.0),
    };
    let chat = format!("{:?}", event.chat).to_lowercase();
    for (mark, part) in [
        (" re:", event.quoted.clone()),
        (" mine", event.from_me.then(String::new)),
        (" ", Some(chat).filter(|it| it != "none")),
        (" p", event.contact.phone.as_ref().map(|it| it.digits().to_owned())),
        (" l", event.contact.lid.as_ref().map(|it| it.digits().to_owned())),
        (" id:", event.provider_id.clone()),
        (" at:", event.at.map(|it| it.to_string())),
        (" by:", event.name.as_ref().map(|it| it.0.clone())),
    ] {
        line.extend(part.map(|it| format!("{mark}{it}")));
    }
    line
}

#[test]
fn a_customers_chat_is_known_by_the_providers_id() {
    let chat = |name: &str, jid: &str, from_me: bool| {
        let key = json!({ "id": "A", "remoteJid": jid, "fromMe": from_me, "senderPn": "15550001111@c.us" });
        let body = json!({ "event": name, "data": { "key": key, "messageBody": "x" } });
        events(&body.to_string())[0].chat_id.as_ref().map(|it| it.0.clone())
    };
    for jid in ["7@lid", "15550001111@s.whatsapp.net"] {
        assert_eq!(chat("messages.received", jid, false).as_deref(), Some(jid));
        assert_eq!(chat("messages.upsert", jid, true), None);
    }
    assert_eq!(chat("messages.received", "1@g.us", false), None);
}

#[test]
fn a_time_is_in_seconds_or_milliseconds_as_number_text_or_long() {
    let at = |envelope: &str, own: &str| {
        let item = format!(r#"{{"messageTimestamp":{own},"messageBody":"x"}}"#);
        let body = format!(r#"{{"event":"messages.upsert","timestamp":{envelope},"data":{item}}}"#);
        events(&body)[0].at
    };
    let [long, long_ms] = [r#"{"low":1760000000,"high":0}"#, r#"{"low":-936591360,"high":409}"#];
    for own in ["1760000000", "1760000000000", r#""1760000000""#, "1760000000.4", long, long_ms] {
        assert_eq!(at("1753278982097", own), Some(1_760_000_000_000), "{own}");
        assert_eq!(at(own, "null"), Some(1_760_000_000_000), "{own}");
    }
    let deep = format!("{}1{}", r#"{"low":"#.repeat(50_000), "}".repeat(50_000));
    for own in ["0", "-5", "true", "[]", "{}", r#""soon""#, "1e300", "5", "17600000000000", &deep] {
        assert_eq!(at("1753278982", own), Some(1_753_278_982_000));
        assert_eq!(at(own, own), None);
    }
}

#[test]
fn wrappers_are_taken_off_but_not_for_ever() {
    for name in [
        "ephemeralMessage",
        "viewOnceMessage",
        "viewOnceMessageV2",
        "viewOnceMessageV2Extension",
        "documentWithCaptionMessage",
        "editedMessage",
        "keepInChatMessage",
    ] {
        for (n, want) in [(8, "text(Hi)"), (9, "unsupported"), (50_000, "unsupported")] {
            let head = format!(r#"{{"{name}":{{"message":"#).repeat(n);
            let message = format!(r#"{head}{{"conversation":"Hi"}}{}"#, "}}".repeat(n));
            let body = format!(r#"{{"event":"messages.upsert","data":{{"message":{message}}}}}"#);
            assert!(brief(&events(&body)[0]).starts_with(want), "{name} {n}");
        }
    }
}

#[test]
fn what_cannot_be_read_is_told_by_its_place_alone() {
    let deep = format!(r#"{{"event":"call","data":{}1{}}}"#, "[".repeat(9_999), "]".repeat(9_999));
    for body in ["", "hello", "{", r#"{"event":"x"} x"#, r#"{"event":x}"#, &deep] {
        let error = read(body.as_bytes(), &[]).unwrap_err().to_string();
        assert!(error.starts_with("not of the provider's form at line "), "{error}");
    }
    let mended =
        read(b"{\"event\":\"messages.upsert\",\"data\":{\"messageBody\":\"\xff\"}}", &[]).unwrap();
    assert_eq!(brief(&mended.parts[0].events[0]), "text(\u{fffd})");
    let named = |id: &str| {
        read(format!(r#"{{"instanceId":{id}}}"#).as_bytes(), &[]).unwrap().parts.remove(0).names
    };
    assert_eq!(
        (named("12"), named(r#""a""#), named("{}")),
        (
            Some(InstanceKey::Wasender("12".to_owned())),
            Some(InstanceKey::Wasender("a".to_owned())),
            None
        )
    );
}

const NAMES: &str = "messages.upsert messages.update message.sent messages.reaction \
    message-receipt.update messages.delete session.status message status call";
const FIELDS: &str = "event data messages key id fromMe remoteJid senderPn message messageBody \
    update keys receipt receiptTimestamp reaction text type from protocolMessage editedMessage low \
    imageMessage fileLength pollCreationMessage options ephemeralMessage success timestamp";

/// Any JSON, of the words that the wire has and of others.
fn any_json() -> impl Strategy<Value = Value> {
    let known = format!("{NAMES} {FIELDS}");
    let known: Vec<_> = known.split(' ').map(str::to_owned).collect();
    let words = move || prop_oneof![select(known.clone()), ".*"];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        words().prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 40, 6, move |inner| {
        prop_oneof![
            vec(inner.clone(), 0..3).prop_map(Value::from),
            vec((words(), inner), 0..6).prop_map(|it| Value::Object(Map::from_iter(it))),
        ]
    })
}

/// Text, id, seconds, phone and LID of a message.
type Sample = (String, String, i64, String, String);

/// The sample in one of the ways in which the wire may put it.
fn put((said, id, secs, phone, lid): &Sample, way: (usize, usize, usize, usize)) -> Value {
    let ms = secs * 1_000;
    let long = |it: i64| json!({ "low": it << 32 >> 32, "high": it >> 32, "unsigned": false });
    let (secs_text, ms_text) = (json!(secs.to_string()), json!(ms.to_string()));
    let times = [json!(secs), json!(ms), secs_text, ms_text, long(*secs), long(ms)];
    let (jid, lid) = (format!("{phone}@s.whatsapp.net"), format!("{lid}@lid"));
    let keys = [
        json!({ "id": id, "remoteJid": jid, "senderLid": lid }),
        json!({ "id": id, "remoteJid": jid, "remoteJidAlt": lid }),
        json!({ "id": id, "remoteJid": lid, "cleanedSenderPn": phone }),
        json!({ "id": id, "remoteJid": lid, "senderPn": format!("{phone}@c.us") }),
        json!({ "id": id, "remoteJid": lid, "remoteJidAlt": jid }),
    ];
    let mut item = json!({ "key": keys[way.0], "messageTimestamp": times[way.1] });
    let plain = json!({ "conversation": said });
    match way.2 {
        0 => item["messageBody"] = json!(said),
        1 => item["message"] = plain,
        2 => item["message"] = json!({ "extendedTextMessage": { "text": said } }),
        _ => item["message"] = json!({ "viewOnceMessage": { "message": plain } }),
    }
    let (name, data) = match way.3 {
        0 => ("messages.received", json!({ "messages": item })),
        1 => ("messages.upsert", json!({ "messages": [item] })),
        2 => ("messages-personal.received", item),
        _ => ("messages.upsert", json!([item])),
    };
    json!({ "event": name, "data": data })
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(body in vec(any::<u8>(), 0..200), at in 0..CASES.len()) {
        let _ = read(&body, &[]);
        let case = &CASES.as_bytes()[at..];
        let start = case.iter().position(|it| *it == b'{').unwrap_or(0);
        let _ = read(&[&case[start..(start + 90).min(case.len())], &body].concat(), &[]);
    }

    #[test]
    fn all_json_can_be_read(
        json in any_json(), name in select(NAMES.split(' ').collect::<Vec<_>>()), data in any_json(),
    ) {
        events(&json.to_string());
        events(&json!({ "event": name, "data": data }).to_string());
    }

    #[test]
    fn one_message_is_the_same_however_it_is_put(
        sample in (".+", "[A-Z0-9]{1,32}", 1_100_000_000..4_000_000_000_i64, "[1-9][0-9]{6,14}", "[0-9]{16,21}"),
        way in (0..5_usize, 0..6_usize, 0..4_usize, 0..4_usize),
    ) {
        let body = put(&sample, way);
        let got = [body.to_string(), format!("{body:#}")].map(|it| brief(&events(&it)[0]));
        let (text, id, secs, phone, lid) = sample;
        let want = format!("text({text}) private p{phone} l{lid} id:{id} at:{secs}000");
        prop_assert_eq!(got, [want.clone(), want]);
    }

    #[test]
    fn no_secret_is_in_what_is_kept(
        secret in "[0-9][a-z0-9\"\\\\é]{8,19}", around in "[a-z\"\\\\]{0,9}", data in any_json(), known in any_json(),
    ) {
        let text = format!("{around}{secret}{around}");
        let it: Vec<_> = text.encode_utf16().map(|it| format!("\\u{it:04X}")).collect();
        let it = it.concat();
        let body = format!(r#"{{"event":"a {it}","x":{{"{it}":["{it}",{data}]}},"sessionId":{known}}}"#);
        let kept = read(body.as_bytes(), &[&SecretString::from(secret.clone())]).unwrap().parts.remove(0).events;
        let What::Other { name, raw } = &kept[0].what else { panic!("{body}") };
        prop_assert!(!name.contains(&secret) && !raw.0.contains(&secret), "{}", raw.0);
        let tree: Value = serde_json::from_str(&raw.0).unwrap();
        prop_assert_eq!(&tree["sessionId"], "[secret]");
        let masked = text.replace(&secret, "[secret]");
        prop_assert_eq!(&tree["x"][&masked][0], &masked);
    }
}
