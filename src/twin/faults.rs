//! What a twin has been told to get wrong, whatever that may be.

use super::Times;

/// Faults that are still to happen, in the order in which they were asked for.
pub(super) struct Faults<F>(Vec<(F, Times)>);

impl<F> Default for Faults<F> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<F: Clone> Faults<F> {
    pub(super) fn add(&mut self, fault: F, times: Times) {
        if times != Times::Next(0) {
            self.0.push((fault, times));
        }
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// The first that is wanted; one use of it is counted.
    pub(super) fn take(&mut self, wanted: impl Fn(&F) -> bool) -> Option<F> {
        let at = self.0.iter().position(|it| wanted(&it.0))?;
        match &mut self.0[at].1 {
            Times::Next(n) if *n > 1 => *n -= 1,
            Times::Always => {}
            Times::Once | Times::Next(_) => return Some(self.0.remove(at).0),
        }
        Some(self.0[at].0.clone())
    }
}
