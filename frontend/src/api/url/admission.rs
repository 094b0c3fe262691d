//! Who may call a URL (developer guide, "Controlling access to Lambda function URLs").
//!
//! `NONE` asks the function's resource policy about strangers. `AWS_IAM` asks for a signature, and then both kinds of
//! policies, as everywhere. Both must be granted, `lambda:InvokeFunctionUrl` and `lambda:InvokeFunction`; a URL that was made
//! before AWS asked for the second (October 2025) does without it.

use axum::body::Body;
use bytes::Bytes;
use hearth_daemon::Clock;
use hearth_domain::AliasName;
use hearth_domain::limits::SYNC_REQUEST_MAX_BYTES;
use http::request::Parts;
use tokio::sync::OwnedSemaphorePermit;

use super::{Api, NAME, forbidden};
use crate::errors::{ApiError, Code};
use crate::function_url::{AuthType, Caller, FunctionUrl, UrlOwner};
use crate::identity;
use crate::policy::Context;
use crate::sigv4::{Claim, SERVICE};

/// What a caller needs to be allowed.
const URL_ACTION: &str = "lambda:InvokeFunctionUrl";
/// And what it needs beside that.
const ACTION: &str = "lambda:InvokeFunction";
/// What policies ask about a URL.
const AUTH_TYPE_KEY: &str = "lambda:FunctionUrlAuthType";
/// By what policies tell a call through a URL from Invoke, where the key is missing.
const VIA_URL_KEY: &str = "lambda:InvokedViaFunctionUrl";

type Admitted = (Option<Caller>, Bytes, Option<OwnedSemaphorePermit>);

impl Api {
    /// Reads the body of a request that may be made: who signed it, if that was asked for, the body, and what must be kept
    /// while that is in memory.
    pub(super) async fn admit_to_url(
        &self,
        owner: &UrlOwner,
        url: &FunctionUrl,
        parts: &Parts,
        body: Body,
    ) -> Result<Admitted, ApiError> {
        let read = self.bodies.read(body, &parts.headers, SYNC_REQUEST_MAX_BYTES, NAME);
        if url.auth == AuthType::None {
            self.check_may_call(None, owner, url).await?;
            let (body, held) = read.await?.into_parts();
            return Ok((None, body, held));
        }
        let claim = Claim::read(parts).map_err(|_| forbidden())?;
        let now_s = i64::try_from(Clock::unix_ms() / 1_000).unwrap_or(i64::MAX);
        let key_id = self.verifier.admit(&claim, now_s, SERVICE, false).map_err(|_| forbidden())?;
        let admitted = self.identities.admit(key_id, claim.session_token.as_deref(), now_s).await;
        let admitted = admitted.map_err(|refused| told(refused.into()))?;
        let body = read.await?;
        self.verifier.verify(&claim, &admitted.key.secret, parts, body.hash().await).map_err(|_| forbidden())?;
        self.check_may_call(Some(&admitted.caller), owner, url).await?;
        let caller = Caller {
            access_key: admitted.key.id.clone(),
            account: admitted.caller.account.to_string(),
            id: admitted.caller.user_id(),
            arn: admitted.caller.arn(),
        };
        let (body, held) = body.into_parts();
        Ok((Some(caller), body, held))
    }

    async fn check_may_call(
        &self,
        caller: Option<&identity::Caller>,
        owner: &UrlOwner,
        url: &FunctionUrl,
    ) -> Result<(), ApiError> {
        let context = caller.map_or_else(Context::default, identity::Caller::context);
        let context = context.with(AUTH_TYPE_KEY, url.auth.as_str()).with(VIA_URL_KEY, "true");
        let function = (&owner.account, &owner.function, owner.alias.as_ref().map(AliasName::as_str));
        let actions: &[&str] = if url.needs_invoke { &[URL_ACTION, ACTION] } else { &[URL_ACTION] };
        for action in actions {
            if !self.may_use_function(caller, action, function, &context).await? {
                return Err(forbidden());
            }
        }
        Ok(())
    }
}

/// A failure of the store is none of the caller's; all else is refused without a reason.
fn told(error: ApiError) -> ApiError {
    if error.code() == Code::ServiceException { error } else { forbidden() }
}
