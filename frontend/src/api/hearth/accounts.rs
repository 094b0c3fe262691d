//! Accounts and their keys, for `hearth account` and `hearth key`.
//!
//! The first account runs the platform: it makes the others and reaches into them. Every other one manages its own
//! keys.

use axum::response::Response;
use hearth_daemon::Clock;
use hearth_domain::AccountId;
use hearth_store::catalog::AccessKey;
use hearth_store::document::{self, Change, CommitError, DocumentPath, Expected};
use hearth_store::{Document, StoreFailure};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::api::call::Call;
use crate::api::{Api, json, no_content};
use crate::errors::{ApiError, Code};
use crate::identity::{Account, CustomPolicy, FIRST_ACCOUNT, Role, User};

/// Most accounts. Ours.
const ACCOUNTS_MAX: usize = 10_000;
/// Longest name of an account, characters.
const NAME_MAX_CHARS: usize = 128;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct CreateAccount {
    account: Option<String>,
    name: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct CreateKey {
    account: Option<String>,
    user: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct UpdateKey {
    disabled: bool,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct AccountView {
    account: String,
    name: String,
    created_unix_ms: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<KeyView>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct KeyView {
    id: String,
    account: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<String>,
    disabled: bool,
    created_unix_ms: u64,
    /// Only in the answer that makes the key.
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<String>,
}

impl KeyView {
    fn of(key: &AccessKey) -> Self {
        Self {
            id: key.id.clone(),
            account: key.account.to_string(),
            user: key.user.clone(),
            disabled: key.disabled,
            created_unix_ms: key.created_unix_ms,
            secret: None,
        }
    }

    fn with_secret(key: &AccessKey) -> Self {
        Self { secret: Some(key.secret.clone()), ..Self::of(key) }
    }
}

impl Api {
    /// `GET /hearth/v1/accounts`
    pub(in crate::api) async fn hearth_accounts(&self, call: Call) -> Result<Response, ApiError> {
        operator_only(&call)?;
        let found = self.identities.accounts.scan("", None, ACCOUNTS_MAX).await?;
        let first = AccountView {
            account: FIRST_ACCOUNT.to_owned(),
            name: "the first account".to_owned(),
            created_unix_ms: 0,
            key: None,
        };
        let others = found.into_iter().map(|(account, found)| AccountView {
            account,
            name: found.value.name.clone(),
            created_unix_ms: found.value.created_unix_ms,
            key: None,
        });
        json(200, &serde_json::json!({ "accounts": std::iter::once(first).chain(others).collect::<Vec<_>>() }))
    }

    /// `POST /hearth/v1/accounts`: an account and its first key.
    pub(in crate::api) async fn hearth_create_account(&self, call: Call) -> Result<Response, ApiError> {
        operator_only(&call)?;
        let request: CreateAccount = call.document().await?;
        let account = match request.account {
            Some(given) => account_id(&given)?,
            None => account_id(&format!("{:012}", Uuid::new_v4().as_u128() % 1_000_000_000_000))?,
        };
        let name: String = request.name.unwrap_or_default().chars().take(NAME_MAX_CHARS).collect();
        let made = Account { name, created_unix_ms: Clock::unix_ms() };
        let taken = account.as_str() == FIRST_ACCOUNT
            || match self.identities.accounts.put(account.as_str(), &made, Expected::Absent).await {
                Ok(()) => false,
                Err(CommitError::Unexpected { .. }) => true,
                Err(CommitError::Store(failure)) => return Err(failure.into()),
            };
        if taken {
            let text = format!("There is an account {account} already.");
            return Err(ApiError::new(Code::ResourceConflictException, text));
        }
        let key = self.make_key(&account, None).await?;
        json(
            201,
            &AccountView {
                account: account.to_string(),
                name: made.name,
                created_unix_ms: made.created_unix_ms,
                key: Some(KeyView::with_secret(&key)),
            },
        )
    }

    /// `DELETE /hearth/v1/accounts/{AccountId}`: an account without functions, and everybody in it.
    pub(in crate::api) async fn hearth_delete_account(&self, call: Call) -> Result<Response, ApiError> {
        operator_only(&call)?;
        let account = account_id(&call.route.parameter("AccountId", call.parts.uri.path()))?;
        if self.identities.accounts.get(account.as_str()).await?.is_none() {
            let text = format!("There is no account {account} that can be deleted.");
            return Err(ApiError::new(Code::ResourceNotFoundException, text));
        }
        if !self.deps.catalog.list(&account, false, None, 1).await?.is_empty() {
            let text = format!("Account {account} has functions. Delete them first.");
            return Err(ApiError::new(Code::ResourceConflictException, text));
        }
        // Keys first: from then on nobody of it comes in.
        let keys = self.deps.catalog.access_keys().await?;
        for key in keys.iter().filter(|key| key.account == account) {
            self.deps.catalog.remove_access_key(&key.id).await?;
        }
        for kind in [User::KIND, Role::KIND, CustomPolicy::KIND] {
            self.remove_all(kind, &format!("{account}/")).await?;
        }
        let removed = self.identities.accounts.remove(account.as_str(), Expected::Anything).await;
        removed.map_err(|error| ApiError::internal(error.to_string()))?;
        no_content()
    }

    async fn remove_all(&self, kind: &'static str, prefix: &str) -> Result<(), ApiError> {
        let all = document::all(&*self.deps.documents, kind, prefix, None).await?;
        if all.is_empty() {
            return Ok(());
        }
        let removal =
            |(path, _)| Change { path: DocumentPath { kind, path }, value: None, expected: Expected::Anything };
        let committed = self.deps.documents.commit(all.into_iter().map(removal).collect()).await;
        Ok(committed.map_err(|error| StoreFailure::new("remove an account's documents", error))?)
    }

    /// `GET /hearth/v1/keys?account=`
    pub(in crate::api) async fn hearth_keys(&self, call: Call) -> Result<Response, ApiError> {
        let account = reachable(&call, call.query("account").as_deref())?;
        let keys = self.deps.catalog.access_keys().await?;
        let keys: Vec<_> = keys.iter().filter(|key| key.account == account).map(|key| KeyView::of(key)).collect();
        json(200, &serde_json::json!({ "keys": keys }))
    }

    /// `POST /hearth/v1/keys`
    pub(in crate::api) async fn hearth_create_key(&self, call: Call) -> Result<Response, ApiError> {
        let request: CreateKey = call.document().await?;
        let account = reachable(&call, request.account.as_deref())?;
        let known =
            account.as_str() == FIRST_ACCOUNT || self.identities.accounts.get(account.as_str()).await?.is_some();
        if !known {
            return Err(ApiError::new(Code::ResourceNotFoundException, format!("There is no account {account}.")));
        }
        if let Some(user) = &request.user
            && self.identities.users.get(&format!("{account}/{user}")).await?.is_none()
        {
            let text = format!("There is no user {user} in account {account}.");
            return Err(ApiError::new(Code::ResourceNotFoundException, text));
        }
        let key = self.make_key(&account, request.user.as_deref()).await?;
        json(201, &KeyView::with_secret(&key))
    }

    /// `PUT /hearth/v1/keys/{KeyId}`
    pub(in crate::api) async fn hearth_update_key(&self, call: Call) -> Result<Response, ApiError> {
        let UpdateKey { disabled } = call.document().await?;
        let key = self.reachable_key(&call).await?;
        let key = AccessKey { disabled, ..key };
        self.deps.catalog.put_access_key(key.clone()).await?;
        json(200, &KeyView::of(&key))
    }

    /// `DELETE /hearth/v1/keys/{KeyId}`
    pub(in crate::api) async fn hearth_delete_key(&self, call: Call) -> Result<Response, ApiError> {
        let key = self.reachable_key(&call).await?;
        self.deps.catalog.remove_access_key(&key.id).await?;
        no_content()
    }

    /// The key in the path. Nobody shuts themselves out: the key that signs can neither be disabled nor deleted.
    async fn reachable_key(&self, call: &Call) -> Result<AccessKey, ApiError> {
        let id = call.route.parameter("KeyId", call.parts.uri.path());
        let missing = || ApiError::new(Code::ResourceNotFoundException, format!("There is no access key {id}."));
        let key = self.deps.catalog.access_key(&id).await?.ok_or_else(missing)?;
        reachable(call, Some(key.account.as_str())).map_err(|_| missing())?;
        if key.id == call.key.id {
            let text = "The key that signs this request can't be changed by it. Use another key.";
            return Err(ApiError::new(Code::ResourceConflictException, text));
        }
        Ok(AccessKey::clone(&key))
    }
}

/// The account asked for, if the caller's reaches it: its own, or any if it is the first.
fn reachable(call: &Call, asked: Option<&str>) -> Result<AccountId, ApiError> {
    let own = &call.caller.account;
    let asked = asked.map_or_else(|| Ok(own.clone()), account_id)?;
    if asked != *own {
        operator_only(call)?;
    }
    Ok(asked)
}

fn operator_only(call: &Call) -> Result<(), ApiError> {
    if call.caller.account.as_str() == FIRST_ACCOUNT {
        return Ok(());
    }
    let text = format!("Only account {FIRST_ACCOUNT}, which runs this platform, manages accounts.");
    Err(ApiError::new(Code::AccessDeniedException, text))
}

fn account_id(text: &str) -> Result<AccountId, ApiError> {
    AccountId::new(text).map_err(|_| ApiError::invalid_parameter("An account is twelve decimal digits."))
}
