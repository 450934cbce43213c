//! Messages are counted as they are kept, and what is counted is what a scan would find.

use std::{ops::Range, sync::Arc};

use proptest::prelude::*;
use serde_json::{Value, json};
use waba_gateway::{domain::route::Routes, journal::Ways};
use waba_gateway::{
    domain::{
        clock::{Clock, HOUR, MINUTE, SECOND},
        contact::Address,
        delivery::{Input, Outcome, Policy, Reason, Refusal},
        event::{Chat, Event, Status, What},
        id::{EntryId, InstanceId, VendorId},
        message::Content,
        phone::PhoneNumber,
        vendor::OnUnknown,
    },
    journal::{
        Appended, Change, Counters, Journal, MessageEnd, NewEvent, NewEvents, NewIntent, People,
        Recorded, SqliteJournal, Step, Submitted,
    },
    twin::{Customer, real_message},
    vault::Vault,
};

use crate::{
    delivery::{send, status_is},
    support::{DEADLINE, Options, TestApp, TestVendor, spawn_app, spawn_app_with},
};

const NOW: i64 = 1_760_000_000_000;
const ALL: Range<i64> = 0..1_000_000;

async fn counted(app: &TestApp, vendor: &TestVendor, query: &str) -> Value {
    let path = format!("/api/admin/analytics/vendor/{}/messages{query}", vendor.id);
    let answer = app.admin.get(&path).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer.json()
}

#[tokio::test]
async fn a_vendors_messages_are_counted_by_where_they_stand() {
    let app = spawn_app_with(Options { clock: Clock::fixed(NOW), ..Options::default() }).await;
    let (vendor, other) = (app.vendor(1).await, app.vendor(2).await);
    app.clock.advance(MINUTE);
    let customer = Customer::new("+221705550001");
    let hello = real_message("M1", &customer, "bonjour", app.now_secs());
    assert_eq!(app.post_signed(&vendor, &hello).await.status, 200);
    app.until(&vendor, |it| it.iter().any(|it| it["status"] == "read")).await;
    app.gateway.pause(Some(&vendor.id), true).await.unwrap();
    send(&app, &vendor, "+221705550002", "plus tard").await;
    let answer = counted(&app, &vendor, "").await;
    let fields = |it: &Value| it.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(fields(&answer), ["period", "stats", "vendorId"]);
    assert_eq!(fields(&answer["period"]), ["from", "to"]);
    let all = ["avgResponseTime", "byStatus", "inbound", "outbound", "totalMessages"];
    assert_eq!(fields(&answer["stats"]), all);
    assert_eq!(answer["vendorId"], vendor.id.as_str());
    assert_eq!(answer["period"]["to"], "2025-10-09T09:00:00.000Z");
    let stats = &answer["stats"];
    assert_eq!((&stats["inbound"], &stats["outbound"]), (&json!(1), &json!(2)));
    assert_eq!(stats["totalMessages"], 3);
    assert_eq!(stats["byStatus"], json!({ "received": 1, "read": 1, "queued": 1 }));
    assert_eq!(stats["avgResponseTime"], 0.0);
    let read = counted(&app, &vendor, "?status=read").await;
    assert_eq!(read["stats"]["totalMessages"], 1);
    assert_eq!(read["stats"]["inbound"], 0);
    assert_eq!(read["stats"]["byStatus"], json!({ "read": 1 }));
    let received = counted(&app, &vendor, "?status=received").await;
    assert_eq!(received["stats"]["outbound"], 0);
    let before = counted(&app, &vendor, "?to=2025-10-08").await;
    assert_eq!(before["stats"]["totalMessages"], 0);
    assert_eq!(before["stats"]["avgResponseTime"], Value::Null);
    assert_eq!(counted(&app, &other, "").await["stats"]["totalMessages"], 0);
    app.balanced().await;
}

