//! Messages told to the application: what its documents say, how often they are written, and what
//! happens to them while Firestore is away.

use serde_json::{Map, Value, json};
use waba_gateway::{
    domain::clock::{Clock, HOUR, MINUTE, SECOND},
    twin::{
        Customer, Misbehaviour, Times, real_message,
        wire::{real_status, real_typed},
    },
};

use super::{app, until};
use crate::{
    delivery::{send, status_is},
    restart::free_port,
    support::{
        Bot, Client, DEADLINE, Emulator, Options, Process, Program, TestApp, TestVendor, change,
        spawn_app_with, time,
    },
};

const NOW: i64 = 1_760_000_000_000;
const AWA: &str = "+221705550001";
const COLLECTIONS: [&str; 3] = ["vendor_messages", "crmTickets", "notifications"];

async fn says(app: &TestApp, vendor: &TestVendor, id: &str, text: &str) -> String {
    let customer = Customer::new(AWA).named("Awa Ndiaye");
    let body = real_message(id, &customer, text, NOW / 1_000);
    let answer = app.post_signed(vendor, &body).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer.json()["processId"].as_str().unwrap().to_owned()
}

/// Everybody writes at a time of their own, and the gateway's is still.
async fn still(emulator: &Emulator) -> TestApp {
    let clock = Clock::fixed(NOW);
    let variables = emulator.variables();
    spawn_app_with(Options { clock, variables, ..Options::default() }).await
}

async fn said(program: &Program, id: &str) -> Value {
    program.get("vendor_messages", id).await["status"].clone()
}

async fn until_said(program: &Program, id: &str, status: &str) {
    until(&format!("{id} is {status}"), async || said(program, id).await == status).await;
}

fn jid() -> String {
    format!("{}@s.whatsapp.net", &AWA[1..])
}

/// What is due is written, and nothing more: the gateway has looked.
async fn written(app: &TestApp) {
    let journal = app.gateway.journal();
    until("it is written", async || {
        let first_due = journal.outbox_load().await.unwrap().first_due;
        first_due.is_none_or(|it| it > app.clock.now())
    })
    .await;
}

async fn waiting(app: &TestApp) -> i64 {
    app.gateway.journal().outbox_load().await.unwrap().n_waiting
}

fn n_written(emulator: &Emulator) -> usize {
    let writes = emulator.writes("vendor_messages");
    writes.iter().map(|it| &it.0).collect::<std::collections::BTreeSet<_>>().len()
}

fn n_writes(emulator: &Emulator, id: &str) -> usize {
    emulator.writes("vendor_messages").iter().filter(|it| it.0 == id).count()
}

#[tokio::test]
async fn a_message_and_its_answer_are_documents_of_two_writes_and_no_read() {
    let emulator = Emulator::start();
    let program = emulator.program().await;
    let app = still(&emulator).await;
    let vendor = app.vendor(1).await;
    app.clock.advance(MINUTE);
    let inbound = says(&app, &vendor, "3EB0AWA1", "horaires").await;
    app.twin.wait_sends(1, DEADLINE).await;
    let all = app.until(&vendor, |it| it.len() == 2 && it[0]["status"] == "read").await;
    let outbound = all[0]["id"].as_str().unwrap();
    until_said(&program, outbound, "read").await;
    let at = app.clock.now();
    assert_eq!(
        program.get("vendor_messages", &inbound).await,
        json!({
            "vendorId": "vendor_001", "wabaId": "waba_vendor_001", "direction": "inbound",
            "from": AWA, "message": "horaires", "messageId": "3EB0AWA1", "type": "text",
            "timestamp": time(NOW), "status": "received", "createdAt": time(at),
        })
    );
    assert_eq!(
        program.get("vendor_messages", outbound).await,
        json!({
            "vendorId": "vendor_001", "wabaId": "waba_vendor_001", "direction": "outbound",
            "from": vendor.phone, "to": AWA, "message": "ouvert de 8 h à 19 h",
            "messageId": outbound, "type": "text", "timestamp": time(at), "status": "read",
            "createdAt": time(at),
        })
    );
    app.clock.advance(2 * HOUR);
    written(&app).await;
    assert_eq!(n_writes(&emulator, &inbound), 1);
    assert!(
        (1..=2).contains(&n_writes(&emulator, outbound)),
        "{:?}",
        emulator.writes(COLLECTIONS[0])
    );
    // Nothing is read for a message. Vendors may be looked at meanwhile, but not each time.
    let (mut n_reads, n_before) = (Vec::new(), emulator.reads().len());
    for n in 2..8 {
        let before = emulator.reads().len();
        let customer = Customer::new(&format!("+22170555000{n}"));
        let body = real_message(&format!("3EB0AWA{n}"), &customer, "horaires", NOW / 1_000);
        assert_eq!(app.post_signed(&vendor, &body).await.status, 200);
        until("both are written", async || n_written(&emulator) == 2 * n).await;
        n_reads.push(emulator.reads().len() - before);
    }
    assert!(n_reads.contains(&0), "{n_reads:?}");
    let is_ours = |it: &String| COLLECTIONS.iter().any(|name| it.contains(name));
    let reads = emulator.reads().split_off(n_before);
    assert!(!reads.iter().any(is_ours), "{reads:?}");
    let metrics = app.admin.get("/metrics").await.text;
    let counted = r#"waba_record_writes_total{collection="vendor_messages",deed="write"}"#;
    assert!(metrics.contains(counted), "{metrics}");
    until("none is left", async || waiting(&app).await == 0).await;
}

