//! AddLayerVersionPermission, GetLayerVersionPolicy, RemoveLayerVersionPermission.

use axum::response::Response;
use hearth_store::document::{CommitError, Found};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{NamedLayer, missing, refused, version_number};
use crate::api::call::Call;
use crate::api::{Api, json, no_content};
use crate::errors::{ApiError, Code};
use crate::layers::{LayerPolicy, LayerStatement, LayerVersion, LayerVersionArn, PolicyChangeError};

/// How often a change begins anew because another came in between.
const TRIES: usize = 16;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct AddLayerVersionPermission {
    statement_id: Option<String>,
    principal: Option<String>,
    organization_id: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct AddedPermission {
    statement: String,
    revision_id: String,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct PolicyReport {
    policy: String,
    revision_id: String,
}

impl Api {
    pub(in crate::api) async fn add_layer_version_permission(&self, call: Call) -> Result<Response, ApiError> {
        let request: AddLayerVersionPermission = call.document().await?;
        let statement = checked(request)?;
        let arn = self.policy_of(&call)?;
        let resource = arn.to_string();
        let expected = call.query("RevisionId");
        let change = |policy: &LayerPolicy| {
            policy.with(statement.clone(), expected.as_deref(), Uuid::new_v4().to_string(), &resource)
        };
        let policy = self.change_policy(&arn, change).await?;
        json(201, &AddedPermission { statement: statement.document(&resource), revision_id: policy.revision })
    }

    pub(in crate::api) async fn get_layer_version_policy(&self, call: Call) -> Result<Response, ApiError> {
        let arn = self.policy_of(&call)?;
        let version = self.existing_version(&arn).await?;
        let policy = &version.value.policy;
        if policy.statements.is_empty() {
            let text = "No policy is associated with the given resource.";
            return Err(ApiError::new(Code::ResourceNotFoundException, text));
        }
        json(200, &PolicyReport { policy: policy.document(&arn.to_string()), revision_id: policy.revision.clone() })
    }

    pub(in crate::api) async fn remove_layer_version_permission(&self, call: Call) -> Result<Response, ApiError> {
        let arn = self.policy_of(&call)?;
        let id = call.route.parameter("StatementId", call.parts.uri.path());
        let expected = call.query("RevisionId");
        let change = |policy: &LayerPolicy| policy.without(&id, expected.as_deref(), Uuid::new_v4().to_string());
        self.change_policy(&arn, change).await?;
        no_content()
    }

    /// The version in the path, which has to be the caller's account's own.
    fn policy_of(&self, call: &Call) -> Result<LayerVersionArn, ApiError> {
        let (layer, number) = (self.named_layer(call)?, version_number(call)?);
        let NamedLayer { account, .. } = &layer;
        let arn = self.layer_arn(&layer, number);
        if *account != call.key.account {
            return Err(refused(call, &format!("lambda:{}", call.route.name), &arn.to_string()));
        }
        Ok(arn)
    }

    async fn existing_version(&self, arn: &LayerVersionArn) -> Result<Found<LayerVersion>, ApiError> {
        let found = self.find_layer_version(arn).await?;
        found.ok_or_else(|| {
            ApiError::new(Code::ResourceNotFoundException, format!("Layer version {arn} does not exist."))
        })
    }

    async fn change_policy(
        &self,
        arn: &LayerVersionArn,
        change: impl Fn(&LayerPolicy) -> Result<LayerPolicy, PolicyChangeError>,
    ) -> Result<LayerPolicy, ApiError> {
        for _ in 0..TRIES {
            let version = self.existing_version(arn).await?;
            let policy = change(&version.value.policy)?;
            match self.layers.put_policy(&arn.account, &arn.name, &version, policy.clone()).await {
                Ok(()) => return Ok(policy),
                Err(CommitError::Unexpected { .. }) => {}
                Err(CommitError::Store(failure)) => return Err(failure.into()),
            }
        }
        Err(ApiError::unavailable("others change this policy without pause"))
    }
}

impl From<PolicyChangeError> for ApiError {
    fn from(error: PolicyChangeError) -> Self {
        let code = match &error {
            PolicyChangeError::Exists(_) => Code::ResourceConflictException,
            PolicyChangeError::NotFound(_) => Code::ResourceNotFoundException,
            PolicyChangeError::Stale => Code::PreconditionFailedException,
            PolicyChangeError::TooLarge(_) => Code::PolicyLengthExceededException,
        };
        Self::new(code, error.to_string())
    }
}

/// The service model's constraints hold already ([`crate::model`]).
fn checked(request: AddLayerVersionPermission) -> Result<LayerStatement, ApiError> {
    let AddLayerVersionPermission { statement_id, principal, organization_id } = request;
    let id = statement_id.ok_or_else(|| missing("statementId"))?;
    let principal = principal.ok_or_else(|| missing("principal"))?;
    if organization_id.is_some() && principal != "*" {
        let text = "Principal must be * when an organization ID is specified.";
        return Err(ApiError::invalid_parameter(text));
    }
    Ok(LayerStatement { id, principal, organization: organization_id })
}
