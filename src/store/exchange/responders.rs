//! Responders, business hours and templates of a document.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Fault, present, shown, shown_or_null};
use crate::domain::{
    message::{Template, Text},
    secret::SecretString,
    vendor::{BusinessHours, Dialect, ResponderConfig, ResponseApi, Rule},
};

/// Who answers.
#[derive(Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase", deny_unknown_fields)]
pub(super) enum ResponderExchange {
    Rules {
        #[serde(default)]
        rules: Vec<RuleExchange>,
        #[serde(default)]
        otherwise: Option<String>,
    },
    #[serde(rename_all = "camelCase")]
    ResponseApi {
        url: String,
        #[serde(default)]
        headers: Vec<HeaderExchange>,
        #[serde(default = "bot")]
        dialect: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        chatbot_id: Option<String>,
        #[serde(
            default,
            skip_serializing_if = "Option::is_none",
            deserialize_with = "present",
            serialize_with = "shown_or_null"
        )]
        web_id: Option<Option<SecretString>>,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RuleExchange {
    contains: String,
    reply: String,
}

/// Without a value it has the one that is stored for the same URL and name.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct HeaderExchange {
    name: String,
    #[serde(default, skip_serializing_if = "Option::is_none", serialize_with = "shown")]
    value: Option<SecretString>,
}

fn bot() -> String {
    "bot".to_owned()
}

impl ResponderExchange {
    pub(super) fn of(responder: &ResponderConfig, with_secrets: bool) -> Self {
        match responder {
            ResponderConfig::Rules { rules, otherwise } => Self::Rules {
                rules: rules
                    .iter()
                    .map(|Rule { contains, reply }| RuleExchange {
                        contains: contains.clone(),
                        reply: reply.clone(),
                    })
                    .collect(),
                otherwise: otherwise.clone(),
            },
            ResponderConfig::ResponseApi(ResponseApi { url, headers, dialect }) => {
                let header = |it: &(String, SecretString)| HeaderExchange {
                    name: it.0.clone(),
                    value: with_secrets.then(|| it.1.clone()),
                };
                let (word, chatbot_id, web_id) = match dialect {
                    Dialect::Bot => ("bot", None, None),
                    Dialect::Conversation { chatbot_id, web_id } => {
                        let is_shown = with_secrets || web_id.is_none();
                        let web_id = is_shown.then(|| web_id.clone());
                        ("conversation", Some(chatbot_id.clone()), web_id)
                    }
                };
                Self::ResponseApi {
                    url: url.clone(),
                    headers: headers.iter().map(header).collect(),
                    dialect: word.to_owned(),
                    chatbot_id,
                    web_id,
                }
            }
        }
    }

    /// What it stands for; secrets that it does not tell are those of `known`.
    fn read(&self, known: &[ResponderConfig]) -> Result<ResponderConfig, Fault> {
        match self {
            Self::Rules { rules, otherwise } => Ok(ResponderConfig::Rules {
                rules: rules
                    .iter()
                    .map(|it| Rule { contains: it.contains.clone(), reply: it.reply.clone() })
                    .collect(),
                otherwise: otherwise.clone(),
            }),
            Self::ResponseApi { url, headers, dialect, chatbot_id, web_id } => {
                let same = |it: &&ResponseApi| it.url == *url;
                let known = known.iter().filter_map(api).find(same);
                let headers = headers.iter().map(|it| it.read(known)).collect::<Result<_, _>>()?;
                let dialect = match (dialect.as_str(), chatbot_id) {
                    ("bot", None) if web_id.is_none() => Dialect::Bot,
                    ("conversation", Some(chatbot_id)) => {
                        let stored = known.and_then(|it| match &it.dialect {
                            Dialect::Conversation { web_id, .. } => web_id.clone(),
                            Dialect::Bot => None,
                        });
                        let web_id = web_id.clone().unwrap_or(stored);
                        Dialect::Conversation { chatbot_id: chatbot_id.clone(), web_id }
                    }
                    ("bot" | "conversation", _) => {
                        let why = "chatbotId and webId belong to dialect conversation, which has a chatbotId";
                        return Err(Fault::new("", why));
                    }
                    _ => return Err(Fault::new("", "dialect is bot or conversation")),
                };
                Ok(ResponderConfig::ResponseApi(ResponseApi { url: url.clone(), headers, dialect }))
            }
        }
    }
}

