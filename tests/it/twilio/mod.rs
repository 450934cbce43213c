//! A number at Twilio, end to end.

mod api;

use serde_json::json;
use tokio::io::AsyncWriteExt;
use waba_gateway::{
    domain::{id::VendorId, phone::PhoneNumber, waba::ProviderKind},
    gateway::{AccountsChange, NewInstance, TwilioChange, VendorChange},
    twin::{
        Customer, FileKind, NewSession, Times,
        twilio::{Form, TwilioFault, TwilioNumber, TwilioTwin, sign},
    },
};

use crate::{
    delivery::{send, status_is},
    media::{file, nothing_in_clear, sending::uploaded},
    support::{DEADLINE, Options, TestApp, TestVendor, rules, spawn_app_with},
};

const VENDOR: &str = "+14155238886";
const CUSTOMER: &str = "+221705550001";

/// The service with one vendor, whose number is at Twilio.
struct Rig {
    app: TestApp,
    twin: TwilioTwin,
    number: TwilioNumber,
    vendor: TestVendor,
}

async fn rig() -> Rig {
    let twin = TwilioTwin::start().await.unwrap();
    let variables = vec![("TWILIO_API_URL", twin.api_url())];
    let app = spawn_app_with(Options { variables, ..Options::default() }).await;
    let number = twin.add_number(VENDOR);
    let id = VendorId::parse("vendor_001").unwrap();
    let change = VendorChange { responders: Some(rules()), ..VendorChange::default() };
    app.gateway.put_vendor(&id, change).await.unwrap();
    let twilio = TwilioChange {
        account_sid: Some(number.account_sid.clone()),
        auth_token: Some(number.auth_token.clone().into()),
        ..TwilioChange::default()
    };
    let new = NewInstance {
        accounts: AccountsChange {
            provider: Some(ProviderKind::Twilio),
            twilio: Some(Some(twilio)),
            ..AccountsChange::default()
        },
        ..NewInstance::at(PhoneNumber::from_wire(VENDOR).unwrap())
    };
    app.gateway.create_instance(&id, new).await.unwrap();
    let hook = format!("{}/api/webhooks/twilio/{id}", app.base);
    twin.set_webhook(&number.account_sid, &hook);
    let session = app.twin.add_session(NewSession::new(VENDOR));
    let vendor = TestVendor { id, phone: VENDOR.to_owned(), session, hook };
    Rig { app, twin, number, vendor }
}

/// The customer has written, so that free text may be sent, and was not answered.
async fn open_rig() -> Rig {
    let rig = rig().await;
    let silent = VendorChange { auto_reply: Some(false), ..VendorChange::default() };
    rig.app.gateway.put_vendor(&rig.vendor.id, silent).await.unwrap();
    assert_eq!(rig.says("bonjour").await, 200);
    rig
}

impl Rig {
    async fn says(&self, text: &str) -> u16 {
        self.twin.customer_says(&self.number.account_sid, &customer(), text).await.status
    }

    fn misbehave(&self, fault: TwilioFault) {
        self.twin.misbehave(&self.number.account_sid, fault, Times::Once);
    }

    async fn send(&self, text: &str) -> String {
        send(&self.app, &self.vendor, CUSTOMER, text).await
    }

    async fn status_is(&self, id: &str, want: &str) {
        status_is(&self.app, &self.vendor, id, want).await;
    }
}

fn customer() -> Customer {
    Customer::new(CUSTOMER).named("Awa")
}

#[tokio::test]
async fn a_message_is_answered_from_the_number_and_followed_to_its_end() {
    let rig = rig().await;
    assert_eq!(rig.says("horaires ?").await, 200);
    let sends = rig.twin.wait_sends(1, DEADLINE).await;
    let sent = &sends[0];
    assert_eq!(
        (sent.to.as_str(), sent.from.as_str()),
        ("whatsapp:+221705550001", "whatsapp:+14155238886")
    );
    assert_eq!(sent.text, "ouvert de 8 h à 19 h");
    rig.app.until(&rig.vendor, |it| it.iter().any(|it| it["status"] == "read")).await;
    let shown = rig.app.messages(&rig.vendor).await;
    assert_eq!(shown.len(), 2, "{shown:#?}");
    // Statuses that overtake each other, and the answer to the send, come to the same.
    for fault in [TwilioFault::EarlyStatus, TwilioFault::OutOfOrder, TwilioFault::DuplicateHooks] {
        rig.misbehave(fault);
        let id = rig.send("prêt").await;
        rig.status_is(&id, "read").await;
    }
    rig.app.settled().await;
    assert_eq!(rig.twin.hook_failures(), []);
}

