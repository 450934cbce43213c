//! The description of the routes: whole in itself, and true of what is served.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::support::{Client, TestApp, spawn_app};

const METHODS: [&str; 5] = ["get", "put", "post", "delete", "patch"];

/// One described operation.
struct Operation {
    method: String,
    path: String,
    item: Value,
    it: Value,
}

impl Operation {
    fn name(&self) -> String {
        format!("{} {}", self.method, self.path)
    }

    fn asks_for_key(&self) -> bool {
        self.it.get("security").is_none()
    }

    fn parameters(&self) -> impl Iterator<Item = &Value> {
        let of_both = [&self.item["parameters"], &self.it["parameters"]];
        of_both.into_iter().filter_map(Value::as_array).flatten()
    }

    /// The path with an id for each parameter.
    fn filled(&self, vendor: &str) -> String {
        let filled = self.path.replace("{vendor_id}", vendor);
        let mut parts = filled.split('{');
        let first = parts.next().unwrap().to_owned();
        parts.fold(first, |so_far, part| so_far + "none" + part.split_once('}').unwrap().1)
    }
}

async fn document(app: &TestApp) -> Value {
    let answer = Client::new(&app.base, "").get("/openapi.json").await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.headers["content-type"], "application/json");
    assert_eq!(answer.headers["cache-control"], "public, max-age=300");
    answer.json()
}

fn operations(document: &Value) -> Vec<Operation> {
    let mut found = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in METHODS {
            if let Some(it) = item.get(method) {
                let (path, method) = (path.clone(), method.to_uppercase());
                found.push(Operation { method, path, item: item.clone(), it: it.clone() });
            }
        }
    }
    found
}

fn references<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
    match value {
        Value::Object(fields) => {
            found.extend(fields.get("$ref").and_then(Value::as_str));
            fields.values().for_each(|it| references(it, found));
        }
        Value::Array(items) => items.iter().for_each(|it| references(it, found)),
        _ => {}
    }
}

#[tokio::test]
async fn the_document_is_whole_in_itself() {
    let app = spawn_app().await;
    let document = document(&app).await;
    assert_eq!(document["openapi"], "3.1.0");
    assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(document["components"]["securitySchemes"]["key"]["scheme"], "bearer");
    assert_eq!(document["security"], json!([{ "key": [] }]));

    let mut found = Vec::new();
    references(&document, &mut found);
    assert!(found.len() > 50, "there are {} references", found.len());
    for reference in found {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some(), "{reference} points nowhere");
    }

    let tags = document["tags"].as_array().unwrap();
    let tags: BTreeSet<&str> = tags.iter().map(|it| it["name"].as_str().unwrap()).collect();
    let mut ids = BTreeSet::new();
    for operation in operations(&document) {
        let (name, it) = (operation.name(), &operation.it);
        assert!(ids.insert(it["operationId"].as_str().unwrap().to_owned()), "{name}: id twice");
        let summary = it["summary"].as_str().unwrap_or_default();
        assert!(!summary.is_empty() && !summary.ends_with('.'), "{name}: {summary}");
        let own = it["tags"].as_array().unwrap();
        assert!(own.len() == 1 && tags.contains(own[0].as_str().unwrap()), "{name}: {own:?}");
        check_parameters(&operation);
        check_answers(&operation);
    }
}

/// Each part of the path is declared, once, and nothing else is said to be in the path.
fn check_parameters(operation: &Operation) {
    let in_path = operation.path.split('{').skip(1);
    let in_path: BTreeSet<&str> = in_path.map(|it| it.split_once('}').unwrap().0).collect();
    let mut declared = BTreeSet::new();
    for it in operation.parameters().filter(|it| it["in"] == "path") {
        assert_eq!(it["required"], true, "{}: {it}", operation.name());
        assert!(declared.insert(it["name"].as_str().unwrap()), "{}: {it}", operation.name());
    }
    assert_eq!(declared, in_path, "{}", operation.name());
    for it in operation.parameters() {
        assert!(it["description"].is_string() && it["schema"].is_object(), "{it}");
    }
}

fn check_answers(operation: &Operation) {
    let answers = operation.it["responses"].as_object().unwrap();
    let name = operation.name();
    assert!(answers.keys().any(|it| it.starts_with(['2', '3'])), "{name} never succeeds");
    for (status, answer) in answers {
        let is_shared = answer.get("$ref").is_some();
        let says = answer["description"].as_str().is_some_and(|it| !it.is_empty());
        let has_body = answer["content"].is_object() || status.starts_with('3');
        assert!(is_shared || (says && has_body), "{name} {status}");
    }
    let mut wanted = Vec::new();
    if operation.asks_for_key() {
        wanted.extend(["401", "403", "429", "500", "503"]);
        if operation.it.get("requestBody").is_some() {
            wanted.extend(["400", "413"]);
        }
        if operation.path.contains("{vendor_id}") {
            wanted.push("404");
        }
    }
    for status in wanted {
        assert!(answers.contains_key(status), "{name} has no {status}");
    }
}

