//! What the next provider has no form for is turned into what it can carry, or parked with the
//! reason.

use waba_gateway::{
    gateway::SendMessage,
    twin::{
        Customer,
        twilio::{TwilioNumber, TwilioTwin},
        unipile::{Generation, UnipileTwin},
    },
};

use super::*;

/// A number at Meta that Meta does not take any message of, with all the others behind it.
struct Behind {
    shop: Shop,
    twilio: TwilioTwin,
    sender: TwilioNumber,
    unipile: UnipileTwin,
}

async fn behind() -> Behind {
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
    let behind = Behind { shop, twilio, sender, unipile };
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
    async fn change(&self, change: Value) {
        let id = &self.shop.vendor.id;
        let path = format!("/api/admin/vendors/{id}/waba/waba_{id}");
        let changed = self.shop.app.admin.put(&path, change).await;
        assert_eq!(changed.status, 200, "{}", changed.text);
    }

    async fn send(&self, content: Value) -> String {
        self.shop.app.clock.advance(MINUTE);
        let message = SendMessage {
            to: TO.to_owned(),
            content: serde_json::from_value(content).unwrap(),
            reply_to: None,
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
