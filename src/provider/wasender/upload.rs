//! `POST /upload`: a file that is to be sent goes to Wasender first (`docs/wire/wasender.md` §5.2).

use std::time::Duration;

use reqwest::{
    Method,
    header::{CONTENT_TYPE, HeaderValue},
};
use serde_json::Value;
use url::Url;

use super::Wasender;
use crate::{
    domain::{
        delivery::{Outcome, Reason, Refusal},
        media::base_of,
        waba::WabaInstance,
    },
    http::{Reply, Request, Trust},
    provider::{Attempt, Upload, bearer},
};

/// For one file.
const UPLOAD_WITHIN: Duration = Duration::from_mins(5);
/// What a raw body of a type is told as that Wasender would take for one of its own forms.
const BYTES: &str = "application/octet-stream";

impl Wasender {
    pub(super) async fn upload_file(
        &self,
        instance: &WabaInstance,
        file: Upload,
    ) -> Result<String, Attempt> {
        let retry = Outcome::Refused(Refusal::Retry { not_before: None });
        let Some(key) = &instance.wasender.session_key else {
            let refusal = Refusal::FailOver(Reason::NoSessionKey);
            return Err(Attempt::of(Outcome::Refused(refusal), "no_session_key"));
        };
        let no_connection = |_| Attempt::of(retry, "no_connection");
        let mut headers = bearer::headers(key).map_err(no_connection)?;
        let mime_type = match base_of(&file.mime_type).as_str() {
            "application/json" => BYTES,
            _ => &file.mime_type,
        };
        let mime_type = HeaderValue::from_str(mime_type);
        headers.insert(CONTENT_TYPE, mime_type.unwrap_or(HeaderValue::from_static(BYTES)));
        let url = self.url(&["upload"]);
        let request = Request {
            method: Method::POST,
            url: &url,
            trust: Trust::Operator,
            headers,
            body: None,
            timeout: UPLOAD_WITHIN,
        };
        let reply = self.http.send_stream(request, file.n_bytes, file.pieces).await;
        let reply = reply.map_err(|_| Attempt::of(retry, "not_uploaded"))?;
        if let Some(place) = place(&reply) {
            return Ok(place);
        }
        let refused = self.read_answer(&reply);
        Err(match refused.outcome {
            Outcome::Refused(_) => refused,
            // Nothing has been sent, whatever became of the file.
            Outcome::Sent | Outcome::Unknown => Attempt::of(retry, "not_uploaded"),
        })
    }
}

/// The address of the file, at the top of the answer.
fn place(reply: &Reply) -> Option<String> {
    let body: Value = serde_json::from_slice(&reply.body).ok()?;
    let told = [&body["publicUrl"], &body["data"]["publicUrl"]].into_iter().find_map(Value::as_str);
    let is_url = |it: &&str| Url::parse(it).is_ok_and(|it| matches!(it.scheme(), "http" | "https"));
    told.filter(is_url).filter(|_| reply.status.is_success()).map(str::to_owned)
}
