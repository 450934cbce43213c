//! What is sent, and what the answers mean.

use std::{net::IpAddr, sync::Arc};

use bytes::Bytes;
use reqwest::{StatusCode, header::HeaderMap};
use serde_json::{Value, json};
use url::form_urlencoded;

use super::{Twilio, codes, send::recipient};
use crate::{
    domain::{
        account::TwilioAccount,
        clock::{Clock, SECOND},
        contact::{Address, Bsuid},
        delivery::{Outcome, Reason, Refusal},
        event::Connection,
        id::{EntryId, InstanceId, VendorId},
        phone::PhoneNumber,
        waba::{ProviderKind, Routes, SignatureSchemes, WabaInstance, WasenderAccount},
    },
    http::{Allow, Http, Reply},
    provider::{OF_COUNTRY, Outgoing, Provider},
};

const NOW: i64 = 1_800_000_000_000;
const OWN: &str = "https://gateway.example";

struct All;

impl Allow for All {
    fn allows(&self, _: &str, _: IpAddr) -> bool {
        true
    }
}

fn twilio(own: &str) -> Twilio {
    let http = Http::new(Arc::new(All)).unwrap();
    let base = "https://api.twilio.com".parse().unwrap();
    Twilio::new(http, base, own.parse().unwrap(), Clock::fixed(NOW))
}

/// One that other providers' tests start from.
pub(in crate::provider) fn test_instance() -> WabaInstance {
    instance(|_| ())
}

fn instance(change: impl FnOnce(&mut TwilioAccount)) -> WabaInstance {
    let vendor = VendorId::parse("vendor_001").unwrap();
    let mut account = TwilioAccount {
        account_sid: "AC1".to_owned(),
        auth_token: Some("12345".into()),
        ..TwilioAccount::default()
    };
    change(&mut account);
    WabaInstance {
        id: InstanceId::nth(&vendor, 1),
        vendor_id: vendor,
        phone_number: PhoneNumber::from_wire("+14155238886").unwrap(),
        provider: ProviderKind::Twilio,
        failover: Routes::default(),
        status: Connection::Connected,
        schemes: SignatureSchemes::default(),
        account_protection: false,
        wasender: WasenderAccount::default(),
        meta: None,
        unipile: None,
        twilio: Some(Box::new(account)),
        created_at: 0,
        updated_at: 0,
        last_sync: None,
    }
}

fn customer() -> Address {
    Address::phone(PhoneNumber::from_wire("+221705555555").unwrap())
}

/// The fields of the content, `name=value` each.
fn fields(content: &Value, file: Option<&str>) -> Option<Vec<String>> {
    let content = serde_json::from_value(content.clone()).unwrap();
    let to = customer();
    let message = Outgoing { id: EntryId(1), to: &to, content: &content, quotes: None, file };
    let fields = super::content::fields(&message)?;
    Some(fields.into_iter().map(|it| format!("{}={}", it.0, it.1)).collect())
}

