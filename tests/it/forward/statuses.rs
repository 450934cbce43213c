//! Statuses are told once and only forward, whatever order the provider tells them in.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use proptest::{prelude::*, test_runner::TestRunner};
use waba_gateway::{
    domain::{
        contact::Address,
        delivery::{Input, Late, Outcome, Policy, Reason, Refusal},
        event::{Chat, Event, Status, What},
        id::{EntryId, InstanceId, VendorId},
        message::Content,
        phone::PhoneNumber,
        route::{ProviderKind, Routes},
        vendor::OnUnknown,
    },
    journal::{
        Begun, ForwardEnd, Forwards, Journal, NewEvent, NewEvents, NewIntent, SqliteJournal, Step,
        Submitted, Ways,
    },
    vault::Vault,
};

use super::{NOW, rank};

/// What happens to one message, in any order.
#[derive(Clone, Copy, Debug)]
enum Happens {
    Told(Status),
    Ends(Outcome),
}

fn happenings() -> impl Strategy<Value = Vec<Happens>> {
    let status = prop::sample::select(vec![
        Status::Pending,
        Status::Sent,
        Status::Failed,
        Status::Delivered,
        Status::Read,
        Status::Played,
    ]);
    let outcome = prop::sample::select(vec![
        Outcome::Sent,
        Outcome::Unknown,
        Outcome::Refused(Refusal::GiveUp(Reason::Invalid)),
    ]);
    let statuses = prop::collection::vec(status.prop_map(Happens::Told), 0..9);
    (statuses, outcome, any::<prop::sample::Index>()).prop_map(|(mut all, outcome, at)| {
        // The answer to the send comes somewhere between its statuses.
        all.insert(at.index(all.len() + 1), Happens::Ends(outcome));
        all
    })
}

#[test]
fn statuses_are_told_once_and_only_forward() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let vault = Vault::new(&Vault::new_key().unwrap(), &[]).unwrap();
    let journal = SqliteJournal::open(&directory.path().join("waba.db"), Arc::new(vault)).unwrap();
    let config =
        ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() };
    let n_cases = AtomicUsize::new(0);
    let run = |happenings: Vec<Happens>| {
        let name = format!("W{}", n_cases.fetch_add(1, Ordering::Relaxed));
        let (told, shown) = runtime.block_on(told_of(&journal, &name, &happenings));
        let ranks: Vec<usize> = told.iter().map(|(status, why)| rank(status, why)).collect();
        prop_assert!(ranks.is_sorted_by(|a, b| a < b), "{:?}", told);
        // What the API shows in the end was told last.
        let is_news = !matches!(shown.as_str(), "unknown_yet" | "pending");
        let last = told.last().map(|it| it.0.as_str());
        prop_assert_eq!(last == Some(&shown), is_news, "{:?} and {}", told, shown);
        Ok(())
    };
    TestRunner::new(config).run(&happenings(), run).unwrap();
    journal.db().close();
}

#[tokio::test]
async fn an_attempt_after_the_first_is_told_of_only_where_it_gets_further() {
    let directory = tempfile::tempdir().unwrap();
    let vault = Vault::new(&Vault::new_key().unwrap(), &[]).unwrap();
    let journal = SqliteJournal::open(&directory.path().join("waba.db"), Arc::new(vault)).unwrap();
    let (vendor, instance) = (VendorId::parse("v").unwrap(), InstanceId::parse("waba_v").unwrap());
    let routes: Routes = [ProviderKind::Wasender, ProviderKind::Meta].into_iter().collect();
    let intent = intent(&vendor, &instance);
    let intent = NewIntent { policy: Policy { routes, ..intent.policy }, ..intent };
    let Submitted::New(id, _) = journal.submit(intent).await.unwrap() else {
        panic!("it is new");
    };
    let failed = Input::HeardFailed { by: Some(ProviderKind::Wasender), late: Late::default() };
    let attempts: [&[Input]; 2] = [
        &[Input::Outcome(Outcome::Sent), Input::Heard(Status::Sent), failed],
        &[
            Input::Outcome(Outcome::Sent),
            Input::Heard(Status::Sent),
            Input::Heard(Status::Delivered),
        ],
    ];
    for inputs in attempts {
        let begun = journal.begin(id, Ways::of(routes), NOW).await.unwrap();
        assert!(matches!(begun, Begun::Go(_)));
        for input in inputs {
            journal.step(id, Step::of(*input), NOW).await.unwrap();
        }
    }
    assert_eq!(told(&journal, &vendor, id).await, ["accepted", "sent", "delivered"]);
    journal.db().close();
}

