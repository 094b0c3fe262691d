//! Puts roles together: `up` with direct calls, the others with gRPC. The roles can't tell.

mod sandboxes;

use std::fmt::Display;
use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use hearth_daemon::{OnFailure, Readiness, TaskFailure, Tasks};
use hearth_frontend::Frontend;
use hearth_placement::Placement;
use hearth_protocol::grpc::{self, GrpcDirectory, PlacementClient, Roles, WorkerManagerClient};
use hearth_protocol::{LocalDirectory, WorkerDirectory, WorkerEndpoint};
use hearth_store::embedded::Database;
use hearth_store::files::FileBundles;
use hearth_store::{BundleStore, EventQueue};
use hearth_worker::Worker;
use hearth_worker_manager::WorkerManager;
use prometheus::Registry;
use tokio::net::TcpListener;

use super::first_start::ensure_credentials;
use super::settings::{RoleConfig, Switch, WorkerSettings};

type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// What runs in this process.
pub(super) struct Running {
    /// Where it serves.
    pub(super) url: String,
    /// What to shut down, in this order.
    pub(super) parts: Vec<Part>,
}

/// Something to shut down.
pub(super) struct Part {
    /// For the log.
    pub(super) name: &'static str,
    failed: BoxFuture<TaskFailure>,
    shutdown: Box<dyn FnOnce(Duration) -> BoxFuture<()> + Send>,
}

impl Running {
    /// Resolves when a part can't go on.
    pub(super) async fn failed(&mut self) -> TaskFailure {
        futures::future::select_all(self.parts.iter_mut().map(|part| &mut part.failed)).await.0
    }
}

impl Part {
    /// Ends it, within `grace`.
    pub(super) async fn shutdown(self, grace: Duration) {
        (self.shutdown)(grace).await;
    }
}

/// Makes a [`Part`] of a role: all of them fail and stop alike, but have no trait of their own for it.
macro_rules! part {
    ($name:literal, $role:expr) => {{
        let (role, tasks) = (Arc::clone(&$role), $role.tasks().clone());
        Part {
            name: $name,
            failed: Box::pin(async move { tasks.failed().await }),
            shutdown: Box::new(move |grace| Box::pin(async move { role.shutdown(grace).await })),
        }
    }};
}

/// Starts what `role` asks for, serving on `listener`.
pub(super) async fn start(
    role: RoleConfig,
    listener: TcpListener,
    registry: &Registry,
    readiness: &Readiness,
) -> Result<Running> {
    let url = format!("http://{}", listener.local_addr()?);
    let parts = match role {
        RoleConfig::Up { data_dir, frontend, worker_manager, placement, worker } => {
            up(&data_dir, (frontend, worker_manager, placement, worker), listener, registry, readiness).await?
        }
        RoleConfig::Frontend { data_dir, config, worker_manager } => {
            let manager = Arc::new(WorkerManagerClient::new(&worker_manager)?);
            let workers: Arc<dyn WorkerDirectory> = Arc::new(GrpcDirectory::new());
            vec![frontend(&data_dir, config, manager, workers, listener, registry).await?]
        }
        RoleConfig::WorkerManager { config, placement } => {
            let placement = Arc::new(PlacementClient::new(&placement)?);
            let deps = hearth_worker_manager::Deps { placement };
            let manager = WorkerManager::start(config, deps, registry)?;
            let served = Roles { worker_manager: Some(manager.clone()), placement: None, worker: None };
            // The manager drains first: calls under way are completed through its server.
            vec![part!("worker manager", manager), serve_grpc(listener, served)]
        }
        RoleConfig::Placement { config } => {
            let deps = hearth_placement::Deps { workers: Arc::new(GrpcDirectory::new()) };
            let placement = Placement::start(config, deps, registry)?;
            let served = Roles { worker_manager: None, placement: Some(placement.clone()), worker: None };
            vec![serve_grpc(listener, served), part!("placement", placement)]
        }
        RoleConfig::Worker { config, placement, advertise } => {
            let endpoint =
                WorkerEndpoint { id: config.id.clone(), url: advertise.unwrap_or_else(|| url.clone()).into() };
            let placement = Arc::new(PlacementClient::new(&placement)?);
            let worker = worker(config, endpoint, placement, registry, readiness).await?;
            let served = Roles { worker_manager: None, placement: None, worker: Some(worker.clone()) };
            // The worker drains first: calls under way come through its server.
            vec![part!("worker", worker), serve_grpc(listener, served)]
        }
    };
    Ok(Running { url, parts })
}

type UpConfigs = (hearth_frontend::Config, hearth_worker_manager::Config, hearth_placement::Config, WorkerSettings);

/// All four roles, joined by direct calls. They stop in the order of the path of a call: nothing new comes in, what
/// runs finishes, and then what it ran on goes.
async fn up(
    data_dir: &Path,
    (frontend_config, manager_config, placement_config, worker_settings): UpConfigs,
    listener: TcpListener,
    registry: &Registry,
    readiness: &Readiness,
) -> Result<Vec<Part>> {
    let directory = Arc::new(LocalDirectory::new());
    let deps = hearth_placement::Deps { workers: directory.clone() };
    let placement = Placement::start(placement_config, deps, registry)?;
    let endpoint = WorkerEndpoint { id: worker_settings.id.clone(), url: "".into() };
    let worker = worker(worker_settings, endpoint.clone(), placement.clone(), registry, readiness).await?;
    directory.put(endpoint.id, worker.clone());
    let deps = hearth_worker_manager::Deps { placement: placement.clone() };
    let manager = WorkerManager::start(manager_config, deps, registry)?;
    let frontend = frontend(data_dir, frontend_config, manager.clone(), directory, listener, registry).await?;
    Ok(vec![frontend, part!("worker manager", manager), part!("worker", worker), part!("placement", placement)])
}

