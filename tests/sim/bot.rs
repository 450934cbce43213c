//! The vendors' bot: it answers, is slow, silent or down.

use bytes::Bytes;
use reqwest::{StatusCode, header::HeaderMap};
use serde_json::{Value, json};
use waba_gateway::http::{HttpError, Reply};

use super::world::{Event, World};

/// A responder's time, in milliseconds.
const TIMEOUT: i64 = 30_000;

/// What the bot was asked about one message.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    pub n_times: usize,
    /// The bot had nothing to say, or could not.
    pub has_failed: bool,
}

pub fn reply(status: u16, body: &Value) -> Reply {
    let status = StatusCode::from_u16(status).unwrap();
    Reply { status, headers: HeaderMap::new(), body: Bytes::from(body.to_string()) }
}

type Answering = tokio::sync::oneshot::Sender<Result<Reply, HttpError>>;

/// The bot is asked.
pub fn ask(world: &mut World, body: &Value, answer: Answering) {
    let said = body["message"].as_str().unwrap_or_default().to_owned();
    let n: Option<usize> = said.strip_prefix('m').and_then(|it| it.parse().ok());
    let Some(n) = n.filter(|it| *it < world.messages.len()) else {
        world.broke("what a customer wrote reaches the bot unchanged", format!("asked: {said}"));
        return;
    };
    let vendor = world.vendors[world.messages[n].vendor].id.to_string();
    if body["vendorId"] != json!(vendor) {
        let how = format!("m{n} of {vendor} was shown to another vendor");
        world.broke("one vendor never sees another's", how);
    }
    let asked = world.asked.entry(n).or_default();
    asked.n_times += 1;
    let nth = asked.n_times;
    world.tell(|| format!("the bot is asked about m{n}, time {nth}"));
    let (after, got) = fate(world, n, nth);
    if got.as_ref().map_or(true, |it| it.status != StatusCode::OK) {
        world.asked.entry(n).or_default().has_failed = true;
    }
    world.after(after, Event::Answer(answer, got));
}

fn fate(world: &mut World, n: usize, nth: usize) -> (i64, Result<Reply, HttpError>) {
    let quick = world.rng.between(20, 2_500);
    if world.fault(60) {
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
    let body = match chance {
        0..40 => return (after, Ok(reply(204, &json!(null)))),
        40..60 => json!({ "message": text, "requiresHuman": true }),
        60..90 => json!({ "message": "ok" }),
        _ if is_long => {
            let filler = "x".repeat(3_000);
            json!({ "message": format!("{text} p1 {filler}\n\n{text} p2 {filler}") })
        }
        _ => json!({ "message": text }),
    };
    (after, Ok(reply(200, &body)))
}
