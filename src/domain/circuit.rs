//! Stops asking a service that fails every time, and tries it again now and then. Pure: whoever
//! calls the service asks here first and tells what came of it.

use super::clock::{MINUTE, Millis, SECOND};

/// This many failures in a row open a circuit.
pub const FAILURES_MAX: u32 = 5;
/// How long it stays open before one call may try again.
pub const OPEN_FOR: Millis = 30 * SECOND;
/// For so long it is held against a service that what it had taken failed.
const LATE_LASTS: Millis = 10 * MINUTE;

/// Whether a service may be called.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Circuit {
    state: State,
    /// Counts changes of the state, so that what a call comes to is not believed of a later one.
    turn: u64,
    /// What was taken and failed later, since something came through, and when the last did.
    late: Option<(u32, Millis)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Calls pass; so many have failed in a row.
    Closed { n_failures: u32 },
    /// Calls do not pass.
    Open {
        since: Millis,
        /// What it was last found down by.
        why: &'static str,
        /// When that was, or when a probe passed after it.
        last: Millis,
    },
}

impl Default for State {
    fn default() -> Self {
        Self::Closed { n_failures: 0 }
    }
}

/// A call that may be made. What it came to is told with [`Circuit::tell`]; a call that is dropped
/// tells nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Permit {
    turn: u64,
}

/// A circuit that is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shut {
    /// Since when.
    pub since: Millis,
    /// Why: the word of the call or the state that it was last found down by.
    pub why: &'static str,
    /// Until when no call passes. Once that has passed, the next one may try.
    pub until: Millis,
    /// No call passes now.
    pub is_passed_over: bool,
}

/// What telling the end of a call has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turned {
    /// Calls stop.
    Opened,
    /// Calls pass again.
    Closed,
}

impl Circuit {
    /// Asks to make a call. `None`: not now.
    ///
    /// [`OPEN_FOR`] after it opened, and after a probe of which nothing was heard, one call passes
    /// as a probe.
    pub fn ask(&mut self, now: Millis) -> Option<Permit> {
        if let Some(Shut { since, why, is_passed_over, .. }) = self.shut(now) {
            if is_passed_over {
                return None;
            }
            self.turn(State::Open { since, why, last: now });
        }
        Some(Permit { turn: self.turn })
    }

    /// Tells what a call came to; of one that failed, the word for it. Calls that began before the
    /// last change of the state are not counted: they say how it was before. That a call was taken
    /// says nothing where what was taken fails later.
    pub fn tell(
        &mut self,
        permit: Permit,
        end: Result<(), &'static str>,
        now: Millis,
    ) -> Option<Turned> {
        if permit.turn != self.turn || (end.is_ok() && self.n_late(now) >= FAILURES_MAX) {
            return None;
        }
        match (self.state, end) {
            (State::Closed { .. }, Ok(())) => {
                self.state = State::default();
                None
            }
            (State::Closed { n_failures }, Err(_)) if n_failures + 1 < FAILURES_MAX => {
                self.state = State::Closed { n_failures: n_failures + 1 };
                None
            }
            (State::Open { .. }, Ok(())) => {
                self.turn(State::default());
                Some(Turned::Closed)
            }
            (State::Closed { .. } | State::Open { .. }, Err(why)) => {
                self.open(why, now);
                Some(Turned::Opened)
            }
        }
    }

    /// Tells what became of something that the service had taken; of what failed, the word for it.
    pub fn tell_late(&mut self, end: Result<(), &'static str>, now: Millis) -> Option<Turned> {
        let n = self.n_late(now);
        match end {
            Ok(()) => {
                self.late = None;
                if n < FAILURES_MAX { None } else { self.close() }
            }
            Err(why) => {
                self.late = Some((n + 1, now));
                if n + 1 < FAILURES_MAX { None } else { self.open(why, now) }
            }
        }
    }

    /// What failed later and is held against the service still.
    fn n_late(&self, now: Millis) -> u32 {
        let late = self.late.filter(|(_, at)| (*at..*at + LATE_LASTS).contains(&now));
        late.map_or(0, |it| it.0)
    }

