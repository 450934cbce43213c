//! Keywords and fixed replies.

use async_trait::async_trait;

use super::{Answer, Question, Reply, Responder, ResponderError};
use crate::domain::{fold::folded, vendor::Rule};

/// Keywords and fixed replies, tried in order.
pub struct RulesResponder {
    rules: Vec<(String, String)>,
    otherwise: Option<String>,
}

impl RulesResponder {
    /// Folds the keywords once.
    #[must_use]
    pub fn new(rules: &[Rule], otherwise: Option<&str>) -> Self {
        let rules = rules.iter().map(|it| (folded(&it.contains), it.reply.clone())).collect();
        Self { rules, otherwise: otherwise.map(str::to_owned) }
    }
}

#[async_trait]
impl Responder for RulesResponder {
    async fn answer(&self, question: &Question) -> Result<Answer, ResponderError> {
        let said = folded(question.text());
        let rule = self.rules.iter().find(|it| !it.0.is_empty() && said.contains(&it.0));
        let reply = rule.map(|it| &it.1).or(self.otherwise.as_ref());
        Ok(match reply {
            Some(text) => Answer::Reply(Reply::text(text)),
            None => Answer::Pass,
        })
    }
}
