//! The body of a job, record by record, however long it is: JSON lines, or CSV.

#[cfg(test)]
mod tests;

use std::{collections::HashSet, time::Duration};

use axum::body::{Body, BodyDataStream};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use tokio::time::Instant;

use crate::{
    domain::bulk::{Columns, is_name},
    gateway::AdminError,
    web::error::ApiError,
};

/// The longest record.
const RECORD_BYTES_MAX: usize = 256 * 1024;
/// The longest body.
const BODY_BYTES_MAX: usize = 64 * 1024 * 1024;
/// How long nothing may come, and how long all of it may take.
const QUIET_MAX: Duration = Duration::from_secs(30);
const TAKEN_WITHIN: Duration = Duration::from_mins(15);
/// What some programs begin a file with.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
/// The column of the number.
const TO: &str = "to";

/// How recipients are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// A JSON object on each line.
    JsonLines,
    /// CSV (RFC 4180) with a header line.
    Csv,
}

impl Form {
    /// Of a `Content-Type`.
    pub(super) fn of(content_type: &str) -> Option<Self> {
        let base = content_type.split(';').next().unwrap_or_default().trim();
        match base.to_ascii_lowercase().as_str() {
            "application/x-ndjson" | "application/jsonl" | "application/x-jsonlines" => {
                Some(Self::JsonLines)
            }
            "text/csv" => Some(Self::Csv),
            _ => None,
        }
    }
}

/// A body that comes in.
pub(super) struct Records {
    body: BodyDataStream,
    buffer: BytesMut,
    /// Of the buffer, looked at for an end.
    n_seen: usize,
    at: At,
    is_over: bool,
    until: Instant,
    n_bytes: usize,
    n_lines: usize,
    hash: Sha256,
}

/// Where the next byte of CSV is, as RFC 4180 and the reader of its fields have it: a quote is one
/// at the start of a field alone, and within quotes two are one.
#[derive(Clone, Copy, PartialEq, Eq)]
enum At {
    Start,
    Plain,
    Quoted,
    /// After a quote within quotes: their end, unless another follows.
    Quote,
}

impl At {
    fn after(self, byte: u8) -> Self {
        match (self, byte) {
            (Self::Quoted, b'"') => Self::Quote,
            (Self::Start | Self::Quote, b'"') | (Self::Quoted, _) => Self::Quoted,
            (_, b',' | b'\r') => Self::Start,
            _ => Self::Plain,
        }
    }
}

/// A record, and the line it begins on.
pub(super) type Record = (usize, Bytes);

impl Records {
    pub(super) fn new(body: Body) -> Self {
        Self {
            body: body.into_data_stream(),
            buffer: BytesMut::new(),
            n_seen: 0,
            at: At::Start,
            is_over: false,
            until: Instant::now() + TAKEN_WITHIN,
            n_bytes: 0,
            n_lines: 0,
            hash: Sha256::new(),
        }
    }

    /// The next record that is not empty. With `quotes` it may span lines within them.
    pub(super) async fn next(&mut self, quotes: bool) -> Result<Option<Record>, ApiError> {
        loop {
            let Some((line, record)) = self.one(quotes).await? else { return Ok(None) };
            if !record.trim_ascii().is_empty() {
                return Ok(Some((line, record)));
            }
        }
    }

    async fn one(&mut self, quotes: bool) -> Result<Option<Record>, ApiError> {
        loop {
            if let Some(end) = self.find_end(quotes) {
                return Ok(Some(self.take(end + 1)));
            }
            if self.buffer.len() > RECORD_BYTES_MAX {
                let line = self.n_lines + 1;
                let why = format!(
                    "line {line}: is longer than {RECORD_BYTES_MAX} bytes, or its quotes do not end"
                );
                return Err(AdminError::Invalid(why).into());
            }
            if self.is_over {
                if self.buffer.is_empty() {
                    return Ok(None);
                }
                if self.at == At::Quoted {
                    let why = format!("line {}: its quotes do not end", self.n_lines + 1);
                    return Err(AdminError::Invalid(why).into());
                }
                return Ok(Some(self.take(self.buffer.len())));
            }
            self.read().await?;
        }
    }

    fn find_end(&mut self, quotes: bool) -> Option<usize> {
        while let Some(byte) = self.buffer.get(self.n_seen) {
            if *byte == b'\n' && self.at != At::Quoted {
                return Some(self.n_seen);
            }
            let is_of_mark = BYTE_ORDER_MARK.get(self.n_seen) == Some(byte);
            if quotes && !(is_of_mark && self.at == At::Start) {
                self.at = self.at.after(*byte);
            }
            self.n_seen += 1;
        }
        None
    }

