//! What commands print: text for people, one JSON document for scripts.

use std::io::Write;

use serde::Serialize;

/// Prints a text as it is. Who does not read on is no fault of ours.
pub(super) fn print(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// Prints one line.
pub(super) fn line(text: &str) {
    print(&format!("{text}\n"));
}

/// Prints one JSON document.
pub(super) fn json(document: &impl Serialize) {
    let text = serde_json::to_string_pretty(document).expect("our own documents are JSON");
    line(&text);
}

/// Tells on standard error.
pub(super) fn complain(text: &str) {
    // Nobody listens: there is no better place to say so.
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// Rows below their heads, columns aligned.
pub(super) fn table<const N: usize>(heads: [&str; N], rows: &[[String; N]]) -> String {
    let heads = heads.map(str::to_owned);
    let widths: [usize; N] = std::array::from_fn(|at| {
        let cells = std::iter::once(&heads).chain(rows).map(|it| it[at].chars().count());
        cells.max().unwrap_or_default()
    });
    let mut text = String::new();
    for row in std::iter::once(&heads).chain(rows) {
        let cells = row.iter().zip(widths).map(|(cell, width)| {
            let pad = width.saturating_sub(cell.chars().count());
            format!("{cell}{}", " ".repeat(pad))
        });
        let cells: Vec<String> = cells.collect();
        text += cells.join("  ").trim_end();
        text.push('\n');
    }
    text
}
