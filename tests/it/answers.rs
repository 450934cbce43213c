//! Who is answered, and when not.

use serde_json::{Value, json};
use waba_gateway::{
    domain::{
        clock::{Clock, HOUR, MINUTE},
        secret::ExposeSecret,
        vendor::VendorStatus,
    },
    gateway::VendorChange,
    twin::{Customer, Misbehaviour, Times, real_message},
};

use crate::support::{
    Bot, DEADLINE, Options, TestApp, TestVendor, change, rules, spawn_app, spawn_app_with,
};

const NOW: i64 = 1_760_000_000_000;

fn customer() -> Customer {
    Customer::new("+221705550001")
}

async fn says(app: &TestApp, vendor: &TestVendor, text: &str) {
    let answer = app.twin.customer_says(vendor.session.id, &customer(), text).await;
    assert!(answer.is_ok(), "{}", answer.body);
}

#[tokio::test]
async fn a_customer_writes_and_the_answer_leaves_from_the_vendors_number() {
    let app = spawn_app().await;
    let vendors = [app.vendor(1).await, app.vendor(2).await, app.vendor(3).await];
    for vendor in &vendors {
        says(&app, vendor, "Vos HORAIRES, s'il vous plaît ?").await;
    }
    let sends = app.twin.wait_sends(3, DEADLINE).await;
    for vendor in &vendors {
        let sent: Vec<_> = sends.iter().filter(|it| it.from == vendor.phone).collect();
        assert_eq!(sent.len(), 1);
        assert_eq!(
            (sent[0].to.as_str(), sent[0].text.as_str()),
            ("+221705550001", "ouvert de 8 h à 19 h")
        );
    }
    app.twin.idle().await;
    app.settled().await;
    let messages = app.until(&vendors[0], |it| it.iter().any(|it| it["status"] == "read")).await;
    assert_eq!(messages.len(), 2, "{messages:#?}");
}

#[tokio::test]
async fn only_private_chats_are_answered() {
    let app = spawn_app().await;
    let vendor = app.vendor(1).await;
    for (n, chat) in
        ["120363000000000000@g.us", "1203630@newsletter", "status@broadcast"].iter().enumerate()
    {
        let mut message = real_message(&format!("g{n}"), &customer(), "horaires", app.now_secs());
        message["data"]["messages"]["key"]["remoteJid"] = json!(chat);
        assert_eq!(app.post_signed(&vendor, &message).await.status, 200);
    }
    app.settled().await;
    let messages = app.messages(&vendor).await;
    assert_eq!(messages.len(), 3);
    assert!(messages.iter().all(|it| it["reason"] == "not_private"), "{messages:#?}");
    assert_eq!(app.twin.n_sends(), 0);
}

#[tokio::test]
async fn a_vendor_that_is_not_active_or_has_replies_off_is_recorded_and_never_answered() {
    let app = spawn_app().await;
    let off = VendorChange { auto_reply: Some(false), ..change(rules()) };
    let inactive = VendorChange { status: Some(VendorStatus::Inactive), ..change(rules()) };
    let suspended = VendorChange { status: Some(VendorStatus::Suspended), ..change(rules()) };
    for (n, (change, why)) in
        [(off, "auto_reply_off"), (inactive, "vendor_inactive"), (suspended, "vendor_inactive")]
            .into_iter()
            .enumerate()
    {
        let vendor = app.vendor_with(u32::try_from(n).unwrap(), change).await;
        says(&app, &vendor, "horaires").await;
        let messages = app.messages(&vendor).await;
        assert_eq!(messages[0]["reason"], why, "{messages:#?}");
    }
    app.settled().await;
    assert_eq!(app.twin.n_sends(), 0);
}

#[tokio::test]
async fn old_messages_and_those_dated_ahead_are_stale() {
    let app = spawn_app_with(Options { clock: Clock::fixed(NOW), ..Options::default() }).await;
    let vendor = app.vendor(1).await;
    let at = |ms: i64| (NOW + ms) / 1_000;
    let cases =
        [(-6 * HOUR - 1_000, true), (11 * MINUTE, true), (-5 * HOUR, false), (9 * MINUTE, false)];
    for (n, (age, is_stale)) in cases.into_iter().enumerate() {
        let message = real_message(&format!("a{n}"), &customer(), "horaires", at(age));
        app.post_signed(&vendor, &message).await;
        let newest = app.until(&vendor, |it| it.iter().any(|it| it["inbound"] == true)).await;
        let newest = newest.iter().find(|it| it["inbound"] == true).unwrap().clone();
        assert_eq!(newest["reason"] == "stale", is_stale, "{newest:#?}");
    }
}

