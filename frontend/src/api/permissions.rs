//! AddPermission, RemovePermission, GetPolicy: resource policies of functions, versions and aliases.

use axum::response::Response;
use hearth_domain::{AliasName, Version};
use hearth_store::document::{CommitError, Expected};
use hearth_store::{Collection, FunctionRecord};
use serde::Deserialize;
use serde_json::{Value, json};

use super::call::Call;
use super::changes::new_revision;
use super::configuration::function_arn;
use super::{Api, json as reply, no_content};
use crate::errors::{ApiError, Code};
use crate::resource_policy::{PermissionStatement, ResourcePolicy, principal};
use crate::validation::{NameForm, Qualifier, Target, ValidationErrors};

/// Longest resource policy, bytes (AWS Lambda developer guide, "Lambda quotas": 20 KB).
const POLICY_MAX_BYTES: usize = 20 * 1024;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct AddPermission {
    statement_id: Option<String>,
    action: Option<String>,
    principal: Option<String>,
    source_arn: Option<String>,
    source_account: Option<String>,
    event_source_token: Option<String>,
    #[serde(rename = "PrincipalOrgID")]
    principal_org_id: Option<String>,
    function_url_auth_type: Option<String>,
    invoked_via_function_url: Option<bool>,
    revision_id: Option<String>,
}

impl Api {
    pub(super) async fn add_permission(&self, call: Call) -> Result<Response, ApiError> {
        let request: AddPermission = call.document().await?;
        let target = call.target(&self.config.region, NameForm::Plain)?;
        let mut errors = ValidationErrors::default();
        for (member, given) in
            [("statementId", &request.statement_id), ("action", &request.action), ("principal", &request.principal)]
        {
            if given.is_none() {
                errors.add_missing(member);
            }
        }
        errors.finish()?;
        if target.qualifier == Some(Qualifier::Version(hearth_domain::Version::Latest)) {
            return Err(ApiError::invalid_parameter("We currently do not support adding policies for $LATEST."));
        }
        let statement = self.statement(&call, &target, &request)?;
        let account = &call.key.account;
        let _change = self.changes.lock(account, &target.name).await;
        let record = self.owner_of_policy(&call, &target).await?;
        let path = policy_path(&call, &target);
        let found = self.resource_policies.get(&path).await?;
        let mut statements = found.as_ref().map(|found| found.value.statements.clone()).unwrap_or_default();
        if statements.iter().any(|other| other.sid == statement.sid) {
            let text = format!(
                "The statement id ({}) provided already exists. Please provide a new statement id, or remove the \
                 existing statement.",
                statement.sid
            );
            return Err(ApiError::new(Code::ResourceConflictException, text));
        }
        // A function without a policy has its own revision for the first statement.
        let current = found.as_ref().map_or(&record.function.revision, |found| &found.value.revision);
        check_revision(request.revision_id.as_deref(), current.as_str())?;
        let shown = serde_json::to_string(&statement).map_err(ApiError::internal)?;
        statements.push(statement);
        let policy = ResourcePolicy::new(statements, new_revision());
        let bytes = policy.text().len();
        if bytes > POLICY_MAX_BYTES {
            let text = format!("The final policy size ({bytes}) is bigger than the limit ({POLICY_MAX_BYTES}).");
            return Err(ApiError::new(Code::PolicyLengthExceededException, text));
        }
        let expected = found.map_or(Expected::Absent, |found| Expected::Revision(found.revision));
        stored(self.resource_policies.put(&path, &policy, expected).await)?;
        reply(201, &json!({ "Statement": shown }))
    }

    pub(super) async fn remove_permission(&self, call: Call) -> Result<Response, ApiError> {
        let target = call.target(&self.config.region, NameForm::Plain)?;
        let sid = call.route.parameter("StatementId", call.parts.uri.path()).into_owned();
        let _change = self.changes.lock(&call.key.account, &target.name).await;
        if self.deps.catalog.get(&call.key.account, &target.name, Version::Latest).await?.is_none() {
            let arn = function_arn(&self.config.region, &call.key.account, &target.name, None);
            return Err(ApiError::new(Code::ResourceNotFoundException, format!("No policy found for: {arn}")));
        }
        self.owner_of_policy(&call, &target).await?;
        let path = policy_path(&call, &target);
        let found = self.resource_policies.get(&path).await?.ok_or_else(|| {
            let text = "No policy is associated with the given resource.";
            ApiError::new(Code::ResourceNotFoundException, text)
        })?;
        let mut statements = found.value.statements.clone();
        statements.retain(|statement| statement.sid != sid);
        if statements.len() == found.value.statements.len() {
            let text = format!("Statement {sid} is not found in resource policy.");
            return Err(ApiError::new(Code::ResourceNotFoundException, text));
        }
        check_revision(call.query("RevisionId").as_deref(), found.value.revision.as_str())?;
        let expected = Expected::Revision(found.revision);
        if statements.is_empty() {
            stored(self.resource_policies.remove(&path, expected).await)?;
        } else {
            let policy = ResourcePolicy::new(statements, new_revision());
            stored(self.resource_policies.put(&path, &policy, expected).await)?;
        }
        no_content()
    }

