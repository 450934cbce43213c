//! Alerts: looked for once a minute, raised once, ended once.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex as SyncMutex, MutexGuard, PoisonError},
};

use metrics::gauge;
use tokio::sync::Mutex;

use super::{AdminError, Gateway};
use crate::{
    domain::{
        alert::{AlertKind, HABIT_DAYS, RECORDS_LATE_AFTER, Silence, hour_of, silence},
        clock::Millis,
        id::VendorId,
        vendor::{Vendor, VendorStatus},
    },
    journal::Signs,
    store::{Alert, VendorPage},
    telemetry::names,
};

/// Vendors looked at in one look; more take several.
const VENDORS_PER_LOOK: usize = 2_000;
/// Vendors read at once.
const PAGE: usize = 200;
/// Alerts raised in one look; what is left is raised in the next.
const RAISED_PER_LOOK_MAX: usize = 1_000;

/// Vendors that could not be read and are looked at again in one look.
const UNREADABLE_PER_LOOK_MAX: usize = 100;

/// The open alerts, and how far the look over the vendors has got.
#[derive(Default)]
pub struct Alerts {
    board: Mutex<Board>,
    /// Vendors of whom something stored could not be read when they were called.
    unreadable: SyncMutex<BTreeSet<VendorId>>,
    /// Vendors that could not be read when they were last listed.
    unlisted: SyncMutex<BTreeSet<VendorId>>,
}

impl Alerts {
    /// Something stored of this vendor could not be opened or read.
    pub(super) fn unreadable(&self, vendor: &VendorId) {
        let mut all = self.unreadable.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() < RAISED_PER_LOOK_MAX {
            all.insert(vendor.clone());
        }
    }

    fn take_unreadable(&self) -> BTreeSet<VendorId> {
        let mut all = self.unreadable.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *all)
    }

    fn unlisted(&self) -> MutexGuard<'_, BTreeSet<VendorId>> {
        self.unlisted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is looked for as the vendors are listed.
const OF_LISTED: [AlertKind; 3] =
    [AlertKind::Silent, AlertKind::Disconnected, AlertKind::ForwardsDead];

#[derive(Default)]
struct Board {
    open: BTreeMap<(AlertKind, Option<VendorId>), Millis>,
    /// The last vendor that was looked at.
    cursor: Option<VendorId>,
    /// What an earlier process had raised has been read.
    is_loaded: bool,
}

/// What one look changes.
struct Look<'a> {
    board: &'a Board,
    now: Millis,
    raised: Vec<Alert>,
    ended: Vec<Alert>,
}

impl Look<'_> {
    /// An alert is, or is not, called for.
    fn see(&mut self, kind: AlertKind, vendor: Option<&VendorId>, is_called_for: bool) {
        let key = (kind, vendor.cloned());
        match self.board.open.get(&key) {
            None if is_called_for && self.raised.len() < RAISED_PER_LOOK_MAX => {
                self.raised.push(Alert { kind, vendor: key.1, since: self.now });
            }
            Some(since) if !is_called_for => {
                self.ended.push(Alert { kind, vendor: key.1, since: *since });
            }
            _ => {}
        }
    }

    /// Nobody is called for a vendor that is not there any more: where it was listed, it is missing.
    fn end_of_gone(&mut self, after: Option<&VendorId>, page: &VendorPage) {
        let mut there: BTreeSet<&VendorId> = page.vendors.iter().map(|it| &it.id).collect();
        there.extend(&page.unreadable);
        let is_gone = |it: &&VendorId| is_within(it, after, page) && !there.contains(*it);
        let open = self.board.open.keys().filter(|it| OF_LISTED.contains(&it.0));
        let gone = open.filter_map(|it| Some((it.0, it.1.as_ref().filter(is_gone)?.clone())));
        for (kind, vendor) in gone.collect::<Vec<_>>() {
            self.see(kind, Some(&vendor), false);
        }
    }
}

impl Gateway {
    /// The open alerts, the oldest first.
    pub async fn alerts(&self) -> Result<Vec<Alert>, AdminError> {
        let mut alerts = self.inner.store.alerts().await?;
        alerts.sort_by_key(|it| it.since);
        Ok(alerts)
    }

    /// Looks whether somebody must be called: at everybody who is refused, at the disk, and at the
    /// next vendors in turn.
    ///
    /// # Errors
    ///
    /// Not everybody was looked at: the store is away, or the disk.
    pub async fn look(&self) -> Result<(), AdminError> {
        let mut board = self.inner.alerts.board.lock().await;
        if !board.is_loaded {
            let open = self.inner.store.alerts().await?;
            board.open = open.into_iter().map(|it| ((it.kind, it.vendor), it.since)).collect();
            board.is_loaded = true;
        }
        let now = self.inner.clock.now();
        let mut look = Look { board: &board, now, raised: Vec::new(), ended: Vec::new() };
        look.see(AlertKind::DiskFull, None, self.check_disk().is_err());
        look.see(AlertKind::RecordsLate, None, self.are_records_late(now).await?);
        self.look_at_refused(&mut look);
        let looked = self.look_at_vendors(&mut look).await;
        self.look_at_unreadable(&mut look).await;
        let (raised, ended) = (look.raised, look.ended);
        if !(raised.is_empty() && ended.is_empty()) {
            self.inner.store.change_alerts(&raised, &ended).await?;
        }
        for alert in &raised {
            board.open.insert((alert.kind, alert.vendor.clone()), alert.since);
            tell(alert, true);
        }
        for alert in ended {
            tell(&alert, false);
            board.open.remove(&(alert.kind, alert.vendor));
        }
        board.count();
        board.cursor = looked?;
        Ok(())
    }

