//! How fast jobs are, and what they leave to others.

use waba_gateway::twin::{MetaMisbehaviour, MetaTwin, NewMetaNumber};

use super::*;
use crate::failover::{Shop, shop_on};

/// A job whose message is a template: nobody has written to the number.
fn templates(n: usize) -> String {
    let message = json!({ "type": "template", "template": { "name": "rappel", "language": "fr" } });
    let first = json!({ "message": message }).to_string();
    // Nobody else's, who may be answered meanwhile.
    lines(n, None).replacen(lines(0, None).trim(), &first, 1).replace("+22170555", "+22170777")
}

async fn still_at_meta() -> Shop {
    let (clock, meta) = (Clock::fixed(Clock::System.now()), MetaTwin::start().await.unwrap());
    let shop = shop_on(clock, meta.api_url(), meta, "meta", "wasender").await;
    shop.app.clock.advance(MINUTE);
    shop
}

/// Lets time pass, a little at a time, until so many sends are on their way.
async fn until_running(app: &TestApp, n: usize) {
    let started = std::time::Instant::now();
    while app.gateway.work().load().1 < n {
        assert!(started.elapsed() < DEADLINE, "{:?}", app.gateway.work().load());
        app.clock.advance(20);
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test]
async fn a_job_has_as_many_on_their_way_as_its_number_may_send_and_an_answer_finds_a_place() {
    let shop = still_at_meta().await;
    let hang = MetaMisbehaviour::Hang { accepted: false };
    shop.meta.misbehave(&shop.number.id, hang, Times::Always);
    taken(&shop.app, &shop.vendor, &templates(100)).await;
    // 80 a second, of which an eighth is kept.
    until_running(&shop.app, 70).await;
    for _ in 0..20 {
        shop.app.clock.advance(20);
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    assert_eq!(shop.app.gateway.work().load().1, 70);
    crate::delivery::send(&shop.app, &shop.vendor, "+221705550001", "votre commande").await;
    until_running(&shop.app, 71).await;
}

#[tokio::test]
async fn a_number_that_does_not_answer_stops_no_job_of_another() {
    let (app, vendor) = still().await;
    let second = app.number(&vendor.id, "+221770009999", 2_000).await;
    let slow = Misbehaviour::Slow(Duration::from_secs(20));
    app.twin.misbehave(vendor.session.id, slow, Times::Always);
    taken(&app, &vendor, &lines(20, None)).await;
    until_running(&app, 3).await;
    let waba = format!("waba_{}_2", vendor.id);
    let body = lines(12, None).replacen("\"type\"", &format!("\"wabaId\":\"{waba}\",\"type\""), 1);
    let job = taken(&app, &vendor, &body).await;
    until(&app, &vendor, &job, |it| it["sent"] == 12).await;
    let of_second = app.twin.sends().iter().filter(|it| it.session == second.session.id).count();
    assert_eq!(of_second, 12);
}

#[tokio::test]
async fn a_job_keeps_its_own_pace() {
    let (app, vendor) = still().await;
    let started = app.clock.now();
    let job = taken(&app, &vendor, &lines(30, Some(120))).await;
    let shown = app.admin.get(&format!("{}/{job}", path(&vendor))).await.json();
    assert_eq!((&shown["queued"], &shown["secondsLeft"]), (&json!(30), &json!(15)), "{shown:#}");
    let waiting = std::time::Instant::now();
    while app.twin.n_sends() < 30 {
        assert!(waiting.elapsed() < DEADLINE, "{}", app.twin.n_sends());
        // The provider would take them all in a second of these.
        app.clock.advance(SECOND / 10);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(app.clock.now() - started >= 29 * SECOND / 2);
}

/// How fast jobs are at a provider that takes 200 ms for each. By hand:
/// `cargo nextest run --test it --run-ignored only -E 'test(/jobs_are_as_fast/)' --no-capture`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes a minute"]
async fn jobs_are_as_fast_as_their_numbers_may_be() {
    for (n_numbers, n_recipients) in [(1, 800), (4, 800), (13, 800)] {
        let meta = MetaTwin::start().await.unwrap();
        let variables = vec![("META_API_URL", meta.api_url())];
        let app = spawn_app_with(Options { variables, ..Options::default() }).await;
        let mut vendors = Vec::new();
        for n in 0..n_numbers {
            let vendor = app.vendor(n).await;
            let number = meta.add_number(NewMetaNumber::new(&format!("+2217700099{n:02}")));
            let slow = MetaMisbehaviour::Slow(Duration::from_millis(200));
            meta.misbehave(&number.id, slow, Times::Always);
            let path = format!("/api/admin/vendors/{0}/waba/waba_{0}", vendor.id);
            let change = json!({ "provider": "meta", "meta": {
                "phoneNumberId": number.id, "wabaId": number.waba_id,
                "accessToken": number.access_token, "appSecret": number.app_secret } });
            assert_eq!(app.admin.put(&path, change).await.status, 200);
            vendors.push(vendor);
        }
        let started = std::time::Instant::now();
        for vendor in &vendors {
            taken(&app, vendor, &templates(n_recipients)).await;
        }
        let n_all = n_recipients * vendors.len();
        meta.wait_sends(n_all / 10, DEADLINE).await;
        let (begun, n_before) = (std::time::Instant::now(), meta.sends().len());
        while meta.sends().len() < n_all {
            assert!(started.elapsed() < 4 * DEADLINE, "{} of {n_all}", meta.sends().len());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let n_sent = u32::try_from(n_all - n_before).unwrap();
        let rate = f64::from(n_sent) / begun.elapsed().as_secs_f64();
        println!("{n_numbers} numbers: {rate:.0} sends/s");
        assert!(rate > 60.0, "a number at 200 ms with few on their way makes fewer");
    }
}
