//! Many writes in few requests, each of which stands or falls by itself.

use std::time::Duration;

use firestore::gcloud_sdk::{
    google::firestore::v1::{BatchWriteRequest, Write},
    prost::Message,
    tonic::{Code, Request, Status},
};

use super::super::{Fault, session::Session};

/// What Firestore takes in one request.
const WRITES_MAX: usize = 500;
/// The same in bytes; it takes 10 MiB.
const BYTES_MAX: usize = 4 * 1024 * 1024;
/// Nobody waits for the answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// What became of a write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wrote {
    /// It was made.
    Done,
    /// What it expects to be there is not, or the other way round.
    Unmet,
    /// Firestore could not, just now.
    NotNow,
    /// Firestore will not, and says so in this word.
    Refused(String),
}

impl Wrote {
    fn of(code: Code) -> Self {
        match code {
            Code::Ok => Self::Done,
            Code::AlreadyExists | Code::NotFound => Self::Unmet,
            Code::Aborted
            | Code::Cancelled
            | Code::DeadlineExceeded
            | Code::ResourceExhausted
            | Code::Unavailable => Self::NotNow,
            // Its text may quote what was to be written.
            code @ (Code::DataLoss
            | Code::FailedPrecondition
            | Code::Internal
            | Code::InvalidArgument
            | Code::OutOfRange
            | Code::PermissionDenied
            | Code::Unauthenticated
            | Code::Unimplemented
            | Code::Unknown) => Self::Refused(format!("{code:?}")),
        }
    }
}

/// Makes these writes and says what became of each, in order.
pub(super) async fn write_each(
    session: &Session,
    mut writes: Vec<Write>,
) -> Result<Vec<Wrote>, Fault> {
    let mut ends = Vec::with_capacity(writes.len());
    // So many are tried in the next request; fewer after one that was refused as a whole.
    let mut at_most = WRITES_MAX;
    while !writes.is_empty() {
        let n = n_that_fit(&writes, at_most);
        match request(session, &writes[..n]).await {
            Ok(codes) => ends.extend(codes.into_iter().map(Wrote::of)),
            // One of them spoils the request: it is looked for, so that it spoils no other.
            Err(status) if is_of_one(status.code()) && n > 1 => {
                at_most = n / 2;
                continue;
            }
            Err(status) if is_of_one(status.code()) => ends.push(Wrote::of(status.code())),
            Err(status) => return Err(status.into()),
        }
        writes.drain(..n);
        at_most = at_most.saturating_mul(2).min(WRITES_MAX);
    }
    Ok(ends)
}

fn is_of_one(code: Code) -> bool {
    matches!(code, Code::InvalidArgument | Code::OutOfRange)
}

fn n_that_fit(writes: &[Write], at_most: usize) -> usize {
    let mut n_bytes = 0;
    let fits = |it: &&Write| {
        n_bytes += it.encoded_len();
        n_bytes <= BYTES_MAX
    };
    writes.iter().take(at_most).take_while(fits).count().max(1)
}

async fn request(session: &Session, writes: &[Write]) -> Result<Vec<Code>, Status> {
    let request = BatchWriteRequest {
        database: session.db().get_database_path().clone(),
        writes: writes.to_vec(),
        ..BatchWriteRequest::default()
    };
    let mut client = session.db().client().get();
    // The library's futures are large.
    let answer = Box::pin(client.batch_write(Request::new(request)));
    let answer = tokio::time::timeout(ANSWER_WITHIN, answer).await;
    let answer = answer.map_err(|_| Status::deadline_exceeded("no answer in time"))??;
    let codes: Vec<Code> =
        answer.into_inner().status.iter().map(|it| Code::from_i32(it.code)).collect();
    if codes.len() == writes.len() {
        Ok(codes)
    } else {
        Err(Status::internal("an answer of another length"))
    }
}

#[cfg(test)]
mod tests {
    use firestore::gcloud_sdk::google::firestore::v1::write::Operation;

    use super::*;

    fn write(n_bytes: usize) -> Write {
        Write { operation: Some(Operation::Delete("x".repeat(n_bytes))), ..Write::default() }
    }

    #[test]
    fn a_request_stays_within_what_firestore_takes() {
        let small = vec![write(10); 2 * WRITES_MAX];
        assert_eq!(n_that_fit(&small, WRITES_MAX), WRITES_MAX);
        assert_eq!(n_that_fit(&small, 3), 3);
        let large = vec![write(BYTES_MAX / 2 - 100); 5];
        assert_eq!(n_that_fit(&large, WRITES_MAX), 2);
        let too_large = vec![write(2 * BYTES_MAX); 2];
        assert_eq!(n_that_fit(&too_large, WRITES_MAX), 1);
    }
}