/// The words that a back end is told of one message.
async fn told(journal: &SqliteJournal, vendor: &VendorId, id: EntryId) -> Vec<String> {
    let mut told = Vec::new();
    while let Some(next) = journal.next_forward(vendor, 0).await.unwrap() {
        assert_eq!(next.row.message, Some(id));
        told.push(next.row.status.unwrap());
        journal.end_forward(next.row.id, ForwardEnd::Gone).await.unwrap();
    }
    told
}

/// What a back end is told of one message, and what the API shows in the end.
async fn told_of(
    journal: &SqliteJournal,
    name: &str,
    happenings: &[Happens],
) -> (Vec<(String, String)>, String) {
    let (vendor, instance) = (VendorId::parse("v").unwrap(), InstanceId::parse("waba_v").unwrap());
    let Submitted::New(id, _) = journal.submit(intent(&vendor, &instance)).await.unwrap() else {
        panic!("it is new");
    };
    assert!(matches!(
        journal.begin(id, Ways::of(Routes::WASENDER), NOW).await.unwrap(),
        Begun::Go(_)
    ));
    for (n, happens) in happenings.iter().enumerate() {
        let now = NOW + i64::try_from(n).unwrap();
        match happens {
            Happens::Ends(outcome) => {
                let step = Step {
                    provider_id: (*outcome == Outcome::Sent).then(|| name.to_owned()),
                    ..Step::of(Input::Outcome(*outcome))
                };
                journal.step(id, step, now).await.unwrap();
            }
            // As a webhook that names it, and as the provider's own log when no id is known.
            Happens::Told(status) if n % 3 == 0 => {
                journal.step(id, Step::of(Input::Heard(*status)), now).await.unwrap();
            }
            Happens::Told(status) => {
                let batch = webhook(&vendor, &instance, (name, *status), now);
                journal.append(batch).await.unwrap();
            }
        }
    }
    let mut told = Vec::new();
    while let Some(next) = journal.next_forward(&vendor, 0).await.unwrap() {
        assert_eq!(next.row.message, Some(id));
        told.push((next.row.status.unwrap(), next.row.reason.unwrap_or_default()));
        journal.end_forward(next.row.id, ForwardEnd::Gone).await.unwrap();
    }
    let shown = journal.journey(&vendor, id).await.unwrap().unwrap().row.status;
    (told, shown)
}

fn customer() -> Address {
    Address::phone(PhoneNumber::from_wire("221705550001").unwrap())
}

fn intent(vendor: &VendorId, instance: &InstanceId) -> NewIntent {
    NewIntent {
        vendor: vendor.clone(),
        instance: instance.clone(),
        contact: None,
        to: customer(),
        content: Content::text("bonjour"),
        more: Vec::new(),
        reply_to: None,
        forward: true,
        is_automatic: false,
        origin: None,
        now: NOW,
        send_at: None,
        only: None,
        expires: NOW + 3_600_000,
        policy: Policy {
            on_unknown: OnUnknown::GiveUp,
            unknown_deadline: 600_000,
            routes: Routes::WASENDER,
        },
        parked: None,
        idempotency: None,
    }
}

fn webhook(
    vendor: &VendorId,
    instance: &InstanceId,
    (target, status): (&str, Status),
    now: i64,
) -> NewEvents {
    let what = What::Status { target: target.to_owned(), status, participant: None, failure: None };
    let event = Event::new(what, Chat::Private, customer());
    NewEvents {
        vendor: vendor.clone(),
        instance: instance.clone(),
        silence: 0,
        forward: true,
        is_told_twice: false,
        now,
        raw: bytes::Bytes::new(),
        events: vec![NewEvent { event, unanswered: None }],
    }
}
