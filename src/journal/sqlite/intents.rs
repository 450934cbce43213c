//! Intents: made, begun, stepped. What a step means is `domain/delivery.rs`'s to say; here it is
//! made durable.

mod begin;

use rusqlite::{Connection, OptionalExtension, params};
use serde::{Deserialize, Serialize};

pub(super) use self::begin::begin;
use super::{
    answered, contacts,
    entries::{self, ERASED, EntryRow, INTENT, NewRow},
    erase, forwards, groups, names, outbox,
    state::Cx,
    waiting,
};
use crate::{
    domain::{
        answer::Unanswered,
        clock::Millis,
        contact::Address,
        delivery::{Account, Delivery, Input, Policy, Reason, State},
        event::Status,
        forward::Topic,
        id::{ContactId, EntryId, VendorId},
        message::Content,
        record::Standing,
        schedule::{Job, Next},
    },
    journal::{
        Asked, Change, Idempotency, MessageEnd, NewIntent, Step, Stepped, Submitted,
        life::{self, Life, Part},
    },
    sqlite::DbError,
    vault::{Token, Vault},
};

/// What is sealed in an intent's row.
#[derive(Serialize, Deserialize)]
pub(super) struct Outbound {
    pub(super) to: Address,
    pub(super) content: Content,
}

/// What a request with an `Idempotency-Key` is known by, and what was asked under that key before.
pub(super) fn claim(
    connection: &Connection,
    vault: &Vault,
    vendor: &VendorId,
    what: &Idempotency,
) -> Result<([Token; 2], Option<Asked>), DbError> {
    let vendor = vendor.as_str().as_bytes();
    let key = vault.token(&[b"idempotency", vendor, what.key.as_bytes()]);
    let request = vault.token(&[b"request", vendor, &what.request]);
    let mut statement =
        connection.prepare_cached("SELECT body, entry FROM idempotency WHERE key = ?1")?;
    let found: Option<(Token, i64)> =
        statement.query_row([key], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
    let asked = found.map(
        |(body, entry)| {
            if body == request { Asked::Same(EntryId(entry)) } else { Asked::Other }
        },
    );
    Ok(([key, request], asked))
}

pub(super) fn submit(cx: &mut Cx<'_>, intent: &NewIntent) -> Result<Submitted, DbError> {
    let mut claim = None;
    if let Some(idempotency) = &intent.idempotency {
        let (claimed, asked) = self::claim(cx.connection, cx.vault, &intent.vendor, idempotency)?;
        match asked {
            // Its work may never have begun: telling the scheduler again does no harm.
            Some(Asked::Same(id)) => return Ok(Submitted::Same(id, groups::unbegun(cx, id)?)),
            Some(Asked::Other) => return Ok(Submitted::Conflict),
            None => claim = Some(claimed),
        }
    }
    let tokens = contacts::tokens(cx.vault, &intent.instance, &intent.to);
    let contact = contacts::resolve(cx, &intent.instance, &intent.to, &tokens, None)?;
    let id = groups::insert(cx, intent, contact, None)?;
    if let Some([key, request]) = claim {
        let sql = "INSERT INTO idempotency (key, body, entry) VALUES (?1, ?2, ?3)";
        cx.connection.prepare_cached(sql)?.execute(params![key, request, id.0])?;
    }
    Ok(Submitted::New(id, std::mem::take(&mut cx.changes)))
}

pub(super) fn settle_message(
    cx: &mut Cx<'_>,
    id: EntryId,
    end: &MessageEnd,
) -> Result<Vec<Change>, DbError> {
    let Some(mut row) = entries::load(cx, id)?.filter(|it| it.is_open) else {
        return Ok(Vec::new());
    };
    // A human may have taken over while the responder was thinking.
    let is_taken = match row.contact {
        Some(contact) => contacts::is_paused(cx, contact, end.now)?,
        None => false,
    };
    let unanswered = if is_taken { Some(Unanswered::Paused) } else { end.unanswered };
    let intents = if is_taken { &[] } else { end.intents.as_slice() };
    let note = unanswered.map(Unanswered::as_str);
    let step = if intents.is_empty() { "not_answered" } else { "answered" };
    if let Some(word) = &end.intent {
        row.life.note(end.now, format!("intent:{word}"));
    }
    if !entries::end_event(cx, &row, note, None, step, end.now)? {
        return Ok(Vec::new());
    }
    let is_replayed = row.life.place.is_some();
    let is_shared =
        is_replayed || intents.len() > 1 || intents.iter().any(|it| !it.more.is_empty());
    for intent in intents {
        groups::insert(cx, intent, row.contact, Some(Origin { id, is_shared }))?;
    }
    if end.pause.as_ref().is_some_and(|it| it.reason == "requires_human") {
        outbox::escalated(cx, id, end.now)?;
        if row.life.forward {
            let why = (None, Some("requires_human"));
            forwards::insert(cx, &row.vendor, id, Topic::Escalated, why, end.now)?;
        }
    }
    if let (Some(contact), Some(pause)) = (row.contact, &end.pause) {
        contacts::pause(cx, contact, Some(pause))?;
    }
    Ok(std::mem::take(&mut cx.changes))
}

/// The message that an intent answers.
#[derive(Clone, Copy)]
pub(super) struct Origin {
    pub(super) id: EntryId,
    /// Other intents answer it too.
    pub(super) is_shared: bool,
}

/// What tells one intent of a group from the others.
#[derive(Clone, Copy)]
pub(super) struct New<'a> {
    pub(super) id: EntryId,
    pub(super) content: &'a Content,
    pub(super) contact: Option<ContactId>,
    pub(super) origin: Option<Origin>,
    pub(super) part: Option<Part>,
}

