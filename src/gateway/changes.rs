//! Messages changed after they were sent: given another text, or taken back.

use super::{AdminError, Gateway, content};
use crate::{
    domain::{
        delivery::Account,
        id::{EntryId, VendorId},
        message::{Content, MediaKind, Text},
        route::ProviderKind,
    },
    journal::{Changed, ToFollow},
    provider::ChangeFault,
};

/// Why a message was not changed.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    /// What every admin request can meet.
    #[error(transparent)]
    Admin(#[from] AdminError),
    /// It has not left yet, or never will.
    #[error("the message was not sent")]
    NotSent,
    /// Nobody knows what the provider calls it.
    #[error("the provider's number of the message is not known")]
    NoTicket,
    /// It was taken back.
    #[error("the message was deleted")]
    Deleted,
    /// The provider did not do it.
    #[error(transparent)]
    Provider(#[from] ChangeFault),
}

impl Gateway {
    /// Gives a sent message another text.
    pub async fn edit_message(
        &self,
        vendor: &VendorId,
        id: EntryId,
        text: Text,
    ) -> Result<(), ChangeError> {
        let sent = self.sent(vendor, id).await?;
        if !has_text(&sent.content) {
            let why = "text: only texts and captions can be changed";
            return Err(AdminError::Invalid(why.to_owned()).into());
        }
        self.change(id, sent, Changed::Edited(text)).await
    }

    /// Takes a sent message back from everybody.
    pub async fn delete_message(&self, vendor: &VendorId, id: EntryId) -> Result<(), ChangeError> {
        let sent = self.sent(vendor, id).await?;
        self.change(id, sent, Changed::Deleted).await
    }

    /// A message of the vendor's that has been sent.
    async fn sent(&self, vendor: &VendorId, id: EntryId) -> Result<ToFollow, ChangeError> {
        let journey = self.journey(vendor, id).await?;
        if journey.row.is_deleted {
            return Err(ChangeError::Deleted);
        }
        let intent = self.inner.journal.intent(id).await.map_err(AdminError::from)?;
        // The provider has no number for what customers wrote, or somebody on the phone.
        let intent = intent.ok_or(ChangeError::NoTicket)?;
        if intent.delivery.account() != Account::Sent {
            return Err(ChangeError::NotSent);
        }
        Ok(intent)
    }

    async fn change(
        &self,
        id: EntryId,
        sent: ToFollow,
        change: Changed,
    ) -> Result<(), ChangeError> {
        let service = self.inner.registry.get(&sent.vendor).await.map_err(AdminError::from)?;
        let service = service.ok_or(AdminError::NoVendor)?;
        let instance = service.instance(&sent.instance).ok_or(AdminError::NoInstance)?;
        if self.inner.work.is_stopped(&sent.vendor) {
            let why = "the vendor's sends are stopped";
            return Err(AdminError::Conflict(why.to_owned()).into());
        }
        // Before there were others, all went through Wasender.
        let via = sent.delivery.via.unwrap_or(ProviderKind::Wasender);
        let provider = service.provider(via);
        let ticket = sent.ticket.as_deref().ok_or(ChangeError::NoTicket)?;
        match &change {
            Changed::Edited(text) => {
                let limits = provider.text_limits();
                let is_file = matches!(sent.content, Content::Media(_));
                let max = if is_file { limits.caption } else { limits.text };
                content::required("text", text, max).map_err(AdminError::Invalid)?;
                provider.edit(instance, ticket, text).await?;
            }
            Changed::Deleted => provider.delete(instance, ticket).await?,
        }
        // A caller that hangs up now must not make us forget what the provider has done.
        let (journal, now) = (self.inner.journal.clone(), self.inner.clock.now());
        let noted = tokio::spawn(async move { journal.changed(id, change, now).await }).await;
        match noted {
            Ok(noted) => Ok(noted.map_err(AdminError::from)?),
            // It panicked, which has been printed by then.
            Err(_) => Err(ChangeFault::NoAnswer.into()),
        }
    }
}

fn has_text(content: &Content) -> bool {
    match content {
        Content::Text { .. } | Content::Choices(_) => true,
        Content::Media(it) => !matches!(it.kind, MediaKind::Audio | MediaKind::Sticker),
        _ => false,
    }
}
