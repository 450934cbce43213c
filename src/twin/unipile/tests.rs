//! The twin over real HTTP.

use std::{
    fmt::Write,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    extract::State,
    http::{HeaderMap, StatusCode},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use serde_json::{Value, json};

use super::{
    Generation::{self, V1, V2},
    UnipileFault, UnipileFile, UnipileNumber, UnipileTwin, sign,
};
use crate::twin::{Customer, Times};

const TO: &str = "221705555555@s.whatsapp.net";
const BOUNDARY: &str = "b";
const LONG: Duration = Duration::from_secs(10);

#[derive(Clone, Default)]
struct Receiver {
    posts: Arc<Mutex<Vec<(HeaderMap, Bytes)>>>,
    /// So many are answered 500.
    refuses: Arc<AtomicUsize>,
}

struct Rig {
    twin: UnipileTwin,
    number: UnipileNumber,
    receiver: Receiver,
    http: reqwest::Client,
}

#[expect(clippy::disallowed_methods, reason = "it calls the twin, not the world")]
async fn rig(generation: Generation) -> Rig {
    let twin = UnipileTwin::start().await.unwrap();
    let number = twin.add_number("+221771234567", generation);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    let receiver = Receiver::default();
    let router = Router::new().fallback(receive).with_state(receiver.clone());
    tokio::spawn(async { axum::serve(listener, router).await });
    twin.set_webhook(&number.account_id, &url, "secret");
    Rig { twin, number, receiver, http: reqwest::Client::new() }
}

async fn receive(State(receiver): State<Receiver>, headers: HeaderMap, body: Bytes) -> StatusCode {
    receiver.posts.lock().unwrap().push((headers, body));
    let refuse = |it: usize| it.checked_sub(1);
    match receiver.refuses.fetch_update(Ordering::Relaxed, Ordering::Relaxed, refuse) {
        Ok(_) => StatusCode::INTERNAL_SERVER_ERROR,
        Err(_) => StatusCode::OK,
    }
}

impl Rig {
    async fn call(
        &self,
        method: &str,
        path: &str,
        kind: &str,
        body: Vec<u8>,
    ) -> Option<(u16, Value)> {
        let base = match self.number.generation {
            V1 => format!("{}/api/v1", self.twin.dsn(V1)),
            V2 => self.twin.dsn(V2),
        };
        let request = self.http.request(method.parse().unwrap(), format!("{base}{path}"));
        let request = request.header("x-api-key", &self.number.api_key);
        let request = request.header("content-type", kind).body(body);
        let answer = request.send().await.ok()?;
        Some((answer.status().as_u16(), answer.json().await.unwrap_or_default()))
    }

    async fn get(&self, path: &str) -> (u16, Value) {
        self.call("GET", path, "application/json", Vec::new()).await.unwrap()
    }

    async fn json(&self, path: &str, body: Value) -> (u16, Value) {
        let body = body.to_string().into_bytes();
        self.call("POST", path, "application/json", body).await.unwrap()
    }

    async fn form(&self, path: &str, fields: &[(&str, &str)]) -> Option<(u16, Value)> {
        let mut body = String::new();
        for (name, value) in fields {
            let name = match *name {
                "file" => "attachments\"; filename=\"a.png\"\r\ncontent-type: image/png".to_owned(),
                name => format!("{name}\""),
            };
            let _ = write!(
                body,
                "--{BOUNDARY}\r\ncontent-disposition: form-data; name=\"{name}\r\n\r\n{value}\r\n"
            );
        }
        body.push_str("--b--\r\n");
        let kind = format!("multipart/form-data; boundary={BOUNDARY}");
        self.call("POST", path, &kind, body.into_bytes()).await
    }

    /// To the customer, with the account's id and these fields.
    async fn send(&self, fields: &[(&str, &str)]) -> Option<(u16, Value)> {
        let mut all = vec![("account_id", self.number.account_id.as_str()), ("attendees_ids", TO)];
        all.extend(fields);
        self.form("/chats", &all).await
    }

    /// The webhooks so far, each in a few words.
    async fn told(&self) -> Vec<String> {
        self.twin.idle().await;
        let posts = self.receiver.posts.lock().unwrap().clone();
        let word = |it: &Value| it.as_str().unwrap_or_default().to_owned();
        let told = posts.iter().map(|(headers, body)| {
            let json: Value = serde_json::from_slice(body).unwrap();
            let is_good = match self.number.generation {
                V1 => headers["unipile-auth"] == "secret",
                V2 => {
                    let given = headers["unipile-signature"].to_str().unwrap();
                    let at = given[2..].split_once(',').unwrap().0.parse().unwrap();
                    sign("secret", at, body) == given
                }
            };
            let own = json["is_sender"] == true || json["payload"]["is_sender"] == true;
            let status = word(&json["AccountStatus"]["message"]);
            let words = [word(&json["event"]), word(&json["type"]), status].concat();
            let own =
                if own && words.contains("rec") | words.contains("new") { " own" } else { "" };
            format!("{words}{own}{}", if is_good { "" } else { " forged" })
        });
        told.collect()
    }

    fn misbehave(&self, fault: UnipileFault) {
        self.twin.misbehave(&self.number.account_id, fault, Times::Once);
    }
}

#[test]
fn it_signs_as_the_second_generation_does() {
    let want = "t=1767225600,v0=45b40331de0325606dc5400202ade162460fbe48daf9401adfdcd0d7b4f35470";
    assert_eq!(sign("whsec_test", 1_767_225_600, br#"{"id":"evt_1"}"#), want);
}

#[tokio::test]
async fn a_send_is_taken_echoed_and_can_be_looked_up() {
    let rig = rig(V1).await;
    let (status, sent) = rig.send(&[("text", "Bonjour"), ("file", "png")]).await.unwrap();
    assert_eq!((status, &sent["object"]), (201, &json!("ChatStarted")));
    assert_eq!(rig.told().await, ["message_received own", "message_delivered", "message_read"]);
    let sends = rig.twin.wait_sends(1, LONG).await;
    assert_eq!((sends[0].text.as_str(), sends[0].to.as_str()), ("Bonjour", TO));
    assert_eq!(sends[0].files, [UnipileFile::new("image/png", "a.png", "png")]);
    let chat = sent["chat_id"].as_str().unwrap();
    let reply = [("text", "Encore"), ("quote_id", sends[0].message_id.as_str())];
    let (status, again) = rig.form(&format!("/chats/{chat}/messages"), &reply).await.unwrap();
    assert_eq!((status, &again["object"]), (201, &json!("MessageSent")));
    let (_, listed) = rig.get(&format!("/chats/{chat}/messages?limit=1")).await;
    assert_eq!(
        (&listed["items"][0]["text"], &listed["items"][0]["is_sender"]),
        (&json!("Encore"), &json!(1))
    );
    let (_, one) = rig.get(&format!("/messages/{}", sends[0].message_id)).await;
    assert_eq!((&one["seen"], &one["attachments"][0]["type"]), (&json!(1), &json!("img")));
    assert_eq!(rig.get("/chats").await.1["items"].as_array().unwrap().len(), 1);
    assert_eq!(rig.get("/chats/nobody").await.0, 404);
    let other = rig.twin.add_number("+221771234568", V1);
    let (status, _) = rig.get(&format!("/accounts/{}", other.account_id)).await;
    assert_eq!(status, 404, "another account is nobody's");
}

#[tokio::test]
async fn the_second_generation_takes_json() {
    let rig = rig(V2).await;
    let account = &rig.number.account_id;
    let file = json!({ "content": STANDARD.encode("png"), "content_type": "image/png", "filename": "a.png" });
    let body = json!({ "text": "", "users_ids": [TO], "attachments": [file] });
    let (status, sent) = rig.json(&format!("/{account}/chats/send"), body).await;
    assert_eq!(status, 201);
    let told = ["message.new own", "message.receipt.delivery", "message.receipt.read"];
    assert_eq!(rig.told().await, told);
    let sends = rig.twin.sends();
    assert_eq!(sends[0].files, [UnipileFile::new("image/png", "a.png", "png")]);
    let chat = format!("/{account}/chats/{}", sent["chat_id"].as_str().unwrap());
    let (status, _) = rig.json(&format!("{chat}/messages/send"), json!({ "text": "x" })).await;
    assert_eq!(status, 201);
    assert_eq!(rig.get(&format!("{chat}/messages")).await.1["data"].as_array().unwrap().len(), 2);
    let message = &sends[0].message_id;
    rig.json(&format!("{chat}/messages/{message}/read"), json!({})).await;
    rig.json(&format!("{chat}/composing"), json!({})).await;
    let shown: Vec<_> = rig.twin.shown().into_iter().map(|it| it.0).collect();
    assert_eq!(shown, ["read", "typing"]);
    assert_eq!(rig.get(&format!("/accounts/{account}")).await.1["status"], "running");
    rig.told().await;
    rig.receiver.posts.lock().unwrap().clear();
    rig.twin.set_status(account, "CREDENTIALS").await;
    assert_eq!(rig.told().await, ["account.status.disconnected"]);
    let (status, body) = rig.json(&format!("{chat}/messages/send"), json!({ "text": "x" })).await;
    assert_eq!((status, &body["type"]), (401, &json!("provider/invalid_authorization")));
}

#[tokio::test]
async fn it_misbehaves_on_request() {
    let rig = rig(V1).await;
    let cases = [
        (UnipileFault::Refuse { status: 429, slug: "too_many_requests" }, Some(429), 0),
        (UnipileFault::Cut { accepted: false }, None, 0),
        (UnipileFault::TimesOut { accepted: false }, Some(504), 0),
        (UnipileFault::TimesOut { accepted: true }, Some(504), 1),
        (UnipileFault::Cut { accepted: true }, None, 2),
        (UnipileFault::Fail { status: 502, accepted: true }, Some(502), 3),
        (UnipileFault::Garbled, Some(201), 4),
    ];
    for (fault, status, n_sends) in cases {
        rig.misbehave(fault.clone());
        let got = rig.send(&[("text", "x")]).await.map(|it| it.0);
        assert_eq!((got, rig.twin.n_sends()), (status, n_sends), "{fault:?}");
    }
    rig.twin.idle().await;
    rig.misbehave(UnipileFault::NullId);
    let (status, sent) = rig.send(&[("text", "x")]).await.unwrap();
    assert_eq!((status, &sent["message_id"]), (201, &Value::Null));
    rig.twin.idle().await;
    for (fault, told) in [
        (UnipileFault::NoEcho, vec!["message_delivered", "message_read"]),
        (UnipileFault::NoReceipts, vec!["message_received own"]),
        (
            UnipileFault::WrongSecret,
            vec!["message_received own forged", "message_delivered forged", "message_read forged"],
        ),
    ] {
        rig.receiver.posts.lock().unwrap().clear();
        rig.misbehave(fault);
        rig.send(&[("text", "x")]).await.unwrap();
        assert_eq!(rig.told().await, told);
    }
    rig.twin.set_status(&rig.number.account_id, "CREDENTIALS").await;
    let (status, body) = rig.send(&[("text", "x")]).await.unwrap();
    assert_eq!((status, &body["type"]), (401, &json!("errors/disconnected_account")));
    assert_eq!(rig.told().await.last().unwrap(), "CREDENTIALS");
}

#[tokio::test]
async fn what_is_not_taken_comes_five_times_more() {
    let rig = rig(V1).await;
    let customer = Customer::new("+221705555555").with_lid("111122223333444").named("Ada");
    rig.receiver.refuses.store(3, Ordering::Relaxed);
    let answer = rig.twin.customer_says(&rig.number.account_id, &customer, "Bonjour").await;
    assert_eq!(answer.status, 500);
    assert_eq!(rig.told().await, ["message_received"; 4]);
    rig.receiver.posts.lock().unwrap().clear();
    rig.receiver.refuses.store(100, Ordering::Relaxed);
    rig.misbehave(UnipileFault::HiddenPhone);
    rig.twin.customer_says(&rig.number.account_id, &customer, "Bonjour").await;
    assert_eq!(rig.told().await.len(), 6);
    let body: Value = serde_json::from_slice(&rig.receiver.posts.lock().unwrap()[0].1).unwrap();
    assert_eq!(body["sender"]["attendee_provider_id"], "111122223333444@lid");
    assert_eq!(body["sender"]["attendee_specifics"]["phone_number"], "hidden");
    assert!(body["sender"]["attendee_public_identifier"].is_null());
    assert!(body["is_sender"] == false && body["message"] == "Bonjour");
}

#[tokio::test]
async fn files_and_webhooks_are_there_for_who_has_the_key() {
    let rig = rig(V1).await;
    let file = UnipileFile::new("audio/ogg", "v.ogg", "OggS");
    let customer = Customer::new("+221705555555");
    let answer = rig.twin.customer_sends_file(&rig.number.account_id, &customer, file, "").await;
    let path = format!("/api/v1/messages/{}/attachments/file0", answer.event_id);
    let url = format!("{}{path}", rig.twin.dsn(V1));
    assert_eq!(rig.http.get(&url).send().await.unwrap().status(), 401);
    let request = rig.http.get(&url).header("x-api-key", &rig.number.api_key);
    assert_eq!(request.send().await.unwrap().text().await.unwrap(), "OggS");
    let hook = json!({
        "request_url": "https://x/y",
        "source": "messaging",
        "headers": [{ "key": "Unipile-Auth", "value": "s" }],
        "account_ids": [rig.number.account_id],
    });
    let (status, made) = rig.json("/webhooks", hook).await;
    assert_eq!((status, &made["object"]), (201, &json!("WebhookCreated")));
    assert_eq!(rig.get("/webhooks").await.1["items"].as_array().unwrap().len(), 3);
    let path = format!("/webhooks/{}", made["webhook_id"].as_str().unwrap());
    rig.call("DELETE", &path, "application/json", Vec::new()).await.unwrap();
    assert_eq!(rig.twin.hooks().len(), 2);
}
