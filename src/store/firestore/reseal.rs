//! Secrets in documents sealed, made clear again, or sealed with another key, where they are. Each
//! value says what it is, so nothing has to be remembered of how far this has come.

use std::collections::BTreeMap;

use firestore::gcloud_sdk::google::firestore::v1::{
    Document, Precondition, Write, precondition::ConditionType, value::ValueType,
};

use super::{
    Fault, FirestoreStore,
    instance::{self, INSTANCES},
    list::by_name,
    secret,
    session::{Session, is, query},
    shared,
    value::{Edit, collection_of, get_text, id_of, ours, text},
    vendor::{self, CONFIGS, OLDER_CONFIGS},
};
use crate::{domain::id::VendorId, store::StoreError, vault::Vault};

/// Documents read, and written, together.
const PAGE: usize = 100;
/// How often a document is tried that others change.
const TRIES_MAX: usize = 5;
/// Places of what cannot be opened that are named.
const SHUT_NAMED_MAX: usize = 20;
/// Fields of the contract that hold a secret, in the clear where the predecessor wrote them.
pub const SECRETS: [(&str, &[&str]); 3] = [
    (
        INSTANCES,
        &[
            "wasenderWebhookSecret",
            "webhookSecret",
            "wasenderApiKey",
            "metaAccessToken",
            "unipileApiKey",
        ],
    ),
    (CONFIGS, OF_CONFIG),
    (OLDER_CONFIGS, OF_CONFIG),
];
const OF_CONFIG: &[&str] =
    &["wasenderAccessToken", "wasenderWebhookSecret", "whatsappAccessToken", "whatsappVerifyToken"];

/// What is to become of secrets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// What is sealed is sealed with the key that is used now.
    Rotate,
    /// What the predecessor wrote in the clear is sealed.
    Seal,
    /// What the predecessor must read is clear again.
    Unseal,
}

/// What was found in, or made of, the documents of a collection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Turned {
    /// Documents looked at.
    pub n_seen: u64,
    /// Secrets concerned, by vendor and field. Those of no vendor's document have an empty one.
    pub found: BTreeMap<(String, String), u64>,
    /// Sealed secrets that no key opens.
    pub n_shut: u64,
    /// Where the first of them are: collection, document and field.
    pub shut: Vec<String>,
    /// Secrets in a document that others kept changing.
    pub n_missed: u64,
}

impl Turned {
    /// Secrets concerned.
    #[must_use]
    pub fn n(&self) -> u64 {
        self.found.values().sum()
    }
}

impl FirestoreStore {
    /// Whether what is sealed may still be so with an older key.
    pub async fn has_old_key(&self) -> Result<bool, StoreError> {
        Ok(shared::has_old(&self.session()?, &self.vault).await?)
    }

    /// Marks the database as sealed with the key that is used now, once everything in it is: nodes
    /// that do not know that key do not start any more.
    pub async fn mark_key(&self) -> Result<(), StoreError> {
        Ok(shared::mark(&self.session()?, &self.vault).await?)
    }

    /// The collections that hold secrets; the last is never written.
    #[must_use]
    pub fn secret_collections() -> [&'static str; 3] {
        SECRETS.map(|it| it.0)
    }

    /// Goes through a collection, of one vendor or of all; with `apply` it writes. `told` hears of
    /// each step.
    ///
    /// # Errors
    ///
    /// Firestore is away. What was written until then stays so.
    pub async fn turn_secrets(
        &self,
        turn: Turn,
        collection: &'static str,
        vendor: Option<&VendorId>,
        apply: bool,
        mut told: impl FnMut(&Turned),
    ) -> Result<Turned, StoreError> {
        let session = self.session()?;
        let walk = Walk { session: &session, vault: &self.vault, turn, collection };
        let mut turned = Turned::default();
        if let Some(vendor) = vendor {
            let documents = walk.of_vendor(vendor).await?;
            walk.page(documents, apply, &mut turned).await?;
            told(&turned);
            return Ok(turned);
        }
        let mut after = None;
        loop {
            let page = by_name(&session, collection, after.as_deref(), PAGE).await?;
            let last = page.last().map(|it| id_of(&it.name).to_owned());
            let is_last = page.len() < PAGE;
            walk.page(page, apply, &mut turned).await?;
            told(&turned);
            match last.filter(|_| !is_last) {
                Some(last) => after = Some(last),
                None => return Ok(turned),
            }
        }
    }
}

struct Walk<'a> {
    session: &'a Session,
    vault: &'a Vault,
    turn: Turn,
    collection: &'static str,
}

/// What would become of one document.
struct Plan {
    fields: Vec<String>,
    shut: Vec<String>,
    write: Option<Write>,
}

