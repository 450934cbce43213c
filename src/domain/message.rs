//! What people write to each other, in our words.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Text of a message. It does not print.
#[derive(Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Text(pub String);

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Text({} bytes)", self.0.len())
    }
}

/// A message's content.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase")]
pub enum Content {
    /// Plain text, replies to a message included.
    Text {
        /// What was written.
        text: Text,
    },
    /// A picture, film, sound, file or sticker.
    Media(Media),
    /// A place.
    #[serde(rename_all = "camelCase")]
    Location {
        /// Degrees, north positive.
        latitude: f64,
        /// Degrees, east positive.
        longitude: f64,
        /// Name of the place and its address.
        text: Text,
    },
    /// Somebody's card.
    Contact {
        /// The vCard.
        vcard: Text,
    },
    /// A question with options.
    Poll {
        /// The question.
        question: Text,
        /// What may be chosen.
        options: Vec<Text>,
    },
    /// Something we have no word for; its kind is the provider's.
    Unsupported {
        /// The provider's name of the content, like `pollUpdateMessage`.
        kind: String,
        /// Its text, where there was one.
        text: Text,
    },
}

/// The kinds of media.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum MediaKind {
    /// JPEG or PNG.
    Image,
    /// MP4 or 3GPP.
    Video,
    /// Voice notes included.
    Audio,
    /// Any file.
    Document,
    /// WebP.
    Sticker,
}

/// Media as the provider announced it; the file itself is fetched and decrypted elsewhere.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Media {
    /// Its kind.
    pub kind: MediaKind,
    /// Text under it.
    pub caption: Text,
    /// Where the encrypted file is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Its type, like `image/jpeg`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mime_type: Option<String>,
    /// Its name, for documents.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file_name: Option<String>,
    /// The key it is encrypted with, base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_key: Option<String>,
    /// SHA-256 of the file, base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// SHA-256 of the encrypted file, base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encrypted_sha256: Option<String>,
    /// Its length, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
}

impl fmt::Debug for Media {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Media({:?})", self.kind)
    }
}

impl Content {
    /// Plain text.
    #[must_use]
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text { text: Text(text.into()) }
    }

    /// The word callers know the kind by.
    #[must_use]
    pub fn kind(&self) -> &str {
        match self {
            Self::Text { .. } => "text",
            Self::Media(media) => match media.kind {
                MediaKind::Image => "image",
                MediaKind::Video => "video",
                MediaKind::Audio => "audio",
                MediaKind::Document => "document",
                MediaKind::Sticker => "sticker",
            },
            Self::Location { .. } => "location",
            Self::Contact { .. } => "contact",
            Self::Poll { .. } => "poll",
            Self::Unsupported { .. } => "unsupported",
        }
    }

    /// The text a person would read in it: the message, the caption, the question.
    #[must_use]
    pub fn as_text(&self) -> &str {
        match self {
            Self::Text { text } | Self::Location { text, .. } | Self::Unsupported { text, .. } => {
                &text.0
            }
            Self::Media(media) => &media.caption.0,
            Self::Contact { .. } => "",
            Self::Poll { question, .. } => &question.0,
        }
    }
}
