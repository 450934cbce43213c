//! A provider cannot: the message leaves through the next one, from the vendor's number there.

mod carried;
mod circuits;
mod moves;
mod others;
mod patience;
mod windows;

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use waba_gateway::{
    domain::clock::{Clock, HOUR, MINUTE},
    twin::{
        MetaCustomer, MetaInbound, MetaMisbehaviour, MetaNumber, MetaTwin, Misbehaviour,
        NewMetaNumber, Times,
    },
};

use crate::{
    delivery::{send, status_is},
    support::{DEADLINE, Options, TestApp, TestVendor, spawn_app_with},
};

const TO: &str = "+221705550001";

/// A vendor with a session at Wasender and another number at Meta, where the customer has written.
pub struct Shop {
    pub app: TestApp,
    pub meta: MetaTwin,
    pub vendor: TestVendor,
    pub number: MetaNumber,
}

async fn shop(first: &str, second: &str) -> Shop {
    let meta = MetaTwin::start().await.unwrap();
    shop_at(meta.api_url(), meta, first, second).await
}

/// Its clock stands still: what leaves has waited for nothing.
async fn stopped(first: &str, second: &str) -> Shop {
    let meta = MetaTwin::start().await.unwrap();
    stopped_at(meta.api_url(), meta, first, second).await
}

async fn stopped_at(api: String, meta: MetaTwin, first: &str, second: &str) -> Shop {
    let shop = shop_on(Clock::fixed(Clock::System.now()), api, meta, first, second).await;
    // What was sent to make it ready is not in its way.
    shop.app.clock.advance(MINUTE);
    shop
}

async fn shop_at(api: String, meta: MetaTwin, first: &str, second: &str) -> Shop {
    shop_on(Clock::System, api, meta, first, second).await
}

pub async fn shop_on(clock: Clock, api: String, meta: MetaTwin, first: &str, second: &str) -> Shop {
    let variables = vec![("META_API_URL", api)];
    shop_with(Options { clock, variables, ..Options::default() }, meta, first, second).await
}

async fn shop_with(options: Options, meta: MetaTwin, first: &str, second: &str) -> Shop {
    let app = spawn_app_with(options).await;
    let vendor = app.vendor(1).await;
    let number = meta.add_number(NewMetaNumber::new("+221770009999"));
    let shop = Shop { app, meta, vendor, number };
    shop.has_number(&shop.vendor, &shop.number, [first, second]).await;
    shop.answers(false).await;
    shop.opens_window(&shop.number).await;
    shop
}

impl Shop {
    /// A vendor's number has this one at Meta.
    async fn has_number(&self, vendor: &TestVendor, at: &MetaNumber, ways: [&str; 2]) {
        let path = format!("/api/admin/vendors/{0}/waba/waba_{0}", vendor.id);
        let change = json!({ "provider": ways[0], "failover": [ways[1]], "meta": {
            "phoneNumberId": at.id, "wabaId": at.waba_id, "accessToken": at.access_token,
            "appSecret": at.app_secret, "verifyToken": at.verify_token,
            "phoneNumber": at.phone_number,
        } });
        let changed = self.app.admin.put(&path, change).await;
        assert_eq!(changed.status, 200, "{}", changed.text);
        let hook = format!("{}/api/webhooks/meta/{}", self.app.base, vendor.id);
        self.meta.set_callback(&at.id, &hook);
    }

    /// The customer writes to this number at Meta.
    async fn opens_window(&self, at: &MetaNumber) {
        let said = MetaInbound::text("merci");
        let said = self.meta.customer_says(&at.id, &MetaCustomer::new(TO), &said).await;
        assert_eq!(said.status, 200);
    }

    async fn answers(&self, on: bool) {
        let path = format!("/api/admin/vendors/{}", self.vendor.id);
        let put = self.app.admin.put(&path, json!({ "autoReplyEnabled": on })).await;
        assert_eq!(put.status, 200, "{}", put.text);
    }

    fn n_sent(&self) -> (usize, usize) {
        (self.app.twin.sends().len(), self.meta.sends().len())
    }

