//! Warm calls: latency one at a time, throughput at concurrency 32, each in turn with the same echo served directly.

use std::time::{Duration, Instant};

use anyhow::Result;
use bytes::Bytes;
use http::Method;

use crate::direct::Direct;
use hearth_benches::connection::Connection;
use hearth_benches::function::{self, Language};
use hearth_benches::platform::Platform;
use hearth_benches::statistics::Samples;

const ROUNDS: usize = 5;
const CALLS_A_ROUND: usize = 1_000;
const CONCURRENCY: usize = 32;
const THROUGHPUT_ROUND: Duration = Duration::from_secs(2);
const EVENT: &[u8] = b"\"hello\"";

/// What came of one language.
pub(crate) struct Warm {
    pub(crate) language: Language,
    pub(crate) hearth: Samples,
    pub(crate) direct: Samples,
    pub(crate) hearth_per_second: f64,
    pub(crate) direct_per_second: f64,
}

/// Where calls go.
#[derive(Clone)]
enum Target {
    Hearth { address: String, keys: (String, String), function: String },
    Direct { address: String },
}

impl Target {
    async fn connect(&self) -> Result<Connection> {
        match self {
            Self::Hearth { address, keys, .. } => Connection::open(address, Some(keys.clone())).await,
            Self::Direct { address } => Connection::open(address, None).await,
        }
    }

    async fn call(&self, connection: &mut Connection) -> Result<()> {
        let event = Bytes::from_static(EVENT);
        match self {
            Self::Hearth { function, .. } => connection.invoke(function, &event, &event).await,
            Self::Direct { .. } => {
                let answer = connection.send(Method::POST, "/", event.clone()).await?;
                anyhow::ensure!(answer.body() == &event, "the direct echo answered something else");
                Ok(())
            }
        }
    }
}

/// Measures one language on a running platform.
pub(crate) async fn measure(platform: &Platform, language: Language) -> Result<Warm> {
    let name = format!("warm-{}", language.name());
    let mut control = Connection::open(&platform.address, Some(platform.keys.clone())).await?;
    function::deploy(&mut control, language, &name, function::ONE_CPU_MB).await?;
    let server = match language {
        Language::Provided => Direct::axum()?,
        Language::Python => Direct::python()?,
        Language::Nodejs => Direct::node()?,
    };
    let hearth = Target::Hearth { address: platform.address.clone(), keys: platform.keys.clone(), function: name };
    let direct = Target::Direct { address: server.address.clone() };
    latency(&hearth, 50).await?;
    throughput(&hearth, Duration::from_millis(500)).await?;

    let mut warm = Warm {
        language,
        hearth: Samples::default(),
        direct: Samples::default(),
        hearth_per_second: 0.0,
        direct_per_second: 0.0,
    };
    for _ in 0..ROUNDS {
        warm.hearth.extend(latency(&hearth, CALLS_A_ROUND).await?);
        warm.direct.extend(latency(&direct, CALLS_A_ROUND).await?);
        warm.hearth_per_second += throughput(&hearth, THROUGHPUT_ROUND).await? / ROUNDS as f64;
        warm.direct_per_second += throughput(&direct, THROUGHPUT_ROUND).await? / ROUNDS as f64;
    }
    Ok(warm)
}

async fn latency(target: &Target, calls: usize) -> Result<Samples> {
    let mut connection = target.connect().await?;
    let mut samples = Samples::default();
    for _ in 0..calls {
        let begun = Instant::now();
        target.call(&mut connection).await?;
        samples.push(begun.elapsed());
    }
    Ok(samples)
}

/// Calls per second of [`CONCURRENCY`] callers, each waiting for its answer before the next call.
async fn throughput(target: &Target, during: Duration) -> Result<f64> {
    let begun = Instant::now();
    let callers = (0..CONCURRENCY).map(|_| {
        let target = target.clone();
        tokio::spawn(async move {
            let mut connection = target.connect().await?;
            let mut calls = 0usize;
            while begun.elapsed() < during {
                target.call(&mut connection).await?;
                calls += 1;
            }
            anyhow::Ok(calls)
        })
    });
    let mut calls = 0;
    for caller in callers.collect::<Vec<_>>() {
        calls += caller.await??;
    }
    Ok(calls as f64 / begun.elapsed().as_secs_f64())
}