#[tokio::test]
async fn a_message_that_goes_out_waits_a_minute_for_what_is_worth_telling() {
    let emulator = Emulator::start();
    let program = emulator.program().await;
    let app = still(&emulator).await;
    let vendor = app.vendor(1).await;
    app.twin.misbehave(vendor.session.id, Misbehaviour::NoStatuses, Times::Always);
    app.clock.advance(MINUTE);
    let id = send(&app, &vendor, AWA, "votre commande est prête").await;
    let sent = app.twin.wait_sends(1, DEADLINE).await.remove(0);
    status_is(&app, &vendor, &id, "sent").await;
    app.twin.idle().await;
    written(&app).await;
    assert_eq!(said(&program, &id).await, Value::Null);
    app.clock.advance(MINUTE);
    until_said(&program, &id, "sent").await;
    // Another program adds what it likes, and it stays.
    program.update("vendor_messages", &id, json!({ "assignedTo": "fatou" })).await;
    let status =
        |code| real_status(&vendor.session.api_key, &sent.key_id, &jid(), code, app.clock.now());
    assert_eq!(app.post_signed(&vendor, &status(3)).await.status, 200);
    status_is(&app, &vendor, &id, "delivered").await;
    app.clock.advance(30 * SECOND);
    written(&app).await;
    assert_eq!(said(&program, &id).await, "sent");
    let n_reads = emulator.reads().len();
    app.clock.advance(30 * SECOND);
    until("it is written again", async || n_writes(&emulator, &id) == 3).await;
    let reads = emulator.reads().split_off(n_reads);
    assert!(!reads.iter().any(|it| COLLECTIONS.iter().any(|name| it.contains(name))), "{reads:?}");
    until_said(&program, &id, "delivered").await;
    assert_eq!(app.post_signed(&vendor, &status(4)).await.status, 200);
    status_is(&app, &vendor, &id, "read").await;
    app.clock.advance(2 * HOUR);
    written(&app).await;
    let document = program.get("vendor_messages", &id).await;
    assert_eq!(
        (&document["status"], &document["assignedTo"]),
        (&json!("delivered"), &json!("fatou"))
    );
    assert_eq!(n_writes(&emulator, &id), 3, "ours are two, theirs is one");
}

#[tokio::test]
async fn what_is_typed_on_the_phone_is_told_too() {
    let emulator = Emulator::start();
    let program = emulator.program().await;
    let app = still(&emulator).await;
    let vendor = app.vendor(1).await;
    let typed = real_typed("3EB0PHONE", &Customer::new(AWA), "je m'en occupe", NOW / 1_000);
    let answer = app.post_signed(&vendor, &typed).await;
    let id = answer.json()["processId"].as_str().unwrap().to_owned();
    app.clock.advance(MINUTE);
    until_said(&program, &id, "sent").await;
    let document = program.get("vendor_messages", &id).await;
    for (field, value) in [
        ("from", json!(vendor.phone)),
        ("to", json!(AWA)),
        ("direction", json!("outbound")),
        ("byHuman", json!(true)),
        ("message", json!("je m'en occupe")),
        ("messageId", json!("3EB0PHONE")),
    ] {
        assert_eq!(document[field], value, "{field}");
    }
    // One that the application has deleted is not made again to say that it was read.
    program.delete("vendor_messages", &id).await;
    let read = real_status(&vendor.session.api_key, "3EB0PHONE", &jid(), 4, app.clock.now());
    assert_eq!(app.post_signed(&vendor, &read).await.status, 200);
    until("nothing waits", async || waiting(&app).await == 0).await;
    assert_eq!(program.get("vendor_messages", &id).await, Value::Null);
    assert_eq!(n_writes(&emulator, &id), 2, "ours is one, and their deletion");
}

