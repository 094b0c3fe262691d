//! InvokeAsync: what came before Invoke with `InvocationType: Event`, deprecated since 2014 and still called.

use axum::response::Response;
use serde_json::json as object;

use super::call::Call;
use super::invoke::{check_active, read_event};
use super::{Api, json};
use crate::errors::ApiError;
use crate::validation::NameForm;

impl Api {
    /// Accepts an event for `$LATEST`, or for the version or alias in the function's ARN.
    pub(super) async fn invoke_async(&self, call: Call) -> Result<Response, ApiError> {
        let target = call.target(&self.config.region, NameForm::Namespaced)?;
        let resolved = self.resolved(&call, &target).await?;
        check_active(&resolved.record)?;
        let payload = read_event(&call).await?;
        self.accept_event(&call, &target, &resolved, payload).await?;
        json(202, &object!({ "Status": 202 }))
    }
}
