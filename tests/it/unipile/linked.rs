//! One phone that Wasender and Unipile are both linked to: each tells of everything.

use serde_json::json;
use waba_gateway::twin::{Misbehaviour, Times, unipile::Generation::V1};

use super::{customer, rig};
use crate::support::DEADLINE;

const ANSWER: &str = "ouvert de 8 h à 19 h";

#[tokio::test]
async fn what_two_linked_devices_tell_of_one_phone_counts_once() {
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
    // Until it is known to be linked, nobody else's word is left out.
    assert_eq!(rig.says(&customer(), "horaires ?").await, 200);
    app.twin.wait_sends(1, DEADLINE).await;
    rig.rest();
    assert_eq!(app.twin.tell_status(session).await.status, 200);
    assert_eq!(app.admin.get(&path).await.json()["status"], "connected");
    // A customer writes, and is answered once.
    assert_eq!(app.twin.customer_says(session, &customer(), "vos horaires ?").await.status, 200);
    assert_eq!(rig.says(&customer(), "vos horaires ?").await, 200);
    app.twin.wait_sends(2, DEADLINE).await;
    let account = &rig.number.account_id;
    assert_eq!(rig.twin.person_says(account, &customer(), ANSWER).await.status, 200);
    app.until(&rig.vendor, |it| it.iter().filter(|it| it["status"] == "read").count() == 2).await;
    // What leaves the other way is told of by both, too.
    app.twin.misbehave(session, Misbehaviour::NotConnected, Times::Always);
    rig.rest();
    let id = rig.send("en route").await;
    rig.twin.wait_sends(1, DEADLINE).await;
    rig.status_is(&id, "read").await;
    assert_eq!(app.twin.human_types(session, &customer(), "en route").await.status, 200);
    let shown = app.messages(&rig.vendor).await;
    let n_inbound = shown.iter().filter(|it| it["inbound"] == true).count();
    assert_eq!((shown.len(), n_inbound, app.twin.n_sends()), (5, 2, 2), "{shown:#?}");
    assert!(shown.iter().all(|it| it["human"] == false), "{shown:#?}");
    // Somebody types on the phone.
    assert_eq!(app.twin.human_types(session, &customer(), "Je suis là").await.status, 200);
    assert_eq!(rig.twin.person_says(account, &customer(), "Je suis là").await.status, 200);
    let shown = app.messages(&rig.vendor).await;
    let n_human = shown.iter().filter(|it| it["human"] == true).count();
    assert_eq!((shown.len(), n_human), (6, 1), "{shown:#?}");
}
