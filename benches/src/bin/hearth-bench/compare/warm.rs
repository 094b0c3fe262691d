//! Warm calls: latency one at a time and throughput at concurrency 32, Hearth in turn with the same echo served otherwise.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use hearth_benches::connection::Connection;
use hearth_benches::function::{self, EVENT, Language};
use hearth_benches::platform::Platform;
use hearth_benches::plot::{Axis, Curve, Plot};
use hearth_benches::progress::Progress;
use hearth_benches::report::Report;
use hearth_benches::statistics::Samples;
use http::Method;

use super::Options;
use super::contest::Contest;
use super::servers::Server;

const CONCURRENCY: usize = 32;
const THROUGHPUT_TURN: Duration = Duration::from_secs(1);
/// Calls before the first round.
const WARM_UP: u32 = 100;

/// Where calls go.
#[derive(Clone)]
struct Target {
    address: String,
    path: String,
    keys: Option<(String, String)>,
}

/// Who has a turn.
struct Side {
    name: String,
    target: Target,
    all: Samples,
}

/// Adds what it found to the report.
pub(super) async fn measure(options: &Options, report: &mut Report) -> Result<()> {
    let platform = Platform::start(4)?;
    let direct = options.runtimes().into_iter().map(Server::direct).collect::<Result<Vec<_>>>()?;
    let workerd = Server::workerd()?;
    if workerd.is_none() {
        report.note("workerd is not here: neither on the path nor in ./node_modules (npm install workerd).");
    }
    let mut sides = Vec::new();
    let mut pairs = Vec::new();
    for language in options.runtimes() {
        sides.push(Side::hearth(&platform, language).await?);
    }
    let functions = sides.len();
    for (number, server) in direct.iter().enumerate() {
        pairs.push((number, sides.len()));
        sides.push(Side::server(server.name, &server.address, "/"));
    }
    if let Some(server) = &workerd {
        sides.push(Side::server(server.name, &server.address, "/"));
    }
    for (name, url) in options.servers() {
        let rest = url.strip_prefix("http://").with_context(|| format!("{url} does not begin with http://"))?;
        let (address, path) = rest.split_once('/').unwrap_or((rest, ""));
        sides.push(Side::server(&name, address, &format!("/{path}")));
    }
    let others = functions + direct.len()..sides.len();
    pairs.extend((0..functions).flat_map(|number| others.clone().map(move |other| (number, other))));
    let contests = play(&mut sides, options).await?;
    show(report, &sides, &pairs, &contests);
    Ok(())
}

impl Side {
    async fn hearth(platform: &Platform, language: Language) -> Result<Self> {
        let name = format!("warm-{}", language.name());
        let mut control = Connection::open(&platform.address, Some(platform.keys.clone())).await?;
        function::deploy(&mut control, language, &name, function::ONE_CPU_MB).await?;
        let path = format!("/2015-03-31/functions/{name}/invocations");
        let target = Target { address: platform.address.clone(), path, keys: Some(platform.keys.clone()) };
        Ok(Self { name: format!("{} {}", platform.isolation, language.name()), target, all: Samples::default() })
    }

    fn server(name: &str, address: &str, path: &str) -> Self {
        let target = Target { address: address.to_owned(), path: path.to_owned(), keys: None };
        Self { name: name.to_owned(), target, all: Samples::default() }
    }
}

/// p50, p99 and calls a second of all sides, by round.
async fn play(sides: &mut [Side], options: &Options) -> Result<[Contest; 3]> {
    let names = || sides.iter().map(|side| side.name.clone());
    let mut contests = ["p50 ms", "p99 ms", "calls/s"].map(|measure| Contest::of(measure, names()));
    for side in &*sides {
        // All slots that throughput needs are there before it counts.
        latency(&side.target, WARM_UP).await.with_context(|| side.name.clone())?;
        throughput(&side.target, THROUGHPUT_TURN).await?;
    }
    let progress = Progress::of("warm turns", u64::from(options.rounds) * sides.len() as u64);
    for _ in 0..options.rounds {
        for (number, side) in sides.iter_mut().enumerate() {
            let samples = latency(&side.target, options.calls).await?;
            contests[0].add(number, samples.quantile_ms(0.5));
            contests[1].add(number, samples.quantile_ms(0.99));
            contests[2].add(number, throughput(&side.target, THROUGHPUT_TURN).await?);
            side.all.extend(samples);
            progress.step();
        }
    }
    Ok(contests)
}

fn show(report: &mut Report, sides: &[Side], pairs: &[(usize, usize)], contests: &[Contest; 3]) {
    let titles = ["Warm calls one at a time, p50", "Warm calls one at a time, p99", "Warm calls at concurrency 32"];
    for (contest, title) in contests.iter().zip(titles) {
        report.table(contest.table(title, pairs));
        report.data(&format!("warm {}", contest.measure()), contest.json());
    }
    let curves = sides.iter().map(|side| Curve::distribution(side.name.clone(), &side.all));
    report.plot(
        "warm",
        Plot {
            title: "Warm calls, one at a time".into(),
            x: Axis::log("ms"),
            y: Axis::percentiles("share of calls that were not slower"),
            curves: curves.collect(),
        },
    );
}

async fn latency(target: &Target, calls: u32) -> Result<Samples> {
    let mut connection = target.connect().await?;
    let mut samples = Samples::default();
    for _ in 0..calls {
        let begun = Instant::now();
        target.call(&mut connection).await?;
        samples.push(begun.elapsed());
    }
    Ok(samples)
}

/// Calls a second of [`CONCURRENCY`] callers, each waiting for its answer before the next call.
async fn throughput(target: &Target, during: Duration) -> Result<f64> {
    let begun = Instant::now();
    let mut callers = tokio::task::JoinSet::new();
    for _ in 0..CONCURRENCY {
        let target = target.clone();
        callers.spawn(async move {
            let mut connection = target.connect().await?;
            let mut calls = 0_u32;
            while begun.elapsed() < during {
                target.call(&mut connection).await?;
                calls += 1;
            }
            anyhow::Ok(calls)
        });
    }
    let mut calls = 0;
    while let Some(caller) = callers.join_next().await {
        calls += caller??;
    }
    Ok(f64::from(calls) / begun.elapsed().as_secs_f64())
}

impl Target {
    async fn connect(&self) -> Result<Connection> {
        Connection::open(&self.address, self.keys.clone()).await
    }

    async fn call(&self, connection: &mut Connection) -> Result<()> {
        let answer = connection.send(Method::POST, &self.path, EVENT).await?;
        let is_echo = answer.status().is_success() && answer.body() == &EVENT;
        let said = || String::from_utf8_lossy(answer.body()).into_owned();
        ensure!(is_echo, "{}{} answered {} {}", self.address, self.path, answer.status(), said());
        Ok(())
    }
}
