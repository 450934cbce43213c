//! Vendors whose numbers are at Meta: the whole service against a simulated Cloud API.

mod files;
mod proofs;
mod sends;
mod setup;

use serde_json::{Value, json};
use waba_gateway::{
    domain::{
        clock::{Clock, HOUR},
        id::VendorId,
        message::Content,
    },
    gateway::{SendMessage, VendorChange},
    twin::{
        MetaCustomer, MetaInbound, MetaMisbehaviour, MetaNumber, MetaTwin, NewMetaNumber,
        NewSession, Times,
    },
};

use crate::support::{Answer, DEADLINE, Options, TestApp, TestVendor, rules, spawn_app_with};

const CUSTOMER: &str = "+221705550001";
const BSUID: &str = "SN.13491208655302741918";

/// A service, a Meta, and a vendor with a number there.
struct Shop {
    app: TestApp,
    meta: MetaTwin,
    vendor: TestVendor,
    number: MetaNumber,
}

async fn shop() -> Shop {
    shop_with(NewMetaNumber::new("+221770000001")).await
}

async fn shop_with(new: NewMetaNumber) -> Shop {
    shop_on(Clock::System, new).await
}

async fn shop_on(clock: Clock, new: NewMetaNumber) -> Shop {
    let meta = MetaTwin::start().await.unwrap();
    let variables = vec![("META_API_URL", meta.api_url())];
    let app = spawn_app_with(Options { clock, variables, ..Options::default() }).await;
    let number = meta.add_number(new);
    let vendor = vendor(&app, "vendor_001", &[&number]).await;
    meta.set_callback(&number.id, &vendor.hook);
    Shop { app, meta, vendor, number }
}

/// A vendor with these numbers at Meta and nowhere else. Its session at Wasender is nobody's.
async fn vendor(app: &TestApp, id: &str, numbers: &[&MetaNumber]) -> TestVendor {
    let id = VendorId::parse(id).unwrap();
    let change = VendorChange { responders: Some(rules()), ..VendorChange::default() };
    app.gateway.put_vendor(&id, change).await.unwrap();
    for it in numbers {
        let made = add_number(app, &id, it, &it.app_secret).await;
        assert_eq!(made.status, 201, "{}", made.text);
    }
    let phone = numbers[0].phone_number.clone();
    let session = app.twin.add_session(NewSession::new(&phone));
    let hook = format!("{}/api/webhooks/meta/{id}", app.base);
    TestVendor { id, phone, session, hook }
}

async fn add_number(app: &TestApp, id: &VendorId, it: &MetaNumber, app_secret: &str) -> Answer {
    let account = json!({
        "phoneNumberId": it.id, "wabaId": it.waba_id, "accessToken": it.access_token,
        "appSecret": app_secret, "verifyToken": it.verify_token,
    });
    let body = json!({ "phoneNumber": it.phone_number, "provider": "meta", "meta": account });
    app.admin.post(&format!("/api/admin/vendors/{id}/waba-instances"), body).await
}

fn customer() -> MetaCustomer {
    MetaCustomer::new(CUSTOMER).named("Zoë")
}

impl Shop {
    /// A customer writes; the id of their message.
    async fn says(&self, customer: &MetaCustomer, inbound: &MetaInbound) -> String {
        let answer = self.meta.customer_says(&self.number.id, customer, inbound).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        let answer: Value = serde_json::from_str(&answer.body).unwrap();
        answer["processId"].as_str().unwrap_or_default().to_owned()
    }

    /// Sends something; the id of the message.
    async fn send(&self, content: Value) -> String {
        self.send_of(&self.vendor, content).await
    }

    async fn send_of(&self, vendor: &TestVendor, content: Value) -> String {
        let content: Content = serde_json::from_value(content).unwrap();
        let message = SendMessage {
            to: CUSTOMER.to_owned(),
            content,
            reply_to: None,
            instance: None,
            provider: None,
            send_at: None,
            idempotency_key: None,
        };
        let queued = self.app.gateway.send_message(&vendor.id, message).await.unwrap();
        queued.id.to_string()
    }

    fn misbehave(&self, how: MetaMisbehaviour) {
        self.meta.misbehave(&self.number.id, how, Times::Once);
    }

    /// Waits until a message is in this state, and says why it is.
    async fn is(&self, id: &str, status: &str) -> String {
        self.is_of(&self.vendor, id, status).await
    }

    async fn is_of(&self, vendor: &TestVendor, id: &str, status: &str) -> String {
        let is = |it: &[Value]| it.iter().any(|it| it["id"] == id && it["status"] == status);
        let messages = self.app.until(vendor, is).await;
        let found = messages.iter().find(|it| it["id"] == id).unwrap();
        found["reason"].as_str().unwrap_or_default().to_owned()
    }

    /// A message as the vendor sees it.
    async fn shown(&self, id: &str) -> Value {
        let path = format!("/api/v1/vendors/{}/messages/{id}", self.vendor.id);
        self.app.admin.get(&path).await.json()
    }
}

