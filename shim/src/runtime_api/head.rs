//! The head of a request, as far as it matters here.

use bytes::{Buf, BytesMut};

/// Largest head of a request. AWS's Python client sends up to 1 MB of tracing data in one header.
const HEAD_MAX_BYTES: usize = 1024 * 1024 + 64 * 1024;
/// Most header fields of a request.
const FIELDS_MAX: usize = 100;

/// A request line and the header fields that mean something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) method: Method,
    /// The target as it stands there.
    pub(super) path: String,
    pub(super) framing: Framing,
    /// Whether another request may follow.
    pub(super) keeps_alive: bool,
    /// Whether the body comes only after a word of encouragement.
    pub(super) expects_continue: bool,
    pub(super) content_type: Option<String>,
    pub(super) error_type: Option<String>,
    pub(super) response_mode: Option<String>,
}

/// How a request is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Method {
    Get,
    Post,
    Other,
}

/// Where a body ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    /// After so many bytes.
    Length(u64),
    /// With its last chunk.
    Chunked,
}

/// What is no request. The connection it came on is of no more use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Malformed {
    /// It is not HTTP/1.
    Syntax,
    /// Its head is above a bound.
    TooLarge,
}

impl Head {
    /// Takes a whole head from the front of `input`, or `None` if more bytes are needed.
    pub(super) fn take(input: &mut BytesMut) -> Result<Option<Self>, Malformed> {
        let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
        let mut request = httparse::Request::new(&mut fields);
        let (head, length) = match request.parse(input) {
            Ok(httparse::Status::Complete(length)) => (Self::read(&request)?, length),
            Ok(httparse::Status::Partial) if input.len() <= HEAD_MAX_BYTES => return Ok(None),
            Ok(httparse::Status::Partial) | Err(httparse::Error::TooManyHeaders) => return Err(Malformed::TooLarge),
            Err(_) => return Err(Malformed::Syntax),
        };
        input.advance(length);
        Ok(Some(head))
    }

    fn read(request: &httparse::Request<'_, '_>) -> Result<Self, Malformed> {
        let mut head = Self {
            method: match request.method {
                Some("GET") => Method::Get,
                Some("POST") => Method::Post,
                _ => Method::Other,
            },
            path: request.path.unwrap_or_default().to_owned(),
            framing: Framing::Length(0),
            keeps_alive: request.version == Some(1),
            expects_continue: false,
            content_type: None,
            error_type: None,
            response_mode: None,
        };
        let mut length = None;
        for field in request.headers.iter() {
            let is = |name: &str| field.name.eq_ignore_ascii_case(name);
            if is("content-length") {
                let declared = digits(field.value).ok_or(Malformed::Syntax)?;
                if length.replace(declared).is_some_and(|before| before != declared) {
                    return Err(Malformed::Syntax);
                }
            } else if is("transfer-encoding") {
                if head.framing == Framing::Chunked || !field.value.eq_ignore_ascii_case(b"chunked") {
                    return Err(Malformed::Syntax);
                }
                head.framing = Framing::Chunked;
            } else if is("connection") {
                head.keeps_alive = keeps_alive(field.value).unwrap_or(head.keeps_alive);
            } else if is("expect") {
                head.expects_continue = field.value.eq_ignore_ascii_case(b"100-continue");
            } else if is("content-type") {
                head.content_type = text(field.value);
            } else if is(super::ERROR_TYPE_HEADER) {
                head.error_type = text(field.value);
            } else if is(super::streaming::MODE_HEADER) {
                head.response_mode = text(field.value);
            }
        }
        // In chunks, whatever a length says (RFC 9112, 6.3).
        if head.framing != Framing::Chunked {
            head.framing = Framing::Length(length.unwrap_or(0));
        }
        Ok(head)
    }
}

fn digits(value: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(value).ok()?;
    // `parse` would take a plus sign.
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

fn keeps_alive(connection: &[u8]) -> Option<bool> {
    let mut options = connection.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
    options.find_map(|option| match option {
        close if close.eq_ignore_ascii_case(b"close") => Some(false),
        keep if keep.eq_ignore_ascii_case(b"keep-alive") => Some(true),
        _ => None,
    })
}

fn text(value: &[u8]) -> Option<String> {
    std::str::from_utf8(value).ok().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(text: &str) -> Result<Option<Head>, Malformed> {
        Head::take(&mut BytesMut::from(text))
    }

    #[test]
    fn a_head_is_taken_whole_and_what_follows_is_left() {
        let text = "POST /a HTTP/1.1\r\nHost: x\r\ncontent-LENGTH: 2\r\nExpect: 100-continue\r\n\r\nhi";
        for cut in 0..text.len() - 2 {
            assert_eq!(take(&text[..cut]), Ok(None), "{cut}");
        }
        let mut input = BytesMut::from(text);
        let head = Head::take(&mut input).unwrap().unwrap();
        assert_eq!((head.method, head.path.as_str(), head.framing), (Method::Post, "/a", Framing::Length(2)));
        assert!(head.keeps_alive && head.expects_continue);
        assert_eq!(&input[..], b"hi");
    }

    #[test]
    fn the_end_of_a_body_is_known_or_the_request_refused() {
        let framing =
            |fields: &str| take(&format!("POST / HTTP/1.1\r\n{fields}\r\n")).map(|head| head.unwrap().framing);
        assert_eq!(framing(""), Ok(Framing::Length(0)));
        assert_eq!(framing("Content-Length: 7\r\nContent-Length: 7\r\n"), Ok(Framing::Length(7)));
        assert_eq!(framing("Transfer-Encoding: Chunked\r\nContent-Length: 7\r\n"), Ok(Framing::Chunked));
        for refused in [
            "Content-Length: 7\r\nContent-Length: 8\r\n",
            "Content-Length: +7\r\n",
            "Content-Length: \r\n",
            "Content-Length: 99999999999999999999\r\n",
            "Transfer-Encoding: gzip, chunked\r\n",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        ] {
            assert_eq!(framing(refused), Err(Malformed::Syntax), "{refused}");
        }
    }

    #[test]
    fn connections_are_kept_as_each_version_has_it() {
        let keeps = |text: &str| take(text).unwrap().unwrap().keeps_alive;
        assert!(keeps("GET / HTTP/1.1\r\n\r\n") && keeps("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n"));
        assert!(!keeps("GET / HTTP/1.0\r\n\r\n") && !keeps("GET / HTTP/1.1\r\nConnection: x, close\r\n\r\n"));
    }

    #[test]
    fn a_head_is_bounded() {
        let many = format!("GET / HTTP/1.1\r\n{}\r\n", "X: y\r\n".repeat(FIELDS_MAX + 1));
        assert_eq!(take(&many), Err(Malformed::TooLarge));
        let long = format!("GET / HTTP/1.1\r\nX: {}", "x".repeat(HEAD_MAX_BYTES));
        assert_eq!(take(&long), Err(Malformed::TooLarge));
        assert_eq!(take("\0\0\r\n\r\n"), Err(Malformed::Syntax));
    }
}
