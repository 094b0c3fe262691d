//! How many idle slots this machine holds and what each costs: through a platform of its own, functions are made one after
//! the other, each answers once and stays. Ends where it was told to, or where the platform says that it is full.

pub(crate) mod account;
mod growth;
mod limits;
mod shown;

use anyhow::Result;
use clap::Args;
use hearth_benches::function::{Language, SMALLEST_MB};
use hearth_benches::report::Report;
use serde_json::json;

use growth::{Growth, Until};

/// Slots if nothing else is said.
const SLOTS_DEFAULT: u32 = 100;

/// How to measure them.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// What functions run on: provided, python or node; several are measured one after the other [all that are here]
    #[arg(long, value_name = "RUNTIME")]
    runtime: Vec<Language>,
    /// Kind of sandbox: kvm, jail or process; several are measured one after the other [what this host has]
    #[arg(long, value_name = "KIND")]
    isolation: Vec<String>,
    /// Stop when so much of the machine's memory is in use, by whomever, such as 80%
    #[arg(long, value_name = "PERCENT", value_parser = percent)]
    until_memory: Option<u32>,
    /// Stop at so many slots [100, or 20,000 with --until-memory]
    #[arg(short = 'n', long = "count", value_name = "N", value_parser = clap::value_parser!(u32).range(1..=20_000))]
    count: Option<u32>,
    /// At the end, every K-th slot is called again
    #[arg(long, value_name = "K", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    every: u32,
    /// Memory of each function, MB
    #[arg(long, value_name = "MB", default_value_t = SMALLEST_MB, value_parser = clap::value_parser!(u32).range(128..=10_240))]
    memory: u32,
}

impl Options {
    fn until(&self) -> Until {
        const SLOTS_MAX: u32 = 20_000;
        let slots = self.count.unwrap_or(if self.until_memory.is_some() { SLOTS_MAX } else { SLOTS_DEFAULT });
        Until { slots, memory_percent: self.until_memory }
    }

    /// What is asked for; else every runtime that is here.
    fn runtimes(&self) -> Vec<Language> {
        if self.runtime.is_empty() { Language::here() } else { self.runtime.clone() }
    }

    fn isolations(&self) -> Vec<Option<&str>> {
        if self.isolation.is_empty() { vec![None] } else { self.isolation.iter().map(|kind| Some(&**kind)).collect() }
    }
}

/// Each runtime in each kind of sandbox, on a platform of its own.
pub(crate) async fn measure(options: &Options) -> Result<Report> {
    let mut found: Vec<Growth> = Vec::new();
    for isolation in options.isolations() {
        for language in options.runtimes() {
            found.push(growth::measure(language, isolation, options.memory, options.until(), options.every).await?);
        }
    }
    let json = json!({
        "runtime": options.runtimes().iter().map(|language| language.name()).collect::<Vec<_>>(),
        "isolation": options.isolation, "until_memory_percent": options.until_memory, "count": options.until().slots,
        "every": options.every, "memory_mb": options.memory,
    });
    Ok(shown::report(json, &found))
}

fn percent(text: &str) -> Result<u32, String> {
    let number = text.trim_end_matches('%').parse().ok().filter(|percent| (1..=95).contains(percent));
    number.ok_or_else(|| "from 1% to 95%".into())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::arguments::{Arguments, Job};

    fn options(line: &[&str]) -> Result<Options, clap::Error> {
        let line = ["hearth-bench", "density"].iter().chain(line);
        match Arguments::try_parse_from(line)?.job {
            Job::Density(options) => Ok(options),
            other => panic!("density was asked for, not {other:?}"),
        }
    }

    #[test]
    fn it_stops_where_it_is_told_to() {
        let until = |line: &[&str]| options(line).unwrap().until();
        assert_eq!(until(&[]), Until { slots: 100, memory_percent: None });
        assert_eq!(until(&["--until-memory", "80%"]), Until { slots: 20_000, memory_percent: Some(80) });
        assert_eq!(until(&["-n", "7", "--until-memory", "50"]), Until { slots: 7, memory_percent: Some(50) });
        assert!(options(&["--until-memory", "100%"]).is_err() && options(&["--every", "0"]).is_err());
        assert!(options(&["--runtime", "cobol"]).is_err());
        assert_eq!(options(&["--runtime", "python"]).unwrap().runtimes(), [Language::Python]);
    }
}
