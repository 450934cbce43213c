//! The twin over real HTTP.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{Router, extract::State, http::HeaderMap};
use bytes::Bytes;
use serde_json::{Value, json};

use super::{Form, TwilioFault, TwilioNumber, TwilioTwin, sign};
use crate::twin::{Customer, Times};

const TO: &str = "whatsapp:+221705555555";
const LONG: Duration = Duration::from_secs(10);

type Posts = Arc<Mutex<Vec<(Form, String)>>>;

struct Rig {
    twin: TwilioTwin,
    number: TwilioNumber,
    posts: Posts,
    url: String,
    http: reqwest::Client,
}

#[expect(clippy::disallowed_methods, reason = "it calls the twin, not the world")]
async fn rig() -> Rig {
    let twin = TwilioTwin::start().await.unwrap();
    let number = twin.add_number("+14155238886");
    let (listener, posts) =
        (tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap(), Posts::default());
    let url = format!("http://{}/hook?v=1", listener.local_addr().unwrap());
    let router = Router::new().fallback(receive).with_state(Arc::clone(&posts));
    tokio::spawn(async { axum::serve(listener, router).await });
    twin.set_webhook(&number.account_sid, &url);
    let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none());
    Rig { twin, number, posts, url, http: http.build().unwrap() }
}

async fn receive(State(posts): State<Posts>, headers: HeaderMap, body: Bytes) -> &'static str {
    let signature = headers["x-twilio-signature"].to_str().unwrap().to_owned();
    posts.lock().unwrap().push((Form::read(&body), signature));
    "<Response/>"
}

impl Rig {
    async fn get(&self, path: &str) -> (u16, Value) {
        let url = format!("{}{path}", self.twin.api_url());
        let number = &self.number;
        let request = self.http.get(url).basic_auth(&number.account_sid, Some(&number.auth_token));
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap_or_default())
    }

    async fn send(&self, parameters: &[(&str, &str)]) -> Option<(u16, Value)> {
        let number = &self.number;
        let path = format!("/2010-04-01/Accounts/{}/Messages.json", number.account_sid);
        let from = format!("whatsapp:{}", number.phone_number);
        let mut all = vec![("To", TO), ("From", &from), ("StatusCallback", &self.url)];
        all.extend(parameters);
        let body = Form(all.iter().map(|it| (it.0.to_owned(), it.1.to_owned())).collect()).body();
        let request = self.http.post(format!("{}{path}", self.twin.api_url())).body(body);
        let request = request.basic_auth(&number.account_sid, Some(&number.auth_token));
        let answer = request.send().await.ok()?;
        Some((answer.status().as_u16(), answer.json().await.unwrap_or_default()))
    }

    /// The statuses that were told, each in a word, and whether they were signed well.
    async fn told(&self) -> Vec<String> {
        self.twin.idle().await;
        let posts = self.posts.lock().unwrap().clone();
        let told = posts.iter().map(|(form, signature)| {
            let is_good = *signature == sign(&self.number.auth_token, &self.url, form);
            let word = form.get("MessageStatus").or(form.get("SmsStatus")).unwrap_or("?");
            let code = form.get("ErrorCode").map(|it| format!(" {it}")).unwrap_or_default();
            format!("{word}{code}{}", if is_good { "" } else { " forged" })
        });
        told.collect()
    }

    fn misbehave(&self, fault: TwilioFault) {
        self.twin.misbehave(&self.number.account_sid, fault, Times::Once);
    }
}

#[test]
fn it_signs_as_twilio_does() {
    #[track_caller]
    fn check(url: &str, parameters: &[(&str, &str)], want: &str) {
        let form = Form(parameters.iter().map(|it| (it.0.into(), it.1.into())).collect());
        assert_eq!(sign("12345", url, &form), want);
    }
    let url = "https://mycompany.com/myapp.php?foo=1&bar=2";
    let call = [
        ("CallSid", "CA1234567890ABCDE"),
        ("Caller", "+14158675309"),
        ("Digits", "1234"),
        ("From", "+14158675309"),
        ("To", "+18005551212"),
    ];
    check(url, &call, "RSOYDt4T1cUTdK1PDd93/VVr8B8=");
    let twice = [
        ("Sid", "CA123"),
        ("SidAccount", "AC123"),
        ("Digits", "5678"),
        ("Digits", "1234"),
        ("Digits", "1234"),
    ];
    check(url, &twice, "IK+Dwps556ElfBT0I3Rgjkr1wJU=");
}

#[tokio::test]
async fn a_send_is_taken_told_of_and_can_be_asked_about() {
    let rig = rig().await;
    let (status, sent) = rig.send(&[("Body", "Bonjour")]).await.unwrap();
    assert_eq!((status, &sent["status"], &sent["num_media"]), (201, &json!("queued"), &json!("0")));
    assert_eq!(rig.told().await, ["sent", "delivered", "read"]);
    let sends = rig.twin.wait_sends(1, LONG).await;
    assert_eq!((sends[0].to.as_str(), sends[0].text.as_str()), (TO, "Bonjour"));
    let account = format!("/2010-04-01/Accounts/{}", rig.number.account_sid);
    let (status, found) = rig.get(&format!("{account}/Messages/{}.json", sends[0].sid)).await;
    assert_eq!((status, &found["status"]), (200, &json!("read")));
    let (_, found) =
        rig.get(&format!("{account}/Messages.json?To=whatsapp%3A%2B221705555555")).await;
    assert_eq!(found["messages"][0]["sid"], sends[0].sid);
    let (_, found) = rig.get(&format!("{account}/Messages.json?To=whatsapp%3A%2B1")).await;
    assert_eq!(found["messages"], json!([]));
    assert_eq!(rig.get(&format!("{account}.json")).await.1["status"], "active");
    assert_eq!(rig.get("/2010-04-01/Accounts/ACx.json").await.0, 404);
}

