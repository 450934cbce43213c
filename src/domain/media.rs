//! Files of messages: their ids, how large each kind may be, and which types it has
//! (`docs/wire/wasender.md` §2.1).

use std::{fmt, sync::Arc};

use super::{
    id::{BadId, EntryId},
    message::MediaKind,
};

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;

/// Bytes at the start of a file that tell its type.
pub const HEAD_BYTES: usize = 16;

/// A file: `msg_` and 16 hexadecimal digits (the one that came with this message), or `med_` and
/// 32 (one that a vendor uploaded).
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MediaId(Arc<str>);

impl MediaId {
    /// # Errors
    ///
    /// [`BadId`] when it is not of one of the two forms. An id can be a file's name.
    pub fn parse(text: &str) -> Result<Self, BadId> {
        let digits = match (text.strip_prefix("msg_"), text.strip_prefix("med_")) {
            (Some(digits), _) if digits.len() == 16 => digits,
            (_, Some(digits)) if digits.len() == 32 => digits,
            _ => "-",
        };
        if digits.bytes().all(|it| matches!(it, b'0'..=b'9' | b'a'..=b'f')) {
            Ok(Self(text.into()))
        } else {
            Err(BadId::MEDIA)
        }
    }

    /// The file that came with this message.
    #[must_use]
    pub fn of_message(id: EntryId) -> Self {
        Self(id.to_string().into())
    }

    /// An uploaded one; `random` makes it unguessable.
    #[must_use]
    pub fn of_upload(random: u128) -> Self {
        Self(format!("med_{random:032x}").into())
    }

    /// The message it came with.
    #[must_use]
    pub fn message(&self) -> Option<EntryId> {
        self.0.parse().ok()
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for MediaId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for MediaId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl MediaKind {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Image, Self::Video, Self::Audio, Self::Document, Self::Sticker];

    /// The word callers know it by.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Image => "image",
            Self::Video => "video",
            Self::Audio => "audio",
            Self::Document => "document",
            Self::Sticker => "sticker",
        }
    }

    /// The kind of this word.
    #[must_use]
    pub fn of_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.as_str() == word)
    }

    /// The kind that a file of this type is sent as, when nobody says otherwise.
    #[must_use]
    pub fn of_type(mime_type: &str) -> Self {
        let kinds = [Self::Image, Self::Video, Self::Audio];
        kinds.into_iter().find(|it| it.takes(mime_type)).unwrap_or(Self::Document)
    }

    /// Whether it is sent with files of this type.
    #[must_use]
    pub fn takes(self, mime_type: &str) -> bool {
        let base = base_of(mime_type);
        self.types().is_none_or(|it| it.contains(&base.as_str()))
    }

    /// The types it is sent with; `None` is any.
    #[must_use]
    pub fn types(self) -> Option<&'static [&'static str]> {
        match self {
            Self::Image => Some(&["image/jpeg", "image/png"]),
            Self::Video => Some(&["video/mp4", "video/3gpp"]),
            Self::Audio => Some(&[
                "audio/aac",
                "audio/mpeg",
                "audio/mp3",
                "audio/mp4",
                "audio/ogg",
                "audio/amr",
            ]),
            Self::Document => None,
            Self::Sticker => Some(&["image/webp"]),
        }
    }

    /// The largest that is sent, in bytes: what every source allows.
    #[must_use]
    pub fn sent_bytes_max(self) -> u64 {
        match self {
            Self::Image => 5 * MIB,
            Self::Video => 50 * MIB,
            Self::Audio => 16 * MIB,
            Self::Document => 100 * MIB,
            Self::Sticker => 100 * KIB,
        }
    }

    /// The largest that is fetched, in bytes: what any source allows.
    #[must_use]
    pub fn received_bytes_max(self) -> u64 {
        match self {
            Self::Image | Self::Audio => 16 * MIB,
            Self::Video => 50 * MIB,
            Self::Document => 100 * MIB,
            Self::Sticker => 5 * MIB,
        }
    }
}

/// A limit as callers read it.
#[must_use]
pub fn size_word(n_bytes: u64) -> String {
    if n_bytes.is_multiple_of(MIB) {
        format!("{} MB", n_bytes / MIB)
    } else {
        format!("{} KB", n_bytes / KIB)
    }
}

/// Whether a file of this type may begin so. Types that nobody here knows may begin with anything.
#[must_use]
pub fn begins_like(mime_type: &str, head: &[u8]) -> bool {
    let is_mp4 = || head.get(4..8) == Some(b"ftyp");
    // 11 bits of sync; the next are the version, and the layer, which is 0 for AAC alone.
    let sync = |layer: fn(u8) -> bool| matches!(head, [0xff, it, ..] if it & 0xe0 == 0xe0 && layer(*it & 0x06));
    match base_of(mime_type).as_str() {
        "image/jpeg" => head.starts_with(&[0xff, 0xd8, 0xff]),
        "image/png" => head.starts_with(b"\x89PNG\r\n\x1a\n"),
        "image/gif" => head.starts_with(b"GIF8"),
        "image/webp" => head.starts_with(b"RIFF") && head.get(8..12) == Some(b"WEBP"),
        "video/mp4" | "video/3gpp" | "audio/mp4" => is_mp4(),
        "audio/aac" => sync(|it| it == 0) || head.starts_with(b"ADIF"),
        "audio/mpeg" | "audio/mp3" => head.starts_with(b"ID3") || sync(|it| it != 0),
        "audio/ogg" => head.starts_with(b"OggS"),
        "audio/amr" => head.starts_with(b"#!AMR"),
        "application/pdf" => head.starts_with(b"%PDF-"),
        _ => true,
    }
}

