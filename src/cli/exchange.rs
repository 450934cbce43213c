//! `vendor export` and `vendor import`: vendors handed from one gateway to another.

use std::{
    fs::OpenOptions,
    io::{Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use anyhow::Context;

use super::{
    EXIT_FAULT, Ended,
    opened::Opened,
    output::{complain, line, print},
};
use crate::{
    domain::id::VendorId,
    gateway::{Export, ImportError},
};

pub(super) const EXPORT_AFTER: &str = "\
Examples:
  waba-gateway vendor export vendors.json
  waba-gateway vendor export --secrets vendors.json

With --secrets the file holds every key and secret in clear: keep it as you keep those.

Exit codes: 0 exported, 1 some vendors cannot be read and are not in it, 2 could not run";

pub(super) const IMPORT_AFTER: &str = "\
Examples:
  waba-gateway vendor import vendors.json --dry-run
  waba-gateway vendor import - < vendors.json

Exit codes: 0 imported, 1 something is wrong with the file and nothing was changed, 2 could not run,
or with Firestore not to the end, which is told";

/// Writes all vendors into a file that its owner alone can read, or to standard output.
pub(super) async fn export(file: Option<&Path>, with_secrets: bool) -> Ended {
    let opened = Opened::to_read().await?;
    let mut document = opened.gateway.export_vendors(with_secrets);
    let Some(path) = file else {
        while let Some(piece) = document.next().await? {
            print(&piece);
        }
        opened.close();
        return Ok(end_of(&document));
    };
    let told = || format!("write {}", path.display());
    let mut file = OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(path)
        .with_context(told)?;
    while let Some(piece) = document.next().await? {
        file.write_all(piece.as_bytes()).with_context(told)?;
    }
    file.sync_all().with_context(told)?;
    opened.close();
    Ok(end_of(&document))
}

fn end_of(document: &Export) -> u8 {
    if left_out(document.unreadable()) { EXIT_FAULT } else { 0 }
}

/// Names those that could not be read; whether there are any.
pub(super) fn left_out(unreadable: &[VendorId]) -> bool {
    if unreadable.is_empty() {
        return false;
    }
    let ids: Vec<&str> = unreadable.iter().map(VendorId::as_str).collect();
    let n = ids.len();
    complain(&format!(
        "{n} vendors are left out: what is stored of them cannot be opened or read: {}",
        ids.join(", ")
    ));
    true
}

/// Takes the vendors of a file, all or none as far as the store can; `-` is standard input.
pub(super) async fn import(path: &Path, is_dry_run: bool) -> Ended {
    let mut text = Vec::new();
    if path == Path::new("-") {
        std::io::stdin().read_to_end(&mut text).context("read standard input")?;
    } else {
        text = std::fs::read(path).with_context(|| format!("read {}", path.display()))?;
    }
    let opened = Opened::to_write().await?;
    let imported = opened.gateway.import_vendors(&text, is_dry_run).await;
    let is_kept = matches!(imported, Ok(_) | Err(ImportError::Partly(_)));
    if is_kept && !is_dry_run {
        opened.record("importVendors", None, None).await;
    }
    opened.close();
    let done = match imported {
        Ok(done) => done,
        Err(ImportError::Faults { n_faults, faults }) => {
            for it in faults {
                let vendor = it.vendor.as_ref().map_or("", VendorId::as_str);
                complain(&format!("vendors[{}] {vendor} {}: {}", it.index, it.field, it.why));
            }
            complain(&format!("{n_faults} faults; nothing was changed"));
            return Ok(EXIT_FAULT);
        }
        Err(ImportError::Admin(crate::gateway::AdminError::Invalid(why))) => {
            complain(&format!("{why}; nothing was changed"));
            return Ok(EXIT_FAULT);
        }
        Err(error) => return Err(error.into()),
    };
    let (made, changed) = if is_dry_run { ("to make", "to change") } else { ("made", "changed") };
    line(&format!(
        "{} vendors {made}, {} {changed}, with {} numbers",
        done.n_created, done.n_updated, done.n_instances
    ));
    Ok(0)
}
