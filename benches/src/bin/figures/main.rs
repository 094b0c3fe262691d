//! `figures`: the numbers of SPECIFICATION.md, measured on the machine at hand, each beside something else in the same
//! minute. Prints a table and writes `target/figures.json`. Ends by itself. `figures warm`, `cold` or `density` measures
//! just that.
#![forbid(unsafe_code)]

mod bwrap;
mod cold;
mod density;
mod direct;
mod warm;

use anyhow::Result;
use hearth_benches::machine;
use serde_json::{Value, json};

use crate::cold::Cold;
use crate::density::Density;
use crate::warm::Warm;
use hearth_benches::function::Language;
use hearth_benches::platform::Platform;

#[tokio::main]
async fn main() -> Result<()> {
    if std::env::args().nth(1).as_deref() == Some(direct::SERVE) {
        return direct::serve().await;
    }
    let only = std::env::args().nth(1);
    let wanted = |job: &str| only.as_deref().is_none_or(|only| only == job);
    let machine = machine::describe();
    println!("machine: {machine}");
    let mut report = vec![json!({"machine": machine})];

    if wanted("warm") {
        let platform = Platform::start(4)?;
        println!("isolation: {}", platform.isolation);
        for language in Language::ALL {
            report.push(show_warm(&warm::measure(&platform, language).await?));
        }
    }
    if wanted("cold") {
        for (what, pool_size) in [("pooled cold start", 4), ("un-pooled cold start", 0)] {
            let platform = Platform::start(pool_size)?;
            for language in Language::ALL {
                report.push(show_cold(what, &cold::measure(&platform, language).await?));
            }
        }
    }
    if wanted("density") {
        for language in Language::ALL {
            let platform = Platform::start(0)?;
            report.push(show_density(&density::measure(&platform, language).await?));
        }
    }
    let path = "target/figures.json";
    std::fs::write(path, serde_json::to_vec_pretty(&report)?)?;
    println!("written: {path}");
    Ok(())
}

fn show_warm(warm: &Warm) -> Value {
    let (p50, p99) = (warm.hearth.quantile_ms(0.5), warm.hearth.quantile_ms(0.99));
    let (direct_p50, direct_p99) = (warm.direct.quantile_ms(0.5), warm.direct.quantile_ms(0.99));
    let name = warm.language.name();
    println!(
        "warm {name}: p50 {p50:.3} ms (direct {direct_p50:.3}, ×{:.1}), p99 {p99:.3} ms (direct {direct_p99:.3}), {} calls each",
        p50 / direct_p50,
        warm.hearth.len()
    );
    println!(
        "warm {name} at concurrency 32: {:.0}/s (direct {:.0}/s, ×{:.2})",
        warm.hearth_per_second,
        warm.direct_per_second,
        warm.hearth_per_second / warm.direct_per_second
    );
    json!({"warm": name, "p50_ms": p50, "p99_ms": p99, "direct_p50_ms": direct_p50, "direct_p99_ms": direct_p99,
           "per_second": warm.hearth_per_second, "direct_per_second": warm.direct_per_second})
}

fn show_cold(what: &str, cold: &Cold) -> Value {
    let (p50, p99) = (cold.hearth.quantile_ms(0.5), cold.hearth.quantile_ms(0.99));
    let (bwrap_p50, bwrap_p99) = (cold.bwrap.quantile_ms(0.5), cold.bwrap.quantile_ms(0.99));
    let name = cold.language.name();
    println!(
        "{what} {name}: p50 {p50:.2} ms, p99 {p99:.2} ms (bwrap starting the same program: {bwrap_p50:.2}, {bwrap_p99:.2}; ×{:.2})",
        p50 / bwrap_p50
    );
    json!({"cold": what, "language": name, "p50_ms": p50, "p99_ms": p99, "bwrap_p50_ms": bwrap_p50, "bwrap_p99_ms": bwrap_p99})
}

fn show_density(density: &Density) -> Value {
    let name = density.language.name();
    let own = density.shim_kib + density.hearth_kib;
    println!(
        "idle slot {name}: {:.0} KiB of PSS: shim {:.0}, runtime and function {:.0}, hearth {:.0}; the platform's own share {own:.0} KiB",
        own + density.runtime_kib,
        density.shim_kib,
        density.runtime_kib,
        density.hearth_kib
    );
    json!({"idle_slot": name, "shim_kib": density.shim_kib, "runtime_kib": density.runtime_kib, "hearth_kib": density.hearth_kib})
}
