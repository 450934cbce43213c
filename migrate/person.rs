//! The person who answers, on a terminal or through a pipe: prompts go to standard error, answers
//! come from standard input.

use std::{
    io::{self, BufRead, IsTerminal, Write},
    thread,
    time::Duration,
};

use rpassword::ConfigBuilder;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::oneshot,
    time::timeout,
};
use zeroize::Zeroizing;

use super::report::complain;

/// As much of a line is kept, in bytes; more than any answer may have.
const LINE_BYTES_MAX: usize = 16 * 1024;

/// How long the terminal has to become as it was after Ctrl-C.
const RESTORE: Duration = Duration::from_millis(500);

/// There is no answer.
#[derive(Debug, thiserror::Error)]
pub enum NoAnswer {
    /// The input is at its end.
    #[error("the input ended")]
    Ended,
    /// Ctrl-C.
    #[error("interrupted")]
    Interrupted,
    /// The input cannot be read.
    #[error("cannot read the answers")]
    Unreadable(#[source] io::Error),
}

/// An answer, wiped when it is dropped.
pub type Answer = Zeroizing<Vec<u8>>;

/// Somebody who can be asked.
pub struct Person {
    /// Ctrl-C, on a terminal. While a secret is typed it would otherwise leave the terminal without
    /// echo.
    interrupt: Option<Signal>,
}

impl Person {
    /// Whoever is at standard input.
    pub fn here() -> io::Result<Self> {
        let is_terminal = io::stdin().is_terminal();
        let interrupt = is_terminal.then(|| signal(SignalKind::interrupt())).transpose()?;
        Ok(Self { interrupt })
    }

    /// Whether they type on a terminal.
    pub fn is_at_terminal(&self) -> bool {
        self.interrupt.is_some()
    }

    /// Asks for a line, without its end.
    pub async fn line(&mut self, prompt: &str) -> Result<Answer, NoAnswer> {
        self.ask(prompt, read_line).await
    }

    /// Asks for a secret: on a terminal it is not shown.
    pub async fn secret(&mut self, prompt: &str) -> Result<Answer, NoAnswer> {
        if self.is_at_terminal() {
            let answer = self.ask(prompt, read_hidden).await;
            complain("");
            return answer;
        }
        self.line(prompt).await
    }

    async fn ask(
        &mut self,
        prompt: &str,
        read: fn() -> Result<Answer, NoAnswer>,
    ) -> Result<Answer, NoAnswer> {
        let mut stderr = io::stderr();
        // As in `complain`.
        let _ = stderr.write_all(prompt.as_bytes()).and_then(|()| stderr.flush());
        let Some(interrupt) = &mut self.interrupt else {
            let answer = read();
            // Nobody typed Enter on this side.
            complain("");
            return answer;
        };
        let (answered, mut answer) = oneshot::channel();
        // Not the runtime's: it would wait for a line at the end of the program.
        thread::spawn(move || answered.send(read()));
        let answer = tokio::select! {
            answer = &mut answer => answer.ok(),
            _ = interrupt.recv() => {
                // Reading a secret ends by itself, and puts the terminal right.
                let _ = timeout(RESTORE, answer).await;
                None
            }
        };
        answer.unwrap_or(Err(NoAnswer::Interrupted))
    }
}

fn read_line() -> Result<Answer, NoAnswer> {
    let mut stdin = io::stdin().lock();
    let mut line = Answer::default();
    let mut is_there = false;
    loop {
        let found = match stdin.fill_buf() {
            Ok(found) => found,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(NoAnswer::Unreadable(error)),
        };
        if found.is_empty() {
            return if is_there { Ok(line) } else { Err(NoAnswer::Ended) };
        }
        is_there = true;
        let end = found.iter().position(|it| *it == b'\n');
        let part = &found[..end.unwrap_or(found.len())];
        let n_fit = part.len().min(LINE_BYTES_MAX.saturating_sub(line.len()));
        line.extend_from_slice(&part[..n_fit]);
        let n_read = end.map_or(found.len(), |it| it + 1);
        stdin.consume(n_read);
        if end.is_some() {
            if line.last() == Some(&b'\r') {
                line.pop();
            }
            return Ok(line);
        }
    }
}

fn read_hidden() -> Result<Answer, NoAnswer> {
    let config = ConfigBuilder::new().password_feedback_hide().output_discard().build();
    match rpassword::read_password_with_config(config) {
        Ok(text) => Ok(Zeroizing::new(text.into_bytes())),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Err(NoAnswer::Ended),
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Err(NoAnswer::Interrupted),
        Err(error) => Err(NoAnswer::Unreadable(error)),
    }
}