#[tokio::test]
async fn a_send_whose_answer_was_lost_is_settled_by_its_own_status() {
    let rig = open_rig().await;
    for fault in [
        TwilioFault::Cut { accepted: true },
        TwilioFault::Fail { status: 502, accepted: true },
        TwilioFault::Garbled,
    ] {
        rig.misbehave(fault);
        let id = rig.send("votre commande est prête").await;
        rig.status_is(&id, "read").await;
    }
    rig.app.settled().await;
    assert_eq!(rig.twin.n_sends(), 3, "none was sent again");
}

#[tokio::test]
async fn what_a_messaging_service_sends_from_another_number_is_followed_all_the_same() {
    let rig = open_rig().await;
    let path = format!("/api/admin/vendors/{0}/waba/waba_{0}", rig.vendor.id);
    let twilio = json!({ "messagingServiceSid": rig.number.messaging_service_sid });
    let changed = rig.app.admin.put(&path, json!({ "twilio": twilio })).await;
    assert_eq!(changed.status, 200, "{}", changed.text);
    // By its own id at Twilio, and by ours where the answer was lost.
    for fault in [None, Some(TwilioFault::Cut { accepted: true })] {
        rig.misbehave(TwilioFault::FromAnother);
        fault.into_iter().for_each(|it| rig.misbehave(it));
        let id = rig.send("votre commande est prête").await;
        rig.status_is(&id, "read").await;
    }
    rig.app.settled().await;
    assert_eq!(rig.twin.n_sends(), 2);
}

#[tokio::test]
async fn a_messaging_service_beside_an_older_number_of_the_same_account_is_heard() {
    let rig = open_rig().await;
    let (id, account) = (&rig.vendor.id, &rig.number);
    let path = format!("/api/admin/vendors/{id}/waba-instances");
    let twilio = json!({ "accountSid": account.account_sid, "authToken": account.auth_token,
        "from": "+14155230000", "messagingServiceSid": account.messaging_service_sid });
    let second = json!({ "phoneNumber": "+221771230000", "provider": "twilio", "twilio": twilio });
    let made = rig.app.admin.post(&path, second).await;
    assert_eq!(made.status, 201, "{}", made.text);
    let second = made.json()["id"].as_str().unwrap().to_owned();
    let on = VendorChange { auto_reply: Some(true), ..VendorChange::default() };
    rig.app.gateway.put_vendor(id, on).await.unwrap();
    // A customer answers whichever of the service's numbers wrote to them.
    let pool = [
        ("To", "whatsapp:+14155239999"),
        ("Body", "horaires ?"),
        ("MessagingServiceSid", account.messaging_service_sid.as_str()),
    ];
    let said = rig.twin.customer_sends(&account.account_sid, &customer(), &pool).await;
    assert_eq!(said.status, 200);
    let answer = &rig.twin.wait_sends(1, DEADLINE).await[0];
    let service = answer.form.get("MessagingServiceSid");
    assert_eq!(service, Some(account.messaging_service_sid.as_str()));
    rig.app.until(&rig.vendor, |it| it.iter().any(|it| it["status"] == "read")).await;
    // What became of a send is its own number's, whichever secret proved it first.
    for fault in [TwilioFault::FromAnother, TwilioFault::FailsLater(63_016)] {
        let is_failure = matches!(fault, TwilioFault::FailsLater(_));
        rig.misbehave(fault);
        let message = json!({ "to": CUSTOMER, "type": "text", "text": "prêt", "wabaId": second });
        let path = format!("/api/v1/vendors/{id}/messages");
        let sent = rig.app.admin.post(&path, message).await;
        assert_eq!(sent.status, 202, "{}", sent.text);
        let sent = sent.json()["messageId"].as_str().unwrap().to_owned();
        rig.status_is(&sent, if is_failure { "dead" } else { "read" }).await;
    }
}

