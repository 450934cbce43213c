//! What the demo says and prints.

use std::time::{Duration, Instant};

use super::DemoVendor;
use crate::{
    lang::{Language, Words},
    twin::{Customer, Dialect, Sent, Twin},
};

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
    language: Language,
    n_seen: usize,
}

/// What the show says.
#[derive(Debug)]
enum Line<'a> {
    Asks { phone: &'a str, scheme: &'a str, question: &'a str },
    NotAccepted { status: u16 },
    NoAnswer,
    Answered { from: &'a str, ms: f64, text: &'a str },
    WrongNumber { expected: &'a str },
    Serving,
    Webhooks { base: &'a str, id: &'a str },
    Health { base: &'a str },
    AdminKey(&'a str),
    Write { name: &'a str },
    See,
}

impl Line<'_> {
    fn words(&self) -> Words {
        match self {
            Self::Asks { phone, scheme, question } => Words::new(
                format!("customer → {phone} ({scheme}): {question}"),
                format!("client → {phone} ({scheme}) : {question}"),
            ),
            Self::NotAccepted { status } => Words::new(
                format!("  NOT ACCEPTED: the webhook was answered {status}"),
                format!("  REFUSÉ : le webhook a reçu {status}"),
            ),
            Self::NoAnswer => Words::new(
                format!("  NO ANSWER within {} s", DEADLINE.as_secs()),
                format!("  PAS DE RÉPONSE en {} s", DEADLINE.as_secs()),
            ),
            Self::Answered { from, ms, text } => Words::new(
                format!("  {from} answered after {ms:.1} ms: {text}"),
                format!("  {from} a répondu après {} ms : {text}", comma(*ms)),
            ),
            Self::WrongNumber { expected } => Words::new(
                format!("  WRONG NUMBER: expected {expected}"),
                format!("  MAUVAIS NUMÉRO : {expected} était attendu"),
            ),
            Self::Serving => Words::new(
                "Serving until Ctrl-C. Everything is in a temporary directory and goes with it.\n",
                "En service jusqu'à Ctrl-C. Tout est dans un répertoire temporaire et disparaît avec lui.\n",
            ),
            Self::Webhooks { base, id } => Words::new(
                format!("  webhooks   {base}/api/webhooks/wasender/{id}"),
                format!("  webhooks           {base}/api/webhooks/wasender/{id}"),
            ),
            Self::Health { base } => Words::new(
                format!(
                    "  health     {base}/health   {base}/ready   {base}/metrics (needs the key)"
                ),
                format!(
                    "  santé              {base}/health   {base}/ready   {base}/metrics (avec la clé)"
                ),
            ),
            Self::AdminKey(key) => {
                Words::new(format!("  admin key  {key}\n"), format!("  clé d'admin.       {key}\n"))
            }
            Self::Write { name } => Words::new(
                format!("Write to {name} as a customer (paste it as often as you like):\n"),
                format!(
                    "Écrivez à {name} comme le ferait un client (collez ceci autant de fois que vous voulez) :\n"
                ),
            ),
            Self::See => {
                Words::new("See what became of it:\n", "Voyez ce que le message est devenu :\n")
            }
        }
    }

    fn print(&self, language: Language) {
        println!("{}", self.words().of(language));
    }
}

/// A number with one decimal as French writes it.
fn comma(ms: f64) -> String {
    format!("{ms:.1}").replace('.', ",")
}

impl<'a> Show<'a> {
    pub(super) fn new(twin: &'a Twin, language: Language) -> Self {
        Self { twin, language, n_seen: 0 }
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
        let (language, phone) = (self.language, vendor.phone.as_str());
        Line::Asks { phone, scheme, question }.print(language);
        let started = Instant::now();
        let answer = self.twin.customer_says(vendor.session, customer, question).await;
        if !answer.is_ok() {
            Line::NotAccepted { status: answer.status }.print(language);
            return false;
        }
        let sends = self.twin.wait_sends(self.n_seen + 1, DEADLINE).await;
        let Some(sent) = sends.get(self.n_seen) else {
            Line::NoAnswer.print(language);
            return false;
        };
        self.n_seen += 1;
        let ms = sent.at.duration_since(started).as_secs_f64() * 1_000.0;
        Line::Answered { from: &sent.from, ms, text: &sent.text }.print(language);
        let is_right = sent.from == vendor.phone && Some(&sent.to) == customer.phone.as_ref();
        if !is_right {
            Line::WrongNumber { expected: phone }.print(language);
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
pub(super) fn invite(base: &str, admin_key: &str, vendor: &DemoVendor, language: Language) {
    let id = vendor.id.as_str();
    let print = |it: Line<'_>| it.print(language);
    print(Line::Serving);
    print(Line::Webhooks { base, id });
    print(Line::Health { base });
    print(Line::AdminKey(admin_key));
    print(Line::Write { name: &vendor.name });
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
    print(Line::See);
    println!(
        "  curl -sS '{base}/api/admin/vendors/{id}/messages?limit=5' -H 'Authorization: Bearer {admin_key}'"
    );
    println!();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_the_show_is_in_both_languages() {
        for line in [
            Line::Asks { phone: "+1", scheme: "X", question: "?" },
            Line::NotAccepted { status: 503 },
            Line::NoAnswer,
            Line::Answered { from: "+1", ms: 12.34, text: "x" },
            Line::WrongNumber { expected: "+1" },
            Line::Serving,
            Line::Webhooks { base: "http://x", id: "v" },
            Line::Health { base: "http://x" },
            Line::AdminKey("k"),
            Line::Write { name: "x" },
            Line::See,
        ] {
            let words = line.words();
            let (en, fr) = (words.of(Language::En), words.of(Language::Fr));
            assert!(en != fr && !fr.contains(" :"), "{line:?}");
        }
    }
}