#[tokio::test]
async fn what_cannot_be_counted_is_refused() {
    let app = spawn_app().await;
    let vendor = app.vendor(1).await;
    let path = format!("/api/admin/analytics/vendor/{}/messages", vendor.id);
    for query in [
        "from=soon",
        "to=2026-02-30",
        "from=2025-02-02&to=2025-02-01",
        "from=2024-01-01&to=2025-02-06",
        "status=nice",
    ] {
        let answer = app.admin.get(&format!("{path}?{query}")).await;
        assert_eq!(answer.status, 422, "{query} {}", answer.text);
        assert!(answer.json()["error"].is_string());
    }
    let unknown = "/api/admin/analytics/vendor/nobody/messages";
    assert_eq!(app.admin.get(unknown).await.status, 404);
    let key = json!({ "name": "shop", "vendorId": vendor.id.as_str() });
    let key = app.admin.post("/api/admin/keys", key).await.json();
    let own = app.admin.with_key(key["key"].as_str().unwrap());
    assert_eq!(own.get(&path).await.status, 200);
    assert_eq!(own.get("/api/admin/analytics/vendor/vendor_002/messages").await.status, 403);
}

#[tokio::test]
async fn the_mean_answer_time_is_that_of_first_answers_that_left() {
    let app = spawn_app_with(Options { clock: Clock::fixed(NOW), ..Options::default() }).await;
    let vendor = app.vendor(1).await;
    let welcome = waba_gateway::gateway::VendorChange {
        welcome_message: Some(Some("bienvenue".to_owned())),
        ..Default::default()
    };
    app.gateway.put_vendor(&vendor.id, welcome).await.unwrap();
    app.gateway.pause(Some(&vendor.id), true).await.unwrap();
    let customer = Customer::new("+221705550001");
    let hello = real_message("M1", &customer, "bonjour", app.now_secs());
    assert_eq!(app.post_signed(&vendor, &hello).await.status, 200);
    app.until(&vendor, |it| it.len() == 3).await;
    app.clock.advance(90 * SECOND);
    app.gateway.pause(Some(&vendor.id), false).await.unwrap();
    app.twin.wait_sends(2, DEADLINE).await;
    app.settled().await;
    let tally = app.gateway.journal().hours(&vendor.id, ALL).await.unwrap();
    assert_eq!((tally.answered, tally.answer_ms), (1, 90 * SECOND));
    // A message that nobody asked for answers nobody.
    let id = send(&app, &vendor, "+221705550001", "au fait").await;
    status_is(&app, &vendor, &id, "read").await;
    let stats = counted(&app, &vendor, "").await["stats"].clone();
    assert_eq!(stats["avgResponseTime"], 90.0);
}

/// What may happen to a journal.
#[derive(Clone, Debug)]
enum Happens {
    Message(u8),
    Answers(usize),
    Submit(u8),
    Begin,
    Ends(u8),
    Heard(usize, Status),
    Echo(u8, bool),
    Recheck,
    Follow,
    Later(i64),
    Erase(usize),
}

fn happens() -> impl Strategy<Value = Happens> {
    use Status::{Delivered, Failed, Pending, Read, Sent};
    let status = prop::sample::select(vec![Pending, Sent, Failed, Delivered, Read]);
    prop_oneof![
        (0..3_u8).prop_map(Happens::Message),
        (1..5_usize).prop_map(Happens::Erase),
        (0..3_usize).prop_map(Happens::Answers),
        (0..3_u8).prop_map(Happens::Submit),
        Just(Happens::Begin),
        (0..5_u8).prop_map(Happens::Ends),
        (0..8_usize, status).prop_map(|it| Happens::Heard(it.0, it.1)),
        (0..3_u8, any::<bool>()).prop_map(|it| Happens::Echo(it.0, it.1)),
        Just(Happens::Recheck),
        Just(Happens::Follow),
        prop::sample::select(vec![SECOND, MINUTE, HOUR]).prop_map(Happens::Later),
    ]
}

struct World {
    journal: SqliteJournal,
    _directory: tempfile::TempDir,
    vendor: VendorId,
    instance: InstanceId,
    now: i64,
    n: u32,
    messages: Vec<EntryId>,
    signals: Vec<EntryId>,
    intents: Vec<EntryId>,
    begun: Vec<EntryId>,
    known: Vec<String>,
}