/// A vendor whose bot wants a person.
async fn wants_a_person(app: &TestApp) -> TestVendor {
    let answer = json!({ "message": "Un conseiller arrive", "requiresHuman": true });
    let bot = Bot::start(&[(200, answer)]).await;
    app.vendor_with(1, change(vec![bot.responder()])).await
}

#[tokio::test]
async fn a_customer_who_needs_a_person_gets_one_ticket_whatever_happens() {
    let emulator = Emulator::start();
    let program = emulator.program().await;
    let mut app = still(&emulator).await;
    let vendor = wants_a_person(&app).await;
    app.clock.advance(MINUTE);
    let id = says(&app, &vendor, "3EB0AWA1", "je veux parler à quelqu'un").await;
    until("there is a ticket", async || !program.get("crmTickets", &id).await.is_null()).await;
    let at = app.clock.now();
    let conversation = app.gateway.conversations(&vendor.id, None, 1).await.unwrap().rows[0].id;
    let ticket = json!({
        "vendorId": "vendor_001", "source": "whatsapp", "sourceId": id, "clientPhone": AWA,
        "clientName": "Awa Ndiaye", "subject": "WhatsApp: Awa Ndiaye",
        "description": "je veux parler à quelqu'un", "status": "open", "priority": "normal",
        "assignedTo": null, "createdAt": time(at), "updatedAt": time(at),
        "metadata": { "conversationId": conversation.to_string(), "messageId": "3EB0AWA1" },
    });
    assert_eq!(program.get("crmTickets", &id).await, ticket);
    until("it is told", async || !program.get("notifications", &id).await.is_null()).await;
    assert_eq!(
        program.get("notifications", &id).await,
        json!({
            "vendorId": "vendor_001", "type": "whatsapp_escalation",
            "title": "WhatsApp: Awa Ndiaye", "message": "je veux parler à quelqu'un",
            "read": false, "createdAt": time(at),
        })
    );
    // A person works on it, and the gateway crashes before it knows that it was written.
    let edit = json!({ "status": "closed", "subject": "Rappelée" });
    program.update("crmTickets", &id, edit).await;
    app.twin.idle().await;
    app.settled().await;
    written(&app).await;
    app.app.take().unwrap().stop().await;
    let db = rusqlite::Connection::open(app.data_dir().join("waba.db")).unwrap();
    assert_eq!(db.execute("UPDATE outbox SET due = 0, n = 0 WHERE what = 1", ()).unwrap(), 1);
    drop(db);
    app.start_again().await;
    app.clock.advance(MINUTE);
    written(&app).await;
    // Nor does asking the bot again make another.
    app.gateway.resume_contact(&vendor.id, conversation).await.unwrap();
    let path = format!("/api/admin/journal/entries/{id}/replay");
    let answer = app.admin.post(&path, json!({ "again": true })).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    app.twin.wait_sends(2, DEADLINE).await;
    app.settled().await;
    written(&app).await;
    let edited = program.get("crmTickets", &id).await;
    assert_eq!((&edited["status"], &edited["subject"]), (&json!("closed"), &json!("Rappelée")));
    assert_eq!(program.all("crmTickets").await.len(), 1);
    // Firestore said that they are there, and that is all that was wanted.
    until("nothing waits", async || waiting(&app).await == 0).await;
    assert_eq!(program.all("notifications").await.len(), 1);
}

#[tokio::test]
async fn a_bot_that_answers_by_itself_makes_no_ticket() {
    let emulator = Emulator::start();
    let program = emulator.program().await;
    let app = still(&emulator).await;
    let vendor = app.vendor(1).await;
    app.clock.advance(MINUTE);
    let id = says(&app, &vendor, "3EB0AWA1", "horaires").await;
    until_said(&program, &id, "received").await;
    assert_eq!(app.twin.wait_sends(1, DEADLINE).await.len(), 1);
    app.settled().await;
    for collection in ["crmTickets", "notifications"] {
        assert_eq!(program.all(collection).await, Map::new());
    }
}

