//! The whole pipeline in virtual time: intake, scheduler, worker, replies, sends, questions and
//! signals over the real journal in memory, with a scripted Wasender, bot and customers, and with a
//! fault possible at every await. A seed is a story; what must hold in every story is in `rules.rs`.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod bot;
mod delegate;
mod duplicates;
mod executor;
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
mod wire;
mod world;
