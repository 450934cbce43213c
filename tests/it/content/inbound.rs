//! What customers send, quote, change and react to; and what they are shown meanwhile.

use serde_json::json;
use waba_gateway::{
    gateway::VendorChange,
    twin::{Customer, DeleteForm, EditForm, Inbound, Misbehaviour, Times},
};

use super::{customer, inbound, journey, send, status_is, steps, until};
use crate::support::{DEADLINE, TestApp, change, rules, spawn_app};

async fn shares(app: &TestApp, session: u64, it: &Inbound) -> String {
    let answer = app.twin.customer_shares(session, &customer(), it).await;
    assert!(answer.is_ok(), "{}", answer.body);
    let answer: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
    answer["processId"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn every_kind_of_message_is_shown_with_its_details() {
    let app = spawn_app().await;
    let vendor = app.vendor(1).await;
    let session = vendor.session.id;
    let image = Inbound::image(b"\xff\xd8\xff".as_slice()).caption("C'est combien ?");
    let id = shares(&app, session, &image).await;
    let found = journey(&app, &vendor, &id).await;
    assert_eq!((&found["type"], &found["message"]), (&json!("image"), &json!("C'est combien ?")));
    assert_eq!((&found["media"]["id"], &found["media"]["url"]), (&json!(id), &json!(null)));

    let id = shares(&app, session, &Inbound::location(14.7, -17.5, "Marché", "Dakar")).await;
    let found = journey(&app, &vendor, &id).await;
    let place = json!({ "latitude": 14.7, "longitude": -17.5, "name": "Marché, Dakar" });
    assert_eq!((&found["type"], &found["location"]), (&json!("location"), &place));

    let id = shares(&app, session, &Inbound::contact("Awa", "+221770555009")).await;
    let found = journey(&app, &vendor, &id).await;
    assert_eq!((&found["type"], &found["message"]), (&json!("contact"), &json!("Awa")));
    let phone = found["contact"]["phone"].as_str().unwrap();
    assert_eq!(phone.replace(' ', ""), "+221770555009");

    let id = shares(&app, session, &Inbound::poll("Quand ?", &["lundi", "mardi"], true)).await;
    let found = journey(&app, &vendor, &id).await;
    let poll = json!({ "question": "Quand ?", "options": ["lundi", "mardi"], "multiSelect": true });
    assert_eq!(found["poll"], poll);
    app.settled().await;
}

#[tokio::test]
async fn a_quoted_message_is_named_where_we_know_it() {
    let app = spawn_app().await;
    let vendor = app.vendor(1).await;
    let session = vendor.session.id;
    let ours = send(&app, &vendor, json!({ "type": "text", "text": "Prêt" })).await;
    status_is(&app, &vendor, &ours, "read").await;
    let key = app.twin.sends()[0].key_id.clone();
    let reply = shares(&app, session, &Inbound::text("Merci").quoting(&key).with_id("R1")).await;
    assert_eq!(journey(&app, &vendor, &reply).await["quotedMessageId"], json!(ours));
    let again = shares(&app, session, &Inbound::text("Encore").quoting("R1")).await;
    assert_eq!(journey(&app, &vendor, &again).await["quotedMessageId"], json!(reply));
    let unknown = shares(&app, session, &Inbound::text("Quoi ?").quoting("NOBODY")).await;
    assert_eq!(journey(&app, &vendor, &unknown).await["quotedMessageId"], json!(null));
    // Somebody else's message is not theirs to quote.
    let other = Customer::new("+221705550002");
    let stolen = Inbound::text("Et ça ?").quoting("R1").with_id("S1");
    assert!(app.twin.customer_shares(session, &other, &stolen).await.is_ok());
    let page = app.gateway.messages(&vendor.id, None, 10).await.unwrap();
    let found = page.rows.iter().find(|it| it.text.0 == "Et ça ?").unwrap();
    assert_eq!(found.quoted, None);
}

#[tokio::test]
async fn what_customers_change_and_react_to_is_noted_on_the_message() {
    let app = spawn_app().await;
    let vendor = app.vendor(1).await;
    let (session, customer) = (vendor.session.id, customer());
    let theirs = shares(&app, session, &Inbound::text("2 baguettes").with_id("M1")).await;
    let edit = app.twin.customer_edits(session, &customer, "M1", "3 baguettes", EditForm::Wrapped);
    assert!(edit.await.is_ok());
    let found = until(&app, &vendor, &theirs, |it| it["edited"] == true).await;
    assert_eq!(found["message"], "3 baguettes", "{found:#}");
    assert!(steps(&found).contains(&"edited"), "{found:#}");
    for form in [DeleteForm::Event, DeleteForm::Revoke] {
        assert!(app.twin.customer_deletes(session, &customer, "M1", form).await.is_ok());
        let found = until(&app, &vendor, &theirs, |it| it["deleted"] == true).await;
        assert!(steps(&found).contains(&"deleted"), "{found:#}");
    }

    let ours = send(&app, &vendor, json!({ "type": "text", "text": "Prêt" })).await;
    status_is(&app, &vendor, &ours, "read").await;
    let key = app.twin.sends().last().unwrap().key_id.clone();
    assert!(app.twin.customer_reacts(session, &customer, &key, "👍").await.is_ok());
    let found = until(&app, &vendor, &ours, |it| it["reaction"] == "👍").await;
    assert!(steps(&found).contains(&"reaction"), "{found:#}");
    assert!(app.twin.customer_reacts(session, &customer, &key, "").await.is_ok());
    until(&app, &vendor, &ours, |it| it["reaction"].is_null()).await;

    // Nobody changes what another wrote, or takes it back.
    let deletion = app.twin.customer_deletes(session, &customer, &key, DeleteForm::Revoke);
    assert!(deletion.await.is_ok());
    let edit = app.twin.customer_edits(session, &customer, &key, "Gratuit", EditForm::Protocol);
    assert!(edit.await.is_ok());
    app.settled().await;
    let found = journey(&app, &vendor, &ours).await;
    assert_eq!((&found["message"], &found["edited"]), (&json!("Prêt"), &json!(false)), "{found:#}");
    assert_eq!(found["deleted"], false, "{found:#}");
}

#[tokio::test]
async fn votes_are_shown_on_the_poll() {
    let app = spawn_app().await;
    let vendor = app.vendor(1).await;
    let poll = json!({ "question": "Quand ?", "options": ["lundi", "mardi"] });
    let id = send(&app, &vendor, json!({ "type": "poll", "poll": poll })).await;
    status_is(&app, &vendor, &id, "read").await;
    let key = app.twin.sends()[0].key_id.clone();
    let session = vendor.session.id;
    assert!(app.twin.customer_votes(session, &customer(), &key, &["mardi"]).await.is_ok());
    let want = json!([{ "option": "lundi", "votes": 0 }, { "option": "mardi", "votes": 1 }]);
    let found = until(&app, &vendor, &id, |it| it["votes"] == want).await;
    assert!(steps(&found).contains(&"votes"), "{found:#}");
}

fn attentive() -> VendorChange {
    VendorChange { mark_as_read: Some(true), typing: Some(true), ..change(rules()) }
}

#[tokio::test]
async fn customers_see_that_their_message_was_read_and_that_somebody_writes() {
    let app = spawn_app().await;
    let vendor = app.vendor_with(1, attentive()).await;
    let customer = customer().with_lid("111122223333444");
    let answer = app.twin.customer_says(vendor.session.id, &customer, "horaires").await;
    assert!(answer.is_ok());
    let reads = app.twin.wait_reads(1, DEADLINE).await;
    assert_eq!(reads[0].remote_jid, "111122223333444@lid", "the key as it came");
    let presences = app.twin.wait_presences(1, DEADLINE).await;
    assert_eq!(
        (presences[0].jid.as_str(), presences[0].kind.as_str()),
        ("221705550001@s.whatsapp.net", "composing")
    );
    app.twin.wait_sends(1, DEADLINE).await;
    app.twin.idle().await;
    app.settled().await;
    assert_eq!((app.twin.reads().len(), app.twin.presences().len()), (1, 1));
}

#[tokio::test]
async fn who_is_not_answered_sees_nothing() {
    let app = spawn_app().await;
    let vendor = app.vendor_with(1, attentive()).await;
    let session = vendor.session.id;
    app.twin.human_types(session, &customer(), "Je m'en occupe").await;
    assert!(app.twin.customer_says(session, &customer(), "horaires").await.is_ok());
    app.until(&vendor, |it| it.iter().any(|it| it["reason"] == "paused")).await;
    // Nor who writes to a vendor that does not want it, or has nobody to answer.
    let plain = app.vendor(2).await;
    assert!(app.twin.customer_says(plain.session.id, &customer(), "horaires").await.is_ok());
    app.twin.wait_sends(1, DEADLINE).await;
    let mute = app.vendor_with(3, VendorChange { responders: None, ..attentive() }).await;
    assert!(app.twin.customer_says(mute.session.id, &customer(), "horaires").await.is_ok());
    app.settled().await;
    assert_eq!((app.twin.reads().len(), app.twin.presences().len()), (0, 0));
}

#[tokio::test]
async fn a_provider_that_shows_nothing_neither_delays_nor_hinders_the_answer() {
    let app = spawn_app().await;
    let vendor = app.vendor_with(1, attentive()).await;
    app.twin.misbehave(vendor.session.id, Misbehaviour::DeedFails(500), Times::Always);
    assert!(app.twin.customer_says(vendor.session.id, &customer(), "horaires").await.is_ok());
    assert_eq!(app.twin.wait_sends(1, DEADLINE).await.len(), 1);
    let id = inbound(&app, &vendor).await;
    assert!(steps(&journey(&app, &vendor, &id).await).contains(&"answered"));
    app.settled().await;
    let calls = app.twin.requests();
    let n_calls = |path: &str| calls.iter().filter(|it| it.path.ends_with(path)).count();
    assert_eq!(n_calls("/send-presence-update"), 1, "it is tried once");
}
