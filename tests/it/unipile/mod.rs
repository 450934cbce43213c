//! A number that Unipile is linked to, end to end.

mod api;
mod linked;
mod setup;

use serde_json::{Value, json};
use waba_gateway::{
    domain::{
        clock::{Clock, MINUTE},
        id::VendorId,
        phone::PhoneNumber,
        waba::ProviderKind,
    },
    gateway::{AccountsChange, NewInstance, UnipileChange, VendorChange},
    twin::{
        Customer, FileKind, NewSession, Times,
        unipile::{
            Generation::{self, V1, V2},
            UnipileFault, UnipileFile, UnipileNumber, UnipileTwin,
        },
    },
};

use crate::{
    delivery::{send, status_is},
    media::{file, nothing_in_clear, sending::uploaded},
    support::{DEADLINE, Options, TestApp, TestVendor, rules, spawn_app_with},
};

const VENDOR: &str = "+221771234567";
const CUSTOMER: &str = "+221705550001";
const SECRET: &str = "a-webhook-secret-0042";

/// The service with one vendor, whose number Unipile is linked to. Its clock has stood still since
/// a minute after the start, so that the pace allows a few sends at once.
struct Rig {
    app: TestApp,
    twin: UnipileTwin,
    number: UnipileNumber,
    vendor: TestVendor,
}

async fn rig(generation: Generation) -> Rig {
    let rig = silent_rig(generation, Some(SECRET)).await;
    rig.twin.set_webhook(&rig.number.account_id, &rig.vendor.hook, SECRET);
    rig
}

/// The same, whose webhooks go nowhere.
async fn silent_rig(generation: Generation, secret: Option<&str>) -> Rig {
    let twin = UnipileTwin::start().await.unwrap();
    // Webhooks of the second generation name their time.
    let clock = Clock::fixed(Clock::System.now());
    let app = spawn_app_with(Options { clock, ..Options::default() }).await;
    let number = twin.add_number(VENDOR, generation);
    let id = VendorId::parse("vendor_001").unwrap();
    let change = VendorChange { responders: Some(rules()), ..VendorChange::default() };
    app.gateway.put_vendor(&id, change).await.unwrap();
    let unipile = UnipileChange {
        account_id: Some(number.account_id.clone()),
        api_key: Some(number.api_key.clone().into()),
        dsn: Some(twin.dsn(generation)),
        webhook_secret: secret.map(Into::into),
        ..UnipileChange::default()
    };
    let new = NewInstance {
        accounts: AccountsChange {
            provider: Some(ProviderKind::Unipile),
            unipile: Some(Some(unipile)),
            ..AccountsChange::default()
        },
        ..NewInstance::at(PhoneNumber::from_wire(VENDOR).unwrap())
    };
    app.gateway.create_instance(&id, new).await.unwrap();
    let hook = format!("{}/api/webhooks/unipile/{id}", app.base);
    let session = app.twin.add_session(NewSession::new(VENDOR));
    let vendor = TestVendor { id, phone: VENDOR.to_owned(), session, hook };
    app.clock.advance(MINUTE);
    Rig { app, twin, number, vendor }
}

impl Rig {
    async fn says(&self, customer: &Customer, text: &str) -> u16 {
        self.twin.customer_says(&self.number.account_id, customer, text).await.status
    }

    fn misbehave(&self, fault: UnipileFault, times: Times) {
        self.twin.misbehave(&self.number.account_id, fault, times);
    }

    async fn send(&self, text: &str) -> String {
        send(&self.app, &self.vendor, CUSTOMER, text).await
    }

    async fn status_is(&self, id: &str, want: &str) {
        status_is(&self.app, &self.vendor, id, want).await;
    }

    /// Time for one more send.
    fn rest(&self) {
        self.app.clock.advance(MINUTE);
    }
}

fn customer() -> Customer {
    Customer::new(CUSTOMER).named("Awa")
}

#[tokio::test]
async fn what_is_of_another_account_on_the_same_hook_is_nobodys() {
    for generation in [V1, V2] {
        let rig = rig(generation).await;
        let other = rig.twin.add_number("+221779990000", generation);
        rig.twin.set_webhook(&other.account_id, &rig.vendor.hook, SECRET);
        let said = rig.twin.customer_says(&other.account_id, &customer(), "horaires").await;
        assert_eq!(said.status, 200, "it is taken, or it would come again");
        rig.app.settled().await;
        assert_eq!(rig.app.messages(&rig.vendor).await, Vec::<Value>::new());
        // And one of its own is answered.
        assert_eq!(rig.says(&customer(), "horaires").await, 200);
        rig.twin.wait_sends(1, DEADLINE).await;
        rig.app.settled().await;
        assert_eq!(rig.twin.sends().len(), 1);
        assert_eq!(rig.app.messages(&rig.vendor).await.len(), 2);
    }
}

