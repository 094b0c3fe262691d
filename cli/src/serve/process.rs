//! The life of a role's process: start, `ready`, wait for a signal or a failure, drain, end.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use hearth_daemon::{Readiness, ShutdownSignals, admin, raise_open_files_limit, telemetry};
use prometheus::Registry;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tracing::{info, warn};

use super::roles::{self, Running};
use super::settings::ProcessConfig;

/// Runs the process to its end and says how it went.
pub(super) fn run(config: ProcessConfig) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("start the async runtime");
    match runtime.and_then(|runtime| runtime.block_on(serve(config))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("hearth: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn serve(config: ProcessConfig) -> Result<()> {
    let (format, filter) = &config.log;
    telemetry::start(*format, filter)?;
    if let Err(error) = raise_open_files_limit() {
        warn!(%error, "the limit of open files stays as it is: many slots or connections may not fit");
    }
    let mut signals = ShutdownSignals::listen().context("listen for signals")?;
    let registry = Registry::new();
    let readiness = Readiness::new();
    let listener = bind(config.listen, "listen").await?;
    let admin_listener = bind(config.admin_listen, "admin-listen").await?;
    println!("admin: http://{} (/live, /ready, /metrics)", admin_listener.local_addr()?);
    let (stop_admin, admin_stopped) = oneshot::channel::<()>();
    let admin = tokio::spawn(admin::serve(admin_listener, readiness.clone(), registry.clone(), async {
        // An error means that the sender is gone, which is as good a reason to stop.
        let _ = admin_stopped.await;
    }));

    let grace = config.grace;
    let mut running = roles::start(config.role, listener, &registry, &readiness).await?;
    let mut ended = tokio::select! {
        () = readiness.ready() => {
            println!("ready {}", running.url);
            Ok(None)
        }
        signal = signals.next() => Ok(Some(signal)),
        failure = running.failed() => Err(failure),
    };
    if let Ok(None) = ended {
        ended = tokio::select! {
            signal = signals.next() => Ok(Some(signal)),
            failure = running.failed() => Err(failure),
        };
    }
    if let Ok(Some(signal)) = &ended {
        info!(%signal, ?grace, "draining; a second signal ends at once");
    }
    drain(running, grace, &mut signals).await?;
    drop(stop_admin);
    admin.await.context("admin port")?.context("admin port")?;
    ended.map(|_| ()).map_err(Into::into)
}

/// Binds. A process that was just killed may have left its port, for a moment, to children that had not yet become
/// their sandbox's first program; nothing tells when they have, so this looks again.
async fn bind(address: SocketAddr, setting: &str) -> Result<TcpListener> {
    const PATIENCE: Duration = Duration::from_secs(2);
    const LOOK_AGAIN: Duration = Duration::from_millis(50);
    let deadline = Instant::now() + PATIENCE;
    loop {
        match TcpListener::bind(address).await {
            Err(error) if error.kind() == ErrorKind::AddrInUse && Instant::now() < deadline => {
                tokio::time::sleep(LOOK_AGAIN).await;
            }
            bound => return bound.with_context(|| format!("--{setting} {address}")),
        }
    }
}

/// Shuts the parts down in order, each with what is left of the grace period. A second signal cuts that short.
async fn drain(running: Running, grace: Duration, signals: &mut ShutdownSignals) -> Result<()> {
    let deadline = Instant::now() + grace;
    let parts = async {
        for part in running.parts {
            let name = part.name;
            part.shutdown(deadline.saturating_duration_since(Instant::now())).await;
            info!(part = name, "stopped");
        }
    };
    tokio::select! {
        () = parts => Ok(()),
        signal = signals.next() => {
            warn!(%signal, "ending at once");
            anyhow::bail!("ended by a second {signal} before everything was drained")
        }
    }
}
