//! A customer's message of any kind, as tests ask for it, and Baileys' `message` for it
//! (`docs/wire/wasender.md` §4.4).

use std::fmt;

use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::{
    mmg::{FileKind, HostedMedia, MediaFault},
    wire::vcard,
};

/// What a customer sends. It prints without what it says.
///
/// ```
/// # use waba_gateway::twin::{Inbound, MediaFault};
/// let photo = Inbound::image(b"\xff\xd8\xff...".as_slice()).caption("C'est combien ?");
/// let broken = Inbound::audio(b"OggS...".as_slice()).with_fault(MediaFault::BadMac);
/// let reply = Inbound::text("Oui").quoting("3EB0A1B2C3D4E5F6");
/// ```
#[derive(Clone)]
pub struct Inbound {
    pub(super) says: Says,
    pub(super) caption: String,
    pub(super) fault: Option<MediaFault>,
    pub(super) quoted: Option<String>,
    pub(super) id: Option<String>,
    mime_type: Option<String>,
    file_name: Option<String>,
    view_once: bool,
    ephemeral: bool,
}

#[derive(Clone)]
pub(super) enum Says {
    Text(String),
    File(FileKind, Bytes),
    /// Baileys' `message`.
    Other(Value),
}

/// The two forms of an edit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EditForm {
    /// A bare `protocolMessage` of type 14.
    Protocol,
    /// The same inside `editedMessage`.
    Wrapped,
}

/// The two forms of a deletion for everyone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeleteForm {
    /// The event `messages.delete`.
    Event,
    /// A `protocolMessage` of type 0 in `messages.upsert`.
    Revoke,
}

impl fmt::Debug for Inbound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inbound").field("fault", &self.fault).finish_non_exhaustive()
    }
}

impl Inbound {
    /// A text.
    #[must_use]
    pub fn text(text: &str) -> Self {
        Self::new(Says::Text(text.to_owned()))
    }

    /// A picture; JPEG unless told otherwise.
    #[must_use]
    pub fn image(bytes: impl Into<Bytes>) -> Self {
        Self::file(FileKind::Image, bytes)
    }

    /// A film; MP4 unless told otherwise.
    #[must_use]
    pub fn video(bytes: impl Into<Bytes>) -> Self {
        Self::file(FileKind::Video, bytes)
    }

    /// A voice note; OGG unless told otherwise.
    #[must_use]
    pub fn audio(bytes: impl Into<Bytes>) -> Self {
        Self::file(FileKind::Audio, bytes)
    }

    /// Any file; PDF unless told otherwise.
    #[must_use]
    pub fn document(bytes: impl Into<Bytes>, file_name: &str) -> Self {
        let file_name = Some(file_name.to_owned());
        Self { file_name, ..Self::file(FileKind::Document, bytes) }
    }

    /// A sticker, WebP.
    #[must_use]
    pub fn sticker(bytes: impl Into<Bytes>) -> Self {
        Self::file(FileKind::Sticker, bytes)
    }

    /// A file of any kind.
    #[must_use]
    pub fn file(kind: FileKind, bytes: impl Into<Bytes>) -> Self {
        Self::new(Says::File(kind, bytes.into()))
    }

    /// A place, in degrees, with its name and address where they are not empty.
    #[must_use]
    pub fn location(latitude: f64, longitude: f64, name: &str, address: &str) -> Self {
        let mut place = json!({ "degreesLatitude": latitude, "degreesLongitude": longitude });
        for (field, text) in [("name", name), ("address", address)] {
            if !text.is_empty() {
                place[field] = json!(text);
            }
        }
        Self::new(Says::Other(json!({ "locationMessage": place })))
    }

    /// Somebody's card.
    #[must_use]
    pub fn contact(name: &str, phone: &str) -> Self {
        let card = json!({ "displayName": name, "vcard": vcard(name, phone) });
        Self::new(Says::Other(json!({ "contactMessage": card })))
    }

    /// A question with options, of which one can be chosen, or several.
    #[must_use]
    pub fn poll(question: &str, options: &[&str], several: bool) -> Self {
        let options: Vec<_> = options.iter().map(|it| json!({ "optionName": it })).collect();
        let n_choices = usize::from(!several);
        let poll =
            json!({ "name": question, "options": options, "selectableOptionsCount": n_choices });
        // Phones of today make the third version of polls with one choice.
        let field = if several { "pollCreationMessage" } else { "pollCreationMessageV3" };
        Self::new(Says::Other(json!({ field: poll })))
    }

