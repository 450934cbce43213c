//! What admins are shown. No secret is in it, at most the tail by which its owner knows it.

use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::{
    accounts::{MetaView, TwilioView, UnipileView},
    details::DetailsView,
    hours::HoursView,
    responders::ResponderView,
    rich::TemplateBody,
};
use crate::{
    domain::{
        clock::{MINUTE, Millis, SECOND, iso},
        event::Votes,
        hours::Zone,
        route::ProviderKind,
        secret::masked,
        vendor::Vendor,
        waba::WabaInstance,
    },
    gateway::StatusOfInstance,
    journal::{Journey, MessageRow},
    present,
    store::ApiKey,
};

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[expect(clippy::struct_excessive_bools, reason = "switches of a vendor, as callers know them")]
pub(super) struct VendorView {
    vendor_id: String,
    business_name: String,
    /// `active`, `inactive` or `suspended`.
    status: &'static str,
    auto_reply_enabled: bool,
    welcome_message: Option<String>,
    apology: Option<String>,
    /// How long a human who writes on the phone keeps the bot quiet.
    silence_minutes: i64,
    responders: Vec<ResponderView>,
    /// `give_up` or `retry`.
    on_unknown: &'static str,
    unknown_deadline_seconds: i64,
    max_answer_age_seconds: Option<i64>,
    intent_ttl_seconds: Option<i64>,
    mark_as_read: bool,
    typing: bool,
    business_hours: Option<HoursView>,
    forward_url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fallback_template: Option<TemplateBody>,
    /// Whether its sends are stopped.
    paused: bool,
    created_at: String,
    updated_at: String,
}

