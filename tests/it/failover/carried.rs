//! What the next provider has no form for is turned into what it can carry, or parked with the
//! reason.

use waba_gateway::{
    gateway::SendMessage,
    twin::{
        Customer,
        twilio::{TwilioNumber, TwilioTwin},
        unipile::{Generation, UnipileNumber, UnipileTwin},
    },
};

use super::*;
use crate::{media::sending::uploaded, support::Client};

/// A number at Meta that Meta does not take any message of, with all the others behind it.
pub(super) struct Behind {
    pub(super) shop: Shop,
    pub(super) twilio: TwilioTwin,
    pub(super) sender: TwilioNumber,
    pub(super) unipile: UnipileTwin,
    pub(super) account: UnipileNumber,
}

pub(super) async fn behind() -> Behind {
    let (meta, twilio) = (MetaTwin::start().await.unwrap(), TwilioTwin::start().await.unwrap());
    let unipile = UnipileTwin::start().await.unwrap();
    let clock = Clock::fixed(Clock::System.now());
    let variables = vec![("META_API_URL", meta.api_url()), ("TWILIO_API_URL", twilio.api_url())];
    let options = Options { clock, variables, ..Options::default() };
    let shop = shop_with(options, meta, "meta", "wasender").await;
    let (sender, account) =
        (twilio.add_number("+14155238886"), unipile.add_number(&shop.vendor.phone, Generation::V1));
    let accounts = json!({
        "twilio": { "accountSid": sender.account_sid, "authToken": sender.auth_token,
            "from": sender.phone_number },
        "unipile": { "accountId": account.account_id, "apiKey": account.api_key,
            "dsn": unipile.dsn(Generation::V1) },
    });
    let behind = Behind { shop, twilio, sender, unipile, account };
    behind.change(accounts).await;
    // Of all that it refuses, this says least of Meta itself.
    let refuses = MetaMisbehaviour::Refuse(131_062);
    behind.shop.meta.misbehave(&behind.shop.number.id, refuses, Times::Always);
    let hook = format!("{}/api/webhooks/twilio/{}", behind.shop.app.base, behind.shop.vendor.id);
    behind.twilio.set_webhook(&behind.sender.account_sid, &hook);
    // It opens the window there.
    let (account, customer) = (&behind.sender.account_sid, Customer::new(TO));
    assert_eq!(behind.twilio.customer_says(account, &customer, "merci").await.status, 200);
    behind
}

impl Behind {
    pub(super) async fn change(&self, change: Value) {
        let id = &self.shop.vendor.id;
        let path = format!("/api/admin/vendors/{id}/waba/waba_{id}");
        let changed = self.shop.app.admin.put(&path, change).await;
        assert_eq!(changed.status, 200, "{}", changed.text);
    }

    pub(super) async fn send(&self, content: Value) -> String {
        self.send_to(TO, None, content).await
    }

    async fn send_to(&self, to: &str, reply_to: Option<&str>, content: Value) -> String {
        self.shop.app.clock.advance(MINUTE);
        let message = SendMessage {
            to: to.to_owned(),
            content: serde_json::from_value(content).unwrap(),
            reply_to: reply_to.map(|it| it.parse().unwrap()),
            instance: None,
            provider: None,
            send_at: None,
            idempotency_key: None,
        };
        let queued = self.shop.app.gateway.send_message(&self.shop.vendor.id, message).await;
        queued.unwrap().id.to_string()
    }

    /// What left last through this provider, as far as it tells the forms apart.
    async fn left_through(&self, next: &str, n: usize) -> Value {
        match next {
            "wasender" => {
                let sends = self.shop.app.twin.wait_sends(n, DEADLINE).await;
                let mut body: Value = serde_json::from_slice(&sends[n - 1].body).unwrap();
                body.as_object_mut().unwrap().remove("to");
                body
            }
            "unipile" => json!(self.unipile.wait_sends(n, DEADLINE).await[n - 1].text),
            _ => {
                let form = &self.twilio.wait_sends(n, DEADLINE).await[n - 1].form;
                json!([form.get("Body"), form.get("PersistentAction"), form.get("ContentSid")])
            }
        }
    }
}

