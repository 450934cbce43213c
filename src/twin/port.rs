//! Where a twin listens, and how it posts webhooks that are not in Wasender's form.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, atomic::Ordering},
};

use anyhow::Context;
use axum::Router;
use bytes::Bytes;
use sha2::{Digest, Sha256};
use tokio::net::TcpListener;

use super::{
    HookAnswer,
    hooks::{Hooks, read, why},
    wasender::{Server, serve},
};

/// A free loopback port.
pub(super) async fn free_port() -> anyhow::Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind("127.0.0.1:0").await.context("find a free port")?;
    let address = listener.local_addr().context("see the port")?;
    Ok((listener, address))
}

/// Serves until it is dropped.
pub(super) fn start(listener: TcpListener, address: SocketAddr, router: Router) -> Arc<Server> {
    let running = tokio::spawn(serve(listener, router));
    Arc::new(Server { address, running: Mutex::new(Some(running)) })
}

/// So many hexadecimal characters, 64 at most, that no other number gives.
pub(super) fn token(seed: &str, n: u64, n_chars: usize) -> String {
    let mut token = hex::encode(Sha256::digest(format!("{seed}/{n}")));
    token.truncate(n_chars);
    token
}

/// One webhook on its way.
pub(super) struct Post<'a> {
    /// Of the account, for the list of failures.
    pub(super) account: u64,
    /// In a word.
    pub(super) event: &'a str,
    pub(super) url: &'a str,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) body: Bytes,
    /// By which it can be told apart.
    pub(super) id: String,
}

impl Hooks {
    /// Posts a webhook once.
    pub(super) async fn post_raw(&self, post: Post<'_>) -> HookAnswer {
        let mut request = self.client.post(post.url).body(post.body);
        for (name, value) in post.headers {
            request = request.header(name, value);
        }
        self.n_posted.fetch_add(1, Ordering::Relaxed);
        let _room = self.room.acquire().await.expect("the semaphore is never closed");
        let (status, body) = match request.send().await {
            Ok(response) => (response.status(), read(response).await),
            Err(error) => {
                let why = why(&error);
                self.failed(post.account, post.event, None, why);
                return HookAnswer { event_id: post.id, ..HookAnswer::none(why) };
            }
        };
        if !status.is_success() {
            self.failed(post.account, post.event, Some(status.as_u16()), "refused");
        }
        HookAnswer { status: status.as_u16(), body, event_id: post.id }
    }
}