async fn frontend(
    data_dir: &Path,
    config: hearth_frontend::Config,
    manager: Arc<dyn hearth_protocol::WorkerManager>,
    workers: Arc<dyn WorkerDirectory>,
    listener: TcpListener,
    registry: &Registry,
) -> Result<Part> {
    let made = || format!("data directory {}", data_dir.display());
    std::fs::create_dir_all(data_dir).with_context(made)?;
    let database = Database::open(&data_dir.join("state")).await?;
    ensure_credentials(&database.catalog(), data_dir).await?;
    let bundles: Arc<dyn BundleStore> = Arc::new(FileBundles::open(&data_dir.join("bundles")).await?);
    let events: Arc<dyn EventQueue> = database.events();
    let deps = hearth_frontend::Deps {
        catalog: database.catalog(),
        documents: database.documents(),
        bundles,
        events,
        messages: database.messages(),
        usage: database.usage(),
        manager,
        workers,
    };
    print_next_steps(data_dir, &listener)?;
    let frontend = Frontend::start(config, deps, registry).await?;
    let serving = frontend.clone();
    tokio::spawn(async move { serving.serve(listener).await });
    let tasks = frontend.tasks().clone();
    Ok(Part {
        name: "frontend",
        failed: Box::pin(async move { tasks.failed().await }),
        shutdown: Box::new(move |grace| {
            Box::pin(async move {
                if !frontend.shutdown(grace).await {
                    tracing::warn!("calls still ran at the end of the grace period");
                }
            })
        }),
    })
}

async fn worker(
    settings: WorkerSettings,
    endpoint: WorkerEndpoint,
    placement: Arc<dyn hearth_protocol::Placement>,
    registry: &Registry,
    readiness: &Readiness,
) -> Result<Arc<Worker>> {
    let launcher = sandboxes::launcher(&settings)?;
    let bundles = Arc::new(FileBundles::open(&settings.bundle_dir).await?);
    let mut config = hearth_worker::Config::new(endpoint, settings.data_dir, sandboxes::shim()?);
    config.compiled_bootstraps = config.shim.parent().map(std::path::Path::to_owned);
    config.pool_size = settings.pool_size.unwrap_or(config.pool_size);
    config.snapshots = settings.snapshots.map_or(config.snapshots, |Switch(on)| on);
    let max_bytes = settings.snapshots_max_mb.map(|mb| mb.saturating_mul(1024 * 1024));
    config.snapshots_max_bytes = max_bytes.unwrap_or(config.snapshots_max_bytes);
    config.start_timeouts = settings.start_timeouts;
    config.init_timeout = settings.init_timeout;
    config.pool_max = settings.pool_max.unwrap_or(config.pool_max).max(config.pool_size);
    config.max_slots = settings.max_slots.unwrap_or(config.max_slots);
    config.memory_mb = settings.memory_mb.or(config.memory_mb);
    config.memory_overcommit_percent = settings.memory_overcommit_percent.unwrap_or(config.memory_overcommit_percent);
    let memory = Box::new(hearth_worker::HostMemory::open());
    let deps = hearth_worker::Deps { launcher, bundles, placement, memory };
    let worker = Worker::start(config, deps, registry).await?;
    let condition = readiness.condition("pool", "sandboxes are being booted");
    let ready = worker.clone();
    tokio::spawn(async move {
        ready.ready().await;
        condition.met();
    });
    Ok(worker)
}

/// A role's gRPC server as a part of its own.
fn serve_grpc(listener: TcpListener, roles: Roles) -> Part {
    let tasks = Arc::new(Tasks::new());
    let stopping = tasks.clone();
    let server = async move { grpc::serve(listener, roles, async move { stopping.stopping().await }).await };
    tasks.spawn("grpc", OnFailure::EndRole, server);
    let failing = tasks.clone();
    Part {
        name: "grpc",
        failed: Box::pin(async move { failing.failed().await }),
        shutdown: Box::new(move |grace| {
            Box::pin(async move {
                if !tasks.stop(grace).await {
                    tracing::warn!("connections were still open when the grace period ended");
                }
            })
        }),
    }
}

/// Tells a newcomer how to go on. On standard output, before the line that says `ready`.
fn print_next_steps(data_dir: &Path, listener: &TcpListener) -> Result<()> {
    let (endpoint, credentials) = (format!("http://{}", listener.local_addr()?), data_dir.join("credentials"));
    let credentials = credentials.display();
    let lines: [&dyn Display; 4] = [
        &format_args!("credentials: {credentials} (profile hearth)"),
        // Not AWS_REGION: awscli 1 and boto3 don't look at it.
        &format_args!(
            "next: export HEARTH_ENDPOINT={endpoint} AWS_SHARED_CREDENTIALS_FILE={credentials} AWS_PROFILE=hearth AWS_DEFAULT_REGION=us-east-1"
        ),
        &"      hearth deploy DIR --name hello --runtime python3.11 --handler app.handler && hearth invoke hello --tail",
        &format_args!("      aws --endpoint-url {endpoint} lambda list-functions"),
    ];
    for line in lines {
        println!("{line}");
    }
    Ok(())
}
