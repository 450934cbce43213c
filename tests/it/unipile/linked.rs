//! One phone that Wasender and Unipile are both linked to: each tells of everything.

use serde_json::{Value, json};
use waba_gateway::twin::{Misbehaviour, Times, unipile::Generation::V1};

use super::{Rig, customer, rig};
use crate::support::DEADLINE;

const ANSWER: &str = "ouvert de 8 h à 19 h";

/// A number with both, Wasender first.
async fn linked_twice() -> Rig {
    let rig = rig(V1).await;
    let (app, session) = (&rig.app, rig.vendor.session.id);
    let path = format!("/api/admin/vendors/{0}/waba/waba_{0}", rig.vendor.id);
    let change = json!({
        "provider": "wasender", "failover": ["unipile"], "wasenderInstanceId": session.to_string(),
        "wasenderApiKey": rig.vendor.session.api_key,
        "wasenderWebhookSecret": rig.vendor.session.webhook_secret,
    });
    let changed = app.admin.put(&path, change).await;
    assert_eq!(changed.status, 200, "{}", changed.text);
    app.twin.set_webhook(session, &rig.vendor.hook.replace("unipile", "wasender"));
    assert_eq!(app.twin.tell_status(session).await.status, 200);
    assert_eq!(app.admin.get(&path).await.json()["status"], "connected");
    rig
}

impl Rig {
    /// So many answers have reached the customer, and all that was told of them has come.
    async fn are_read(&self, n: usize) {
        let n_read = |it: &[Value]| it.iter().filter(|it| it["status"] == "read").count();
        self.app.until(&self.vendor, |it| n_read(it) == n).await;
    }
}

#[tokio::test]
async fn what_two_linked_devices_tell_of_one_phone_counts_once() {
    let rig = linked_twice().await;
    let (app, session) = (&rig.app, rig.vendor.session.id);
    // A customer writes, and is answered once, whichever device tells it and when.
    let (awa, words) = (customer(), ["horaires ?", "vos horaires ?", "les horaires ?"]);
    assert_eq!(app.twin.customer_says(session, &awa, words[0]).await.status, 200);
    assert_eq!(rig.says(&awa, words[0]).await, 200);
    rig.are_read(1).await;
    rig.rest();
    assert_eq!(rig.says(&awa, words[1]).await, 200);
    assert_eq!(app.twin.customer_says(session, &awa, words[1]).await.status, 200);
    rig.are_read(2).await;
    rig.rest();
    let (told, said) =
        tokio::join!(app.twin.customer_says(session, &awa, words[2]), rig.says(&awa, words[2]));
    assert_eq!((told.status, said), (200, 200));
    rig.are_read(3).await;
    let account = &rig.number.account_id;
    assert_eq!(rig.twin.person_says(account, &awa, ANSWER).await.status, 200);
    // What leaves the other way is told of by both, too.
    app.twin.misbehave(session, Misbehaviour::NotConnected, Times::Always);
    rig.rest();
    let id = rig.send("en route").await;
    rig.twin.wait_sends(1, DEADLINE).await;
    rig.status_is(&id, "read").await;
    assert_eq!(app.twin.human_types(session, &awa, "en route").await.status, 200);
    let shown = app.messages(&rig.vendor).await;
    let n_inbound = shown.iter().filter(|it| it["inbound"] == true).count();
    assert_eq!((shown.len(), n_inbound, app.twin.n_sends()), (7, 3, 3), "{shown:#?}");
    assert!(shown.iter().all(|it| it["human"] == false), "{shown:#?}");
    // Somebody types on the phone.
    assert_eq!(app.twin.human_types(session, &awa, "Je suis là").await.status, 200);
    assert_eq!(rig.twin.person_says(account, &awa, "Je suis là").await.status, 200);
    let shown = app.messages(&rig.vendor).await;
    let n_human = shown.iter().filter(|it| it["human"] == true).count();
    assert_eq!((shown.len(), n_human), (8, 1), "{shown:#?}");
}

#[tokio::test]
async fn a_customer_whom_one_device_alone_hears_is_answered_whatever_the_other_is_said_to_be() {
    let rig = linked_twice().await;
    // Its session is dead, and nobody has told so yet.
    rig.app.twin.misbehave(rig.vendor.session.id, Misbehaviour::NotConnected, Times::Always);
    assert_eq!(rig.says(&customer(), "horaires ?").await, 200);
    let sends = rig.twin.wait_sends(1, DEADLINE).await;
    assert_eq!(sends[0].text, ANSWER);
}