#[tokio::test]
async fn what_twilio_refuses_is_told_with_its_reason() {
    let rig = open_rig().await;
    let refuse = |status, code| TwilioFault::Refuse { status, code };
    for (fault, status, reason) in [
        (refuse(400, 21_610), "dead", "opted_out"),
        (refuse(400, 63_024), "dead", "undeliverable"),
        (refuse(401, 20_003), "parked", "unauthorized"),
        (refuse(400, 63_016), "parked", "window_closed"),
    ] {
        rig.misbehave(fault);
        let id = rig.send("prêt").await;
        rig.status_is(&id, status).await;
        let shown = rig.app.messages(&rig.vendor).await;
        let message = shown.iter().find(|it| it["id"] == id).unwrap();
        assert_eq!(message["reason"], reason, "{message:#}");
    }
    assert_eq!(rig.twin.n_sends(), 0);
    rig.misbehave(refuse(429, 20_429));
    let id = rig.send("prêt").await;
    rig.status_is(&id, "read").await;
    // It was taken, and refused on the way.
    rig.misbehave(TwilioFault::FailsLater(21_610));
    let id = rig.send("prêt").await;
    rig.status_is(&id, "dead").await;
    assert_eq!(rig.twin.n_sends(), 2);
    // What was too much is sent a little later, once.
    rig.misbehave(TwilioFault::FailsLater(63_018));
    let id = rig.send("prêt").await;
    rig.status_is(&id, "read").await;
    rig.app.settled().await;
    assert_eq!(rig.twin.n_sends(), 4);
}

#[tokio::test]
async fn a_webhook_that_is_forged_is_refused_and_one_that_is_repeated_counts_once() {
    let rig = rig().await;
    rig.misbehave(TwilioFault::WrongSignature);
    assert_eq!(rig.says("horaires ?").await, 401);
    // Signed for another address, and for other fields.
    let form =
        Form::read(b"MessageSid=SM1&SmsStatus=received&From=whatsapp:%2B221705550001&Body=x");
    let elsewhere = sign(&rig.number.auth_token, &format!("{}?a=b", rig.vendor.hook), &form);
    let signed = sign(&rig.number.auth_token, &rig.vendor.hook, &form);
    let tampered = form.body().replace("Body=x", "Body=y");
    for (signature, body) in [(&elsewhere, form.body()), (&signed, tampered)] {
        let headers = [("x-twilio-signature", signature.as_str())];
        let answer = rig.app.post(&rig.vendor.hook, &headers, body.as_bytes()).await;
        assert_eq!(answer.status, 401, "{}", answer.text);
    }
    assert_eq!(rig.app.messages(&rig.vendor).await, Vec::<serde_json::Value>::new());
    rig.misbehave(TwilioFault::DuplicateHooks);
    assert_eq!(rig.says("horaires ?").await, 200);
    rig.twin.wait_sends(1, DEADLINE).await;
    // As it came, once more: Twilio wants TwiML, which says nothing.
    let headers = [("x-twilio-signature", signed.as_str())];
    for _ in 0..2 {
        let answer = rig.app.post(&rig.vendor.hook, &headers, form.body().as_bytes()).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        assert!(answer.text.contains("<Response"), "{}", answer.text);
    }
    rig.twin.wait_sends(2, DEADLINE).await;
    rig.app.settled().await;
    assert_eq!(rig.twin.n_sends(), 2);
}

#[tokio::test]
async fn a_file_of_ours_is_fetched_by_a_link_that_nobody_else_can_make() {
    let rig = open_rig().await;
    let png = [b"\x89PNG\r\n\x1a\n".as_slice(), &[7; 4_000]].concat();
    let id = uploaded(&rig.app, &rig.vendor, "", "image/png", png.clone()).await;
    let image = json!({ "mediaId": id, "caption": "le plan" });
    let body = json!({ "to": CUSTOMER, "type": "image", "image": image });
    let path = format!("/api/v1/vendors/{}/messages", rig.vendor.id);
    assert_eq!(rig.app.admin.post(&path, body.clone()).await.status, 202);
    let sends = rig.twin.wait_sends(1, DEADLINE).await;
    let (mime_type, bytes) = sends[0].file.clone().unwrap();
    assert_eq!((mime_type.as_str(), bytes.as_ref()), ("image/png", &png[..]));
    assert_eq!(sends[0].text, "le plan");
    let url = sends[0].form.get("MediaUrl").unwrap();
    assert!(url.starts_with(&format!("{}/media/", rig.app.base)), "{url}");
    assert!(!url.contains(&id) && !url.contains("vendor_001"), "a link tells nothing");
    let fetch = async |url: &str| rig.app.admin.raw("GET", url, &[], Vec::new()).await;
    assert_eq!(fetch(url).await.bytes, png);
    let last = if url.ends_with('A') { "B" } else { "A" };
    let forged = format!("{}{last}", &url[..url.len() - 1]);
    for url in
        [&forged, &format!("{}/media/{id}", rig.app.base), &format!("{}/media/", rig.app.base)]
    {
        assert_eq!(fetch(url).await.status, 404, "{url}");
    }
    // It is used again while it is good for long enough.
    assert_eq!(rig.app.admin.post(&path, body).await.status, 202);
    let sends = rig.twin.wait_sends(2, DEADLINE).await;
    assert_eq!(sends[1].form.get("MediaUrl"), Some(url));
    rig.app.settled().await;
}

