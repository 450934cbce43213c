//! `vendor`: vendors listed, shown, paused, resumed, tested.

use std::path::PathBuf;

use clap::Subcommand;
use serde_json::{Value, json};

use super::{
    EXIT_FAULT, Ended, ago, exchange,
    opened::Opened,
    output::{json, line, print, table},
    trial,
};
use crate::{
    domain::{
        alert::Vitals,
        clock::{Millis, iso},
        id::VendorId,
        vendor::{Dialect, ResponderConfig, Vendor},
        waba::WabaInstance,
    },
    gateway::{shown_url, webhook_url},
    journal::Backlog,
    lang::Language,
};

/// Vendors read at once.
const PAGE: usize = 500;

/// What is to be done.
#[derive(Subcommand)]
pub enum Command {
    /// List the vendors
    #[command(
        after_help = "Exit codes: 0 listed, 1 some cannot be read and are named, 2 could not run"
    )]
    List {
        /// Print one JSON document
        #[arg(long)]
        json: bool,
    },
    /// Show one vendor: settings, numbers, what was heard of it, what waits
    #[command(after_help = "Exit codes: 0 shown, 1 no such vendor, 2 could not run")]
    Show {
        /// The vendor's id
        vendor: VendorId,
        /// Print one JSON document
        #[arg(long)]
        json: bool,
    },
    /// Stop a vendor's sends, durably; its webhooks are still taken
    #[command(after_help = "Exit codes: 0 paused, 1 no such vendor, 2 could not run")]
    Pause {
        /// The vendor's id
        vendor: VendorId,
    },
    /// Let a vendor's sends go on
    #[command(after_help = "Exit codes: 0 resumed, 1 no such vendor, 2 could not run")]
    Resume {
        /// The vendor's id
        vendor: VendorId,
    },
    /// Write all vendors and their numbers as JSON
    #[command(after_help = exchange::EXPORT_AFTER)]
    Export {
        /// The file to write [default: standard output]
        file: Option<PathBuf>,
        /// Keys and secrets too, in clear
        #[arg(long)]
        secrets: bool,
    },
    /// Take vendors and their numbers from such a file: all or none (with Firestore a hundred at a time)
    #[command(after_help = exchange::IMPORT_AFTER)]
    Import {
        /// The file to read; - is standard input
        file: PathBuf,
        /// Check everything and change nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// Write to the vendor as a customer would, and follow the answer
    #[command(long_about = trial::ABOUT, after_help = trial::AFTER)]
    Test(trial::Arguments),
}

pub(super) async fn run(command: Command) -> Ended {
    match command {
        Command::List { json } => list(json).await,
        Command::Show { vendor, json } => show(&vendor, json).await,
        Command::Pause { vendor } => pause(&vendor, true).await,
        Command::Resume { vendor } => pause(&vendor, false).await,
        Command::Export { file, secrets } => exchange::export(file.as_deref(), secrets).await,
        Command::Import { file, dry_run } => exchange::import(&file, dry_run).await,
        Command::Test(arguments) => trial::run(&arguments).await,
    }
}

