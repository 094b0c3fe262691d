//! Invoke.

mod streaming;

use std::fmt::Write;
use std::sync::Arc;

use axum::body::Body;
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hearth_daemon::Clock;
use hearth_domain::limits::{ASYNC_REQUEST_MAX_BYTES, CLIENT_CONTEXT_MAX_BYTES};
use hearth_domain::{FunctionResponse, RequestId, Version};
use hearth_store::FunctionRecord;
use hearth_store::catalog::FunctionState;
use hearth_store::event::Event;
use http::{HeaderMap, HeaderValue, header};
use serde::de::IgnoredAny;

use super::call::Call;
use super::changes::not_now;
use super::{Api, INLINE_MAX_BYTES};
use crate::errors::{ApiError, Code};
use crate::invocation::{Answer, Invocation};
use crate::resolution::Resolved;
use crate::server_timing::{self, CallTimes, SERVER_TIMING};
use crate::validation::{NameForm, Target};

/// Longest `X-Amzn-Trace-Id` passed on, bytes. Ours: real ones have about 100.
const TRACE_ID_MAX_BYTES: usize = 512;

/// How a function is invoked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum InvocationType {
    RequestResponse,
    Event,
    DryRun,
}

impl Api {
    pub(super) async fn invoke(&self, call: Call) -> Result<Response, ApiError> {
        let (invocation_type, log_tail) = read_headers(&call);
        let target = call.target(&self.config.region, NameForm::Namespaced)?;
        let resolved = self.resolved(&call, &target).await?;
        let record = &resolved.record;
        check_active(record)?;
        let payload = read_payload(&call, invocation_type).await?;
        match invocation_type {
            InvocationType::DryRun => unrun(204),
            InvocationType::Event => self.accept_event(&call, &target, &resolved, payload).await,
            InvocationType::RequestResponse => self.run(&call, &target, record, payload, log_tail).await,
        }
    }

    async fn run(
        &self,
        call: &Call,
        target: &Target,
        record: &FunctionRecord,
        payload: Bytes,
        log_tail: bool,
    ) -> Result<Response, ApiError> {
        let trace_id = trace_id(call);
        let times = server_timing::is_asked(&call.parts.headers).then(Arc::<CallTimes>::default);
        let invocation = self.invocation(call, target, record, payload, &trace_id, log_tail)?;
        let invocation = Invocation { times: times.clone(), ..invocation };
        let Answer { response, log_tail } = self.invoker.invoke(invocation).await?;
        let (document, failed) = match response {
            FunctionResponse::Success(document) => (document, false),
            FunctionResponse::Error(error) => (error.document, true),
        };
        let mut response = reply(200, record.function.version, Body::from(document))?;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert("x-amzn-trace-id", HeaderValue::from_str(&trace_id).map_err(ApiError::internal)?);
        if failed {
            headers.insert("x-amz-function-error", HeaderValue::from_static("Unhandled"));
        }
        if let Some(tail) = log_tail {
            let tail = HeaderValue::from_str(&STANDARD.encode(tail)).map_err(ApiError::internal)?;
            headers.insert("x-amz-log-result", tail);
        }
        if let Some(told) = times.and_then(|times| times.header(call.began)) {
            headers.insert(SERVER_TIMING, told);
        }
        Ok(response)
    }

    fn invocation(
        &self,
        call: &Call,
        target: &Target,
        record: &FunctionRecord,
        payload: Bytes,
        trace_id: &str,
        log_tail: bool,
    ) -> Result<Invocation, ApiError> {
        Ok(Invocation {
            request_id: call.request_id.clone(),
            function: self.specs.of(record),
            payload,
            invoked_arn: target.arn(call.addressee(&self.config.region)),
            client_context: client_context(call)?,
            trace_id: Some(trace_id.to_owned()),
            log_tail,
            capacity_wait: self.config.capacity_wait,
            times: None,
        })
    }

    /// The event is on disk when the 202 goes out.
    pub(super) async fn accept_event(
        &self,
        call: &Call,
        target: &Target,
        resolved: &Resolved,
        payload: Bytes,
    ) -> Result<Response, ApiError> {
        let record = &resolved.record;
        let now = Clock::unix_ms();
        let event = Event {
            request_id: call.request_id.clone(),
            account: call.key.account.clone(),
            name: record.function.name.clone(),
            version: record.function.version,
            alias: resolved.alias.as_ref().map(|alias| alias.name.clone()),
            invoked_arn: target.arn(call.addressee(&self.config.region)),
            payload,
            accepted_unix_ms: now,
            due_unix_ms: now,
            failed_attempts: 0,
            deferrals: 0,
            forwards: 0,
        };
        self.deps.events.push(event).await?;
        unrun(202)
    }
}

