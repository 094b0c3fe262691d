//! The same echo, served without Hearth: what warm calls are compared with.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};
use axum::Router;
use axum::routing::post;
use bytes::Bytes;
use hearth_benches::function::{Language, NODE, PYTHON};
use serde_json::Value;
use tempfile::TempDir;

/// An echo server in a process of its own, killed when dropped.
pub(super) struct Server {
    process: Child,
    _files: Option<TempDir>,
    /// What it is.
    pub(super) name: &'static str,
    /// `host:port`.
    pub(super) address: String,
}

impl Server {
    /// What serves an echo with the least in between, in a function's language.
    pub(super) fn direct(language: Language) -> Result<Self> {
        match language {
            Language::Provided => {
                let own = std::env::current_exe().context("find this program")?;
                Self::spawn("axum", Command::new(own).arg("serve-echo"))
            }
            Language::Python => {
                Self::spawn("Python's http.server", Command::new(PYTHON).args(["-u", "-c", PYTHON_ECHO]))
            }
            Language::Nodejs => Self::spawn("Node's http", Command::new(NODE).args(["-e", NODE_ECHO])),
        }
    }

    /// Cloudflare's runtime for JavaScript, if it is here: on the path, or in `node_modules` of this directory.
    pub(super) fn workerd() -> Result<Option<Self>> {
        let Some(program) = find("workerd") else { return Ok(None) };
        let files = TempDir::new()?;
        std::fs::write(files.path().join("worker.js"), WORKERD_ECHO)?;
        let config = files.path().join("config.capnp");
        std::fs::write(&config, WORKERD_CONFIG)?;
        let mut command = Command::new(program);
        // It tells on this file descriptor where it listens.
        let mut server = Self::spawn("workerd", command.args(["serve", "--control-fd=1"]).arg(&config))?;
        let told: Value = serde_json::from_str(&server.address).context("what workerd says of its socket")?;
        server.address = format!("127.0.0.1:{}", told["port"].as_u64().context("workerd tells no port")?);
        server._files = Some(files);
        Ok(Some(server))
    }

    fn spawn(name: &'static str, command: &mut Command) -> Result<Self> {
        let process = command.stdout(Stdio::piped()).spawn().with_context(|| format!("start {name}"))?;
        let mut server = Self { process, _files: None, name, address: String::new() };
        let output = server.process.stdout.take().context("standard output is piped")?;
        BufReader::new(output).read_line(&mut server.address)?;
        server.address = server.address.trim().to_owned();
        ensure!(!server.address.is_empty(), "{name} ended without a word");
        Ok(server)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Serves echo on a port of the system's choice, printed first, until killed.
pub(crate) async fn serve_echo() -> Result<()> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?);
    let echo = Router::new().fallback(post(|body: Bytes| async move { body }));
    axum::serve(listener, echo).await?;
    Ok(())
}

fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).map(|folder| folder.join(program));
    folders.chain([Path::new("node_modules/.bin").join(program)]).find(|candidate| candidate.is_file())
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

const WORKERD_ECHO: &str =
    "export default { async fetch(request) { return new Response(await request.arrayBuffer()) } };\n";

const WORKERD_CONFIG: &str = r#"
using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
    services = [(name = "main", worker = .echo)],
    sockets = [(name = "http", address = "127.0.0.1:0", http = (), service = "main")],
);
const echo :Workerd.Worker = (
    modules = [(name = "worker.js", esModule = embed "worker.js")],
    compatibilityDate = "2024-01-01",
);
"#;