    /// Opens it, because it is known that calls would fail.
    pub fn open(&mut self, why: &'static str, now: Millis) -> Option<Turned> {
        let since = match self.state {
            State::Open { since, .. } => Some(since),
            State::Closed { .. } => None,
        };
        self.turn(State::Open { since: since.unwrap_or(now), why, last: now });
        since.is_none().then_some(Turned::Opened)
    }

    /// Closes it, because it is known that calls would pass.
    pub fn close(&mut self) -> Option<Turned> {
        let was_open = matches!(self.state, State::Open { .. });
        self.late = None;
        self.turn(State::default());
        was_open.then_some(Turned::Closed)
    }

    /// Since when and why calls do not pass; `None` while it is closed. A clock that was set back
    /// to before it opened does not keep it so.
    #[must_use]
    pub fn shut(&self, now: Millis) -> Option<Shut> {
        match self.state {
            State::Open { since, why, last } => {
                let until = last.saturating_add(OPEN_FOR);
                Some(Shut { since, why, until, is_passed_over: (last..until).contains(&now) })
            }
            State::Closed { .. } => None,
        }
    }

    fn turn(&mut self, state: State) {
        self.state = state;
        self.turn += 1;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DOWN: Result<(), &str> = Err("down");

    fn opened(at: Millis) -> Circuit {
        let mut circuit = Circuit::default();
        for n in 1..=FAILURES_MAX {
            let permit = circuit.ask(at).unwrap();
            let want = (n == FAILURES_MAX).then_some(Turned::Opened);
            assert_eq!(circuit.tell(permit, DOWN, at), want);
        }
        circuit
    }

    #[test]
    fn five_failures_in_a_row_open_it_and_a_probe_after_30_seconds_closes_it() {
        let mut circuit = opened(1_000);
        assert_eq!(circuit.ask(1_000), None);
        assert_eq!(circuit.ask(1_000 + OPEN_FOR - 1), None);
        let probe = circuit.ask(1_000 + OPEN_FOR).unwrap();
        assert_eq!(circuit.ask(1_000 + OPEN_FOR), None, "one probe at a time");
        assert_eq!(circuit.tell(probe, Ok(()), 32_000), Some(Turned::Closed));
        assert_eq!(circuit, Circuit { turn: circuit.turn, ..Circuit::default() });
    }

    #[test]
    fn a_probe_that_fails_opens_it_for_as_long_again() {
        let mut circuit = opened(0);
        let probe = circuit.ask(OPEN_FOR).unwrap();
        let late = OPEN_FOR + 20 * SECOND;
        assert_eq!(circuit.tell(probe, Err("worse"), late), Some(Turned::Opened));
        let shut = Shut { since: 0, why: "worse", until: late + OPEN_FOR, is_passed_over: true };
        assert_eq!(circuit.shut(late), Some(shut), "down since it was first found so");
        assert_eq!(circuit.ask(late + OPEN_FOR - 1), None);
        assert!(circuit.ask(late + OPEN_FOR).is_some());
    }

    #[test]
    fn a_probe_that_is_dropped_is_followed_by_another() {
        let mut circuit = opened(0);
        let dropped = circuit.ask(OPEN_FOR).unwrap();
        assert_eq!(circuit.ask(2 * OPEN_FOR - 1), None);
        let probe = circuit.ask(2 * OPEN_FOR).unwrap();
        assert_eq!(circuit.tell(dropped, Ok(()), 2 * OPEN_FOR), None, "it says how it was before");
        assert_eq!(circuit.tell(probe, Ok(()), 2 * OPEN_FOR), Some(Turned::Closed));
    }

    #[test]
    fn a_clock_that_is_set_back_does_not_keep_it_open() {
        let mut circuit = opened(10 * OPEN_FOR);
        let is_shut = |it: &Circuit, at| it.shut(at).unwrap().is_passed_over;
        assert!(is_shut(&circuit, 10 * OPEN_FOR) && !is_shut(&circuit, 11 * OPEN_FOR));
        assert!(!is_shut(&circuit, 0) && circuit.ask(0).is_some());
    }

    #[derive(Clone, Copy, Debug)]
    enum Do {
        /// Ask and hold the permit.
        Ask,
        /// Tell of the permit at this place, if there is one.
        Tell(usize, bool),
        /// Tell what became of something that was taken.
        Late(bool),
        Wait(Millis),
    }

    fn any_do() -> impl Strategy<Value = Do> {
        prop_oneof![
            3 => Just(Do::Ask),
            // Mostly failures, or it would hardly ever open.
            4 => (0..8_usize, prop::bool::weighted(0.15)).prop_map(|(n, ok)| Do::Tell(n, ok)),
            2 => prop::bool::weighted(0.1).prop_map(Do::Late),
            2 => prop_oneof![9 => 0..20_000_i64, 1 => 0..2 * LATE_LASTS].prop_map(Do::Wait),
        ]
    }

    proptest! {
        #[test]
        fn whatever_the_order_calls_pass_only_when_they_may(
            doings in prop::collection::vec(any_do(), 1..200),
        ) {
            let mut circuit = Circuit::default();
            let (mut now, mut held) = (0, Vec::new());
            // What may be known from outside: since when it is open, and the latest probe.
            let mut open_since: Option<Millis> = None;
            let mut n_failed_in_a_row = 0;
            let mut failed_late: Vec<Millis> = Vec::new();
            for doing in doings {
                if failed_late.last().is_some_and(|it| now - it >= LATE_LASTS) {
                    failed_late.clear();
                }
                let is_unsure = failed_late.len() >= FAILURES_MAX as usize;
                match doing {
                    Do::Wait(ms) => now += ms,
                    Do::Ask => {
                        let permit = circuit.ask(now);
                        match open_since {
                            None => prop_assert!(permit.is_some(), "closed, and it did not pass"),
                            Some(since) => {
                                prop_assert_eq!(permit.is_some(), now - since >= OPEN_FOR);
                                if permit.is_some() {
                                    open_since = Some(now);
                                }
                            }
                        }
                        held.extend(permit);
                    }
                    Do::Late(is_ok) => {
                        let turned = circuit.tell_late(if is_ok { Ok(()) } else { DOWN }, now);
                        let was_open = open_since.is_some();
                        if is_ok {
                            failed_late.clear();
                            prop_assert_eq!(turned.is_some(), is_unsure && was_open);
                            if is_unsure {
                                (open_since, n_failed_in_a_row) = (None, 0);
                            }
                            continue;
                        }
                        failed_late.push(now);
                        let opens = failed_late.len() >= FAILURES_MAX as usize;
                        prop_assert_eq!(turned.is_some(), opens && !was_open);
                        if opens {
                            open_since = Some(now);
                        }
                    }
                    Do::Tell(n, is_ok) => {
                        if held.is_empty() {
                            continue;
                        }
                        let permit = held.swap_remove(n % held.len());
                        let counts = permit.turn == circuit.turn && !(is_ok && is_unsure);
                        let end = if is_ok { Ok(()) } else { DOWN };
                        let turned = circuit.tell(permit, end, now);
                        prop_assert!(counts || turned.is_none());
                        if counts {
                            n_failed_in_a_row = if is_ok { 0 } else { n_failed_in_a_row + 1 };
                        }
                        match turned {
                            Some(Turned::Opened) => {
                                let was_open = open_since.is_some();
                                prop_assert!(was_open || n_failed_in_a_row == FAILURES_MAX);
                                open_since = Some(now);
                            }
                            Some(Turned::Closed) => {
                                prop_assert!(is_ok && open_since.is_some());
                                open_since = None;
                                n_failed_in_a_row = 0;
                            }
                            None if open_since.is_none() => {
                                prop_assert!(n_failed_in_a_row < FAILURES_MAX);
                            }
                            None => {}
                        }
                    }
                }
            }
        }
    }
}
