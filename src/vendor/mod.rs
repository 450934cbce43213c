//! Everything the gateway can do for one vendor, and how that is found.

mod registry;
mod service;
mod waba_manager;

pub use self::{
    registry::VendorRegistry,
    service::{Made, Parts, VendorService},
    waba_manager::{Paused, Source, WabaManager},
};