pub(super) fn insert(cx: &mut Cx<'_>, intent: &NewIntent, new: &New<'_>) -> Result<(), DbError> {
    let is_first = new.part.is_none_or(|it| it.before.is_none());
    let mut delivery = Delivery::new(intent.now, intent.expires);
    if let Some(at) = intent.send_at.filter(|it| is_first && *it > intent.now) {
        delivery = delivery.later(at);
    }
    if let Some(reason) = intent.parked {
        let reason = if is_first { reason } else { Reason::PartBefore };
        delivery = delivery.step(Input::Park(reason), intent.now, &intent.policy);
    }
    let quotes = intent.reply_to.filter(|_| is_first).map(|it| it.0);
    let mut life = Life {
        policy: intent.policy.into(),
        is_automatic: intent.is_automatic,
        is_one_of_several: new.origin.is_some_and(|it| it.is_shared),
        forward: intent.forward,
        part: new.part,
        only: intent.only,
        quotes,
        ..Life::default()
    };
    life.note(intent.now, life::word(&delivery.state));
    let outbound = Outbound { to: intent.to.clone(), content: new.content.clone() };
    let plain = serde_json::to_vec(&outbound).map_err(|_| DbError::Unreadable("intent"))?;
    let body = entries::seal(cx.vault, &intent.instance, &plain)?;
    let next = life::next_of(&delivery, &intent.policy).unwrap_or(Next::Gone);
    let note = life::reason(&delivery.state);
    let account = life::code(delivery.account());
    let told = life::told(&delivery).filter(|_| intent.forward);
    life.delivery = Some(delivery);
    let row = NewRow {
        id: new.id,
        kind: INTENT,
        account,
        is_open: next != Next::Gone,
        vendor: &intent.vendor,
        instance: &intent.instance,
        contact: new.contact,
        pid: None,
        text_key: Some(entries::text_key(cx.vault, new.content)),
        origin: new.origin.map(|it| it.id),
        status: None,
        note,
        body: &body,
        life: &life.text(),
        dedupe: None,
    };
    entries::insert(cx, &row)?;
    outbox::decided(cx, new.id, intent.now)?;
    cx.delta(&intent.vendor).hours.outbound(new.id, life::status_word(life.delivery.as_ref()), 1);
    cx.memory.recent.put(EntryRow::made(&row, life));
    cx.memory.recent.put_body(new.id, body);
    if told.is_some() {
        forwards::insert(cx, &intent.vendor, new.id, Topic::Status, (told, note), intent.now)?;
    }
    if let Next::Again { kind, due, .. } = next {
        let (vendor, instance) = (intent.vendor.clone(), intent.instance.clone());
        let job = Job { id: new.id, vendor, instance, contact: new.contact, kind, due };
        cx.changes.push(Change::New(job));
    }
    Ok(())
}

