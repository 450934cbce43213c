//! The description of all routes: `OpenAPI` 3.1 from the annotations of the handlers. What is true
//! of every route of a kind (who may call it, how it refuses) is added here, not repeated there.

use std::sync::LazyLock;

use axum::{
    http::header::{CACHE_CONTROL, CONTENT_TYPE},
    response::IntoResponse,
};
use bytes::Bytes;
use utoipa::{
    OpenApi, ToSchema,
    openapi::{
        Content, OpenApi as Document, Ref, RefOr, Response,
        path::{Operation, Parameter, ParameterIn, PathItem},
        schema::{ObjectBuilder, Type},
        security::{HttpAuthScheme, HttpBuilder, SecurityScheme},
    },
};

use super::answers::ErrorView;

/// It changes only with the program.
static DOCUMENT: LazyLock<Bytes> = LazyLock::new(|| {
    let document = described(super::described_routes(None).into_openapi());
    document.to_json().expect("the document has no key that is not text").into()
});

/// How long a reader may keep it.
const CACHED: &str = "public, max-age=300";
/// Answers of every route that asks for a key.
const BEHIND_KEY: &[u16] = &[401, 403, 429, 500, 503];
/// The refusals that routes have in common.
const REFUSALS: &[(u16, &str, &str)] = &[
    (400, "Malformed", "the request is malformed: not JSON, an unknown field, a wrong type"),
    (401, "Unauthorized", "no key, or not a valid one"),
    (403, "Forbidden", "the key is not good for this: another vendor's, read-only, or no admin's"),
    (404, "Unknown", "there is no such vendor, or it has nothing by that id"),
    (413, "TooLarge", "the body is larger than 1 MiB"),
    (429, "TooMany", "too many requests of this key or about this vendor; wait for `retry-after`"),
    (500, "Internal", "a fault of the gateway; tell the operator the `requestId`"),
    (503, "Unavailable", "it could not be kept; nothing was done. Try again after `retry-after`"),
];

/// What is said once, for all routes.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "waba-gateway",
        description = include_str!("openapi.md"),
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    // Relative to this document, for proxies that serve us under a path of theirs.
    servers((url = ".", description = "this gateway")),
    security(("key" = [])),
    components(schemas(ErrorView)),
    tags(
        (name = "Webhooks", description = "What providers call, proven by a signature"),
        (name = "Vendors", description = "Tenants, and how their customers are answered"),
        (name = "Numbers", description = "A vendor's WhatsApp numbers and their set-up"),
        (name = "Messages", description = "Sent and received, and what became of each"),
        (name = "Media", description = "Files: customers', and those to send"),
        (name = "Conversations", description = "With one customer: paused, exported, erased"),
        (name = "Events", description = "Forwarded to the vendor's own back end, signed"),
        (name = "Keys", description = "Who may call"),
        (name = "Journal", description = "What waits, what was given up, and what a person does about it"),
        (name = "Operation", description = "Health, metrics, and what concerns every vendor"),
    ),
)]
struct Base;

pub(super) fn base() -> Document {
    let mut base = Base::openapi();
    env!("CARGO_PKG_VERSION").clone_into(&mut base.info.version);
    base
}

/// This document
#[utoipa::path(get, path = "/openapi.json", tag = "Operation", operation_id = "openapi",
    security(()), responses((status = 200, description = "OpenAPI 3.1", body = serde_json::Value)))]
pub(super) async fn document() -> impl IntoResponse {
    ([(CONTENT_TYPE, "application/json"), (CACHE_CONTROL, CACHED)], DOCUMENT.clone())
}

fn described(mut document: Document) -> Document {
    for (path, item) in &mut document.paths.paths {
        let is_of_vendor = path.contains("{vendor_id}");
        for operation in operations(item) {
            if is_of_vendor {
                // The path says it for all.
                operation.parameters.iter_mut().for_each(|it| it.retain(|it| !is_vendor_id(it)));
            }
            refusals(operation, is_of_vendor);
        }
        if is_of_vendor {
            item.parameters.get_or_insert_default().push(vendor_id().into());
        }
    }
    let components = document.components.get_or_insert_default();
    let key = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some(KEY)).build();
    components.security_schemes.insert("key".to_owned(), SecurityScheme::Http(key).into());
    for (_, name, why) in REFUSALS {
        let mut refusal = Response::new(*why);
        in_our_form(&mut refusal);
        components.responses.insert((*name).to_owned(), refusal.into());
    }
    document
}

const VENDOR_ID: &str = "vendor_id";
const KEY: &str = "A key of the gateway: an admin's, or one vendor's. It begins with `wgk_`, or is \
                   the one the operator chose.";

fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    let PathItem { get, put, post, delete, patch, .. } = item;
    [get, put, post, delete, patch].into_iter().filter_map(Option::as_mut)
}

/// Adds to the answers of one operation the refusals that follow from what it is.
fn refusals(operation: &mut Operation, is_of_vendor: bool) {
    let asks_for_key = operation.security.is_none();
    let has_body = operation.request_body.is_some();
    let is_query = |it: &RefOr<Parameter>| {
        matches!(it, RefOr::T(Parameter { parameter_in: ParameterIn::Query, .. }))
    };
    let has_query = operation.parameters.iter().flatten().any(is_query);
    let answers = &mut operation.responses.responses;
    for answer in answers.iter_mut().filter(|it| it.0.starts_with(['4', '5'])) {
        if let RefOr::T(answer) = answer.1 {
            in_our_form(answer);
        }
    }
    for (status, name, _) in REFUSALS {
        let applies = asks_for_key
            && match status {
                400 => has_body || has_query,
                404 => is_of_vendor,
                413 => has_body,
                status => BEHIND_KEY.contains(status),
            };
        if applies {
            let refusal = || Ref::from_response_name(*name).into();
            answers.entry(status.to_string()).or_insert_with(refusal);
        }
    }
}

/// A refusal that does not say what its body is has the body of all refusals.
fn in_our_form(answer: &mut Response) {
    if answer.content.is_empty() {
        let form = Content::new(Some(Ref::from_schema_name(ErrorView::name())));
        answer.content.insert("application/json".to_owned(), form.into());
    }
}

fn is_vendor_id(it: &RefOr<Parameter>) -> bool {
    matches!(it, RefOr::T(it) if it.name == VENDOR_ID)
}

fn vendor_id() -> Parameter {
    let text = ObjectBuilder::new()
        .schema_type(Type::String)
        .pattern(Some("^[A-Za-z0-9_-]{1,64}$"))
        .examples(["vendor_001"]);
    let mut vendor_id = Parameter::new(VENDOR_ID);
    vendor_id.parameter_in = ParameterIn::Path;
    vendor_id.description = Some("the vendor's id".to_owned());
    vendor_id.schema = Some(text.build().into());
    vendor_id
}
