//! The body of a send: a multipart form of the first generation, JSON of the second, with a file
//! that is read on its way (`docs/wire/meta-unipile-twilio.md` D1, D5).

use std::io;

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::{Bytes, BytesMut};
use futures_util::{
    StreamExt,
    stream::{self, BoxStream},
};
use serde_json::{Map, Value, json};

use super::Generation;
use crate::{
    http::HttpError,
    provider::{Upload, files::boundary},
};

/// A base64 character stands for 6 bits: 3 bytes are 4 of them.
const GROUP_BYTES: usize = 3;

/// A file that goes with a message.
pub(super) struct Attachment {
    /// Its name, which the customer sees of documents.
    pub(super) name: String,
    /// The file.
    pub(super) file: Upload,
}

/// What is sent.
pub(super) struct Order<'a> {
    /// The account: a guard, where the path does not have it.
    pub(super) account: &'a str,
    /// To whom, where there is no chat yet.
    pub(super) to: Option<&'a str>,
    /// Text or caption.
    pub(super) text: &'a str,
    /// Unipile's id of the message that it quotes.
    pub(super) quotes: Option<&'a str>,
}

/// A body and its type.
pub(super) struct Body {
    pub(super) content_type: String,
    pub(super) n_bytes: u64,
    pub(super) pieces: BoxStream<'static, io::Result<Bytes>>,
}

impl Order<'_> {
    pub(super) fn body(
        &self,
        generation: Generation,
        file: Option<Attachment>,
    ) -> Result<Body, HttpError> {
        match generation {
            // Nothing has left when there is no chance to be had.
            Generation::V1 => {
                let boundary = boundary().map_err(|_| HttpError::NoConnection)?;
                Ok(self.form(&boundary, file))
            }
            Generation::V2 => Ok(self.json(file)),
        }
    }

    fn form(&self, boundary: &str, file: Option<Attachment>) -> Body {
        let fields = [
            ("account_id", Some(self.account)),
            ("attendees_ids", self.to),
            ("quote_id", self.quotes),
            ("text", Some(self.text)),
        ];
        let mut head = String::new();
        for (name, value) in fields.into_iter().filter_map(|it| Some((it.0, it.1?))) {
            head += &part(boundary, &format!("name=\"{name}\""), None);
            head += value;
            head += "\r\n";
        }
        let tail = format!("--{boundary}--\r\n");
        let content_type = format!("multipart/form-data; boundary={boundary}");
        let Some(Attachment { name, file }) = file else {
            return whole(content_type, head + &tail);
        };
        let about = format!("name=\"attachments\"; filename=\"{}\"", plain_name(&name));
        head += &part(boundary, &about, Some(&file.mime_type));
        let tail = format!("\r\n{tail}");
        let n_bytes = (head.len() + tail.len()) as u64 + file.n_bytes;
        Body { content_type, n_bytes, pieces: between(head, file.pieces, tail) }
    }

    fn json(&self, file: Option<Attachment>) -> Body {
        let mut body = Map::new();
        body.insert("text".to_owned(), json!(self.text));
        if let Some(to) = self.to {
            body.insert("users_ids".to_owned(), json!([to]));
        }
        if let Some(quotes) = self.quotes {
            body.insert("quote_id".to_owned(), json!(quotes));
        }
        let content_type = "application/json".to_owned();
        let text = Value::Object(body).to_string();
        let Some(Attachment { name, file }) = file else { return whole(content_type, text) };
        let about = json!({ "content_type": file.mime_type, "filename": name }).to_string();
        // Both are objects that are not empty: more goes before the last brace.
        let (text, about) = (text.trim_end_matches('}'), about.trim_end_matches('}'));
        let head = format!("{text},\"attachments\":[{about},\"content\":\"");
        let tail = "\"}]}".to_owned();
        let group = GROUP_BYTES as u64;
        let n_coded = file.n_bytes.div_ceil(group) * (group + 1);
        let n_bytes = (head.len() + tail.len()) as u64 + n_coded;
        Body { content_type, n_bytes, pieces: between(head, in_base64(file.pieces), tail) }
    }
}

fn whole(content_type: String, text: String) -> Body {
    let n_bytes = text.len() as u64;
    let pieces = stream::once(async move { Ok(Bytes::from(text)) }).boxed();
    Body { content_type, n_bytes, pieces }
}

fn between(
    head: String,
    pieces: BoxStream<'static, io::Result<Bytes>>,
    tail: String,
) -> BoxStream<'static, io::Result<Bytes>> {
    let head = stream::once(async move { Ok(Bytes::from(head)) });
    let tail = stream::once(async move { Ok(Bytes::from(tail)) });
    head.chain(pieces).chain(tail).boxed()
}

