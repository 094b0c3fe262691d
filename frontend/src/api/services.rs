//! The other services of AWS that are spoken here. Each has one route, POST /, and the scope of the signature tells
//! which is meant, so one endpoint URL serves every client of an SDK.

use hearth_domain::limits::QUEUE_MESSAGE_MAX_BYTES;
use http::Method;
use http::request::Parts;

use super::routes::Route;
use crate::errors::Wire;
use crate::sigv4::{Claim, SERVICE};

/// Largest request to SQS, bytes: a message of the largest size, escaped.
const SQS_MAX_BYTES: usize = 6 * QUEUE_MESSAGE_MAX_BYTES;

/// A service that people's tools sign for.
pub(super) struct Service {
    /// Its name in the scope of signatures.
    pub(super) name: &'static str,
    /// How its errors are spelled.
    pub(super) wire: Wire,
    /// Signed for one region whatever the client's own is.
    pub(super) is_global: bool,
    /// What serves it.
    pub(super) route: Option<&'static Route>,
}

/// Lambda itself.
static LAMBDA: Service = Service { name: SERVICE, wire: Wire::RestJson, is_global: false, route: None };

/// CloudWatch Logs: a subset.
const LOGS: &Route = &Route::new("POST", "/", "Logs").changes(|api, call| Box::pin(api.logs(call)));
/// Simple Queue Service: a subset.
const SQS: &Route = &Route::new("POST", "/", "Sqs").served(|api, call| Box::pin(api.sqs(call))).body_max(SQS_MAX_BYTES);
/// Security Token Service: a subset.
const STS: &Route = &Route::new("POST", "/", "Sts").served(|api, call| Box::pin(api.sts(call)));
/// Identity and Access Management: a subset.
const IAM: &Route = &Route::new("POST", "/", "Iam").changes(|api, call| Box::pin(api.iam(call)));

static OTHERS: [Service; 4] = [
    Service { name: "logs", wire: Wire::Json11, is_global: false, route: Some(LOGS) },
    Service { name: "sqs", wire: Wire::Json11, is_global: false, route: Some(SQS) },
    Service { name: "sts", wire: Wire::Query, is_global: false, route: Some(STS) },
    Service { name: "iam", wire: Wire::Query, is_global: true, route: Some(IAM) },
];

impl Service {
    /// The service a request is for: Lambda, unless it is a POST to / (to anywhere, for SQS) that was signed for another.
    pub(super) fn of(parts: &Parts) -> &'static Self {
        if parts.method != Method::POST {
            return &LAMBDA;
        }
        let claim = Claim::read(parts).ok();
        let scope = claim.as_ref().and_then(|claim| claim.scope().ok());
        let is_root = parts.uri.path() == "/";
        let is_meant = |service: &&Self, name: &str| service.name == name && (is_root || name == "sqs");
        let named = scope.and_then(|scope| OTHERS.iter().find(|service| is_meant(service, scope.service)));
        named.unwrap_or(&LAMBDA)
    }
}
