//! Connections: HTTP/1.1, headers within a time, all answered before the end.

use std::{convert::Infallible, pin::pin, sync::Arc, time::Duration};

use axum::{Router, body::Body, extract::Request, response::Response};
use hyper::{
    body::Incoming,
    header::{CONNECTION, HeaderValue},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::ServiceExt;

use super::{
    connections::{Connections, Seat, connections_max},
    linger::Lingering,
    panicked,
};
use crate::cache::redis;

/// For the head of a request, and for a connection between two requests.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes of a request's head.
const HEAD_BYTES_MAX: usize = 32 * 1024;
/// Headers of a request.
const HEADERS_MAX: usize = 64;
/// For connections to end when asked to.
const GOODBYE: Duration = Duration::from_secs(2);
/// How long a quiet connection stays open after its callers could have been told to leave it. A
/// request that is sent just when the connection is closed is lost, so those that are in use shall
/// be closed by an answer.
pub const LINGER: Duration = Duration::from_secs(1);
/// Before a quiet connection is closed, for what has arrived on it to be seen.
const LAST_LOOK: Duration = Duration::from_millis(5);
/// For a caller who has just connected to say what it wants, when the end has come.
const FIRST_REQUEST: Duration = Duration::from_secs(1);
/// For a caller that does not read its answer to take more of it, in milliseconds.
const UNREAD_TIMEOUT_MS: u32 = 30_000;
/// After a failed accept, which is most often a lack of file descriptors.
const ACCEPT_AGAIN: Duration = Duration::from_millis(50);

/// Callers that may wait to be accepted (`somaxconn` is 4,096 on Linux). Of one more the system
/// drops the first packet or, worse, resets the connection; most libraries ask for 128, which a
/// busy moment or a restart exceeds.
const BACKLOG: i32 = 4_096;

/// When serving ends.
#[derive(Clone, Default)]
pub struct Ends {
    /// From now on each answer ends its connection: the end is near.
    pub near: CancellationToken,
    /// From now on nothing is accepted.
    pub stop: CancellationToken,
}

/// Serves until the end, then lets requests that have begun be answered.
pub async fn serve(listener: TcpListener, router: Router, ends: Ends) {
    serve_at_most(connections_max(), listener, router, ends).await;
}

/// The same, with a bound on the connections there are.
pub async fn serve_at_most(
    n_connections: usize,
    listener: TcpListener,
    router: Router,
    ends: Ends,
) {
    // Again, as whoever made the socket had its own idea of it.
    let _ = rustix::net::listen(&listener, BACKLOG);
    let seats = Connections::new(n_connections);
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_BYTES_MAX)
        .max_headers(HEADERS_MAX)
        // Who has said all may still listen.
        .half_close(true);
    let connections = TaskTracker::new();
    loop {
        let accept = async {
            seats.room().await;
            listener.accept().await
        };
        let accepted = tokio::select! {
            () = ends.stop.cancelled() => break,
            accepted = accept => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                // Without a seat it is closed at once: all others are being worked on.
                if let Some(seat) = seats.enter() {
                    let (http, router, ends) = (http.clone(), router.clone(), ends.clone());
                    connections.spawn(converse(http, stream, seat, router, ends));
                }
            }
            Err(error) => {
                tracing::warn!(error = %error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_AGAIN).await;
            }
        }
    }
    // Dropped before the goodbye: a socket that nobody accepts from must not take connections,
    // unless somebody else has it too, and then they wait there for who accepts next.
    drop(listener);
    connections.close();
    let _ = tokio::time::timeout(GOODBYE, connections.wait()).await;
}

async fn converse(
    http: http1::Builder,
    stream: TcpStream,
    seat: Arc<Seat>,
    router: Router,
    ends: Ends,
) {
    // Without it answers wait for the caller's acknowledgements.
    let _ = stream.set_nodelay(true);
    let _ = rustix::net::sockopt::set_tcp_user_timeout(&stream, UNREAD_TIMEOUT_MS);
    let (near, evicted) = (ends.near.clone(), seat.evicted.clone());
    // When the first request has come.
    let asked = CancellationToken::new();
    let asks = asked.clone();
    let answer = service_fn(move |request: hyper::Request<Incoming>| {
        asks.cancel();
        let (router, near, busy) = (router.clone(), near.clone(), seat.busy());
        // A task of its own: a caller that hangs up must not stop half-way what has begun.
        let answer = tokio::spawn(async move {
            let request: Request = request.map(Body::new);
            let answer: Result<Response, Infallible> =
                redis::request(router.oneshot(request)).await;
            answer
        });
        async move {
            let mut answer = answer.await.map_or_else(|_| panicked(), |Ok(it)| it);
            busy.answered(answer.status().is_success());
            if near.is_cancelled() {
                answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Ok::<_, Infallible>(answer)
        }
    });
    let mut connection = pin!(http.serve_connection(TokioIo::new(Lingering::new(stream)), answer));
    let end = async {
        ends.stop.cancelled().await;
        // A timer: when it fires, what has arrived by then is known to the connection too.
        tokio::time::sleep(LAST_LOOK).await;
        // Who knows of no answer yet cannot have been told to leave.
        let _ = tokio::time::timeout(FIRST_REQUEST, asked.cancelled()).await;
    };
    tokio::select! {
        // The connection first, so that it is closed only when nothing has arrived on it. A caller
        // that breaks off is no fault of ours.
        biased;
        _ = connection.as_mut() => return,
        () = evicted.cancelled() => return,
        () = end => {}
    }
    connection.as_mut().graceful_shutdown();
    tokio::select! {
        _ = connection => {}
        () = evicted.cancelled() => {}
    }
}
