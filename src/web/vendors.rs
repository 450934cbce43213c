//! Vendors.

use axum::{Json as Answer, extract::State, http::StatusCode};
use secrecy::ExposeSecret;
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{
    Web,
    answers::Paused,
    auth::{Admin, AdminFor, ForVendor, IsAdmin},
    error::ApiError,
    extract::{Json, Query},
    hours::HoursBody,
    responders::{self, ResponderBody, is_url},
    rich::TemplateBody,
    views::VendorView,
};
use crate::{
    domain::{
        clock::{MINUTE, Millis, SECOND},
        id::VendorId,
        message::Template,
        vendor::{OnUnknown, Vendor, VendorStatus},
    },
    gateway::{AdminError, VendorChange},
};

/// Vendors on one page.
const PAGE_MAX: usize = 500;
const PAGE: usize = 100;
/// The longest text that is sent by itself, in characters: one message's worth.
const TEXT_CHARS_MAX: usize = 4_096;
/// The longest span of time a vendor may set, in seconds: 30 days.
const SPAN_SECONDS_MAX: i64 = 30 * 24 * 3_600;

/// What is absent stays as it is, null takes it away.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct VendorBody {
    #[schema(example = "Chez Awa")]
    business_name: Option<String>,
    /// `active`, `inactive` or `suspended`; an admin's.
    #[schema(example = "active")]
    status: Option<String>,
    /// Whether its customers are answered automatically.
    auto_reply_enabled: Option<bool>,
    /// Sent before the first answer of a new conversation.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<String>, example = "Bienvenue chez Awa")]
    welcome_message: Option<Option<String>>,
    /// Sent when nobody could answer, at most once per conversation and hour.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<String>)]
    apology: Option<Option<String>>,
    /// How long a human who writes on the phone keeps the bot quiet. At most 30 days.
    #[schema(example = 60)]
    silence_minutes: Option<i64>,
    /// Asked in order until one answers. At most 200.
    responders: Option<Vec<ResponderBody>>,
    /// What becomes of a send whose outcome nobody knows.
    on_unknown: Option<OnUnknownBody>,
    /// How long the outcome is looked for, 60 s to 30 days.
    #[schema(example = 600)]
    unknown_deadline_seconds: Option<i64>,
    /// An older message is recorded and not answered. At most 30 days.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<i64>)]
    max_answer_age_seconds: Option<Option<i64>>,
    /// An answer that could not be sent for so long is given up. At most 30 days.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<i64>)]
    intent_ttl_seconds: Option<Option<i64>>,
    /// Whether customers' messages are marked as read.
    mark_as_read: Option<bool>,
    /// Whether customers see that an answer is being written.
    typing: Option<bool>,
    /// When the vendor is open, and who answers when it is not.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<HoursBody>)]
    business_hours: Option<Option<HoursBody>>,
    /// The vendor's back end: gets its events, signed.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<String>, example = "https://shop.example/whatsapp")]
    forward_url: Option<Option<String>>,
    /// The template that is sent in place of a text to a customer who has not written for a day,
    /// through Meta and Twilio; `{{text}}` in it stands for the text.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<TemplateBody>)]
    fallback_template: Option<Option<TemplateBody>>,
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum OnUnknownBody {
    GiveUp,
    Retry,
}

