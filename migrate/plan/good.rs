//! What a row without faults makes of what is stored.

use waba_gateway::{
    domain::{
        clock::Millis,
        id::{InstanceId, VendorId},
        phone::PhoneNumber,
        route::ProviderKind,
        secret::{ExposeSecret, SecretString, same},
        vendor::{Dialect, ResponderConfig, ResponseApi, Vendor, VendorStatus},
        waba::{OLD_SECRET_LASTS, WabaInstance},
    },
    gateway::{AccountsChange, MetaChange, NewInstance, signing_secret},
};

use super::{
    super::table::{API_KEY, Fault, META_ID, MetaRow, Row, Table, WASENDER_ID, WEBHOOK_SECRET},
    Action, Change, Known,
};

/// A vendor's responder, in files of other systems.
pub const CHATBOT_ID: &str = "chatbot_id";
/// Where a vendor's events go, in files of other systems.
pub const ENDPOINT: &str = "endpoint";
/// Whether a vendor is served, in files of other systems.
pub const STATUS: &str = "status";
/// The business account of a number at Meta, in files of other systems.
pub const META_ACCOUNT_ID: &str = "business_account_id";
/// What sends from a number at Meta.
pub const ACCESS_TOKEN: &str = "access_token";
/// What a number's webhooks are signed with.
pub const APP_SECRET: &str = "app_secret";
/// What the handshake of a number's callback names.
pub const VERIFY_TOKEN: &str = "verify_token";

/// A row without faults.
pub(super) struct Good {
    table: &'static Table,
    vendor: VendorId,
    /// A row of another system may have none.
    business_name: Option<String>,
    phone_number: PhoneNumber,
    account: Account,
}

/// Where the number is.
enum Account {
    Wasender { id: String, secret: SecretString, api_key: Option<SecretString> },
    Meta(Box<MetaRow>),
}

impl Good {
    pub(super) fn of(mut row: Row, taken: Vec<Fault>) -> Result<Self, Vec<Fault>> {
        row.faults.extend(taken);
        let account = match (row.meta, row.wasender_id, row.secret) {
            (Some(it), _, _) => Some(Account::Meta(it)),
            (None, Some(id), Some(secret)) if row.business_name.is_some() => {
                Some(Account::Wasender { id, secret, api_key: row.api_key })
            }
            _ => None,
        };
        match (row.vendor, row.phone_number, account) {
            (Some(vendor), Some(phone_number), Some(account)) if row.faults.is_empty() => {
                let (table, business_name) = (row.table, row.business_name);
                Ok(Self { table, vendor, business_name, phone_number, account })
            }
            _ => Err(row.faults),
        }
    }

    /// What is done about it, and what is to be kept for that; `fresh` is the id of an instance
    /// that it makes.
    pub(super) fn decide(
        self,
        known: Known,
        fresh: InstanceId,
        now: Millis,
    ) -> Result<(Action, Change), Fault> {
        let mut change = Change::default();
        let mut changed = Vec::new();
        let is_new = known.vendor.is_none();
        let mut vendor = known.vendor.unwrap_or_else(|| self.new_vendor(now));
        if is_new {
            changed.push(self.table.business_name);
        }
        changed.extend(self.update_vendor(&mut vendor));
        if !changed.is_empty() {
            vendor.updated_at = now;
            change.vendor = Some(vendor);
        }
        let Some(mut instance) = known.instance else {
            let is_beside = matches!(self.account, Account::Meta(_)) && !is_new;
            change.instance = Some(self.instance(fresh, now)?);
            return Ok((if is_beside { Action::Added } else { Action::Created }, change));
        };
        let differing = self.update(&mut instance, now)?;
        if !differing.is_empty() {
            instance.updated_at = now;
            change.instance = Some(instance);
        }
        changed.extend(differing);
        let action = if changed.is_empty() { Action::Unchanged } else { Action::Updated(changed) };
        Ok((action, change))
    }

    fn new_vendor(&self, now: Millis) -> Vendor {
        let name = self.business_name.clone().unwrap_or_else(|| self.vendor.to_string());
        let mut vendor = Vendor::new(self.vendor.clone(), name, signing_secret(), now);
        if let Account::Meta(meta) = &self.account {
            vendor.auto_reply = !meta.is_answered_elsewhere;
        }
        vendor
    }

