//! How far it is, for a person at a terminal; in a pipe nothing.

use indicatif::{ProgressBar, ProgressStyle};

/// A bar on standard error.
pub struct Progress(ProgressBar);

impl Progress {
    /// A bar for so many rows.
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

    /// None, for what is done in a moment.
    pub fn none() -> Self {
        Self(ProgressBar::hidden())
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
