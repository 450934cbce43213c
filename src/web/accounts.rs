//! An instance's accounts at Meta, Unipile and Twilio, as admins write and see them.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::instances::IdBody;
use crate::{
    domain::{
        phone::PhoneNumber,
        route::{ProviderKind, Routes},
        secret::{SecretString, masked},
        waba::{MetaAccount, TwilioAccount, UnipileAccount},
    },
    gateway::{AdminError, MetaChange, TwilioChange, UnipileChange},
};

/// A number at Meta's Cloud API. What is absent stays as it is.
#[derive(Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct MetaBody {
    /// The number's id, not the number.
    #[schema(value_type = Option<String>, example = "106540352242922")]
    phone_number_id: Option<IdBody>,
    /// The id of its WhatsApp business account; set-up needs it.
    #[schema(value_type = Option<String>, example = "102290129340398")]
    waba_id: Option<IdBody>,
    /// What sends from it: a system user's token.
    #[schema(value_type = Option<String>, format = Password, write_only)]
    access_token: Option<SecretString>,
    /// What its app's webhooks are signed with.
    #[schema(value_type = Option<String>, format = Password, write_only)]
    app_secret: Option<SecretString>,
    /// What the handshake of its callback names; set-up makes one.
    #[schema(value_type = Option<String>, format = Password, write_only)]
    verify_token: Option<SecretString>,
    /// Where it is another number than `phoneNumber`.
    phone_number: Option<String>,
}

/// A number that Unipile is linked to. What is absent stays as it is.
#[derive(Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct UnipileBody {
    /// The account's id.
    account_id: Option<String>,
    /// What asks and sends.
    #[schema(value_type = Option<String>, format = Password, write_only)]
    api_key: Option<SecretString>,
    /// The base of its API, as Unipile shows it; `UNIPILE_API_URL` without it.
    #[schema(example = "https://api1.unipile.com:13111/api/v1")]
    dsn: Option<String>,
    /// What its webhooks carry; set-up makes one.
    #[schema(value_type = Option<String>, format = Password, write_only)]
    webhook_secret: Option<SecretString>,
    /// Where it is another number than `phoneNumber`.
    phone_number: Option<String>,
}

/// A sender at Twilio. What is absent stays as it is.
#[derive(Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct TwilioBody {
    /// The account's id, `AC…`.
    account_sid: Option<String>,
    /// What asks, sends, and signs its webhooks.
    #[schema(value_type = Option<String>, format = Password, write_only)]
    auth_token: Option<SecretString>,
    /// Where it is another number than `phoneNumber`; `whatsapp:` may stand in front.
    #[schema(example = "whatsapp:+14155238886")]
    from: Option<String>,
    /// The service that chooses the sender, `MG…`.
    messaging_service_sid: Option<String>,
}

impl MetaBody {
    pub(super) fn change(self) -> MetaChange {
        MetaChange {
            phone_number_id: self.phone_number_id.and_then(IdBody::text),
            waba_id: self.waba_id.and_then(IdBody::text),
            access_token: self.access_token,
            app_secret: self.app_secret,
            verify_token: self.verify_token,
            phone_number: self.phone_number,
        }
    }
}

impl UnipileBody {
    pub(super) fn change(self) -> UnipileChange {
        UnipileChange {
            account_id: self.account_id,
            api_key: self.api_key,
            dsn: self.dsn,
            webhook_secret: self.webhook_secret,
            phone_number: self.phone_number,
        }
    }
}

impl TwilioBody {
    pub(super) fn change(self) -> TwilioChange {
        TwilioChange {
            account_sid: self.account_sid,
            auth_token: self.auth_token,
            from: self.from,
            messaging_service_sid: self.messaging_service_sid,
        }
    }
}

/// The provider of this name.
pub(super) fn provider(field: &str, word: &str) -> Result<ProviderKind, AdminError> {
    ProviderKind::parse(word).ok_or_else(|| {
        AdminError::Invalid(format!("{field} is one of wasender, meta, unipile, twilio"))
    })
}

/// The providers of these names, in order.
pub(super) fn failover(words: &[String]) -> Result<Routes, AdminError> {
    words.iter().map(|it| provider("failover", it)).collect()
}

/// A number at Meta, its secrets by their tails.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct MetaView {
    phone_number_id: String,
    waba_id: Option<String>,
    access_token: Option<String>,
    app_secret: Option<String>,
    verify_token: Option<String>,
    phone_number: Option<String>,
}

/// A number at Unipile, its secrets by their tails.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct UnipileView {
    account_id: String,
    api_key: Option<String>,
    dsn: Option<String>,
    webhook_secret: Option<String>,
    phone_number: Option<String>,
}

/// A sender at Twilio, its secrets by their tails.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct TwilioView {
    account_sid: String,
    auth_token: Option<String>,
    from: Option<String>,
    messaging_service_sid: Option<String>,
}

impl From<&MetaAccount> for MetaView {
    fn from(it: &MetaAccount) -> Self {
        Self {
            phone_number_id: it.phone_number_id.clone(),
            waba_id: it.waba_id.clone(),
            access_token: it.access_token.as_ref().map(masked),
            app_secret: it.app_secret.as_ref().map(masked),
            verify_token: it.verify_token.as_ref().map(masked),
            phone_number: it.phone_number.as_ref().map(PhoneNumber::expose),
        }
    }
}

impl From<&UnipileAccount> for UnipileView {
    fn from(it: &UnipileAccount) -> Self {
        Self {
            account_id: it.account_id.clone(),
            api_key: it.api_key.as_ref().map(masked),
            dsn: it.dsn.clone(),
            webhook_secret: it.webhook_secret.as_ref().map(masked),
            phone_number: it.phone_number.as_ref().map(PhoneNumber::expose),
        }
    }
}

impl From<&TwilioAccount> for TwilioView {
    fn from(it: &TwilioAccount) -> Self {
        Self {
            account_sid: it.account_sid.clone(),
            auth_token: it.auth_token.as_ref().map(masked),
            from: it.from.as_ref().map(PhoneNumber::expose),
            messaging_service_sid: it.messaging_service_sid.clone(),
        }
    }
}
