//! The routes of the API, who may use them, and all but sends.

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::{Path, Query, Request, State},
    http::{
        HeaderMap, StatusCode,
        header::{AUTHORIZATION, CONTENT_TYPE, LOCATION},
    },
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    send::send_message,
    world::{Entry, TwilioNumber, TwilioRequest, World},
};
use crate::twin::answer::{Refusal, Unheard};

/// Messages in a list that does not say how many.
const PAGE_SIZE: usize = 50;

pub(super) fn router(world: Arc<World>) -> Router {
    let account = "/2010-04-01/Accounts/{account}";
    Router::new()
        .route(account, get(fetch_account))
        .route(&format!("{account}/Messages.json"), get(list).post(send_message))
        .route(&format!("{account}/Messages/{{message}}"), get(fetch_message))
        .route(&format!("{account}/Messages/{{message}}/Media/{{media}}"), get(media))
        .route("/cdn/{media}", get(cdn))
        .route("/v3/Indicators/Typing.json", post(typing))
        .route("/v2/Channels/Senders", get(senders))
        .route("/v2/Channels/Senders/{sender}", post(set_sender))
        .fallback(async || refused(404, 20404))
        .layer(middleware::from_fn_with_state(Arc::clone(&world), note))
        .with_state(world)
}

/// An answer that is not a success (E1).
pub(super) fn refused(status: u16, code: u32) -> Refusal {
    let body = json!({
        "code": code,
        "message": "Refused by the twin",
        "more_info": format!("https://www.twilio.com/docs/errors/{code}"),
        "status": status,
    });
    Refusal::of(status, body)
}

impl World {
    /// The account that asks, when its token is right.
    pub(super) fn caller(&self, headers: &HeaderMap) -> Option<TwilioNumber> {
        let given = headers.get(AUTHORIZATION)?.to_str().ok()?.strip_prefix("Basic ")?;
        let given = String::from_utf8(STANDARD.decode(given).ok()?).ok()?;
        let (account, token) = given.split_once(':')?;
        let book = self.book();
        let number = &book.lines.get(account)?.number;
        (number.auth_token == token).then(|| number.clone())
    }

    /// The account of the path, when it is the one that asks.
    pub(super) fn owner(
        &self,
        headers: &HeaderMap,
        account: &str,
    ) -> Result<TwilioNumber, Refusal> {
        match self.caller(headers) {
            Some(number) if number.account_sid == account => Ok(number),
            Some(_) => Err(refused(404, 20404)),
            None => Err(refused(401, 20003)),
        }
    }
}

async fn note(State(world): State<Arc<World>>, request: Request, next: Next) -> Response {
    let (method, path) = (request.method().to_string(), request.uri().path().to_owned());
    let at = {
        let mut book = world.book();
        book.requests.push(TwilioRequest { method, path, status: None });
        book.requests.len() - 1
    };
    let response = next.run(request).await;
    if response.extensions().get::<Unheard>().is_none() {
        world.book().requests[at].status = Some(response.status().as_u16());
    }
    response
}

async fn fetch_account(
    State(world): State<Arc<World>>,
    Path(file): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let account = file.strip_suffix(".json").ok_or_else(|| refused(404, 20404))?;
    let number = world.owner(&headers, account)?;
    let body = json!({
        "sid": number.account_sid,
        "friendly_name": "The twin's",
        "status": number.status,
        "type": "Full",
    });
    Ok(Json(body).into_response())
}

