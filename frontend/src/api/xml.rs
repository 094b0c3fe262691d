//! Answers of the query protocol.

use axum::body::Body;
use axum::response::Response;
use hearth_domain::RequestId;

use crate::errors::{ApiError, escape_xml};

/// An XML document under way: elements of text and of others.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Xml(String);

impl Xml {
    /// An element with text.
    #[must_use]
    pub(super) fn text(mut self, name: &str, text: impl std::fmt::Display) -> Self {
        let text = escape_xml(&text.to_string());
        self.0.push_str(&format!("<{name}>{text}</{name}>"));
        self
    }

    /// An element with others in it.
    #[must_use]
    pub(super) fn inside(mut self, name: &str, inner: &Self) -> Self {
        self.0.push_str(&format!("<{name}>{}</{name}>", inner.0));
        self
    }

    /// A list: each in a `member`.
    #[must_use]
    pub(super) fn list(self, name: &str, members: impl IntoIterator<Item = Self>) -> Self {
        let members = members.into_iter().fold(Self::default(), |list, member| list.inside("member", &member));
        self.inside(name, &members)
    }
}

/// The answer to `action`; without a result it has only the request's id.
pub(super) fn answer(
    namespace: &str,
    action: &str,
    result: Option<&Xml>,
    request_id: &RequestId,
) -> Result<Response, ApiError> {
    let result = result.map_or(Xml::default(), |result| Xml::default().inside(&format!("{action}Result"), result));
    let body = result.inside("ResponseMetadata", &Xml::default().text("RequestId", request_id));
    let document = format!("<{action}Response xmlns=\"{namespace}\">{}</{action}Response>", body.0);
    let response = Response::builder().header(http::header::CONTENT_TYPE, "text/xml");
    response.body(Body::from(document)).map_err(ApiError::internal)
}
