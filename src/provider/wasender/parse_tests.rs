//! What `parse` makes of the bodies of `docs/wire/wasender.md` §4 and of the predecessor's.

use proptest::{collection::vec, prelude::*, sample::select};
use serde_json::{Map, Value, json};

use super::parse::read;
use crate::domain::{
    event::{Event, What},
    message::Content,
    secret::SecretString,
};

/// A case is an event's name and `data`, or `+` and the members of a message besides its key, or
/// `@` and the members of a message's key, or a whole body. After `=` come its events, with `&`
/// between them.
const CASES: &str = r#"
# One, many or none, in `messages` or not, under many names
messages-personal.received {"messages":{$KEY,"pushName":"Ada","messageBody":"Hi","message":{"conversation":"no"}}} = text(Hi) $FROM by:Ada
messages-group.received {"messages":{"key":{"id":"A","remoteJid":"1@g.us","participant":"7@lid"},"messageBody":"Hi"}} = text(Hi) group l7 id:A
messages-newsletter.received {$KEY,"messageBody":"Hi"} = text(Hi) $FROM
messages.upsert [{$KEY,"messageBody":"Hi"}] = text(Hi) $FROM
messages.upsert {"messages":[{$KEY,"messageBody":"a"},{$MINE,"messageBody":"b"}]} = text(a) $FROM & echo text(b) $FROM
messages.upsert {"messages":[]}
messages.received {"messages":{"id":"A","remoteJid":"15550001111@c.us","messageBody":"x"}} = text(x) private p15550001111 id:A
# What is of the wrong type is absent
messages.received {"messages":{"key":7,"pushName":[],"messageTimestamp":{},"messageBody":"x","message":[]}} = text(x)
messages.received {"messages":{"key":{"id":true,"fromMe":"no","remoteJid":{}},"messageBody":5,"message":{"conversation":"x"}}} = text(x)
messages.received {"messages":{"key":{"id":7},"message":{"imageMessage":"x","conversation":"y","locationMessage":[]}}} = text(y) id:7
messages.received {"messages":[{$KEY,"messageBody":"a"},7]} = text(a) $FROM & other messages.received {"data":{"messages":[{"key":{"fromMe":false,"id":"3EB0","remoteJid":"15550001111@s.whatsapp.net"},"messageBody":"a"},7]},"event":"messages.received"}
messages.received {} = other messages.received {"data":{},"event":"messages.received"}
# The sender is named in many ways
@ "remoteJid":"111122223333444@lid" = private l111122223333444
@ "remoteJid":"7@lid","cleanedSenderPn":"+1 555-000-1111" = private p15550001111 l7
@ "remoteJid":"7@lid","cleanedSenderPn":15550001111 = private p15550001111 l7
@ "remoteJid":"7@lid","cleanedSenderPn":"","senderPn":"15550001111@c.us" = private p15550001111 l7
@ "remoteJid":"7@lid","cleanedSenderPn":"12","senderPn":{},"remoteJidAlt":"15550001111@s.whatsapp.net" = private p15550001111 l7
@ "remoteJid":"111122223333444@lid","cleanedSenderPn":"111122223333444","senderPn":"111122223333444@c.us" = private l111122223333444
@ "remoteJid":"15550001111:7@s.whatsapp.net","remoteJidAlt":"7@lid" = private p15550001111 l7
@ "remoteJid":"15550001111@c.us","senderLid":"7:2@lid","senderPn":"1@g.us" = private p15550001111 l7
@ "remoteJid":"+15550001111","senderLid":"15550002222" = private p15550001111
@ "remoteJid":"15550001111" = private p15550001111
@ "remoteJid":"1@newsletter","senderPn":"15550001111@c.us" = channel
@ "remoteJid":"status@broadcast","participant":"15550001111@c.us" = broadcast p15550001111
@ "remoteJid":"1@g.us","participant":"7@lid","participantPn":"15550001111@c.us" = group p15550001111 l7
@ "remoteJid":"1@g.us","participantLid":"7@lid","cleanedParticipantPn":"+15550001111" = group p15550001111 l7
@ "remoteJid":"1@g.us","participant":"15550001111@c.us","participantAlt":"7@lid" = group p15550001111 l7
@ "remoteJid":"1@else","senderPn":"15550001111@c.us" =
# Text
+ "messageBody":"","message":{"conversation":"Hello"} = text(Hello)
+ "message":{"conversation":null,"extendedTextMessage":{"text":"Re","contextInfo":{"stanzaId":"A"}}} = text(Re)
+ "messageBody":"Yes","message":{"templateButtonReplyMessage":{}} = text(Yes)
+ "messageBody":"\u00e9\ud83d\ude00\ud83d cut \\ud83d \ude00" = text(é😀� cut \ud83d �)
# Neither text nor a kind we know
+ "message":null = unsupported(empty)
+ "message":{} = unsupported(empty)
+ "message":"Hello" = unsupported(empty)
+ "message":{"conversation":""} = unsupported(conversation)
+ "message":{"pollUpdateMessage":{},"a":1} = unsupported(pollUpdateMessage)
+ "message":{"messageContextInfo":{},"pollUpdateMessage":{}} = unsupported(pollUpdateMessage)
+ "message":{"messageContextInfo":{}} = unsupported(messageContextInfo)
# Media
+ "message":{"imageMessage":{"url":"U","directPath":"/d","mimetype":"a/b","mediaKey":"K","fileSha256":"S","fileEncSha256":"E","fileLength":"12","caption":"c"}} = image(c U a/b - K S E 12)
+ "messageBody":"b","message":{"videoMessage":{"caption":"c","fileLength":{"low":1,"high":1,"unsigned":true}}} = video(b - - - - - - 4294967297)
+ "message":{"audioMessage":{"url":"","mediaKey":{"type":"Buffer","data":[1]},"fileSha256":[1],"fileLength":3}} = audio( - - - - - - 3)
+ "message":{"documentMessage":{"title":"t","fileName":"f","fileLength":-1}} = document( - - f - - - -)
+ "message":{"documentWithCaptionMessage":{"message":{"documentMessage":{"title":"t","caption":"c"}}}} = document(c - - t - - - -)
+ "message":{"stickerMessage":{}} = sticker( - - - - - - -)
# Other content
+ "message":{"locationMessage":{"degreesLatitude":14.7,"degreesLongitude":"-17","name":"Dakar","address":"Sénégal"}} = location(14.7,-17 Dakar, Sénégal)
+ "message":{"locationMessage":{"degreesLatitude":0,"degreesLongitude":1,"address":"Sénégal"}} = location(0,1 Sénégal)
+ "message":{"locationMessage":{"degreesLatitude":"x"}} = unsupported(locationMessage)
+ "message":{"contactMessage":{"displayName":"Ada","vcard":"BEGIN:VCARD"}} = contact(BEGIN:VCARD)
+ "message":{"pollCreationMessage":{"name":"Q?","options":[{"optionName":"a"},7,{"optionName":"b"}]}} = poll(Q? a|b)
+ "message":{"pollCreationMessageV2":{"name":"Q?","options":[]}} = poll(Q? )
+ "message":{"pollCreationMessageV3":{"name":"Q?"}} = poll(Q? )
+ "message":{"keepInChatMessage":{"key":{}}} = unsupported(keepInChatMessage)
+ "message":{"ephemeralMessage":{"message":{"pollUpdateMessage":{}}}} = unsupported(pollUpdateMessage)
# Messages that change messages
+ "message":{"reactionMessage":{"key":{"id":"T"},"text":"👍"}} = reaction T(👍)
+ "message":{"ephemeralMessage":{"message":{"reactionMessage":{"key":{"id":"T"},"text":null}}}} = reaction T()
+ "message":{"reactionMessage":{"text":"👍"}} = unsupported(reactionMessage)
+ "message":{"protocolMessage":{"key":{"id":"T"},"type":0}} = revoke T
+ "message":{"protocolMessage":{"key":{"id":"T"},"type":"REVOKE"}} = revoke T
+ "message":{"protocolMessage":{"key":{"id":"T"},"type":5}} = unsupported(protocolMessage)
+ "message":{"protocolMessage":{"key":{"id":"T"},"type":14,"editedMessage":{"conversation":"new"}}} = edit T(new)
+ "message":{"editedMessage":{"message":{"protocolMessage":{"key":{"id":"T"},"type":14,"editedMessage":{"imageMessage":{"caption":"new"}}}}}} = edit T(new)
+ "messageBody":"body","message":{"protocolMessage":{"key":{"id":"T"},"type":14}} = edit T(body)
messages.delete {"keys":[{"id":"A","fromMe":true,"remoteJid":"1@lid"},{"id":"B"}]} = revoke A private l1 & revoke B
messages.reaction [{"key":{"id":"T","fromMe":true},"reaction":{"text":"👍","key":{"id":"R","remoteJid":"1@g.us","participant":"7@lid"}}}] = reaction T(👍) group l7 id:R
messages.reaction [{"key":{"id":"T","remoteJid":"+15550001111"},"reaction":{"text":"👍","key":{"id":"T","remoteJid":"+15550001111"}}}] = reaction T(👍) private p15550001111
messages.reaction {"reaction":{"key":{"id":"R"}}} = reaction R()
messages.reaction {"messages":{$KEY,"message":{"reactionMessage":{"key":{"id":"T"},"text":"x"}}}} = reaction T(x) $FROM
# What leaves the vendor's number
message.sent {$MINE,"pushName":"Shop","message":{"conversation":"Hi"},"success":true} = echo text(Hi) $FROM
message.sent {"messages":[{$KEY,"message":{"conversation":"Hi"}}]} = echo text(Hi) $FROM
message.sent {"key":{"id":"A","remoteJid":"+15550001111","senderPn":"1999999@c.us"},"messageBody":"x"} = echo text(x) private p15550001111 id:A
message.sent {"key":{"id":"A","remoteJid":"7@lid","remoteJidAlt":"15550001111@c.us"},"messageBody":"x"} = echo text(x) private p15550001111 l7 id:A
message.sent {"key":{"id":"A","remoteJid":"15550001111@c.us","remoteJidAlt":"7@lid"},"messageBody":"x"} = echo text(x) private p15550001111 l7 id:A
message.sent {"key":{"id":"A","remoteJid":"1@g.us","participant":"7@lid"},"messageBody":"x"} = echo text(x) group id:A
message.sent {"success":false,"error":"Invalid number JID: +123456787@x, code 1234, key k-a1b2c3d4e5f6"} = failed(Invalid number JID: +…@x, code 1234, key [secret])
# How far it has got
messages.update {"update":{"status":3},$KEY} = delivered 3EB0 private p15550001111
messages.update [{"update":{"status":"4"},$MINE},{"update":{"starred":true},$KEY},{"status":"PLAYED",$KEY}] = read 3EB0 private p15550001111 & played 3EB0 private p15550001111
messages.update [{"status":0,$ID},{"status":1,$ID},{"status":2,$ID},{"status":3,$ID},{"status":4,$ID},{"status":5,$ID}] = failed A & pending A & sent A & delivered A & read A & played A
messages.update [{"status":"error",$ID},{"status":"SERVER_ACK",$ID},{"status":"delivered",$ID}] = failed A & sent A & delivered A
messages.update []
messages.update [{"status":3,$ID},{"status":9,$ID}] = delivered A & other messages.update {"data":[{"key":{"id":"A"},"status":3},{"key":{"id":"A"},"status":9}],"event":"messages.update"}
message-receipt.update {$ID,"receipt":{}} = other message-receipt.update {"data":{"key":{"id":"A"},"receipt":{}},"event":"message-receipt.update"}
message-receipt.update {"message":{"key":{"remoteJid":"1@g.us","id":"A","participant":"8@lid"},"receipt":{"userJid":"7@lid","receiptTimestamp":1760000000}}} = delivered A7@lid group at:1760000000000
message-receipt.update [{"key":{"id":"A","participant":"8@lid"},"receipt":{"receiptTimestamp":0,"readTimestamp":"1760000000"}}] = read A8@lid at:1760000000000
message-receipt.update {"key":{"id":"A"},"receipt":[{"receiptTimestamp":1760000000,"readTimestamp":1760000001}]} = delivered A at:1760000000000 & read A at:1760000001000
# Sessions
session.status {"status":"CONNECTED","session_id":"x","reason":"y"} = connected
session.status {"status":"connecting"} = pending
session.status {"status":"NEED_PASSKEY"} = disconnected
session.status {"status":"disconnected"} = disconnected
session.status {"status":"logged_out"} = disconnected
session.status {"status":"Expired"} = disconnected
session.status {"status":"error"} = error
session.status {"status":"odd"} = other session.status {"data":{"status":"odd"},"event":"session.status"}
{"event":"session.status","sessionId":"x","timestamp":1760000000,"data":{"status":"need_scan"}} = disconnected at:1760000000000
# The predecessor
{"event":"message","instanceId":"i","data":{"from":"22170111111","message":"Bonjour","type":"text","id":"msg_1","time":1708691234}} = text(Bonjour) private p22170111111 id:msg_1 at:1708691234000
{"event":"message","data":{"from":22170111111,"message":"Salut","type":"IMAGE","id":5}} = image(Salut - - - - - - -) private p22170111111 id:5
{"event":"message","from":"22170111111@c.us","type":"sticker"} = sticker( - - - - - - -) private p22170111111
{"event":"message","data":{"from":"+22170111111","type":"location","message":"Dakar"}} = text(Dakar) private p22170111111
{"event":"message","data":{"from":"22170111111","type":"location"}} = unsupported(location) private p22170111111
{"type":"message","from":"+221705555555","message":"Hello"} = text(Hello) private p221705555555
{"event":"message","data":{"from":"22170111111"}} = other message {"data":{"from":"22170111111"},"event":"message"}
{"event":"status","messageId":"msg_1","status":"delivered","timestamp":1708691234} = delivered msg_1 at:1708691234000
{"event":"status","data":{"messageId":"msg_1","status":"failed","timestamp":1708691234000}} = failed msg_1 at:1708691234000
{"event":"connection_status","status":"error","phoneNumber":"+22170111111","timestamp":1708691234} = error at:1708691234000
{"event":"connection_status","data":{"status":"disconnected"}} = disconnected
# Kept as it came, but for secrets
{"event":"qrcode.updated","sessionId":"x","timestamp":1760000000,"data":{"qr":"2@x","qrCode":[1]}} = other qrcode.updated {"data":{"qr":"[secret]","qrCode":"[secret]"},"event":"qrcode.updated","sessionId":"[secret]","timestamp":1760000000} at:1760000000000
passkey.updated {"stage":"request","token":{"a":1},"api\u005fkey":1,"x":"<k-a1b2c3\u00644e5f6>","k-a1b2c3d4e5f6":null} = other passkey.updated {"data":{"[secret]":null,"api_key":"[secret]","stage":"request","token":"[secret]","x":"<[secret]>"},"event":"passkey.updated"}
contacts.upsert [{"apiKey":1,"webhook_secret":2,"publicUrl":3,"name":"half \ud83d"}] = other contacts.upsert {"data":[{"apiKey":"[secret]","name":"half �","publicUrl":"[secret]","webhook_secret":"[secret]"}],"event":"contacts.upsert"}
call {"n":19876543210} = other call {"data":{"n":1[secret]0},"event":"call"}
messages.upsert [{$KEY,"messageBody":"a"},{"messageBody":"b","messageBody":"c"}] = text(a) $FROM & other messages.upsert {"data":[{"key":{"fromMe":false,"id":"3EB0","remoteJid":"15550001111@s.whatsapp.net"},"messageBody":"a"},{"messageBody":"c"}],"event":"messages.upsert"}
{"event":"a","event":"b"} = other unknown {"event":"b"}
{"event":7} = other unknown {"event":7}
["22170111111","Hi"] = other unknown ["22170111111","Hi"]
[1] = other unknown [1]
{"a":1} = other unknown {"a":1}
"#;

