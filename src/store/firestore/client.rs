//! The connection: made in the background and kept, so that the gateway starts and goes on while
//! Firestore is away.

use std::{sync::Arc, time::Duration};

use firestore::{
    FirestoreDb, FirestoreDbOptions,
    gcloud_sdk::{
        GCP_DEFAULT_SCOPES, HeaderMap,
        google_cloud_auth::{
            credentials::{
                Builder, CacheableResource, Credentials, CredentialsProvider, EntityTag,
                service_account::{self, AccessSpecifier},
            },
            errors::CredentialsError,
        },
        tonic::codegen::http::{Extensions, HeaderValue, header::AUTHORIZATION},
    },
};
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{Fault, session::Session, shared};
use crate::{
    config::{FirebaseKey, FirestoreConfig},
    domain::secret::ExposeSecret,
    store::Keyed,
    telemetry::Chain,
    vault::Vault,
};

/// A request waits this long for an answer: a webhook must be answered within 5 s, and may need two.
pub(super) const ANSWER_WITHIN: Duration = Duration::from_secs(2);
/// Who starts waits this long for the first connection, and then goes on without.
const FIRST_WITHIN: Duration = Duration::from_secs(3);
/// Between two attempts to connect.
const AGAIN_AFTER: Duration = Duration::from_millis(500);

/// A Firestore database that may be away.
#[derive(Clone)]
pub(super) struct Client {
    state: watch::Receiver<State>,
    /// Ends the attempts to connect when nobody needs them any more.
    _attempts: Arc<DropGuard>,
}

#[derive(Clone)]
enum State {
    Away,
    Ready(Session),
    WrongKey,
}

/// Whether a database without a check value gets one.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Mark {
    /// It is ours to use from now on.
    Make,
    /// It is only looked at.
    Leave,
}

impl Client {
    /// Starts to connect and waits a little for it.
    ///
    /// # Errors
    ///
    /// The credentials cannot be used, or the data was sealed with another key. A database that
    /// is away is no error.
    pub(super) async fn start(
        config: &FirestoreConfig,
        vault: Arc<Vault>,
        local: Keyed,
        mark: Mark,
    ) -> Result<Self, Fault> {
        // There is one TLS library with one provider; a second call, as in tests, changes nothing.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let auth = auth(config).await?;
        let (sender, mut state) = watch::channel(State::Away);
        let attempts = CancellationToken::new();
        let (options, stop) = (options(config), attempts.clone());
        tokio::spawn(async move {
            tokio::select! {
                () = connect(options, auth, (&vault, &local), mark, &sender) => {}
                () = stop.cancelled() => {}
            }
        });
        let settled = state.wait_for(|it| !matches!(it, State::Away));
        // What it is after that time is asked for when it is needed.
        let _ = tokio::time::timeout(FIRST_WITHIN, settled).await;
        let client = Self { state, _attempts: Arc::new(attempts.drop_guard()) };
        match client.session() {
            Err(Fault::WrongKey) => Err(Fault::WrongKey),
            _ => Ok(client),
        }
    }

    /// The connection, where there is one.
    pub(super) fn session(&self) -> Result<Session, Fault> {
        match &*self.state.borrow() {
            State::Ready(session) => Ok(session.clone()),
            State::Away => Err(Fault::NotReached),
            State::WrongKey => Err(Fault::WrongKey),
        }
    }

    /// Waits until there is a connection.
    pub(super) async fn connected(&self) -> Result<Session, Fault> {
        let mut state = self.state.clone();
        // An error is the end of the attempts, which is as good as a state.
        let _ = state.wait_for(|it| !matches!(it, State::Away)).await;
        self.session()
    }
}

fn options(config: &FirestoreConfig) -> FirestoreDbOptions {
    let options = FirestoreDbOptions::new(config.project_id.clone());
    match &config.emulator {
        Some(host) => options.with_firebase_api_url(format!("http://{host}")),
        // Without it the library would ask the environment for an emulator of its own.
        None => options.with_firebase_api_url("https://firestore.googleapis.com".to_owned()),
    }
}

