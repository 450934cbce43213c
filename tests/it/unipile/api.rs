//! What is asked of Unipile besides sends.

use std::{io, sync::Arc};

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use serde_json::json;
use waba_gateway::{
    domain::{
        clock::Clock,
        contact::{Address, Lid},
        delivery::{Outcome, Reason, Refusal},
        event::{Connection, Status},
        id::EntryId,
        message::Content,
        phone::PhoneNumber,
        secret::ExposeSecret,
        waba::WabaInstance,
    },
    http::{Allow, Http},
    provider::{
        Attempt, Found, HookFault, Hooks, NewHook, OpenFault, Outgoing, Provider, Question, Quoted,
        Received, Unipile, Upload,
    },
    twin::{
        Times,
        unipile::{
            Generation::{V1, V2},
            UnipileFault, UnipileFile,
        },
    },
};

use super::{CUSTOMER, Rig, customer, rig};

struct All;

impl Allow for All {
    fn allows(&self, _: &str, _: std::net::IpAddr) -> bool {
        true
    }
}

/// One that knows no chats yet.
async fn provider(rig: &Rig) -> (Unipile, WabaInstance) {
    let http = Http::new(Arc::new(All)).unwrap();
    let instances = rig.app.gateway.instances(&rig.vendor.id).await.unwrap();
    let base = "http://127.0.0.1:1/v2".parse().unwrap();
    (Unipile::new(http, base, Clock::System), instances[0].clone())
}

fn to() -> Address {
    Address::phone(PhoneNumber::from_wire(CUSTOMER).unwrap())
}

async fn sent(
    unipile: &Unipile,
    instance: &WabaInstance,
    content: &Content,
    quotes: Option<Quoted<'_>>,
) -> Attempt {
    let to = to();
    let message = Outgoing { id: EntryId(1), to: &to, content, quotes, file: None };
    unipile.send(instance, &message).await
}

#[tokio::test]
async fn what_became_of_a_message_is_asked_by_its_id_and_in_its_chat() {
    for generation in [V1, V2] {
        let rig = rig(generation).await;
        let (unipile, instance) = provider(&rig).await;
        let content = Content::text("prêt");
        let begun_at = Clock::System.now();
        let attempt = sent(&unipile, &instance, &content, None).await;
        assert_eq!(attempt.outcome, Outcome::Sent);
        rig.twin.idle().await;
        let to = to();
        let ask = async |content: &Content, ticket: Option<&str>, begun_at| {
            let question = Question { to: &to, content, begun_at, ticket };
            // As after a restart: the chat has to be found.
            provider(&rig).await.0.ask(&instance, &question).await
        };
        let found = ask(&content, attempt.ticket.as_deref(), begun_at).await;
        assert_eq!(found.status, Some(Status::Read));
        let found = ask(&content, None, begun_at).await;
        assert_eq!((found.status, found.ticket), (Some(Status::Read), attempt.ticket));
        assert_eq!(found.provider_id, attempt.provider_id);
        let none = |it: Found| it.status.is_none() && it.ticket.is_none();
        assert!(none(ask(&Content::text("autre"), None, begun_at).await), "another text");
        assert!(none(ask(&content, None, begun_at + 60_000).await), "long before");
        sent(&unipile, &instance, &content, None).await;
        assert!(none(ask(&content, None, begun_at).await), "one of two");
        rig.misbehave(UnipileFault::NotListed, Times::Once);
        sent(&unipile, &instance, &Content::text("neuf"), None).await;
        assert!(none(ask(&Content::text("neuf"), None, begun_at).await), "the list is behind");
    }
}

#[tokio::test]
async fn a_message_quotes_where_its_chat_is_known_and_is_sent_anew_where_it_is_gone() {
    for generation in [V1, V2] {
        let rig = rig(generation).await;
        let (unipile, instance) = provider(&rig).await;
        let first = sent(&unipile, &instance, &Content::text("un"), None).await;
        let ticket = first.ticket.as_deref();
        let quotes = Some(Quoted { id: None, ticket });
        let second = sent(&provider(&rig).await.0, &instance, &Content::text("deux"), quotes).await;
        assert_eq!(second.outcome, Outcome::Sent);
        assert_eq!(rig.twin.sends()[1].quotes, first.provider_id);
        let gone = Some(Quoted { id: None, ticket: Some("nochat/nomessage") });
        let third = sent(&unipile, &instance, &Content::text("trois"), gone).await;
        assert_eq!((third.outcome, rig.twin.n_sends()), (Outcome::Sent, 3));
    }
}

