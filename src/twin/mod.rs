//! Simulators of the outside world, for the demo, the tests and authors of bots. They speak the
//! real wire, need nothing else of this crate, and misbehave on request. [`MetaTwin`] is Meta.
//!
//! [`twilio::TwilioTwin`] and [`unipile::UnipileTwin`] are Twilio and Unipile.
//! [`Twin`] is Wasender as `docs/wire/wasender.md` describes it:
//!
//! ```no_run
//! # use std::time::Duration;
//! # use waba_gateway::twin::{Customer, Misbehaviour, NewSession, Times, Twin};
//! # async fn example() -> anyhow::Result<()> {
//! let twin = Twin::start().await?;
//! let session = twin.add_session(NewSession::new("+221771234567"));
//! twin.set_webhook(session.id, "http://127.0.0.1:9002/api/webhooks/wasender/vendor_001");
//! twin.misbehave(session.id, Misbehaviour::Cut { accepted: true }, Times::Once);
//!
//! let answer = twin.customer_says(session.id, &Customer::new("+221705555555"), "Bonjour").await;
//! assert!(answer.is_ok());
//! let sends = twin.wait_sends(1, Duration::from_secs(5)).await;
//! assert_eq!(sends[0].to, "+221705555555");
//! twin.idle().await;
//! # Ok(())
//! # }
//! ```

mod answer;
mod api;
mod book;
mod clock;
mod deeds;
mod faults;
mod follow;
mod hooks;
mod inbound;
mod kinds;
mod manage;
mod meta;
mod misbehaviour;
mod mmg;
mod order;
mod pace;
mod people;
mod port;
mod send;
mod session;
mod sessions;
mod share;
mod speak;
#[cfg(test)]
mod tests;
pub mod twilio;
pub mod unipile;
mod upload;
mod wasender;
pub mod wire;
mod world;

pub use self::{
    book::{Key, SeenRequest, Sent},
    deeds::{Deed, Edit, Presence, Read, Upload},
    hooks::{HookAnswer, HookFailure},
    inbound::{DeleteForm, EditForm, Inbound},
    meta::{
        MetaCustomer, MetaFile, MetaInbound, MetaMisbehaviour, MetaNumber, MetaRead, MetaRequest,
        MetaSent, MetaTwin, NewMetaNumber,
    },
    misbehaviour::{Misbehaviour, Times},
    mmg::{FileKind, HostedMedia, MediaFault, encrypt_media},
    session::{Dialect, EVENTS, NewSession, Session},
    wasender::{Twin, twin_router},
    wire::{Customer, predecessor_message, real_message, sign_hmac},
    world::OnSend,
};
