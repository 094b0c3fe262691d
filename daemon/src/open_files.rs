//! How many files and sockets the process may have open.

use std::io;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the soft limit (`ulimit -Sn`, 1,024 where nobody changed it) to the hard one, and says what it is then; `None`
/// without any. The soft one protects programs that call select(2), which this is not; a worker has some fifteen
/// descriptors for each slot. What a sandbox may have open is set for each by itself.
pub fn raise_open_files_limit() -> io::Result<Option<u64>> {
    let hard = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: hard, maximum: hard })?;
    Ok(hard)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_soft_limit_becomes_the_hard_one() {
        let before = getrlimit(Resource::Nofile);
        let lower = before.maximum.map(|hard| hard / 2);
        setrlimit(Resource::Nofile, Rlimit { current: lower.or(Some(512)), maximum: before.maximum }).unwrap();
        assert_eq!(raise_open_files_limit().unwrap(), before.maximum);
        assert_eq!(getrlimit(Resource::Nofile).current, before.maximum);
    }
}
