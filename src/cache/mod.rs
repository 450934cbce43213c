//! What `WabaManager` stands on: process memory, Redis, and one read at a time of each key. Of
//! Redis and its messages, only bytes and names are known here.

pub mod flights;
pub mod memory;
pub mod redis;
mod subject;

pub use self::subject::{Owner, Subject};
