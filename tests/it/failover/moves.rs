//! A number of several providers is one number: it moves between them, and its customers' messages
//! stay together.

use futures_util::{StreamExt, stream};
use waba_gateway::twin::Customer;

use super::{
    carried::{Behind, behind},
    *,
};

/// Messages that are sent while their number moves once.
const N_MOVED: usize = 30;

impl Behind {
    /// The texts of templates that left, by provider, and in which order they left there.
    fn left(&self, provider: &str) -> Vec<String> {
        let text = |it: Option<&Value>| it.and_then(Value::as_str).unwrap_or_default().to_owned();
        let texts: Vec<String> = match provider {
            "wasender" => self.shop.app.twin.sends().into_iter().map(|it| it.text).collect(),
            "unipile" => self.unipile.sends().into_iter().map(|it| it.text).collect(),
            "meta" => {
                let at = "/template/components/0/parameters/0/text";
                let sends = self.shop.meta.sends();
                sends.iter().map(|it| text(it.json().pointer(at))).collect()
            }
            _ => {
                let variables = |it: &str| serde_json::from_str::<Value>(it).unwrap();
                let sends = self.twilio.sends();
                let all = sends.iter().filter_map(|it| it.form.get("ContentVariables"));
                all.map(|it| text(variables(it).get("1"))).collect()
            }
        };
        texts.into_iter().filter(|it| it.starts_with("n-")).collect()
    }

    fn all_left(&self) -> Vec<String> {
        let all = ["wasender", "meta", "twilio", "unipile"].map(|it| self.left(it));
        let mut all = all.concat();
        all.sort();
        all
    }

    async fn send_template(&self, text: &str, n: usize) {
        let parameters = json!([{ "type": "text", "text": text }]);
        let template = json!({ "name": "note", "language": "fr", "text": text,
            "contentSid": format!("HX{}", "0".repeat(32)), "variables": { "1": text },
            "components": [{ "type": "body", "parameters": parameters }] });
        let to = format!("+2217055520{n:02}");
        let body = json!({ "to": to, "type": "template", "template": template });
        let path = format!("/api/v1/vendors/{}/messages", self.shop.vendor.id);
        let taken = self.shop.app.admin.post(&path, body).await;
        assert_eq!(taken.status, 202, "{}", taken.text);
    }

    async fn switch(&self, provider: &str) {
        let (number, sender, account) = (&self.shop.number, &self.sender, &self.account);
        let config = match provider {
            "meta" => json!({ "phoneNumberId": number.id, "accessToken": number.access_token }),
            "twilio" => {
                json!({ "accountSid": sender.account_sid, "authToken": sender.auth_token })
            }
            _ => json!({ "accountId": account.account_id, "apiKey": account.api_key }),
        };
        let path = format!("/api/admin/vendors/{}/switch-provider", self.shop.vendor.id);
        let body = json!({ "provider": provider, "config": config });
        let moved = self.shop.app.admin.post(&path, body).await;
        assert_eq!(moved.status, 200, "{}", moved.text);
    }

