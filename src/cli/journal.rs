//! `journal`: what waits, what was given up, and what a person does about it.

mod deed;
mod text;

use clap::Subcommand;

use self::deed::Deed;
use super::{
    EXIT_FAULT, Ended, ago,
    opened::Opened,
    output::{complain, json, line, print, table},
    serving::Server,
};
use crate::{
    domain::{
        clock::{Clock, Millis, from_iso},
        id::{EntryId, VendorId},
    },
    gateway::{AdminError, LISTED_MAX},
    journal::{Entry, Listed, Listing},
    lang::Language,
    web::journal::{EntriesView, EntryView, JournalStatsView, VerifiedView},
};

/// What is to be done.
#[derive(Subcommand)]
pub enum Command {
    /// Tell what waits, is parked, dead, unknown or fenced, and how large the journal is
    Stats {
        /// Print one JSON document
        #[arg(long)]
        json: bool,
    },
    /// Show the ledger: what came in, what was to be sent, what became of both
    #[command(after_help = LEDGER_AFTER)]
    Ledger {
        /// One vendor's line; without it the sum of all
        #[arg(long, value_name = "VENDOR")]
        vendor: Option<VendorId>,
        /// Count the entries afresh and compare
        #[arg(long)]
        verify: bool,
        /// Print one JSON document
        #[arg(long)]
        json: bool,
    },
    /// List entries in a state, newest first
    #[command(after_help = LIST_AFTER)]
    List {
        /// waiting, fenced, parked, dead, unknown, unanswered (with --vendor) or open
        #[arg(long, value_parser = state)]
        state: Listed,
        /// One vendor's only
        #[arg(long, value_name = "VENDOR")]
        vendor: Option<VendorId>,
        /// At most so many
        #[arg(long, default_value_t = 50)]
        limit: usize,
        /// Print one JSON document
        #[arg(long)]
        json: bool,
    },
    /// Show an entry and its way, without text and number
    Show {
        /// Its id
        id: EntryId,
        /// Print one JSON document
        #[arg(long)]
        json: bool,
    },
    /// Let what got no answer or was not sent go on
    #[command(long_about = REPLAY, after_help = REPLAY_AFTER)]
    Replay {
        /// One entry
        #[arg(required_unless_present = "vendor", conflicts_with = "vendor")]
        id: Option<EntryId>,
        /// All of a vendor's for which that makes sense, with --since
        #[arg(long, value_name = "VENDOR", requires = "since")]
        vendor: Option<VendorId>,
        /// Since then: 30m, 6h, 2d, or a time like 2026-01-31T08:00:00Z
        #[arg(long, value_name = "TIME", requires = "vendor", value_parser = since)]
        since: Option<Millis>,
        /// Also what the customer may have already: it may reach them a second time
        #[arg(long)]
        again: bool,
        /// Print one JSON document
        #[arg(long)]
        json: bool,
    },
    /// Put a waiting message or send aside, until it is released
    Park {
        /// Its id
        id: EntryId,
        /// Print one JSON document
        #[arg(long)]
        json: bool,
    },
    /// Let a parked message or send go on
    Release {
        /// Its id
        id: EntryId,
        /// Print one JSON document
        #[arg(long)]
        json: bool,
    },
}

const LEDGER_AFTER: &str = "\
Examples:
  waba-gateway journal ledger --verify
  waba-gateway journal ledger --vendor vendor_001 --json

Exit codes: 0 it balances, 1 it does not or there is no such vendor, 2 could not run";

const LIST_AFTER: &str = "\
Examples:
  waba-gateway journal list --state parked
  waba-gateway journal list --state unanswered --vendor vendor_001 --limit 200
  waba-gateway journal list --state dead --json | jq -r '.entries[].id'

Exit codes: 0 listed, 1 no such vendor, 2 could not run";

const REPLAY: &str = "\
Let what got no answer or was not sent go on.

