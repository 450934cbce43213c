//! `vendor test`: a message on its whole way, as a customer's would go.

mod copy;
mod follow;
mod post;

use std::time::Duration;

use serde_json::{Value, json};

use self::{copy::Copied, follow::Followed, post::Scheme};
use super::{
    EXIT_FAULT, Ended,
    opened::Opened,
    output::{complain, json, line},
    why::Hints,
};
use crate::{
    app, config,
    domain::{
        id::VendorId,
        phone::PhoneNumber,
        secret::SecretString,
        vendor::Vendor,
        waba::{SignatureSchemes, WabaInstance},
    },
    gateway::{Gateway, webhook_url},
    http::Http,
    lang::{Language, Words},
};

pub(super) const ABOUT: &str = "\
Write to the vendor as a customer would, and follow the answer.

A signed message goes to the vendor's webhook route under APP_BASE_URL in both dialects
(X-Webhook-Signature and X-Wasender-Signature), so proxy, signature, responder and session are
all tried. Each step is printed as it happens, until the answer is settled.

The message is from the vendor's own number unless --from says otherwise: the answer is really
sent, and so it goes to the vendor itself and to nobody else. Three equal answers to one number
within an hour look like two bots talking and pause that conversation.

With --twin nothing leaves this machine: a copy of the vendor, in a temporary directory, talks to
a simulated Wasender. Responders elsewhere are not asked then; a fixed text stands for them.";

pub(super) const AFTER: &str = "\
Examples:
  waba-gateway vendor test vendor_001
  waba-gateway vendor test vendor_001 --from '+221 70 555 00 01' --text 'Vos horaires ?'
  waba-gateway vendor test vendor_001 --twin --json

Exit codes: 0 answered in every dialect the number accepts, 1 not answered, 2 could not run";

/// What was asked for.
#[derive(clap::Args)]
pub struct Arguments {
    /// The vendor's id
    vendor: VendorId,
    /// Who writes; without it, the vendor's own number
    #[arg(long, value_name = "NUMBER")]
    from: Option<String>,
    /// What is written
    #[arg(long)]
    text: Option<String>,
    /// Against a simulated Wasender: nothing leaves this machine
    #[arg(long)]
    twin: bool,
    /// How long to wait for each answer
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    wait: u64,
    /// en or fr; without it, as the locale of the environment says
    #[arg(long, value_name = "LANGUAGE")]
    lang: Option<Language>,
    /// Print one JSON document at the end
    #[arg(long)]
    json: bool,
}

/// What is tried.
struct Trial {
    gateway: Gateway,
    http: Http,
    vendor: VendorId,
    hook: url::Url,
    secret: SecretString,
    schemes: SignatureSchemes,
    session: String,
    from: PhoneNumber,
    text: String,
    wait: Duration,
    language: Language,
    is_quiet: bool,
    hints: Hints,
}

pub(super) async fn run(arguments: &Arguments) -> Ended {
    let opened = Opened::to_read().await?;
    let Some(vendor) = opened.vendor(&arguments.vendor).await? else { return Ok(EXIT_FAULT) };
    let numbers = opened.gateway.instances(&vendor.id).await?;
    let Some(number) = numbers.into_iter().next() else {
        complain(&format!("{} has no number; POST …/waba-instances makes one", vendor.id));
        return Ok(EXIT_FAULT);
    };
    if arguments.twin {
        let copied = Copied::start(&opened.config, &vendor, &number).await?;
        opened.close();
        let (gateway, base) = (copied.app.gateway.clone(), copied.base.clone());
        for note in &copied.notes {
            complain(note.of(arguments.language()));
        }
        let number = copied.number.clone();
        let trial = arguments.trial(gateway, &base, &copied.config, &vendor, &number)?;
        let ended = match trial {
            Some(trial) => trial.run(arguments).await,
            None => Ok(EXIT_FAULT),
        };
        copied.stop().await;
        return ended;
    }
    let base = opened.config.base_url.clone();
    let trial = arguments.trial(opened.gateway.clone(), &base, &opened.config, &vendor, &number)?;
    let ended = match trial {
        Some(trial) => trial.run(arguments).await,
        None => Ok(EXIT_FAULT),
    };
    opened.close();
    ended
}

impl Arguments {
    fn language(&self) -> Language {
        self.lang.unwrap_or_else(config::language)
    }

    fn trial(
        &self,
        gateway: Gateway,
        base: &url::Url,
        config: &config::Config,
        vendor: &Vendor,
        number: &WabaInstance,
    ) -> anyhow::Result<Option<Trial>> {
        let language = self.language();
        let now = gateway.clock().now();
        let Some(secret) = number.wasender.secrets_at(now).next().cloned() else {
            let told = Words::new(
                format!("{} has no webhook secret yet: set its webhook up first", number.id),
                format!(
                    "{} n'a pas encore de secret de webhook : configurez d'abord son webhook",
                    number.id
                ),
            );
            complain(told.of(language));
            complain(&Hints::of(config).curl("POST", &vendor.id, "setup-wasender-webhook", ""));
            return Ok(None);
        };
        let from = match &self.from {
            Some(text) => PhoneNumber::from_person(text, Some(&number.phone_number))
                .map_err(|it| anyhow::anyhow!("--from: {it}"))?,
            None => number.phone_number.clone(),
        };
        let text = Words::new("Hello, this is a test.", "Bonjour, ceci est un test.");
        Ok(Some(Trial {
            http: app::http(config)?,
            hook: webhook_url(base, &vendor.id),
            vendor: vendor.id.clone(),
            secret,
            schemes: number.schemes,
            session: number.wasender.instance_id.clone().unwrap_or_default(),
            from,
            text: self.text.clone().unwrap_or_else(|| text.of(language).to_owned()),
            wait: Duration::from_secs(self.wait),
            language,
            is_quiet: self.json,
            hints: Hints::of(config),
            gateway,
        }))
    }
}

impl Trial {
    async fn run(&self, arguments: &Arguments) -> Ended {
        let mut followed = Vec::new();
        for scheme in [Scheme::Secret, Scheme::Hmac] {
            if !scheme.is_accepted(self.schemes) {
                let header = scheme.header();
                self.say(&Words::new(
                    format!(
                        "{header}: not tried, this number does not accept it (signatureSchemes)"
                    ),
                    format!("{header} : non essayé, ce numéro ne l'accepte pas (signatureSchemes)"),
                ));
                continue;
            }
            followed.push(self.try_one(scheme).await?);
        }
        let is_answered = !followed.is_empty() && followed.iter().all(|it| it.is_answered);
        if arguments.json {
            let messages: Vec<Value> = followed.iter().map(Followed::document).collect();
            json(&json!({
                "vendorId": self.vendor,
                "webhookUrl": self.hook.as_str(),
                "twin": arguments.twin,
                "answered": is_answered,
                "messages": messages,
            }));
        }
        Ok(if is_answered { 0 } else { EXIT_FAULT })
    }

    /// Prints a sentence, unless a document is wanted.
    fn say(&self, words: &Words) {
        self.say_line(words.of(self.language));
    }

    fn say_line(&self, text: &str) {
        if !self.is_quiet {
            line(text);
        }
    }
}
