//! Providers take messages, lose answers, tell how far they have got, in any order or not at all;
//! Wasender's own ways of it.

use std::sync::Arc;

use async_trait::async_trait;
use reqwest::header::AUTHORIZATION;
use serde_json::{Value, json};
use tokio::sync::oneshot;
use waba_gateway::{
    domain::{clock::Millis, route::ProviderKind},
    http::{Carrier, HttpError, Reply, Request},
};

use super::{
    bot::{self, reply},
    meta, plan, rules,
    wire::{self, Form},
    world::{Event, Hook, Person, Says, Shared, World, token},
};

/// A request that the provider has taken.
#[derive(Clone, Debug)]
pub struct Sent {
    pub via: ProviderKind,
    /// Our own id, where it was told.
    pub reference: Option<String>,
    pub vendor: usize,
    pub person: usize,
    /// What tells its text from all others.
    pub text: String,
    /// All of it.
    pub whole: String,
    pub ticket: usize,
    pub whatsapp_id: String,
    pub at: Millis,
    /// It fails on its way to the customer.
    pub fails: bool,
    /// The best status that was kept, by our own code.
    pub told: Option<i64>,
    /// When its echo was kept.
    pub echoed_at: Option<Millis>,
}

/// The network.
pub struct Wire(pub Shared);

#[async_trait]
impl Carrier for Wire {
    async fn carry(&self, request: Request<'_>) -> Result<Reply, HttpError> {
        let (sender, answer) = oneshot::channel();
        take(&mut self.0.lock().unwrap(), &request, sender);
        answer.await.unwrap_or(Err(HttpError::NoAnswer))
    }
}

pub fn wire(world: &Shared) -> Arc<Wire> {
    Arc::new(Wire(Arc::clone(world)))
}

pub type Answering = oneshot::Sender<Result<Reply, HttpError>>;

fn take(world: &mut World, request: &Request<'_>, answer: Answering) {
    let body: Value =
        request.body.as_ref().map_or(Value::Null, |it| serde_json::from_slice(it).unwrap());
    if request.url.host_str() == Some("bot.test") {
        return bot::ask(world, &request.headers, &body, answer);
    }
    let key = request.headers.get(AUTHORIZATION).and_then(|it| it.to_str().ok());
    let key = key.and_then(|it| it.strip_prefix("Bearer ")).unwrap_or_default().to_owned();
    let path: Vec<String> =
        request.url.path_segments().unwrap().skip(1).map(str::to_owned).collect();
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    if request.url.host_str() == Some("meta.test") {
        return meta::take(world, &key, &path, &body, answer);
    }
    match path[..] {
        ["send-message"] => send(world, &key, &body, answer),
        ["messages", ticket, "info"] => info(world, &key, ticket, answer),
        ["pn-from-lid", lid] => phone(world, &key, lid, answer),
        ["whatsapp-sessions", session, "message-logs"] => log(world, session, answer),
        _ => world.after(20, Event::Answer(answer, Ok(reply(404, &json!({}))))),
    }
}

fn send(world: &mut World, key: &str, body: &Value, answer: Answering) {
    let Some(vendor) = world.vendors.iter().position(|it| it.session_key == key) else {
        world.broke(rules::OWN_KEY, "a send with an unknown key".to_owned());
        return;
    };
    let leaving = Leaving {
        via: ProviderKind::Wasender,
        vendor,
        to: body["to"].as_str().unwrap_or_default().trim_start_matches('+').to_owned(),
        whole: body["text"].as_str().unwrap_or_default().to_owned(),
        reference: None,
    };
    leaves(world, leaving, answer);
}

/// A request to send, as a provider reads it.
pub struct Leaving {
    pub via: ProviderKind,
    pub vendor: usize,
    pub to: String,
    pub whole: String,
    pub reference: Option<String>,
}

