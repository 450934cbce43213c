//! Nothing is lost: callers who go on at a steady rate while the gateway is killed, or stopped and
//! started again, and a look at every single webhook afterwards.
//!
//! The gateway serves on a socket that its starter holds, as under systemd: who connects while no
//! process accepts waits in its queue.

mod callers;
mod check;
mod kills;
mod restarts;

use std::{net::TcpListener, time::Duration};

use anyhow::Context;
use waba_gateway::twin::{
    Customer, Dialect, NewSession, Twin, predecessor_message, real_message, wire,
};

pub use self::{kills::kills, restarts::restarts};
use super::{
    gateway::{phone, session_key},
    hook::{WORDS, secret, vendor},
};

/// Connections that may wait in the socket's queue.
const BACKLOG: u32 = 1_024;

/// What is done.
#[derive(Clone)]
pub struct Options {
    /// Everything that is left to chance follows from it. (What happens at the same moment still
    /// depends on the machine.)
    pub seed: u64,
    /// How often the gateway is killed, or stopped.
    pub n_times: usize,
    /// How long it lives each time, in milliseconds.
    pub life_ms: std::ops::Range<u64>,
    /// Webhooks a second.
    pub rate: u32,
    pub n_vendors: usize,
    /// How long a caller waits for an answer, a restart included; a webhook that has none by then
    /// has failed.
    pub answer_within: Duration,
}

/// The webhooks, numbered; each is from a customer of its own, so that its reply is known by its
/// address. Both dialects, in no order.
#[derive(Clone, Copy)]
struct Hooks {
    n_vendors: usize,
    seed: u64,
}

impl Hooks {
    fn vendor(self, n: usize) -> usize {
        n % self.n_vendors
    }

    fn customer(n: usize) -> String {
        format!("+22177{n:07}")
    }

    /// The whole request.
    fn request(self, n: usize, closes: bool) -> Vec<u8> {
        let (of, customer) = (self.vendor(n), Self::customer(n));
        let (id, text) = (format!("K{n:08X}"), format!("Bonjour, {} ?", WORDS[n % WORDS.len()]));
        let now = waba_gateway::domain::clock::Clock::System.now() / 1_000;
        let (dialect, body) = if Chance::new(self.seed ^ n as u64).one_in(2) {
            let instance = (of + 1).to_string();
            let body = predecessor_message(&instance, &id, &customer, &text, now);
            (Dialect::Predecessor, body)
        } else {
            let customer = Customer::new(&customer).with_lid(&wire::lid_of(&customer));
            (Dialect::Real, real_message(&id, &customer, &text, now))
        };
        let body = body.to_string();
        let (name, proof) = wire::signature(dialect, &secret(of), body.as_bytes());
        let close = if closes { "connection: close\r\n" } else { "" };
        format!(
            "POST /api/webhooks/wasender/{} HTTP/1.1\r\nhost: 127.0.0.1\r\n{close}\
             content-type: application/json\r\n{name}: {proof}\r\ncontent-length: {}\r\n\r\n{body}",
            vendor(of),
            body.len()
        )
        .into_bytes()
    }
}

/// A simulated Wasender that remembers every send, and reports to this socket.
async fn world(socket: &TcpListener, n_vendors: usize) -> anyhow::Result<Twin> {
    let (twin, address) = (Twin::start().await?, socket.local_addr()?);
    for n in 0..n_vendors {
        let session = twin.add_session(NewSession {
            id: u64::try_from(n + 1).ok(),
            api_key: Some(session_key(n)),
            webhook_secret: Some(secret(n)),
            ..NewSession::new(&phone(n))
        });
        let url = format!("http://{address}/api/webhooks/wasender/{}", vendor(n));
        twin.set_webhook(session.id, &url);
    }
    Ok(twin)
}

fn socket() -> anyhow::Result<TcpListener> {
    let socket = tokio::net::TcpSocket::new_v4()?;
    socket.bind(([127, 0, 0, 1], 0).into())?;
    Ok(socket.listen(BACKLOG).context("listen")?.into_std()?)
}

/// Numbers by chance, the same for the same seed (`SplitMix64`).
struct Chance(u64);

impl Chance {
    fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut it = self.0;
        it = (it ^ (it >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        it = (it ^ (it >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        it ^ (it >> 31)
    }

    fn within(&mut self, range: &std::ops::Range<u64>) -> u64 {
        range.start + self.next() % (range.end - range.start)
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.next().is_multiple_of(n)
    }
}