#[derive(Deserialize, IntoParams)]
pub(super) struct PageQuery {
    /// From the page before.
    cursor: Option<String>,
    /// Vendors on a page, at most 500.
    #[param(minimum = 1, maximum = 500, default = 100)]
    limit: Option<usize>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct PutView {
    #[schema(example = true)]
    success: bool,
    vendor: VendorView,
    /// Of a new vendor alone: what its responders and forwards are signed with, shown this once.
    #[serde(skip_serializing_if = "Option::is_none")]
    signing_secret: Option<String>,
}

#[derive(Serialize, ToSchema)]
pub(super) struct VendorsView {
    vendors: Vec<VendorView>,
    /// Ids of vendors of this page of whom what is stored cannot be opened or read.
    unreadable: Vec<String>,
    /// Asks for the next page; null at the end.
    cursor: Option<String>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct SigningSecretView {
    #[schema(example = true)]
    success: bool,
    /// Shown this once.
    signing_secret: String,
}

/// Tells a field that is null from one that is absent.
pub(super) fn present<'de, T, D>(deserializer: D) -> Result<Option<Option<T>>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    Option::deserialize(deserializer).map(Some)
}

/// Make or change a vendor
///
/// What is absent stays as it is, null takes it away. `status` is an admin's.
#[utoipa::path(put, path = "/", tag = "Vendors", operation_id = "putVendor", responses(
    (status = 200, description = "changed", body = PutView),
    (status = 201, description = "made; the `signingSecret` is shown this once", body = PutView),
    (status = 422, description = "a value is outside its limits"),
))]
pub(super) async fn put(
    State(web): State<Web>,
    ForVendor(vendor): ForVendor,
    is_admin: IsAdmin,
    Json(body): Json<VendorBody>,
) -> Result<(StatusCode, Answer<PutView>), ApiError> {
    // A suspension is the operator's.
    if body.status.is_some() {
        is_admin.demand()?;
    }
    let (vendor, secret) = web.gateway.put_vendor(&vendor, body.change()?).await?;
    let status = if secret.is_some() { StatusCode::CREATED } else { StatusCode::OK };
    let signing_secret = secret.map(|it| it.expose_secret().to_owned());
    let vendor = shown(&web, &vendor).await?;
    Ok((status, Answer(PutView { success: true, vendor, signing_secret })))
}

/// Show a vendor
#[utoipa::path(get, path = "/", tag = "Vendors", operation_id = "getVendor",
    responses((status = 200, description = "the vendor", body = VendorView)))]
pub(super) async fn get(
    State(web): State<Web>,
    ForVendor(vendor): ForVendor,
) -> Result<Answer<VendorView>, ApiError> {
    let vendor = web.gateway.vendor(&vendor).await?;
    Ok(Answer(shown(&web, &vendor).await?))
}

async fn shown(web: &Web, vendor: &Vendor) -> Result<VendorView, ApiError> {
    let zone = web.gateway.time_zone(vendor).await?;
    Ok(VendorView::new(vendor, zone.as_ref()))
}

/// List the vendors, by id (admins)
#[utoipa::path(get, path = "/vendors", tag = "Vendors", operation_id = "listVendors",
    params(PageQuery), responses((status = 200, description = "one page", body = VendorsView)))]
pub(super) async fn list(
    State(web): State<Web>,
    _: Admin,
    Query(query): Query<PageQuery>,
) -> Result<Answer<VendorsView>, ApiError> {
    let limit = query.limit.unwrap_or(PAGE).clamp(1, PAGE_MAX);
    let after = query.cursor.map(|it| VendorId::parse(&it));
    let after =
        after.transpose().map_err(|_| ApiError::BadRequest("malformed cursor".to_owned()))?;
    let page = web.gateway.vendors(after.as_ref(), limit).await?;
    let mut unreadable: Vec<String> = page.unreadable.iter().map(ToString::to_string).collect();
    let mut vendors = Vec::with_capacity(page.vendors.len());
    for vendor in &page.vendors {
        match web.gateway.time_zone(vendor).await {
            Ok(zone) => vendors.push(VendorView::new(vendor, zone.as_ref())),
            // Its numbers may be what cannot be read.
            Err(error) if error.is_unreadable() => unreadable.push(vendor.id.to_string()),
            Err(error) => return Err(error.into()),
        }
    }
    let cursor = page.next.map(|it| it.to_string());
    Ok(Answer(VendorsView { vendors, unreadable, cursor }))
}

/// Renew the signing secret
#[utoipa::path(post, path = "/signing-secret", tag = "Vendors", operation_id = "renewSigningSecret",
    responses((status = 200, description = "shown this once", body = SigningSecretView)))]
pub(super) async fn renew_signing_secret(
    State(web): State<Web>,
    ForVendor(vendor): ForVendor,
) -> Result<Answer<SigningSecretView>, ApiError> {
    let secret = web.gateway.renew_signing_secret(&vendor).await?;
    let signing_secret = secret.expose_secret().to_owned();
    Ok(Answer(SigningSecretView { success: true, signing_secret }))
}

