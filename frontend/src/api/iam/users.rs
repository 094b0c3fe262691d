//! Users.

use hearth_daemon::Clock;
use hearth_store::document::Expected;

use super::holders::Kind;
use super::listing::Page;
use super::{NAME_MAX_CHARS, TAGS_MAX, exists, in_use, name, no_such, path, stored};
use crate::api::Api;
use crate::api::call::Call;
use crate::api::form::Form;
use crate::api::xml::Xml;
use crate::calendar::iso_8601;
use crate::errors::{ApiError, Code};
use crate::identity::{Identity, Policies, User, new_id};

impl Api {
    pub(super) async fn create_user(&self, call: &Call, form: &Form) -> Result<Xml, ApiError> {
        let name = name(form, "UserName", NAME_MAX_CHARS)?;
        let user = User {
            id: new_id("AIDA"),
            path: path(form)?,
            created_unix_ms: Clock::unix_ms(),
            policies: Policies::default(),
            tags: form.tags().take(TAGS_MAX).collect(),
        };
        let at = format!("{}/{name}", call.caller.account);
        if self.identities.users.get(&at).await?.is_some() {
            return Err(exists("User", name));
        }
        stored(self.identities.users.put(&at, &user, Expected::Absent).await)?;
        Ok(Xml::default().inside("User", &shown(call, name, &user)))
    }

    /// The user named, or the caller.
    pub(super) async fn get_user(&self, call: &Call, form: &Form) -> Result<Xml, ApiError> {
        let name = match (form.get("UserName"), &call.caller.identity) {
            (Some(name), _) => name,
            (None, Identity::User { name, .. }) => name,
            (None, Identity::Root) => {
                let shown = Xml::default()
                    .text("Path", "/")
                    .text("UserId", &call.caller.account)
                    .text("Arn", call.caller.arn())
                    .text("CreateDate", iso_8601(0));
                return Ok(Xml::default().inside("User", &shown));
            }
            (None, Identity::Role { .. }) => {
                let text = "Must specify userName when calling with non-User credentials";
                return Err(ApiError::new(Code::ValidationErrorException, text));
            }
        };
        let user = self.identities.users.get(&format!("{}/{name}", call.caller.account)).await?;
        let user = user.ok_or_else(|| no_such("user", name))?;
        Ok(Xml::default().inside("User", &shown(call, name, &user.value)))
    }

    pub(super) async fn list_users(&self, call: &Call, form: &Form) -> Result<Xml, ApiError> {
        let page = Page::read(&self.identities.users, call.caller.account.as_str(), form).await?;
        let users = page.members.iter().map(|(name, user)| shown(call, name, user));
        Ok(page.end(Xml::default().list("Users", users)))
    }

    pub(super) async fn delete_user(&self, call: &Call, form: &Form) -> Result<Option<Xml>, ApiError> {
        let holder = self.holder(call, form, Kind::User).await?;
        let name = form.required("UserName")?;
        if !holder.policies.attached.is_empty() {
            return Err(in_use("detach all policies"));
        }
        if !holder.policies.inline.is_empty() {
            return Err(in_use("delete policies"));
        }
        if !self.keys_of(&call.caller.account, Some(name)).await?.is_empty() {
            return Err(in_use("delete access keys"));
        }
        let at = format!("{}/{name}", call.caller.account);
        stored(self.identities.users.remove(&at, Expected::Present).await)?;
        Ok(None)
    }
}

fn shown(call: &Call, name: &str, user: &User) -> Xml {
    let created_s = i64::try_from(user.created_unix_ms / 1_000).unwrap_or_default();
    let tags = user.tags.iter().map(|(key, value)| Xml::default().text("Key", key).text("Value", value));
    Xml::default()
        .text("Path", &user.path)
        .text("UserName", name)
        .text("UserId", &user.id)
        .text("Arn", user.arn(&call.caller.account, name))
        .text("CreateDate", iso_8601(created_s))
        .list("Tags", tags)
}
