//! `WhatsApp`'s media host: files that customers sent, encrypted (`docs/wire/wasender.md` §5.1).

use std::{
    collections::{HashMap, VecDeque},
    fmt, io,
    sync::Arc,
    time::Duration,
};

use aes::Aes256;
use axum::{
    body::Body,
    extract::{Path, State},
    http::{
        StatusCode,
        header::{CONTENT_LENGTH, CONTENT_TYPE},
    },
    response::{IntoResponse, Response},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use cbc::cipher::{BlockModeEncrypt, KeyIvInit, block_padding::Pkcs7};
use futures_util::{StreamExt, future, stream};
use hkdf::Hkdf;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::world::World;

/// Files that are kept. Beyond it the oldest are gone, as at `WhatsApp` after a while.
const FILES_MAX: usize = 10_000;

/// Of the files that are kept, in bytes together.
const BYTES_MAX: usize = 1024 * 1024 * 1024;

/// Of the MAC behind a file.
const MAC_BYTES: usize = 10;

/// The kinds of file that `WhatsApp` tells apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind {
    /// JPEG or PNG.
    Image,
    /// MP4 or 3GPP.
    Video,
    /// Voice notes included.
    Audio,
    /// Any file.
    Document,
    /// WebP.
    Sticker,
}

/// What is wrong with a file of a customer's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MediaFault {
    /// The MAC behind it is of something else.
    BadMac,
    /// Half of it, as if that were all.
    Truncated,
    /// The connection ends in the middle of it.
    Cut,
    /// Nothing comes after the middle of it; the connection stays open.
    Hang,
    /// It is answered with this status: 404 or 410 when it has expired.
    Gone(u16),
    /// It comes this much later.
    Slow(Duration),
    /// The webhook tells another SHA-256 of the clear file. For a file about to be sent only.
    WrongSha256,
    /// The webhook tells half of its length. For a file about to be sent only.
    LargerThanAnnounced,
}

/// An encrypted file, as a webhook tells of it. It prints without its key and place.
#[derive(Clone, PartialEq, Eq)]
pub struct HostedMedia {
    /// Its kind, which is part of the key.
    pub kind: FileKind,
    /// Where it is, on the twin's loopback address.
    pub url: String,
    /// The key, base64.
    pub media_key: String,
    /// SHA-256 of the clear file, base64.
    pub file_sha256: String,
    /// SHA-256 of what is served, base64.
    pub file_enc_sha256: String,
    /// Bytes of the clear file.
    pub file_length: u64,
}

impl fmt::Debug for HostedMedia {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HostedMedia").field("kind", &self.kind).finish_non_exhaustive()
    }
}

impl FileKind {
    /// What the key is derived for. A sticker counts as an image.
    fn info(self) -> &'static [u8] {
        match self {
            Self::Image | Self::Sticker => b"WhatsApp Image Keys",
            Self::Video => b"WhatsApp Video Keys",
            Self::Audio => b"WhatsApp Audio Keys",
            Self::Document => b"WhatsApp Document Keys",
        }
    }

    /// The field of Baileys' `message`.
    pub(super) fn field(self) -> &'static str {
        match self {
            Self::Image => "imageMessage",
            Self::Video => "videoMessage",
            Self::Audio => "audioMessage",
            Self::Document => "documentMessage",
            Self::Sticker => "stickerMessage",
        }
    }

    /// The predecessor's word.
    pub(super) fn word(self) -> &'static str {
        self.field().trim_end_matches("Message")
    }

    /// What phones mostly send.
    pub(super) fn mime_type(self) -> &'static str {
        match self {
            Self::Image => "image/jpeg",
            Self::Video => "video/mp4",
            Self::Audio => "audio/ogg; codecs=opus",
            Self::Document => "application/pdf",
            Self::Sticker => "image/webp",
        }
    }
}

impl HostedMedia {
    /// The fields of Baileys' message that lead to the file. Its length is a text there, as 64-bit
    /// numbers are in protobuf's JSON.
    pub(super) fn fields(&self) -> Map<String, Value> {
        let path = self.url.find("/mmg/").map_or("", |at| &self.url[at..]);
        let fields = json!({
            "url": self.url,
            "directPath": path,
            "mediaKey": self.media_key,
            "fileSha256": self.file_sha256,
            "fileEncSha256": self.file_enc_sha256,
            "fileLength": self.file_length.to_string(),
        });
        fields.as_object().cloned().unwrap_or_default()
    }
}

/// Encrypts a file for `WhatsApp` (`docs/wire/wasender.md` §5.1): AES-256-CBC with PKCS7 padding,
/// behind it the first 10 bytes of the HMAC-SHA256 over IV and ciphertext.
///
/// # Panics
///
/// Never: the key material is as long as the ciphers ask for.
#[must_use]
pub fn encrypt_media(kind: FileKind, key: &[u8; 32], clear: &[u8]) -> Vec<u8> {
    let mut keys = [0; 112];
    let expanded = Hkdf::<Sha256>::new(None, key).expand(kind.info(), &mut keys);
    expanded.expect("112 bytes are less than HKDF-SHA256 can make");
    let (iv, cipher_key, mac_key) = (&keys[..16], &keys[16..48], &keys[48..80]);

    let cipher = cbc::Encryptor::<Aes256>::new_from_slices(cipher_key, iv);
    let cipher = cipher.expect("a key of 32 bytes and an IV of 16");
    let mut file = cipher.encrypt_padded_vec::<Pkcs7>(clear);
    let mac = Hmac::<Sha256>::new_from_slice(mac_key);
    let mut mac = mac.expect("HMAC takes a key of any length");
    mac.update(iv);
    mac.update(&file);
    file.extend_from_slice(&mac.finalize().into_bytes()[..MAC_BYTES]);
    file
}

