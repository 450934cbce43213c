//! The simulated Meta over real HTTP.

mod limits;

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU16, Ordering},
    },
};

use axum::{
    Router,
    extract::{Query, State},
    http::{HeaderMap, StatusCode},
};
use bytes::Bytes;

use super::{
    super::{FileKind, sign_hmac},
    *,
};

const OWN: &str = "+15550783881";
const CUSTOMER: &str = "+16505551234";
const TOKEN: &str = "the-verify-token";

struct Rig {
    twin: MetaTwin,
    number: MetaNumber,
    receiver: Receiver,
    url: String,
    http: reqwest::Client,
}

/// Takes webhooks, keeps them, and answers handshakes.
#[derive(Clone, Default)]
struct Receiver {
    posts: Arc<Mutex<Vec<(HeaderMap, Bytes)>>>,
    /// How many more are answered 503.
    n_refused: Arc<AtomicU16>,
}

async fn receive(
    State(receiver): State<Receiver>,
    Query(query): Query<HashMap<String, String>>,
    headers: HeaderMap,
    body: Bytes,
) -> (StatusCode, String) {
    if let Some(challenge) = query.get("hub.challenge") {
        let is_good = query["hub.mode"] == "subscribe" && query["hub.verify_token"] == TOKEN;
        let status = if is_good { StatusCode::OK } else { StatusCode::FORBIDDEN };
        return (status, challenge.clone());
    }
    receiver.posts.lock().unwrap().push((headers, body));
    let left = receiver.n_refused.load(Ordering::Relaxed);
    receiver.n_refused.store(left.saturating_sub(1), Ordering::Relaxed);
    let status = if left > 0 { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
    (status, String::new())
}

#[expect(clippy::disallowed_methods, reason = "it calls the twin, not the world")]
async fn rig() -> Rig {
    let (twin, receiver) = (MetaTwin::start().await.unwrap(), Receiver::default());
    let number = twin.add_number(NewMetaNumber::new(OWN));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    let router = Router::new().fallback(receive).with_state(receiver.clone());
    tokio::spawn(async { axum::serve(listener, router).await });
    twin.set_callback(&number.id, &url);
    Rig { twin, number, receiver, url, http: reqwest::Client::new() }
}

impl Rig {
    async fn call(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        self.call_as(&self.number.access_token, method, path, body).await
    }

    async fn call_as(&self, token: &str, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let url = format!("{}/{path}", self.twin.api_url());
        let request = self.http.request(method.parse().unwrap(), url).bearer_auth(token);
        let response = request.json(body).send().await.unwrap();
        let status = response.status().as_u16();
        (status, response.json().await.unwrap_or_default())
    }

    async fn send(&self, mut body: Value) -> (u16, Value) {
        body["messaging_product"] = json!("whatsapp");
        if body["to"].is_null() && body["recipient"].is_null() {
            body["to"] = json!(CUSTOMER);
        }
        self.call("POST", &format!("{}/messages", self.number.id), &body).await
    }

    async fn send_text(&self) -> (u16, Value) {
        self.send(json!({ "text": { "body": "Hi" }, "biz_opaque_callback_data": "out_1" })).await
    }

    fn misbehave(&self, how: MetaMisbehaviour) {
        self.twin.misbehave(&self.number.id, how, Times::Once);
    }

    /// The changes of all webhooks so far, in order.
    async fn changes(&self) -> Vec<Value> {
        self.twin.idle().await;
        let posts = self.receiver.posts.lock().unwrap().clone();
        let bodies = posts.iter().map(|it| serde_json::from_slice::<Value>(&it.1).unwrap());
        let entries = bodies.flat_map(|it| it["entry"].as_array().unwrap().clone());
        entries.flat_map(|it| it["changes"].as_array().unwrap().clone()).collect()
    }

    async fn statuses(&self) -> Vec<Value> {
        let all = self.changes().await;
        let all = all.into_iter().filter_map(|it| it["value"]["statuses"].as_array().cloned());
        all.flatten().collect()
    }

    async fn words(&self) -> Vec<String> {
        let all = self.statuses().await;
        all.iter().map(|it| it["status"].as_str().unwrap().to_owned()).collect()
    }
}

#[tokio::test]
async fn a_send_is_taken_remembered_and_followed_by_its_statuses() {
    let rig = rig().await;
    let (status, answer) = rig.send_text().await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(answer["contacts"][0]["wa_id"], "16505551234");
    let sent = &rig.twin.sends()[0];
    assert_eq!((sent.to.as_str(), sent.text.as_str()), (CUSTOMER, "Hi"));
    assert_eq!(answer["messages"][0]["id"], sent.wamid.as_str());
    let statuses = rig.statuses().await;
    assert_eq!(rig.words().await, ["sent", "delivered", "read"]);
    for it in statuses {
        assert_eq!((&it["id"], &it["recipient_id"]), (&json!(sent.wamid), &json!("16505551234")));
        assert_eq!(it["biz_opaque_callback_data"], "out_1");
    }
    let bsuid = "US.13491208655302741918";
    let (_, answer) = rig.send(json!({ "recipient": bsuid, "text": { "body": "Hi" } })).await;
    assert_eq!(answer["contacts"][0], json!({ "input": bsuid, "user_id": bsuid }));
    let last = rig.statuses().await.pop().unwrap();
    assert_eq!((&last["recipient_user_id"], &last["recipient_id"]), (&json!(bsuid), &json!(null)));
}

#[tokio::test]
async fn it_misbehaves_on_request() {
    let rig = rig().await;
    for (code, status) in [
        (130_429, 429),
        (131_056, 400),
        (131_047, 400),
        (190, 401),
        (368, 403),
        (131_016, 503),
        (131_000, 500),
    ] {
        rig.misbehave(MetaMisbehaviour::Refuse(code));
        let (got, answer) = rig.send_text().await;
        assert_eq!((got, &answer["error"]["code"]), (status, &json!(code)), "{answer}");
    }
    rig.misbehave(MetaMisbehaviour::Fail { status: 502, accepted: false });
    assert_eq!(rig.send_text().await.0, 502);
    assert!(rig.twin.sends().is_empty() && rig.words().await.is_empty());
    rig.misbehave(MetaMisbehaviour::FailsLater(131_047));
    assert_eq!(rig.send_text().await.0, 200);
    let failed = rig.statuses().await.pop().unwrap();
    assert_eq!(
        (&failed["status"], &failed["errors"][0]["code"]),
        (&"failed".into(), &131_047.into())
    );
    rig.misbehave(MetaMisbehaviour::BatchedStatuses);
    rig.misbehave(MetaMisbehaviour::StatusesOutOfOrder);
    let n_hooks = rig.twin.n_hooks();
    assert_eq!(rig.send_text().await.0, 200);
    assert_eq!(rig.words().await[1..], ["read", "delivered", "sent"]);
    assert_eq!(rig.twin.n_hooks(), n_hooks + 1);
    rig.misbehave(MetaMisbehaviour::EarlyStatuses);
    rig.misbehave(MetaMisbehaviour::Cut { accepted: true });
    let url = format!("{}/{}/messages", rig.twin.api_url(), rig.number.id);
    let request = rig.http.post(url).bearer_auth(&rig.number.access_token);
    let body = json!({ "messaging_product": "whatsapp", "to": CUSTOMER, "text": { "body": "x" } });
    assert!(request.json(&body).send().await.is_err());
    assert_eq!(rig.receiver.posts.lock().unwrap().len() as u64, n_hooks + 4, "before the cut");
}

#[tokio::test]
async fn a_webhook_is_signed_as_it_leaves_and_comes_again_until_it_is_taken() {
    let rig = rig().await;
    rig.receiver.n_refused.store(2, Ordering::Relaxed);
    let customer = MetaCustomer::new(CUSTOMER).named("Zoë");
    let inbound = MetaInbound::text("äöå 😀 a/b");
    let answer = rig.twin.customer_says(&rig.number.id, &customer, &inbound).await;
    assert_eq!(answer.status, 503);
    let changes = rig.changes().await;
    assert_eq!(changes.len(), 3, "it came three times");
    let value = &changes[0]["value"];
    assert_eq!(value["messages"][0]["text"]["body"], "äöå 😀 a/b");
    assert_eq!(value["metadata"]["phone_number_id"], rig.number.id.as_str());
    assert_eq!(value["contacts"][0]["wa_id"], "16505551234");
    let (headers, body) = rig.receiver.posts.lock().unwrap()[0].clone();
    let signature = format!("sha256={}", sign_hmac(&rig.number.app_secret, &body));
    assert_eq!(headers["x-hub-signature-256"], signature.as_str());
    assert!(body.is_ascii() && String::from_utf8_lossy(&body).contains(r"\u00e4\u00f6\u00e5"));
    assert!(String::from_utf8_lossy(&body).contains(r"\ud83d\ude00 a\/b"));
    assert_eq!(rig.twin.hook_failures().len(), 2);
}

#[tokio::test]
async fn one_webhook_tells_of_several_numbers() {
    let rig = rig().await;
    let new = NewMetaNumber::new("+15550783882").beside(&rig.number);
    let second = rig.twin.add_number(new);
    let (one, two) = (MetaCustomer::new(CUSTOMER), MetaCustomer::hidden("US.1349"));
    let (hi, photo) = (MetaInbound::text("Hi"), MetaInbound::file(FileKind::Image, "x"));
    let said = [(rig.number.id.as_str(), &one, &hi), (second.id.as_str(), &two, &photo)];
    assert!(rig.twin.customers_say(&said).await.is_ok());
    let changes = rig.changes().await;
    assert_eq!((changes.len(), rig.twin.n_hooks()), (2, 1));
    let message = &changes[1]["value"]["messages"][0];
    assert_eq!((&message["from"], &message["from_user_id"]), (&json!(null), &json!("US.1349")));
    let file = rig.twin.file(message["image"]["id"].as_str().unwrap()).unwrap();
    assert_eq!((file.number, file.bytes), (second.id, Bytes::from("x")));
}

#[tokio::test]
async fn callbacks_of_an_account_and_a_number_answer_a_handshake_first() {
    let rig = rig().await;
    assert!(rig.twin.shakes_hands(&rig.url, TOKEN).await);
    assert!(!rig.twin.shakes_hands(&rig.url, "another").await);
    let (waba, own) = (rig.number.waba_id.clone(), rig.number.id.clone());
    let apps = format!("{waba}/subscribed_apps");
    let waba_url = format!("{}?of=waba", rig.url);
    let set = json!({ "override_callback_uri": waba_url, "verify_token": TOKEN });
    assert_eq!(rig.call("POST", &apps, &set).await.0, 200);
    let (_, shown) = rig.call("GET", &apps, &json!({})).await;
    assert_eq!(shown["data"][0]["override_callback_uri"], waba_url.as_str());
    let bad = json!({ "override_callback_uri": rig.url, "verify_token": "another" });
    let (status, answer) = rig.call("POST", &own, &json!({ "webhook_configuration": bad })).await;
    assert_eq!((status, &answer["error"]["code"]), (400, &json!(2_200)));
    let own_url = format!("{}?of=number", rig.url);
    let good = json!({ "override_callback_uri": own_url, "verify_token": TOKEN });
    let (status, _) = rig.call("POST", &own, &json!({ "webhook_configuration": good })).await;
    assert_eq!(status, 200);
    assert_eq!(rig.twin.number(&own).unwrap().override_callback, Some(own_url));
    let (_, shown) = rig
        .call("GET", &format!("{own}?fields=id,quality_rating,throughput{{level}}"), &json!({}))
        .await;
    let want =
        json!({ "id": own, "quality_rating": "GREEN", "throughput": { "level": "STANDARD" } });
    assert_eq!(shown, want);
    assert_eq!(rig.call("DELETE", &apps, &json!({})).await.0, 200);
    let hi = MetaInbound::text("Hi");
    let answer = rig.twin.customer_says(&own, &MetaCustomer::new(CUSTOMER), &hi).await;
    assert_eq!(answer.status, 0, "nobody is subscribed");
}

#[tokio::test]
async fn what_came_in_can_be_marked_as_read_and_nothing_else() {
    let rig = rig().await;
    let customer = MetaCustomer::new(CUSTOMER);
    let hi = MetaInbound::text("Hi").with_id("wamid.IN");
    rig.twin.customer_says(&rig.number.id, &customer, &hi).await;
    let read = json!({ "status": "read", "message_id": "wamid.IN" });
    let path = format!("{}/messages", rig.number.id);
    let mut body = read.clone();
    body["messaging_product"] = json!("whatsapp");
    body["typing_indicator"] = json!({ "type": "text" });
    assert_eq!(rig.call("POST", &path, &body).await, (200, json!({ "success": true })));
    body["message_id"] = json!("wamid.OTHER");
    assert_eq!(rig.call("POST", &path, &body).await.0, 400);
    let read = rig.twin.wait_reads(1, Duration::from_secs(5)).await;
    assert_eq!((read.len(), read[0].is_typing), (1, true));
}

#[tokio::test]
async fn a_file_goes_up_and_comes_down_with_the_token_of_its_number_alone() {
    let rig = rig().await;
    let form = "--B\r\ncontent-disposition: form-data; name=\"messaging_product\"\r\n\r\nwhatsapp\r\n\
        --B\r\ncontent-disposition: form-data; name=\"type\"\r\n\r\nimage/png\r\n\
        --B\r\ncontent-disposition: form-data; name=\"file\"; filename=\"a.png\"\r\n\
        content-type: image/png\r\n\r\nline\r\nline\r\n--B--\r\n";
    let url = format!("{}/{}/media", rig.twin.api_url(), rig.number.id);
    let request = rig.http.post(url).bearer_auth(&rig.number.access_token);
    let request = request.header("content-type", "multipart/form-data; boundary=B").body(form);
    let answer: Value = request.send().await.unwrap().json().await.unwrap();
    let id = answer["id"].as_str().unwrap();
    assert_eq!(rig.twin.file(id).unwrap().bytes, "line\r\nline");
    let (_, found) = rig.call("GET", id, &json!({})).await;
    assert_eq!((&found["mime_type"], &found["file_size"]), (&"image/png".into(), &10.into()));
    let get = async |token: &str| {
        let url = found["url"].as_str().unwrap();
        let answer = rig.http.get(url).bearer_auth(token).send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    };
    assert_eq!(get(&rig.number.access_token).await, (200, "line\r\nline".to_owned()));
    let other = rig.twin.add_number(NewMetaNumber::new("+15550783882"));
    assert_eq!(get(&other.access_token).await.0, 401);
    assert_eq!(rig.call_as(&other.access_token, "GET", id, &json!({})).await.0, 400);
    assert_eq!(rig.call_as("nobody", "GET", id, &json!({})).await.0, 401);
    rig.misbehave(MetaMisbehaviour::UrlExpired);
    assert_eq!(get(&rig.number.access_token).await.0, 404);
    assert_eq!(rig.call("DELETE", id, &json!({})).await.0, 200);
    assert_eq!(get(&rig.number.access_token).await.0, 404);
}
