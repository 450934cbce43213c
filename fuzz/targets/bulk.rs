//! The body of a message to many, through the whole service.

use std::sync::OnceLock;

use axum::{
    body::Body,
    http::{Method, Request, StatusCode},
};
use serde_json::Value;

use super::request::{ADMIN_KEY, Served, answer};

const JOBS: &str = "/api/v1/vendors/v/messages/bulk";

/// The content type on the first line, then the job and its recipients.
pub fn bulk(data: &[u8]) {
    static SERVED: OnceLock<Served> = OnceLock::new();
    let at = data.iter().position(|it| *it == b'\n').unwrap_or(data.len());
    let (kind, body) = (&data[..at], data.get(at + 1..).unwrap_or_default());
    let Ok(kind) = str::from_utf8(kind) else { return };
    let served = SERVED.get_or_init(Served::start);
    let ask = |path: &str, body: &[u8]| {
        let request = Request::builder().method(Method::POST).uri(path);
        let request = request.header("authorization", format!("Bearer {ADMIN_KEY}"));
        let request = request.header("content-type", kind);
        request.body(Body::from(body.to_vec())).ok().map(|it| answer(served, it))
    };
    let Some((status, text)) = ask(JOBS, body) else { return };
    match status {
        StatusCode::ACCEPTED => {
            let taken: Value = serde_json::from_str(&text).expect("JSON");
            let n_lines = body.split(|it| *it == b'\n').count() - 1;
            let n = ["recipients", "duplicates"].map(|it| taken[it].as_u64().expect("a count"));
            assert!(n[0] > 0 && n[0] + n[1] <= n_lines as u64, "{text}");
            // There is room for a few jobs only.
            let id = taken["jobId"].as_str().expect("an id");
            let ended = ask(&format!("{JOBS}/{id}/cancel"), b"").expect("a request");
            assert_eq!(ended.0, StatusCode::OK, "{}", ended.1);
        }
        StatusCode::UNPROCESSABLE_ENTITY => {
            let told: Value = serde_json::from_str(&text).expect("JSON");
            let told = told["error"].as_str().expect("words");
            let names = ["line ", "Content-Type", "recipient"];
            assert!(names.iter().any(|it| told.contains(it)), "where it is wrong is told: {told}");
        }
        status => assert!(matches!(status.as_u16(), 400 | 404 | 413), "{status}: {text}"),
    }
}
