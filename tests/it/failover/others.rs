//! Providers besides Wasender and Meta as the first one that fails, and what changes meanwhile.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use tokio::net::{TcpListener, TcpStream};
use waba_gateway::twin::{
    Customer,
    twilio::TwilioFault,
    unipile::{UnipileFault, UnipileNumber},
};

use super::{carried::behind, *};

/// Messages that leave one after another.
const N_SENDS: usize = 20;

/// Hands connections on to the twin, and counts them.
async fn counted(meta: &MetaTwin) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, to) = (listener.local_addr().unwrap(), meta.address());
    let n_accepted = Arc::new(AtomicUsize::new(0));
    let n = Arc::clone(&n_accepted);
    tokio::spawn(async move {
        while let Ok((mut from, _)) = listener.accept().await {
            n.fetch_add(1, Ordering::Relaxed);
            tokio::spawn(async move {
                let mut to = TcpStream::connect(to).await.unwrap();
                // Either may go away.
                let _ = tokio::io::copy_bidirectional(&mut from, &mut to).await;
            });
        }
    });
    (meta.api_url().replace(&to.to_string(), &address.to_string()), n_accepted)
}

#[tokio::test]
async fn what_twilio_refuses_leaves_through_meta_and_what_it_may_have_does_not() {
    let behind = behind().await;
    let (shop, sid) = (&behind.shop, &behind.sender.account_sid);
    shop.meta.behave(&shop.number.id);
    behind.change(json!({ "provider": "twilio", "failover": ["meta"] })).await;
    for fault in [
        TwilioFault::Refuse { status: 401, code: 20_003 },
        TwilioFault::Refuse { status: 400, code: 63_012 },
        TwilioFault::Fail { status: 503, accepted: false },
        TwilioFault::FailsLater(63_012),
    ] {
        let (before, n_taken) = (shop.n_sent().1, behind.twilio.n_sends());
        let is_taken = matches!(fault, TwilioFault::FailsLater(_));
        behind.twilio.misbehave(sid, fault.clone(), Times::Once);
        let id = behind.send(json!({ "type": "text", "text": "prêt" })).await;
        shop.leaves_through_meta(before, "prêt").await;
        status_is(&shop.app, &shop.vendor, &id, "read").await;
        let n_taken = n_taken + usize::from(is_taken);
        assert_eq!((behind.twilio.n_sends(), shop.n_sent().0), (n_taken, 0), "{fault:?}");
    }
    let (before, n_taken) = (shop.n_sent(), behind.twilio.n_sends());
    behind.twilio.misbehave(sid, TwilioFault::Cut { accepted: true }, Times::Once);
    let id = behind.send(json!({ "type": "text", "text": "coupé" })).await;
    status_is(&shop.app, &shop.vendor, &id, "read").await;
    assert_eq!((shop.n_sent(), behind.twilio.n_sends()), (before, n_taken + 1));
}

#[tokio::test]
async fn what_unipile_refuses_leaves_through_meta_and_what_it_may_have_does_not() {
    let behind = behind().await;
    let shop = &behind.shop;
    shop.meta.behave(&shop.number.id);
    let UnipileNumber { account_id, .. } = &behind.account;
    behind.change(json!({ "provider": "unipile", "failover": ["meta"] })).await;
    for fault in [
        UnipileFault::Refuse { status: 401, slug: "errors/disconnected_account" },
        UnipileFault::Refuse { status: 401, slug: "errors/invalid_credentials" },
        UnipileFault::Fail { status: 503, accepted: false },
    ] {
        let before = shop.n_sent().1;
        behind.unipile.misbehave(account_id, fault.clone(), Times::Once);
        let id = behind.send(json!({ "type": "text", "text": "prêt" })).await;
        shop.leaves_through_meta(before, "prêt").await;
        status_is(&shop.app, &shop.vendor, &id, "read").await;
        assert_eq!((behind.unipile.n_sends(), shop.n_sent().0), (0, 0), "{fault:?}");
    }
    let before = shop.n_sent();
    behind.unipile.misbehave(account_id, UnipileFault::Cut { accepted: true }, Times::Once);
    let id = behind.send(json!({ "type": "text", "text": "coupé" })).await;
    behind.unipile.wait_sends(1, DEADLINE).await;
    // Its webhooks lead nowhere here: it is fenced.
    status_is(&shop.app, &shop.vendor, &id, "unknown_yet").await;
    assert_eq!((shop.n_sent(), behind.unipile.n_sends()), (before, 1));
}

