//! What is looked at in the end: whom the bot answered has the answer, and what was not answered or
//! not sent has a reason that the world has given.

use std::collections::{BTreeMap, HashMap, HashSet};

use rusqlite::Connection;
use serde_json::Value;
use waba_gateway::{
    domain::{
        answer::{EQUAL_ANSWERS_MAX, EQUAL_WINDOW},
        clock::{HOUR, MINUTE},
        id::{ContactId, EntryId},
    },
    journal::MessageRow,
};

use super::{
    looks::step_at,
    rules,
    world::{Says, World, token},
};

/// The longest that is waited for between two tries, and a little.
const BETWEEN_TRIES: i64 = MINUTE + 5_000;

type Lives = HashMap<EntryId, Value>;

/// What the journal remembers of each intent.
pub fn lives(connection: &Connection) -> Lives {
    let sql = "SELECT id, life FROM entries WHERE kind = 2";
    let mut statement = connection.prepare_cached(sql).unwrap();
    let rows = statement.query_map((), |row| {
        let life: String = row.get(1)?;
        Ok((EntryId(row.get(0)?), serde_json::from_str(&life).unwrap_or_default()))
    });
    rows.unwrap().collect::<Result<_, _>>().unwrap()
}

/// Of one vendor's messages, newest first.
pub fn check(world: &mut World, lives: &Lives, vendor: usize, rows: &[MessageRow]) {
    let kept: Vec<_> = world.rules.kept.iter().filter(|it| it.0 == vendor).copied().collect();
    for (_, id, says) in kept {
        let Says::Message(n) = says else { continue };
        // What still waits in the end is looked at elsewhere.
        let is_it = |it: &&MessageRow| it.id == id && it.is_inbound && it.status != "waiting";
        let row = rows.iter().find(is_it);
        if let Some(how) = row.and_then(|it| wrong_end(world, n, it, rows)) {
            world.broke(rules::ANSWERED, format!("m{n}, kept as {id}: {how}"));
        }
    }
    for row in rows.iter().filter(|it| !it.is_inbound && !it.by_human) {
        let text = token(&row.text.0);
        if world.meant_for(&text).is_some() && !has_cause(world, lives, rows, row, &text) {
            let how = format!("{} {text:?} is {} ({:?})", row.id, row.status, row.reason);
            world.broke(rules::CAUSE, how);
        }
    }
    check_conversations(world, lives, rows);
}

/// What is wrong with how a message ended.
fn wrong_end(world: &World, n: usize, row: &MessageRow, rows: &[MessageRow]) -> Option<String> {
    let asked = world.asked.get(&n).cloned().unwrap_or_default();
    let written = world.messages[n];
    let bot_failed = asked.has_failed || world.rules.bot_failed.contains(&written.vendor);
    let has_apology = world.vendors[written.vendor].has_apology;
    let answers = rows.iter().filter(|it| it.origin == Some(row.id));
    let texts: HashSet<String> = answers.map(|it| token(&it.text.0)).collect();
    if !texts.is_empty() {
        let is_bots = asked.answers.iter().any(|it| it.iter().all(|text| texts.contains(text)));
        let is_apology = has_apology && bot_failed && texts.contains("sorry");
        let how = || format!("{texts:?} answers it, and the bot said {:?}", asked.answers);
        return (!is_bots && !is_apology).then(how);
    }
    let is_true = match row.reason.as_deref() {
        Some("silence") => asked.was_silent,
        Some("responder_failed") => {
            let of_it = |it: &&MessageRow| it.contact == row.contact && !it.is_inbound;
            let was_said = rows.iter().filter(of_it).any(|it| it.text.0 == "sorry");
            bot_failed && (was_said || !has_apology)
        }
        Some("stale") => world.old.contains(&n),
        Some("paused") => may_be_paused(world, written.person),
        Some("loop") => asked.answers.iter().any(|it| it[..] == ["ok"]),
        _ => false,
    };
    let how = || format!("it is {} ({:?}), and the bot said {:?}", row.status, row.reason, asked);
    (!is_true).then(how)
}

