//! Links to files, for providers that fetch what they send: good for a day, and for nobody who was
//! not given one.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};

use super::{Gateway, MediaError, MediaFile};
use crate::domain::{
    clock::{HOUR, Millis},
    id::VendorId,
    media::MediaId,
};

/// How long a link is good. It is longer than links are used again, so that who is given one late
/// has hours to fetch the file.
const LINK_LASTS: Millis = 24 * HOUR;
/// What its seal is bound to.
const PLACE: &str = "link/media";
/// The longest link that is looked at, in characters.
const TOKEN_CHARS_MAX: usize = 512;

/// What a link says. Its names are short, for links are not.
#[derive(Serialize, Deserialize)]
struct Link {
    #[serde(rename = "v")]
    vendor: String,
    #[serde(rename = "m")]
    media: String,
    /// Until when it is good.
    #[serde(rename = "t")]
    until: Millis,
}

impl Gateway {
    /// A link to a vendor's file, below the gateway's public address; `None` without a key to seal
    /// it with.
    pub(super) fn link_to(&self, vendor: &VendorId, id: &MediaId) -> Option<String> {
        let until = self.inner.clock.now() + LINK_LASTS;
        let link = Link { vendor: vendor.to_string(), media: id.to_string(), until };
        let plain = serde_json::to_vec(&link).ok()?;
        let sealed = self.inner.media.vault.seal(PLACE, &plain).ok()?;
        let token = URL_SAFE_NO_PAD.encode(sealed);
        let mut url = self.inner.settings.base_url.clone();
        url.path_segments_mut().ok()?.pop_if_empty().extend(["media", &token]);
        Some(url.into())
    }

    /// The file behind a link, in clear.
    ///
    /// # Errors
    ///
    /// [`MediaError::Unknown`] when it is not one of ours, or too old, [`MediaError::Busy`] when for
    /// seconds too many others were fetched.
    pub async fn linked_media(&self, token: &str) -> Result<MediaFile, MediaError> {
        let link = self.open_link(token).ok_or(MediaError::Unknown)?;
        let vendor = VendorId::parse(&link.vendor).map_err(|_| MediaError::Unknown)?;
        let id = MediaId::parse(&link.media).map_err(|_| MediaError::Unknown)?;
        let seat = self.inner.media.linked.wait(&vendor).await.ok_or(MediaError::Busy)?;
        self.file_in_clear(&vendor, &id, seat).await
    }

    fn open_link(&self, token: &str) -> Option<Link> {
        let sealed = (token.len() <= TOKEN_CHARS_MAX).then(|| URL_SAFE_NO_PAD.decode(token));
        let plain = self.inner.media.vault.open(PLACE, &sealed?.ok()?).ok()?;
        let link: Link = serde_json::from_slice(&plain).ok()?;
        (link.until > self.inner.clock.now()).then_some(link)
    }
}