async fn connect(
    options: FirestoreDbOptions,
    auth: Credentials,
    (vault, local): (&Vault, &Keyed),
    mark: Mark,
    state: &watch::Sender<State>,
) {
    let mut is_told = false;
    loop {
        let attempt = async {
            let db = FirestoreDb::with_options_auth(options.clone(), auth.clone()).await?;
            let session = Session::new(db);
            shared::check_key(&session, vault, mark).await?;
            Ok::<_, Fault>(session)
        };
        match attempt.await {
            Ok(session) => {
                if is_told {
                    tracing::info!("Firestore is reached");
                }
                if mark == Mark::Make && local.keep_shared_hash_key(vault.hash_key()).await.is_err()
                {
                    tracing::warn!("the key of Firestore's hashes could not be kept for an outage");
                }
                state.send_replace(State::Ready(session));
                return;
            }
            Err(error @ Fault::WrongKey) => {
                tracing::error!(error = %Chain(&error), "Firestore is not used");
                state.send_replace(State::WrongKey);
                return;
            }
            Err(error) => {
                if !is_told {
                    tracing::warn!(error = %Chain(&error), "Firestore is not reached; trying on");
                }
                is_told = true;
                tokio::time::sleep(AGAIN_AFTER).await;
            }
        }
    }
}

/// What requests are authorised by: the operator's key, else what the machine has.
pub(super) async fn auth(config: &FirestoreConfig) -> Result<Credentials, Fault> {
    if config.emulator.is_some() {
        return Ok(Credentials::from(Owner(EntityTag::new())));
    }
    let scopes = GCP_DEFAULT_SCOPES.clone();
    // What the library says of a key may quote it.
    let unusable = |what: &str| Fault::Refused(format!("{what} cannot be used"));
    let (key, name) = match &config.key {
        FirebaseKey::Machine => {
            let name = "what this machine has (no service account is set)";
            return Builder::default().with_scopes(scopes).build().map_err(|_| unusable(name));
        }
        FirebaseKey::File(path) => {
            let name = "the file of FIREBASE_SERVICE_ACCOUNT_PATH";
            let file = std::fs::read(path).map_err(|_| unusable(name))?;
            (serde_json::from_slice(&file).map_err(|_| unusable(name))?, name)
        }
        FirebaseKey::Variables { email, private_key } => {
            let key = serde_json::json!({
                "type": "service_account",
                "project_id": config.project_id,
                "client_email": email,
                "private_key_id": "",
                // In an environment variable its line ends are often written as \n.
                "private_key": private_key.expose_secret().replace("\\n", "\n"),
                "token_uri": "https://oauth2.googleapis.com/token",
            });
            (key, "FIREBASE_PRIVATE_KEY with FIREBASE_CLIENT_EMAIL")
        }
    };
    let builder = service_account::Builder::new(key)
        .with_access_specifier(AccessSpecifier::from_scopes(scopes));
    let credentials = builder.build().map_err(|_| unusable(name))?;
    // It signs by itself: a key that it cannot sign with is found before anybody is asked.
    credentials.headers(Extensions::new()).await.map_err(|_| unusable(name))?;
    Ok(credentials)
}

/// What emulators take for the owner of the project.
#[derive(Debug)]
struct Owner(EntityTag);

impl CredentialsProvider for Owner {
    async fn headers(
        &self,
        extensions: Extensions,
    ) -> Result<CacheableResource<HeaderMap>, CredentialsError> {
        if extensions.get::<EntityTag>() == Some(&self.0) {
            return Ok(CacheableResource::NotModified);
        }
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, HeaderValue::from_static("Bearer owner"));
        Ok(CacheableResource::New { entity_tag: self.0.clone(), data: headers })
    }

    async fn universe_domain(&self) -> Option<String> {
        None
    }
}