#[tokio::test]
async fn a_customer_writes_and_is_answered_from_the_number_at_meta() {
    let shop = shop().await;
    let asked = shop.says(&customer(), &MetaInbound::text("Vos horaires ? 😀")).await;
    let sent = &shop.meta.wait_sends(1, DEADLINE).await[0];
    let (number, to) = (&shop.number.id, "221705550001");
    assert_eq!((&sent.number, sent.to.as_str()), (number, to));
    assert_eq!(sent.text, "ouvert de 8 h à 19 h");
    let ours = sent.json()["biz_opaque_callback_data"].as_str().unwrap().to_owned();
    shop.is(&ours, "read").await;
    let shown = shop.shown(&asked).await;
    assert_eq!((&shown["message"], &shown["type"]), (&"Vos horaires ? 😀".into(), &"text".into()));
    // The webhook comes again, and a tapped button is its title.
    shop.misbehave(MetaMisbehaviour::DuplicateHooks);
    shop.says(&customer(), &MetaInbound::button_reply("h", "Horaires")).await;
    assert_eq!(shop.meta.wait_sends(2, DEADLINE).await[1].text, "ouvert de 8 h à 19 h");
    shop.app.settled().await;
    assert_eq!(shop.meta.sends().len(), 2);
}

#[tokio::test]
async fn a_customer_without_a_phone_is_answered_by_their_scoped_id() {
    let shop = shop().await;
    let hidden = MetaCustomer::hidden(BSUID).named("Zoë");
    shop.says(&hidden, &MetaInbound::text("horaires")).await;
    let sent = &shop.meta.wait_sends(1, DEADLINE).await[0];
    assert_eq!((sent.to.as_str(), &sent.json()["to"]), (BSUID, &json!(null)));
    let ours = sent.json()["biz_opaque_callback_data"].as_str().unwrap().to_owned();
    shop.is(&ours, "read").await;
    // Once the phone is known, it is one conversation.
    let known = customer().with_bsuid(BSUID);
    shop.says(&known, &MetaInbound::text("merci")).await;
    shop.meta.wait_sends(2, DEADLINE).await;
    shop.app.settled().await;
    let path = format!("/api/admin/vendors/{}/conversations", shop.vendor.id);
    let all = shop.app.admin.get(&path).await.json();
    assert_eq!(all["conversations"].as_array().map(Vec::len), Some(1), "{all}");
}

#[tokio::test]
async fn a_scoped_id_is_written_to_through_the_api_and_once_for_one_key() {
    let shop = shop().await;
    shop.says(&MetaCustomer::hidden(BSUID), &MetaInbound::text("horaires")).await;
    shop.meta.wait_sends(1, DEADLINE).await;
    let path = format!("/api/v1/vendors/{}/messages", shop.vendor.id);
    let message = json!({ "to": BSUID, "type": "text", "text": "C'est prêt" });
    let key = [("idempotency-key", "k1")];
    let mut ids = Vec::new();
    for _ in 0..2 {
        let sent = shop.app.admin.call("POST", &path, Some(message.clone()), &key).await;
        assert_eq!(sent.status, 202, "{}", sent.text);
        ids.push(sent.json()["messageId"].as_str().unwrap().to_owned());
    }
    assert_eq!(ids[0], ids[1]);
    shop.is(&ids[0], "read").await;
    shop.app.settled().await;
    let sends = shop.meta.sends();
    let sent = sends.last().unwrap();
    assert_eq!(sends.len(), 2);
    assert_eq!((sent.to.as_str(), &sent.json()["to"]), (BSUID, &json!(null)));
    let conversations = format!("/api/admin/vendors/{}/conversations", shop.vendor.id);
    let all = shop.app.admin.get(&conversations).await.json();
    assert_eq!(all["conversations"].as_array().map(Vec::len), Some(1), "{all}");
}