#[tokio::test]
async fn a_link_is_fetched_by_us_and_content_without_a_form_becomes_text() {
    let rig = rig(V1).await;
    let (unipile, instance) = provider(&rig).await;
    let content = |json| serde_json::from_value::<Content>(json).unwrap();
    let served = served("%PDF-1.7").await;
    let media = json!({
        "type": "media", "kind": "document", "caption": "c", "url": served, "fileName": "prix.pdf",
        "mimeType": "application/pdf",
    });
    assert_eq!(
        sent(&unipile, &instance, &content(media.clone()), None).await.outcome,
        Outcome::Sent
    );
    let files = rig.twin.sends()[0].files.clone();
    assert_eq!(files, [UnipileFile::new("application/pdf", "prix.pdf", "%PDF-1.7")]);
    let mut none = media;
    none["url"] = json!(format!("{served}/none"));
    let unsupported = Outcome::Refused(Refusal::FailOver(Reason::Unsupported));
    assert_eq!(sent(&unipile, &instance, &content(none), None).await.outcome, unsupported);
    for (json, text) in [
        (json!({ "type": "poll", "question": "Q?", "options": ["a", "b"] }), "Q?\n1. a\n2. b"),
        (
            json!({ "type": "location", "latitude": 14.5, "longitude": -17.0, "text": "Ici" }),
            "Ici\nhttps://maps.google.com/?q=14.5,-17",
        ),
    ] {
        assert_eq!(sent(&unipile, &instance, &content(json), None).await.outcome, Outcome::Sent);
        assert_eq!(rig.twin.sends().pop().unwrap().text, text);
    }
    let reaction = content(json!({ "type": "reaction", "emoji": "👍" }));
    assert_eq!(sent(&unipile, &instance, &reaction, None).await.outcome, unsupported);
    let nobody = Address { lid: Lid::from_wire("?@lid"), ..Address::default() };
    let text = Content::text("x");
    let message =
        Outgoing { id: EntryId(1), to: &nobody, content: &text, quotes: None, file: None };
    let refused = unipile.send(&instance, &message).await.outcome;
    assert_eq!(refused, Outcome::Refused(Refusal::FailOver(Reason::NoPhone)));
    rig.twin.stop().await;
    let away = sent(&unipile, &instance, &text, None).await.outcome;
    assert_eq!(away, Outcome::Refused(Refusal::Down(Reason::Disconnected)));
}

#[tokio::test]
async fn a_file_that_breaks_off_on_our_side_was_surely_not_sent() {
    for generation in [V1, V2] {
        let rig = rig(generation).await;
        let (unipile, instance) = provider(&rig).await;
        let media = json!({ "type": "media", "kind": "document", "caption": "c" });
        let (to, content) = (to(), serde_json::from_value::<Content>(media).unwrap());
        let message =
            Outgoing { id: EntryId(1), to: &to, content: &content, quotes: None, file: None };
        let send = async |n_bytes: u64, pieces: Vec<io::Result<Bytes>>| {
            let pieces = stream::iter(pieces).boxed();
            let file = Upload { mime_type: "application/pdf".to_owned(), n_bytes, pieces };
            unipile.send_with(&instance, &message, file).await
        };
        let piece = || Ok(Bytes::from(vec![7; 100_002]));
        let lost = || Err(io::Error::from(io::ErrorKind::BrokenPipe));
        for pieces in [vec![lost()], vec![piece(), lost()], vec![piece(), piece(), lost()]] {
            let broke_off = send(200_004, pieces).await;
            let retry = Outcome::Refused(Refusal::Retry { not_before: None });
            assert_eq!((broke_off.outcome, broke_off.word), (retry, "file_broke_off"));
        }
        assert_eq!(rig.twin.n_sends(), 0);
        let whole = send(200_004, vec![piece(), piece()]).await;
        assert_eq!((whole.outcome, rig.twin.n_sends()), (Outcome::Sent, 1));
        // Where it is the other side that breaks off, nobody can say.
        rig.misbehave(UnipileFault::Cut { accepted: false }, Times::Once);
        let cut = send(200_004, vec![piece(), piece()]).await;
        assert_eq!(cut.outcome, Outcome::Unknown);
    }
}

/// Serves this at every address but one that ends in `none`.
async fn served(body: &'static str) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/f", listener.local_addr().unwrap());
    let router = axum::Router::new().route("/f", axum::routing::get(move || async move { body }));
    tokio::spawn(async { axum::serve(listener, router).await });
    url
}

