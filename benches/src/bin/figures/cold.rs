//! Cold starts through the API, with and without the pool, in turn with bwrap starting the same program.

use std::time::{Duration, Instant};

use anyhow::Result;
use bytes::Bytes;

use crate::bwrap;
use hearth_benches::connection::Connection;
use hearth_benches::function::{self, Language};
use hearth_benches::platform::{Platform, release_binary};
use hearth_benches::statistics::Samples;

const STARTS: usize = 40;

/// What came of one language on one platform.
pub(crate) struct Cold {
    pub(crate) language: Language,
    pub(crate) hearth: Samples,
    /// Empty where bwrap is not installed.
    pub(crate) bwrap: Samples,
}

/// Measures cold calls: every one meets a function all of whose environments were just retired.
pub(crate) async fn measure(platform: &Platform, language: Language) -> Result<Cold> {
    // With a pool, it needs a moment to refill; without one, nothing happens meanwhile.
    const BETWEEN: Duration = Duration::from_millis(150);
    let name = format!("cold-{}", language.name());
    let mut connection = Connection::open(&platform.address, Some(platform.keys.clone())).await?;
    function::deploy(&mut connection, language, &name, function::ONE_CPU_MB).await?;
    let event = Bytes::from_static(b"\"hello\"");
    let mut cold = Cold { language, hearth: Samples::default(), bwrap: Samples::default() };
    for round in 0..STARTS {
        function::retire_environments(&mut connection, &name, round).await?;
        tokio::time::sleep(BETWEEN).await;
        let begun = Instant::now();
        connection.invoke(&name, &event, &event).await?;
        cold.hearth.push(begun.elapsed());
        if bwrap::available() {
            cold.bwrap.push(beside(language)?);
        }
    }
    Ok(cold)
}

/// The same kind of program, started by bwrap until it ends.
fn beside(language: Language) -> Result<Duration> {
    match language {
        Language::Provided => {
            // A static program that ends at once: the shim telling its version.
            let shim = release_binary("hearth-shim")?;
            bwrap::run_bound(&shim, &["--version"])
        }
        Language::Python => bwrap::run(&["/usr/bin/python3", "-c", "pass"]),
        Language::Nodejs => bwrap::run(&["/usr/bin/node", "-e", "0"]),
    }
}
