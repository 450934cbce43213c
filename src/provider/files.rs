//! How files get to providers, and what is known of those that come from them.

use crate::{
    domain::{
        message::{Media, MediaKind, Text},
        waba::ProviderKind,
    },
    http::Download,
    media::Announced,
};

/// How a file that we keep gets to a provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileWay {
    /// It is uploaded first, and named by where the provider has it then.
    Upload,
    /// The provider fetches it from us, by a link that is good for a time.
    Link,
    /// It goes with the message itself.
    Attached,
}

/// A customer's file, opened where the provider has it.
pub struct OpenedFile {
    /// The answer with it.
    pub download: Download,
    /// What the provider said of it on the way there.
    pub announced: Announced,
}

impl From<Download> for OpenedFile {
    fn from(download: Download) -> Self {
        Self { download, announced: Announced::default() }
    }
}

/// What stands between the parts of a form: it can be in no file that anybody gives us.
pub(super) fn boundary() -> Result<String, getrandom::Error> {
    let mut random = [0; 16];
    getrandom::fill(&mut random)?;
    Ok(hex::encode(random))
}

/// A file that a provider has told of and nothing else is known of.
pub(super) fn announced(source: ProviderKind, kind: MediaKind) -> Media {
    Media {
        kind,
        caption: Text::default(),
        url: None,
        mime_type: None,
        file_name: None,
        media_key: None,
        sha256: None,
        encrypted_sha256: None,
        bytes: None,
        upload: None,
        view_once: false,
        id: None,
        source: Some(source),
    }
}
