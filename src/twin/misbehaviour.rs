//! What a session of the twin can be told to get wrong, and for how long.

use std::{mem::discriminant, time::Duration};

/// Something the twin does that a good provider would not.
///
/// Those that shape the answer to a send are worked off one per send, in the order in which
/// they were asked for: a cut once, then two 500s, then good again is three calls of
/// [`Twin::misbehave`](super::Twin::misbehave). All others apply side by side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Misbehaviour {
    /// A send is answered this much later, and its webhooks start that much later too. It goes
    /// together with whatever else shapes the answer.
    Slow(Duration),
    /// The connection of a send is closed without an answer. When `accepted`, the message counts
    /// as sent and its webhooks flow.
    Cut {
        /// Whether the message was taken first.
        accepted: bool,
    },
    /// A send is answered with this status: as Laravel's JSON for 500, as a proxy's HTML
    /// otherwise (`docs/wire/wasender.md` §1.5: error bodies can be non-JSON).
    Fail {
        /// The HTTP status.
        status: u16,
        /// Whether the message was taken first.
        accepted: bool,
    },
    /// A send is never answered; the connection stays open.
    Hang {
        /// Whether the message was taken first.
        accepted: bool,
    },
    /// A send is taken and answered 200 with half a JSON body.
    Garbled,
    /// A send is answered 429 (`docs/wire/wasender.md` §1.4).
    TooMany {
        /// Seconds, in the body.
        retry_after: u64,
    },
    /// A send is refused as if the session were down (`docs/wire/wasender.md` §1.5).
    NotConnected,
    /// A send is refused with this status and text.
    Refuse {
        /// The HTTP status.
        status: u16,
        /// The body's `message`.
        message: String,
    },
    /// A send is taken and answered well, and fails afterwards with this reason: the log says
    /// `failed`, and `message.sent` has no key (`docs/wire/wasender.md` §4.5).
    FailsLater(String),
    /// Every webhook comes twice.
    DuplicateHooks,
    /// The statuses of a send come before its echo, and *delivered* before *sent*.
    HooksOutOfOrder,
    /// Webhooks know the customer by LID alone: `remoteJid` ends in `@lid`, and no field has the
    /// phone (`docs/wire/wasender.md` §7.1). Applies to echoes too.
    LidOnly,
    /// The webhooks of a send are delivered before the send is answered.
    EarlyEcho,
    /// A send has no `message.sent` and no `messages.upsert`.
    NoEchoes,
    /// A send has no `messages.update`.
    NoStatuses,
    /// Webhooks end in the middle of their body. The signature fits what is left.
    TruncatedHooks,
    /// Webhooks are signed with another secret.
    WrongSignature,
    /// A customer's message comes once for every inbound event that is subscribed
    /// (`docs/wire/wasender.md` §4.3).
    Overlap,
    /// The message logs do not have the send.
    NotInLogs,
    /// `GET /messages/{msgId}/info` does not know the send.
    NoInfo,
    /// An edit or a deletion comes too late: 400 (`docs/wire/wasender.md` §2.3).
    TooLate,
    /// An edit, deletion, resend, read mark, presence, upload or change of the session is answered
    /// with this status.
    DeedFails(u16),
    /// `PUT` answers with a top-level `warning` (`docs/wire/wasender.md` §3.2).
    WarnOnUpdate,
    /// The session's own answers name this number.
    WrongNumber(String),
    /// The personal access token is refused for this session, and for the list of all.
    PatRefused,
    /// The session's key is refused.
    KeyRefused,
}

/// How often a [`Misbehaviour`] happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Times {
    /// The next time only.
    Once,
    /// The next so many times.
    Next(u32),
    /// Until [`Twin::behave`](super::Twin::behave).
    Always,
}

impl Misbehaviour {
    fn shapes_the_answer(&self) -> bool {
        matches!(
            self,
            Self::Cut { .. }
                | Self::Fail { .. }
                | Self::Hang { .. }
                | Self::Garbled
                | Self::TooMany { .. }
                | Self::NotConnected
                | Self::Refuse { .. }
        )
    }

    fn follows_a_send(&self) -> bool {
        matches!(
            self,
            Self::FailsLater(_)
                | Self::HooksOutOfOrder
                | Self::EarlyEcho
                | Self::NoEchoes
                | Self::NoStatuses
                | Self::NotInLogs
                | Self::NoInfo
        )
    }

