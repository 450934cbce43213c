//! The person who answers, on a terminal or through a pipe: prompts go to standard error, answers
//! come from standard input.

use std::{
    io::{self, BufRead, IsTerminal, Stdin, Write},
    thread,
};

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::oneshot,
};
use zeroize::Zeroizing;

use super::report::complain;

/// As much of a line is kept, in bytes; more than any answer may have.
const LINE_BYTES_MAX: usize = 16 * 1024;

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
        let mut stderr = io::stderr();
        // As in `complain`.
        let _ = stderr.write_all(prompt.as_bytes()).and_then(|()| stderr.flush());
        let Some(interrupt) = &mut self.interrupt else {
            let answer = read_line();
            // Nobody typed Enter on this side.
            complain("");
            return answer;
        };
        let (answered, answer) = oneshot::channel();
        // Not the runtime's: it would wait for a line at the end of the program.
        thread::spawn(move || answered.send(read_line()));
        let answer = tokio::select! {
            answer = answer => answer.ok(),
            _ = interrupt.recv() => None,
        };
        answer.unwrap_or(Err(NoAnswer::Interrupted))
    }

    /// Asks for a secret: on a terminal it is not shown.
    pub async fn secret(&mut self, prompt: &str) -> Result<Answer, NoAnswer> {
        if !self.is_at_terminal() {
            return self.line(prompt).await;
        }
        // Before it is asked for: what is typed or pasted at once would be shown.
        let hidden = Hidden::on(io::stdin()).map_err(NoAnswer::Unreadable)?;
        let answer = self.line(prompt).await;
        drop(hidden);
        // Nor was Enter.
        complain("");
        answer
    }
}

/// A terminal that does not show what is typed; as it was, once this is dropped.
struct Hidden {
    terminal: Stdin,
    before: Termios,
}

impl Hidden {
    fn on(terminal: Stdin) -> io::Result<Self> {
        let before = tcgetattr(&terminal)?;
        let mut hiding = before.clone();
        hiding.local_modes.remove(LocalModes::ECHO | LocalModes::ECHONL);
        tcsetattr(&terminal, OptionalActions::Now, &hiding)?;
        Ok(Self { terminal, before })
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        // There may be no terminal any more.
        let _ = tcsetattr(&self.terminal, OptionalActions::Now, &self.before);
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
