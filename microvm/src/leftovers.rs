//! What a launcher that was killed left behind, found by what it had written down.

use std::fs;
use std::io;

use crate::cgroup;
use crate::state::State;

/// Kills and removes what the state directory lists of earlier launchers; answers how many sandboxes that were.
pub(crate) fn clean_up(state: &State) -> io::Result<usize> {
    // Groups first: a paused sandbox does not die of a signal before it is thawed.
    for (record, groups) in state.earlier_groups()? {
        cgroup::remove_leftovers(&groups)?;
        fs::remove_file(record)?;
    }
    let left = state.kill_earlier_sandboxes()?;
    for id in &left {
        state.forget_sandbox(id);
    }
    Ok(left.iter().filter(|id| !State::is_nameless(id)).count())
}
