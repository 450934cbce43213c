//! `doctor`: what is wrong with the set-up, and what to do about it.

mod finding;
mod machine;
mod of_vendor;
mod outside;
mod session;
mod shared;
mod vendors;

use std::io::IsTerminal;

use serde_json::{Value, json};

use self::finding::{Finding, Level};
use super::{
    EXIT_FAULT, Ended,
    output::{complain, json, print},
};
use crate::{
    app::Data,
    config::{self, BadConfig, Config},
    domain::id::VendorId,
    gateway::Gateway,
    lang::{Language, Words, count},
};

pub(super) const ABOUT: &str = "\
Find out what is wrong with the set-up, and what to do about it.

It looks at the configuration, the data directory and its disk, the database and its key, the
clock, admin keys, the server, the public base URL, Wasender and its token, Redis, documents that wait
for Firestore, and then at each vendor: its numbers and responders, each session's state, number, webhook, events, secret and key
as Wasender has them, what was refused or proven, silence, and what waits for a person.
It changes nothing. At most 5 requests a second go to Wasender. Of more than 1,000 vendors only
those with a problem are listed.";

pub(super) const AFTER: &str = "\
Examples:
  waba-gateway doctor
  waba-gateway doctor --vendor vendor_001 --lang fr
  waba-gateway doctor --json | jq -r '.findings[] | select(.level==\"fault\") | .message'

Exit codes: 0 no fault (there may be warnings), 1 faults or no such vendor, 2 could not run";

/// What was asked for.
#[derive(clap::Args)]
pub struct Arguments {
    /// Look at one vendor only
    #[arg(long, value_name = "VENDOR")]
    vendor: Option<VendorId>,
    /// en or fr; without it, as the locale of the environment says
    #[arg(long, value_name = "LANGUAGE")]
    lang: Option<Language>,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

/// Everything that was found, in order.
#[derive(Default)]
struct Report {
    findings: Vec<Finding>,
    n_vendors: usize,
    n_levels: [usize; 3],
}

impl Report {
    fn add(&mut self, finding: Finding) {
        self.n_levels[finding.level as usize] += 1;
        self.findings.push(finding);
    }

    /// Counts what is not listed.
    fn count(&mut self, finding: &Finding) {
        self.n_levels[finding.level as usize] += 1;
    }

    fn n(&self, level: Level) -> usize {
        self.n_levels[level as usize]
    }
}

pub(super) async fn run(arguments: &Arguments) -> Ended {
    let language = arguments.lang.unwrap_or_else(config::language);
    let mut report = Report::default();
    let is_told = match Config::from_environment() {
        Ok(config) => {
            report.add(machine::Settings::ConfigFine.finding());
            look(&config, arguments, language, &mut report).await?
        }
        Err(BadConfig(faults)) => {
            faults.into_iter().for_each(|it| report.add(machine::Settings::Config(it).finding()));
            true
        }
    };
    if !is_told {
        return Ok(EXIT_FAULT);
    }
    if arguments.json {
        json(&report.document(language));
    } else {
        print(&report.text(language));
    }
    Ok(if report.n(Level::Fault) > 0 { EXIT_FAULT } else { 0 })
}

/// Whether there is something to tell: a vendor that does not exist has been told already.
async fn look(
    config: &Config,
    arguments: &Arguments,
    language: Language,
    report: &mut Report,
) -> anyhow::Result<bool> {
    machine::look_at_files(config, report);
    let data = machine::open(config, report).await;
    let gateway = data.as_ref().map(|it| it.gateway(config)).transpose()?;
    if let Some(gateway) = &gateway {
        if let Some(vendor) = &arguments.vendor
            && matches!(gateway.store().vendor(vendor).await, Ok(None))
        {
            let told = Words::new(
                format!("there is no vendor {vendor}"),
                format!("il n'y a pas de vendeur {vendor}"),
            );
            complain(told.of(language));
            return Ok(false);
        }
        machine::look_at_data(gateway, report).await?;
    }
    outside::look(config, gateway.as_ref(), report).await?;
    if let Some(gateway) = &gateway {
        shared::look(config, gateway, report).await?;
        look_at_vendors(config, gateway, arguments, report).await?;
    }
    data.into_iter().for_each(Data::close);
    Ok(true)
}

async fn look_at_vendors(
    config: &Config,
    gateway: &Gateway,
    arguments: &Arguments,
    report: &mut Report,
) -> anyhow::Result<()> {
    let is_watched = !arguments.json && std::io::stderr().is_terminal();
    let doctor = vendors::Vendors::new(config, gateway.clone(), is_watched).await?;
    match &arguments.vendor {
        Some(vendor) => doctor.look_at_one(vendor, report).await,
        None => doctor.look_at_all(report).await,
    }
}

impl Report {
    fn document(&self, language: Language) -> Value {
        let findings: Vec<Value> = self.findings.iter().map(|it| it.document(language)).collect();
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "healthy": self.n(Level::Fault) == 0,
            "faults": self.n(Level::Fault),
            "warnings": self.n(Level::Warning),
            "ok": self.n(Level::Ok),
            "vendors": self.n_vendors,
            "findings": findings,
        })
    }

    fn text(&self, language: Language) -> String {
        let mut lines = Vec::new();
        let gateway = Words::new("The gateway", "La passerelle");
        let mut of = None;
        for (at, finding) in self.findings.iter().enumerate() {
            if at == 0 || finding.vendor.as_ref() != of {
                of = finding.vendor.as_ref();
                let head = of.map_or_else(|| gateway.of(language), VendorId::as_str);
                lines.extend((at > 0).then(String::new));
                lines.push(head.to_owned());
            }
            lines.extend(finding.lines(language));
        }
        let n = |it: usize| i64::try_from(it).unwrap_or(i64::MAX);
        let [ok, warnings, faults] = self.n_levels.map(n);
        let sum = [
            count(faults, ["fault", "faults"], ["défaut", "défauts"]),
            count(warnings, ["warning", "warnings"], ["avertissement", "avertissements"]),
            Words::new(format!("{ok} ok"), format!("{ok} en ordre")),
            count(n(self.n_vendors), ["vendor", "vendors"], ["vendeur", "vendeurs"]),
        ];
        let sum: Vec<&str> = sum.iter().map(|it| it.of(language)).collect();
        lines.push(format!("\n{}\n", sum.join(", ")));
        lines.join("\n")
    }
}

/// Holds that a finding has two texts, and that French has its no-break spaces.
#[cfg(test)]
fn check_languages(finding: &Finding) {
    let all = std::iter::once(&finding.what).chain(&finding.next);
    let (mut n_different, mut texts) = (0, 0);
    for words in all {
        let (en, fr) = (words.of(Language::En), words.of(Language::Fr));
        assert!(!en.is_empty() && !fr.is_empty(), "{finding:?}");
        for mark in [" :", " ;", " ?", " !", "« ", " »"] {
            assert!(en == fr || !fr.contains(mark), "{fr}");
        }
        texts += 1;
        n_different += usize::from(en != fr);
    }
    // A command is the same in every language, a sentence is not.
    let is_same = |it: &&Words| it.of(Language::En) == it.of(Language::Fr);
    let commands = finding.next.iter().filter(is_same);
    assert!(finding.what.of(Language::En) != finding.what.of(Language::Fr), "{finding:?}");
    for it in commands.clone() {
        let text = it.of(Language::En);
        let is_command = ["waba-gateway", "curl", "chmod"].iter().any(|it| text.starts_with(it));
        assert!(is_command, "{text}");
    }
    assert_eq!(n_different + commands.count(), texts);
}
