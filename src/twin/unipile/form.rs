//! The body of a send: a multipart form, or JSON with files in base64
//! (`docs/wire/meta-unipile-twilio.md` D1, D5).

use axum::http::{HeaderMap, header::CONTENT_TYPE};
use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use serde_json::Value;

use super::world::UnipileFile;

/// What a send asks for.
#[derive(Default)]
pub(super) struct Order {
    pub(super) account_id: Option<String>,
    pub(super) text: String,
    pub(super) attendees: Vec<String>,
    pub(super) quotes: Option<String>,
    pub(super) files: Vec<UnipileFile>,
}

impl Order {
    /// Of the first generation. `None`: it is no multipart form.
    pub(super) fn of_form(headers: &HeaderMap, body: &Bytes) -> Option<Self> {
        let content_type = headers.get(CONTENT_TYPE)?.to_str().ok()?;
        let boundary = content_type.strip_prefix("multipart/form-data; boundary=")?;
        let mut order = Self::default();
        for part in parts(body, boundary.trim_matches('"'))? {
            let value = || String::from_utf8_lossy(part.body).into_owned();
            match part.name.as_str() {
                "account_id" => order.account_id = Some(value()),
                "text" => order.text = value(),
                "attendees_ids" => order.attendees.push(value()),
                "quote_id" => order.quotes = Some(value()),
                "attachments" => order.files.push(UnipileFile {
                    mime_type: part.mime_type.clone(),
                    name: part.file_name.clone(),
                    bytes: body.slice_ref(part.body),
                }),
                _ => {}
            }
        }
        Some(order)
    }

    /// Of the second generation.
    pub(super) fn of_json(body: &Bytes) -> Option<Self> {
        let body: Value = serde_json::from_slice(body).ok()?;
        let word = |it: &Value| it.as_str().map(str::to_owned);
        let attendees = match &body["users_ids"] {
            Value::Array(all) => all.iter().filter_map(word).collect(),
            one => word(one).into_iter().collect(),
        };
        let mut files = Vec::new();
        for file in body["attachments"].as_array().into_iter().flatten() {
            files.push(UnipileFile {
                mime_type: word(&file["content_type"])?,
                name: word(&file["filename"])?,
                bytes: STANDARD.decode(file["content"].as_str()?).ok()?.into(),
            });
        }
        let text = word(&body["text"])?;
        Some(Self { account_id: None, text, attendees, quotes: word(&body["quote_id"]), files })
    }
}

struct Part<'a> {
    name: String,
    file_name: String,
    mime_type: String,
    body: &'a [u8],
}

/// The parts between the boundaries; `None` when the last of them is missing.
fn parts<'a>(mut body: &'a [u8], boundary: &str) -> Option<Vec<Part<'a>>> {
    let line = format!("--{boundary}");
    body = body.strip_prefix(line.as_bytes())?;
    let next = format!("\r\n--{boundary}");
    let mut found = Vec::new();
    loop {
        if body.starts_with(b"--") {
            return Some(found);
        }
        body = body.strip_prefix(b"\r\n")?;
        let end = find(body, next.as_bytes())?;
        let (part, rest) = (&body[..end], &body[end + next.len()..]);
        let head_end = find(part, b"\r\n\r\n")?;
        let head = String::from_utf8_lossy(&part[..head_end]);
        let quoted = |name: &str| {
            let at = head.find(&format!("; {name}=\""))? + name.len() + 4;
            head[at..].split('"').next().map(str::to_owned)
        };
        let mime_type = head.lines().find_map(|it| {
            let (name, value) = it.split_once(':')?;
            name.eq_ignore_ascii_case("content-type").then(|| value.trim().to_owned())
        });
        found.push(Part {
            name: quoted("name")?,
            file_name: quoted("filename").unwrap_or_default(),
            mime_type: mime_type.unwrap_or_default(),
            body: &part[head_end + 4..],
        });
        body = rest;
    }
}

fn find(body: &[u8], what: &[u8]) -> Option<usize> {
    body.windows(what.len()).position(|it| it == what)
}
