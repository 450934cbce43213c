//! Requests of whose answer only the status and the headers count.

use std::time::Duration;

use reqwest::{StatusCode, header::HeaderMap};

use super::{Http, HttpError, Request};

/// The rest of an answer that is read, in bytes, so that its connection can be used again.
const REST_BYTES_MAX: usize = 64 * 1024;
/// How long it may take.
const REST_WITHIN: Duration = Duration::from_millis(100);

impl Http {
    /// Sends one request, once, and answers as soon as the status is known: how much more is said,
    /// and how slowly, changes nothing.
    pub async fn send_for_status(
        &self,
        mut request: Request<'_>,
    ) -> Result<(StatusCode, HeaderMap), HttpError> {
        if let Some(carrier) = &self.carrier {
            return carrier.carry(request).await.map(|it| (it.status, it.headers));
        }
        let body = request.body.take().map(reqwest::Body::from);
        let answer = self.answer(request, body).await?;
        let (status, headers) = (answer.status(), answer.headers().clone());
        // A connection whose answer was not read to its end is closed.
        let _ = tokio::time::timeout(REST_WITHIN, read_rest(answer)).await;
        Ok((status, headers))
    }
}

async fn read_rest(mut answer: reqwest::Response) {
    let announced = answer.content_length().and_then(|it| usize::try_from(it).ok());
    let mut left = REST_BYTES_MAX;
    if announced.is_some_and(|it| it > left) {
        return;
    }
    while let Ok(Some(piece)) = answer.chunk().await
        && piece.len() <= left
    {
        left -= piece.len();
    }
}