#[tokio::test]
async fn while_firestore_is_away_replies_leave_and_documents_wait_over_a_restart() {
    let mut emulator = Emulator::start();
    let mut app = app(&emulator).await;
    let vendor = app.vendor(1).await;
    // From somebody else each time, and answered.
    let hook = async |app: &TestApp, n: usize| {
        let customer = Customer::new(&format!("+22170555000{n}"));
        let body = real_message(&format!("M{n}"), &customer, "horaires", app.now_secs());
        let answer = app.post_signed(&vendor, &body).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        assert_eq!(app.twin.wait_sends(n, DEADLINE).await.len(), n);
        answer.json()["processId"].as_str().unwrap().to_owned()
    };
    let first = hook(&app, 1).await;
    let program = emulator.program().await;
    until_said(&program, &first, "received").await;
    emulator.kill();
    let mut ids = Vec::new();
    for n in 2..5 {
        ids.push(hook(&app, n).await);
    }
    app.restart().await;
    ids.push(hook(&app, 5).await);
    let load = app.gateway.journal().outbox_load().await.unwrap();
    assert!(load.n_waiting >= 4, "{load:?}");
    emulator.restart();
    let program = emulator.program().await;
    for id in &ids {
        until_said(&program, id, "received").await;
    }
    app.until(&vendor, |it| it.iter().filter(|it| it["status"] == "read").count() == 5).await;
    let all = app.messages(&vendor).await;
    for it in all.iter().filter(|it| it["inbound"] == false) {
        until_said(&program, it["id"].as_str().unwrap(), "read").await;
    }
    written(&app).await;
    assert_eq!(waiting(&app).await, 0);
    // What had waited went together.
    let commits = emulator.commits(COLLECTIONS[0]);
    assert!(commits.iter().any(|it| *it > 1), "{commits:?}");
}

#[tokio::test]
async fn what_waits_is_written_after_the_process_was_killed() {
    let mut emulator = Emulator::start();
    let directory = tempfile::tempdir().unwrap();
    let (data, log) = (directory.path().join("data"), directory.path().join("log"));
    let (port, variables) = (free_port(), emulator.variables());
    let process = Process::serve(&data, port, &variables, &log).await;
    let key = &variables.iter().find(|it| it.0 == "ADMIN_API_KEY").unwrap().1;
    let admin = Client::new(&process.base, key);
    assert_eq!(admin.put("/api/admin/vendors/anna", json!({})).await.status, 201);
    let number = json!({
        "phoneNumber": "+221771234567", "provider": "wasender",
        "wasenderWebhookSecret": "the-webhook-secret-of-anna",
    });
    let path = "/api/admin/vendors/anna/waba-instances";
    assert_eq!(admin.post(path, number).await.status, 201);
    let hook = format!("{}/api/webhooks/wasender/anna", process.base);
    let post = async |id: &str, text: &str| {
        let body = real_message(id, &Customer::new(AWA), text, NOW / 1_000).to_string();
        let headers = [("x-webhook-signature", "the-webhook-secret-of-anna")];
        let answer = admin.raw("POST", &hook, &headers, body.into_bytes()).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        answer.json()["processId"].as_str().unwrap().to_owned()
    };
    let first = post("M1", "secret-text-one").await;
    let program = emulator.program().await;
    until_said(&program, &first, "received").await;
    emulator.kill();
    let second = post("M2", "secret-text-two").await;
    drop(process);
    emulator.restart();
    let program = emulator.program().await;
    assert_eq!(said(&program, &second).await, Value::Null);
    let process = Process::serve(&data, port, &variables, &log).await;
    until_said(&program, &second, "received").await;
    drop(process);
    let log = std::fs::read_to_string(&log).unwrap();
    for private in ["secret-text", &AWA[1..]] {
        assert!(!log.contains(private), "{private} is in the log");
    }
}

