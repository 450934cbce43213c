//! Types of messages that only some providers have: templates, buttons that do something, forms,
//! reactions.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::domain::message::{Content, Flow, Template, Text};

/// A message that was approved beforehand: `name` and `language` at Meta, `contentSid` at Twilio.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct TemplateBody {
    /// Its name at Meta.
    #[schema(example = "order_confirmed")]
    #[serde(default)]
    name: String,
    /// Its language at Meta.
    #[schema(example = "fr")]
    #[serde(default)]
    language: String,
    /// What fills it in, in Meta's form; passed on as it is.
    #[serde(default)]
    #[schema(value_type = Vec<Object>)]
    components: Vec<Value>,
    /// Its id at Twilio, `HX…`.
    content_sid: Option<String>,
    /// What Twilio fills in, by number or name.
    #[serde(default)]
    variables: BTreeMap<String, String>,
    /// What is sent in its place by a provider without templates; without it nothing is.
    #[serde(default)]
    text: String,
}

impl From<TemplateBody> for Template {
    fn from(it: TemplateBody) -> Self {
        Self {
            name: it.name,
            language: it.language,
            components: it.components,
            content_sid: it.content_sid,
            variables: it.variables,
            text: Text(it.text),
        }
    }
}

impl From<&Template> for TemplateBody {
    fn from(it: &Template) -> Self {
        let it = it.clone();
        Self {
            name: it.name,
            language: it.language,
            components: it.components,
            content_sid: it.content_sid,
            variables: it.variables,
            text: it.text.0,
        }
    }
}

/// A text with a button that opens a page.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CtaUrlBody {
    /// 1 to 1,024 characters.
    text: String,
    /// 1 to 20 characters.
    label: String,
    url: String,
}

/// A text with a button that opens a form in WhatsApp, by `id` or `name`.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct FlowBody {
    /// 1 to 1,024 characters.
    text: String,
    /// What the button says, 1 to 30 characters.
    cta: String,
    id: Option<String>,
    name: Option<String>,
    /// What the answer will name.
    token: Option<String>,
    /// `navigate` or `data_exchange`.
    action: Option<String>,
    /// The first screen, and what it is given.
    #[schema(value_type = Option<Object>)]
    payload: Option<Value>,
    /// `draft` or `published`.
    mode: Option<String>,
}

/// A text with a button that sends where the customer is.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct LocationRequestBody {
    /// 1 to 1,024 characters.
    text: String,
}

/// A reaction to the message of `replyTo`.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ReactionBody {
    /// An emoji; an empty text takes the reaction back.
    emoji: String,
}

impl CtaUrlBody {
    pub(super) fn content(self) -> Content {
        Content::CtaUrl { text: Text(self.text), label: Text(self.label), url: Text(self.url) }
    }
}

impl FlowBody {
    pub(super) fn content(self) -> Content {
        Content::Flow(Flow {
            text: Text(self.text),
            cta: Text(self.cta),
            id: self.id,
            name: self.name,
            token: self.token,
            action: self.action,
            payload: self.payload,
            mode: self.mode,
        })
    }
}

impl LocationRequestBody {
    pub(super) fn content(self) -> Content {
        Content::LocationRequest { text: Text(self.text) }
    }
}

impl ReactionBody {
    pub(super) fn content(self) -> Content {
        Content::Reaction { emoji: Text(self.emoji) }
    }
}
