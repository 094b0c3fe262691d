//! From a key id and a token to a caller, and from a caller to a decision.

use std::collections::BTreeMap;
use std::sync::Arc;

use dashmap::DashMap;
use hearth_domain::timing::FUNCTION_CREDENTIALS_LIFE;
use hearth_domain::{AccountId, FunctionCredentials, FunctionName};
use hearth_store::catalog::AccessKey;
use hearth_store::{Catalog, Collection, Documents, StoreFailure};

use super::caller::{Caller, Identity};
use super::records::{Account, CustomPolicy, Policies, Role, User};
use super::session::{Session, Sessions, Subject, TokenError};
use crate::policy::{
    self, Context, Decision, Policy, PolicyKind, Principal, Request, allows, evaluate, managed_policy,
};

/// Callers whose policies are kept as read; a full cache starts over.
const COMPILED_MAX: usize = 4_096;
/// What a role may do that exists by its name alone: what every Lambda function needs, and no more.
const IMPLICIT_POLICY: &str = "arn:aws:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole";
/// Longest name of a session (STS API reference, AssumeRole, `RoleSessionName`).
const SESSION_NAME_MAX_CHARS: usize = 64;

/// Everybody there is.
pub struct Identities {
    catalog: Arc<dyn Catalog>,
    /// Seals and opens sessions.
    pub sessions: Sessions,
    /// Accounts beside the first, by id.
    pub accounts: Collection<Account>,
    /// Users, by `account/name`.
    pub users: Collection<User>,
    /// Roles, by `account/name`.
    pub roles: Collection<Role>,
    /// Policies that accounts made, by `account/name`.
    pub policies: Collection<CustomPolicy>,
    /// By path of the identity: the revisions of all they were read from, and the policies.
    compiled: DashMap<String, (Vec<u64>, Arc<Vec<Policy>>)>,
}

/// A caller who is known. That the signature is theirs is still to be verified, with the key's secret.
#[derive(Debug, Clone)]
pub struct Admitted {
    /// The key that signed; of a session one that is stored nowhere.
    pub key: Arc<AccessKey>,
    /// Who it is.
    pub caller: Caller,
}

/// Nobody we know.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// No such key, or a disabled one, or a token that is none of ours.
    #[error("The security token included in the request is invalid.")]
    Unknown,
    /// A token past its time.
    #[error("The security token included in the request is expired")]
    Expired,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreFailure),
}

impl From<TokenError> for Refused {
    fn from(error: TokenError) -> Self {
        match error {
            TokenError::Invalid => Self::Unknown,
            TokenError::Expired => Self::Expired,
        }
    }
}

impl Identities {
    /// Those of these stores.
    pub async fn open(catalog: Arc<dyn Catalog>, documents: Arc<dyn Documents>) -> Result<Self, StoreFailure> {
        Ok(Self {
            catalog,
            sessions: Sessions::open_store(documents.clone()).await?,
            accounts: Collection::new(documents.clone()),
            users: Collection::new(documents.clone()),
            roles: Collection::new(documents.clone()),
            policies: Collection::new(documents),
            compiled: DashMap::new(),
        })
    }

    /// Who signs with this key id and session token.
    pub async fn admit(&self, key_id: &str, token: Option<&str>, now_unix_s: i64) -> Result<Admitted, Refused> {
        if let Some(token) = token {
            let (session, secret) = self.sessions.open(key_id, token, now_unix_s)?;
            let caller = self.of_session(session).await?;
            let key = AccessKey::root(key_id, secret, caller.account.clone());
            return Ok(Admitted { key: Arc::new(key), caller });
        }
        let key = self.catalog.access_key(key_id).await?.filter(|key| !key.disabled).ok_or(Refused::Unknown)?;
        let identity = match &key.user {
            None => Identity::Root,
            Some(name) => self.user(&key.account, name).await?.0,
        };
        let caller = Caller { account: key.account.clone(), identity, session: None };
        Ok(Admitted { key, caller })
    }

