//! What the simulation only passes on to the real journal, which may fail here as well.

use std::ops::Range;

use async_trait::async_trait;
use waba_gateway::domain::{contact::Address, id::InstanceId, route::ProviderKind};
use waba_gateway::{
    domain::{
        bulk::{BulkDeed, BulkId},
        clock::Millis,
        id::{ContactId, EntryId, ForwardId, VendorId},
        media::MediaId,
        message::Content,
        retention::ClockMark,
    },
    journal::{
        Backlog, Bulk, BulkChanged, BulkJob, BulkProgress, Change, Conversation, Conversations,
        Counters, DocumentEnd, DueDocument, DueDocuments, Entry, EraseFrom, Erased, Forward,
        ForwardEnd, Forwards, ForwardsLoad, Handed, Idempotency, JournalError, Keep, KeptJob,
        Ledger, Listing, MediaDue, MediaEnd, MediaJournal, NewIntent, NewJob, NewRecipient,
        NewUpload, Operate, Outbox, OutboxLoad, Page, People, Recipient, Record, Refused, Replay,
        Replayable, Resume, Resumed, Signs, Span, StoredMedia, Tally, ToForward, Volume, Watch,
    },
};

use super::journal::Watched;

#[async_trait]
impl Counters for Watched {
    async fn hours(&self, vendor: &VendorId, hours: Range<i64>) -> Result<Tally, JournalError> {
        self.around(self.inner.hours(vendor, hours)).await
    }

    async fn count_hours(
        &self,
        vendor: &VendorId,
        hours: Range<i64>,
    ) -> Result<Tally, JournalError> {
        self.around(self.inner.count_hours(vendor, hours)).await
    }

    fn is_status(&self, word: &str) -> bool {
        self.inner.is_status(word)
    }
}

#[async_trait]
impl People for Watched {
    async fn conversations(
        &self,
        vendor: &VendorId,
        before: Option<EntryId>,
        limit: usize,
    ) -> Result<Conversations, JournalError> {
        self.around(self.inner.conversations(vendor, before, limit)).await
    }

    async fn conversation(
        &self,
        vendor: &VendorId,
        contact: ContactId,
    ) -> Result<Option<Conversation>, JournalError> {
        self.around(self.inner.conversation(vendor, contact)).await
    }

    async fn wrote_at(
        &self,
        instance: &InstanceId,
        address: &Address,
        via: ProviderKind,
    ) -> Result<Option<Millis>, JournalError> {
        self.around(self.inner.wrote_at(instance, address, via)).await
    }

    async fn wrote_by(
        &self,
        instance: &InstanceId,
        address: &Address,
        now: Millis,
    ) -> Result<Option<ProviderKind>, JournalError> {
        self.inner.wrote_by(instance, address, now).await
    }

    async fn messages_of(
        &self,
        vendor: &VendorId,
        contact: ContactId,
        span: Span,
    ) -> Result<Page, JournalError> {
        self.around(self.inner.messages_of(vendor, contact, span)).await
    }

    async fn records(
        &self,
        vendor: &VendorId,
        contact: ContactId,
        after: EntryId,
        limit: usize,
    ) -> Result<Vec<Record>, JournalError> {
        self.around(self.inner.records(vendor, contact, after, limit)).await
    }

    async fn erase(
        &self,
        vendor: &VendorId,
        contact: ContactId,
        part: (Option<EraseFrom>, usize),
        now: Millis,
    ) -> Result<Erased, JournalError> {
        self.around(self.inner.erase(vendor, contact, part, now)).await
    }
}

#[async_trait]
impl Forwards for Watched {
    async fn forwarded(&self) -> Vec<VendorId> {
        self.inner.forwarded().await
    }

    async fn forwarding(&self) -> Result<Vec<VendorId>, JournalError> {
        self.around(self.inner.forwarding()).await
    }

    async fn next_forward(
        &self,
        vendor: &VendorId,
        skips: usize,
    ) -> Result<Option<ToForward>, JournalError> {
        self.around(self.inner.next_forward(vendor, skips)).await
    }

    async fn end_forward(&self, id: ForwardId, end: ForwardEnd) -> Result<(), JournalError> {
        self.around(self.inner.end_forward(id, end)).await
    }

    async fn give_up_forwards(
        &self,
        vendor: &VendorId,
        keep: i64,
        why: &'static str,
    ) -> Result<bool, JournalError> {
        self.around(self.inner.give_up_forwards(vendor, keep, why)).await
    }

    async fn tidy_forwards(&self, now: Millis) -> Result<ForwardsLoad, JournalError> {
        self.around(self.inner.tidy_forwards(now)).await
    }

    async fn forwards_load(&self) -> Result<ForwardsLoad, JournalError> {
        self.around(self.inner.forwards_load()).await
    }