pub(super) fn step(
    cx: &mut Cx<'_>,
    id: EntryId,
    step: &Step,
    now: Millis,
) -> Result<Stepped, DbError> {
    let Some(row) = load(cx, id)? else { return Ok(gone(cx)) };
    let mut stepped = advance(cx, row, step, now)?;
    stepped.changes = std::mem::take(&mut cx.changes);
    Ok(stepped)
}

/// A status, an echo or the like speaks of this intent.
pub(super) fn heard(
    cx: &mut Cx<'_>,
    row: EntryRow,
    input: Input,
    pid: Option<Token>,
    now: Millis,
) -> Result<EntryId, DbError> {
    let job = row.job(crate::domain::schedule::Kind::Follow, now);
    let stepped = advance_with(cx, row, &Step::of(input), pid, now)?;
    let is_in_hand = stepped.delivery.is_some_and(|it| it.state == State::Begun);
    if !is_in_hand {
        cx.changes.push(Change::Decided(job.clone(), stepped.next));
    }
    Ok(job.id)
}

pub(super) fn advance(
    cx: &mut Cx<'_>,
    row: EntryRow,
    step: &Step,
    now: Millis,
) -> Result<Stepped, DbError> {
    if is_of_another(cx, &row, step)? {
        return advance_with(cx, row, &Step::of(Input::NoAnswer), None, now);
    }
    let pid = step.provider_id.as_ref().map(|it| entries::pid(cx.vault, &row.instance, it));
    let is_asked = row.tid.is_some() && !matches!(step.input, Input::Outcome(_));
    if let Some(pid) = pid.filter(|_| is_asked && row.pid.is_none()) {
        take_back(cx, &row, pid)?;
    }
    advance_with(cx, row, step, pid, now)
}

/// The provider was asked by this send's own number, and says that the id is its. Another one that
/// was taken for it because an echo had the same words has none again, so that its own echo is
/// nobody else's.
fn take_back(cx: &mut Cx<'_>, row: &EntryRow, pid: Token) -> Result<(), DbError> {
    for mut other in names::find(cx, pid)? {
        let is_taken = other.pid == Some(pid) && other.text_key == row.text_key;
        if other.kind == INTENT && other.id != row.id && is_taken {
            other.pid = None;
            entries::write_intent(cx, &other)?;
            names::changed(cx, other.id, [Some(pid), other.tid], [None, other.tid])?;
        }
    }
    Ok(())
}

/// Whether what was found when the provider was asked is a later send with the same words to the
/// same person: its number is known to be that one's.
fn is_of_another(cx: &mut Cx<'_>, row: &EntryRow, step: &Step) -> Result<bool, DbError> {
    let Some(ticket) = &step.ticket else { return Ok(false) };
    if matches!(step.input, Input::Outcome(_)) {
        return Ok(false);
    }
    let tid = entries::pid(cx.vault, &row.instance, ticket);
    let others = names::find(cx, tid)?;
    Ok(others.iter().any(|it| it.tid == Some(tid) && it.id != row.id))
}