/// A handshake of Meta's with a token that is nobody's.
const HANDSHAKE: &str = "hub.mode=subscribe&hub.verify_token=none&hub.challenge=1";

#[tokio::test]
async fn every_described_operation_is_served_and_no_other() {
    let app = spawn_app().await;
    let vendor = app.vendor(1).await;
    let document = document(&app).await;
    let stranger = Client::new(&app.base, "");
    let mut methods_of = BTreeMap::<String, BTreeSet<String>>::new();
    for operation in operations(&document) {
        methods_of.entry(operation.path.clone()).or_default().insert(operation.method.clone());
        let path = operation.filled(vendor.id.as_str()).replace("docs/none", "docs/start.js");
        let path = match (operation.method.as_str(), path.starts_with("/api/webhooks/meta/")) {
            ("GET", true) => format!("{path}?{HANDSHAKE}"),
            _ => path,
        };
        let answer = stranger.call(&operation.method, &path, None, &[]).await;
        let is_webhook = operation.path.starts_with("/api/webhooks/");
        assert!(!is_webhook || !operation.asks_for_key(), "{}", operation.name());
        let wanted = match operation.path.as_str() {
            // Nobody has made such a link.
            "/media/{token}" => 404,
            _ if operation.asks_for_key() || is_webhook => 401,
            _ => 200,
        };
        assert_eq!(answer.status, wanted, "{}: {}", operation.name(), answer.text);
    }
    assert!(methods_of.len() >= 25, "{} paths", methods_of.len());
    for (path, methods) in methods_of {
        let filled = path.replace("{vendor_id}", vendor.id.as_str()).replace(['{', '}'], "");
        for method in METHODS.map(str::to_uppercase) {
            if !methods.contains(&method) {
                let status = stranger.call(&method, &filled, None, &[]).await.status;
                assert_eq!(status, 405, "{method} {path} is served and not described");
            }
        }
    }
}

/// The members of a schema, through references and what is put together of several.
fn members(document: &Value, schema: &Value) -> BTreeMap<String, Value> {
    if let Some(reference) = schema["$ref"].as_str() {
        return members(document, document.pointer(&reference[1..]).unwrap());
    }
    let mut found = BTreeMap::new();
    for part in ["allOf", "oneOf", "anyOf"].iter().filter_map(|it| schema[*it].as_array()) {
        part.iter().for_each(|it| found.extend(members(document, it)));
    }
    if let Some(own) = schema["properties"].as_object() {
        found.extend(own.iter().map(|it| (it.0.clone(), it.1.clone())));
    }
    found
}

#[track_caller]
fn check_shape(document: &Value, schema: &Value, value: &Value) {
    match value {
        Value::Object(fields) => {
            let members = members(document, schema);
            for (name, value) in fields {
                let member = members.get(name);
                assert!(member.is_some() || members.is_empty(), "{name} is not in {members:?}");
                if let Some(member) = member {
                    check_shape(document, member, value);
                }
            }
        }
        Value::Array(items) => {
            items.iter().for_each(|it| check_shape(document, &schema["items"], it));
        }
        _ => {}
    }
}

#[tokio::test]
async fn answers_are_as_described() {
    let app = spawn_app().await;
    let vendor = app.vendor(1).await;
    let document = document(&app).await;
    let send = format!("/api/admin/vendors/{}/send-message", vendor.id);
    let sent = app.admin.post(&send, json!({ "to": "+221705550001", "message": "bonjour" })).await;
    let id = sent.json()["messageId"].as_str().unwrap().to_owned();
    let list = format!("/api/admin/vendors/{}/conversations", vendor.id);
    let conversations = app.admin.get(&list).await.json();
    let talk = conversations["conversations"][0]["conversationId"].as_str().unwrap().to_owned();
    let job = crate::bulk::taken(&app, &vendor, &crate::bulk::lines(1, Some(1))).await;
    let mut n_checked = 0;
    for operation in operations(&document).iter().filter(|it| it.method == "GET") {
        let path = operation.path.replace("{vendor_id}", vendor.id.as_str());
        let path = path.replace("{message_id}", &id).replace("{waba_id}", "waba_vendor_001");
        let path = path.replace("{conversation_id}", &talk).replace("{job_id}", &job);
        let is_other = ["/docs", "/api/webhooks/"].iter().any(|it| path.starts_with(it));
        if path.contains('{') || path == "/openapi.json" || is_other {
            continue;
        }
        let mut answer = app.admin.get(&path).await;
        while answer.status == 429 {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            answer = app.admin.get(&path).await;
        }
        assert_eq!(answer.status, 200, "{path}: {}", answer.text);
        let content = &operation.it["responses"]["200"]["content"];
        let Some(json) = content.get("application/json") else { continue };
        check_shape(&document, &json["schema"], &answer.json());
        n_checked += 1;
    }
    assert!(n_checked >= 20, "{n_checked} answers were checked");
    let missing = app.admin.get("/api/admin/vendors/nobody").await.json();
    let form = &document["components"]["schemas"]["ErrorView"];
    check_shape(&document, form, &missing);
    assert!(form["required"].as_array().unwrap().contains(&json!("error")));
}