    fn take(&mut self, n_bytes: usize) -> Record {
        let record = self.buffer.split_to(n_bytes).freeze();
        let line = self.n_lines + 1;
        self.n_lines += record.split(|it| *it == b'\n').count() - 1;
        (self.n_seen, self.at) = (0, At::Start);
        (line, record)
    }

    async fn read(&mut self) -> Result<(), ApiError> {
        let until = self.until.min(Instant::now() + QUIET_MAX);
        let next = tokio::time::timeout_at(until, self.body.next()).await;
        match next.map_err(|_| ApiError::TooSlow)? {
            Some(Ok(piece)) => {
                self.n_bytes += piece.len();
                if self.n_bytes > BODY_BYTES_MAX {
                    return Err(ApiError::TooLarge);
                }
                self.hash.update(&piece);
                self.buffer.extend_from_slice(&piece);
            }
            Some(Err(_)) => return Err(ApiError::Truncated),
            None => self.is_over = true,
        }
        Ok(())
    }

    /// A hash of all that came.
    pub(super) fn hash(self) -> Vec<u8> {
        self.hash.finalize().to_vec()
    }

    /// What has not come yet.
    pub(super) fn rest(self) -> BodyDataStream {
        self.body
    }
}

/// What a recipient's record says.
pub(super) struct Row {
    pub(super) to: String,
    pub(super) columns: Columns,
}

/// Reads recipients' records.
pub(super) enum Reader {
    JsonLines,
    Csv(Vec<String>),
}

impl Reader {
    /// With the header line where there is one. It must have these columns.
    pub(super) fn new<'a>(
        header: Option<&[u8]>,
        mut variables: impl Iterator<Item = &'a str>,
    ) -> Result<Self, String> {
        let Some(header) = header else { return Ok(Self::JsonLines) };
        let names = fields(header)?;
        let names: Vec<String> = names.iter().map(|it| it.trim().to_owned()).collect();
        if let Some(bad) = names.iter().position(|it| !is_name(it)) {
            return Err(format!(
                "the name of column {} is empty or too long, or has other characters than letters, digits, spaces and _ - .",
                bad + 1
            ));
        }
        let mut seen = HashSet::new();
        if let Some(twice) = names.iter().find(|it| !seen.insert(*it)) {
            return Err(format!("{twice}: there are two columns of this name"));
        }
        let has = |name: &str| names.iter().any(|it| it == name);
        if !has(TO) {
            return Err(format!("{TO}: there is no such column"));
        }
        match variables.find(|it| !has(it)) {
            Some(name) => Err(format!(
                "{name}: there is no such column, and the message has it as a variable"
            )),
            None => Ok(Self::Csv(names)),
        }
    }

    pub(super) fn read(&self, record: &[u8]) -> Result<Row, String> {
        let mut columns = match self {
            Self::JsonLines => of_json(record)?,
            Self::Csv(names) => {
                let fields = fields(record)?;
                if fields.len() != names.len() {
                    let (n, of) = (fields.len(), names.len());
                    return Err(format!("has {n} fields, and the header has {of}"));
                }
                names.iter().cloned().zip(fields.iter().map(str::to_owned)).collect()
            }
        };
        let to = columns.remove(TO).ok_or_else(|| format!("{TO}: is missing"))?;
        if to.trim().is_empty() {
            return Err(format!("{TO}: is empty"));
        }
        columns.insert(TO.to_owned(), to.clone());
        Ok(Row { to, columns })
    }
}

fn fields(record: &[u8]) -> Result<csv::StringRecord, String> {
    let record = record.strip_prefix(BYTE_ORDER_MARK).unwrap_or(record);
    let mut reader =
        csv::ReaderBuilder::new().has_headers(false).buffer_capacity(512).from_reader(record);
    let mut records = reader.records();
    let first = records.next();
    let first = first.and_then(Result::ok).ok_or_else(|| "is not CSV in UTF-8".to_owned())?;
    if records.next().is_some() {
        return Err("has a carriage return that ends no line".to_owned());
    }
    Ok(first)
}

fn of_json(record: &[u8]) -> Result<Columns, String> {
    let fields: Map<String, Value> =
        serde_json::from_slice(record).map_err(|_| "is not a JSON object".to_owned())?;
    let column = |(name, value): (String, Value)| match value {
        Value::String(text) => Ok((name, text)),
        Value::Number(number) => Ok((name, number.to_string())),
        Value::Bool(is) => Ok((name, is.to_string())),
        // The name may be anything, and is not quoted unless it could be a column's.
        _ if is_name(&name) => Err(format!("{name}: is a text, a number, true or false")),
        _ => Err("a field is a text, a number, true or false".to_owned()),
    };
    fields.into_iter().map(column).collect()
}