impl VendorView {
    /// `zone` is what the vendor's hours are meant in, where it has any.
    pub(super) fn new(it: &Vendor, zone: Option<&Zone>) -> Self {
        let hours = it.hours.as_ref().zip(zone);
        Self {
            vendor_id: it.id.to_string(),
            business_name: it.business_name.clone(),
            status: it.status.as_str(),
            auto_reply_enabled: it.auto_reply,
            welcome_message: it.welcome_message.clone(),
            apology: it.apology.clone(),
            silence_minutes: it.silence / MINUTE,
            responders: it.responders.iter().map(ResponderView::from).collect(),
            on_unknown: it.on_unknown.as_str(),
            unknown_deadline_seconds: it.unknown_deadline / SECOND,
            max_answer_age_seconds: it.max_answer_age.map(|it| it / SECOND),
            intent_ttl_seconds: it.intent_ttl.map(|it| it / SECOND),
            mark_as_read: it.mark_as_read,
            typing: it.typing,
            business_hours: hours.map(|(it, zone)| HoursView::new(it, zone)),
            forward_url: it.forward_url.clone(),
            fallback_template: it.fallback_template.as_deref().map(TemplateBody::from),
            paused: it.paused,
            created_at: iso(it.created_at),
            updated_at: iso(it.updated_at),
        }
    }
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct InstanceView {
    id: String,
    vendor_id: String,
    phone_number: String,
    /// `wasender`, `meta`, `unipile` or `twilio`.
    provider: &'static str,
    /// Who is tried when that one cannot, in order.
    failover: Vec<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    meta: Option<MetaView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unipile: Option<UnipileView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    twilio: Option<TwilioView>,
    /// `pending`, `connected`, `disconnected` or `error`.
    status: &'static str,
    wasender_instance_id: Option<String>,
    /// The tail of each, newest first.
    wasender_webhook_secrets: Vec<String>,
    /// Its tail.
    wasender_api_key: Option<String>,
    /// Its tail.
    wasender_token: Option<String>,
    /// `hmac`, `secret`, or both.
    signature_schemes: Vec<&'static str>,
    account_protection: bool,
    created_at: String,
    updated_at: String,
    last_sync: Option<String>,
}

impl From<&WabaInstance> for InstanceView {
    fn from(it: &WabaInstance) -> Self {
        let account = &it.wasender;
        let schemes = [("hmac", it.schemes.hmac), ("secret", it.schemes.secret)];
        let secrets = account.webhook_secrets.iter().map(|it| masked(&it.secret));
        Self {
            id: it.id.to_string(),
            vendor_id: it.vendor_id.to_string(),
            phone_number: it.phone_number.expose(),
            provider: it.provider.as_str(),
            failover: it.failover.iter().map(ProviderKind::as_str).collect(),
            meta: it.meta.as_deref().map(MetaView::from),
            unipile: it.unipile.as_deref().map(UnipileView::from),
            twilio: it.twilio.as_deref().map(TwilioView::from),
            status: it.status.as_str(),
            wasender_instance_id: account.instance_id.clone(),
            wasender_webhook_secrets: secrets.collect(),
            wasender_api_key: account.session_key.as_ref().map(masked),
            wasender_token: account.token.as_ref().map(masked),
            signature_schemes: schemes.iter().filter(|it| it.1).map(|it| it.0).collect(),
            account_protection: it.account_protection,
            created_at: iso(it.created_at),
            updated_at: iso(it.updated_at),
            last_sync: it.last_sync.map(iso),
        }
    }
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct StatusView {
    vendor_id: String,
    phone_number: String,
    status: &'static str,
    wasender_instance_id: Option<String>,
    created_at: String,
    last_sync: Option<String>,
    /// What Wasender says now; null when it could not be asked.
    live: Option<&'static str>,
    /// When a webhook of the vendor was last proven.
    last_verified_at: Option<String>,
    /// When one was last refused.
    last_refused_at: Option<String>,
    /// How many were refused, ever.
    refusals: i64,
}

impl From<&StatusOfInstance> for StatusView {
    fn from(it: &StatusOfInstance) -> Self {
        let instance = &it.instance;
        Self {
            vendor_id: instance.vendor_id.to_string(),
            phone_number: instance.phone_number.expose(),
            status: instance.status.as_str(),
            wasender_instance_id: instance.wasender.instance_id.clone(),
            created_at: iso(instance.created_at),
            last_sync: instance.last_sync.map(iso),
            live: it.live.map(crate::domain::event::Connection::as_str),
            last_verified_at: it.vitals.verified_at.map(iso),
            last_refused_at: it.vitals.refused_at.map(iso),
            refusals: it.vitals.n_refused,
        }
    }
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct MessageView {
    message_id: String,
    waba_id: String,
    /// `inbound` or `outbound`.
    direction: &'static str,
    /// The customer's number, where it is known.
    customer: Option<String>,
    name: Option<String>,
    #[serde(rename = "type")]
    kind: String,
    message: String,
    /// What else there is to the content, by its type.
    #[serde(flatten)]
    #[schema(value_type = DetailsView)]
    details: Map<String, Value>,
    /// How far it is; of an outbound one also what the customer's phone told.
    status: String,
    /// Why it is not further, where there is a reason.
    reason: Option<String>,
    /// Typed on the vendor's phone.
    by_human: bool,
    /// Of an automatic answer: the message it answers.
    in_reply_to: Option<String>,
    /// The message it quotes, where it is one we know.
    quoted_message_id: Option<String>,
    /// Its place among the messages that one was sent as.
    #[serde(skip_serializing_if = "Option::is_none")]
    part: Option<PartView>,
    /// Its text was changed; `message` is the new one.
    edited: bool,
    /// It was taken back.
    deleted: bool,
    /// The latest reaction to it.
    #[serde(skip_serializing_if = "Option::is_none")]
    reaction: Option<String>,
    /// Of a poll: how many chose each option.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    votes: Vec<VotesView>,
    /// When the provider says it was written.
    timestamp: Option<String>,
    created_at: String,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct PartView {
    /// The first of them.
    message_id: String,
    /// Which it is, from 1.
    number: usize,
    of: usize,
}

#[derive(Serialize, ToSchema)]
struct VotesView {
    option: String,
    votes: usize,
}

impl From<&MessageRow> for MessageView {
    fn from(it: &MessageRow) -> Self {
        Self {
            message_id: it.id.to_string(),
            waba_id: it.instance.to_string(),
            direction: if it.is_inbound { "inbound" } else { "outbound" },
            customer: it.address.phone.as_ref().map(crate::domain::phone::PhoneNumber::expose),
            name: it.name.as_ref().map(|it| it.0.clone()),
            kind: it.kind.clone(),
            message: it.text.0.clone(),
            details: it.content.as_ref().map(|of| present::details(of, it.id)).unwrap_or_default(),
            status: it.status.clone(),
            reason: it.reason.clone(),
            by_human: it.by_human,
            in_reply_to: it.origin.map(|it| it.to_string()),
            quoted_message_id: it.quoted.map(|it| it.to_string()),
            part: it.part.map(|it| PartView {
                message_id: it.group.to_string(),
                number: it.number,
                of: it.of,
            }),
            edited: it.original.is_some(),
            deleted: it.is_deleted,
            reaction: it.reaction.as_ref().map(|it| it.0.clone()),
            votes: it.votes.iter().map(votes).collect(),
            timestamp: it.at.map(iso),
            created_at: iso(it.id.ms()),
        }
    }
}

fn votes(it: &Votes) -> VotesView {
    VotesView { option: it.option.0.clone(), votes: it.voters.len() }
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct JourneyView {
    #[serde(flatten)]
    message: MessageView,
    /// The provider that it came by, or that has it: which of the vendor's numbers it left from. Null:
    /// it was never tried.
    provider: Option<&'static str>,
    /// Tries so far.
    attempts: u32,
    /// What became of it, in order.
    steps: Vec<StepView>,
    /// What was sent in answer to it.
    answers: Vec<MessageView>,
}

#[derive(Serialize, ToSchema)]
pub(super) struct StepView {
    at: String,
    step: String,
}

impl From<&(Millis, String)> for StepView {
    fn from((at, step): &(Millis, String)) -> Self {
        Self { at: iso(*at), step: step.clone() }
    }
}

impl From<&Journey> for JourneyView {
    fn from(it: &Journey) -> Self {
        Self {
            message: (&it.row).into(),
            provider: it.via.map(ProviderKind::as_str),
            attempts: it.attempts,
            steps: it.steps.iter().map(StepView::from).collect(),
            answers: it.answers.iter().map(MessageView::from).collect(),
        }
    }
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct KeyView {
    id: String,
    name: String,
    /// The one vendor it is good for; null for an admin's.
    vendor_id: Option<String>,
    read_only: bool,
    created_at: String,
    /// From when on it is good for nothing; null: until it is revoked.
    expires_at: Option<String>,
    /// When it was last used, to the minute; null: never.
    last_used_at: Option<String>,
}

impl From<&ApiKey> for KeyView {
    fn from(it: &ApiKey) -> Self {
        Self {
            id: it.id.clone(),
            name: it.name.clone(),
            vendor_id: it.vendor.as_ref().map(ToString::to_string),
            read_only: it.read_only,
            created_at: iso(it.created_at),
            expires_at: it.expires_at.map(iso),
            last_used_at: it.used_at.map(iso),
        }
    }
}