#[tokio::test]
async fn secrets_are_taken_and_never_shown() {
    let app = spawn_app().await;
    let document = document(&app).await;
    let mut n_secrets = 0;
    for (name, schema) in document["components"]["schemas"].as_object().unwrap() {
        let variants = schema["oneOf"].as_array().into_iter().flatten();
        let all = variants.chain([schema]).flat_map(|it| members(&document, it));
        for (field, member) in all.filter(|it| is_secret(&it.0) && name.ends_with("Body")) {
            let is_write_only = member.to_string().contains("\"writeOnly\":true");
            assert!(is_write_only, "{name}.{field} is a secret: {member}");
            n_secrets += 1;
        }
    }
    assert!(n_secrets >= 9, "{n_secrets} secrets were found");
}

fn is_secret(field: &str) -> bool {
    let endings = ["ApiKey", "Secret", "Token", "webId", "headers"];
    endings.iter().any(|it| field.ends_with(it))
}

/// What a schema gives for an example of each member that has one.
fn example(document: &Value, schema: &Value) -> Value {
    let with_example = members(document, schema).into_iter();
    let with_example = with_example.filter_map(|it| Some((it.0, it.1.get("example")?.clone())));
    Value::Object(with_example.collect())
}

#[tokio::test]
async fn the_examples_of_request_bodies_are_accepted() {
    let app = spawn_app().await;
    let document = document(&app).await;
    // In the order in which somebody new would ask.
    for (path, method, status) in [
        ("/api/admin/vendors/{vendor_id}", "put", 201),
        ("/api/admin/vendors/{vendor_id}/waba-instances", "post", 201),
        ("/api/admin/vendors/{vendor_id}/send-message", "post", 202),
        ("/api/admin/keys", "post", 201),
    ] {
        let body = &document["paths"][path][method]["requestBody"];
        let body = example(&document, &body["content"]["application/json"]["schema"]);
        assert!(!body.as_object().unwrap().is_empty(), "{path} has no example");
        let path = path.replace("{vendor_id}", "vendor_001");
        let answer = app.admin.call(&method.to_uppercase(), &path, Some(body.clone()), &[]).await;
        assert_eq!(answer.status, status, "{path} {body}: {}", answer.text);
    }
}

#[tokio::test]
async fn the_page_needs_nothing_from_elsewhere() {
    let app = spawn_app().await;
    let stranger = Client::new(&app.base, "");
    let page = stranger.get("/docs").await;
    assert_eq!((page.status, &page.text), (200, &stranger.get("/docs/").await.text));
    // What it is made of is under its own path, wherever a proxy may have put that.
    let parts = page.text.split(['"', '\'']).filter(|it| it.contains(".js") || it.contains(".css"));
    let parts: BTreeSet<&str> = parts.filter(|it| !it.contains(' ')).collect();
    assert_eq!(parts.len(), 4, "{parts:?}");
    for part in parts {
        assert!(!part.contains(':') && !part.starts_with('/'), "{part}");
        let answer = stranger.get(&format!("/docs/{part}")).await;
        assert_eq!(answer.status, 200, "{part}");
        assert!(!answer.headers.contains_key("set-cookie"));
    }
    let policy = page.headers["content-security-policy"].to_str().unwrap();
    assert!(policy.starts_with("default-src 'none'; script-src 'self';"), "{policy}");
    assert!(!policy.contains("unsafe") && !policy.contains("http"), "{policy}");
    let bundle = stranger.get("/docs/swagger-ui-bundle.js").await;
    assert_eq!(bundle.headers["content-encoding"], "gzip");
    assert!(bundle.text.len() > 100_000);
    for strange in ["nothing.js", "index.html", "..%2fopenapi.json"] {
        assert_eq!(stranger.get(&format!("/docs/{strange}")).await.status, 404, "{strange}");
    }
}
