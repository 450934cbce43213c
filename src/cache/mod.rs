//! What `WabaManager` stands on: one entry per instance, found by any of its keys.

pub mod memory;
