//! An instance's accounts at the other providers, as they are stored.

use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize, Serializer};

use crate::domain::{
    phone::PhoneNumber,
    secret::SecretString,
    waba::{MetaAccount, TwilioAccount, UnipileAccount},
};

/// A secret in clear; what it is in is sealed as a whole.
#[expect(clippy::ref_option, reason = "serde passes references")]
fn clear<S: Serializer>(it: &Option<SecretString>, to: S) -> Result<S::Ok, S::Error> {
    it.as_ref().map(ExposeSecret::expose_secret).serialize(to)
}

/// A number at Meta.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct MetaDocument {
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
pub(super) struct UnipileDocument {
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
pub(super) struct TwilioDocument {
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
    type Of;

    /// Of this account.
    fn of(account: &Self::Of) -> Self;

    /// The account.
    fn account(self) -> Self::Of;
}

impl Account for MetaDocument {
    type Of = MetaAccount;

    fn of(account: &MetaAccount) -> Self {
        // Taken apart, so that a field that is added is not forgotten here.
        let MetaAccount {
            phone_number_id,
            waba_id,
            access_token,
            app_secret,
            verify_token,
            phone_number,
        } = account.clone();
        Self { phone_number_id, waba_id, access_token, app_secret, verify_token, phone_number }
    }

    fn account(self) -> MetaAccount {
        let Self { phone_number_id, waba_id, access_token, app_secret, verify_token, phone_number } =
            self;
        MetaAccount {
            phone_number_id,
            waba_id,
            access_token,
            app_secret,
            verify_token,
            phone_number,
        }
    }
}

impl Account for UnipileDocument {
    type Of = UnipileAccount;

    fn of(account: &UnipileAccount) -> Self {
        let UnipileAccount { account_id, api_key, dsn, webhook_secret, phone_number } =
            account.clone();
        Self { account_id, api_key, dsn, webhook_secret, phone_number }
    }

    fn account(self) -> UnipileAccount {
        let Self { account_id, api_key, dsn, webhook_secret, phone_number } = self;
        UnipileAccount { account_id, api_key, dsn, webhook_secret, phone_number }
    }
}

impl Account for TwilioDocument {
    type Of = TwilioAccount;

    fn of(account: &TwilioAccount) -> Self {
        let TwilioAccount { account_sid, auth_token, from, messaging_service_sid } =
            account.clone();
        Self { account_sid, auth_token, from, messaging_service_sid }
    }

    fn account(self) -> TwilioAccount {
        let Self { account_sid, auth_token, from, messaging_service_sid } = self;
        TwilioAccount { account_sid, auth_token, from, messaging_service_sid }
    }
}
