//! One authenticated request, as an operation reads it.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use hearth_domain::RequestId;
use hearth_store::catalog::AccessKey;
use http::request::Parts;
use serde::de::DeserializeOwned;

use super::INLINE_MAX_BYTES;
use super::form::Form;
use super::routes::Route;
use crate::errors::{ApiError, Code};
use crate::identity::Caller;
use crate::model::queried;
use crate::validation::{Addressee, NameForm, Target, ValidationErrors};

/// A request whose signature was verified.
pub(super) struct Call {
    /// When its head had come.
    pub(super) began: Instant,
    pub(super) request_id: RequestId,
    pub(super) route: &'static Route,
    pub(super) parts: Parts,
    /// The key that signed. Its account is the one whose resources are meant: the caller's own, or the one that a
    /// name in the request names and that lets the caller in.
    pub(super) key: Arc<AccessKey>,
    /// Who calls.
    pub(super) caller: Caller,
    /// The session token that came with the key.
    pub(super) session_token: Option<String>,
    pub(super) body: Bytes,
}

impl Call {
    /// Whose functions it can mean.
    pub(super) fn addressee<'c>(&'c self, region: &'c str) -> Addressee<'c> {
        Addressee { account: &self.key.account, region }
    }

    /// The function in the path, with the `Qualifier` of the query.
    pub(super) fn target(&self, region: &str, form: NameForm) -> Result<Target, ApiError> {
        let name = self.route.parameter("FunctionName", self.parts.uri.path());
        let qualifier = self.query("Qualifier");
        Ok(Target::read(&name, form, qualifier.as_deref(), self.addressee(region))?)
    }

    /// A query parameter, percent-decoded; invalid UTF-8 replaced.
    pub(super) fn query(&self, name: &str) -> Option<Cow<'_, str>> {
        queried(&self.parts, name).next()
    }

    /// A number in the query within bounds; `default` if it is not there.
    pub(super) fn query_number(&self, name: &str, member: &str, max: u32, default: u32) -> Result<u32, ApiError> {
        let Some(text) = self.query(name) else { return Ok(default) };
        let number: i64 = text.parse().map_err(|_| {
            ApiError::new(Code::SerializationException, format!("{name} must be a whole number, not '{text}'"))
        })?;
        let mut errors = ValidationErrors::default();
        errors.check_range(number, member, 1, max);
        errors.finish()?;
        Ok(u32::try_from(number).unwrap_or(max))
    }

    /// The form in the body.
    pub(super) fn form(&self) -> Form {
        Form::read(&self.body)
    }

    /// A header, if it is plain text.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.parts.headers.get(name)?.to_str().ok()
    }

    /// The JSON document in the body; an absent body is an empty document. A large one is read off the threads that
    /// serve connections.
    pub(super) async fn document<T: DeserializeOwned + Send + 'static>(&self) -> Result<T, ApiError> {
        if self.body.len() <= INLINE_MAX_BYTES {
            return read_document(&self.body);
        }
        let body = self.body.clone();
        tokio::task::spawn_blocking(move || read_document(&body)).await.map_err(ApiError::internal)?
    }
}

fn read_document<T: DeserializeOwned>(body: &[u8]) -> Result<T, ApiError> {
    let body = if body.is_empty() { b"{}" } else { body };
    // The model let it pass, so what fails here is what only the operation knows, such as base64.
    serde_json::from_slice(body).map_err(|error| ApiError::new(Code::SerializationException, error.to_string()))
}