#[tokio::test]
async fn a_human_on_the_phone_keeps_the_bot_quiet_for_an_hour() {
    let app = spawn_app_with(Options { clock: Clock::fixed(NOW), ..Options::default() }).await;
    app.clock.advance(HOUR);
    let vendor = app.vendor(1).await;
    app.twin.human_types(vendor.session.id, &customer(), "Je m'en occupe").await;
    let ask = async |id: &str| {
        let message = real_message(id, &customer(), "horaires", app.now_secs());
        app.post_signed(&vendor, &message).await;
        app.settled().await;
    };
    ask("h1").await;
    assert_eq!(app.twin.n_sends(), 0);
    assert!(app.messages(&vendor).await.iter().any(|it| it["reason"] == "paused"));
    assert!(app.messages(&vendor).await.iter().any(|it| it["human"] == true));
    // Somebody else is answered meanwhile.
    let other = real_message("o1", &Customer::new("+221705550002"), "horaires", app.now_secs());
    app.post_signed(&vendor, &other).await;
    app.twin.wait_sends(1, DEADLINE).await;
    app.clock.advance(61 * MINUTE);
    ask("h2").await;
    let sends = app.twin.wait_sends(2, DEADLINE).await;
    assert_eq!(sends[1].to, "+221705550001");
}

#[tokio::test]
async fn our_own_echoes_never_pause_the_bot() {
    // Before, during and after the send's answer; by phone and by LID; once and twice.
    let faults: [&[Misbehaviour]; 7] = [
        &[],
        &[Misbehaviour::EarlyEcho],
        &[Misbehaviour::LidOnly],
        &[Misbehaviour::LidOnly, Misbehaviour::EarlyEcho],
        &[Misbehaviour::DuplicateHooks, Misbehaviour::HooksOutOfOrder],
        &[Misbehaviour::Slow(std::time::Duration::from_millis(80)), Misbehaviour::EarlyEcho],
        &[Misbehaviour::Cut { accepted: true }],
    ];
    for faults in faults {
        let app = spawn_app().await;
        let vendor = app.vendor(1).await;
        let known = customer().with_lid("111122223333444");
        app.twin.know_lid("111122223333444", "+221705550001");
        for fault in faults {
            app.twin.misbehave(vendor.session.id, fault.clone(), Times::Always);
        }
        for n in 1..=2 {
            let text = if n == 1 { "horaires" } else { "autre chose" };
            let answer = app.twin.customer_says(vendor.session.id, &known, text).await;
            assert!(answer.is_ok());
            app.twin.wait_sends(n, DEADLINE).await;
            app.twin.idle().await;
        }
        app.settled().await;
        let messages = app.messages(&vendor).await;
        assert!(messages.iter().all(|it| it["human"] == false), "{faults:?}: {messages:#?}");
        assert!(messages.iter().all(|it| it["reason"] != "paused"), "{faults:?}: {messages:#?}");
        assert_eq!(app.twin.n_sends(), 2, "{faults:?}");
    }
}

#[tokio::test]
async fn an_answer_whose_customer_was_taken_over_meanwhile_is_not_sent() {
    let app = spawn_app().await;
    let vendor = app.vendor(1).await;
    app.gateway.pause(Some(&vendor.id), true).await.unwrap();
    says(&app, &vendor, "horaires").await;
    app.until(&vendor, |it| it.iter().any(|it| it["inbound"] == false)).await;
    app.twin.human_types(vendor.session.id, &customer(), "Bonjour, c'est moi").await;
    app.gateway.pause(Some(&vendor.id), false).await.unwrap();
    let messages = app.until(&vendor, |it| it.iter().any(|it| it["reason"] == "silenced")).await;
    assert_eq!(messages.iter().filter(|it| it["status"] == "dead").count(), 1);
    app.settled().await;
    assert_eq!(app.twin.n_sends(), 0);
}

#[tokio::test]
async fn two_bots_do_not_talk_for_ever() {
    let app = spawn_app().await;
    // The second one's bot does not go quiet after a human.
    let vendors = [app.vendor(1).await, app.vendor(2).await];
    let path = format!("/api/admin/vendors/{}", vendors[1].id);
    assert_eq!(app.admin.put(&path, json!({ "silenceMinutes": 0 })).await.status, 200);
    for (vendor, n_sends) in vendors.iter().zip([3, 6]) {
        for n in 0..8 {
            says(&app, vendor, &format!("je suis un robot {n}")).await;
            app.settled().await;
        }
        let messages = app.messages(vendor).await;
        assert_eq!(app.twin.n_sends(), n_sends, "the third equal answer is the last");
        assert!(messages.iter().any(|it| it["reason"] == "paused"), "{messages:#?}");
    }
}

