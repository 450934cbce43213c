//! waba-gateway: many vendors talk to their customers on WhatsApp, each from their own number.
//!
//! The modules, in reading order; `docs/ARCHITECTURE.md` tells the whole.

pub mod app;
pub mod cache;
pub mod cli;
pub mod config;
pub mod demo;
pub mod domain;
pub mod firebase;
pub mod gateway;
pub mod http;
pub mod journal;
pub mod lang;
pub mod media;
pub mod present;
pub mod priority;
pub mod provider;
pub mod responder;
pub mod sqlite;
pub mod store;
pub mod telemetry;
pub mod twin;
pub mod vault;
pub mod vendor;
pub mod web;
pub mod worker;