#[tokio::test]
async fn a_document_that_firestore_refuses_holds_no_other_up() {
    let emulator = Emulator::start();
    let program = emulator.program().await;
    let app = still(&emulator).await;
    let vendor = app.vendor(1).await;
    app.gateway.pause(Some(&vendor.id), true).await.unwrap();
    for (n, (how, code)) in [("each", 7), ("whole", 3)].into_iter().enumerate() {
        emulator.refuse(Some(("not-this-one", how, code)));
        let bad = says(&app, &vendor, &format!("BAD{n}"), "not-this-one").await;
        let mut good = Vec::new();
        for m in 0..5 {
            good.push(says(&app, &vendor, &format!("GOOD{n}{m}"), "bonjour").await);
        }
        for id in &good {
            until_said(&program, id, "received").await;
        }
        written(&app).await;
        assert_eq!(said(&program, &bad).await, Value::Null);
        let load = app.gateway.journal().outbox_load().await.unwrap();
        assert!(load.first_due.is_some_and(|it| it > app.clock.now()), "{load:?}");
        // That it is tried again then does not make it younger.
        app.clock.advance(30 * SECOND);
        assert_eq!(load.late_by(app.clock.now()), 30 * SECOND);
        // It is kept, and taken when somebody has put it right.
        emulator.refuse(None);
        app.clock.advance(MINUTE);
        until_said(&program, &bad, "received").await;
    }
    let metrics = app.admin.get("/metrics").await.text;
    assert!(metrics.contains("waba_records_refused_total"), "{metrics}");
}

#[tokio::test]
async fn who_is_erased_is_erased_from_the_documents_and_from_those_that_wait() {
    let mut emulator = Emulator::start();
    let program = emulator.program().await;
    let app = still(&emulator).await;
    let vendor = wants_a_person(&app).await;
    app.clock.advance(MINUTE);
    let id = says(&app, &vendor, "3EB0AWA1", "mon adresse est rue 12").await;
    app.twin.wait_sends(1, DEADLINE).await;
    let all = app.until(&vendor, |it| it.len() == 2 && it[0]["status"] == "read").await;
    let outbound = all[0]["id"].as_str().unwrap().to_owned();
    until_said(&program, &outbound, "read").await;
    until("there is a ticket", async || !program.get("crmTickets", &id).await.is_null()).await;
    program.update("crmTickets", &id, json!({ "status": "closed", "assignedTo": "fatou" })).await;
    app.twin.idle().await;
    app.settled().await;
    // One more is not written before it is erased: Firestore does not take it.
    emulator.refuse(Some(("3EB0AWA2", "each", 14)));
    let waits = says(&app, &vendor, "3EB0AWA2", "et mon code est 4711").await;
    app.settled().await;
    let conversation = app.gateway.conversations(&vendor.id, None, 1).await.unwrap().rows[0].id;
    let path = format!("/api/admin/vendors/{}/conversations/{conversation}", vendor.id);
    assert_eq!(app.admin.delete(&path).await.status, 200);
    emulator.refuse(None);
    app.clock.advance(2 * HOUR);
    for id in [&id, &outbound, &waits] {
        until("it is gone", async || program.get("vendor_messages", id).await.is_null()).await;
    }
    written(&app).await;
    let ticket = program.get("crmTickets", &id).await;
    for (field, value) in [
        ("clientPhone", json!("")),
        ("clientName", Value::Null),
        ("subject", json!("")),
        ("description", json!("")),
        ("status", json!("closed")),
        ("assignedTo", json!("fatou")),
    ] {
        assert_eq!(ticket[field], value, "{field}");
    }
    let everything = COLLECTIONS.map(|it| program.all(it));
    for all in everything {
        let all = Value::Object(all.await).to_string();
        for private in [AWA, "Awa", "rue 12", "4711"] {
            assert!(!all.contains(private), "{private} is in {all}");
        }
    }
    // Nor does it come back with Firestore.
    emulator.kill();
    emulator.restart();
    assert!(emulator.program().await.all("vendor_messages").await.is_empty());
    assert_eq!(waiting(&app).await, 0);
}

#[tokio::test]
async fn documents_that_wait_for_long_are_an_alert() {
    let mut emulator = Emulator::start();
    let app = still(&emulator).await;
    let vendor = app.vendor(1).await;
    let program = emulator.program().await;
    let first = says(&app, &vendor, "M1", "bonjour").await;
    until_said(&program, &first, "received").await;
    written(&app).await;
    emulator.kill();
    says(&app, &vendor, "M2", "bonjour").await;
    app.clock.advance(14 * MINUTE);
    let late = async || {
        app.gateway.look().await.ok();
        let open = app.gateway.alerts().await.unwrap();
        open.iter().any(|it| it.kind.as_str() == "records_late")
    };
    assert!(!late().await);
    app.clock.advance(MINUTE);
    until("it is an alert", late).await;
    emulator.restart();
    until("it has ended", async || !late().await).await;
}
