//! Errors on the wire, the only place where one becomes an HTTP reply.
//!
//! Lambda spells its bodies in three ways: authentication and validation answer `{"message"}`; most exceptions
//! `{"Type","message"}`; a few, `ResourceNotFoundException` and `ServiceException` among them, `{"Type","Message"}`.
//! The code stands in `x-amzn-ErrorType`. Source: botocore's service model (`lambda/2015-03-31`), exceptions. The other
//! services have spellings of their own ([`Wire`]).
//!
//! Invariant: what a caller can't help (a failing store, say) is logged with the request's id and told without detail.

use axum::body::Body;
use axum::response::Response;
use hearth_domain::RequestId;
use hearth_domain::limits::BUNDLE_UNZIPPED_MAX_BYTES;
use hearth_protocol::Unreachable;
use hearth_protocol::worker_manager::ReserveError;
use hearth_store::document::CommitError;
use hearth_store::unzip::BundleError;
use hearth_store::{CatalogError, PushError, StoreFailure};
use http::{HeaderValue, StatusCode, header};
use serde_json::json;
use tracing::error;

use crate::invocation::InvocationError;
use crate::model::Refusal;
use crate::provisioning::ProvisionError;
use crate::sigv4::AuthError;
use crate::validation::{SettingsError, TargetError, ValidationErrors};

/// Seconds a throttled caller is asked to wait.
const RETRY_AFTER_S: HeaderValue = HeaderValue::from_static("1");

/// An error as the caller gets it.
#[derive(Debug)]
pub struct ApiError {
    code: Code,
    message: String,
    /// `Reason` of a throttle.
    reason: Option<&'static str>,
    /// Whether the body has no `Type`, though others of this code have.
    untyped: bool,
    /// What is logged and not told.
    cause: Option<Box<dyn std::error::Error + Send + Sync>>,
}

macro_rules! codes {
    ($($name:ident $status:literal $body:ident,)*) => {
        /// The exceptions this API answers with.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Code { $(#[doc = concat!("`", stringify!($name), "`, HTTP ", stringify!($status))] $name),* }

        impl Code {
            /// Its name in `x-amzn-ErrorType`.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => stringify!($name)),* }
            }

            /// Its HTTP status.
            #[must_use]
            pub const fn status(self) -> u16 {
                match self { $(Self::$name => $status),* }
            }

            const fn body(self) -> BodyForm {
                match self { $(Self::$name => BodyForm::$body),* }
            }
        }
    };
}

/// Which members the body has, and how they are spelled.
#[derive(Debug, Clone, Copy)]
enum BodyForm {
    /// `{"message"}`
    Plain,
    /// `{"Type":"User","message"}`
    User,
    /// `{"Type":"User","Message"}`
    UserCapital,
    /// `{"Type":"Service","Message"}`
    Service,
}

codes! {
    MissingAuthenticationTokenException 403 Plain,
    IncompleteSignatureException 403 Plain,
    UnrecognizedClientException 403 Plain,
    InvalidSignatureException 403 Plain,
    AccessDeniedException 403 Plain,
    ExpiredTokenException 403 Plain,
    ValidationException 400 Plain,
    SerializationException 400 Plain,
    UnknownOperationException 404 Plain,
    NoSuchEntityException 404 Plain,
    EntityAlreadyExistsException 409 Plain,
    DeleteConflictException 409 Plain,
    ConcurrentModificationException 409 Plain,
    LimitExceededException 409 Plain,
    MalformedPolicyDocumentException 400 Plain,
    InvalidInputException 400 Plain,
    ValidationErrorException 400 Plain,
    InvalidActionException 400 Plain,
    PolicyLengthExceededException 400 User,
    PackedPolicyTooLargeException 400 Plain,
    RequestTimeoutException 408 Plain,
    InvalidParameterException 400 Plain,
    ResourceAlreadyExistsException 400 Plain,
    InvalidParameterValueException 400 User,
    InvalidRequestContentException 400 User,
    MissingParameter 400 Plain,
    OverLimit 400 Plain,
    QueueDoesNotExist 400 Plain,
    QueueNameExists 400 Plain,
    ReceiptHandleIsInvalid 400 Plain,
    UnsupportedOperation 400 Plain,
    ResourceNotFoundException 404 UserCapital,
    ProvisionedConcurrencyConfigNotFoundException 404 User,
    ResourceConflictException 409 User,
    PreconditionFailedException 412 User,
    RequestEntityTooLargeException 413 User,
    RequestTooLargeException 413 User,
    TooManyRequestsException 429 User,
    ServiceException 500 Service,
    NotImplementedException 501 Service,
    ServiceUnavailableException 503 Service,
}

/// How a service spells its errors (botocore's service models, `protocol`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wire {
    /// `rest-json`, as Lambda.
    RestJson,
    /// `json` version 1.1, as CloudWatch Logs: `{"__type","message"}`.
    Json11,
    /// `query`, as STS and IAM: an XML document.
    Query,
}

