//! What is done with the journal: by the server that has it, or here when there is none.

use anyhow::bail;
use serde_json::{Value, json};

use crate::{
    app::Data,
    cli::{opened::check_version, serving::Server},
    config::Config,
    domain::{
        clock::{Millis, iso},
        id::{EntryId, VendorId},
    },
    gateway::{AdminError, BY_CLI, Gateway},
    web::journal::{EntryView, JournalReplayedView},
};

/// Who did it, for the log.
const BY: &str = "command line";

/// What is to be done.
pub(super) enum Deed {
    Park(EntryId),
    Release(EntryId),
    Replay { id: EntryId, again: bool },
    ReplaySince { vendor: VendorId, since: Millis, again: bool },
}

/// What came of it, as the server tells it, and whether a server did it; or why it was refused.
type Done = Result<(Value, bool), String>;

impl Deed {
    /// The journal has one writer, which remembers things: while a server holds the data directory
    /// it is asked, and while this holds it no server starts.
    pub(super) async fn run(&self) -> anyhow::Result<Done> {
        let config = Config::from_environment()?;
        check_version(&config)?;
        let Some(data) = Data::open_alone(&config).await? else {
            let Some(server) = Server::of(&config)? else {
                bail!(
                    "a server uses {} and must do this, but there is no admin key to ask it with: set ADMIN_API_KEY",
                    config.data_dir.display()
                );
            };
            let (path, body) = self.request();
            return Ok(server.post(&path, body).await?.map(|it| (it, true)));
        };
        let gateway = data.gateway(&config)?;
        let end = self.here(&gateway).await;
        data.close();
        match end {
            Ok(document) => Ok(Ok((document, false))),
            Err(error @ (AdminError::Store(_) | AdminError::Journal(_))) => Err(error.into()),
            Err(error) => Ok(Err(error.to_string())),
        }
    }

    /// Whether something may be sent that the customer has already.
    pub(super) fn may_repeat(&self) -> bool {
        matches!(self, Self::Replay { again: true, .. } | Self::ReplaySince { again: true, .. })
    }

    fn request(&self) -> (String, Value) {
        match self {
            Self::Park(id) => (format!("journal/entries/{id}/park"), json!({})),
            Self::Release(id) => (format!("journal/entries/{id}/release"), json!({})),
            Self::Replay { id, again } => {
                (format!("journal/entries/{id}/replay"), json!({ "again": again }))
            }
            Self::ReplaySince { vendor, since, again } => {
                let body = json!({ "vendorId": vendor, "since": iso(*since), "again": again });
                ("journal/replay".to_owned(), body)
            }
        }
    }

    /// As the server would put it on record.
    fn on_record(&self) -> (&'static str, Option<&VendorId>, Option<String>) {
        match self {
            Self::Park(id) => ("journalPark", None, Some(id.to_string())),
            Self::Release(id) => ("journalRelease", None, Some(id.to_string())),
            Self::Replay { id, .. } => ("journalReplay", None, Some(id.to_string())),
            Self::ReplaySince { vendor, .. } => ("journalReplayMany", Some(vendor), None),
        }
    }

    async fn here(&self, gateway: &Gateway) -> Result<Value, AdminError> {
        let done = self.do_here(gateway).await?;
        let (what, vendor, about) = self.on_record();
        gateway.put_on_record(BY_CLI, what, vendor, about.as_deref()).await?;
        Ok(done)
    }

    async fn do_here(&self, gateway: &Gateway) -> Result<Value, AdminError> {
        let entry = match self {
            Self::Park(id) => gateway.put_aside(*id, BY).await?,
            Self::Release(id) => gateway.release(*id, BY).await?,
            Self::Replay { id, again } => gateway.replay(*id, *again, BY).await?,
            Self::ReplaySince { vendor, since, again } => {
                let done = gateway.replay_since(vendor, *since, *again, BY).await?;
                return Ok(json!(JournalReplayedView::from(done)));
            }
        };
        Ok(json!(EntryView::from(&entry)))
    }

    /// What was done, in words.
    pub(super) fn told(&self, document: &Value) -> String {
        match self {
            Self::Park(id) => format!("{id} is parked; \"journal release {id}\" lets it go on"),
            Self::Release(id) | Self::Replay { id, .. } => format!("{id} goes on"),
            Self::ReplaySince { vendor, since, .. } => {
                format!("{} of {vendor} since {} go on", document["replayed"], iso(*since))
            }
        }
    }
}
