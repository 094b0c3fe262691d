//! `burst`: calls that come at once to a function that has few environments or none. How long until all are answered, how
//! many environments that made, and how much CPU time, beside what single starts of the same function take in the same run.

mod found;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use clap::Args;
use hearth_benches::connection::Connection;
use hearth_benches::cpu_tree;
use hearth_benches::function::{self, Language};
use hearth_benches::platform::Platform;
use hearth_benches::progress::Progress;
use hearth_benches::report::Report;
use hearth_benches::statistics::Samples;
use http::Method;
use serde_json::{Value, json};
use tokio::task::JoinSet;

/// Between what retires environments and what is measured: the platform ends them meanwhile.
const BETWEEN: Duration = Duration::from_millis(500);
/// Starts that are not counted: they unpack the code and fill caches.
const UNCOUNTED: usize = 2;

/// How many calls.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// What to measure: provided, python or node; give it again for more [default: provided and python]
    #[arg(long = "runtime", value_name = "RUNTIME")]
    runtimes: Vec<Language>,
    /// Memory of the functions, MB: what many need at once must be there
    #[arg(long, value_name = "MB", default_value_t = function::SMALLEST_MB)]
    memory_mb: u32,
    /// Environments that are there before, by as many calls at once
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=1_000))]
    from: u32,
    /// Calls at once
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    to: u32,
    /// Bursts of each runtime
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// Single starts that a burst is held against
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    singles: u32,
    /// Sandboxes of each runtime that the platform keeps ready
    #[arg(long, value_name = "N", default_value_t = 0)]
    pool: u32,
}

/// What came of one runtime.
struct Found {
    language: Language,
    /// From the call to its answer, one at a time.
    singles: Samples,
    /// What those took in CPU time, each on average.
    single_cpu: Duration,
    bursts: Vec<Burst>,
}

/// One burst.
struct Burst {
    /// From the first call to each answer.
    answers: Samples,
    /// Until the last.
    whole: Duration,
    /// CPU time of the platform and everything below it.
    cpu: Duration,
    /// Environments that were there when all were answered, beyond those before.
    made: usize,
}

/// A platform, and a connection for what is no call.
struct Site {
    platform: Platform,
    control: Connection,
}

/// Runs the job.
pub(crate) async fn measure(options: &Options) -> Result<Report> {
    let pool = options.pool;
    let platform = tokio::task::spawn_blocking(move || Platform::start(pool)).await??;
    let control = Connection::open(&platform.address, Some(platform.keys.clone())).await?;
    let mut site = Site { platform, control };
    let languages =
        if options.runtimes.is_empty() { vec![Language::Provided, Language::Python] } else { options.runtimes.clone() };
    let mut found = Vec::new();
    for language in &languages {
        found.push(bursts(&mut site, options, *language).await?);
    }
    let names: Vec<_> = languages.into_iter().map(Language::name).collect();
    let asked = json!({"runtimes": names, "isolation": site.platform.isolation, "memory_mb": options.memory_mb,
                       "from": options.from, "to": options.to, "rounds": options.rounds, "singles": options.singles,
                       "pool": options.pool});
    Ok(found::report(asked, options.from, options.to, &found))
}

async fn bursts(site: &mut Site, options: &Options, language: Language) -> Result<Found> {
    let (pid, name) = (site.platform.pid(), format!("burst-{}", language.name()));
    function::deploy(&mut site.control, language, &name, options.memory_mb).await?;
    let mut callers = Vec::new();
    for _ in 0..options.to.max(options.from) {
        callers.push(Connection::open(&site.platform.address, Some(site.platform.keys.clone())).await?);
    }
    let steps = u64::from(options.singles) + u64::from(options.rounds);
    let progress = Progress::of(format!("bursts of {}", language.name()), steps);
    let (singles, single_cpu) = singles(site, options, &name, &mut callers[0], &progress).await?;
    let mut found = Found { language, singles, single_cpu, bursts: Vec::new() };
    for round in 0..options.rounds {
        retire(site, &name, (UNCOUNTED as u32 + options.singles + round) as usize).await?;
        if options.from > 0 {
            (callers, _) = at_once(callers, options.from, &name).await?;
        }
        let (before, cpu) = (slots(site, &name).await?, cpu_tree::of_tree(pid));
        let begun = Instant::now();
        let answers;
        (callers, answers) = at_once(callers, options.to, &name).await?;
        let whole = begun.elapsed();
        let cpu = cpu_tree::of_tree(pid).saturating_sub(cpu);
        let made = slots(site, &name).await?.difference(&before).count();
        found.bursts.push(Burst { answers, whole, cpu, made });
        progress.step();
    }
    Ok(found)
}

/// Starts one after the other, and the CPU time of each from its call to its answer: the end of the environment before is
/// over by then, as it is when a burst begins.
async fn singles(
    site: &mut Site,
    options: &Options,
    name: &str,
    caller: &mut Connection,
    progress: &Progress,
) -> Result<(Samples, Duration)> {
    let event = function::EVENT;
    let pid = site.platform.pid();
    let (mut samples, mut spent) = (Samples::default(), Duration::ZERO);
    for round in 0..UNCOUNTED + options.singles as usize {
        retire(site, name, round).await?;
        let (begun, cpu) = (Instant::now(), cpu_tree::of_tree(pid));
        caller.invoke(name, &event, &event).await.with_context(|| format!("start {round} of {name}"))?;
        let whole = begun.elapsed();
        if round >= UNCOUNTED {
            spent += cpu_tree::of_tree(pid).saturating_sub(cpu);
            samples.push(whole);
            progress.step();
        }
    }
    Ok((samples, spent / options.singles))
}

/// The environments of a function that the worker manager holds.
async fn slots(site: &mut Site, name: &str) -> Result<BTreeSet<String>> {
    let answer = site.control.send(Method::GET, "/hearth/v1/workers", Bytes::new()).await?;
    if answer.status() != 200 {
        bail!("asking for the slots: {} {}", answer.status(), String::from_utf8_lossy(answer.body()));
    }
    let fleet: Value = serde_json::from_slice(answer.body())?;
    let slots = fleet["slots"].as_array().into_iter().flatten();
    let of_function = slots.filter(|slot| slot["function"].as_str().is_some_and(|function| function.contains(name)));
    Ok(of_function.filter_map(|slot| slot["id"].as_str().map(str::to_owned)).collect())
}

/// Ends the function's environments and waits until that costs nothing more.
async fn retire(site: &mut Site, name: &str, round: usize) -> Result<()> {
    function::retire_environments(&mut site.control, name, round).await?;
    tokio::time::sleep(BETWEEN).await;
    Ok(())
}

/// So many calls, each on a connection of its own that is open already; all must be answered.
async fn at_once(callers: Vec<Connection>, calls: u32, name: &str) -> Result<(Vec<Connection>, Samples)> {
    let event = function::EVENT;
    let (mut under_way, mut idle) = (JoinSet::new(), Vec::new());
    let begun = Instant::now();
    for (number, mut caller) in callers.into_iter().enumerate() {
        if number >= calls as usize {
            idle.push(caller);
            continue;
        }
        let (name, event) = (name.to_owned(), event.clone());
        under_way.spawn(async move { caller.invoke(&name, &event, &event).await.map(|()| (caller, begun.elapsed())) });
    }
    let mut answers = Samples::default();
    while let Some(answered) = under_way.join_next().await {
        let (caller, at) = answered?.context("a call of the burst")?;
        answers.push(at);
        idle.push(caller);
    }
    ensure!(answers.len() == calls as usize, "{} of {calls} calls were answered", answers.len());
    Ok((idle, answers))
}
