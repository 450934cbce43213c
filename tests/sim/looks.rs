//! What is looked at in the journal itself, as things happen and at the end.

use std::collections::{HashMap, HashSet};

use futures_util::FutureExt;
use rusqlite::{Connection, params};
use serde_json::Value;
use waba_gateway::{
    domain::{
        clock::{HOUR, Millis, SECOND},
        id::{ContactId, EntryId},
    },
    journal::{Counters, Journal, MessageRow, ToAnswer, ToSend},
};

use super::{
    answers,
    journal::Watched,
    plan::BASE,
    rules,
    world::{Says, World, token},
};

/// A fence's end is acted upon within this time, when nothing else is in the way.
const SLACK: Millis = 12 * SECOND;

/// An entry of a lane.
struct Row {
    id: EntryId,
    life: Value,
}

fn lane(connection: &Connection, contact: ContactId, kind: i64, before: EntryId) -> Vec<Row> {
    let sql = "SELECT id, life FROM entries WHERE contact = ?1 AND kind = ?2 AND id < ?3
        AND is_open = 1 ORDER BY id LIMIT 8";
    let mut statement = connection.prepare_cached(sql).unwrap();
    let rows = statement.query_map(params![contact.0, kind, before.0], |row| {
        let life: String = row.get(1)?;
        Ok(Row { id: EntryId(row.get(0)?), life: serde_json::from_str(&life).unwrap_or_default() })
    });
    rows.unwrap().collect::<Result<_, _>>().unwrap()
}

fn contact_of(connection: &Connection, id: EntryId) -> Option<ContactId> {
    let sql = "SELECT contact FROM entries WHERE id = ?1";
    let mut statement = connection.prepare_cached(sql).unwrap();
    statement.query_row([id.0], |row| row.get::<_, Option<i64>>(0)).unwrap().map(ContactId)
}

/// When a step is first found in an entry's journey.
pub fn step_at(life: &Value, step: &str) -> Option<Millis> {
    let mut at = 0;
    // A line each: the time since the one before, and the step.
    for line in life["log"].as_str()?.lines() {
        let (since, name) = line.split_once(' ')?;
        at += since.parse::<Millis>().ok()?;
        if name == step {
            return Some(at);
        }
    }
    None
}

impl World {
    /// Whether two lanes became one, or the scheduler heard of the other entry, only after this
    /// work was started: it could not know.
    fn could_not_know(&self, contact: ContactId, other: EntryId, started: u64) -> bool {
        let merged = self.rules.merged.get(&contact).is_some_and(|it| *it >= started);
        merged || self.rules.told.get(&other).is_none_or(|it| *it >= started)
    }
}

impl Watched {
    /// A responder is about to be asked.
    pub fn check_asked(&self, id: EntryId, message: &ToAnswer) {
        let mut world = self.world();
        let Some((started, _)) = world.rules.started.get(&id).copied() else { return };
        let before = lane(&self.connection.lock().unwrap(), message.contact, 0, id);
        for other in before {
            if !world.could_not_know(message.contact, other.id, started) {
                world.broke(rules::ORDER_IN, format!("{id} before {}", other.id));
            }
        }
    }

    /// An attempt was written down, so its request may leave.
    pub fn check_begun(&self, id: EntryId, to_send: &ToSend, now: Millis) {
        let text = token(to_send.content.as_text());
        let mut world = self.world();
        world.tell(|| format!("{id} begins: {text}"));
        *world.rules.begun.entry(text.clone()).or_default() += 1;
        world.rules.entry_of.insert(text.clone(), id);
        world.rules.in_flight.insert(id);
        let is_unique = world.meant_for(&text).is_some();
        if is_unique && world.rules.expires.get(&text).is_some_and(|it| now >= *it) {
            world.broke(rules::EXPIRED, format!("{text:?}"));
        }
        if let Some(decided) = world.rules.decided_at.get(&text).copied()
            && let Some(written) = world.meant_for(&text)
            && let Some((at, until)) = world.rules.silenced.get(&written.person).copied()
            && decided < at
            && now < until
        {
            world.broke(rules::SILENCE, format!("{text:?}"));
        }
        let connection = self.connection.lock().unwrap();
        let Some(contact) = contact_of(&connection, id) else { return };
        let Some((started, _)) = world.rules.started.get(&id).copied() else { return };
        for other in lane(&connection, contact, 2, id) {
            check_before(&mut world, contact, id, &other, started, now);
        }
        if to_send.attempt == 1 {
            check_fence_let_go(&mut world, &connection, contact, id, now);
        }
    }

