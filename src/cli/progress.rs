//! How far it is, for a person at a terminal; in a pipe nothing.

use indicatif::{ProgressBar, ProgressStyle};

/// A bar on standard error.
pub struct Progress(ProgressBar);

impl Progress {
    /// A bar for so many rows.
    #[must_use]
    pub fn of(what: &'static str, n_rows: usize) -> Self {
        // Not shown where standard error is no terminal.
        let bar = ProgressBar::new(n_rows as u64).with_message(what);
        let style = "{msg:>10} [{bar:30}] {pos}/{len}  {eta} left";
        if let Ok(style) = ProgressStyle::with_template(style) {
            bar.set_style(style.progress_chars("=> "));
        }
        bar.tick();
        Self(bar)
    }

    /// One for so many steps as there will be.
    #[must_use]
    pub fn of_some(what: &'static str) -> Self {
        let bar = ProgressBar::no_length().with_message(what);
        if let Ok(style) = ProgressStyle::with_template("{msg:>14} {pos}") {
            bar.set_style(style);
        }
        Self(bar)
    }

    /// None, for what is done in a moment.
    #[must_use]
    pub fn none() -> Self {
        Self(ProgressBar::hidden())
    }

    /// So many are done by now.
    pub fn at(&self, n: u64) {
        self.0.set_position(n);
    }

    /// So many more are done.
    pub fn advance(&self, n_rows: usize) {
        self.0.inc(n_rows as u64);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
