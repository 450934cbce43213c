//! Vendors and instances as they are stored: JSON, sealed as a whole.

use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};

use super::accounts::{Account, MetaDocument, TwilioDocument, UnipileDocument};
use crate::domain::{
    clock::Millis,
    event::Connection,
    id::{InstanceId, VendorId},
    message::Template,
    phone::PhoneNumber,
    secret::SecretString,
    vendor::{
        BusinessHours, Dialect, OnUnknown, ResponderConfig, ResponseApi, Rule, Vendor, VendorStatus,
    },
    waba::{ProviderKind, Routes, SignatureSchemes, WabaInstance, WasenderAccount, WebhookSecret},
};

#[expect(clippy::struct_excessive_bools, reason = "they are switches, each on its own")]
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct VendorDocument {
    business_name: String,
    status: String,
    auto_reply_enabled: bool,
    welcome_message: Option<String>,
    apology: Option<String>,
    silence_ms: Millis,
    responders: Vec<ResponderDocument>,
    signing_secret: String,
    retries_unknown: bool,
    unknown_deadline_ms: Millis,
    max_answer_age_ms: Option<Millis>,
    intent_ttl_ms: Option<Millis>,
    mark_as_read: bool,
    typing: bool,
    hours: Option<HoursDocument>,
    forward_url: Option<String>,
    fallback_template: Option<Template>,
    created_at: Millis,
    updated_at: Millis,
}

impl Default for VendorDocument {
    fn default() -> Self {
        let id = VendorId::parse("x").expect("a letter is an id");
        Self::of(&Vendor::new(id, String::new(), SecretString::default(), 0))
    }
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase")]
enum ResponderDocument {
    Rules {
        rules: Vec<(String, String)>,
        otherwise: Option<String>,
    },
    ResponseApi {
        url: String,
        headers: Vec<(String, String)>,
        #[serde(default)]
        conversation: Option<ConversationDocument>,
    },
}

/// Dialect *conversation*; absent, it is *bot*.
#[derive(Clone, Serialize, Deserialize)]
struct ConversationDocument {
    chatbot_id: String,
    web_id: Option<String>,
}

#[derive(Clone, Serialize, Deserialize)]
struct HoursDocument {
    time_zone: Option<String>,
    days: [Vec<(u16, u16)>; 7],
    out_of_hours: Vec<ResponderDocument>,
}

impl VendorDocument {
    pub(super) fn of(vendor: &Vendor) -> Self {
        Self {
            business_name: vendor.business_name.clone(),
            status: vendor.status.as_str().to_owned(),
            auto_reply_enabled: vendor.auto_reply,
            welcome_message: vendor.welcome_message.clone(),
            apology: vendor.apology.clone(),
            silence_ms: vendor.silence,
            responders: vendor.responders.iter().map(responder_document).collect(),
            signing_secret: vendor.signing_secret.expose_secret().to_owned(),
            retries_unknown: vendor.on_unknown == OnUnknown::Retry,
            unknown_deadline_ms: vendor.unknown_deadline,
            max_answer_age_ms: vendor.max_answer_age,
            intent_ttl_ms: vendor.intent_ttl,
            mark_as_read: vendor.mark_as_read,
            typing: vendor.typing,
            hours: vendor.hours.as_ref().map(|it| HoursDocument {
                time_zone: it.time_zone.clone(),
                days: it.days.clone(),
                out_of_hours: it.out_of_hours.iter().map(responder_document).collect(),
            }),
            forward_url: vendor.forward_url.clone(),
            fallback_template: vendor.fallback_template.as_deref().cloned(),
            created_at: vendor.created_at,
            updated_at: vendor.updated_at,
        }
    }

