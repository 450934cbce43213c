//! What is old goes, and the file does not grow without bound.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use waba_gateway::{domain::route::Routes, journal::Ways};
use waba_gateway::{
    domain::{
        clock::{Clock, HOUR, MINUTE},
        contact::Address,
        delivery::{Input, Outcome, Policy, Reason},
        event::{Chat, Event, Status, What},
        id::{EntryId, InstanceId},
        message::Content,
        phone::PhoneNumber,
        retention::STEADY_FOR,
        vendor::OnUnknown,
    },
    gateway::Gateway,
    journal::{
        Begun, Change, MessageEnd, NewEvent, NewEvents, NewIntent, Recorded, Span, Step, Submitted,
    },
};

use crate::support::{DEADLINE, Options, TestApp, TestVendor, spawn_app_with};

const NOW: i64 = 1_760_000_000_000;
const DAY: i64 = 24 * HOUR;
/// How long things are kept unless something else is set.
const KEPT_DAYS: i64 = 30;

async fn still() -> (TestApp, TestVendor) {
    let app = spawn_app_with(Options { clock: Clock::fixed(NOW), ..Options::default() }).await;
    let vendor = app.vendor(1).await;
    (app, vendor)
}

fn customer(n: u32) -> Address {
    Address::phone(PhoneNumber::from_wire(&format!("+22170{n:07}")).unwrap())
}

fn intent(vendor: &TestVendor, to: Address, now: i64) -> NewIntent {
    NewIntent {
        vendor: vendor.id.clone(),
        instance: InstanceId::nth(&vendor.id, 1),
        contact: None,
        to,
        content: Content::text("ouvert de 8 h à 19 h, et le samedi jusqu'à midi"),
        more: Vec::new(),
        reply_to: None,
        forward: false,
        is_automatic: true,
        origin: None,
        now,
        send_at: None,
        only: None,
        expires: now + HOUR,
        policy: Policy {
            on_unknown: OnUnknown::GiveUp,
            unknown_deadline: MINUTE,
            routes: Routes::WASENDER,
        },
        parked: None,
        idempotency: None,
    }
}

/// A customer's message, its answer, and what the provider tells of that, all at once. The message.
async fn exchange(gateway: &Gateway, vendor: &TestVendor, who: u32, n: u32) -> EntryId {
    let (journal, now) = (gateway.journal(), gateway.clock().now());
    let what = What::Message(Content::text("quels sont vos horaires ?"));
    let mut event = Event::new(what, Chat::Private, customer(who));
    event.provider_id = Some(format!("M{n}"));
    let batch = NewEvents {
        vendor: vendor.id.clone(),
        instance: InstanceId::nth(&vendor.id, 1),
        silence: HOUR,
        forward: false,
        is_told_twice: false,
        now,
        raw: format!("{n}").into(),
        events: vec![NewEvent { event, unanswered: None }],
    };
    let Recorded::New(message) = journal.append(batch).await.unwrap().entries[0] else {
        panic!("a duplicate")
    };
    let intents = vec![NewIntent { origin: Some(message), ..intent(vendor, customer(who), now) }];
    let end = MessageEnd { intents, unanswered: None, pause: None, intent: None, now };
    let changes = journal.settle(message, end).await.unwrap();
    let Some(Change::New(job)) = changes.first() else { panic!("{changes:?}") };
    let Begun::Go(_) = journal.begin(job.id, Ways::of(Routes::WASENDER), now).await.unwrap() else {
        panic!("not begun")
    };
    let sent = Step {
        provider_id: Some(format!("P{n}")),
        ticket: Some(format!("{n}")),
        ..Step::of(Input::Outcome(Outcome::Sent))
    };
    journal.step(job.id, sent, now).await.unwrap();
    let heard = Step::of(Input::Heard(Status::Delivered));
    journal.step(job.id, heard, now).await.unwrap();
    message
}

async fn parked(gateway: &Gateway, vendor: &TestVendor) -> EntryId {
    let now = gateway.clock().now();
    let parked =
        NewIntent { parked: Some(Reason::NoPhone), ..intent(vendor, customer(9_000_000), now) };
    match gateway.journal().submit(parked).await.unwrap() {
        Submitted::New(id, _) => id,
        other => panic!("{other:?}"),
    }
}

fn n_rows(app: &TestApp, table: &str) -> i64 {
    let db = rusqlite::Connection::open(app.data_dir().join("waba.db")).unwrap();
    db.query_row(&format!("SELECT count(*) FROM {table}"), (), |row| row.get(0)).unwrap()
}

