//! Cold calls, with and without a pool, in turn with other walls around the same kind of program.

use std::time::{Duration, Instant};

use anyhow::Result;
use hearth_benches::connection::Connection;
use hearth_benches::function::{self, EVENT, Language};
use hearth_benches::platform::Platform;
use hearth_benches::plot::{Axis, Curve, Plot};
use hearth_benches::progress::Progress;
use hearth_benches::report::Report;
use hearth_benches::statistics::Samples;

use super::Options;
use super::contest::Contest;
use super::walls::Site;

/// Of one runtime.
const POOL: u32 = 4;
/// A pool needs a moment to refill; without one, nothing happens meanwhile.
const REFILL: Duration = Duration::from_millis(150);

/// A function all of whose environments are retired before each call.
struct Cold {
    connection: Connection,
    name: String,
    times: usize,
}

/// Adds what it found to the report.
pub(super) async fn measure(options: &Options, report: &mut Report) -> Result<()> {
    let (sites, absent) = Site::all().await?;
    report.note(
        "A cold call is a whole one: signature, routing, sandbox, code, init, handler, answer. Walls have only been put up \
         and the program in them has ended: for provided a static one that tells its version, for Python and Node.js one \
         that does nothing. runsc runs without control groups.",
    );
    for sentence in absent {
        report.note(sentence);
    }
    let platforms = [Platform::start(POOL)?, Platform::start(0)?];
    for language in options.runtimes() {
        one(language, &platforms, &sites, options, report).await?;
    }
    Ok(())
}

async fn one(
    language: Language,
    platforms: &[Platform; 2],
    sites: &[Site],
    options: &Options,
    report: &mut Report,
) -> Result<()> {
    let isolation = &platforms[0].isolation;
    let ours = [format!("{isolation}, pooled"), format!("{isolation}, un-pooled")];
    let names: Vec<String> = ours.into_iter().chain(sites.iter().map(|site| site.walls.name().to_owned())).collect();
    let mut colds = [Cold::of(&platforms[0], language).await?, Cold::of(&platforms[1], language).await?];
    let mut contest = Contest::of("p50 ms", names.iter().cloned());
    let mut all = vec![Samples::default(); names.len()];
    let progress =
        Progress::of(format!("{} starts of each", language.name()), u64::from(options.rounds * options.starts));
    for _ in 0..options.rounds {
        let mut round = vec![Samples::default(); names.len()];
        for _ in 0..options.starts {
            for (samples, cold) in round.iter_mut().zip(&mut colds) {
                samples.push(cold.call().await?);
            }
            for (samples, site) in round[colds.len()..].iter_mut().zip(sites) {
                let begun = Instant::now();
                site.run(language).await?;
                samples.push(begun.elapsed());
            }
            progress.step();
        }
        for (number, samples) in round.into_iter().enumerate() {
            contest.add(number, samples.quantile_ms(0.5));
            all[number].extend(samples);
        }
    }
    let others = colds.len()..names.len();
    let pairs: Vec<_> = (0..colds.len()).flat_map(|ours| others.clone().map(move |theirs| (ours, theirs))).collect();
    report.table(contest.table(&format!("{}: cold calls", language.name()), &pairs));
    let curves = names.iter().zip(&all).map(|(name, samples)| Curve::distribution(name.clone(), samples));
    let plot = Plot {
        title: format!("{}: cold calls, and walls put up around the same kind of program", language.name()),
        x: Axis::log("ms"),
        y: Axis::percentiles("share of starts that were not slower"),
        curves: curves.collect(),
    };
    let (plot_name, p99) = match language {
        Language::Provided => ("cold-provided", "cold provided p99 ms"),
        Language::Python => ("cold-python", "cold python p99 ms"),
        Language::Nodejs => ("cold-node", "cold node p99 ms"),
    };
    report.plot(plot_name, plot);
    report.data(&format!("cold {}", language.name()), contest.json());
    report.data(p99, all.iter().map(|samples| samples.quantile_ms(0.99)).collect());
    Ok(())
}

impl Cold {
    async fn of(platform: &Platform, language: Language) -> Result<Self> {
        let mut connection = Connection::open(&platform.address, Some(platform.keys.clone())).await?;
        let name = format!("cold-{}", language.name());
        function::deploy(&mut connection, language, &name, function::ONE_CPU_MB).await?;
        Ok(Self { connection, name, times: 0 })
    }

    async fn call(&mut self) -> Result<Duration> {
        self.times += 1;
        function::retire_environments(&mut self.connection, &self.name, self.times).await?;
        tokio::time::sleep(REFILL).await;
        let begun = Instant::now();
        self.connection.invoke(&self.name, &EVENT, &EVENT).await?;
        Ok(begun.elapsed())
    }
}
