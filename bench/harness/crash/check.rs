//! The look at every single webhook.

use std::{
    collections::{HashMap, HashSet},
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use rusqlite::{Connection, config::DbConfig};
use waba_gateway::{
    domain::id::VendorId,
    journal::{Journal, Ledger},
    twin::Twin,
};

use super::{
    super::{gateway::Data, hook::vendor},
    Hooks,
    callers::{Call, End},
};

/// For all that was kept to be worked on.
const SETTLED_WITHIN: Duration = Duration::from_mins(3);

/// What was found, when nothing was found to be wrong.
pub struct Found {
    pub n_calls: usize,
    /// Webhooks answered 200.
    pub n_kept: usize,
    /// Of them, those whose reply is listed as unknown.
    pub n_unknown: usize,
    /// Sends under way whenever the gateway was killed.
    pub n_cut_off: usize,
    pub ledger: Ledger,
}

/// Waits until nothing is left to do but to hear of sends whose outcome is unknown.
pub(super) async fn settled(data: &Data<'_>) -> anyhow::Result<()> {
    let started_at = Instant::now();
    let db = Connection::open(data.file())?;
    db.busy_timeout(Duration::from_secs(5))?;
    let sql = "SELECT count(*) FROM entries WHERE is_open = 1 AND (kind = 0
        OR (kind = 2 AND account = 0 AND life NOT LIKE '%\"fenced\"%'))";
    loop {
        let n_open: i64 = db.query_row(sql, (), |row| row.get(0))?;
        if n_open == 0 {
            return Ok(());
        }
        ensure!(started_at.elapsed() < SETTLED_WITHIN, "{n_open} entries are still open");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Sends that were under way when the gateway was killed: begun, and without an outcome. One that was
/// killed before it took up what it found has them still. What is on disk stays as the crash left it.
pub(super) fn cut_off(data: &Data<'_>) -> anyhow::Result<HashSet<i64>> {
    let db = Connection::open(data.file())?;
    db.busy_timeout(Duration::from_secs(5))?;
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    let sql = "SELECT id FROM entries
        WHERE is_open = 1 AND kind = 2 AND life ->> '$.delivery.state' = 'begun'";
    let mut statement = db.prepare(sql)?;
    let ids = statement.query_map((), |row| row.get(0))?;
    Ok(ids.collect::<Result<_, _>>()?)
}

/// Looks at every webhook, when the gateway has ended.
pub(super) async fn check(
    data: &Data<'_>,
    twin: &Twin,
    hooks: Hooks,
    calls: &[Call],
    n_cut_off: usize,
) -> anyhow::Result<Found> {
    let ledger = data.ledger().await?;
    let mut n_replies: HashMap<String, usize> = HashMap::new();
    for sent in twin.sends() {
        *n_replies.entry(sent.to).or_default() += 1;
    }
    let n_twice = n_replies.values().filter(|it| **it > 1).count();
    ensure!(n_twice == 0, "{n_twice} customers had their reply twice");
    let Seen { states, n_messages } = seen(data, hooks.n_vendors).await?;
    let (mut n_kept, mut n_missing) = (0, 0);
    for call in calls.iter().filter(|it| it.end == End::Kept) {
        n_kept += 1;
        let customer = Hooks::customer(call.n);
        if n_replies.contains_key(&customer) {
            continue;
        }
        n_missing += 1;
        let state = states.get(&customer).map_or("nothing", String::as_str);
        let is_counted = matches!(state, "unknown" | "unknown_yet");
        ensure!(is_counted, "webhook {} was answered 200, and its reply is {state}", call.n);
    }
    let n_unknown = states.values().filter(|it| it.starts_with("unknown")).count();
    ensure!(n_unknown <= n_cut_off, "{n_unknown} unknown, {n_cut_off} sends were cut off");
    // Those whose answer broke off may have been kept, and whoever insists is a duplicate.
    let n_sent = calls.len();
    let is_whole = n_messages >= n_kept && n_messages <= n_sent;
    ensure!(is_whole, "{n_kept} of {n_sent} were answered 200, and {n_messages} kept");
    Ok(Found { n_calls: calls.len(), n_kept, n_unknown: n_missing, n_cut_off, ledger })
}

struct Seen {
    /// Where each reply stands, by its customer.
    states: HashMap<String, String>,
    /// Customers' messages, each of which is there once.
    n_messages: usize,
}

async fn seen(data: &Data<'_>, n_vendors: usize) -> anyhow::Result<Seen> {
    let (journal, _) = data.open().await?;
    let (mut states, mut writers) = (HashMap::new(), HashSet::new());
    for n in 0..n_vendors {
        let (id, mut before) = (VendorId::parse(&vendor(n))?, None);
        loop {
            let page = journal.messages(&id, before, 1_000).await?;
            for row in page.rows {
                let phone = row.address.phone.context("nobody's message")?.expose();
                if row.is_inbound {
                    // Each customer writes once.
                    ensure!(writers.insert(phone), "one message is there twice");
                } else {
                    let other = states.insert(phone, row.status);
                    ensure!(other.is_none(), "two replies were decided for one customer");
                }
            }
            before = page.next;
            if before.is_none() {
                break;
            }
        }
    }
    journal.db().close();
    Ok(Seen { states, n_messages: writers.len() })
}
