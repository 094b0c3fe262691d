//! As much HTTP/1.1 as the Runtime API needs: one request at a time over a kept connection, bodies by length or in chunks.

use std::io::{self, BufRead, BufReader, Error, ErrorKind, Read, Write};
use std::net::TcpStream;

/// Largest event that is taken; platforms allow 6 MB.
pub const EVENT_MAX_BYTES: usize = 8 * 1024 * 1024;
/// Longest line of an answer's head.
const LINE_MAX_BYTES: u64 = 64 * 1024;
/// Room for the heads of two requests.
const HEADS_BYTES: usize = 512;
/// Most lines of an answer's head.
const MAX_HEADERS: usize = 100;

/// A connection that is made when it is needed.
#[derive(Debug)]
pub(crate) struct Connection {
    address: String,
    stream: Option<BufReader<TcpStream>>,
}

/// An answer, whole.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Headers,
    pub(crate) body: Vec<u8>,
}

/// Header fields; names compare without case.
#[derive(Debug, Default)]
pub(crate) struct Headers(Vec<(String, String)>);

impl Headers {
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

impl Connection {
    pub(crate) fn new(address: String) -> Self {
        Self { address, stream: None }
    }

    /// Sends a request and waits, for ever if need be, for its answer.
    pub(crate) fn request(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> io::Result<Answer> {
        let mut message = Vec::new();
        self.write_request(method, path, headers, body, &mut message);
        self.send(&message)?;
        self.answer()
    }

    /// Sends two requests in one piece, a POST and a GET that can wait long, and waits for the answer to the first;
    /// [`Self::second_answer`] has the other.
    pub(crate) fn post_then_get(&mut self, path: &str, body: &[u8], next: &str) -> io::Result<Answer> {
        let mut message = Vec::with_capacity(body.len() + HEADS_BYTES);
        self.write_request("POST", path, &[], body, &mut message);
        self.write_request("GET", next, &[], b"", &mut message);
        self.send(&message)?;
        self.answer()
    }

    /// Waits for the answer to the second of two requests. A connection that was closed behind the first answer asks anew.
    pub(crate) fn second_answer(&mut self, next: &str) -> io::Result<Answer> {
        if self.stream.is_some() { self.answer() } else { self.request("GET", next, &[], b"") }
    }

    fn write_request(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8], message: &mut Vec<u8>) {
        // Writing to memory does not fail.
        let _ = write!(message, "{method} {path} HTTP/1.1\r\nHost: {}\r\n", self.address);
        for (name, value) in headers {
            let _ = write!(message, "{name}: {value}\r\n");
        }
        if method == "POST" {
            let _ = write!(message, "Content-Type: application/json\r\nContent-Length: {}\r\n", body.len());
        }
        message.extend_from_slice(b"\r\n");
        message.extend_from_slice(body);
    }

    /// Sends the head of a request whose body follows in chunks; nothing is known of the platform's mind before its end.
    pub(crate) fn begin(&mut self, path: &str, headers: &[(&str, &str)]) -> io::Result<()> {
        let mut message = format!("POST {path} HTTP/1.1\r\nHost: {}\r\nTransfer-Encoding: chunked\r\n", self.address);
        for (name, value) in headers {
            message += &format!("{name}: {value}\r\n");
        }
        message += "\r\n";
        self.send(message.as_bytes())
    }

    /// Sends a chunk. An empty one would end the body, so nothing is sent for it.
    pub(crate) fn chunk(&mut self, data: &[u8]) -> io::Result<()> {
        if data.is_empty() {
            return Ok(());
        }
        let mut message = format!("{:x}\r\n", data.len()).into_bytes();
        message.extend_from_slice(data);
        message.extend_from_slice(b"\r\n");
        self.send(&message)
    }

    /// Ends the body, and reads the answer.
    pub(crate) fn end(&mut self, trailers: &[(&str, &str)]) -> io::Result<Answer> {
        let mut message = String::from("0\r\n");
        for (name, value) in trailers {
            message += &format!("{name}: {value}\r\n");
        }
        message += "\r\n";
        self.send(message.as_bytes())?;
        self.answer()
    }

    /// A connection that breaks is not used again.
    fn send(&mut self, message: &[u8]) -> io::Result<()> {
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => connect(&self.address)?,
        };
        stream.get_mut().write_all(message)?;
        self.stream = Some(stream);
        Ok(())
    }