#[tokio::test]
async fn the_file_stops_growing_and_the_ledger_stays_right() {
    const SLOTS: u32 = 4;
    const PER_SLOT: u32 = 8;
    let (app, vendor) = still().await;
    let kept = parked(&app.gateway, &vendor).await;
    let (mut n, mut sizes, mut first) = (0, Vec::new(), None);
    for day in 1..=120_u32 {
        for _ in 0..SLOTS {
            // Half of them come every time, the others once.
            let of = |it: u32| if it < PER_SLOT / 2 { it } else { n + it };
            let all = (0..PER_SLOT).map(|it| exchange(&app.gateway, &vendor, of(it), n + it));
            let messages = join_all(all).await;
            first = first.or(messages.first().copied());
            n += PER_SLOT;
            app.clock.advance(DAY / i64::from(SLOTS));
        }
        app.gateway.tidy_journal().await.unwrap();
        if day == 60 || day == 120 {
            let stats = app.gateway.journal_stats().await.unwrap();
            sizes.push(stats.volume.file_bytes);
        }
    }
    println!("the file has {sizes:?} bytes after 60 and 120 days");
    assert!(sizes[1] * 100 <= sizes[0] * 105, "it grows: {sizes:?}");
    let (ledger, counted) = app.gateway.journal_ledger(Some(&vendor.id), true).await.unwrap();
    assert_eq!(Some(ledger), counted);
    assert!(ledger.balances(), "{ledger:?}");
    assert_eq!((ledger.events_done, ledger.intents_sent), (i64::from(n), i64::from(n)));
    let volume = app.gateway.journal_stats().await.unwrap().volume;
    let a_day = i64::from(2 * SLOTS * PER_SLOT);
    assert_eq!(volume.n_entries, n_rows(&app, "entries"));
    assert!((KEPT_DAYS * a_day..(KEPT_DAYS + 1) * a_day + 2).contains(&volume.n_entries));
    assert_eq!(volume.n_removed + volume.n_entries, 2 * i64::from(n) + 1);
    // What waits for a person is kept.
    assert_eq!(app.gateway.journal_entry(kept).await.unwrap().state, "parked");
    assert!(app.gateway.journal_entry(first.unwrap()).await.is_err());
    // So are the customers who are known by what is kept, and no others.
    let new_ones = i64::from(SLOTS * PER_SLOT / 2) * (KEPT_DAYS + 2);
    assert!(n_rows(&app, "contacts") <= new_ones + 8, "{} contacts", n_rows(&app, "contacts"));
    assert_eq!(n_rows(&app, "aliases"), n_rows(&app, "contacts"));
    let hour = |days: i64| (NOW + days * DAY) / HOUR;
    let journal = app.gateway.journal();
    let counted = async |days: std::ops::Range<i64>| {
        journal.hours(&vendor.id, hour(days.start)..hour(days.end)).await.unwrap().inbound
    };
    assert_eq!((counted(0..10).await, counted(100..110).await), (5 * a_day, 5 * a_day));
    // Long after, only what waits is left, and what analytics can ask for.
    app.clock.advance(300 * DAY);
    app.gateway.tidy_journal().await.unwrap();
    assert_eq!(n_rows(&app, "entries"), 1);
    // By the last days' keys a message that comes again would still be known, and by whom.
    assert!(n_rows(&app, "contacts") <= 10 * i64::from(SLOTS * PER_SLOT / 2) + 8);
    assert_eq!((counted(0..10).await, counted(100..110).await), (0, 5 * a_day));
    // Somebody of whom nothing was known any more is a customer like any other.
    exchange(&app.gateway, &vendor, PER_SLOT - 1, n).await;
    app.gateway.tidy_journal().await.unwrap();
    let (ledger, counted) = app.gateway.journal_ledger(None, true).await.unwrap();
    assert_eq!(Some(ledger), counted);
}

#[tokio::test]
async fn what_waits_for_a_person_stays_in_its_conversation() {
    stays_in_its_conversation(MINUTE, (KEPT_DAYS + 1) * DAY).await;
}

#[tokio::test]
async fn what_waits_for_a_person_stays_however_little_is_removed_at_once() {
    stays_in_its_conversation(DAY, DAY / 2).await;
}