#[tokio::test]
async fn a_customer_known_by_lid_alone_is_answered_at_their_number_or_the_answer_is_parked() {
    let app = spawn_app().await;
    let vendor = app.vendor(1).await;
    app.twin.know_lid("111122223333444", "+221705550042");
    let known = Customer::lid_only("111122223333444");
    assert!(app.twin.customer_says(vendor.session.id, &known, "horaires").await.is_ok());
    let sends = app.twin.wait_sends(1, DEADLINE).await;
    assert_eq!(sends[0].to, "+221705550042");
    // The number is kept: the twin is not asked again.
    let asked = |app: &TestApp| {
        app.twin.requests().iter().filter(|it| it.path.contains("pn-from-lid")).count()
    };
    let n_asked = asked(&app);
    assert!(app.twin.customer_says(vendor.session.id, &known, "autre").await.is_ok());
    app.twin.wait_sends(2, DEADLINE).await;
    assert_eq!(asked(&app), n_asked);
    let unknown = Customer::lid_only("999988887777666");
    assert!(app.twin.customer_says(vendor.session.id, &unknown, "horaires").await.is_ok());
    let messages = app.until(&vendor, |it| it.iter().any(|it| it["status"] == "parked")).await;
    assert!(messages.iter().any(|it| it["reason"] == "no_phone"), "{messages:#?}");
    app.settled().await;
    assert_eq!(app.twin.n_sends(), 2);
}

#[tokio::test]
async fn a_vendor_without_a_session_key_is_parked_and_the_account_token_never_sends() {
    let app = spawn_app().await;
    let id = app.vendor(1).await.id;
    let path = format!("/api/admin/vendors/{id}/waba-instances");
    let instance =
        json!({ "phoneNumber": "+221781110001", "wasenderWebhookSecret": "a-secret-of-its-own" });
    assert_eq!(app.admin.post(&path, instance).await.status, 201);
    let body = real_message("k1", &customer(), "horaires", app.now_secs()).to_string();
    let url = format!("{}/api/webhooks/wasender/{id}", app.base);
    let headers = [("x-webhook-signature", "a-secret-of-its-own")];
    assert_eq!(app.post(&url, &headers, body.as_bytes()).await.status, 200);
    app.settled().await;
    let page = app.gateway.messages(&id, None, 10).await.unwrap();
    assert!(page.rows.iter().any(|it| it.reason.as_deref() == Some("no_session_key")));
    assert!(!app.twin.requests().iter().any(|it| it.path.ends_with("/send-message")));
}

#[tokio::test]
async fn a_bot_is_asked_with_a_signature_that_the_standard_library_accepts() {
    let app = spawn_app().await;
    let bot = Bot::start(&[(200, json!({ "message": "Bonjour Awa" }))]).await;
    let vendor = app.vendor_with(1, change(vec![bot.responder()])).await;
    let named = customer().named("Awa");
    for (n, text) in ["première", "deuxième"].into_iter().enumerate() {
        assert!(app.twin.customer_says(vendor.session.id, &named, text).await.is_ok());
        app.twin.wait_sends(n + 1, DEADLINE).await;
    }
    let secret = app.gateway.vendor(&vendor.id).await.unwrap().signing_secret;
    let asked = bot.asked();
    let oracle = standardwebhooks::Webhook::new(secret.expose_secret()).unwrap();
    for call in &asked {
        oracle.verify(&call.bytes, &call.headers).unwrap();
        assert_eq!(call.headers["x-api-key"], "bot-api-key");
    }
    let body = asked[1].body();
    let id = asked[1].headers["webhook-id"].to_str().unwrap();
    assert_eq!(body["vendorId"], "vendor_001");
    assert_eq!((&body["from"], &body["name"]), (&json!("+221705550001"), &json!("Awa")));
    assert_eq!((&body["message"], &body["type"]), (&json!("deuxième"), &json!("text")));
    assert_eq!(body["messageId"], id);
    assert!(body["timestamp"].is_i64());
    let turns = json!([
        { "role": "user", "content": "première" }, { "role": "assistant", "content": "Bonjour Awa" },
    ]);
    assert_eq!(body["conversation"], turns);
}

