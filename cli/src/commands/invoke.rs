//! `hearth invoke`.

use std::io::Read;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use hearth_domain::limits::SYNC_REQUEST_MAX_BYTES;
use http::Method;
use serde_json::{Value, json};

use crate::api::{Api, Call, Reply, encoded};
use crate::commands::PlatformCommand;
use crate::exit::{Exit, Failure};
use crate::output::{Output, line};

/// Calls a function and writes its answer to standard output.
#[derive(Debug, Args)]
pub(crate) struct Invoke {
    /// Function: name, name:version, partial or whole ARN
    name: String,
    /// The event: JSON, @FILE, or - for standard input
    #[arg(long, short, value_name = "JSON|@FILE|-", default_value = "{}", allow_hyphen_values = true)]
    data: String,
    /// Queue the event and return at once; it is retried if it fails
    #[arg(long = "async", conflicts_with = "tail")]
    asynchronous: bool,
    /// Show the last 4 KB of the call's log on standard error
    #[arg(long)]
    tail: bool,
    /// Version to call
    #[arg(long, value_name = "VERSION")]
    qualifier: Option<String>,
}

impl PlatformCommand for Invoke {
    async fn run(self, api: &Api, output: Output) -> Result<Exit, Failure> {
        let payload = payload(&self.data)?;
        let qualifier = self.qualifier.as_ref().map(|qualifier| format!("?Qualifier={}", encoded(qualifier)));
        let path =
            format!("/2015-03-31/functions/{}/invocations{}", encoded(&self.name), qualifier.unwrap_or_default());
        let kind = if self.asynchronous { "Event" } else { "RequestResponse" };
        let mut call = Call::new(Method::POST, path).header("x-amz-invocation-type", kind).body(payload);
        if self.tail {
            call = call.header("x-amz-log-type", "Tail");
        }
        let reply = api.call(call).await?;
        match output {
            Output::Json => line(&format!("{:#}", for_machines(&reply)))?,
            Output::Table => for_people(&reply, self.asynchronous)?,
        }
        let failed = reply.header("x-amz-function-error").is_some();
        Ok(if failed { Exit::FunctionError } else { Exit::Success })
    }
}

fn payload(data: &str) -> Result<Vec<u8>, Failure> {
    let bytes = match data.strip_prefix('@') {
        Some(path) => bounded(std::fs::File::open(path).map_err(|error| cannot_read(path, &error))?, path)?,
        None if data == "-" => bounded(std::io::stdin(), "standard input")?,
        None => data.as_bytes().to_vec(),
    };
    let checked = serde_json::from_slice::<serde::de::IgnoredAny>(&bytes);
    checked.map_err(|error| {
        Failure::usage(format!("--data is not JSON: {error}"))
            .remedy("a text needs quotes of its own: --data '\"text\"'")
    })?;
    Ok(bytes)
}

fn bounded(source: impl Read, name: &str) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    let most = SYNC_REQUEST_MAX_BYTES as u64;
    source.take(most + 1).read_to_end(&mut bytes).map_err(|error| cannot_read(name, &error))?;
    if bytes.len() > SYNC_REQUEST_MAX_BYTES {
        return Err(Failure::usage(format!("{name} is larger than the {most} bytes an event may have")));
    }
    Ok(bytes)
}

fn cannot_read(name: &str, error: &std::io::Error) -> Failure {
    Failure::usage(format!("{name}: {error}"))
}

/// The answer alone on standard output, everything about it on standard error.
fn for_people(reply: &Reply, asynchronous: bool) -> Result<(), Failure> {
    if let Some(log) = log_tail(reply) {
        eprintln!("{}", log.trim_end());
    }
    if let Some(kind) = reply.header("x-amz-function-error") {
        eprintln!("the function answered with an error ({kind})");
    }
    if asynchronous {
        eprintln!("queued as {}", request_id(reply));
        return Ok(());
    }
    line(&String::from_utf8_lossy(&reply.body))
}

fn for_machines(reply: &Reply) -> Value {
    let payload: Value = serde_json::from_slice(&reply.body)
        .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&reply.body).into_owned()));
    json!({
        "StatusCode": reply.status.as_u16(),
        "RequestId": request_id(reply),
        "FunctionError": reply.header("x-amz-function-error"),
        "ExecutedVersion": reply.header("x-amz-executed-version"),
        "LogTail": log_tail(reply),
        "Payload": payload,
    })
}

fn request_id(reply: &Reply) -> &str {
    reply.header("x-amzn-requestid").unwrap_or("-")
}

fn log_tail(reply: &Reply) -> Option<String> {
    let bytes = STANDARD.decode(reply.header("x-amz-log-result")?).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_from_arguments_and_files_and_must_be_json() {
        assert_eq!(payload("{\"a\": 1}").unwrap(), b"{\"a\": 1}");
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "[1]").unwrap();
        assert_eq!(payload(&format!("@{}", file.path().display())).unwrap(), b"[1]");
        assert!(payload("@/nonexistent").unwrap_err().to_string().contains("/nonexistent: No such file"));
        assert_eq!(payload("{").unwrap_err().exit(), Exit::Usage);
        assert_eq!(payload("").unwrap_err().exit(), Exit::Usage);
    }
}