/// The type a file is served as. What a customer's phone says is only repeated when it is one of
/// these; a browser runs none of them.
#[must_use]
pub fn served_type(mime_type: Option<&str>) -> &'static str {
    let base = mime_type.map(base_of).unwrap_or_default();
    let known = SERVED.iter().find(|it| it.0 == base);
    known.map_or("application/octet-stream", |it| it.0)
}

/// The end of a file's name by its type, with the dot; empty for what is not known.
#[must_use]
pub fn extension(mime_type: Option<&str>) -> &'static str {
    let base = mime_type.map(base_of).unwrap_or_default();
    SERVED.iter().find(|it| it.0 == base).map_or("", |it| it.1)
}

/// A type without its parameters, in lower case.
#[must_use]
pub fn base_of(mime_type: &str) -> String {
    mime_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

const SERVED: &[(&str, &str)] = &[
    ("image/jpeg", ".jpg"),
    ("image/png", ".png"),
    ("image/gif", ".gif"),
    ("image/webp", ".webp"),
    ("video/mp4", ".mp4"),
    ("video/3gpp", ".3gp"),
    ("audio/aac", ".aac"),
    ("audio/mpeg", ".mp3"),
    ("audio/mp3", ".mp3"),
    ("audio/mp4", ".m4a"),
    ("audio/ogg", ".ogg"),
    ("audio/amr", ".amr"),
    ("application/pdf", ".pdf"),
    ("application/zip", ".zip"),
    ("application/msword", ".doc"),
    ("application/vnd.ms-excel", ".xls"),
    ("application/vnd.ms-powerpoint", ".ppt"),
    ("application/vnd.openxmlformats-officedocument.wordprocessingml.document", ".docx"),
    ("application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", ".xlsx"),
    ("application/vnd.openxmlformats-officedocument.presentationml.presentation", ".pptx"),
    ("text/plain", ".txt"),
    ("text/csv", ".csv"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_of_one_of_two_forms_and_no_path() {
        let message = EntryId(0x0123_4567_89ab_cdef);
        assert_eq!(MediaId::of_message(message).message(), Some(message));
        let upload = MediaId::of_upload(7);
        assert_eq!(MediaId::parse(upload.as_str()), Ok(upload.clone()));
        assert_eq!(upload.message(), None);
        for bad in [
            "",
            "msg_",
            "msg_0123456789abcde",
            "msg_0123456789ABCDEF",
            "msg_+123456789abcdef",
            "med_0123456789abcdef",
            "msg_../../../../etcx",
            "out_0123456789abcdef",
        ] {
            assert!(MediaId::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_kind_follows_from_the_type() {
        #[track_caller]
        fn check(mime_type: &str, want: MediaKind) {
            assert_eq!(MediaKind::of_type(mime_type), want, "{mime_type}");
        }
        check("image/jpeg", MediaKind::Image);
        check("Image/PNG; q=1", MediaKind::Image);
        check("video/3gpp", MediaKind::Video);
        check("audio/ogg; codecs=opus", MediaKind::Audio);
        check("image/webp", MediaKind::Document);
        check("application/pdf", MediaKind::Document);
        assert!(MediaKind::Sticker.takes("image/webp") && !MediaKind::Sticker.takes("image/png"));
        assert!(MediaKind::ALL.iter().all(|it| it.sent_bytes_max() <= it.received_bytes_max()));
    }

    #[test]
    fn the_first_bytes_tell_a_lie() {
        let files: [(&str, &[u8]); 9] = [
            ("image/jpeg", b"\xff\xd8\xff\xe0\0\x10JFIF"),
            ("image/png", b"\x89PNG\r\n\x1a\n\0\0"),
            ("image/webp", b"RIFF\x10\0\0\0WEBPVP8 "),
            ("video/mp4", b"\0\0\0\x18ftypmp42"),
            ("audio/aac", b"\xff\xf1\x50\x80"),
            ("audio/mpeg", b"\xff\xfb\x90\x64"),
            ("audio/ogg", b"OggS\0\x02"),
            ("audio/amr", b"#!AMR\n"),
            ("application/pdf", b"%PDF-1.7"),
        ];
        for (one, _) in files {
            for (other, head) in files {
                assert_eq!(begins_like(one, head), one == other, "{one} begins like {other}");
            }
            assert!(!begins_like(one, b"") && !begins_like(one, b"<html>"));
        }
        assert!(begins_like("application/x-own", b"anything"));
    }

    #[test]
    fn what_a_browser_could_run_is_served_as_bytes() {
        for (given, served) in [
            (Some("image/jpeg"), "image/jpeg"),
            (Some("audio/ogg; codecs=opus"), "audio/ogg"),
            (Some("text/html"), "application/octet-stream"),
            (Some("image/svg+xml"), "application/octet-stream"),
            (Some("application/pdf\r\nx: y"), "application/octet-stream"),
            (None, "application/octet-stream"),
        ] {
            assert_eq!(served_type(given), served);
        }
        assert_eq!((size_word(100 * KIB), size_word(5 * MIB)), ("100 KB".into(), "5 MB".into()));
    }
}
