//! What of a webhook is whose: some providers send what is for several numbers together.

use std::{collections::HashMap, sync::Arc};

use metrics::counter;

use super::{AcceptError, Gateway, media};
use crate::{
    domain::{
        contact::Address,
        event::{Chat, Event, What},
        message::Text,
        secret,
        waba::{InstanceKey, ProviderKind, WabaInstance},
        webhook::{Verified, Webhook},
    },
    provider::{Parsed, Part},
    telemetry::{Chain, names},
    vendor::VendorService,
};

/// What a webhook has for one number.
pub(super) struct Share {
    pub(super) service: Arc<VendorService>,
    pub(super) instance: Arc<WabaInstance>,
    pub(super) events: Vec<Event>,
    /// What the provider warns of.
    pub(super) warning: Option<&'static str>,
}

impl Share {
    fn of(part: Part, service: Arc<VendorService>, instance: Arc<WabaInstance>) -> Self {
        Self { service, instance, events: part.events, warning: part.warning }
    }
}

/// Whose a part is.
#[derive(Clone)]
enum Whose {
    This(Arc<VendorService>, Arc<WabaInstance>),
    /// A number that nobody here has.
    Nobodys,
    /// Another vendor's, and its secrets do not prove it.
    NotProven,
}

impl Gateway {
    /// Shares the parts of a webhook out to the numbers that they name.
    pub(super) async fn shares(
        &self,
        by: ProviderKind,
        service: &Arc<VendorService>,
        proven: &Arc<WabaInstance>,
        hook: &Webhook<Verified>,
        parsed: Parsed,
    ) -> Result<Vec<Share>, AcceptError> {
        let mut shares: Vec<Share> = Vec::new();
        let mut known: HashMap<InstanceKey, Whose> = HashMap::new();
        for mut part in parsed.parts {
            if let Some(account) = part.account.take() {
                for instance in of_account(by, service, proven, hook, &account, &mut part) {
                    let (service, part) = (Arc::clone(service), part.clone());
                    share(&mut shares, Share::of(part, service, instance));
                }
                continue;
            }
            let is_of_service = is_of_service(by, service, &part.events);
            if is_of_service
                && let Some(instance) = self.sender_of(service, hook, &part.events).await?
            {
                share(&mut shares, Share::of(part, Arc::clone(service), instance));
                continue;
            }
            let whose = match part.names.take() {
                Some(key) if !proven.keys().contains(&key) => match known.get(&key) {
                    Some(whose) => whose.clone(),
                    None => {
                        let whose = self.whose(by, service, hook, &key).await?;
                        known.entry(key).or_insert(whose).clone()
                    }
                },
                _ => Whose::This(Arc::clone(service), Arc::clone(proven)),
            };
            let (service, instance) = match whose {
                Whose::This(service, instance) => (service, instance),
                // It was signed for this vendor; what it is about is not among its numbers.
                Whose::Nobodys => {
                    if let Some(its) = of_service(by, service, hook, &part) {
                        share(&mut shares, Share::of(part, Arc::clone(service), its));
                        continue;
                    }
                    if by != ProviderKind::Wasender && !is_of_service {
                        part.events = part.events.iter().map(unclaimed).collect();
                    }
                    part.warning = None;
                    (Arc::clone(service), Arc::clone(proven))
                }
                // Wasender signs for one session: it was not meant for this vendor.
                Whose::NotProven if by == ProviderKind::Wasender => {
                    return Err(self.refuse(&service.vendor().id));
                }
                Whose::NotProven => continue,
            };
            share(&mut shares, Share::of(part, service, instance));
        }
        Ok(shares)
    }

    /// The number of the send that a status names by our own id.
    async fn sender_of(
        &self,
        service: &VendorService,
        hook: &Webhook<Verified>,
        events: &[Event],
    ) -> Result<Option<Arc<WabaInstance>>, AcceptError> {
        let Some(id) = events.iter().find_map(|it| it.reference) else { return Ok(None) };
        let send = match self.inner.journal.intent(id).await {
            // Whose it was nobody can say, however often it is told.
            Err(error) if error.is_unreadable() => None,
            send => send?,
        };
        let send = send.filter(|it| it.vendor == service.vendor().id);
        let its = send.and_then(|it| service.instance(&it.instance));
        Ok(its.filter(|it| service.proves(ProviderKind::Twilio, hook, it)).cloned())
    }

