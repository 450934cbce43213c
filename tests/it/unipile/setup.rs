//! Webhooks of a linked number are set up through the API.

use super::*;
use crate::support::Answer;

const ELSEWHERE: &str = "https://elsewhere.example/hook";

impl Rig {
    async fn set_up(&self, body: Value) -> Answer {
        let path = format!("/api/admin/vendors/{}/setup-webhook", self.vendor.id);
        self.app.admin.post(&path, body).await
    }

    /// Where the account's webhooks go.
    fn hooks(&self) -> Vec<String> {
        self.twin.hooks().into_iter().map(|it| it.url).collect()
    }

    async fn is_answered(&self, n: usize) {
        self.rest();
        assert_eq!(self.says(&customer(), "horaires ?").await, 200);
        let sends = self.twin.wait_sends(n, DEADLINE).await;
        assert_eq!(sends[n - 1].text, "ouvert de 8 h à 19 h");
    }
}

#[tokio::test]
async fn webhooks_are_set_up_with_a_proof_of_their_own_and_nothing_foreign_is_taken_over_unasked() {
    for generation in [V1, V2] {
        let rig = silent_rig(generation, None).await;
        let ours = vec![rig.vendor.hook.clone(); if generation == V1 { 2 } else { 1 }];
        let done = rig.set_up(json!({})).await;
        let want = json!({ "success": true, "status": "configured", "provider": "unipile",
            "webhookUrl": rig.vendor.hook, "warnings": [] });
        assert_eq!((done.status, done.json()), (200, want), "{}", done.text);
        assert_eq!(rig.hooks(), ours);
        rig.is_answered(1).await;
        let status = format!("/api/admin/vendors/{}/status", rig.vendor.id);
        let told = rig.app.admin.get(&status).await.json();
        let way = &told["numbers"][0]["providers"][0];
        let (live, can_send) = (&way["live"], &way["canSend"]);
        assert_eq!((live, can_send), (&json!("connected"), &json!(true)), "{told:#}");
        // Once more changes nothing.
        assert_eq!(rig.set_up(json!({ "provider": "unipile" })).await.status, 200);
        assert_eq!(rig.hooks(), ours);
        rig.is_answered(2).await;
        // Somebody has led them elsewhere, too.
        rig.twin.set_webhook(&rig.number.account_id, ELSEWHERE, "another");
        let before = rig.hooks();
        let refused = rig.set_up(json!({})).await;
        assert_eq!((refused.status, &refused.json()["webhookUrl"]), (409, &json!(ELSEWHERE)));
        assert_eq!(rig.hooks(), before);
        assert_eq!(rig.set_up(json!({ "replace": true })).await.status, 200);
        assert_eq!(rig.hooks(), ours);
        rig.is_answered(3).await;
        rig.app.settled().await;
    }
}

#[tokio::test]
async fn a_base_url_that_unipile_cannot_reach_is_told_in_its_name() {
    let rig = silent_rig(V1, None).await;
    let path = format!("/api/admin/vendors/{0}/waba/waba_{0}", rig.vendor.id);
    let public = json!({ "unipile": { "dsn": "https://api1.unipile.com:13111" } });
    assert_eq!(rig.app.admin.put(&path, public).await.status, 200);
    let refused = rig.set_up(json!({})).await;
    assert_eq!(refused.status, 422, "{}", refused.text);
    assert!(refused.text.contains("which unipile cannot reach"), "{}", refused.text);
}
