//! IAM: users, roles, policies and access keys of an account; a subset, spoken as AWS's is.
//!
//! Whether the caller may do what is asked was decided before ([`super::authorization`]).

mod holders;
mod keys;
mod listing;
mod managed;
mod roles;
mod users;

use axum::response::Response;
use hearth_store::document::CommitError;

use super::Api;
use super::call::Call;
use super::form::Form;
use super::xml::{Xml, answer};
use crate::errors::{ApiError, Code};
use crate::policy::{Policy, PolicyKind};
use crate::sigv4::push_encoded;
use holders::Kind;

const NAMESPACE: &str = "https://iam.amazonaws.com/doc/2010-05-08/";
/// Longest name of a user or role (IAM user guide, "IAM and AWS STS quotas").
const NAME_MAX_CHARS: usize = 64;
/// Longest name of a policy.
const POLICY_NAME_MAX_CHARS: usize = 128;
/// Most tags of a user or role.
const TAGS_MAX: usize = 50;

impl Api {
    /// POST / signed for `iam`.
    pub(super) async fn iam(&self, call: Call) -> Result<Response, ApiError> {
        let form = call.form();
        let action = form.get("Action").unwrap_or_default().to_owned();
        let result = match action.as_str() {
            "CreateRole" => Some(self.create_role(&call, &form).await?),
            "GetRole" => Some(self.get_role(&call, &form).await?),
            "ListRoles" => Some(self.list_roles(&call, &form).await?),
            "DeleteRole" => self.delete_role(&call, &form).await?,
            "UpdateAssumeRolePolicy" => self.update_assume_role_policy(&call, &form).await?,
            "CreateUser" => Some(self.create_user(&call, &form).await?),
            "GetUser" => Some(self.get_user(&call, &form).await?),
            "ListUsers" => Some(self.list_users(&call, &form).await?),
            "DeleteUser" => self.delete_user(&call, &form).await?,
            "CreateAccessKey" => Some(self.create_access_key(&call, &form).await?),
            "ListAccessKeys" => Some(self.list_access_keys(&call, &form).await?),
            "UpdateAccessKey" => self.update_access_key(&call, &form).await?,
            "DeleteAccessKey" => self.delete_access_key(&call, &form).await?,
            "CreatePolicy" => Some(self.create_policy(&call, &form).await?),
            "GetPolicy" => Some(self.get_managed_policy(&call, &form).await?),
            "GetPolicyVersion" => Some(self.get_policy_version(&call, &form).await?),
            "ListPolicies" => Some(self.list_policies(&call, &form).await?),
            "DeletePolicy" => self.delete_policy(&call, &form).await?,
            other => self.holder_action(&call, &form, other).await?,
        };
        answer(NAMESPACE, &action, result.as_ref(), &call.request_id)
    }

    /// What users and roles have alike: their policies.
    async fn holder_action(&self, call: &Call, form: &Form, action: &str) -> Result<Option<Xml>, ApiError> {
        let kind = if action.contains("Role") { Kind::Role } else { Kind::User };
        let holder = self.holder(call, form, kind);
        match action {
            "PutRolePolicy" | "PutUserPolicy" => self.put_inline(holder.await?, form).await.map(|()| None),
            "GetRolePolicy" | "GetUserPolicy" => holder.await?.get_inline(form).map(Some),
            "DeleteRolePolicy" | "DeleteUserPolicy" => self.delete_inline(holder.await?, form).await.map(|()| None),
            "ListRolePolicies" | "ListUserPolicies" => Ok(Some(holder.await?.list_inline())),
            "AttachRolePolicy" | "AttachUserPolicy" => self.attach(holder.await?, form).await.map(|()| None),
            "DetachRolePolicy" | "DetachUserPolicy" => self.detach(holder.await?, form).await.map(|()| None),
            "ListAttachedRolePolicies" | "ListAttachedUserPolicies" => Ok(Some(holder.await?.list_attached())),
            other => {
                let text = format!("Could not find operation {other} for version 2010-05-08");
                Err(ApiError::new(Code::InvalidActionException, text))
            }
        }
    }
}

/// A name that must be there: letters, digits and `_+=,.@-`.
fn name<'f>(form: &'f Form, member: &str, max_chars: usize) -> Result<&'f str, ApiError> {
    let name = form.required(member)?;
    let valid =
        name.len() <= max_chars && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_+=,.@-".contains(&byte));
    if valid {
        return Ok(name);
    }
    let text = format!(
        "The specified value for {member} is invalid. It must contain only alphanumeric characters and/or the \
         following: +=,.@_- and be no longer than {max_chars} characters"
    );
    Err(ApiError::new(Code::ValidationErrorException, text))
}

/// `Path`: `/`, or segments between slashes.
fn path(form: &Form) -> Result<String, ApiError> {
    let path = form.get("Path").unwrap_or("/");
    let printable = path.bytes().all(|byte| (0x21..=0x7e).contains(&byte) && byte != b':');
    if path.starts_with('/') && path.ends_with('/') && path.len() <= 512 && printable {
        return Ok(path.to_owned());
    }
    let text = "The specified value for path is invalid. It must begin and end with / and contain only alphanumeric \
                characters and/or / characters.";
    Err(ApiError::new(Code::ValidationErrorException, text))
}

/// A policy document that must be there, and be one.
fn document(form: &Form, member: &str, kind: PolicyKind, max_chars: usize) -> Result<String, ApiError> {
    let document = form.required(member)?;
    if document.chars().filter(|character| !character.is_whitespace()).count() > max_chars {
        let text = format!("Cannot exceed quota for PolicySize: {max_chars}");
        return Err(ApiError::new(Code::LimitExceededException, text));
    }
    Policy::parse(document, kind)
        .map_err(|error| ApiError::new(Code::MalformedPolicyDocumentException, error.to_string()))?;
    Ok(document.to_owned())
}

/// A document as IAM shows it: percent-encoded.
fn encoded(document: &str) -> String {
    let mut text = String::with_capacity(document.len() * 2);
    push_encoded(&mut text, document.as_bytes());
    text
}

fn no_such(what: &str, name: &str) -> ApiError {
    ApiError::new(Code::NoSuchEntityException, format!("The {what} with name {name} cannot be found."))
}

fn exists(what: &str, name: &str) -> ApiError {
    ApiError::new(Code::EntityAlreadyExistsException, format!("{what} with name {name} already exists."))
}

fn in_use(why: &str) -> ApiError {
    ApiError::new(Code::DeleteConflictException, format!("Cannot delete entity, must {why} first."))
}

/// A change of what somebody else changed meanwhile.
fn stored(outcome: Result<(), CommitError>) -> Result<(), ApiError> {
    outcome.map_err(|error| match error {
        CommitError::Unexpected { .. } => {
            let text = "The request was rejected because multiple requests to change this object were submitted \
                        simultaneously.";
            ApiError::new(Code::ConcurrentModificationException, text)
        }
        CommitError::Store(failure) => failure.into(),
    })
}
