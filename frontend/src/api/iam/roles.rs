//! Roles.

use hearth_daemon::Clock;
use hearth_domain::AccountId;
use hearth_store::document::Expected;

use super::holders::Kind;
use super::listing::Page;
use super::{NAME_MAX_CHARS, TAGS_MAX, document, encoded, exists, in_use, name, no_such, path, stored};
use crate::api::Api;
use crate::api::call::Call;
use crate::api::form::Form;
use crate::api::xml::Xml;
use crate::calendar::iso_8601;
use crate::errors::ApiError;
use crate::identity::{Policies, Role, new_id, role_name, trusts_lambda};
use crate::policy::PolicyKind;

/// Longest trust policy, characters (IAM user guide, "IAM and AWS STS quotas": 2,048, and 4,096 on request).
const TRUST_MAX_CHARS: usize = 4_096;
/// Sessions of a role, seconds (CreateRole, `MaxSessionDuration`).
const SESSION_MIN_S: u32 = 3_600;
const SESSION_MAX_S: u32 = 43_200;
/// Longest description of a role, characters.
const DESCRIPTION_MAX_CHARS: usize = 1_000;

impl Api {
    pub(super) async fn create_role(&self, call: &Call, form: &Form) -> Result<Xml, ApiError> {
        let name = name(form, "RoleName", NAME_MAX_CHARS)?;
        let role = Role {
            id: new_id("AROA"),
            path: path(form)?,
            description: form.get("Description").unwrap_or_default().chars().take(DESCRIPTION_MAX_CHARS).collect(),
            created_unix_ms: Clock::unix_ms(),
            session_max_s: form.number("MaxSessionDuration", SESSION_MIN_S, SESSION_MAX_S, SESSION_MIN_S)?,
            trust: document(form, "AssumeRolePolicyDocument", PolicyKind::Trust, TRUST_MAX_CHARS)?,
            policies: Policies::default(),
            tags: form.tags().take(TAGS_MAX).collect(),
        };
        let at = format!("{}/{name}", call.caller.account);
        if self.identities.roles.get(&at).await?.is_some() {
            return Err(exists("Role", name));
        }
        stored(self.identities.roles.put(&at, &role, Expected::Absent).await)?;
        Ok(Xml::default().inside("Role", &shown(call, name, &role)))
    }

    pub(super) async fn get_role(&self, call: &Call, form: &Form) -> Result<Xml, ApiError> {
        let name = form.required("RoleName")?;
        let role = self.identities.roles.get(&format!("{}/{name}", call.caller.account)).await?;
        let role = role.ok_or_else(|| no_such("role", name))?;
        Ok(Xml::default().inside("Role", &shown(call, name, &role.value)))
    }

    pub(super) async fn list_roles(&self, call: &Call, form: &Form) -> Result<Xml, ApiError> {
        let page = Page::read(&self.identities.roles, call.caller.account.as_str(), form).await?;
        let roles = page.members.iter().map(|(name, role)| shown(call, name, role));
        Ok(page.end(Xml::default().list("Roles", roles)))
    }

    pub(super) async fn delete_role(&self, call: &Call, form: &Form) -> Result<Option<Xml>, ApiError> {
        let holder = self.holder(call, form, Kind::Role).await?;
        if !holder.policies.attached.is_empty() {
            return Err(in_use("detach all policies"));
        }
        if !holder.policies.inline.is_empty() {
            return Err(in_use("delete policies"));
        }
        let at = format!("{}/{}", call.caller.account, form.required("RoleName")?);
        stored(self.identities.roles.remove(&at, Expected::Present).await)?;
        Ok(None)
    }

    /// Refuses a role that Lambda may not assume. A role that nobody made is taken: it exists by its name alone, and
    /// may write logs.
    pub(in crate::api) async fn check_function_role(&self, account: &AccountId, arn: &str) -> Result<(), ApiError> {
        let Some((_, name)) = role_name(arn) else { return Ok(()) };
        let found = self.identities.roles.get(&format!("{account}/{name}")).await?;
        let found = found.filter(|found| found.value.arn(account, name) == arn);
        if found.is_some_and(|found| !trusts_lambda(&found.value, arn)) {
            let text = "The role defined for the function cannot be assumed by Lambda.";
            return Err(ApiError::invalid_parameter(text));
        }
        Ok(())
    }

    pub(super) async fn update_assume_role_policy(&self, call: &Call, form: &Form) -> Result<Option<Xml>, ApiError> {
        let name = form.required("RoleName")?;
        let trust = document(form, "PolicyDocument", PolicyKind::Trust, TRUST_MAX_CHARS)?;
        let at = format!("{}/{name}", call.caller.account);
        let found = self.identities.roles.get(&at).await?.ok_or_else(|| no_such("role", name))?;
        let role = Role { trust, ..Role::clone(&found.value) };
        stored(self.identities.roles.put(&at, &role, Expected::Revision(found.revision)).await)?;
        Ok(None)
    }
}

fn shown(call: &Call, name: &str, role: &Role) -> Xml {
    let created_s = i64::try_from(role.created_unix_ms / 1_000).unwrap_or_default();
    let shown = Xml::default()
        .text("Path", &role.path)
        .text("RoleName", name)
        .text("RoleId", &role.id)
        .text("Arn", role.arn(&call.caller.account, name))
        .text("CreateDate", iso_8601(created_s))
        .text("AssumeRolePolicyDocument", encoded(&role.trust))
        .text("MaxSessionDuration", role.session_max_s);
    let shown = if role.description.is_empty() { shown } else { shown.text("Description", &role.description) };
    let tags = role.tags.iter().map(|(key, value)| Xml::default().text("Key", key).text("Value", value));
    shown.list("Tags", tags)
}
