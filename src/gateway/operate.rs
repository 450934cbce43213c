//! What a person does with the journal: looks at it, puts work aside, lets it go on.

use std::collections::BTreeMap;

use super::{AdminError, Gateway};
use crate::{
    domain::{
        clock::Millis,
        id::{EntryId, VendorId},
        retention::ClockMark,
        vendor::{REPLY_TTL, SEND_TTL, Vendor, VendorStatus},
    },
    journal::{
        Backlog, Entry, Ledger, Listed, Listing, RESUMED_AT_ONCE_MAX, Refused, Replayable, Resume,
        Volume,
    },
};

/// Entries of one list.
pub const LISTED_MAX: usize = 1_000;

/// What the journal tells of itself.
#[derive(Debug)]
pub struct Stats {
    /// What is left to do, or to be looked at.
    pub backlog: Backlog,
    /// How large it is.
    pub volume: Volume,
    /// What has ended is removed when it is older.
    pub retention: Millis,
    /// What is remembered of the clock: after a jump nothing is removed for a while.
    pub clock: ClockMark,
}

/// What a replay of a vendor's entries did.
#[derive(Debug, Default)]
pub struct Replayed {
    /// Entries that go on.
    pub n_replayed: usize,
    /// Entries that stay as they are, by why.
    pub refused: BTreeMap<String, usize>,
    /// The vendor has as much waiting as it may: more are left, for later.
    pub has_more: bool,
}

impl Gateway {
    /// What the journal tells of itself.
    pub async fn journal_stats(&self) -> Result<Stats, AdminError> {
        let journal = &self.inner.journal;
        let backlog = journal.backlog(None, self.inner.clock.now()).await?;
        let clock = journal.clock_mark().await?.unwrap_or_default();
        let (volume, retention) = (journal.volume().await?, self.inner.settings.retention);
        Ok(Stats { backlog, volume, retention, clock })
    }

    /// The ledger of a vendor or of all, and a fresh count of the entries where that is wanted.
    pub async fn journal_ledger(
        &self,
        vendor: Option<&VendorId>,
        verify: bool,
    ) -> Result<(Ledger, Option<Ledger>), AdminError> {
        if let Some(vendor) = vendor {
            self.vendor(vendor).await?;
        }
        let journal = &self.inner.journal;
        if verify {
            let (ledger, counted) = journal.verify(vendor).await?;
            return Ok((ledger, Some(counted)));
        }
        Ok((journal.ledger(vendor).await?, None))
    }

    /// Entries in a state, newest first.
    pub async fn journal_entries(&self, listing: Listing) -> Result<Vec<Entry>, AdminError> {
        match &listing.vendor {
            Some(vendor) => {
                self.vendor(vendor).await?;
            }
            None if listing.state == Listed::Unanswered => {
                return Err(AdminError::Invalid("unanswered is listed for one vendor".to_owned()));
            }
            None => {}
        }
        let limit = listing.limit.clamp(1, LISTED_MAX);
        Ok(self.inner.journal.entries(Listing { limit, ..listing }).await?)
    }

    /// An entry, whatever it is.
    pub async fn journal_entry(&self, id: EntryId) -> Result<Entry, AdminError> {
        self.inner.journal.entry(id).await?.ok_or(AdminError::NoMessage)
    }

    /// A parked message or send goes on, at the tail of its lane. `by` is who wants it.
    pub async fn release(&self, id: EntryId, by: &str) -> Result<Entry, AdminError> {
        self.resume_one(id, true, false, by).await
    }

    /// A message without an answer is worked on again, a send that was given up or parked goes on.
    /// What the customer may have already only goes `again`, and may then reach them twice.
    pub async fn replay(&self, id: EntryId, again: bool, by: &str) -> Result<Entry, AdminError> {
        self.resume_one(id, false, again, by).await
    }

