//! A number at the simulated Meta: what tests ask for, and what they see.

use std::{fmt, time::Duration};

/// How long after the answer to a send its first status leaves.
const HOOKS_AFTER: Duration = Duration::from_millis(20);
/// How long after a webhook that was not taken it comes again; each time twice as long.
const RETRY_AFTER: Duration = Duration::from_millis(100);

/// What a new number should be like. Start from [`NewMetaNumber::new`].
#[derive(Clone)]
pub struct NewMetaNumber {
    /// In international format (`+15550783881`).
    pub phone_number: String,
    /// Its phone number id; the next free one when absent.
    pub id: Option<String>,
    /// Its WhatsApp Business account; one of its own when absent.
    pub waba_id: Option<String>,
    /// The token that sends from it; made when absent.
    pub access_token: Option<String>,
    /// The secret of the app, which signs; made when absent. Numbers of one app share it.
    pub app_secret: Option<String>,
    /// What the app's callback is verified with; made when absent.
    pub verify_token: Option<String>,
    /// Whether a send is followed by *sent*, *delivered* and *read*.
    pub statuses: bool,
    /// How long after the answer to a send its first status leaves.
    pub hooks_after: Duration,
    /// How long after a webhook that was not answered 200 it comes again; each time twice as long.
    pub retry_after: Duration,
}

impl NewMetaNumber {
    /// A number that tells of everything, in an app of its own.
    #[must_use]
    pub fn new(phone_number: &str) -> Self {
        Self {
            phone_number: phone_number.to_owned(),
            id: None,
            waba_id: None,
            access_token: None,
            app_secret: None,
            verify_token: None,
            statuses: true,
            hooks_after: HOOKS_AFTER,
            retry_after: RETRY_AFTER,
        }
    }

    /// The same number, in the account and app of this one.
    #[must_use]
    pub fn beside(self, other: &MetaNumber) -> Self {
        Self {
            waba_id: Some(other.waba_id.clone()),
            access_token: Some(other.access_token.clone()),
            app_secret: Some(other.app_secret.clone()),
            verify_token: Some(other.verify_token.clone()),
            ..self
        }
    }
}

/// A number as it is now. It prints without number and secrets.
#[derive(Clone)]
pub struct MetaNumber {
    /// The phone number id.
    pub id: String,
    /// The WhatsApp Business account.
    pub waba_id: String,
    /// In international format.
    pub phone_number: String,
    /// The token that sends from it.
    pub access_token: String,
    /// The secret that signs webhooks.
    pub app_secret: String,
    /// What the app's callback is verified with.
    pub verify_token: String,
    /// The app's own callback URL.
    pub callback: Option<String>,
    /// The callback of this number alone (`docs/wire/meta-unipile-twilio.md` A9).
    pub override_callback: Option<String>,
    /// `CONNECTED`, `BANNED`, `RESTRICTED`, … as `?fields=status` shows it.
    pub status: String,
    /// `GREEN`, `YELLOW`, `RED` or `UNKNOWN`.
    pub quality_rating: String,
    /// `STANDARD` or `HIGH`.
    pub throughput: String,
    /// Whether another app is subscribed to its account, too.
    pub has_other_app: bool,
    /// Whether it is told which app the token is of.
    pub tells_app: bool,
    /// Whether sends are followed by statuses.
    pub statuses: bool,
    /// How long after the answer to a send its first status leaves.
    pub hooks_after: Duration,
    /// How long after a webhook that was not answered 200 it comes again.
    pub retry_after: Duration,
}

impl fmt::Debug for MetaNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut it = f.debug_struct("MetaNumber");
        it.field("id", &self.id).field("status", &self.status).finish_non_exhaustive()
    }
}