    async fn forwards(
        &self,
        vendor: &VendorId,
        is_dead: bool,
        before: Option<ForwardId>,
        limit: usize,
    ) -> Result<Vec<Forward>, JournalError> {
        self.around(self.inner.forwards(vendor, is_dead, before, limit)).await
    }

    async fn replay_forwards(
        &self,
        vendor: &VendorId,
        which: Replay,
        expires: Millis,
    ) -> Result<(usize, Option<ForwardId>), JournalError> {
        self.around(self.inner.replay_forwards(vendor, which, expires)).await
    }

    async fn drop_forward(&self, vendor: &VendorId, id: ForwardId) -> Result<bool, JournalError> {
        self.around(self.inner.drop_forward(vendor, id)).await
    }
}

#[async_trait]
impl MediaJournal for Watched {
    async fn media(
        &self,
        vendor: &VendorId,
        id: &MediaId,
    ) -> Result<Option<StoredMedia>, JournalError> {
        self.around(self.inner.media(vendor, id)).await
    }

    async fn media_due(
        &self,
        query: MediaDue,
    ) -> Result<(Vec<StoredMedia>, Option<Millis>), JournalError> {
        self.around(self.inner.media_due(query)).await
    }

    async fn add_media(&self, upload: NewUpload) -> Result<(), JournalError> {
        self.around(self.inner.add_media(upload)).await
    }

    async fn end_media(&self, id: &MediaId, end: MediaEnd) -> Result<bool, JournalError> {
        self.around(self.inner.end_media(id, end)).await
    }

    async fn old_media(&self, before: Millis, limit: usize) -> Result<Vec<MediaId>, JournalError> {
        self.around(self.inner.old_media(before, limit)).await
    }

    async fn media_of(&self, contact: ContactId) -> Result<Vec<MediaId>, JournalError> {
        self.around(self.inner.media_of(contact)).await
    }

    async fn unknown_media(&self, ids: Vec<MediaId>) -> Result<Vec<MediaId>, JournalError> {
        self.around(self.inner.unknown_media(ids)).await
    }

    async fn media_bytes(&self, vendor: &VendorId) -> Result<u64, JournalError> {
        self.around(self.inner.media_bytes(vendor)).await
    }

    async fn forget_media(&self, ids: Vec<MediaId>) -> Result<(), JournalError> {
        self.around(self.inner.forget_media(ids)).await
    }
}

#[async_trait]
impl Watch for Watched {
    async fn can_keep(&self) -> Result<(), JournalError> {
        self.around(self.inner.can_keep()).await
    }

    async fn vendor_of(&self, id: EntryId) -> Result<Option<VendorId>, JournalError> {
        self.around(self.inner.vendor_of(id)).await
    }

    async fn pause_of(&self, contact: ContactId) -> Result<Option<(Millis, String)>, JournalError> {
        self.around(self.inner.pause_of(contact)).await
    }

    async fn newest(&self) -> Result<Option<Millis>, JournalError> {
        self.around(self.inner.newest()).await
    }

    async fn backlog(
        &self,
        vendor: Option<&VendorId>,
        now: Millis,
    ) -> Result<Backlog, JournalError> {
        self.around(self.inner.backlog(vendor, now)).await
    }

    async fn signs(
        &self,
        vendors: &[VendorId],
        from_hour: i64,
    ) -> Result<Vec<Signs>, JournalError> {
        self.around(self.inner.signs(vendors, from_hour)).await
    }
}

#[async_trait]
impl Operate for Watched {
    async fn entry(&self, id: EntryId) -> Result<Option<Entry>, JournalError> {
        self.around(self.inner.entry(id)).await
    }

    async fn entries(&self, listing: Listing) -> Result<Vec<Entry>, JournalError> {
        self.around(self.inner.entries(listing)).await
    }

    async fn resume(&self, ids: Vec<EntryId>, resume: Resume) -> Result<Resumed, JournalError> {
        self.around(self.inner.resume(ids, resume)).await
    }

    async fn put_aside(
        &self,
        id: EntryId,
        now: Millis,
    ) -> Result<Result<Vec<Change>, Refused>, JournalError> {
        self.around(self.inner.put_aside(id, now)).await
    }

    async fn replayable(
        &self,
        vendor: &VendorId,
        after: EntryId,
        which: Replayable,
        limit: usize,
    ) -> Result<Vec<EntryId>, JournalError> {
        self.around(self.inner.replayable(vendor, after, which, limit)).await
    }

    async fn volume(&self) -> Result<Volume, JournalError> {
        self.around(self.inner.volume()).await
    }

    async fn verify(&self, vendor: Option<&VendorId>) -> Result<(Ledger, Ledger), JournalError> {
        self.around(self.inner.verify(vendor)).await
    }
}

