//! Serving function URLs: a request whose `Host` is that of a URL is the function's, whatever its method and path.
//!
//! ```text
//! Host → id → whose → CORS preflight, answered here → who may → event → function → response
//! ```
//!
//! Invariants: what is not known and what is not allowed look alike (403); the function runs only for those whom its
//! policy, or theirs, lets; no more of a body is read than an event can hold. Source: developer guide, "Invoking Lambda
//! function URLs" and "Controlling access to Lambda function URLs".

mod admission;
mod response;

use std::net::SocketAddr;
use std::time::Instant;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use hearth_daemon::Clock;
use hearth_domain::RequestId;
use hearth_domain::limits::SYNC_REQUEST_MAX_BYTES;
use http::header::HOST;
use http::request::Parts;
use http::{HeaderMap, HeaderValue};

use super::Api;
use super::invoke::{check_active, new_trace_id};
use crate::errors::{ApiError, Code, Wire};
use crate::function_url::{Cors, FunctionUrl, InvokeMode, UrlOwner, UrlRequest, event, url_id_of};
use crate::invocation::Invocation;

/// The name of such requests in metrics and in what is told of them.
const NAME: &str = "FunctionUrl";

/// The URL that a request is for, by its `Host`.
pub(super) fn url_id(headers: &HeaderMap) -> Option<String> {
    url_id_of(headers.get(HOST)?.to_str().ok()?)
}

impl Api {
    pub(super) async fn serve_url(&self, request_id: RequestId, url_id: String, parts: Parts, body: Body) -> Response {
        let started = Instant::now();
        let answer = self.answer_url(&request_id, &url_id, &parts, body).await;
        let mut response = match answer {
            Ok(response) => {
                self.metrics.answered(NAME, response.status().as_str(), started.elapsed());
                response
            }
            Err(error) => {
                self.metrics.answered(NAME, error.code().name(), started.elapsed());
                refusal(error, &request_id)
            }
        };
        if let Ok(id) = HeaderValue::from_str(request_id.as_str()) {
            response.headers_mut().insert("x-amzn-requestid", id);
        }
        response
    }

    async fn answer_url(
        &self,
        request_id: &RequestId,
        url_id: &str,
        parts: &Parts,
        body: Body,
    ) -> Result<Response, ApiError> {
        let (owner, url) = self.find_url(url_id).await?.ok_or_else(forbidden)?;
        if let Some(cors) = url.cors.as_ref().filter(|_| Cors::is_preflight(&parts.method, &parts.headers)) {
            return Ok(response::preflight(cors, &parts.headers));
        }
        let mut response = self.run_url(request_id, &owner, &url, parts, body).await?;
        if let Some(cors) = &url.cors {
            cors.apply(&parts.headers, response.headers_mut());
        }
        Ok(response)
    }

    async fn find_url(&self, id: &str) -> Result<Option<(UrlOwner, FunctionUrl)>, ApiError> {
        let Some(owner) = self.url_owners.get(id).await? else { return Ok(None) };
        let url = self.urls.get(&owner.value.path()).await?;
        // What a crash left behind, or the URL of an earlier function of that name, leads nowhere.
        let url = url.filter(|url| url.value.id == id);
        Ok(url.map(|url| (owner.value.as_ref().clone(), url.value.as_ref().clone())))
    }

    async fn run_url(
        &self,
        request_id: &RequestId,
        owner: &UrlOwner,
        url: &FunctionUrl,
        parts: &Parts,
        body: Body,
    ) -> Result<Response, ApiError> {
        let (caller, body, held) = self.admit_to_url(owner, url, parts, body).await?;
        let qualifier = owner.qualifier();
        let resolved = self.resolver.resolve(&owner.account, &owner.function, qualifier.as_ref()).await?;
        let record = resolved.ok_or_else(forbidden)?.record;
        check_active(&record)?;
        let trace_id = new_trace_id(&parts.headers, request_id);
        let payload = Bytes::from(event(&UrlRequest {
            parts,
            body: &body,
            url_id: &url.id,
            source: parts.extensions.get::<SocketAddr>().map(SocketAddr::ip),
            request_id,
            trace_id: &trace_id,
            unix_ms: Clock::unix_ms(),
            caller: caller.as_ref(),
        }));
        drop((body, held));
        if payload.len() > SYNC_REQUEST_MAX_BYTES {
            return Err(too_large());
        }
        let invocation = Invocation {
            request_id: request_id.clone(),
            function: self.specs.of(&record),
            payload,
            invoked_arn: self.url_arn(owner),
            client_context: None,
            trace_id: Some(trace_id.clone()),
            log_tail: false,
            capacity_wait: self.config.capacity_wait,
            times: None,
        };
        let mut response = match url.mode {
            InvokeMode::Buffered => response::buffered(self.invoker.invoke(invocation).await?),
            InvokeMode::ResponseStream => response::streamed(self.invoker.invoke_streaming(invocation).await?).await?,
        };
        if let Ok(trace_id) = HeaderValue::from_str(&trace_id) {
            response.headers_mut().insert("x-amzn-trace-id", trace_id);
        }
        Ok(response)
    }
}

/// Nobody is told more than this (AWS's text: LocalStack's recordings, test_lambda_permission_url_invocation).
fn forbidden() -> ApiError {
    let text = "Forbidden. For troubleshooting Function URL authorization issues, see: \
                https://docs.aws.amazon.com/lambda/latest/dg/urls-auth.html";
    ApiError::new(Code::AccessDeniedException, text)
}

fn too_large() -> ApiError {
    let text = format!("Exceeded maximum allowed payload size ({SYNC_REQUEST_MAX_BYTES} bytes).");
    ApiError::new(Code::RequestEntityTooLargeException, text)
}

/// Errors of the URL itself: `{"Message"}`, but for throttles, which are Invoke's.
fn refusal(error: ApiError, request_id: &RequestId) -> Response {
    if error.code() != Code::AccessDeniedException {
        return error.into_response(request_id, Wire::RestJson);
    }
    let body = serde_json::json!({ "Message": error.message() }).to_string();
    let mut response = error.into_response(request_id, Wire::RestJson);
    *response.body_mut() = Body::from(body);
    response
}
