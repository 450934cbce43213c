//! The whole pipeline in virtual time: intake, scheduler, worker, replies, sends, questions and
//! signals over the real journal in memory, with a scripted Wasender, bot and customers. A fault is
//! possible at every call of the journal, the store, the provider and the bot, at the take-up of a new
//! process too. One provider: ways that fail over, forwarded events, files, bulk jobs, Firestore's
//! outbox and retention are not in it. A seed is a story; what must hold in every story is in
//! `rules.rs`.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod answers;
mod bot;
mod delegate;
mod duplicates;
mod executor;
mod faults;
mod journal;
mod looks;
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
