//! Filter patterns of logs: one that is read has a line or has it not, and without a pattern every line is had.

use super::lines;
use crate::logs::pattern::Pattern;

/// Lines: a pattern; then the line of a log.
pub fn patterns(data: &[u8]) {
    let ([pattern], line) = lines(data);
    let Ok(read) = Pattern::read(&pattern) else { return };
    let has = read.has(&line);
    assert!(has || !pattern.trim().is_empty(), "an empty pattern has every line");
    assert_eq!(Pattern::read(pattern.trim()).map(|trimmed| trimmed.has(&line)), Ok(has), "{pattern:?}");
}