/// Whether the function can run.
pub(super) fn check_active(record: &FunctionRecord) -> Result<(), ApiError> {
    match &record.state {
        FunctionState::Active => Ok(()),
        FunctionState::Pending => Err(not_now("The function is currently in the following state: Pending")),
        FunctionState::Failed { reason } => {
            Err(not_now(&format!("The function is currently in the following state: Failed. {reason}")))
        }
    }
}

/// The model has let only known values pass.
fn read_headers(call: &Call) -> (InvocationType, bool) {
    // Presigned URLs carry these in the query.
    let given = |name: &str, canonical: &str| {
        call.header(name).map(str::to_owned).or_else(|| call.query(canonical).map(std::borrow::Cow::into_owned))
    };
    let invocation_type = given("x-amz-invocation-type", "X-Amz-Invocation-Type");
    let log_type = given("x-amz-log-type", "X-Amz-Log-Type");
    let invocation_type = match invocation_type.as_deref() {
        Some("Event") => InvocationType::Event,
        Some("DryRun") => InvocationType::DryRun,
        _ => InvocationType::RequestResponse,
    };
    (invocation_type, log_type.as_deref() == Some("Tail"))
}

/// The payload of an event.
pub(super) async fn read_event(call: &Call) -> Result<Bytes, ApiError> {
    read_payload(call, InvocationType::Event).await
}

/// The payload, known to be JSON; an absent one is an empty document.
async fn read_payload(call: &Call, invocation_type: InvocationType) -> Result<Bytes, ApiError> {
    let bytes = call.body.len();
    if invocation_type == InvocationType::Event && bytes > ASYNC_REQUEST_MAX_BYTES {
        let text = format!(
            "{bytes} byte payload is too large for the Event invocation type (limit {ASYNC_REQUEST_MAX_BYTES} bytes)"
        );
        return Err(ApiError::new(Code::RequestTooLargeException, text));
    }
    if bytes == 0 {
        return Ok(Bytes::from_static(b"{}"));
    }
    if bytes <= INLINE_MAX_BYTES {
        check_json(&call.body)?;
    } else {
        let body = call.body.clone();
        tokio::task::spawn_blocking(move || check_json(&body)).await.map_err(ApiError::internal)??;
    }
    Ok(call.body.clone())
}

fn check_json(payload: &[u8]) -> Result<(), ApiError> {
    let checked = std::str::from_utf8(payload)
        .map_err(|error| error.to_string())
        .and_then(|text| serde_json::from_str::<IgnoredAny>(text).map_err(|error| error.to_string()));
    checked.map(|_| ()).map_err(|error| {
        let text = format!("Could not parse request body into json: Could not parse payload into json: {error}");
        ApiError::new(Code::InvalidRequestContentException, text)
    })
}

fn trace_id(call: &Call) -> String {
    new_trace_id(&call.parts.headers, &call.request_id)
}

/// The caller's trace, or one that begins here, in X-Ray's form: the time and 96 bits, here of the request's id.
pub(super) fn new_trace_id(headers: &HeaderMap, request_id: &RequestId) -> String {
    let given = headers.get("x-amzn-trace-id").and_then(|id| id.to_str().ok());
    if let Some(given) = given.filter(|id| !id.is_empty() && id.len() <= TRACE_ID_MAX_BYTES) {
        return given.to_owned();
    }
    let mut root = String::with_capacity(48);
    let _ = write!(root, "Root=1-{:08x}-", Clock::unix_ms() / 1_000);
    root.extend(request_id.as_str().chars().filter(|digit| *digit != '-').take(24));
    root.push_str(";Sampled=0");
    root
}

fn client_context(call: &Call) -> Result<Option<String>, ApiError> {
    let Some(encoded) = call.header("x-amz-client-context") else { return Ok(None) };
    let invalid = |what: &str| ApiError::new(Code::InvalidRequestContentException, format!("Client context {what}."));
    let bytes = STANDARD.decode(encoded).map_err(|_| invalid("must be base64"))?;
    if bytes.len() > CLIENT_CONTEXT_MAX_BYTES {
        return Err(invalid(&format!("must be no longer than {CLIENT_CONTEXT_MAX_BYTES} bytes")));
    }
    let text = String::from_utf8(bytes).map_err(|_| invalid("must be JSON"))?;
    serde_json::from_str::<IgnoredAny>(&text).map_err(|_| invalid("must be JSON"))?;
    Ok(Some(text))
}

/// The answer to a call that has run nothing: it names no version (LocalStack's recordings, test_invocation_type_event).
fn unrun(status: u16) -> Result<Response, ApiError> {
    Response::builder().status(status).body(Body::empty()).map_err(ApiError::internal)
}

fn reply(status: u16, version: Version, body: Body) -> Result<Response, ApiError> {
    let response = Response::builder().status(status);
    let response = match version {
        Version::Latest => response.header("x-amz-executed-version", HeaderValue::from_static("$LATEST")),
        Version::Number(number) => response.header("x-amz-executed-version", number),
    };
    response.body(body).map_err(ApiError::internal)
}
