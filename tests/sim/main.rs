//! The whole pipeline in virtual time: intake, scheduler, worker, replies, sends, questions and
//! signals over the real journal in memory, with a scripted Wasender, bot and customers, and for some
//! numbers Meta as the second way out. A fault is possible at every call of the journal, the store,
//! the providers and the bot, at the take-up of a new process too. Forwarded events, files, bulk jobs,
//! Firestore's outbox and retention are not in it. A seed is a story; what must hold in every story is
//! in `rules.rs`.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

// As in the program.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

mod answers;
mod bot;
mod delegate;
mod duplicates;
mod executor;
mod faults;
mod journal;
mod looks;
mod meta;
mod mutation;
mod order;
mod plan;
mod provider;
mod rng;
mod rules;
mod run;
mod seeds;
mod store;
mod twist;
mod wire;
mod world;
