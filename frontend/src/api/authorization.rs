//! May this caller do this? Asked once for every request, before its operation's own file sees it.
//!
//! Which action an operation is and what it is done to follow from its route: `lambda:` and the operation's name, on
//! the function, layer or resource in the path (AWS Service Authorization Reference, "Actions, resources, and condition
//! keys for AWS Lambda"). A key of the account itself, used within the account, is let through without a look at
//! anything: that is the fast path.

mod asked;
mod context;
mod resource;

use std::sync::Arc;

use hearth_domain::{AccountId, FunctionName};
use hearth_store::catalog::AccessKey;

use super::Api;
use super::call::Call;
use super::routes::Route;
use crate::errors::{ApiError, Code};
use crate::identity::{Caller, Refused};
use crate::policy::{Context, Decision, Principal, allows};
use crate::resource_policy::ResourcePolicy;
use crate::sigv4::AuthError;
use asked::Asked;
use resource::Resource;

/// Operations whose action has another name than `lambda:` and their own.
const OTHER_ACTIONS: [(&str, &str); 7] = [
    ("Invoke", "lambda:InvokeFunction"),
    ("InvokeAsync", "lambda:InvokeFunction"),
    ("InvokeWithResponseStream", "lambda:InvokeFunction"),
    ("GetLayerVersionByArn", "lambda:GetLayerVersion"),
    ("HearthCode", "lambda:GetFunction"),
    ("HearthLayer", "lambda:GetLayerVersion"),
    ("HearthLogs", "logs:FilterLogEvents"),
];

impl Api {
    /// Lets the call through, or refuses it. The account whose resource is meant is the call's from then on.
    pub(super) async fn authorize(&self, call: &mut Call) -> Result<(), ApiError> {
        if call.caller.is_root() && !may_name_another_account(call) {
            return Ok(());
        }
        let Some(action) = action(call) else { return Ok(()) };
        let asked = Asked::read(call).await?;
        let resource = Resource::of(call, &asked, &self.config.region);
        if call.caller.is_root() && resource.account == call.caller.account {
            return Ok(());
        }
        let context = self.context(call, &asked, &resource).await?;
        self.check(&call.caller, &action, &resource, &context).await?;
        if let Some(role) = asked.passed_role(call.route.name) {
            let context = context.with("iam:PassedToService", "lambda.amazonaws.com");
            let passed = Resource { arn: role.to_owned(), account: call.caller.account.clone(), policy: None };
            self.check(&call.caller, "iam:PassRole", &passed, &context).await?;
        }
        if resource.account != call.caller.account {
            call.key = Arc::new(AccessKey { account: resource.account, ..AccessKey::clone(&call.key) });
        }
        Ok(())
    }

    async fn check(
        &self,
        caller: &Caller,
        action: &str,
        resource: &Resource,
        context: &Context,
    ) -> Result<(), ApiError> {
        let policy = match &resource.policy {
            Some(path) => self.resource_policies.get(path).await?.and_then(|found| found.value.policy()),
            None => None,
        };
        let (owner, arn) = (&resource.account, resource.arn.as_str());
        let decision = self.identities.authorize(caller, action, arn, owner, context, policy.as_deref()).await?;
        match decision {
            Decision::Allowed => Ok(()),
            Decision::Refused(refusal) => Err(denied(caller, action, arn, &refusal.because(action))),
        }
    }

    /// Whether `caller` (`None`: nobody in particular) may do `action` on a function, by its identity's policies and the
    /// function's own. `context` is what is known of the request beside who asks.
    pub(crate) async fn may_use_function(
        &self,
        caller: Option<&Caller>,
        action: &str,
        owner: (&AccountId, &FunctionName, Option<&str>),
        context: &Context,
    ) -> Result<bool, ApiError> {
        let (account, function, qualifier) = owner;
        let found = self.resource_policies.get(&ResourcePolicy::path(account, function, qualifier)).await?;
        let policy = found.and_then(|found| found.value.policy());
        let arn = resource::function_arn(&self.config.region, account, function.as_str(), qualifier);
        let Some(caller) = caller else {
            let allowed = |policy| allows(policy, &Principal::Anonymous, action, &arn, context);
            return Ok(policy.as_deref().is_some_and(allowed));
        };
        let decision = self.identities.authorize(caller, action, &arn, account, context, policy.as_deref()).await?;
        Ok(decision == Decision::Allowed)
    }
}

/// The action that a call is; `None` if it needs no permission, or asks for its own itself.
fn action(call: &Call) -> Option<String> {
    let route: &Route = call.route;
    let other = OTHER_ACTIONS.iter().find(|(name, _)| *name == route.name);
    match (other, route.name) {
        (Some((_, action)), _) => Some((*action).to_owned()),
        (None, "Sts") => None,
        (None, "Iam") => Some(format!("iam:{}", call.form().get("Action").unwrap_or("Unknown"))),
        (None, "Logs") => Some(format!("logs:{}", json_operation(call))),
        (None, "Sqs") => Some(format!("sqs:{}", json_operation(call))),
        // Ours: `hearth:Workers`, `hearth:CreateAccount`, ….
        (None, name) if name.starts_with("Hearth") => Some(format!("hearth:{}", &name["Hearth".len()..])),
        (None, name) => Some(format!("lambda:{name}")),
    }
}

/// The operation of a service that speaks JSON: `x-amz-target: Logs_20140328.GetLogEvents`.
fn json_operation(call: &Call) -> &str {
    call.header("x-amz-target").and_then(|target| target.rsplit('.').next()).unwrap_or("Unknown")
}

/// Another account is named by its number, and numbers stand between colons.
fn may_name_another_account(call: &Call) -> bool {
    let path = call.parts.uri.path();
    path.contains(':') || path.contains("%3")
}

/// How AWS tells it (IAM user guide, "Troubleshoot access denied error messages").
pub(super) fn denied(caller: &Caller, action: &str, resource: &str, because: &str) -> ApiError {
    let text =
        format!("User: {} is not authorized to perform: {action} on resource: {resource} {because}", caller.arn());
    ApiError::new(Code::AccessDeniedException, text.trim_end())
}

impl From<Refused> for ApiError {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Unknown => AuthError::UnknownKey.into(),
            Refused::Expired => AuthError::ExpiredToken.into(),
            Refused::Store(failure) => failure.into(),
        }
    }
}