#[tokio::test]
async fn what_is_refused_just_after_its_number_has_moved_leaves_where_it_is_now() {
    let shop = shop("wasender", "meta").await;
    let path = format!("/api/admin/vendors/{0}/waba/waba_{0}", shop.vendor.id);
    assert_eq!(shop.app.admin.put(&path, json!({ "failover": [] })).await.status, 200);
    let session = shop.vendor.session.id;
    let refuse = Misbehaviour::Refuse { status: 401, message: "Unauthenticated.".to_owned() };
    shop.app.twin.misbehave(session, Misbehaviour::Slow(Duration::from_secs(2)), Times::Once);
    shop.app.twin.misbehave(session, refuse, Times::Once);
    let (_, before) = shop.n_sent();
    let id = send(&shop.app, &shop.vendor, TO, "en route").await;
    let is_there = || shop.app.twin.requests().iter().any(|it| it.path.ends_with("/send-message"));
    let started = Instant::now();
    while !is_there() {
        assert!(started.elapsed() < DEADLINE);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let config =
        json!({ "phoneNumberId": shop.number.id, "accessToken": shop.number.access_token });
    let switch = format!("/api/admin/vendors/{}/switch-provider", shop.vendor.id);
    let body = json!({ "provider": "meta", "config": config });
    assert_eq!(shop.app.admin.post(&switch, body).await.status, 200);
    assert_eq!(shop.journey(&id).await["status"], "sending", "it is not refused yet");
    shop.leaves_through_meta(before, "en route").await;
    status_is(&shop.app, &shop.vendor, &id, "read").await;
    assert_eq!(shop.n_sent(), (0, before + 1));
}

#[tokio::test]
async fn a_number_that_moves_is_as_its_new_provider_says() {
    let shop = shop("wasender", "meta").await;
    let state = json!({ "event": "session.status", "data": { "status": "disconnected" } });
    assert_eq!(shop.app.post_signed(&shop.vendor, &state).await.status, 200);
    let alerts = async || {
        shop.app.gateway.look().await.unwrap();
        let told = shop.app.admin.get("/api/admin/alerts").await.json();
        let kinds = told["alerts"].as_array().unwrap().iter().map(|it| it["kind"].clone());
        kinds.filter(|it| it == "disconnected").count()
    };
    let path = format!("/api/admin/vendors/{}", shop.vendor.id);
    let state = async || {
        let told = shop.app.admin.get(&format!("{path}/waba-instances")).await.json();
        told["instances"][0]["status"].as_str().unwrap().to_owned()
    };
    assert_eq!((alerts().await, state().await.as_str()), (1, "disconnected"));
    let config =
        json!({ "phoneNumberId": shop.number.id, "accessToken": shop.number.access_token });
    let moves = json!({ "provider": "meta", "config": config });
    let moved = shop.app.admin.post(&format!("{path}/switch-provider"), moves).await;
    assert_eq!(moved.status, 200, "{}", moved.text);
    assert_eq!((alerts().await, state().await.as_str()), (0, "connected"));
    // Later it is as it is found when somebody looks.
    shop.meta.change(&shop.number.id, |it| it.status = "BANNED".to_owned());
    let looked = shop.app.admin.get(&format!("{path}/status")).await;
    assert_eq!(looked.status, 200, "{}", looked.text);
    assert_ne!(state().await, "connected");
    shop.meta.change(&shop.number.id, |it| it.status = "CONNECTED".to_owned());
    assert_eq!(shop.app.admin.get(&format!("{path}/status")).await.status, 200);
    assert_eq!(state().await, "connected");
}

#[tokio::test]
async fn sends_one_after_another_go_over_one_connection() {
    let meta = MetaTwin::start().await.unwrap();
    let (api, n_accepted) = counted(&meta).await;
    let shop = shop_at(api, meta, "meta", "wasender").await;
    let (_, before) = shop.n_sent();
    for n in 0..N_SENDS {
        let id = send(&shop.app, &shop.vendor, TO, &format!("n° {n}")).await;
        status_is(&shop.app, &shop.vendor, &id, "read").await;
    }
    assert_eq!(shop.n_sent().1, before + N_SENDS);
    let n_accepted = n_accepted.load(Ordering::Relaxed);
    assert!((1..=2).contains(&n_accepted), "{n_accepted} connections");
}

#[tokio::test]
async fn a_reaction_goes_only_to_what_meta_knows() {
    let behind = behind().await;
    let (shop, customer) = (&behind.shop, Customer::new(TO));
    shop.meta.behave(&shop.number.id);
    let react = async |to: &str| {
        let reaction = json!({ "emoji": "👍" });
        let body = json!({ "to": TO, "type": "reaction", "reaction": reaction, "replyTo": to });
        let path = format!("/api/v1/vendors/{}/messages", shop.vendor.id);
        shop.app.admin.post(&path, body).await
    };
    let inbound = async |text: &str| {
        let found = shop.app.messages(&shop.vendor).await;
        let found = found.iter().find(|it| it["text"] == text && it["inbound"] == true);
        found.unwrap()["id"].as_str().unwrap().to_owned()
    };
    let said = behind.twilio.customer_says(&behind.sender.account_sid, &customer, "d'ailleurs");
    assert_eq!(said.await.status, 200);
    let refused = react(&inbound("d'ailleurs").await).await;
    assert_eq!(refused.status, 422, "{}", refused.text);
    let why = "replyTo: meta does not know the message, which went through twilio";
    assert_eq!(refused.json()["error"], why);
    let said = MetaInbound::text("d'ici");
    let said = shop.meta.customer_says(&shop.number.id, &MetaCustomer::new(TO), &said).await;
    assert_eq!(said.status, 200);
    let taken = react(&inbound("d'ici").await).await;
    assert_eq!(taken.status, 202, "{}", taken.text);
}