async fn fetch_message(
    State(world): State<Arc<World>>,
    Path((account, file)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    world.owner(&headers, &account)?;
    let sid = file.strip_suffix(".json").unwrap_or_default();
    let book = world.book();
    let entry = book.entries.iter().find(|it| it.sent.sid == sid && it.sent.account_sid == account);
    let entry = entry.filter(|it| it.is_listed).ok_or_else(|| refused(404, 20404))?;
    Ok(Json(shown(entry)).into_response())
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ListQuery {
    to: Option<String>,
    from: Option<String>,
    page_size: Option<usize>,
}

/// The newest first.
async fn list(
    State(world): State<Arc<World>>,
    Path(account): Path<String>,
    Query(query): Query<ListQuery>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    world.owner(&headers, &account)?;
    let book = world.book();
    let from = |it: &Entry| query.from.as_ref().is_none_or(|from| *from == it.sent.from);
    let to = |it: &Entry| query.to.as_ref().is_none_or(|to| *to == it.sent.to);
    let own = book.entries.iter().rev().filter(|it| it.sent.account_sid == account);
    let found = own.filter(|it| it.is_listed && from(it) && to(it));
    let messages: Vec<Value> =
        found.take(query.page_size.unwrap_or(PAGE_SIZE)).map(shown).collect();
    let page = json!({ "messages": messages, "page": 0, "next_page_uri": Value::Null });
    Ok(Json(page).into_response())
}

/// A message as the API shows it (E1): counts are text, times as in mail.
pub(super) fn shown(entry: &Entry) -> Value {
    let sent = &entry.sent;
    let at = crate::twin::clock::rfc2822(entry.at_secs);
    json!({
        "sid": sent.sid,
        "account_sid": sent.account_sid,
        "api_version": "2010-04-01",
        "body": sent.text,
        "from": sent.from,
        "to": sent.to,
        "direction": "outbound-api",
        "status": entry.status,
        "error_code": entry.code,
        "error_message": Value::Null,
        "date_created": at,
        "date_sent": at,
        "date_updated": at,
        "num_media": if sent.form.get("MediaUrl").is_some() { "1" } else { "0" },
        "num_segments": "1",
        "price": Value::Null,
        "price_unit": "USD",
        "messaging_service_sid": sent.form.get("MessagingServiceSid"),
        "uri": format!("/2010-04-01/Accounts/{}/Messages/{}.json", sent.account_sid, sent.sid),
    })
}

/// Sends on to where the file is, which needs no token.
async fn media(
    State(world): State<Arc<World>>,
    Path((account, message, media)): Path<(String, String, String)>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    world.owner(&headers, &account)?;
    let path = format!("/2010-04-01/Accounts/{account}/Messages/{message}/Media/{media}");
    if !world.book().files.contains_key(&path) {
        return Err(refused(404, 20404));
    }
    let place = format!("{}/cdn/{media}", world.origin());
    Ok((StatusCode::TEMPORARY_REDIRECT, [(LOCATION, place)]).into_response())
}

async fn cdn(
    State(world): State<Arc<World>>,
    Path(media): Path<String>,
    headers: HeaderMap,
) -> Response {
    if headers.contains_key(AUTHORIZATION) {
        // As the stores behind it do: one proof of who asks is in the address.
        return StatusCode::BAD_REQUEST.into_response();
    }
    let book = world.book();
    match book.files.iter().find(|it| it.0.ends_with(&media)) {
        Some((_, (_, mime_type, file))) => {
            ([(CONTENT_TYPE, mime_type.clone())], file.clone()).into_response()
        }
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

async fn typing(
    State(world): State<Arc<World>>,
    headers: HeaderMap,
    Json(body): Json<Value>,
) -> Result<Response, Refusal> {
    world.caller(&headers).ok_or_else(|| refused(401, 20003))?;
    let (channel, message) = (body["channel"].as_str(), body["messageId"].as_str());
    let (Some("WHATSAPP"), Some(message)) = (channel, message) else {
        return Err(refused(400, 20001));
    };
    world.book().typings.push(message.to_owned());
    Ok(Json(json!({ "success": true })).into_response())
}

async fn senders(State(world): State<Arc<World>>, headers: HeaderMap) -> Result<Response, Refusal> {
    let number = world.caller(&headers).ok_or_else(|| refused(401, 20003))?;
    let senders: Vec<Value> = number.is_sender.then(|| sender(&number)).into_iter().collect();
    let meta = json!({ "key": "senders", "next_page_url": Value::Null });
    Ok(Json(json!({ "senders": senders, "meta": meta })).into_response())
}

fn sender(number: &TwilioNumber) -> Value {
    json!({
        "sid": number.sender_sid,
        "status": number.sender_status,
        "sender_id": format!("whatsapp:{}", number.phone_number),
        "webhook": { "callback_url": number.webhook_url, "callback_method": "POST" },
        "properties": { "quality_rating": "HIGH", "messaging_limit": "10K Customers/24hr" },
    })
}

async fn set_sender(
    State(world): State<Arc<World>>,
    Path(sid): Path<String>,
    headers: HeaderMap,
    Json(body): Json<Value>,
) -> Result<Response, Refusal> {
    let number = world.caller(&headers).ok_or_else(|| refused(401, 20003))?;
    if number.sender_sid != sid || !number.is_sender {
        return Err(refused(404, 20404));
    }
    let mut book = world.book();
    let line = book.lines.get_mut(&number.account_sid).ok_or_else(|| refused(404, 20404))?;
    let url = body["webhook"]["callback_url"].as_str();
    line.number.webhook_url = url.map(str::to_owned);
    Ok((StatusCode::ACCEPTED, Json(sender(&line.number))).into_response())
}
