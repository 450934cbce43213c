//! A CSV file: its records, and the line in which each of them begins.

use std::{fs::File, io::Read, path::Path};

use anyhow::Context;
use csv::{ByteRecord, ReaderBuilder};

/// The largest file, in bytes; about 100,000 rows.
const FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Why there are no records.
#[derive(Debug, PartialEq, thiserror::Error)]
pub(super) enum BadSheet {
    #[error("it has more than {FILE_BYTES_MAX} bytes")]
    Large,
    #[error("it is UTF-16; save it as UTF-8 (in Excel: \"CSV UTF-8\")")]
    Utf16,
    #[error("its columns are separated by {0}; save it with commas")]
    Separator(&'static str),
}

/// What is in a file; more than is allowed is not read.
pub fn bytes(path: &Path) -> anyhow::Result<Vec<u8>> {
    let bytes = || -> std::io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    bytes().with_context(|| format!("read {}", path.display()))
}

/// Goes through the records that are not blank.
pub fn records(
    bytes: &[u8],
    mut f: impl FnMut(usize, &ByteRecord) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(BadSheet::Large.into());
    }
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        return Err(BadSheet::Utf16.into());
    }
    let bytes = bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(bytes);
    let mut reader = ReaderBuilder::new().has_headers(false).flexible(true).from_reader(bytes);
    let mut lines = Lines { bytes, at: 0, line: 1 };
    let mut record = ByteRecord::new();
    while reader.read_byte_record(&mut record)? {
        let line = lines.of_record(&record);
        if record.iter().any(|it| !it.trim_ascii().is_empty()) {
            f(line, &record)?;
        }
    }
    Ok(())
}

/// Says so where a header is none because of what is between its columns.
pub fn check_separator(header: &ByteRecord) -> anyhow::Result<()> {
    let only = header.get(0).filter(|_| header.len() == 1).unwrap_or_default();
    match only {
        it if it.contains(&b';') => Err(BadSheet::Separator("semicolons").into()),
        it if it.contains(&b'\t') => Err(BadSheet::Separator("tabs").into()),
        _ => Ok(()),
    }
}

/// Tells lines as an editor counts them. The parser's own count is late after blank lines and
/// after CRLF.
struct Lines<'a> {
    bytes: &'a [u8],
    /// Up to here is counted.
    at: usize,
    line: usize,
}

impl Lines<'_> {
    fn of_record(&mut self, record: &ByteRecord) -> usize {
        let start = record.position().map_or(0, |it| usize::try_from(it.byte()).unwrap_or(0));
        while let Some(&byte) = self.bytes.get(self.at) {
            let is_break = matches!(byte, b'\r' | b'\n');
            if self.at >= start && !is_break {
                break;
            }
            let is_first_half = byte == b'\r' && self.bytes.get(self.at + 1) == Some(&b'\n');
            self.line += usize::from(is_break && !is_first_half);
            self.at += 1;
        }
        self.line
    }
}