    async fn of_session(&self, session: Session) -> Result<Caller, Refused> {
        let account = session.account.clone();
        let identity = match &session.subject {
            Subject::Root => Identity::Root,
            Subject::User { name, id } => {
                let (identity, found) = self.user(&account, name).await?;
                if found != *id {
                    return Err(Refused::Unknown);
                }
                identity
            }
            Subject::Role { name, id, path, session } => {
                let arn = format!("arn:aws:iam::{account}:role{path}{name}");
                let id = match id {
                    Some(id) => id.clone(),
                    None => self.function_role_id(&account, name, &arn).await?,
                };
                Identity::Role { name: name.clone(), id, arn, session: session.clone() }
            }
        };
        Ok(Caller { account, identity, session: Some(Box::new(session)) })
    }

    /// The id of the role that a function acts as: the one with this ARN, or one that exists by its name alone.
    async fn function_role_id(&self, account: &AccountId, name: &str, arn: &str) -> Result<String, StoreFailure> {
        let role = self.roles.get(&format!("{account}/{name}")).await?;
        let role = role.filter(|role| role.value.arn(account, name) == arn && trusts_lambda(&role.value, arn));
        Ok(role.map_or_else(|| implicit_id(name), |role| role.value.id.clone()))
    }

    async fn user(&self, account: &AccountId, name: &str) -> Result<(Identity, String), Refused> {
        let user = self.users.get(&format!("{account}/{name}")).await?.ok_or(Refused::Unknown)?.value;
        let (name, id, arn) = (name.to_owned(), user.id.clone(), user.arn(account, name));
        Ok((Identity::User { name, id, arn }, user.id.clone()))
    }

    /// Decides what `caller` asks for.
    pub async fn authorize(
        &self,
        caller: &Caller,
        action: &str,
        resource: &str,
        owner: &AccountId,
        context: &Context,
        resource_policy: Option<&Policy>,
    ) -> Result<Decision, StoreFailure> {
        let principal = caller.principal();
        let request = Request { principal: &principal, action, resource, account: owner.as_str(), context };
        let identity = self.identity_policies(caller).await?;
        let session = self.session_policies(caller).await?;
        let policies = policy::Policies { identity: &identity, session: session.as_deref(), resource: resource_policy };
        Ok(evaluate(&request, policies))
    }

    /// What the caller's user or role may do; of one that is gone, nothing.
    async fn identity_policies(&self, caller: &Caller) -> Result<Arc<Vec<Policy>>, StoreFailure> {
        let account = &caller.account;
        match &caller.identity {
            Identity::Root => Ok(Arc::default()),
            Identity::User { name, .. } => {
                let path = format!("{account}/{name}");
                let Some(user) = self.users.get(&path).await? else { return Ok(Arc::default()) };
                self.compiled(&format!("user/{path}"), account, user.revision, &user.value.policies).await
            }
            Identity::Role { name, id, .. } if *id == implicit_id(name) => {
                let policies = Policies { attached: vec![IMPLICIT_POLICY.to_owned()], ..Policies::default() };
                self.compiled("implicit", account, 0, &policies).await
            }
            Identity::Role { name, id, .. } => {
                let path = format!("{account}/{name}");
                let found = self.roles.get(&path).await?;
                let Some(role) = found.filter(|role| role.value.id == *id) else { return Ok(Arc::default()) };
                self.compiled(&format!("role/{path}"), account, role.revision, &role.value.policies).await
            }
        }
    }

    async fn session_policies(&self, caller: &Caller) -> Result<Option<Vec<Policy>>, StoreFailure> {
        let Some(session) = &caller.session else { return Ok(None) };
        if session.policy.is_none() && session.policy_arns.is_empty() {
            return Ok(None);
        }
        let mut policies = Vec::new();
        if let Some(document) = &session.policy {
            policies.push(read(document)?);
        }
        for arn in &session.policy_arns {
            if let Some((_, document)) = self.managed_document(&caller.account, arn).await? {
                policies.push(read(&document)?);
            }
        }
        Ok(Some(policies))
    }

