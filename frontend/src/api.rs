//! The HTTP API: which route, who calls, what they want.
//!
//! Every request takes the same way: route → claim (who says they sent this) → access key → body, bounded → signature
//! → the operation's own file. Every reply carries the request's id.
//!
//! Invariants: nothing happens before the signature is verified; no body is read for a caller whose key, date or scope
//! is wrong; at most [`crate::Config::body_memory_bytes`] of bodies are in memory.

mod body;
mod call;
mod changes;
mod code;
mod configuration;
mod create;
mod delete;
mod hearth;
mod invoke;
mod publish;
mod read;
pub(crate) mod routes;
pub(crate) mod runtimes;
mod specs;
mod update;

use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use axum::routing::{MethodFilter, MethodRouter, on};
use hearth_daemon::Clock;
use hearth_domain::RequestId;
use hearth_domain::limits::{BUNDLE_ZIP_MAX_BYTES, SYNC_REQUEST_MAX_BYTES};
use http::HeaderValue;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use crate::activation::Activator;
use crate::errors::{ApiError, Code};
use crate::invocation::Invoker;
use crate::metering::Metering;
use crate::metrics::Metrics;
use crate::sigv4::{AuthError, Claim, Verifier};
use crate::{Config, Deps};
use body::BodyBudget;
use call::Call;
use changes::ChangeLocks;
use routes::{ROUTES, Route};
use specs::SpecCache;

/// Largest body of CreateFunction and UpdateFunctionCode, bytes: a zip of the largest size in base64, and what stands
/// around it. Lambda's own number, as its error message tells it.
const UPLOAD_MAX_BYTES: usize = 70_167_211;
const _: () = assert!(UPLOAD_MAX_BYTES > BUNDLE_ZIP_MAX_BYTES.div_ceil(3) * 4);
/// Largest body of the other operations, bytes. Ours.
const OTHER_MAX_BYTES: usize = 1024 * 1024;

/// A body above this is hashed and read off the threads that serve connections, bytes.
const INLINE_MAX_BYTES: usize = 256 * 1024;

/// What is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names are the service model's")]
pub enum Operation {
    CreateFunction,
    GetFunction,
    GetFunctionConfiguration,
    ListFunctions,
    UpdateFunctionCode,
    UpdateFunctionConfiguration,
    DeleteFunction,
    PublishVersion,
    ListVersionsByFunction,
    Invoke,
    Workers,
    Usage,
    DeadLetters,
    Logs,
    Code,
}

impl Operation {
    /// Whether it changes functions. A change that has begun is carried through, also if the caller leaves: half of one
    /// would leave a function in progress with nobody at it.
    const fn changes(self) -> bool {
        matches!(
            self,
            Self::CreateFunction
                | Self::UpdateFunctionCode
                | Self::UpdateFunctionConfiguration
                | Self::DeleteFunction
                | Self::PublishVersion
        )
    }
}

/// Serves the API.
pub(crate) struct Api {
    pub(crate) config: Config,
    deps: Deps,
    pub(crate) invoker: Arc<Invoker>,
    activator: Activator,
    metering: Arc<Metering>,
    /// Cancelled when the frontend shuts down: long polls end.
    stopping: CancellationToken,
    verifier: Verifier,
    bodies: BodyBudget,
    specs: SpecCache,
    changes: ChangeLocks,
    /// Changes under way.
    changing: TaskTracker,
    metrics: Metrics,
}

/// What the frontend runs and the API uses.
pub(crate) struct Works {
    pub(crate) invoker: Arc<Invoker>,
    pub(crate) metering: Arc<Metering>,
    pub(crate) activator: Activator,
    pub(crate) metrics: Metrics,
    /// Cancelled when the frontend shuts down: long polls end.
    pub(crate) stopping: CancellationToken,
}

impl Api {
    pub(crate) fn new(config: Config, deps: Deps, works: Works) -> Self {
        let Works { invoker, metering, activator, metrics, stopping } = works;
        let verifier = Verifier::new(config.only_own_region.then(|| config.region.clone()));
        let bodies = BodyBudget::new(config.body_memory_bytes, config.body_timeout);
        let (specs, changes) = (SpecCache::default(), ChangeLocks::default());
        let changing = TaskTracker::new();
        Self {
            config,
            deps,
            invoker,
            metering,
            activator,
            stopping,
            verifier,
            bodies,
            specs,
            changes,
            changing,
            metrics,
        }
    }

    /// The router over [`ROUTES`].
    pub(crate) fn router(self: Arc<Self>) -> Router {
        let mut router = Router::new();
        for (index, route) in ROUTES.iter().enumerate() {
            if ROUTES[..index].iter().all(|earlier| earlier.path != route.path) {
                // Older SDKs end some paths with a slash.
                let (methods, with_slash) = (self.methods(route.path), format!("{}/", route.path));
                router = router.route(route.path, methods.clone()).route(&with_slash, methods);
            }
        }
        let unknown = self.clone();
        let unknown_method = self;
        router
            .fallback(move |request: Request| async move { unknown.serve(None, request).await })
            .method_not_allowed_fallback(
                move |request: Request| async move { unknown_method.serve(None, request).await },
            )
    }

