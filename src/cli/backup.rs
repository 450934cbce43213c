//! `backup` and `restore`.

use std::path::PathBuf;

use anyhow::Context;

use super::{
    Ended,
    output::{complain, line},
};
use crate::{
    app,
    config::Config,
    domain::clock::{Clock, iso},
};

pub(super) const BACK_UP: &str = "\
Copy the data while the server runs: vendors, keys, messages, the journal.

The copy is whole in itself and of one moment, readable by its owner alone, and checked before it
gets its name. It replaces no file. Not in it are the encryption key, without which it is of no
use to anybody, and the files that customers sent (media/ in DATA_DIR): keep copies of both apart.";

pub(super) const BACK_UP_AFTER: &str = "\
Example:
  waba-gateway backup /backup/waba-$(date +%F).db

Exit codes: 0 made, 2 could not run";

pub(super) const RESTORE: &str = "\
Bring a backup back into DATA_DIR, which no server may use meanwhile.

The encryption key must be there first (ENCRYPTION_KEY, or encryption.key in DATA_DIR). The file is
copied and checked before anything is changed. What was unfinished when the backup was made is
parked as \"restored\", since it may have been done after that: nothing is answered or sent until a
person releases or replays it. Events on their way to vendors' back ends go on, with the ids they
had.";

pub(super) const RESTORE_AFTER: &str = "\
Examples:
  waba-gateway restore /backup/waba-2026-01-31.db
  waba-gateway restore --force /backup/waba-2026-01-31.db
  waba-gateway journal list --state parked
  waba-gateway journal list --state parked --vendor vendor_001 --limit 1000 --json |
    jq -r '.entries[] | select(.reason == \"restored\") | .id' |
    xargs -rn1 waba-gateway journal release

Exit codes: 0 restored, 2 could not run";

/// Where the copy goes.
#[derive(clap::Args)]
pub struct BackUp {
    /// The file to write; it must not be there yet
    file: PathBuf,
}

/// What is brought back.
#[derive(clap::Args)]
pub struct Restore {
    /// The backup
    file: PathBuf,
    /// Move the data that are there aside
    #[arg(long)]
    force: bool,
}

pub(super) async fn back_up(arguments: BackUp) -> Ended {
    let config = Config::from_environment()?;
    let file = arguments.file;
    let path = file.clone();
    let now = Clock::System.now();
    let copied = tokio::task::spawn_blocking(move || app::back_up(&config, &path, now));
    let n_bytes = copied.await.context("the copy")??;
    line(&format!("{}: {} KiB, as of {}", file.display(), n_bytes / 1024, iso(now)));
    complain(
        "not in it: the encryption key, without which it cannot be read, and media/; keep both apart",
    );
    Ok(0)
}

pub(super) async fn restore(arguments: Restore) -> Ended {
    let config = Config::from_environment()?;
    let Restore { file, force } = arguments;
    let restored = app::restore(&config, &file, force, Clock::System.now()).await?;
    let made = restored.made_at.map(|it| format!(", made {}", iso(it))).unwrap_or_default();
    line(&format!("restored {}{made}", file.display()));
    if let Some(aside) = &restored.replaced {
        line(&format!("what was there before is in {}", aside.display()));
    }
    line(&format!(
        "{} messages and sends were unfinished and are parked as \"restored\"",
        restored.n_parked
    ));
    if restored.n_parked > 0 {
        line(
            "see them with \"waba-gateway journal list --state parked\", let one go on with \"journal release ID\"",
        );
    }
    Ok(0)
}
