//! Just enough of `multipart/form-data` to read what a caller uploads.

use bytes::Bytes;

/// One field of a form.
pub(super) struct Part {
    pub(super) name: String,
    pub(super) file_name: Option<String>,
    pub(super) content_type: Option<String>,
    pub(super) bytes: Bytes,
}

/// The parts of a form; `None` is something else.
pub(super) fn parts(content_type: &str, body: &Bytes) -> Option<Vec<Part>> {
    let (kind, parameters) = content_type.split_once(';')?;
    if kind.trim() != "multipart/form-data" {
        return None;
    }
    let boundary = parameters.trim().strip_prefix("boundary=")?.trim_matches('"');
    let line = format!("\r\n--{boundary}");
    // The first has no line break of its own before it.
    let mut at = find(body, &line.as_bytes()[2..], 0)? + line.len() - 2;
    let mut parts = Vec::new();
    loop {
        match body.get(at..at + 2)? {
            b"--" => return Some(parts),
            b"\r\n" => {}
            _ => return None,
        }
        let head_end = find(body, b"\r\n\r\n", at)?;
        let end = find(body, line.as_bytes(), head_end + 2)?;
        let head = std::str::from_utf8(&body[at..head_end]).ok()?;
        parts.push(part(head, body.slice(head_end + 4..end.max(head_end + 4)))?);
        at = end + line.len();
    }
}

fn part(head: &str, bytes: Bytes) -> Option<Part> {
    let header = |name: &str| {
        let mut lines = head.split("\r\n").filter_map(|it| it.split_once(':'));
        lines.find(|it| it.0.eq_ignore_ascii_case(name)).map(|it| it.1.trim())
    };
    let disposition = header("content-disposition")?;
    let parameter = |name: &str| {
        let mut all = disposition.split(';').filter_map(|it| it.trim().split_once('='));
        all.find(|it| it.0 == name).map(|it| it.1.trim_matches('"').to_owned())
    };
    Some(Part {
        name: parameter("name")?,
        file_name: parameter("filename"),
        content_type: header("content-type").map(str::to_owned),
        bytes,
    })
}

fn find(body: &[u8], what: &[u8], from: usize) -> Option<usize> {
    body.get(from..)?.windows(what.len()).position(|it| it == what).map(|it| it + from)
}