/// Stop a vendor's sends (admins)
#[utoipa::path(post, path = "/pause", tag = "Vendors", operation_id = "pauseVendor",
    responses((status = 200, description = "nothing of it is sent from now on", body = Paused)))]
pub(super) async fn pause(
    State(web): State<Web>,
    AdminFor(vendor): AdminFor,
) -> Result<Answer<Paused>, ApiError> {
    web.gateway.pause(Some(&vendor), true).await?;
    Ok(Paused::new(true))
}

/// Let a vendor send again (admins)
#[utoipa::path(post, path = "/resume", tag = "Vendors", operation_id = "resumeVendor",
    responses((status = 200, description = "what is due is sent", body = Paused)))]
pub(super) async fn resume(
    State(web): State<Web>,
    AdminFor(vendor): AdminFor,
) -> Result<Answer<Paused>, ApiError> {
    web.gateway.pause(Some(&vendor), false).await?;
    Ok(Paused::new(false))
}

impl VendorBody {
    fn change(self) -> Result<VendorChange, AdminError> {
        let status = self.status.map(|it| {
            let why = "status is active, inactive or suspended";
            VendorStatus::parse(&it).ok_or_else(|| AdminError::Invalid(why.to_owned()))
        });
        let responders = self.responders.map(|it| responders::configs(it, "responders"));
        let some_text = |it: Option<Option<String>>, name| -> Result<_, AdminError> {
            it.map(|it| non_empty(it).map(|it| text(it, name)).transpose()).transpose()
        };
        let some_span = |it: Option<Option<i64>>, name| -> Result<_, AdminError> {
            it.map(|it| it.map(|it| span(it, name)).transpose()).transpose()
        };
        Ok(VendorChange {
            business_name: self.business_name,
            status: status.transpose()?,
            auto_reply: self.auto_reply_enabled,
            welcome_message: some_text(self.welcome_message, "welcomeMessage")?,
            apology: some_text(self.apology, "apology")?,
            silence: self
                .silence_minutes
                .map(|it| span(it.saturating_mul(MINUTE / SECOND), "silenceMinutes"))
                .transpose()?,
            responders: responders.transpose()?,
            on_unknown: self.on_unknown.map(|it| match it {
                OnUnknownBody::GiveUp => OnUnknown::GiveUp,
                OnUnknownBody::Retry => OnUnknown::Retry,
            }),
            unknown_deadline: self
                .unknown_deadline_seconds
                .map(|it| span(it, "unknownDeadlineSeconds").and_then(not_too_soon))
                .transpose()?,
            max_answer_age: some_span(self.max_answer_age_seconds, "maxAnswerAgeSeconds")?,
            intent_ttl: some_span(self.intent_ttl_seconds, "intentTtlSeconds")?,
            mark_as_read: self.mark_as_read,
            typing: self.typing,
            hours: self
                .business_hours
                .map(|it| it.map(HoursBody::hours).transpose())
                .transpose()?,
            forward_url: self
                .forward_url
                .map(|it| it.map(|it| is_url(it, "forwardUrl")).transpose())
                .transpose()?,
            fallback_template: self.fallback_template.map(|it| it.map(Template::from)),
        })
    }
}

fn non_empty(text: Option<String>) -> Option<String> {
    text.filter(|it| !it.trim().is_empty())
}

fn text(text: String, name: &str) -> Result<String, AdminError> {
    if text.chars().count() <= TEXT_CHARS_MAX {
        return Ok(text);
    }
    Err(AdminError::Invalid(format!("{name} has more than {TEXT_CHARS_MAX} characters")))
}

fn span(seconds: i64, name: &str) -> Result<Millis, AdminError> {
    if (0..=SPAN_SECONDS_MAX).contains(&seconds) {
        return Ok(seconds * SECOND);
    }
    Err(AdminError::Invalid(format!("{name} is between 0 and 30 days")))
}

/// Before that the provider's own log may not tell yet.
fn not_too_soon(deadline: Millis) -> Result<Millis, AdminError> {
    if deadline >= MINUTE {
        return Ok(deadline);
    }
    Err(AdminError::Invalid("unknownDeadlineSeconds is at least 60".to_owned()))
}
