//! STS: who am I, and sessions: GetCallerIdentity, AssumeRole, GetSessionToken.

use axum::response::Response;
use hearth_daemon::Clock;
use hearth_domain::AccountId;

use super::Api;
use super::authorization::denied;
use super::call::Call;
use super::form::Form;
use super::xml::{Xml, answer};
use crate::calendar::iso_8601;
use crate::errors::{ApiError, Code};
use crate::identity::{Identity, Role, Session, Subject, TOKEN_MAX_BYTES, role_name};
use crate::policy::{Decision, Policy, PolicyKind, allows};

const NAMESPACE: &str = "https://sts.amazonaws.com/doc/2011-06-15/";
/// Life of sessions, seconds (STS API reference, AssumeRole and GetSessionToken, `DurationSeconds`).
const SESSION_MIN_S: u32 = 900;
const ROLE_SESSION_DEFAULT_S: u32 = 3_600;
/// Longest session of a role that was itself assumed ("role chaining").
const CHAINED_SESSION_MAX_S: u32 = 3_600;
const SESSION_TOKEN_DEFAULT_S: u32 = 43_200;
const SESSION_TOKEN_MAX_S: u32 = 129_600;
/// Longest session policy, characters (AssumeRole, `Policy`).
const SESSION_POLICY_MAX_CHARS: usize = 2_048;
/// Most tags and most policy ARNs of a session (AssumeRole).
const SESSION_TAGS_MAX: usize = 50;
const SESSION_POLICY_ARNS_MAX: usize = 10;

impl Api {
    /// POST / signed for `sts`.
    pub(super) async fn sts(&self, call: Call) -> Result<Response, ApiError> {
        let form = call.form();
        let action = form.get("Action").unwrap_or_default().to_owned();
        let result = match action.as_str() {
            "GetCallerIdentity" => Xml::default()
                .text("Arn", call.caller.arn())
                .text("UserId", call.caller.user_id())
                .text("Account", &call.caller.account),
            "AssumeRole" => self.assume_role(&call, &form).await?,
            "GetSessionToken" => self.get_session_token(&call, &form)?,
            other => {
                let text = format!("Could not find operation {other} for version 2011-06-15");
                return Err(ApiError::new(Code::InvalidActionException, text));
            }
        };
        answer(NAMESPACE, &action, Some(&result), &call.request_id)
    }

    async fn assume_role(&self, call: &Call, form: &Form) -> Result<Xml, ApiError> {
        let (arn, session_name) = (form.required("RoleArn")?, form.required("RoleSessionName")?);
        check_session_name(session_name)?;
        let (account, name, role) = self.assumable(call, form, arn).await?;
        let chained = matches!(call.caller.identity, Identity::Role { .. });
        let max_s = if chained { role.session_max_s.min(CHAINED_SESSION_MAX_S) } else { role.session_max_s };
        let life_s = form.number("DurationSeconds", SESSION_MIN_S, u32::MAX, ROLE_SESSION_DEFAULT_S.min(max_s))?;
        if life_s > max_s {
            let text = if chained {
                "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining"
            } else {
                "The requested DurationSeconds exceeds the MaxSessionDuration set for this role."
            };
            return Err(ApiError::new(Code::ValidationErrorException, text));
        }
        let now_s = now_s();
        let session = Session {
            account: account.clone(),
            subject: Subject::Role {
                name: name.clone(),
                id: Some(role.id.clone()),
                path: role.path.clone(),
                session: session_name.to_owned(),
            },
            issued_unix_s: now_s,
            expires_unix_s: now_s + i64::from(life_s),
            policy: session_policy(form)?,
            policy_arns: self.session_policy_arns(&account, form).await?,
            tags: form.tags().take(SESSION_TAGS_MAX).collect(),
        };
        let user = Xml::default()
            .text("AssumedRoleId", format_args!("{}:{session_name}", role.id))
            .text("Arn", format_args!("arn:aws:sts::{account}:assumed-role/{name}/{session_name}"));
        Ok(self.credentials(&session)?.inside("AssumedRoleUser", &user))
    }

