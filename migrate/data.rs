//! The gateway's data, opened beside a server that may be running.

use std::{fs::File, path::Path};

use anyhow::Context;
use waba_gateway::{app, config::Config, store::Store};

use super::plan::Plan;

/// The store, open.
pub struct Data {
    data: app::Data,
    /// Two migrations at once would not see each other's numbers.
    _turn: Option<File>,
}

impl Data {
    /// Opens the data, or makes them; waits while another migration is at work. A server that runs
    /// is not in the way.
    pub async fn open_to_write(config: &Config) -> anyhow::Result<Self> {
        // Makes the directory and the keys, which there must be before there can be a turn.
        drop(app::vault(config)?);
        let turn = take_turn(&config.data_dir)?;
        Ok(Self { data: app::Data::open_to_write(config).await?, _turn: Some(turn) })
    }

    /// Opens the data to look at, where there are any.
    pub async fn open_to_read(config: &Config) -> anyhow::Result<Option<Self>> {
        let data = app::Data::open_to_read(config).await?;
        Ok(data.map(|data| Self { data, _turn: None }))
    }

    /// Vendors and instances.
    pub fn store(&self) -> &dyn Store {
        self.data.store.as_ref()
    }

    /// Keeps everything that is planned, or nothing.
    pub async fn put(&self, plan: &Plan) -> anyhow::Result<()> {
        let put = async || self.store().put_all(&plan.vendors, &plan.instances).await;
        app::patiently(put).await.context("write the rows")
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
