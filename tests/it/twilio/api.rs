//! What is asked of Twilio besides sends.

use std::{collections::BTreeMap, sync::Arc};

use waba_gateway::{
    domain::{
        clock::Clock,
        contact::Address,
        delivery::{Outcome, Reason, Refusal},
        event::{Connection, Status},
        id::EntryId,
        message::{Content, Template, Text},
        phone::PhoneNumber,
        waba::WabaInstance,
    },
    http::{Allow, Http},
    provider::{
        Attempt, HookFault, Hooks, NewHook, OpenFault, Outgoing, Provider, Question, Received,
        Twilio,
    },
};

use super::{CUSTOMER, Rig, customer, rig};

struct All;

impl Allow for All {
    fn allows(&self, _: &str, _: std::net::IpAddr) -> bool {
        true
    }
}

async fn provider(rig: &Rig) -> (Twilio, WabaInstance) {
    let http = Http::new(Arc::new(All)).unwrap();
    let (base, own) = (rig.twin.api_url().parse().unwrap(), rig.app.base.parse().unwrap());
    let instances = rig.app.gateway.instances(&rig.vendor.id).await.unwrap();
    (Twilio::new(http, base, own, Clock::System), instances[0].clone())
}

fn to() -> Address {
    Address::phone(PhoneNumber::from_wire(CUSTOMER).unwrap())
}

async fn sent(twilio: &Twilio, instance: &WabaInstance, content: &Content) -> Attempt {
    let to = to();
    let message = Outgoing { id: EntryId(1), to: &to, content, quotes: None, file: None };
    twilio.send(instance, &message).await
}

#[tokio::test]
async fn what_became_of_a_message_is_asked_by_its_id_and_in_the_list() {
    let rig = rig().await;
    let (twilio, instance) = provider(&rig).await;
    let content = Content::text("prêt");
    let begun_at = Clock::System.now();
    let attempt = sent(&twilio, &instance, &content).await;
    assert_eq!((attempt.outcome, attempt.ticket.is_some()), (Outcome::Sent, true));
    rig.twin.idle().await;
    let to = to();
    let ask = async |content: &Content, ticket: Option<&str>, begun_at| {
        let question = Question { to: &to, content, begun_at, ticket };
        twilio.ask(&instance, &question).await
    };
    let found = ask(&content, attempt.ticket.as_deref(), begun_at).await;
    assert_eq!(found.status, Some(Status::Read));
    let found = ask(&content, None, begun_at).await;
    assert_eq!((found.status, found.ticket), (Some(Status::Read), attempt.ticket));
    let none = |it: waba_gateway::provider::Found| it.status.is_none() && it.ticket.is_none();
    assert!(none(ask(&Content::text("autre"), None, begun_at).await), "another text");
    assert!(none(ask(&content, None, begun_at + 60_000).await), "long before");
    assert!(none(ask(&content, Some("SMnone"), begun_at).await), "nobody's");
    // Which of two it was nobody can say.
    sent(&twilio, &instance, &content).await;
    assert!(none(ask(&content, None, begun_at).await));
}

