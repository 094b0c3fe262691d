//! What workers keep of functions' logs.

use std::time::Duration;

use super::{Malformed, TEXT_MAX_BYTES, each, ns, parsed, text};
use crate::generated::v1 as pb;
use crate::worker::{LogDeletion, LogLine, LogList, LogListQuery, LogPage, LogQuery, LogSummary};

impl From<LogQuery> for pb::LogQuery {
    fn from(query: LogQuery) -> Self {
        Self {
            account: query.account.to_string(),
            group: query.group.to_string(),
            stream: query.stream,
            from_unix_ms: query.from_unix_ms,
            until_unix_ms: query.until_unix_ms,
            after: query.after,
            limit: query.limit,
            wait_ns: ns(query.wait),
        }
    }
}

impl TryFrom<pb::LogQuery> for LogQuery {
    type Error = Malformed;

    fn try_from(wire: pb::LogQuery) -> Result<Self, Malformed> {
        if wire.limit == 0 {
            return Err(Malformed::new("limit", "must be from 1"));
        }
        Ok(Self {
            account: parsed("account", &wire.account)?,
            group: parsed("group", &wire.group)?,
            stream: wire.stream.map(|stream| text("stream", stream, TEXT_MAX_BYTES)).transpose()?,
            from_unix_ms: wire.from_unix_ms,
            until_unix_ms: wire.until_unix_ms,
            after: wire.after,
            limit: wire.limit,
            wait: Duration::from_nanos(wire.wait_ns),
        })
    }
}

impl From<LogPage> for pb::LogPage {
    fn from(page: LogPage) -> Self {
        Self { lines: page.lines.into_iter().map(Into::into).collect(), next: page.next, at_end: page.at_end }
    }
}

impl TryFrom<pb::LogPage> for LogPage {
    type Error = Malformed;

    fn try_from(wire: pb::LogPage) -> Result<Self, Malformed> {
        Ok(Self { lines: each("lines", wire.lines)?, next: wire.next, at_end: wire.at_end })
    }
}

impl From<LogLine> for pb::LogLine {
    fn from(line: LogLine) -> Self {
        Self {
            number: line.number,
            unix_ms: line.unix_ms,
            stream: line.stream.to_string(),
            request_id: line.request_id.map(|id| id.to_string()),
            text: line.text,
        }
    }
}

impl TryFrom<pb::LogLine> for LogLine {
    type Error = Malformed;

    fn try_from(wire: pb::LogLine) -> Result<Self, Malformed> {
        let request_id = wire.request_id.map(|id| parsed("request_id", &id)).transpose()?;
        // Invalid UTF-8 was replaced, which may have tripled it: the message's own limit bounds the text.
        Ok(Self {
            number: wire.number,
            unix_ms: wire.unix_ms,
            stream: text("stream", wire.stream, TEXT_MAX_BYTES)?.into(),
            request_id,
            text: wire.text,
        })
    }
}

impl From<LogListQuery> for pb::LogListQuery {
    fn from(query: LogListQuery) -> Self {
        Self { account: query.account.to_string(), group: query.group.map(|group| group.to_string()) }
    }
}

impl TryFrom<pb::LogListQuery> for LogListQuery {
    type Error = Malformed;

    fn try_from(wire: pb::LogListQuery) -> Result<Self, Malformed> {
        let group = wire.group.map(|group| parsed("group", &group)).transpose()?;
        Ok(Self { account: parsed("account", &wire.account)?, group })
    }
}

impl From<LogList> for pb::LogList {
    fn from(LogList(logs): LogList) -> Self {
        let summary = |log: LogSummary| pb::LogSummary {
            name: log.name,
            first_unix_ms: log.first_unix_ms,
            last_unix_ms: log.last_unix_ms,
            bytes: log.bytes,
        };
        Self { logs: logs.into_iter().map(summary).collect() }
    }
}

impl TryFrom<pb::LogList> for LogList {
    type Error = Malformed;

    fn try_from(wire: pb::LogList) -> Result<Self, Malformed> {
        each("logs", wire.logs).map(Self)
    }
}

impl TryFrom<pb::LogSummary> for LogSummary {
    type Error = Malformed;

    fn try_from(wire: pb::LogSummary) -> Result<Self, Malformed> {
        Ok(Self {
            name: text("name", wire.name, TEXT_MAX_BYTES)?,
            first_unix_ms: wire.first_unix_ms,
            last_unix_ms: wire.last_unix_ms,
            bytes: wire.bytes,
        })
    }
}

impl From<LogDeletion> for pb::LogDeletion {
    fn from(deletion: LogDeletion) -> Self {
        Self { account: deletion.account.to_string(), group: deletion.group.to_string() }
    }
}

impl TryFrom<pb::LogDeletion> for LogDeletion {
    type Error = Malformed;

    fn try_from(wire: pb::LogDeletion) -> Result<Self, Malformed> {
        Ok(Self { account: parsed("account", &wire.account)?, group: parsed("group", &wire.group)? })
    }
}
