//! The only file with status codes. A caller learns nothing it should not; details go to our log.

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header::RETRY_AFTER},
    response::{IntoResponse, Response},
};

use super::{
    answers::{ErrorView, FaultView},
    audit::Kept,
    notify::RecipientView,
};
use crate::{
    gateway::{
        AcceptError, AccessError, AdminError, ChangeError, EraseError, ImportError, ImportFault,
        MediaError, SendError, SetUpError,
    },
    provider::{ChangeFault, HookFault, wasender::SessionFault},
    sqlite::is_of_disk,
    store::StoreError,
    telemetry::Chain,
};

/// Everything a caller can be told instead of what they asked for.
#[derive(Debug, thiserror::Error)]
pub(super) enum ApiError {
    #[error("not found")]
    NoRoute,
    #[error("method not allowed")]
    NoMethod,
    #[error("internal error")]
    Internal(String),
    #[error("the body is too large")]
    TooLarge,
    #[error("the body came too slowly")]
    TooSlow,
    #[error("the body ended early")]
    Truncated,
    #[error("too many requests at once")]
    Busy,
    #[error("too many requests: at most {0}")]
    TooMany(&'static str),
    #[error("{0}")]
    BadRequest(String),
    #[error("unknown key")]
    NoSuchKey,
    #[error("to: nobody in it can be sent to")]
    Nobody(Vec<RecipientView>),
    #[error(transparent)]
    Accept(#[from] AcceptError),
    #[error(transparent)]
    Access(#[from] AccessError),
    #[error(transparent)]
    Admin(#[from] AdminError),
    #[error(transparent)]
    Media(#[from] MediaError),
    #[error(transparent)]
    SetUp(#[from] SetUpError),
    #[error(transparent)]
    Change(ChangeError),
    #[error(transparent)]
    Import(ImportError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<ChangeError> for ApiError {
    fn from(error: ChangeError) -> Self {
        match error {
            ChangeError::Admin(error) => Self::Admin(error),
            error => Self::Change(error),
        }
    }
}

impl From<EraseError> for ApiError {
    fn from(error: EraseError) -> Self {
        match error {
            EraseError::Admin(error) => Self::Admin(error),
            EraseError::Media(error) => Self::Media(error),
        }
    }
}

impl From<ImportError> for ApiError {
    fn from(error: ImportError) -> Self {
        match error {
            ImportError::Admin(error) => Self::Admin(error),
            error => Self::Import(error),
        }
    }
}

impl From<SendError> for ApiError {
    fn from(error: SendError) -> Self {
        match error {
            SendError::Admin(error) => Self::Admin(error),
            SendError::Overloaded => Self::Busy,
        }
    }
}

impl ApiError {
    fn status(&self) -> StatusCode {
        match self {
            Self::NoRoute | Self::NoSuchKey => StatusCode::NOT_FOUND,
            Self::NoMethod => StatusCode::METHOD_NOT_ALLOWED,
            Self::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TooSlow => StatusCode::REQUEST_TIMEOUT,
            Self::Truncated | Self::BadRequest(_) => StatusCode::BAD_REQUEST,
            Self::TooMany(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::Busy | Self::Store(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Accept(error) => match error {
                AcceptError::NotProven => StatusCode::UNAUTHORIZED,
                AcceptError::Overloaded
                | AcceptError::DiskFull
                | AcceptError::Store(_)
                | AcceptError::Journal(_) => StatusCode::SERVICE_UNAVAILABLE,
            },
            Self::Access(error) => match error {
                AccessError::NoKey => StatusCode::UNAUTHORIZED,
                AccessError::Forbidden => StatusCode::FORBIDDEN,
                AccessError::Store(_) | AccessError::Unknown(_) => StatusCode::SERVICE_UNAVAILABLE,
            },
            Self::Admin(error) | Self::SetUp(SetUpError::Admin(error)) => admin(error),
            Self::SetUp(error) => set_up(error),
            Self::Change(error) => change(error),
            Self::Import(ImportError::Partly(error)) => partly(error),
            Self::Import(_) | Self::Nobody(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Media(error) => media(error),
        }
    }

    /// Failures of ours: what caused them is for the log alone.
    fn cause(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Store(error)
            | Self::Accept(AcceptError::Store(error))
            | Self::Access(AccessError::Store(error))
            | Self::Media(MediaError::Store(error))
            | Self::Admin(AdminError::Store(error))
            | Self::Import(ImportError::Partly(error))
            | Self::SetUp(SetUpError::Admin(AdminError::Store(error))) => Some(error),
            Self::Accept(AcceptError::Journal(error))
            | Self::Media(MediaError::Journal(error))
            | Self::Admin(AdminError::Journal(error))
            | Self::SetUp(SetUpError::Admin(AdminError::Journal(error))) => Some(error),
            Self::Media(MediaError::Disk(error)) => Some(error),
            _ => None,
        }
    }

    fn is_of_disk(&self) -> bool {
        matches!(self, Self::Accept(AcceptError::DiskFull) | Self::Media(MediaError::DiskFull))
            || self.cause().is_some_and(is_of_disk)
    }

    fn body(self, status: StatusCode) -> ErrorView {
        let error = match &self {
            // One constant body, whatever was wrong.
            Self::Accept(AcceptError::NotProven) => "unauthorized".to_owned(),
            Self::Import(ImportError::Partly(_)) if status == StatusCode::SERVICE_UNAVAILABLE => {
                "interrupted; a part of the document was kept: import it again".to_owned()
            }
            _ if status == StatusCode::SERVICE_UNAVAILABLE && self.cause().is_some() => {
                "temporarily unavailable; nothing was kept".to_owned()
            }
            _ => self.to_string(),
        };
        let mut view = ErrorView { error, ..ErrorView::default() };
        match self {
            Self::Nobody(results) => view.results = Some(results),
            Self::Import(ImportError::Faults { faults, .. }) => {
                view.faults = Some(faults.iter().map(FaultView::from).collect());
            }
            Self::Internal(id) => view.request_id = Some(id),
            Self::SetUp(
                SetUpError::Foreign(url) | SetUpError::Hook(_, HookFault::Elsewhere { url }),
            ) => view.webhook_url = Some(url),
            Self::Media(MediaError::GivenUp(word)) => view.reason = Some(word),
            _ => {}
        }
        view
    }
}

impl From<&ImportFault> for FaultView {
    fn from(it: &ImportFault) -> Self {
        Self {
            index: it.index,
            vendor_id: it.vendor.as_ref().map(ToString::to_string),
            field: it.field.clone(),
            error: it.why.clone(),
        }
    }
}

fn admin(error: &AdminError) -> StatusCode {
    match error {
        AdminError::NoVendor
        | AdminError::NoInstance
        | AdminError::NoMessage
        | AdminError::NoForward
        | AdminError::NoJob
        | AdminError::NoConversation => StatusCode::NOT_FOUND,
        AdminError::Invalid(_) => StatusCode::UNPROCESSABLE_ENTITY,
        AdminError::Conflict(_) => StatusCode::CONFLICT,
        AdminError::Store(_) | AdminError::Journal(_) => StatusCode::SERVICE_UNAVAILABLE,
    }
}

/// Somebody was faster with a number of what is left, or the store is away.
fn partly(error: &StoreError) -> StatusCode {
    let StoreError::Partly(why) = error else { return StatusCode::SERVICE_UNAVAILABLE };
    match **why {
        StoreError::Claimed | StoreError::Twice | StoreError::Changed => StatusCode::CONFLICT,
        _ => StatusCode::SERVICE_UNAVAILABLE,
    }
}

fn change(error: &ChangeError) -> StatusCode {
    match error {
        ChangeError::Admin(error) => admin(error),
        ChangeError::NotSent
        | ChangeError::NoTicket
        | ChangeError::Deleted
        | ChangeError::Provider(ChangeFault::NoSessionKey | ChangeFault::NotThere) => {
            StatusCode::CONFLICT
        }
        ChangeError::Provider(ChangeFault::Refused) => StatusCode::BAD_GATEWAY,
        ChangeError::Provider(ChangeFault::NoAnswer) => StatusCode::SERVICE_UNAVAILABLE,
    }
}

fn media(error: &MediaError) -> StatusCode {
    match error {
        MediaError::NoVendor | MediaError::Unknown => StatusCode::NOT_FOUND,
        MediaError::GivenUp(_) => StatusCode::GONE,
        MediaError::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
        MediaError::WrongType(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        MediaError::Invalid(_) => StatusCode::UNPROCESSABLE_ENTITY,
        MediaError::TooSlow => StatusCode::REQUEST_TIMEOUT,
        MediaError::Truncated => StatusCode::BAD_REQUEST,
        MediaError::NotYet
        | MediaError::Busy
        | MediaError::DiskFull
        | MediaError::Disk(_)
        | MediaError::Store(_)
        | MediaError::Journal(_) => StatusCode::SERVICE_UNAVAILABLE,
    }
}

fn set_up(error: &SetUpError) -> StatusCode {
    match error {
        SetUpError::Admin(error) => admin(error),
        SetUpError::Partly(error) => set_up(error),
        SetUpError::BaseUrl(..) => StatusCode::UNPROCESSABLE_ENTITY,
        SetUpError::Foreign(_) | SetUpError::OtherNumber => StatusCode::CONFLICT,
        SetUpError::NotKept(_) => StatusCode::BAD_GATEWAY,
        SetUpError::Hook(_, fault) => match fault {
            HookFault::Missing(_) | HookFault::Unauthorized | HookFault::Refused(_) => {
                StatusCode::UNPROCESSABLE_ENTITY
            }
            HookFault::Elsewhere { .. } => StatusCode::CONFLICT,
            HookFault::NoAnswer => StatusCode::BAD_GATEWAY,
        },
        SetUpError::Session(fault) | SetUpError::StillOn(fault) => match fault {
            SessionFault::NoToken
            | SessionFault::SessionToken
            | SessionFault::NoSessionId
            | SessionFault::Refused
            | SessionFault::NotFound => StatusCode::UNPROCESSABLE_ENTITY,
            SessionFault::Unreachable | SessionFault::Garbled(_) => StatusCode::BAD_GATEWAY,
        },
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let is_import = matches!(self, Self::Import(ImportError::Partly(_)));
        let (this, is_kept) = match self {
            Self::SetUp(SetUpError::Partly(error)) => (Self::SetUp(*error), true),
            this => (this, is_import),
        };
        let status = this.status();
        if this.is_of_disk() {
            // Told once, where it was found: callers may come by the thousand.
            tracing::debug!("a request was refused for the disk");
        } else if let Some(cause) = this.cause() {
            tracing::error!(error = %Chain(cause), "a request failed");
        } else if status == StatusCode::SERVICE_UNAVAILABLE {
            tracing::warn!(error = %this, "a request was refused");
        }
        let mut answer = (status, Json(this.body(status))).into_response();
        if is_kept {
            answer.extensions_mut().insert(Kept);
        }
        let wait = match status {
            StatusCode::SERVICE_UNAVAILABLE => Some("5"),
            StatusCode::TOO_MANY_REQUESTS => Some("1"),
            _ => None,
        };
        if let Some(wait) = wait {
            answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static(wait));
        }
        answer
    }
}
