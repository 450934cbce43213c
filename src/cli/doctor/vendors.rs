//! The vendors, one after another.

use std::{collections::BTreeMap, time::Duration};

use futures_util::StreamExt;
use tokio::sync::Mutex;

use super::{
    Finding, Report,
    finding::Level,
    session::{OfSession, SetUpCommand, compare},
};
use crate::{
    cli::{ago, ago::span, output::complain, why::Hints},
    config::Config,
    domain::{
        alert::{HABIT_DAYS, Silence, Vitals, hour_of, silence},
        clock::Millis,
        id::VendorId,
        vendor::{Vendor, VendorStatus},
        waba::{ProviderKind, WabaInstance},
    },
    gateway::{Gateway, webhook_url},
    journal::{Backlog, Signs},
    lang::Language::{En, Fr},
};

/// Vendors looked at side by side.
const AT_ONCE: usize = 4;
/// Between two requests to Wasender.
const PACE: Duration = Duration::from_millis(200);
/// Vendors read at once.
const PAGE: usize = 200;
/// Of more vendors than this only those with a problem are listed.
const ALL_LISTED_MAX: usize = 1_000;
/// How often somebody who waits is told how far it has got.
const TOLD_EVERY: usize = 100;

/// What was found of one vendor.
#[derive(Debug)]
pub(super) enum OfVendor {
    NotActive(&'static str),
    AutoReplyOff,
    Paused,
    NoNumber,
    ClaimedTwice(String),
    NoResponder,
    Proven(Millis),
    NeverProven,
    Refused { since: Millis, n: i64 },
    RefusedBefore { at: Millis, n: i64 },
    Silent { since: Millis, expected: i64 },
    Parked { n: i64, reasons: String },
    Fenced(i64),
    ForwardsDead(i64),
}

impl OfVendor {
    fn finding(&self, id: &VendorId, now: Millis, hints: &Hints) -> Finding {
        match self {
            Self::NotActive(_)
            | Self::AutoReplyOff
            | Self::Paused
            | Self::NoNumber
            | Self::ClaimedTwice(_)
            | Self::NoResponder => self.settings(id, hints),
            Self::Proven(_)
            | Self::NeverProven
            | Self::Refused { .. }
            | Self::RefusedBefore { .. }
            | Self::Silent { .. }
            | Self::Parked { .. }
            | Self::Fenced(_)
            | Self::ForwardsDead(_) => self.heard(id, now, hints),
        }
    }