/// The files, by the last part of their URLs.
#[derive(Default)]
pub(super) struct Files {
    kept: HashMap<String, (Bytes, Option<MediaFault>)>,
    told: VecDeque<(String, HostedMedia)>,
    n_bytes: usize,
}

impl Files {
    fn keep(&mut self, name: String, bytes: Bytes, fault: Option<MediaFault>, told: HostedMedia) {
        self.n_bytes += bytes.len();
        while (self.told.len() >= FILES_MAX || self.n_bytes > BYTES_MAX)
            && let Some((oldest, _)) = self.told.pop_front()
        {
            let gone = self.kept.remove(&oldest);
            self.n_bytes -= gone.map_or(0, |it| it.0.len());
        }
        self.kept.insert(name.clone(), (bytes, fault));
        self.told.push_back((name, told));
    }

    /// As webhooks told of them, oldest first.
    pub(super) fn told(&self) -> Vec<HostedMedia> {
        self.told.iter().map(|it| it.1.clone()).collect()
    }

    /// Gives the file at a URL this fault, or none.
    pub(super) fn spoil(&mut self, url: &str, fault: Option<MediaFault>) {
        let name = url.rsplit('/').next().unwrap_or_default();
        if let Some(it) = self.kept.get_mut(name) {
            it.1 = fault;
        }
    }
}

impl World {
    /// Encrypts a file under a key of its own and serves it.
    pub(super) fn host(
        &self,
        kind: FileKind,
        clear: &[u8],
        fault: Option<MediaFault>,
    ) -> HostedMedia {
        let key = self.new_media_key();
        let name = self.new_key();
        let file = encrypt_media(kind, &key, clear);
        let length = u64::try_from(clear.len()).unwrap_or(u64::MAX);
        let is_short = fault == Some(MediaFault::LargerThanAnnounced);
        let told_of = if fault == Some(MediaFault::WrongSha256) { b"another" } else { clear };
        let hosted = HostedMedia {
            kind,
            url: format!("{}/mmg/{name}", self.origin()),
            media_key: STANDARD.encode(key),
            file_sha256: STANDARD.encode(Sha256::digest(told_of)),
            // A bad MAC is found by the MAC alone when the hash agrees with what is served.
            file_enc_sha256: STANDARD.encode(match fault {
                Some(MediaFault::BadMac) => Sha256::digest(with_bad_mac(&file)),
                _ => Sha256::digest(&file),
            }),
            file_length: if is_short { length / 2 } else { length },
        };
        self.book().files.keep(name, file.into(), fault, hosted.clone());
        hosted
    }
}

/// `GET /mmg/<name>`: nobody is asked for a key here.
pub(super) async fn serve(State(world): State<Arc<World>>, Path(name): Path<String>) -> Response {
    let found = world.book().files.kept.get(&name).cloned();
    let Some((file, fault)) = found else { return StatusCode::NOT_FOUND.into_response() };
    let (n_bytes, half) = (file.len(), file.slice(..file.len() / 2));
    let body = match fault {
        Some(MediaFault::Gone(status)) => {
            return StatusCode::from_u16(status).unwrap_or(StatusCode::GONE).into_response();
        }
        Some(MediaFault::Slow(late)) => {
            tokio::time::sleep(late).await;
            Body::from(file)
        }
        Some(MediaFault::Truncated) => return served(half.len(), Body::from(half)),
        Some(MediaFault::Cut) => {
            let fault = io::Error::from(io::ErrorKind::ConnectionAborted);
            Body::from_stream(stream::iter([Ok(half), Err(fault)]))
        }
        Some(MediaFault::Hang) => {
            let never = stream::once(future::pending::<Result<Bytes, io::Error>>());
            Body::from_stream(stream::iter([Ok(half)]).chain(never))
        }
        Some(MediaFault::BadMac) => Body::from(with_bad_mac(&file)),
        Some(MediaFault::WrongSha256 | MediaFault::LargerThanAnnounced) | None => Body::from(file),
    };
    served(n_bytes, body)
}

fn with_bad_mac(file: &[u8]) -> Vec<u8> {
    let mut file = file.to_vec();
    if let Some(last) = file.last_mut() {
        *last ^= 1;
    }
    file
}

fn served(n_bytes: usize, body: Body) -> Response {
    let headers = [
        (CONTENT_TYPE, "application/octet-stream".to_owned()),
        (CONTENT_LENGTH, n_bytes.to_string()),
    ];
    (headers, body).into_response()
}
