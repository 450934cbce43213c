//! Letting a provider's webhooks come here.

use async_trait::async_trait;
use url::Url;

use super::Provider;
use crate::domain::{secret::SecretString, waba::WabaInstance};

/// A provider whose webhooks are set up by a call. Wasender's are a matter of its sessions.
#[async_trait]
pub trait Hooks: Provider {
    /// Lets the instance's webhooks come here.
    async fn set_webhook(
        &self,
        instance: &WabaInstance,
        hook: &NewHook<'_>,
    ) -> Result<HookSet, HookFault>;

    /// Takes away those whose place the new ones take, once what proves these is kept. What is left
    /// for a person to do.
    async fn remove_webhooks(&self, _instance: &WabaInstance, _former: &[String]) -> Vec<String> {
        Vec::new()
    }
}

/// Where an instance's webhooks are to go.
pub struct NewHook<'a> {
    /// Here.
    pub url: &'a Url,
    /// Also if they go elsewhere today.
    pub replace: bool,
}

/// An instance's webhooks come here.
#[derive(Debug, Default)]
pub struct HookSet {
    /// What proves them, where the provider chose it.
    pub secret: Option<SecretString>,
    /// The ids of those whose place they take.
    pub former: Vec<String>,
    /// What is left for a person to do.
    pub warnings: Vec<String>,
}

/// An instance's webhooks do not come here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HookFault {
    /// What it takes is not stored: which field.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// They go elsewhere today.
    #[error("the webhooks go elsewhere today")]
    Elsewhere {
        /// Where.
        url: String,
    },
    /// The provider does not know the credentials.
    #[error("the provider refuses the credentials")]
    Unauthorized,
    /// The provider says no. It quotes no secret.
    #[error("the provider refuses: {0}")]
    Refused(String),
    /// The provider is away, or did not keep what it was told.
    #[error("the provider does not answer")]
    NoAnswer,
}
