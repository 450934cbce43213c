//! Files, up and down (`docs/wire/meta-unipile-twilio.md` C). The token goes to Graph and to Meta's
//! own file hosts, and nowhere else: where a file is, an answer says.

use std::time::Duration;

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use reqwest::{
    Method, StatusCode,
    header::{CONTENT_TYPE, HeaderValue},
};
use serde_json::Value;
use url::Url;

use super::{Account, Meta, answer, answer::Fault, wire::text};
use crate::{
    domain::{
        delivery::{Outcome, Reason, Refusal},
        media::{base_of, extension},
        message::Media,
        secret::SecretString,
        waba::WabaInstance,
    },
    http::{Download, HttpError, Reply, Request, Trust},
    media::Announced,
    provider::{Attempt, OpenFault, OpenedFile, Upload, bearer, files::boundary, refused::refused},
};

/// For one file.
const UPLOAD_WITHIN: Duration = Duration::from_mins(5);
const DOWNLOAD_WITHIN: Duration = Duration::from_mins(5);
/// Where Meta keeps files.
const FILE_HOSTS: [&str; 2] = [".fbsbx.com", ".fbcdn.net"];
/// Tries to find out where a file is: an address is good for five minutes.
const PLACES_MAX: usize = 2;

impl Meta {
    /// Hands a file to Meta; the answer is its id there.
    pub(super) async fn upload_file(
        &self,
        instance: &WabaInstance,
        file: Upload,
    ) -> Result<String, Attempt> {
        let Some(account) = Account::of(instance) else {
            return Err(refused(Refusal::FailOver(Reason::NoCredentials), "no_credentials"));
        };
        if bytes_max(&file.mime_type).is_none_or(|it| file.n_bytes > it) {
            return Err(not_taken());
        }
        let reply = match self.post_file(&account, file).await {
            Ok(reply) => reply,
            Err(HttpError::NoConnection | HttpError::Forbidden) => {
                return Err(refused(Refusal::Down(Reason::Disconnected), "no_connection"));
            }
            Err(HttpError::NoAnswer | HttpError::BrokeOff | HttpError::TooLarge) => {
                return Err(again());
            }
        };
        let body: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
        if let Some(id) = text(&body["id"]).filter(|_| reply.status.is_success()) {
            return Ok(id.to_owned());
        }
        let attempt = answer::attempt(Ok(reply), self.clock.now());
        Err(match attempt.outcome {
            // It is the file that is refused, and another provider may take it.
            Outcome::Refused(Refusal::GiveUp(_)) => not_taken(),
            Outcome::Refused(_) if attempt.word == answer::NOT_FETCHED => not_taken(),
            Outcome::Refused(_) => attempt,
            // Nothing has been sent, whatever became of the file.
            Outcome::Sent | Outcome::Unknown => again(),
        })
    }

    async fn post_file(&self, account: &Account<'_>, file: Upload) -> Result<Reply, HttpError> {
        // Without random numbers nothing leaves.
        let form = Form::new(&file).map_err(|_| HttpError::NoAnswer)?;
        let mut headers = bearer::headers(account.token)?;
        headers.insert(CONTENT_TYPE, form.content_type.clone());
        let url = self.url(&[account.id, "media"]);
        let request = Request {
            method: Method::POST,
            url: &url,
            trust: Trust::Operator,
            headers,
            body: None,
            timeout: UPLOAD_WITHIN,
        };
        let (n_bytes, body) = form.body(file);
        self.http.send_stream(request, n_bytes, body).await
    }

    /// Opens a customer's file: by its id where it is, and there with the token.
    pub(super) async fn open_file(
        &self,
        instance: &WabaInstance,
        file: &Media,
    ) -> Result<OpenedFile, OpenFault> {
        let account = Account::of(instance).ok_or(OpenFault::NoAnswer)?;
        let id = file.id.as_deref().ok_or(OpenFault::Gone)?;
        for _ in 0..PLACES_MAX {
            let (url, announced) = self.place(&account, id).await?;
            let download = self.download(&url, account.token).await?;
            match download.status() {
                StatusCode::OK => return Ok(OpenedFile { download, announced }),
                // Too old already, or taken away.
                StatusCode::FORBIDDEN | StatusCode::NOT_FOUND | StatusCode::GONE => {}
                _ => return Err(OpenFault::NoAnswer),
            }
        }
        Err(OpenFault::Gone)
    }

    /// Where a file is for the next five minutes, and what it is.
    async fn place(&self, account: &Account<'_>, id: &str) -> Result<(Url, Announced), OpenFault> {
        let mut url = self.url(&[id]);
        url.query_pairs_mut().append_pair("phone_number_id", account.id);
        let reply = self.call(Method::GET, &url, account.token, None).await;
        let reply = reply.map_err(|_| OpenFault::NoAnswer)?;
        let body: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
        if let Some(place) = text(&body["url"]).filter(|_| reply.status.is_success()) {
            let url = Url::parse(place).map_err(|_| OpenFault::Forbidden)?;
            return Ok((url, announced(&body)));
        }
        match Fault::read(&body) {
            Some(it) if it.is_no_such_object() => Err(OpenFault::Gone),
            _ => Err(OpenFault::NoAnswer),
        }
    }

