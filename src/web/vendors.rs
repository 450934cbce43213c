//! Vendors.

use axum::{Json as Answer, extract::State, http::StatusCode};
use secrecy::ExposeSecret;
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};
use url::Url;

use super::{
    Web,
    auth::{Admin, AdminFor, ForVendor, IsAdmin},
    error::ApiError,
    extract::{Json, Query},
    views::VendorView,
};
use crate::{
    domain::{
        clock::{MINUTE, Millis, SECOND},
        id::VendorId,
        secret::SecretString,
        vendor::{Dialect, OnUnknown, ResponderConfig, ResponseApi, Rule, VendorStatus},
    },
    gateway::{AdminError, VendorChange},
};

/// Vendors on one page.
const PAGE_MAX: usize = 500;
const PAGE: usize = 100;
/// Responders of a vendor, rules of a responder, headers of a call.
const LIST_MAX: usize = 200;
/// The longest span of time a vendor may set, in seconds: 30 days.
const SPAN_SECONDS_MAX: i64 = 30 * 24 * 3_600;

/// What is absent stays as it is, null takes it away.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct VendorBody {
    business_name: Option<String>,
    status: Option<String>,
    auto_reply_enabled: Option<bool>,
    #[serde(default, deserialize_with = "present")]
    welcome_message: Option<Option<String>>,
    #[serde(default, deserialize_with = "present")]
    apology: Option<Option<String>>,
    silence_minutes: Option<i64>,
    responders: Option<Vec<ResponderBody>>,
    on_unknown: Option<OnUnknownBody>,
    unknown_deadline_seconds: Option<i64>,
    #[serde(default, deserialize_with = "present")]
    max_answer_age_seconds: Option<Option<i64>>,
    #[serde(default, deserialize_with = "present")]
    intent_ttl_seconds: Option<Option<i64>>,
    mark_as_read: Option<bool>,
    typing: Option<bool>,
    #[serde(default, deserialize_with = "present")]
    forward_url: Option<Option<String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum OnUnknownBody {
    GiveUp,
    Retry,
}

