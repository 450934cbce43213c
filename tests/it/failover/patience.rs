//! What is only too much for a provider waits there before it leaves another way.

use waba_gateway::domain::clock::SECOND;

use super::*;

/// A number at Meta first, on a clock that the test moves.
async fn patient() -> Shop {
    let (clock, meta) = (Clock::fixed(Clock::System.now()), MetaTwin::start().await.unwrap());
    let shop = shop_on(clock, meta.api_url(), meta, "meta", "wasender").await;
    shop.app.clock.advance(MINUTE);
    shop
}

impl Shop {
    /// A template to this customer, who need not have written; its id.
    async fn send_template(&self, to: &str) -> String {
        let template = json!({ "name": "note", "language": "fr", "text": "note" });
        let body = json!({ "to": to, "type": "template", "template": template });
        let path = format!("/api/v1/vendors/{}/messages", self.vendor.id);
        let taken = self.app.admin.post(&path, body).await;
        assert_eq!(taken.status, 202, "{}", taken.text);
        taken.json()["messageId"].as_str().unwrap().to_owned()
    }

    /// Waits until this attempt has come to nothing.
    async fn waits_after(&self, id: &str, attempts: u64) {
        let started = std::time::Instant::now();
        loop {
            let it = self.journey(id).await;
            if it["attempts"] == attempts && it["status"] == "queued" {
                return;
            }
            assert!(started.elapsed() < DEADLINE, "{it:#}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

#[tokio::test]
async fn what_is_too_much_for_meta_waits_there_however_it_is_told() {
    for how in [
        // A minute of maintenance.
        MetaMisbehaviour::Refuse(131_057),
        MetaMisbehaviour::FailsLater(131_057),
        MetaMisbehaviour::FailsLater(130_429),
        MetaMisbehaviour::FailsLater(131_056),
    ] {
        let shop = patient().await;
        shop.meta.misbehave(&shop.number.id, how.clone(), Times::Once);
        let (_, before) = shop.n_sent();
        let is_taken = matches!(how, MetaMisbehaviour::FailsLater(_));
        let id = send(&shop.app, &shop.vendor, TO, "bonjour").await;
        shop.waits_after(&id, 1).await;
        shop.app.clock.advance(20 * SECOND);
        shop.meta.wait_sends(before + 1 + usize::from(is_taken), DEADLINE).await;
        status_is(&shop.app, &shop.vendor, &id, "read").await;
        shop.app.settled().await;
        let n_sent = (0, before + 1 + usize::from(is_taken));
        assert_eq!((shop.n_sent(), &shop.journey(&id).await["attempts"]), (n_sent, &json!(2)));
    }
}

#[tokio::test]
async fn what_stays_too_much_leaves_another_way_but_not_to_whom_too_much_was_sent() {
    for (code, goes_on) in [(130_429, true), (131_056, false)] {
        let shop = patient().await;
        let always = MetaMisbehaviour::FailsLater(code);
        shop.meta.misbehave(&shop.number.id, always, Times::Always);
        let id = send(&shop.app, &shop.vendor, TO, "bonjour").await;
        for attempts in 1..3 {
            shop.waits_after(&id, attempts).await;
            shop.app.clock.advance(20 * SECOND);
        }
        if goes_on {
            let sends = shop.app.twin.wait_sends(1, DEADLINE).await;
            assert_eq!(sends[0].text, "bonjour");
            status_is(&shop.app, &shop.vendor, &id, "read").await;
        } else {
            shop.waits_after(&id, 3).await;
            assert_eq!(shop.n_sent().0, 0);
        }
    }
}

#[tokio::test]
async fn what_ends_patience_leaves_at_once_and_no_other_conversation_waits_for_it() {
    let (clock, meta) = (Clock::fixed(Clock::System.now()), MetaTwin::start().await.unwrap());
    let shop = shop_on(clock, meta.api_url(), meta, "wasender", "meta").await;
    shop.app.clock.advance(MINUTE);
    let too_many = Misbehaviour::TooMany { retry_after: 5 };
    shop.app.twin.misbehave(shop.vendor.session.id, too_many, Times::Always);
    let (_, before) = shop.n_sent();
    let first = send(&shop.app, &shop.vendor, TO, "un").await;
    shop.waits_after(&first, 1).await;
    // It waits with the number, and is refused when the first one is for the second time.
    let second = shop.send_template("+221705550002").await;
    shop.app.clock.advance(5 * SECOND);
    shop.waits_after(&first, 2).await;
    shop.waits_after(&second, 1).await;
    shop.app.clock.advance(5 * SECOND);
    // The clock stands still.
    shop.leaves_through_meta(before, "un").await;
    let third = shop.send_template("+221705550003").await;
    status_is(&shop.app, &shop.vendor, &third, "read").await;
    assert_eq!(shop.journey(&third).await["attempts"], 1, "Wasender is passed over");
    shop.waits_after(&second, 2).await;
    // In the end it leaves as well. Each way has its pace, so time must go on for that.
    let started = std::time::Instant::now();
    while shop.journey(&second).await["status"] != "read" {
        assert!(started.elapsed() < DEADLINE, "{:#}", shop.journey(&second).await);
        shop.app.clock.advance(SECOND);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(shop.n_sent(), (0, before + 3));
}