    /// No intent's status is lower than it was in the same attempt.
    pub fn check_statuses(&self) {
        let mut world = self.world();
        let connection = self.connection.lock().unwrap();
        let sql = "SELECT id, status, json_extract(life, '$.delivery.attempts')
            FROM entries WHERE kind = 2 AND status IS NOT NULL";
        let mut statement = connection.prepare_cached(sql).unwrap();
        let rows = statement.query_map((), |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)));
        for row in rows.unwrap() {
            let (id, status, attempts): (i64, i64, i64) = row.unwrap();
            let before = world.rules.statuses.insert(id, (status, attempts));
            if before.is_some_and(|it| it.1 == attempts && it.0 > status) {
                world.broke(rules::BACKWARDS, format!("{}: {before:?} to {status}", EntryId(id)));
            }
        }
    }
}

/// An earlier send of the conversation is still open.
fn check_before(
    world: &mut World,
    contact: ContactId,
    id: EntryId,
    other: &Row,
    started: u64,
    now: Millis,
) {
    let state = &other.life["delivery"]["state"];
    // One that was taken up again later joins its lane when others have passed.
    let is_again = other.life["delivery"]["is_risked"] == true
        || other.life["delivery"]["reopened"].is_number()
        || other.life["delivery"]["throttled"].is_number()
        || step_at(&other.life, "parked").is_some()
        || step_at(&other.life, "unknown_yet").is_some() && state["waiting"].is_object();
    let holds = match state["fenced"]["since"].as_i64() {
        Some(since) => now < since + 30 * SECOND,
        None => state["waiting"].is_object() || state == "begun",
    };
    if holds && !is_again && !world.could_not_know(contact, other.id, started) {
        let how = format!("{id} before {}, which is {state}", other.id);
        world.broke(rules::ORDER_OUT, how);
    }
}

/// The send right before it was fenced when this one came: it has not been held for longer than a
/// fence lasts.
fn check_fence_let_go(
    world: &mut World,
    connection: &Connection,
    contact: ContactId,
    id: EntryId,
    now: Millis,
) {
    let sql = "SELECT id, life FROM entries WHERE contact = ?1 AND kind = 2 AND id < ?2
        ORDER BY id DESC LIMIT 1";
    let mut statement = connection.prepare_cached(sql).unwrap();
    let mut rows = statement.query(params![contact.0, id.0]).unwrap();
    let Some(row) = rows.next().unwrap() else { return };
    let life: String = row.get(1).unwrap();
    let life: Value = serde_json::from_str(&life).unwrap();
    let Some(fenced) = step_at(&life, "unknown_yet") else { return };
    // It may itself be a part that waited, or a number of sends may be in front of it.
    let is_plain = life["part"].is_null() && life["delivery"]["attempts"] == 1;
    let came = id.ms() < fenced + 30 * SECOND;
    // Nobody else's sends, and no slower pace, are in front of it.
    let is_calm = world.rules.disturbed_at < fenced
        && world.rules.paused_since.is_empty()
        && world.api.len() < 100
        && !world.vendors.iter().any(|it| it.is_protected);
    // What was kept before the fence and told of after it goes first.
    let sql = "SELECT 1 FROM entries WHERE contact = ?1 AND kind = 2 AND id <> ?2
        AND begun_at > ?3";
    let mut others = connection.prepare_cached(sql).unwrap();
    let is_next = !others.exists(params![contact.0, id.0, fenced]).unwrap();
    if is_plain && came && is_calm && is_next && now > fenced + 30 * SECOND + SLACK {
        world.broke(rules::FENCE, format!("{id} waited {} ms", now - fenced));
    }
}

/// Everything has come to rest: what is there now is what is left of it.
pub fn at_end(watched: &Watched) {
    let vendors = watched.world().vendors.clone();
    let lives = answers::lives(&watched.connection.lock().unwrap());
    for (n, vendor) in vendors.iter().enumerate() {
        let ready = "the journal answers at once";
        let journal = &watched.inner;
        let ledger = journal.ledger(Some(&vendor.id)).now_or_never().expect(ready).unwrap();
        let count = journal.count(Some(&vendor.id)).now_or_never().expect(ready).unwrap();
        if ledger != count || !ledger.balances() {
            let how = format!("{ledger:?}, but there are {count:?}");
            watched.world().broke(rules::LEDGER, how);
        }
        let span = BASE / HOUR - 1..BASE / HOUR + 60;
        let hours = journal.hours(&vendor.id, span.clone()).now_or_never().expect(ready).unwrap();
        let counted = journal.count_hours(&vendor.id, span).now_or_never().expect(ready).unwrap();
        if hours != counted {
            watched.world().broke(rules::HOURS, format!("{hours:?}, but there are {counted:?}"));
        }
        let page = journal.messages(&vendor.id, None, 10_000).now_or_never().expect(ready).unwrap();
        check_messages(&mut watched.world(), n, &page.rows);
        answers::check(&mut watched.world(), &lives, n, &page.rows);
    }
    check_open(watched);
}

