//! What a request's body says that a policy may ask about.

use serde::Deserialize;
use serde_json::{Map, Value};

use super::Call;
use crate::errors::ApiError;

/// Members of bodies of several operations. Their types are checked by the operations.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Asked {
    function_name: Value,
    role: Value,
    pub(super) layers: Value,
    pub(super) tags: Value,
    pub(super) auth_type: Value,
    pub(super) principal: Value,
    pub(super) function_url_auth_type: Value,
    #[serde(rename = "logGroupName")]
    log_group_name: Value,
    #[serde(rename = "logGroupIdentifier")]
    log_group_identifier: Value,
    #[serde(rename = "logStreamName")]
    log_stream_name: Value,
}

impl Asked {
    /// Reads the body of an operation that has one of these; of the others, nothing.
    pub(super) async fn read(call: &Call) -> Result<Self, ApiError> {
        match call.route.name {
            "CreateFunction"
            | "UpdateFunctionConfiguration"
            | "AddPermission"
            | "CreateFunctionUrlConfig"
            | "UpdateFunctionUrlConfig"
            | "TagResource"
            | "Logs"
            | "CreateEventSourceMapping" => call.document().await,
            _ => Ok(Self::default()),
        }
    }

    /// The function named in the body.
    pub(super) fn function_name(&self) -> Option<&str> {
        self.function_name.as_str()
    }

    /// Log group and stream named in the body.
    pub(super) fn log_group(&self) -> Option<(&str, Option<&str>)> {
        let identifier = self.log_group_identifier.as_str();
        let by_arn = identifier.map(|arn| arn.split_once(":log-group:").map_or(arn, |(_, name)| name));
        let group = self.log_group_name.as_str().or(by_arn)?;
        Some((group.trim_end_matches(":*"), self.log_stream_name.as_str()))
    }

    /// The role that the request gives to a function: whoever does needs to be allowed to (IAM user guide, "Granting a
    /// user permissions to pass a role to an AWS service").
    pub(super) fn passed_role(&self, operation: &str) -> Option<&str> {
        let passes = matches!(operation, "CreateFunction" | "UpdateFunctionConfiguration");
        self.role.as_str().filter(|_| passes)
    }

    /// The tags in the body.
    pub(super) fn tags(&self) -> Option<&Map<String, Value>> {
        self.tags.as_object()
    }
}
