//! HTTP/1.1 messages off a connection, and as little of it as is needed here: each has its length
//! in its head.

use anyhow::{bail, ensure};
use tokio::io::{AsyncRead, AsyncReadExt};

const LENGTH: &[u8] = b"content-length:";
const BYTES_MAX: usize = 256 * 1_024;

/// Reads messages off a connection.
pub struct Messages<R> {
    stream: R,
    bytes: Vec<u8>,
    /// Of the message that was given out.
    n_taken: usize,
}

/// One message, a request or an answer.
pub struct Message<'a> {
    pub head: &'a [u8],
    pub body: &'a [u8],
}

impl<R: AsyncRead + Unpin> Messages<R> {
    pub fn new(stream: R) -> Self {
        Self { stream, bytes: Vec::with_capacity(8 * 1_024), n_taken: 0 }
    }

    /// The next one; `None` when the connection was closed before it.
    pub async fn next(&mut self) -> anyhow::Result<Option<Message<'_>>> {
        self.bytes.drain(..self.n_taken);
        self.n_taken = 0;
        let n_head = loop {
            if let Some((n_head, n_bytes)) = whole(&self.bytes)? {
                self.n_taken = n_bytes;
                break n_head;
            }
            if self.stream.read_buf(&mut self.bytes).await? == 0 {
                ensure!(self.bytes.is_empty(), "the connection was cut");
                return Ok(None);
            }
        };
        let (head, body) = self.bytes[..self.n_taken].split_at(n_head);
        Ok(Some(Message { head, body }))
    }
}

impl Message<'_> {
    /// Whether this answer is 200.
    pub fn is_ok(&self) -> bool {
        self.head.starts_with(b"HTTP/1.1 200 ")
    }

    /// Whether the connection ends with it.
    pub fn is_last(&self) -> bool {
        find(self.head, b"\r\nconnection: close\r\n").is_some()
    }

    /// Where in the head the value of this header begins; `name` with its colon.
    pub fn header(&self, name: &[u8]) -> Option<&[u8]> {
        let at = find(self.head, name)? + name.len();
        let line = self.head[at..].split(|it| *it == b'\r').next()?;
        Some(line.trim_ascii())
    }
}

/// How many bytes the head and all of the first message have, once it is all there.
fn whole(bytes: &[u8]) -> anyhow::Result<Option<(usize, usize)>> {
    let Some(head) = find(bytes, b"\r\n\r\n") else {
        ensure!(bytes.len() < BYTES_MAX, "a head of {} bytes", bytes.len());
        return Ok(None);
    };
    let n_head = head + 4;
    if find(&bytes[..n_head], b"transfer-encoding:").is_some() {
        bail!("a message without a length");
    }
    let n_body = find(&bytes[..n_head], LENGTH).map_or(0, |at| {
        let digits = bytes[at + LENGTH.len()..].iter().skip_while(|it| **it == b' ');
        let digits = digits.take_while(|it| it.is_ascii_digit());
        digits.fold(0, |all, it| all * 10 + usize::from(it - b'0'))
    });
    ensure!(n_body < BYTES_MAX, "a body of {n_body} bytes");
    let n_bytes = n_head + n_body;
    Ok((bytes.len() >= n_bytes).then_some((n_head, n_bytes)))
}

/// Where this is, whatever its case.
fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|it| it.eq_ignore_ascii_case(what))
}
