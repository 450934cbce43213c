//! A file on its way to a customer: handed to the provider first (`docs/wire/wasender.md` §5.2),
//! which then has an address for it.

use futures_util::StreamExt;
use metrics::counter;

use super::{Account, Gateway, MediaError};
use crate::{
    domain::{
        clock::{HOUR, Millis},
        delivery::{Outcome, Reason, Refusal},
        id::VendorId,
        media::MediaId,
        message::Content,
        waba::{ProviderKind, WabaInstance},
    },
    journal::MediaState,
    media::outflow,
    provider::{Attempt, FileWay, Provider, Upload},
    telemetry::{Chain, names},
};

/// How long the provider's address of a file is believed. Wasender keeps files for 24 hours; a send
/// may wait for some of that.
const PLACE_KEPT: Millis = 20 * HOUR;

/// The file of a message that is to be sent.
pub(in crate::gateway) enum FileToSend {
    /// It has none of ours.
    None,
    /// The provider has it here, or can fetch it there.
    At(String),
    /// It goes with the message.
    Attached(Upload),
    /// The provider does not have it.
    Missing(MediaId),
    /// It cannot be sent now: what the attempt has come to.
    Refused(Attempt),
}

impl Gateway {
    /// What is to be done about the file of a message before it is sent.
    pub(in crate::gateway) fn file_to_send(
        &self,
        instance: &WabaInstance,
        via: ProviderKind,
        content: &Content,
    ) -> FileToSend {
        let Content::Media(media) = content else { return FileToSend::None };
        let Some(id) = &media.upload else { return FileToSend::None };
        let Ok(id) = MediaId::parse(id) else {
            let refusal = Refusal::GiveUp(Reason::Invalid);
            return FileToSend::Refused(Attempt::of(Outcome::Refused(refusal), "no_file"));
        };
        let place = (account_of(instance, via), id);
        let now = self.inner.clock.now();
        match self.inner.media.places().get(&place).filter(|it| it.1 > now) {
            Some((url, _)) => FileToSend::At(url.clone()),
            None => FileToSend::Missing(place.1),
        }
    }

    /// Hands a file to the provider. Nothing reaches the customer by it.
    pub(in crate::gateway) async fn hand_over(
        &self,
        provider: &dyn Provider,
        via: ProviderKind,
        vendor: &VendorId,
        instance: &WabaInstance,
        id: &MediaId,
    ) -> FileToSend {
        let handed = match self.upload_of(vendor, id).await {
            Ok(upload) => match provider.file_way() {
                FileWay::Upload => provider.upload(instance, upload).await,
                FileWay::Attached => return FileToSend::Attached(upload),
                // It is there to be fetched, or it would not have been opened.
                FileWay::Link => self.link_to(vendor, id).ok_or_else(no_link),
            },
            Err(error) => {
                tracing::error!(media.id = %id, error = %Chain(&error), "a file to be sent cannot be read");
                let refusal = match error {
                    MediaError::Unknown | MediaError::GivenUp(_) => {
                        Refusal::GiveUp(Reason::Invalid)
                    }
                    _ => Refusal::Retry { not_before: None },
                };
                Err(Attempt::of(Outcome::Refused(refusal), "no_file"))
            }
        };
        let word = handed.as_ref().map_or_else(|it| it.word, |_| "handed_over");
        counter!(names::MEDIA_UPLOADS, "outcome" => word).increment(1);
        match handed {
            Ok(url) => {
                let until = self.inner.clock.now() + PLACE_KEPT;
                let place = (account_of(instance, via), id.clone());
                self.inner.media.places().put(place, (url.clone(), until));
                FileToSend::At(url)
            }
            Err(attempt) => FileToSend::Refused(attempt),
        }
    }

    async fn upload_of(&self, vendor: &VendorId, id: &MediaId) -> Result<Upload, MediaError> {
        let file = self.inner.journal.media(vendor, id).await?.ok_or(MediaError::Unknown)?;
        let media = file.media.as_ref().ok_or(MediaError::Unknown)?;
        match &file.state {
            MediaState::Kept { .. } => {}
            MediaState::ToFetch { .. } => return Err(MediaError::NotYet),
            MediaState::GivenUp(word) => return Err(MediaError::GivenUp(word.clone())),
        }
        let clear = self.open_file(&file, media).await?;
        let mime_type = media.mime_type.clone();
        Ok(Upload {
            mime_type: mime_type.unwrap_or_else(|| "application/octet-stream".to_owned()),
            n_bytes: clear.n_bytes(),
            pieces: outflow(clear, ()).boxed(),
        })
    }
}

fn no_link() -> Attempt {
    Attempt::of(Outcome::Refused(Refusal::FailOver(Reason::Unsupported)), "no_link")
}

/// What a provider knows a file of by: nothing that one account was handed is another's.
fn account_of(instance: &WabaInstance, via: ProviderKind) -> Account {
    let account = match via {
        ProviderKind::Wasender => instance.wasender.instance_id.clone(),
        ProviderKind::Meta => instance.meta.as_ref().map(|it| it.phone_number_id.clone()),
        ProviderKind::Unipile => instance.unipile.as_ref().map(|it| it.account_id.clone()),
        ProviderKind::Twilio => instance.twilio.as_ref().map(|it| it.account_sid.clone()),
    };
    (instance.id.clone(), via, account.unwrap_or_default())
}
