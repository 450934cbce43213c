//! An instance's accounts at Meta, Unipile and Twilio in its document: the contract's fields where
//! it has them, ours for the rest.

use firestore::gcloud_sdk::google::firestore::v1::Document;

use super::{Fault, Older, is_same, open, open_ours, place, secret};
use crate::{
    domain::{
        phone::PhoneNumber,
        route::{ProviderKind, Routes},
        secret::{ExposeSecret, SecretString},
        waba::{InstanceKey, MetaAccount, TwilioAccount, UnipileAccount, WabaInstance},
    },
    store::firestore::value::{Edit, get_text, ours, text},
    vault::Vault,
};

pub(super) const META_ID: &str = "metaPhoneNumberId";
pub(super) const META_TOKEN: &str = "metaAccessToken";
/// In the map of ours.
const VERIFY_TOKEN: &str = "metaVerifyToken";
pub(super) const UNIPILE_ID: &str = "unipileInstanceId";
const TWILIO_ID: &str = "twilioAccountSid";
const UNIPILE_KEY: &str = "unipileApiKey";
/// The contract has room for one.
const FAILOVER: &str = "failoverProvider";

fn known(document: &Document, field: &str) -> Option<String> {
    ours(document).and_then(|it| get_text(it, field))
}

fn number(document: &Document, field: &str) -> Option<PhoneNumber> {
    PhoneNumber::from_wire(&known(document, field)?).ok()
}

/// Who carries its messages. `None` is a provider that this version does not know.
pub(in crate::store::firestore) fn provider(document: &Document) -> Option<ProviderKind> {
    match get_text(&document.fields, "provider") {
        Some(word) => ProviderKind::parse(&word),
        None => Some(ProviderKind::Wasender),
    }
}

/// The contract's one is what counts; ours has those after it.
pub(super) fn failover(document: &Document) -> Routes {
    let Some(first) = get_text(&document.fields, FAILOVER).and_then(|it| ProviderKind::parse(&it))
    else {
        return Routes::default();
    };
    let all = known(document, "failover").unwrap_or_default();
    let all: Routes = all.split(',').filter_map(ProviderKind::parse).collect();
    if all.iter().next() == Some(first) { all } else { Routes::only(first) }
}

/// What it is found by at these providers, and the numbers it has there. A number that is left of an
/// account is nobody's; at Meta the configuration may have the rest of it.
pub(super) fn keys(document: &Document) -> impl Iterator<Item = InstanceKey> {
    let meta = get_text(&document.fields, META_ID);
    let unipile = get_text(&document.fields, UNIPILE_ID);
    let is_at_meta = meta.is_some() || provider(document) == Some(ProviderKind::Meta);
    let numbers = [
        (is_at_meta, "metaPhoneNumber"),
        (unipile.is_some(), "unipilePhoneNumber"),
        (known(document, TWILIO_ID).is_some(), "twilioFrom"),
    ];
    let phones = numbers.into_iter().filter_map(|(has, it)| number(document, it).filter(|_| has));
    let ids = meta.map(InstanceKey::Meta).into_iter().chain(unipile.map(InstanceKey::Unipile));
    phones.map(|it| InstanceKey::Phone(it.alias())).chain(ids)
}

/// Whether it has a verify token of its own.
pub(super) fn has_verify_token(document: &Document) -> bool {
    ours(document).is_some_and(|it| get_text(it, VERIFY_TOKEN).is_some())
}

pub(super) fn meta(
    vault: &Vault,
    document: &Document,
    older: &Older,
) -> Result<Option<Box<MetaAccount>>, Fault> {
    let older = Some(older).filter(|_| provider(document) == Some(ProviderKind::Meta));
    let id = get_text(&document.fields, META_ID);
    let Some(id) = id.or_else(|| older?.meta_id.clone()) else { return Ok(None) };
    let token = open(vault, document, META_TOKEN)?;
    let verify_token = open_ours(vault, document, VERIFY_TOKEN)?;
    Ok(Some(Box::new(MetaAccount {
        phone_number_id: id,
        waba_id: known(document, "metaWabaId"),
        access_token: token.or_else(|| older?.meta_token.clone()).map(SecretString::from),
        app_secret: open_ours(vault, document, "metaAppSecret")?.map(SecretString::from),
        verify_token: verify_token
            .or_else(|| older?.meta_verify_token.clone())
            .map(SecretString::from),
        phone_number: number(document, "metaPhoneNumber"),
    })))
}

pub(super) fn unipile(
    vault: &Vault,
    document: &Document,
) -> Result<Option<Box<UnipileAccount>>, Fault> {
    let Some(id) = get_text(&document.fields, UNIPILE_ID) else { return Ok(None) };
    Ok(Some(Box::new(UnipileAccount {
        account_id: id,
        api_key: open(vault, document, UNIPILE_KEY)?.map(SecretString::from),
        dsn: known(document, "unipileDsn"),
        webhook_secret: open_ours(vault, document, "unipileWebhookSecret")?.map(SecretString::from),
        phone_number: number(document, "unipilePhoneNumber"),
    })))
}

