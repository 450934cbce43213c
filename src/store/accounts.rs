//! An instance's accounts at the other providers, as they are stored and exchanged.

use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize, Serializer};

use crate::domain::{
    phone::PhoneNumber,
    secret::SecretString,
    waba::{MetaAccount, TwilioAccount, UnipileAccount},
};

/// A secret in clear; what it is in is sealed as a whole, or was asked for with its secrets.
#[expect(clippy::ref_option, reason = "serde passes references")]
fn clear<S: Serializer>(it: &Option<SecretString>, to: S) -> Result<S::Ok, S::Error> {
    it.as_ref().map(ExposeSecret::expose_secret).serialize(to)
}

/// A number at Meta.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MetaDocument {
    phone_number_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    waba_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "clear")]
    access_token: Option<SecretString>,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "clear")]
    app_secret: Option<SecretString>,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "clear")]
    verify_token: Option<SecretString>,
    #[serde(skip_serializing_if = "Option::is_none")]
    phone_number: Option<PhoneNumber>,
}

/// A number that Unipile is linked to.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct UnipileDocument {
    account_id: String,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "clear")]
    api_key: Option<SecretString>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dsn: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "clear")]
    webhook_secret: Option<SecretString>,
    #[serde(skip_serializing_if = "Option::is_none")]
    phone_number: Option<PhoneNumber>,
}

/// A sender at Twilio.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TwilioDocument {
    account_sid: String,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "clear")]
    auth_token: Option<SecretString>,
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<PhoneNumber>,
    #[serde(skip_serializing_if = "Option::is_none")]
    messaging_service_sid: Option<String>,
}

/// A document of an account, and back.
pub(super) trait Account: Sized {
    /// What it is a document of.
    type Of: Clone;

    /// Of this account; without its secrets where these are not wanted.
    fn of(account: &Self::Of, with_secrets: bool) -> Self;

    /// The account. A secret that is not in it is that of the known one.
    fn account(self, known: Option<&Self::Of>) -> Self::Of;
}

impl Account for MetaDocument {
    type Of = MetaAccount;

    fn of(account: &MetaAccount, with_secrets: bool) -> Self {
        let secret = |it: &Option<SecretString>| it.clone().filter(|_| with_secrets);
        // Taken apart, so that a field that is added is not forgotten here.
        let MetaAccount {
            phone_number_id,
            waba_id,
            access_token,
            app_secret,
            verify_token,
            phone_number,
        } = account;
        Self {
            phone_number_id: phone_number_id.clone(),
            waba_id: waba_id.clone(),
            access_token: secret(access_token),
            app_secret: secret(app_secret),
            verify_token: secret(verify_token),
            phone_number: phone_number.clone(),
        }
    }

    fn account(self, known: Option<&MetaAccount>) -> MetaAccount {
        let known =
            |it: fn(&MetaAccount) -> &Option<SecretString>| known.and_then(|of| it(of).clone());
        MetaAccount {
            phone_number_id: self.phone_number_id,
            waba_id: self.waba_id,
            access_token: self.access_token.or_else(|| known(|it| &it.access_token)),
            app_secret: self.app_secret.or_else(|| known(|it| &it.app_secret)),
            verify_token: self.verify_token.or_else(|| known(|it| &it.verify_token)),
            phone_number: self.phone_number,
        }
    }
}

impl Account for UnipileDocument {
    type Of = UnipileAccount;

    fn of(account: &UnipileAccount, with_secrets: bool) -> Self {
        let secret = |it: &Option<SecretString>| it.clone().filter(|_| with_secrets);
        let UnipileAccount { account_id, api_key, dsn, webhook_secret, phone_number } = account;
        Self {
            account_id: account_id.clone(),
            api_key: secret(api_key),
            dsn: dsn.clone(),
            webhook_secret: secret(webhook_secret),
            phone_number: phone_number.clone(),
        }
    }

    fn account(self, known: Option<&UnipileAccount>) -> UnipileAccount {
        UnipileAccount {
            account_id: self.account_id,
            api_key: self.api_key.or_else(|| known?.api_key.clone()),
            dsn: self.dsn,
            webhook_secret: self.webhook_secret.or_else(|| known?.webhook_secret.clone()),
            phone_number: self.phone_number,
        }
    }
}

impl Account for TwilioDocument {
    type Of = TwilioAccount;

    fn of(account: &TwilioAccount, with_secrets: bool) -> Self {
        let TwilioAccount { account_sid, auth_token, from, messaging_service_sid } = account;
        Self {
            account_sid: account_sid.clone(),
            auth_token: auth_token.clone().filter(|_| with_secrets),
            from: from.clone(),
            messaging_service_sid: messaging_service_sid.clone(),
        }
    }

    fn account(self, known: Option<&TwilioAccount>) -> TwilioAccount {
        TwilioAccount {
            account_sid: self.account_sid,
            auth_token: self.auth_token.or_else(|| known?.auth_token.clone()),
            from: self.from,
            messaging_service_sid: self.messaging_service_sid,
        }
    }
}

/// The document of an account that there may be.
pub(super) fn document<D: Account>(account: Option<&D::Of>, with_secrets: bool) -> Option<D> {
    account.map(|it| D::of(it, with_secrets))
}