    async fn journey(&self, id: &str) -> Value {
        self.asked(&format!("/api/v1/vendors/{}/messages/{id}", self.vendor.id)).await
    }

    /// What a route answers, once one of the vendor's ten requests a second is left for it.
    async fn asked(&self, path: &str) -> Value {
        let started = Instant::now();
        loop {
            let answer = self.app.admin.get(path).await;
            if answer.status != 429 {
                assert_eq!(answer.status, 200, "{}", answer.text);
                return answer.json();
            }
            assert!(started.elapsed() < DEADLINE, "{}", answer.text);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    async fn reason(&self, id: &str, status: &str) -> String {
        status_is(&self.app, &self.vendor, id, status).await;
        self.journey(id).await["reason"].as_str().unwrap_or_default().to_owned()
    }

    /// The messages at Meta that were sent after these.
    async fn leaves_through_meta(&self, n_before: usize, text: &str) {
        let sends = self.meta.wait_sends(n_before + 1, DEADLINE).await;
        let sent = sends.last().unwrap();
        assert_eq!(sent.number, self.number.id, "it leaves from the vendor's own number");
        let sent = sent.json();
        assert_eq!(sent["text"]["body"], text, "{sent}");
    }
}

#[tokio::test]
async fn what_wasender_refuses_for_sure_leaves_through_meta() {
    for how in [
        Misbehaviour::NotConnected,
        Misbehaviour::KeyRefused,
        Misbehaviour::TooMany { retry_after: 3_600 },
    ] {
        let shop = stopped("wasender", "meta").await;
        // Another vendor has a number there as well.
        let other = shop.app.vendor(2).await;
        let theirs = shop.meta.add_number(NewMetaNumber::new("+221770009998"));
        shop.has_number(&other, &theirs, ["wasender", "meta"]).await;
        shop.app.twin.misbehave(shop.vendor.session.id, how.clone(), Times::Always);
        let before = shop.meta.sends().len();
        let started = Instant::now();
        let id = send(&shop.app, &shop.vendor, TO, "votre commande est prête").await;
        shop.leaves_through_meta(before, "votre commande est prête").await;
        println!("{how:?}: at the next provider after {:?}", started.elapsed());
        status_is(&shop.app, &shop.vendor, &id, "read").await;
        assert!(shop.app.twin.sends().is_empty(), "{how:?}");
        assert_eq!(shop.journey(&id).await["attempts"], 2, "{how:?}");
    }
}

#[tokio::test]
async fn what_may_have_been_sent_never_goes_another_way() {
    for accepted in [false, true] {
        let shop = shop("wasender", "meta").await;
        let cut = Misbehaviour::Cut { accepted };
        shop.app.twin.misbehave(shop.vendor.session.id, cut, Times::Once);
        let (_, before) = shop.n_sent();
        let id = send(&shop.app, &shop.vendor, TO, "coupé").await;
        let want = if accepted { "read" } else { "unknown_yet" };
        status_is(&shop.app, &shop.vendor, &id, want).await;
        assert_eq!(shop.n_sent(), (usize::from(accepted), before));
    }
}

#[tokio::test]
async fn a_session_that_says_it_is_down_is_passed_over_until_it_says_that_it_is_up() {
    let shop = shop("wasender", "meta").await;
    let say = async |status: &str| {
        let state = json!({ "event": "session.status", "data": { "status": status } });
        assert_eq!(shop.app.post_signed(&shop.vendor, &state).await.status, 200);
    };
    say("disconnected").await;
    let (none, before) = shop.n_sent();
    let id = send(&shop.app, &shop.vendor, TO, "premier").await;
    shop.leaves_through_meta(before, "premier").await;
    status_is(&shop.app, &shop.vendor, &id, "read").await;
    assert_eq!(shop.journey(&id).await["attempts"], 1, "nobody found out by failing");
    say("connected").await;
    let id = send(&shop.app, &shop.vendor, TO, "second").await;
    shop.app.twin.wait_sends(none + 1, DEADLINE).await;
    status_is(&shop.app, &shop.vendor, &id, "read").await;
    assert_eq!(shop.n_sent(), (none + 1, before + 1));
}

#[tokio::test]
async fn what_meta_refuses_or_fails_later_leaves_through_wasender_when_its_class_allows() {
    for (how, goes_on, reason) in [
        (MetaMisbehaviour::Refuse(190), true, ""),
        (MetaMisbehaviour::Refuse(368), true, ""),
        (MetaMisbehaviour::FailsLater(131_042), true, ""),
        (MetaMisbehaviour::FailsLater(131_050), false, "opted_out"),
        (MetaMisbehaviour::FailsLater(131_049), false, "opted_out"),
        (MetaMisbehaviour::FailsLater(131_026), false, "undeliverable"),
    ] {
        let shop = stopped("meta", "wasender").await;
        shop.meta.misbehave(&shop.number.id, how.clone(), Times::Once);
        let (before, _) = shop.n_sent();
        let id = send(&shop.app, &shop.vendor, TO, "bonjour").await;
        if goes_on {
            let sends = shop.app.twin.wait_sends(before + 1, DEADLINE).await;
            assert_eq!(sends[before].text, "bonjour");
            assert_eq!(sends[before].from, shop.vendor.phone);
            status_is(&shop.app, &shop.vendor, &id, "read").await;
        } else {
            assert_eq!(shop.reason(&id, "dead").await, reason, "{how:?}");
            assert_eq!(shop.n_sent().0, before, "{how:?}");
        }
    }
}

#[tokio::test]
async fn what_cannot_be_reached_is_left_for_the_next_provider() {
    // A bound port that nobody listens at.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let refused = format!("http://{}", socket.local_addr().unwrap());
    for refused in [None, Some(refused)] {
        let meta = MetaTwin::start().await.unwrap();
        // Nobody speaks TLS at the twin.
        let tls = meta.api_url().replace("http://", "https://");
        let shop = stopped_at(refused.unwrap_or(tls), meta, "meta", "wasender").await;
        let (before, _) = shop.n_sent();
        let id = send(&shop.app, &shop.vendor, TO, "bonjour").await;
        shop.app.twin.wait_sends(before + 1, DEADLINE).await;
        status_is(&shop.app, &shop.vendor, &id, "read").await;
        assert_eq!(shop.journey(&id).await["attempts"], 2);
    }
}

#[tokio::test]
async fn free_text_outside_the_window_is_refused_or_leaves_as_the_vendors_template() {
    let shop = shop("meta", "wasender").await;
    let stranger = "+221705550099";
    let path = format!("/api/v1/vendors/{}/messages", shop.vendor.id);
    let text = json!({ "to": stranger, "type": "text", "text": "une\nremarque" });
    let refused = shop.app.admin.post(&path, text.clone()).await;
    assert_eq!(refused.status, 422);
    assert!(refused.text.contains("is not known here to have written"), "{}", refused.text);
    let vendor = format!("/api/admin/vendors/{}", shop.vendor.id);
    let component =
        json!({ "type": "body", "parameters": [{ "type": "text", "text": "{{text}}" }] });
    let template = json!({ "name": "note", "language": "fr", "components": [component] });
    let put = shop.app.admin.put(&vendor, json!({ "fallbackTemplate": template })).await;
    assert_eq!(put.status, 200, "{}", put.text);
    let (_, before) = shop.n_sent();
    assert_eq!(shop.app.admin.post(&path, text).await.status, 202);
    let sends = shop.meta.wait_sends(before + 1, DEADLINE).await;
    let sent: Value = serde_json::from_slice(&sends.last().unwrap().body).unwrap();
    assert_eq!(sent["template"]["name"], "note");
    assert_eq!(sent["template"]["components"][0]["parameters"][0]["text"], "une remarque");
    assert_eq!(shop.n_sent().0, 0);
    // A template with a picture's caption would not say what the picture does.
    let image = json!({ "to": stranger, "type": "image", "image": { "url": "https://x.example/a.png",
        "caption": "la robe" } });
    let refused = shop.app.admin.post(&path, image).await;
    assert_eq!(refused.status, 422, "{}", refused.text);
    // What was taken once is answered as it was, whatever has changed since.
    let text = json!({ "to": stranger, "type": "text", "text": "deux" });
    let key = [("idempotency-key", "k1")];
    let first = shop.app.admin.call("POST", &path, Some(text.clone()), &key).await;
    assert_eq!(first.status, 202);
    let none = json!({ "fallbackTemplate": null });
    assert_eq!(shop.app.admin.put(&vendor, none).await.status, 200);
    let again = shop.app.admin.call("POST", &path, Some(text), &key).await;
    assert_eq!((again.status, &again.json()["messageId"]), (202, &first.json()["messageId"]));
    assert!(first.json()["messageId"].is_string());
    let other = json!({ "to": stranger, "type": "text", "text": "trois" });
    assert_eq!(shop.app.admin.call("POST", &path, Some(other.clone()), &key).await.status, 409);
    assert_eq!(shop.app.admin.post(&path, other).await.status, 422);
}

#[tokio::test]
async fn a_text_that_is_too_long_for_a_template_leaves_in_several() {
    let shop = shop("meta", "wasender").await;
    let component =
        json!({ "type": "body", "parameters": [{ "type": "text", "text": "{{text}}" }] });
    let template = json!({ "name": "note", "language": "fr", "components": [component] });
    let vendor = format!("/api/admin/vendors/{}", shop.vendor.id);
    let put = shop.app.admin.put(&vendor, json!({ "fallbackTemplate": template })).await;
    assert_eq!(put.status, 200, "{}", put.text);
    let words: Vec<String> = (0..500).map(|n| format!("mot{n}")).collect();
    let words = words.join(" ");
    let path = format!("/api/v1/vendors/{}/messages", shop.vendor.id);
    for message in
        [json!({}), json!({ "sendAt": waba_gateway::domain::clock::iso(shop.app.clock.now() + 1) })]
    {
        let (_, before) = shop.n_sent();
        let mut message = message;
        message["to"] = json!("+221705550099");
        message["type"] = json!("text");
        message["text"] = json!(words);
        let sent = shop.app.admin.post(&path, message).await;
        assert_eq!(sent.status, 202, "{}", sent.text);
        shop.app.clock.advance(1);
        let sends = shop.meta.wait_sends(before + 4, DEADLINE).await;
        let text = |it: &waba_gateway::twin::MetaSent| {
            let body: Value = serde_json::from_slice(&it.body).unwrap();
            let text = &body["template"]["components"][0]["parameters"][0]["text"];
            text.as_str().unwrap().to_owned()
        };
        let texts: Vec<String> = sends[before..].iter().map(text).collect();
        assert!(texts.iter().all(|it| it.chars().count() <= 1_024), "{texts:?}");
        assert_eq!(texts.join(" "), words, "nothing is left out");
    }
}

#[tokio::test]
async fn what_a_template_cannot_say_all_of_is_refused_or_parked_and_never_cut() {
    let (clock, meta) = (Clock::fixed(Clock::System.now()), MetaTwin::start().await.unwrap());
    let shop = shop_on(clock, meta.api_url(), meta, "meta", "wasender").await;
    let vendor = format!("/api/admin/vendors/{}", shop.vendor.id);
    let set = async |text: &str| {
        let parameters = json!([{ "type": "text", "text": text }]);
        let component = json!({ "type": "body", "parameters": parameters });
        let template = json!({ "name": "note", "language": "fr", "components": [component] });
        shop.app.admin.put(&vendor, json!({ "fallbackTemplate": template })).await
    };
    let bare = set("vous avez un message").await;
    assert_eq!(bare.status, 422, "{}", bare.text);
    assert!(bare.text.contains("fallbackTemplate.components: has no {{text}}"), "{}", bare.text);
    assert_eq!(set("{{text}}").await.status, 200);
    let path = format!("/api/v1/vendors/{}/messages", shop.vendor.id);
    let link =
        json!({ "text": "a".repeat(1_000), "label": "Ouvrir", "url": "https://shop.example/1" });
    let message = json!({ "to": "+221705550099", "type": "ctaUrl", "ctaUrl": link });
    let refused = shop.app.admin.post(&path, message).await;
    assert_eq!(refused.status, 422, "its link would be lost: {}", refused.text);
    // Taken while the window was open, and too late when it would leave.
    shop.app.clock.advance(23 * HOUR + 50 * MINUTE);
    let pause = |deed: &str| format!("{vendor}/{deed}");
    assert_eq!(shop.app.admin.post(&pause("pause"), json!({})).await.status, 200);
    let (long, short) = ("mot ".repeat(400), "court");
    let [long, short] =
        [long.as_str(), short].map(|it| json!({ "to": TO, "type": "text", "text": it }));
    let long = shop.app.admin.post(&path, long).await.json()["messageId"].take();
    let short = shop.app.admin.post(&path, short).await.json()["messageId"].take();
    shop.app.clock.advance(15 * MINUTE);
    let (_, before) = shop.n_sent();
    assert_eq!(shop.app.admin.post(&pause("resume"), json!({})).await.status, 200);
    assert_eq!(shop.reason(long.as_str().unwrap(), "parked").await, "window_closed");
    status_is(&shop.app, &shop.vendor, short.as_str().unwrap(), "read").await;
    assert_eq!(shop.n_sent(), (0, before + 1));
}

#[tokio::test]
async fn a_message_for_later_keeps_nothing_waiting_and_leaves_in_time() {
    // Customers write at the present time.
    let (clock, meta) = (Clock::fixed(Clock::System.now()), MetaTwin::start().await.unwrap());
    let shop = shop_on(clock, meta.api_url(), meta, "wasender", "meta").await;
    shop.app.clock.advance(MINUTE);
    let path = format!("/api/v1/vendors/{}/messages", shop.vendor.id);
    let at = shop.app.clock.now() + HOUR;
    let later = json!({ "to": TO, "type": "text", "text": "plus tard",
        "sendAt": waba_gateway::domain::clock::iso(at) });
    let id = shop.app.admin.post(&path, later).await;
    assert_eq!(id.status, 202, "{}", id.text);
    let now = send(&shop.app, &shop.vendor, TO, "tout de suite").await;
    status_is(&shop.app, &shop.vendor, &now, "read").await;
    let sends = shop.app.twin.sends();
    assert_eq!(sends.len(), 1);
    assert_eq!(sends[0].text, "tout de suite");
    let only = json!({ "to": TO, "type": "text", "text": "par Meta", "provider": "meta" });
    let (_, before) = shop.n_sent();
    assert_eq!(shop.app.admin.post(&path, only).await.status, 202);
    shop.leaves_through_meta(before, "par Meta").await;
    let none = json!({ "to": TO, "type": "text", "text": "x", "provider": "twilio" });
    assert_eq!(shop.app.admin.post(&path, none).await.status, 422);
    let far = json!({ "to": TO, "type": "text", "text": "x", "sendAt": "2099-01-01T00:00:00Z" });
    assert_eq!(shop.app.admin.post(&path, far).await.status, 422);
    // A person puts it aside and lets it go on: still at its time, however far that is.
    let entry = format!("/api/admin/journal/entries/{}", id.json()["messageId"].as_str().unwrap());
    for deed in ["park", "release"] {
        let done = shop.app.admin.post(&format!("{entry}/{deed}"), json!(null)).await;
        assert_eq!(done.status, 200, "{}", done.text);
    }
    shop.app.clock.advance(HOUR - 1);
    shop.app.settled_sends().await;
    assert_eq!(shop.app.twin.sends().len(), 1, "not before its time");
    shop.app.clock.advance(1);
    let sends = shop.app.twin.wait_sends(2, DEADLINE).await;
    assert_eq!(sends[1].text, "plus tard");
}
