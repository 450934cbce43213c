//! Meta's Cloud API, the second way out of some numbers: they are still used on a phone that Wasender
//! is linked to, so that both are told what customers write and what is typed there, each under ids
//! of its own (`docs/wire/meta-unipile-twilio.md` A4–A6, B3, B5).

use serde_json::{Value, json};
use waba_gateway::{
    domain::{
        clock::{HOUR, Millis, SECOND},
        route::ProviderKind,
    },
    http::Reply,
};

use super::{
    bot::reply,
    provider::{Answering, Leaving, Sent, leaves, tell},
    rules,
    wire::{self, Form, Names},
    world::{Says, World},
};

/// How long after a customer wrote free text may leave (B6).
const WINDOW: Millis = 24 * HOUR;
/// After a customer was written to too fast (B6).
const PAIR_PAUSE: Millis = 6 * SECOND;

/// The id of a vendor's number.
pub fn number(vendor: usize) -> String {
    format!("90000{vendor}")
}

/// What sends from it.
pub fn token_of(vendor: usize) -> String {
    format!("meta-token-{vendor}")
}

/// What its webhooks are signed with.
pub fn app_secret(vendor: usize) -> String {
    format!("meta-app-secret-{vendor}")
}

fn change(vendor: usize, field: &str, mut value: Value) -> Value {
    value["messaging_product"] = json!("whatsapp");
    value["metadata"] = json!({ "phone_number_id": number(vendor) });
    let changes = json!([{ "field": field, "value": value }]);
    json!({
        "object": "whatsapp_business_account",
        "entry": [{ "id": format!("80000{vendor}"), "changes": changes }],
    })
}

fn text_message(id: &str, text: &str, at: Millis) -> Value {
    let timestamp = (at / 1_000).to_string();
    json!({ "id": id, "timestamp": timestamp, "type": "text", "text": { "body": text } })
}

/// A customer writes.
pub fn message(vendor: usize, names: &Names, id: &str, text: &str, at: Millis) -> Value {
    let mut message = text_message(id, text, at);
    message["from"] = json!(names.phone);
    let contacts = json!([{ "wa_id": names.phone, "profile": { "name": "N" } }]);
    change(vendor, "messages", json!({ "contacts": contacts, "messages": [message] }))
}

/// A message of the number's phone, or of a device that is linked to it.
pub fn echo(vendor: usize, names: &Names, id: &str, text: &str, at: Millis) -> Value {
    let mut message = text_message(id, text, at);
    message["to"] = json!(names.phone);
    change(vendor, "smb_message_echoes", json!({ "message_echoes": [message] }))
}

/// How far a message has got; why it failed.
fn status(sent: &Sent, names: &Names, word: &str, code: Option<u64>, at: Millis) -> Value {
    let mut status = json!({
        "id": sent.whatsapp_id,
        "status": word,
        "timestamp": (at / 1_000).to_string(),
        "recipient_id": names.phone,
        "biz_opaque_callback_data": sent.reference,
    });
    if let Some(code) = code {
        status["errors"] = json!([{ "code": code }]);
    }
    change(sent.vendor, "messages", json!({ "statuses": [status] }))
}

/// A call of Graph.
pub fn take(world: &mut World, key: &str, path: &[&str], body: &Value, answer: Answering) {
    let vendor = (0..world.vendors.len()).find(|it| token_of(*it) == key);
    let (Some(vendor), [id, "messages"]) = (vendor, path) else {
        world.broke(rules::OWN_KEY, format!("a call of {path:?} with an unknown token"));
        return;
    };
    if *id != number(vendor) {
        world.broke(rules::OWN_KEY, format!("a send from {id} with another number's token"));
        return;
    }
    let leaving = Leaving {
        via: ProviderKind::Meta,
        vendor,
        to: body["to"].as_str().unwrap_or_default().trim_start_matches('+').to_owned(),
        whole: body["text"]["body"].as_str().unwrap_or_default().to_owned(),
        reference: body["biz_opaque_callback_data"].as_str().map(str::to_owned),
    };
    leaves(world, leaving, answer);
}

/// It is surely not sent.
pub fn refusal(world: &mut World, person: usize, text: &str) -> Option<Reply> {
    let fault = |code: u64| json!({ "error": { "code": code, "message": "…" } });
    let now = world.now();
    let has_written = |it: &&(usize, Millis)| it.0 == person && it.1 <= now && now - it.1 < WINDOW;
    if !world.wrote.iter().any(|it| has_written(&it)) {
        world.rules.closed.insert(text.to_owned());
        return Some(reply(400, &fault(131_047)));
    }
    if world.fault(30) {
        world.rules.wants_rest(None, text, now + PAIR_PAUSE);
        return Some(reply(400, &fault(131_056)));
    }
    if world.fault(30) {
        return Some(reply(429, &fault(130_429)));
    }
    if world.fault(30) {
        return Some(reply(503, &fault(131_016)));
    }
    if world.fault(15) {
        world.rules.unauthorized.insert(text.to_owned());
        return Some(reply(401, &fault(190)));
    }
    if world.fault(10) {
        world.rules.invalid.insert(text.to_owned());
        return Some(reply(400, &fault(100)));
    }
    None
}

/// What it answers to a send that it takes.
pub fn taken(whatsapp_id: &str) -> Value {
    json!({ "messaging_product": "whatsapp", "messages": [{ "id": whatsapp_id }] })
}

/// It has a message now; what it and the phone's other device say about it later. `n` is the send's
/// number.
pub fn accept(world: &mut World, sent: &Sent, n: usize) {
    let names = world.people[sent.person].names.clone();
    let at = world.now();
    let code = sent.fails.then(|| if world.rng.chance(500) { 131_000 } else { 131_026 });
    let words: &[_] = if sent.fails {
        &[("sent", 2), ("failed", 0)]
    } else {
        &[("sent", 2), ("delivered", 3), ("read", 4)]
    };
    for (step, (word, as_wasenders)) in (1..).zip(words) {
        if !world.rng.chance(800) {
            continue;
        }
        let body = status(sent, &names, word, code.filter(|_| *word == "failed"), at);
        let says = Says::Status(n, *as_wasenders);
        tell(world, (ProviderKind::Meta, sent.vendor), says, &body, step * 2_000, false);
    }
    if world.rng.chance(500) {
        let id = format!("3EB1{:08}", sent.ticket);
        let form = [Form::Phone, Form::Both][world.rng.below(2)];
        let body = wire::echo("message.sent", &names, form, &id, &sent.whole, at);
        let by = (ProviderKind::Wasender, sent.vendor);
        tell(world, by, Says::Other, &body, 3_000, form == Form::Both);
        if world.rng.chance(300) {
            let body = wire::status(&names, &id, 3, at);
            tell(world, by, Says::Other, &body, 5_000, false);
        }
    }
}

/// What it tells of a message that left through Wasender.
pub fn notices(world: &mut World, sent: &Sent) {
    if world.vendors[sent.vendor].has_meta && world.rng.chance(500) {
        let names = world.people[sent.person].names.clone();
        let id = format!("wamid.E{:08}", sent.ticket);
        let body = echo(sent.vendor, &names, &id, &sent.whole, world.now());
        tell(world, (ProviderKind::Meta, sent.vendor), Says::Other, &body, 3_000, false);
    }
}
