//! Files, up and down (`docs/wire/meta-unipile-twilio.md` C).

use std::{
    collections::HashMap,
    fmt, io,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    Json,
    body::Body,
    extract::{Path, State},
    http::{HeaderMap, StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use futures_util::stream;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{
    super::api::bearer,
    error::{BAD_PARAMETER, GraphError},
    misbehaviour::MetaMisbehaviour,
    multipart,
    number::MetaNumber,
    world::World,
};

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;
/// Of an upload: the largest file, and what is around it.
pub(super) const BODY_BYTES_MAX: usize = 101 * MIB;
/// How long the address of a file is good.
const URL_KEPT: Duration = Duration::from_mins(5);
/// The id of the first file.
const FIRST_FILE: u64 = 985_569_392_615_996;

/// A file that Meta has: one that was uploaded, or one that a customer sent. It prints without its
/// bytes.
#[derive(Clone)]
pub struct MetaFile {
    /// Its id.
    pub id: String,
    /// The phone number id that may use it.
    pub number: String,
    /// As the caller named it.
    pub mime_type: String,
    /// The file.
    pub bytes: Bytes,
    /// Whether it was uploaded, not sent by a customer.
    pub is_upload: bool,
}

impl fmt::Debug for MetaFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut it = f.debug_struct("MetaFile");
        it.field("id", &self.id).field("mime_type", &self.mime_type).finish_non_exhaustive()
    }
}

/// The files, and the addresses under which they are for a while.
#[derive(Default)]
pub(super) struct Shelf {
    pub(super) files: HashMap<String, MetaFile>,
    urls: HashMap<String, (String, Instant)>,
    n_made: u64,
}

impl World {
    /// Keeps a customer's file.
    pub(super) fn host(&self, number: &MetaNumber, mime_type: &str, bytes: Bytes) -> MetaFile {
        self.keep_file(number, mime_type, bytes, false)
    }

    fn keep_file(
        &self,
        number: &MetaNumber,
        mime_type: &str,
        bytes: Bytes,
        is_upload: bool,
    ) -> MetaFile {
        let (mut book, mime_type) = (self.book(), mime_type.to_owned());
        let id = (FIRST_FILE + book.shelf.n_made).to_string();
        book.shelf.n_made += 1;
        let file = MetaFile { id, number: number.id.clone(), mime_type, bytes, is_upload };
        book.shelf.files.insert(file.id.clone(), file.clone());
        file
    }

    /// What a webhook says of a file: its hash is in base64 there.
    pub(super) fn announced(&self, file: &MetaFile) -> Value {
        json!({
            "id": file.id,
            "mime_type": file.mime_type,
            "sha256": STANDARD.encode(Sha256::digest(&file.bytes)),
            "url": self.new_url(file),
        })
    }

    fn new_url(&self, file: &MetaFile) -> String {
        let token = self.token(40);
        let until = Instant::now() + URL_KEPT;
        self.book().shelf.urls.insert(token.clone(), (file.id.clone(), until));
        format!("{}/lookaside/{token}", self.origin())
    }

    /// `GET /{media_id}`: the hash is in hexadecimal here.
    pub(super) fn resolve(&self, id: &str, token: Option<&str>) -> Result<Response, GraphError> {
        let file = self.book().shelf.files.get(id).cloned();
        let file = file.ok_or_else(|| GraphError::no_such(id))?;
        self.own(&file.number, token)?;
        self.may_do(&file.number)?;
        let answer = json!({
            "messaging_product": "whatsapp",
            "url": self.new_url(&file),
            "mime_type": file.mime_type,
            "sha256": hex::encode(Sha256::digest(&file.bytes)),
            "file_size": file.bytes.len(),
            "id": file.id,
        });
        Ok(Json(answer).into_response())
    }

    /// `DELETE /{media_id}`.
    pub(super) fn forget(&self, id: &str, token: Option<&str>) -> Result<Response, GraphError> {
        let file = self.book().shelf.files.get(id).cloned();
        let file = file.ok_or_else(|| GraphError::no_such(id))?;
        self.own(&file.number, token)?;
        self.book().shelf.files.remove(id);
        Ok(Json(json!({ "success": true })).into_response())
    }
}