fn check_messages(world: &mut World, vendor: usize, rows: &[MessageRow]) {
    check_people(world, rows);
    let mut seen = HashSet::new();
    for row in rows.iter().filter(|it| it.is_inbound) {
        let text = row.original.as_ref().unwrap_or(&row.text).0.clone();
        if !seen.insert(text.clone()) {
            world.broke(rules::DUPLICATE, format!("{text:?} is there twice"));
        }
    }
    for row in rows.iter().filter(|it| !it.is_inbound && !it.by_human) {
        check_intent(world, vendor, row);
    }
    let kept = std::mem::take(&mut world.rules.kept);
    for (_, id, says) in kept.iter().filter(|it| it.0 == vendor) {
        let row = rows.iter().find(|it| it.id == *id);
        match says {
            Says::Message(n) if row.is_none_or(|it| !it.is_inbound) => {
                world.broke(rules::LOST, format!("m{n}, kept as {id}, is not there"));
            }
            Says::Human(n) if row.is_none_or(|it| !it.by_human) => {
                world.broke(rules::SILENCE, format!("human {n}, kept as {id}, is not seen as one"));
            }
            _ => {}
        }
    }
    world.rules.kept = kept;
    let api: Vec<_> = world.api.iter().filter(|it| it.vendor == vendor).cloned().collect();
    for id in api.iter().filter_map(|it| it.id) {
        if !rows.iter().any(|it| it.id == id) {
            world.broke(rules::LOST, format!("the API's {id} is not there"));
        }
    }
}

fn check_intent(world: &mut World, vendor: usize, row: &MessageRow) {
    let text = token(&row.text.0);
    if world.meant_for(&text).is_none() {
        return;
    }
    let status = row.status.as_str();
    let is_taken = world.rules.accepted.contains_key(&text);
    let sends: Vec<_> = world.sent.iter().filter(|it| it.text == text).cloned().collect();
    let fails = sends.iter().any(|it| it.fails);
    let risks = world.vendors[vendor].risks;
    match status {
        "queued" | "sending" | "unknown_yet" => {
            world.broke(rules::LOST, format!("{} {text:?} is {status} for ever", row.id));
        }
        "accepted" | "sent" | "delivered" | "read" | "pending" if !is_taken => {
            world.broke(rules::TRUE_SENT, format!("{} {text:?} is {status}", row.id));
        }
        "dead" | "parked" if is_taken && !fails && !risks => {
            let how = format!("{} {text:?} is {status} ({:?}), but was sent", row.id, row.reason);
            world.broke(rules::TRUE_SENT, how);
        }
        _ => {}
    }
    check_heard(world, row, &text, status);
}

/// Its echo told which message it is, so whatever else was told of it counts.
fn check_heard(world: &mut World, row: &MessageRow, text: &str, status: &str) {
    let Some(sent) = world.sent.iter().find(|it| it.text == text) else { return };
    let is_linked = sent.echoed_at.is_some_and(|it| it < sent.at + 100 * SECOND);
    // Of what failed on its way another attempt may have begun, and never have left.
    let n_begun = world.rules.begun.get(text).copied().unwrap_or_default();
    let is_again = sent.fails && n_begun > 1;
    let is_once = world.rules.left.get(text) == Some(&1) && !is_again;
    if !is_linked || !is_once {
        return;
    }
    let best = sent.told.unwrap_or(1).max(1);
    let now = match status {
        "accepted" | "pending" | "sent" => 1,
        "dead" | "parked" => 2,
        "delivered" => 3,
        "read" => 4,
        _ => 0,
    };
    if now < best {
        let how = format!("{} {text:?} is {status}, but {best} was heard", row.id);
        world.broke(rules::HEARD, how);
    }
}

/// Nothing is left to be done.
fn check_open(watched: &Watched) {
    let open: i64 = {
        let connection = watched.connection.lock().unwrap();
        let sql = "SELECT count(*) FROM entries WHERE is_open = 1";
        connection.query_row(sql, (), |row| row.get(0)).unwrap()
    };
    if open > 0 {
        watched.world().broke(rules::LOST, format!("{open} entries are open for ever"));
    }
}

/// Everything of one person whose names are known together is one conversation.
fn check_people(world: &mut World, rows: &[MessageRow]) {
    let mut contacts: HashMap<usize, HashSet<ContactId>> = HashMap::new();
    for row in rows {
        let text = token(&row.original.as_ref().unwrap_or(&row.text).0);
        let person = world.meant_for(&text).or_else(|| world.written_by(&text));
        if let (Some(person), Some(contact)) = (person, row.contact) {
            contacts.entry(person.person).or_default().insert(contact);
        }
    }
    for (person, contacts) in contacts {
        if world.rules.linked.contains(&person) && contacts.len() > 1 {
            world.broke(rules::ONE_PERSON, format!("person {person} has {}", contacts.len()));
        }
    }
}