    /// With an embedded store there are none.
    async fn are_records_late(&self, now: Millis) -> Result<bool, AdminError> {
        if !self.inner.manager.is_store_elsewhere() {
            return Ok(false);
        }
        Ok(self.inner.journal.outbox_load().await?.late_by(now) >= RECORDS_LATE_AFTER)
    }

    fn look_at_refused(&self, look: &mut Look<'_>) {
        let refused = self.inner.heard.being_refused();
        let long = refused.iter().filter(|it| it.1.is_refused_for_long(look.now));
        let long: BTreeSet<&VendorId> = long.map(|it| &it.0).collect();
        let open = look.board.open.keys().filter(|it| it.0 == AlertKind::Refused);
        let over: Vec<VendorId> =
            open.filter_map(|it| it.1.clone()).filter(|it| !long.contains(it)).collect();
        over.iter().for_each(|it| look.see(AlertKind::Refused, Some(it), false));
        long.iter().for_each(|it| look.see(AlertKind::Refused, Some(it), true));
    }

    /// Those who could not be read are read again: what ends the alert is that they can be.
    async fn look_at_unreadable(&self, look: &mut Look<'_>) {
        let open = look.board.open.keys().filter(|it| it.0 == AlertKind::Unreadable);
        let mut all = self.inner.alerts.take_unreadable();
        all.extend(open.filter_map(|it| it.1.clone()));
        // Of these the list says it, though they may still be remembered from before.
        all.retain(|it| !self.inner.alerts.unlisted().contains(it));
        for vendor in all.iter().take(UNREADABLE_PER_LOOK_MAX) {
            match self.inner.registry.get(vendor).await {
                Ok(_) => look.see(AlertKind::Unreadable, Some(vendor), false),
                Err(error) if error.is_away() => {}
                Err(_) => look.see(AlertKind::Unreadable, Some(vendor), true),
            }
        }
    }

    /// Where the next look goes on.
    async fn look_at_vendors(&self, look: &mut Look<'_>) -> Result<Option<VendorId>, AdminError> {
        let from_hour = hour_of(look.now) - 24 * (HABIT_DAYS + 1);
        let mut cursor = look.board.cursor.clone();
        for _ in 0..VENDORS_PER_LOOK / PAGE {
            let page = self.inner.manager.vendors_here(cursor.as_ref(), PAGE).await?;
            let ids: Vec<VendorId> = page.vendors.iter().map(|it| it.id.clone()).collect();
            let signs = self.inner.journal.signs(&ids, from_hour).await?;
            let disconnected = self.inner.store.disconnected(&ids).await?;
            for (vendor, signs) in page.vendors.iter().zip(&signs) {
                look_at(look, vendor, signs, disconnected.contains(&vendor.id));
            }
            self.look_at_unlisted(look, cursor.as_ref(), &page);
            look.end_of_gone(cursor.as_ref(), &page);
            cursor = page.next;
            if cursor.is_none() {
                break;
            }
        }
        Ok(cursor)
    }

    fn look_at_unlisted(&self, look: &mut Look<'_>, after: Option<&VendorId>, page: &VendorPage) {
        let mut unlisted = self.inner.alerts.unlisted();
        // Who is listed can be read, and who is not any more may be gone.
        unlisted.retain(|it| !is_within(it, after, page));
        for vendor in &page.unreadable {
            look.see(AlertKind::Unreadable, Some(vendor), true);
            unlisted.insert(vendor.clone());
        }
    }
}

/// Whether a vendor would be on this page, which goes on after another.
fn is_within(vendor: &VendorId, after: Option<&VendorId>, page: &VendorPage) -> bool {
    let is_after = after.is_none_or(|it| vendor > it);
    is_after && page.next.as_ref().is_none_or(|it| vendor <= it)
}

fn look_at(look: &mut Look<'_>, vendor: &Vendor, signs: &Signs, is_disconnected: bool) {
    // Nobody is called for a vendor that is not served.
    let is_active = vendor.status == VendorStatus::Active;
    let is_silent = matches!(silence(&signs.hours, look.now), Silence::Unusual { .. });
    look.see(AlertKind::Silent, Some(&vendor.id), is_active && is_silent);
    look.see(AlertKind::Disconnected, Some(&vendor.id), is_active && is_disconnected);
    look.see(AlertKind::ForwardsDead, Some(&vendor.id), signs.n_forwards_dead > 0);
}

impl Board {
    fn count(&self) {
        for kind in AlertKind::ALL {
            let n = self.open.keys().filter(|it| it.0 == kind).count();
            #[expect(clippy::cast_precision_loss, reason = "a gauge")]
            gauge!(names::ALERTS, "kind" => kind.as_str()).set(n as f64);
        }
    }
}

fn tell(alert: &Alert, is_raised: bool) {
    let vendor = alert.vendor.as_ref().map(VendorId::as_str);
    let kind = alert.kind.as_str();
    if !is_raised {
        tracing::info!(vendor.id = vendor, alert = kind, "an alert has ended");
        return;
    }
    let what = match alert.kind {
        AlertKind::Refused => {
            "the vendor's webhooks are refused and none is proven: its webhook secret differs from the one at the provider"
        }
        AlertKind::Silent => "a number that usually gets messages at this hour gets none",
        AlertKind::Disconnected => {
            "a number is not connected at its provider: link the phone again, or see to its account there"
        }
        AlertKind::ForwardsDead => "events could not be forwarded to the vendor's back end",
        AlertKind::Unreadable => {
            "what is stored of the vendor cannot be opened or read: its webhooks are answered 503"
        }
        AlertKind::DiskFull => "the disk is nearly full: webhooks are answered 503",
        AlertKind::RecordsLate => "documents of messages wait for Firestore",
    };
    tracing::error!(vendor.id = vendor, alert = kind, "{what}");
}