impl World {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let vault = Arc::new(Vault::new(&Vault::new_key().unwrap(), &[]).unwrap());
        let journal = SqliteJournal::open(&directory.path().join("waba.db"), vault).unwrap();
        Self {
            journal,
            _directory: directory,
            vendor: "vendor_001".parse().unwrap(),
            instance: "waba_vendor_001".parse().unwrap(),
            now: NOW,
            n: 0,
            messages: Vec::new(),
            signals: Vec::new(),
            intents: Vec::new(),
            begun: Vec::new(),
            known: Vec::new(),
        }
    }

    async fn event(&mut self, what: What, who: u8, provider_id: Option<String>) -> Appended {
        let phone = PhoneNumber::from_wire(&format!("22170555000{who}")).unwrap();
        let mut event = Event::new(what, Chat::Private, Address::phone(phone));
        event.provider_id = provider_id;
        self.n += 1;
        let appended = self.journal.append(NewEvents {
            vendor: self.vendor.clone(),
            instance: self.instance.clone(),
            silence: HOUR,
            forward: false,
            is_told_twice: false,
            now: self.now,
            raw: format!("raw {}", self.n).into(),
            events: vec![NewEvent { event, unanswered: None }],
        });
        let appended = appended.await.unwrap();
        self.learn(&appended.changes);
        appended
    }

    fn learn(&mut self, changes: &[Change]) {
        for change in changes {
            let Change::New(job) = change else { continue };
            match job.kind {
                waba_gateway::domain::schedule::Kind::Signal => self.signals.push(job.id),
                waba_gateway::domain::schedule::Kind::Send => self.intents.push(job.id),
                _ => {}
            }
        }
    }

    fn intent(&self, who: u8) -> NewIntent {
        let phone = PhoneNumber::from_wire(&format!("22170555000{who}")).unwrap();
        NewIntent {
            vendor: self.vendor.clone(),
            instance: self.instance.clone(),
            contact: None,
            to: Address::phone(phone),
            content: Content::text(format!("texte {who}")),
            more: Vec::new(),
            reply_to: None,
            forward: false,
            is_automatic: false,
            origin: None,
            now: self.now,
            send_at: None,
            only: None,
            expires: self.now + 24 * HOUR,
            policy: Policy {
                on_unknown: OnUnknown::Retry,
                unknown_deadline: 10 * MINUTE,
                routes: Routes::WASENDER,
            },
            parked: (who == 2).then_some(Reason::NoPhone),
            idempotency: None,
        }
    }

    async fn run(&mut self, it: Happens) {
        match it {
            Happens::Message(who) => {
                let id = Some(format!("M{}", self.n));
                let what = What::Message(Content::text("bonjour"));
                let appended = self.event(what, who, id).await;
                if let Recorded::New(id) = appended.entries[0] {
                    self.messages.push(id);
                }
            }
            Happens::Answers(n) => {
                let Some(id) = self.messages.pop() else { return };
                let intents = (0..n).map(|_| self.intent(0)).collect();
                let (unanswered, intent, pause, now) = (None, None, None, self.now);
                let end = MessageEnd { intents, unanswered, intent, pause, now };
                let changes = self.journal.settle(id, end).await.unwrap();
                self.learn(&changes);
            }
            Happens::Submit(who) => {
                let submitted = self.journal.submit(self.intent(who)).await.unwrap();
                if let Submitted::New(_, changes) = submitted {
                    self.learn(&changes);
                }
            }
            Happens::Begin => {
                let Some(id) = self.intents.pop() else { return };
                self.journal.begin(id, Ways::of(Routes::WASENDER), self.now).await.unwrap();
                self.begun.push(id);
            }
            Happens::Ends(how) => self.end(how).await,
            Happens::Heard(n, status) => {
                let none = "unknown".to_owned();
                let target = self.known.get(n).cloned().unwrap_or(none);
                let what = What::Status { target, status, participant: None, failure: None };
                self.event(what, 0, None).await;
            }
            Happens::Echo(who, is_ours) => {
                let (id, n) = (self.n, if is_ours { 0 } else { self.n });
                let what = What::Echo(Content::text(format!("texte {n}")));
                self.known.push(format!("E{id}"));
                self.event(what, who, Some(format!("E{id}"))).await;
            }
            Happens::Recheck => {
                for id in std::mem::take(&mut self.signals) {
                    let rechecked = self.journal.recheck(id, self.now).await.unwrap();
                    self.learn(&rechecked.changes);
                }
            }
            Happens::Follow => {
                for id in self.begun.clone() {
                    self.step(id, Step::of(Input::NoAnswer)).await;
                }
            }
            Happens::Later(ms) => self.now += ms,
            Happens::Erase(limit) => self.erase(limit).await,
        }
    }

    /// The customer who was last heard of, a few entries at a time.
    async fn erase(&mut self, limit: usize) {
        let all = self.journal.conversations(&self.vendor, None, 10).await.unwrap();
        let Some(one) = all.rows.first().map(|it| it.id) else { return };
        let mut part = (None, limit);
        loop {
            let erased = self.journal.erase(&self.vendor, one, part, self.now).await.unwrap();
            part.0 = erased.next;
            if part.0.is_none() {
                break;
            }
        }
        assert!(self.journal.conversation(&self.vendor, one).await.unwrap().is_none());
    }

    async fn end(&mut self, how: u8) {
        let Some(id) = self.begun.last().copied() else { return };
        let (retry, give_up) =
            (Refusal::Retry { not_before: None }, Refusal::GiveUp(Reason::Invalid));
        let outcome = match how {
            0 | 1 => Outcome::Sent,
            2 => Outcome::Unknown,
            3 => Outcome::Refused(retry),
            _ => Outcome::Refused(give_up),
        };
        let mut step = Step::of(Input::Outcome(outcome));
        if how == 1 {
            step.provider_id = Some(format!("P{id}"));
            self.known.push(format!("P{id}"));
        }
        if how == 3 {
            self.begun.pop();
            self.intents.push(id);
        }
        self.step(id, step).await;
    }

    async fn step(&mut self, id: EntryId, step: Step) {
        let stepped = self.journal.step(id, step, self.now).await.unwrap();
        self.learn(&stepped.changes);
    }

    async fn check(&self) {
        let (first, last) = (NOW / HOUR, self.now / HOUR);
        for hour in first..=last {
            let counters = self.journal.hours(&self.vendor, hour..hour + 1).await.unwrap();
            let scan = self.journal.count_hours(&self.vendor, hour..hour + 1).await.unwrap();
            assert_eq!(counters, scan);
        }
        let counters = self.journal.hours(&self.vendor, ALL).await.unwrap();
        assert_eq!(counters.outbound, counters.by_status.values().sum::<i64>());
        assert_eq!(
            self.journal.ledger(None).await.unwrap(),
            self.journal.count(None).await.unwrap()
        );
        self.check_backfill().await;
    }

    /// A database from before the counters gets the same ones, answers aside.
    async fn check_backfill(&self) {
        let script = include_str!("../../src/sqlite/schema_2.sql");
        let statements = script.split(";\n").filter_map(|it| {
            let at = it.find("INSERT INTO hours")?;
            Some(it[at..].to_owned())
        });
        let statements: Vec<String> = statements.collect();
        assert_eq!(statements.len(), 2);
        let mut want = self.journal.count_hours(&self.vendor, ALL).await.unwrap();
        (want.answered, want.answer_ms) = (0, 0);
        let refill = move |connection: &rusqlite::Connection| {
            connection.execute_batch("DELETE FROM hours; DELETE FROM ledger_log;")?;
            statements.iter().try_for_each(|it| connection.execute_batch(it))?;
            Ok(())
        };
        self.journal.db().write(refill).await.unwrap();
        assert_eq!(self.journal.hours(&self.vendor, ALL).await.unwrap(), want);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8, max_shrink_iters: 100, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn counters_are_what_a_scan_finds_after_anything(
        all in prop::collection::vec(happens(), 0..200)
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let mut world = World::new();
            for it in all {
                world.run(it).await;
            }
            world.check().await;
        });
    }
}
