//! The words of the gateway and its rules. No I/O, no async, nothing of any provider's wire.

pub mod account;
pub mod alert;
pub mod answer;
pub mod choices;
pub mod circuit;
pub mod clock;
pub mod contact;
pub mod delivery;
pub mod event;
pub mod fold;
pub mod forward;
pub mod hours;
pub mod id;
pub mod known;
pub mod media;
pub mod message;
pub mod phone;
pub mod record;
pub mod retention;
pub mod route;
pub mod schedule;
pub mod secret;
pub mod split;
pub mod vendor;
pub mod waba;
pub mod webhook;
