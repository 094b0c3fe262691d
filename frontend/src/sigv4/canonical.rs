//! The canonical form of a request: what both sides hash.

use std::borrow::Cow;
use std::fmt::Write;

use http::HeaderMap;
use sha2::{Digest, Sha256};

/// The last line of a canonical request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PayloadHash {
    /// SHA-256 of the body.
    Sha256([u8; 32]),
    /// The body is not covered by the signature.
    Unsigned,
}

impl PayloadHash {
    /// As it stands in the canonical request and in `x-amz-content-sha256` for an unsigned body.
    pub const UNSIGNED: &'static str = "UNSIGNED-PAYLOAD";

    /// The hash of `body`.
    #[must_use]
    pub fn of(body: &[u8]) -> Self {
        Self::Sha256(Sha256::digest(body).into())
    }

    fn write_to(&self, text: &mut String) {
        match self {
            Self::Sha256(hash) => push_hex(text, hash),
            Self::Unsigned => text.push_str(Self::UNSIGNED),
        }
    }
}

/// Builds the canonical request. `path` and `query` are as on the wire; `signed_headers` is the list as it stands in
/// the request, lower case and separated by semicolons. `skip` names a query parameter to leave out: the signature
/// itself, in the presigned form. `None` if a signed header is missing.
#[must_use]
pub fn canonical_request(
    method: &str,
    path: &str,
    query: &str,
    headers: &HeaderMap,
    signed_headers: &str,
    skip: Option<&str>,
    payload: &PayloadHash,
) -> Option<String> {
    let mut text = String::with_capacity(512 + path.len() + query.len());
    text.push_str(method);
    text.push('\n');
    push_path(&mut text, path);
    text.push('\n');
    push_query(&mut text, query, skip);
    text.push('\n');
    for name in signed_headers.split(';') {
        push_header(&mut text, headers, name)?;
    }
    text.push('\n');
    text.push_str(signed_headers);
    text.push('\n');
    payload.write_to(&mut text);
    Some(text)
}

/// Appends `bytes` in lower-case hexadecimal.
pub(super) fn push_hex(text: &mut String, bytes: &[u8]) {
    for byte in bytes {
        let _ = write!(text, "{byte:02x}");
    }
}

/// Appends `bytes` with everything but RFC 3986's unreserved characters percent-encoded.
pub(crate) fn push_encoded(text: &mut String, bytes: &[u8]) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for &byte in bytes {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~') {
            text.push(char::from(byte));
        } else {
            text.push('%');
            text.push(char::from(HEX[usize::from(byte >> 4)]));
            text.push(char::from(HEX[usize::from(byte & 15)]));
        }
    }
}

/// Undoes percent-encoding; a `%` that starts no escape stays as it is.
pub(crate) fn decoded(text: &str) -> Cow<'_, [u8]> {
    let bytes = text.as_bytes();
    if !bytes.contains(&b'%') {
        return Cow::Borrowed(bytes);
    }
    let digit = |byte: Option<&u8>| byte.and_then(|byte| char::from(*byte).to_digit(16));
    let mut plain = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        match (bytes[at], digit(bytes.get(at + 1)), digit(bytes.get(at + 2))) {
            (b'%', Some(high), Some(low)) => {
                plain.push((high * 16 + low) as u8);
                at += 3;
            }
            (byte, ..) => {
                plain.push(byte);
                at += 1;
            }
        }
    }
    Cow::Owned(plain)
}

/// The wire path is encoded once already; every service but S3 signs it normalised and encoded once more.
fn push_path(text: &mut String, path: &str) {
    let mut segments: Vec<&str> = Vec::with_capacity(8);
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => {
                segments.pop();
            }
            plain => segments.push(plain),
        }
    }
    text.push('/');
    for (index, segment) in segments.iter().enumerate() {
        if index > 0 {
            text.push('/');
        }
        push_encoded(text, segment.as_bytes());
    }
    let names_a_folder = path.ends_with('/') || path.ends_with("/.") || path.ends_with("/..");
    if names_a_folder && !segments.is_empty() {
        text.push('/');
    }
}

fn push_query(text: &mut String, query: &str, skip: Option<&str>) {
    if query.is_empty() {
        return;
    }
    let encoded = |part: &str| {
        let mut text = String::with_capacity(part.len());
        push_encoded(&mut text, &decoded(part));
        text
    };
    let mut pairs: Vec<(String, String)> = query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .filter(|(name, _)| skip != Some(*name))
        .map(|(name, value)| (encoded(name), encoded(value)))
        .collect();
    pairs.sort_unstable();
    for (index, (name, value)) in pairs.iter().enumerate() {
        if index > 0 {
            text.push('&');
        }
        text.push_str(name);
        text.push('=');
        text.push_str(value);
    }
}

fn push_header(text: &mut String, headers: &HeaderMap, name: &str) -> Option<()> {
    let mut values = headers.get_all(name).iter();
    let first = values.next()?;
    text.push_str(name);
    text.push(':');
    push_trimmed(text, first.as_bytes());
    for value in values {
        text.push(',');
        push_trimmed(text, value.as_bytes());
    }
    text.push('\n');
    Some(())
}

/// Leading and trailing blanks go, inner runs of blanks become one.
fn push_trimmed(text: &mut String, value: &[u8]) {
    let value = String::from_utf8_lossy(value);
    for (index, word) in value.split([' ', '\t', '\n', '\r']).filter(|word| !word.is_empty()).enumerate() {
        if index > 0 {
            text.push(' ');
        }
        text.push_str(word);
    }
}
