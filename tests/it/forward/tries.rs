//! A back end that is away, busy or broken.

use serde_json::json;
use waba_gateway::domain::clock::{HOUR, MINUTE, SECOND};

use super::{
    listed, quiet_app, quiet_vendor,
    receiver::{Receiver, Reply, Says},
    says, texts, until_load, until_tries,
};

#[tokio::test]
async fn a_back_end_that_is_away_is_tried_again_later_and_later_and_order_is_kept() {
    let app = quiet_app().await;
    let back_end = Receiver::start().await;
    let vendor = quiet_vendor(&app, 1, &back_end.url).await;
    back_end.answers([500, 503].map(Reply::from));
    for n in 0..3 {
        says(&app, &vendor, &format!("m{n}"), &format!("{n}")).await;
    }
    let first = back_end.until_n(1).await;
    until_tries(&app, &vendor, 1).await;
    app.clock.advance(5 * SECOND - 1);
    assert_eq!(back_end.got().len(), 1, "nothing is sent before its time");
    app.clock.advance(1);
    back_end.until_n(2).await;
    until_tries(&app, &vendor, 2).await;
    let waiting = listed(&app, &vendor, "waiting").await;
    assert_eq!(waiting.len(), 3);
    let oldest = waiting.last().unwrap();
    assert_eq!(
        (&oldest["type"], &oldest["state"]),
        (&json!("message.received"), &json!("waiting"))
    );
    app.clock.advance(30 * SECOND);
    let got = back_end.until_n(5).await;
    assert_eq!(texts(&got), ["0", "0", "0", "1", "2"]);
    assert!(got[..3].iter().all(|it| it.id() == first[0].id()), "the id stays on retries");
    assert_ne!(got[3].id(), first[0].id());
    assert_eq!(got[0].raw, got[2].raw);
    until_load(&app, (0, 0)).await;
}

#[tokio::test]
async fn a_wait_that_the_back_end_asks_for_is_kept() {
    let app = quiet_app().await;
    let back_end = Receiver::start().await;
    let vendor = quiet_vendor(&app, 1, &back_end.url).await;
    back_end.answers([Reply::retry_after(429, 600)]);
    says(&app, &vendor, "m", "a").await;
    back_end.until_n(1).await;
    until_tries(&app, &vendor, 1).await;
    app.clock.advance(9 * MINUTE);
    says(&app, &vendor, "n", "b").await;
    assert_eq!(back_end.got().len(), 1);
    app.clock.advance(MINUTE);
    assert_eq!(texts(&back_end.until_n(3).await), ["a", "a", "b"]);
}

#[tokio::test]
async fn an_event_that_the_back_end_refuses_waits_alone() {
    let app = quiet_app().await;
    let back_end = Receiver::start().await;
    let vendor = quiet_vendor(&app, 1, &back_end.url).await;
    back_end.always(|it| if it["data"]["message"] == "poison" { 422 } else { 204 }.into());
    for (n, text) in ["a", "poison", "b", "c"].into_iter().enumerate() {
        says(&app, &vendor, &format!("m{n}"), text).await;
    }
    let got = back_end.until_n(4).await;
    assert_eq!(texts(&got), ["a", "poison", "b", "c"]);
    until_load(&app, (1, 0)).await;
    assert_eq!(listed(&app, &vendor, "waiting").await[0]["lastError"], "http_422");
    back_end.always(|_| 204.into());
    app.clock.advance(5 * SECOND);
    assert_eq!(texts(&back_end.until_n(5).await)[4], "poison");
    until_load(&app, (0, 0)).await;
}

#[tokio::test]
async fn an_event_that_breaks_the_back_end_does_not_hold_the_others_up_for_long() {
    let app = quiet_app().await;
    let back_end = Receiver::start().await;
    let vendor = quiet_vendor(&app, 1, &back_end.url).await;
    back_end.always(|it| if it["data"]["message"] == "poison" { 500 } else { 204 }.into());
    for (n, text) in ["poison", "a", "b"].into_iter().enumerate() {
        says(&app, &vendor, &format!("m{n}"), text).await;
    }
    for (n, wait) in [(1, 5 * SECOND), (2, 30 * SECOND), (3, 2 * MINUTE)] {
        until_tries(&app, &vendor, n).await;
        app.clock.advance(wait);
    }
    // Then another is tried, and as that was taken, this one waits alone.
    let got = back_end.until_n(6).await;
    assert_eq!(texts(&got), ["poison", "poison", "poison", "a", "poison", "b"]);
    until_load(&app, (1, 0)).await;
    // What comes later is not held up by its tries.
    app.clock.advance(HOUR);
    let n = back_end.got().iter().filter(|it| it.data()["message"] == "poison").count();
    back_end.until(|it| texts(it).iter().filter(|it| **it == "poison").count() > n).await;
    says(&app, &vendor, "m9", "c").await;
    back_end.until(|it| texts(it).contains(&"c")).await;
}

#[tokio::test]
async fn a_2xx_takes_an_event_whatever_else_the_back_end_says() {
    let app = quiet_app().await;
    let back_end = Receiver::start().await;
    let vendor = quiet_vendor(&app, 1, &back_end.url).await;
    let says_at_length = [Says::TooMuch, Says::WithoutEnd];
    back_end.answers(says_at_length.map(|says| Reply { says, ..200.into() }));
    for n in 0..3 {
        says(&app, &vendor, &format!("m{n}"), &format!("{n}")).await;
    }
    // Time stands still, so what was not taken would hold up the rest.
    assert_eq!(texts(&back_end.until_n(3).await), ["0", "1", "2"]);
    until_load(&app, (0, 0)).await;
    for says in says_at_length {
        back_end.answers([Reply { says, ..202.into() }]);
        let path = "/api/admin/vendors/vendor_001/forwards/test";
        let tried = app.admin.post(path, json!({})).await.json();
        assert_eq!((&tried["success"], &tried["status"]), (&json!(true), &json!(202)));
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let app = quiet_app().await;
    let (back_end, other) = (Receiver::start().await, Receiver::start().await);
    let vendor = quiet_vendor(&app, 1, &back_end.url).await;
    let to = (axum::http::header::LOCATION, other.url.clone());
    back_end.answers([Reply { header: Some(to), ..308.into() }]);
    says(&app, &vendor, "m", "a").await;
    back_end.until_n(1).await;
    until_tries(&app, &vendor, 1).await;
    assert_eq!(listed(&app, &vendor, "waiting").await[0]["lastError"], "http_308");
    app.clock.advance(5 * SECOND);
    back_end.until_n(2).await;
    until_load(&app, (0, 0)).await;
    assert!(other.got().is_empty());
}

#[tokio::test]
async fn what_waits_survives_a_restart() {
    let mut app = quiet_app().await;
    let back_end = Receiver::start().await;
    let vendor = quiet_vendor(&app, 1, &back_end.url).await;
    back_end.always(|_| 503.into());
    for n in 0..3 {
        says(&app, &vendor, &format!("m{n}"), &format!("{n}")).await;
    }
    let first = back_end.until_n(1).await;
    until_tries(&app, &vendor, 1).await;
    back_end.always(|_| 200.into());
    app.restart().await;
    let got = back_end.until_n(4).await;
    assert_eq!(texts(&got), ["0", "0", "1", "2"]);
    assert_eq!(got[1].id(), first[0].id());
    until_load(&app, (0, 0)).await;
    // An id that was used before the restart is not used again.
    says(&app, &vendor, "m3", "3").await;
    let got = back_end.until_n(5).await;
    assert!(got[..4].iter().all(|it| it.id() < got[4].id()));
}