    fn settings(&self, id: &VendorId, hints: &Hints) -> Finding {
        const CHECK: &str = "vendor";
        match self {
            Self::NotActive(status) => Finding::warning(
                CHECK,
                format!("it is {status}: its messages are recorded, never answered"),
                format!("il est {status} : ses messages sont enregistrés, sans réponse"),
            )
            .command(hints.curl("PUT", id, "", r#"{"status":"active"}"#)),
            Self::AutoReplyOff => Finding::warning(
                CHECK,
                "its automatic replies are off",
                "ses réponses automatiques sont coupées",
            )
            .command(hints.curl("PUT", id, "", r#"{"autoReplyEnabled":true}"#)),
            Self::Paused => Finding::warning(
                CHECK,
                "its sends are paused",
                "ses envois sont en pause",
            )
            .command(format!("waba-gateway vendor resume {id}")),
            Self::NoNumber => Finding::fault(CHECK, "it has no number", "il n'a pas de numéro")
                .command(hints.curl(
                    "POST",
                    id,
                    "waba-instances",
                    r#"{"phoneNumber":"+…","wasenderInstanceId":"…"}"#,
                )),
            Self::ClaimedTwice(number) => Finding::fault(
                "claims",
                format!("{number}: another vendor has the same phone number or Wasender session; by it neither is found"),
                format!("{number} : un autre vendeur a le même numéro ou la même session Wasender ; aucun des deux n'est trouvé par là"),
            )
            .then("take it away from one of the two", "retirez-le de l'un des deux"),
            _ => Finding::warning(
                "responder",
                "nobody answers for it: it has no responder, and RESPONSE_API_URL is not set",
                "personne ne répond pour lui : il n'a pas de répondeur, et RESPONSE_API_URL n'est pas renseigné",
            )
            .command(hints.curl(
                "PUT",
                id,
                "",
                r#"{"responders":[{"kind":"rules","otherwise":"Merci !"}]}"#,
            )),
        }
    }

    fn heard(&self, id: &VendorId, now: Millis, hints: &Hints) -> Finding {
        const CHECK: &str = "webhooks";
        match self {
            Self::Proven(at) => {
                let ago = ago::ago(*at, now);
                Finding::ok(
                    CHECK,
                    format!("a webhook was proven {}", ago.of(En)),
                    format!("un webhook prouvé {}", ago.of(Fr)),
                )
            }
            Self::NeverProven => Finding::warning(
                CHECK,
                "no webhook of it was ever proven",
                "aucun de ses webhooks n'a jamais été prouvé",
            )
            .command(format!("waba-gateway vendor test {id}")),
            Self::Refused { since, n } => {
                let since = span(now - since);
                Finding::fault(
                    CHECK,
                    format!("its webhooks are refused for {} and none is proven ({n} refused in all)", since.of(En)),
                    format!("ses webhooks sont refusés depuis {} et aucun n'est prouvé ({n} refusés en tout)", since.of(Fr)),
                )
                .command(hints.curl("POST", id, "setup-wasender-webhook", ""))
            }
            Self::RefusedBefore { at, n } => {
                let ago = ago::ago(*at, now);
                Finding::ok(
                    CHECK,
                    format!("{n} refused in all, the last {}", ago.of(En)),
                    format!("{n} refusés en tout, le dernier {}", ago.of(Fr)),
                )
            }
            Self::Silent { since, expected } => {
                let since = span(now - since);
                Finding::fault(
                    "silence",
                    format!("no message for {}, where about {expected} are usual", since.of(En)),
                    format!(
                        "aucun message depuis {}, alors qu'environ {expected} sont habituels",
                        since.of(Fr)
                    ),
                )
                .command(format!("waba-gateway vendor test {id}"))
            }
            Self::Parked { n, reasons } => Finding::warning(
                "parked",
                format!("{n} messages wait for a person ({reasons})"),
                format!("{n} messages attendent quelqu'un ({reasons})"),
            )
            .command(hints.curl("GET", id, "messages?limit=50", "")),
            Self::Fenced(n) => Finding::warning(
                "fenced",
                format!("{n} sends have an outcome that is not known yet"),
                format!("{n} envois ont un sort encore inconnu"),
            )
            .then(
                "wait: they are settled within minutes",
                "attendez : ils seront réglés en quelques minutes",
            ),
            _ => {
                let n = if let Self::ForwardsDead(n) = self { *n } else { 0 };
                Finding::warning(
                    "forwards",
                    format!("{n} events could not be forwarded to its back end"),
                    format!("{n} événements n'ont pas pu être transmis à son serveur"),
                )
                .then(
                    "see whether its forwardUrl answers, then replay them",
                    "vérifiez que son forwardUrl répond, puis rejouez-les",
                )
            }
        }
    }
}

/// Looks at vendors.
pub(super) struct Vendors {
    gateway: Gateway,
    hints: Hints,
    base: url::Url,
    has_responder_for_all: bool,
    is_watched: bool,
    turn: Mutex<tokio::time::Interval>,
    now: Millis,
}

impl Vendors {
    pub(super) async fn new(
        config: &Config,
        gateway: Gateway,
        is_watched: bool,
    ) -> anyhow::Result<Self> {
        let mut turn = tokio::time::interval(PACE);
        turn.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        turn.tick().await;
        Ok(Self {
            now: gateway.clock().now(),
            hints: Hints::of(config),
            base: config.base_url.clone(),
            has_responder_for_all: config.response_api.is_some(),
            turn: Mutex::new(turn),
            gateway,
            is_watched,
        })
    }

    pub(super) async fn look_at_one(
        &self,
        id: &VendorId,
        report: &mut Report,
    ) -> anyhow::Result<()> {
        let vendor = self.gateway.vendor(id).await?;
        let findings = self.look_at(&vendor).await?;
        report.n_vendors = 1;
        findings.into_iter().for_each(|it| report.add(it));
        Ok(())
    }

    pub(super) async fn look_at_all(&self, report: &mut Report) -> anyhow::Result<()> {
        let mut after = None;
        let first = self.gateway.vendors(None, ALL_LISTED_MAX + 1).await?;
        let lists_all = first.len() <= ALL_LISTED_MAX;
        drop(first);
        loop {
            let page = self.gateway.vendors(after.as_ref(), PAGE).await?;
            let looks = page.iter().map(|it| self.look_at(it));
            let mut looks = futures_util::stream::iter(looks).buffered(AT_ONCE);
            while let Some(findings) = looks.next().await {
                report.n_vendors += 1;
                if self.is_watched && report.n_vendors % TOLD_EVERY == 0 {
                    complain(&format!("… {}", report.n_vendors));
                }
                let findings = findings?;
                let is_listed = lists_all || findings.iter().any(|it| it.level > Level::Ok);
                for finding in findings {
                    if is_listed { report.add(finding) } else { report.count(&finding) }
                }
            }
            after = page.last().map(|it| it.id.clone()).filter(|_| page.len() == PAGE);
            if after.is_none() {
                return Ok(());
            }
        }
    }

    async fn look_at(&self, vendor: &Vendor) -> anyhow::Result<Vec<Finding>> {
        let id = &vendor.id;
        let store = self.gateway.store();
        let numbers = store.instances(id).await?;
        let mut found = settings(vendor, &numbers, self.has_responder_for_all);
        for number in &numbers {
            if self.is_claimed_twice(number).await? {
                found.push(OfVendor::ClaimedTwice(number.id.to_string()));
            }
        }
        let vitals = store.vitals(id).await?.unwrap_or_default();
        let journal = self.gateway.journal();
        let backlog = journal.backlog(Some(id), self.now).await?;
        let from_hour = hour_of(self.now) - 24 * (HABIT_DAYS + 1);
        let signs = journal.signs(std::slice::from_ref(id), from_hour).await?;
        let signs = signs.into_iter().next().unwrap_or_default();
        found.extend(heard(vitals, &signs, &backlog, self.now));
        let mut findings: Vec<Finding> =
            found.iter().map(|it| it.finding(id, self.now, &self.hints)).collect();
        let hook = webhook_url(&self.base, id);
        for number in numbers.iter().filter(|it| it.provider == ProviderKind::Wasender) {
            let session = (numbers.len() > 1).then_some(&number.wasender.instance_id);
            let session = session.and_then(|it| it.as_deref());
            let set_up = SetUpCommand { hints: &self.hints, vendor: id, session };
            let compared = self.compared(number, &hook).await;
            findings.extend(compared.iter().map(|it| it.finding(&number.id, &set_up)));
        }
        Ok(findings.into_iter().map(|it| it.of(id)).collect())
    }

    async fn is_claimed_twice(&self, number: &WabaInstance) -> anyhow::Result<bool> {
        for key in number.keys() {
            if self.gateway.store().is_claimed_by_another(&key, &number.vendor_id).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    async fn compared(&self, number: &WabaInstance, hook: &url::Url) -> Vec<OfSession> {
        self.turn.lock().await.tick().await;
        match self.gateway.wasender().session(number).await {
            Ok(session) => compare(number, &session, hook, self.now),
            Err(fault) => vec![OfSession::Unread(fault)],
        }
    }
}

fn settings(vendor: &Vendor, numbers: &[WabaInstance], has_responder: bool) -> Vec<OfVendor> {
    let mut found = Vec::new();
    if vendor.status != VendorStatus::Active {
        found.push(OfVendor::NotActive(vendor.status.as_str()));
    }
    if !vendor.auto_reply {
        found.push(OfVendor::AutoReplyOff);
    }
    if vendor.paused {
        found.push(OfVendor::Paused);
    }
    if vendor.responders.is_empty() && !has_responder {
        found.push(OfVendor::NoResponder);
    }
    if numbers.is_empty() {
        found.push(OfVendor::NoNumber);
    }
    found
}

fn heard(vitals: Vitals, signs: &Signs, backlog: &Backlog, now: Millis) -> Vec<OfVendor> {
    let n = vitals.n_refused;
    let mut found = vec![match vitals.verified_at {
        Some(at) => OfVendor::Proven(at),
        None => OfVendor::NeverProven,
    }];
    match (vitals.refused_since, vitals.refused_at) {
        (Some(since), _) if vitals.is_refused_for_long(now) => {
            found.push(OfVendor::Refused { since, n });
        }
        (_, Some(at)) => found.push(OfVendor::RefusedBefore { at, n }),
        _ => {}
    }
    if let Silence::Unusual { since, expected } = silence(&signs.hours, now) {
        #[expect(clippy::cast_possible_truncation, reason = "counts of a day are small")]
        found.push(OfVendor::Silent { since, expected: expected.round() as i64 });
    }
    if backlog.n_parked() > 0 {
        let reasons: BTreeMap<&str, i64> =
            backlog.parked.iter().map(|it| (it.0.as_str(), it.1)).collect();
        let reasons: Vec<String> = reasons.iter().map(|it| format!("{} {}", it.0, it.1)).collect();
        found.push(OfVendor::Parked { n: backlog.n_parked(), reasons: reasons.join(", ") });
    }
    if backlog.n_fenced > 0 {
        found.push(OfVendor::Fenced(backlog.n_fenced));
    }
    if backlog.n_forwards_dead > 0 {
        found.push(OfVendor::ForwardsDead(backlog.n_forwards_dead));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::check_languages;

    #[test]
    fn every_sentence_about_a_vendor_is_in_both_languages() {
        let config = Config::from_lookup(|_| None).unwrap();
        let (hints, id) = (Hints::of(&config), VendorId::parse("v").unwrap());
        for it in [
            OfVendor::NotActive("inactive"),
            OfVendor::AutoReplyOff,
            OfVendor::Paused,
            OfVendor::NoNumber,
            OfVendor::ClaimedTwice("waba_v".to_owned()),
            OfVendor::NoResponder,
            OfVendor::Proven(0),
            OfVendor::NeverProven,
            OfVendor::Refused { since: 0, n: 3 },
            OfVendor::RefusedBefore { at: 0, n: 3 },
            OfVendor::Silent { since: 0, expected: 12 },
            OfVendor::Parked { n: 2, reasons: "no_phone 2".to_owned() },
            OfVendor::Fenced(1),
            OfVendor::ForwardsDead(4),
        ] {
            check_languages(&it.finding(&id, 100_000_000, &hints));
        }
    }
}
