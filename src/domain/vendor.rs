//! A vendor (tenant) and how their customers are answered.

use super::{
    clock::{HOUR, MINUTE, Millis, SECOND},
    id::VendorId,
    message::Template,
    secret::SecretString,
};

/// A tenant.
#[expect(clippy::struct_excessive_bools, reason = "they are switches, each on its own")]
#[derive(Clone, Debug)]
pub struct Vendor {
    /// Their id.
    pub id: VendorId,
    /// Their name.
    pub business_name: String,
    /// Whether they are served.
    pub status: VendorStatus,
    /// Whether their customers are answered automatically.
    pub auto_reply: bool,
    /// Sent before the first answer of a new conversation.
    pub welcome_message: Option<String>,
    /// Sent when no responder could answer.
    pub apology: Option<String>,
    /// How long a human on the phone keeps the bot quiet in a conversation.
    pub silence: Millis,
    /// Who answers, tried in order.
    pub responders: Vec<ResponderConfig>,
    /// What calls of its responders are signed with (Standard Webhooks).
    pub signing_secret: SecretString,
    /// What to do with a send whose outcome stays unknown.
    pub on_unknown: OnUnknown,
    /// When such a send is given up or risked again.
    pub unknown_deadline: Millis,
    /// Older messages are not answered; `None` is the gateway's own limit.
    pub max_answer_age: Option<Millis>,
    /// How long an intent is worth sending; `None` is [`REPLY_TTL`] or [`SEND_TTL`].
    pub intent_ttl: Option<Millis>,
    /// Customers see that their messages were read.
    pub mark_as_read: bool,
    /// Customers see that an answer is being written.
    pub typing: bool,
    /// When the vendor is open, and who answers when it is not.
    pub hours: Option<BusinessHours>,
    /// Where the vendor's own back end gets its events.
    pub forward_url: Option<String>,
    /// What is sent in place of a text that comes too late for free text
    /// ([`window`](super::window)).
    pub fallback_template: Option<Box<Template>>,
    /// Sending has been stopped until somebody resumes it; intake goes on.
    pub paused: bool,
    /// When it was created.
    pub created_at: Millis,
    /// When it was last changed.
    pub updated_at: Millis,
}

/// How long a bot's reply is worth sending.
pub const REPLY_TTL: Millis = HOUR;
/// How long a message sent through the API is worth sending.
pub const SEND_TTL: Millis = 24 * HOUR;
/// How long a human keeps the bot quiet, unless the vendor says otherwise.
pub const SILENCE: Millis = 60 * MINUTE;
/// When an unknown outcome is given up, unless the vendor says otherwise.
pub const UNKNOWN_DEADLINE: Millis = 600 * SECOND;

impl Vendor {
    /// A vendor with the defaults.
    #[must_use]
    pub fn new(
        id: VendorId,
        business_name: String,
        signing_secret: SecretString,
        now: Millis,
    ) -> Self {
        Self {
            id,
            business_name,
            status: VendorStatus::Active,
            auto_reply: true,
            welcome_message: None,
            apology: None,
            silence: SILENCE,
            responders: Vec::new(),
            signing_secret,
            on_unknown: OnUnknown::GiveUp,
            unknown_deadline: UNKNOWN_DEADLINE,
            max_answer_age: None,
            intent_ttl: None,
            mark_as_read: false,
            typing: false,
            hours: None,
            forward_url: None,
            fallback_template: None,
            paused: false,
            created_at: now,
            updated_at: now,
        }
    }
}

/// Whether a vendor is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VendorStatus {
    /// Yes.
    Active,
    /// No: events are recorded, never answered.
    Inactive,
    /// No, by the operator.
    Suspended,
}

impl VendorStatus {
    /// The word it is stored and shown as.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Inactive => "inactive",
            Self::Suspended => "suspended",
        }
    }

    /// The status of this word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Active, Self::Inactive, Self::Suspended].into_iter().find(|it| it.as_str() == word)
    }
}

/// What the vendor wants done with a send whose outcome stays unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum OnUnknown {
    /// Never send it again: the customer may miss it.
    #[default]
    GiveUp,
    /// Send it again: the customer may get it twice.
    Retry,
}

impl OnUnknown {
    /// The word it is stored and shown as.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::GiveUp => "give_up",
            Self::Retry => "retry",
        }
    }
}

/// One way to answer.
#[derive(Clone, Debug)]
pub enum ResponderConfig {
    /// Keywords and fixed replies.
    Rules {
        /// Tried in order.
        rules: Vec<Rule>,
        /// The reply when no rule fits.
        otherwise: Option<String>,
    },
    /// An HTTP service that writes the answer.
    ResponseApi(ResponseApi),
}

/// A fixed reply to messages that contain a word.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Compared without regard to case and accents.
    pub contains: String,
    /// The reply.
    pub reply: String,
}

/// An HTTP service that writes the answer.
#[derive(Clone, Debug)]
pub struct ResponseApi {
    /// Where it is.
    pub url: String,
    /// Headers sent with each call, like an API key.
    pub headers: Vec<(String, SecretString)>,
    /// What it is asked and answers.
    pub dialect: Dialect,
}

/// The forms of a responder's calls (`docs/ARCHITECTURE.md`, Administration).
#[derive(Clone, Debug, Default)]
pub enum Dialect {
    /// Ours.
    #[default]
    Bot,
    /// That of `docs/CONTRACT.md` §3.
    Conversation {
        /// The chatbot that answers.
        chatbot_id: String,
        /// The client's API key, sent as `converslyWebId`.
        web_id: Option<SecretString>,
    },
}

/// When a vendor is open.
#[derive(Clone, Debug, Default)]
pub struct BusinessHours {
    /// An IANA time zone like `Africa/Dakar`; without it, that of the country of its number.
    pub time_zone: Option<String>,
    /// From Monday on: spans of minutes since midnight, the second not included. A span that ends
    /// before it begins ends on the next day.
    pub days: [Vec<(u16, u16)>; 7],
    /// Who answers out of hours, tried in order; without any, those of the open hours.
    pub out_of_hours: Vec<ResponderConfig>,
}