    pub(super) async fn get_policy(&self, call: Call) -> Result<Response, ApiError> {
        let target = call.target(&self.config.region, NameForm::Namespaced)?;
        let path = policy_path(&call, &target);
        let policies: &Collection<ResourcePolicy> = &self.resource_policies;
        let Some(found) = policies.get(&path).await? else {
            let (account, name) = (&call.key.account, &target.name);
            // Recorded (LocalStack, test_permission_exceptions): only the function itself is missed by name.
            if self.deps.catalog.get(account, name, Version::Latest).await?.is_none() {
                return Err(ApiError::function_not_found(&function_arn(&self.config.region, account, name, None)));
            }
            let text = "The resource you requested does not exist.";
            return Err(ApiError::new(Code::ResourceNotFoundException, text));
        };
        reply(200, &json!({ "Policy": found.value.text(), "RevisionId": found.value.revision }))
    }

    /// The version that the policy is about, or the alias' version.
    async fn owner_of_policy(&self, call: &Call, target: &Target) -> Result<std::sync::Arc<FunctionRecord>, ApiError> {
        let arn = target.arn(call.addressee(&self.config.region));
        let found = self.resolver.look_up(&call.key.account, &target.name, target.qualifier.as_ref()).await?;
        found.map(|found| found.record).ok_or_else(|| match &target.qualifier {
            // Recorded (LocalStack, test_permission_exceptions): what can't be an alias' name is missed as a version.
            Some(Qualifier::Alias(name)) if AliasName::new(name).is_ok() => {
                ApiError::new(Code::ResourceNotFoundException, format!("Cannot find alias arn: {arn}"))
            }
            _ => ApiError::function_not_found(&arn),
        })
    }

    fn statement(
        &self,
        call: &Call,
        target: &Target,
        request: &AddPermission,
    ) -> Result<PermissionStatement, ApiError> {
        let invalid_principal = || {
            ApiError::invalid_parameter("The provided principal was invalid. Please check the principal and try again.")
        };
        let action = request.action.clone().unwrap_or_default();
        if request.function_url_auth_type.is_some() && action != "lambda:InvokeFunctionUrl" {
            let text = "FunctionUrlAuthType is only supported for lambda:InvokeFunctionUrl action";
            return Err(ApiError::invalid_parameter(text));
        }
        let statement = PermissionStatement {
            sid: request.statement_id.clone().unwrap_or_default(),
            effect: "Allow".to_owned(),
            principal: principal(request.principal.as_deref().unwrap_or_default()).ok_or_else(invalid_principal)?,
            action,
            resource: target.arn(call.addressee(&self.config.region)),
            condition: condition(request),
        };
        statement.check().map_err(|_| invalid_principal())?;
        Ok(statement)
    }
}

/// As AWS writes it: the source's ARN may have wildcards, everything else is compared as it is.
fn condition(request: &AddPermission) -> Option<Value> {
    let mut condition = serde_json::Map::new();
    let mut add = |operator: &str, key: &str, value: Value| {
        let keys = condition.entry(operator).or_insert_with(|| json!({}));
        keys[key] = value;
    };
    for (key, value) in [
        ("AWS:SourceAccount", &request.source_account),
        ("lambda:EventSourceToken", &request.event_source_token),
        ("aws:PrincipalOrgID", &request.principal_org_id),
        ("lambda:FunctionUrlAuthType", &request.function_url_auth_type),
    ] {
        if let Some(value) = value {
            add("StringEquals", key, json!(value));
        }
    }
    if let Some(arn) = &request.source_arn {
        add("ArnLike", "AWS:SourceArn", json!(arn));
    }
    if let Some(via_url) = request.invoked_via_function_url {
        add("Bool", "lambda:InvokedViaFunctionUrl", json!(via_url.to_string()));
    }
    (!condition.is_empty()).then_some(Value::Object(condition))
}

fn policy_path(call: &Call, target: &Target) -> String {
    let qualifier = target.qualifier.as_ref().map(ToString::to_string);
    ResourcePolicy::path(&call.key.account, &target.name, qualifier.as_deref())
}

fn check_revision(given: Option<&str>, current: &str) -> Result<(), ApiError> {
    if given.is_none_or(|given| given == current) {
        return Ok(());
    }
    let text = "The Revision Id provided does not match the latest Revision Id. Call the GetPolicy API to retrieve the \
                latest Revision Id";
    Err(ApiError::new(Code::PreconditionFailedException, text))
}

fn stored(outcome: Result<(), CommitError>) -> Result<(), ApiError> {
    outcome.map_err(|error| match error {
        CommitError::Unexpected { .. } => super::changes::not_now("The policy was changed meanwhile."),
        CommitError::Store(failure) => failure.into(),
    })
}
