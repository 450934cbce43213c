//! The vendors, one after another.

use std::{collections::BTreeMap, time::Duration};

use futures_util::StreamExt;
use tokio::sync::Mutex;

use super::{
    Finding, Report,
    finding::Level,
    of_vendor::{Heard, Left, Setting},
    session::{OfSession, SetUpCommand, compare},
};
use crate::{
    cli::{output::complain, why::Hints},
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
        let findings = match self.gateway.vendor(id).await {
            Err(error) if error.is_unreadable() => vec![self.unreadable(id)],
            vendor => self.look_at(&vendor?).await?,
        };
        report.n_vendors = 1;
        findings.into_iter().for_each(|it| report.add(it));
        Ok(())
    }

    pub(super) async fn look_at_all(&self, report: &mut Report) -> anyhow::Result<()> {
        let mut after = None;
        let first = self.gateway.vendors(None, ALL_LISTED_MAX + 1).await?;
        let lists_all = first.next.is_none();
        drop(first);
        loop {
            let page = self.gateway.vendors(after.as_ref(), PAGE).await?;
            for id in &page.unreadable {
                report.n_vendors += 1;
                report.add(self.unreadable(id));
            }
            let looks = page.vendors.iter().map(|it| self.look_at(it));
            let mut looks = futures_util::stream::iter(looks).buffered(AT_ONCE);
            while let Some(findings) = looks.next().await {
                report.n_vendors += 1;
                if self.is_watched && report.n_vendors.is_multiple_of(TOLD_EVERY) {
                    complain(&format!("… {}", report.n_vendors));
                }
                let findings = findings?;
                let is_listed = lists_all || findings.iter().any(|it| it.level > Level::Ok);
                for finding in findings {
                    if is_listed { report.add(finding) } else { report.count(&finding) }
                }
            }
            after.clone_from(&page.next);
            if after.is_none() {
                return Ok(());
            }
        }
    }

    fn unreadable(&self, id: &VendorId) -> Finding {
        Setting::Unreadable.finding(id, &self.hints).of(id)
    }

    async fn look_at(&self, vendor: &Vendor) -> anyhow::Result<Vec<Finding>> {
        let id = &vendor.id;
        let store = self.gateway.store();
        let numbers = match store.instances(id).await {
            Err(error) if error.is_unreadable() => return Ok(vec![self.unreadable(id)]),
            numbers => numbers?,
        };
        let mut found = settings(vendor, &numbers, self.has_responder_for_all);
        for number in &numbers {
            if self.is_claimed_twice(number).await? {
                found.push(Setting::ClaimedTwice(number.id.to_string()));
            }
            found.extend(other_numbers(number));
        }
        let vitals = store.vitals(id).await?.unwrap_or_default();
        let journal = self.gateway.journal();
        let backlog = journal.backlog(Some(id), self.now).await?;
        let from_hour = hour_of(self.now) - 24 * (HABIT_DAYS + 1);
        let signs = journal.signs(std::slice::from_ref(id), from_hour).await?;
        let signs = signs.into_iter().next().unwrap_or_default();
        let mut findings: Vec<Finding> =
            found.iter().map(|it| it.finding(id, &self.hints)).collect();
        if !numbers.is_empty() {
            let heard = heard(vitals, &signs, self.now);
            findings.extend(heard.iter().map(|it| it.finding(id, self.now, &self.hints)));
        }
        findings.extend(left(&backlog).iter().map(|it| it.finding(id, &self.hints)));
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

/// The ways out that customers see another number of than of the first.
fn other_numbers(number: &WabaInstance) -> impl Iterator<Item = Setting> {
    let seen = |it| number.number_at(it).unwrap_or(&number.phone_number).alias();
    let others = number.routes().iter().filter(move |it| seen(*it) != seen(number.provider));
    others.map(|it| Setting::OtherNumber { number: number.id.to_string(), through: it.as_str() })
}

fn settings(vendor: &Vendor, numbers: &[WabaInstance], has_responder: bool) -> Vec<Setting> {
    let mut found = Vec::new();
    if vendor.status != VendorStatus::Active {
        found.push(Setting::NotActive(vendor.status.as_str()));
    }
    if !vendor.auto_reply {
        found.push(Setting::AutoReplyOff);
    }
    if vendor.paused {
        found.push(Setting::Paused);
    }
    if vendor.responders.is_empty() && !has_responder {
        found.push(Setting::NoResponder);
    }
    if numbers.is_empty() {
        found.push(Setting::NoNumber);
    }
    found
}

fn heard(vitals: Vitals, signs: &Signs, now: Millis) -> Vec<Heard> {
    let n = vitals.n_refused;
    let mut found = vec![match vitals.verified_at {
        Some(at) => Heard::Proven(at),
        None => Heard::NeverProven,
    }];
    match (vitals.refused_since, vitals.refused_at) {
        (Some(since), _) if vitals.is_refused_for_long(now) => {
            found.push(Heard::Refused { since, n });
        }
        (_, Some(at)) => found.push(Heard::RefusedBefore { at, n }),
        _ => {}
    }
    if let Silence::Unusual { since, expected } = silence(&signs.hours, now) {
        #[expect(clippy::cast_possible_truncation, reason = "counts of a day are small")]
        found.push(Heard::Silent { since, expected: expected.round() as i64 });
    }
    found
}

fn left(backlog: &Backlog) -> Vec<Left> {
    let mut found = Vec::new();
    if backlog.n_parked() > 0 {
        let reasons: BTreeMap<&str, i64> =
            backlog.parked.iter().map(|it| (it.0.as_str(), it.1)).collect();
        let reasons: Vec<String> = reasons.iter().map(|it| format!("{} {}", it.0, it.1)).collect();
        found.push(Left::Parked { n: backlog.n_parked(), reasons: reasons.join(", ") });
    }
    if backlog.n_fenced > 0 {
        found.push(Left::Fenced(backlog.n_fenced));
    }
    if backlog.n_forwards_dead > 0 {
        found.push(Left::ForwardsDead(backlog.n_forwards_dead));
    }
    found
}
