//! The vendors' bot: it answers, is slow, silent or down.

use bytes::Bytes;
use reqwest::{StatusCode, header::HeaderMap};
use serde_json::{Value, json};
use waba_gateway::http::{HttpError, Reply};

use super::{
    mutation::Mutation,
    rules,
    world::{Event, World, token},
};

/// A responder's time, in milliseconds.
const TIMEOUT: i64 = 30_000;

/// What the bot was asked about one message, and what it said.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    pub n_times: usize,
    /// The `webhook-id` of the first time.
    pub id: String,
    /// It answered nothing that could be used, or not at all.
    pub has_failed: bool,
    /// It had nothing to say.
    pub was_silent: bool,
    /// It wants a human to take over.
    pub wants_human: bool,
    /// What tells the texts of each of its answers from others.
    pub answers: Vec<Vec<String>>,
}

pub fn reply(status: u16, body: &Value) -> Reply {
    let status = StatusCode::from_u16(status).unwrap();
    Reply { status, headers: HeaderMap::new(), body: Bytes::from(body.to_string()) }
}

type Answering = tokio::sync::oneshot::Sender<Result<Reply, HttpError>>;

/// The bot is asked.
pub fn ask(world: &mut World, headers: &HeaderMap, body: &Value, answer: Answering) {
    let said = body["message"].as_str().unwrap_or_default().to_owned();
    let n: Option<usize> = said.strip_prefix('m').and_then(|it| it.parse().ok());
    let Some(n) = n.filter(|it| *it < world.messages.len()) else {
        world.broke(rules::UNCHANGED, format!("asked: {said}"));
        return;
    };
    let vendor = world.vendors[world.messages[n].vendor].id.to_string();
    if body["vendorId"] != json!(vendor) {
        world.broke(rules::OWN_BOT, format!("m{n} of {vendor} was shown to another vendor"));
    }
    if world.old.contains(&n) {
        world.broke(rules::STALE, format!("the bot was asked about m{n}"));
    }
    let id = headers.get("webhook-id").and_then(|it| it.to_str().ok()).unwrap_or_default();
    let mut id = id.to_owned();
    if world.is_broken(Mutation::QuestionHasANewId) {
        id.push_str(&world.n_events.to_string());
    }
    let asked = world.asked.entry(n).or_default();
    asked.n_times += 1;
    let nth = asked.n_times;
    if nth == 1 {
        asked.id.clone_from(&id);
    }
    if asked.id != id || id.is_empty() {
        let how = format!("m{n} was asked about as {:?} and as {id:?}", asked.id);
        world.broke(rules::SAME_ID, how);
    }
    world.tell(|| format!("the bot is asked about m{n}, time {nth}"));
    let (after, got) = fate(world, n, nth);
    note(world, n, &got);
    world.after(after, Event::Answer(answer, got));
}

/// What the gateway may hear of it, and act upon.
fn note(world: &mut World, n: usize, got: &Result<Reply, HttpError>) {
    let asked = world.asked.entry(n).or_default();
    match got {
        Ok(reply) if reply.status == StatusCode::NO_CONTENT => asked.was_silent = true,
        Ok(reply) if reply.status == StatusCode::OK => {
            let body: Value = serde_json::from_slice(&reply.body).unwrap();
            let text = body["message"].as_str().unwrap_or_default();
            asked.answers.push(text.split("\n\n").map(token).collect());
            asked.wants_human |= body["requiresHuman"] == json!(true);
        }
        _ => {
            asked.has_failed = true;
            let vendor = world.messages[n].vendor;
            world.rules.bot_failed.insert(vendor);
        }
    }
}

fn fate(world: &mut World, n: usize, nth: usize) -> (i64, Result<Reply, HttpError>) {
    let quick = world.rng.between(20, 2_500);
    let is_down = world.bot_down.contains(&world.now());
    if is_down || world.fault(60) {
        return (quick, Ok(reply(500, &json!({}))));
    }
    if world.fault(30) {
        return (1, Err(HttpError::NoConnection));
    }
    if world.fault(30) {
        return (TIMEOUT, Err(HttpError::NoAnswer));
    }
    if world.fault(20) {
        return (quick, Err(HttpError::NoAnswer));
    }
    let after = if world.fault(60) { world.rng.between(3_000, TIMEOUT) } else { quick };
    let text = format!("re m{n} a{nth}");
    let (chance, is_long) = (world.rng.below(1_000), world.rng.chance(60));
    let is_bot = world.people[world.messages[n].person].is_bot;
    let body = match chance {
        0..40 => return (after, Ok(reply(204, &json!(null)))),
        40..60 => json!({ "message": text, "requiresHuman": true }),
        60..90 => json!({ "message": "ok" }),
        _ if is_bot => json!({ "message": "ok" }),
        _ if is_long => {
            let filler = "x".repeat(3_000);
            json!({ "message": format!("{text} p1 {filler}\n\n{text} p2 {filler}") })
        }
        _ => json!({ "message": text }),
    };
    (after, Ok(reply(200, &body)))
}
