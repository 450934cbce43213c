//! What the demo says and prints.

use std::time::{Duration, Instant};

use super::DemoVendor;
use crate::twin::{Customer, Dialect, Sent, Twin};

/// A reply that takes longer has not arrived.
const DEADLINE: Duration = Duration::from_secs(10);
/// How often the replies to what somebody pastes are looked for.
const WATCH_EVERY: Duration = Duration::from_millis(100);

/// What customers ask, each in one dialect.
const QUESTIONS: [(&str, Dialect); 2] = [
    ("Bonjour, quels sont vos horaires ?", Dialect::Real),
    ("C'est quel prix ?", Dialect::Predecessor),
];

pub(super) struct Show<'a> {
    twin: &'a Twin,
    n_seen: usize,
}

impl<'a> Show<'a> {
    pub(super) fn new(twin: &'a Twin) -> Self {
        Self { twin, n_seen: 0 }
    }

    /// Lets a customer write to each vendor in each dialect. How many got no answer.
    pub(super) async fn run(&mut self, vendors: &[DemoVendor]) -> usize {
        let (mut n_missing, mut n_customer) = (0, 0);
        for vendor in vendors {
            for (question, dialect) in QUESTIONS {
                n_customer += 1;
                let customer = Customer::new(&format!("+2217055500{n_customer:02}"));
                self.twin.change(vendor.session, |it| it.dialect = dialect);
                n_missing += usize::from(!self.ask(vendor, &customer, question, dialect).await);
            }
            self.twin.change(vendor.session, |it| it.dialect = Dialect::Real);
        }
        println!();
        n_missing
    }

    async fn ask(
        &mut self,
        vendor: &DemoVendor,
        customer: &Customer,
        question: &str,
        dialect: Dialect,
    ) -> bool {
        let scheme = match dialect {
            Dialect::Real => "X-Webhook-Signature",
            Dialect::Predecessor => "X-Wasender-Signature",
        };
        println!("customer → {} ({scheme}): {question}", vendor.phone);
        let started = Instant::now();
        let answer = self.twin.customer_says(vendor.session, customer, question).await;
        if !answer.is_ok() {
            println!("  NOT ACCEPTED: the webhook was answered {}", answer.status);
            return false;
        }
        let sends = self.twin.wait_sends(self.n_seen + 1, DEADLINE).await;
        let Some(sent) = sends.get(self.n_seen) else {
            println!("  NO ANSWER within {} s", DEADLINE.as_secs());
            return false;
        };
        self.n_seen += 1;
        let ms = sent.at.duration_since(started).as_secs_f64() * 1_000.0;
        println!("  {} answered after {ms:.1} ms: {}", sent.from, sent.text);
        let is_right = sent.from == vendor.phone && Some(&sent.to) == customer.phone.as_ref();
        if !is_right {
            println!("  WRONG NUMBER: expected {}", vendor.phone);
        }
        is_right
    }

    /// Prints the answers to what somebody pastes, for ever.
    pub(super) async fn watch(&mut self, vendors: &[DemoVendor]) {
        loop {
            let sends = self.twin.sends();
            for sent in sends.iter().skip(self.n_seen) {
                println!("{} {} → {}: {}", name_of(vendors, sent), sent.from, sent.to, sent.text);
            }
            self.n_seen = sends.len();
            tokio::time::sleep(WATCH_EVERY).await;
        }
    }
}

fn name_of<'a>(vendors: &'a [DemoVendor], sent: &Sent) -> &'a str {
    let vendor = vendors.iter().find(|it| it.session == sent.session);
    vendor.map_or("?", |it| it.id.as_str())
}

/// Where to go on by hand.
pub(super) fn invite(base: &str, admin_key: &str, vendor: &DemoVendor) {
    let id = vendor.id.as_str();
    println!("Serving until Ctrl-C. Everything is in a temporary directory and goes with it.");
    println!();
    println!("  webhooks   {base}/api/webhooks/wasender/{id}");
    println!("  health     {base}/health   {base}/ready   {base}/metrics (needs the key)");
    println!("  admin key  {admin_key}");
    println!();
    println!("Write to {} as a customer (paste it as often as you like):", vendor.name);
    println!();
    println!(
        r#"  BODY='{{"event":"message","data":{{"id":"demo-'$(date +%s%N)'","from":"221705550099","type":"text","message":"Vos horaires ?"}}}}'"#
    );
    println!(
        r#"  SIGN=$(printf %s "$BODY" | openssl dgst -sha256 -hmac '{}' -r | cut -d' ' -f1)"#,
        vendor.secret
    );
    println!(
        r#"  curl -sS '{base}/api/webhooks/wasender/{id}' -H 'Content-Type: application/json' -H "X-Wasender-Signature: $SIGN" -d "$BODY""#
    );
    println!();
    println!("See what became of it:");
    println!();
    println!(
        "  curl -sS '{base}/api/admin/vendors/{id}/messages?limit=5' -H 'Authorization: Bearer {admin_key}'"
    );
    println!();
}