/// A request to send is on its way.
pub fn leaves(world: &mut World, leaving: Leaving, answer: Answering) {
    let (via, vendor, text) = (leaving.via, leaving.vendor, token(&leaving.whole));
    let is_to = |it: &Person| it.vendor == vendor && it.names.phone == leaving.to;
    let person = world.people.iter().position(is_to);
    let Some(person) = person else {
        let how = format!("{text:?} of {} went to a stranger", world.vendors[vendor].id);
        world.broke(rules::OWN_CUSTOMER, how);
        return;
    };
    world.request_left(via, vendor, person, &text);
    let quick = world.rng.between(20, 400);
    if world.fault(40) {
        return world.after(1, Event::Answer(answer, Err(HttpError::NoConnection)));
    }
    let refusal = match via {
        ProviderKind::Meta => meta::refusal(world, person, &text),
        _ => refusal(world, &text),
    };
    if let Some(refusal) = refusal {
        return world.after(quick, Event::Answer(answer, Ok(refusal)));
    }
    let taken_at = world.now() + quick;
    let (at, got) = fate(world, leaving, (person, text), taken_at);
    world.at(at, Event::Answer(answer, got));
}

/// It leaves now: it arrives although nobody waits for the answer any more, or it does not.
fn fate(
    world: &mut World,
    Leaving { via, vendor, whole, reference, .. }: Leaving,
    (person, text): (usize, String),
    taken_at: Millis,
) -> (Millis, Result<Reply, HttpError>) {
    let is_hanging = world.fault(60);
    let is_broken = !is_hanging && world.fault(60);
    let is_taken = if is_hanging || is_broken { world.rng.chance(500) } else { true };
    let is_failing = !is_hanging && !is_broken && world.fault(30);
    if is_hanging || is_broken || is_failing {
        world.rules.unsure.insert(text.clone());
    }
    let ticket = 100 + usize::try_from(world.n_events).unwrap() * 64 + world.rng.below(64);
    let fails = world.fault(40);
    let whatsapp_id = match via {
        ProviderKind::Meta => format!("wamid.{ticket:08}"),
        _ => format!("3EB0{ticket:08}"),
    };
    let body = match via {
        ProviderKind::Meta => meta::taken(&whatsapp_id),
        _ => json!({ "success": true, "data": { "msgId": ticket, "status": "in_progress" } }),
    };
    if is_taken {
        let sent = Sent {
            via,
            reference,
            vendor,
            person,
            text,
            whole,
            ticket,
            whatsapp_id,
            at: taken_at,
            fails,
            told: None,
            echoed_at: None,
        };
        world.at(taken_at, Event::Accept(Box::new(sent)));
    }
    let after =
        if world.fault(60) { world.rng.between(400, 20_000) } else { world.rng.between(1, 300) };
    if is_hanging {
        (world.now() + 30_000, Err(HttpError::NoAnswer))
    } else if is_broken {
        (taken_at + after, Err(HttpError::NoAnswer))
    } else if is_failing {
        let status = if world.rng.chance(500) { 500 } else { 408 };
        (taken_at + after, Ok(reply(status, &json!({}))))
    } else {
        (taken_at + after, Ok(reply(200, &body)))
    }
}

/// It is surely not sent.
fn refusal(world: &mut World, text: &str) -> Option<Reply> {
    if world.fault(40) {
        let seconds = world.rng.between(1, 40);
        let until = world.now() + seconds * 1_000;
        world.rules.wants_rest(Some(ProviderKind::Wasender), text, until);
        return Some(reply(429, &json!({ "message": "slow down", "retry_after": seconds })));
    }
    if world.fault(30) {
        return Some(reply(503, &json!({ "message": "unavailable" })));
    }
    if world.fault(20) {
        let said = "Your WhatsApp session is not connected";
        return Some(reply(400, &json!({ "success": false, "message": said })));
    }
    if world.fault(10) {
        world.rules.invalid.insert(text.to_owned());
        return Some(reply(422, &json!({ "success": false, "message": "invalid" })));
    }
    None
}

/// The provider has it now; what it says about it later.
pub fn accept(world: &mut World, sent: Sent) {
    world.accepted(&sent);
    let n = world.sent.len();
    match sent.via {
        ProviderKind::Meta => meta::accept(world, &sent, n),
        _ => accepted(world, &sent, n),
    }
    world.sent.push(sent);
}

