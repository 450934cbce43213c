//! Files for sends: `POST /upload`, and the place where they are then (`docs/wire/wasender.md`
//! §5.2).

use std::{sync::Arc, time::Instant};

use axum::{
    Json,
    extract::{Path, State},
    http::{HeaderMap, StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use serde_json::{Value, json};

use super::{
    answer::Refusal, api::BySession, book::Book, deeds::Upload, order::Order, world::World,
};

const MIB: usize = 1024 * 1024;

/// Of a request: the largest file, in base64, with room for its JSON.
pub(super) const BODY_BYTES_MAX: usize = 140 * MIB;

/// Sorts of file, with the limits of the newer upload page (`docs/wire/wasender.md` §2.1).
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sort {
    Image,
    Video,
    Audio,
    Sticker,
    Document,
}

impl Sort {
    /// By the type's name; whatever is nothing else is a document.
    fn of(mime_type: &str) -> Self {
        match mime_type.split('/').next() {
            _ if mime_type == "image/webp" => Self::Sticker,
            Some("image") => Self::Image,
            Some("video") => Self::Video,
            Some("audio") => Self::Audio,
            _ => Self::Document,
        }
    }

    fn bytes_max(self) -> usize {
        match self {
            Self::Image | Self::Audio => 16 * MIB,
            Self::Video => 50 * MIB,
            Self::Sticker => 5 * MIB,
            Self::Document => 100 * MIB,
        }
    }

    /// Whether a file may be one, by how it begins.
    fn has(self, file: &[u8]) -> bool {
        let begins = |it: &[u8]| file.starts_with(it);
        let at = |at: usize, it: &[u8]| file.get(at..).is_some_and(|rest| rest.starts_with(it));
        match self {
            Self::Image => begins(b"\xff\xd8\xff") || begins(b"\x89PNG"),
            Self::Sticker => begins(b"RIFF") && at(8, b"WEBP"),
            Self::Video => at(4, b"ftyp"),
            Self::Audio => {
                let frame =
                    file.first() == Some(&0xff) && file.get(1).is_some_and(|it| *it >= 0xe0);
                let known = begins(b"OggS") || begins(b"ID3") || begins(b"#!AMR");
                frame || known || at(4, b"ftyp")
            }
            Self::Document => true,
        }
    }
}

pub(super) async fn upload(
    State(world): State<Arc<World>>,
    BySession(id): BySession,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Refusal> {
    if let Some(line) = world.book().lines.get_mut(&id)
        && let Some(status) = line.misbehaviours.deed_fails()
    {
        return Err(Refusal::new(status, "Server Error"));
    }
    let (mime_type, bytes) = file(&headers, body)?;
    let sort = Sort::of(&mime_type);
    if bytes.is_empty() {
        return Err(fault("The file field is required."));
    }
    if bytes.len() > sort.bytes_max() {
        let max = sort.bytes_max() / 1024;
        return Err(fault(&format!("The file may not be greater than {max} kilobytes.")));
    }
    if !sort.has(&bytes) {
        return Err(fault("The file's content does not match its type."));
    }
    let name = format!("{}.{}", world.new_uuid(), extension(&mime_type));
    let url = format!("{}/media/{name}", world.origin());
    let (public_url, at) = (url.clone(), Instant::now());
    world.keep_upload(Upload { session: id, url, mime_type, bytes, at });
    Ok(Json(json!({ "success": true, "publicUrl": public_url })).into_response())
}

/// `GET /media/<name>`, open to all.
pub(super) async fn serve(State(world): State<Arc<World>>, Path(name): Path<String>) -> Response {
    let url = format!("{}/media/{name}", world.origin());
    match world.book().deeds.uploads.find(|it| it.url == url) {
        Some(it) => ([(CONTENT_TYPE, it.mime_type.clone())], it.bytes.clone()).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

impl Order {
    /// Whether Wasender could fetch the file, where it is one of its own, and would take it.
    ///
    /// # Errors
    ///
    /// Laravel's `errors`, by field.
    pub(super) fn check_file(&self, world: &World, book: &Book) -> Result<(), Value> {
        let Some(file) = &self.file else { return Ok(()) };
        if !file.url.starts_with(&format!("{}/media/", world.origin())) {
            return Ok(());
        }
        let found = book.deeds.uploads.find(|it| it.url == file.url);
        let why = match found {
            None => "The file could not be downloaded.".to_owned(),
            Some(it) if it.bytes.len() > file.bytes_max => {
                format!("The file may not be greater than {} kilobytes.", file.bytes_max / 1024)
            }
            Some(_) => return Ok(()),
        };
        Err(json!({ file.field: [why] }))
    }
}

/// The raw body, or what is in its JSON as base64. `mimetype` wins over the data URL's.
fn file(headers: &HeaderMap, body: Bytes) -> Result<(String, Bytes), Refusal> {
    let content_type = headers.get(CONTENT_TYPE).and_then(|it| it.to_str().ok());
    let content_type = content_type.unwrap_or("application/octet-stream");
    let is_json = content_type.split(';').next().is_some_and(|it| it.trim() == "application/json");
    if !is_json {
        return Ok((content_type.to_owned(), body));
    }
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let text = body["base64"].as_str().ok_or_else(|| fault("The base64 field is required."))?;
    let (named, text) = match text.strip_prefix("data:").and_then(|it| it.split_once(";base64,")) {
        Some((named, text)) => (Some(named), text),
        None => (None, text),
    };
    let named = body["mimetype"].as_str().or(named);
    let named = named.ok_or_else(|| fault("The mimetype field is required."))?;
    let bytes = STANDARD.decode(text).map_err(|_| fault("The base64 is invalid."))?;
    Ok((named.to_owned(), bytes.into()))
}

fn extension(mime_type: &str) -> &str {
    let bare = mime_type.split(';').next().unwrap_or_default().trim();
    match bare {
        "image/jpeg" => "jpg",
        "audio/mpeg" => "mp3",
        "video/3gpp" => "3gp",
        "text/plain" => "txt",
        _ => {
            let subtype = bare.split_once('/').map_or("", |it| it.1);
            let is_plain =
                !subtype.is_empty() && subtype.bytes().all(|it| it.is_ascii_alphanumeric());
            if is_plain && subtype.len() <= 5 { subtype } else { "bin" }
        }
    }
}

fn fault(text: &str) -> Refusal {
    Refusal::invalid(&json!({ "file": [text] }))
}
