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
        /// The vCard, where the provider tells it.
        #[serde(default)]
        vcard: Text,
        /// Their name.
        #[serde(default)]
        name: Text,
        /// Their number, as it is written on the card.
        #[serde(default)]
        phone: Option<Text>,
    },
    /// A question with options.
    #[serde(rename_all = "camelCase")]
    Poll {
        /// The question.
        question: Text,
        /// What may be chosen.
        options: Vec<Text>,
        /// More than one may be.
        #[serde(default)]
        multi_select: bool,
    },
    /// Buttons or a list, which become numbered text where the provider has neither.
    Choices(Choices),
    /// Something we have no word for; its kind is the provider's.
    Unsupported {
        /// The provider's name of the content, like `pollUpdateMessage`.
        kind: String,
        /// Its text, where there was one.
        text: Text,
    },
}

/// Buttons or a list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Choices {
    /// The options below the prompt, numbered, as they are sent.
    pub text: Text,
    /// What may be chosen.
    pub options: Vec<Choice>,
    /// A list rather than buttons.
    #[serde(default)]
    pub is_list: bool,
}

/// One option of buttons or a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Choice {
    /// The vendor's id of it.
    pub id: String,
    /// What the customer reads.
    pub title: Text,
    /// A line below it.
    #[serde(default)]
    pub description: Text,
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
    /// The file we keep that is to be sent, instead of `url`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upload: Option<String>,
    /// It may be seen once.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub view_once: bool,
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
            Self::Choices(it) if it.is_list => "list",
            Self::Choices(_) => "buttons",
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
            Self::Contact { name, .. } => &name.0,
            Self::Choices(it) => &it.text.0,
            Self::Poll { question, .. } => &question.0,
        }
    }
}
