//! How long starts take: one sandbox after the other, each killed before the next.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;
use hearth_benches::progress::Progress;
use hearth_benches::statistics::Samples;
use hearth_microvm::Sandbox;

use super::Options;
use super::bed::{Answered, Bed};
use super::dialogue::Dialogue;

/// Starts that are not counted: they bring files and caches in, which later ones have for nothing.
const WARM_UPS: u32 = 2;

/// What was measured.
#[derive(Debug, Default)]
pub(super) struct Starts {
    /// From the call to the shim's word, or to the function's answer.
    pub(super) whole: Samples,
    /// Of that, what the launcher took; the rest is the sandbox's own doing.
    pub(super) launcher: Samples,
    /// By the shim's own account: what a microVM had done at which time after its kernel's start.
    pub(super) phases: BTreeMap<u64, (String, Samples)>,
    /// What was over at which time after the call, where there is a function.
    pub(super) steps: BTreeMap<u64, (String, Samples)>,
}

impl Starts {
    fn add_steps(&mut self, begun: Instant, word: Instant, answered: Option<Answered>) {
        let Some(Answered { attached, initialized, answered }) = answered else {
            self.whole.push(word - begun);
            return;
        };
        self.whole.push(answered - begun);
        let steps = [("shim's word", word), ("code attached", attached), ("init", initialized), ("answer", answered)];
        for (place, (name, at)) in (0..).zip(steps) {
            let (_, samples) = self.steps.entry(place).or_insert((name.to_owned(), Samples::default()));
            samples.push(at - begun);
        }
    }
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
        let word = Instant::now();
        let answered = call(bed, options, number, &mut *sandbox, &mut dialogue).await?;
        if number >= WARM_UPS {
            starts.add_steps(begun, word, answered);
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
        let (mut sandbox, mut dialogue) = bed.restore(&format!("bench-{number}"), &snapshot).await?;
        let word = Instant::now();
        let answered = call(bed, options, number, &mut *sandbox, &mut dialogue).await?;
        if number >= WARM_UPS {
            starts.add_steps(begun, word, answered);
        }
        sandbox.kill().await?;
        progress.step();
    }
    Ok(starts)
}

/// Has start `number` answer a call, if there is a function. What the first one touched until then is what later ones get
/// ahead.
async fn call(
    bed: &Bed,
    options: &Options,
    number: u32,
    sandbox: &mut dyn Sandbox,
    dialogue: &mut Dialogue,
) -> Result<Option<Answered>> {
    let answered = bed.call(sandbox, dialogue).await?;
    if number == 0 && !options.no_prefetch {
        sandbox.record_prefetch().await?;
    }
    Ok(answered)
}

/// Snapshots, each of a sandbox booted for it and at rest; and what the files of the last take on the disk, KiB.
pub(super) async fn snapshots(bed: &Bed, options: &Options) -> Result<(Starts, u64)> {
    let (mut starts, mut kib) = (Starts::default(), 0);
    let progress = progress("snapshots", bed, options);
    for number in 0..WARM_UPS + options.count {
        let (mut sandbox, _dialogue, snapshot) = bed.at_rest().await?;
        let begun = Instant::now();
        sandbox.snapshot().await?;
        if number >= WARM_UPS {
            starts.whole.push(begun.elapsed());
        }
        kib = allocated_kib(&snapshot)?;
        std::fs::remove_dir_all(&snapshot)?;
        progress.step();
    }
    Ok((starts, kib))
}

fn allocated_kib(directory: &Path) -> Result<u64> {
    let mut blocks = 0;
    for entry in std::fs::read_dir(directory)? {
        blocks += entry?.metadata()?.blocks();
    }
    Ok(blocks / 2)
}

fn progress(what: &str, bed: &Bed, options: &Options) -> Progress {
    Progress::of(format!("{} {what}", bed.launcher.isolation()), (WARM_UPS + options.count).into())
}
