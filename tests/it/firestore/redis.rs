//! Gateways that share a Redis, and a Firestore that other programs change.

use serde_json::json;

use super::until;
use crate::support::{
    Emulator, Options, Program, RedisServer, TestApp, TestVendor, spawn_app_with, time,
};

async fn app_with(emulator: &Emulator, redis: &RedisServer) -> TestApp {
    let mut variables = emulator.variables();
    variables.push(("REDIS_URL", redis.url()));
    let app = spawn_app_with(Options { variables, ..Options::default() }).await;
    uses_redis(&app).await;
    app
}

async fn uses_redis(app: &TestApp) {
    until("Redis is used", async || app.gateway.manager().uses_redis()).await;
}

async fn knock(app: &TestApp, vendor: &TestVendor, secret: &str) -> u16 {
    let hook = format!("{}/api/webhooks/wasender/{}", app.base, vendor.id);
    app.post(&hook, &[("x-webhook-signature", secret)], b"{}").await.status
}

/// All that was written of vendors before has been heard of by these gateways.
async fn all_is_heard(program: &Program, apps: &[&TestApp], marker: &TestVendor, secret: &str) {
    let document = format!("waba_{}", marker.id);
    program.update("waba_instances", &document, json!({ "wasenderWebhookSecret": secret })).await;
    for app in apps {
        until("it is heard of", async || knock(app, marker, secret).await == 200).await;
    }
}

/// Waits until Redis has what is known of a vendor.
async fn has_it(redis: &RedisServer, vendor: &TestVendor) {
    until("it is in Redis", async || names(redis, vendor).await == 1).await;
}

async fn names(redis: &RedisServer, vendor: &TestVendor) -> usize {
    let ending = format!("{{v:{}}}", vendor.id);
    redis.names().await.iter().filter(|it| it.ends_with(&ending)).count()
}

/// How often a vendor was read whole: its configuration is then asked for by its id.
fn n_reads(emulator: &Emulator, vendor: &TestVendor) -> usize {
    let config = format!("/vendor_configs/{}", vendor.id);
    emulator.reads().iter().filter(|it| it.ends_with(&config)).count()
}

/// A gateway that has read a vendor, which is in Redis now.
struct Scene {
    emulator: Emulator,
    redis: RedisServer,
    program: Program,
    one: TestApp,
    shop: TestVendor,
    other: TestVendor,
}

async fn scene() -> Scene {
    let (emulator, redis) = (Emulator::start(), RedisServer::start().await);
    let program = emulator.program().await;
    let one = app_with(&emulator, &redis).await;
    let (shop, other) = (one.vendor(1).await, one.vendor(2).await);
    all_is_heard(&program, &[&one], &other, "a-marker").await;
    // Redis may have been too slow for one put.
    until("it is in Redis", async || {
        one.gateway.manager().forget_all();
        assert_eq!(knock(&one, &shop, shop.secret()).await, 200);
        names(&redis, &shop).await == 1
    })
    .await;
    Scene { emulator, redis, program, one, shop, other }
}

#[tokio::test]
async fn what_others_change_while_no_gateway_listens_is_effective_at_once() {
    let Scene { emulator: _emulator, redis: _redis, mut one, program, shop, .. } = scene().await;
    one.app.take().unwrap().stop().await;
    let edit = json!({ "wasenderWebhookSecret": "their-secret" });
    program.update("waba_instances", &format!("waba_{}", shop.id), edit).await;
    one.start_again().await;
    let refused = async || {
        assert_eq!(knock(&one, &shop, "their-secret").await, 200);
        assert_eq!(knock(&one, &shop, shop.secret()).await, 401);
    };
    refused().await;
    uses_redis(&one).await;
    one.gateway.manager().forget_all();
    refused().await;
}

#[tokio::test]
async fn a_gateway_that_starts_beside_another_takes_what_that_one_has_read() {
    let Scene { emulator, redis, one, shop, .. } = scene().await;
    let two = app_with(&emulator, &redis).await;
    two.gateway.manager().forget_all();
    let before = n_reads(&emulator, &shop);
    assert_eq!(knock(&two, &shop, shop.secret()).await, 200);
    assert_eq!(n_reads(&emulator, &shop), before, "it was read from Firestore once more");
    // Redis loses everything, and is used again.
    redis.ask::<()>(&["FLUSHALL"]).await;
    until("a new epoch has begun", async || {
        let n: i64 = redis.ask(&["EVAL", "return #redis.call('KEYS', '*:epoch')", "0"]).await;
        n == 1
    })
    .await;
    for app in [&one, &two] {
        uses_redis(app).await;
    }
}

#[tokio::test]
async fn the_state_of_a_session_alone_makes_nobody_read_the_vendor_again() {
    let Scene { emulator, redis, program, one, shop, other } = scene().await;
    // It has read nothing of the vendor, and did not hear of its making.
    let two = app_with(&emulator, &redis).await;
    let document = format!("waba_{}", shop.id);
    all_is_heard(&program, &[&one, &two], &other, "another-marker").await;
    let before = n_reads(&emulator, &shop);
    program.update("waba_instances", &document, json!({ "lastSync": time(1) })).await;
    all_is_heard(&program, &[&one, &two], &other, "a-third-marker").await;
    assert_eq!((names(&redis, &shop).await, n_reads(&emulator, &shop)), (1, before));
    // What matters is told all the same, whoever heard of it first.
    let edit = json!({ "wasenderWebhookSecret": "their-secret" });
    program.update("waba_instances", &document, edit).await;
    for app in [&one, &two] {
        until("it is effective", async || knock(app, &shop, "their-secret").await == 200).await;
    }
}

#[tokio::test]
async fn what_a_gateway_put_that_is_gone_is_removed_when_it_changes() {
    let (emulator, redis) = (Emulator::start(), RedisServer::start().await);
    let program = emulator.program().await;
    let mut one = app_with(&emulator, &redis).await;
    let two = app_with(&emulator, &redis).await;
    let (shop, other) = (one.vendor(1).await, one.vendor(2).await);
    all_is_heard(&program, &[&one, &two], &other, "a-marker").await;
    assert_eq!(knock(&one, &shop, shop.secret()).await, 200);
    has_it(&redis, &shop).await;
    one.app.take().unwrap().stop().await;
    let edit = json!({ "wasenderWebhookSecret": "their-secret" });
    program.update("waba_instances", &format!("waba_{}", shop.id), edit).await;
    until("it is effective", async || knock(&two, &shop, "their-secret").await == 200).await;
    two.gateway.manager().forget_all();
    assert_eq!(knock(&two, &shop, shop.secret()).await, 401);
    assert_eq!(knock(&two, &shop, "their-secret").await, 200);
}
