//! The journal in words.

use crate::{
    cli::{ago, why},
    domain::clock::{HOUR, Millis, iso},
    gateway::Stats,
    journal::{Entry, Ledger},
    lang::Language,
};

pub(super) fn stats(stats: &Stats, now: Millis) -> String {
    let Stats { backlog, volume, retention, clock } = stats;
    let ago = |at: Option<Millis>| {
        at.map(|it| format!(", the oldest from {}", ago::ago(it, now).of(Language::En)))
    };
    let reasons = |all: &[(String, i64)]| {
        let all: Vec<String> = all.iter().map(|(why, n)| format!("{why} {n}")).collect();
        if all.is_empty() { String::new() } else { format!(" ({})", all.join(", ")) }
    };
    let kib = |bytes: u64| bytes / 1024;
    let lines = [
        format!(
            "waiting    {}{}",
            backlog.n_waiting,
            ago(backlog.oldest_waiting).unwrap_or_default()
        ),
        format!("fenced     {} (outcome not known yet)", backlog.n_fenced),
        format!("unknown    {} (given up without knowing)", backlog.n_unknown),
        format!("parked     {}{}", backlog.n_parked(), reasons(&backlog.parked)),
        format!("dead       {}{}", backlog.n_dead(), reasons(&backlog.dead)),
        format!("signals    {} wait for the message they speak of", volume.n_signals_open),
        format!(
            "forwards   {} waiting, {} dead",
            backlog.n_forwards_waiting, backlog.n_forwards_dead
        ),
        format!("entries    {}{}", volume.n_entries, ago(volume.oldest).unwrap_or_default()),
        format!(
            "removed    {} that were older than {} days{}",
            volume.n_removed,
            retention / (24 * HOUR),
            if clock.held_for > 0 { "; HELD, because the clock has jumped" } else { "" }
        ),
        format!("keys       {} by which what comes twice is known", volume.n_keys),
        format!(
            "file       {} KiB, {} of them free, and {} in the write-ahead file",
            kib(volume.file_bytes),
            kib(volume.free_bytes),
            kib(volume.wal_bytes)
        ),
    ];
    lines.join("\n") + "\n"
}

pub(super) fn ledger(it: &Ledger) -> String {
    format!(
        "events     {} accepted = {} waiting + {} done + {} parked + {} dead; {} duplicates beside\n\
         sends      {} made = {} waiting + {} sent + {} unknown + {} parked + {} dead\n",
        it.accepted,
        it.events_waiting,
        it.events_done,
        it.events_parked,
        it.events_dead,
        it.duplicates,
        it.created,
        it.intents_waiting,
        it.intents_sent,
        it.intents_unknown,
        it.intents_parked,
        it.intents_dead,
    )
}

pub(super) fn entry(it: &Entry) -> String {
    let reason = it.reason.as_ref().map(|it| format!(" ({it})")).unwrap_or_default();
    let mut lines = vec![
        format!("{}  {}  {}  {}", it.id, it.vendor, it.kind, iso(it.id.ms())),
        format!("  state     {}{reason}{}", it.state, if it.is_open { ", open" } else { "" }),
        format!("  number    {}", it.instance),
    ];
    let mut more = |name: &str, value: Option<String>| {
        lines.extend(value.map(|it| format!("  {name:<9} {it}")));
    };
    more("customer", it.contact.map(|it| it.to_string()));
    more("answers", it.origin.map(|it| it.to_string()));
    more("part", it.part.map(|it| format!("{} of {}, of {}", it.number, it.of, it.group)));
    more("attempts", (it.kind == "send").then(|| it.attempts.to_string()));
    more("due", it.due.map(iso));
    more("expires", it.expires.map(iso));
    for (at, step) in &it.steps {
        lines.push(format!("  {}  {}", iso(*at), why::step_words(step).of(Language::En)));
    }
    if matches!(it.kind, "message" | "send") {
        lines.push(format!("  in words: waba-gateway why {}", it.id));
    }
    lines.join("\n") + "\n"
}
