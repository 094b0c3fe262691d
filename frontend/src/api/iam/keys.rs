//! Access keys of users and of the account itself.

use std::sync::Arc;

use hearth_daemon::Clock;
use hearth_domain::AccountId;
use hearth_store::catalog::AccessKey;
use uuid::Uuid;

use super::no_such;
use crate::api::Api;
use crate::api::call::Call;
use crate::api::form::Form;
use crate::api::xml::Xml;
use crate::calendar::iso_8601;
use crate::errors::{ApiError, Code};
use crate::identity::{Identity, new_id};

/// Most access keys of one user (IAM user guide, "IAM and AWS STS quotas").
const KEYS_PER_USER_MAX: usize = 2;

impl Api {
    pub(super) async fn create_access_key(&self, call: &Call, form: &Form) -> Result<Xml, ApiError> {
        let user = self.key_owner(call, form).await?;
        let key = self.make_key(&call.caller.account, user.as_deref()).await?;
        let shown = metadata(&key).text("SecretAccessKey", &key.secret);
        Ok(Xml::default().inside("AccessKey", &shown))
    }

    pub(super) async fn list_access_keys(&self, call: &Call, form: &Form) -> Result<Xml, ApiError> {
        let user = self.key_owner(call, form).await?;
        let keys = self.keys_of(&call.caller.account, user.as_deref()).await?;
        let keys = keys.iter().map(|key| metadata(key));
        Ok(Xml::default().list("AccessKeyMetadata", keys).text("IsTruncated", false))
    }

    pub(super) async fn update_access_key(&self, call: &Call, form: &Form) -> Result<Option<Xml>, ApiError> {
        let disabled = match form.required("Status")? {
            "Active" => false,
            "Inactive" => true,
            other => {
                let text = format!(
                    "1 validation error detected: Value '{other}' at 'status' failed to satisfy constraint: Member \
                     must satisfy enum value set: [Active, Inactive]"
                );
                return Err(ApiError::new(Code::ValidationErrorException, text));
            }
        };
        let key = self.own_key(call, form).await?;
        self.deps.catalog.put_access_key(AccessKey { disabled, ..AccessKey::clone(&key) }).await?;
        Ok(None)
    }

    pub(super) async fn delete_access_key(&self, call: &Call, form: &Form) -> Result<Option<Xml>, ApiError> {
        let key = self.own_key(call, form).await?;
        self.deps.catalog.remove_access_key(&key.id).await?;
        Ok(None)
    }

    /// A new key of a user, or of the account itself.
    pub(in crate::api) async fn make_key(
        &self,
        account: &AccountId,
        user: Option<&str>,
    ) -> Result<AccessKey, ApiError> {
        let _one_at_a_time = self.making_keys.lock().await;
        if self.keys_of(account, user).await?.len() >= KEYS_PER_USER_MAX {
            let text = format!("Cannot exceed quota for AccessKeysPerUser: {KEYS_PER_USER_MAX}");
            return Err(ApiError::new(Code::LimitExceededException, text));
        }
        let key = AccessKey {
            id: new_id("AKIA"),
            secret: new_secret(),
            account: account.clone(),
            user: user.map(str::to_owned),
            disabled: false,
            created_unix_ms: Clock::unix_ms(),
        };
        self.deps.catalog.put_access_key(key.clone()).await?;
        Ok(key)
    }

    /// The keys of a user, or of the account itself.
    pub(in crate::api) async fn keys_of(
        &self,
        account: &AccountId,
        user: Option<&str>,
    ) -> Result<Vec<Arc<AccessKey>>, ApiError> {
        let mut keys = self.deps.catalog.access_keys().await?;
        keys.retain(|key| key.account == *account && key.user.as_deref() == user);
        Ok(keys)
    }

    /// Whose keys a request is about: the user named, or the caller. `None` is the account itself.
    async fn key_owner(&self, call: &Call, form: &Form) -> Result<Option<String>, ApiError> {
        let name = match (form.get("UserName"), &call.caller.identity) {
            (Some(name), _) => name.to_owned(),
            (None, Identity::User { name, .. }) => return Ok(Some(name.clone())),
            (None, Identity::Root) => return Ok(None),
            (None, Identity::Role { .. }) => {
                let text = "Must specify userName when calling with non-User credentials";
                return Err(ApiError::new(Code::ValidationErrorException, text));
            }
        };
        let user = self.identities.users.get(&format!("{}/{name}", call.caller.account)).await?;
        user.map(|_| Some(name.clone())).ok_or_else(|| no_such("user", &name))
    }

    /// The key named, if it is its owner's.
    async fn own_key(&self, call: &Call, form: &Form) -> Result<Arc<AccessKey>, ApiError> {
        let (id, user) = (form.required("AccessKeyId")?, self.key_owner(call, form).await?);
        let key = self.deps.catalog.access_key(id).await?;
        let key = key.filter(|key| key.account == call.caller.account && key.user == user);
        key.ok_or_else(|| {
            let text = format!("The Access Key with id {id} cannot be found.");
            ApiError::new(Code::NoSuchEntityException, text)
        })
    }
}

fn metadata(key: &AccessKey) -> Xml {
    let created_s = i64::try_from(key.created_unix_ms / 1_000).unwrap_or_default();
    let user = key.user.as_ref().map_or(Xml::default(), |user| Xml::default().text("UserName", user));
    user.text("AccessKeyId", &key.id)
        .text("Status", if key.disabled { "Inactive" } else { "Active" })
        .text("CreateDate", iso_8601(created_s))
}

/// Forty characters of 244 random bits.
fn new_secret() -> String {
    use base64::Engine;
    let random = [Uuid::new_v4().into_bytes(), Uuid::new_v4().into_bytes()].concat();
    let mut secret = base64::engine::general_purpose::STANDARD.encode(random);
    secret.truncate(40);
    secret
}
