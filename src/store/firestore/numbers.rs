//! A vendor's numbers. Two documents may have one number, a script's and one that was made by hand:
//! the newer counts and hides the other.

use std::{collections::HashMap, ops::Deref};

use firestore::gcloud_sdk::google::firestore::v1::Document;

use super::{
    instance,
    value::{created_at, id_of, updated_at},
};
use crate::domain::{clock::Millis, waba::InstanceKey};

/// The documents of one vendor that count, oldest first.
#[derive(Default)]
pub(super) struct Numbers {
    shown: Vec<Document>,
    /// Each with the name of the one that hides it.
    hidden: Vec<(Document, String)>,
}

impl Numbers {
    /// Of all documents of a vendor.
    pub(super) fn of(all: impl IntoIterator<Item = Document>) -> Self {
        let mut numbers = Self::default();
        let mut by_number: HashMap<InstanceKey, Vec<Document>> = HashMap::new();
        for document in all {
            match number(&document) {
                Some(number) => by_number.entry(number).or_default().push(document),
                None => numbers.shown.push(document),
            }
        }
        for mut all in by_number.into_values() {
            all.sort_by_key(age);
            let Some(newest) = all.pop() else { continue };
            numbers.hidden.extend(all.into_iter().map(|it| (it, newest.name.clone())));
            numbers.shown.push(newest);
        }
        numbers.shown.sort_by_key(|it| (created_at(it), it.name.clone()));
        numbers
    }

    /// The document with this id, or the one that hides it.
    pub(super) fn for_id(&self, id: &str) -> Option<&Document> {
        let hidden = self.hidden.iter().find(|it| id_of(&it.0.name) == id);
        match hidden {
            Some((_, by)) => self.shown.iter().find(|it| it.name == *by),
            None => self.shown.iter().find(|it| id_of(&it.name) == id),
        }
    }

    /// Whether a newer document hides it.
    pub(super) fn hides(&self, document: &Document) -> bool {
        self.hidden.iter().any(|it| it.0.name == document.name)
    }

    /// What was said of a document, or of one that it hides, about [`instance::is_heir`].
    pub(super) fn is_heir(&self, document: &Document) -> Option<bool> {
        let mut all = std::iter::once(document).chain(self.hidden_by(document));
        all.find_map(instance::is_heir)
    }

    /// Those that this one hides.
    pub(super) fn hidden_by(&self, document: &Document) -> impl Iterator<Item = &Document> {
        self.hidden.iter().filter(|it| it.1 == document.name).map(|it| &it.0)
    }
}

impl Deref for Numbers {
    type Target = [Document];

    fn deref(&self) -> &[Document] {
        &self.shown
    }
}

/// The greater is the newer.
pub(super) fn age(document: &Document) -> (Millis, String) {
    (updated_at(document), document.name.clone())
}

/// The number by which one document hides another.
fn number(document: &Document) -> Option<InstanceKey> {
    let mut keys = instance::keys(document).into_iter();
    keys.find(|it| matches!(it, InstanceKey::Phone(_))).filter(|_| !instance::is_foreign(document))
}
