//! Memory of idle slots beside that of the same kind of program idle behind other walls.

use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use hearth_benches::connection::Connection;
use hearth_benches::function::{self, EVENT, Language};
use hearth_benches::memory;
use hearth_benches::platform::Platform;
use hearth_benches::progress::Progress;
use hearth_benches::report::Report;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Child;

use super::Options;
use super::contest::Contest;
use super::walls::{Deed, Site, Walls};
use crate::density::account::look;

/// What a worker gives a microVM beyond its function's memory, MiB.
const GUEST_KERNEL_MIB: u64 = 32;
const GUEST_BYTES: u64 = (function::SMALLEST_MB as u64 + GUEST_KERNEL_MIB) << 20;

/// Adds what it found to the report.
pub(super) async fn measure(options: &Options, report: &mut Report) -> Result<()> {
    let (sites, absent) = Site::all().await?;
    report.note(
        "Of slots, PSS of all their processes and what hearth itself grew by. Behind other walls an interpreter that has \
         loaded nothing waits for its input, and for provided `cat`: no server, no client of a platform, no function. \
         Counted are all processes that stay, but not crun and runsc themselves, which could leave. Each turn adds as many \
         as the last, and is divided by them.",
    );
    for sentence in absent {
        report.note(sentence);
    }
    for language in options.runtimes() {
        let platform =
            Platform::with(&[("pool-size", "0"), ("keep-alive-min", "1h"), ("cpu-overcommit-percent", "10000")])?;
        let mut slots = Slots::of(&platform, language).await?;
        let ours = [format!("{} slot", platform.isolation)];
        let names = ours.into_iter().chain(sites.iter().map(|site| site.walls.name().to_owned()));
        let mut contest = Contest::of("KiB", names);
        let progress = Progress::of(format!("idle {}", language.name()), options.rounds.into());
        for _ in 0..options.rounds {
            contest.add(0, slots.grow(options.starts).await?);
            for (number, site) in (1..).zip(&sites) {
                contest.add(number, behind(site, language, options.starts).await?);
            }
            progress.step();
        }
        let pairs: Vec<_> = (1..=sites.len()).map(|theirs| (0, theirs)).collect();
        report.table(contest.table(&format!("{}: memory of an idle one", language.name()), &pairs));
        report.data(&format!("idle {}", language.name()), contest.json());
    }
    Ok(())
}

/// A platform that is given more and more.
struct Slots<'a> {
    platform: &'a Platform,
    connection: Connection,
    language: Language,
    count: u32,
}

impl<'a> Slots<'a> {
    /// With two: the first brings in what all share, and what it has becomes shared with the second.
    async fn of(platform: &'a Platform, language: Language) -> Result<Self> {
        let connection = Connection::open(&platform.address, Some(platform.keys.clone())).await?;
        let mut slots = Self { platform, connection, language, count: 0 };
        slots.add().await?;
        slots.add().await?;
        Ok(slots)
    }

    async fn add(&mut self) -> Result<()> {
        let name = format!("idle-{}", self.count);
        function::deploy(&mut self.connection, self.language, &name, function::SMALLEST_MB).await?;
        self.connection.invoke(&name, &EVENT, &EVENT).await?;
        self.count += 1;
        Ok(())
    }

    /// What each of `count` more takes, KiB.
    async fn grow(&mut self, count: u32) -> Result<f64> {
        let before = look(self.platform.pid(), GUEST_BYTES);
        for _ in 0..count {
            self.add().await?;
        }
        let after = look(self.platform.pid(), GUEST_BYTES);
        let came = after.sandboxes.saturating_sub(before.sandboxes);
        ensure!(came == u64::from(count), "{count} slots were added, and {came} came");
        Ok(after.memory.sum().saturating_sub(before.memory.sum()) as f64 / f64::from(count))
    }
}

/// What each of `count` programs behind these walls takes, KiB.
async fn behind(site: &Site, language: Language, count: u32) -> Result<f64> {
    let mut running = Vec::new();
    for number in 0..count {
        running.push(waiting(site, language, &format!("idle-{number}")).await?);
    }
    let kib: u64 = running.iter().filter_map(Child::id).map(|pid| all_of(site.walls, pid)).sum();
    for child in &mut running {
        // The end of its input is what it waits for.
        drop(child.stdin.take());
        child.wait().await?;
    }
    Ok(kib as f64 / f64::from(count))
}

/// A program that has said that it is there.
async fn waiting(site: &Site, language: Language, id: &str) -> Result<Child> {
    let mut command = site.command(language, Deed::Waits, id)?;
    let mut child = command.stdin(Stdio::piped()).spawn().with_context(|| site.walls.name())?;
    let mut output = BufReader::new(child.stdout.take().context("standard output is piped")?);
    let mut line = String::new();
    output.read_line(&mut line).await?;
    ensure!(line == "ready\n", "{} said {line:?}", site.walls.name());
    Ok(child)
}

/// PSS of what must stay, KiB.
fn all_of(walls: Walls, pid: u32) -> u64 {
    let below = memory::descendants(pid).into_iter().map(|(pid, _)| pid);
    let own = match walls {
        Walls::None | Walls::Bwrap => Some(pid),
        Walls::Crun | Walls::Runsc => None,
    };
    below.chain(own).map(memory::pss_kib).sum()
}