fn api(responder: &ResponderConfig) -> Option<&ResponseApi> {
    match responder {
        ResponderConfig::ResponseApi(api) => Some(api),
        ResponderConfig::Rules { .. } => None,
    }
}

impl HeaderExchange {
    fn read(&self, known: Option<&ResponseApi>) -> Result<(String, SecretString), Fault> {
        let stored = || {
            let mut headers = known?.headers.iter();
            headers.find(|it| it.0.eq_ignore_ascii_case(&self.name)).map(|it| it.1.clone())
        };
        let value = self.value.clone().or_else(stored);
        let why = "a header has a value: the document was written without secrets";
        value.map(|it| (self.name.clone(), it)).ok_or_else(|| Fault::new("", why))
    }
}

pub(super) fn read_all(
    list: &[ResponderExchange],
    known: &[ResponderConfig],
    place: &str,
) -> Result<Vec<ResponderConfig>, Vec<Fault>> {
    let (mut read, mut faults) = (Vec::new(), Vec::new());
    for (n, it) in list.iter().enumerate() {
        match it.read(known) {
            Ok(it) => read.push(it),
            Err(fault) => faults.push(fault.of(&format!("{place}[{n}]"))),
        }
    }
    if faults.is_empty() { Ok(read) } else { Err(faults) }
}

/// When a vendor is open: seven days from Monday on, each with spans of `HH:MM`.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct HoursExchange {
    #[serde(default)]
    time_zone: Option<String>,
    days: [Vec<(String, String)>; 7],
    #[serde(default)]
    out_of_hours: Vec<ResponderExchange>,
}

impl HoursExchange {
    pub(super) fn of(hours: &BusinessHours, with_secrets: bool) -> Self {
        let BusinessHours { time_zone, days, out_of_hours } = hours;
        let time = |it: u16| format!("{:02}:{:02}", it / 60, it % 60);
        let day = |it: &Vec<(u16, u16)>| it.iter().map(|it| (time(it.0), time(it.1))).collect();
        Self {
            time_zone: time_zone.clone(),
            days: std::array::from_fn(|n| day(&days[n])),
            out_of_hours: out_of_hours
                .iter()
                .map(|it| ResponderExchange::of(it, with_secrets))
                .collect(),
        }
    }

    pub(super) fn read(&self, known: &[ResponderConfig]) -> Result<BusinessHours, Vec<Fault>> {
        let out_of_hours = read_all(&self.out_of_hours, known, "businessHours.outOfHours")?;
        let mut days: [Vec<(u16, u16)>; 7] = Default::default();
        for (n, (spans, texts)) in days.iter_mut().zip(&self.days).enumerate() {
            for (from, to) in texts {
                let span = minutes(from).zip(minutes(to));
                let place = format!("businessHours.days[{n}]");
                let why = "a span is like [\"08:00\", \"12:30\"]";
                spans.push(span.ok_or_else(|| vec![Fault::new(&place, why)])?);
            }
        }
        Ok(BusinessHours { time_zone: self.time_zone.clone(), days, out_of_hours })
    }
}

fn minutes(text: &str) -> Option<u16> {
    let (hours, minutes) = text.split_once(':')?;
    let number = |it: &str| it.parse::<u16>().ok().filter(|_| it.len() == 2);
    let (hours, minutes) = (number(hours)?, number(minutes)?);
    (minutes < 60).then_some(hours * 60 + minutes)
}

/// What is sent where a text may not be.
#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub(super) struct TemplateExchange {
    name: String,
    language: String,
    components: Vec<Value>,
    content_sid: Option<String>,
    variables: BTreeMap<String, String>,
    text: String,
}

impl TemplateExchange {
    pub(super) fn of(template: &Template) -> Self {
        let Template { name, language, components, content_sid, variables, text } =
            template.clone();
        Self { name, language, components, content_sid, variables, text: text.0 }
    }

    pub(super) fn read(&self) -> Template {
        Template {
            name: self.name.clone(),
            language: self.language.clone(),
            components: self.components.clone(),
            content_sid: self.content_sid.clone(),
            variables: self.variables.clone(),
            text: Text(self.text.clone()),
        }
    }
}