/// A human may have taken over, or the loop guard.
fn may_be_paused(world: &World, person: usize) -> bool {
    let of_it = |n: usize| world.messages[n].person == person;
    let mut asked = world.asked.iter().filter(|it| of_it(*it.0)).map(|it| it.1);
    world.humans.iter().any(|it| it.person == person)
        || asked.any(|it| it.wants_human || it.answers.iter().any(|it| it[..] == ["ok"]))
}

/// Whether the world has given a reason for where an intent stands.
fn has_cause(
    world: &World,
    lives: &Lives,
    rows: &[MessageRow],
    row: &MessageRow,
    text: &str,
) -> bool {
    let rules = &world.rules;
    let failed_late = || world.sent.iter().any(|it| it.text == text && it.fails);
    match (row.status.as_str(), row.reason.as_deref()) {
        ("unknown", _) => rules.unsure.contains(text) || rules.cut_off.contains(&row.id),
        ("dead", Some("expired")) => {
            // It is given up when the next try would come too late.
            let died_at = lives.get(&row.id).and_then(|it| step_at(it, "dead"));
            let expires = rules.expires.get(text);
            died_at.zip(expires).is_some_and(|(at, expires)| at + BETWEEN_TRIES >= *expires)
        }
        ("dead", Some("invalid")) => rules.invalid.contains(text),
        ("dead", Some("failed" | "undeliverable")) => failed_late(),
        ("dead", Some("silenced")) => {
            world.meant_for(text).is_some_and(|it| may_be_paused(world, it.person))
        }
        ("parked", Some("window_closed")) => {
            // Meta tells not of every message; what failed at Wasender has no other way.
            failed_late() || rules.closed.contains(text)
        }
        ("parked", Some("unauthorized")) => failed_late() && rules.unauthorized.contains(text),
        ("dead" | "parked", Some("part_before")) => {
            let before = text.strip_suffix(" p2").map(|it| format!("{it} p1"));
            let before = rows.iter().find(|it| before.as_deref() == Some(&token(&it.text.0)));
            before.is_some_and(|it| was_given_up(lives, it))
        }
        ("dead" | "parked", _) => false,
        _ => true,
    }
}

/// It was given up or put aside at some time, whatever became of it later.
fn was_given_up(lives: &Lives, row: &MessageRow) -> bool {
    let has = |it: &&str| lives.get(&row.id).is_some_and(|life| step_at(life, it).is_some());
    ["dead", "unknown", "parked"].iter().any(has)
}

/// Nobody was apologized to twice in an hour, and no two bots talked on.
fn check_conversations(world: &mut World, lives: &Lives, rows: &[MessageRow]) {
    // By conversation, and then by the message that is answered: the last text stands for it.
    let mut answers: BTreeMap<ContactId, BTreeMap<EntryId, (EntryId, String)>> = BTreeMap::new();
    for row in rows.iter().rev().filter(|it| !it.is_inbound && !it.by_human) {
        let (Some(contact), Some(origin)) = (row.contact, row.origin) else { continue };
        // What two conversations had before they were one counts for each alone. What was given up
        // at some time was not said, as far as could be known then.
        if world.rules.ever_merged.contains(&contact) {
            continue;
        }
        let text = if was_given_up(lives, row) { String::new() } else { row.text.0.clone() };
        answers.entry(contact).or_default().insert(origin, (row.id, text));
    }
    for (contact, answers) in answers {
        let mut answers: Vec<(EntryId, String)> = answers.into_values().collect();
        answers.sort_unstable();
        let apologies: Vec<i64> =
            answers.iter().filter(|it| it.1 == "sorry").map(|it| it.0.ms()).collect();
        if apologies.windows(2).any(|it| it[1] - it[0] < HOUR) {
            world.broke(rules::APOLOGY, format!("{contact:?} had {}", apologies.len()));
        }
        let most = answers.windows(EQUAL_ANSWERS_MAX + 1).find(|it| {
            let is_equal = it.iter().all(|one| one.1 == it[0].1 && !one.1.is_empty());
            is_equal && it[EQUAL_ANSWERS_MAX].0.ms() - it[0].0.ms() < EQUAL_WINDOW
        });
        if let Some(most) = most {
            world.broke(rules::LOOP, format!("{contact:?}: {most:?}"));
        }
    }
}
