//! Conversations: listed, read, paused, exported, erased.

use super::{AdminError, Gateway, MediaError};
use crate::{
    domain::{
        clock::{HOUR, MINUTE, Millis},
        id::{ContactId, EntryId, VendorId},
    },
    journal::{Conversation, Conversations, Page, Pause, Record, Span},
};

/// A conversation paused by an admin without an end stays so for this long.
const PAUSE_MAX: Millis = 10 * 365 * 24 * HOUR;
/// Entries erased in one transaction, so that nobody else waits long.
const ERASED_AT_ONCE: usize = 200;

/// Why a customer was not erased, or only in part. Asking again goes on.
#[derive(Debug, thiserror::Error)]
pub enum EraseError {
    /// What every admin request can meet.
    #[error(transparent)]
    Admin(#[from] AdminError),
    /// Files are still there.
    #[error(transparent)]
    Media(#[from] MediaError),
}

impl Gateway {
    /// A vendor's conversations, the one with the newest message first. A page may be short
    /// although there are more.
    pub async fn conversations(
        &self,
        vendor: &VendorId,
        before: Option<EntryId>,
        limit: usize,
    ) -> Result<Conversations, AdminError> {
        self.vendor(vendor).await?;
        Ok(self.inner.journal.conversations(vendor, before, limit).await?)
    }

    /// One conversation.
    pub async fn conversation(
        &self,
        vendor: &VendorId,
        id: ContactId,
    ) -> Result<Conversation, AdminError> {
        self.vendor(vendor).await?;
        let found = self.inner.journal.conversation(vendor, id).await?;
        found.ok_or(AdminError::NoConversation)
    }

    /// The messages of a conversation.
    pub async fn messages_of(
        &self,
        vendor: &VendorId,
        id: ContactId,
        span: Span,
    ) -> Result<Page, AdminError> {
        self.conversation(vendor, id).await?;
        Ok(self.inner.journal.messages_of(vendor, id, span).await?)
    }

    /// Pauses the bot in a conversation for these minutes, or until somebody resumes it.
    pub async fn pause_contact(
        &self,
        vendor: &VendorId,
        id: ContactId,
        minutes: Option<i64>,
    ) -> Result<(), AdminError> {
        self.conversation(vendor, id).await?;
        let at = self.inner.clock.now();
        let lasts = minutes.map_or(PAUSE_MAX, |it| it.clamp(1, PAUSE_MAX / MINUTE) * MINUTE);
        let pause = Pause { at, until: at + lasts, reason: "admin" };
        Ok(self.inner.journal.pause(id, Some(pause)).await?)
    }

    /// Lets the bot go on in a conversation.
    pub async fn resume_contact(&self, vendor: &VendorId, id: ContactId) -> Result<(), AdminError> {
        self.conversation(vendor, id).await?;
        Ok(self.inner.journal.pause(id, None).await?)
    }

    /// Everything that is kept of a conversation, page by page, oldest first.
    pub async fn records(
        &self,
        vendor: &VendorId,
        id: ContactId,
        after: EntryId,
        limit: usize,
    ) -> Result<Vec<Record>, AdminError> {
        Ok(self.inner.journal.records(vendor, id, after, limit).await?)
    }

    /// Erases a customer: files, messages, names. What is not sent yet stays unsent. Who hangs up
    /// does not stop it; after a crash half-way, asking again goes on.
    pub async fn erase(&self, vendor: &VendorId, id: ContactId) -> Result<(), EraseError> {
        self.conversation(vendor, id).await?;
        self.erase_media(id).await?;
        let mut from = None;
        loop {
            let now = self.inner.clock.now();
            let part = (from, ERASED_AT_ONCE);
            let erased = self.inner.journal.erase(vendor, id, part, now).await;
            let erased = erased.map_err(AdminError::from)?;
            self.inner.work.apply(erased.changes);
            from = erased.next;
            if from.is_none() {
                break;
            }
        }
        // Those that came meanwhile.
        self.erase_media(id).await?;
        tracing::info!(vendor.id = %vendor, "a customer was erased");
        Ok(())
    }
}