/// What is said is `apart`, and what is old is removed in steps of `each`.
async fn stays_in_its_conversation(apart: i64, each: i64) {
    let (mut app, vendor) = still().await;
    let parked =
        |now| NewIntent { parked: Some(Reason::NoPhone), ..intent(&vendor, customer(1), now) };
    let mut kept = Vec::new();
    for n in 0..3 {
        exchange(&app.gateway, &vendor, 1, n).await;
        app.clock.advance(apart);
        let submitted = app.gateway.journal().submit(parked(app.clock.now())).await.unwrap();
        let Submitted::New(id, _) = submitted else { panic!("{submitted:?}") };
        kept.push(id);
        app.clock.advance(apart);
    }
    exchange(&app.gateway, &vendor, 1, 9).await;
    let conversations = app.gateway.journal().conversations(&vendor.id, None, 9).await.unwrap();
    let contact = conversations.rows[0].id;
    let ids = async |app: &TestApp| {
        let span = Span { cursor: None, limit: 100, is_ascending: true };
        let page = app.gateway.journal().messages_of(&vendor.id, contact, span).await.unwrap();
        page.rows.iter().map(|it| it.id).collect::<Vec<_>>()
    };
    assert_eq!(ids(&app).await.len(), 11);
    let end = app.clock.now() + (KEPT_DAYS + 1) * DAY;
    while app.clock.now() < end {
        app.clock.advance(each.min(end - app.clock.now()));
        app.gateway.tidy_journal().await.unwrap();
        let found = ids(&app).await;
        assert!(kept.iter().all(|it| found.contains(it)), "{found:?} of {kept:?}");
    }
    assert_eq!(ids(&app).await, kept);
    app.restart().await;
    assert_eq!(ids(&app).await, kept);
    exchange(&app.gateway, &vendor, 1, 10).await;
    assert_eq!(ids(&app).await.len(), 5);
    // Whoever erases the customer erases these too.
    let now = app.clock.now();
    let erased = app.gateway.journal().erase(&vendor.id, contact, (None, 100), now).await.unwrap();
    assert!(!erased.is_unknown && erased.next.is_none());
    assert!(ids(&app).await.is_empty());
    let sql = "SELECT count(*) FROM entries WHERE contact IS NOT NULL";
    let db = rusqlite::Connection::open(app.data_dir().join("waba.db")).unwrap();
    assert_eq!(db.query_row(sql, (), |row| row.get::<_, i64>(0)).unwrap(), 0);
}

#[tokio::test]
async fn nothing_is_removed_after_the_clock_has_jumped() {
    let (mut app, vendor) = still().await;
    let message = exchange(&app.gateway, &vendor, 1, 1).await;
    let is_there = async |app: &TestApp| app.gateway.journal_entry(message).await.is_ok();
    let tidy = async |app: &TestApp| app.gateway.tidy_journal().await.unwrap();
    tidy(&app).await;
    app.clock.advance(20 * DAY);
    tidy(&app).await;
    app.clock.jump(20 * DAY);
    tidy(&app).await;
    let mark = app.gateway.clock_mark().await.unwrap().unwrap();
    assert_eq!((mark.jump, mark.held_for), (20 * DAY, STEADY_FOR));
    assert!(is_there(&app).await, "removed by a clock that is not to be believed");
    // Nor after a restart, which knows nothing of the jump itself.
    app.restart().await;
    tidy(&app).await;
    app.clock.advance(HOUR);
    tidy(&app).await;
    assert!(is_there(&app).await);
    let stats = app.admin.get("/api/admin/journal/stats").await.json();
    assert_eq!(stats["retention"]["heldForSeconds"], 23 * 3_600, "{stats}");
    app.clock.advance(STEADY_FOR);
    tidy(&app).await;
    assert!(!is_there(&app).await, "a day later it is believed");
    let (ledger, counted) = app.gateway.journal_ledger(None, true).await.unwrap();
    assert_eq!(Some(ledger), counted);
    assert_eq!((ledger.accepted, ledger.created), (1, 1));
}

#[tokio::test]
async fn a_running_service_removes_what_is_old_by_itself() {
    let (app, vendor) = still().await;
    let old = exchange(&app.gateway, &vendor, 1, 1).await;
    app.clock.advance((KEPT_DAYS + 1) * DAY);
    let new = exchange(&app.gateway, &vendor, 1, 2).await;
    let started = Instant::now();
    while app.gateway.journal_entry(old).await.is_ok() {
        assert!(started.elapsed() < DEADLINE, "it is still there");
        app.clock.advance(MINUTE);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(app.gateway.journal_entry(new).await.is_ok());
    let (ledger, counted) = app.gateway.journal_ledger(None, true).await.unwrap();
    assert_eq!(Some(ledger), counted);
}

#[tokio::test]
async fn how_long_is_the_operators_choice() {
    let variables = vec![("RETENTION_DAYS", "45".to_owned())];
    let app =
        spawn_app_with(Options { clock: Clock::fixed(NOW), variables, ..Options::default() }).await;
    let vendor = app.vendor(1).await;
    let message = exchange(&app.gateway, &vendor, 1, 1).await;
    for (days, is_there) in [(44, true), (2, false)] {
        app.clock.advance(days * DAY);
        app.gateway.tidy_journal().await.unwrap();
        assert_eq!(app.gateway.journal_entry(message).await.is_ok(), is_there);
    }
}