    pub(super) fn vendor(self, id: VendorId, paused: bool) -> Vendor {
        Vendor {
            id,
            business_name: self.business_name,
            // An unknown word must not start answering anybody's customers.
            status: VendorStatus::parse(&self.status).unwrap_or(VendorStatus::Suspended),
            auto_reply: self.auto_reply_enabled,
            welcome_message: self.welcome_message,
            apology: self.apology,
            silence: self.silence_ms,
            responders: self.responders.into_iter().map(responder).collect(),
            signing_secret: self.signing_secret.into(),
            on_unknown: if self.retries_unknown { OnUnknown::Retry } else { OnUnknown::GiveUp },
            unknown_deadline: self.unknown_deadline_ms,
            max_answer_age: self.max_answer_age_ms,
            intent_ttl: self.intent_ttl_ms,
            mark_as_read: self.mark_as_read,
            typing: self.typing,
            hours: self.hours.map(|it| BusinessHours {
                time_zone: it.time_zone,
                days: it.days,
                out_of_hours: it.out_of_hours.into_iter().map(responder).collect(),
            }),
            forward_url: self.forward_url,
            fallback_template: self.fallback_template.map(Box::new),
            paused,
            created_at: self.created_at,
            updated_at: self.updated_at,
        }
    }
}

fn responder_document(responder: &ResponderConfig) -> ResponderDocument {
    match responder {
        ResponderConfig::Rules { rules, otherwise } => ResponderDocument::Rules {
            rules: rules.iter().map(|it| (it.contains.clone(), it.reply.clone())).collect(),
            otherwise: otherwise.clone(),
        },
        ResponderConfig::ResponseApi(api) => ResponderDocument::ResponseApi {
            url: api.url.clone(),
            headers: api
                .headers
                .iter()
                .map(|it| (it.0.clone(), it.1.expose_secret().to_owned()))
                .collect(),
            conversation: match &api.dialect {
                Dialect::Bot => None,
                Dialect::Conversation { chatbot_id, web_id } => Some(ConversationDocument {
                    chatbot_id: chatbot_id.clone(),
                    web_id: web_id.as_ref().map(|it| it.expose_secret().to_owned()),
                }),
            },
        },
    }
}

fn responder(document: ResponderDocument) -> ResponderConfig {
    match document {
        ResponderDocument::Rules { rules, otherwise } => ResponderConfig::Rules {
            rules: rules.into_iter().map(|(contains, reply)| Rule { contains, reply }).collect(),
            otherwise,
        },
        ResponderDocument::ResponseApi { url, headers, conversation } => {
            let headers = headers.into_iter().map(|it| (it.0, it.1.into())).collect();
            let dialect = conversation.map_or(Dialect::Bot, |it| Dialect::Conversation {
                chatbot_id: it.chatbot_id,
                web_id: it.web_id.map(SecretString::from),
            });
            ResponderConfig::ResponseApi(ResponseApi { url, headers, dialect })
        }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct InstanceDocument {
    phone_number: PhoneNumber,
    provider: String,
    #[serde(default = "yes")]
    accepts_hmac: bool,
    #[serde(default = "yes")]
    accepts_secret: bool,
    #[serde(default)]
    account_protection: bool,
    #[serde(default)]
    wasender_instance_id: Option<String>,
    #[serde(default)]
    wasender_api_key: Option<String>,
    #[serde(default)]
    webhook_secrets: Vec<SecretDocument>,
    #[serde(default)]
    wasender_token: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    failover: Option<Routes>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    meta: Option<MetaDocument>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    unipile: Option<UnipileDocument>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    twilio: Option<TwilioDocument>,
    created_at: Millis,
    updated_at: Millis,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct SecretDocument {
    secret: String,
    until: Option<Millis>,
    #[serde(default)]
    is_sessions: bool,
}

fn yes() -> bool {
    true
}

impl InstanceDocument {
    pub(super) fn of(instance: &WabaInstance) -> Self {
        let expose = |it: &SecretString| it.expose_secret().to_owned();
        let account = &instance.wasender;
        Self {
            phone_number: instance.phone_number.clone(),
            provider: instance.provider.as_str().to_owned(),
            accepts_hmac: instance.schemes.hmac,
            accepts_secret: instance.schemes.secret,
            account_protection: instance.account_protection,
            wasender_instance_id: account.instance_id.clone(),
            wasender_api_key: account.session_key.as_ref().map(expose),
            webhook_secrets: account
                .webhook_secrets
                .iter()
                .map(|it| SecretDocument {
                    secret: expose(&it.secret),
                    until: it.until,
                    is_sessions: it.is_sessions,
                })
                .collect(),
            wasender_token: account.token.as_ref().map(expose),
            failover: Some(instance.failover).filter(|it| !it.is_empty()),
            meta: instance.meta.as_deref().map(MetaDocument::of),
            unipile: instance.unipile.as_deref().map(UnipileDocument::of),
            twilio: instance.twilio.as_deref().map(TwilioDocument::of),
            created_at: instance.created_at,
            updated_at: instance.updated_at,
        }
    }

    pub(super) fn instance(
        self,
        id: InstanceId,
        vendor_id: VendorId,
        status: &str,
        last_sync: Option<Millis>,
    ) -> WabaInstance {
        let secret = |it: SecretDocument| WebhookSecret {
            secret: it.secret.into(),
            until: it.until,
            is_sessions: it.is_sessions,
        };
        WabaInstance {
            id,
            vendor_id,
            phone_number: self.phone_number,
            provider: ProviderKind::parse(&self.provider).unwrap_or(ProviderKind::Wasender),
            failover: self.failover.unwrap_or_default(),
            status: connection(status),
            schemes: SignatureSchemes { hmac: self.accepts_hmac, secret: self.accepts_secret },
            account_protection: self.account_protection,
            wasender: WasenderAccount {
                instance_id: self.wasender_instance_id,
                session_key: self.wasender_api_key.map(SecretString::from),
                webhook_secrets: self.webhook_secrets.into_iter().map(secret).collect(),
                token: self.wasender_token.map(SecretString::from),
            },
            meta: self.meta.map(|it| Box::new(it.account())),
            unipile: self.unipile.map(|it| Box::new(it.account())),
            twilio: self.twilio.map(|it| Box::new(it.account())),
            created_at: self.created_at,
            updated_at: self.updated_at,
            last_sync,
        }
    }
}

fn connection(word: &str) -> Connection {
    let all = [Connection::Connected, Connection::Pending, Connection::Disconnected];
    all.into_iter().find(|it| it.as_str() == word).unwrap_or(Connection::Error)
}
