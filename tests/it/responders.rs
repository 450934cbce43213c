//! Who writes the answer: both dialects, failures, circuits, business hours, and where calls may go.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use waba_gateway::{
    domain::{
        clock::{Clock, HOUR, MINUTE, Millis, SECOND},
        secret::ExposeSecret,
        vendor::{Dialect, ResponderConfig, Rule},
    },
    gateway::VendorChange,
    twin::{Customer, Sent, real_message},
};

use crate::support::{
    Bot, DEADLINE, Options, TestApp, TestVendor, change, rules, spawn_app, spawn_app_with,
};

/// Monday, 2026-11-23 at 10:00 in Dakar.
const NOW: i64 = 1_795_428_000_000;
const VENDOR: &str = "/api/admin/vendors/vendor_001";

async fn at_a_fixed_time() -> TestApp {
    spawn_app_with(Options { clock: Clock::fixed(NOW), ..Options::default() }).await
}

async fn says(app: &TestApp, vendor: &TestVendor, text: &str) {
    says_as(app, vendor, &Customer::new("+221705550001"), text).await;
}

async fn says_as(app: &TestApp, vendor: &TestVendor, customer: &Customer, text: &str) {
    let id = format!("{text}-{}", app.messages(vendor).await.len());
    let body = real_message(&id, customer, text, app.now_secs());
    assert_eq!(app.post_signed(vendor, &body).await.status, 200);
}

/// Who has not been answered yet: the same answer three times would be two bots talking.
fn nth_customer(n: usize) -> Customer {
    Customer::new(&format!("+22170556{n:04}"))
}

fn always(reply: &str) -> ResponderConfig {
    ResponderConfig::Rules { rules: Vec::<Rule>::new(), otherwise: Some(reply.to_owned()) }
}

