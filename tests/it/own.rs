//! One vendor with one number, of the variables that the callers of Twilio and Meta have.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use waba_gateway::twin::{
    Customer, MetaCustomer, MetaInbound, MetaNumber, MetaTwin, NewMetaNumber,
    twilio::{TwilioNumber, TwilioTwin},
};

use crate::support::{self, DEADLINE, Options, TestApp, spawn_app_with};

const META: &str = "+221770000001";
const TWILIO: &str = "+14155238886";
const TO: &str = "+221705550001";

type Variables = Vec<(&'static str, String)>;

/// What a Meta and a Twilio have, and where they are.
struct World {
    meta: MetaTwin,
    number: MetaNumber,
    twilio: TwilioTwin,
    sender: TwilioNumber,
}

impl World {
    async fn new() -> Self {
        let (meta, twilio) = (MetaTwin::start().await.unwrap(), TwilioTwin::start().await.unwrap());
        let number = meta.add_number(NewMetaNumber::new(META));
        let sender = twilio.add_number(TWILIO);
        Self { meta, number, twilio, sender }
    }

    fn of_meta(&self) -> Variables {
        vec![
            ("WHATSAPP_API_URL", self.meta.api_url()),
            ("WHATSAPP_PHONE_NUMBER_ID", self.number.id.clone()),
            ("WHATSAPP_API_TOKEN", self.number.access_token.clone()),
            ("FACEBOOK_APP_SECRET", self.number.app_secret.clone()),
            ("WEBHOOK_VERIFY_TOKEN", self.number.verify_token.clone()),
        ]
    }

    fn of_twilio(&self) -> Variables {
        vec![
            ("TWILIO_API_URL", self.twilio.api_url()),
            ("TWILIO_ACCOUNT_SID", self.sender.account_sid.clone()),
            ("TWILIO_AUTH_TOKEN", self.sender.auth_token.clone()),
            ("TWILIO_WHATSAPP_FROM", format!("whatsapp:{TWILIO}")),
        ]
    }

    /// The customer writes to both numbers, so that they may be answered.
    async fn customer_writes(&self, app: &TestApp) {
        let hook = |by: &str| format!("{}/api/webhooks/{by}/default", app.base);
        self.meta.set_callback(&self.number.id, &hook("meta"));
        let said = MetaInbound::text("bonjour");
        let said = self.meta.customer_says(&self.number.id, &MetaCustomer::new(TO), &said).await;
        self.twilio.set_webhook(&self.sender.account_sid, &hook("twilio"));
        let (sid, customer) = (&self.sender.account_sid, Customer::new(TO));
        let other = self.twilio.customer_says(sid, &customer, "bonjour").await;
        assert!(said.status == 200 || other.status == 200);
    }
}

async fn start(variables: Variables) -> TestApp {
    spawn_app_with(Options { variables, ..Options::default() }).await
}

async fn restart(app: &mut TestApp, variables: &Variables) {
    app.config = support::config(&app.data_dir(), &app.base, &app.twin, variables);
    app.restart().await;
}

async fn status(app: &TestApp) -> Value {
    app.admin.get("/api/v1/vendors/default/whatsapp-status").await.json()
}

/// Its first provider, those after it, and the number at Twilio and Meta.
async fn number(app: &TestApp) -> Value {
    app.admin.get("/api/admin/vendors/default/waba/waba_default").await.json()
}

async fn alert(app: &TestApp) -> u16 {
    let body = json!({ "to": format!("whatsapp:{TO}"), "message": "Stock bas" });
    app.admin.post("/api/v1/vendors/default/alerts", body).await.status
}

async fn until_configured(app: &TestApp) -> Value {
    let started = Instant::now();
    loop {
        let status = status(app).await;
        if status["configured"] == true {
            return status;
        }
        assert!(started.elapsed() < DEADLINE, "{status}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

#[tokio::test]
async fn the_variables_alone_make_a_gateway_that_sends() {
    let world = World::new().await;
    let both = [world.of_meta(), world.of_twilio()].concat();
    for (variables, provider, phone_number) in [
        (world.of_twilio(), "twilio", TWILIO),
        (world.of_meta(), "meta", META),
        (both, "meta", META),
    ] {
        let n_providers = variables.len() / 4;
        let (before, before_there) = (world.meta.sends().len(), world.twilio.n_sends());
        let app = start(variables).await;
        let wanted = json!({
            "success": true, "vendorId": "default", "configured": true, "enabled": true,
            "connected": true, "provider": provider, "phoneNumber": phone_number,
            "wabaId": "waba_default",
        });
        assert_eq!(status(&app).await, wanted);
        let failover = number(&app).await["failover"].as_array().map_or(0, Vec::len);
        assert_eq!(failover, n_providers - 1);
        assert_eq!(alert(&app).await, 422, "the customer has not written for 24 hours");
        world.customer_writes(&app).await;
        assert_eq!(alert(&app).await, 202);
        if provider == "meta" {
            world.meta.wait_sends(before + 1, DEADLINE).await;
        } else {
            world.twilio.wait_sends(before_there + 1, DEADLINE).await;
        }
        app.settled().await;
        let n_sent = world.meta.sends().len() - before + world.twilio.n_sends() - before_there;
        assert_eq!(n_sent, 1);
    }
}

#[tokio::test]
async fn with_its_account_the_number_of_the_variables_is_set_up_in_one_call() {
    let world = World::new().await;
    let path = "/api/admin/vendors/default/setup-webhook";
    let mut app = start(world.of_meta()).await;
    until_configured(&app).await;
    let missing = app.admin.post(path, json!({})).await;
    assert_eq!(missing.status, 422, "{}", missing.text);
    assert!(missing.text.contains("meta.wabaId"), "{}", missing.text);
    assert!(world.meta.subscription(&world.number.waba_id).is_none());
    let account = ("WHATSAPP_BUSINESS_ACCOUNT_ID", world.number.waba_id.clone());
    let with_account = [world.of_meta(), vec![account]].concat();
    restart(&mut app, &with_account).await;
    until_configured(&app).await;
    let set_up = app.admin.post(path, json!({})).await;
    assert_eq!(set_up.status, 200, "{}", set_up.text);
    assert!(world.meta.subscription(&world.number.waba_id).is_some());
    let said = MetaInbound::text("bonjour");
    let said = world.meta.customer_says(&world.number.id, &MetaCustomer::new(TO), &said).await;
    assert_eq!(said.status, 200);
    assert_eq!(alert(&app).await, 202);
}

#[tokio::test]
async fn what_changes_in_the_variables_changes_and_what_a_person_changed_stays() {
    let world = World::new().await;
    let twilio = world.of_twilio();
    let mut app = start(twilio.clone()).await;
    let path = "/api/admin/vendors/default/waba/waba_default";
    // Meta is added: it goes first from now on.
    let both = [world.of_meta(), twilio.clone()].concat();
    restart(&mut app, &both).await;
    let shown = number(&app).await;
    assert_eq!((&shown["provider"], &shown["failover"]), (&json!("meta"), &json!(["twilio"])));
    assert_eq!(status(&app).await["phoneNumber"], META);
    // A person puts Twilio first; a restart and a new token leave it so.
    let order = json!({ "provider": "twilio", "failover": ["meta"] });
    assert_eq!(app.admin.put(path, order).await.status, 200);
    let mut renewed = both.clone();
    let token = "a-renewed-token-of-metas";
    world.meta.change(&world.number.id, |it| token.clone_into(&mut it.access_token));
    renewed.iter_mut().find(|it| it.0 == "WHATSAPP_API_TOKEN").unwrap().1 = token.to_owned();
    restart(&mut app, &renewed).await;
    let ways = app.admin.get("/api/admin/vendors/default/status").await.json();
    let ways = ways["numbers"][0]["providers"].clone();
    assert_eq!((&ways[0]["provider"], &ways[1]["provider"]), (&json!("twilio"), &json!("meta")));
    assert_eq!(ways[1]["live"], "connected", "with the new token: {ways}");
    // Twilio is taken away.
    let alone = renewed.into_iter().filter(|it| !twilio.contains(it)).collect();
    restart(&mut app, &alone).await;
    let shown = number(&app).await;
    assert_eq!((&shown["provider"], &shown["failover"]), (&json!("meta"), &json!([])));
    assert!(shown["twilio"].is_null(), "{shown}");
    // A person deletes the number: it does not come back by itself.
    assert_eq!(app.admin.call("DELETE", path, None, &[]).await.status, 200);
    restart(&mut app, &alone).await;
    assert_eq!(status(&app).await["configured"], false);
}

#[tokio::test]
async fn a_meta_that_is_away_keeps_nobody_from_starting() {
    let world = World::new().await;
    world.meta.stop().await;
    let app = start(world.of_meta()).await;
    assert_eq!(status(&app).await["configured"], false);
    world.meta.start_again().await.unwrap();
    assert_eq!(until_configured(&app).await["phoneNumber"], META);
}

#[tokio::test]
async fn switched_off_nothing_is_made_and_nothing_sent() {
    let world = World::new().await;
    let on = world.of_twilio();
    let off = [on.clone(), vec![("WHATSAPP_ENABLED", "false".to_owned())]].concat();
    let mut app = start(off.clone()).await;
    assert_eq!(app.admin.get("/api/admin/vendors/default").await.status, 404);
    restart(&mut app, &on).await;
    assert_eq!(status(&app).await["enabled"], true);
    restart(&mut app, &off).await;
    assert_eq!((&status(&app).await["enabled"], alert(&app).await), (&json!(false), 409));
    // A vendor that somebody made is let alone.
    let named = [on, vec![("DEFAULT_VENDOR_ID", "vendor_001".to_owned())]].concat();
    let vendor = app.vendor(1).await;
    restart(&mut app, &named).await;
    let path = format!("/api/admin/vendors/{}/waba-instances", vendor.id);
    let list = app.admin.get(&path).await.json();
    let providers: Vec<&Value> =
        list["instances"].as_array().unwrap().iter().map(|it| &it["provider"]).collect();
    assert_eq!(providers, ["wasender"]);
}
