//! Managed policies: those that come with the platform, and those an account made.

use hearth_daemon::Clock;
use hearth_domain::AccountId;
use hearth_store::document::Expected;

use super::listing::Page;
use super::{POLICY_NAME_MAX_CHARS, document, encoded, name, path, stored};
use crate::api::Api;
use crate::api::call::Call;
use crate::api::form::Form;
use crate::api::xml::Xml;
use crate::calendar::iso_8601;
use crate::errors::{ApiError, Code};
use crate::identity::{CustomPolicy, new_id};
use crate::policy::{ManagedPolicy, PolicyKind, managed_policies, managed_policy};

/// Longest managed policy, characters without white space (IAM user guide, "IAM and AWS STS quotas").
const DOCUMENT_MAX_CHARS: usize = 6_144;
/// The only version a policy has.
const VERSION: &str = "v1";

impl Api {
    pub(super) async fn create_policy(&self, call: &Call, form: &Form) -> Result<Xml, ApiError> {
        let name = name(form, "PolicyName", POLICY_NAME_MAX_CHARS)?;
        let policy = CustomPolicy {
            id: new_id("ANPA"),
            path: path(form)?,
            description: form.get("Description").unwrap_or_default().to_owned(),
            created_unix_ms: Clock::unix_ms(),
            document: document(form, "PolicyDocument", PolicyKind::Identity, DOCUMENT_MAX_CHARS)?,
        };
        let at = format!("{}/{name}", call.caller.account);
        if self.identities.policies.get(&at).await?.is_some() {
            let text = format!("A policy called {name} already exists. Duplicate names are not allowed.");
            return Err(ApiError::new(Code::EntityAlreadyExistsException, text));
        }
        stored(self.identities.policies.put(&at, &policy, Expected::Absent).await)?;
        Ok(Xml::default().inside("Policy", &shown(&call.caller.account, name, &policy, 0)))
    }

    pub(super) async fn get_managed_policy(&self, call: &Call, form: &Form) -> Result<Xml, ApiError> {
        let arn = form.required("PolicyArn")?;
        let attachments = self.attachments(&call.caller.account, arn).await?;
        if let Some(policy) = managed_policy(arn) {
            return Ok(Xml::default().inside("Policy", &shown_built_in(policy, attachments)));
        }
        let (name, policy) = self.custom(&call.caller.account, arn).await?;
        Ok(Xml::default().inside("Policy", &shown(&call.caller.account, &name, &policy, attachments)))
    }

    pub(super) async fn get_policy_version(&self, call: &Call, form: &Form) -> Result<Xml, ApiError> {
        let (arn, version) = (form.required("PolicyArn")?, form.required("VersionId")?);
        let found = self.identities.managed_document(&call.caller.account, arn).await?;
        let (_, document) = found.filter(|_| version == VERSION).ok_or_else(|| {
            let text = format!("Policy {arn} version {version} does not exist or is not attachable.");
            ApiError::new(Code::NoSuchEntityException, text)
        })?;
        let version = Xml::default()
            .text("Document", encoded(&document))
            .text("VersionId", VERSION)
            .text("IsDefaultVersion", true)
            .text("CreateDate", iso_8601(0));
        Ok(Xml::default().inside("PolicyVersion", &version))
    }

    /// `Scope`: `AWS` (what comes with the platform), `Local`, or both.
    pub(super) async fn list_policies(&self, call: &Call, form: &Form) -> Result<Xml, ApiError> {
        let (account, scope) = (&call.caller.account, form.get("Scope").unwrap_or("All"));
        let page = Page::read(&self.identities.policies, account.as_str(), form).await?;
        let mut policies = Vec::new();
        if scope != "Local" && form.get("Marker").is_none() {
            policies.extend(managed_policies().iter().map(|policy| shown_built_in(policy, 0)));
        }
        if scope != "AWS" {
            policies.extend(page.members.iter().map(|(name, policy)| shown(account, name, policy, 0)));
        }
        Ok(page.end(Xml::default().list("Policies", policies)))
    }

    pub(super) async fn delete_policy(&self, call: &Call, form: &Form) -> Result<Option<Xml>, ApiError> {
        let arn = form.required("PolicyArn")?;
        let (name, _) = self.custom(&call.caller.account, arn).await?;
        if self.attachments(&call.caller.account, arn).await? > 0 {
            let text = "Cannot delete a policy attached to entities.";
            return Err(ApiError::new(Code::DeleteConflictException, text));
        }
        let at = format!("{}/{name}", call.caller.account);
        stored(self.identities.policies.remove(&at, Expected::Present).await)?;
        Ok(None)
    }

    async fn custom(&self, account: &AccountId, arn: &str) -> Result<(String, std::sync::Arc<CustomPolicy>), ApiError> {
        let name = arn.rsplit('/').next().unwrap_or_default();
        let found = self.identities.policies.get(&format!("{account}/{name}")).await?;
        let found = found.map(|found| found.value).filter(|policy| policy.arn(account, name) == arn);
        let missing = || ApiError::new(Code::NoSuchEntityException, format!("Policy {arn} was not found."));
        Ok((name.to_owned(), found.ok_or_else(missing)?))
    }

    /// How many users and roles have it attached.
    async fn attachments(&self, account: &AccountId, arn: &str) -> Result<usize, ApiError> {
        let prefix = format!("{account}/");
        let has = |attached: &[String]| attached.iter().any(|attached| attached == arn);
        let (users, roles) =
            (self.identities.users.all(&prefix, None).await?, self.identities.roles.all(&prefix, None).await?);
        let of_users = users.iter().filter(|(_, user)| has(&user.value.policies.attached)).count();
        Ok(of_users + roles.iter().filter(|(_, role)| has(&role.value.policies.attached)).count())
    }
}

fn shown(account: &AccountId, name: &str, policy: &CustomPolicy, attachments: usize) -> Xml {
    let created_s = i64::try_from(policy.created_unix_ms / 1_000).unwrap_or_default();
    let shown = Xml::default()
        .text("PolicyName", name)
        .text("PolicyId", &policy.id)
        .text("Arn", policy.arn(account, name))
        .text("Path", &policy.path)
        .text("Description", &policy.description);
    end(shown, attachments, created_s)
}

fn shown_built_in(policy: &ManagedPolicy, attachments: usize) -> Xml {
    let shown = Xml::default()
        .text("PolicyName", policy.name)
        .text("PolicyId", format_args!("ANPA{:A<16}", policy.name.to_ascii_uppercase().replace('_', "")))
        .text("Arn", policy.arn())
        .text("Path", policy.path);
    end(shown, attachments, 0)
}

fn end(shown: Xml, attachments: usize, created_s: i64) -> Xml {
    shown
        .text("DefaultVersionId", VERSION)
        .text("AttachmentCount", attachments)
        .text("IsAttachable", true)
        .text("CreateDate", iso_8601(created_s))
        .text("UpdateDate", iso_8601(created_s))
}
