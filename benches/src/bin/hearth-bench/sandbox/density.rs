//! What idle sandboxes cost: memory of all processes of the launcher, by how many sandboxes there are, beyond what it has
//! without any.

use anyhow::{Context, Result, ensure};
use hearth_benches::memory::{self, Resident};
use hearth_benches::progress::Progress;
use hearth_microvm::{Isolation, Sandbox};

use super::Options;
use super::bed::Bed;
use super::dialogue::Dialogue;

/// Points of the curve at most.
const POINTS: u32 = 20;

/// The memory of `count` sandboxes, KiB.
#[derive(Debug, Clone, Copy)]
pub(super) struct Point {
    pub(super) count: u32,
    /// As the processes' page tables say.
    pub(super) resident: Resident,
    /// As the control groups are charged.
    pub(super) charged_kib: u64,
}

/// Starts `options.count` sandboxes and takes the curve.
pub(super) async fn measure(bed: &Bed, options: &Options) -> Result<Vec<Point>> {
    let snapshot = if bed.launcher.has_snapshots() { Some(bed.snapshot().await?) } else { None };
    let step = options.count.div_ceil(POINTS);
    let guest_bytes = if bed.launcher.isolation() == Isolation::Kvm { u64::from(bed.memory_mib) << 20 } else { 0 };
    let before = look(guest_bytes);
    let mut kept: Vec<(Box<dyn Sandbox>, Dialogue)> = Vec::new();
    let mut points = Vec::new();
    let progress = Progress::of(format!("{} sandboxes", bed.launcher.isolation()), options.count.into());
    for number in 1..=options.count {
        let id = format!("bench-{number}");
        let one = match &snapshot {
            Some(snapshot) => bed.restore(&id, snapshot).await,
            None => boot(bed, &id).await,
        };
        let (mut sandbox, mut dialogue) = one.with_context(|| format!("sandbox {number}"))?;
        bed.call(&mut *sandbox, &mut dialogue).await?;
        if number == 1 && snapshot.is_some() && !options.no_prefetch {
            // As a worker does after the first answer.
            sandbox.record_prefetch().await?;
        }
        kept.push((sandbox, dialogue));
        progress.step();
        if number % step == 0 || number == options.count {
            points.push(point(&kept, number, guest_bytes, before)?);
        }
    }
    for (sandbox, _) in &mut kept {
        sandbox.kill().await?;
    }
    Ok(points)
}

async fn boot(bed: &Bed, id: &str) -> Result<(Box<dyn Sandbox>, Dialogue)> {
    let (sandbox, mut dialogue) = bed.boot(id, None).await?;
    dialogue.ready().await?;
    Ok((sandbox, dialogue))
}

fn point(kept: &[(Box<dyn Sandbox>, Dialogue)], count: u32, guest_bytes: u64, before: Resident) -> Result<Point> {
    let now = look(guest_bytes);
    ensure!(now.pss > 0, "this kernel does not tell the memory of processes (/proc/PID/smaps)");
    let resident = Resident {
        pss: now.pss.saturating_sub(before.pss),
        private: now.private.saturating_sub(before.private),
        shared: now.shared.saturating_sub(before.shared),
        own: now.own.saturating_sub(before.own),
    };
    let charged = kept.iter().map(|(sandbox, _)| sandbox.usage().map_or(0, |usage| usage.memory_bytes));
    Ok(Point { count, resident, charged_kib: charged.sum::<u64>() / 1024 })
}

/// All processes below this one.
fn look(guest_bytes: u64) -> Resident {
    let processes = memory::descendants(std::process::id());
    processes.into_iter().map(|(pid, _)| memory::resident(pid, guest_bytes)).fold(Resident::default(), |a, b| a + b)
}