    async fn download(&self, url: &Url, token: &SecretString) -> Result<Download, OpenFault> {
        let trust = self.trust(url).ok_or(OpenFault::Forbidden)?;
        let headers = bearer::headers(token).map_err(|_| OpenFault::NoAnswer)?;
        let request = Request {
            method: Method::GET,
            url,
            trust,
            headers,
            body: None,
            timeout: DOWNLOAD_WITHIN,
        };
        self.http.download(request).await.map_err(|it| match it {
            HttpError::Forbidden => OpenFault::Forbidden,
            _ => OpenFault::NoAnswer,
        })
    }

    /// How far an address is trusted; `None` is none of Meta's, which never sees the token.
    fn trust(&self, url: &Url) -> Option<Trust> {
        if url.origin() == self.base.origin() {
            return Some(Trust::Operator);
        }
        let host = url.host_str()?.trim_end_matches('.').to_ascii_lowercase();
        let is_metas = url.scheme() == "https" && FILE_HOSTS.iter().any(|it| host.ends_with(it));
        is_metas.then_some(Trust::Vendor)
    }
}

/// The hash is in hexadecimal here, and in base64 in webhooks.
fn announced(body: &Value) -> Announced {
    let sha256 = text(&body["sha256"]).and_then(|it| hex::decode(it).ok());
    let number = |it: &Value| it.as_u64().or_else(|| it.as_str()?.parse().ok());
    Announced {
        sha256: sha256.map(|it| STANDARD.encode(it)).into_iter().collect(),
        n_bytes: number(&body["file_size"]),
    }
}

fn not_taken() -> Attempt {
    refused(Refusal::FailOver(Reason::Unsupported), "file_not_taken")
}

fn again() -> Attempt {
    refused(Refusal::Retry { not_before: None }, "not_uploaded")
}

/// What stands before and behind a file in a form.
struct Form {
    content_type: HeaderValue,
    head: String,
    tail: String,
}

impl Form {
    fn new(file: &Upload) -> Result<Self, getrandom::Error> {
        let boundary = boundary()?;
        let mime_type = plain(&file.mime_type);
        let field = |name: &str, value: &str| {
            format!(
                "--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n"
            )
        };
        let head = field("messaging_product", "whatsapp")
            + &field("type", mime_type)
            + &format!(
                "--{boundary}\r\nContent-Disposition: form-data; name=\"file\"; \
                 filename=\"file{}\"\r\nContent-Type: {mime_type}\r\n\r\n",
                extension(Some(mime_type)),
            );
        let content_type = format!("multipart/form-data; boundary={boundary}");
        let content_type = HeaderValue::from_str(&content_type);
        Ok(Self {
            content_type: content_type.expect("hexadecimal digits are fit for a header"),
            head,
            tail: format!("\r\n--{boundary}--\r\n"),
        })
    }

    /// The whole body, and how long it is.
    fn body(
        self,
        file: Upload,
    ) -> (u64, impl futures_util::Stream<Item = std::io::Result<Bytes>> + Send + 'static) {
        let n_around = (self.head.len() + self.tail.len()) as u64;
        let piece = |it: String| stream::once(async { Ok(Bytes::from(it)) });
        (file.n_bytes + n_around, piece(self.head).chain(file.pieces).chain(piece(self.tail)))
    }
}

/// A type that cannot end its line.
fn plain(mime_type: &str) -> &str {
    let is_plain = mime_type.bytes().all(|it| (b' '..=b'~').contains(&it) && it != b'"');
    if is_plain { mime_type } else { "application/octet-stream" }
}

/// The largest file of a type (B2); `None` is one that Meta does not take.
pub(super) fn bytes_max(mime_type: &str) -> Option<u64> {
    const MIB: u64 = 1024 * 1024;
    Some(match base_of(mime_type).as_str() {
        "image/jpeg" | "image/png" => 5 * MIB,
        "image/webp" => 500 * 1024,
        it if it.starts_with("video/") || it.starts_with("audio/") => 16 * MIB,
        it if it.starts_with("image/") => return None,
        _ => 100 * MIB,
    })
}

#[cfg(test)]
mod tests {
    use std::{net::IpAddr, sync::Arc};

    use super::*;
    use crate::{
        domain::clock::Clock,
        http::{Allow, Http},
    };

    struct Everywhere;

    impl Allow for Everywhere {
        fn allows(&self, _: &str, _: IpAddr) -> bool {
            true
        }
    }

    #[test]
    fn the_token_goes_to_metas_own_hosts_alone() {
        let http = Http::new(Arc::new(Everywhere)).unwrap();
        let meta = Meta::new(http, "https://graph.example/v24.0".parse().unwrap(), Clock::System);
        for (url, want) in [
            ("https://lookaside.fbsbx.com/whatsapp_business/attachments/?mid=1", true),
            ("https://LOOKASIDE.fbsbx.com./x", true),
            ("https://scontent.xx.fbcdn.net/x", true),
            ("https://graph.example/x", true),
            ("http://lookaside.fbsbx.com/x", false),
            ("http://graph.example/x", false),
            ("https://graph.example:8443/x", false),
            ("https://evilfbsbx.com/x", false),
            ("https://fbsbx.com.evil.example/x", false),
            ("https://x.fbsbx.com.evil.example/x", false),
            ("https://evil.example/.fbsbx.com", false),
            ("https://lookaside.fbsbx.com@evil.example/x", false),
            ("https://mmg.whatsapp.net/x", false),
            ("ftp://lookaside.fbsbx.com/x", false),
        ] {
            assert_eq!(meta.trust(&url.parse().unwrap()).is_some(), want, "{url}");
        }
    }
}
