//! Responders, as callers set them and are shown them.

use std::collections::BTreeMap;

use axum::http::{HeaderName, HeaderValue};
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use url::Url;
use utoipa::ToSchema;

use crate::{
    domain::{
        secret::{SecretString, masked},
        vendor::{Dialect, ResponderConfig, ResponseApi, Rule},
    },
    gateway::AdminError,
};

/// Responders of a vendor, rules of a responder, headers of a call.
const LIST_MAX: usize = 200;
/// The longest URL, in characters.
const URL_CHARS_MAX: usize = 2_048;
/// The longest chatbot id and the longest web id, in characters.
const ID_CHARS_MAX: usize = 1_024;
/// What a call's own headers are for.
const OWN_HEADERS: &[&str] = &[
    "connection",
    "content-length",
    "content-type",
    "host",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "webhook-id",
    "webhook-signature",
    "webhook-timestamp",
];

/// One way to answer.
#[derive(Deserialize, ToSchema)]
#[serde(tag = "kind", rename_all = "camelCase", deny_unknown_fields)]
pub(super) enum ResponderBody {
    /// Keywords and fixed replies.
    Rules {
        #[serde(default)]
        rules: Vec<RuleBody>,
        /// The reply when no rule fits.
        otherwise: Option<String>,
    },
    /// An HTTP service that writes the answer.
    #[serde(rename_all = "camelCase")]
    ResponseApi {
        url: String,
        /// `bot` (by default) or `conversation`.
        dialect: Option<String>,
        /// Sent with each call.
        #[serde(default)]
        #[schema(value_type = BTreeMap<String, String>, write_only)]
        headers: BTreeMap<String, SecretString>,
        /// Of dialect `conversation`: the chatbot that answers.
        chatbot_id: Option<String>,
        /// Of dialect `conversation`: the client's API key.
        #[schema(value_type = Option<String>, format = Password, write_only)]
        web_id: Option<SecretString>,
    },
}

/// A fixed reply to messages that contain a word.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RuleBody {
    /// Compared without regard to case and accents.
    contains: String,
    reply: String,
}

/// One way to answer; of secrets, the tails.
#[derive(Serialize, ToSchema)]
#[serde(tag = "kind", rename_all = "camelCase")]
pub(super) enum ResponderView {
    /// Keywords and fixed replies.
    Rules { rules: Vec<RuleView>, otherwise: Option<String> },
    /// An HTTP service that writes the answer.
    #[serde(rename_all = "camelCase")]
    ResponseApi {
        url: String,
        dialect: &'static str,
        headers: Vec<HeaderView>,
        #[serde(skip_serializing_if = "Option::is_none")]
        chatbot_id: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        web_id: Option<String>,
    },
}

/// A fixed reply to messages that contain a word.
#[derive(Serialize, ToSchema)]
pub(super) struct RuleView {
    contains: String,
    reply: String,
}

/// A header; of its value, the tail.
#[derive(Serialize, ToSchema)]
pub(super) struct HeaderView {
    name: String,
    value: String,
}

/// The responders of a list that is called `name`.
pub(super) fn configs(
    bodies: Vec<ResponderBody>,
    name: &str,
) -> Result<Vec<ResponderConfig>, AdminError> {
    at_most(bodies.len(), name)?;
    bodies.into_iter().map(ResponderBody::config).collect()
}

impl ResponderBody {
    fn config(self) -> Result<ResponderConfig, AdminError> {
        match self {
            Self::Rules { rules, otherwise } => {
                at_most(rules.len(), "rules")?;
                let rule = |it: RuleBody| Rule { contains: it.contains, reply: it.reply };
                let rules: Vec<Rule> = rules.into_iter().map(rule).collect();
                if rules
                    .iter()
                    .any(|it| it.contains.trim().is_empty() || it.reply.trim().is_empty())
                {
                    return Err(invalid("a rule has a text in contains and in reply"));
                }
                let otherwise = otherwise.filter(|it| !it.trim().is_empty());
                Ok(ResponderConfig::Rules { rules, otherwise })
            }
            Self::ResponseApi { url, dialect, headers, chatbot_id, web_id } => {
                at_most(headers.len(), "headers")?;
                let url = is_url(url, "a responder's url")?;
                headers.iter().try_for_each(|(name, value)| is_header(name, value))?;
                let dialect = is_dialect(dialect.as_deref(), chatbot_id, web_id)?;
                let headers = headers.into_iter().collect();
                Ok(ResponderConfig::ResponseApi(ResponseApi { url, headers, dialect }))
            }
        }
    }
}

