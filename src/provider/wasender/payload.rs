//! What a message holds (`docs/wire/wasender.md` §4.4), in our words.

use std::borrow::Cow;

use super::wire::{
    Attachment, Card, Context, Extended, Location, Payload, Poll, PollOption, Quoting, Raw,
    Wrapper, text,
};
use crate::{
    domain::message::{Content, Media, MediaKind, Text},
    provider::masked::NAME_CHARS_MAX,
};

/// Wrappers around one message that we take off.
const WRAPPERS_MAX: usize = 8;

/// A message, its wrappers taken off.
pub(super) struct Message<'a> {
    pub(super) payload: Payload<'a>,
    /// What that was read from.
    raw: Raw<'a>,
    /// A wrapper says that it may be seen once.
    is_once: bool,
}

impl<'a> Message<'a> {
    /// Reads a message.
    pub(super) fn open(mut raw: Raw<'a>) -> serde_json::Result<Self> {
        let (mut payload, mut is_once) = (raw.one::<Payload<'a>>()?.unwrap_or_default(), false);
        for _ in 0..WRAPPERS_MAX {
            let Some(inner) = payload.wrapped()? else { break };
            is_once |= payload.is_once();
            (payload, raw) = (inner.one()?.unwrap_or_default(), inner);
        }
        Ok(Self { payload, raw, is_once })
    }

    /// The id of the message that it answers.
    pub(super) fn quoted(&self) -> serde_json::Result<Option<String>> {
        let contents = [
            self.payload.extended_text_message,
            self.payload.image_message,
            self.payload.video_message,
            self.payload.audio_message,
            self.payload.document_message,
            self.payload.sticker_message,
            self.payload.location_message,
            self.payload.contact_message,
        ];
        for content in contents.into_iter().filter(|it| it.is_object()) {
            if let Some(Quoting { context_info }) = content.one()?
                && let Some(Context { stanza_id }) = context_info.one()?
                && let Some(id) = stanza_id.word()
            {
                return Ok(Some(id.into_owned()));
            }
        }
        Ok(None)
    }

    /// Its text: `conversation`, `extendedTextMessage`, else a caption (§4.4).
    pub(super) fn text(&self) -> serde_json::Result<Option<Cow<'a, str>>> {
        if let Some(text) = self.payload.conversation.text() {
            return Ok(Some(text));
        }
        if let Some(Extended { text }) = self.payload.extended_text_message.one()? {
            return Ok(text.text());
        }
        Ok(self.payload.file()?.and_then(|it| it.1.caption.text()))
    }

    /// What it says; `body` is the provider's own reading of it.
    pub(super) fn content(&self, body: Option<Cow<'a, str>>) -> serde_json::Result<Content> {
        let said = match body {
            Some(body) => Some(body),
            None => self.text()?,
        };
        if let Some((kind, file)) = self.payload.file()? {
            return Ok(file.content(kind, said, self.is_once));
        }
        if let Some(place) = self.payload.location_message.one::<Location<'_>>()?
            && let Some(latitude) = place.degrees_latitude.float()
            && let Some(longitude) = place.degrees_longitude.float()
        {
            let name = [place.name, place.address].into_iter().filter_map(Raw::text);
            let name = name.reduce(|name, address| format!("{name}, {address}").into());
            let text = text(name.or(said).unwrap_or_default());
            return Ok(Content::Location { latitude, longitude, text });
        }
        if let Some(card) = self.payload.contact_message.one::<Card<'_>>()?
            && let Some(vcard) = card.vcard.text()
        {
            let name = text(card.display_name.text().unwrap_or_default());
            return Ok(Content::Contact {
                phone: phone_on(&vcard),
                name,
                vcard: text(vcard),
                others: Vec::new(),
            });
        }
        if let Some(poll) = self.payload.poll()? {
            let question = text(poll.name.text().or(said).unwrap_or_default());
            let options = poll.options.all().into_iter();
            let option =
                |it: Raw<'a>| it.one::<PollOption<'a>>().ok()??.option_name.text().map(text);
            return Ok(Content::Poll {
                question,
                options: options.filter_map(option).collect(),
                // Zero is any number, as `WhatsApp` counts.
                multi_select: poll.selectable_options_count.int().is_some_and(|it| it != 1),
            });
        }
        let kind = || self.raw.kind().unwrap_or("empty".to_owned());
        Ok(said.map_or_else(|| unsupported(&kind()), Content::text))
    }
}

