//! Rules broken on purpose, each between the gateway and its journal or around them. That the
//! simulation notices every one of them shows that it looks.

/// A broken rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutation {
    /// The request leaves, and only then is the attempt written down.
    SendBeforeBegin,
    /// An attempt that a crash cut off waits again.
    CutOffWaitsAgain,
    /// A send whose outcome is unknown is tried again.
    UnknownIsRepeated,
    /// What is heard of a fenced send is not applied to it.
    FenceBlocksSignals,
    /// A fence holds its lane for ten minutes more.
    FenceHoldsLonger,
    /// A status that overtook the answer is forgotten when that comes.
    OutcomeOverStatus,
    /// A status that comes later counts for more, whatever it says.
    StatusMovesBack,
    /// A signal about a message that is not known yet is dropped.
    EarlySignalIsDropped,
    /// The answers are kept first, and the message ends after that.
    AnswersBeforeTheEnd,
    /// A message ends twice.
    SettledTwice,
    /// A webhook that comes twice is two.
    NoDedupe,
    /// A request that is asked twice is two.
    NoIdempotency,
    /// Each message is a lane of its own.
    NoLanes,
    /// Two contacts become one in the journal and stay two in the scheduler.
    MergeLeavesALane,
    /// Nobody looks whether a human has taken over before a send.
    SilenceNotChecked,
    /// What has expired is sent.
    ExpiredIsSent,
    /// A vendor's pause ends with the process.
    PauseIsForgotten,
    /// The provider's wish to be left alone is not passed on.
    RetryAfterIsIgnored,
    /// An instance under account protection sends at the usual pace.
    PaceIsIgnored,
    /// A part does not wait for the part before it.
    PartsAtOnce,
    /// A send leaves from another vendor's number.
    WrongNumber,
    /// A write is not counted in the ledger.
    LedgerForgets,
    /// A write is not counted by the hour.
    HoursForget,
    /// The oldest work is not taken up after a restart.
    LostAtRestart,
    /// An outcome is never written down.
    OutcomeIsLost,
}

impl Mutation {
    pub const ALL: [Self; 25] = [
        Self::SendBeforeBegin,
        Self::CutOffWaitsAgain,
        Self::UnknownIsRepeated,
        Self::FenceBlocksSignals,
        Self::FenceHoldsLonger,
        Self::OutcomeOverStatus,
        Self::StatusMovesBack,
        Self::EarlySignalIsDropped,
        Self::AnswersBeforeTheEnd,
        Self::SettledTwice,
        Self::NoDedupe,
        Self::NoIdempotency,
        Self::NoLanes,
        Self::MergeLeavesALane,
        Self::SilenceNotChecked,
        Self::ExpiredIsSent,
        Self::PauseIsForgotten,
        Self::RetryAfterIsIgnored,
        Self::PaceIsIgnored,
        Self::PartsAtOnce,
        Self::WrongNumber,
        Self::LedgerForgets,
        Self::HoursForget,
        Self::LostAtRestart,
        Self::OutcomeIsLost,
    ];
}