#[tokio::test]
async fn a_bot_that_asks_for_a_human_says_so_and_steps_back() {
    let app = spawn_app().await;
    let bot =
        Bot::start(&[(200, json!({ "message": "Un conseiller arrive", "requiresHuman": true }))])
            .await;
    let vendor = app.vendor_with(1, change(vec![bot.responder()])).await;
    says(&app, &vendor, "je veux parler à quelqu'un").await;
    let sends = app.twin.wait_sends(1, DEADLINE).await;
    assert_eq!(sends[0].text, "Un conseiller arrive");
    says(&app, &vendor, "allô ?").await;
    app.settled().await;
    assert_eq!((app.twin.n_sends(), bot.n_asked()), (1, 1));
    // An admin lets the bot go on.
    let id = app.messages(&vendor).await[0]["id"].as_str().unwrap().to_owned();
    let path = format!("/api/admin/vendors/vendor_001/messages/{id}/resume");
    assert_eq!(app.admin.post(&path, Value::Null).await.status, 200);
    says(&app, &vendor, "encore").await;
    app.settled().await;
    assert_eq!(bot.n_asked(), 2);
}

#[tokio::test]
async fn silence_ends_the_list_and_failure_goes_to_the_next() {
    let app = spawn_app().await;
    let silent = Bot::start(&[(204, Value::Null)]).await;
    let broken = Bot::start(&[(500, json!({ "message": "no" }))]).await;
    let strange = Bot::start(&[(200, json!({ "something": "else" }))]).await;
    let quiet = app.vendor_with(1, change(vec![silent.responder(), rules().remove(0)])).await;
    says(&app, &quiet, "horaires").await;
    app.settled().await;
    assert_eq!((app.twin.n_sends(), silent.n_asked()), (0, 1));
    assert!(app.messages(&quiet).await.iter().any(|it| it["reason"] == "silence"));
    let list = vec![broken.responder(), strange.responder(), rules().remove(0)];
    let patient = app.vendor_with(2, change(list)).await;
    says(&app, &patient, "horaires").await;
    let sends = app.twin.wait_sends(1, DEADLINE).await;
    assert_eq!(sends[0].text, "ouvert de 8 h à 19 h");
    assert_eq!((broken.n_asked(), strange.n_asked()), (1, 1));
}

#[tokio::test]
async fn a_bot_that_fails_is_asked_again_with_the_same_id() {
    let app = spawn_app().await;
    let bot = Bot::start(&[(503, Value::Null), (200, json!({ "message": "voilà" }))]).await;
    let vendor = app.vendor_with(1, change(vec![bot.responder()])).await;
    says(&app, &vendor, "horaires").await;
    app.twin.wait_sends(1, DEADLINE).await;
    let asked = bot.asked();
    assert_eq!(asked.len(), 2);
    assert_eq!(asked[0].headers["webhook-id"], asked[1].headers["webhook-id"]);
}

#[tokio::test]
async fn vendors_without_a_responder_have_the_operators() {
    let bot = Bot::start(&[(200, json!({ "message": "de la part de tous" }))]).await;
    let variables = vec![
        ("RESPONSE_API_URL", bot.url.clone()),
        ("WEBHOOK_FORWARD_SECRET", "the-operators-secret".to_owned()),
        // The operator's own address is trusted although private.
        ("ALLOW_PRIVATE_TARGETS", "false".to_owned()),
    ];
    let app = spawn_app_with(Options { variables, ..Options::default() }).await;
    let vendor = app.vendor_with(1, VendorChange::default()).await;
    says(&app, &vendor, "horaires").await;
    let sends = app.twin.wait_sends(1, DEADLINE).await;
    assert_eq!(sends[0].text, "de la part de tous");
    // A vendor's own address is not.
    let other = app.vendor_with(2, change(vec![bot.responder(), rules().remove(0)])).await;
    says(&app, &other, "horaires").await;
    let sends = app.twin.wait_sends(2, DEADLINE).await;
    assert_eq!(sends[1].text, "ouvert de 8 h à 19 h");
    assert_eq!(bot.n_asked(), 1);
}

#[tokio::test]
async fn a_new_conversation_is_welcomed_once_and_a_failure_is_apologised_for_once() {
    let app = spawn_app().await;
    let welcome =
        VendorChange { welcome_message: Some(Some("Bienvenue".to_owned())), ..change(rules()) };
    let vendor = app.vendor_with(1, welcome).await;
    says(&app, &vendor, "horaires").await;
    app.twin.wait_sends(2, DEADLINE).await;
    says(&app, &vendor, "autre").await;
    let sends = app.twin.wait_sends(3, DEADLINE).await;
    let texts: Vec<&str> = sends.iter().map(|it| it.text.as_str()).collect();
    assert_eq!(texts, ["Bienvenue", "ouvert de 8 h à 19 h", "merci"]);
}
