//! One Meta app for all, as the predecessors had it (`docs/CONTRACT.md` §1).

use super::{
    Vars,
    own::{APP_SECRET, VERIFY_TOKEN},
};
use crate::domain::secret::SecretString;

/// What accounts at Meta have that are brought in without their own.
#[derive(Debug, Clone, Default)]
pub struct MetaDefaults {
    /// The app's secret.
    pub app_secret: Option<SecretString>,
    /// What the handshake of its callback names.
    pub verify_token: Option<SecretString>,
}

impl<L: Fn(&str) -> Option<String>> Vars<'_, L> {
    pub(super) fn meta(&self) -> MetaDefaults {
        let either = |names: [&str; 2]| names.into_iter().find_map(|it| self.secret(it));
        MetaDefaults { app_secret: either(APP_SECRET), verify_token: either(VERIFY_TOKEN) }
    }
}