    fn touches_webhooks(&self) -> bool {
        matches!(
            self,
            Self::DuplicateHooks
                | Self::LidOnly
                | Self::TruncatedHooks
                | Self::WrongSignature
                | Self::Overlap
        )
    }
}

/// What one session still has to get wrong.
pub(super) struct Misbehaviours<M = Misbehaviour>(Vec<(M, Times)>);

impl<M> Default for Misbehaviours<M> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<M: Clone> Misbehaviours<M> {
    pub(super) fn add(&mut self, how: M, times: Times) {
        if times != Times::Next(0) {
            self.0.push((how, times));
        }
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// What goes wrong side by side of what is wanted, each sort of it once. Uses it up.
    pub(super) fn moods(&mut self, wanted: impl Fn(&M) -> bool) -> Moods<M> {
        let mut moods = Vec::new();
        let mut at = 0;
        while at < self.0.len() {
            let how = &self.0[at].0;
            if !wanted(how) || moods.iter().any(|it| discriminant(it) == discriminant(how)) {
                at += 1;
                continue;
            }
            let n_before = self.0.len();
            moods.push(self.take_at(at));
            at += usize::from(self.0.len() == n_before);
        }
        Moods(moods)
    }

    /// The next thing that is wanted. Uses it up.
    pub(super) fn take(&mut self, wanted: impl Fn(&M) -> bool) -> Option<M> {
        let at = self.0.iter().position(|it| wanted(&it.0))?;
        Some(self.take_at(at))
    }

    /// Counts one use, and forgets what is used up.
    fn take_at(&mut self, at: usize) -> M {
        match &mut self.0[at].1 {
            Times::Next(n) if *n > 1 => *n -= 1,
            Times::Always => return self.0[at].0.clone(),
            Times::Once | Times::Next(_) => return self.0.remove(at).0,
        }
        self.0[at].0.clone()
    }
}

impl Misbehaviours {
    /// How the next send is to be answered, if not well.
    pub(super) fn answer(&mut self) -> Option<Misbehaviour> {
        self.take(Misbehaviour::shapes_the_answer)
    }

    /// How much later the next send is answered.
    pub(super) fn delay(&mut self) -> Duration {
        match self.take(|it| matches!(it, Misbehaviour::Slow(_))) {
            Some(Misbehaviour::Slow(late)) => late,
            _ => Duration::ZERO,
        }
    }

    /// The number that the session names instead of its own.
    pub(super) fn wrong_number(&mut self) -> Option<String> {
        match self.take(|it| matches!(it, Misbehaviour::WrongNumber(_))) {
            Some(Misbehaviour::WrongNumber(number)) => Some(number),
            _ => None,
        }
    }

    /// What a deed beside sends is answered, if not well.
    pub(super) fn deed_fails(&mut self) -> Option<u16> {
        match self.take(|it| matches!(it, Misbehaviour::DeedFails(_))) {
            Some(Misbehaviour::DeedFails(status)) => Some(status),
            _ => None,
        }
    }

    /// Whether to do this now. Uses it up.
    pub(super) fn now(&mut self, how: &Misbehaviour) -> bool {
        self.take(|it| it == how).is_some()
    }

    /// What goes wrong after a send that was taken.
    pub(super) fn after_send(&mut self) -> Moods {
        self.moods(|it| it.follows_a_send() || it.touches_webhooks())
    }

    /// What goes wrong with a webhook that follows no send.
    pub(super) fn with_hook(&mut self) -> Moods {
        self.moods(Misbehaviour::touches_webhooks)
    }
}

/// What goes wrong with one send or one webhook.
#[derive(Clone)]
pub(super) struct Moods<M = Misbehaviour>(Vec<M>);

impl<M> Default for Moods<M> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<M: PartialEq> Moods<M> {
    pub(super) fn has(&self, how: &M) -> bool {
        self.0.contains(how)
    }

    pub(super) fn find<T>(&self, wanted: impl Fn(&M) -> Option<T>) -> Option<T> {
        self.0.iter().find_map(wanted)
    }
}

impl Moods {
    /// Why the send fails after it was taken.
    pub(super) fn failure(&self) -> Option<&str> {
        self.0.iter().find_map(|it| match it {
            Misbehaviour::FailsLater(reason) => Some(reason.as_str()),
            _ => None,
        })
    }
}