fn part(boundary: &str, about: &str, mime_type: Option<&str>) -> String {
    let mut part = format!("--{boundary}\r\nContent-Disposition: form-data; {about}\r\n");
    if let Some(mime_type) = mime_type {
        let mime_type: String = mime_type.chars().filter(|it| !it.is_control()).collect();
        part += "Content-Type: ";
        part += &mime_type;
        part += "\r\n";
    }
    part + "\r\n"
}

/// A name that breaks out of no header (WHATWG's way of writing them in forms).
fn plain_name(name: &str) -> String {
    name.replace('"', "%22").replace('\r', "%0D").replace('\n', "%0A")
}

/// Pieces of any length in base64: what is left of a group waits for the next piece.
fn in_base64(
    pieces: BoxStream<'static, io::Result<Bytes>>,
) -> BoxStream<'static, io::Result<Bytes>> {
    let state = (pieces, BytesMut::new(), false);
    let coded = stream::unfold(state, |(mut pieces, mut left, is_over)| async move {
        if is_over {
            return None;
        }
        match pieces.next().await {
            Some(Ok(piece)) => {
                left.extend_from_slice(&piece);
                let n_whole = left.len() - left.len() % GROUP_BYTES;
                let text = STANDARD.encode(left.split_to(n_whole));
                Some((Ok(Bytes::from(text)), (pieces, left, false)))
            }
            Some(Err(error)) => Some((Err(error), (pieces, left, true))),
            None => {
                let text = STANDARD.encode(&left);
                Some((Ok(Bytes::from(text)), (pieces, left, true)))
            }
        }
    });
    coded.boxed()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn upload(pieces: &[Vec<u8>]) -> Upload {
        let n_bytes = pieces.iter().map(|it| it.len() as u64).sum();
        let pieces: Vec<_> = pieces.iter().map(|it| Ok(Bytes::from(it.clone()))).collect();
        Upload { mime_type: "image/png".to_owned(), n_bytes, pieces: stream::iter(pieces).boxed() }
    }

    async fn read(body: Body) -> Vec<u8> {
        let pieces: Vec<_> = body.pieces.collect().await;
        let bytes = pieces.into_iter().flat_map(|it| it.unwrap().to_vec()).collect::<Vec<_>>();
        assert_eq!(bytes.len() as u64, body.n_bytes, "the length that is announced");
        bytes
    }

    #[tokio::test]
    async fn a_form_has_its_parts_whatever_is_in_them() {
        let text = "a\r\n--waba--\r\nb";
        let order = Order { account: "acc", to: Some("1@lid"), text, quotes: None };
        let name = "a\"\r\nb.png".to_owned();
        let file = Attachment { name, file: upload(&[b"pn".to_vec(), b"g".to_vec()]) };
        let body = order.body(Generation::V1, Some(file)).unwrap();
        let boundary = body.content_type.strip_prefix("multipart/form-data; boundary=").unwrap();
        let boundary = format!("--{boundary}");
        let again = order.body(Generation::V1, None).unwrap().content_type;
        assert!(!again.ends_with(&boundary[2..]), "nobody can guess the next one");
        let body = String::from_utf8(read(body).await).unwrap();
        let parts: Vec<_> = body.split(&boundary).collect();
        assert_eq!(parts.len(), 6, "{body}");
        assert!(parts[3].ends_with(&format!("name=\"text\"\r\n\r\n{text}\r\n")), "{body}");
        let about = "filename=\"a%22%0D%0Ab.png\"\r\nContent-Type: image/png\r\n\r\npng\r\n";
        assert!(parts[4].ends_with(about), "{body}");
        assert_eq!(parts[5], "--\r\n");
    }

    proptest! {
        #[test]
        fn json_with_a_file_is_json_whatever_the_pieces(
            text in ".{0,40}", name in ".{0,20}",
            pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..20), 0..6),
        ) {
            let order = Order { account: "acc", to: None, text: &text, quotes: Some("q") };
            let file = Attachment { name: name.clone(), file: upload(&pieces) };
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let body = runtime.block_on(read(order.body(Generation::V2, Some(file)).unwrap()));
            let body: Value = serde_json::from_slice(&body).unwrap();
            prop_assert_eq!(&body["text"], &json!(text));
            let file = &body["attachments"][0];
            prop_assert_eq!(&file["filename"], &json!(name));
            prop_assert_eq!(STANDARD.decode(file["content"].as_str().unwrap()).unwrap(), pieces.concat());
        }
    }
}