#[async_trait]
impl Keep for Watched {
    async fn clock_mark(&self) -> Result<Option<ClockMark>, JournalError> {
        self.around(self.inner.clock_mark()).await
    }

    async fn keep_clock_mark(&self, mark: ClockMark) -> Result<(), JournalError> {
        self.around(self.inner.keep_clock_mark(mark)).await
    }

    async fn end_of_page(
        &self,
        after: EntryId,
        before: EntryId,
        limit: usize,
    ) -> Result<Option<EntryId>, JournalError> {
        self.around(self.inner.end_of_page(after, before, limit)).await
    }

    async fn remove_ended(&self, after: EntryId, through: EntryId) -> Result<usize, JournalError> {
        self.around(self.inner.remove_ended(after, through)).await
    }

    async fn idle_contacts(
        &self,
        after: ContactId,
        limit: usize,
        now: Millis,
    ) -> Result<(Vec<ContactId>, Option<ContactId>), JournalError> {
        self.around(self.inner.idle_contacts(after, limit, now)).await
    }

    async fn forget_contacts(
        &self,
        contacts: Vec<ContactId>,
        now: Millis,
    ) -> Result<usize, JournalError> {
        self.around(self.inner.forget_contacts(contacts, now)).await
    }

    async fn forget_hours(&self, before: i64) -> Result<bool, JournalError> {
        self.around(self.inner.forget_hours(before)).await
    }
}

#[async_trait]
impl Outbox for Watched {
    async fn outbox_changed(&self, until: Millis) {
        self.inner.outbox_changed(until).await;
    }

    async fn due_documents(&self, now: Millis, limit: usize) -> Result<DueDocuments, JournalError> {
        self.around(self.inner.due_documents(now, limit)).await
    }

    async fn end_documents(
        &self,
        ends: Vec<(DueDocument, DocumentEnd)>,
        now: Millis,
    ) -> Result<(), JournalError> {
        self.around(self.inner.end_documents(ends, now)).await
    }

    async fn outbox_load(&self) -> Result<OutboxLoad, JournalError> {
        self.around(self.inner.outbox_load()).await
    }
}

#[async_trait]
impl Bulk for Watched {
    async fn open_job(&self, job: NewJob) -> Result<Option<BulkId>, JournalError> {
        self.around(self.inner.open_job(job)).await
    }

    async fn add_recipients(
        &self,
        job: BulkId,
        recipients: Vec<NewRecipient>,
    ) -> Result<usize, JournalError> {
        self.around(self.inner.add_recipients(job, recipients)).await
    }

    async fn keep_job(
        &self,
        job: BulkId,
        idempotency: Option<Idempotency>,
    ) -> Result<KeptJob, JournalError> {
        self.around(self.inner.keep_job(job, idempotency)).await
    }

    async fn drop_job(&self, job: BulkId) -> Result<bool, JournalError> {
        self.around(self.inner.drop_job(job)).await
    }

    async fn jobs(
        &self,
        vendor: &VendorId,
        before: Option<BulkId>,
        limit: usize,
    ) -> Result<Vec<BulkJob>, JournalError> {
        self.around(self.inner.jobs(vendor, before, limit)).await
    }

    async fn job(
        &self,
        vendor: &VendorId,
        id: BulkId,
    ) -> Result<Option<(BulkJob, BulkProgress)>, JournalError> {
        self.around(self.inner.job(vendor, id)).await
    }

    async fn change_job(
        &self,
        vendor: &VendorId,
        id: BulkId,
        deed: BulkDeed,
        note: Option<&'static str>,
        now: Millis,
    ) -> Result<BulkChanged, JournalError> {
        self.around(self.inner.change_job(vendor, id, deed, note, now)).await
    }

    async fn running_jobs(&self) -> Result<Vec<BulkJob>, JournalError> {
        self.around(self.inner.running_jobs()).await
    }

    async fn next_recipients(
        &self,
        job: BulkId,
        limit: usize,
        now: Millis,
    ) -> Result<Option<(Content, Vec<Recipient>)>, JournalError> {
        self.around(self.inner.next_recipients(job, limit, now)).await
    }

    async fn hand_over(
        &self,
        job: BulkId,
        turns: Vec<(Recipient, NewIntent)>,
    ) -> Result<Handed, JournalError> {
        self.around(self.inner.hand_over(job, turns)).await
    }

    async fn all_fail(
        &self,
        job: BulkId,
        before: &Recipient,
        of_last: (i64, i64),
    ) -> Result<bool, JournalError> {
        self.around(self.inner.all_fail(job, before, of_last)).await
    }

    async fn old_job(&self, before: Millis) -> Result<Option<BulkId>, JournalError> {
        self.around(self.inner.old_job(before)).await
    }
}
