//! The integration tests: the whole service, with only the world replaced.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod abuse;
mod admin;
mod alerts;
mod analytics;
mod answers;
mod backup;
mod bulk;
mod cli;
mod connections;
mod content;
mod day;
mod delivery;
mod disk;
mod documents;
mod examples;
mod exchange;
mod failover;
mod firebase;
mod firestore;
mod forward;
mod fuzz;
mod guide;
#[expect(dead_code, reason = "the benches use the rest")]
#[path = "../../bench/harness/mod.rs"]
mod harness;
mod instances;
mod intake;
mod keys;
mod leaks;
mod media;
mod meta;
mod migrate;
mod move_guide;
mod notify;
mod openapi;
mod operate;
mod own;
mod people;
mod process;
mod redis;
mod responders;
mod restart;
mod retention;
mod setup;
mod store;
mod store_away;
mod support;
mod tickets;
mod tidy;
mod twilio;
mod unipile;
mod vault;
mod wire;
