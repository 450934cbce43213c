//! The routes of Graph, and what there is beside sending: numbers, accounts, callbacks
//! (`docs/wire/meta-unipile-twilio.md` A1, A9, B6).

use std::{collections::HashMap, sync::Arc};

use axum::{
    Json, Router,
    extract::{DefaultBodyLimit, Path, Query, Request, State},
    http::HeaderMap,
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use bytes::Bytes;
use serde_json::{Map, Value, json};
use url::Url;

use super::{
    super::{answer::Unheard, api::bearer},
    error::{BAD_PARAMETER, GraphError, NOT_VERIFIED},
    media, send,
    world::{KEPT_MAX, MetaRequest, World},
};

/// Of a request, but for uploads.
const BODY_BYTES_MAX: usize = 1024 * 1024;
/// The longest callback URL (A9).
const CALLBACK_CHARS_MAX: usize = 200;

/// The app whose tokens these are, and another one.
const APP: &str = "6701234567890";
const OTHER_APP: &str = "6709876543210";

type Answered = Result<Response, GraphError>;

pub(super) fn router(world: Arc<World>) -> Router {
    let upload = post(uploaded).layer(DefaultBodyLimit::max(media::BODY_BYTES_MAX));
    let subscribed = get(subscriptions).post(subscribe).delete(unsubscribe);
    Router::new()
        .route("/{version}/{id}", get(show).post(change).delete(forget))
        .route("/{version}/app", get(app))
        .route("/{version}/{id}/messages", post(sent))
        .route("/{version}/{id}/media", upload)
        .route("/{version}/{id}/subscribed_apps", subscribed)
        .route("/lookaside/{token}", get(media::download))
        .fallback(async || GraphError::new(2_500, "Unknown path components"))
        .layer(middleware::from_fn_with_state(Arc::clone(&world), note))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(world)
}

/// Notes the request and its answer.
async fn note(State(world): State<Arc<World>>, request: Request, next: Next) -> Response {
    let (method, path) = (request.method().to_string(), request.uri().path().to_owned());
    let seen = MetaRequest { method, path, status: None };
    let number = world.book().requests.push(seen, KEPT_MAX);
    let response = next.run(request).await;
    if response.extensions().get::<Unheard>().is_none()
        && let Some(it) = world.book().requests.get(number)
    {
        it.status = Some(response.status().as_u16());
    }
    response
}

async fn sent(
    State(world): State<Arc<World>>,
    Path((_, id)): Path<(String, String)>,
    headers: HeaderMap,
    body: Bytes,
) -> Answered {
    send::messages(&world, &id, &headers, body).await
}

async fn uploaded(
    State(world): State<Arc<World>>,
    Path((_, id)): Path<(String, String)>,
    headers: HeaderMap,
    body: Bytes,
) -> Answered {
    media::upload(&world, &id, &headers, &body)
}

/// A number by the fields that are asked for, or where a file is.
async fn show(
    State(world): State<Arc<World>>,
    Path((_, id)): Path<(String, String)>,
    Query(query): Query<HashMap<String, String>>,
    headers: HeaderMap,
) -> Answered {
    let token = bearer(&headers);
    if world.book().shelf.files.contains_key(&id) {
        return world.resolve(&id, token);
    }
    let number = world.own(&id, token)?;
    world.may_do(&number.id)?;
    let all = json!({
        "verified_name": "A business",
        "code_verification_status": "VERIFIED",
        "display_phone_number": number.phone_number,
        "quality_rating": number.quality_rating,
        "platform_type": "CLOUD_API",
        "throughput": { "level": number.throughput },
        "status": number.status,
        "webhook_configuration": { "application": number.callback,
            "phone_number": number.override_callback },
    });
    let asked = query.get("fields").map_or("display_phone_number", String::as_str);
    let mut shown = Map::from_iter([("id".to_owned(), json!(number.id))]);
    for field in asked.split(',').filter_map(|it| it.split('{').next()) {
        if let Some(value) = all.get(field) {
            shown.insert(field.to_owned(), value.clone());
        }
    }
    Ok(Json(Value::Object(shown)).into_response())
}

/// The app that the token is of.
async fn app(State(world): State<Arc<World>>, headers: HeaderMap) -> Answered {
    let token = bearer(&headers).ok_or_else(GraphError::bad_token)?;
    let book = world.book();
    let mut its = book.lines.values().filter(|it| it.number.access_token == token).peekable();
    its.peek().ok_or_else(GraphError::bad_token)?;
    if its.all(|it| it.number.tells_app) {
        return Ok(Json(json!({ "id": APP, "name": "App" })).into_response());
    }
    Err(GraphError::no_such("app"))
}

/// `POST /{pnid}`: the callback of this number alone; an empty one takes it away (A9).
async fn change(
    State(world): State<Arc<World>>,
    Path((_, id)): Path<(String, String)>,
    headers: HeaderMap,
    body: Bytes,
) -> Answered {
    let number = world.own(&id, bearer(&headers))?;
    world.may_do(&number.id)?;
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let asked = &body["webhook_configuration"];
    let uri = asked["override_callback_uri"].as_str();
    let uri = uri.ok_or_else(|| GraphError::missing("webhook_configuration"))?;
    let callback = world.verified(uri, asked).await?;
    if let Some(line) = world.book().lines.get_mut(&id) {
        line.number.override_callback = callback;
    }
    Ok(success())
}

async fn forget(
    State(world): State<Arc<World>>,
    Path((_, id)): Path<(String, String)>,
    headers: HeaderMap,
) -> Answered {
    world.forget(&id, bearer(&headers))
}

async fn subscriptions(
    State(world): State<Arc<World>>,
    Path((_, id)): Path<(String, String)>,
    headers: HeaderMap,
) -> Answered {
    let number = world.own_waba(&id, bearer(&headers))?;
    world.may_do(&number.id)?;
    let book = world.book();
    let of = |id: &str| json!({ "id": id, "link": "https://x", "name": "App" });
    let other = json!({ "whatsapp_business_api_data": of(OTHER_APP) });
    let mut apps = vec![other; usize::from(number.has_other_app)];
    if let Some(it) = book.wabas.get(&id).filter(|it| it.is_subscribed) {
        let mut app = json!({ "whatsapp_business_api_data": of(APP) });
        if let Some(uri) = &it.override_callback {
            app["override_callback_uri"] = json!(uri);
        }
        apps.push(app);
    }
    Ok(Json(json!({ "data": apps })).into_response())
}

/// Subscribes the app to the account; with a callback of the account's own, or without (A9).
async fn subscribe(
    State(world): State<Arc<World>>,
    Path((_, id)): Path<(String, String)>,
    headers: HeaderMap,
    body: Bytes,
) -> Answered {
    let number = world.own_waba(&id, bearer(&headers))?;
    world.may_do(&number.id)?;
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let callback = match body["override_callback_uri"].as_str() {
        Some(uri) => {
            if !world.book().wabas.get(&id).is_some_and(|it| it.is_subscribed) {
                return Err(GraphError::new(BAD_PARAMETER, "Subscribe the app first"));
            }
            world.verified(uri, &body).await?
        }
        None => None,
    };
    let mut book = world.book();
    let waba = book.wabas.entry(id).or_default();
    (waba.is_subscribed, waba.override_callback) = (true, callback);
    Ok(success())
}

async fn unsubscribe(
    State(world): State<Arc<World>>,
    Path((_, id)): Path<(String, String)>,
    headers: HeaderMap,
) -> Answered {
    world.own_waba(&id, bearer(&headers))?;
    world.book().wabas.entry(id).or_default().is_subscribed = false;
    Ok(success())
}

impl World {
    /// A callback that answered the handshake; `None` for an empty one, which has none.
    async fn verified(&self, uri: &str, body: &Value) -> Result<Option<String>, GraphError> {
        if uri.is_empty() {
            return Ok(None);
        }
        if uri.chars().count() > CALLBACK_CHARS_MAX {
            return Err(GraphError::invalid("override_callback_uri", "is too long"));
        }
        let token = body["verify_token"].as_str();
        let token = token.ok_or_else(|| GraphError::missing("verify_token"))?;
        if self.shakes_hands(uri, token).await {
            return Ok(Some(uri.to_owned()));
        }
        Err(GraphError::new(NOT_VERIFIED, "The callback did not answer with the challenge"))
    }

    /// The handshake of A1: 200 and the challenge, nothing else.
    pub(super) async fn shakes_hands(&self, uri: &str, token: &str) -> bool {
        let challenge = (1_158_201_444 + self.hooks.n_posted()).to_string();
        let Ok(mut url) = Url::parse(uri) else { return false };
        url.query_pairs_mut()
            .append_pair("hub.mode", "subscribe")
            .append_pair("hub.challenge", &challenge)
            .append_pair("hub.verify_token", token);
        let answer = self.hooks.fetch(url.as_str()).await;
        answer.is_ok_and(|it| it.0 == 200 && it.1 == challenge)
    }
}

fn success() -> Response {
    Json(json!({ "success": true })).into_response()
}
