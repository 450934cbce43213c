//! A piece of work, and what becomes of it.

use crate::domain::{
    clock::{Millis, SECOND},
    id::{ContactId, EntryId, InstanceId, VendorId},
};

/// The kinds of work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A message, for the responder. Waits in the in lane of its conversation.
    Message,
    /// An intent, for the provider. Waits in the out lane of its conversation.
    Send,
    /// An intent that becomes a [`Self::Send`] when it is due: no lane before.
    Later,
    /// A signal: no lane.
    Signal,
    /// A question to the provider about an intent, or its deadline: no lane.
    Follow,
}

/// A piece of work that is waiting.
#[derive(Clone, Debug)]
pub struct Job {
    /// The journal entry.
    pub id: EntryId,
    /// Whose it is.
    pub vendor: VendorId,
    /// From whose number it would leave.
    pub instance: InstanceId,
    /// Its conversation, for messages and intents.
    pub contact: Option<ContactId>,
    /// What is to be done.
    pub kind: Kind,
    /// Not before this time.
    pub due: Millis,
}

/// What became of work that was started, or of work that something else decided about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Nothing is left to do.
    Gone,
    /// This kind of work again, from `due`; a send keeps its place in its lane.
    Again {
        /// What.
        kind: Kind,
        /// When.
        due: Millis,
        /// Its lane stays closed until then although it has left it.
        hold: Option<Millis>,
    },
}

impl Job {
    /// Whether it is a send that is to leave, or is to be looked up because it may be one.
    pub(super) fn is_not_over(&self, now: Millis) -> bool {
        match self.kind {
            Kind::Send | Kind::Later => true,
            Kind::Follow => self.due <= now,
            Kind::Message | Kind::Signal => false,
        }
    }
}

impl Next {
    /// Told of a send that is not over: if it says that it is, that is looked up, and the send's lane
    /// is kept for as long as that should take.
    pub(super) fn in_doubt(self, now: Millis) -> Self {
        if matches!(self, Self::Again { kind: Kind::Send | Kind::Later, .. }) {
            return self;
        }
        let hold = self.hold().max(Some(now + SECOND));
        Self::Again { kind: Kind::Follow, due: now, hold }
    }

    /// Only the journal knows what became of it: it is looked up at once.
    pub(super) fn looked_up(self, now: Millis) -> Self {
        Self::Again { kind: Kind::Follow, due: now, hold: self.hold() }
    }

    fn hold(self) -> Option<Millis> {
        match self {
            Self::Again { hold, .. } => hold,
            Self::Gone => None,
        }
    }
}