fn events(body: &str) -> Vec<Event> {
    let secrets = ["k-a1", "k-a1b2c3d4e5f6", "987654321"].map(SecretString::from);
    let parsed = read(body.as_bytes(), &secrets.each_ref());
    parsed.unwrap_or_else(|it| panic!("{it}: {body}")).events
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

/// An event in one line; what is absent is left out.
fn brief(event: &Event) -> String {
    let content = |content: &Content| match content {
        Content::Text { text } => format!("text({})", text.0),
        Content::Media(it) => {
            let bytes = it.bytes.map(|it| it.to_string());
            let file = [&it.url, &it.mime_type, &it.file_name, &it.media_key, &it.sha256];
            let file = file.into_iter().chain([&it.encrypted_sha256, &bytes]);
            let file: Vec<_> = file.map(|it| it.as_deref().unwrap_or("-")).collect();
            format!("{}({} {})", content.kind(), it.caption.0, file.join(" "))
        }
        Content::Location { latitude, longitude, text } => {
            format!("location({latitude},{longitude} {})", text.0)
        }
        Content::Contact { vcard, .. } => format!("contact({})", vcard.0),
        Content::Poll { question, options, .. } => {
            let options: Vec<_> = options.iter().map(|it| it.0.as_str()).collect();
            format!("poll({} {})", question.0, options.join("|"))
        }
        Content::Choices(it) => format!("choices({})", it.text.0),
        Content::Unsupported { kind, text } => format!("unsupported({kind}{})", text.0),
    };
    let mut line = match &event.what {
        What::Message(it) => content(it),
        What::Echo(it) => format!("echo {}", content(it)),
        What::Edit { target, text } => format!("edit {target}({})", text.0),
        What::Revoke { target } => format!("revoke {target}"),
        What::Reaction { target, text } => format!("reaction {target}({})", text.0),
        What::Status { target, status, participant } => {
            let participant = participant.as_ref().map_or("", |it| it.0.as_str());
            format!("{} {target}{participant}", status.as_str())
        }
        What::SendFailed { error } => format!("failed({})", error.0),
        What::Connection(it) => it.as_str().to_owned(),
        What::Other { name, raw } => format!("other {name} {}", raw.0),
    };
    let chat = format!("{:?}", event.chat).to_lowercase();
    for (mark, part) in [
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
    assert_eq!(brief(&mended.events[0]), "text(\u{fffd})");
    let named =
        |id: &str| read(format!(r#"{{"instanceId":{id}}}"#).as_bytes(), &[]).unwrap().instance;
    assert_eq!(
        (named("12"), named(r#""a""#), named("{}")),
        (Some("12".into()), Some("a".into()), None)
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
        secret in "[a-z0-9\"\\\\é]{9,20}", around in "[a-z\"\\\\]{0,9}", data in any_json(), known in any_json(),
    ) {
        let text = format!("{around}{secret}{around}");
        let it: Vec<_> = text.encode_utf16().map(|it| format!("\\u{it:04X}")).collect();
        let it = it.concat();
        let body = format!(r#"{{"event":"a {it}","x":{{"{it}":["{it}",{data}]}},"sessionId":{known}}}"#);
        let kept = read(body.as_bytes(), &[&SecretString::from(secret.clone())]).unwrap().events;
        let What::Other { name, raw } = &kept[0].what else { panic!("{body}") };
        prop_assert!(!name.contains(&secret) && !raw.0.contains(&secret), "{}", raw.0);
        let tree: Value = serde_json::from_str(&raw.0).unwrap();
        prop_assert_eq!(&tree["sessionId"], "[secret]");
        let masked = text.replace(&secret, "[secret]");
        prop_assert_eq!(&tree["x"][&masked][0], &masked);
    }
}
