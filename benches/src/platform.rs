//! A Hearth of one's own, started from the program beside this one and stopped at the end.

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail};

/// A running `hearth up`. Stopped with SIGTERM when dropped.
pub struct Platform {
    process: Child,
    _directory: tempfile::TempDir,
    /// `host:port` of the HTTP API.
    pub address: String,
    /// Access key id and secret.
    pub keys: (String, String),
    /// How it isolates.
    pub isolation: String,
}

impl Platform {
    /// Starts one with `pool_size` and waits until it is ready.
    pub fn start(pool_size: u32) -> Result<Self> {
        Self::with(&[("pool-size", &pool_size.to_string())])
    }

    /// Starts one with these settings of `hearth up`, by name, and waits until it is ready. It isolates as well as this
    /// host can if they say nothing else.
    pub fn with(settings: &[(&str, &str)]) -> Result<Self> {
        let hearth = release_binary("hearth")?;
        let asked = settings.iter().find(|(name, _)| *name == "isolation").map(|(_, kind)| (*kind).to_owned());
        let isolation = asked.map_or_else(|| chosen_isolation(&hearth), Ok)?;
        let directory = tempfile::tempdir()?;
        let mut command = Command::new(&hearth);
        command.args(["up", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--isolation", &isolation]);
        for (name, value) in settings.iter().filter(|(name, _)| *name != "isolation") {
            command.args([&format!("--{name}"), *value]);
        }
        let mut process = command
            .arg("--data-dir")
            .arg(directory.path())
            .env("HEARTH_LOG", "warn")
            // Ctrl-C is for the job, which then stops its platform.
            .process_group(0)
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("start {}", hearth.display()))?;
        let output = BufReader::new(process.stdout.take().context("standard output is piped")?);
        let ready = output.lines().map_while(Result::ok).find(|line| line.starts_with("ready http://"));
        let Some(ready) = ready else { bail!("hearth up ended before it was ready: {}", process.wait()?) };
        let keys = read_keys(&directory.path().join("credentials"))?;
        let address = ready.trim_start_matches("ready http://").trim_end_matches('/').to_owned();
        Ok(Self { process, _directory: directory, address, keys, isolation })
    }

    /// The process id of `hearth up`.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }
}

impl Drop for Platform {
    fn drop(&mut self) {
        let pid = self.process.id().to_string();
        // The benches crate has no `unsafe`, and so no kill(2): the command does the same.
        let asked = Command::new("kill").args(["-TERM", &pid]).status();
        if asked.is_ok_and(|status| status.success()) {
            let _ = self.process.wait();
        } else {
            let _ = self.process.kill();
        }
    }
}

/// `NAME` beside this very program, in `target/release` or `target/debug`.
pub fn release_binary(name: &str) -> Result<PathBuf> {
    let own = std::env::current_exe()?;
    let path = own.parent().unwrap_or(Path::new(".")).join(name);
    if !path.exists() {
        bail!("{} is not there: it belongs beside hearth-bench (`make build` puts it there)", path.display());
    }
    Ok(path)
}

fn chosen_isolation(hearth: &Path) -> Result<String> {
    let output = Command::new(hearth).args(["doctor", "--chosen"]).output()?;
    let chosen = String::from_utf8(output.stdout)?.trim().to_owned();
    if chosen != "none" {
        return Ok(chosen);
    }
    eprintln!(
        "hearth-bench: this machine allows no jail: these are figures of --isolation process, which is NO SECURITY BOUNDARY"
    );
    Ok("process".into())
}

/// Access key id and secret of a file as `hearth up` writes it, in the form that AWS's tools read.
pub fn read_keys(credentials: &Path) -> Result<(String, String)> {
    let text = std::fs::read_to_string(credentials).with_context(|| credentials.display().to_string())?;
    let value = |key: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(key)?.trim().strip_prefix('='));
        line.map(|value| value.trim().to_owned()).with_context(|| format!("{key} in {}", credentials.display()))
    };
    Ok((value("aws_access_key_id")?, value("aws_secret_access_key")?))
}
