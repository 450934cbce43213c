//! The Firestore store's part of the configuration.

use std::path::PathBuf;

use super::Vars;
use crate::domain::secret::SecretString;

/// A Firestore database.
#[derive(Debug, Clone)]
pub struct FirestoreConfig {
    /// The Firebase project it belongs to.
    pub project_id: String,
    /// What proves that we may use it.
    pub key: FirebaseKey,
    /// Host and port of an emulator, which is used in its place.
    pub emulator: Option<String>,
}

/// What proves to Google who we are.
#[derive(Debug, Clone)]
pub enum FirebaseKey {
    /// A service account's key file.
    File(PathBuf),
    /// What of that file matters.
    Variables {
        /// The service account.
        email: String,
        /// Its key, in PEM.
        private_key: SecretString,
    },
    /// Whatever the machine has (Application Default Credentials).
    Machine,
}

impl<L: Fn(&str) -> Option<String>> Vars<'_, L> {
    /// `None` is the embedded store.
    pub(super) fn firestore(&mut self) -> Option<FirestoreConfig> {
        match self.text("STORE").as_deref() {
            None | Some("sqlite") => return None,
            Some("firestore") => {}
            Some(_) => {
                self.faults.push("STORE is sqlite or firestore".to_owned());
                return None;
            }
        }
        let project_id = self.text("FIREBASE_PROJECT_ID").unwrap_or_default();
        if project_id.is_empty() {
            self.faults.push("FIREBASE_PROJECT_ID is needed for STORE=firestore".to_owned());
        }
        let key = self.firebase_key();
        let emulator = self.text("FIRESTORE_EMULATOR_HOST");
        if emulator.as_ref().is_some_and(|it| !is_host_and_port(it)) {
            self.faults.push("FIRESTORE_EMULATOR_HOST is not a host and port".to_owned());
        }
        Some(FirestoreConfig { project_id, key, emulator })
    }

    fn firebase_key(&mut self) -> FirebaseKey {
        let email = self.text("FIREBASE_CLIENT_EMAIL");
        let private_key = self.secret("FIREBASE_PRIVATE_KEY");
        if let Some(path) = self.text("FIREBASE_SERVICE_ACCOUNT_PATH") {
            return FirebaseKey::File(path.into());
        }
        match (email, private_key) {
            (Some(email), Some(private_key)) => FirebaseKey::Variables { email, private_key },
            (None, None) => FirebaseKey::Machine,
            _ => {
                let fault =
                    "FIREBASE_CLIENT_EMAIL and FIREBASE_PRIVATE_KEY are needed together".to_owned();
                self.faults.push(fault);
                FirebaseKey::Machine
            }
        }
    }
}

fn is_host_and_port(text: &str) -> bool {
    text.rsplit_once(':').is_some_and(|(host, port)| {
        !host.is_empty() && !host.contains('/') && port.parse::<u16>().is_ok()
    })
}
