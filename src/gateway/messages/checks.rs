//! Whether a message can be taken: what would be refused later is refused at once.

use super::{SendError, SendMessage, all_in_template};
use crate::{
    domain::{
        clock::{HOUR, Millis},
        contact::Address,
        id::{EntryId, InstanceId, VendorId},
        message::Content,
        route::ProviderKind,
        waba::WabaInstance,
        window,
    },
    gateway::{AdminError, Gateway},
    journal::Journey,
    provider::Unsendable,
    vendor::VendorService,
};

/// A message may leave so much later.
const SEND_AT_MAX: Millis = 30 * 24 * HOUR;

/// A message that can be taken.
pub(super) struct Taken {
    /// When it is to leave, where that is later.
    pub(super) send_at: Option<Millis>,
    /// In the vendor's fallback template, as far as can be told now.
    pub(super) as_template: bool,
}

impl Gateway {
    /// Whether such a message can be taken now, and how it leaves.
    pub(super) async fn takes(
        &self,
        service: &VendorService,
        instance: &WabaInstance,
        to: &Address,
        content: &Content,
        message: &SendMessage,
    ) -> Result<Taken, SendError> {
        let (vendor, work) = (&service.vendor().id, &self.inner.work);
        let first = first_way(instance, message.provider)?;
        let unsendable = |it: Unsendable| AdminError::Invalid(it.0);
        check_reach(instance, message.provider, to)?;
        service.provider(first).check(content).map_err(unsendable)?;
        Self::check_file(service, instance, content, message.provider)?;
        self.check_reply(vendor, instance, to, content, message.reply_to, first).await?;
        let send_at = later(message.send_at, self.inner.clock.now())?;
        let as_template = match send_at {
            Some(at) => {
                self.check_file_is_kept(vendor, content, at).await?;
                let via = message.provider.unwrap_or(instance.provider);
                all_in_template(service, &instance.id, content, via)
            }
            None => self.check_window(service, instance, to, content, message.provider).await?,
        };
        if !work.admits(vendor) || (send_at.is_some() && !work.admits_later(vendor)) {
            return Err(SendError::Overloaded);
        }
        Ok(Taken { send_at, as_template })
    }

    /// What it quotes or reacts to is a message that the provider knows.
    async fn check_reply(
        &self,
        vendor: &VendorId,
        instance: &WabaInstance,
        to: &Address,
        content: &Content,
        reply_to: Option<EntryId>,
        via: ProviderKind,
    ) -> Result<(), AdminError> {
        let is_reaction = matches!(content, Content::Reaction { .. });
        match reply_to {
            Some(id) => self.check_quoted((vendor, &instance.id, to), (id, is_reaction), via).await,
            None if is_reaction => {
                let why = "replyTo: is missing; it is the message to react to";
                Err(AdminError::Invalid(why.to_owned()))
            }
            None => Ok(()),
        }
    }

    /// Nothing is kept that would be refused for coming too late. Whether it leaves in the vendor's
    /// fallback template.
    async fn check_window(
        &self,
        service: &VendorService,
        instance: &WabaInstance,
        to: &Address,
        content: &Content,
        only: Option<ProviderKind>,
    ) -> Result<bool, AdminError> {
        let via = only.unwrap_or(instance.provider);
        let now = self.inner.clock.now();
        let is_late = |wrote_at| !window::may_send(content, via, wrote_at, now);
        if !is_late(None) {
            return Ok(false);
        }
        let wrote_at = self.inner.journal.wrote_at(&instance.id, to, via).await?;
        if !is_late(wrote_at) {
            return Ok(false);
        }
        if all_in_template(service, &instance.id, content, via) {
            return Ok(true);
        }
        // It goes on to another of its providers when that is how the customer wrote.
        let by = self.inner.journal.wrote_by(&instance.id, to, now).await?.filter(|it| *it != via);
        if only.is_none() && by.is_some_and(|it| instance.ways().contains(it)) {
            return Ok(false);
        }
        let since = match wrote_at {
            Some(_) => "has not written to this number for 24 hours",
            None => "is not known here to have written to this number",
        };
        let template = service.vendor().fallback_template.as_deref();
        let is_bare = template.is_some_and(|it| it.is_one_at(via) && !it.has_place_at(via));
        let more = if is_bare { "; the vendor's fallbackTemplate has no {{text}}" } else { "" };
        Err(AdminError::Invalid(format!(
            "type: the customer {since}, so {via} takes a template alone{more}"
        )))
    }

    /// Wasender and Twilio know what they have sent by a number of their own; what customers wrote
    /// has none there.
    async fn check_quoted(
        &self,
        (vendor, instance, to): (&VendorId, &InstanceId, &Address),
        (quoted, is_reaction): (EntryId, bool),
        via: ProviderKind,
    ) -> Result<(), AdminError> {
        let invalid = |why: &str| Err(AdminError::Invalid(format!("replyTo: {why}")));
        let Some(Journey { row, via: by, .. }) = self.inner.journal.journey(vendor, quoted).await?
        else {
            return invalid("there is no such message");
        };
        let names = to.aliases();
        let to_same = row.address.aliases().iter().any(|it| names.contains(it));
        let knows_inbound = matches!(via, ProviderKind::Meta | ProviderKind::Unipile);
        if row.content.is_none() || row.by_human || (row.is_inbound && !knows_inbound) {
            invalid("only messages sent by this gateway can be quoted")
        } else if row.instance != *instance || !to_same {
            invalid("the message is of another conversation")
        } else if let Some(by) = by.filter(|it| is_reaction && *it != via) {
            // Quoted it would leave all the same, without the quote.
            invalid(&format!("{via} does not know the message, which went through {by}"))
        } else {
            Ok(())
        }
    }
}

/// The provider that it goes through first.
fn first_way(
    instance: &WabaInstance,
    only: Option<ProviderKind>,
) -> Result<ProviderKind, AdminError> {
    match only {
        None => Ok(instance.provider),
        Some(only) if instance.routes().iter().any(|it| it == only) => Ok(only),
        Some(only) => {
            let why = format!("provider: {only} is not one of the number's providers");
            Err(AdminError::Invalid(why))
        }
    }
}

/// Whom no way of a number's reaches is told at once.
pub(in crate::gateway) fn check_reach(
    instance: &WabaInstance,
    only: Option<ProviderKind>,
    to: &Address,
) -> Result<(), AdminError> {
    let reaches = |it: ProviderKind| matches!(it, ProviderKind::Meta | ProviderKind::Twilio);
    let mut ways = instance.routes().iter().filter(|it| only.is_none_or(|only| only == *it));
    if to.phone.is_some() || ways.any(reaches) {
        return Ok(());
    }
    let via = only.unwrap_or(instance.provider);
    Err(AdminError::Invalid(format!("to: {via} needs a phone number")))
}

/// When it leaves, where that is later than now.
fn later(send_at: Option<Millis>, now: Millis) -> Result<Option<Millis>, AdminError> {
    let send_at = send_at.filter(|it| *it > now);
    if send_at.is_some_and(|it| it - now > SEND_AT_MAX) {
        return Err(AdminError::Invalid("sendAt: is at most 30 days ahead".to_owned()));
    }
    Ok(send_at)
}
