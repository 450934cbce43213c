//! Keywords and fixed replies.

use async_trait::async_trait;
use unicode_normalization::{UnicodeNormalization, char::is_combining_mark};

use super::{Answer, Question, Reply, Responder, ResponderError};
use crate::domain::{message::Text, vendor::Rule};

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
        let said = folded(&question.text.0);
        let rule = self.rules.iter().find(|it| !it.0.is_empty() && said.contains(&it.0));
        let reply = rule.map(|it| &it.1).or(self.otherwise.as_ref());
        Ok(match reply {
            Some(text) => Answer::Reply(Reply { text: Text(text.clone()), requires_human: false }),
            None => Answer::Pass,
        })
    }
}

/// Text without case and accents, so that «Horaires» finds «horaires» and «café» «cafe».
fn folded(text: &str) -> String {
    text.nfkd().filter(|it| !is_combining_mark(*it)).flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::folded;

    #[test]
    fn case_and_accents_do_not_count() {
        assert_eq!(folded("Où est le CAFÉ ?"), folded("ou est le cafe ?"));
        assert_eq!(folded("Ｈoraires"), "horaires");
    }
}
