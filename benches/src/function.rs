//! The echo functions that most jobs are about, and how they are deployed.

use std::io::{Cursor, Write};
use std::path::Path;
use std::process::Command;
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::Method;
use serde_json::{Value, json};
use zip::write::SimpleFileOptions;

use crate::connection::Connection;
use crate::platform::release_binary;

/// Memory that buys one whole CPU, so that what is timed is the platform and not the wait for the next slice of a small
/// function's share.
pub const ONE_CPU_MB: u32 = 1_769;
/// The smallest memory, for what is not timed.
pub const SMALLEST_MB: u32 = 128;

/// A call on a busy machine may take its time, and is then measured, not ended.
const TIMEOUT_S: u32 = 60;

/// Where a runtime's program is in every sandbox, and so where it is looked for.
pub const PYTHON: &str = "/usr/bin/python3";
/// The same for Node.js.
pub const NODE: &str = "/usr/bin/node";

/// A language to measure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    /// A static `bootstrap` on our Rust SDK.
    Provided,
    /// Python.
    Python,
    /// Node.js.
    Nodejs,
}

impl Language {
    /// All.
    pub const ALL: [Self; 3] = [Self::Provided, Self::Python, Self::Nodejs];

    /// As the tables name it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Provided => "provided",
            Self::Python => "python",
            Self::Nodejs => "node",
        }
    }

    /// Those whose programs are on this machine.
    #[must_use]
    pub fn here() -> Vec<Self> {
        let is_here = |language: &Self| match language {
            Self::Provided => release_binary("bootstrap").is_ok(),
            Self::Python => Path::new(PYTHON).exists(),
            Self::Nodejs => Path::new(NODE).exists(),
        };
        Self::ALL.into_iter().filter(is_here).collect()
    }

    fn runtime(self) -> Result<String> {
        Ok(match self {
            Self::Provided => "provided.al2023".into(),
            Self::Python => printed(PYTHON, &["-c", "import sys; print(f'python3.{sys.version_info[1]}', end='')"])?,
            Self::Nodejs => {
                let print = "process.stdout.write(`nodejs${process.versions.node.split('.')[0]}.x`)";
                printed(NODE, &["-e", print])?
            }
        })
    }

    fn bundle(self) -> Result<Vec<u8>> {
        let echo = "def handler(event, context):\n    return event\n";
        match self {
            Self::Provided => zip_of("bootstrap", &read(&release_binary("bootstrap")?)?),
            Self::Python => zip_of("app.py", echo.as_bytes()),
            Self::Nodejs => zip_of("app.js", b"exports.handler = async (event) => event;\n"),
        }
    }
}

/// The event that an echo is called with where nothing else is asked for: 7 bytes.
pub const EVENT: Bytes = Bytes::from_static(b"\"hello\"");

impl FromStr for Language {
    type Err = String;

    /// By the name that tables give it.
    fn from_str(text: &str) -> Result<Self, String> {
        let named = Self::ALL.into_iter().find(|language| language.name() == text);
        named.ok_or_else(|| format!("one of {}", Self::ALL.map(Self::name).join(", ")))
    }
}

/// Creates a function of its own and waits until it can be invoked.
pub async fn deploy(connection: &mut Connection, language: Language, name: &str, memory_mb: u32) -> Result<()> {
    let body = json!({
        "FunctionName": name, "Runtime": language.runtime()?, "Handler": "app.handler", "MemorySize": memory_mb,
        "Timeout": TIMEOUT_S, "Role": "arn:aws:iam::000000000000:role/lambda", "Code": {"ZipFile": STANDARD.encode(language.bundle()?)},
    });
    let answer = connection.send(Method::POST, "/2015-03-31/functions", Bytes::from(body.to_string())).await?;
    if answer.status() != 201 {
        bail!("creating {name}: {} {}", answer.status(), String::from_utf8_lossy(answer.body()));
    }
    wait_until_active(connection, name).await
}

/// Removes a function with its environments.
pub async fn delete(connection: &mut Connection, name: &str) -> Result<()> {
    let answer = connection.send(Method::DELETE, &format!("/2015-03-31/functions/{name}"), Bytes::new()).await?;
    if answer.status() != 204 {
        bail!("deleting {name}: {} {}", answer.status(), String::from_utf8_lossy(answer.body()));
    }
    Ok(())
}

/// The workers and slots, as `hearth workers` shows them.
pub async fn fleet(connection: &mut Connection) -> Result<Value> {
    let answer = connection.send(Method::GET, "/hearth/v1/workers", Bytes::new()).await?;
    if answer.status() != 200 {
        bail!("asking for the workers: {} {}", answer.status(), String::from_utf8_lossy(answer.body()));
    }
    Ok(serde_json::from_slice(answer.body())?)
}

/// Changes the configuration, so that every environment of the function is retired and the next call starts cold.
pub async fn retire_environments(connection: &mut Connection, name: &str, round: usize) -> Result<()> {
    let path = format!("/2015-03-31/functions/{name}/configuration");
    let body = json!({"Environment": {"Variables": {"ROUND": round.to_string()}}});
    let answer = connection.send(Method::PUT, &path, Bytes::from(body.to_string())).await?;
    if answer.status() != 200 {
        bail!("updating {name}: {} {}", answer.status(), String::from_utf8_lossy(answer.body()));
    }
    wait_until_active(connection, name).await
}

async fn wait_until_active(connection: &mut Connection, name: &str) -> Result<()> {
    const POLLS: u32 = 500;
    for _ in 0..POLLS {
        let path = format!("/2015-03-31/functions/{name}/configuration");
        let answer = connection.send(Method::GET, &path, Bytes::new()).await?;
        let state: Value = serde_json::from_slice(answer.body())?;
        if state["State"] == "Active" && state["LastUpdateStatus"] == "Successful" {
            return Ok(());
        }
        // The API has no event for this: AWS's own waiters poll, too.
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    bail!("{name} did not become active");
}

fn printed(program: &str, args: &[&str]) -> Result<String> {
    let output = Command::new(program).args(args).output().with_context(|| program.to_owned())?;
    Ok(String::from_utf8(output.stdout)?)
}

fn zip_of(name: &str, content: &[u8]) -> Result<Vec<u8>> {
    let mut archive = zip::ZipWriter::new(Cursor::new(Vec::new()));
    archive.start_file(name, SimpleFileOptions::default().unix_permissions(0o755))?;
    archive.write_all(content)?;
    Ok(archive.finish()?.into_inner())
}

fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).with_context(|| path.display().to_string())
}