async fn list(as_json: bool) -> Ended {
    let opened = Opened::to_read().await?;
    let (mut rows, mut documents) = (Vec::new(), Vec::new());
    let (mut after, mut unreadable) = (None, Vec::new());
    loop {
        let page = opened.gateway.vendors(after.as_ref(), PAGE).await?;
        unreadable.extend(page.unreadable);
        for vendor in &page.vendors {
            let numbers = match opened.gateway.store().instances(&vendor.id).await {
                Err(error) if error.is_unreadable() => {
                    unreadable.push(vendor.id.clone());
                    continue;
                }
                numbers => numbers?,
            };
            let states: Vec<&str> = numbers.iter().map(|it| it.status.as_str()).collect();
            if as_json {
                documents.push(json!({
                    "vendorId": vendor.id,
                    "businessName": vendor.business_name,
                    "status": vendor.status.as_str(),
                    "paused": vendor.paused,
                    "sessions": states,
                }));
            } else {
                let paused = if vendor.paused { ", paused" } else { "" };
                let states =
                    if states.is_empty() { "no number".to_owned() } else { states.join(", ") };
                let status = format!("{}{paused}", vendor.status.as_str());
                rows.push([vendor.id.to_string(), status, states, vendor.business_name.clone()]);
            }
        }
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    opened.close();
    if as_json {
        json(&json!({ "vendors": documents, "unreadable": unreadable }));
    } else {
        print(&table(["VENDOR", "STATUS", "SESSIONS", "NAME"], &rows));
    }
    Ok(if exchange::left_out(&unreadable) { EXIT_FAULT } else { 0 })
}

async fn pause(id: &VendorId, is_paused: bool) -> Ended {
    let opened = Opened::to_write().await?;
    if opened.vendor(id).await?.is_none() {
        return Ok(EXIT_FAULT);
    }
    opened.gateway.pause(Some(id), is_paused).await?;
    let what = if is_paused { "pauseVendor" } else { "resumeVendor" };
    opened.record(what, Some(id), None).await;
    opened.close();
    line(&if is_paused {
        format!("{id} is paused: nothing is sent until \"waba-gateway vendor resume {id}\"")
    } else {
        format!("{id} sends again")
    });
    Ok(0)
}

/// A vendor and all that is known of it.
struct Known {
    vendor: Vendor,
    numbers: Vec<WabaInstance>,
    vitals: Vitals,
    backlog: Backlog,
    hook: String,
    now: Millis,
}

async fn show(id: &VendorId, as_json: bool) -> Ended {
    let opened = Opened::to_read().await?;
    let Some(vendor) = opened.vendor(id).await? else { return Ok(EXIT_FAULT) };
    let now = opened.gateway.clock().now();
    let known = Known {
        numbers: opened.gateway.instances(id).await?,
        vitals: opened.gateway.vitals(id).await?,
        backlog: opened.gateway.journal().backlog(Some(id), now).await?,
        hook: webhook_url(&opened.config.base_url, id).to_string(),
        vendor,
        now,
    };
    opened.close();
    if as_json {
        json(&known.document());
    } else {
        print(&known.text());
    }
    Ok(0)
}

impl Known {
    fn document(&self) -> Value {
        let Self { vendor, numbers, vitals, backlog, hook, .. } = self;
        let number = |it: &WabaInstance| {
            json!({
                "id": it.id,
                "phoneNumber": it.phone_number.expose(),
                "provider": it.provider.as_str(),
                "status": it.status.as_str(),
                "wasenderInstanceId": it.wasender.instance_id,
                "hasSessionKey": it.wasender.session_key.is_some(),
                "hasWebhookSecret": it.wasender.secrets_at(self.now).next().is_some(),
                "lastSync": it.last_sync.map(iso),
            })
        };
        json!({
            "vendorId": vendor.id,
            "businessName": vendor.business_name,
            "status": vendor.status.as_str(),
            "paused": vendor.paused,
            "autoReplyEnabled": vendor.auto_reply,
            "responders": vendor.responders.iter().map(responder).collect::<Vec<_>>(),
            "forwardUrl": vendor.forward_url.as_deref().map(shown_url),
            "webhookUrl": hook,
            "numbers": numbers.iter().map(number).collect::<Vec<_>>(),
            "lastVerifiedAt": vitals.verified_at.map(iso),
            "lastRefusedAt": vitals.refused_at.map(iso),
            "refusals": vitals.n_refused,
            "waiting": backlog.n_waiting,
            "fenced": backlog.n_fenced,
            "parked": backlog.n_parked(),
            "unknown": backlog.n_unknown,
            "dead": backlog.n_dead(),
            "forwardsDead": backlog.n_forwards_dead,
            "createdAt": iso(vendor.created_at),
            "updatedAt": iso(vendor.updated_at),
        })
    }

    fn text(&self) -> String {
        let Self { vendor, numbers, vitals, backlog, hook, now } = self;
        let ago = |at: Option<Millis>| {
            at.map_or("never".to_owned(), |it| ago::ago(it, *now).of(Language::En).to_owned())
        };
        let status = vendor.status.as_str();
        let paused = if vendor.paused { ", paused" } else { "" };
        let replies = if vendor.auto_reply { "on" } else { "off" };
        let mut lines = vec![
            format!("{} · {}", vendor.id, vendor.business_name),
            format!("  status             {status}{paused}"),
            format!("  automatic replies  {replies}"),
            format!("  webhook            {hook}"),
        ];
        for it in &vendor.responders {
            let shown = responder(it);
            let what = shown["url"].as_str().map_or_else(
                || format!("rules ({})", shown["rules"]),
                |url| format!("{} at {url}", shown["dialect"].as_str().unwrap_or_default()),
            );
            lines.push(format!("  responder          {what}"));
        }
        for it in numbers {
            let session = it.wasender.instance_id.as_deref().unwrap_or("none");
            let key = if it.wasender.session_key.is_some() { "" } else { ", no session key" };
            let (id, number, status) = (&it.id, it.phone_number.expose(), it.status.as_str());
            lines.push(format!(
                "  number             {number} ({id}), session {session}: {status}{key}"
            ));
        }
        if let Some(url) = &vendor.forward_url {
            lines.push(format!("  events go to       {}", shown_url(url)));
        }
        lines.push(format!("  last proven        {}", ago(vitals.verified_at)));
        let refused = ago(vitals.refused_at);
        lines.push(format!("  last refused       {refused} ({} in all)", vitals.n_refused));
        let (waiting, fenced, parked) = (backlog.n_waiting, backlog.n_fenced, backlog.n_parked());
        lines.push(format!("  messages           {waiting} waiting, {fenced} fenced, {parked} parked, {} unknown, {} dead", backlog.n_unknown, backlog.n_dead()));
        lines.join("\n") + "\n"
    }
}

fn responder(it: &ResponderConfig) -> Value {
    match it {
        ResponderConfig::Rules { rules, .. } => json!({ "kind": "rules", "rules": rules.len() }),
        ResponderConfig::ResponseApi(api) => {
            let dialect = match api.dialect {
                Dialect::Bot => "bot",
                Dialect::Conversation { .. } => "conversation",
            };
            json!({ "kind": "responseApi", "url": shown_url(&api.url), "dialect": dialect })
        }
    }
}
