//! The gateway's data, opened beside a server that may be running.

use std::{fs::File, path::Path, time::Duration};

use anyhow::Context;
use waba_gateway::{
    app,
    config::Config,
    gateway::Gateway,
    store::{Store, StoreError},
};

/// How often a store that is away for a moment is tried.
const TRIES_MAX: u32 = 5;
const BETWEEN_TRIES: Duration = Duration::from_secs(1);

/// The store, open.
pub struct Data {
    data: app::Data,
    /// Two migrations at once would not see each other's numbers.
    turn: Option<File>,
}

impl Data {
    /// Opens the data, or makes them; waits while another migration is at work. A server that runs
    /// is not in the way.
    pub async fn open_to_write(config: &Config) -> anyhow::Result<Self> {
        // Makes the directory and the keys, which there must be before there can be a turn.
        drop(app::vault(config)?);
        let turn = take_turn(&config.data_dir)?;
        Ok(Self { data: app::Data::open_to_write(config).await?, turn: Some(turn) })
    }

    /// Opens the data to look at, where there are any.
    pub async fn open_to_read(config: &Config) -> anyhow::Result<Option<Self>> {
        let data = app::Data::open_to_read(config).await?;
        Ok(data.map(|data| Self { data, turn: None }))
    }

    /// Vendors and instances.
    pub fn store(&self) -> &dyn Store {
        self.data.store.as_ref()
    }

    /// Lets another migration begin: nothing more is planned from what is stored.
    pub fn end_turn(&mut self) {
        self.turn = None;
    }

    /// A gateway over the data, for what is done at Wasender too.
    pub fn gateway(&self, config: &Config) -> anyhow::Result<Gateway> {
        self.data.gateway(config)
    }

    /// Waits until everything is written.
    pub fn close(self) {
        self.data.close();
    }
}

fn take_turn(directory: &Path) -> anyhow::Result<File> {
    let turn = File::open(directory).and_then(|it| it.lock().map(|()| it));
    turn.with_context(|| format!("wait for a turn at {}", directory.display()))
}

/// Tries again while the store is away: to stop in the middle helps nobody.
pub async fn steadily<T>(f: impl AsyncFn() -> Result<T, StoreError>) -> Result<T, StoreError> {
    for _ in 1..TRIES_MAX {
        match f().await {
            Err(error) if error.is_away() => tokio::time::sleep(BETWEEN_TRIES).await,
            end => return end,
        }
    }
    f().await
}
