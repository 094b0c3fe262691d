//! GetLogEvents, FilterLogEvents: lines as events, each with its line feed, as Lambda sends them to CloudWatch Logs.

use axum::response::Response;
use hearth_domain::{LogGroup, WorkerId};
use hearth_protocol::worker::{LogLine, LogQuery};
use serde::{Deserialize, Serialize};

use super::{EVENTS_LIMIT, answer, bounded, invalid, named_group, no_such, now_unix_ms, read_cursor, request};
use crate::api::Api;
use crate::api::call::Call;
use crate::errors::ApiError;
use crate::logs::cursor::Cursor;
use crate::logs::merge::{Merged, merge};
use crate::logs::pattern::Pattern;

/// Bytes of events in one answer (CloudWatch Logs API reference, GetLogEvents: 1 MB).
const ANSWER_MAX_BYTES: usize = 1024 * 1024;
/// Pages of workers that are looked through for one answer of FilterLogEvents; then it says where to go on.
const ROUNDS_MAX: usize = 32;
/// Streams that one request can name (CloudWatch Logs API reference, FilterLogEvents).
const STREAMS_MAX: usize = 100;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct GetLogEvents {
    log_group_name: Option<String>,
    log_group_identifier: Option<String>,
    log_stream_name: Option<String>,
    start_time: Option<i64>,
    end_time: Option<i64>,
    next_token: Option<String>,
    limit: Option<i64>,
    start_from_head: Option<bool>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct FilterLogEvents {
    log_group_name: Option<String>,
    log_group_identifier: Option<String>,
    log_stream_names: Option<Vec<String>>,
    log_stream_name_prefix: Option<String>,
    start_time: Option<i64>,
    end_time: Option<i64>,
    filter_pattern: Option<String>,
    next_token: Option<String>,
    limit: Option<i64>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct LogEvents {
    events: Vec<Event>,
    next_forward_token: String,
    next_backward_token: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Event {
    timestamp: u64,
    message: String,
    ingestion_time: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct FilteredEvents {
    events: Vec<FilteredEvent>,
    searched_log_streams: [(); 0],
    #[serde(skip_serializing_if = "Option::is_none")]
    next_token: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct FilteredEvent {
    log_stream_name: String,
    #[serde(flatten)]
    event: Event,
    event_id: String,
}

/// Where to go on in a stream, and in which direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum StreamToken {
    /// What comes after this line.
    Forward(u64),
    /// What comes before this line.
    Backward(u64),
}

impl StreamToken {
    fn read(text: &str) -> Option<Self> {
        let (kind, number) = text.strip_suffix("/s")?.split_once('/')?;
        let number = number.parse().ok()?;
        match kind {
            "f" => Some(Self::Forward(number)),
            "b" => Some(Self::Backward(number)),
            _ => None,
        }
    }

    /// In the form of AWS's: 56 digits.
    fn write(self) -> String {
        match self {
            Self::Forward(number) => format!("f/{number:056}/s"),
            Self::Backward(number) => format!("b/{number:056}/s"),
        }
    }
}

impl Event {
    fn of(line: &LogLine) -> Self {
        Self { timestamp: line.unix_ms, message: format!("{}\n", line.text), ingestion_time: line.unix_ms }
    }
}

impl Api {
    pub(super) async fn get_log_events(&self, call: &Call) -> Result<Response, ApiError> {
        let asked: GetLogEvents = request(call).await?;
        let limit = bounded(asked.limit, EVENTS_LIMIT)?;
        let group = named_group(call, asked.log_group_name.as_deref(), asked.log_group_identifier.as_deref())?;
        let Some(stream) = asked.log_stream_name else { return Err(invalid("logStreamName is missing.")) };
        let wrong = || invalid("The specified nextToken is invalid.");
        let token = asked.next_token.as_deref().map(|token| StreamToken::read(token).ok_or_else(wrong)).transpose()?;
        let from_head = asked.start_from_head == Some(true);
        let token = token.unwrap_or(if from_head { StreamToken::Forward(0) } else { StreamToken::Backward(u64::MAX) });
        let query = self.selection(call, &group, asked.start_time, asked.end_time).await?;
        let streams = self.list_logs(call, Some(&group)).await?;
        let found = streams.into_iter().find(|(_, found)| found.name == stream);
        let Some((worker, _)) = found else { return Err(no_such("log stream")) };
        let lines = self.stream_lines(&worker, LogQuery { stream: Some(stream), ..query }, token, limit).await?;
        answer(&events_of(&lines, token))
    }

    /// A stream is one environment's, so all of it is on one worker.
    async fn stream_lines(
        &self,
        worker: &WorkerId,
        query: LogQuery,
        token: StreamToken,
        limit: usize,
    ) -> Result<Vec<LogLine>, ApiError> {
        let mut workers = self.workers_with_logs().await?;
        workers.retain(|(id, _)| id == worker);
        let Some((_, worker)) = workers.into_iter().next() else { return Err(no_such("log stream")) };
        let (mut after, before) = match token {
            StreamToken::Forward(number) => (number, u64::MAX),
            StreamToken::Backward(number) => (0, number),
        };
        let is_forward = matches!(token, StreamToken::Forward(_));
        let mut lines = Vec::<LogLine>::new();
        loop {
            let page = worker.read_log(LogQuery { after, ..query.clone() }).await?;
            let ended = page.at_end || page.lines.last().is_some_and(|line| line.number >= before);
            lines.extend(page.lines.into_iter().filter(|line| line.number < before));
            after = page.next;
            if !is_forward {
                // What is further back than the answer reaches is not kept.
                let surplus = lines.len().saturating_sub(limit);
                lines.drain(..surplus);
            }
            if ended || is_forward && lines.len() >= limit {
                break;
            }
        }
        lines.truncate(limit);
        Ok(within_bytes(lines, is_forward))
    }

    pub(super) async fn filter_log_events(&self, call: &Call) -> Result<Response, ApiError> {
        let asked: FilterLogEvents = request(call).await?;
        let limit = bounded(asked.limit, EVENTS_LIMIT)?;
        let group = named_group(call, asked.log_group_name.as_deref(), asked.log_group_identifier.as_deref())?;
        let (streams, prefix) = (asked.log_stream_names.unwrap_or_default(), asked.log_stream_name_prefix);
        if prefix.is_some() && !streams.is_empty() {
            return Err(invalid("logStreamNames and logStreamNamePrefix can't be given together."));
        }
        if streams.len() > STREAMS_MAX {
            return Err(invalid(&format!("At most {STREAMS_MAX} log streams can be named.")));
        }
        let pattern = Pattern::read(asked.filter_pattern.as_deref().unwrap_or_default());
        let pattern = pattern.map_err(|wrong| invalid(&format!("Invalid filter pattern: {wrong}.")))?;
        let mut query = self.selection(call, &group, asked.start_time, asked.end_time).await?;
        if let [stream] = &streams[..] {
            query.stream = Some(stream.clone());
        }
        let wanted = |line: &LogLine| {
            (streams.is_empty() || streams.iter().any(|stream| **stream == *line.stream))
                && prefix.as_ref().is_none_or(|prefix| line.stream.starts_with(prefix))
                && pattern.has(&line.text)
        };
        let mut cursor = read_cursor(asked.next_token.as_deref())?;
        let workers = self.workers_with_logs().await?;
        let (mut lines, mut at_end, mut bytes) = (Vec::<Merged>::new(), false, 0);
        for _ in 0..ROUNDS_MAX {
            let pages = self.read_logs(&workers, &cursor, &query).await;
            let page = merge(&cursor, pages, limit - lines.len(), wanted);
            bytes += page.lines.iter().map(|merged| merged.line.text.len()).sum::<usize>();
            lines.extend(page.lines);
            (cursor, at_end) = (page.cursor, page.at_end);
            if at_end || lines.len() >= limit || bytes >= ANSWER_MAX_BYTES {
                break;
            }
        }
        answer(&filtered(lines, (!at_end).then_some(cursor)))
    }

    /// The lines of a group between two moments, as its retention allows.
    async fn selection(
        &self,
        call: &Call,
        group: &LogGroup,
        start: Option<i64>,
        end: Option<i64>,
    ) -> Result<LogQuery, ApiError> {
        let settings = self.known_group(call, group).await?;
        let oldest = settings.map_or(0, |settings| settings.oldest_unix_ms(now_unix_ms()));
        let moment = |given: Option<i64>, otherwise| given.map_or(otherwise, |given| u64::try_from(given).unwrap_or(0));
        Ok(LogQuery {
            from_unix_ms: moment(start, 0).max(oldest),
            until_unix_ms: moment(end, u64::MAX),
            ..LogQuery::all(call.key.account.clone(), group.clone(), EVENTS_LIMIT)
        })
    }
}

/// As many lines as fit into an answer, from the end that the reader comes from.
fn within_bytes(mut lines: Vec<LogLine>, from_front: bool) -> Vec<LogLine> {
    let mut room = ANSWER_MAX_BYTES;
    let mut fits = |line: &LogLine| {
        let fits = line.text.len() <= room;
        room = room.saturating_sub(line.text.len());
        fits
    };
    if from_front {
        let count = lines.iter().take_while(|line| fits(line)).count().max(1);
        lines.truncate(count);
    } else {
        let count = lines.iter().rev().take_while(|line| fits(line)).count().max(1);
        lines.drain(..lines.len().saturating_sub(count));
    }
    lines
}

/// At an end of the stream the token of that direction stays the one that was given, which tells clients to stop.
fn events_of(lines: &[LogLine], token: StreamToken) -> LogEvents {
    let (first, last) = match (lines.first(), lines.last(), token) {
        (Some(first), Some(last), _) => (first.number, last.number),
        (_, _, StreamToken::Forward(number)) => (number.saturating_add(1), number),
        (_, _, StreamToken::Backward(number)) => (number, number.saturating_sub(1)),
    };
    LogEvents {
        events: lines.iter().map(Event::of).collect(),
        next_forward_token: StreamToken::Forward(last).write(),
        next_backward_token: StreamToken::Backward(first).write(),
    }
}

fn filtered(lines: Vec<Merged>, next: Option<Cursor>) -> FilteredEvents {
    let event = |Merged { worker, line }: Merged| FilteredEvent {
        log_stream_name: line.stream.to_string(),
        event: Event::of(&line),
        event_id: format!("{:020}-{worker}", line.number),
    };
    FilteredEvents {
        events: lines.into_iter().map(event).collect(),
        searched_log_streams: [],
        next_token: next.map(|cursor| cursor.to_token()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(number: u64, bytes: usize) -> LogLine {
        LogLine { number, unix_ms: number, stream: "s".into(), request_id: None, text: "x".repeat(bytes) }
    }

    #[test]
    fn tokens_of_streams_come_back() {
        for token in [StreamToken::Forward(0), StreamToken::Backward(u64::MAX)] {
            assert_eq!(StreamToken::read(&token.write()), Some(token));
        }
        for bad in ["", "f/1", "x/1/s", "f/-1/s", "f//s"] {
            assert_eq!(StreamToken::read(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn a_reader_at_an_end_gets_its_own_token_back() {
        let forward = StreamToken::Forward(7);
        assert_eq!(events_of(&[], forward).next_forward_token, forward.write());
        let backward = StreamToken::Backward(7);
        assert_eq!(events_of(&[], backward).next_backward_token, backward.write());
        let page = events_of(&[line(3, 1), line(4, 1)], forward);
        assert_eq!(page.next_backward_token, StreamToken::Backward(3).write());
        assert_eq!(page.next_forward_token, StreamToken::Forward(4).write());
        assert_eq!(page.events[0].message, "x\n");
    }

    #[test]
    fn an_answer_is_bounded_and_never_empty_for_that() {
        let lines = || vec![line(1, ANSWER_MAX_BYTES), line(2, ANSWER_MAX_BYTES), line(3, ANSWER_MAX_BYTES + 1)];
        let numbers = |from_front| within_bytes(lines(), from_front).iter().map(|line| line.number).collect::<Vec<_>>();
        assert_eq!((numbers(true), numbers(false)), (vec![1], vec![3]));
        assert!(within_bytes(Vec::new(), true).is_empty() && within_bytes(Vec::new(), false).is_empty());
    }
}
