//! The other services of AWS that are spoken here. Each has one route, POST /, and the scope of the signature tells
//! which is meant, so one endpoint URL serves every client of an SDK.

use http::Method;
use http::request::Parts;

use super::routes::Route;
use crate::errors::Wire;
use crate::sigv4::{Claim, SERVICE};

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
const LOGS: &Route = &Route::new("POST", "/", "Logs");
/// Security Token Service: a subset.
const STS: &Route = &Route::new("POST", "/", "Sts");
/// Identity and Access Management: a subset.
const IAM: &Route = &Route::new("POST", "/", "Iam");

static OTHERS: [Service; 3] = [
    Service { name: "logs", wire: Wire::Json11, is_global: false, route: Some(LOGS) },
    Service { name: "sts", wire: Wire::Query, is_global: false, route: Some(STS) },
    Service { name: "iam", wire: Wire::Query, is_global: true, route: Some(IAM) },
];

impl Service {
    /// The service a request is for: Lambda, unless it is a POST to / that was signed for another.
    pub(super) fn of(parts: &Parts) -> &'static Self {
        if parts.method != Method::POST || parts.uri.path() != "/" {
            return &LAMBDA;
        }
        let claim = Claim::read(parts).ok();
        let scope = claim.as_ref().and_then(|claim| claim.scope().ok());
        let named = scope.and_then(|scope| OTHERS.iter().find(|service| service.name == scope.service));
        named.unwrap_or(&LAMBDA)
    }
}
