//! What an event tells of a message that was sent.

use super::Input;
use crate::domain::{
    event::{Event, Failure, Status, What},
    route::ProviderKind,
};

impl Input {
    /// What a status tells; of no other event anything.
    #[must_use]
    pub fn told_by(event: &Event) -> Option<Self> {
        match &event.what {
            What::Status { status: Status::Failed, failure, .. } => Some(Self::HeardFailed {
                by: Some(event.via.unwrap_or(ProviderKind::Wasender)),
                late: failure.as_ref().map(Failure::late).unwrap_or_default(),
            }),
            What::Status { status, .. } => Some(Self::Heard(*status)),
            _ => None,
        }
    }

    /// The status that was heard.
    #[must_use]
    pub fn status(&self) -> Option<Status> {
        match self {
            Self::Heard(status) => Some(*status),
            Self::HeardFailed { .. } => Some(Status::Failed),
            _ => None,
        }
    }
}