    fn answer(&mut self) -> io::Result<Answer> {
        let Some(mut stream) = self.stream.take() else { return Err(malformed("the beginning")) };
        let answer = read_answer(&mut stream)?;
        // Only a connection that is known to be at the end of an answer is used again.
        if !answer.headers.get("connection").is_some_and(|value| value.eq_ignore_ascii_case("close")) {
            self.stream = Some(stream);
        }
        Ok(answer)
    }
}

fn connect(address: &str) -> io::Result<BufReader<TcpStream>> {
    let stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    Ok(BufReader::new(stream))
}

fn read_answer(stream: &mut impl BufRead) -> io::Result<Answer> {
    let status_line = read_line(stream)?;
    let status = status_line.split(' ').nth(1).and_then(|status| status.parse().ok());
    let status = status.ok_or_else(|| malformed("the status line"))?;
    let mut headers = Headers::default();
    loop {
        let line = read_line(stream)?;
        if line.is_empty() {
            break;
        }
        let (name, value) = line.split_once(':').ok_or_else(|| malformed("a header"))?;
        headers.0.push((name.to_owned(), value.trim().to_owned()));
        if headers.0.len() > MAX_HEADERS {
            return Err(malformed("the number of headers"));
        }
    }
    let chunked = headers.get("transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked"));
    let body = if chunked { read_chunks(stream)? } else { read_by_length(stream, &headers)? };
    Ok(Answer { status, headers, body })
}

fn read_by_length(stream: &mut impl BufRead, headers: &Headers) -> io::Result<Vec<u8>> {
    let length = headers.get("content-length").map_or(Ok(0), str::parse).map_err(|_| malformed("the length"))?;
    let mut body = Vec::new();
    read_more(stream, length, &mut body)?;
    Ok(body)
}

/// RFC 9112, section 7.1; chunk extensions and trailers are skipped.
fn read_chunks(stream: &mut impl BufRead) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let line = read_line(stream)?;
        let size = line.split(';').next().unwrap_or_default().trim();
        let size = usize::from_str_radix(size, 16).map_err(|_| malformed("a chunk's size"))?;
        if size == 0 {
            while !read_line(stream)?.is_empty() {}
            return Ok(body);
        }
        read_more(stream, size, &mut body)?;
        if !read_line(stream)?.is_empty() {
            return Err(malformed("the end of a chunk"));
        }
    }
}

fn read_more(stream: &mut impl BufRead, length: usize, body: &mut Vec<u8>) -> io::Result<()> {
    let start = body.len();
    if length > EVENT_MAX_BYTES - start {
        return Err(malformed("the size of the body"));
    }
    body.resize(start + length, 0);
    stream.read_exact(&mut body[start..])
}

fn read_line(stream: &mut impl BufRead) -> io::Result<String> {
    let mut line = Vec::new();
    stream.take(LINE_MAX_BYTES).read_until(b'\n', &mut line)?;
    match line.strip_suffix(b"\r\n") {
        Some(line) => String::from_utf8(line.to_vec()).map_err(|_| malformed("the text of a line")),
        None if line.is_empty() => Err(Error::new(ErrorKind::UnexpectedEof, "the connection was closed")),
        None => Err(malformed("a line")),
    }
}

fn malformed(what: &str) -> Error {
    Error::new(ErrorKind::InvalidData, format!("{what} of an answer is malformed"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> io::Result<Answer> {
        read_answer(&mut text.as_bytes())
    }

    #[test]
    fn bodies_come_by_length_or_in_chunks() {
        let answer = read("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-a: b \r\n\r\nhellomore").unwrap();
        assert_eq!((answer.status, answer.body.as_slice(), answer.headers.get("x-A")), (200, &b"hello"[..], Some("b")));
        let chunks = "HTTP/1.1 202 Accepted\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n3;x=y\r\n wo\r\n0\r\nT: x\r\n\r\n";
        assert_eq!(read(chunks).unwrap().body, b"hello wo");
    }

    #[test]
    fn what_is_not_http_is_an_error_and_nothing_is_unbounded() {
        let too_long = format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "x".repeat(70_000));
        let too_many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "X: y\r\n".repeat(101));
        for text in [
            "",
            "garbage",
            "HTTP/1.1\r\n\r\n",
            "HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 9999999999\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n",
            &too_long,
            &too_many,
        ] {
            assert!(read(text).is_err(), "{text:.60}");
        }
    }
}
