//! What the answers mean.

use std::{net::IpAddr, sync::Arc};

use bytes::Bytes;
use reqwest::{StatusCode, header::HeaderMap};
use serde_json::json;

use super::{Generation, Unipile, send::ticket};
use crate::{
    domain::{
        account::UnipileAccount,
        clock::{Clock, SECOND},
        delivery::{Outcome, Reason, Refusal},
        webhook::Scheme,
    },
    http::{Allow, Http, Reply},
    provider::Provider,
};

const NOW: i64 = 1_800_000_000_000;

struct All;

impl Allow for All {
    fn allows(&self, _: &str, _: IpAddr) -> bool {
        true
    }
}

fn unipile() -> Unipile {
    let http = Http::new(Arc::new(All)).unwrap();
    Unipile::new(http, "https://api.unipile.com/v2".parse().unwrap(), Clock::fixed(NOW))
}

fn account(dsn: Option<&str>) -> UnipileAccount {
    UnipileAccount {
        account_id: "acc1".to_owned(),
        api_key: Some("key".into()),
        dsn: dsn.map(str::to_owned),
        webhook_secret: Some("secret".into()),
        phone_number: None,
    }
}

#[track_caller]
fn check(status: u16, slug: &str, want: Outcome) {
    let status = StatusCode::from_u16(status).unwrap();
    let body = match slug {
        "" => Bytes::from_static(b"<html>"),
        slug => json!({ "type": slug, "status": status.as_u16() }).to_string().into(),
    };
    let attempt = unipile().refused_by(&Reply { status, headers: HeaderMap::new(), body });
    assert_eq!(attempt.outcome, want, "{status} {slug}");
}

#[test]
fn every_refusal_says_what_may_be_done_next() {
    let refused = Outcome::Refused;
    let down = |reason| refused(Refusal::Down(reason));
    let fail_over = |reason| refused(Refusal::FailOver(reason));
    let give_up = |reason| refused(Refusal::GiveUp(reason));
    let retry = refused(Refusal::Retry { not_before: None });
    for slug in [
        "errors/disconnected_account",
        "errors/expired_credentials",
        "errors/invalid_credentials",
        "errors/wrong_account",
        "provider/invalid_authorization",
        "provider/invalid_credentials",
    ] {
        check(401, slug, down(Reason::Disconnected));
    }
    check(401, "errors/missing_credentials", fail_over(Reason::Unauthorized));
    check(401, "api/missing_authorization", fail_over(Reason::Unauthorized));
    check(401, "errors/dreamt", fail_over(Reason::Unauthorized));
    check(403, "errors/account_restricted", fail_over(Reason::Restricted));
    check(403, "errors/subscription_required", fail_over(Reason::Plan));
    check(403, "api/inactive_subscription", fail_over(Reason::Plan));
    check(404, "errors/resource_not_found", fail_over(Reason::NotRegistered));
    check(404, "provider/resource_not_found", give_up(Reason::Undeliverable));
    check(422, "errors/invalid_account", fail_over(Reason::NotRegistered));
    check(422, "errors/invalid_recipient", give_up(Reason::Undeliverable));
    check(422, "errors/user_unreachable", give_up(Reason::Undeliverable));
    check(422, "errors/blocked_recipient", give_up(Reason::OptedOut));
    check(422, "errors/limit_exceeded", fail_over(Reason::Quality));
    check(422, "errors/cannot_resend_yet", retry);
    check(422, "errors/dreamt", give_up(Reason::Invalid));
    check(422, "provider/invalid_file", fail_over(Reason::Unsupported));
    check(400, "errors/too_many_characters", give_up(Reason::Invalid));
    check(409, "api/conflict", retry);
    check(429, "errors/too_many_requests", retry);
    check(429, "", retry);
    check(500, "errors/provider_error", down(Reason::Failed));
    check(503, "errors/network_down", down(Reason::Disconnected));
    check(503, "", down(Reason::Failed));
    check(501, "api/not_implemented", fail_over(Reason::Unsupported));
}

#[test]
fn what_may_have_gone_is_not_sent_again() {
    for (status, slug) in [
        (504, "errors/request_timeout"),
        (500, "errors/request_timeout"),
        (504, ""),
        (408, ""),
        (400, ""),
        (500, "errors/unexpected_error"),
        (500, ""),
        (502, ""),
        (504, "provider/timeout"),
        (504, "errors/provider_error"),
        (502, "errors/network_down"),
        (502, "api/proxy_error"),
        (500, "provider/server_error"),
    ] {
        check(status, slug, Outcome::Unknown);
    }
}

#[test]
fn a_wait_that_is_told_is_kept() {
    let mut headers = HeaderMap::new();
    headers.insert("retry-after", "7".parse().unwrap());
    let reply = Reply { status: StatusCode::TOO_MANY_REQUESTS, headers, body: Bytes::new() };
    let attempt = unipile().refused_by(&reply);
    assert_eq!(attempt.blocked_until, Some(NOW + 7 * SECOND));
}

#[test]
fn the_address_says_which_generation_it_is() {
    for (dsn, want) in [
        (None, Generation::V2),
        (Some(""), Generation::V2),
        (Some("https://api.unipile.com/v2/"), Generation::V2),
        (Some("https://api1.unipile.com:13111"), Generation::V1),
        (Some("api1.unipile.com:13111"), Generation::V1),
        (Some("https://api1.unipile.com:13111/api/v1"), Generation::V1),
    ] {
        assert_eq!(unipile().generation(&account(dsn)), want, "{dsn:?}");
        let mut instance = super::super::twilio::test_instance();
        instance.unipile = Some(Box::new(account(dsn)));
        let of = unipile();
        let proofs = of.proofs(&instance, NOW);
        let is_v2 = matches!(proofs[0].scheme, Scheme::UnipileV2 { .. });
        assert_eq!(is_v2, want == Generation::V2);
        let account = of.account(&instance).unwrap();
        let url = account.chat_url("c", &["messages"]);
        let end = if is_v2 { "/v2/acc1/chats/c/messages" } else { "/api/v1/chats/c/messages" };
        assert!(url.as_str().starts_with("https://") && url.path() == end, "{url}");
    }
}

#[test]
fn a_ticket_is_the_chat_and_the_message() {
    assert_eq!(ticket("c", "m").as_deref(), Some("c/m"));
    assert_eq!((ticket("", "m"), ticket("c/d", "m")), (None, None));
}
