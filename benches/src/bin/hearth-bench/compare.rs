//! Hearth beside what else is on this machine. Whatever is compared runs in turn, A B A B, in one go: what the machine does
//! meanwhile happens to all. So ratios say something where absolute figures would not; each is told with its spread.

mod cold;
mod contest;
mod idle;
mod servers;
mod walls;
mod warm;

use anyhow::Result;
use clap::{Args, ValueEnum};
use hearth_benches::function::Language;
use hearth_benches::report::Report;
use serde_json::json;

pub(crate) use servers::serve_echo;

/// What to compare, and with what.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// What of it
    #[arg(value_enum, default_value_t = What::All)]
    what: What,
    /// An echo server that runs already, for warm calls: it answers POST with what it was sent; may be given several times
    #[arg(long, value_name = "URL")]
    url: Vec<String>,
    /// What that server is called in the report; one for each --url, in the same order
    #[arg(long, value_name = "NAME")]
    name: Vec<String>,
    /// What functions run on: provided, python or node [all that are here]
    #[arg(long, value_name = "RUNTIME")]
    runtime: Vec<Language>,
    /// Times that each has its turn
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    rounds: u32,
    /// Calls, one after the other, in a turn (warm)
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..))]
    calls: u32,
    /// Starts in a round (cold); idle ones added in a turn (density)
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..))]
    starts: u32,
}

/// Jobs that can be compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum What {
    /// Calls that find a slot, beside echo servers
    Warm,
    /// Calls that find none, beside bwrap, crun and runsc starting the same kind of program
    Cold,
    /// Memory of idle slots, beside the same kind of program idle in bwrap, crun and runsc
    Density,
    /// All of these
    All,
}

impl Options {
    fn runtimes(&self) -> Vec<Language> {
        if self.runtime.is_empty() { Language::here() } else { self.runtime.clone() }
    }

    /// Servers that run already, with their names.
    fn servers(&self) -> Vec<(String, String)> {
        let name = |(number, url): (usize, &String)| (self.name.get(number).unwrap_or(url).clone(), url.clone());
        self.url.iter().enumerate().map(name).collect()
    }
}

/// In one report.
pub(crate) async fn measure(options: &Options) -> Result<Report> {
    let job = match options.what {
        What::Warm => "compare-warm",
        What::Cold => "compare-cold",
        What::Density => "compare-density",
        What::All => "compare",
    };
    let runtimes: Vec<_> = options.runtimes().into_iter().map(Language::name).collect();
    let json = json!({
        "runtime": runtimes, "rounds": options.rounds, "calls": options.calls, "starts": options.starts,
        "servers": options.servers().iter().map(|(name, url)| format!("{name} at {url}")).collect::<Vec<_>>(),
    });
    let mut report = Report::new(job, json);
    report.note(
        "Everything in a table ran in turn, in rounds. A ratio is taken within each round and told as the median of all \
         rounds with the lowest and the highest; below 1, Hearth needs less. Absolute figures are those of this machine \
         under the load above.",
    );
    let wants = |what: What| options.what == what || options.what == What::All;
    if wants(What::Warm) {
        warm::measure(options, &mut report).await?;
    }
    if wants(What::Cold) {
        cold::measure(options, &mut report).await?;
    }
    if wants(What::Density) {
        idle::measure(options, &mut report).await?;
    }
    Ok(report)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::arguments::{Arguments, Job};

    #[test]
    fn servers_have_names() {
        let line = "hearth-bench compare warm --url http://h:1/ --name faasd --url http://h:2/f --runtime node";
        let Job::Compare(options) = Arguments::try_parse_from(line.split(' ')).unwrap().job else {
            panic!("compare was asked for")
        };
        let named = |name: &str, url: &str| (name.to_owned(), url.to_owned());
        assert_eq!(options.servers(), [named("faasd", "http://h:1/"), named("http://h:2/f", "http://h:2/f")]);
        assert_eq!((options.what, options.runtimes()), (What::Warm, vec![Language::Nodejs]));
    }
}