A message without an answer (stale, no responder, every responder failed …) is worked on again. A
send that was given up or is parked joins the tail of its conversation, with a new time by which it
must leave. With --vendor and --since all of a vendor's, oldest first, except what a human has dealt
with.

What the customer may have already (sent, or unknown, or from a backup) is left out unless --again
says so: it may then reach them twice.

With a server that runs on this data it is done by the server, which is asked at LISTEN_ADDR with
the admin key; without one it is done here, and goes on when the server is started.";

const REPLAY_AFTER: &str = "\
Examples:
  waba-gateway journal replay msg_1980a2b3c4d00000
  waba-gateway journal replay --vendor vendor_001 --since 2h
  waba-gateway journal replay --vendor vendor_001 --since 2026-01-31T08:00:00Z --json

Exit codes: 0 done, 1 refused (the reason is told) or no such entry, 2 could not run";

pub(super) async fn run(command: Command) -> Ended {
    match command {
        Command::Stats { json } => stats(json).await,
        Command::Ledger { vendor, verify, json } => ledger(vendor, verify, json).await,
        Command::List { state, vendor, limit, json } => {
            let limit = limit.clamp(1, LISTED_MAX);
            list(Listing { state, vendor, before: None, limit }, json).await
        }
        Command::Show { id, json } => show(id, json).await,
        Command::Park { id, json } => act(Deed::Park(id), json).await,
        Command::Release { id, json } => act(Deed::Release(id), json).await,
        Command::Replay { id, vendor, since, again, json } => {
            let deed = match (id, vendor, since) {
                (Some(id), _, _) => Deed::Replay { id, again },
                (None, Some(vendor), Some(since)) => Deed::ReplaySince { vendor, since, again },
                // The arguments' own rules do not let that through.
                _ => anyhow::bail!("an id is needed, or --vendor with --since"),
            };
            act(deed, json).await
        }
    }
}

async fn stats(as_json: bool) -> Ended {
    let opened = Opened::to_read().await?;
    let stats = opened.gateway.journal_stats().await?;
    let now = opened.gateway.clock().now();
    let server = match Server::of(&opened.config) {
        Ok(Some(server)) => server.get("journal/stats").await.ok().map(|it| it["server"].clone()),
        Ok(None) | Err(_) => None,
    };
    opened.close();
    if as_json {
        let mut document = serde_json::to_value(JournalStatsView::new(&stats, false))?;
        document["server"] = server.unwrap_or_default();
        json(&document);
        return Ok(0);
    }
    print(&text::stats(&stats, now));
    match server.filter(|it| !it.is_null()) {
        Some(it) => {
            let (writes, commits) = (&it["writes"], &it["commits"]);
            line(&format!(
                "written    {writes} writes in {commits} synced transactions since the server's start"
            ));
        }
        None => line("written    not known: no server was asked"),
    }
    Ok(0)
}

async fn ledger(vendor: Option<VendorId>, verify: bool, as_json: bool) -> Ended {
    let opened = Opened::to_read().await?;
    if let Some(vendor) = &vendor
        && opened.vendor(vendor).await?.is_none()
    {
        return Ok(EXIT_FAULT);
    }
    let (ledger, counted) = opened.gateway.journal_ledger(vendor.as_ref(), verify).await?;
    opened.close();
    let is_right = ledger.balances() && counted.as_ref().is_none_or(|it| *it == ledger);
    if as_json {
        json(&VerifiedView::new(&ledger, counted.as_ref()));
    } else {
        print(&text::ledger(&ledger));
        line(if ledger.balances() { "it balances" } else { "IT DOES NOT BALANCE" });
        match counted {
            Some(counted) if counted == ledger => line("a count of the entries gives the same"),
            Some(counted) => {
                line("A COUNT OF THE ENTRIES GIVES SOMETHING ELSE:");
                print(&text::ledger(&counted));
            }
            None => {}
        }
    }
    Ok(if is_right { 0 } else { EXIT_FAULT })
}