fn is_dialect(
    dialect: Option<&str>,
    chatbot_id: Option<String>,
    web_id: Option<SecretString>,
) -> Result<Dialect, AdminError> {
    let is_id = |it: &str| (1..=ID_CHARS_MAX).contains(&it.trim().chars().count());
    match dialect {
        None | Some("bot") if chatbot_id.is_some() || web_id.is_some() => {
            Err(invalid("chatbotId and webId belong to dialect conversation"))
        }
        None | Some("bot") => Ok(Dialect::Bot),
        Some("conversation") => {
            let chatbot_id = chatbot_id.filter(|it| is_id(it)).ok_or_else(|| {
                invalid("dialect conversation has a chatbotId of 1 to 1024 characters")
            })?;
            if web_id.as_ref().is_some_and(|it| !is_id(it.expose_secret())) {
                return Err(invalid("webId has 1 to 1024 characters"));
            }
            Ok(Dialect::Conversation { chatbot_id, web_id })
        }
        Some(_) => Err(invalid("dialect is bot or conversation")),
    }
}

fn is_header(name: &str, value: &SecretString) -> Result<(), AdminError> {
    let is_name = HeaderName::from_bytes(name.as_bytes()).is_ok();
    if !is_name || HeaderValue::from_str(value.expose_secret()).is_err() {
        return Err(invalid("headers has a name or a value that no HTTP request can carry"));
    }
    if OWN_HEADERS.iter().any(|it| it.eq_ignore_ascii_case(name)) {
        return Err(invalid(&format!("headers: {} is set by the gateway", name.to_lowercase())));
    }
    Ok(())
}

/// Whether its host may be reached is seen when it is called.
pub(super) fn is_url(text: String, name: &str) -> Result<String, AdminError> {
    let url = Url::parse(&text);
    let is_short = text.chars().count() <= URL_CHARS_MAX;
    if is_short && url.is_ok_and(|it| matches!(it.scheme(), "http" | "https") && it.has_host()) {
        return Ok(text);
    }
    Err(invalid(&format!("{name} is an http or https URL of at most {URL_CHARS_MAX} characters")))
}

fn at_most(n: usize, name: &str) -> Result<(), AdminError> {
    if n <= LIST_MAX {
        return Ok(());
    }
    Err(invalid(&format!("{name} has more than {LIST_MAX} entries")))
}

fn invalid(why: &str) -> AdminError {
    AdminError::Invalid(why.to_owned())
}

impl From<&ResponderConfig> for ResponderView {
    fn from(it: &ResponderConfig) -> Self {
        match it {
            ResponderConfig::Rules { rules, otherwise } => {
                let rule =
                    |it: &Rule| RuleView { contains: it.contains.clone(), reply: it.reply.clone() };
                Self::Rules {
                    rules: rules.iter().map(rule).collect(),
                    otherwise: otherwise.clone(),
                }
            }
            ResponderConfig::ResponseApi(api) => {
                let header = |it: &(String, SecretString)| HeaderView {
                    name: it.0.clone(),
                    value: masked(&it.1),
                };
                let (dialect, chatbot_id, web_id) = match &api.dialect {
                    Dialect::Bot => ("bot", None, None),
                    Dialect::Conversation { chatbot_id, web_id } => {
                        let web_id = web_id.as_ref().map(masked);
                        ("conversation", Some(chatbot_id.clone()), web_id)
                    }
                };
                let headers = api.headers.iter().map(header).collect();
                Self::ResponseApi { url: api.url.clone(), dialect, headers, chatbot_id, web_id }
            }
        }
    }
}
