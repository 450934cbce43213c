//! Puts Twilio's forms into our words (`docs/wire/meta-unipile-twilio.md` E2).

use std::collections::BTreeMap;

use url::form_urlencoded;

use super::{CHANNEL, codes::failure, send::REFERENCE};
use crate::{
    domain::{
        contact::{Address, Bsuid},
        event::{Chat, Event, Failure, Status, What},
        id::EntryId,
        message::{Content, Media, MediaKind, Text},
        phone::PhoneNumber,
        secret::{SecretString, without},
        waba::{InstanceKey, ProviderKind},
    },
    provider::{Parsed, Part, files::announced, raw},
};

/// Files of one message (E1).
const FILES_MAX: usize = 10;
/// Characters of a name that is kept.
const NAME_CHARS_MAX: usize = 64;

/// Puts a proven form into our words; `url` is the address it came to.
pub(super) fn read(url: &str, body: &[u8], secrets: &[&SecretString]) -> Parsed {
    let fields = Fields::read(body);
    let word = fields.get("MessageStatus").or_else(|| fields.get("SmsStatus"));
    let is_message = matches!(word, None | Some("received" | "receiving"));
    let events = match fields.sid() {
        Some(sid) if is_message => fields.messages(sid),
        Some(sid) => fields.status(sid, word.unwrap_or_default(), url),
        None => None,
    };
    let own = if is_message { fields.get("To") } else { fields.get("From") };
    let names = own.and_then(phone).map(|it| InstanceKey::Phone(it.alias()));
    let events = events.unwrap_or_else(|| vec![fields.other(body, secrets)]);
    let service = fields.get("MessagingServiceSid").map(str::to_owned);
    Parsed { parts: vec![Part { names, service, events, ..Part::default() }] }
}

/// The parameters of a form; of one that is there twice the first.
struct Fields(BTreeMap<String, String>);

impl Fields {
    fn read(body: &[u8]) -> Self {
        let mut fields = BTreeMap::new();
        for (name, value) in form_urlencoded::parse(body) {
            fields.entry(name.into_owned()).or_insert_with(|| value.into_owned());
        }
        Self(fields)
    }

