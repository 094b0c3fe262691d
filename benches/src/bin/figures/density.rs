//! Memory of idle slots.

use anyhow::{Result, ensure};
use bytes::Bytes;

use hearth_benches::connection::Connection;
use hearth_benches::function::{self, Language};
use hearth_benches::memory;
use hearth_benches::platform::Platform;

const SLOTS: usize = 20;

/// Memory of one idle slot of a language, KiB of PSS.
pub(crate) struct Density {
    pub(crate) language: Language,
    /// The shim.
    pub(crate) shim_kib: f64,
    /// The runtime and the function in it.
    pub(crate) runtime_kib: f64,
    /// What `hearth` itself grew by.
    pub(crate) hearth_kib: f64,
}

/// Makes [`SLOTS`] functions with an idle slot each and divides what that took.
pub(crate) async fn measure(platform: &Platform, language: Language) -> Result<Density> {
    let mut connection = Connection::open(&platform.address, Some(platform.keys.clone())).await?;
    let event = Bytes::from_static(b"\"hello\"");
    let names: Vec<String> = (0..=SLOTS).map(|n| format!("idle-{}-{n}", language.name())).collect();
    // The first one warms what all share.
    function::deploy(&mut connection, language, &names[0], function::SMALLEST_MB).await?;
    connection.invoke(&names[0], &event, &event).await?;
    let (before, hearth_before) = (slots(platform), memory::pss_kib(platform.pid()));
    for name in &names[1..] {
        function::deploy(&mut connection, language, name, function::SMALLEST_MB).await?;
        connection.invoke(name, &event, &event).await?;
    }
    let (after, hearth_after) = (slots(platform), memory::pss_kib(platform.pid()));
    ensure!(after.count >= before.count + SLOTS, "{} slots are not there", SLOTS);
    let per_slot = |total: u64| total as f64 / after.count as f64;
    Ok(Density {
        language,
        shim_kib: per_slot(after.shim_kib),
        runtime_kib: per_slot(after.runtime_kib),
        hearth_kib: hearth_after.saturating_sub(hearth_before) as f64 / SLOTS as f64,
    })
}

/// What a jail shows the shim as.
const JAILED_SHIM: &str = "/run/hearth/init";

struct Slots {
    count: usize,
    shim_kib: u64,
    runtime_kib: u64,
}

/// Every sandbox of a platform that runs without a pool: one shim each, and what the shim started.
fn slots(platform: &Platform) -> Slots {
    let mut slots = Slots { count: 0, shim_kib: 0, runtime_kib: 0 };
    for (pid, command) in memory::descendants(platform.pid()) {
        let kib = memory::pss_kib(pid);
        if command.ends_with("hearth-shim") || command == JAILED_SHIM {
            slots.count += 1;
            slots.shim_kib += kib;
        } else {
            slots.runtime_kib += kib;
        }
    }
    slots
}
