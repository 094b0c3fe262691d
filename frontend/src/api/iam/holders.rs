//! Policies of users and roles: inline ones and attached ones, the same for both.

use std::sync::Arc;

use hearth_domain::AccountId;
use hearth_store::document::Expected;

use super::{POLICY_NAME_MAX_CHARS, document, encoded, name, no_such, stored};
use crate::api::Api;
use crate::api::call::Call;
use crate::api::form::Form;
use crate::api::xml::Xml;
use crate::errors::{ApiError, Code};
use crate::identity::{Policies, Role, User};
use crate::policy::PolicyKind;

/// Longest inline policies of a user and of a role, characters without white space (IAM user guide, "IAM and AWS STS
/// quotas": 2,048 and 10,240).
const USER_POLICIES_MAX_CHARS: usize = 2_048;
const ROLE_POLICIES_MAX_CHARS: usize = 10_240;
/// Most managed policies attached to one user or role.
const ATTACHED_MAX: usize = 10;

/// What has policies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    User,
    Role,
}

/// A user or a role, and its policies.
pub(super) struct Holder {
    account: AccountId,
    name: String,
    path: String,
    record: Record,
    revision: u64,
    pub(super) policies: Policies,
}

enum Record {
    User(Arc<User>),
    Role(Arc<Role>),
}

impl Holder {
    fn kind(&self) -> Kind {
        match self.record {
            Record::User(_) => Kind::User,
            Record::Role(_) => Kind::Role,
        }
    }

    /// `RoleName` or `UserName` of an answer.
    fn named(&self) -> Xml {
        Xml::default().text(if self.kind() == Kind::Role { "RoleName" } else { "UserName" }, &self.name)
    }

    fn no_such_policy(&self, policy: &str) -> ApiError {
        no_such(if self.kind() == Kind::Role { "role policy" } else { "user policy" }, policy)
    }

    pub(super) fn get_inline(&self, form: &Form) -> Result<Xml, ApiError> {
        let policy = name(form, "PolicyName", POLICY_NAME_MAX_CHARS)?;
        let document = self.policies.inline.get(policy).ok_or_else(|| self.no_such_policy(policy))?;
        Ok(self.named().text("PolicyName", policy).text("PolicyDocument", encoded(document)))
    }

    pub(super) fn list_inline(&self) -> Xml {
        let names = self.policies.inline.keys().fold(Xml::default(), |names, name| names.text("member", name));
        Xml::default().inside("PolicyNames", &names).text("IsTruncated", false)
    }

    pub(super) fn list_attached(&self) -> Xml {
        let attached = self.policies.attached.iter().map(|arn| {
            Xml::default().text("PolicyName", arn.rsplit('/').next().unwrap_or_default()).text("PolicyArn", arn)
        });
        Xml::default().list("AttachedPolicies", attached).text("IsTruncated", false)
    }
}

impl Api {
    /// The user or role that a request names.
    pub(super) async fn holder(&self, call: &Call, form: &Form, kind: Kind) -> Result<Holder, ApiError> {
        let name = form.required(if kind == Kind::Role { "RoleName" } else { "UserName" })?.to_owned();
        let path = format!("{}/{name}", call.caller.account);
        let (record, revision, policies) = match kind {
            Kind::User => {
                let user = self.identities.users.get(&path).await?.ok_or_else(|| no_such("user", &name))?;
                let policies = user.value.policies.clone();
                (Record::User(user.value), user.revision, policies)
            }
            Kind::Role => {
                let role = self.identities.roles.get(&path).await?.ok_or_else(|| no_such("role", &name))?;
                let policies = role.value.policies.clone();
                (Record::Role(role.value), role.revision, policies)
            }
        };
        Ok(Holder { account: call.caller.account.clone(), name, path, record, revision, policies })
    }

    async fn save(&self, holder: Holder) -> Result<(), ApiError> {
        let Holder { path, record, revision, policies, .. } = holder;
        let expected = Expected::Revision(revision);
        stored(match record {
            Record::User(user) => {
                self.identities.users.put(&path, &User { policies, ..User::clone(&user) }, expected).await
            }
            Record::Role(role) => {
                self.identities.roles.put(&path, &Role { policies, ..Role::clone(&role) }, expected).await
            }
        })
    }

    pub(super) async fn put_inline(&self, mut holder: Holder, form: &Form) -> Result<(), ApiError> {
        let policy = name(form, "PolicyName", POLICY_NAME_MAX_CHARS)?.to_owned();
        let (max_chars, what) = match holder.kind() {
            Kind::User => (USER_POLICIES_MAX_CHARS, "user"),
            Kind::Role => (ROLE_POLICIES_MAX_CHARS, "role"),
        };
        let document = document(form, "PolicyDocument", PolicyKind::Identity, max_chars)?;
        holder.policies.inline.insert(policy, document);
        let chars = |text: &String| text.chars().filter(|character| !character.is_whitespace()).count();
        if holder.policies.inline.values().map(chars).sum::<usize>() > max_chars {
            let text = format!("Maximum policy size of {max_chars} bytes exceeded for {what} {}", holder.name);
            return Err(ApiError::new(Code::LimitExceededException, text));
        }
        self.save(holder).await
    }

    pub(super) async fn delete_inline(&self, mut holder: Holder, form: &Form) -> Result<(), ApiError> {
        let policy = name(form, "PolicyName", POLICY_NAME_MAX_CHARS)?;
        if holder.policies.inline.remove(policy).is_none() {
            return Err(holder.no_such_policy(policy));
        }
        self.save(holder).await
    }

    /// Attaching what is attached already changes nothing.
    pub(super) async fn attach(&self, mut holder: Holder, form: &Form) -> Result<(), ApiError> {
        let arn = form.required("PolicyArn")?;
        if self.identities.managed_document(&holder.account, arn).await?.is_none() {
            let text = format!("Policy {arn} does not exist or is not attachable.");
            return Err(ApiError::new(Code::NoSuchEntityException, text));
        }
        if holder.policies.attached.iter().any(|attached| attached == arn) {
            return Ok(());
        }
        if holder.policies.attached.len() >= ATTACHED_MAX {
            let text = format!("Cannot exceed quota for PoliciesPerEntity: {ATTACHED_MAX}");
            return Err(ApiError::new(Code::LimitExceededException, text));
        }
        holder.policies.attached.push(arn.to_owned());
        self.save(holder).await
    }

    pub(super) async fn detach(&self, mut holder: Holder, form: &Form) -> Result<(), ApiError> {
        let arn = form.required("PolicyArn")?;
        let before = holder.policies.attached.len();
        holder.policies.attached.retain(|attached| attached != arn);
        if holder.policies.attached.len() == before {
            return Err(ApiError::new(Code::NoSuchEntityException, format!("Policy {arn} was not found.")));
        }
        self.save(holder).await
    }
}
