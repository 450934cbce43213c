//! Rules broken on purpose, each between the gateway and its journal or around them. That the
//! simulation notices every one of them, each by the rule that it breaks, shows that it looks.

use super::rules;

/// A broken rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutation {
    /// The request leaves, and only then is the attempt written down.
    SendBeforeBegin,
    /// An attempt that a crash cut off waits again.
    CutOffWaitsAgain,
    /// A send whose outcome is unknown is tried again.
    UnknownIsRepeated,
    /// A send whose outcome is unknown is tried through the other provider.
    UnknownGoesAnotherWay,
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
    /// What two providers tell of one number is two.
    DevicesAreNotOne,
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
    /// A message ends without the answers to it.
    AnswerIsDropped,
    /// A message that the bot answered is settled as one about which it was silent.
    AnswerIsCalledSilence,
    /// What was refused for now is given up for good.
    RefusalKills,
    /// What was refused counts as sent.
    RefusalCountsAsSent,
    /// A message that is too old is answered.
    StaleIsAnswered,
    /// The loop guard does not see the answers before.
    TwoBotsTalkOn,
    /// Nobody remembers that the conversation had an apology.
    ApologizesAgain,
    /// Each time that the bot is asked has an id of its own.
    QuestionHasANewId,
    /// The customer's text is not what they wrote.
    TextIsChanged,
    /// Another vendor's bot is asked.
    WrongBot,
    /// A vendor sends with a key that nobody has.
    KeyOfNobody,
    /// A vendor sends with another vendor's key.
    KeyOfAnother,
    /// A send goes to another customer of the vendor.
    WrongCustomer,
    /// The provider is asked about another vendor's send.
    WrongTicket,
    /// Who is known by two names stays two.
    NamesAreNotOne,
}

impl Mutation {
    pub const ALL: [Self; 42] = [
        Self::SendBeforeBegin,
        Self::CutOffWaitsAgain,
        Self::UnknownIsRepeated,
        Self::UnknownGoesAnotherWay,
        Self::FenceBlocksSignals,
        Self::FenceHoldsLonger,
        Self::OutcomeOverStatus,
        Self::StatusMovesBack,
        Self::EarlySignalIsDropped,
        Self::AnswersBeforeTheEnd,
        Self::SettledTwice,
        Self::NoDedupe,
        Self::DevicesAreNotOne,
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
        Self::AnswerIsDropped,
        Self::AnswerIsCalledSilence,
        Self::RefusalKills,
        Self::RefusalCountsAsSent,
        Self::StaleIsAnswered,
        Self::TwoBotsTalkOn,
        Self::ApologizesAgain,
        Self::QuestionHasANewId,
        Self::TextIsChanged,
        Self::WrongBot,
        Self::KeyOfNobody,
        Self::KeyOfAnother,
        Self::WrongCustomer,
        Self::WrongTicket,
        Self::NamesAreNotOne,
    ];

    /// The rules that it breaks: the first must be seen to be broken, the others may be before it.
    pub fn breaks(self) -> &'static [&'static str] {
        match self {
            Self::SendBeforeBegin => &[rules::BEGUN],
            Self::CutOffWaitsAgain | Self::UnknownIsRepeated | Self::SettledTwice => &[rules::ONCE],
            Self::UnknownGoesAnotherWay => &[rules::ONCE, rules::HEARD],
            Self::FenceBlocksSignals | Self::EarlySignalIsDropped => &[rules::HEARD],
            Self::FenceHoldsLonger => &[rules::FENCE],
            Self::OutcomeOverStatus => &[rules::HEARD, rules::BACKWARDS],
            Self::StatusMovesBack => &[rules::BACKWARDS],
            Self::AnswersBeforeTheEnd => &[rules::ONCE, rules::ANSWERED],
            Self::NoDedupe | Self::DevicesAreNotOne => {
                &[rules::DUPLICATE, rules::SAME_ID, rules::ONCE]
            }
            Self::NoIdempotency => &[rules::DUPLICATE],
            Self::NoLanes => &[rules::ORDER_OUT, rules::ORDER_IN],
            Self::MergeLeavesALane => &[rules::ORDER_IN, rules::ORDER_OUT],
            Self::SilenceNotChecked => &[rules::SILENCE],
            Self::ExpiredIsSent => &[rules::EXPIRED],
            Self::PauseIsForgotten => &[rules::PAUSED],
            Self::RetryAfterIsIgnored => &[rules::RETRY_AFTER],
            Self::PaceIsIgnored => &[rules::PACE],
            Self::PartsAtOnce => &[rules::PARTS],
            Self::WrongNumber | Self::KeyOfAnother => &[rules::OWN_CUSTOMER],
            Self::LedgerForgets => &[rules::LEDGER, rules::HOURS],
            Self::HoursForget => &[rules::HOURS],
            Self::LostAtRestart => &[rules::LOST],
            Self::OutcomeIsLost => &[rules::LOST, rules::ORDER_OUT],
            Self::AnswerIsDropped | Self::AnswerIsCalledSilence => &[rules::ANSWERED],
            Self::RefusalKills => &[rules::CAUSE],
            Self::RefusalCountsAsSent => &[rules::TRUE_SENT],
            Self::StaleIsAnswered => &[rules::STALE],
            Self::TwoBotsTalkOn => &[rules::LOOP],
            Self::ApologizesAgain => &[rules::APOLOGY],
            Self::QuestionHasANewId => &[rules::SAME_ID],
            Self::TextIsChanged => &[rules::UNCHANGED],
            Self::WrongBot => &[rules::OWN_BOT],
            Self::KeyOfNobody => &[rules::OWN_KEY],
            Self::WrongCustomer => &[rules::ISOLATION],
            Self::WrongTicket => &[rules::OWN_SENDS],
            Self::NamesAreNotOne => &[rules::ONE_PERSON, rules::DUPLICATE],
        }
    }
}