#[tokio::test]
async fn a_file_is_fetched_by_its_link_while_the_vendors_own_calls_have_all_their_seats() {
    let rig = open_rig().await;
    let png = [b"\x89PNG\r\n\x1a\n".as_slice(), &[7; 4_000]].concat();
    let id = uploaded(&rig.app, &rig.vendor, "", "image/png", png.clone()).await;
    let body = json!({ "to": CUSTOMER, "type": "image", "image": { "mediaId": id } });
    let path = format!("/api/v1/vendors/{}", rig.vendor.id);
    assert_eq!(rig.app.admin.post(&format!("{path}/messages"), body).await.status, 202);
    let sends = rig.twin.wait_sends(1, DEADLINE).await;
    let url = sends[0].form.get("MediaUrl").unwrap();
    // Uploads that have begun and do not go on.
    let bearer = rig.app.admin.bearer();
    let begun = format!(
        "POST {path}/media HTTP/1.1\r\nhost: x\r\nauthorization: {bearer}\r\n\
         content-type: image/png\r\ncontent-length: 5000\r\n\r\n"
    );
    let to = rig.app.base.strip_prefix("http://").unwrap();
    // One more each time: asking has a seat too, in which case an upload is refused.
    let mut uploads = Vec::new();
    let started = std::time::Instant::now();
    while rig.app.admin.get(&format!("{path}/media/{id}")).await.status != 503 {
        assert!(started.elapsed() < DEADLINE, "the seats are never taken");
        let mut stream = tokio::net::TcpStream::connect(to).await.unwrap();
        stream.write_all(begun.as_bytes()).await.unwrap();
        uploads.push(stream);
        tokio::time::sleep(std::time::Duration::from_millis(250)).await;
    }
    let fetched = rig.app.admin.raw("GET", url, &[], Vec::new()).await;
    assert_eq!((fetched.status, fetched.bytes), (200, png));
}

#[tokio::test]
async fn a_customers_file_is_kept_and_shown() {
    let rig = rig().await;
    let jpeg = file(FileKind::Image, 70_001);
    let account = &rig.number.account_sid;
    let (twin, awa) = (&rig.twin, customer());
    let answer = twin.customer_sends_file(account, &awa, "image/jpeg", jpeg.clone(), "ici").await;
    assert_eq!(answer.status, 200);
    let messages = rig.app.until(&rig.vendor, |it| it.iter().any(|it| it["type"] == "image")).await;
    let message = messages.iter().find(|it| it["type"] == "image").unwrap();
    assert_eq!(message["text"], "ici");
    let id = message["id"].as_str().unwrap();
    let path = format!("/api/v1/vendors/{}/media/{id}", rig.vendor.id);
    let shown = rig.app.admin.get(&path).await;
    assert_eq!((shown.status, shown.bytes), (200, jpeg));
    assert_eq!(shown.headers["content-type"], "image/jpeg");
    nothing_in_clear(&rig.app);
    rig.app.settled().await;
}

#[tokio::test]
async fn a_gateway_that_was_away_sends_when_twilio_is_back() {
    let rig = open_rig().await;
    rig.misbehave(TwilioFault::Fail { status: 503, accepted: false });
    let id = rig.send("prêt").await;
    let sends = rig.twin.wait_sends(1, DEADLINE).await;
    assert_eq!(sends.len(), 1);
    rig.status_is(&id, "read").await;
    let asked = rig.twin.requests().into_iter().filter(|it| it.status == Some(503)).count();
    assert_eq!(asked, 1);
}

#[tokio::test]
async fn a_number_that_changes_leaves_the_one_at_twilio_and_its_end_is_told() {
    let rig = rig().await;
    let path = format!("/api/admin/vendors/{0}/waba/waba_{0}", rig.vendor.id);
    let changed = rig.app.admin.put(&path, json!({ "phoneNumber": "+221770008888" })).await;
    assert_eq!(changed.status, 200, "{}", changed.text);
    assert_eq!(rig.says("horaires ?").await, 200);
    let sends = rig.twin.wait_sends(1, DEADLINE).await;
    assert_eq!(sends[0].from, format!("whatsapp:{VENDOR}"));
    rig.app.settled_sends().await;
    let deleted = rig.app.admin.delete(&format!("{path}?force=true")).await;
    assert_eq!(deleted.status, 200, "{}", deleted.text);
    assert!(deleted.text.contains("twilio goes on calling"), "{}", deleted.text);
}
