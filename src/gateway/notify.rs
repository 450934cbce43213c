//! Alerts: one short text to some recipients at once, and whether one can be sent
//! (`docs/CONTRACT.md` §4).

use std::collections::HashMap;

use futures_util::StreamExt;
use sha2::{Digest, Sha256};

use super::{
    AdminError, Gateway, SendError, SendMessage, WayStatus, content,
    messages::{address, idempotency, sender},
};
use crate::{
    domain::{
        contact::Address,
        event::Connection,
        id::{EntryId, InstanceId, VendorId},
        message::{Content, Text},
        phone::PhoneNumber,
        vendor::VendorStatus,
        waba::WabaInstance,
    },
    telemetry::Chain,
};

/// Recipients of one alert; more are a job of many messages.
const RECIPIENTS_MAX: usize = 1_000;
/// The longest alert, in characters, and what a longer one is cut to before its `...`.
const TEXT_CHARS_MAX: usize = 4_096;
const CUT_CHARS: usize = 4_093;
/// The longest text that is taken to be cut.
const UNCUT_CHARS_MAX: usize = 65_536;
/// Recipients whose messages are kept at once: they share the writes to disk.
const AT_ONCE: usize = 32;

/// A text to some recipients.
pub struct Alert {
    /// Whom, as somebody typed them.
    pub to: Vec<String>,
    /// What.
    pub text: String,
    /// From which instance; the vendor's first without it.
    pub instance: Option<InstanceId>,
    /// The caller's own id for it.
    pub idempotency_key: Option<String>,
}

/// Whether a vendor's alerts would leave.
pub struct Reach {
    /// The vendor is served, and neither its sends nor everybody's are paused.
    pub is_enabled: bool,
    /// The number that they leave from.
    pub instance: Option<WabaInstance>,
    /// The way that they take now.
    pub way: Option<WayStatus>,
}

impl Gateway {
    /// Takes an alert. Each recipient has the id of their message or why they get none, in order;
    /// one who is in it twice gets it once.
    ///
    /// # Errors
    ///
    /// When nobody gets it, and not because of who they are.
    pub async fn send_alert(
        &self,
        vendor: &VendorId,
        alert: Alert,
    ) -> Result<Vec<Result<EntryId, String>>, SendError> {
        let Alert { to, text, instance: id, idempotency_key: key } = alert;
        let text = Text(text);
        content::required("message", &text, UNCUT_CHARS_MAX).map_err(AdminError::Invalid)?;
        if !(1..=RECIPIENTS_MAX).contains(&to.len()) {
            let why = format!("to: has 1 to {RECIPIENTS_MAX} recipients");
            return Err(AdminError::Invalid(why).into());
        }
        // Each recipient's is made of it.
        idempotency(key.clone(), Vec::new())?;
        let service = self.inner.registry.get(vendor).await.map_err(AdminError::from)?;
        let service = service.ok_or(AdminError::NoVendor)?;
        if service.vendor().status != VendorStatus::Active {
            let why =
                format!("the vendor is {}: it sends no alerts", service.vendor().status.as_str());
            return Err(AdminError::Conflict(why).into());
        }
        let instance = sender(&service, id.as_ref())?;
        let to: Vec<_> = to.iter().map(|it| recipient(it, instance)).collect();
        let mut places = HashMap::new();
        let messages = to.iter().filter_map(|it| {
            let (to, name) = it.as_ref().ok()?;
            let place = places.len();
            if places.contains_key(name) {
                return None;
            }
            places.insert(name.clone(), place);
            Some(SendMessage {
                to: to.clone(),
                content: Content::text(cut(&text.0)),
                reply_to: None,
                instance: id.clone(),
                provider: None,
                send_at: None,
                idempotency_key: key.as_ref().map(|it| own_key(it, name)),
            })
        });
        let messages: Vec<_> = messages.collect();
        let sends = messages.into_iter().map(|it| self.send_message(vendor, it));
        let sent: Vec<_> = futures_util::stream::iter(sends).buffered(AT_ONCE).collect().await;
        let sent: Vec<_> = told(sent)?;
        let result = |it: Result<(String, String), String>| sent[places[&it?.1]].clone();
        Ok(to.into_iter().map(result).collect())
    }

