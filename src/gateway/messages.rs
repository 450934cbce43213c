//! Messages sent through the API, and what is shown of messages.

mod checks;

pub(super) use self::checks::check_reach;

use std::sync::Arc;

use super::{AdminError, Gateway, content};
use crate::{
    domain::{
        clock::{HOUR, Millis},
        contact::{Address, Bsuid},
        id::{ContactId, EntryId, InstanceId, VendorId},
        message::Content,
        phone::PhoneNumber,
        route::ProviderKind,
        split,
        vendor::SEND_TTL,
        waba::WabaInstance,
        window,
    },
    journal::{Asked, Idempotency, Journey, Ledger, NewIntent, Page, Pause, Submitted},
    vendor::VendorService,
};

/// The longest `Idempotency-Key`, in characters.
const IDEMPOTENCY_CHARS_MAX: usize = 255;
/// A conversation paused by an admin without an end stays so for this long.
const PAUSE_MAX: Millis = 10 * 365 * 24 * HOUR;

/// A message to send.
pub struct SendMessage {
    /// As somebody typed it.
    pub to: String,
    /// What.
    pub content: Content,
    /// The message it quotes.
    pub reply_to: Option<EntryId>,
    /// From which instance; the vendor's first without it.
    pub instance: Option<InstanceId>,
    /// The only provider that it may go through.
    pub provider: Option<ProviderKind>,
    /// When it shall leave.
    pub send_at: Option<Millis>,
    /// The caller's own id for it.
    pub idempotency_key: Option<String>,
}

/// A message that is kept, and will be sent.
#[derive(Clone, Copy, Debug)]
pub struct Queued {
    /// Its id; that of the first part where there are several.
    pub id: EntryId,
    /// Messages it is sent as.
    pub n_parts: usize,
}

/// Why it is not sent.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// What every admin request can meet.
    #[error(transparent)]
    Admin(#[from] AdminError),
    /// The vendor has too much waiting.
    #[error("too many messages are waiting for this vendor")]
    Overloaded,
}

impl Gateway {
    /// Takes a message to send; it is on disk when this returns.
    pub async fn send_message(
        &self,
        vendor: &VendorId,
        message: SendMessage,
    ) -> Result<Queued, SendError> {
        let service = self.inner.registry.get(vendor).await.map_err(AdminError::from)?;
        let service = service.ok_or(AdminError::NoVendor)?;
        let instance = sender(&service, message.instance.as_ref())?;
        let content = content::checked(message.content.clone(), &instance.phone_number);
        let content = self.with_file(vendor, content.map_err(AdminError::Invalid)?).await?;
        let to = address(&message.to, instance)?;
        let request = request(instance, &to, &content, &message);
        let request = request.map_err(|_| AdminError::Invalid("cannot be written".to_owned()))?;
        let idempotency = idempotency(message.idempotency_key.clone(), request)?;
        let now = self.inner.clock.now();
        let takes = self.takes(&service, instance, &to, &content, &message).await;
        let as_template = takes.as_ref().is_ok_and(|it| it.as_template);
        let made = intent(&service, instance, to, content, now, as_template);
        let n_parts = made.more.len() + 1;
        let send_at = match (takes, &idempotency) {
            (Ok(it), _) => it.send_at,
            // What was taken once may not be takeable any more, and is no less sent.
            (Err(why), Some(it)) => {
                let asked = self.inner.journal.asked_before(vendor, it).await;
                return match asked.map_err(AdminError::from)? {
                    Some(Asked::Same(id)) => Ok(Queued { id, n_parts }),
                    Some(Asked::Other) => Err(key_is_taken()),
                    None => Err(why),
                };
            }
            (Err(why), None) => return Err(why),
        };
        let intent = NewIntent {
            reply_to: message.reply_to,
            send_at,
            only: message.provider,
            expires: send_at.unwrap_or(now) + service.ttl(SEND_TTL),
            idempotency,
            ..made
        };
        match self.inner.journal.submit(intent).await.map_err(AdminError::from)? {
            Submitted::New(id, changes) | Submitted::Same(id, changes) => {
                self.inner.work.apply(changes);
                Ok(Queued { id, n_parts })
            }
            Submitted::Conflict => Err(key_is_taken()),
        }
    }

    /// A vendor's messages, newest first.
    pub async fn messages(
        &self,
        vendor: &VendorId,
        before: Option<EntryId>,
        limit: usize,
    ) -> Result<Page, AdminError> {
        self.vendor(vendor).await?;
        Ok(self.inner.journal.messages(vendor, before, limit).await?)
    }

    /// All that is known of one of a vendor's messages.
    pub async fn journey(&self, vendor: &VendorId, id: EntryId) -> Result<Journey, AdminError> {
        self.vendor(vendor).await?;
        self.inner.journal.journey(vendor, id).await?.ok_or(AdminError::NoMessage)
    }

    /// A vendor's line of the ledger.
    pub async fn ledger(&self, vendor: &VendorId) -> Result<Ledger, AdminError> {
        self.vendor(vendor).await?;
        Ok(self.inner.journal.ledger(Some(vendor)).await?)
    }

