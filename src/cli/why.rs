//! `why`: a message's way, in words.

mod explain;
mod steps;
#[cfg(test)]
mod tests;
mod ways;

use serde_json::{Value, json};

pub(super) use self::steps::{words as step_words, worth_telling};
use self::{
    explain::{Case, Explained},
    ways::Way,
};
use super::{
    EXIT_FAULT, Ended,
    opened::Opened,
    output::{complain, json, print},
    serving::{self, Server},
};
use crate::{
    app, config,
    config::Config,
    domain::{
        clock::iso,
        id::{EntryId, VendorId},
    },
    journal::{Journey, MessageRow},
    lang::{Language, Words},
};

pub(super) const ABOUT: &str = "\
Explain why a message was or was not answered, or where a send stands.

MESSAGE is the id that the API, a webhook's answer (processId) and the logs have: msg_ and 16
hexadecimal digits. Of a send that is not through it names the ways out of its number: which is passed
over, since when and why. Neither the text nor a phone number is shown.";

pub(super) const AFTER: &str = "\
Examples:
  waba-gateway why msg_1980a2b3c4d00000
  waba-gateway why msg_1980a2b3c4d00000 --lang fr

Exit codes: 0 explained, 1 no such message, 2 could not run";

/// What was asked for.
#[derive(clap::Args)]
pub struct Arguments {
    /// The message's id
    message: EntryId,
    /// en or fr; without it, as the locale of the environment says
    #[arg(long, value_name = "LANGUAGE")]
    lang: Option<Language>,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(arguments: &Arguments) -> Ended {
    let language = arguments.lang.unwrap_or_else(config::language);
    let opened = Opened::to_read().await?;
    let gateway = &opened.gateway;
    let id = arguments.message;
    let Some(vendor) = gateway.journal().vendor_of(id).await? else {
        let told = Words::new(
            format!("there is no message {id}"),
            format!("il n'y a pas de message {id}"),
        );
        complain(told.of(language));
        return Ok(EXIT_FAULT);
    };
    let http = app::http(&opened.config)?;
    let is_serving = serving::is_ready(&http, &serving::local(&opened.config)).await.is_some();
    let server = if is_serving { Server::of(&opened.config)? } else { None };
    let asked = Asked { id, vendor, is_serving, server, hints: Hints::of(&opened.config) };
    let told = Told::of(gateway, asked).await?;
    opened.close();
    if arguments.json {
        json(&told.document(language));
    } else {
        print(&told.text(language));
    }
    Ok(0)
}

/// How to call the administration from a shell.
#[derive(Clone)]
pub(super) struct Hints {
    /// The base of admin routes.
    api: String,
    /// Where the key is.
    key: String,
}

impl Hints {
    pub(super) fn of(config: &Config) -> Self {
        let file = config.data_dir.join("admin.key");
        let key = if config.admin_key.is_some() {
            "$ADMIN_API_KEY".to_owned()
        } else {
            format!("$(cat {})", file.display())
        };
        Self { api: format!("{}/api/admin", serving::local(config)), key }
    }

    /// A command that calls a route below `/api/admin/vendors/<vendor>`.
    pub(super) fn curl(&self, method: &str, vendor: &VendorId, path: &str, body: &str) -> String {
        let Self { api, key } = self;
        let body = if body.is_empty() {
            String::new()
        } else {
            format!(" -H 'Content-Type: application/json' -d '{body}'")
        };
        let path = if path.is_empty() { String::new() } else { format!("/{path}") };
        format!(
            "curl -sS -X {method} {api}/vendors/{vendor}{path} -H \"Authorization: Bearer {key}\"{body}"
        )
    }
}

/// What is asked.
pub(super) struct Asked {
    pub(super) id: EntryId,
    pub(super) vendor: VendorId,
    pub(super) is_serving: bool,
    /// Knows which ways out are down.
    pub(super) server: Option<Server>,
    pub(super) hints: Hints,
}

/// A message's way, explained.
pub(super) struct Told {
    vendor: VendorId,
    journey: Journey,
    explained: Explained,
    answers: Vec<(Journey, Explained)>,
    /// Of its number, where they say something of it.
    ways: Vec<Way>,
}

impl Told {
    /// Explains a message of a vendor, and the answers to it.
    pub(super) async fn of(
        gateway: &crate::gateway::Gateway,
        asked: Asked,
    ) -> anyhow::Result<Self> {
        let Asked { id, vendor: vendor_id, is_serving, server, hints } = asked;
        let vendor = gateway.vendor(&vendor_id).await?;
        let journey = gateway.journey(&vendor_id, id).await?;
        let now = gateway.clock().now();
        let pause = match journey.row.contact {
            Some(contact) => gateway.journal().pause_of(contact).await?,
            None => None,
        };
        let explain = |journey: &Journey| {
            let (vendor, pause) = (&vendor, pause.as_ref());
            let case = Case { journey, vendor, pause, now, is_serving, hints: &hints };
            explain::explain(&case)
        };
        let explained = explain(&journey);
        let mut answers = Vec::new();
        for answer in &journey.answers {
            let journey = gateway.journey(&vendor_id, answer.id).await?;
            let explained = explain(&journey);
            answers.push((journey, explained));
        }
        let all = std::iter::once(&journey).chain(answers.iter().map(|it| &it.0));
        let ways = if all.into_iter().any(ways::concern) {
            ways::of(gateway, server.as_ref(), &vendor_id, &journey.row.instance).await?
        } else {
            Vec::new()
        };
        Ok(Self { vendor: vendor_id, journey, explained, answers, ways })
    }

