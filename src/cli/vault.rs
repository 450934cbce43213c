//! `vault`: what is sealed in the data, sealed with another key, or by the predecessor's need clear.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::{
    EXIT_FAULT, Ended,
    opened::Opened,
    output::{complain, json, line, print, table},
    progress::Progress,
};
use crate::{
    app::Vaulted,
    domain::id::VendorId,
    gateway::BY_CLI,
    journal::SqliteJournal,
    sqlite::Sealed,
    store::{
        FirestoreStore, Keyed,
        firestore::{Turn, Turned},
    },
};

/// How often everything is gone through, at most: once, and then until nothing old is found.
const PASSES_MAX: usize = 4;

/// What is to be done.
#[derive(Subcommand)]
pub enum Command {
    /// Seal everything with the encryption key of now that is sealed with an older one
    #[command(long_about = ROTATE, after_help = ROTATE_AFTER)]
    Rotate(Rotate),
    /// Seal secrets that the predecessor wrote in the clear into Firestore
    #[command(long_about = SEAL, after_help = SEAL_AFTER)]
    Seal(Turning),
    /// Make them clear again, for a predecessor that must read them
    #[command(long_about = UNSEAL, after_help = UNSEAL_AFTER)]
    Unseal(Turning),
}

const ROTATE: &str = "\
Seal everything with ENCRYPTION_KEY that is sealed with a key of ENCRYPTION_KEYS_OLD.

It goes through the database in DATA_DIR and, with STORE=firestore, through Firestore, beside a
running server. That server, and every other on the same Firestore, must have been started with both
keys before. Run again after an interruption: what is done is passed over. When it has ended with 0
on each machine, the old key is needed for nothing but backups that were made with it.";

const ROTATE_AFTER: &str = "\
Example:
  ENCRYPTION_KEY=$(openssl rand -base64 32)      the new key; keep it where the old one was
  ENCRYPTION_KEYS_OLD=<the old key>
  (restart the server with both)
  waba-gateway vault rotate                      on each machine
  (take ENCRYPTION_KEYS_OLD away and restart once more)

Exit codes: 0 everything is sealed with ENCRYPTION_KEY (or shown), 1 something is not, 2 could not
run";

const SEAL: &str = "\
Seal secrets that the predecessor wrote in the clear into Firestore.

Without --apply it changes nothing and shows what it would do. The predecessor cannot read what is
sealed: seal a vendor when nothing but this gateway works for it, or unseal it again. With the
embedded store everything is sealed always.";

const SEAL_AFTER: &str = "\
Examples:
  waba-gateway vault seal --vendor vendor_001
  waba-gateway vault seal --vendor vendor_001 --apply
  waba-gateway vault seal --all --apply

Exit codes: 0 shown or done, 1 something could not be done, 2 could not run";

const UNSEAL: &str = "\
Make secrets clear again in Firestore, for a predecessor that must read them.

Without --apply it changes nothing and shows what it would do. Afterwards whoever may read these
documents can read the secrets. What only this gateway uses stays sealed, and a secret that is
changed through this gateway is sealed again.";

const UNSEAL_AFTER: &str = "\
Examples:
  waba-gateway vault unseal --vendor vendor_001
  waba-gateway vault unseal --all --apply

Exit codes: 0 shown or done, 1 something could not be done, 2 could not run";

