//! How long starts take: one sandbox after the other, each killed before the next.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::Result;
use hearth_benches::progress::Progress;
use hearth_benches::statistics::Samples;

use super::Options;
use super::bed::Bed;

/// Starts that are not counted: they bring files and caches in, which later ones have for nothing.
const WARM_UPS: u32 = 2;

/// What was measured.
#[derive(Debug, Default)]
pub(super) struct Starts {
    /// From the call to the shim's word.
    pub(super) whole: Samples,
    /// Of that, what the launcher took; the rest is the sandbox's own doing.
    pub(super) launcher: Samples,
    /// By the shim's own account: what a microVM had done at which time after its kernel's start.
    pub(super) phases: BTreeMap<u64, (String, Samples)>,
}

/// Boots.
pub(super) async fn boots(bed: &Bed, options: &Options) -> Result<Starts> {
    let mut starts = Starts::default();
    let progress = progress("boots", bed, options);
    for number in 0..WARM_UPS + options.count {
        let begun = Instant::now();
        let (mut sandbox, mut dialogue) = bed.boot(&format!("bench-{number}"), None).await?;
        let launched = begun.elapsed();
        let ready = dialogue.ready().await?;
        let whole = begun.elapsed();
        if number >= WARM_UPS {
            starts.whole.push(whole);
            starts.launcher.push(launched);
            for (place, phase) in (0..).zip(ready.boot_phases) {
                let (_, samples) = starts.phases.entry(place).or_insert((phase.name, Samples::default()));
                samples.push(Duration::from_micros(phase.at_us));
            }
        }
        sandbox.kill().await?;
        progress.step();
    }
    Ok(starts)
}

/// Restores, all of one snapshot.
pub(super) async fn restores(bed: &Bed, options: &Options) -> Result<Starts> {
    let snapshot = bed.snapshot().await?;
    let mut starts = Starts::default();
    let progress = progress("restores", bed, options);
    for number in 0..WARM_UPS + options.count {
        let begun = Instant::now();
        let (mut sandbox, _dialogue) = bed.restore(&format!("bench-{number}"), &snapshot).await?;
        let whole = begun.elapsed();
        if number == 0 {
            // What it touched until now is what later ones get ahead.
            sandbox.record_prefetch().await?;
        }
        if number >= WARM_UPS {
            starts.whole.push(whole);
        }
        sandbox.kill().await?;
        progress.step();
    }
    Ok(starts)
}

fn progress(what: &str, bed: &Bed, options: &Options) -> Progress {
    Progress::of(format!("{} {what}", bed.launcher.isolation()), (WARM_UPS + options.count).into())
}