/// Wasender has it.
fn accepted(world: &mut World, sent: &Sent, n: usize) {
    meta::notices(world, sent);
    let names = world.people[sent.person].names.clone();
    let (id, at) = (sent.whatsapp_id.clone(), world.now());
    let form = plan::form(&mut world.rng, world.vendors[sent.vendor].has_meta);
    let text = sent.whole.clone();
    let by = (ProviderKind::Wasender, sent.vendor);
    if world.rng.chance(700) {
        let event = if world.rng.chance(500) { "message.sent" } else { "messages.upsert" };
        let body = wire::echo(event, &names, form, &id, &text, at);
        tell(world, by, Says::Echo(n), &body, 3_000, form == Form::Both);
    }
    let by_ticket = world.rng.chance(200);
    let codes: &[i64] = if sent.fails { &[2, 0] } else { &[2, 3, 4] };
    for (step, code) in (1..).zip(codes) {
        if !world.rng.chance(800) {
            continue;
        }
        // By its own number it is known only to who got the answer.
        let says = if by_ticket { Says::Other } else { Says::Status(n, *code) };
        let id = if by_ticket { sent.ticket.to_string() } else { id.clone() };
        let body = wire::status(&names, &id, *code, at);
        tell(world, by, says, &body, step * 2_000, false);
    }
}

/// A webhook about a send, at some time, perhaps twice.
pub fn tell(
    world: &mut World,
    (by, vendor): (ProviderKind, usize),
    says: Says,
    body: &Value,
    usually: i64,
    links: bool,
) {
    let n_times = if world.rng.chance(150) { 2 } else { 1 };
    for _ in 0..n_times {
        let far = world.rng.chance(100);
        let after = world.rng.between(0, if far { 90_000 } else { usually });
        let body = body.clone();
        let hook = Hook { by, vendor, to: vendor, body, says, tries: 2, links };
        world.after(after, Event::Hook(Box::new(hook)));
    }
}

fn info(world: &mut World, key: &str, ticket: &str, answer: Answering) {
    let is_away = world.fault(200);
    let found = world.sent.iter().find(|it| it.ticket.to_string() == ticket);
    let got = match found {
        _ if is_away => Err(HttpError::NoAnswer),
        Some(it) if world.vendors[it.vendor].session_key == key => {
            let status = if it.fails { 0 } else { 3 };
            let body = json!({ "data": { "key": { "id": it.whatsapp_id }, "status": status } });
            Ok(reply(200, &body))
        }
        Some(_) => {
            world.broke(rules::OWN_SENDS, format!("asked for {ticket}"));
            return;
        }
        None => Ok(reply(404, &json!({ "message": "not found" }))),
    };
    let after = world.rng.between(20, 500);
    world.after(after, Event::Answer(answer, got));
}

fn phone(world: &mut World, key: &str, lid: &str, answer: Answering) {
    let lid = lid.split(['@', '%']).next().unwrap_or_default().to_owned();
    let vendor = world.vendors.iter().position(|it| it.session_key == key);
    let found = world.people.iter().find(|it| Some(it.vendor) == vendor && it.names.lid == lid);
    let phone = found.map(|it| it.names.phone.clone());
    let got = if world.fault(100) {
        Ok(reply(500, &json!({})))
    } else {
        match phone {
            Some(phone) => {
                Ok(reply(200, &json!({ "data": { "pn": format!("{phone}@s.whatsapp.net") } })))
            }
            None => Ok(reply(404, &json!({}))),
        }
    };
    let after = world.rng.between(20, 800);
    world.after(after, Event::Answer(answer, got));
}

/// The account's log of sends. It is incomplete: what is missing proves nothing.
fn log(world: &mut World, session: &str, answer: Answering) {
    let mut items = Vec::new();
    for it in world.sent.iter().filter(|it| it.via == ProviderKind::Wasender) {
        if world.vendors[it.vendor].session != session || it.ticket % 3 == 0 {
            continue;
        }
        let at = jiff::Timestamp::from_millisecond(it.at).unwrap();
        let content = json!({ "text": it.whole, "to": world.people[it.person].names.phone });
        items.push(json!({
            "id": it.ticket,
            "to": world.people[it.person].names.phone,
            "content": content.to_string(),
            "status": if it.fails { "failed" } else { "sent" },
            "created_at": format!("{at:.0}"),
        }));
    }
    let got = if world.fault(200) {
        Err(HttpError::NoAnswer)
    } else {
        Ok(reply(200, &json!({ "data": { "data": items } })))
    };
    let after = world.rng.between(20, 800);
    world.after(after, Event::Answer(answer, got));
}
