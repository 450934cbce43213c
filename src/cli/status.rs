//! `status`: the whole at a glance.

use serde_json::{Value, json};

use super::{
    EXIT_FAULT, Ended, ago,
    opened::Opened,
    output::{json, print},
    serving::{self, Health},
};
use crate::{
    app,
    domain::{
        alert::Vitals,
        clock::{Millis, iso},
        id::VendorId,
    },
    gateway::free_disk_bytes,
    journal::Backlog,
    lang::Language,
    store::Alert,
};

pub(super) const ABOUT: &str = "\
Tell how the gateway is: what waits and for how long, what is parked or fenced, who is paused or
refused, open alerts, events that could not be forwarded, free disk. It reads the data directory,
so it also tells when the server does not run.";

pub(super) const AFTER: &str = "\
Examples:
  waba-gateway status
  waba-gateway status --json | jq .oldestWaitingSeconds

Exit codes: 0 the server is ready, 1 it is not, 2 could not run";

/// Alerts that are listed; more are counted.
const ALERTS_SHOWN_MAX: usize = 20;

/// What was asked for.
#[derive(clap::Args)]
pub struct Arguments {
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

struct Status {
    at: String,
    health: Health,
    is_ready: bool,
    backlog: Backlog,
    vitals: Vitals,
    paused: Vec<VendorId>,
    is_all_paused: bool,
    alerts: Vec<Alert>,
    free_bytes: Option<u64>,
    min_free_bytes: u64,
    now: Millis,
}

pub(super) async fn run(arguments: &Arguments) -> Ended {
    let opened = Opened::to_read().await?;
    let (gateway, config) = (&opened.gateway, &opened.config);
    let http = app::http(config)?;
    let at = serving::local(config);
    let now = gateway.clock().now();
    let (paused, is_all_paused) = gateway.store().paused().await?;
    let status = Status {
        health: serving::health(&http, &at).await,
        is_ready: serving::is_ready(&http, &at).await == Some(true),
        backlog: gateway.journal().backlog(None, now).await?,
        vitals: gateway.store().vitals_of_all().await?,
        paused,
        is_all_paused,
        alerts: gateway.alerts().await?,
        free_bytes: free_disk_bytes(&config.data_dir),
        min_free_bytes: config.min_free_disk_bytes,
        now,
        at,
    };
    opened.close();
    if arguments.json {
        json(&status.document());
    } else {
        print(&status.text());
    }
    Ok(if status.is_ready { 0 } else { EXIT_FAULT })
}

impl Status {
    fn document(&self) -> Value {
        let Self { backlog, vitals, now, .. } = self;
        let by_reason = |it: &[(String, i64)]| -> Value {
            it.iter()
                .map(|it| (it.0.clone(), json!(it.1)))
                .collect::<serde_json::Map<_, _>>()
                .into()
        };
        let alert = |it: &Alert| json!({ "kind": it.kind.as_str(), "vendorId": it.vendor, "since": iso(it.since) });
        let version = match &self.health {
            Health::Ours { version } => Some(version),
            _ => None,
        };
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "server": { "address": self.at, "running": version.is_some(), "ready": self.is_ready, "version": version },
            "waiting": backlog.n_waiting,
            "oldestWaitingSeconds": backlog.oldest_waiting.map(|it| (now - it).max(0) / 1_000),
            "fenced": backlog.n_fenced,
            "unknown": backlog.n_unknown,
            "parked": by_reason(&backlog.parked),
            "dead": by_reason(&backlog.dead),
            "pausedVendors": self.paused,
            "allPaused": self.is_all_paused,
            "pausedConversations": backlog.n_paused,
            "refusals": vitals.n_refused,
            "lastVerifiedAt": vitals.verified_at.map(iso),
            "lastRefusedAt": vitals.refused_at.map(iso),
            "forwards": { "waiting": backlog.n_forwards_waiting, "dead": backlog.n_forwards_dead },
            "alerts": self.alerts.iter().map(alert).collect::<Vec<_>>(),
            "freeDiskBytes": self.free_bytes,
            "minFreeDiskBytes": self.min_free_bytes,
        })
    }

    fn text(&self) -> String {
        let Self { backlog, vitals, now, .. } = self;
        let ago = |at: Millis| ago::ago(at, *now).of(Language::En).to_owned();
        let span = |it: Millis| ago::span(now - it).of(Language::En).to_owned();
        let oldest = backlog.oldest_waiting.map(|it| format!(", the oldest for {}", span(it)));
        let list = |n: i64, it: &[(String, i64)]| {
            let reasons: Vec<String> = it.iter().map(|(why, n)| format!("{why} {n}")).collect();
            if n == 0 { "none".to_owned() } else { format!("{n} ({})", reasons.join(", ")) }
        };
        let paused = match (self.is_all_paused, self.paused.len()) {
            (true, _) => "all sends are paused".to_owned(),
            (false, n) => counted(n, "vendor"),
        };
        let named: Vec<&str> = self.paused.iter().take(10).map(VendorId::as_str).collect();
        let named =
            if named.is_empty() { String::new() } else { format!(" ({})", named.join(", ")) };
        let last = |at: Option<Millis>| at.map_or("never".to_owned(), ago);
        let (forwards, dead) = (backlog.n_forwards_waiting, backlog.n_forwards_dead);
        let mut lines = vec![
            format!("version    {}", env!("CARGO_PKG_VERSION")),
            format!("server     {}", self.server()),
            format!("waiting    {}{}", backlog.n_waiting, oldest.unwrap_or_default()),
            format!("fenced     {} (outcome not known yet)", backlog.n_fenced),
            format!("unknown    {} (given up without knowing)", backlog.n_unknown),
            format!("parked     {}", list(backlog.n_parked(), &backlog.parked)),
            format!("dead       {}", list(backlog.n_dead(), &backlog.dead)),
            format!("paused     {paused}{named}, {}", counted(backlog.n_paused, "conversation")),
            format!("proven     last {}", last(vitals.verified_at)),
            format!("refused    {} in all, last {}", vitals.n_refused, last(vitals.refused_at)),
            format!("forwards   {forwards} waiting, {dead} dead"),
            format!("free disk  {}", self.disk()),
            format!(
                "alerts     {}",
                if self.alerts.is_empty() {
                    "none".to_owned()
                } else {
                    self.alerts.len().to_string()
                }
            ),
        ];
        for it in self.alerts.iter().take(ALERTS_SHOWN_MAX) {
            let vendor = it.vendor.as_ref().map_or("the gateway", VendorId::as_str);
            lines.push(format!(
                "           {} {vendor}, since {}",
                it.kind.as_str(),
                ago(it.since)
            ));
        }
        lines.join("\n") + "\n"
    }

    fn server(&self) -> String {
        match &self.health {
            Health::Ours { version } if self.is_ready => {
                format!("ready on {} ({version})", self.at)
            }
            Health::Ours { .. } => {
                format!("runs on {} and is NOT READY: it cannot keep webhooks", self.at)
            }
            Health::Foreign { status } => {
                format!("NOT RUNNING: something else answers on {} ({status})", self.at)
            }
            Health::Nothing => format!("NOT RUNNING: nothing answers on {}", self.at),
        }
    }

    fn disk(&self) -> String {
        let Some(free) = self.free_bytes else { return "not known".to_owned() };
        let mib = |it: u64| it / (1024 * 1024);
        let low =
            if free < self.min_free_bytes { ", TOO LITTLE: webhooks are answered 503" } else { "" };
        format!("{} MiB (at least {} are needed){low}", mib(free), mib(self.min_free_bytes))
    }
}

fn counted(n: impl std::fmt::Display, one: &str) -> String {
    let n = n.to_string();
    let plural = if n == "1" { "" } else { "s" };
    format!("{n} {one}{plural}")
}
