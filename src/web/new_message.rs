//! A message to send, as callers write it: one schema for every type of content.

use serde::Deserialize;
use utoipa::ToSchema;

use super::{
    error::ApiError,
    rich::{CtaUrlBody, FlowBody, LocationRequestBody, ReactionBody, TemplateBody},
};
use crate::{
    domain::message::{Choice, Choices, Content, Media, MediaKind, Text},
    gateway::AdminError,
};

/// The types that can be sent; each has a field of its name, text apart.
const TYPES: [&str; 16] = [
    "text",
    "image",
    "video",
    "audio",
    "document",
    "sticker",
    "location",
    "contact",
    "poll",
    "buttons",
    "list",
    "template",
    "ctaUrl",
    "flow",
    "locationRequest",
    "reaction",
];

/// A message to send. Besides `to` and `type` it has the field of its type, and no other's.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct NewMessage {
    /// The customer's number, as people write it: `+221 77 012 34 56`, or `77 012 34 56` from a
    /// number of the same country. Of a customer without one, their id: `US.13491208655302741918`.
    #[schema(example = "+221770123456")]
    pub(super) to: String,
    /// Which of the vendor's numbers it leaves from; the first one without it.
    pub(super) waba_id: Option<String>,
    /// The provider that it must go through; without it the number's own, and those after it.
    pub(super) provider: Option<String>,
    /// The id of the message that it quotes, or reacts to. Through Wasender and Twilio one that was
    /// sent by this gateway.
    pub(super) reply_to: Option<String>,
    /// When it shall leave, at most 30 days ahead.
    #[schema(example = "2026-12-24T18:00:00Z")]
    pub(super) send_at: Option<String>,
    /// One of `text`, `image`, `video`, `audio`, `document`, `sticker`, `location`, `contact`,
    /// `poll`, `buttons`, `list`, `template`, `ctaUrl`, `flow`, `locationRequest`, `reaction`.
    #[serde(rename = "type")]
    #[schema(example = "text")]
    kind: String,
    /// Up to 65,536 characters; more than 4,096 leave as several messages, in order.
    text: Option<String>,
    image: Option<ImageBody>,
    video: Option<ImageBody>,
    audio: Option<AudioBody>,
    document: Option<DocumentBody>,
    sticker: Option<StickerBody>,
    location: Option<LocationBody>,
    contact: Option<ContactBody>,
    poll: Option<PollBody>,
    buttons: Option<ChoicesBody>,
    list: Option<ChoicesBody>,
    template: Option<TemplateBody>,
    cta_url: Option<CtaUrlBody>,
    flow: Option<FlowBody>,
    location_request: Option<LocationRequestBody>,
    reaction: Option<ReactionBody>,
}

/// An image or a video: `url` or `mediaId`.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ImageBody {
    /// Where the provider can fetch it, at most 2,048 characters.
    url: Option<String>,
    /// The id of an uploaded file.
    media_id: Option<String>,
    /// Up to 65,536 characters; what is more than 1,024 follows as text.
    caption: Option<String>,
    /// It may be seen once.
    #[serde(default)]
    view_once: bool,
}

/// A voice note: `url` or `mediaId`.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct AudioBody {
    url: Option<String>,
    media_id: Option<String>,
    /// It may be heard once.
    #[serde(default)]
    view_once: bool,
}

/// A file: `url` or `mediaId`.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct DocumentBody {
    url: Option<String>,
    media_id: Option<String>,
    /// What the customer sees, at most 255 characters.
    file_name: Option<String>,
    /// Up to 65,536 characters; what is more than 1,024 follows as text.
    caption: Option<String>,
}

/// A sticker in WebP: `url` or `mediaId`.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct StickerBody {
    url: Option<String>,
    media_id: Option<String>,
}

/// A place.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct LocationBody {
    /// Degrees, -90 to 90, north positive.
    latitude: f64,
    /// Degrees, -180 to 180, east positive.
    longitude: f64,
    /// At most 1,000 characters.
    name: Option<String>,
}

/// Somebody's card.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ContactBody {
    /// 1 to 200 characters.
    name: String,
    /// As people write numbers.
    phone: String,
}

/// A poll.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct PollBody {
    /// 1 to 255 characters.
    question: String,
    /// 2 to 12, of 1 to 100 characters, each once.
    options: Vec<String>,
    /// More than one may be chosen.
    #[serde(default)]
    multi_select: bool,
}

/// Buttons or a list. Where the provider has neither they leave as numbered text; the customer's
/// next message within 30 minutes chooses by number or title.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ChoicesBody {
    /// What stands above the options.
    text: String,
    /// A line above it, where there are real buttons.
    #[serde(default)]
    header: String,
    /// A line below it, where there are real buttons.
    #[serde(default)]
    footer: String,
    /// What the button that opens a list says.
    #[serde(default)]
    button: String,
    /// 1 to 10.
    options: Vec<OptionBody>,
}