    /// A value that says something.
    fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|it| !it.trim().is_empty())
    }

    fn text(&self, name: &str) -> Text {
        Text(self.get(name).unwrap_or_default().to_owned())
    }

    fn sid(&self) -> Option<&str> {
        ["MessageSid", "SmsMessageSid", "SmsSid"].into_iter().find_map(|it| self.get(it))
    }

    fn number(&self, name: &str) -> Option<f64> {
        self.get(name)?.trim().parse().ok().filter(|it: &f64| it.is_finite())
    }

    /// Who is named there: a phone number, or a BSUID, which may be told beside it.
    fn person(&self, name: &str) -> Address {
        let named = self.get(name);
        let wa_id = self.get("WaId").filter(|_| name == "From");
        let bsuid = [named, self.get("ExternalUserId")].into_iter().flatten();
        Address {
            phone: named.and_then(phone).or_else(|| wa_id.and_then(phone)),
            bsuid: bsuid.map(bare).find_map(Bsuid::from_wire),
            ..Address::default()
        }
    }

    /// A customer's message: one for each of its files.
    fn messages(&self, sid: &str) -> Option<Vec<Event>> {
        let contact = self.person("From");
        if contact.is_empty() {
            return None;
        }
        let contents = self.contents();
        let mut events = Vec::with_capacity(contents.len());
        for (n, content) in contents.into_iter().enumerate() {
            let mut event = Event::new(What::Message(content), Chat::Private, contact.clone());
            event.provider_id = Some(if n == 0 { sid.to_owned() } else { format!("{sid}/{n}") });
            event.name = self.get("ProfileName").map(|it| Text(it.to_owned()));
            event.quoted = self.get("OriginalRepliedMessageSid").map(str::to_owned);
            // What typing is shown for.
            event.chat_id = Some(Text(sid.to_owned()));
            events.push(event);
        }
        Some(events)
    }

    fn contents(&self) -> Vec<Content> {
        let n_files = self.get("NumMedia").and_then(|it| it.parse().ok()).unwrap_or(0_usize);
        let files: Vec<Content> =
            (0..n_files.min(FILES_MAX)).filter_map(|n| self.file(n)).collect();
        if files.is_empty() { vec![self.content()] } else { files }
    }

    /// Its text is below the first.
    fn file(&self, n: usize) -> Option<Content> {
        let url = self.get(&format!("MediaUrl{n}"))?.to_owned();
        let mime_type = self.get(&format!("MediaContentType{n}"));
        let caption = if n == 0 { self.text("Body") } else { Text::default() };
        let kind = mime_type.map_or(MediaKind::Document, kind_of);
        Some(Content::Media(Media {
            caption,
            mime_type: mime_type.map(str::to_owned),
            url: Some(url),
            ..announced(ProviderKind::Twilio, kind)
        }))
    }

    fn content(&self) -> Content {
        if let (Some(latitude), Some(longitude)) =
            (self.number("Latitude"), self.number("Longitude"))
        {
            let name = [self.get("Label"), self.get("Address")].into_iter().flatten();
            let name = name.map(str::to_owned).reduce(|name, address| format!("{name}, {address}"));
            let text = name.map_or_else(|| self.text("Body"), Text);
            return Content::Location { latitude, longitude, text };
        }
        // A button of a template, or a row of a list.
        for (id, title) in [("ButtonPayload", "ButtonText"), ("ListId", "ListTitle")] {
            if let Some(id) = self.get(id) {
                let title = self.get(title).or_else(|| self.get("Body")).unwrap_or(id);
                return Content::Chosen { id: id.to_owned(), title: Text(title.to_owned()) };
            }
        }
        match self.get("Body") {
            Some(text) => Content::text(text),
            None => {
                let kind = self.get("MessageType").unwrap_or("empty");
                let kind = kind.chars().take(NAME_CHARS_MAX).collect();
                Content::Unsupported { kind, text: Text::default() }
            }
        }
    }

    fn status(&self, sid: &str, word: &str, url: &str) -> Option<Vec<Event>> {
        let status = match self.get("EventType") {
            Some(it) if it.eq_ignore_ascii_case("read") => Status::Read,
            _ => status_of(word)?,
        };
        let failure = self.failure(word, status);
        let what = What::Status { target: sid.to_owned(), status, participant: None, failure };
        let mut event = Event::new(what, Chat::Private, self.person("To"));
        event.reference = reference(url);
        Some(vec![event])
    }

    fn failure(&self, word: &str, status: Status) -> Option<Failure> {
        (status == Status::Failed).then(|| failure(self.get("ErrorCode").unwrap_or(word)))
    }

    /// Kept as it came, but for secrets.
    fn other(&self, body: &[u8], secrets: &[&SecretString]) -> Event {
        let raw = Text(without(&raw::text(body), secrets));
        let name = ["EventType", "MessageStatus", "SmsStatus", "MessageType"];
        let name = name.into_iter().find_map(|it| self.get(it)).unwrap_or("unknown");
        let name = without(name, secrets).chars().take(NAME_CHARS_MAX).collect();
        Event::new(What::Other { name, raw }, Chat::None, Address::default())
    }
}

/// The send that a callback speaks of: it is in the address that we gave.
fn reference(url: &str) -> Option<EntryId> {
    let (_, query) = url.split_once('?')?;
    let mut pairs = form_urlencoded::parse(query.as_bytes());
    pairs.find(|it| it.0 == REFERENCE)?.1.parse().ok()
}

fn bare(named: &str) -> &str {
    named.trim().strip_prefix(CHANNEL).unwrap_or(named.trim())
}

fn phone(named: &str) -> Option<PhoneNumber> {
    PhoneNumber::from_wire(bare(named)).ok()
}

fn kind_of(mime_type: &str) -> MediaKind {
    if MediaKind::Sticker.takes(mime_type) {
        return MediaKind::Sticker;
    }
    MediaKind::of_type(mime_type)
}

/// How far a message has got (E1).
pub(super) fn status_of(word: &str) -> Option<Status> {
    Some(match word.to_ascii_lowercase().as_str() {
        "accepted" | "scheduled" | "queued" | "sending" => Status::Pending,
        "sent" => Status::Sent,
        "delivered" | "partially_delivered" => Status::Delivered,
        "read" => Status::Read,
        "undelivered" | "failed" | "canceled" => Status::Failed,
        _ => return None,
    })
}