    fn methods(self: &Arc<Self>, path: &'static str) -> MethodRouter {
        let mut methods = MethodRouter::new();
        for method in ["GET", "POST", "PUT", "DELETE"] {
            let routes: Vec<&'static Route> =
                ROUTES.iter().filter(|route| route.path == path && route.method == method).collect();
            if routes.is_empty() {
                continue;
            }
            let api = self.clone();
            methods = methods.merge(on(filter(method), move |request: Request| async move {
                let query = request.uri().query().unwrap_or_default();
                let named = |name: &str| query.split('&').any(|pair| pair.split('=').next() == Some(name));
                let route = routes.iter().find(|route| route.query.is_none_or(named)).copied();
                api.serve(route, request).await
            }));
        }
        methods
    }

    async fn serve(self: &Arc<Self>, route: Option<&'static Route>, request: Request) -> Response {
        let started = Instant::now();
        let mut buffer = Uuid::encode_buffer();
        let id: &str = Uuid::new_v4().hyphenated().encode_lower(&mut buffer);
        let request_id = RequestId::new(id).unwrap_or_else(|_| unreachable!("a UUID is a request id"));
        let name = route.map_or("Unknown", |route| route.name);
        let mut response = match self.handle(&request_id, route, request).await {
            Ok(response) => {
                self.metrics.answered(name, response.status().as_str(), started.elapsed());
                response
            }
            Err(error) => {
                self.metrics.answered(name, error.code().name(), started.elapsed());
                error.into_response(&request_id)
            }
        };
        if let Ok(id) = HeaderValue::from_str(request_id.as_str()) {
            response.headers_mut().insert("x-amzn-requestid", id);
        }
        response
    }

    async fn handle(
        self: &Arc<Self>,
        request_id: &RequestId,
        route: Option<&'static Route>,
        request: Request,
    ) -> Result<Response, ApiError> {
        let (parts, body) = request.into_parts();
        let claim = Claim::read(&parts)?;
        let route = route.ok_or_else(|| {
            let text = format!("The Lambda API has no operation {} {}.", parts.method, parts.uri.path());
            ApiError::new(Code::UnknownOperationException, text)
        })?;
        let now_s = i64::try_from(Clock::unix_ms() / 1_000).unwrap_or(i64::MAX);
        let key_id = self.verifier.admit(&claim, now_s)?;
        let key = self.deps.catalog.access_key(key_id).await?.ok_or(AuthError::UnknownKey)?;
        let body = self.bodies.read(body, &parts.headers, body_limit(route), route.name).await?;
        self.verifier.verify(&claim, &key.secret, &parts, body.hash().await)?;
        drop(claim);
        let Some(operation) = route.operation else {
            let text = format!("Hearth does not implement {} yet.", route.name);
            return Err(ApiError::new(Code::NotImplementedException, text));
        };
        let (body, held) = body.into_parts();
        let call = Call { request_id: request_id.clone(), route, parts, key, body };
        if !operation.changes() {
            let answer = self.operate(operation, call).await;
            drop(held);
            return answer;
        }
        let api = self.clone();
        let change = async move {
            let answer = api.operate(operation, call).await;
            drop(held);
            answer
        };
        self.changing.spawn(change).await.map_err(ApiError::internal)?
    }

    /// Waits for changes whose callers have left.
    pub(crate) async fn drain_changes(&self) {
        self.changing.close();
        self.changing.wait().await;
    }

    async fn operate(&self, operation: Operation, call: Call) -> Result<Response, ApiError> {
        match operation {
            Operation::Invoke => self.invoke(call).await,
            Operation::CreateFunction => self.create_function(call).await,
            Operation::GetFunction => self.get_function(call).await,
            Operation::GetFunctionConfiguration => self.get_function_configuration(call).await,
            Operation::ListFunctions => self.list_functions(call).await,
            Operation::UpdateFunctionCode => self.update_function_code(call).await,
            Operation::UpdateFunctionConfiguration => self.update_function_configuration(call).await,
            Operation::DeleteFunction => self.delete_function(call).await,
            Operation::PublishVersion => self.publish_version(call).await,
            Operation::ListVersionsByFunction => self.list_versions_by_function(call).await,
            Operation::Workers => self.hearth_workers().await,
            Operation::Usage => self.hearth_usage(call).await,
            Operation::DeadLetters => self.hearth_dead_letters(call).await,
            Operation::Logs => self.hearth_logs(call).await,
            Operation::Code => self.hearth_code(call).await,
        }
    }
}

fn filter(method: &str) -> MethodFilter {
    match method {
        "GET" => MethodFilter::GET,
        "POST" => MethodFilter::POST,
        "PUT" => MethodFilter::PUT,
        _ => MethodFilter::DELETE,
    }
}

fn body_limit(route: &Route) -> usize {
    match route.operation {
        Some(Operation::Invoke) => SYNC_REQUEST_MAX_BYTES,
        Some(Operation::CreateFunction | Operation::UpdateFunctionCode) | None => UPLOAD_MAX_BYTES,
        Some(_) => OTHER_MAX_BYTES,
    }
}

/// A JSON reply.
fn json(status: u16, value: &impl serde::Serialize) -> Result<Response, ApiError> {
    let body = serde_json::to_vec(value).map_err(ApiError::internal)?;
    let response = Response::builder().status(status).header(http::header::CONTENT_TYPE, "application/json");
    response.body(Body::from(body)).map_err(ApiError::internal)
}