#[tokio::test]
async fn a_message_is_answered_in_its_chat_and_followed_to_its_end() {
    for generation in [V1, V2] {
        let rig = rig(generation).await;
        assert_eq!(rig.says(&customer(), "horaires ?").await, 200);
        let sends = rig.twin.wait_sends(1, DEADLINE).await;
        assert_eq!(sends[0].text, "ouvert de 8 h à 19 h");
        assert_eq!(
            (sends[0].to.as_str(), sends[0].from.as_str()),
            ("221705550001@s.whatsapp.net", VENDOR)
        );
        rig.app.until(&rig.vendor, |it| it.iter().any(|it| it["status"] == "read")).await;
        rig.app.settled().await;
        // What it sent itself comes back as if it were received, and is not answered.
        let shown = rig.app.messages(&rig.vendor).await;
        assert_eq!(shown.len(), 2, "{shown:#?}");
        assert!(shown.iter().all(|it| it["human"] == false), "{shown:#?}");
        assert_eq!(rig.twin.n_sends(), 1);
        let path = rig.twin.requests().pop().unwrap().path;
        let chat = &sends[0].chat_id;
        let want = match generation {
            V1 => format!("/api/v1/chats/{chat}/messages"),
            V2 => format!("/v2/{}/chats/{chat}/messages/send", rig.number.account_id),
        };
        assert_eq!(path, want, "into the chat that is known");
        assert_eq!(rig.twin.hook_failures(), []);
    }
}

#[tokio::test]
async fn an_answer_without_an_id_or_none_at_all_is_settled_by_the_echo() {
    let rig = rig(V1).await;
    for (n, fault) in [
        UnipileFault::NullId,
        UnipileFault::TimesOut { accepted: true },
        UnipileFault::Cut { accepted: true },
        UnipileFault::Garbled,
        UnipileFault::EarlyEcho,
    ]
    .into_iter()
    .enumerate()
    {
        rig.misbehave(fault.clone(), Times::Once);
        let id = rig.send(&format!("commande {n}")).await;
        let seen = rig
            .app
            .until(&rig.vendor, |it| it.iter().any(|it| it["id"] == id && it["status"] == "read"));
        tokio::time::timeout(DEADLINE, seen).await.unwrap_or_else(|_| panic!("{fault:?}"));
        rig.rest();
    }
    rig.app.settled().await;
    assert_eq!(rig.twin.n_sends(), 5, "none was sent again");
}

#[tokio::test]
async fn a_customer_whose_phone_is_hidden_is_answered_by_lid() {
    let rig = rig(V1).await;
    rig.misbehave(UnipileFault::HiddenPhone, Times::Always);
    let hidden = Customer::new(CUSTOMER).with_lid("111122223333444").named("Awa");
    assert_eq!(rig.says(&hidden, "horaires ?").await, 200);
    let sends = rig.twin.wait_sends(1, DEADLINE).await;
    assert_eq!(sends[0].to, "111122223333444@lid");
    // Once the phone is told it is one conversation.
    rig.twin.behave(&rig.number.account_id);
    rig.rest();
    assert_eq!(rig.says(&hidden, "merci").await, 200);
    rig.twin.wait_sends(2, DEADLINE).await;
    rig.app.settled().await;
    let shown = rig.app.messages(&rig.vendor).await;
    assert_eq!(shown.len(), 4);
    assert!(shown.iter().all(|it| it["contact"] == shown[0]["contact"]), "{shown:#?}");
}

#[tokio::test]
async fn somebody_who_types_on_the_phone_is_told_from_the_gateway() {
    let rig = rig(V1).await;
    assert_eq!(rig.says(&customer(), "horaires ?").await, 200);
    rig.twin.wait_sends(1, DEADLINE).await;
    rig.app.until(&rig.vendor, |it| it.iter().any(|it| it["status"] == "read")).await;
    let account = &rig.number.account_id;
    assert_eq!(rig.twin.person_says(account, &customer(), "Je suis là").await.status, 200);
    rig.app.until(&rig.vendor, |it| it.iter().any(|it| it["human"] == true)).await;
    rig.rest();
    // The conversation is that person's now.
    assert_eq!(rig.says(&customer(), "horaires ?").await, 200);
    rig.app.settled().await;
    assert_eq!(rig.twin.n_sends(), 1);
}

