//! Webhooks: the envelope, the signature over the escaped form, and the retries of what was not
//! answered 200 (`docs/wire/meta-unipile-twilio.md` A2, A3, A8, A9).

use std::{fmt::Write, sync::Arc, time::Duration};

use serde_json::{Value, json};

use super::{
    super::{
        hooks::{HookAnswer, Pending},
        wire::{digits, sign_hmac},
    },
    misbehaviour::{MetaMisbehaviour, Moods},
    number::MetaNumber,
    world::World,
};

/// Tries of one webhook after the first. Meta goes on for seven days.
const RETRIES: u32 = 8;

/// Fields that go to the callback of an account or a number, if it has one (A9).
const OVERRIDABLE: [&str; 13] = [
    "messages",
    "message_echoes",
    "calls",
    "consumer_profile",
    "messaging_handovers",
    "group_lifecycle_update",
    "group_participants_update",
    "group_settings_update",
    "group_status_update",
    "smb_message_echoes",
    "smb_app_state_sync",
    "history",
    "account_settings_update",
];

/// One change of a webhook.
#[derive(Clone)]
pub(super) struct Change {
    pub(super) number: MetaNumber,
    pub(super) field: String,
    pub(super) value: Value,
}

/// A webhook that is ready to leave.
struct Letter {
    url: String,
    signature: String,
    bytes: Vec<u8>,
    event: String,
    event_id: String,
    /// The number, for whoever looks at failures.
    number: u64,
}

impl Change {
    /// A change of a number, with its metadata.
    pub(super) fn of(number: &MetaNumber, field: &str, mut value: Value) -> Self {
        value["messaging_product"] = json!("whatsapp");
        value["metadata"] = json!({
            "display_phone_number": digits(&number.phone_number),
            "phone_number_id": number.id,
        });
        Self { number: number.clone(), field: field.to_owned(), value }
    }
}

impl World {
    /// Tells changes in one webhook, to the callback of the first. The answer is that of the first
    /// try; the others go on beside.
    pub(super) async fn tell(
        self: &Arc<Self>,
        changes: Vec<Change>,
        moods: Moods,
        pending: Option<Pending>,
    ) -> HookAnswer {
        let Some(first) = changes.first().cloned() else { return HookAnswer::none("nothing") };
        let Some(url) = self.callback(&first) else { return HookAnswer::none("no callback") };
        let letter = Letter::new(url, &first, &changes, &moods);
        let answer = self.hooks.unless_stopped(self.post(&letter)).await;
        let answer = answer.unwrap_or_else(|| HookAnswer::none("the twin was stopped"));
        if moods.has(&MetaMisbehaviour::DuplicateHooks) {
            self.hooks.unless_stopped(self.post(&letter)).await;
        }
        if answer.status != 200 {
            self.retry(letter, first.number.retry_after, pending);
        }
        answer
    }

    fn retry(self: &Arc<Self>, letter: Letter, first_after: Duration, pending: Option<Pending>) {
        let world = Arc::clone(self);
        tokio::spawn(async move {
            let _pending = pending;
            let tries = async {
                for n in 0..RETRIES {
                    tokio::time::sleep(first_after * 2_u32.pow(n)).await;
                    if world.post(&letter).await.status == 200 {
                        break;
                    }
                }
            };
            world.hooks.unless_stopped(tries).await;
        });
    }

    async fn post(&self, letter: &Letter) -> HookAnswer {
        let Letter { url, signature, bytes, event, event_id, number } = letter;
        let delivered =
            self.hooks.deliver(url, "x-hub-signature-256", signature.clone(), bytes.clone());
        let answer = match delivered.await {
            Ok((status, body)) => HookAnswer { status, body, event_id: event_id.clone() },
            Err(why) => HookAnswer { event_id: event_id.clone(), ..HookAnswer::none(why) },
        };
        if answer.status != 200 {
            let status = Some(answer.status).filter(|it| *it > 0);
            self.hooks.failed(*number, event, status, "not taken");
        }
        answer
    }

    /// Where a change goes: number, account, app (A9). None where the account is not subscribed.
    fn callback(&self, change: &Change) -> Option<String> {
        let book = self.book();
        let number = book.lines.get(&change.number.id).map(|it| &it.number)?;
        let waba = book.wabas.get(&number.waba_id).filter(|it| it.is_subscribed)?;
        let own = number.override_callback.clone().or_else(|| waba.override_callback.clone());
        let own = own.filter(|_| OVERRIDABLE.contains(&change.field.as_str()));
        own.or_else(|| number.callback.clone())
    }
}

impl Letter {
    fn new(url: String, first: &Change, changes: &[Change], moods: &Moods) -> Self {
        let body = envelope(changes);
        let mut bytes = escaped(&body).into_bytes();
        if moods.has(&MetaMisbehaviour::TruncatedHooks) {
            bytes.truncate(bytes.len() / 2);
        }
        let wrong = moods.has(&MetaMisbehaviour::WrongSignature);
        let secret = if wrong { "not-the-secret" } else { &first.number.app_secret };
        let signature = if moods.has(&MetaMisbehaviour::SignedUnescaped) {
            sign_hmac(secret, body.to_string().as_bytes())
        } else {
            sign_hmac(secret, &bytes)
        };
        let id = ["/messages/0/id", "/message_echoes/0/id", "/statuses/0/id"];
        let id = id.iter().find_map(|it| first.value.pointer(it)?.as_str());
        Self {
            url,
            signature: format!("sha256={signature}"),
            bytes,
            event: first.field.clone(),
            event_id: id.unwrap_or_default().to_owned(),
            number: first.number.id.parse().unwrap_or_default(),
        }
    }
}

/// The envelope, with an entry for each account.
fn envelope(changes: &[Change]) -> Value {
    let mut entries: Vec<(&str, Vec<Value>)> = Vec::new();
    for it in changes {
        let change = json!({ "field": it.field, "value": it.value });
        match entries.iter_mut().find(|entry| entry.0 == it.number.waba_id) {
            Some(entry) => entry.1.push(change),
            None => entries.push((&it.number.waba_id, vec![change])),
        }
    }
    let entries = entries.into_iter().map(|(id, changes)| json!({ "id": id, "changes": changes }));
    json!({ "object": "whatsapp_business_account", "entry": entries.collect::<Vec<_>>() })
}

/// JSON as Meta writes it: `ä` is `\u00e4`, `/` is `\/` (A2).
fn escaped(body: &Value) -> String {
    let (plain, mut text) = (body.to_string(), String::new());
    for it in plain.chars() {
        match it {
            '/' => text.push_str("\\/"),
            it if it.is_ascii() => text.push(it),
            it => {
                for unit in it.encode_utf16(&mut [0; 2]) {
                    // Writing to a string does not fail.
                    let _ = write!(text, "\\u{unit:04x}");
                }
            }
        }
    }
    text
}