    /// The role, if the caller may assume it: the role trusts the caller, and, where it trusts only the caller's
    /// account, the caller's own policies allow it, too. A role that is not there is refused like one that does not
    /// trust.
    async fn assumable(&self, call: &Call, form: &Form, arn: &str) -> Result<(AccountId, String, Role), ApiError> {
        const ACTION: &str = "sts:AssumeRole";
        let caller = &call.caller;
        let refused = || denied(caller, ACTION, arn, "");
        let account = arn
            .split(':')
            .nth(4)
            .and_then(|account| AccountId::new(account).ok())
            .ok_or_else(|| ApiError::new(Code::ValidationErrorException, format!("{arn} is invalid")))?;
        let (_, name) = role_name(arn).ok_or_else(refused)?;
        let found = self.identities.roles.get(&format!("{account}/{name}")).await?;
        let role = found.map(|found| found.value).filter(|role| role.arn(&account, name) == arn).ok_or_else(refused)?;
        let trust = Policy::parse(&role.trust, PolicyKind::Trust).map_err(ApiError::internal)?;
        let mut context = caller.context().with("sts:RoleSessionName", form.get("RoleSessionName").unwrap_or_default());
        if let Some(external_id) = form.get("ExternalId") {
            context.add("sts:ExternalId", external_id);
        }
        for (key, value) in form.tags() {
            context.add("aws:TagKeys", &key);
            context.add(&format!("aws:RequestTag/{key}"), value);
        }
        let trusted = allows(&trust, &caller.principal(), ACTION, arn, &context);
        let decision = self.identities.authorize(caller, ACTION, arn, &account, &context, Some(&trust)).await?;
        if trusted && decision == Decision::Allowed {
            return Ok((account, name.to_owned(), Role::clone(&role)));
        }
        Err(refused())
    }

    async fn session_policy_arns(&self, account: &AccountId, form: &Form) -> Result<Vec<String>, ApiError> {
        let arns = form.list("PolicyArns", ".arn");
        if arns.len() > SESSION_POLICY_ARNS_MAX {
            let text = format!("A session has at most {SESSION_POLICY_ARNS_MAX} policies.");
            return Err(ApiError::new(Code::ValidationErrorException, text));
        }
        for arn in &arns {
            if self.identities.managed_document(account, arn).await?.is_none() {
                let text = format!("Policy {arn} does not exist or is not attachable.");
                return Err(ApiError::new(Code::ValidationErrorException, text));
            }
        }
        Ok(arns.into_iter().map(str::to_owned).collect())
    }

    /// A session of the caller itself.
    fn get_session_token(&self, call: &Call, form: &Form) -> Result<Xml, ApiError> {
        let caller = &call.caller;
        let subject = match (&caller.identity, &caller.session) {
            (Identity::Root, None) => Subject::Root,
            (Identity::User { name, id, .. }, None) => Subject::User { name: name.clone(), id: id.clone() },
            _ => {
                let text = "Cannot call GetSessionToken with session credentials";
                return Err(ApiError::new(Code::AccessDeniedException, text));
            }
        };
        let life_s = form.number("DurationSeconds", SESSION_MIN_S, SESSION_TOKEN_MAX_S, SESSION_TOKEN_DEFAULT_S)?;
        // AWS gives the account itself no more than an hour.
        let life_s = if subject == Subject::Root { life_s.min(ROLE_SESSION_DEFAULT_S) } else { life_s };
        let now_s = now_s();
        self.credentials(&Session {
            account: caller.account.clone(),
            subject,
            issued_unix_s: now_s,
            expires_unix_s: now_s + i64::from(life_s),
            policy: None,
            policy_arns: Vec::new(),
            tags: std::collections::BTreeMap::new(),
        })
    }

    fn credentials(&self, session: &Session) -> Result<Xml, ApiError> {
        let given = self.identities.sessions.seal(session);
        if given.token.len() > TOKEN_MAX_BYTES {
            let text = format!("Policies and tags of a session make its token longer than {TOKEN_MAX_BYTES} bytes.");
            return Err(ApiError::new(Code::PackedPolicyTooLargeException, text));
        }
        let credentials = Xml::default()
            .text("AccessKeyId", given.key_id)
            .text("SecretAccessKey", given.secret)
            .text("SessionToken", given.token)
            .text("Expiration", iso_8601(session.expires_unix_s));
        Ok(Xml::default().inside("Credentials", &credentials))
    }
}

fn session_policy(form: &Form) -> Result<Option<String>, ApiError> {
    let Some(policy) = form.get("Policy").filter(|policy| !policy.is_empty()) else { return Ok(None) };
    if policy.chars().count() > SESSION_POLICY_MAX_CHARS {
        let text = format!("Value at 'policy' must have length less than or equal to {SESSION_POLICY_MAX_CHARS}");
        return Err(ApiError::new(Code::ValidationErrorException, text));
    }
    Policy::parse(policy, PolicyKind::Identity)
        .map_err(|error| ApiError::new(Code::MalformedPolicyDocumentException, error.to_string()))?;
    Ok(Some(policy.to_owned()))
}

/// STS API reference, AssumeRole, `RoleSessionName`: `[\w+=,.@-]{2,64}`.
fn check_session_name(name: &str) -> Result<(), ApiError> {
    let valid = (2..=64).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_+=,.@-".contains(&byte));
    if valid {
        return Ok(());
    }
    let text = format!(
        "1 validation error detected: Value '{name}' at 'roleSessionName' failed to satisfy constraint: Member must \
         satisfy regular expression pattern: [\\w+=,.@-]*"
    );
    Err(ApiError::new(Code::ValidationErrorException, text))
}

fn now_s() -> i64 {
    i64::try_from(Clock::unix_ms() / 1_000).unwrap_or(i64::MAX)
}
