//! Who calls, as a verified signature tells.

use hearth_domain::AccountId;

use crate::policy::{Context, Principal};

use super::session::Session;

/// A caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// Whose account.
    pub account: AccountId,
    /// Who in it.
    pub identity: Identity,
    /// The session, if it signs with temporary credentials.
    pub session: Option<Box<Session>>,
}

/// Who somebody is in an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Identity {
    /// The account itself.
    Root,
    /// A user.
    User {
        /// Its name.
        name: String,
        /// `AIDA…`
        id: String,
        /// Its ARN.
        arn: String,
    },
    /// A role, as a session of it.
    Role {
        /// Its name.
        name: String,
        /// `AROA…`
        id: String,
        /// Its ARN.
        arn: String,
        /// The session's name.
        session: String,
    },
}

impl Caller {
    /// The account itself calls.
    #[must_use]
    pub fn root(account: AccountId) -> Self {
        Self { account, identity: Identity::Root, session: None }
    }

    /// Whether it may do everything in its account, without any policy.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.identity == Identity::Root
    }

    /// As policies name it.
    #[must_use]
    pub fn principal(&self) -> Principal {
        let account = self.account.to_string();
        match &self.identity {
            Identity::Root => Principal::Root { account },
            Identity::User { arn, .. } => Principal::User { account, arn: arn.clone() },
            Identity::Role { name, arn, session, .. } => Principal::Session {
                arn: format!("arn:aws:sts::{account}:assumed-role/{name}/{session}"),
                role_arn: arn.clone(),
                account,
            },
        }
    }

    /// Its ARN, as GetCallerIdentity tells it.
    #[must_use]
    pub fn arn(&self) -> String {
        self.principal().arn()
    }

    /// Its id, as GetCallerIdentity tells it: the account, the user's id, or the role's with the session's name.
    #[must_use]
    pub fn user_id(&self) -> String {
        match &self.identity {
            Identity::Root => self.account.to_string(),
            Identity::User { id, .. } => id.clone(),
            Identity::Role { id, session, .. } => format!("{id}:{session}"),
        }
    }

    /// What policies can ask about it (IAM user guide, "Global condition context keys", properties of the principal).
    #[must_use]
    pub fn context(&self) -> Context {
        let kind = match &self.identity {
            Identity::Root => "Account",
            Identity::User { .. } => "User",
            Identity::Role { .. } => "AssumedRole",
        };
        let arn = match &self.identity {
            Identity::Role { arn, .. } => arn.clone(),
            _ => self.arn(),
        };
        let mut context = Context::default()
            .with("aws:PrincipalArn", arn)
            .with("aws:PrincipalAccount", self.account.as_str())
            .with("aws:PrincipalType", kind)
            .with("aws:PrincipalIsAWSService", "false")
            .with("aws:userid", self.user_id());
        if let Identity::User { name, .. } = &self.identity {
            context.add("aws:username", name);
        }
        if let Some(session) = &self.session {
            context.add("aws:TokenIssueTime", session.issued_unix_s.to_string());
            for (key, value) in &session.tags {
                context.add(&format!("aws:PrincipalTag/{key}"), value);
            }
        }
        context
    }
}
