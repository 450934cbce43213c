//! What a customer's window lets through, to the millisecond, and who is answered when it is closed.

use waba_gateway::{
    domain::clock::SECOND,
    gateway::SendMessage,
    twin::{
        Customer,
        twilio::TwilioTwin,
        unipile::{Generation, UnipileTwin},
    },
};

use super::*;
use crate::bulk::taken;

const DAY: i64 = 24 * HOUR;
const OTHER: &str = "+221705550002";

/// The same on a clock that the test moves, which showed a whole second when the customer wrote.
async fn still(first: &str, second: &str) -> Shop {
    still_with(first, second, Vec::new()).await
}

async fn still_with(first: &str, second: &str, more: Vec<(&'static str, String)>) -> Shop {
    let clock = Clock::fixed(Clock::System.now() / SECOND * SECOND);
    let meta = MetaTwin::start().await.unwrap();
    let variables = [vec![("META_API_URL", meta.api_url())], more].concat();
    shop_with(Options { clock, variables, ..Options::default() }, meta, first, second).await
}

impl Shop {
    /// What is said to a text that is to leave now, or at this time.
    async fn post_text(&self, to: &str, text: &str, at: Option<i64>) -> (u16, String) {
        let mut body = json!({ "to": to, "type": "text", "text": text });
        if let Some(at) = at {
            body["sendAt"] = json!(waba_gateway::domain::clock::iso(at));
        }
        let path = format!("/api/v1/vendors/{}/messages", self.vendor.id);
        let answer = self.app.admin.post(&path, body).await;
        let what = if answer.status == 202 { "messageId" } else { "error" };
        (answer.status, answer.json()[what].as_str().unwrap().to_owned())
    }

    /// A template to this customer; its id.
    async fn queue_template(&self, to: &str) -> String {
        let template = json!({ "type": "template", "name": "note", "language": "fr", "text": "" });
        let message = SendMessage {
            to: to.to_owned(),
            content: serde_json::from_value(template).unwrap(),
            reply_to: None,
            instance: None,
            provider: None,
            send_at: None,
            idempotency_key: None,
        };
        self.app.gateway.send_message(&self.vendor.id, message).await.unwrap().id.to_string()
    }

    async fn change_number(&self, change: Value) {
        let path = format!("/api/admin/vendors/{0}/waba/waba_{0}", self.vendor.id);
        let changed = self.app.admin.put(&path, change).await;
        assert_eq!(changed.status, 200, "{}", changed.text);
    }

    /// The answers that are parked, with their reasons.
    async fn parked(&self, n: usize) -> Vec<String> {
        let is_parked = |it: &&Value| it["status"] == "parked";
        let are = |it: &[Value]| it.iter().filter(is_parked).count() == n;
        let found = self.app.until(&self.vendor, are).await;
        let reasons = found.iter().filter(is_parked).map(|it| it["reason"].as_str().unwrap());
        reasons.map(str::to_owned).collect()
    }
}

#[tokio::test]
async fn free_text_is_taken_until_the_last_millisecond_of_the_window_and_then_refused() {
    let shop = still("meta", "wasender").await;
    let (_, before) = shop.n_sent();
    shop.app.clock.advance(DAY - 1);
    let (status, id) = shop.post_text(TO, "à temps", None).await;
    assert_eq!(status, 202, "{id}");
    shop.leaves_through_meta(before, "à temps").await;
    shop.app.clock.advance(1);
    let n_asked = shop.meta.requests().len();
    let (status, why) = shop.post_text(TO, "trop tard", None).await;
    assert_eq!(status, 422);
    assert!(why.starts_with("type: ") && why.contains("24 hours"), "{why}");
    shop.app.settled_sends().await;
    assert_eq!((shop.meta.requests().len(), shop.n_sent()), (n_asked, (0, before + 1)));
}

#[tokio::test]
async fn what_leaves_after_the_window_is_parked_without_a_call() {
    let shop = still("meta", "wasender").await;
    let (status, later) = shop.post_text(TO, "demain", Some(shop.app.clock.now() + DAY)).await;
    assert_eq!(status, 202, "{later}");
    shop.app.settled_sends().await;
    let n_asked = shop.meta.requests().len();
    shop.app.clock.advance(DAY);
    assert_eq!(shop.reason(&later, "parked").await, "window_closed");
    // To many, of whom one has just written.
    let now = (shop.app.clock.now() / SECOND).to_string();
    let said = MetaInbound::text("merci").with("timestamp", json!(now));
    let said = shop.meta.customer_says(&shop.number.id, &MetaCustomer::new(OTHER), &said).await;
    assert_eq!(said.status, 200);
    let job = json!({ "message": { "type": "text", "text": "à tous" } });
    let (one, two) = (json!({ "to": TO }), json!({ "to": OTHER }));
    taken(&shop.app, &shop.vendor, &format!("{job}\n{one}\n{two}")).await;
    assert_eq!(shop.parked(2).await, ["window_closed"; 2]);
    let sends = shop.meta.wait_sends(1, DEADLINE).await;
    assert_eq!((sends.len(), sends[0].to.as_str()), (1, OTHER.trim_start_matches('+')));
    assert_eq!((shop.meta.requests().len(), shop.n_sent().0), (n_asked + 1, 0));
}

#[tokio::test]
async fn a_closed_window_behind_the_first_provider_is_passed_over_or_parks_what_has_no_other() {
    let unipile = UnipileTwin::start().await.unwrap();
    let shop = still("wasender", "meta").await;
    let account = unipile.add_number(&shop.vendor.phone, Generation::V1);
    shop.app.twin.misbehave(shop.vendor.session.id, Misbehaviour::KeyRefused, Times::Always);
    shop.answers(true).await;
    shop.app.clock.advance(MINUTE);
    let n_asked = shop.meta.requests().len();
    let writes = async |text: &str| {
        let (customer, session) = (Customer::new(OTHER), shop.vendor.session.id);
        let said = shop.app.twin.customer_says(session, &customer, text);
        assert_eq!(said.await.status, 200);
    };
    writes("horaires").await;
    assert_eq!(shop.parked(1).await, ["window_closed"]);
    shop.change_number(json!({ "failover": ["meta", "unipile"], "unipile": {
        "accountId": account.account_id, "apiKey": account.api_key,
        "dsn": unipile.dsn(Generation::V1),
    } }))
    .await;
    shop.app.clock.advance(MINUTE);
    writes("vos horaires").await;
    assert_eq!(unipile.wait_sends(1, DEADLINE).await[0].text, "ouvert de 8 h à 19 h");
    assert_eq!((shop.meta.requests().len(), shop.n_sent().0), (n_asked, 0));
}

#[tokio::test]
async fn who_wrote_to_the_other_number_is_answered_from_there_when_the_first_ones_window_is_closed()
{
    let shop = still("meta", "wasender").await;
    shop.answers(true).await;
    shop.app.clock.advance(MINUTE);
    let (customer, n_asked) = (Customer::new(OTHER), shop.meta.requests().len());
    let said = shop.app.twin.customer_says(shop.vendor.session.id, &customer, "horaires").await;
    assert_eq!(said.status, 200);
    let sends = shop.app.twin.wait_sends(1, DEADLINE).await;
    assert_eq!((sends[0].to.as_str(), sends[0].text.as_str()), (OTHER, "ouvert de 8 h à 19 h"));
    // The API says the same, unless it is to be Meta.
    let (status, id) = shop.post_text(OTHER, "prêt", None).await;
    assert_eq!(status, 202, "{id}");
    status_is(&shop.app, &shop.vendor, &id, "read").await;
    let only = json!({ "to": OTHER, "type": "text", "text": "x", "provider": "meta" });
    let path = format!("/api/v1/vendors/{}/messages", shop.vendor.id);
    assert_eq!(shop.app.admin.post(&path, only).await.status, 422);
    assert_eq!((shop.meta.requests().len(), shop.n_sent().0), (n_asked, 2));
    // Who last wrote a day ago, or to nobody, is not.
    shop.app.clock.advance(DAY);
    assert_eq!(shop.post_text(OTHER, "x", None).await.0, 422);
    assert_eq!(shop.post_text("+221705550003", "x", None).await.0, 422);
}

#[tokio::test]
async fn who_wrote_to_the_sender_at_twilio_is_answered_from_there() {
    let twilio = TwilioTwin::start().await.unwrap();
    let shop = still_with("meta", "wasender", vec![("TWILIO_API_URL", twilio.api_url())]).await;
    let sender = twilio.add_number("+14155238886");
    shop.change_number(json!({ "failover": ["twilio"], "twilio": {
        "accountSid": sender.account_sid, "authToken": sender.auth_token,
        "from": sender.phone_number,
    } }))
    .await;
    let hook = format!("{}/api/webhooks/twilio/{}", shop.app.base, shop.vendor.id);
    twilio.set_webhook(&sender.account_sid, &hook);
    shop.answers(true).await;
    shop.app.clock.advance(MINUTE);
    let customer = Customer::new(OTHER);
    let said = twilio.customer_says(&sender.account_sid, &customer, "horaires").await;
    assert_eq!(said.status, 200);
    assert_eq!(twilio.wait_sends(1, DEADLINE).await[0].text, "ouvert de 8 h à 19 h");
    assert!(shop.meta.sends().is_empty());
}

#[tokio::test]
async fn one_customer_gets_as_many_at_once_as_meta_lets_pass_and_others_do_not_wait() {
    let shop = still("meta", "wasender").await;
    shop.app.clock.advance(MINUTE);
    for _ in 0..22 {
        shop.queue_template(TO).await;
    }
    assert_eq!(shop.meta.wait_sends(20, DEADLINE).await.len(), 20);
    // The number itself may send again before the customer may be sent to.
    shop.app.clock.advance(SECOND);
    let other = shop.queue_template(OTHER).await;
    status_is(&shop.app, &shop.vendor, &other, "read").await;
    shop.app.settled_sends().await;
    assert_eq!(shop.meta.sends().len(), 21);
    shop.app.clock.advance(5 * SECOND - 1);
    shop.app.settled_sends().await;
    assert_eq!(shop.meta.sends().len(), 21);
    shop.app.clock.advance(1);
    let sends = shop.meta.wait_sends(22, DEADLINE).await;
    assert_eq!(sends[21].to, TO.trim_start_matches('+'));
    shop.app.settled_sends().await;
    assert_eq!(shop.meta.sends().len(), 22, "one in six seconds");
}