    /// Brings the vendor to what the row says. The columns that differed.
    fn update_vendor(&self, vendor: &mut Vendor) -> Vec<&'static str> {
        let mut changed = Vec::new();
        if let Some(name) = self.business_name.as_ref().filter(|it| **it != vendor.business_name) {
            vendor.business_name.clone_from(name);
            changed.push(self.table.business_name);
        }
        let Account::Meta(meta) = &self.account else { return changed };
        // A suspension is the operator's.
        let may_change = vendor.status != VendorStatus::Suspended;
        if let Some(status) = meta.status.filter(|it| may_change && *it != vendor.status) {
            vendor.status = status;
            changed.push(STATUS);
        }
        if meta.forward_url.is_some() && meta.forward_url != vendor.forward_url {
            vendor.forward_url.clone_from(&meta.forward_url);
            changed.push(ENDPOINT);
        }
        if let Some(api) = &meta.responder
            && put_responder(&mut vendor.responders, api)
        {
            changed.push(CHATBOT_ID);
        }
        changed
    }

    fn instance(self, id: InstanceId, now: Millis) -> Result<WabaInstance, Fault> {
        let mut new = NewInstance::at(self.phone_number.clone());
        if let Account::Wasender { id, secret, api_key } = &self.account {
            new.wasender_instance_id = Some(id.clone());
            new.webhook_secret = Some(secret.clone());
            new.session_key.clone_from(api_key);
        }
        let mut instance = new.instance(id, self.vendor.clone(), now);
        if let Account::Meta(_) = self.account {
            instance.provider = ProviderKind::Meta;
            self.update(&mut instance, now)?;
        }
        Ok(instance)
    }

    /// Brings the instance to what the row says. The columns that differed.
    fn update(self, instance: &mut WabaInstance, now: Millis) -> Result<Vec<&'static str>, Fault> {
        let number = self.table.phone_number;
        let (id, secret, api_key) = match self.account {
            Account::Meta(meta) => return update_meta(instance, *meta, self.phone_number, number),
            Account::Wasender { id, secret, api_key } => (id, secret, api_key),
        };
        let mut changed = Vec::new();
        if instance.phone_number != self.phone_number {
            instance.phone_number = self.phone_number;
            changed.push(number);
        }
        let account = &mut instance.wasender;
        if account.instance_id.as_ref() != Some(&id) {
            account.instance_id = Some(id);
            changed.push(WASENDER_ID);
        }
        if account.adopt_secret(secret, now + OLD_SECRET_LASTS) {
            changed.push(WEBHOOK_SECRET);
        }
        let known = account.session_key.as_ref();
        let key = api_key.filter(|key| known.is_none_or(|it| !is_same(it, key)));
        if key.is_some() {
            account.session_key = key;
            changed.push(API_KEY);
        }
        Ok(changed)
    }
}

/// As the administration would change it.
fn update_meta(
    instance: &mut WabaInstance,
    meta: MetaRow,
    number: PhoneNumber,
    number_column: &'static str,
) -> Result<Vec<&'static str>, Fault> {
    let known = instance.meta.as_deref().cloned().unwrap_or_default();
    let mut changed = Vec::new();
    let present = instance.number_at(ProviderKind::Meta).unwrap_or(&instance.phone_number);
    let other_number = (present.alias() != number.alias()).then(|| number.expose());
    if other_number.is_some() {
        changed.push(number_column);
        if instance.provider == ProviderKind::Meta {
            instance.phone_number = number;
        }
    }
    let account = meta.account;
    if account.phone_number_id != known.phone_number_id {
        changed.push(META_ID);
    }
    let waba_id = account.waba_id.filter(|it| known.waba_id.as_ref() != Some(it));
    if waba_id.is_some() {
        changed.push(META_ACCOUNT_ID);
    }
    let mut other = |column, new: Option<SecretString>, known: Option<&SecretString>| {
        let new = new.filter(|new| known.is_none_or(|it| !is_same(it, new)));
        changed.extend(new.as_ref().map(|_| column));
        new
    };
    let change = MetaChange {
        phone_number_id: Some(account.phone_number_id),
        waba_id,
        access_token: other(ACCESS_TOKEN, account.access_token, known.access_token.as_ref()),
        app_secret: other(APP_SECRET, account.app_secret, known.app_secret.as_ref()),
        verify_token: other(VERIFY_TOKEN, account.verify_token, known.verify_token.as_ref()),
        phone_number: other_number,
    };
    if !changed.is_empty() {
        apply(instance, change)?;
    }
    Ok(changed)
}

/// What is wrong with a part of an account at Meta, by the administration's rules.
pub fn check_meta(column: &'static str, change: MetaChange) -> Result<(), Fault> {
    // Any number and any id: what is asked about is the rest.
    let number = PhoneNumber::from_wire("10000000").expect("the constant is a number");
    let vendor = VendorId::parse("any").expect("the constant is an id");
    let mut instance = NewInstance::at(number).instance(InstanceId::nth(&vendor, 1), vendor, 0);
    let id = change.phone_number_id.or_else(|| Some("1".to_owned()));
    apply(&mut instance, MetaChange { phone_number_id: id, ..change }).map_err(|it| match it {
        Fault::Bad { why, .. } => Fault::Bad { column, why },
        it => it,
    })
}

fn apply(instance: &mut WabaInstance, change: MetaChange) -> Result<(), Fault> {
    let change = AccountsChange { meta: Some(Some(change)), ..AccountsChange::default() };
    change.apply(instance).map_err(|it| Fault::Bad { column: META_ID, why: it.why })
}

/// Puts the responder of a chatbot in the place of the one that there is of it, else last: what was
/// chosen here goes first. Whether that changed anything.
fn put_responder(responders: &mut Vec<ResponderConfig>, api: &ResponseApi) -> bool {
    let known = responders.iter_mut().find_map(|it| match it {
        ResponderConfig::ResponseApi(it) if chatbot(it).0 == chatbot(api).0 => Some(it),
        _ => None,
    });
    let Some(known) = known else {
        responders.push(ResponderConfig::ResponseApi(api.clone()));
        return true;
    };
    let is_known = |new: &SecretString| chatbot(known).1.is_some_and(|it| is_same(it, new));
    let has_new_key = chatbot(api).1.is_some_and(|it| !is_known(it));
    if known.url == api.url && !has_new_key {
        return false;
    }
    known.url.clone_from(&api.url);
    if has_new_key {
        known.dialect = api.dialect.clone();
    }
    true
}

/// The chatbot of a responder, and the key of its client.
fn chatbot(api: &ResponseApi) -> (Option<&str>, Option<&SecretString>) {
    match &api.dialect {
        Dialect::Bot => (None, None),
        Dialect::Conversation { chatbot_id, web_id } => (Some(chatbot_id), web_id.as_ref()),
    }
}

pub(super) fn is_same(left: &SecretString, right: &SecretString) -> bool {
    same(left.expose_secret().as_bytes(), right.expose_secret().as_bytes())
}