    /// Lets time go on until so many have left.
    async fn until_left(&self, is_enough: impl Fn() -> bool) {
        let started = Instant::now();
        while !is_enough() {
            assert!(started.elapsed() < 2 * DEADLINE, "{:?}", self.all_left());
            self.shop.app.clock.advance(Duration::from_secs(1).as_millis().try_into().unwrap());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

#[tokio::test]
async fn moving_a_number_between_all_providers_under_load_loses_and_doubles_nothing() {
    let behind = behind().await;
    behind.shop.meta.behave(&behind.shop.number.id);
    behind.change(json!({ "provider": "wasender", "failover": [] })).await;
    // Some are on their way when it moves.
    let slow = Misbehaviour::Slow(Duration::from_millis(50));
    behind.shop.app.twin.misbehave(behind.shop.vendor.session.id, slow, Times::Always);
    let mut want = Vec::new();
    for (from, to) in [("wasender", "twilio"), ("twilio", "unipile"), ("unipile", "meta")] {
        let texts: Vec<String> = (0..N_MOVED).map(|n| format!("n-{to}-{n:02}")).collect();
        let sends = stream::iter(texts.iter().enumerate());
        let sends = sends.map(|(n, text)| behind.send_template(text, n)).buffer_unordered(4);
        let n_before = behind.left(from).len();
        let moves = async {
            behind.until_left(|| behind.left(from).len() >= n_before + 3).await;
            behind.switch(to).await;
        };
        tokio::join!(sends.collect::<Vec<()>>(), moves);
        want.extend(texts);
        want.sort();
        behind.until_left(|| behind.all_left().len() >= want.len()).await;
        let n_first = behind.left(from).len() - n_before;
        assert!((3..N_MOVED).contains(&n_first), "{n_first} left by {from} before it moved");
    }
    behind.shop.app.settled().await;
    assert_eq!(behind.all_left(), want);
}

/// A number at Meta that is still used on a phone, and that phone's session.
#[tokio::test]
async fn a_number_at_meta_that_is_also_on_a_phone_is_answered_once() {
    let shop = stopped("meta", "wasender").await;
    let path = format!("/api/admin/vendors/{0}/waba/waba_{0}", shop.vendor.id);
    let change = json!({ "meta": { "phoneNumber": shop.vendor.phone } });
    let changed = shop.app.admin.put(&path, change).await;
    assert_eq!(changed.status, 200, "{}", changed.text);
    shop.answers(true).await;
    let (session, other) = (shop.vendor.session.id, "+221705550002");
    let says = async |by: &str, text: &str| {
        let status = match by {
            "meta" => {
                let said = MetaInbound::text(text);
                shop.meta
                    .customer_says(&shop.number.id, &MetaCustomer::new(other), &said)
                    .await
                    .status
            }
            _ => shop.app.twin.customer_says(session, &Customer::new(other), text).await.status,
        };
        assert_eq!(status, 200);
    };
    let n_sent = || shop.n_sent().0 + shop.n_sent().1;
    let before = n_sent();
    for (n, [first, second]) in [["wasender", "meta"], ["meta", "wasender"]].iter().enumerate() {
        let text = format!("vos horaires {n} ?");
        says(first, &text).await;
        says(second, &text).await;
        let started = Instant::now();
        while n_sent() <= before + n {
            assert!(started.elapsed() < DEADLINE, "{n}: it was not answered");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        shop.app.settled().await;
        assert_eq!(n_sent(), before + n + 1, "{n}: answered twice");
        shop.app.clock.advance(MINUTE);
    }
    // Meta's window is open, whoever told it first.
    let n_meta = shop.meta.sends().len();
    send(&shop.app, &shop.vendor, other, "à demain").await;
    shop.leaves_through_meta(n_meta, "à demain").await;
    let shown = shop.app.messages(&shop.vendor).await;
    let of_other = shown.iter().filter(|it| it["inbound"] == true && it["customer"] == other);
    assert!(of_other.count() <= 2, "{shown:#?}");
    // The session tells of what left through Meta, after an outage: nobody typed that.
    shop.app.clock.advance(5 * MINUTE);
    let told = shop.app.twin.human_types(session, &Customer::new(other), "à demain").await;
    assert_eq!(told.status, 200);
    let shown = shop.app.messages(&shop.vendor).await;
    assert!(shown.iter().all(|it| it["human"] != true), "{shown:#?}");
    // What a person types there is one message, too.
    let (typed, to) = (MetaInbound::text("je m'en occupe"), MetaCustomer::new(other));
    let told = shop.meta.human_types(&shop.number.id, &to, &typed).await;
    assert_eq!(told.status, 200);
    let told = shop.app.twin.human_types(session, &Customer::new(other), "je m'en occupe").await;
    assert_eq!(told.status, 200);
    let shown = shop.app.messages(&shop.vendor).await;
    assert_eq!(shown.iter().filter(|it| it["human"] == true).count(), 1, "{shown:#?}");
}

#[tokio::test]
async fn answers_to_all_numbers_of_a_number_stay_in_the_conversation() {
    const SECRET: &str = "a-webhook-secret-0042";
    let behind = behind().await;
    let shop = &behind.shop;
    behind
        .change(json!({ "provider": "wasender", "failover": ["meta", "twilio", "unipile"],
            "unipile": { "webhookSecret": SECRET } }))
        .await;
    let hook = format!("{}/api/webhooks/unipile/{}", shop.app.base, shop.vendor.id);
    behind.unipile.set_webhook(&behind.account.account_id, &hook, SECRET);
    shop.answers(true).await;
    let awa = Customer::new(TO);
    for (n, by) in ["meta", "twilio", "unipile"].into_iter().enumerate() {
        shop.app.clock.advance(MINUTE);
        let asked = format!("vos horaires, par {by} ?");
        let status = match by {
            "meta" => {
                let said = MetaInbound::text(&asked);
                shop.meta.customer_says(&shop.number.id, &MetaCustomer::new(TO), &said).await.status
            }
            "twilio" => {
                let sid = &behind.sender.account_sid;
                behind.twilio.customer_says(sid, &awa, &asked).await.status
            }
            _ => {
                let account = &behind.account.account_id;
                behind.unipile.customer_says(account, &awa, &asked).await.status
            }
        };
        assert_eq!(status, 200, "{by}");
        // The answer leaves the way that the vendor prefers.
        let sends = shop.app.twin.wait_sends(n + 1, DEADLINE).await;
        assert_eq!(sends[n].to, TO, "{by}");
        // Its echo is dated now, which a clock that goes on leaves behind.
        let n_read = |it: &[Value]| it.iter().filter(|it| it["status"] == "read").count();
        shop.app.until(&shop.vendor, |it| n_read(it) == n + 1).await;
    }
    let list = format!("/api/admin/vendors/{}/conversations", shop.vendor.id);
    let talks = shop.app.admin.get(&list).await.json();
    assert_eq!(talks["conversations"].as_array().unwrap().len(), 1, "{talks}");
    let status = format!("/api/admin/vendors/{}/status", shop.vendor.id);
    let ways = shop.app.admin.get(&status).await.json();
    let ways = ways["numbers"][0]["providers"].as_array().unwrap().clone();
    let names: Vec<&str> = ways.iter().map(|it| it["provider"].as_str().unwrap()).collect();
    assert_eq!(names, ["wasender", "meta", "twilio", "unipile"]);
    assert!(ways.iter().all(|it| it["circuit"] == "closed" && it["canSend"] == true), "{ways:?}");
    assert_eq!(ways[1]["phoneNumber"], "+221770009999");
    assert_eq!(ways[2]["phoneNumber"], "+14155238886");
}
