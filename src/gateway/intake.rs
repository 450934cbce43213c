//! A webhook comes in: proven, put into our words, kept. Everything else happens later.

use std::{
    path::Path,
    sync::{Arc, atomic::Ordering},
};

use bytes::Bytes;
use metrics::counter;

use super::{Gateway, circuits, shares, states::told_connection};
use crate::{
    domain::{
        answer,
        clock::Millis,
        event::{Event, What},
        id::{EntryId, VendorId},
        waba::{ProviderKind, WabaInstance},
        webhook::{Claim, Headers, Webhook},
    },
    journal::{Appended, JournalError, NewEvent, NewEvents, Recorded},
    sqlite::{DbError, is_of_disk},
    store::StoreError,
    telemetry::{Chain, names},
    vendor::VendorService,
};

/// Between two looks at the free disk space.
const DISK_CHECK_EVERY: Millis = 100;
/// Events of one webhook; a body of the allowed size with more is nobody's message.
const EVENTS_MAX: usize = 10_000;

/// Why a webhook is not accepted.
#[derive(Debug, thiserror::Error)]
pub enum AcceptError {
    /// Not proven. Nothing tells why.
    #[error("not proven")]
    NotProven,
    /// The vendor has too much waiting.
    #[error("too many entries are waiting for this vendor")]
    Overloaded,
    /// The disk is nearly full.
    #[error("the disk is nearly full")]
    DiskFull,
    /// The store cannot say who this is.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// It cannot be kept.
    #[error(transparent)]
    Journal(#[from] JournalError),
}

/// A webhook as it came.
pub struct Came {
    /// Whose.
    pub by: ProviderKind,
    /// Its headers.
    pub headers: Headers,
    /// The address it came to, as its sender knows it.
    pub url: String,
    /// Its body.
    pub body: Bytes,
}

/// A webhook that is kept.
#[derive(Debug)]
pub struct Accepted {
    /// Its first event's entry; of a duplicate, the entry it duplicates.
    pub id: Option<EntryId>,
    /// All its events were there already.
    pub is_duplicate: bool,
}

impl Gateway {
    /// Whether a provider's webhook with these headers may be one of the vendor's, asked before its
    /// body is read; and whether they prove it already.
    ///
    /// # Errors
    ///
    /// [`AcceptError::NotProven`] only when the store says that there is no such vendor, or no
    /// header could prove anything; [`AcceptError::Store`] when it cannot say.
    pub async fn knock(
        &self,
        by: ProviderKind,
        vendor: &str,
        headers: &Headers,
    ) -> Result<(Arc<VendorService>, bool), AcceptError> {
        let service = self.vendor_called(vendor).await?;
        match service.claim(by, headers) {
            Claim::Nothing => Err(self.not_proven(&service)),
            claim => Ok((service, claim == Claim::Proven)),
        }
    }

    pub(super) async fn vendor_called(
        &self,
        vendor: &str,
    ) -> Result<Arc<VendorService>, AcceptError> {
        let vendor = VendorId::parse(vendor).map_err(|_| AcceptError::NotProven)?;
        let found = self.inner.registry.get(&vendor).await;
        if found.as_ref().is_err_and(|it| !it.is_away()) {
            self.inner.alerts.unreadable(&vendor);
        }
        found?.ok_or(AcceptError::NotProven)
    }

    /// The address of a request as its sender knows it: proxies change what we see of it.
    #[must_use]
    pub fn public_url(&self, path_and_query: &str) -> String {
        let base = self.inner.settings.base_url.as_str().trim_end_matches('/');
        format!("{base}{path_and_query}")
    }

    /// Keeps a webhook: proven, put into our words, on disk when this returns.
    ///
    /// # Errors
    ///
    /// It must come again: something of it was not kept.
    pub async fn accept(
        &self,
        service: &Arc<VendorService>,
        came: Came,
    ) -> Result<Accepted, AcceptError> {
        let Came { by, headers, url, body } = came;
        let proven = service.verify(by, Webhook::new(headers, url, body));
        let hook = proven.map_err(|_| self.not_proven(service))?;
        let instance = service.instance(hook.instance()).ok_or(AcceptError::NotProven)?;
        let parsed = shares::read(by, service, &hook);
        let shares = self.shares(by, service, instance, &hook, parsed).await?;
        let now = self.inner.clock.now();
        self.check_disk()?;
        let (mut accepted, mut is_all) = (None::<Accepted>, true);
        for share in shares {
            let vendor = &share.service.vendor().id;
            self.inner.heard.verified(vendor, now);
            // The others' is kept: what comes again is known.
            if !self.inner.work.admits(vendor) {
                is_all = false;
                continue;
            }
            let kept = self.keep_share(by, share, hook.body(), now).await?;
            accepted = Some(match accepted {
                Some(before) if kept.is_duplicate || before.id.is_some() => {
                    Accepted { is_duplicate: before.is_duplicate && kept.is_duplicate, ..before }
                }
                _ => kept,
            });
        }
        if !is_all {
            return Err(AcceptError::Overloaded);
        }
        Ok(accepted.unwrap_or(Accepted { id: None, is_duplicate: false }))
    }

