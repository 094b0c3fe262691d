//! The HTTP API: which route, who calls, what they want.
//!
//! Every request takes the same way: route → claim (who says they sent this) → access key → body, bounded → signature
//! → the operation's own file. Every reply carries the request's id.
//!
//! Invariants: nothing happens before the signature is verified; no body is read for a caller whose key, date or scope
//! is wrong; at most [`crate::Config::body_memory_bytes`] of bodies are in memory.

mod aliases;
mod authorization;
mod body;
mod call;
pub(crate) mod changes;
mod code;
mod configuration;
mod create;
mod delete;
mod event_invoke;
mod form;
pub(crate) mod function_settings;
mod hearth;
mod iam;
mod invoke;
mod invoke_async;
mod layers;
mod logs;
mod paging;
mod permissions;
mod provisioned;
mod publish;
mod read;
mod reserved;
pub(crate) mod routes;
pub(crate) mod runtimes;
mod services;
mod sqs;
mod sts;
mod tags;
mod update;
mod url;
mod url_configs;
mod xml;

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use axum::routing::{MethodFilter, MethodRouter, on};
use bytes::Bytes;
use hearth_daemon::Clock;
use hearth_domain::RequestId;
use hearth_store::Collection;
use http::HeaderValue;
use http::request::Parts;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use crate::activation::Activator;
use crate::alias::Alias;
use crate::asynchronous::channels::Channels;
use crate::asynchronous::configuration::EventInvokeConfig;
use crate::change_locks::ChangeLocks;
use crate::concurrency::Concurrency;
use crate::errors::{ApiError, Code};
use crate::function_url::{FunctionUrl, UrlOwner};
use crate::identity::{Admitted, Identities};
use crate::invocation::Invoker;
use crate::layers::Layers;
use crate::metering::Metering;
use crate::metrics::Metrics;
use crate::model;
use crate::provisioning::Provisioner;
use crate::resolution::Resolver;
use crate::resource_policy::ResourcePolicy;
use crate::sigv4::{Claim, Verifier};
use crate::specs::Specs;
use crate::{Config, Deps};
use body::BodyBudget;
use call::Call;
use routes::{Route, routes};
use services::Service;

/// A body above this is hashed and read off the threads that serve connections, bytes.
const INLINE_MAX_BYTES: usize = 256 * 1024;

/// Serves the API.
pub(crate) struct Api {
    pub(crate) config: Config,
    deps: Deps,
    resolver: Resolver,
    identities: Arc<Identities>,
    resource_policies: Collection<ResourcePolicy>,
    urls: Collection<FunctionUrl>,
    /// By the id of the URL.
    url_owners: Collection<UrlOwner>,
    event_invoke_configs: Collection<EventInvokeConfig>,
    channels: Channels,
    aliases: Collection<Alias>,
    layers: Layers,
    concurrency: Concurrency,
    provisioner: Provisioner,
    pub(crate) invoker: Arc<Invoker>,
    activator: Activator,
    metering: Arc<Metering>,
    /// Cancelled when the frontend shuts down: long polls end.
    stopping: CancellationToken,
    verifier: Verifier,
    bodies: BodyBudget,
    specs: Arc<Specs>,
    changes: Arc<ChangeLocks>,
    /// Held while an access key is made: how many a user has is counted first.
    making_keys: Mutex<()>,
    /// Changes under way.
    changing: TaskTracker,
    metrics: Metrics,
}

/// What the frontend runs and the API uses.
pub(crate) struct Works {
    pub(crate) invoker: Arc<Invoker>,
    pub(crate) identities: Arc<Identities>,
    pub(crate) metering: Arc<Metering>,
    pub(crate) activator: Activator,
    pub(crate) metrics: Metrics,
    pub(crate) changes: Arc<ChangeLocks>,
    pub(crate) concurrency: Concurrency,
    pub(crate) provisioner: Provisioner,
    pub(crate) specs: Arc<Specs>,
    /// Cancelled when the frontend shuts down: long polls end.
    pub(crate) stopping: CancellationToken,
}

impl Api {
    pub(crate) fn new(config: Config, deps: Deps, works: Works) -> Self {
        let Works {
            invoker,
            identities,
            metering,
            activator,
            metrics,
            changes,
            concurrency,
            provisioner,
            specs,
            stopping,
        } = works;
        let verifier = Verifier::new(config.only_own_region.then(|| config.region.clone()));
        let bodies = BodyBudget::new(config.body_memory_bytes, config.body_timeout);
        let changing = TaskTracker::new();
        let resolver = Resolver::new(deps.catalog.clone(), deps.documents.clone());
        let resource_policies = Collection::new(deps.documents.clone());
        let (urls, url_owners) = (Collection::new(deps.documents.clone()), Collection::new(deps.documents.clone()));
        let event_invoke_configs = Collection::new(deps.documents.clone());
        let channels = Channels::new(deps.documents.clone());
        let layers = Layers::new(deps.documents.clone());
        Self {
            config,
            deps,
            aliases: resolver.aliases(),
            concurrency,
            provisioner,
            resolver,
            identities,
            resource_policies,
            urls,
            url_owners,
            event_invoke_configs,
            channels,
            layers,
            invoker,
            metering,
            activator,
            stopping,
            verifier,
            bodies,
            specs,
            changes,
            making_keys: Mutex::default(),
            changing,
            metrics,
        }
    }