fn advance_with(
    cx: &mut Cx<'_>,
    mut row: EntryRow,
    step: &Step,
    pid: Option<Token>,
    now: Millis,
) -> Result<Stepped, DbError> {
    if let Some(routes) = step.routes {
        row.life.ways_are(routes);
    }
    let policy: Policy = row.life.policy.into();
    let Some(before) = row.life.delivery.take() else { return Ok(gone(cx)) };
    let (attempts, told, stood) = (before.attempts, life::told(&before), Standing::of(&before));
    let word = life::status_word(Some(&before));
    let called = [row.pid, row.tid];
    let stage = life::word(&before.state);
    let mut after = before.step(step.input, now, &policy);
    if after.attempts > attempts {
        // Another attempt has other ids.
        (row.pid, row.tid, row.life.ticket) = (None, None, None);
    }
    let pid = row.pid.or(pid);
    let tid = step.ticket.as_ref().map(|it| entries::pid(cx.vault, &row.instance, it)).or(row.tid);
    for input in waiting::for_send(cx, &mut row, [pid, tid], now)? {
        after = after.step(input, now, &policy);
    }
    after = withdrawn(after, &row, now, &policy);
    note_step(&mut row.life, step.input, (stage, life::word(&after.state)), now);
    let is_erased = row.is_erased();
    row.life.ticket = step.ticket.clone().or(row.life.ticket).filter(|_| !is_erased);
    let begun_at = life::begun_at(row.begun_at, attempts, after.attempts, now);
    let next = life::next_of(&after, &policy);
    let account = life::code(after.account());
    let answered_after = answered::after(cx, &row, &after, now)?;
    row.life.answered_after = row.life.answered_after.or(answered_after);
    row.life.delivery = Some(after.clone());
    let reason = life::reason(&after.state);
    let news = life::told(&after).filter(|it| told != Some(it) && row.life.tells(it));
    let account_before = row.account;
    row = EntryRow {
        account,
        is_open: next != Some(Next::Gone),
        pid,
        begun_at,
        status: after.status.map(Status::code),
        note: if is_erased { Some(ERASED) } else { reason }.map(str::to_owned),
        tid,
        ..row
    };
    entries::write_intent(cx, &row)?;
    names::changed(cx, row.id, called, [row.pid, row.tid])?;
    if is_erased && next == Some(Next::Gone) {
        erase::ended(cx, &row)?;
    }
    if news.is_some() {
        forwards::insert(cx, &row.vendor, row.id, Topic::Status, (news, reason), now)?;
    }
    outbox::moved(cx, row.id, stood, Standing::of(&after), now)?;
    count_step(cx, &row, (account_before, word), answered_after);
    let is_sent = account == life::code(Account::Sent) && account_before != account;
    let follower = row.life.part.and_then(|it| it.after);
    if let Some(follower) = follower.filter(|_| is_sent) {
        groups::release(cx, follower, now)?;
    }
    let next = next.unwrap_or(Next::Gone);
    Ok(Stepped { next, delivery: Some(after), changes: Vec::new() })
}

/// What was heard is a step of its own, also where nothing else has changed.
fn note_step(life: &mut Life, input: Input, (before, after): (&str, &str), now: Millis) {
    if let Some(status) = input.status() {
        life.note(now, format!("heard_{}", status.as_str()));
    }
    if after != before {
        life.note(now, after);
    }
}

/// Nothing goes to an erased customer any more, whatever became of the attempt before.
fn withdrawn(after: Delivery, row: &EntryRow, now: Millis, policy: &Policy) -> Delivery {
    let may_leave = row.is_erased() && matches!(after.state, State::Waiting { .. });
    if may_leave { after.step(Input::Withdraw(Reason::Erased), now, policy) } else { after }
}

/// Counts that an intent is no more where it was before.
fn count_step(
    cx: &mut Cx<'_>,
    row: &EntryRow,
    (account, word): (i64, &'static str),
    answered_after: Option<Millis>,
) {
    let delta = cx.delta(&row.vendor);
    delta.intents[usize::try_from(account).unwrap_or_default()] -= 1;
    delta.intents[usize::try_from(row.account).unwrap_or_default()] += 1;
    delta.hours.moved(row.id, word, life::status_word(row.life.delivery.as_ref()));
    if let Some(ms) = answered_after {
        delta.hours.answered(row.id, ms);
    }
}

fn load(cx: &Cx<'_>, id: EntryId) -> Result<Option<EntryRow>, DbError> {
    Ok(entries::load(cx, id)?.filter(|it| it.kind == INTENT))
}

fn gone(cx: &mut Cx<'_>) -> Stepped {
    Stepped { next: Next::Gone, delivery: None, changes: std::mem::take(&mut cx.changes) }
}