    /// Whether a vendor's alerts would leave, and which way.
    pub async fn reach(&self, vendor: &VendorId) -> Result<Reach, AdminError> {
        let is_active = self.vendor(vendor).await?.status == VendorStatus::Active;
        let is_enabled = is_active && !self.inner.work.is_stopped(vendor);
        let first = self.instances(vendor).await?.into_iter().next();
        let Some(first) = first else {
            return Ok(Reach { is_enabled, instance: None, way: None });
        };
        let found = self.connected(vendor, Some(&first.id)).await?.pop();
        let mut ways = found.map(|it| it.ways).unwrap_or_default();
        ways.retain(|it| it.can_send);
        let passes = |it: &WayStatus| it.shut.is_none() && it.live.is_some_and(is_up);
        let at = ways.iter().position(passes).unwrap_or_default();
        let way = (at < ways.len()).then(|| ways.swap_remove(at));
        Ok(Reach { is_enabled, instance: Some(first), way })
    }
}

fn is_up(live: Connection) -> bool {
    live == Connection::Connected
}

/// As it can be sent to, and one name for all forms of it. `whatsapp:` is how Twilio's callers
/// write numbers, and theirs are whole: one that could be a national one as well is not.
fn recipient(to: &str, instance: &WabaInstance) -> Result<(String, String), String> {
    let to = to.trim();
    let to = to.strip_prefix("whatsapp:").unwrap_or(to).trim();
    let found = address(to, instance).map(|it| (to.to_owned(), it));
    let (to, address) = found
        .or_else(|error| {
            let whole = format!("+{to}");
            address(&whole, instance).map(|it| (whole, it)).map_err(|_| error)
        })
        .map_err(|it| it.to_string())?;
    let name = name(&address);
    Ok((to, name))
}

fn name(address: &Address) -> String {
    let phone = address.phone.as_ref().map(PhoneNumber::alias);
    phone.unwrap_or_else(|| address.aliases().concat())
}

/// As the predecessor cut it.
fn cut(text: &str) -> String {
    if text.chars().count() <= TEXT_CHARS_MAX {
        return text.to_owned();
    }
    let cut: String = text.chars().take(CUT_CHARS).collect();
    cut + "..."
}

/// One recipient's part of an alert's key: a list that is given again with others in it is sent to
/// those alone.
fn own_key(key: &str, name: &str) -> String {
    let mut hash = Sha256::new();
    hash.update(key);
    hash.update([0]);
    hash.update(name);
    format!("alert:{}", hex::encode(hash.finalize()))
}

/// What is told of each, unless there is something to tell of all of them.
fn told(
    sent: Vec<Result<super::Queued, SendError>>,
) -> Result<Vec<Result<EntryId, String>>, SendError> {
    let has_one = sent.iter().any(Result::is_ok);
    let mut told = Vec::with_capacity(sent.len());
    for result in sent {
        let why = match result {
            Ok(queued) => {
                told.push(Ok(queued.id));
                continue;
            }
            Err(SendError::Admin(AdminError::Invalid(why))) => why,
            Err(error) if !has_one => return Err(error),
            Err(error @ SendError::Admin(AdminError::Store(_) | AdminError::Journal(_))) => {
                tracing::error!(error = %Chain(&error), "an alert was not kept for one of its recipients");
                "temporarily unavailable; nothing was kept".to_owned()
            }
            Err(error) => error.to_string(),
        };
        // The field has another name here.
        let why = why.strip_prefix("text: ").map(|it| format!("message: {it}")).unwrap_or(why);
        told.push(Err(why));
    }
    Ok(told)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_alert_is_cut_between_characters() {
        let long = "é".repeat(TEXT_CHARS_MAX + 1);
        assert_eq!(cut(&long), "é".repeat(CUT_CHARS) + "...");
        assert_eq!(cut(&long).chars().count(), TEXT_CHARS_MAX);
        let fits = "é".repeat(TEXT_CHARS_MAX);
        assert_eq!(cut(&fits), fits);
    }
}