    fn text(&self, language: Language) -> String {
        let mut lines = vec![head(&self.journey.row, &self.vendor, language)];
        lines.extend(told(&self.journey, &self.explained, language));
        for (journey, explained) in &self.answers {
            lines.push(String::new());
            lines.push(head(&journey.row, &self.vendor, language));
            lines.extend(told(journey, explained, language));
        }
        let (n, ways) = (self.ways.len(), self.ways.iter().enumerate());
        lines.extend(ways.map(|(at, it)| format!("  {}", it.words(at, n).of(language))));
        lines.join("\n") + "\n"
    }

    fn document(&self, language: Language) -> Value {
        let mut document = shown(&self.journey, &self.explained, language);
        document["vendorId"] = json!(self.vendor);
        let answers = self.answers.iter().map(|it| shown(&it.0, &it.1, language));
        document["answers"] = answers.collect();
        document["ways"] = ways::document(&self.ways);
        document
    }

    /// The sentences alone, those of the answers too.
    pub(super) fn sentences(&self, language: Language) -> Vec<String> {
        let answers = self.answers.iter().map(|it| &it.1);
        let all = std::iter::once(&self.explained).chain(answers);
        all.flat_map(|it| sentences(it, language)).collect()
    }
}

fn head(row: &MessageRow, vendor: &VendorId, language: Language) -> String {
    let direction = match (row.is_inbound, row.by_human) {
        (true, _) => Words::new("from a customer", "d'un client"),
        (false, true) => Words::new("typed on the phone", "tapé sur le téléphone"),
        (false, false) => Words::new("to a customer", "à un client"),
    };
    let (id, kind, at) = (row.id, &row.kind, iso(row.id.ms()));
    format!("{id}  {vendor}  {} ({kind})  {at}", direction.of(language))
}

fn told(journey: &Journey, explained: &Explained, language: Language) -> Vec<String> {
    let steps = worth_telling(&journey.steps).into_iter().map(|(at, step)| {
        let time = iso(at);
        let time = time.get(11..23).unwrap_or(&time);
        format!("  {time}  {}", steps::words(step).of(language))
    });
    let sentences = sentences(explained, language).into_iter().map(|it| format!("  {it}"));
    steps.chain(sentences).collect()
}

fn sentences(explained: &Explained, language: Language) -> Vec<String> {
    let what = explained.what.iter().map(|it| it.of(language).to_owned());
    let next = explained.next.iter().map(|it| format!("→ {}", it.of(language)));
    what.chain(next).collect()
}

fn shown(journey: &Journey, explained: &Explained, language: Language) -> Value {
    let row = &journey.row;
    let texts =
        |it: &[Words]| -> Vec<String> { it.iter().map(|it| it.of(language).to_owned()).collect() };
    let step = |it: &(i64, String)| json!({ "at": iso(it.0), "step": it.1 });
    json!({
        "messageId": row.id.to_string(),
        "direction": if row.is_inbound { "inbound" } else { "outbound" },
        "type": row.kind,
        "status": row.status,
        "reason": row.reason,
        "attempts": journey.attempts,
        "steps": journey.steps.iter().map(step).collect::<Vec<_>>(),
        "explanation": texts(&explained.what),
        "next": texts(&explained.next),
    })
}
