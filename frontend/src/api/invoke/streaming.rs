//! InvokeWithResponseStream: the answer as events, each piece as it comes.
//!
//! An error has the runtime's own type and document, also before the first byte: then the document is the payload, too,
//! as it is Invoke's. Source: API reference, InvokeWithResponseStream; "Building a custom runtime", "Lambda … forwards the
//! error metadata that the runtime provides to the client".

use std::convert::Infallible;

use axum::body::Body;
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures::stream;
use hearth_domain::FunctionResponse;
use http::{HeaderValue, header};
use serde::Serialize;
use tracing::error;

use super::{InvocationType, check_active, read_headers, read_payload, reply, trace_id, unrun};
use crate::api::Api;
use crate::api::call::Call;
use crate::errors::ApiError;
use crate::event_stream::event;
use crate::invocation::{Answer, InvocationError, Part, Pieces, Streamed};
use crate::validation::NameForm;

const EVENT_STREAM: HeaderValue = HeaderValue::from_static("application/vnd.amazon.eventstream");

/// The last event (service model: `InvokeWithResponseStreamCompleteEvent`).
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Complete {
    #[serde(skip_serializing_if = "Option::is_none")]
    error_code: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_details: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    log_result: Option<String>,
}

impl Api {
    pub(in crate::api) async fn invoke_with_response_stream(&self, call: Call) -> Result<Response, ApiError> {
        let (invocation_type, log_tail) = read_headers(&call);
        let target = call.target(&self.config.region, NameForm::Namespaced)?;
        let record = self.resolved(&call, &target).await?.record;
        check_active(&record)?;
        let payload = read_payload(&call, invocation_type).await?;
        let version = record.function.version;
        if invocation_type == InvocationType::DryRun {
            return unrun(204);
        }
        let trace_id = trace_id(&call);
        let invocation = self.invocation(&call, &target, &record, payload, &trace_id, log_tail)?;
        let body = match self.invoker.invoke_streaming(invocation).await? {
            Streamed::Whole(answer) => Body::from(whole(answer)),
            Streamed::Pieces(pieces) => {
                Body::from_stream(stream::unfold(Some(pieces), |pieces| async { next_event(pieces?).await }))
            }
        };
        let mut response = reply(200, version, body)?;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, EVENT_STREAM);
        headers.insert("x-amzn-trace-id", HeaderValue::from_str(&trace_id).map_err(ApiError::internal)?);
        Ok(response)
    }
}

async fn next_event(mut pieces: Pieces) -> Option<(Result<Bytes, Infallible>, Option<Pieces>)> {
    Some(match pieces.next().await {
        Part::Chunk(data) => (Ok(payload_chunk(&data)), Some(pieces)),
        Part::End(Ok(answer)) => (Ok(invoke_complete(answer)), None),
        Part::End(Err(failure)) => (Ok(broken(&failure)), None),
    })
}

fn whole(answer: Answer) -> Vec<u8> {
    let document = match &answer.response {
        FunctionResponse::Success(document) => document,
        FunctionResponse::Error(error) => &error.document,
    };
    let mut events = payload_chunk(document).to_vec();
    events.extend_from_slice(&invoke_complete(answer));
    events
}

fn payload_chunk(data: &[u8]) -> Bytes {
    event("PayloadChunk", "application/octet-stream", data)
}

fn invoke_complete(answer: Answer) -> Bytes {
    let (error_code, error_details) = match answer.response {
        FunctionResponse::Success(_) => (None, None),
        FunctionResponse::Error(error) => {
            (Some(error.error_type), Some(String::from_utf8_lossy(&error.document).into_owned()))
        }
    };
    let log_result = answer.log_tail.map(|tail| STANDARD.encode(tail));
    complete(&Complete { error_code, error_details, log_result })
}

/// The platform failed when part of the answer had gone out.
fn broken(failure: &InvocationError) -> Bytes {
    error!(%failure, "a streamed answer broke");
    let error_details = Some("An error occurred and the request cannot be processed.".to_owned());
    complete(&Complete { error_code: Some("ServiceException".to_owned()), error_details, log_result: None })
}

fn complete(complete: &Complete) -> Bytes {
    // Three texts always make a document.
    let document = serde_json::to_vec(complete).unwrap_or_default();
    event("InvokeComplete", "application/json", &document)
}