    async fn whose(
        &self,
        by: ProviderKind,
        service: &Arc<VendorService>,
        hook: &Webhook<Verified>,
        key: &InstanceKey,
    ) -> Result<Whose, AcceptError> {
        let own = service.instances().iter().find(|it| it.keys().contains(key));
        // One that was entered without secrets is proven by those of the vendor's other numbers.
        let is_proven =
            |it: &&Arc<WabaInstance>| service.proves(by, hook, it) || !service.has_proof(by, it);
        if let Some(own) = own.filter(is_proven) {
            return Ok(Whose::This(Arc::clone(service), Arc::clone(own)));
        }
        counter!(names::FOREIGN_INSTANCE_ID).increment(1);
        let Some(owner) = self.inner.manager.by_key(key).await? else { return Ok(Whose::Nobodys) };
        let other = self.inner.registry.get(&owner.vendor_id).await?;
        let instance = other.as_ref().and_then(|it| it.instance(&owner.id)).cloned();
        match (other, instance) {
            (Some(other), Some(instance)) if other.proves(by, hook, &instance) => {
                Ok(Whose::This(other, instance))
            }
            _ => {
                tracing::warn!(vendor.id = %service.vendor().id, by = by.as_str(), "a webhook has something for a number whose secrets do not prove it; that part is left out");
                Ok(Whose::NotProven)
            }
        }
    }
}

/// Statuses of what a messaging service at Twilio sends, from whichever of its numbers it likes: they
/// are the sends' that they name, not the numbers'.
fn is_of_service(by: ProviderKind, service: &VendorService, events: &[Event]) -> bool {
    let has_service = |it: &Arc<WabaInstance>| service_of(it).is_some();
    let is_status = |it: &Event| matches!(it.what, What::Status { .. });
    by == ProviderKind::Twilio
        && events.iter().all(is_status)
        && service.instances().iter().any(has_service)
}

/// The number of the vendor's that sends through this messaging service: customers answer whichever
/// of the service's numbers they were written to from.
fn of_service(
    by: ProviderKind,
    service: &VendorService,
    hook: &Webhook<Verified>,
    part: &Part,
) -> Option<Arc<WabaInstance>> {
    let named = part.service.as_deref().filter(|_| by == ProviderKind::Twilio)?;
    let its = service.instances().iter().find(|it| service_of(it) == Some(named))?;
    service.proves(by, hook, its).then(|| Arc::clone(its))
}

fn service_of(instance: &WabaInstance) -> Option<&str> {
    instance.twilio.as_ref()?.messaging_service_sid.as_deref().filter(|it| !it.is_empty())
}

fn share(shares: &mut Vec<Share>, mut more: Share) {
    match shares.iter_mut().find(|it| it.instance.id == more.instance.id) {
        Some(share) => {
            share.events.append(&mut more.events);
            share.warning = more.warning.or(share.warning);
        }
        None => shares.push(more),
    }
}

/// The vendor's numbers that what is told of an account is about. Of one that none of them names it
/// is kept at the proven number, and says nothing of that number's state: one app's secret proves
/// what is told of every account that the app serves, other vendors' too.
fn of_account(
    by: ProviderKind,
    service: &VendorService,
    proven: &Arc<WabaInstance>,
    hook: &Webhook<Verified>,
    account: &str,
    part: &mut Part,
) -> Vec<Arc<WabaInstance>> {
    let is_named = |it: &&Arc<WabaInstance>| {
        it.meta.as_ref().is_some_and(|it| it.waba_id.as_deref() == Some(account))
    };
    let its = service.instances().iter().filter(is_named);
    let its: Vec<_> = its.filter(|it| service.proves(by, hook, it)).cloned().collect();
    if its.is_empty() {
        part.events.retain(|it| !matches!(it.what, What::Connection(_)));
        part.warning = None;
    }
    if its.is_empty() { vec![Arc::clone(proven)] } else { its }
}

/// Kept, but not as a conversation with a number that it was not written to.
fn unclaimed(event: &Event) -> Event {
    let raw = serde_json::to_string(event).unwrap_or_default();
    let what = What::Other { name: "number_unknown".to_owned(), raw: Text(raw) };
    Event::new(what, Chat::None, Address::default())
}

/// The events of a proven body; one that nobody can read is an event of its own.
pub(super) fn read(by: ProviderKind, service: &VendorService, hook: &Webhook<Verified>) -> Parsed {
    match service.parse(by, hook) {
        Ok(mut parsed) => {
            parsed.parts.iter_mut().flat_map(|it| &mut it.events).for_each(media::give_key);
            parsed
        }
        Err(error) => {
            counter!(names::UNREADABLE).increment(1);
            tracing::warn!(vendor.id = %service.vendor().id, error = %Chain(&error), "kept a webhook that nobody can read");
            let text = String::from_utf8_lossy(hook.body());
            let raw = Text(secret::without(&text, &service.secrets()));
            let what = What::Other { name: "unreadable".to_owned(), raw };
            Parsed::of(vec![Event::new(what, Chat::None, Address::default())])
        }
    }
}
