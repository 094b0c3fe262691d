//! Where the state of the host's memory comes from: the kernel's pressure stall information (Linux,
//! Documentation/accounting/psi.rst, "Monitoring for pressure thresholds") where it can be waited for; a look at what is
//! available every second where not. A worker in a container looks at its cgroup's memory.

use std::fs::{File, OpenOptions, read_to_string};
use std::io::{self, Write};
use std::time::Duration;

use async_trait::async_trait;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tracing::{debug, info};

use super::core::Sample;

/// How often memory is looked at where nothing tells.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// A stall worth telling: something waited for 15 % of a second.
const TRIGGER: &str = "some 150000 1000000";
/// The kernel lets ordinary users ask for whole multiples of two seconds only.
const TRIGGER_OF_ORDINARY_USERS: &str = "some 300000 2000000";
const CGROUP: &str = "/sys/fs/cgroup";

/// Tells when the host's memory may be short.
#[async_trait]
pub trait MemorySource: Send + 'static {
    /// Resolves when something may have changed for the worse. Cancel safe.
    async fn changed(&mut self) -> Sample;

    /// What it is now.
    fn now(&mut self) -> Sample;
}

/// The memory of this host, or of the container it really is.
#[derive(Debug)]
pub struct HostMemory {
    trigger: Option<AsyncFd<File>>,
}

impl HostMemory {
    /// Looks for the best source there is. To be called within a runtime.
    #[must_use]
    pub fn open() -> Self {
        let trigger = trigger();
        match &trigger {
            Ok(_) => debug!("the kernel tells when memory is short"),
            Err(error) => info!(%error, "the kernel can't tell when memory is short: it is looked at every second"),
        }
        Self { trigger: trigger.ok() }
    }
}

#[async_trait]
impl MemorySource for HostMemory {
    async fn changed(&mut self) -> Sample {
        let mut stalled = false;
        if let Some(trigger) = &self.trigger {
            match trigger.ready(Interest::PRIORITY).await {
                Ok(mut ready) => {
                    stalled = ready.ready().is_priority();
                    ready.clear_ready();
                }
                Err(error) => {
                    info!(%error, "the kernel stopped telling when memory is short: it is looked at every second");
                    self.trigger = None;
                }
            }
        } else {
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Sample { stalled, ..self.now() }
    }

    fn now(&mut self) -> Sample {
        Sample { stalled: false, available_permille: available_permille() }
    }
}

#[expect(deprecated, reason = "its successor is unsafe, for descriptors that may change; a File's does not")]
fn trigger() -> io::Result<AsyncFd<File>> {
    let limited = read_to_string(format!("{CGROUP}/memory.max")).is_ok_and(|max| max.trim() != "max");
    let path = if limited { format!("{CGROUP}/memory.pressure") } else { "/proc/pressure/memory".to_owned() };
    let armed = |text: &str| {
        let mut file = OpenOptions::new().read(true).write(true).open(&path)?;
        file.write_all(format!("{text}\0").as_bytes()).map(|()| file)
    };
    let file = armed(TRIGGER).or_else(|_| armed(TRIGGER_OF_ORDINARY_USERS))?;
    AsyncFd::with_interest(file, Interest::PRIORITY)
}

/// Of the host and of the cgroup, whichever has less. Where nothing can be read, all is well.
fn available_permille() -> u32 {
    let host = read_to_string("/proc/meminfo").ok().and_then(|meminfo| of_meminfo(&meminfo));
    let cgroup = [
        ["memory.max", "memory.current", "memory.stat"],
        ["memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "memory/memory.stat"],
    ];
    let read = |name: &str| read_to_string(format!("{CGROUP}/{name}")).ok();
    let cgroups =
        cgroup.iter().filter_map(|[max, current, stat]| of_cgroup(&read(max)?, &read(current)?, &read(stat)?));
    host.into_iter().chain(cgroups).min().unwrap_or(1_000)
}

fn of_meminfo(meminfo: &str) -> Option<u32> {
    let kb = |name: &str| -> Option<u64> {
        meminfo.lines().find_map(|line| line.strip_prefix(name)?.trim().strip_suffix(" kB")?.trim().parse().ok())
    };
    permille(kb("MemAvailable:")?, kb("MemTotal:")?)
}

/// Files that nobody used of late can be pushed out, so they are available.
fn of_cgroup(max: &str, current: &str, stat: &str) -> Option<u32> {
    let (max, current): (u64, u64) = (max.trim().parse().ok()?, current.trim().parse().ok()?);
    let inactive = stat.lines().find_map(|line| {
        let value = line.strip_prefix("total_inactive_file ").or_else(|| line.strip_prefix("inactive_file "))?;
        value.parse::<u64>().ok()
    });
    permille(max.saturating_sub(current.saturating_sub(inactive.unwrap_or(0))), max)
}

fn permille(part: u64, whole: u64) -> Option<u32> {
    u32::try_from(u128::from(part) * 1_000 / u128::from(whole.max(1))).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_says_is_understood() {
        let meminfo = "MemTotal:       1000 kB\nMemFree:         10 kB\nMemAvailable:    250 kB\n";
        assert_eq!(of_meminfo(meminfo), Some(250));
        assert_eq!(of_meminfo("nothing"), None);
        assert_eq!(of_cgroup("1000\n", "950\n", "anon 3\ninactive_file 50\n"), Some(100));
        assert_eq!(of_cgroup("max\n", "950\n", ""), None);
        assert!(available_permille() <= 1_000);
    }

    #[tokio::test]
    async fn this_host_has_a_source() {
        let mut memory = HostMemory::open();
        assert!(!memory.now().stalled);
    }
}
