//! `GET /hearth/v1/functions/{name}/logs?after=&limit=&waitMs=`: one function's log, merged over all workers. In a log
//! group that functions share, only the streams of this one are its log.
//!
//! Every worker keeps the lines of its own slots and counts them by its own cursor. The client gets one opaque string
//! with all of them and gives it back as `after`. With `waitMs` an answer without lines is held back until some worker
//! has one, so that following is a chain of such calls.

use std::sync::Arc;
use std::time::Duration;

use axum::response::Response;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use hearth_domain::WorkerId;
use hearth_protocol::Worker;
use hearth_protocol::worker::{LogLine, LogPage, LogQuery};
use serde::Serialize;
use tokio::time::Instant;

use super::super::call::Call;
use super::super::{Api, json};
use crate::errors::ApiError;
use crate::logs::cursor::Cursor;
use crate::validation::NameForm;

/// Most lines in one answer.
const LINES_MAX: u32 = 10_000;
/// Lines in one answer unless asked otherwise.
const LINES_DEFAULT: u32 = 1_000;
/// Longest wait for a line, milliseconds.
const WAIT_MAX_MS: u64 = 30_000;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct LogReport {
    lines: Vec<LineView>,
    /// `after` of the next call.
    next: String,
    /// Workers that could not be asked: their lines are missing here, and not lost.
    unreachable: Vec<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct LineView {
    unix_ms: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<String>,
    text: String,
}

impl Api {
    pub(in super::super) async fn hearth_logs(&self, call: Call) -> Result<Response, ApiError> {
        let target = call.target(&self.config.region, NameForm::Namespaced)?;
        let record = self.record(&call, &target).await?;
        let limit = call.query_number("limit", "limit", LINES_MAX, LINES_DEFAULT)?;
        let mut cursor = call.query("after").map_or(Ok(Cursor::default()), |after| read_cursor(&after))?;
        let wait = call.query("waitMs").and_then(|wait| wait.parse::<u64>().ok()).unwrap_or(0).min(WAIT_MAX_MS);
        let workers = self.workers_with_logs().await?;
        let share = limit.div_ceil(u32::try_from(workers.len().max(1)).unwrap_or(u32::MAX));
        let query = |cursor: &Cursor, worker: &WorkerId, wait| LogQuery {
            after: cursor.of(worker),
            wait,
            ..LogQuery::all(call.key.account.clone(), record.logging.group_of(&target.name), share)
        };
        // Shared groups name the function before the version (docs/decisions/0147).
        let own_streams = record.logging.group.as_ref().map(|_| format!("/{}[", target.name));
        let mut report = Merged { own_streams, ..Merged::default() };
        let mut more = true;
        while more && report.lines.is_empty() {
            more = false;
            let mut at_once: FuturesUnordered<_> =
                workers.iter().map(|(id, worker)| ask(id, worker, query(&cursor, id, Duration::ZERO))).collect();
            while let Some((id, page)) = at_once.next().await {
                more |= page.as_ref().is_some_and(|page| !page.at_end);
                report.take(id, page, &mut cursor);
            }
        }
        if report.lines.is_empty() && wait > 0 {
            let wait = Duration::from_millis(wait);
            let later = workers.iter().map(|(id, worker)| ask(id, worker, query(&cursor, id, wait))).collect();
            // A frontend that shuts down answers at once: the client goes on at another one.
            if let Some(Some((id, page))) = self.stopping.run_until_cancelled(first_line(later, wait)).await {
                report.take(id, Some(page), &mut cursor);
            }
        }
        json(200, &report.finish(&cursor))
    }

    pub(in super::super) async fn workers_with_logs(&self) -> Result<Vec<(WorkerId, Arc<dyn Worker>)>, ApiError> {
        let fleet = self.deps.manager.fleet().await?;
        let with_client = |worker: hearth_protocol::placement::FleetWorker| {
            let endpoint = worker.report.worker;
            let client = self.deps.workers.worker(&endpoint);
            (endpoint.id, client)
        };
        Ok(fleet.workers.into_iter().map(with_client).collect())
    }
}

async fn ask<'a>(id: &'a WorkerId, worker: &Arc<dyn Worker>, query: LogQuery) -> (&'a WorkerId, Option<LogPage>) {
    (id, worker.read_log(query).await.ok())
}

/// The first page with a line; what the others have comes with the next call. If nobody can be asked the wait is
/// kept all the same, for a client would ask again at once.
async fn first_line<'a>(
    mut pages: FuturesUnordered<impl Future<Output = (&'a WorkerId, Option<LogPage>)>>,
    wait: Duration,
) -> Option<(&'a WorkerId, LogPage)> {
    let deadline = Instant::now() + wait;
    while let Some((id, page)) = pages.next().await {
        if let Some(page) = page.filter(|page| !page.lines.is_empty()) {
            return Some((id, page));
        }
    }
    tokio::time::sleep_until(deadline).await;
    None
}

#[derive(Default)]
struct Merged {
    /// What is in the name of each of the function's streams, where others write to the group as well.
    own_streams: Option<String>,
    lines: Vec<LogLine>,
    unreachable: Vec<String>,
}

impl Merged {
    fn take(&mut self, worker: &WorkerId, page: Option<LogPage>, cursor: &mut Cursor) {
        let Some(page) = page else {
            if !self.unreachable.iter().any(|known| known == worker.as_str()) {
                self.unreachable.push(worker.to_string());
            }
            return;
        };
        cursor.set(worker, page.next);
        let own = |line: &LogLine| self.own_streams.as_ref().is_none_or(|own| line.stream.contains(own));
        let lines: Vec<_> = page.lines.into_iter().filter(own).collect();
        self.lines.extend(lines);
    }

    fn finish(mut self, cursor: &Cursor) -> LogReport {
        // Stable: lines of one worker stay in their order.
        self.lines.sort_by_key(|line| line.unix_ms);
        let view = |line: LogLine| LineView {
            unix_ms: line.unix_ms,
            request_id: line.request_id.map(|id| id.to_string()),
            text: line.text,
        };
        LogReport {
            lines: self.lines.into_iter().map(view).collect(),
            next: cursor.to_token(),
            unreachable: self.unreachable,
        }
    }
}

fn read_cursor(text: &str) -> Result<Cursor, ApiError> {
    Cursor::from_token(text).ok_or_else(|| ApiError::invalid_parameter("after must be the next of the answer before"))
}