    /// Baileys' `message`, whatever it is.
    #[must_use]
    pub fn raw(content: Value) -> Self {
        Self::new(Says::Other(content))
    }

    /// Text below a file.
    #[must_use]
    pub fn caption(self, caption: &str) -> Self {
        Self { caption: caption.to_owned(), ..self }
    }

    /// The file's type, like `image/png`.
    #[must_use]
    pub fn mime_type(self, mime_type: &str) -> Self {
        Self { mime_type: Some(mime_type.to_owned()), ..self }
    }

    /// As a reply to the message with this `key.id`, the session's or the customer's own.
    #[must_use]
    pub fn quoting(self, key_id: &str) -> Self {
        Self { quoted: Some(key_id.to_owned()), ..self }
    }

    /// A file to be seen once.
    #[must_use]
    pub fn view_once(self) -> Self {
        Self { view_once: true, ..self }
    }

    /// In a chat whose messages disappear: inside `ephemeralMessage`.
    #[must_use]
    pub fn ephemeral(self) -> Self {
        Self { ephemeral: true, ..self }
    }

    /// With something wrong with its file.
    #[must_use]
    pub fn with_fault(self, fault: MediaFault) -> Self {
        Self { fault: Some(fault), ..self }
    }

    /// Under this `key.id` rather than a new one.
    #[must_use]
    pub fn with_id(self, key_id: &str) -> Self {
        Self { id: Some(key_id.to_owned()), ..self }
    }

    fn new(says: Says) -> Self {
        Self {
            says,
            caption: String::new(),
            fault: None,
            quoted: None,
            id: None,
            mime_type: None,
            file_name: None,
            view_once: false,
            ephemeral: false,
        }
    }

    /// `messageBody`: the text or caption.
    pub(super) fn body(&self) -> &str {
        match &self.says {
            Says::Text(text) => text,
            Says::File(..) | Says::Other(_) => &self.caption,
        }
    }

    /// Baileys' `message`. `hosted` is where the file is, `context` what it replies to.
    pub(super) fn content(&self, hosted: Option<&HostedMedia>, context: Option<Value>) -> Value {
        let mut content = match (&self.says, hosted) {
            (Says::Text(text), _) if context.is_some() => {
                json!({ "extendedTextMessage": { "text": text } })
            }
            (Says::Text(text), _) => json!({ "conversation": text }),
            (Says::File(kind, _), Some(hosted)) => json!({ kind.field(): self.media(hosted) }),
            (Says::File(..), None) => json!({}),
            (Says::Other(content), _) => content.clone(),
        };
        if let (Some(context), Some(fields)) = (context, content.as_object_mut()) {
            for it in fields.values_mut().filter(|it| it.is_object()) {
                it["contextInfo"] = context.clone();
            }
        }
        let is_document = matches!(self.says, Says::File(FileKind::Document, _));
        let wrappers = [
            (is_document && !self.caption.is_empty(), "documentWithCaptionMessage"),
            (self.view_once, "viewOnceMessageV2"),
            (self.ephemeral, "ephemeralMessage"),
        ];
        for (_, wrapper) in wrappers.iter().filter(|it| it.0) {
            content = json!({ *wrapper: { "message": content } });
        }
        content
    }

    fn media(&self, hosted: &HostedMedia) -> Map<String, Value> {
        let mut media = hosted.fields();
        let mime_type = self.mime_type.as_deref().unwrap_or(hosted.kind.mime_type());
        let mut set = |name: &str, value: Value| media.insert(name.to_owned(), value);
        set("mimetype", json!(mime_type));
        if !self.caption.is_empty() {
            set("caption", json!(self.caption));
        }
        if let Some(name) = &self.file_name {
            set("fileName", json!(name));
            set("title", json!(name));
        }
        if hosted.kind == FileKind::Audio {
            set("ptt", json!(true));
            set("seconds", json!(1));
        }
        if self.view_once {
            set("viewOnce", json!(true));
        }
        media
    }
}
