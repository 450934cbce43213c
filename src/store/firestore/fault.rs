//! What can go wrong with Firestore.

use firestore::{
    errors::FirestoreError,
    gcloud_sdk::tonic::{Code, Status},
};

/// Firestore could not say, or could not keep it.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Fault {
    /// There has been no connection since the start.
    #[error("Firestore has not been reached yet")]
    NotReached,
    /// No answer in time.
    #[error("Firestore did not answer in time")]
    TooSlow,
    /// Others kept changing the same documents.
    #[error("others keep changing the same documents in Firestore")]
    Contended,
    /// A document is there that must not be, or is not, or is another than the one that was read.
    #[error("a document in Firestore is not as expected")]
    Unmet,
    /// Whatever else Firestore says, in its words.
    #[error("Firestore: {0}")]
    Refused(String),
    /// The database was used with another key.
    #[error("the data in Firestore was sealed with another ENCRYPTION_KEY")]
    WrongKey,
    /// A secret cannot be opened, or not be sealed.
    #[error("a sealed secret cannot be opened with this ENCRYPTION_KEY")]
    Sealed,
    /// A document is not of the form it should have.
    #[error("the document {document} cannot be read: {what}")]
    Unreadable {
        /// Its collection and id.
        document: String,
        /// The field, or what is wrong.
        what: &'static str,
    },
}

impl Fault {
    /// Whether Firestore may say more when it is asked again later.
    #[must_use]
    pub fn is_away(&self) -> bool {
        match self {
            Self::NotReached | Self::TooSlow | Self::Contended | Self::Unmet | Self::Refused(_) => {
                true
            }
            Self::WrongKey | Self::Sealed | Self::Unreadable { .. } => false,
        }
    }

    /// Whether it is one document that cannot be read.
    #[must_use]
    pub fn is_unreadable(&self) -> bool {
        matches!(self, Self::Sealed | Self::Unreadable { .. })
    }
}

impl From<Status> for Fault {
    fn from(status: Status) -> Self {
        match status.code() {
            Code::Aborted => Self::Contended,
            Code::DeadlineExceeded => Self::TooSlow,
            Code::AlreadyExists | Code::NotFound => Self::Unmet,
            // A missing index is told with the same code as an unmet condition, and a link to make
            // it; the rest is for the operator too: a role, a key.
            Code::FailedPrecondition if !status.message().contains("index") => Self::Unmet,
            Code::FailedPrecondition | Code::PermissionDenied | Code::Unauthenticated => {
                Self::Refused(status.message().to_owned())
            }
            // Its text may quote what was asked.
            code => Self::Refused(format!("{code:?}")),
        }
    }
}

impl From<FirestoreError> for Fault {
    fn from(error: FirestoreError) -> Self {
        match error {
            FirestoreError::DatabaseError(it) => Self::Refused(it.public.code),
            FirestoreError::SystemError(it) => Self::Refused(it.public.code),
            FirestoreError::NetworkError(it) => Self::Refused(it.public.code),
            FirestoreError::DataConflictError(it) => Self::Refused(it.public.code),
            FirestoreError::DataNotFoundError(it) => Self::Refused(it.public.code),
            FirestoreError::InvalidParametersError(it) => Self::Refused(it.public.field),
            // Their texts may quote what is stored.
            FirestoreError::SerializeError(_)
            | FirestoreError::DeserializeError(_)
            | FirestoreError::ErrorInTransaction(_)
            | FirestoreError::CacheError(_) => Self::Refused("the client library".to_owned()),
        }
    }
}