/// What a number at Meta may send, and what it is through Wasender, Unipile and Twilio; null is
/// parked as unsupported.
fn table() -> Vec<(Value, [Value; 3])> {
    let text = |it: &str| [json!({ "text": it }), json!(it), json!([it, null, null])];
    let options = json!([{ "id": "a", "title": "Oui" }, { "id": "b", "title": "Non" }]);
    let numbered = "On livre ?\n\n1. Oui\n2. Non";
    let choices = |is_list: bool| {
        json!({ "type": "choices", "text": numbered, "prompt": "On livre ?", "options": options,
            "isList": is_list })
    };
    let template = |text: &str| json!({ "type": "template", "name": "rappel", "language": "fr", "text": text });
    let sid = format!("HX{}", "0".repeat(32));
    let mut both = template("");
    both["contentSid"] = json!(sid);
    let link = "https://maps.google.com/?q=14.7,-17.5";
    let place = json!({ "latitude": 14.7, "longitude": -17.5, "name": "Dakar" });
    let card = json!({ "name": "Awa", "phone": "+221770555009" });
    vec![
        (choices(false), text(numbered)),
        (choices(true), text(numbered)),
        (
            json!({ "type": "location", "latitude": 14.7, "longitude": -17.5, "text": "Dakar" }),
            [
                json!({ "location": place }),
                json!(format!("Dakar\n{link}")),
                json!(["Dakar", "geo:14.7,-17.5|Dakar", null]),
            ],
        ),
        (
            json!({ "type": "contact", "name": "Awa", "phone": "+221770555009" }),
            [
                json!({ "contact": card }),
                json!("Awa: +221770555009"),
                json!(["Awa: +221770555009", null, null]),
            ],
        ),
        (
            json!({ "type": "ctaUrl", "text": "Voir", "label": "Ouvrir", "url": "https://x.example" }),
            text("Voir\n\nOuvrir: https://x.example"),
        ),
        (json!({ "type": "locationRequest", "text": "Où ?" }), text("Où ?")),
        (
            json!({ "type": "poll", "question": "Quand ?", "options": ["lundi", "mardi"] }),
            [
                json!({ "poll": { "question": "Quand ?", "options": ["lundi", "mardi"], "multiSelect": false } }),
                json!("Quand ?\n1. lundi\n2. mardi"),
                json!(["Quand ?\n1. lundi\n2. mardi", null, null]),
            ],
        ),
        (template("Rappel"), text("Rappel")),
        (both, [json!(null), json!(null), json!([null, null, sid])]),
        (template(""), [json!(null), json!(null), json!(null)]),
        (
            json!({ "type": "flow", "text": "RDV", "cta": "Prendre", "id": "42" }),
            [json!(null), json!(null), json!(null)],
        ),
    ]
}

#[tokio::test]
async fn what_the_next_provider_has_no_form_for_is_put_into_one_or_parked() {
    let behind = behind().await;
    let app = &behind.shop.app;
    for (at, next) in ["wasender", "unipile", "twilio"].into_iter().enumerate() {
        behind.change(json!({ "failover": [next] })).await;
        let mut n_left = 0;
        for (message, wants) in table() {
            let id = behind.send(message.clone()).await;
            if wants[at].is_null() {
                let reason = behind.shop.reason(&id, "parked").await;
                assert_eq!(reason, "unsupported", "{next} {message}");
                continue;
            }
            n_left += 1;
            assert_eq!(behind.left_through(next, n_left).await, wants[at], "{next} {message}");
            // Unipile's webhooks lead nowhere; the others' echoes and statuses are known as its own.
            let end = if next == "unipile" { "accepted" } else { "read" };
            status_is(app, &behind.shop.vendor, &id, end).await;
        }
    }
    assert!(behind.shop.meta.sends().is_empty(), "Meta took none");
    let shown = app.messages(&behind.shop.vendor).await;
    assert!(shown.iter().all(|it| it["human"] == false), "{shown:#?}");
}

#[tokio::test]
async fn what_may_be_seen_once_stays_with_nobody_through_another_provider() {
    let behind = behind().await;
    let (shop, app) = (&behind.shop, &behind.shop.app);
    app.twin.misbehave(shop.vendor.session.id, Misbehaviour::KeyRefused, Times::Always);
    let image = json!({ "type": "media", "kind": "image", "caption": "", "viewOnce": true,
        "url": "https://files.example/x.png" });
    for next in ["meta", "unipile", "twilio"] {
        behind.change(json!({ "provider": "wasender", "failover": [next] })).await;
        let id = behind.send(image.clone()).await;
        status_is(app, &shop.vendor, &id, "parked").await;
        // Where it is the first way, it is not even taken.
        behind.change(json!({ "provider": next, "failover": [] })).await;
        let path = format!("/api/v1/vendors/{}/messages", shop.vendor.id);
        let asked = json!({ "to": TO, "type": "image",
            "image": { "url": "https://files.example/x.png", "viewOnce": true } });
        let answer = app.admin.post(&path, asked).await;
        assert_eq!(answer.status, 422, "{next}: {}", answer.text);
        assert!(answer.text.contains("viewOnce"), "{next}: {}", answer.text);
    }
    let n_sent = (shop.meta.sends().len(), behind.unipile.n_sends(), behind.twilio.n_sends());
    assert_eq!(n_sent, (0, 0, 0));
}

