//! Whatever happens to the parts of a text, and in whatever order: none leaves before the one
//! before it has been sent, and none waits longer than that.

use std::{path::Path, sync::Arc};

use proptest::prelude::*;
use waba_gateway::{domain::route::Routes, journal::Ways};
use waba_gateway::{
    domain::{
        clock::{HOUR, Millis},
        contact::Address,
        delivery::{Account, Delivery, Input, Outcome, Policy, Reason, Refusal, State},
        event::Status,
        id::{EntryId, InstanceId, VendorId},
        message::Content,
        phone::PhoneNumber,
        schedule::{Kind, Next},
        vendor::OnUnknown,
    },
    journal::{Begun, Change, Journal, NewIntent, SqliteJournal, Step, Submitted},
    vault::Vault,
};

use super::NOW;

const PARTS: usize = 4;

#[derive(Clone, Copy, Debug)]
enum Act {
    Begin,
    Tell(Input),
}

fn acts() -> impl Strategy<Value = Vec<(usize, Act, Millis)>> {
    let refused = |it| Act::Tell(Input::Outcome(Outcome::Refused(it)));
    let act = prop_oneof![
        6 => Just(Act::Begin),
        6 => Just(Act::Tell(Input::Outcome(Outcome::Sent))),
        2 => Just(Act::Tell(Input::Outcome(Outcome::Unknown))),
        1 => Just(refused(Refusal::Retry { not_before: None })),
        1 => Just(refused(Refusal::GiveUp(Reason::Invalid))),
        1 => Just(refused(Refusal::Park(Reason::Plan))),
        2 => Just(Act::Tell(Input::Heard(Status::Delivered))),
        1 => Just(Act::Tell(Input::Heard(Status::Failed))),
        1 => Just(Act::Tell(Input::Tick)),
        1 => Just(Act::Tell(Input::Crashed)),
        1 => Just(Act::Tell(Input::Release { expires: NOW + 2 * HOUR })),
    ];
    // The lane is in order, but what happens to a part comes from everywhere.
    proptest::collection::vec((0..PARTS, act, 0..300_000_i64), 1..60)
}

fn intent(on_unknown: OnUnknown) -> NewIntent {
    let vendor = VendorId::parse("v").unwrap();
    NewIntent {
        instance: InstanceId::nth(&vendor, 1),
        vendor,
        contact: None,
        to: Address::phone(PhoneNumber::from_wire("+221705550001").unwrap()),
        content: Content::text("1"),
        more: (2..=PARTS).map(|it| Content::text(it.to_string())).collect(),
        reply_to: None,
        forward: false,
        is_automatic: false,
        origin: None,
        now: NOW,
        send_at: None,
        only: None,
        expires: NOW + HOUR,
        policy: Policy { on_unknown, unknown_deadline: 600_000, routes: Routes::WASENDER },
        parked: None,
        idempotency: None,
    }
}

struct Group {
    journal: SqliteJournal,
    ids: Vec<EntryId>,
}

impl Group {
    async fn new(directory: &Path, on_unknown: OnUnknown) -> Self {
        let vault = Vault::new(&Vault::new_key().unwrap(), &[]).unwrap();
        let journal = SqliteJournal::open(&directory.join("waba.db"), Arc::new(vault)).unwrap();
        let submitted = journal.submit(intent(on_unknown)).await.unwrap();
        let Submitted::New(first, changes) = submitted else { panic!("{submitted:?}") };
        let id = |it: &Change| match it {
            Change::New(job) => job.id,
            other => panic!("{other:?}"),
        };
        let ids: Vec<_> = changes.iter().map(id).collect();
        assert_eq!((ids.len(), ids[0]), (PARTS, first));
        Self { journal, ids }
    }

    async fn states(&self) -> Vec<Delivery> {
        let mut states = Vec::new();
        for id in &self.ids {
            states.push(self.journal.intent(*id).await.unwrap().unwrap().delivery);
        }
        states
    }

    /// Whether a request left, and what the scheduler is told of the others.
    async fn run(&self, part: usize, act: Act, now: Millis) -> (bool, Vec<Change>) {
        match act {
            Act::Begin => match self
                .journal
                .begin(self.ids[part], Ways::of(Routes::WASENDER), now)
                .await
                .unwrap()
            {
                Begun::Go(to_send) => {
                    assert_eq!(to_send.content, Content::text((part + 1).to_string()));
                    (true, Vec::new())
                }
                Begun::No(stepped) => (false, stepped.changes),
            },
            Act::Tell(input) => {
                let step = Step::of(input);
                let stepped = self.journal.step(self.ids[part], step, now).await.unwrap();
                (false, stepped.changes)
            }
        }
    }

    async fn check(&self, (part, act, now): (usize, Act, Millis)) {
        let before = self.states().await;
        let (has_left, changes) = self.run(part, act, now).await;
        let after = self.states().await;
        let is_sent = |it: usize| after[it].account() == Account::Sent;
        assert!(!has_left || part == 0 || is_sent(part - 1), "{part} left too early: {before:?}");
        for next in 1..PARTS {
            let waits = |it: &[Delivery]| it[next].state == State::Parked(Reason::PartBefore);
            assert!(!(waits(&after) && is_sent(next - 1)), "{next} waits for nothing: {after:?}");
            if waits(&before) && next != part && !waits(&after) {
                let is_told = |it: &Change| match it {
                    Change::Decided(job, Next::Again { kind: Kind::Send, .. }) => {
                        job.id == self.ids[next]
                    }
                    _ => false,
                };
                assert!(changes.iter().any(is_told), "nobody is told that {next} may go");
            }
        }
        let (ledger, counted) = (self.journal.ledger(None).await, self.journal.count(None).await);
        assert_eq!(ledger.unwrap(), counted.unwrap());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]
    #[test]
    fn no_part_leaves_before_the_one_before_it_was_sent(acts in acts(), is_retry: bool) {
        let directory = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let on_unknown = if is_retry { OnUnknown::Retry } else { OnUnknown::GiveUp };
            let group = Group::new(directory.path(), on_unknown).await;
            let mut now = NOW;
            for (part, act, passes) in acts {
                now += passes;
                group.check((part, act, now)).await;
            }
        });
    }
}