#[test]
fn every_kind_of_content_has_its_fields_or_becomes_text() {
    let media = |kind: &str, caption: &str| json!({ "type": "media", "kind": kind, "caption": caption, "url": "https://x/f" });
    let place = json!({ "type": "location", "latitude": 14.5, "longitude": -17.0, "text": "A|B" });
    let bare = json!({ "type": "location", "latitude": 14.5, "longitude": -17.0, "text": "" });
    let template = json!({
        "type": "template", "name": "t", "language": "fr", "components": [], "text": "plain",
        "contentSid": "HX1", "variables": { "1": "Ada", "2": "demain" },
    });
    let mut untold = template.clone();
    untold["contentSid"] = Value::Null;
    let choices = json!({ "type": "choices", "text": "Q\n1. a\n2. b", "options": [] });
    let poll = json!({ "type": "poll", "question": "Q?", "options": ["a", "b"] });
    let link = json!({ "type": "ctaUrl", "text": "Voyez", "label": "Ici", "url": "https://y" });
    let card = json!({ "type": "contact", "name": "Ada", "phone": "+15550001111" });
    for (content, want) in [
        (json!({ "type": "text", "text": "Hi" }), vec!["Body=Hi"]),
        (media("image", "c"), vec!["MediaUrl=https://x/f", "Body=c"]),
        (media("image", ""), vec!["MediaUrl=https://x/f"]),
        (media("audio", "c"), vec!["MediaUrl=https://x/f"]),
        (place, vec!["PersistentAction=geo:14.5,-17|A B", "Body=A B"]),
        (bare, vec!["PersistentAction=geo:14.5,-17", "Body=https://maps.google.com/?q=14.5,-17"]),
        (template, vec!["ContentSid=HX1", r#"ContentVariables={"1":"Ada","2":"demain"}"#]),
        (untold, vec!["Body=plain"]),
        (choices, vec!["Body=Q\n1. a\n2. b"]),
        (poll, vec!["Body=Q?\n1. a\n2. b"]),
        (link, vec!["Body=Voyez\n\nIci: https://y"]),
        (card, vec!["Body=Ada: +15550001111"]),
    ] {
        assert_eq!(fields(&content, None).unwrap(), want, "{content}");
        let content = serde_json::from_value(content).unwrap();
        assert!(twilio(OWN).check(&content).is_ok());
    }
    assert_eq!(
        fields(&media("video", ""), Some("https://us/1")).unwrap(),
        ["MediaUrl=https://us/1"]
    );
    for content in [
        json!({ "type": "unsupported", "kind": "x", "text": "t" }),
        json!({ "type": "reaction", "emoji": "👍" }),
        json!({ "type": "flow", "text": "t", "cta": "c" }),
        json!({ "type": "template", "name": "t", "language": "fr", "components": [], "text": "" }),
    ] {
        assert_eq!(fields(&content, None), None);
        assert!(twilio(OWN).check(&serde_json::from_value(content).unwrap()).is_err());
    }
    let long = json!({ "type": "text", "text": "é".repeat(1_601) });
    assert_eq!(fields(&long, None), None, "another provider may take it whole");
}

#[test]
fn a_form_names_both_sides_and_where_its_statuses_go() {
    #[track_caller]
    fn check(own: &str, instance: &WabaInstance, want: &[(&str, &str)]) {
        let form = twilio(own).form(instance, EntryId(7), "whatsapp:+1", Vec::new());
        let form: Vec<_> = form_urlencoded::parse(form.as_bytes()).into_owned().collect();
        let want: Vec<_> = want.iter().map(|it| (it.0.to_owned(), it.1.to_owned())).collect();
        assert_eq!(form, want);
    }
    let callback =
        "https://gateway.example/api/webhooks/twilio/vendor_001?message=msg_0000000000000007";
    let (to, from) = (("To", "whatsapp:+1"), ("From", "whatsapp:+14155238886"));
    check(OWN, &instance(|_| ()), &[to, from, ("StatusCallback", callback)]);
    // Twilio refuses a message whose statuses it could not tell.
    check("http://localhost:9002", &instance(|_| ()), &[to, from]);
    let other = instance(|it| it.from = PhoneNumber::from_wire("+14155238887").ok());
    check("http://10.0.0.1", &other, &[to, ("From", "whatsapp:+14155238887")]);
    let service = instance(|it| it.messaging_service_sid = Some("MG1".to_owned()));
    check("http://[::1]", &service, &[to, ("MessagingServiceSid", "MG1")]);
}

#[test]
fn customers_are_reached_by_phone_and_by_bsuid() {
    assert_eq!(recipient(&customer()).as_deref(), Some("whatsapp:+221705555555"));
    let hidden = Address { bsuid: Bsuid::from_wire("US.1349"), ..Address::default() };
    assert_eq!(recipient(&hidden).as_deref(), Some("whatsapp:US.1349"));
    assert_eq!(recipient(&Address::default()), None);
}

#[test]
fn every_answer_says_what_may_be_done_next() {
    #[track_caller]
    fn check(status: u16, body: &str, want: Outcome, word: &str) {
        let status = StatusCode::from_u16(status).unwrap();
        let body = Bytes::copy_from_slice(body.as_bytes());
        let attempt = twilio(OWN).read_answer(&Reply { status, headers: HeaderMap::new(), body });
        assert_eq!((attempt.outcome, attempt.word), (want, word));
    }
    let refused = Outcome::Refused;
    let fail_over = |reason| refused(Refusal::FailOver(reason));
    let give_up = |reason| refused(Refusal::GiveUp(reason));
    let retry = refused(Refusal::Retry { not_before: None });
    check(201, r#"{"sid":"SM1","status":"queued","error_code":null}"#, Outcome::Sent, "accepted");
    check(201, r#"{"sid":"SM"#, Outcome::Unknown, "garbled");
    check(200, "{}", Outcome::Unknown, "garbled");
    check(429, r#"{"code":20429,"status":429}"#, retry, "throttled");
    check(429, "<html>", retry, "throttled");
    check(400, r#"{"code":63018,"status":400}"#, retry, "throttled");
    check(401, r#"{"code":20003,"status":401}"#, fail_over(Reason::Unauthorized), "unauthorized");
    // A country that the account may not write to.
    check(403, r#"{"code":21408}"#, fail_over(Reason::Restricted), OF_COUNTRY);
    check(403, "", fail_over(Reason::Unauthorized), "unauthorized");
    check(400, r#"{"code":63016}"#, refused(Refusal::Park(Reason::WindowClosed)), "window_closed");
    check(400, r#"{"code":"63007"}"#, fail_over(Reason::NotRegistered), "not_registered");
    check(404, r#"{"code":20404}"#, fail_over(Reason::NotRegistered), "not_registered");
    check(400, r#"{"code":21656}"#, fail_over(Reason::Template), "template");
    check(400, r#"{"code":63005}"#, fail_over(Reason::Unsupported), "unsupported");
    check(400, r#"{"code":21610}"#, give_up(Reason::OptedOut), "opted_out");
    check(400, r#"{"code":63032}"#, give_up(Reason::OptedOut), "opted_out");
    check(400, r#"{"code":63024}"#, give_up(Reason::Undeliverable), "undeliverable");
    check(400, r#"{"code":21617}"#, give_up(Reason::Invalid), "invalid");
    check(400, r#"{"code":99999}"#, give_up(Reason::Invalid), "invalid");
    check(302, "", refused(Refusal::Down(Reason::Failed)), "failed");
    check(503, "", refused(Refusal::Down(Reason::Failed)), "failed");
    // Whatever stands in it, a server that failed may have taken the message.
    for status in [500, 502, 504, 408] {
        check(status, "", Outcome::Unknown, "failed");
    }
    check(400, "<html>", Outcome::Unknown, "failed");
    check(500, r#"{"code":20003}"#, Outcome::Unknown, "failed");
}

#[test]
fn a_wait_that_is_told_is_kept() {
    let mut headers = HeaderMap::new();
    headers.insert("retry-after", "7".parse().unwrap());
    let body = Bytes::from_static(br#"{"code":20429}"#);
    let reply = Reply { status: StatusCode::TOO_MANY_REQUESTS, headers, body };
    let attempt = twilio(OWN).read_answer(&reply);
    let until = Some(NOW + 7 * SECOND);
    assert_eq!(attempt.outcome, Outcome::Refused(Refusal::Retry { not_before: until }));
    assert_eq!(attempt.blocked_until, until);
}

#[test]
fn an_accepted_send_is_known_by_its_sid() {
    let body = Bytes::from_static(br#"{"sid":"SM1","status":"queued"}"#);
    let reply = Reply { status: StatusCode::CREATED, headers: HeaderMap::new(), body };
    let attempt = twilio(OWN).read_answer(&reply);
    assert_eq!(attempt.provider_id.as_deref(), Some("SM1"));
    assert_eq!(attempt.ticket.as_deref(), Some("SM1"));
}

#[test]
fn a_late_failure_goes_on_only_where_its_code_allows() {
    #[track_caller]
    fn check(code: &str, may_fail_over: bool) {
        assert_eq!(codes::failure(code).late().may_fail_over, may_fail_over, "{code}");
    }
    for code in ["63019", "63007"] {
        check(code, true);
    }
    for code in
        ["21610", "63014", "63016", "63024", "63032", "63049", "63003", "undelivered", "30008", ""]
    {
        check(code, false);
    }
}