impl<'a> Payload<'a> {
    fn file(&self) -> serde_json::Result<Option<(MediaKind, Attachment<'a>)>> {
        let files = [
            (MediaKind::Image, self.image_message),
            (MediaKind::Video, self.video_message),
            (MediaKind::Audio, self.audio_message),
            (MediaKind::Document, self.document_message),
            (MediaKind::Sticker, self.sticker_message),
        ];
        let found = files.into_iter().find(|it| it.1.is_object());
        found.map(|it| Ok((it.0, it.1.one()?.unwrap_or_default()))).transpose()
    }

    fn poll(&self) -> serde_json::Result<Option<Poll<'a>>> {
        let polls = [
            self.poll_creation_message,
            self.poll_creation_message_v2,
            self.poll_creation_message_v3,
        ];
        polls.into_iter().find(|it| it.is_object()).unwrap_or_default().one()
    }

    /// The message inside, when this one is a wrapper.
    fn wrapped(&self) -> serde_json::Result<Option<Raw<'a>>> {
        let wrappers = [
            self.ephemeral_message,
            self.view_once_message,
            self.view_once_message_v2,
            self.view_once_message_v2_extension,
            self.document_with_caption_message,
            self.edited_message,
            self.keep_in_chat_message,
        ];
        for wrapper in wrappers {
            if let Some(Wrapper { message }) = wrapper.one()?
                && message.is_object()
            {
                return Ok(Some(message));
            }
        }
        Ok(None)
    }

    /// Whether what is wrapped in it may be seen once.
    fn is_once(&self) -> bool {
        let wrappers = [
            self.view_once_message,
            self.view_once_message_v2,
            self.view_once_message_v2_extension,
        ];
        wrappers.into_iter().any(Raw::is_object)
    }
}

impl Attachment<'_> {
    pub(super) fn content(
        &self,
        kind: MediaKind,
        caption: Option<Cow<'_, str>>,
        is_once: bool,
    ) -> Content {
        let owned = |it: Raw<'_>| it.text().map(String::from);
        Content::Media(Media {
            upload: None,
            view_once: is_once || self.view_once.is(true),
            kind,
            caption: text(caption.unwrap_or_default()),
            url: owned(self.url),
            mime_type: owned(self.mimetype),
            file_name: owned(self.file_name.or(self.title)),
            media_key: owned(self.media_key),
            sha256: owned(self.file_sha256),
            encrypted_sha256: owned(self.file_enc_sha256),
            bytes: self.file_length.int().and_then(|it| it.try_into().ok()),
            id: None,
            source: None,
        })
    }
}

/// The number on a card, as it is written there: after the colon of its first `TEL` line.
fn phone_on(vcard: &str) -> Option<Text> {
    let lines = vcard.lines().filter_map(|it| it.split_once(':'));
    let mut phones = lines.filter(|(name, _)| {
        let name = name.split(';').next().unwrap_or_default();
        // Groups have a name before it, like `item1.TEL`.
        let name = name.rsplit('.').next().unwrap_or_default().trim();
        name.eq_ignore_ascii_case("TEL")
    });
    phones.find_map(|it| Some(Text(it.1.trim().to_owned())).filter(|it| !it.0.is_empty()))
}

pub(super) fn unsupported(kind: &str) -> Content {
    let kind = kind.chars().take(NAME_CHARS_MAX).collect();
    Content::Unsupported { kind, text: Text::default() }
}
