//! Connections: HTTP/1.1, headers within a time, all answered before the end.

use std::{convert::Infallible, time::Duration};

use axum::{Router, body::Body, extract::Request, response::Response};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use super::panicked;

/// For the head of a request, and for a connection between two requests.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes of a request's head.
const HEAD_BYTES_MAX: usize = 32 * 1024;
/// Headers of a request.
const HEADERS_MAX: usize = 64;
/// For connections to end when asked to.
const GOODBYE: Duration = Duration::from_secs(2);
/// After a failed accept, which is most often a lack of file descriptors.
const ACCEPT_AGAIN: Duration = Duration::from_millis(50);

/// Serves until `stop`, then lets requests that have begun be answered.
pub async fn serve(listener: TcpListener, router: Router, stop: CancellationToken) {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_BYTES_MAX)
        .max_headers(HEADERS_MAX);
    let connections = GracefulShutdown::new();
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => connect(&http, &connections, stream, router.clone()),
            Err(error) => {
                tracing::warn!(error = %error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_AGAIN).await;
            }
        }
    }
    // Dropped before the goodbye: a socket that nobody accepts from must not take connections.
    drop(listener);
    let _ = tokio::time::timeout(GOODBYE, connections.shutdown()).await;
}

fn connect(
    http: &http1::Builder,
    connections: &GracefulShutdown,
    stream: TcpStream,
    router: Router,
) {
    // Without it answers wait for the caller's acknowledgements.
    let _ = stream.set_nodelay(true);
    let answer = service_fn(move |request: hyper::Request<Incoming>| {
        let router = router.clone();
        // A task of its own: a caller that hangs up must not stop half-way what has begun.
        let answer = tokio::spawn(async move {
            let request: Request = request.map(Body::new);
            let answer: Result<Response, Infallible> = router.oneshot(request).await;
            answer
        });
        async move {
            let answer = answer.await.map_or_else(|_| panicked(), |Ok(it)| it);
            Ok::<_, Infallible>(answer)
        }
    });
    let connection = http.serve_connection(TokioIo::new(stream), answer);
    let connection = connections.watch(connection);
    tokio::spawn(async move {
        // A caller that breaks off is no fault of ours.
        let _ = connection.await;
    });
}
