//! The platform that a job calls: one of its own, started for it and stopped after it, or one that runs already.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use clap::Args;
use hearth_benches::connection::Connection;
use hearth_benches::function::{self, Language};
use hearth_benches::platform::{self, Platform};
use serde_json::{Value, json};

/// Where to measure.
#[derive(Debug, Clone, Args)]
#[group(skip)]
pub(crate) struct Options {
    /// What to measure [default: provided and python]
    #[arg(long = "runtime", value_name = "RUNTIME")]
    runtimes: Vec<Language>,
    /// How the platform that is started isolates [default: what `hearth doctor` chooses]
    #[arg(long, value_name = "ISOLATION", value_parser = ["process", "jail", "kvm"], conflicts_with = "url")]
    pub(crate) isolation: Option<String>,
    /// Memory of the functions, MB: their share of the CPU goes with it
    #[arg(long, value_name = "MB", default_value_t = function::ONE_CPU_MB)]
    memory_mb: u32,
    /// Measure a platform that runs already, http://HOST:PORT
    #[arg(long, value_name = "URL", requires = "keys")]
    url: Option<String>,
    /// Its access key, as `hearth up` writes it: DATA_DIR/credentials
    #[arg(long, value_name = "FILE", requires = "url")]
    keys: Option<PathBuf>,
}

/// A running platform.
pub(crate) struct Site {
    /// `host:port`.
    pub(crate) address: String,
    pub(crate) keys: (String, String),
    /// How its workers isolate.
    pub(crate) isolation: String,
    /// For what is no call.
    pub(crate) control: Connection,
    memory_mb: u32,
    deployed: Vec<String>,
    own: Option<Platform>,
}

impl Options {
    /// What to measure.
    pub(crate) fn languages(&self) -> Vec<Language> {
        if self.runtimes.is_empty() { vec![Language::Provided, Language::Python] } else { self.runtimes.clone() }
    }

    /// Whether the platform is started for the job.
    pub(crate) const fn is_own(&self) -> bool {
        self.url.is_none()
    }

    /// For the report.
    pub(crate) fn json(&self) -> Value {
        let runtimes: Vec<_> = self.languages().into_iter().map(Language::name).collect();
        json!({"runtimes": runtimes, "isolation": self.isolation, "memory_mb": self.memory_mb, "url": self.url})
    }

    /// Starts a platform with these settings of `hearth up`, or finds the one that was named.
    pub(crate) async fn open(&self, settings: &[(&str, &str)]) -> Result<Site> {
        let (address, keys, own) = match (&self.url, &self.keys) {
            (Some(url), Some(keys)) => {
                let address = url.strip_prefix("http://").context("--url begins with http://")?.trim_end_matches('/');
                (address.to_owned(), platform::read_keys(keys)?, None)
            }
            _ => {
                let isolation = self.isolation.as_deref().map(|isolation| ("isolation", isolation));
                let settings: Vec<_> = settings.iter().copied().chain(isolation).collect();
                let own = Platform::with(&settings)?;
                (own.address.clone(), own.keys.clone(), Some(own))
            }
        };
        let mut control = Connection::open(&address, Some(keys.clone())).await?;
        let isolation = isolation(&mut control).await?;
        Ok(Site { address, keys, isolation, control, memory_mb: self.memory_mb, deployed: Vec::new(), own })
    }
}

impl Site {
    /// Makes an echo of the language's; it goes with [`Self::close`].
    pub(crate) async fn deploy(&mut self, job: &str, language: Language) -> Result<String> {
        let name = format!("bench-{job}-{}-{}", language.name(), std::process::id());
        function::deploy(&mut self.control, language, &name, self.memory_mb).await?;
        self.deployed.push(name.clone());
        Ok(name)
    }

    /// The process of a platform of one's own.
    pub(crate) fn pid(&self) -> Option<u32> {
        self.own.as_ref().map(Platform::pid)
    }

    /// Leaves nothing behind.
    pub(crate) async fn close(mut self) -> Result<()> {
        for name in std::mem::take(&mut self.deployed) {
            function::delete(&mut self.control, &name).await?;
        }
        Ok(())
    }
}

/// How the workers isolate. What was taken on workers that differ would mean nothing.
async fn isolation(control: &mut Connection) -> Result<String> {
    let fleet = function::fleet(control).await?;
    let mut found: Vec<_> =
        fleet["workers"].as_array().into_iter().flatten().map(|worker| &worker["isolation"]).collect();
    found.dedup();
    ensure!(found.len() == 1, "the workers isolate in {} ways", found.len());
    found[0].as_str().map(str::to_owned).context("a worker does not say how it isolates")
}
