//! Answers that go out as they are written (AWS Lambda developer guide, "Building a custom runtime", response streaming).

use std::io::{self, Write};

use crate::client::{ClientError, ERROR_TYPE, accepted, error_document, header_text, io_error};
use crate::http::Connection;

const ERROR_BODY: &str = "Lambda-Runtime-Function-Error-Body";
/// The content type of an answer that begins with status, headers and cookies.
const HTTP_INTEGRATION: &str = "application/vnd.awslambda.http-integration-response";
/// Written bytes are sent when there are so many of them, or by `flush`.
const BUFFER_BYTES: usize = 16 * 1024;

/// A streamed answer. What is written is sent by [`Write::flush`], or when enough has come together; writing waits while
/// the caller takes nothing.
#[derive(Debug)]
pub struct ResponseStream<'a> {
    connection: &'a mut Connection,
    path: String,
    content_type: String,
    buffer: Vec<u8>,
    begun: bool,
}

impl<'a> ResponseStream<'a> {
    pub(crate) fn new(connection: &'a mut Connection, path: String) -> Self {
        let content_type = "application/octet-stream".to_owned();
        Self { connection, path, content_type, buffer: Vec::new(), begun: false }
    }

    /// Says what the answer is. Call it before anything is sent.
    pub fn set_content_type(&mut self, content_type: &str) {
        self.content_type = content_type.chars().filter(|c| matches!(c, ' '..='~')).collect();
    }

    /// Writes the head of an HTTP response, for function URLs: a JSON object with `statusCode`, `headers` and `cookies`. Call it
    /// first; the body follows.
    pub fn http_head(&mut self, head: &str) -> io::Result<()> {
        self.set_content_type(HTTP_INTEGRATION);
        self.write_all(head.as_bytes())?;
        self.write_all(&[0; 8])
    }

    /// Whether something was sent, so that the answer can't become an error any more.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        self.begun
    }

    /// Ends the answer.
    pub fn finish(mut self) -> Result<(), ClientError> {
        self.end(&[])
    }

    /// Ends the answer early, and tells why.
    pub fn fail(mut self, error_type: &str, message: &str) -> Result<(), ClientError> {
        let document = base64(error_document(error_type, message).as_bytes());
        self.end(&[(ERROR_TYPE, &header_text(error_type)), (ERROR_BODY, &document)])
    }

    fn end(&mut self, trailers: &[(&str, &str)]) -> Result<(), ClientError> {
        let ended = self.begin().and_then(|()| self.flush()).and_then(|()| self.connection.end(trailers));
        let answer = ended.map_err(|source| io_error("POST", &self.path, source))?;
        accepted(&self.path, &answer)
    }

    fn begin(&mut self) -> io::Result<()> {
        if self.begun {
            return Ok(());
        }
        self.begun = true;
        let trailers = format!("{ERROR_TYPE}, {ERROR_BODY}");
        let headers = [
            ("Content-Type", self.content_type.as_str()),
            ("Lambda-Runtime-Function-Response-Mode", "streaming"),
            ("Trailer", &trailers),
        ];
        self.connection.begin(&self.path, &headers)
    }
}

impl Write for ResponseStream<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= BUFFER_BYTES {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        self.begin()?;
        self.connection.chunk(&self.buffer)?;
        self.buffer.clear();
        Ok(())
    }
}

/// RFC 4648, section 4.
fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let byte = |at: usize| u32::from(group.get(at).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for at in 0..4 {
            let letter = char::from(LETTERS[(bits >> (18 - 6 * at)) as usize & 63]);
            text.push(if at <= group.len() { letter } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::net::TcpListener;

    use super::*;

    /// Writes an answer with `write`, and gives what went over the wire.
    fn sent(write: impl FnOnce(ResponseStream<'_>)) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut connection = Connection::new(listener.local_addr().unwrap().to_string());
        let platform = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let (mut text, mut buffer) = (String::new(), [0; 4096]);
            while !text.contains("\r\n0\r\n") || !text.ends_with("\r\n\r\n") {
                let length = stream.read(&mut buffer).unwrap();
                text += &String::from_utf8_lossy(&buffer[..length]);
            }
            stream.write_all(b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n").unwrap();
            text
        });
        write(ResponseStream::new(&mut connection, "/response".to_owned()));
        platform.join().unwrap()
    }

    #[test]
    fn each_flush_is_a_chunk_and_the_end_is_whole() {
        let text = sent(|mut stream| {
            stream.set_content_type("text/plain");
            write!(stream, "hello").unwrap();
            assert!(!stream.has_begun());
            stream.flush().unwrap();
            assert!(stream.has_begun());
            write!(stream, " world").unwrap();
            stream.finish().unwrap();
        });
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.contains("Content-Type: text/plain\r\n"), "{head}");
        assert!(head.contains("Lambda-Runtime-Function-Response-Mode: streaming"), "{head}");
        assert_eq!(body, "5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n");
    }

    #[test]
    fn an_early_end_is_told_in_trailers() {
        let text = sent(|mut stream| {
            stream.http_head("{}").unwrap();
            stream.fail("Oh", "no").unwrap();
        });
        let document = base64(br#"{"errorType":"Oh","errorMessage":"no"}"#);
        assert!(text.contains("application/vnd.awslambda.http-integration-response"), "{text}");
        let end = format!("0\r\n{ERROR_TYPE}: Oh\r\n{ERROR_BODY}: {document}\r\n\r\n");
        assert!(text.ends_with(&end), "{text}");
        assert!(text.contains("a\r\n{}\0\0\0\0\0\0\0\0\r\n"), "{text}");
    }

    #[test]
    fn base64_is_rfc_4648_s() {
        for (bytes, text) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")] {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
    }
}