/// How to rotate.
#[derive(Args)]
pub struct Rotate {
    /// Change nothing and show what would be done
    #[arg(long)]
    dry_run: bool,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

/// Whose secrets.
#[derive(Args)]
pub struct Turning {
    /// One vendor's
    #[arg(long, value_name = "VENDOR", required_unless_present = "all")]
    vendor: Option<VendorId>,
    /// Everybody's
    #[arg(long, conflicts_with = "vendor")]
    all: bool,
    /// Do it
    #[arg(long)]
    apply: bool,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(command: Command) -> Ended {
    match command {
        Command::Rotate(how) => rotate(&how).await,
        Command::Seal(whose) => turn(Turn::Seal, &whose).await,
        Command::Unseal(whose) => turn(Turn::Unseal, &whose).await,
    }
}

/// What was gone through, by its name: looked at, sealed again, shut.
type Rows = BTreeMap<&'static str, [u64; 3]>;

async fn rotate(how: &Rotate) -> Ended {
    let (opened, is_alone) =
        if how.dry_run { (Opened::to_read().await?, true) } else { Opened::to_rewrite().await? };
    let data = opened.vaulted();
    if !is_alone && !data.keyed.is_sealed_with().await? {
        opened.close();
        bail!(
            "the server that runs does not seal with this ENCRYPTION_KEY: restart it with the new \
             key in ENCRYPTION_KEY and the old one in ENCRYPTION_KEYS_OLD, then run this again"
        );
    }
    if !how.dry_run {
        on_record(&opened, "rotateVault", None).await?;
        data.keyed.seals().await?;
    }
    let mut rows = Rows::new();
    let mut is_clean = false;
    for _ in 0..PASSES_MAX {
        let n_done = pass(&data, how, &mut rows).await?;
        is_clean = n_done == 0;
        if is_clean || how.dry_run {
            break;
        }
    }
    if is_clean && !how.dry_run {
        // The database last: as long as it is not marked, the server tells of it.
        if let Some(it) = &data.firestore {
            it.mark_key().await?;
        }
        is_clean = data.keyed.mark().await?;
    }
    let n_shut: u64 = rows.values().map(|it| it[2]).sum();
    opened.close();
    tell_rotated(how, &rows, is_clean);
    if n_shut > 0 {
        complain(&format!(
            "{n_shut} could not be opened: they are damaged, or their key is missing from \
             ENCRYPTION_KEYS_OLD"
        ));
    }
    if !is_clean && !how.dry_run {
        complain(
            "something is still being sealed with an older key: see that every server was started \
             with the new one, then run this again",
        );
    }
    Ok(if n_shut > 0 || !(is_clean || how.dry_run) { EXIT_FAULT } else { 0 })
}

/// Goes through everything once. How much was sealed again, or would be.
async fn pass(data: &Vaulted, how: &Rotate, rows: &mut Rows) -> anyhow::Result<u64> {
    let mut n_all = 0;
    let mut note = |name, n_seen, n_done, n_shut| {
        let row = rows.entry(name).or_default();
        // A later pass looks at the same again.
        *row = [n_seen, row[1] + n_done, n_shut];
        n_all += n_done;
    };
    let columns: Vec<&'static Sealed> =
        Keyed::columns().iter().chain(SqliteJournal::columns()).collect();
    for column in columns {
        let n_rows = data.db.count_sealed(column).await?;
        let bar = Progress::of(column.table, usize::try_from(n_rows).unwrap_or_default());
        let told = |it: crate::sqlite::Resealed| bar.at(it.n_seen);
        let end = data.db.reseal(column, &data.vault, !how.dry_run, told).await?;
        drop(bar);
        note(column.table, end.n_seen, end.n_done, end.n_shut);
    }
    if let Some(firestore) = &data.firestore {
        // The last is never written, so nothing of ours is sealed in it.
        let [instances, configs, _] = FirestoreStore::secret_collections();
        for name in [instances, configs] {
            let bar = Progress::of_some(name);
            let told = |it: &Turned| bar.at(it.n_seen);
            let end = firestore.turn_secrets(Turn::Rotate, name, None, !how.dry_run, told).await?;
            drop(bar);
            note(name, end.n_seen, end.n() + end.n_missed, end.n_shut);
            for document in end.shut.iter().filter(|_| how.dry_run || end.n() == 0) {
                complain(&format!("cannot be opened: {document}"));
            }
        }
    }
    Ok(n_all)
}

fn tell_rotated(how: &Rotate, rows: &Rows, is_clean: bool) {
    if how.json {
        let of = |it: (&&str, &[u64; 3])| {
            let [n_seen, n_done, n_shut] = it.1;
            json!({ "name": it.0, "seen": n_seen, "resealed": n_done, "unopened": n_shut })
        };
        let rows: Vec<Value> = rows.iter().map(of).collect();
        json(&json!({ "dryRun": how.dry_run, "clean": is_clean, "parts": rows }));
        return;
    }
    let done = if how.dry_run { "TO SEAL AGAIN" } else { "SEALED AGAIN" };
    let shown = |it: (&&str, &[u64; 3])| {
        let [n_seen, n_done, n_shut] = it.1.map(|it| it.to_string());
        [(*it.0).to_owned(), n_seen, n_done, n_shut]
    };
    let shown: Vec<[String; 4]> = rows.iter().map(shown).collect();
    print(&table(["WHAT", "LOOKED AT", done, "CANNOT BE OPENED"], &shown));
    match (how.dry_run, is_clean) {
        (true, true) => line("everything is sealed with ENCRYPTION_KEY already"),
        (true, false) => line("nothing was changed"),
        (false, true) => line("everything that can be opened is sealed with ENCRYPTION_KEY"),
        (false, false) => {}
    }
}

async fn turn(turn: Turn, whose: &Turning) -> Ended {
    let opened = if whose.apply { Opened::to_write().await? } else { Opened::to_read().await? };
    let Some(firestore) = opened.vaulted().firestore else {
        opened.close();
        if whose.json {
            json(&json!({ "applied": whose.apply, "fields": [] }));
        } else {
            line(
                "vendors are in the embedded database, where every secret is sealed always: nothing to do",
            );
        }
        return Ok(0);
    };
    if let Some(vendor) = &whose.vendor
        && opened.vendor(vendor).await?.is_none()
    {
        return Ok(EXIT_FAULT);
    }
    let (mut all, mut is_on_record) = (Vec::new(), false);
    let [instances, configs, older] = FirestoreStore::secret_collections();
    for (name, may_apply) in [(instances, true), (configs, true), (older, false)] {
        let bar = Progress::of_some(name);
        let told = |it: &Turned| bar.at(it.n_seen);
        let mut turned =
            firestore.turn_secrets(turn, name, whose.vendor.as_ref(), false, told).await?;
        if whose.apply && may_apply && turned.n() > 0 {
            let what = if turn == Turn::Seal { "sealSecrets" } else { "unsealSecrets" };
            if !is_on_record {
                on_record(&opened, what, whose.vendor.as_ref()).await?;
                is_on_record = true;
            }
            turned = firestore.turn_secrets(turn, name, whose.vendor.as_ref(), true, told).await?;
        }
        drop(bar);
        all.push((name, turned));
    }
    let n_bad: u64 = all.iter().map(|it| it.1.n_shut + it.1.n_missed).sum();
    opened.close();
    tell_turned(turn, whose, &all);
    if n_bad > 0 {
        complain(&format!(
            "{n_bad} secrets were left: no key opens them, or others kept changing their documents"
        ));
    }
    Ok(if n_bad > 0 { EXIT_FAULT } else { 0 })
}

/// First, so that what was done before a kill is on record too.
async fn on_record(opened: &Opened, what: &str, vendor: Option<&VendorId>) -> anyhow::Result<()> {
    let kept = opened.gateway.put_on_record(BY_CLI, what, vendor, None).await;
    kept.context("nothing was changed: it could not be put on record")
}

/// By collection and field, since there may be very many vendors.
fn tell_turned(turn: Turn, whose: &Turning, all: &[(&'static str, Turned)]) {
    let mut rows: BTreeMap<(&str, &str), (BTreeSet<&str>, u64)> = BTreeMap::new();
    for (name, turned) in all {
        for ((vendor, field), n) in &turned.found {
            let row = rows.entry((name, field)).or_default();
            row.0.insert(vendor);
            row.1 += n;
        }
    }
    let older = all.last().map_or("", |it| it.0);
    if whose.json {
        let of = |it: (&(&str, &str), &(BTreeSet<&str>, u64))| {
            let ((name, field), (vendors, n)) = it;
            let is_applied = whose.apply && *name != older;
            json!({ "collection": name, "field": field, "vendors": vendors.len(), "secrets": n, "applied": is_applied })
        };
        json(&json!({ "applied": whose.apply, "fields": rows.iter().map(of).collect::<Vec<_>>() }));
        return;
    }
    let (done, clear) = match turn {
        Turn::Unseal => ("made clear", "sealed"),
        Turn::Seal | Turn::Rotate => ("sealed", "in the clear"),
    };
    if rows.is_empty() {
        line(&format!("no secret is {clear}: nothing to do"));
        return;
    }
    let shown = rows.iter().map(|((name, field), (vendors, n))| {
        [(*name).to_owned(), (*field).to_owned(), vendors.len().to_string(), n.to_string()]
    });
    print(&table(["COLLECTION", "FIELD", "VENDORS", "SECRETS"], &shown.collect::<Vec<_>>()));
    if rows.keys().any(|it| it.0 == older) {
        line(&format!(
            "note: {older} is the older spelling and is never written; take secrets out of it yourself"
        ));
    }
    line(&if whose.apply {
        format!("done: they are {done}")
    } else {
        format!("nothing was changed; with --apply they are {done}")
    });
}
