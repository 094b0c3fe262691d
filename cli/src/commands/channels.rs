//! `hearth queue` and `hearth events`: what destinations and dead-letter queues got.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use http::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::api::{Api, Call, encoded};
use crate::commands::PlatformCommand;
use crate::exit::{Exit, Failure};
use crate::output::{Output, Table, line, utc};

/// Longest body in a table, characters; `--output json` has all of it.
const BODY_MAX_CHARS: usize = 80;

/// Lists queues and topics, or the messages of one.
#[derive(Debug, Args)]
pub(crate) struct Queue {
    /// The queue; without one, all queues and topics are listed
    name: Option<String>,
    /// NAME is a topic
    #[arg(long, requires = "name")]
    topic: bool,
    #[command(flatten)]
    take: Take,
}

/// Lists the events on buses.
#[derive(Debug, Args)]
pub(crate) struct Events {
    /// Only those on this bus
    #[arg(long, value_name = "NAME")]
    bus: Option<String>,
    #[command(flatten)]
    take: Take,
}

#[derive(Debug, Args)]
struct Take {
    /// Delete each message after it was written
    #[arg(long)]
    take: bool,
    /// At most so many messages
    #[arg(long, value_name = "N", default_value_t = usize::MAX, hide_default_value = true)]
    limit: usize,
}

#[derive(Debug, Deserialize)]
struct Channels {
    channels: Vec<Channel>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Channel {
    kind: String,
    name: String,
    arn: String,
    visible: u64,
    in_flight: u64,
    delayed: u64,
}

#[derive(Debug, Deserialize)]
struct Page {
    messages: Vec<Message>,
    next: Option<u64>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Message {
    number: u64,
    id: String,
    sent_unix_ms: u64,
    attributes: BTreeMap<String, String>,
    body_base64: String,
}

impl PlatformCommand for Queue {
    async fn run(self, api: &Api, output: Output) -> Result<Exit, Failure> {
        let Some(name) = self.name else { return list(api, output).await };
        let kind = if self.topic { "topic" } else { "queue" };
        self.take.show(api, output, &[(kind.to_owned(), name)]).await
    }
}

impl PlatformCommand for Events {
    async fn run(self, api: &Api, output: Output) -> Result<Exit, Failure> {
        let buses = match self.bus {
            Some(name) => vec![name],
            None => channels(api).await?.into_iter().filter(|c| c.kind == "bus").map(|c| c.name).collect(),
        };
        let buses: Vec<_> = buses.into_iter().map(|name| ("bus".to_owned(), name)).collect();
        self.take.show(api, output, &buses).await
    }
}

async fn channels(api: &Api) -> Result<Vec<Channel>, Failure> {
    let list: Channels = api.call(Call::get("/hearth/v1/channels".to_owned())).await?.json()?;
    Ok(list.channels)
}

async fn list(api: &Api, output: Output) -> Result<Exit, Failure> {
    let channels = channels(api).await?;
    match output {
        Output::Json => {
            let view = |c: &Channel| {
                let Channel { kind, name, arn, visible, in_flight, delayed } = c;
                json!({ "kind": kind, "name": name, "arn": arn, "visible": visible, "inFlight": in_flight,
                        "delayed": delayed })
            };
            line(&format!("{:#}", json!({ "channels": channels.iter().map(view).collect::<Vec<_>>() })))?;
        }
        Output::Table => {
            let mut table = Table::new(&["KIND", "NAME", "MESSAGES", "IN FLIGHT", "ARN"], "no queues, topics or buses");
            for c in channels {
                let waiting = c.visible + c.delayed;
                table.row(vec![c.kind, c.name, waiting.to_string(), c.in_flight.to_string(), c.arn]);
            }
            line(table.to_string().trim_end())?;
        }
    }
    Ok(Exit::Success)
}

impl Take {
    async fn show(&self, api: &Api, output: Output, channels: &[(String, String)]) -> Result<Exit, Failure> {
        let (mut shown, mut taken) = (Vec::new(), Vec::new());
        for (kind, name) in channels {
            let path = format!("/hearth/v1/channels/{kind}/{}/messages", encoded(name));
            let mut after = None;
            while shown.len() < self.limit {
                let query = after.map(|after: u64| format!("?after={after}")).unwrap_or_default();
                let page: Page = api.call(Call::get(format!("{path}{query}"))).await?.json()?;
                for message in page.messages.into_iter().take(self.limit - shown.len()) {
                    taken.push(format!("{path}/{}", message.number));
                    shown.push((name.clone(), message));
                }
                after = page.next;
                if after.is_none() {
                    break;
                }
            }
        }
        write(shown, output)?;
        // Written first: what is cut off in between is shown again, and not lost.
        if self.take {
            for path in taken {
                api.call(Call::new(Method::DELETE, path)).await?;
            }
        }
        Ok(Exit::Success)
    }
}

fn write(shown: Vec<(String, Message)>, output: Output) -> Result<(), Failure> {
    match output {
        Output::Json => {
            let messages: Vec<Value> = shown.iter().map(|(channel, message)| message.view(channel)).collect();
            line(&format!("{:#}", json!({ "messages": messages })))
        }
        Output::Table => {
            let mut table = Table::new(&["SENT", "IN", "BODY"], "no messages");
            for (channel, message) in shown {
                let printable = |c: char| if c.is_control() { ' ' } else { c };
                let body = message.body().chars().take(BODY_MAX_CHARS).map(printable).collect();
                table.row(vec![utc(message.sent_unix_ms), channel, body]);
            }
            line(table.to_string().trim_end())
        }
    }
}

impl Message {
    fn body(&self) -> String {
        let bytes = STANDARD.decode(&self.body_base64).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    fn view(&self, channel: &str) -> Value {
        let body = self.body();
        let body = serde_json::from_str(&body).unwrap_or(Value::String(body));
        json!({ "channel": channel, "id": self.id, "sentUnixMs": self.sent_unix_ms, "attributes": self.attributes,
                "body": body })
    }
}