    /// The router over [`routes`].
    pub(crate) fn router(self: Arc<Self>) -> Router {
        let mut router = Router::new();
        for path in routes().map(|route| route.path).collect::<BTreeSet<_>>() {
            // Older SDKs end some paths with a slash.
            let (methods, with_slash) = (self.methods(path), format!("{path}/"));
            router = router.route(path, methods.clone()).route(&with_slash, methods);
        }
        let (unknown, unknown_method, urls) = (self.clone(), self.clone(), self);
        router
            .fallback(move |request: Request| async move { unknown.serve(None, request).await })
            .method_not_allowed_fallback(
                move |request: Request| async move { unknown_method.serve(None, request).await },
            )
            // A host name that is a function's own comes before every path.
            .layer(from_fn(move |request: Request, next: Next| {
                let api = urls.clone();
                async move {
                    let Some(id) = url::url_id(request.headers()) else { return next.run(request).await };
                    let (parts, body) = request.into_parts();
                    api.serve_url(new_request_id(), id, parts, body).await
                }
            }))
    }

    fn methods(self: &Arc<Self>, path: &'static str) -> MethodRouter {
        let mut methods = MethodRouter::new();
        for method in ["GET", "POST", "PUT", "DELETE"] {
            let routes: Vec<&'static Route> =
                routes().filter(|route| route.path == path && route.method == method).collect();
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
        let request_id = new_request_id();
        let (parts, body) = request.into_parts();
        let service = Service::of(&parts);
        let route = route.or(service.route);
        let name = route.map_or("Unknown", |route| route.name);
        let mut response = match self.handle(started, &request_id, service, route, parts, body).await {
            Ok(response) => {
                self.metrics.answered(name, response.status().as_str(), started.elapsed());
                response
            }
            Err(error) => {
                self.metrics.answered(name, error.code().name(), started.elapsed());
                error.into_response(&request_id, service.wire)
            }
        };
        if let Ok(id) = HeaderValue::from_str(request_id.as_str()) {
            response.headers_mut().insert("x-amzn-requestid", id);
        }
        response
    }

    async fn handle(
        self: &Arc<Self>,
        began: Instant,
        request_id: &RequestId,
        service: &Service,
        route: Option<&'static Route>,
        parts: Parts,
        body: Body,
    ) -> Result<Response, ApiError> {
        let claim = Claim::read(&parts)?;
        let route = route.ok_or_else(|| {
            let text = format!("The Lambda API has no operation {} {}.", parts.method, parts.uri.path());
            ApiError::new(Code::UnknownOperationException, text)
        })?;
        let now_s = i64::try_from(Clock::unix_ms() / 1_000).unwrap_or(i64::MAX);
        let key_id = self.verifier.admit(&claim, now_s, service.name, service.is_global)?;
        let Admitted { key, caller } = self.identities.admit(key_id, claim.session_token.as_deref(), now_s).await?;
        let body = self.bodies.read(body, &parts.headers, route.body_max_bytes, route.name).await?;
        self.verifier.verify(&claim, &key.secret, &parts, body.hash().await)?;
        let session_token = claim.session_token.map(Cow::into_owned);
        let Some(action) = route.action else {
            let text = format!("Hearth does not implement {} yet.", route.name);
            return Err(ApiError::new(Code::NotImplementedException, text));
        };
        let (body, held) = body.into_parts();
        let (parts, body) = held_to_model(route, parts, body).await?;
        let request_id = request_id.clone();
        let mut call = Call { began, request_id, route, parts, key, caller, session_token, body };
        self.authorize(&mut call).await?;
        if !route.changes {
            let answer = action(self, call).await;
            drop(held);
            return answer;
        }
        let api = self.clone();
        let change = async move {
            let answer = action(&api, call).await;
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
}

/// Refuses a request that breaks a constraint of the service model. A large document is read off the threads that serve
/// connections.
async fn held_to_model(route: &Route, parts: Parts, body: Bytes) -> Result<(Parts, Bytes), ApiError> {
    let Some(operation) = model::operation(route.name) else { return Ok((parts, body)) };
    if body.len() <= INLINE_MAX_BYTES || operation.payload.is_some() {
        model::check(operation, &parts, &body)?;
        return Ok((parts, body));
    }
    let check = move || model::check(operation, &parts, &body).map(|()| (parts, body));
    Ok(tokio::task::spawn_blocking(check).await.map_err(ApiError::internal)??)
}

fn new_request_id() -> RequestId {
    let mut buffer = Uuid::encode_buffer();
    let id: &str = Uuid::new_v4().hyphenated().encode_lower(&mut buffer);
    RequestId::new(id).unwrap_or_else(|_| unreachable!("a UUID is a request id"))
}

fn filter(method: &str) -> MethodFilter {
    match method {
        "GET" => MethodFilter::GET,
        "POST" => MethodFilter::POST,
        "PUT" => MethodFilter::PUT,
        _ => MethodFilter::DELETE,
    }
}

/// A JSON reply.
fn json(status: u16, value: &impl serde::Serialize) -> Result<Response, ApiError> {
    let body = serde_json::to_vec(value).map_err(ApiError::internal)?;
    let response = Response::builder().status(status).header(http::header::CONTENT_TYPE, "application/json");
    response.body(Body::from(body)).map_err(ApiError::internal)
}

/// The reply of a change that has nothing to show.
fn no_content() -> Result<Response, ApiError> {
    Response::builder().status(204).body(Body::empty()).map_err(ApiError::internal)
}