/// Lets simulated time pass until something is so.
async fn passing(app: &TestApp, step: Millis, what: &str, is: impl AsyncFn() -> bool) {
    let started = Instant::now();
    while !is().await {
        assert!(started.elapsed() < DEADLINE, "{what} never came");
        app.clock.advance(step);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn sends_after(app: &TestApp, n: usize) -> Vec<Sent> {
    passing(app, SECOND, "a send", async || app.twin.n_sends() >= n).await;
    let sends = app.twin.wait_sends(n, DEADLINE).await;
    // Their echoes too: one that comes after the clock was moved on is a human's.
    app.twin.idle().await;
    sends
}

async fn n_ended(app: &TestApp, vendor: &TestVendor, reason: &str) -> usize {
    app.messages(vendor).await.iter().filter(|it| it["reason"] == reason).count()
}

fn texts(sends: &[Sent]) -> Vec<&str> {
    sends.iter().map(|it| it.text.as_str()).collect()
}

#[tokio::test]
async fn images_go_before_the_text_and_a_menu_is_answered_by_number_or_title() {
    let app = spawn_app().await;
    let options = json!([{ "id": 7, "title": "Retrait" }, { "id": "home", "title": "Livraison" }]);
    let menu = json!({
        "message": "Comment ?", "type": "buttons", "buttons": options,
        "images": ["https://cdn.example/a.png", { "url": "https://cdn.example/b.png", "caption": "B" }],
    });
    let bot = Bot::start(&[(200, menu), (200, json!({ "message": "noté" }))]).await;
    let vendor = app.vendor_with(1, change(vec![bot.responder()])).await;
    says(&app, &vendor, "commander").await;
    let sends = app.twin.wait_sends(3, DEADLINE).await;
    assert_eq!(texts(&sends), ["", "B", "Comment ?\n\n1. Retrait\n2. Livraison"]);
    let first: Value = serde_json::from_slice(&sends[0].body).unwrap();
    assert_eq!(first["imageUrl"], "https://cdn.example/a.png");
    for (n, (said, id, title)) in
        [("livraison", "home", "Livraison"), ("merci", "", "")].into_iter().enumerate()
    {
        says(&app, &vendor, said).await;
        app.twin.wait_sends(4 + n, DEADLINE).await;
        let body = bot.last();
        if title.is_empty() {
            assert_eq!((&body["type"], body.get("optionId")), (&json!("text"), None));
            assert_eq!(body["message"], said);
        } else {
            assert_eq!((&body["type"], &body["optionId"]), (&json!("option"), &json!(id)));
            assert_eq!((&body["title"], &body["message"]), (&json!(title), &json!(title)));
        }
    }
    let body = bot.last();
    assert_eq!((&body["wabaId"], &body["isOpen"]), (&json!("waba_vendor_001"), &json!(true)));
    assert!(body["conversationId"].as_str().unwrap().starts_with("conv_"), "{body}");
}

#[tokio::test]
async fn an_answer_of_several_messages_counts_as_one_and_equal_ones_are_two_bots() {
    let app = spawn_app().await;
    let images: Vec<String> = (0..6).map(|n| format!("https://cdn.example/{n}.png")).collect();
    let catalogue = Bot::start(&[(200, json!({ "images": images }))]).await;
    let told = Bot::start(&[(200, json!({ "message": "voilà", "images": images[..1] }))]).await;
    let shows = app.vendor_with(1, change(vec![catalogue.responder()])).await;
    let tells = app.vendor_with(2, change(vec![told.responder()])).await;
    for n in 1..=4 {
        says(&app, &shows, &format!("message {n}")).await;
        says(&app, &tells, &format!("message {n}")).await;
        app.settled().await;
    }
    let sends = app.twin.wait_sends(30, DEADLINE).await;
    // Pictures alone may be equal or not; 24 of them in a minute are four answers.
    assert_eq!(sends.iter().filter(|it| it.from == shows.phone).count(), 24);
    assert_eq!(n_ended(&app, &shows, "paused").await, 0);
    // The third «voilà» is the last.
    assert_eq!(sends.iter().filter(|it| it.from == tells.phone).count(), 6);
    assert_eq!(n_ended(&app, &tells, "paused").await, 1);
}

#[tokio::test]
async fn a_number_chooses_too_and_its_id_may_have_been_a_number() {
    let app = spawn_app().await;
    let items = json!([{ "id": 7, "title": "Retrait", "description": "en boutique" }]);
    let menu = json!({ "message": "Comment ?", "listItems": items });
    let bot = Bot::start(&[(200, menu), (200, json!({ "message": "noté" }))]).await;
    let vendor = app.vendor_with(1, change(vec![bot.responder()])).await;
    says(&app, &vendor, "commander").await;
    let sends = app.twin.wait_sends(1, DEADLINE).await;
    assert_eq!(sends[0].text, "Comment ?\n\n1. Retrait — en boutique");
    says(&app, &vendor, "1").await;
    app.twin.wait_sends(2, DEADLINE).await;
    assert_eq!((&bot.last()["optionId"], &bot.last()["message"]), (&json!("7"), &json!("Retrait")));
}

#[tokio::test]
async fn an_intent_is_in_the_journey_as_a_word_and_a_sentence_is_not() {
    let app = spawn_app().await;
    let answer =
        |intent: &str, n: u8| (200, json!({ "message": format!("réponse {n}"), "intent": intent }));
    let bot = Bot::start(&[answer("Prise de RDV", 1), answer("call +221771234567", 2)]).await;
    let vendor = app.vendor_with(1, change(vec![bot.responder()])).await;
    for (n, want) in [(1, Some("intent:prise_de_rdv")), (2, None)] {
        says(&app, &vendor, &format!("message {n}")).await;
        app.twin.wait_sends(n, DEADLINE).await;
        app.settled().await;
        let messages = app.messages(&vendor).await;
        let message = messages.iter().find(|it| it["text"] == format!("message {n}")).unwrap();
        let path = format!("{VENDOR}/messages/{}", message["id"].as_str().unwrap());
        let journey = app.admin.get(&path).await.json();
        let steps = journey["steps"].as_array().unwrap().clone();
        let found = steps.iter().filter_map(|it| it["step"].as_str());
        assert_eq!(found.into_iter().find(|it| it.starts_with("intent")), want, "{journey}");
    }
}

#[tokio::test]
async fn what_a_bot_may_not_send_is_a_failure_and_the_next_responder_is_asked() {
    let app = spawn_app().await;
    let many: Vec<Value> = (0..21).map(|n| json!({ "id": n, "title": "x" })).collect();
    let bot = Bot::start(&[(200, json!({ "message": "Comment ?", "buttons": many }))]).await;
    let vendor = app.vendor_with(1, change(vec![bot.responder(), always("à la place")])).await;
    says(&app, &vendor, "commander").await;
    let sends = app.twin.wait_sends(1, DEADLINE).await;
    assert_eq!((sends[0].text.as_str(), bot.n_asked()), ("à la place", 1));
}

#[tokio::test]
async fn dialect_conversation_is_spoken_as_its_callers_know_it() {
    let app = spawn_app().await;
    let answer = |text: &str| (200, json!({ "success": true, "response": text, "citations": [] }));
    let bot = Bot::start(&[answer("Oui"), answer("De rien")]).await;
    let vendor = app.vendor_with(1, change(Vec::new())).await;
    let responder = json!({
        "kind": "responseApi", "url": bot.url, "dialect": "conversation", "chatbotId": "bot_9",
        "webId": "a-long-web-key-000042", "headers": { "x-api-key": "k" },
    });
    let put = app.admin.put(VENDOR, json!({ "responders": [responder] })).await;
    assert_eq!(put.status, 200, "{}", put.text);
    assert!(!put.text.contains("a-long-web-key") && put.text.contains("…0042"), "{}", put.text);
    assert_eq!(put.json()["vendor"]["responders"][0]["chatbotId"], "bot_9");
    for (n, text) in ["ouvert ?", "merci"].into_iter().enumerate() {
        says(&app, &vendor, text).await;
        app.twin.wait_sends(n + 1, DEADLINE).await;
    }
    assert_eq!(texts(&app.twin.wait_sends(2, DEADLINE).await), ["Oui", "De rien"]);
    let call = bot.asked().remove(1);
    assert_eq!(call.path, "/bot/response");
    let secret = app.gateway.vendor(&vendor.id).await.unwrap().signing_secret;
    let oracle = standardwebhooks::Webhook::new(secret.expose_secret()).unwrap();
    oracle.verify(&call.bytes, &call.headers).unwrap();
    let body = call.body();
    let turns: Value = serde_json::from_str(body["query"].as_str().unwrap()).unwrap();
    let want = json!([
        { "role": "user", "content": "ouvert ?" }, { "role": "assistant", "content": "Oui" },
        { "role": "user", "content": "merci" },
    ]);
    assert_eq!(turns, want);
    let want = json!({
        "query": body["query"], "mode": "default", "chatbotId": "bot_9",
        "user": {
            "uniqueClientId": "whatsapp_221705550001_bot_9",
            "converslyWebId": "a-long-web-key-000042",
            "metadata": { "platform": "whatsapp", "phoneNumber": "221705550001" },
        },
        "metadata": { "originUrl": "whatsapp://chat" },
    });
    assert_eq!(body, want);
}

#[tokio::test]
async fn dialect_conversation_is_not_asked_about_files_and_a_failure_goes_to_the_next() {
    let app = spawn_app().await;
    let bot = Bot::start(&[(200, json!({ "success": false, "response": "Oui" }))]).await;
    let dialect = Dialect::Conversation { chatbot_id: "bot_9".to_owned(), web_id: None };
    let vendor = app.vendor_with(1, change(vec![bot.responder_with(dialect)])).await;
    let mut image = real_message("i1", &Customer::new("+221705550001"), "", app.now_secs());
    image["data"]["messages"]["message"] = json!({ "imageMessage": { "mimetype": "image/jpeg" } });
    image["data"]["messages"]["messageBody"] = json!("");
    assert_eq!(app.post_signed(&vendor, &image).await.status, 200);
    app.until(&vendor, |it| it.iter().any(|it| it["reason"] == "silence")).await;
    assert_eq!(bot.n_asked(), 0);
    let change = change(vec![
        bot.responder_with(Dialect::Conversation { chatbot_id: "b".to_owned(), web_id: None }),
        always("à la place"),
    ]);
    app.gateway.put_vendor(&vendor.id, change).await.unwrap();
    says(&app, &vendor, "ouvert ?").await;
    let sends = app.twin.wait_sends(1, DEADLINE).await;
    assert_eq!((sends[0].text.as_str(), bot.n_asked()), ("à la place", 1));
}

#[tokio::test]
async fn the_operators_responder_may_speak_the_predecessors_dialect() {
    let bot = Bot::start(&[(200, json!({ "success": true, "response": "Oui" }))]).await;
    let variables = vec![
        ("RESPONSE_API_BASE_URL", bot.url.clone()),
        ("RESPONSE_API_WEB_ID", "operators-web-key".to_owned()),
    ];
    let app = spawn_app_with(Options { variables, ..Options::default() }).await;
    let vendor = app.vendor_with(1, VendorChange::default()).await;
    says(&app, &vendor, "ouvert ?").await;
    app.twin.wait_sends(1, DEADLINE).await;
    let body = bot.last();
    // Without an id of its own, the chatbot has the vendor's.
    assert_eq!(body["chatbotId"], "vendor_001");
    assert_eq!(body["user"]["converslyWebId"], "operators-web-key");
}

#[tokio::test]
async fn a_bot_that_fails_five_times_is_left_alone_for_half_a_minute_and_then_probed() {
    let app = at_a_fixed_time().await;
    let failures = vec![(500, Value::Null); 6];
    let answers = [failures, vec![(200, json!({ "message": "me revoilà" }))]].concat();
    let bot = Bot::start(&answers).await;
    let list = || vec![bot.responder(), rules().remove(0)];
    let vendor = app.vendor_with(1, change(list())).await;
    let mut n = 0;
    let mut ask = async || {
        n += 1;
        says_as(&app, &vendor, &nth_customer(n), "bonjour").await;
        let answered = |it: &[Value]| {
            it.iter().filter(|it| it["inbound"] == true && it["status"] == "received").count() == n
        };
        app.until(&vendor, answered).await;
    };
    for _ in 0..7 {
        ask().await;
        app.clock.advance(SECOND);
    }
    assert_eq!(bot.n_asked(), 5, "after five failures it is not asked");
    // A vendor that is changed elsewhere is the same responder still.
    let renamed = VendorChange { business_name: Some("Awa".to_owned()), ..VendorChange::default() };
    app.gateway.put_vendor(&vendor.id, renamed).await.unwrap();
    ask().await;
    assert_eq!(bot.n_asked(), 5);
    // One probe, which fails; then nothing for as long again.
    app.clock.advance(30 * SECOND);
    ask().await;
    ask().await;
    assert_eq!(bot.n_asked(), 6);
    app.clock.advance(30 * SECOND);
    ask().await;
    ask().await;
    assert_eq!(bot.n_asked(), 8, "a probe that is answered closes it");
}

#[tokio::test]
async fn a_responder_that_is_changed_is_asked_at_once() {
    let app = at_a_fixed_time().await;
    let bot = Bot::start(&[(401, Value::Null)]).await;
    let vendor = app.vendor_with(1, change(vec![bot.responder(), always("plus tard")])).await;
    let is_answered = |n: usize| {
        move |it: &[Value]| it.iter().filter(|it| it["status"] == "received").count() == n
    };
    for n in 1..=6 {
        says_as(&app, &vendor, &nth_customer(n), "bonjour").await;
        app.until(&vendor, is_answered(n)).await;
    }
    assert_eq!(bot.n_asked(), 5);
    // Another vendor's trouble is its own.
    let other = app.vendor_with(2, change(vec![bot.responder(), always("plus tard")])).await;
    says_as(&app, &other, &nth_customer(1), "bonjour").await;
    app.until(&other, is_answered(1)).await;
    assert_eq!(bot.n_asked(), 6);
    let ResponderConfig::ResponseApi(mut api) = bot.responder() else { panic!("not an API") };
    api.headers[0].1 = "the-right-key".to_owned().into();
    let mended = change(vec![ResponderConfig::ResponseApi(api), always("plus tard")]);
    app.gateway.put_vendor(&vendor.id, mended).await.unwrap();
    says_as(&app, &vendor, &nth_customer(7), "bonjour").await;
    app.until(&vendor, is_answered(7)).await;
    assert_eq!(bot.n_asked(), 7);
}

#[tokio::test]
async fn the_budget_of_45_seconds_ends_the_waiting_for_all_responders() {
    let app = at_a_fixed_time().await;
    let bot = Bot::hanging().await;
    let apology = VendorChange {
        apology: Some(Some("pardon".to_owned())),
        ..change(vec![bot.responder(), always("trop tard")])
    };
    let vendor = app.vendor_with(1, apology).await;
    let n_waiting =
        async || app.messages(&vendor).await.iter().filter(|it| it["status"] == "waiting").count();
    let asked = async |n: usize| {
        says_as(&app, &vendor, &nth_customer(n), "horaires").await;
        let started = Instant::now();
        while bot.n_asked() < n {
            assert!(started.elapsed() < DEADLINE, "it was never asked");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    asked(1).await;
    app.clock.advance(44 * SECOND);
    asked(2).await;
    assert_eq!(n_waiting().await, 2, "the time of the first is not over yet");
    app.clock.advance(SECOND);
    let is_apologised = |it: &[Value]| it.iter().any(|it| it["text"] == "pardon");
    app.until(&vendor, is_apologised).await;
    assert_eq!(n_waiting().await, 1, "the second has a time of its own");
    let sends = sends_after(&app, 1).await;
    assert_eq!((sends[0].to.as_str(), texts(&sends)[0]), ("+221705560001", "pardon"));
}

fn sorry() -> VendorChange {
    VendorChange { apology: Some(Some("pardon".to_owned())), ..VendorChange::default() }
}

#[tokio::test]
async fn there_is_one_apology_an_hour_for_each_conversation() {
    let app = at_a_fixed_time().await;
    let bot = Bot::start(&[(500, Value::Null)]).await;
    let vendor = app
        .vendor_with(1, VendorChange { responders: Some(vec![bot.responder()]), ..sorry() })
        .await;
    let fails = async |customer: &Customer, n: usize| {
        says_as(&app, &vendor, customer, &format!("message {n}")).await;
        let is_over = async || {
            let messages = app.messages(&vendor).await;
            let over = |it: &&Value| it["inbound"] == true && it["status"] == "received";
            messages.iter().filter(over).count() == n
        };
        passing(&app, SECOND, "an end", is_over).await;
    };
    let (one, two) = (Customer::new("+221705550001"), Customer::new("+221705550002"));
    fails(&one, 1).await;
    sends_after(&app, 1).await;
    let first_at = app.clock.now();
    fails(&one, 2).await;
    fails(&two, 3).await;
    let sends = sends_after(&app, 2).await;
    assert_eq!((sends[1].to.as_str(), texts(&sends)), ("+221705550002", vec!["pardon"; 2]));
    assert_eq!(n_ended(&app, &vendor, "responder_failed").await, 1);
    // Just before the hour is over, and after it.
    app.clock.advance(first_at + HOUR - 2 * MINUTE - app.clock.now());
    fails(&one, 4).await;
    assert_eq!(n_ended(&app, &vendor, "responder_failed").await, 2);
    app.clock.advance(2 * MINUTE);
    fails(&one, 5).await;
    let sends = sends_after(&app, 3).await;
    assert_eq!((sends[2].to.as_str(), sends.len()), ("+221705550001", 3));
    assert_eq!(n_ended(&app, &vendor, "responder_failed").await, 2);
}

#[tokio::test]
async fn the_welcome_is_before_the_first_answer_however_late_that_is() {
    let app = at_a_fixed_time().await;
    let welcome =
        VendorChange { welcome_message: Some(Some("Bienvenue".to_owned())), ..change(Vec::new()) };
    let vendor = app.vendor_with(1, welcome).await;
    // Nobody answers the first messages.
    for n in 1..=3 {
        says(&app, &vendor, &format!("message {n}")).await;
        app.until(&vendor, |it| it.iter().filter(|it| it["reason"] == "silence").count() == n)
            .await;
    }
    app.gateway.put_vendor(&vendor.id, change(vec![always("nous voilà")])).await.unwrap();
    says(&app, &vendor, "message 4").await;
    assert_eq!(texts(&sends_after(&app, 2).await), ["Bienvenue", "nous voilà"]);
    says(&app, &vendor, "message 5").await;
    assert_eq!(texts(&sends_after(&app, 3).await)[2], "nous voilà");
    // Whom the vendor wrote first, the bot does not welcome.
    let body = json!({ "to": "+221705550009", "message": "votre commande est prête" });
    assert_eq!(app.admin.post(&format!("{VENDOR}/send-message"), body).await.status, 202);
    sends_after(&app, 4).await;
    says_as(&app, &vendor, &Customer::new("+221705550009"), "merci").await;
    let sends = sends_after(&app, 5).await;
    assert_eq!((sends[4].to.as_str(), sends[4].text.as_str()), ("+221705550009", "nous voilà"));
}

#[tokio::test]
async fn who_answers_and_what_a_bot_is_told_depends_on_the_hours() {
    let app = at_a_fixed_time().await;
    let bot =
        Bot::start(&[(200, json!({ "message": "oui" })), (200, json!({ "message": "nuit" }))])
            .await;
    let vendor = app.vendor_with(1, change(vec![bot.responder()])).await;
    let days = json!({ "monday": [["08:00", "12:30"], ["14:00", "02:00"]] });
    let fermé = json!([{ "kind": "rules", "otherwise": "fermé" }]);
    let hours = json!({ "days": days, "outOfHours": fermé });
    let put = app.admin.put(VENDOR, json!({ "businessHours": hours })).await;
    assert_eq!(put.status, 200, "{}", put.text);
    // Monday 10:00 in Dakar: open.
    says(&app, &vendor, "a").await;
    assert_eq!(texts(&sends_after(&app, 1).await), ["oui"]);
    assert_eq!(bot.last()["isOpen"], true);
    // 13:00: closed. Tuesday 01:00: open since Monday. 02:00: closed.
    let at = |hour: i64| NOW + (hour - 10) * HOUR - app.clock.now();
    app.clock.advance(at(13));
    says(&app, &vendor, "b").await;
    assert_eq!(texts(&sends_after(&app, 2).await)[1], "fermé");
    app.clock.advance(at(25));
    says(&app, &vendor, "c").await;
    assert_eq!(texts(&sends_after(&app, 3).await)[2], "nuit");
    app.clock.advance(at(26));
    says(&app, &vendor, "d").await;
    assert_eq!(texts(&sends_after(&app, 4).await)[3], "fermé");
    assert_eq!(bot.n_asked(), 2);
    // Without responders of their own the usual ones answer, and are told.
    let hours = json!({ "days": days });
    assert_eq!(app.admin.put(VENDOR, json!({ "businessHours": hours })).await.status, 200);
    says(&app, &vendor, "e").await;
    sends_after(&app, 5).await;
    assert_eq!((bot.n_asked(), &bot.last()["isOpen"]), (3, &json!(false)));
    // In another zone it is Monday still.
    let hours = json!({ "timeZone": "America/New_York", "days": days });
    assert_eq!(app.admin.put(VENDOR, json!({ "businessHours": hours })).await.status, 200);
    says(&app, &vendor, "f").await;
    sends_after(&app, 6).await;
    assert_eq!(bot.last()["isOpen"], true);
}

#[tokio::test]
async fn business_hours_are_shown_with_the_zone_that_is_meant_and_taken_away_by_null() {
    let app = spawn_app().await;
    app.vendor(1).await;
    let shown = async || app.admin.get(VENDOR).await.json()["businessHours"].clone();
    assert_eq!(shown().await, Value::Null);
    let monday = json!([["08:00", "12:30"], ["22:00", "24:00"]]);
    let responder = json!({ "kind": "responseApi", "url": "https://bot.example/", "headers": { "x-key": "a-long-bot-key-000042" } });
    let hours = json!({ "days": { "monday": monday, "sunday": [] }, "outOfHours": [responder] });
    assert_eq!(app.admin.put(VENDOR, json!({ "businessHours": hours })).await.status, 200);
    let hours = shown().await;
    assert_eq!(hours["effectiveTimeZone"], "Africa/Dakar");
    assert_eq!((&hours["timeZone"], &hours["days"]["monday"]), (&Value::Null, &monday));
    assert_eq!(hours["days"]["tuesday"], json!([]));
    assert_eq!(hours["outOfHours"][0]["headers"][0]["value"], "…0042");
    let zoned = json!({ "timeZone": "europe/paris", "days": {} });
    assert_eq!(app.admin.put(VENDOR, json!({ "businessHours": zoned })).await.status, 200);
    let hours = shown().await;
    assert_eq!(hours["timeZone"], "Europe/Paris");
    assert_eq!(hours["effectiveTimeZone"], "Europe/Paris");
    // What is not named stays.
    assert_eq!(app.admin.put(VENDOR, json!({ "apology": "pardon" })).await.status, 200);
    assert_eq!(shown().await["timeZone"], "Europe/Paris");
    assert_eq!(app.admin.put(VENDOR, json!({ "businessHours": null })).await.status, 200);
    assert_eq!(shown().await, Value::Null);
    // A vendor without a number is in none.
    let path = "/api/admin/vendors/vendor_002";
    let made = app.admin.put(path, json!({ "businessHours": { "days": {} } })).await;
    assert_eq!(made.json()["vendor"]["businessHours"]["effectiveTimeZone"], "UTC");
}

#[tokio::test]
async fn what_is_wrong_with_hours_and_responders_is_told_in_words() {
    let app = spawn_app().await;
    app.vendor(1).await;
    let monday = |spans: Value| json!({ "businessHours": { "days": { "monday": spans } } });
    let api = |more: Value| {
        let mut responder = json!({ "kind": "responseApi", "url": "https://bot.example/" });
        responder.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({ "responders": [responder] })
    };
    let nobody = json!({ "businessHours": { "days": {}, "outOfHours": [{ "kind": "responseApi", "url": "ftp://x/" }] } });
    let cases = [
        (monday(json!([["8:00", "12:00"]])), "days.monday: a time is like 08:00"),
        (monday(json!([["08:00", "25:00"]])), "days.monday: a time is like 08:00"),
        (monday(json!([["24:00", "08:00"]])), "does not begin at 24:00"),
        (monday(json!([["08:00", "08:00"]])), "a whole day is 00:00 to 24:00"),
        (monday(json!(vec![["08:00", "09:00"]; 13])), "more than 12 spans"),
        (json!({ "businessHours": { "timeZone": "Dakar", "days": {} } }), "IANA time zone"),
        (nobody, "http or https URL"),
        (api(json!({ "dialect": "conversation" })), "chatbotId"),
        (api(json!({ "dialect": "conversation", "chatbotId": " " })), "chatbotId"),
        (api(json!({ "chatbotId": "b" })), "belong to dialect conversation"),
        (api(json!({ "dialect": "twilio" })), "dialect is bot or conversation"),
        (api(json!({ "headers": { "x y": "v" } })), "no HTTP request can carry"),
        (api(json!({ "headers": { "x": "v\n" } })), "no HTTP request can carry"),
        (api(json!({ "headers": { "Webhook-Signature": "v" } })), "webhook-signature is set by"),
        (json!({ "apology": "x".repeat(4_097) }), "apology has more than 4096"),
    ];
    for (n, (body, why)) in cases.into_iter().enumerate() {
        // One vendor may be changed only so often in a second.
        let answer = app.admin.put(&format!("/api/admin/vendors/shop_{n}"), body).await;
        assert_eq!(answer.status, 422, "{why}: {}", answer.text);
        assert!(answer.text.contains(why), "{why}: {}", answer.text);
    }
    // The shape itself is wrong.
    for body in [
        monday(json!([["08:00"]])),
        json!({ "businessHours": { "days": { "lundi": [] } } }),
        json!({ "businessHours": { "zone": "Africa/Dakar", "days": {} } }),
        json!({ "businessHours": {} }),
    ] {
        let answer = app.admin.put(VENDOR, body).await;
        assert_eq!(answer.status, 400, "{}", answer.text);
    }
}

/// A message to a vendor whose first responder is this one is answered by the next one instead.
#[track_caller]
fn next_answers(app: &TestApp, bots: Vec<ResponderConfig>) -> impl Future<Output = ()> {
    let place = std::panic::Location::caller();
    async move {
        let mut list = bots;
        list.push(always("à la place"));
        let vendor = app.vendor_with(1, change(list)).await;
        says(app, &vendor, "horaires").await;
        let sends = app.twin.wait_sends(1, DEADLINE).await;
        assert_eq!(sends[0].text, "à la place", "{place}");
    }
}

#[tokio::test]
async fn a_vendors_responder_is_not_reached_at_a_private_address_however_it_is_written() {
    let variables = vec![("ALLOW_PRIVATE_TARGETS", "false".to_owned())];
    let app = spawn_app_with(Options { variables, ..Options::default() }).await;
    let bot = Bot::start(&[(200, json!({ "message": "de l'intérieur" }))]).await;
    let hosts = [
        "127.0.0.1",
        "localhost",
        "LOCALHOST.",
        "2130706433",
        "0x7f000001",
        "0177.0.0.1",
        "127.1",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[::1]",
        "0.0.0.0",
        "0",
    ];
    let bots = hosts.iter().map(|it| bot.at(it).responder()).collect();
    next_answers(&app, bots).await;
    assert_eq!(bot.n_asked(), 0);
}

#[tokio::test]
async fn a_name_or_network_that_the_operator_allows_is_reached() {
    for (allowed, host) in [("localhost", "localhost"), ("127.0.0.0/8", "2130706433")] {
        let variables = vec![
            ("ALLOW_PRIVATE_TARGETS", "false".to_owned()),
            ("ALLOW_TARGETS", allowed.to_owned()),
        ];
        let app = spawn_app_with(Options { variables, ..Options::default() }).await;
        let bot = Bot::start(&[(200, json!({ "message": "de l'intérieur" }))]).await;
        let vendor = app.vendor_with(1, change(vec![bot.at(host).responder()])).await;
        says(&app, &vendor, "horaires").await;
        let sends = app.twin.wait_sends(1, DEADLINE).await;
        assert_eq!(sends[0].text, "de l'intérieur", "{allowed}");
    }
}

#[tokio::test]
async fn a_responder_that_points_elsewhere_is_a_failure_and_nobody_goes_there() {
    let app = spawn_app().await;
    let inside = Bot::start(&[(200, json!({ "message": "de l'intérieur" }))]).await;
    let outside = Bot::redirecting(&inside.url).await;
    let metadata = Bot::redirecting("http://169.254.169.254/latest/meta-data/").await;
    next_answers(&app, vec![outside.responder(), metadata.responder()]).await;
    assert_eq!((outside.n_asked(), metadata.n_asked(), inside.n_asked()), (1, 1, 0));
}
