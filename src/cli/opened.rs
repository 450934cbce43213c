//! The data that a command works on.

use anyhow::{Context, bail};

use super::output::complain;
use crate::{
    app::{Data, Vaulted, database_of},
    config::Config,
    domain::{id::VendorId, vendor::Vendor},
    gateway::{AdminError, BY_CLI, Gateway},
    sqlite,
};

/// Configuration and data, and a gateway over them that works on nothing by itself.
pub(super) struct Opened {
    pub(super) config: Config,
    pub(super) gateway: Gateway,
    data: Data,
}

impl Opened {
    /// The data to look at.
    pub(super) async fn to_read() -> anyhow::Result<Self> {
        let config = Config::from_environment()?;
        check_version(&config)?;
        let data = Data::open_to_read(&config).await?;
        let data = data.with_context(|| {
            format!(
                "there is no data in {} (DATA_DIR): the first start of \"waba-gateway serve\" makes it",
                config.data_dir.display()
            )
        })?;
        Self::over(config, data)
    }

    /// The data to change; made where there are none.
    pub(super) async fn to_write() -> anyhow::Result<Self> {
        let config = Config::from_environment()?;
        check_version(&config)?;
        let data = Data::open_to_write(&config).await?;
        Self::over(config, data)
    }

    /// The data to rewrite without changing what they say, and whether no server uses them: none
    /// starts meanwhile.
    pub(super) async fn to_rewrite() -> anyhow::Result<(Self, bool)> {
        let config = Config::from_environment()?;
        check_version(&config)?;
        // Vendors in Firestore are there also where this machine has no journal yet.
        let is_bare = config.firestore.is_some() && !database_of(&config).exists();
        let alone = if is_bare { None } else { Data::open_alone(&config).await? };
        let is_alone = is_bare || alone.is_some();
        let data = match alone {
            Some(data) => data,
            None => Data::open_to_write(&config).await?,
        };
        Ok((Self::over(config, data)?, is_alone))
    }

    /// What is sealed in the data.
    pub(super) fn vaulted(&self) -> Vaulted {
        self.data.vaulted()
    }

    fn over(config: Config, data: Data) -> anyhow::Result<Self> {
        let gateway = data.gateway(&config)?;
        Ok(Self { config, gateway, data })
    }

    /// A vendor, or `None` when there is none, which is told.
    pub(super) async fn vendor(&self, id: &VendorId) -> anyhow::Result<Option<Vendor>> {
        match self.gateway.vendor(id).await {
            Ok(vendor) => Ok(Some(vendor)),
            Err(AdminError::NoVendor) => {
                complain(&format!(
                    "there is no vendor {id}; \"waba-gateway vendor list\" shows those there are"
                ));
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Puts a change on record that was made here, by whoever may run this program on these data.
    pub(super) async fn record(&self, what: &str, vendor: Option<&VendorId>, about: Option<&str>) {
        if self.gateway.put_on_record(BY_CLI, what, vendor, about).await.is_err() {
            complain("note: the change was made, and could not be put on record");
        }
    }

    /// Waits until everything is written.
    pub(super) fn close(self) {
        self.data.close();
    }
}

/// To look at data must not change it under a server of another version.
pub(super) fn check_version(config: &Config) -> anyhow::Result<()> {
    let path = database_of(config);
    if !path.exists() {
        return Ok(());
    }
    let (found, known) = sqlite::versions(&path).context("open waba.db")?;
    if found > known {
        bail!("the data is of version {found} and this program knows {known}: use the newer one");
    }
    if (1..known).contains(&found) {
        bail!(
            "the data is of version {found}, this program's of {known}: stop the old server and start this one, which brings it up to date"
        );
    }
    Ok(())
}
