//! Providers besides Wasender and Meta as the first one that fails, and what changes meanwhile.

use super::*;

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