    /// The policies of an identity, read once for each state of it and of what is attached to it.
    async fn compiled(
        &self,
        path: &str,
        account: &AccountId,
        revision: u64,
        policies: &Policies,
    ) -> Result<Arc<Vec<Policy>>, StoreFailure> {
        let mut attached = Vec::with_capacity(policies.attached.len());
        for arn in &policies.attached {
            // What was attached and is gone allows nothing and denies nothing.
            attached.extend(self.managed_document(account, arn).await?);
        }
        let revisions: Vec<u64> =
            std::iter::once(revision).chain(attached.iter().map(|(revision, _)| *revision)).collect();
        if let Some(kept) = self.compiled.get(path)
            && kept.0 == revisions
        {
            return Ok(kept.1.clone());
        }
        let documents = policies.inline.values().chain(attached.iter().map(|(_, document)| document));
        let compiled = Arc::new(documents.map(|document| read(document)).collect::<Result<Vec<_>, _>>()?);
        if self.compiled.len() >= COMPILED_MAX {
            self.compiled.clear();
        }
        self.compiled.insert(path.to_owned(), (revisions, compiled.clone()));
        Ok(compiled)
    }

    /// The document of a managed policy, and its revision; those that come with the platform have none.
    pub async fn managed_document(
        &self,
        account: &AccountId,
        arn: &str,
    ) -> Result<Option<(u64, String)>, StoreFailure> {
        if let Some(policy) = managed_policy(arn) {
            return Ok(Some((0, policy.document.to_owned())));
        }
        let name = arn.strip_prefix(&format!("arn:aws:iam::{account}:policy/"));
        let Some(name) = name.and_then(|path| path.rsplit('/').next()) else { return Ok(None) };
        let found = self.policies.get(&format!("{account}/{name}")).await?;
        let found = found.filter(|found| found.value.arn(account, name) == arn);
        Ok(found.map(|found| (found.revision, found.value.document.clone())))
    }

    /// Credentials of a function's role, for its environments. A role that no one made exists by its name alone: it
    /// may write logs, as every function's may.
    #[must_use]
    pub fn function_credentials(
        &self,
        account: &AccountId,
        role_arn: &str,
        function: &FunctionName,
        now_unix_s: i64,
    ) -> FunctionCredentials {
        let (path, name) = role_name(role_arn).unwrap_or(("/", "unknown"));
        let session = function.as_str().chars().take(SESSION_NAME_MAX_CHARS).collect();
        let life_s = i64::try_from(FUNCTION_CREDENTIALS_LIFE.as_secs()).unwrap_or(i64::MAX);
        let session = Session {
            account: account.clone(),
            subject: Subject::Role { name: name.to_owned(), id: None, path: path.to_owned(), session },
            issued_unix_s: now_unix_s,
            expires_unix_s: now_unix_s + life_s,
            policy: None,
            policy_arns: Vec::new(),
            tags: BTreeMap::new(),
        };
        let given = self.sessions.seal(&session);
        FunctionCredentials { key_id: given.key_id, secret: given.secret, session_token: given.token }
    }
}

/// Whether Lambda may assume a role.
pub(crate) fn trusts_lambda(role: &Role, arn: &str) -> bool {
    let lambda = Principal::Service("lambda.amazonaws.com".to_owned());
    Policy::parse(&role.trust, PolicyKind::Trust)
        .is_ok_and(|trust| allows(&trust, &lambda, "sts:AssumeRole", arn, &Context::default()))
}

/// Path and name of a role's ARN.
pub(crate) fn role_name(arn: &str) -> Option<(&str, &str)> {
    let (_, resource) = arn.split_once(":role/")?;
    let start = arn.len() - resource.len() - 1;
    let name_at = start + 1 + resource.rfind('/').map_or(0, |slash| slash + 1);
    (name_at < arn.len()).then(|| (&arn[start..name_at], &arn[name_at..]))
}

/// The id of a role that exists by its name alone: no role that was made has one of its form.
fn implicit_id(name: &str) -> String {
    format!("AROA-{name}")
}

fn read(document: &str) -> Result<Policy, StoreFailure> {
    Policy::parse(document, PolicyKind::Identity).map_err(|error| StoreFailure::new("read a stored policy", error))
}

#[cfg(test)]
mod tests {
    use super::role_name;

    #[test]
    fn a_role_arn_has_a_path_and_a_name() {
        assert_eq!(role_name("arn:aws:iam::000000000000:role/x"), Some(("/", "x")));
        assert_eq!(role_name("arn:aws:iam::000000000000:role/service-role/x"), Some(("/service-role/", "x")));
        assert_eq!(role_name("arn:aws:iam::000000000000:role/"), None);
        assert_eq!(role_name("x"), None);
    }
}