async fn list(listing: Listing, as_json: bool) -> Ended {
    let opened = Opened::to_read().await?;
    if let Some(vendor) = &listing.vendor
        && opened.vendor(vendor).await?.is_none()
    {
        return Ok(EXIT_FAULT);
    }
    let limit = listing.limit;
    let entries = match opened.gateway.journal_entries(listing).await {
        Err(AdminError::Invalid(why)) => {
            complain(&format!("{why}: add --vendor"));
            return Ok(EXIT_FAULT);
        }
        entries => entries?,
    };
    let now = opened.gateway.clock().now();
    opened.close();
    if as_json {
        json(&EntriesView::new(&entries, limit));
        return Ok(0);
    }
    let row = |it: &Entry| {
        let reason = it.reason.clone().unwrap_or_default();
        let age = ago::ago(it.id.ms(), now).of(Language::En).to_owned();
        let (kind, state) = (it.kind.to_owned(), it.state.to_owned());
        [it.id.to_string(), it.vendor.to_string(), kind, state, reason, age]
    };
    let rows: Vec<[String; 6]> = entries.iter().map(row).collect();
    print(&table(["ID", "VENDOR", "KIND", "STATE", "REASON", "KEPT"], &rows));
    if rows.len() >= limit {
        complain(&format!(
            "the newest {limit} are shown; --limit shows more (at most {LISTED_MAX})"
        ));
    }
    Ok(0)
}

async fn show(id: EntryId, as_json: bool) -> Ended {
    let opened = Opened::to_read().await?;
    let entry = match opened.gateway.journal_entry(id).await {
        Err(AdminError::NoMessage) => {
            complain(&format!("there is no entry {id}"));
            return Ok(EXIT_FAULT);
        }
        entry => entry?,
    };
    opened.close();
    if as_json {
        json(&EntryView::from(&entry));
    } else {
        print(&text::entry(&entry));
    }
    Ok(0)
}

async fn act(deed: Deed, as_json: bool) -> Ended {
    if deed.may_repeat() {
        complain("note: what is replayed again may reach customers a second time");
    }
    let (document, is_served) = match deed.run().await? {
        Ok(done) => done,
        Err(why) => {
            complain(&why);
            return Ok(EXIT_FAULT);
        }
    };
    if as_json {
        json(&document);
        return Ok(0);
    }
    line(&deed.told(&document));
    if let Some(refused) = document["refused"].as_object() {
        for (why, n) in refused {
            line(&format!("left as they are: {n}: {why}"));
        }
    }
    if document["hasMore"] == true {
        line("more are left: the vendor has as much waiting as it may; run this again later");
    }
    if !is_served {
        complain("no server runs on this data: it takes effect when one is started");
    }
    Ok(0)
}

fn state(word: &str) -> Result<Listed, String> {
    Listed::parse(word).ok_or_else(|| {
        let words: Vec<&str> = Listed::ALL.iter().map(|it| it.as_str()).collect();
        format!("it is one of {}", words.join(", "))
    })
}

/// A span back from now, or a time.
fn since(text: &str) -> Result<Millis, String> {
    let ago = ago::typed_span(text).map(|it| Clock::System.now() - it);
    ago.or_else(|| from_iso(text)).ok_or_else(|| {
        "it is a span like 30m, 6h or 2d, or a time like 2026-01-31T08:00:00Z".to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::clock::{HOUR, MINUTE};

    #[test]
    fn a_time_is_a_span_back_or_a_time() {
        let near = |text: &str, ms: Millis| {
            let at = since(text).unwrap();
            let ago = Clock::System.now() - at;
            (ms..ms + MINUTE).contains(&ago)
        };
        assert!(near("30m", 30 * MINUTE) && near("6h", 6 * HOUR) && near("2d", 48 * HOUR));
        assert_eq!(since("1970-01-01T00:00:01Z"), Ok(1_000));
        for bad in ["", "h", "-1h", "0d", "2x", "yesterday", "2026-01-31", "9223372036854775807d"] {
            assert!(since(bad).is_err(), "{bad}");
        }
    }
}
