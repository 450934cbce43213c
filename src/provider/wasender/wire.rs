//! Wasender's JSON as it comes (`docs/wire/wasender.md` §4). A field is a slice of the body and is
//! read as what it should be only when asked: one of the wrong type counts as absent, and unknown
//! ones are skipped.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::{Map, Value, value::RawValue};

use crate::{
    domain::{
        clock::Millis,
        contact::{Address, Lid},
        event::Chat,
        message::Text,
        phone::PhoneNumber,
    },
    provider::raw::mended,
};

/// Numbers above this are milliseconds, others seconds (§4.2).
const SECONDS_MAX: i64 = 1_000_000_000_000;
/// No event is of the year 2100 or later, in milliseconds.
const TIME_MAX: Millis = 4_102_444_800_000;
/// Keys of a message that do not tell its kind.
const SILENT: &[&str] = &["messageContextInfo", "senderKeyDistributionMessage"];

/// Any JSON value. It has no `Debug`, as it may hold anything.
#[derive(Clone, Copy, Default, Deserialize)]
#[serde(transparent)]
pub(super) struct Raw<'a>(#[serde(borrow)] Option<&'a RawValue>);

/// Declares objects of the wire by their fields.
macro_rules! objects {
    ($($(#[$doc:meta])* $name:ident { $($(#[$attr:meta])* $field:ident),* $(,)? })*) => {$(
        $(#[$doc])*
        #[derive(Default, Deserialize)]
        #[serde(default, rename_all = "camelCase")]
        pub(super) struct $name<'a> {
            $($(#[$attr])* #[serde(borrow)] pub $field: Raw<'a>,)*
        }
    )*};
}

objects! {
    /// The envelope (§4.2).
    Hook { event, instance_id, timestamp, data }

    /// `data` of the predecessor, or its flat form (contract, "Two webhook dialects").
    Plain { from, message, #[serde(rename = "type")] kind, id, message_id, status, timestamp, time }

    /// A message (§4.4), or the `data` around several; also a reaction and a failed send (§4.5).
    Item {
        key, message, push_name, message_timestamp, message_body, messages, reaction, success,
        error, id, remote_jid,
    }

    /// Which message, in which chat, by whom (§4.4).
    Key {
        id, from_me, remote_jid, remote_jid_alt, cleaned_sender_pn, sender_pn, sender_lid,
        cleaned_participant_pn, participant_pn, participant_lid, participant, participant_alt,
    }

    /// What a message holds (§4.4), as far as we have words for it.
    Payload {
        conversation, extended_text_message, image_message, video_message, audio_message,
        document_message, sticker_message, location_message, contact_message,
        poll_creation_message, poll_creation_message_v2, poll_creation_message_v3,
        reaction_message, protocol_message, ephemeral_message, view_once_message,
        view_once_message_v2, view_once_message_v2_extension, document_with_caption_message,
        edited_message, keep_in_chat_message,
    }
    Wrapper { message }
    Extended { text }
    Attachment {
        url, mimetype, media_key, file_sha256, file_enc_sha256, file_length, caption, file_name,
        title, view_once,
    }
    Location { degrees_latitude, degrees_longitude, name, address }
    Card { display_name, vcard }

    /// What any of the above may say of the message that it answers.
    Quoting { context_info }
    Context { stanza_id }
    Poll { name, options, selectable_options_count }
    PollOption { option_name }
    Reaction { key, text }
    Protocol { key, #[serde(rename = "type")] kind, edited_message }

    /// An item of `messages.update` (§4.5).
    Change { key, update, status }

    /// An item of `message-receipt.update` (§4.5): what it says is in `message`, or here.
    Receipts { message, key, receipt }
    Progress { user_jid, receipt_timestamp, read_timestamp }

    /// `data` of `messages.delete` (§4.5).
    Deletion { keys }

    /// `data` of `poll.results` (§4.5).
    Results { key, poll_result }
    OptionVotes { name, voters }

    /// A number as JavaScript's Long.
    Long { low, high }
}

impl<'a> Raw<'a> {
    /// Text that is not empty.
    pub(super) fn text(self) -> Option<Cow<'a, str>> {
        let raw = self.0?.get();
        let inner = raw.strip_prefix('"')?.strip_suffix('"')?;
        if !inner.contains('\\') {
            return Some(inner.into()).filter(|_| !inner.is_empty());
        }
        serde_json::from_str::<String>(raw)
            .or_else(|_| serde_json::from_str(&mended(raw)))
            .ok()
            .map(Cow::from)
    }

    /// A name, an id or a phone number, which some write as a number.
    pub(super) fn word(self) -> Option<Cow<'a, str>> {
        let is_number = |it: &&str| it.bytes().all(|it| it.is_ascii_digit());
        self.text().or_else(|| Some(self.0?.get()).filter(is_number).map(Cow::from))
    }

    /// Whether it is this truth.
    pub(super) fn is(self, truth: bool) -> bool {
        self.0.is_some_and(|it| it.get() == if truth { "true" } else { "false" })
    }

    pub(super) fn float(self) -> Option<f64> {
        let text = self.text().or(Some(self.0?.get().into()))?;
        text.trim().parse().ok().filter(|it: &f64| it.is_finite())
    }

    /// A whole number; also as text, and as `{ "low": 1760000000, "high": 0 }`.
    pub(super) fn int(self) -> Option<i64> {
        let Ok(Some(Long { low, high })) = self.one() else { return self.flat_int() };
        Some(high.flat_int().unwrap_or(0) << 32 | (low.flat_int()? & 0xffff_ffff))
    }

    #[expect(clippy::cast_possible_truncation, reason = "a fraction of a whole number is noise")]
    fn flat_int(self) -> Option<i64> {
        let exact = self.word().and_then(|it| it.trim().parse().ok());
        exact.or_else(|| self.float().map(|it| it as i64))
    }

    /// A time in seconds or milliseconds (§4.2), unless it is absurd.
    pub(super) fn millis(self) -> Option<Millis> {
        let n = self.int()?;
        let ms = if n > SECONDS_MAX { n } else { n.checked_mul(1_000)? };
        (SECONDS_MAX..TIME_MAX).contains(&ms).then_some(ms)
    }

    pub(super) fn is_object(self) -> bool {
        self.0.is_some_and(|it| it.get().starts_with('{'))
    }

    pub(super) fn is_absent(self) -> bool {
        self.0.is_none()
    }

    /// An object.
    pub(super) fn one<T: Deserialize<'a>>(self) -> serde_json::Result<Option<T>> {
        self.0.filter(|_| self.is_object()).map(|it| serde_json::from_str(it.get())).transpose()
    }

    /// The values of an array, or what is there in its place.
    pub(super) fn all(self) -> Vec<Self> {
        let array = self.0.filter(|it| it.get().starts_with('['));
        let items = array.map(|it| serde_json::from_str(it.get()).unwrap_or_default());
        items.unwrap_or(vec![self])
    }

    pub(super) fn or(self, other: Self) -> Self {
        Self(self.0.or(other.0))
    }

    /// The first key of a message that tells its kind.
    pub(super) fn kind(self) -> Option<String> {
        let raw = self.0?.get();
        let keys = raw.strip_prefix('{')?.trim_ascii_start();
        let first = serde_json::Deserializer::from_str(keys).into_iter::<String>().next()?.ok()?;
        if !SILENT.contains(&first.as_str()) {
            return Some(first);
        }
        let all: Map<String, Value> = serde_json::from_str(raw).ok()?;
        all.into_iter().map(|it| it.0).find(|it| !SILENT.contains(&it.as_str())).or(Some(first))
    }
}

impl Key<'_> {
    pub(super) fn id(&self) -> Option<String> {
        self.id.word().map(String::from)
    }

    /// The chat, and the customer in it. A message of ours names only its recipient.
    pub(super) fn place(&self, ours: bool) -> (Chat, Address) {
        let jid = self.remote_jid.word().unwrap_or_default();
        let chat = match jid.split_once('@').map(|it| it.1) {
            Some("s.whatsapp.net" | "c.us" | "lid") => Chat::Private,
            Some("g.us") => Chat::Group,
            Some("newsletter") => Chat::Channel,
            Some("broadcast") => Chat::Broadcast,
            None if PhoneNumber::from_wire(&jid).is_ok() => Chat::Private,
            _ => Chat::None,
        };
        let contact = match chat {
            Chat::Private => {
                let (jid, alt) = (self.remote_jid, self.remote_jid_alt);
                let sender = [self.cleaned_sender_pn, self.sender_pn, jid, alt];
                if ours { address([jid, alt], jid) } else { address(sender, self.sender_lid) }
            }
            Chat::Group | Chat::Broadcast if !ours => {
                let (jid, alt) = (self.participant, self.participant_alt);
                let phones = [self.cleaned_participant_pn, self.participant_pn, jid, alt];
                address(phones, self.participant_lid)
            }
            _ => Address::default(),
        };
        (chat, contact)
    }
}

/// The first phone, and the first LID. A LID's digits are no phone, whatever their field's name.
fn address<const N: usize>(jids: [Raw<'_>; N], lid: Raw<'_>) -> Address {
    let words = || jids.into_iter().filter_map(Raw::word);
    let lid = lid.word().into_iter().chain(words()).find_map(|it| Lid::from_wire(&it));
    let is_lid = |it: &PhoneNumber| lid.as_ref().is_some_and(|lid| lid.digits() == it.digits());
    let phone = words().find_map(|it| phone(&it).filter(|it| !is_lid(it)));
    Address { phone, lid, bsuid: None }
}

/// A phone number; a cleaned one may still have what is not a digit.
fn phone(word: &str) -> Option<PhoneNumber> {
    if word.contains('@') {
        return PhoneNumber::from_wire(word).ok();
    }
    let digits: String = word.chars().filter(char::is_ascii_digit).collect();
    PhoneNumber::from_wire(&digits).ok()
}

pub(super) fn text(text: Cow<'_, str>) -> Text {
    Text(text.into_owned())
}
