//! Media files: WhatsApp's encryption of them, and the directory they are kept in. Nothing here
//! is ever in clear on disk.

mod cipher;
mod files;
mod flow;
mod stream;

pub use self::{
    cipher::{Damage, MediaKey, Opener, Sealer},
    files::{Draft, Files},
    flow::{Inflow, Intake, outflow},
    stream::{Announced, Clear, Expected, Fault, Incoming, Sealing},
};
