//! Names of what is in Redis: `waba:1:<whose>:{<word>}`. The number is the form of these and of
//! what gateways tell each other; a value of another form is not believed. *Whose* is a keyed hash,
//! so that gateways on other data do not meet. What keys it may be learnt late, when a store
//! elsewhere is reached, so it is asked each time. The braces keep a value and its generation on
//! one node of a cluster.

use std::sync::Arc;

use super::Subject;
use crate::vault::{Token, Vault};

pub(super) struct Names {
    vault: Arc<Vault>,
    /// Of this process, so that it does not listen to itself.
    node: String,
}

impl Names {
    pub(super) fn new(vault: Arc<Vault>) -> Result<Self, getrandom::Error> {
        Ok(Self { vault, node: random()? })
    }

    fn prefix(&self) -> String {
        let whose = self.vault.token(&[b"redis"]);
        format!("waba:1:{}", hex::encode(&whose[..6]))
    }

    pub(super) fn value(&self, subject: &Subject) -> String {
        format!("{}:{{{}}}", self.prefix(), subject.word())
    }

    pub(super) fn generation(&self, subject: &Subject) -> String {
        format!("{}:{{{}}}:generation", self.prefix(), subject.word())
    }

    pub(super) fn epoch(&self) -> String {
        format!("{}:epoch", self.prefix())
    }

    pub(super) fn probe(&self) -> String {
        format!("{}:probe", self.prefix())
    }

    pub(super) fn limit(&self, whose: &Token) -> String {
        format!("{}:limit:{}", self.prefix(), hex::encode(whose))
    }

    pub(super) fn channel(&self) -> String {
        format!("{}:changes", self.prefix())
    }

    /// A line for who speaks, and one for each subject.
    pub(super) fn message<'a>(&self, subjects: impl Iterator<Item = &'a Subject>) -> String {
        let mut text = self.node.clone();
        for subject in subjects {
            text.push('\n');
            text.push_str(&subject.word());
        }
        text
    }

    /// What another gateway says has changed. Words that this version does not know are passed
    /// over.
    pub(super) fn read(&self, message: &str) -> Vec<Subject> {
        let mut lines = message.lines();
        if lines.next() == Some(&self.node) {
            return Vec::new();
        }
        lines.filter_map(Subject::of_word).collect()
    }
}

pub(super) fn random() -> Result<String, getrandom::Error> {
    let mut bytes = [0_u8; 12];
    getrandom::fill(&mut bytes)?;
    Ok(hex::encode(bytes))
}