    /// Puts a waiting message or send aside until it is released.
    pub async fn put_aside(&self, id: EntryId, by: &str) -> Result<Entry, AdminError> {
        let ended = self.inner.journal.put_aside(id, self.inner.clock.now()).await?;
        let changes = ended.map_err(refused)?;
        self.inner.work.apply(changes);
        tracing::info!(message.id = %id, key.id = by, "an entry was put aside by a person");
        self.journal_entry(id).await
    }

    /// Lets all of a vendor's entries since a time go on for which that makes sense, oldest first.
    pub async fn replay_since(
        &self,
        vendor: &VendorId,
        since: Millis,
        again: bool,
        by: &str,
    ) -> Result<Replayed, AdminError> {
        let of = self.vendor(vendor).await?;
        let resume = self.resume(&of, false, again);
        let which = Replayable { messages: answers(&of), again };
        // Within what an id can hold. What is committed from now on is not meant.
        let mut after = EntryId(EntryId::at(since.clamp(0, resume.now)).0 - 1);
        let last = EntryId::at(resume.now + 1);
        let mut done = Replayed::default();
        loop {
            let journal = &self.inner.journal;
            let page = journal.replayable(vendor, after, which, RESUMED_AT_ONCE_MAX).await?;
            let is_last = page.len() < RESUMED_AT_ONCE_MAX;
            let page: Vec<EntryId> = page.into_iter().filter(|it| *it < last).collect();
            let Some(end) = page.last().copied() else { break };
            if !self.inner.work.admits(vendor) {
                done.has_more = true;
                break;
            }
            let resumed = journal.resume(page, resume).await?;
            self.inner.work.apply(resumed.changes);
            for end in resumed.ends {
                match end {
                    Ok(()) => done.n_replayed += 1,
                    // The time until which a conversation is paused differs, the reason does not.
                    Err(Refused::Paused(_)) => {
                        let why = "the bot is paused in its conversation".to_owned();
                        *done.refused.entry(why).or_default() += 1;
                    }
                    Err(why) => *done.refused.entry(why.to_string()).or_default() += 1,
                }
            }
            if is_last {
                break;
            }
            after = end;
        }
        let n_entries = done.n_replayed;
        tracing::info!(vendor.id = %vendor, n_entries, again, key.id = by, "entries were replayed by a person");
        Ok(done)
    }

    async fn resume_one(
        &self,
        id: EntryId,
        only_parked: bool,
        again: bool,
        by: &str,
    ) -> Result<Entry, AdminError> {
        let entry = self.journal_entry(id).await?;
        let vendor = self.inner.store.vendor(&entry.vendor).await?;
        let gone = || AdminError::Conflict("its vendor is gone".to_owned());
        let vendor = vendor.ok_or_else(gone)?;
        if entry.kind == "message" && !answers(&vendor) {
            let why = "its vendor is not active, or has its automatic replies off";
            return Err(AdminError::Conflict(why.to_owned()));
        }
        let resume = self.resume(&vendor, only_parked, again);
        let mut resumed = self.inner.journal.resume(vec![id], resume).await?;
        if let Some(Err(why)) = resumed.ends.pop() {
            return Err(refused(why));
        }
        self.inner.work.apply(resumed.changes);
        tracing::info!(message.id = %id, again, key.id = by, "an entry goes on by a person's wish");
        self.journal_entry(id).await
    }

    fn resume(&self, vendor: &Vendor, only_parked: bool, again: bool) -> Resume {
        let now = self.inner.clock.now();
        let expires = |ttl| now + vendor.intent_ttl.unwrap_or(ttl);
        let (reply_expires, send_expires) = (expires(REPLY_TTL), expires(SEND_TTL));
        Resume { only_parked, again, now, reply_expires, send_expires }
    }
}

fn answers(vendor: &Vendor) -> bool {
    vendor.status == VendorStatus::Active && vendor.auto_reply
}

fn refused(why: Refused) -> AdminError {
    match why {
        Refused::NoEntry => AdminError::NoMessage,
        why => AdminError::Conflict(why.to_string()),
    }
}
