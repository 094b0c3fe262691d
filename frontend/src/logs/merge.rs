//! Pages of one group from several workers, made one page in the order of time.
//!
//! Each worker numbers its own lines, so a place in the group is one number for each worker ([`Cursor`]). A line is given
//! out only when no worker can still have an earlier one that was not given out: a worker whose page ended before its log
//! did holds back what is later than its last line.

use std::collections::VecDeque;

use hearth_domain::WorkerId;
use hearth_protocol::worker::{LogLine, LogPage};

use super::cursor::Cursor;

/// A line with the worker it is from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Merged {
    /// The worker.
    pub worker: WorkerId,
    /// The line.
    pub line: LogLine,
}

/// Lines in the order of time, and where to go on.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MergedPage {
    /// The lines.
    pub lines: Vec<Merged>,
    /// Where to go on.
    pub cursor: Cursor,
    /// Whether there was nothing more.
    pub at_end: bool,
}

/// Merges what workers answered to a query after `cursor`; at most `limit` lines that `wanted` lets through. What was
/// looked at and not wanted is passed over for good.
#[must_use]
pub fn merge(
    cursor: &Cursor,
    pages: Vec<(WorkerId, LogPage)>,
    limit: usize,
    wanted: impl Fn(&LogLine) -> bool,
) -> MergedPage {
    let mut merged = MergedPage { cursor: cursor.clone(), at_end: true, ..MergedPage::default() };
    let horizon = pages.iter().filter_map(horizon).min();
    let mut parts: Vec<_> = pages.into_iter().map(Part::from).collect();
    loop {
        let front = |(index, part): (usize, &Part)| Some((part.lines.front()?.unix_ms, index));
        let Some((unix_ms, index)) = parts.iter().enumerate().filter_map(front).min() else { break };
        if merged.lines.len() == limit || horizon.is_some_and(|horizon| unix_ms > horizon) {
            break;
        }
        let part = &mut parts[index];
        let Some(line) = part.lines.pop_front() else { break };
        merged.cursor.set(&part.worker, line.number);
        if wanted(&line) {
            merged.lines.push(Merged { worker: part.worker.clone(), line });
        }
    }
    for part in parts {
        merged.at_end &= part.at_end && part.lines.is_empty();
        if part.lines.is_empty() {
            merged.cursor.set(&part.worker, part.next);
        }
    }
    merged
}

/// The time of the last line of a page after which there are more.
fn horizon((_, page): &(WorkerId, LogPage)) -> Option<u64> {
    page.lines.last().filter(|_| !page.at_end).map(|line| line.unix_ms)
}

/// What is left of a worker's page.
struct Part {
    worker: WorkerId,
    lines: VecDeque<LogLine>,
    next: u64,
    at_end: bool,
}

impl From<(WorkerId, LogPage)> for Part {
    fn from((worker, page): (WorkerId, LogPage)) -> Self {
        Self { worker, lines: page.lines.into(), next: page.next, at_end: page.at_end }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    /// A worker that answers pages of at most `limit` lines, as the real one does.
    fn page(lines: &[LogLine], after: u64, limit: usize) -> LogPage {
        let left: Vec<_> = lines.iter().filter(|line| line.number > after).cloned().collect();
        let at_end = left.len() <= limit;
        let lines: Vec<_> = left.into_iter().take(limit).collect();
        LogPage { next: lines.last().map_or(after, |line| line.number), lines, at_end }
    }

    fn logs() -> impl Strategy<Value = BTreeMap<WorkerId, Vec<LogLine>>> {
        let steps = prop::collection::vec(0u64..3, 0..30);
        prop::collection::vec(steps, 1..4).prop_map(|workers| {
            let log = |(index, steps): (usize, Vec<u64>)| {
                let mut unix_ms = 1_000;
                let line = |(number, step): (usize, u64)| {
                    unix_ms += step;
                    let text = format!("{index} {number}");
                    LogLine { number: number as u64 + 1, unix_ms, stream: "s".into(), request_id: None, text }
                };
                let lines = steps.into_iter().enumerate().map(line).collect();
                (WorkerId::new(&format!("w-{index}")).unwrap(), lines)
            };
            workers.into_iter().enumerate().map(log).collect()
        })
    }

    proptest! {
        #[test]
        fn every_line_comes_once_and_in_the_order_of_time(logs in logs(), page_size in 1usize..7, limit in 1usize..9) {
            let (mut cursor, mut seen, mut rounds) = (Cursor::default(), Vec::new(), 0);
            loop {
                let ask = |(worker, lines): (&WorkerId, &Vec<LogLine>)| {
                    (worker.clone(), page(lines, cursor.of(worker), page_size))
                };
                let merged = merge(&cursor, logs.iter().map(ask).collect(), limit, |_| true);
                prop_assert!(merged.lines.len() <= limit);
                seen.extend(merged.lines);
                // Through the token, as a client goes on.
                cursor = Cursor::from_token(&merged.cursor.to_token()).unwrap();
                rounds += 1;
                prop_assert!(rounds < 1_000, "no progress");
                if merged.at_end {
                    break;
                }
            }
            prop_assert_eq!(seen.len(), logs.values().map(Vec::len).sum::<usize>());
            prop_assert!(seen.is_sorted_by_key(|merged| merged.line.unix_ms));
            for (worker, lines) in &logs {
                let own: Vec<_> = seen.iter().filter(|seen| seen.worker == *worker).map(|seen| &seen.line).collect();
                prop_assert_eq!(own, lines.iter().collect::<Vec<_>>());
            }
        }

        #[test]
        fn what_is_not_wanted_is_passed_over(logs in logs()) {
            let pages = logs.iter().map(|(worker, lines)| (worker.clone(), page(lines, 0, 100))).collect();
            let merged = merge(&Cursor::default(), pages, 1_000, |_| false);
            prop_assert!(merged.lines.is_empty() && merged.at_end);
            for (worker, lines) in &logs {
                prop_assert_eq!(merged.cursor.of(worker), lines.len() as u64);
            }
        }
    }
}