#[tokio::test]
async fn a_file_goes_with_its_message_through_the_next_provider() {
    let behind = behind().await;
    let app = &behind.shop.app;
    let png = [b"\x89PNG\r\n\x1a\n".to_vec(), vec![7; 30_001]].concat();
    let id = uploaded(app, &behind.shop.vendor, "", "image/png", png.clone()).await;
    let image = |from: &str, what: &str| json!({ "type": "media", "kind": "image", "caption": "le plan", from: what });
    let (file, link) = (image("upload", &id), image("url", "https://files.example/plan.png"));
    behind.change(json!({ "failover": ["wasender"] })).await;
    behind.send(file.clone()).await;
    let sent = app.twin.wait_sends(1, DEADLINE).await[0].json();
    let there = app.twin.uploaded(sent["imageUrl"].as_str().unwrap()).unwrap();
    assert_eq!((there.bytes.as_ref(), &sent["text"]), (&png[..], &json!("le plan")));
    behind.send(link.clone()).await;
    let sent = app.twin.wait_sends(2, DEADLINE).await[1].json();
    assert_eq!(sent["imageUrl"], "https://files.example/plan.png");
    behind.change(json!({ "failover": ["unipile"] })).await;
    behind.send(file.clone()).await;
    let sent = &behind.unipile.wait_sends(1, DEADLINE).await[0];
    assert_eq!((sent.files[0].bytes.as_ref(), sent.text.as_str()), (&png[..], "le plan"));
    behind.change(json!({ "failover": ["twilio"] })).await;
    behind.send(file).await;
    let form = behind.twilio.wait_sends(1, DEADLINE).await[0].form.clone();
    let (url, client) = (form.get("MediaUrl").unwrap(), Client::new("", ""));
    assert_eq!(client.raw("GET", url, &[], Vec::new()).await.bytes, png, "Twilio can fetch it");
    behind.send(link).await;
    let form = behind.twilio.wait_sends(2, DEADLINE).await[1].form.clone();
    let got = (form.get("MediaUrl"), form.get("Body"));
    assert_eq!(got, (Some("https://files.example/plan.png"), Some("le plan")));
}

#[tokio::test]
async fn what_quotes_or_reacts_goes_on_as_far_as_the_next_provider_knows_the_message() {
    let behind = behind().await;
    let (shop, app) = (&behind.shop, &behind.shop.app);
    let text = |text: &str| json!({ "type": "text", "text": text });
    // It has the first message itself; the customer's came by Meta.
    let first = behind.send(text("un")).await;
    let msg_id = app.twin.wait_sends(1, DEADLINE).await[0].msg_id;
    status_is(app, &shop.vendor, &first, "read").await;
    behind.send_to(TO, Some(&first), text("deux")).await;
    assert_eq!(app.twin.wait_sends(2, DEADLINE).await[1].json()["replyTo"], json!(msg_id));
    let said = app.messages(&shop.vendor).await;
    let theirs = said.iter().rfind(|it| it["inbound"] == true).unwrap()["id"].as_str().unwrap();
    behind.send_to(TO, Some(theirs), text("trois")).await;
    let sent = app.twin.wait_sends(3, DEADLINE).await[2].json();
    assert_eq!((&sent["text"], &sent["replyTo"]), (&json!("trois"), &json!(null)));
    let reaction = json!({ "type": "reaction", "emoji": "👍" });
    let id = behind.send_to(TO, Some(theirs), reaction).await;
    assert_eq!(shop.reason(&id, "parked").await, "unsupported");
}

#[tokio::test]
async fn a_customer_without_a_phone_is_reached_through_whom_can_by_their_id() {
    let (behind, id) = (behind().await, "SN.13491208655302741918");
    let template = json!({ "type": "template", "name": "rappel", "language": "fr",
        "text": "Rappel", "contentSid": format!("HX{}", "0".repeat(32)) });
    for next in ["wasender", "unipile"] {
        behind.change(json!({ "failover": [next] })).await;
        let sent = behind.send_to(id, None, template.clone()).await;
        assert_eq!(behind.shop.reason(&sent, "parked").await, "no_phone", "{next}");
    }
    assert_eq!((behind.unipile.n_sends(), behind.shop.n_sent()), (0, (0, 0)));
    behind.change(json!({ "failover": ["twilio"] })).await;
    let sent = behind.send_to(id, None, template).await;
    status_is(&behind.shop.app, &behind.shop.vendor, &sent, "read").await;
    assert!(behind.twilio.wait_sends(1, DEADLINE).await[0].to.ends_with(id));
}