#[tokio::test]
async fn a_template_goes_by_its_id_and_what_cannot_go_is_refused_before_the_call() {
    let rig = rig().await;
    let (twilio, instance) = provider(&rig).await;
    let variables = BTreeMap::from([("1".to_owned(), "Awa".to_owned())]);
    let template =
        Template { content_sid: Some("HX1".to_owned()), variables, ..Template::default() };
    assert_eq!(sent(&twilio, &instance, &Content::Template(template)).await.outcome, Outcome::Sent);
    let form = rig.twin.sends()[0].form.clone();
    assert_eq!(form.get("ContentSid"), Some("HX1"));
    assert_eq!(form.get("ContentVariables"), Some(r#"{"1":"Awa"}"#));
    let n_requests = rig.twin.requests().len();
    let stand_in = |n: usize| {
        Content::Template(Template { text: Text("é".repeat(n)), ..Template::default() })
    };
    assert!(twilio.check(&stand_in(1_600)).is_ok());
    let why = twilio.check(&stand_in(1_601)).unwrap_err().0;
    assert!(why.starts_with("template.text: ") && why.contains("1600"), "{why}");
    let link = |n: usize| {
        let url = format!("https://shop.example/{}", "a".repeat(n));
        let text = |it: &str| Text(it.to_owned());
        Content::CtaUrl { text: text("Votre reçu"), label: text("Ouvrir"), url: Text(url) }
    };
    assert!(twilio.check(&link(1_400)).is_ok());
    let why = twilio.check(&link(1_600)).unwrap_err().0;
    assert!(why.starts_with("ctaUrl: "), "{why}");
    let reaction = Content::Reaction { emoji: Text("👍".to_owned()) };
    let refused = sent(&twilio, &instance, &reaction).await;
    assert_eq!(refused.outcome, Outcome::Refused(Refusal::FailOver(Reason::Unsupported)));
    let mut bare = instance.clone();
    bare.twilio.as_mut().unwrap().auth_token = None;
    let refused = sent(&twilio, &bare, &Content::text("x")).await;
    assert_eq!(refused.outcome, Outcome::Refused(Refusal::FailOver(Reason::NoCredentials)));
    assert_eq!(rig.twin.requests().len(), n_requests);
    rig.twin.stop().await;
    let away = sent(&twilio, &instance, &Content::text("x")).await;
    assert_eq!(away.outcome, Outcome::Refused(Refusal::Down(Reason::Disconnected)));
}

#[tokio::test]
async fn the_state_of_an_account_and_its_sender_is_told() {
    let rig = rig().await;
    let (twilio, instance) = provider(&rig).await;
    let health = async || twilio.health(&instance).await.unwrap();
    let well = health().await;
    assert_eq!(well.connection, Some(Connection::Connected));
    assert_eq!(well.phone_number.unwrap(), instance.phone_number);
    assert!(well.details.contains(&("quality", "HIGH".to_owned())), "{:?}", well.details);
    let account = &rig.number.account_sid;
    rig.twin.change(account, |it| it.sender_status = "OFFLINE".to_owned());
    assert_eq!(health().await.connection, Some(Connection::Error));
    rig.twin.change(account, |it| it.status = "suspended".to_owned());
    assert_eq!(health().await.connection, Some(Connection::Error));
    rig.twin.change(account, |it| it.auth_token = "another".to_owned());
    assert_eq!(health().await.connection, Some(Connection::Disconnected));
}

#[tokio::test]
async fn a_senders_webhook_is_set_and_one_that_is_elsewhere_is_left() {
    let rig = rig().await;
    let (twilio, instance) = provider(&rig).await;
    let account = &rig.number.account_sid;
    let url = "https://gateway.example/api/webhooks/twilio/vendor_001".parse().unwrap();
    let set = async |replace| twilio.set_webhook(&instance, &NewHook { url: &url, replace }).await;
    let elsewhere = HookFault::Elsewhere { url: rig.vendor.hook.clone() };
    assert_eq!(set(false).await.unwrap_err(), elsewhere);
    assert!(set(true).await.unwrap().warnings.is_empty());
    assert_eq!(rig.twin.number(account).unwrap().webhook_url.as_deref(), Some(url.as_str()));
    assert!(set(false).await.is_ok(), "it is there already");
    rig.twin.change(account, |it| it.is_sender = false);
    let HookFault::Refused(why) = set(true).await.unwrap_err() else { panic!() };
    assert!(why.contains(url.as_str()) && why.contains("console"), "{why}");
    rig.twin.change(account, |it| it.auth_token = "another".to_owned());
    assert_eq!(set(true).await.unwrap_err(), HookFault::Unauthorized);
}

#[tokio::test]
async fn a_customers_file_is_opened_and_typing_is_shown() {
    let rig = rig().await;
    let (twilio, instance) = provider(&rig).await;
    let account = &rig.number.account_sid;
    let answer = rig.twin.customer_sends_file(account, &customer(), "image/png", "png", "").await;
    assert_eq!(answer.status, 200);
    let url = rig.twin.files().remove(0);
    let media = |url: &str| {
        let media = serde_json::json!({ "kind": "image", "caption": "", "url": url });
        serde_json::from_value(media).unwrap()
    };
    let mut file = twilio.open(&instance, &media(&url)).await.unwrap();
    assert_eq!(file.download.piece().await.unwrap().unwrap().as_ref(), b"png");
    let gone = twilio.open(&instance, &media(&format!("{url}x"))).await.err();
    assert_eq!(gone, Some(OpenFault::Gone));
    // The token goes to nobody else.
    let foreign = twilio.open(&instance, &media("http://127.0.0.1:9/x")).await.err();
    assert_eq!(foreign, Some(OpenFault::Forbidden));
    let received = Received { id: &answer.event_id, chat: "" };
    twilio.typing(&instance, &to(), &received).await.unwrap();
    assert_eq!(rig.twin.typings(), [answer.event_id]);
}
