//! JSON of providers, read as far as it can be.

use std::borrow::Cow;

use serde_json::Value;

use super::Unreadable;

/// A body as text. Reading it as such with replacements takes several times as long, and is needed
/// for next to none.
pub(super) fn text(body: &[u8]) -> Cow<'_, str> {
    str::from_utf8(body).map_or_else(|_| String::from_utf8_lossy(body), Cow::Borrowed)
}

/// A body as a tree.
pub(super) fn tree(body: &[u8]) -> Result<Value, Unreadable> {
    let text = text(body);
    let read = serde_json::from_str(&text);
    let read = read.or_else(|first| serde_json::from_str(&mended(&text)).map_err(|_| first));
    read.map_err(|it: serde_json::Error| Unreadable { line: it.line(), column: it.column() })
}

/// JSON whose escapes are all characters. JavaScript leaves half of a pair where it cut a text
/// inside an emoji.
pub(super) fn mended(json: &str) -> String {
    let mut mended = String::with_capacity(json.len());
    let mut rest = json;
    while let Some((before, escape)) = rest.split_once('\\') {
        mended.push_str(before);
        let low = || is_high_half(escape.get(5..)?.strip_prefix('\\')?);
        let n = match is_high_half(escape) {
            Some(true) if low() == Some(false) => 11,
            Some(_) => {
                mended.push_str("\\ufffd");
                rest = &escape[5..];
                continue;
            }
            None => escape.chars().next().map_or(0, char::len_utf8),
        };
        mended.push('\\');
        mended.push_str(&escape[..n]);
        rest = &escape[n..];
    }
    mended + rest
}

/// Of two escapes that make one character, whether this is the first; `None` for any other escape.
fn is_high_half(escape: &str) -> Option<bool> {
    let code = u16::from_str_radix(escape.strip_prefix('u')?.get(..4)?, 16).ok()?;
    matches!(code, 0xd800..0xe000).then_some(code < 0xdc00)
}