    /// Pauses the bot in the conversation of this message, or lets it go on.
    pub async fn pause_conversation(
        &self,
        vendor: &VendorId,
        message: EntryId,
        minutes: Option<Option<i64>>,
    ) -> Result<ContactId, AdminError> {
        let journey = self.journey(vendor, message).await?;
        let contact = journey.row.contact.ok_or(AdminError::NoMessage)?;
        let at = self.inner.clock.now();
        let pause = minutes.map(|minutes| {
            let lasts = minutes.map_or(PAUSE_MAX, |it| it.clamp(1, PAUSE_MAX / 60_000) * 60_000);
            Pause { at, until: at + lasts, reason: "admin" }
        });
        self.inner.journal.pause(contact, pause).await?;
        Ok(contact)
    }
}

/// The number that a message leaves from: the vendor's first when none is named.
pub(super) fn sender<'a>(
    service: &'a VendorService,
    instance: Option<&InstanceId>,
) -> Result<&'a Arc<WabaInstance>, AdminError> {
    match instance {
        Some(id) => service.instance(id).ok_or(AdminError::NoInstance),
        None => service.instances().first().ok_or_else(|| {
            AdminError::Conflict("the vendor has no WABA instance to send from".to_owned())
        }),
    }
}

/// A message that leaves now, as a vendor asked.
pub(super) fn intent(
    service: &VendorService,
    instance: &WabaInstance,
    to: Address,
    content: Content,
    now: Millis,
    as_template: bool,
) -> NewIntent {
    let (content, more) = parts(service, &instance.id, content, as_template);
    NewIntent {
        vendor: service.vendor().id.clone(),
        instance: instance.id.clone(),
        contact: None,
        to,
        content,
        more,
        reply_to: None,
        forward: service.vendor().forward_url.is_some(),
        is_automatic: false,
        origin: None,
        now,
        send_at: None,
        only: None,
        expires: now + service.ttl(SEND_TTL),
        policy: service.policy(instance.routes()),
        parked: None,
        idempotency: None,
    }
}

/// Content as the messages that leave: the first, and what follows it. What leaves in a template has
/// no more text than has room there.
pub(super) fn parts(
    service: &VendorService,
    instance: &InstanceId,
    content: Content,
    as_template: bool,
) -> (Content, Vec<Content>) {
    let Some(instance) = service.instance(instance) else { return (content, Vec::new()) };
    let mut limits = service.text_limits(instance);
    if as_template {
        limits.text = limits.text.min(window::PARAMETER_CHARS_MAX);
    }
    let mut parts = split::parts(content.clone(), limits).into_iter();
    let first = parts.next().unwrap_or(content);
    (first, parts.collect())
}

/// Whether the vendor's template says all of such content, of a long text in several of it.
pub(super) fn all_in_template(
    service: &VendorService,
    instance: &InstanceId,
    content: &Content,
    via: ProviderKind,
) -> bool {
    let vendor = service.vendor();
    if !vendor.fallback_template.as_deref().is_some_and(|it| it.is_one_at(via)) {
        return false;
    }
    let (first, more) = parts(service, instance, content.clone(), true);
    std::iter::once(first).chain(more).all(|it| content::in_template(vendor, &it, via).is_some())
}

fn key_is_taken() -> SendError {
    let why = "another message was sent with this Idempotency-Key";
    AdminError::Conflict(why.to_owned()).into()
}

/// To whom: a number as people write it, or the id of a customer without one.
pub(super) fn address(to: &str, instance: &WabaInstance) -> Result<Address, AdminError> {
    if let Some(bsuid) = Bsuid::from_wire(to.trim()) {
        return Ok(Address { bsuid: Some(bsuid), ..Address::default() });
    }
    let phone = PhoneNumber::from_person(to, Some(&instance.phone_number));
    phone.map(Address::phone).map_err(|it| AdminError::Invalid(format!("to: {it}")))
}

/// What was asked, to know it again.
fn request(
    instance: &WabaInstance,
    to: &Address,
    content: &Content,
    message: &SendMessage,
) -> Result<Vec<u8>, serde_json::Error> {
    let reply_to = message.reply_to.map(|it| it.0);
    let bsuid = to.bsuid.as_ref().map(Bsuid::expose);
    let to = to.phone.as_ref().map(PhoneNumber::digits).or(bsuid);
    if message.provider.is_none() && message.send_at.is_none() {
        return serde_json::to_vec(&(&instance.id, to, content, reply_to));
    }
    let more = (message.provider, message.send_at);
    serde_json::to_vec(&(&instance.id, to, content, reply_to, more))
}

pub(super) fn idempotency(
    key: Option<String>,
    request: Vec<u8>,
) -> Result<Option<Idempotency>, AdminError> {
    let Some(key) = key else { return Ok(None) };
    if key.is_empty() || key.chars().count() > IDEMPOTENCY_CHARS_MAX {
        let why = format!("Idempotency-Key has 1 to {IDEMPOTENCY_CHARS_MAX} characters");
        return Err(AdminError::Invalid(why));
    }
    Ok(Some(Idempotency { key, request }))
}