#[tokio::test]
async fn a_customer_with_another_number_or_id_stays_in_their_conversation() {
    let clock = Clock::fixed(Clock::System.now());
    let shop = shop_on(clock, NewMetaNumber::new("+221770000001")).await;
    let conversations = async || {
        let path = format!("/api/admin/vendors/{}/conversations", shop.vendor.id);
        let all = shop.app.admin.get(&path).await.json();
        let phone = |it: &Value| it["customer"].as_str().unwrap_or_default().to_owned();
        all["conversations"].as_array().unwrap().iter().map(phone).collect::<Vec<_>>()
    };
    let (old, new) = (customer().with_bsuid("SN.1"), MetaCustomer::new("+221705559999"));
    shop.says(&old, &MetaInbound::text("bonjour")).await;
    let moved = |to: &str| {
        let system = json!({ "type": "user_changed_number", "body": "…", "wa_id": to });
        MetaInbound::raw("system", system).with_id(&format!("wamid.{to}"))
    };
    shop.says(&old, &moved("221704448888")).await;
    assert_eq!(conversations().await, ["+221704448888"]);
    let between = MetaCustomer::new("+221704448888").with_bsuid("SN.1");
    shop.says(&between, &moved("221705559999")).await;
    assert_eq!(conversations().await, ["+221705559999"]);
    // Told again, hours later too, the first change is no news.
    shop.app.clock.advance(HOUR);
    shop.says(&old, &moved("221704448888")).await;
    assert_eq!(conversations().await, ["+221705559999"]);
    // Another id comes with it; no number need be told.
    let id = json!({ "timestamp": shop.app.now_secs(),
        "user_id": { "previous": "SN.1", "current": "SN.2" } });
    let value = json!({ "messaging_product": "whatsapp",
        "metadata": { "phone_number_id": shop.number.id }, "user_id_update": [id] });
    for _ in 0..2 {
        let told =
            shop.meta.tell_of_account(&shop.number.id, "user_id_update", value.clone()).await;
        assert_eq!(told.status, 200);
    }
    shop.says(&MetaCustomer::hidden("SN.2"), &MetaInbound::text("c'est moi")).await;
    shop.says(&new.with_bsuid("SN.2"), &MetaInbound::text("toujours")).await;
    assert_eq!(conversations().await, ["+221705559999"]);
}

#[tokio::test]
async fn one_webhook_is_shared_out_to_the_numbers_that_it_names() {
    let shop = shop().await;
    let second = shop.meta.add_number(NewMetaNumber::new("+221770000002").beside(&shop.number));
    let made = add_number(&shop.app, &shop.vendor.id, &second, &second.app_secret).await;
    assert_eq!(made.status, 201, "{}", made.text);
    // Another vendor's number below the same app, and one that nobody here has.
    let third = shop.meta.add_number(NewMetaNumber::new("+221770000003").beside(&shop.number));
    let other = vendor(&shop.app, "vendor_002", &[&third]).await;
    let nobody = shop.meta.add_number(NewMetaNumber::new("+221770000004").beside(&shop.number));
    // And one whose secret is another's: what is signed by this app is not believed of it.
    let guarded = shop.meta.add_number(NewMetaNumber::new("+221770000005").beside(&shop.number));
    let made = add_number(&shop.app, &other.id, &guarded, "another-secret-of-another-app").await;
    assert_eq!(made.status, 201, "{}", made.text);
    let (people, hi) = (customer(), MetaInbound::text("horaires"));
    let numbers = [&shop.number, &nobody, &second, &guarded, &third];
    let said: Vec<_> = numbers.iter().map(|it| (it.id.as_str(), &people, &hi)).collect();
    let answer = shop.meta.customers_say(&said).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let sends = shop.meta.wait_sends(3, DEADLINE).await;
    let mut from: Vec<_> = sends.iter().map(|it| it.number.as_str()).collect();
    from.sort_unstable();
    assert_eq!(from, [&shop.number.id, &second.id, &third.id]);
    shop.app.settled().await;
    let inbound = |it: &[Value]| it.iter().filter(|it| it["inbound"] == true).count();
    assert_eq!(inbound(&shop.app.messages(&shop.vendor).await), 2);
    assert_eq!(inbound(&shop.app.messages(&other).await), 1);
}

#[tokio::test]
async fn what_is_written_in_the_app_changed_or_taken_back_is_noted() {
    let shop = shop().await;
    let wamid = |it: MetaInbound, id: &str| it.with_id(id);
    let asked = shop.says(&customer(), &wamid(MetaInbound::text("2 pains"), "wamid.1")).await;
    shop.meta.wait_sends(1, DEADLINE).await;
    shop.says(&customer(), &MetaInbound::edit("wamid.1", "3 pains")).await;
    shop.says(&customer(), &MetaInbound::reaction("wamid.1", Some("👍"))).await;
    let seen = shop.shown(&asked).await;
    assert_eq!((&seen["message"], &seen["edited"]), (&"3 pains".into(), &true.into()), "{seen}");
    shop.says(&customer(), &MetaInbound::revoke("wamid.1")).await;
    assert_eq!(shop.shown(&asked).await["deleted"], true);
    // A person answers in the app: the bot is quiet.
    let typed = MetaInbound::text("Je m'en occupe");
    let echo = shop.meta.human_types(&shop.number.id, &customer(), &typed).await;
    assert_eq!(echo.status, 200, "{}", echo.body);
    shop.app.settled().await;
    let n_sends = shop.meta.sends().len();
    shop.says(&customer(), &MetaInbound::text("horaires")).await;
    shop.app.settled().await;
    assert_eq!(shop.meta.sends().len(), n_sends);
    let messages = shop.app.messages(&shop.vendor).await;
    assert!(messages.iter().any(|it| it["human"] == true && it["text"] == "Je m'en occupe"));
}