#[tokio::test]
async fn an_account_that_must_be_linked_again_is_known_and_sends_later() {
    let rig = rig(V1).await;
    let account = &rig.number.account_id;
    assert_eq!(rig.twin.set_status(account, "CREDENTIALS").await.status, 200);
    let instances = async || rig.app.gateway.instances(&rig.vendor.id).await.unwrap();
    assert_eq!(instances().await[0].status.as_str(), "disconnected");
    let id = rig.send("prêt").await;
    // It is the number's only way: it is tried, refused, and tried again later.
    rig.status_is(&id, "queued").await;
    assert_eq!(rig.twin.n_sends(), 0);
    assert_eq!(rig.twin.set_status(account, "OK").await.status, 200);
    assert_eq!(instances().await[0].status.as_str(), "connected");
    rig.rest();
    rig.status_is(&id, "read").await;
    rig.app.settled().await;
}

#[tokio::test]
async fn a_webhook_that_is_forged_is_refused_and_one_that_is_repeated_counts_once() {
    for generation in [V1, V2] {
        let rig = rig(generation).await;
        rig.misbehave(UnipileFault::WrongSecret, Times::Once);
        // It is posted once more, this time with the secret; so it is with what is not taken.
        assert_eq!(rig.says(&customer(), "bonjour").await, 401);
        rig.twin.wait_sends(1, DEADLINE).await;
        rig.rest();
        rig.misbehave(UnipileFault::DuplicateHooks, Times::Once);
        assert_eq!(rig.says(&customer(), "horaires ?").await, 200);
        rig.twin.wait_sends(2, DEADLINE).await;
        rig.app.settled().await;
        assert_eq!(rig.twin.n_sends(), 2);
        let inbound = rig.app.messages(&rig.vendor).await;
        assert_eq!(inbound.iter().filter(|it| it["inbound"] == true).count(), 2);
    }
}

#[tokio::test]
async fn a_customers_file_is_kept_and_shown() {
    for generation in [V1, V2] {
        let rig = rig(generation).await;
        let ogg = file(FileKind::Audio, 70_001);
        let voice = UnipileFile::new("audio/ogg; codecs=opus", "v.ogg", ogg.clone());
        let account = &rig.number.account_id;
        let answer = rig.twin.customer_sends_file(account, &customer(), voice, "").await;
        assert_eq!(answer.status, 200);
        let is_there = |it: &[Value]| it.iter().any(|it| it["type"] == "audio");
        let messages = rig.app.until(&rig.vendor, is_there).await;
        let message = messages.iter().find(|it| it["type"] == "audio").unwrap();
        let id = message["id"].as_str().unwrap();
        let path = format!("/api/v1/vendors/{}/media/{id}", rig.vendor.id);
        let shown = rig.app.admin.get(&path).await;
        assert_eq!((shown.status, shown.bytes), (200, ogg));
        nothing_in_clear(&rig.app);
        rig.app.settled().await;
    }
}

#[tokio::test]
async fn a_file_of_ours_goes_with_its_message() {
    for generation in [V1, V2] {
        let rig = rig(generation).await;
        let png = [b"\x89PNG\r\n\x1a\n".to_vec(), vec![7; 70_001]].concat();
        let id = uploaded(&rig.app, &rig.vendor, "", "image/png", png.clone()).await;
        let image = json!({ "mediaId": id, "caption": "le plan" });
        let body = json!({ "to": CUSTOMER, "type": "image", "image": image });
        let path = format!("/api/v1/vendors/{}/messages", rig.vendor.id);
        let answer = rig.app.admin.post(&path, body).await;
        assert_eq!(answer.status, 202, "{}", answer.text);
        let sends = rig.twin.wait_sends(1, DEADLINE).await;
        assert_eq!(sends[0].text, "le plan");
        let file = &sends[0].files[0];
        assert_eq!((file.mime_type.as_str(), file.name.as_str()), ("image/png", "image.png"));
        assert_eq!(file.bytes.as_ref(), png);
        let message = answer.json()["messageId"].as_str().unwrap().to_owned();
        rig.status_is(&message, "read").await;
        rig.app.settled().await;
    }
}