#[derive(Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase", deny_unknown_fields)]
enum ResponderBody {
    Rules {
        #[serde(default)]
        rules: Vec<RuleBody>,
        otherwise: Option<String>,
    },
    ResponseApi {
        url: String,
        dialect: Option<String>,
        #[serde(default)]
        headers: std::collections::BTreeMap<String, SecretString>,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleBody {
    contains: String,
    reply: String,
}

#[derive(Deserialize)]
pub(super) struct PageQuery {
    cursor: Option<String>,
    limit: Option<usize>,
}

/// Tells a field that is null from one that is absent.
fn present<'de, T, D>(deserializer: D) -> Result<Option<Option<T>>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    Option::deserialize(deserializer).map(Some)
}

pub(super) async fn put(
    State(web): State<Web>,
    ForVendor(vendor): ForVendor,
    is_admin: IsAdmin,
    Json(body): Json<VendorBody>,
) -> Result<(StatusCode, Answer<Value>), ApiError> {
    // A suspension is the operator's.
    if body.status.is_some() {
        is_admin.demand()?;
    }
    let (vendor, secret) = web.gateway.put_vendor(&vendor, body.change()?).await?;
    let mut answer = json!({ "success": true, "vendor": VendorView::from(&vendor) });
    let status = if let Some(secret) = secret {
        answer["signingSecret"] = json!(secret.expose_secret());
        StatusCode::CREATED
    } else {
        StatusCode::OK
    };
    Ok((status, Answer(answer)))
}

pub(super) async fn get(
    State(web): State<Web>,
    ForVendor(vendor): ForVendor,
) -> Result<Answer<VendorView>, ApiError> {
    Ok(Answer(VendorView::from(&web.gateway.vendor(&vendor).await?)))
}

pub(super) async fn list(
    State(web): State<Web>,
    admin: Admin,
    Query(query): Query<PageQuery>,
) -> Result<Answer<Value>, ApiError> {
    admin.may_read()?;
    let limit = query.limit.unwrap_or(PAGE).clamp(1, PAGE_MAX);
    let after = query.cursor.map(|it| VendorId::parse(&it));
    let after =
        after.transpose().map_err(|_| ApiError::BadRequest("malformed cursor".to_owned()))?;
    let found = web.gateway.vendors(after.as_ref(), limit).await?;
    let next = found.last().filter(|_| found.len() == limit).map(|it| it.id.to_string());
    let vendors: Vec<VendorView> = found.iter().map(VendorView::from).collect();
    Ok(Answer(json!({ "vendors": vendors, "cursor": next })))
}

pub(super) async fn renew_signing_secret(
    State(web): State<Web>,
    ForVendor(vendor): ForVendor,
) -> Result<Answer<Value>, ApiError> {
    let secret = web.gateway.renew_signing_secret(&vendor).await?;
    Ok(Answer(json!({ "success": true, "signingSecret": secret.expose_secret() })))
}

pub(super) async fn pause(
    State(web): State<Web>,
    AdminFor(vendor): AdminFor,
) -> Result<Answer<Value>, ApiError> {
    web.gateway.pause(Some(&vendor), true).await?;
    Ok(Answer(json!({ "success": true, "paused": true })))
}

pub(super) async fn resume(
    State(web): State<Web>,
    AdminFor(vendor): AdminFor,
) -> Result<Answer<Value>, ApiError> {
    web.gateway.pause(Some(&vendor), false).await?;
    Ok(Answer(json!({ "success": true, "paused": false })))
}

impl VendorBody {
    fn change(self) -> Result<VendorChange, AdminError> {
        let status = self.status.map(|it| {
            let why = "status is active, inactive or suspended";
            VendorStatus::parse(&it).ok_or_else(|| AdminError::Invalid(why.to_owned()))
        });
        let responders = self.responders.map(|it| {
            at_most(it.len(), "responders")?;
            it.into_iter().map(ResponderBody::config).collect::<Result<Vec<_>, _>>()
        });
        let some_span = |it: Option<Option<i64>>, name| -> Result<_, AdminError> {
            it.map(|it| it.map(|it| span(it, name)).transpose()).transpose()
        };
        Ok(VendorChange {
            business_name: self.business_name,
            status: status.transpose()?,
            auto_reply: self.auto_reply_enabled,
            welcome_message: self.welcome_message.map(non_empty),
            apology: self.apology.map(non_empty),
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
            hours: None,
            forward_url: self
                .forward_url
                .map(|it| it.map(|it| is_url(it, "forwardUrl")).transpose())
                .transpose()?,
        })
    }
}

impl ResponderBody {
    fn config(self) -> Result<ResponderConfig, AdminError> {
        match self {
            Self::Rules { rules, otherwise } => {
                at_most(rules.len(), "rules")?;
                let rule = |it: RuleBody| Rule { contains: it.contains, reply: it.reply };
                let rules: Vec<Rule> = rules.into_iter().map(rule).collect();
                if rules
                    .iter()
                    .any(|it| it.contains.trim().is_empty() || it.reply.trim().is_empty())
                {
                    let why = "a rule has a text in contains and in reply";
                    return Err(AdminError::Invalid(why.to_owned()));
                }
                Ok(ResponderConfig::Rules { rules, otherwise: non_empty(otherwise) })
            }
            Self::ResponseApi { url, dialect, headers } => {
                at_most(headers.len(), "headers")?;
                let url = is_url(url, "a responder's url")?;
                if dialect.is_some_and(|it| it != "bot") {
                    let why = "this version knows the dialect bot only";
                    return Err(AdminError::Invalid(why.to_owned()));
                }
                let headers = headers.into_iter().collect();
                let dialect = Dialect::Bot;
                Ok(ResponderConfig::ResponseApi(ResponseApi { url, headers, dialect }))
            }
        }
    }
}

/// Whether its host may be reached is seen when it is called.
fn is_url(text: String, name: &str) -> Result<String, AdminError> {
    let url = Url::parse(&text);
    if url.is_ok_and(|it| matches!(it.scheme(), "http" | "https") && it.has_host()) {
        return Ok(text);
    }
    Err(AdminError::Invalid(format!("{name} is an http or https URL")))
}

fn non_empty(text: Option<String>) -> Option<String> {
    text.filter(|it| !it.trim().is_empty())
}

fn at_most(n: usize, name: &str) -> Result<(), AdminError> {
    if n <= LIST_MAX {
        return Ok(());
    }
    Err(AdminError::Invalid(format!("{name} has more than {LIST_MAX} entries")))
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
