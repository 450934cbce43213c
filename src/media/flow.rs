//! Files between tasks, which must not block, and the disk, which does. A few pieces are in memory
//! at once, however large the file is.

use std::{io, time::Duration};

use bytes::Bytes;
use futures_util::{Stream, stream};
use tokio::{sync::mpsc, task::JoinHandle};

use super::stream::{Clear, Fault};

/// Pieces on their way.
const PIECES_MAX: usize = 4;
/// A reader that takes nothing for this long has gone.
const READER_PAUSE_MAX: Duration = Duration::from_mins(1);
/// For reading a whole file.
const READ_WITHIN: Duration = Duration::from_mins(30);

/// Where a file is written to as it comes.
pub trait Intake: Send + 'static {
    /// Takes more of it.
    ///
    /// # Errors
    ///
    /// It will not be kept.
    fn take(&mut self, bytes: &[u8]) -> Result<(), Fault>;

    /// All of it is there: on disk when this returns. Answers the bytes of the clear file.
    ///
    /// # Errors
    ///
    /// Nothing of it is kept.
    fn keep(self) -> Result<u64, Fault>;
}

/// A file on its way to the disk. Dropped before its end, nothing of it is kept.
pub struct Inflow {
    pieces: mpsc::Sender<Piece>,
    end: JoinHandle<Result<u64, Fault>>,
}

enum Piece {
    Bytes(Bytes),
    End,
}

impl Inflow {
    /// Starts a thread that writes to what `open` makes.
    pub fn start<T: Intake>(open: impl FnOnce() -> Result<T, Fault> + Send + 'static) -> Self {
        let (pieces, mut waiting) = mpsc::channel(PIECES_MAX);
        let end = tokio::task::spawn_blocking(move || {
            let mut intake = open()?;
            while let Some(piece) = waiting.blocking_recv() {
                match piece {
                    Piece::Bytes(bytes) => intake.take(&bytes)?,
                    Piece::End => return intake.keep(),
                }
            }
            Err(io::Error::from(io::ErrorKind::UnexpectedEof).into())
        });
        Self { pieces, end }
    }

    /// Gives it more. `false`: it takes no more, and [`Self::finish`] tells why.
    pub async fn put(&self, bytes: Bytes) -> bool {
        self.pieces.send(Piece::Bytes(bytes)).await.is_ok()
    }

    /// That was all of it. Answers the bytes of the clear file.
    ///
    /// # Errors
    ///
    /// Nothing of it is kept.
    pub async fn finish(self) -> Result<u64, Fault> {
        // Should the thread have ended, its end says why.
        let _ = self.pieces.send(Piece::End).await;
        drop(self.pieces);
        self.end.await.map_err(|_| io::Error::other("the writer panicked"))?
    }
}

/// A file on its way from the disk, in clear. `held` is kept until its end. What stops before the
/// end of the file ends with an error.
pub fn outflow(
    clear: Clear,
    held: impl Send + 'static,
) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
    let (pieces, waiting) = mpsc::channel(1);
    tokio::spawn(async move {
        let _held = held;
        // Too slow, it ends here, and its reader is told by the missing end.
        let _ = tokio::time::timeout(READ_WITHIN, pour(clear, pieces)).await;
    });
    stream::unfold(Some(waiting), |waiting| async {
        let mut waiting = waiting?;
        match waiting.recv().await {
            Some(Piece::Bytes(bytes)) => Some((Ok(bytes), Some(waiting))),
            Some(Piece::End) => None,
            None => Some((Err(io::ErrorKind::BrokenPipe.into()), None)),
        }
    })
}

async fn pour(mut clear: Clear, pieces: mpsc::Sender<Piece>) {
    loop {
        let read = tokio::task::spawn_blocking(move || (clear.piece(), clear)).await;
        let Ok((piece, rest)) = read else { return };
        clear = rest;
        let piece = match piece {
            Ok(Some(bytes)) if bytes.is_empty() => continue,
            Ok(Some(bytes)) => Piece::Bytes(bytes),
            Ok(None) => Piece::End,
            Err(error) => {
                tracing::error!(error = %error, "a file could not be read to its end");
                return;
            }
        };
        let is_end = matches!(piece, Piece::End);
        let sent = tokio::time::timeout(READER_PAUSE_MAX, pieces.send(piece)).await;
        if is_end || !matches!(sent, Ok(Ok(()))) {
            return;
        }
    }
}
