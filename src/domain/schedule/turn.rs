//! What one vendor has to do, and what of it runs.

use std::collections::{BTreeMap, HashMap, VecDeque};

use super::{Job, Kind, lane::LaneKey};
use crate::domain::id::{EntryId, InstanceId};

#[derive(Default)]
pub(super) struct Turn {
    pub(super) is_paused: bool,
    pub(super) in_ring: bool,
    pub(super) running: HashMap<Kind, usize>,
    pub(super) signals: VecDeque<EntryId>,
    /// Questions to providers, which may hang.
    pub(super) follows: VecDeque<EntryId>,
    pub(super) asks: VecDeque<LaneKey>,
    pub(super) sends: BTreeMap<InstanceId, Sends>,
    pub(super) n_jobs: usize,
    /// Those of them that only wait for their time: sent ones to be asked about, and later ones.
    pub(super) n_follows: usize,
}

/// An instance's sends: a provider that does not answer is to hold up no other number.
#[derive(Default)]
pub(super) struct Sends {
    pub(super) lanes: VecDeque<LaneKey>,
    pub(super) n_running: usize,
}

impl Turn {
    pub(super) fn entered(&mut self, kind: Kind) {
        self.n_jobs += 1;
        self.n_follows += usize::from(matches!(kind, Kind::Follow | Kind::Later));
    }

    pub(super) fn left(&mut self, kind: Kind) {
        self.n_jobs -= 1;
        self.n_follows -= usize::from(matches!(kind, Kind::Follow | Kind::Later));
    }

    pub(super) fn started(&mut self, job: &Job) {
        *self.n_running(job) += 1;
    }

    pub(super) fn ended(&mut self, job: &Job) {
        let n = self.n_running(job);
        *n = n.saturating_sub(1);
    }

    /// What waits in no lane.
    pub(super) fn laneless(&mut self, kind: Kind) -> &mut VecDeque<EntryId> {
        if kind == Kind::Signal { &mut self.signals } else { &mut self.follows }
    }

    fn n_running(&mut self, job: &Job) -> &mut usize {
        match job.kind {
            Kind::Send => &mut self.sends.entry(job.instance.clone()).or_default().n_running,
            kind => self.running.entry(kind).or_default(),
        }
    }
}
