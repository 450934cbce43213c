//! What vendors and admins do with forwarded events: see, replay, drop, try the address.

use super::{Outcome, body};
use crate::{
    domain::{
        clock::{Millis, iso},
        forward::LASTS,
        id::{ForwardId, VendorId},
        vendor::Vendor,
    },
    gateway::{AdminError, Gateway},
    http::Trust,
    journal::{Forward, Replay},
};
use url::Url;

/// Events named in one replay.
const REPLAY_IDS_MAX: usize = 1_000;

/// What a test event came to.
#[derive(Clone, Debug)]
pub struct Ping {
    /// It was taken.
    pub is_taken: bool,
    /// The status it was answered with, if it was.
    pub status: Option<u16>,
    /// The status, as `http_200`, or why there was none.
    pub word: String,
    /// How long it took.
    pub took: Millis,
}

/// Which events to replay.
#[derive(Clone, Debug)]
pub enum ReplayWhich {
    /// These, at most 1,000.
    Ids(Vec<ForwardId>),
    /// All that happened since then.
    Since(Millis),
}

impl Gateway {
    /// A vendor's events that were given up or wait, newest first. One that waits is due when its
    /// turn may come.
    pub async fn forwards(
        &self,
        vendor: &VendorId,
        is_dead: bool,
        before: Option<ForwardId>,
        limit: usize,
    ) -> Result<Vec<Forward>, AdminError> {
        self.vendor(vendor).await?;
        let mut found = self.inner.journal.forwards(vendor, is_dead, before, limit).await?;
        let held_until = self.inner.forwarding.turns().held_until(vendor);
        found.iter_mut().for_each(|it| it.due = it.due.max(held_until));
        Ok(found)
    }

    /// Lets events that were given up wait again, a day more, under the same id. How many.
    pub async fn replay_forwards(
        &self,
        vendor: &VendorId,
        which: ReplayWhich,
    ) -> Result<usize, AdminError> {
        url_of(&self.vendor(vendor).await?)?;
        let expires = self.inner.clock.now() + LASTS;
        let mut which = match which {
            ReplayWhich::Ids(ids) if ids.len() > REPLAY_IDS_MAX => {
                return Err(AdminError::Invalid(format!("ids has more than {REPLAY_IDS_MAX}")));
            }
            ReplayWhich::Ids(ids) => Replay::Ids(ids),
            ReplayWhich::Since(at) => {
                // Within what an id can hold.
                let at = at.clamp(0, self.inner.clock.now());
                Replay::After(ForwardId(ForwardId::at(at).0 - 1))
            }
        };
        let mut n_replayed = 0;
        loop {
            let journal = &self.inner.journal;
            let (n, last) = journal.replay_forwards(vendor, which.clone(), expires).await?;
            n_replayed += n;
            match (which, last) {
                (Replay::After(_), Some(last)) => which = Replay::After(last),
                _ => break,
            }
        }
        if n_replayed > 0 {
            self.inner.forwarding.renew(vendor, &self.inner.clock);
        }
        Ok(n_replayed)
    }

    /// Forgets an event, waiting or given up.
    pub async fn drop_forward(&self, vendor: &VendorId, id: ForwardId) -> Result<(), AdminError> {
        self.vendor(vendor).await?;
        let found = self.inner.journal.drop_forward(vendor, id).await?;
        found.then_some(()).ok_or(AdminError::NoForward)
    }

    /// Sends a vendor's back end a signed `test.ping` now. Nothing of the answer but its status is
    /// told.
    pub async fn ping_forward(&self, vendor: &VendorId) -> Result<Ping, AdminError> {
        let to = self.vendor(vendor).await?;
        let url = url_of(&to)?;
        let now = self.inner.clock.now();
        let mut random = [0_u8; 8];
        getrandom::fill(&mut random).expect("the system has random numbers");
        let id = format!("evt_ping_{}", hex::encode(random));
        let body = body::ping(vendor, now);
        let (outcome, word) = self.post(&url, &to.signing_secret, &id, body).await;
        tracing::info!(vendor.id = %vendor, outcome = word, at = iso(now), "an endpoint was tried");
        let took = self.inner.clock.now() - now;
        let status = word.strip_prefix("http_").and_then(|it| it.parse().ok());
        Ok(Ping { is_taken: outcome == Outcome::Taken, status, word, took })
    }

    /// Refuses an address that is written into the URL and may never be reached. Names are checked
    /// each time they are resolved.
    pub(in crate::gateway) fn check_forward_url(&self, url: &str) -> Result<(), AdminError> {
        let url =
            Url::parse(url).ok().filter(|it| self.inner.http.check(it, Trust::Vendor).is_ok());
        let why = "forwardUrl: its address may not be reached from here";
        url.map(|_| ()).ok_or_else(|| AdminError::Invalid(why.to_owned()))
    }
}

fn url_of(vendor: &Vendor) -> Result<Url, AdminError> {
    let url = vendor.forward_url.as_deref().and_then(|it| Url::parse(it).ok());
    let why = "the vendor has no forwardUrl";
    url.ok_or_else(|| AdminError::Conflict(why.to_owned()))
}