#[tokio::test]
async fn the_state_of_an_account_is_told() {
    for (generation, word) in [(V1, "OK"), (V2, "running")] {
        let rig = rig(generation).await;
        let (unipile, mut instance) = provider(&rig).await;
        let well = unipile.health(&instance).await.unwrap();
        assert_eq!(well.connection, Some(Connection::Connected));
        assert_eq!(well.details, [("account", word.to_owned())]);
        rig.twin.set_status(&rig.number.account_id, "CREDENTIALS").await;
        let bad = unipile.health(&instance).await.unwrap();
        assert_eq!(bad.connection, Some(Connection::Disconnected));
        instance.unipile.as_mut().unwrap().api_key = Some("another".into());
        let unknown = unipile.health(&instance).await.unwrap();
        assert_eq!(unknown.connection, Some(Connection::Disconnected));
        rig.twin.stop().await;
        assert!(unipile.health(&instance).await.is_err());
    }
}

#[tokio::test]
async fn webhooks_are_entered_once_and_those_that_are_elsewhere_are_left() {
    for (generation, n_hooks) in [(V1, 2), (V2, 1)] {
        let rig = rig(generation).await;
        let (unipile, instance) = provider(&rig).await;
        let url = "https://gateway.example/api/webhooks/unipile/vendor_001".parse().unwrap();
        let set =
            async |replace| unipile.set_webhook(&instance, &NewHook { url: &url, replace }).await;
        let elsewhere = HookFault::Elsewhere { url: rig.vendor.hook.clone() };
        assert_eq!(set(false).await.unwrap_err(), elsewhere);
        assert_eq!(rig.twin.hooks().len(), n_hooks);
        for replace in [true, false] {
            let made = set(replace).await.unwrap();
            // Those of before go when what proves the new ones is kept.
            assert_eq!((rig.twin.hooks().len(), made.former.len()), (2 * n_hooks, n_hooks));
            assert!(unipile.remove_webhooks(&instance, &made.former).await.is_empty());
            let hooks = rig.twin.hooks();
            assert_eq!(hooks.len(), n_hooks);
            let secret = made.secret.unwrap();
            let secret = secret.expose_secret();
            for hook in hooks {
                assert_eq!((hook.url.as_str(), hook.account_ids.len()), (url.as_str(), 1));
                match generation {
                    V1 => assert!(hook.headers.contains(&("Unipile-Auth".into(), secret.into()))),
                    V2 => assert_eq!(hook.secret, secret),
                }
            }
        }
        let mut bare = instance.clone();
        bare.unipile.as_mut().unwrap().api_key = None;
        let left = unipile.remove_webhooks(&bare, &["whk_1".to_owned()]).await;
        assert_eq!(left.len(), 1, "what cannot be removed is told: {left:?}");
        let new = NewHook { url: &url, replace: true };
        let missing = unipile.set_webhook(&bare, &new).await.unwrap_err();
        assert_eq!(missing, HookFault::Missing("unipile.apiKey"));
    }
}

#[tokio::test]
async fn a_customers_file_is_opened_and_they_are_shown_that_they_were_read() {
    for generation in [V1, V2] {
        let rig = rig(generation).await;
        let (unipile, instance) = provider(&rig).await;
        let account = &rig.number.account_id;
        let file = UnipileFile::new("audio/ogg", "v.ogg", "OggS");
        let answer = rig.twin.customer_sends_file(account, &customer(), file, "").await;
        assert_eq!(answer.status, 200);
        let chat = rig.twin.chat_of(account, &customer());
        let media = |id: String| {
            serde_json::from_value(json!({ "kind": "audio", "caption": "", "id": id })).unwrap()
        };
        let id = format!("{chat}/{}/file0", answer.event_id);
        let mut opened = unipile.open(&instance, &media(id)).await.unwrap();
        assert_eq!(opened.download.piece().await.unwrap().unwrap().as_ref(), b"OggS");
        for gone in [format!("{chat}/{}/file9", answer.event_id), "file0".to_owned()] {
            assert_eq!(unipile.open(&instance, &media(gone)).await.err(), Some(OpenFault::Gone));
        }
        let received = Received { id: &answer.event_id, chat: &chat };
        unipile.mark_read(&instance, &received).await.unwrap();
        unipile.typing(&instance, &to(), &received).await.unwrap();
        let words: Vec<_> = rig.twin.shown().into_iter().map(|it| it.0).collect();
        let want: &[&str] = if generation == V1 { &["read"] } else { &["read", "typing"] };
        assert_eq!(words, want);
    }
}