pub(super) fn twilio(
    vault: &Vault,
    document: &Document,
) -> Result<Option<Box<TwilioAccount>>, Fault> {
    let Some(sid) = known(document, TWILIO_ID) else { return Ok(None) };
    Ok(Some(Box::new(TwilioAccount {
        account_sid: sid,
        auth_token: open_ours(vault, document, "twilioAuthToken")?.map(SecretString::from),
        from: number(document, "twilioFrom"),
        messaging_service_sid: known(document, "twilioMessagingServiceSid"),
    })))
}

/// Writes what differs.
pub(super) fn set(
    vault: &Vault,
    edit: &mut Edit,
    was: &Document,
    older: &Older,
    it: &WabaInstance,
) -> Result<(), Fault> {
    if failover(was) != it.failover {
        match it.failover.iter().next() {
            Some(first) => edit.set(FAILOVER, text(first.as_str())),
            None => edit.remove(FAILOVER),
        }
        let words: Vec<&str> = it.failover.iter().map(ProviderKind::as_str).collect();
        edit.set_ours("failover", (words.len() > 1).then(|| text(words.join(","))));
    }
    let mut writer = Writer { vault, edit, was };
    let (before, new) = (meta(vault, was, older)?, it.meta.as_deref());
    let before = before.as_deref();
    let id = |it: &MetaAccount| it.phone_number_id.clone();
    writer.field(META_ID, before.map(id).as_deref(), new.map(id).as_deref());
    writer.secret(META_TOKEN, before, new, |it| it.access_token.as_ref())?;
    writer.ours("metaWabaId", before, new, |it| it.waba_id.clone());
    writer.our_secret("metaAppSecret", before, new, |it| it.app_secret.as_ref())?;
    writer.our_secret(VERIFY_TOKEN, before, new, |it| it.verify_token.as_ref())?;
    let phone = |it: &Option<PhoneNumber>| it.as_ref().map(PhoneNumber::expose);
    writer.ours("metaPhoneNumber", before, new, |it| phone(&it.phone_number));
    let (before, new) = (unipile(vault, was)?, it.unipile.as_deref());
    let before = before.as_deref();
    let id = |it: &UnipileAccount| it.account_id.clone();
    writer.field(UNIPILE_ID, before.map(id).as_deref(), new.map(id).as_deref());
    writer.secret(UNIPILE_KEY, before, new, |it| it.api_key.as_ref())?;
    writer.ours("unipileDsn", before, new, |it| it.dsn.clone());
    writer.our_secret("unipileWebhookSecret", before, new, |it| it.webhook_secret.as_ref())?;
    writer.ours("unipilePhoneNumber", before, new, |it| phone(&it.phone_number));
    let (before, new) = (twilio(vault, was)?, it.twilio.as_deref());
    let before = before.as_deref();
    writer.ours(TWILIO_ID, before, new, |it| Some(it.account_sid.clone()));
    writer.our_secret("twilioAuthToken", before, new, |it| it.auth_token.as_ref())?;
    writer.ours("twilioFrom", before, new, |it| phone(&it.from));
    writer.ours("twilioMessagingServiceSid", before, new, |it| it.messaging_service_sid.clone());
    Ok(())
}

struct Writer<'a> {
    vault: &'a Vault,
    edit: &'a mut Edit,
    was: &'a Document,
}

impl Writer<'_> {
    fn field(&mut self, name: &str, before: Option<&str>, new: Option<&str>) {
        match new {
            new if new == before => {}
            Some(new) => self.edit.set(name, text(new)),
            None => self.edit.remove(name),
        }
    }

    fn ours<A>(
        &mut self,
        name: &str,
        before: Option<&A>,
        new: Option<&A>,
        of: impl Fn(&A) -> Option<String>,
    ) {
        let new = new.and_then(&of);
        if before.and_then(&of) != new {
            self.edit.set_ours(name, new.map(text));
        }
    }

    fn secret<A>(
        &mut self,
        name: &str,
        before: Option<&A>,
        new: Option<&A>,
        of: impl Fn(&A) -> Option<&SecretString>,
    ) -> Result<(), Fault> {
        match self.changed(name, before.and_then(&of), new.and_then(&of))? {
            None => {}
            Some(Some(sealed)) => self.edit.set(name, text(sealed)),
            Some(None) => self.edit.remove(name),
        }
        Ok(())
    }

    fn our_secret<A>(
        &mut self,
        name: &str,
        before: Option<&A>,
        new: Option<&A>,
        of: impl Fn(&A) -> Option<&SecretString>,
    ) -> Result<(), Fault> {
        if let Some(new) = self.changed(name, before.and_then(&of), new.and_then(&of))? {
            self.edit.set_ours(name, new.map(text));
        }
        Ok(())
    }

    /// The secret as it is to be stored, where it is another.
    fn changed(
        &self,
        name: &str,
        before: Option<&SecretString>,
        new: Option<&SecretString>,
    ) -> Result<Option<Option<String>>, Fault> {
        if is_same(before.map(ExposeSecret::expose_secret), new) {
            return Ok(None);
        }
        let seal = |it: &SecretString| {
            secret::seal(self.vault, &place(self.was, name), it.expose_secret())
        };
        new.map(seal).transpose().map(Some)
    }
}
