//! What an application is told of messages: `vendor_messages`, `crmTickets` and `notifications`, in
//! the fields of `docs/CONTRACT.md` §1. Nothing is read, and fields of others stay.

mod each;

use firestore::gcloud_sdk::google::firestore::v1::{MapValue, Value, Write, value::ValueType};
use metrics::counter;

use self::each::{Wrote, write_each};
use super::{
    FirestoreStore,
    session::Session,
    value::{Edit, Fields, delete, flag, text, time, value},
};
use crate::{
    domain::{
        message::Text,
        phone::PhoneNumber,
        record::{Document, Escalation, MessageRecord, Record, Written},
    },
    store::StoreError,
    telemetry::names,
};

/// Where messages are told of.
pub(super) const MESSAGES: &str = "vendor_messages";
/// Where a person's work is.
pub(super) const TICKETS: &str = "crmTickets";
/// What a person is shown.
pub(super) const NOTIFICATIONS: &str = "notifications";

/// The longest text in a document, in bytes; a document may have a mebibyte.
const TEXT_BYTES_MAX: usize = 256 * 1024;
/// The longest line that names a matter, in characters.
const LINE_CHARS_MAX: usize = 200;

impl FirestoreStore {
    /// Writes these, each by itself, and says what became of each, in order.
    ///
    /// # Errors
    ///
    /// Firestore is away; some may have been written. Writing all of them again does no harm.
    pub async fn write_documents(
        &self,
        documents: &[Document],
    ) -> Result<Vec<Written>, StoreError> {
        let session = self.session()?;
        let mut writes = Vec::new();
        let mut counts = Vec::new();
        for document in documents {
            let before = writes.len();
            writes.extend(writes_of(&session, document));
            counts.push(writes.len() - before);
        }
        let collections: Vec<(&'static str, bool)> = writes.iter().map(collection).collect();
        let mut ends = write_each(&session, writes).await?.into_iter().zip(collections);
        Ok(counts.into_iter().map(|n| together(ends.by_ref().take(n))).collect())
    }
}

/// What became of the writes of one thing.
fn together(ends: impl Iterator<Item = (Wrote, (&'static str, bool))>) -> Written {
    let mut all = Written::Done;
    for (end, (collection, is_delete)) in ends {
        match end {
            Wrote::Done => {
                let deed = if is_delete { "delete" } else { "write" };
                counter!(names::RECORD_WRITES, "collection" => collection, "deed" => deed)
                    .increment(1);
            }
            Wrote::NotNow if all == Written::Done => all = Written::NotNow,
            // Something is there already, or nothing any more: as it was to be.
            Wrote::Unmet | Wrote::NotNow => {}
            Wrote::Refused(why) => all = Written::Refused(why),
        }
    }
    all
}

fn collection(write: &Write) -> (&'static str, bool) {
    use firestore::gcloud_sdk::google::firestore::v1::write::Operation;
    let (name, is_delete) = match &write.operation {
        Some(Operation::Update(it)) => (it.name.as_str(), false),
        Some(Operation::Delete(it)) => (it.as_str(), true),
        _ => ("", false),
    };
    let of = super::value::collection_of(name);
    let known = [MESSAGES, TICKETS, NOTIFICATIONS].into_iter().find(|it| *it == of);
    (known.unwrap_or_default(), is_delete)
}

fn writes_of(session: &Session, Document { id, record }: &Document) -> Vec<Write> {
    let id = id.to_string();
    let name = |collection| session.name(collection, &id);
    match record {
        Record::Message(it) => {
            let mut edit = Edit::over(name(MESSAGES));
            message(&mut edit, it);
            edit.write().into_iter().collect()
        }
        Record::NewMessage(it) => {
            let mut edit = Edit::of(name(MESSAGES), true);
            message(&mut edit, it);
            edit.write().into_iter().collect()
        }
        Record::Standing(it) => {
            let mut edit = Edit::of(name(MESSAGES), false);
            edit.set("status", text(it.as_str()));
            edit.write().into_iter().collect()
        }
        Record::Escalation(it) => {
            let mut ticket_edit = Edit::of(name(TICKETS), true);
            ticket(&mut ticket_edit, &id, it);
            let mut told = Edit::of(name(NOTIFICATIONS), true);
            notification(&mut told, it);
            [ticket_edit, told].into_iter().filter_map(Edit::write).collect()
        }
        Record::EraseMessage => vec![delete(name(MESSAGES))],
        Record::EraseEscalation => {
            let mut ticket = Edit::of(name(TICKETS), false);
            for field in ["clientPhone", "subject", "description"] {
                ticket.set(field, text(""));
            }
            ticket.set("clientName", null());
            let mut told = Edit::of(name(NOTIFICATIONS), false);
            ["title", "message"].iter().for_each(|it| told.set(it, text("")));
            [ticket, told].into_iter().filter_map(Edit::write).collect()
        }
    }
}

fn message(edit: &mut Edit, it: &MessageRecord) {
    let customer = number(it.customer.phone.as_ref());
    edit.set("vendorId", text(it.vendor.as_str()));
    edit.set("wabaId", text(it.instance.as_str()));
    edit.set("direction", text(if it.is_inbound { "inbound" } else { "outbound" }));
    if it.is_inbound {
        edit.set("from", customer);
    } else {
        edit.set("from", number(it.own.as_ref()));
        edit.set("to", customer);
    }
    if it.by_human {
        edit.set("byHuman", flag(true));
    }
    if it.is_group {
        edit.set("chat", text("group"));
    }
    edit.set("message", text(cut(&it.text.0, TEXT_BYTES_MAX)));
    edit.set("messageId", text(it.message_id.clone()));
    edit.set("type", text(it.kind.clone()));
    edit.set("timestamp", time(it.at));
    edit.set("status", text(it.standing.as_str()));
    edit.set("createdAt", time(it.created_at));
}

fn ticket(edit: &mut Edit, id: &str, it: &Escalation) {
    edit.set("vendorId", text(it.vendor.as_str()));
    edit.set("source", text("whatsapp"));
    edit.set("sourceId", text(id));
    edit.set("clientPhone", number(it.customer.phone.as_ref()));
    edit.set("clientName", it.name.as_ref().map_or_else(null, |it| text(it.0.clone())));
    edit.set("subject", text(headline(it)));
    edit.set("description", text(cut(&words(it), TEXT_BYTES_MAX)));
    edit.set("status", text("open"));
    edit.set("priority", text("normal"));
    edit.set("assignedTo", null());
    edit.set("createdAt", time(it.at));
    edit.set("updatedAt", time(it.at));
    let conversation = it.conversation.map_or_else(null, |it| text(it.to_string()));
    let metadata = Fields::from([
        ("conversationId".to_owned(), conversation),
        ("messageId".to_owned(), text(it.message_id.clone())),
    ]);
    edit.set("metadata", value(ValueType::MapValue(MapValue { fields: metadata })));
}

fn notification(edit: &mut Edit, it: &Escalation) {
    edit.set("vendorId", text(it.vendor.as_str()));
    edit.set("type", text("whatsapp_escalation"));
    edit.set("title", text(headline(it)));
    edit.set("message", text(cut(&words(it), TEXT_BYTES_MAX)));
    edit.set("read", flag(false));
    edit.set("createdAt", time(it.at));
}

/// Who needs a person, in no language: the name or number is all that a vendor looks for.
fn headline(it: &Escalation) -> String {
    let name = it.name.as_ref().map(|it| it.0.trim().to_owned()).filter(|it| !it.is_empty());
    let who = name.or_else(|| it.customer.phone.as_ref().map(PhoneNumber::expose));
    let line = who.map_or_else(|| "WhatsApp".to_owned(), |it| format!("WhatsApp: {it}"));
    line.chars().take(LINE_CHARS_MAX).collect()
}

/// What they wrote; of what is no text, its kind first.
fn words(it: &Escalation) -> String {
    let Text(text) = &it.text;
    match (it.kind.as_str(), text.is_empty()) {
        ("text", _) => text.clone(),
        (kind, true) => format!("[{kind}]"),
        (kind, false) => format!("[{kind}] {text}"),
    }
}

fn number(it: Option<&PhoneNumber>) -> Value {
    it.map_or_else(null, |it| text(it.expose()))
}

fn null() -> Value {
    value(ValueType::NullValue(0))
}

fn cut(text: &str, bytes_max: usize) -> &str {
    &text[..text.floor_char_boundary(bytes_max)]
}
