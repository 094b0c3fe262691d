//! `cold-start`: calls that meet no idle slot, each taken apart into its phases.

mod found;
mod pool;

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use hearth_benches::connection::Connection;
use hearth_benches::function::{self, Language};
use hearth_benches::phases::Phases;
use hearth_benches::progress::Progress;
use hearth_benches::report::Report;
use serde_json::json;

use crate::site::{self, Site};
use found::Found;
use pool::Pool;

/// Between what retires the environment before and the next call: the platform ends it meanwhile.
const BETWEEN: Duration = Duration::from_millis(150);
/// Calls before those that count: the first unpacks the code and fills caches.
const UNCOUNTED: u32 = 3;
/// Longest that one call may take to be cold: tries for each that counts.
const TRIES: u32 = 3;

/// Which starts, and how many.
#[derive(Debug, Args)]
pub(crate) struct Options {
    #[command(flatten)]
    site: site::Options,
    /// Starts of each runtime
    #[arg(short = 'n', long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    count: u32,
    /// Sandboxes of each runtime that the platform keeps ready; 0 boots one for each start
    #[arg(long, value_name = "N", default_value_t = 0, conflicts_with = "url")]
    pool: u32,
    /// Restore sandboxes from a snapshot instead of booting them; only microVMs have snapshots
    #[arg(long, conflicts_with = "url")]
    snapshot: bool,
}

/// Runs the job.
pub(crate) async fn measure(options: &Options) -> Result<Report> {
    let snapshots = if options.snapshot { "on" } else { "off" };
    let pool = options.pool.to_string();
    let mut site = options.site.open(&[("pool-size", &pool), ("snapshots", snapshots)]).await?;
    if options.snapshot && site.isolation != "kvm" {
        bail!(
            "--snapshot needs microVMs: this platform isolates by {}, and such a sandbox can't be snapshotted; \
             `hearth doctor` says whether this machine can run microVMs",
            site.isolation
        );
    }
    let mut found = Vec::new();
    for language in options.site.languages() {
        found.push(starts(&mut site, options, language).await?);
    }
    let how = how(options, &site);
    site.close().await?;
    let asked = json!({"site": options.site.json(), "count": options.count, "pool": options.pool,
                       "snapshot": options.snapshot, "isolation": how.isolation});
    Ok(found::report(asked, &how, &found))
}

/// How sandboxes came about, in words.
struct How {
    isolation: String,
    start: String,
}

fn how(options: &Options, site: &Site) -> How {
    let start = match (options.site.is_own(), options.pool, options.snapshot) {
        (false, ..) => "as the platform that was named does it".to_owned(),
        (_, 0, false) => "each sandbox booted for its call".to_owned(),
        (_, 0, true) => "each sandbox restored from a snapshot for its call".to_owned(),
        (_, pool, _) => format!("each sandbox taken from a pool of {pool}"),
    };
    How { isolation: site.isolation.clone(), start }
}

async fn starts(site: &mut Site, options: &Options, language: Language) -> Result<Found> {
    let name = site.deploy("cold", language).await?;
    let pool = Pool::of(&mut site.control, options.pool).await?;
    let mut caller = Connection::open(&site.address, Some(site.keys.clone())).await?;
    let progress = Progress::of(format!("cold starts of {}", language.name()), u64::from(options.count));
    let mut found = Found { language, phases: Phases::default(), booted: 0, warm: 0 };
    let (mut round, event) = (0, function::EVENT);
    let last = UNCOUNTED + options.count.saturating_mul(TRIES);
    while found.phases.whole.len() < options.count as usize {
        ensure!(round < last, "of {round} calls only {} met no idle slot", found.phases.whole.len());
        function::retire_environments(&mut site.control, &name, round as usize).await?;
        tokio::time::sleep(BETWEEN).await;
        pool.filled(&mut site.control).await?;
        let call = caller.timed(&name, &event).await.with_context(|| format!("start {round} of {name}"))?;
        round += 1;
        if round <= UNCOUNTED {
            continue;
        }
        if call.is_cold() {
            found.booted += usize::from(call.part("boot").is_some());
            found.phases.push(&call);
            progress.step();
        } else {
            found.warm += 1;
        }
    }
    Ok(found)
}
