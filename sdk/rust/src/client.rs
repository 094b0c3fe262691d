//! The operations of the Runtime API.

use std::fmt;
use std::io;

use crate::context::Context;
use crate::http::{Answer, Connection};
use crate::stream::ResponseStream;

const API: &str = "/2018-06-01/runtime";
const NEXT: &str = "/2018-06-01/runtime/invocation/next";
pub(crate) const ERROR_TYPE: &str = "Lambda-Runtime-Function-Error-Type";
const OK: u16 = 200;
const ACCEPTED: u16 = 202;
const TOO_LARGE: u16 = 413;

/// The Runtime API did not do what it should.
#[derive(Debug)]
#[non_exhaustive]
pub enum ClientError {
    /// The connection failed, or what came over it is not HTTP.
    Io {
        /// The operation, as method and path.
        operation: String,
        /// The operating system's word.
        source: io::Error,
    },
    /// It refused.
    Refused {
        /// The operation, as method and path.
        operation: String,
        /// The status code.
        status: u16,
        /// What it said.
        message: String,
    },
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { operation, source } => write!(f, "Runtime API, {operation}: {source}"),
            Self::Refused { operation, status, message } => {
                write!(f, "Runtime API, {operation}: refused with {status}: {message}")
            }
        }
    }
}

impl std::error::Error for ClientError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { source, .. } => Some(source),
            Self::Refused { .. } => None,
        }
    }
}

/// A client of the Runtime API over one kept connection. [`crate::run`] is the simple way to use it.
#[derive(Debug)]
pub struct Client {
    connection: Connection,
}

impl Client {
    /// For the Runtime API at `host:port`. Connects when first used.
    #[must_use]
    pub fn new(address: String) -> Self {
        Self { connection: Connection::new(address) }
    }

    /// Waits for the next invocation: the event and its circumstances.
    pub fn next_invocation(&mut self) -> Result<(Vec<u8>, Context), ClientError> {
        invocation(self.connection.request("GET", NEXT, &[], b""))
    }

    /// Posts the answer to an invocation as [`Self::respond`] does, and waits for the next one. Both are asked for in one
    /// piece, so that between two invocations this process is woken once and not twice.
    pub fn respond_and_next(&mut self, request_id: &str, answer: &[u8]) -> Result<(Vec<u8>, Context), ClientError> {
        let path = format!("{API}/invocation/{request_id}/response");
        let taken = self.connection.post_then_get(&path, answer, NEXT);
        accepted(&path, &taken.map_err(|source| io_error("POST", &path, source))?)?;
        invocation(self.connection.second_answer(NEXT))
    }

    /// Says that the init is over and the sandbox may be snapshotted; returns when it was restored. Only for functions whose
    /// versions start from a snapshot, after the init and before the first [`Self::next_invocation`].
    pub fn restore_next(&mut self) -> Result<(), ClientError> {
        let path = format!("{API}/restore/next");
        let answer =
            self.connection.request("GET", &path, &[], b"").map_err(|source| io_error("GET", &path, source))?;
        if answer.status == OK { Ok(()) } else { Err(refused("GET", &path, answer.status, &answer.body)) }
    }

    /// Posts the error of what was to be done after the restore. End the process then.
    pub fn fail_restore(&mut self, error_type: &str, message: &str) -> Result<(), ClientError> {
        self.post_error(&format!("{API}/restore/error"), error_type, message)
    }

    /// Posts the answer to an invocation. One that is too large has been answered by the platform: no error here.
    pub fn respond(&mut self, request_id: &str, answer: &[u8]) -> Result<(), ClientError> {
        self.post(&format!("{API}/invocation/{request_id}/response"), &[], answer)
    }

    /// Begins an answer that goes out as it is written.
    pub fn stream(&mut self, request_id: &str) -> ResponseStream<'_> {
        ResponseStream::new(&mut self.connection, format!("{API}/invocation/{request_id}/response"))
    }

    /// Posts the error of an invocation.
    pub fn fail(&mut self, request_id: &str, error_type: &str, message: &str) -> Result<(), ClientError> {
        self.post_error(&format!("{API}/invocation/{request_id}/error"), error_type, message)
    }

    /// Posts the error of an init that failed. Call it before the first [`Self::next_invocation`], then end the process.
    pub fn fail_init(&mut self, error_type: &str, message: &str) -> Result<(), ClientError> {
        self.post_error(&format!("{API}/init/error"), error_type, message)
    }

    fn post_error(&mut self, path: &str, error_type: &str, message: &str) -> Result<(), ClientError> {
        let document = error_document(error_type, message);
        self.post(path, &[(ERROR_TYPE, &header_text(error_type))], document.as_bytes())
    }

    fn post(&mut self, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Result<(), ClientError> {
        let answer =
            self.connection.request("POST", path, headers, body).map_err(|source| io_error("POST", path, source))?;
        accepted(path, &answer)
    }
}

fn invocation(answer: io::Result<Answer>) -> Result<(Vec<u8>, Context), ClientError> {
    let answer = answer.map_err(|source| io_error("GET", NEXT, source))?;
    match Context::from_headers(&answer.headers) {
        Some(context) if answer.status == OK => Ok((answer.body, context)),
        _ => Err(refused("GET", NEXT, answer.status, &answer.body)),
    }
}

/// What is too large was answered by the platform.
pub(crate) fn accepted(path: &str, answer: &Answer) -> Result<(), ClientError> {
    match answer.status {
        ACCEPTED | TOO_LARGE => Ok(()),
        status => Err(refused("POST", path, status, &answer.body)),
    }
}

pub(crate) fn io_error(method: &str, path: &str, source: io::Error) -> ClientError {
    ClientError::Io { operation: format!("{method} {path}"), source }
}

fn refused(method: &str, path: &str, status: u16, body: &[u8]) -> ClientError {
    let message = String::from_utf8_lossy(body).into_owned();
    ClientError::Refused { operation: format!("{method} {path}"), status, message }
}

pub(crate) fn header_text(text: &str) -> String {
    text.chars().filter(char::is_ascii_graphic).collect()
}

pub(crate) fn error_document(error_type: &str, message: &str) -> String {
    format!("{{\"errorType\":{},\"errorMessage\":{}}}", json_string(error_type), json_string(message))
}

/// `text` as a JSON string (RFC 8259, section 7).
fn json_string(text: &str) -> String {
    let mut json = String::with_capacity(text.len() + 2);
    json.push('"');
    for c in text.chars() {
        match c {
            '"' => json.push_str("\\\""),
            '\\' => json.push_str("\\\\"),
            '\n' => json.push_str("\\n"),
            c if c < ' ' => json.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => json.push(c),
        }
    }
    json.push('"');
    json
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_documents_are_json() {
        let document = error_document("E", "a \"quote\", a \\, a\nbreak, a \u{1} and ü");
        let expected = r#"{"errorType":"E","errorMessage":"a \"quote\", a \\, a\nbreak, a \u0001 and ü"}"#;
        assert_eq!(document, expected);
    }
}
