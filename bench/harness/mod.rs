//! What the benches share, and the tests of what a crash and a restart cost.

pub mod crash;
pub mod figures;
pub mod gateway;
pub mod hook;
pub mod http;
pub mod load;
pub mod open;
pub mod process;
pub mod provider;
