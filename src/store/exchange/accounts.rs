//! An instance's accounts at the other providers, of a document.

use serde::{Deserialize, Serialize};

use super::{present, shown_or_null};
use crate::domain::{
    account::{
        MetaAccount, MetaChange, TwilioAccount, TwilioChange, UnipileAccount, UnipileChange,
    },
    phone::PhoneNumber,
    secret::SecretString,
};

/// A number at Meta.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub(super) struct MetaExchange {
    #[serde(skip_serializing_if = "Option::is_none")]
    phone_number_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    waba_id: Option<Option<String>>,
    #[serde(
        skip_serializing_if = "Option::is_none",
        deserialize_with = "present",
        serialize_with = "shown_or_null"
    )]
    access_token: Option<Option<SecretString>>,
    #[serde(
        skip_serializing_if = "Option::is_none",
        deserialize_with = "present",
        serialize_with = "shown_or_null"
    )]
    app_secret: Option<Option<SecretString>>,
    #[serde(
        skip_serializing_if = "Option::is_none",
        deserialize_with = "present",
        serialize_with = "shown_or_null"
    )]
    verify_token: Option<Option<SecretString>>,
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    phone_number: Option<Option<String>>,
}

/// A number that Unipile is linked to.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub(super) struct UnipileExchange {
    #[serde(skip_serializing_if = "Option::is_none")]
    account_id: Option<String>,
    #[serde(
        skip_serializing_if = "Option::is_none",
        deserialize_with = "present",
        serialize_with = "shown_or_null"
    )]
    api_key: Option<Option<SecretString>>,
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    dsn: Option<Option<String>>,
    #[serde(
        skip_serializing_if = "Option::is_none",
        deserialize_with = "present",
        serialize_with = "shown_or_null"
    )]
    webhook_secret: Option<Option<SecretString>>,
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    phone_number: Option<Option<String>>,
}

/// A sender at Twilio.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub(super) struct TwilioExchange {
    #[serde(skip_serializing_if = "Option::is_none")]
    account_sid: Option<String>,
    #[serde(
        skip_serializing_if = "Option::is_none",
        deserialize_with = "present",
        serialize_with = "shown_or_null"
    )]
    auth_token: Option<Option<SecretString>>,
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    from: Option<Option<String>>,
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    messaging_service_sid: Option<Option<String>>,
}

/// An account of a document: what is absent stays, null takes away.
pub(super) trait Account {
    /// What it is an account of.
    type Of;
    /// How the administration changes such a one.
    type Change;

    /// This account; secrets are left out where they are not wanted.
    fn of(account: &Self::Of, with_secrets: bool) -> Self;

    /// Takes away what is null; the rest is the change.
    fn change(self, known: Option<&mut Self::Of>) -> Self::Change;
}

impl Account for MetaExchange {
    type Of = MetaAccount;
    type Change = MetaChange;

    fn of(account: &MetaAccount, with_secrets: bool) -> Self {
        // Taken apart, so that a field that is added is not forgotten here.
        let MetaAccount {
            phone_number_id,
            waba_id,
            access_token,
            app_secret,
            verify_token,
            phone_number,
        } = account.clone();
        Self {
            phone_number_id: Some(phone_number_id),
            waba_id: Some(waba_id),
            access_token: with_secrets.then_some(access_token),
            app_secret: with_secrets.then_some(app_secret),
            verify_token: with_secrets.then_some(verify_token),
            phone_number: Some(phone_number.as_ref().map(PhoneNumber::expose)),
        }
    }

    fn change(self, known: Option<&mut MetaAccount>) -> MetaChange {
        if let Some(it) = known {
            clear(&mut it.waba_id, self.waba_id.as_ref());
            clear(&mut it.access_token, self.access_token.as_ref());
            clear(&mut it.app_secret, self.app_secret.as_ref());
            clear(&mut it.verify_token, self.verify_token.as_ref());
            clear(&mut it.phone_number, self.phone_number.as_ref());
        }
        MetaChange {
            phone_number_id: self.phone_number_id,
            waba_id: self.waba_id.flatten(),
            access_token: self.access_token.flatten(),
            app_secret: self.app_secret.flatten(),
            verify_token: self.verify_token.flatten(),
            phone_number: self.phone_number.flatten(),
        }
    }
}

impl Account for UnipileExchange {
    type Of = UnipileAccount;
    type Change = UnipileChange;

    fn of(account: &UnipileAccount, with_secrets: bool) -> Self {
        let UnipileAccount { account_id, api_key, dsn, webhook_secret, phone_number } =
            account.clone();
        Self {
            account_id: Some(account_id),
            api_key: with_secrets.then_some(api_key),
            dsn: Some(dsn),
            webhook_secret: with_secrets.then_some(webhook_secret),
            phone_number: Some(phone_number.as_ref().map(PhoneNumber::expose)),
        }
    }

    fn change(self, known: Option<&mut UnipileAccount>) -> UnipileChange {
        if let Some(it) = known {
            clear(&mut it.api_key, self.api_key.as_ref());
            clear(&mut it.dsn, self.dsn.as_ref());
            clear(&mut it.webhook_secret, self.webhook_secret.as_ref());
            clear(&mut it.phone_number, self.phone_number.as_ref());
        }
        UnipileChange {
            account_id: self.account_id,
            api_key: self.api_key.flatten(),
            dsn: self.dsn.flatten(),
            webhook_secret: self.webhook_secret.flatten(),
            phone_number: self.phone_number.flatten(),
        }
    }
}

impl Account for TwilioExchange {
    type Of = TwilioAccount;
    type Change = TwilioChange;

    fn of(account: &TwilioAccount, with_secrets: bool) -> Self {
        let TwilioAccount { account_sid, auth_token, from, messaging_service_sid } =
            account.clone();
        Self {
            account_sid: Some(account_sid),
            auth_token: with_secrets.then_some(auth_token),
            from: Some(from.as_ref().map(PhoneNumber::expose)),
            messaging_service_sid: Some(messaging_service_sid),
        }
    }

    fn change(self, known: Option<&mut TwilioAccount>) -> TwilioChange {
        if let Some(it) = known {
            clear(&mut it.auth_token, self.auth_token.as_ref());
            clear(&mut it.from, self.from.as_ref());
            clear(&mut it.messaging_service_sid, self.messaging_service_sid.as_ref());
        }
        TwilioChange {
            account_sid: self.account_sid,
            auth_token: self.auth_token.flatten(),
            from: self.from.flatten(),
            messaging_service_sid: self.messaging_service_sid.flatten(),
        }
    }
}

fn clear<T, U>(known: &mut Option<T>, new: Option<&Option<U>>) {
    if matches!(new, Some(None)) {
        *known = None;
    }
}