impl ApiError {
    /// An error with its text.
    #[must_use]
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), reason: None, untyped: false, cause: None }
    }

    /// The same without its `Type`, as AWS gives a few (LocalStack's recordings; tests/aws-facts/, `"type": null`).
    #[must_use]
    pub fn untyped(self) -> Self {
        Self { untyped: true, ..self }
    }

    /// `InvalidParameterValueException`.
    #[must_use]
    pub fn invalid_parameter(message: impl Into<String>) -> Self {
        Self::new(Code::InvalidParameterValueException, message)
    }

    /// `ResourceNotFoundException` for a function ARN.
    #[must_use]
    pub fn function_not_found(arn: &str) -> Self {
        Self::new(Code::ResourceNotFoundException, format!("Function not found: {arn}"))
    }

    /// `PreconditionFailedException` for a revision that is not the current one.
    #[must_use]
    pub fn stale_revision() -> Self {
        let text = "The Revision Id provided does not match the latest Revision Id. Call the GetFunction/GetAlias API \
                    to retrieve the latest Revision Id";
        Self::new(Code::PreconditionFailedException, text)
    }

    /// `TooManyRequestsException` with its reason.
    #[must_use]
    pub fn throttled(reason: &'static str) -> Self {
        Self { reason: Some(reason), ..Self::new(Code::TooManyRequestsException, "Rate Exceeded.") }
    }

    /// Something failed that the caller can't help.
    #[must_use]
    pub fn internal(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        let message = "An error occurred and the request cannot be processed.";
        Self { cause: Some(cause.into()), ..Self::new(Code::ServiceException, message) }
    }

    /// What was asked did not begin, for want of a role that can be reached: trying again may help.
    #[must_use]
    pub fn unavailable(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        let message = "The platform can't be reached right now. Try again.";
        Self { cause: Some(cause.into()), ..Self::new(Code::ServiceUnavailableException, message) }
    }

    /// The exception.
    #[must_use]
    pub fn code(&self) -> Code {
        self.code
    }

    /// The text.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The reply. The request's id goes into it with every other reply's.
    #[must_use]
    pub fn into_response(self, request_id: &RequestId, wire: Wire) -> Response {
        if let Some(cause) = &self.cause {
            error!(%request_id, code = self.code.name(), %cause, "request failed");
        }
        let (body, content_type) = match wire {
            Wire::RestJson => (self.rest_json().to_string(), "application/json"),
            Wire::Json11 => {
                let body = json!({ "__type": self.code.name(), "message": self.message });
                (body.to_string(), "application/x-amz-json-1.1")
            }
            Wire::Query => (self.query_xml(request_id), "text/xml"),
        };
        let mut response = Response::new(Body::from(body));
        let status = match (wire, self.code.status()) {
            // There every mistake of the caller's is a plain 400.
            (Wire::Json11, 404) => 400,
            (_, status) => status,
        };
        *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        headers.insert("x-amzn-errortype", HeaderValue::from_static(self.code.name()));
        if self.code == Code::TooManyRequestsException {
            headers.insert(header::RETRY_AFTER, RETRY_AFTER_S);
        }
        response
    }

    fn rest_json(&self) -> serde_json::Value {
        let mut body = match self.code.body() {
            BodyForm::Plain => json!({ "message": self.message }),
            BodyForm::User => json!({ "Type": "User", "message": self.message }),
            BodyForm::UserCapital => json!({ "Type": "User", "Message": self.message }),
            BodyForm::Service => json!({ "Type": "Service", "Message": self.message }),
        };
        if let Some(members) = body.as_object_mut().filter(|_| self.untyped) {
            members.remove("Type");
        }
        if let Some(reason) = self.reason {
            body["Reason"] = reason.into();
        }
        body
    }

    /// Codes have no `Exception` at their end there (STS API reference, "Common errors").
    fn query_xml(&self, request_id: &RequestId) -> String {
        let code = match self.code {
            Code::UnrecognizedClientException => "InvalidClientTokenId",
            Code::InvalidSignatureException => "SignatureDoesNotMatch",
            code => code.name().trim_end_matches("Exception"),
        };
        let kind = if self.code.status() < 500 { "Sender" } else { "Receiver" };
        let message = escape_xml(&self.message);
        format!(
            "<ErrorResponse><Error><Type>{kind}</Type><Code>{code}</Code><Message>{message}</Message></Error>\
             <RequestId>{request_id}</RequestId></ErrorResponse>"
        )
    }
}