/// `POST /{pnid}/media`.
pub(super) fn upload(
    world: &World,
    id: &str,
    headers: &HeaderMap,
    body: &Bytes,
) -> Result<Response, GraphError> {
    let number = world.own(id, bearer(headers))?;
    world.may_do(&number.id)?;
    let content_type = headers.get(CONTENT_TYPE).and_then(|it| it.to_str().ok());
    let parts = content_type.and_then(|it| multipart::parts(it, body));
    let parts = parts.ok_or_else(|| GraphError::new(BAD_PARAMETER, "not a multipart form"))?;
    let part = |name: &str| parts.iter().find(|it| it.name == name);
    let text = |name: &str| {
        let part = part(name).ok_or_else(|| GraphError::missing(name))?;
        Ok::<_, GraphError>(String::from_utf8_lossy(&part.bytes).into_owned())
    };
    if text("messaging_product")? != "whatsapp" {
        return Err(GraphError::new(BAD_PARAMETER, "messaging_product must be whatsapp"));
    }
    let file = part("file").ok_or_else(|| GraphError::missing("file"))?;
    if file.file_name.is_none() {
        return Err(GraphError::new(BAD_PARAMETER, "the file has no name"));
    }
    let told = text("type").ok();
    let mime_type = told.or(file.content_type.clone());
    let mime_type = mime_type.ok_or_else(|| GraphError::missing("type"))?;
    let max = bytes_max(&mime_type)
        .ok_or_else(|| GraphError::new(BAD_PARAMETER, "the type of the file is not supported"))?;
    if file.bytes.is_empty() || file.bytes.len() > max {
        return Err(GraphError::new(BAD_PARAMETER, "the file is empty or too large"));
    }
    let kept = world.keep_file(&number, &mime_type, file.bytes.clone(), true);
    world.note_deed(|_| {});
    Ok(Json(json!({ "id": kept.id })).into_response())
}

/// `GET` of a file's address, with the bearer token of the number that may use it.
pub(super) async fn download(
    State(world): State<Arc<World>>,
    Path(url): Path<String>,
    headers: HeaderMap,
) -> Response {
    let found = {
        let book = world.book();
        let good = book.shelf.urls.get(&url).filter(|it| it.1 > Instant::now());
        good.and_then(|it| book.shelf.files.get(&it.0).cloned())
    };
    let Some(file) = found else { return StatusCode::NOT_FOUND.into_response() };
    if world.own(&file.number, bearer(&headers)).is_err() {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    let mut book = world.book();
    let mut wrong = |how: MetaMisbehaviour| {
        let line = book.lines.get_mut(&file.number);
        line.is_some_and(|line| line.wrongs.take(|it| *it == how).is_some())
    };
    if wrong(MetaMisbehaviour::UrlExpired) {
        return StatusCode::NOT_FOUND.into_response();
    }
    let mut bytes = file.bytes.clone();
    if wrong(MetaMisbehaviour::WrongBytes) {
        bytes = bytes.iter().map(|it| it ^ 1).collect();
    }
    if wrong(MetaMisbehaviour::CutDownload) {
        let fault = Err(io::Error::from(io::ErrorKind::ConnectionAborted));
        let half = stream::iter([Ok(bytes.slice(..bytes.len() / 2)), fault]);
        return Body::from_stream(half).into_response();
    }
    ([(CONTENT_TYPE, file.mime_type)], bytes).into_response()
}

/// The largest file of a type (B2); `None` is one that Meta does not take.
fn bytes_max(mime_type: &str) -> Option<usize> {
    let base = mime_type.split(';').next().unwrap_or_default().trim();
    Some(match base {
        "image/jpeg" | "image/png" => 5 * MIB,
        "image/webp" => 500 * KIB,
        "video/mp4" | "video/3gpp" | "audio/aac" | "audio/amr" | "audio/mpeg" | "audio/mp4"
        | "audio/ogg" => 16 * MIB,
        "text/plain" | "application/pdf" | "application/msword" => 100 * MIB,
        it if it.starts_with("application/vnd.") => 100 * MIB,
        _ => return None,
    })
}
