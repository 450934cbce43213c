//! What is needed to answer a message: the conversation before it, and what it chooses.

use std::ops::ControlFlow;

use rusqlite::{Connection, Row};

use super::{
    chains, contacts,
    entries::{self, DONE, EntryRow, INTENT, MESSAGE, SIGNAL, WAITING},
    late::Chain,
    said, show,
    state::State,
};
use crate::{
    domain::{
        answer::{ANSWERS_PER_WINDOW_MAX, EQUAL_ANSWERS_MAX, EQUAL_WINDOW, LOOP_WINDOW},
        choices,
        clock::Millis,
        event::{Event, What},
        id::{ContactId, EntryId},
        message::{Choice, Content, Text},
    },
    journal::{ToAnswer, Turn, life::Life},
    sqlite::DbError,
    vault::Vault,
};

/// Turns of a conversation that a responder gets.
const TURNS_MAX: usize = 10;
/// Entries that are looked at for the answers of the last hour.
const ENTRIES_MAX: usize = 256;
/// What is looked at of each of them. Customers who write often have many, of which hardly anybody
/// wants more.
const LOOK: &str = "SELECT prev, contact, kind, account, id, text_key, origin, life
    FROM entries WHERE id = ?1";

pub(super) fn to_answer(
    connection: &Connection,
    vault: &Vault,
    ends: &State,
    (id, with_history): (EntryId, bool),
) -> Result<Option<ToAnswer>, DbError> {
    let Some((row, body)) = show::with_body(connection, id)? else { return Ok(None) };
    let Some(contact) = row.contact.filter(|_| row.is_open && row.kind == MESSAGE) else {
        return Ok(None);
    };
    let event: Event = entries::open(vault, &row.instance, &body)?;
    let sql = "SELECT doc, paused_until FROM contacts WHERE id = ?1";
    let (doc, paused_until): (Vec<u8>, Option<Millis>) = connection
        .prepare_cached(sql)?
        .query_row([contact.0], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let address = contacts::open(vault, row.instance.as_str(), &doc)?.address;
    let chosen = Chosen::by(&event, id);
    let mut before = Before { with_history, chosen, ..Before::default() };
    let last = ends.end(connection, contact, Chain::Turns)?;
    let mut n_left = ENTRIES_MAX;
    chains::walk(connection, last, (LOOK, 0), |found| {
        // What came after the message is not its history, but its answers count for the loop guard.
        let Some(entry) = Seen::turn_of(found, contact)? else {
            return Ok(ControlFlow::Continue(()));
        };
        if before.is_full(entry.id, id) {
            return Ok(ControlFlow::Break(()));
        }
        before.look_at(&entry);
        before.look_into(connection, vault, &entry, id)?;
        n_left -= 1;
        Ok(if n_left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    })?;
    let Before { mut history, answers, chosen, is_answered, .. } = before;
    history.reverse();
    let is_new = !is_answered && !said::by_vendor(connection, last, contact)?;
    let chosen = chosen.option;
    let is_replayed = row.life.place.is_some();
    let (vendor, instance) = (row.vendor, row.instance);
    Ok(Some(ToAnswer {
        vendor,
        instance,
        contact,
        address,
        event,
        paused_until,
        history,
        is_new,
        answers,
        chosen,
        is_replayed,
    }))
}

/// An entry, as [`LOOK`] has it.
struct Seen {
    id: EntryId,
    kind: i64,
    /// Of an automatic answer: what equal texts share, and what it answers.
    answer: Option<(i64, Option<EntryId>)>,
}

impl Seen {
    /// When it was said in this conversation, and is not given up.
    fn turn_of(row: &Row<'_>, contact: ContactId) -> Result<Option<Self>, DbError> {
        let (of, kind, account): (Option<i64>, i64, i64) = (row.get(1)?, row.get(2)?, row.get(3)?);
        if of != Some(contact.0) || kind == SIGNAL || !matches!(account, WAITING | DONE) {
            return Ok(None);
        }
        let is_answer =
            kind == INTENT && Life::is_automatic(row.get_ref(7)?.as_str().unwrap_or_default());
        let answer = if is_answer {
            let text_key: Option<i64> = row.get(5)?;
            Some((text_key.unwrap_or_default(), row.get::<_, Option<i64>>(6)?.map(EntryId)))
        } else {
            None
        };
        Ok(Some(Self { id: EntryId(row.get(4)?), kind, answer }))
    }
}

/// What is known of a conversation, looked at from its latest entry backwards.
#[derive(Default)]
struct Before {
    with_history: bool,
    history: Vec<Turn>,
    /// Turns before the message, up to [`TURNS_MAX`].
    n_turns: usize,
    /// Somebody on the vendor's side has said something.
    is_answered: bool,
    answers: Vec<(Millis, i64)>,
    /// What the latest of them answers.
    latest_origin: Option<EntryId>,
    chosen: Chosen,
}

impl Before {
    fn is_full(&self, at: EntryId, id: EntryId) -> bool {
        let is_older = |window| at.ms() < id.ms() - window;
        let has_answers = is_older(EQUAL_WINDOW)
            || self.answers.len() > ANSWERS_PER_WINDOW_MAX
            || (is_older(LOOP_WINDOW) && self.answers.len() >= EQUAL_ANSWERS_MAX);
        let is_wanted = self.with_history || self.chosen.is_open;
        has_answers && (self.n_turns >= TURNS_MAX || !is_wanted)
    }

    fn look_at(&mut self, entry: &Seen) {
        self.is_answered |= entry.kind != MESSAGE;
        let Some((text_key, origin)) = entry.answer else { return };
        // An answer in parts is one answer; its last part stands for it.
        let is_another = origin.is_none() || origin != self.latest_origin;
        if is_another && self.answers.len() <= ANSWERS_PER_WINDOW_MAX {
            self.latest_origin = origin;
            self.answers.push((entry.id.ms(), text_key));
        }
    }

    /// What was said, where somebody wants to know.
    fn look_into(
        &mut self,
        connection: &Connection,
        vault: &Vault,
        entry: &Seen,
        id: EntryId,
    ) -> Result<(), DbError> {
        let is_turn = entry.id < id && self.n_turns < TURNS_MAX;
        if !is_turn || !(self.with_history || self.chosen.is_open) {
            return Ok(());
        }
        self.n_turns += 1;
        if entry.kind == MESSAGE {
            self.chosen.is_open = false;
        }
        if !(self.with_history || self.chosen.is_open) {
            return Ok(());
        }
        let Some((row, body)) = show::with_body(connection, entry.id)? else { return Ok(()) };
        let (_, content) = show::said(vault, &row, &body)?;
        if self.with_history {
            let edited = show::edited(connection, vault, &row)?;
            let said = content.as_ref().map(|it| Text(it.as_text().to_owned()));
            let text = edited.or(said).unwrap_or_default();
            self.history.push(Turn { is_user: row.kind == MESSAGE, text });
        }
        self.chosen.look_at(&row, content.as_ref());
        Ok(())
    }
}

/// The option that a message chooses among those that were offered right before it.
#[derive(Default)]
struct Chosen {
    said: String,
    at: Millis,
    /// Nothing has been found yet that was offered, or that came in between.
    is_open: bool,
    option: Option<Choice>,
}

impl Chosen {
    fn by(event: &Event, id: EntryId) -> Self {
        let What::Message(Content::Text { text }) = &event.what else { return Self::default() };
        // It may have been long on its way.
        let at = event.at.map_or(id.ms(), |it| it.min(id.ms()));
        Self { said: text.0.clone(), at, is_open: true, option: None }
    }

    fn look_at(&mut self, entry: &EntryRow, content: Option<&Content>) {
        if !self.is_open {
            return;
        }
        if let Some(Content::Choices(offered)) = content.filter(|_| entry.kind == INTENT) {
            self.is_open = false;
            let sent_at = entry.begun_at.filter(|it| choices::is_in_time(*it, self.at));
            let option = sent_at.and_then(|_| choices::chosen(&self.said, &offered.options));
            self.option = option.cloned();
        }
    }
}