    async fn keep_share(
        &self,
        by: ProviderKind,
        share: shares::Share,
        body: &Bytes,
        now: Millis,
    ) -> Result<Accepted, AcceptError> {
        let shares::Share { service, instance, mut events, warning } = share;
        let (service, vendor) = (&*service, &service.vendor().id);
        if by != ProviderKind::Wasender {
            events.iter_mut().for_each(|it| it.via = Some(by));
        }
        let told = told_connection(&events);
        self.tell_circuit(&instance, by, told, now);
        // What another route is like is not the state of the number.
        let told = told.filter(|_| by == instance.provider);
        let batch = NewEvents {
            vendor: vendor.clone(),
            instance: instance.id.clone(),
            silence: service.vendor().silence,
            forward: service.vendor().forward_url.is_some(),
            is_told_twice: instance.is_told_twice(by),
            now,
            raw: body.clone(),
            events: self.news(by, service, &instance, events, now),
        };
        // What is kept is worked on at once: what came later and waited less would be before it.
        let late = circuits::late_ends(by, &batch.events);
        let append = async {
            let appended = self.inner.journal.append(batch).await?;
            self.tell_late(&instance, by, (&late, &appended.entries), now);
            let accepted = self.record(appended);
            if let Some(warning) = warning.filter(|_| !accepted.is_duplicate) {
                self.note_warning(by, &instance, warning, now).await;
            }
            Ok::<_, JournalError>(accepted)
        };
        let (accepted, synced) = tokio::join!(append, self.sync(service, &instance, told, now));
        let accepted = accepted?;
        if let Err(error) = synced
            && !is_of_disk(&error)
        {
            // The event itself is kept; the next one brings the state up to date.
            tracing::error!(vendor.id = %vendor, error = %Chain(&error), "the state of a session could not be kept");
        }
        Ok(accepted)
    }

    /// The events worth keeping, and which of the messages will not be answered.
    fn news(
        &self,
        by: ProviderKind,
        service: &VendorService,
        instance: &WabaInstance,
        events: Vec<Event>,
        now: Millis,
    ) -> Vec<NewEvent> {
        let max_age = self.inner.settings.max_answer_age;
        // The state of a session is never a duplicate, but the present state is no news.
        let is_news =
            |it: &Event| by != instance.provider || it.what != What::Connection(instance.status);
        let new = |event: Event| {
            counter!(names::EVENTS, "kind" => kind(&event.what)).increment(1);
            let unanswered = match event.what {
                What::Message(_) => {
                    answer::may_answer(service.vendor(), &event, now, max_age).err()
                }
                _ => None,
            };
            NewEvent { event, unanswered }
        };
        events.into_iter().take(EVENTS_MAX).filter(is_news).map(new).collect()
    }

    fn record(&self, appended: Appended) -> Accepted {
        if appended.n_humans > 0 {
            tracing::info!(
                n_conversations = appended.n_humans,
                "a human answers; the bot is quiet"
            );
        }
        let is_new = |it: &&Recorded| matches!(it, Recorded::New(_));
        let n_new = appended.entries.iter().filter(is_new).count();
        counter!(names::DUPLICATES).increment((appended.entries.len() - n_new) as u64);
        let first = appended.entries.iter().find(is_new).or(appended.entries.first());
        let id = first.map(|it| match it {
            Recorded::New(id) | Recorded::Duplicate(id) => *id,
        });
        self.inner.work.apply(appended.changes);
        if appended.n_files > 0 {
            self.inner.media.wake();
        }
        Accepted { id, is_duplicate: n_new == 0 && id.is_some() }
    }

    /// Nothing that is known of the vendor proves it. It may be the store that knows more.
    pub(super) fn not_proven(&self, service: &VendorService) -> AcceptError {
        if service.is_copy() {
            return StoreError::from(DbError::Away).into();
        }
        self.refuse(&service.vendor().id)
    }

    /// Counts a refusal of a vendor that exists.
    pub(super) fn refuse(&self, vendor: &VendorId) -> AcceptError {
        self.inner.heard.refused(vendor, self.inner.clock.now());
        AcceptError::NotProven
    }

    /// Free space, looked at every so often: it does not change faster than this matters.
    pub(super) fn check_disk(&self) -> Result<(), AcceptError> {
        let (settings, now) = (&self.inner.settings, self.inner.clock.now());
        let checked = &self.inner.disk_checked;
        if now - checked.at.load(Ordering::Relaxed) >= DISK_CHECK_EVERY {
            checked.at.store(now, Ordering::Relaxed);
            let free = free_disk_bytes(&settings.data_dir).unwrap_or(u64::MAX);
            checked.is_full.store(free < settings.min_free_disk_bytes, Ordering::Relaxed);
        }
        if checked.is_full.load(Ordering::Relaxed) { Err(AcceptError::DiskFull) } else { Ok(()) }
    }

    /// Whether a webhook could be kept now.
    pub async fn ready(&self) -> Result<(), AcceptError> {
        self.check_disk()?;
        Ok(self.inner.journal.ready().await?)
    }
}

/// Bytes that we may still write where this directory is; `None` when nobody can say.
#[must_use]
pub fn free_disk_bytes(directory: &Path) -> Option<u64> {
    let found = rustix::fs::statvfs(directory).ok()?;
    Some(found.f_bavail.saturating_mul(found.f_frsize))
}

fn kind(what: &What) -> &'static str {
    match what {
        What::Message(_) => "message",
        What::Echo(_) => "echo",
        What::Edit { .. } => "edit",
        What::Revoke { .. } => "revoke",
        What::Reaction { .. } => "reaction",
        What::Votes { .. } => "votes",
        What::Status { .. } => "status",
        What::SendFailed { .. } => "send_failed",
        What::Connection(_) => "connection",
        What::Other { .. } => "other",
    }
}
