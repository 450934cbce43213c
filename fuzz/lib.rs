//! The targets, for libFuzzer; `tests/it/fuzz.rs` runs the same ones over the kept corpus.

#[path = "targets/mod.rs"]
pub mod targets;
