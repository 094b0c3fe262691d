//! The same echo, served without a platform: what warm calls are compared with.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result};
use axum::Router;
use axum::routing::post;
use bytes::Bytes;

/// The argument that makes this program the echo server.
pub(crate) const SERVE: &str = "serve-echo";

/// An echo server in a process of its own, killed when dropped.
pub(crate) struct Direct {
    process: Child,
    /// `host:port`.
    pub(crate) address: String,
}

impl Direct {
    /// A bare axum server with one worker thread per CPU, as Hearth itself has.
    pub(crate) fn axum() -> Result<Self> {
        Self::spawn(Command::new(std::env::current_exe()?).arg(SERVE))
    }

    /// Python's own threading HTTP server with keep-alive.
    pub(crate) fn python() -> Result<Self> {
        Self::spawn(Command::new("/usr/bin/python3").args(["-u", "-c", PYTHON_ECHO]))
    }

    /// Node.js's own HTTP server.
    pub(crate) fn node() -> Result<Self> {
        Self::spawn(Command::new("/usr/bin/node").args(["-e", NODE_ECHO]))
    }

    fn spawn(command: &mut Command) -> Result<Self> {
        let mut process = command.stdout(Stdio::piped()).spawn()?;
        let mut address = String::new();
        BufReader::new(process.stdout.take().context("standard output is piped")?).read_line(&mut address)?;
        Ok(Self { process, address: address.trim().to_owned() })
    }
}

impl Drop for Direct {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Serves echo on a port of the system's choice, printed first, until killed.
pub(crate) async fn serve() -> Result<()> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?);
    let echo = Router::new().fallback(post(|body: Bytes| async move { body }));
    axum::serve(listener, echo).await?;
    Ok(())
}

const PYTHON_ECHO: &str = r#"
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
class Echo(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *args): pass
server = ThreadingHTTPServer(("127.0.0.1", 0), Echo)
print("127.0.0.1:%d" % server.server_address[1])
server.serve_forever()
"#;

const NODE_ECHO: &str = r#"
const server = require("node:http").createServer((request, response) => {
    const chunks = [];
    request.on("data", (chunk) => chunks.push(chunk));
    request.on("end", () => response.end(Buffer.concat(chunks)));
});
server.listen(0, "127.0.0.1", () => console.log(`127.0.0.1:${server.address().port}`));
"#;