impl Walk<'_> {
    fn owner(&self, document: &Document) -> Option<VendorId> {
        match self.collection {
            INSTANCES => instance::vendor_of(document),
            _ => vendor::vendor_of(document),
        }
    }

    async fn of_vendor(&self, id: &VendorId) -> Result<Vec<Document>, Fault> {
        let ids = [id.to_string(), format!("waba_{id}")];
        let naming = query(self.collection, is("vendorId", text(id.as_str())));
        let (named, found) =
            tokio::try_join!(self.session.get(self.collection, &ids), self.session.query(naming))?;
        let all: BTreeMap<String, Document> =
            named.into_values().chain(found).map(|it| (it.name.clone(), it)).collect();
        Ok(all.into_values().filter(|it| self.owner(it).as_ref() == Some(id)).collect())
    }

    async fn page(
        &self,
        documents: Vec<Document>,
        apply: bool,
        turned: &mut Turned,
    ) -> Result<(), Fault> {
        let plans: Vec<Plan> = documents.iter().map(|it| self.plan(it)).collect();
        let writes: Vec<Write> = plans.iter().filter_map(|it| it.write.clone()).collect();
        let kept = !apply || writes.is_empty() || self.session.commit_if(writes).await?;
        for (document, plan) in documents.iter().zip(plans) {
            let is_kept = kept || plan.write.is_none() || self.alone(document).await?;
            turned.n_seen += 1;
            turned.n_shut += plan.shut.len() as u64;
            let left = SHUT_NAMED_MAX.saturating_sub(turned.shut.len());
            let id = id_of(&document.name);
            let named = plan.shut.iter().map(|it| format!("{}/{id}: {it}", self.collection));
            turned.shut.extend(named.take(left));
            if !is_kept {
                turned.n_missed += plan.fields.len() as u64;
                continue;
            }
            let vendor = self.owner(document).map(|it| it.to_string()).unwrap_or_default();
            for field in plan.fields {
                *turned.found.entry((vendor.clone(), field)).or_default() += 1;
            }
        }
        Ok(())
    }

    /// Writes one document of a page of which another has been changed meanwhile.
    async fn alone(&self, document: &Document) -> Result<bool, Fault> {
        for _ in 0..TRIES_MAX {
            let found = self.session.get_one(self.collection, id_of(&document.name)).await?;
            // One that was deleted has no secret.
            let Some(found) = found else { return Ok(true) };
            let Some(write) = self.plan(&found).write else { return Ok(true) };
            if self.session.commit_if(vec![write]).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn plan(&self, document: &Document) -> Plan {
        let mut edit = Edit::of(document.name.clone(), false);
        let mut plan = Plan { fields: Vec::new(), shut: Vec::new(), write: None };
        for field in self.candidates(document) {
            let Some(stored) = get_text(&document.fields, &field) else { continue };
            let new = self.turned(document, &field, &stored);
            plan.note(&field, new, |new| edit.set(&field, text(new)));
        }
        // What only this gateway knows is always sealed.
        if self.turn == Turn::Rotate {
            let known: Vec<String> =
                ours(document).into_iter().flatten().map(|it| it.0.clone()).collect();
            for field in known {
                let stored = ours(document).and_then(|it| get_text(it, &field));
                let Some(stored) = stored else { continue };
                let new = self.turned(document, &field, &stored);
                plan.note(&field, new, |new| edit.set_ours(&field, Some(text(new))));
            }
        }
        if !edit.is_empty() && [INSTANCES, CONFIGS].contains(&self.collection) {
            instance::keep_age(&mut edit, document);
        }
        let condition =
            Precondition { condition_type: document.update_time.map(ConditionType::UpdateTime) };
        plan.write = edit.write().map(|it| Write { current_document: Some(condition), ..it });
        plan
    }

    /// Fields that may have to be turned.
    fn candidates(&self, document: &Document) -> Vec<String> {
        if self.turn == Turn::Rotate {
            let is_text = |it: &(&String, &firestore::gcloud_sdk::google::firestore::v1::Value)| {
                matches!(it.1.value_type, Some(ValueType::StringValue(_)))
            };
            return document.fields.iter().filter(is_text).map(|it| it.0.clone()).collect();
        }
        let fields = SECRETS.iter().find(|it| it.0 == self.collection).map(|it| it.1);
        fields.unwrap_or_default().iter().map(|it| (*it).to_owned()).collect()
    }

    /// What a value becomes; `None` where it stays.
    fn turned(
        &self,
        document: &Document,
        field: &str,
        stored: &str,
    ) -> Result<Option<String>, Fault> {
        let place = format!("{}/{}/{field}", collection_of(&document.name), id_of(&document.name));
        match (self.turn, secret::is_sealed(stored)) {
            (Turn::Rotate, _) => secret::reseal(self.vault, &place, stored),
            (Turn::Seal, false) => secret::seal(self.vault, &place, stored).map(Some),
            (Turn::Unseal, true) => secret::open(self.vault, &place, stored.to_owned()).map(Some),
            (Turn::Seal, true) | (Turn::Unseal, false) => Ok(None),
        }
    }
}

impl Plan {
    fn note(&mut self, field: &str, new: Result<Option<String>, Fault>, set: impl FnOnce(String)) {
        match new {
            Ok(Some(new)) => {
                self.fields.push(field.to_owned());
                set(new);
            }
            Ok(None) => {}
            Err(_) => self.shut.push(field.to_owned()),
        }
    }
}