/// One option.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct OptionBody {
    /// The vendor's own, 1 to 200 characters, each once.
    id: String,
    /// 1 to 100 characters.
    title: String,
    /// At most 300 characters.
    description: Option<String>,
}

impl NewMessage {
    /// Its content. The gateway says whether it may be sent.
    pub(super) fn content(&mut self) -> Result<Content, ApiError> {
        let kind = TYPES.into_iter().find(|it| *it == self.kind);
        let Some(kind) = kind else { return Err(unknown()) };
        self.refuse_others(kind)?;
        let content = match kind {
            "text" => self.text.take().map(Content::text),
            "image" => self.image.take().map(|it| it.content(MediaKind::Image)),
            "video" => self.video.take().map(|it| it.content(MediaKind::Video)),
            "audio" => self.audio.take().map(|it| {
                let media = media(MediaKind::Audio, it.url, it.media_id, None);
                Content::Media(Media { view_once: it.view_once, ..media })
            }),
            "document" => self.document.take().map(|it| {
                let media = media(MediaKind::Document, it.url, it.media_id, it.caption);
                Content::Media(Media { file_name: it.file_name, ..media })
            }),
            "sticker" => self
                .sticker
                .take()
                .map(|it| Content::Media(media(MediaKind::Sticker, it.url, it.media_id, None))),
            "location" => self.location.take().map(|it| Content::Location {
                latitude: it.latitude,
                longitude: it.longitude,
                text: Text(it.name.unwrap_or_default()),
            }),
            "contact" => self.contact.take().map(|it| Content::Contact {
                vcard: Text::default(),
                name: Text(it.name),
                phone: Some(Text(it.phone)),
                others: Vec::new(),
            }),
            "poll" => self.poll.take().map(|it| Content::Poll {
                question: Text(it.question),
                options: it.options.into_iter().map(Text).collect(),
                multi_select: it.multi_select,
            }),
            "buttons" => self.buttons.take().map(|it| it.content(false)).transpose()?,
            "list" => self.list.take().map(|it| it.content(true)).transpose()?,
            "template" => self.template.take().map(|it| Content::Template(it.into())),
            "ctaUrl" => self.cta_url.take().map(CtaUrlBody::content),
            "flow" => self.flow.take().map(FlowBody::content),
            "locationRequest" => self.location_request.take().map(LocationRequestBody::content),
            _ => self.reaction.take().map(ReactionBody::content),
        };
        content.ok_or_else(|| invalid(format!("{kind}: is missing")))
    }

    /// What belongs to another type would silently not be sent.
    fn refuse_others(&self, kind: &str) -> Result<(), ApiError> {
        let has = [
            self.text.is_some(),
            self.image.is_some(),
            self.video.is_some(),
            self.audio.is_some(),
            self.document.is_some(),
            self.sticker.is_some(),
            self.location.is_some(),
            self.contact.is_some(),
            self.poll.is_some(),
            self.buttons.is_some(),
            self.list.is_some(),
            self.template.is_some(),
            self.cta_url.is_some(),
            self.flow.is_some(),
            self.location_request.is_some(),
            self.reaction.is_some(),
        ];
        let other = TYPES.iter().zip(has).find(|(name, has)| *has && **name != kind);
        match other {
            Some((name, _)) => Err(invalid(format!("{name}: does not belong to type {kind}"))),
            None => Ok(()),
        }
    }
}

impl ImageBody {
    fn content(self, kind: MediaKind) -> Content {
        let media = media(kind, self.url, self.media_id, self.caption);
        Content::Media(Media { view_once: self.view_once, ..media })
    }
}

impl ChoicesBody {
    fn content(self, is_list: bool) -> Result<Content, ApiError> {
        if self.text.trim().is_empty() {
            let field = if is_list { "list" } else { "buttons" };
            return Err(invalid(format!("{field}.text: is empty")));
        }
        let option = |it: OptionBody| Choice {
            id: it.id,
            title: Text(it.title),
            description: Text(it.description.unwrap_or_default()),
        };
        let options = self.options.into_iter().map(option).collect();
        Ok(Content::Choices(Choices {
            button: Text(self.button),
            ..Choices::new(&self.text, options, is_list).with_edges(&self.header, &self.footer)
        }))
    }
}

fn media(
    kind: MediaKind,
    url: Option<String>,
    media_id: Option<String>,
    caption: Option<String>,
) -> Media {
    Media {
        kind,
        caption: Text(caption.unwrap_or_default()),
        url,
        mime_type: None,
        file_name: None,
        media_key: None,
        sha256: None,
        encrypted_sha256: None,
        bytes: None,
        upload: media_id,
        view_once: false,
        id: None,
        source: None,
    }
}

fn unknown() -> ApiError {
    invalid(format!("type: is one of {}", TYPES.join(", ")))
}

fn invalid(why: String) -> ApiError {
    AdminError::Invalid(why).into()
}