#[tokio::test]
async fn what_twilio_would_refuse_is_refused() {
    let rig = rig().await;
    let long = "é".repeat(1_601);
    let cases: [(&[(&str, &str)], u32); 4] = [
        (&[], 21_619),
        (&[("Body", &long)], 21_617),
        (&[("ContentSid", "HX1"), ("ContentVariables", "{")], 21_656),
        (&[("MediaUrl", "http://127.0.0.1:1/x")], 0),
    ];
    for (parameters, code) in cases {
        let (status, body) = rig.send(parameters).await.unwrap();
        let is_fine = code == 0;
        assert_eq!(
            (status, body["code"].as_u64()),
            if is_fine { (201, None) } else { (400, Some(code.into())) }
        );
    }
    // What cannot be fetched is told later.
    assert_eq!(rig.told().await, ["sent", "undelivered 63019"]);
}

#[tokio::test]
async fn it_misbehaves_on_request() {
    let rig = rig().await;
    let cases = [
        (TwilioFault::Refuse { status: 429, code: 20_429 }, Some(429), 0),
        (TwilioFault::Cut { accepted: false }, None, 0),
        (TwilioFault::Fail { status: 502, accepted: false }, Some(502), 0),
        (TwilioFault::Cut { accepted: true }, None, 1),
        (TwilioFault::Fail { status: 500, accepted: true }, Some(500), 2),
        (TwilioFault::Garbled, Some(201), 3),
    ];
    for (fault, status, n_sends) in cases {
        rig.misbehave(fault.clone());
        let got = rig.send(&[("Body", "x")]).await.map(|it| it.0);
        assert_eq!((got, rig.twin.n_sends()), (status, n_sends), "{fault:?}");
    }
    rig.twin.idle().await;
    for (fault, told) in [
        (TwilioFault::FailsLater(63_016), vec!["sent", "undelivered 63016"]),
        (TwilioFault::OutOfOrder, vec!["delivered", "sent", "read"]),
        (TwilioFault::NoStatuses, vec![]),
        (TwilioFault::WrongSignature, vec!["sent forged", "delivered forged", "read forged"]),
    ] {
        rig.posts.lock().unwrap().clear();
        rig.misbehave(fault);
        rig.send(&[("Body", "x")]).await.unwrap();
        assert_eq!(rig.told().await, told);
    }
    rig.posts.lock().unwrap().clear();
    rig.misbehave(TwilioFault::EarlyStatus);
    rig.send(&[("Body", "x")]).await.unwrap();
    assert_eq!(rig.posts.lock().unwrap().len(), 3, "they came before the answer");
}

#[tokio::test]
async fn a_customer_writes_and_sends_files() {
    let rig = rig().await;
    let ada = Customer::new("+221705555555").named("Ada");
    assert!(rig.twin.customer_says(&rig.number.account_sid, &ada, "Bonjour").await.is_ok());
    let answer =
        rig.twin.customer_sends_file(&rig.number.account_sid, &ada, "image/png", "png", "").await;
    assert!(answer.is_ok());
    let posts = rig.posts.lock().unwrap().clone();
    assert_eq!(posts[0].0.get("WaId"), Some("221705555555"));
    assert_eq!(posts[0].1, sign(&rig.number.auth_token, &rig.url, &posts[0].0));
    let url = posts[1].0.get("MediaUrl0").unwrap().to_owned();
    assert_eq!(rig.http.get(&url).send().await.unwrap().status(), 401);
    let request =
        rig.http.get(&url).basic_auth(&rig.number.account_sid, Some(&rig.number.auth_token));
    let answer = request.send().await.unwrap();
    assert_eq!(answer.status(), 307);
    // Where it is, no token is wanted.
    let place = answer.headers()["location"].to_str().unwrap().to_owned();
    assert_eq!(rig.http.get(&place).send().await.unwrap().text().await.unwrap(), "png");
    assert_eq!(rig.http.get(&place).basic_auth("a", Some("b")).send().await.unwrap().status(), 400);
}

#[tokio::test]
async fn a_sender_has_its_webhook_set() {
    let rig = rig().await;
    let (_, senders) = rig.get("/v2/Channels/Senders?Channel=whatsapp").await;
    assert_eq!(senders["senders"][0]["webhook"]["callback_url"], rig.url);
    let url = format!("{}/v2/Channels/Senders/{}", rig.twin.api_url(), rig.number.sender_sid);
    let body = json!({ "webhook": { "callback_url": "https://x/y" } });
    let request =
        rig.http.post(url).basic_auth(&rig.number.account_sid, Some(&rig.number.auth_token));
    assert_eq!(request.json(&body).send().await.unwrap().status(), 202);
    let number = rig.twin.number(&rig.number.account_sid).unwrap();
    assert_eq!(number.webhook_url.as_deref(), Some("https://x/y"));
}
