//! What people write to each other, in our words.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::route::ProviderKind;

/// Text of a message. It does not print.
#[derive(Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Text(pub String);

impl Text {
    /// Whether nothing was written.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

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
        /// Cards that came with it.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        others: Vec<Card>,
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
    /// An option that the customer tapped.
    Chosen {
        /// The vendor's id of it.
        id: String,
        /// What it says.
        title: Text,
    },
    /// A message that the provider has approved beforehand.
    Template(Template),
    /// A text with a button that opens a page.
    CtaUrl {
        /// What stands above it.
        text: Text,
        /// What the button says.
        label: Text,
        /// Where it leads.
        url: Text,
    },
    /// A text with a button that opens a form in `WhatsApp`.
    Flow(Flow),
    /// A text that asks where the customer is.
    LocationRequest {
        /// What stands above the button.
        text: Text,
    },
    /// A reaction to the message that is quoted; an empty one takes it back.
    Reaction {
        /// The emoji.
        emoji: Text,
    },
    /// Something we have no word for; its kind is the provider's.
    Unsupported {
        /// The provider's name of the content, like `pollUpdateMessage`.
        kind: String,
        /// Its text, where there was one.
        text: Text,
    },
}

/// Somebody's card.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Card {
    /// Their name.
    #[serde(default)]
    pub name: Text,
    /// Their number, as it is written on the card.
    #[serde(default)]
    pub phone: Option<Text>,
}

/// A message that the provider has approved beforehand, filled in.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Template {
    /// Its name at Meta.
    pub name: String,
    /// Its language at Meta, like `en_US`.
    pub language: String,
    /// Meta's components, passed through.
    pub components: Vec<Value>,
    /// Its id at Twilio, `HX…`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_sid: Option<String>,
    /// What Twilio fills in.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub variables: BTreeMap<String, String>,
    /// What providers without templates send in its place; nothing when it is empty.
    pub text: Text,
}

impl fmt::Debug for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Template({:?})", self.name)
    }
}

/// A form in `WhatsApp`, as a message offers it.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Flow {
    /// What stands above the button.
    pub text: Text,
    /// What the button says.
    pub cta: Text,
    /// Its id at Meta, or its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Its name at Meta.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What its answer will name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// `navigate` or `data_exchange`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub action: Option<String>,
    /// Its first screen, and what that is given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payload: Option<Value>,
    /// `draft` or `published`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
}

impl fmt::Debug for Flow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Flow(…)")
    }
}

/// Buttons or a list.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Choices {
    /// The options below the prompt, numbered, as they are sent.
    pub text: Text,
    /// What stands above the options; of older entries only `text` is known.
    #[serde(default, skip_serializing_if = "Text::is_empty")]
    pub prompt: Text,
    /// A line above it, where there are real buttons.
    #[serde(default, skip_serializing_if = "Text::is_empty")]
    pub header: Text,
    /// A line below it.
    #[serde(default, skip_serializing_if = "Text::is_empty")]
    pub footer: Text,
    /// What the button that opens a list says.
    #[serde(default, skip_serializing_if = "Text::is_empty")]
    pub button: Text,
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
    /// The provider's id of the file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The provider that has the file; `None`: it is on `WhatsApp`'s own hosts, encrypted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<ProviderKind>,
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
            Self::Chosen { .. } => "choice",
            Self::Template(_) => "template",
            Self::CtaUrl { .. } => "ctaUrl",
            Self::Flow(_) => "flow",
            Self::LocationRequest { .. } => "locationRequest",
            Self::Reaction { .. } => "reaction",
            Self::Unsupported { .. } => "unsupported",
        }
    }

    /// The text a person would read in it: the message, the caption, the question.
    #[must_use]
    pub fn as_text(&self) -> &str {
        match self {
            Self::Text { text }
            | Self::Location { text, .. }
            | Self::CtaUrl { text, .. }
            | Self::LocationRequest { text }
            | Self::Unsupported { text, .. } => &text.0,
            Self::Chosen { title, .. } => &title.0,
            Self::Template(it) => &it.text.0,
            Self::Flow(it) => &it.text.0,
            Self::Reaction { emoji } => &emoji.0,
            Self::Media(media) => &media.caption.0,
            Self::Contact { name, .. } => &name.0,
            Self::Choices(it) => &it.text.0,
            Self::Poll { question, .. } => &question.0,
        }
    }
}

/// A text and a link below it, for providers without buttons that open pages.
#[must_use]
pub fn with_link(text: &Text, label: &Text, url: &Text) -> String {
    format!("{}\n\n{}: {}", text.0.trim_end(), label.0, url.0)
}