/// Text as the content of an XML element.
#[must_use]
pub fn escape_xml(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

impl From<AuthError> for ApiError {
    fn from(error: AuthError) -> Self {
        let code = match &error {
            AuthError::Missing => Code::MissingAuthenticationTokenException,
            AuthError::Incomplete(_) => Code::IncompleteSignatureException,
            AuthError::UnknownKey => Code::UnrecognizedClientException,
            AuthError::ExpiredToken => Code::ExpiredTokenException,
            AuthError::Scope(_)
            | AuthError::Time(_)
            | AuthError::UnsignedHeader(_)
            | AuthError::PayloadMismatch
            | AuthError::Mismatch { .. } => Code::InvalidSignatureException,
        };
        Self::new(code, error.to_string())
    }
}

impl From<ValidationErrors> for ApiError {
    fn from(errors: ValidationErrors) -> Self {
        Self::new(Code::ValidationException, errors.to_string())
    }
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Unreadable(text) => Self::new(Code::SerializationException, text),
            unsupported @ Refusal::Unsupported(_) => Self::invalid_parameter(unsupported.to_string()),
            Refusal::Invalid(errors) => errors.into(),
        }
    }
}

impl From<SettingsError> for ApiError {
    fn from(error: SettingsError) -> Self {
        Self::invalid_parameter(error.to_string())
    }
}

impl From<TargetError> for ApiError {
    fn from(error: TargetError) -> Self {
        let code = match &error {
            TargetError::Invalid(_) => Code::ValidationException,
            TargetError::OtherRegion { .. } => Code::ResourceNotFoundException,
            TargetError::OtherAccount { .. } => Code::AccessDeniedException,
            TargetError::LongName(_) | TargetError::QualifierMismatch => Code::InvalidParameterValueException,
        };
        Self::new(code, error.to_string())
    }
}

impl From<BundleError> for ApiError {
    fn from(error: BundleError) -> Self {
        Self::invalid_parameter(match error {
            BundleError::Empty => "Uploaded file must be a non-empty zip".to_owned(),
            BundleError::TooLarge => format!("Unzipped size must be smaller than {BUNDLE_UNZIPPED_MAX_BYTES} bytes"),
            BundleError::NotAZip(_) | BundleError::Damaged { .. } => {
                "Could not unzip uploaded file. Please check your file, then try to upload again.".to_owned()
            }
            // What only Hearth refuses, it explains.
            error => format!(
                "Could not unzip uploaded file. Please check your file, then try to upload again. Reason: {error}."
            ),
        })
    }
}

impl From<StoreFailure> for ApiError {
    fn from(failure: StoreFailure) -> Self {
        Self::internal(failure)
    }
}

impl From<CommitError> for ApiError {
    /// Changes of one function follow each other, so what is not as it was read was changed by another frontend.
    fn from(error: CommitError) -> Self {
        match error {
            CommitError::Store(failure) => failure.into(),
            CommitError::Unexpected { .. } => {
                let text = "The resource is being changed by another request. Try again.";
                Self::new(Code::ResourceConflictException, text)
            }
        }
    }
}

impl From<PushError> for ApiError {
    fn from(error: PushError) -> Self {
        match error {
            PushError::Full { .. } => Self::throttled("ReservedFunctionInvocationRateLimitExceeded"),
            PushError::Store(failure) => failure.into(),
        }
    }
}

impl From<CatalogError> for ApiError {
    fn from(error: CatalogError) -> Self {
        match error {
            CatalogError::Exists(name) => {
                Self::new(Code::ResourceConflictException, format!("Function already exist: {name}"))
            }
            CatalogError::NotFound { name, version } => Self::function_not_found(&format!("{name}:{version}")),
            CatalogError::RevisionMismatch { .. } => Self::stale_revision(),
            CatalogError::Store(failure) => failure.into(),
        }
    }
}

impl From<ProvisionError> for ApiError {
    fn from(error: ProvisionError) -> Self {
        match error {
            ProvisionError::Store(failure) => failure.into(),
            ProvisionError::Unreachable(unreachable) => unreachable.into(),
        }
    }
}

impl From<Unreachable> for ApiError {
    fn from(unreachable: Unreachable) -> Self {
        Self::unavailable(unreachable)
    }
}

impl From<InvocationError> for ApiError {
    fn from(error: InvocationError) -> Self {
        match error {
            InvocationError::Reserve(ReserveError::ConcurrencyLimit { .. }) => {
                Self::throttled("ConcurrentInvocationLimitExceeded")
            }
            InvocationError::Reserve(ReserveError::ReservedLimit { .. }) => {
                Self::throttled("ReservedFunctionConcurrentInvocationLimitExceeded")
            }
            InvocationError::Reserve(ReserveError::QueueFull { .. }) => Self::throttled("CallerRateLimitExceeded"),
            InvocationError::Reserve(ReserveError::NoCapacity { waited, reason }) => Self::new(
                Code::ServiceUnavailableException,
                format!("No capacity came free within {:.1} seconds: {reason}", waited.as_secs_f64()),
            ),
            InvocationError::Reserve(ReserveError::Unreachable(unreachable)) => unreachable.into(),
            not_started @ InvocationError::NotStarted { .. } => Self::unavailable(not_started),
            error => Self::internal(error),
        }
    }
}
