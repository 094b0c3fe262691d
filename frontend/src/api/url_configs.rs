//! CreateFunctionUrlConfig, GetFunctionUrlConfig, UpdateFunctionUrlConfig, DeleteFunctionUrlConfig,
//! ListFunctionUrlConfigs.
//!
//! Texts and codes are AWS's, as LocalStack recorded them (`test_lambda_api.snapshot.json`, TestLambdaUrl).

use axum::response::Response;
use hearth_daemon::Clock;
use hearth_domain::AliasName;
use hearth_store::document::{Collection, Expected};
use http::header::HOST;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::call::Call;
use super::paging::{Page, after_marker, page_size};
use super::{Api, json, no_content};
use crate::calendar::last_modified;
use crate::errors::{ApiError, Code};
use crate::function_url::{AuthType, Cors, FunctionUrl, InvokeMode, URL_ID_CHARS, UrlOwner, url_of};
use crate::validation::{NameForm, Qualifier, ValidationErrors};

const NO_FUNCTION: &str = "Function does not exist";
const NO_CONFIG: &str = "The resource you requested does not exist.";
/// The service model's `FunctionUrlQualifier`.
const QUALIFIER_PATTERN: &str = r"((?!^\d+$)^[0-9a-zA-Z-_]+$)";

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct UrlConfigRequest {
    auth_type: Option<AuthType>,
    cors: Option<Cors>,
    invoke_mode: Option<InvokeMode>,
}

/// The `FunctionUrlConfig` structure of the service model.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct UrlConfigView<'a> {
    function_url: String,
    function_arn: String,
    auth_type: AuthType,
    #[serde(skip_serializing_if = "Option::is_none")]
    cors: Option<&'a Cors>,
    creation_time: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_modified_time: Option<String>,
    invoke_mode: InvokeMode,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ListUrls<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    next_marker: Option<String>,
    function_url_configs: Vec<UrlConfigView<'a>>,
}

impl Api {
    pub(super) async fn create_function_url_config(&self, call: Call) -> Result<Response, ApiError> {
        let request: UrlConfigRequest = call.document().await?;
        let owner = self.url_owner(&call)?;
        let Some(auth) = request.auth_type else {
            let mut errors = ValidationErrors::default();
            errors.add_missing("authType");
            return Err(errors.into());
        };
        let _change = self.changes.lock(&owner.account, &owner.function).await;
        self.check_url_owner(&owner, NO_FUNCTION).await?;
        if self.urls.get(&owner.path()).await?.is_some() {
            let arn = self.url_arn(&owner);
            let text = format!(
                "Failed to create function url config for [functionArn = {arn}]. Error message:  FunctionUrlConfig \
                 exists for this Lambda function"
            );
            return Err(ApiError::new(Code::ResourceConflictException, text));
        }
        let now = Clock::unix_ms();
        let url = FunctionUrl {
            id: new_url_id(),
            auth,
            cors: request.cors,
            mode: request.invoke_mode.unwrap_or_default(),
            needs_invoke: true,
            created_unix_ms: now,
            modified_unix_ms: now,
        };
        let changes = vec![
            Collection::putting(&owner.path(), &url, Expected::Absent)?,
            Collection::putting(&url.id, &owner, Expected::Absent)?,
        ];
        self.deps.documents.commit(changes).await?;
        json(201, &UrlConfigView { last_modified_time: None, ..self.show_url(&call, &owner, &url) })
    }

    pub(super) async fn get_function_url_config(&self, call: Call) -> Result<Response, ApiError> {
        let owner = self.url_owner(&call)?;
        let url = self.urls.get(&owner.path()).await?.ok_or_else(|| not_found(NO_CONFIG))?;
        json(200, &self.show_url(&call, &owner, &url.value))
    }

    /// Changes what is named and leaves the rest.
    pub(super) async fn update_function_url_config(&self, call: Call) -> Result<Response, ApiError> {
        let request: UrlConfigRequest = call.document().await?;
        let owner = self.url_owner(&call)?;
        let _change = self.changes.lock(&owner.account, &owner.function).await;
        self.check_url_owner(&owner, NO_FUNCTION).await?;
        let current = self.urls.get(&owner.path()).await?.ok_or_else(|| not_found(NO_CONFIG))?.value;
        let url = FunctionUrl {
            id: current.id.clone(),
            auth: request.auth_type.unwrap_or(current.auth),
            cors: request.cors.or_else(|| current.cors.clone()),
            mode: request.invoke_mode.unwrap_or(current.mode),
            needs_invoke: current.needs_invoke,
            created_unix_ms: current.created_unix_ms,
            modified_unix_ms: Clock::unix_ms().max(current.modified_unix_ms + 1),
        };
        self.urls.put(&owner.path(), &url, Expected::Present).await?;
        json(200, &self.show_url(&call, &owner, &url))
    }

    pub(super) async fn delete_function_url_config(&self, call: Call) -> Result<Response, ApiError> {
        let owner = self.url_owner(&call)?;
        let _change = self.changes.lock(&owner.account, &owner.function).await;
        let url = self.urls.get(&owner.path()).await?.ok_or_else(|| not_found(NO_CONFIG))?.value;
        let changes = vec![
            Collection::<FunctionUrl>::removing(&owner.path(), Expected::Present),
            Collection::<UrlOwner>::removing(&url.id, Expected::Anything),
        ];
        self.deps.documents.commit(changes).await?;
        no_content()
    }

    pub(super) async fn list_function_url_configs(&self, call: Call) -> Result<Response, ApiError> {
        let target = call.target(&self.config.region, NameForm::Plain)?;
        let (account, function) = (call.key.account.clone(), target.name);
        let mut page = Page::new(page_size(&call)?);
        let after = after_marker(&call)?.map(|path| format!("{account}/{function}/{path}"));
        self.check_url_owner(
            &UrlOwner { account: account.clone(), function: function.clone(), alias: None },
            NO_FUNCTION,
        )
        .await?;
        let prefix = format!("{account}/{function}/");
        for (path, url) in self.urls.all(&prefix, after.as_deref()).await? {
            page.add((path[prefix.len()..].to_owned(), url.value));
        }
        let (urls, next_marker) = page.finish(|(qualifier, _)| qualifier.clone());
        let views = urls.iter().map(|(qualifier, url)| {
            let alias = AliasName::new(qualifier).ok();
            let owner = UrlOwner { account: account.clone(), function: function.clone(), alias };
            self.show_url(&call, &owner, url)
        });
        json(200, &ListUrls { next_marker, function_url_configs: views.collect() })
    }

    /// Which function or alias a request means.
    fn url_owner(&self, call: &Call) -> Result<UrlOwner, ApiError> {
        let target = call.target(&self.config.region, NameForm::Plain)?;
        let named = match &target.qualifier {
            None => None,
            Some(Qualifier::Alias(text)) => Some(text.clone()),
            Some(Qualifier::Version(version)) => Some(version.to_string()),
        };
        let alias = named.map(|text| {
            AliasName::new(&text).map_err(|_| {
                let mut errors = ValidationErrors::default();
                errors.check_pattern(&text, "qualifier", false, QUALIFIER_PATTERN);
                errors
            })
        });
        Ok(UrlOwner { account: call.key.account.clone(), function: target.name, alias: alias.transpose()? })
    }

    async fn check_url_owner(&self, owner: &UrlOwner, text: &str) -> Result<(), ApiError> {
        let qualifier = owner.qualifier();
        let found = self.resolver.look_up(&owner.account, &owner.function, qualifier.as_ref()).await?;
        found.map(drop).ok_or_else(|| not_found(text))
    }

    /// The ARN of the function or alias that a URL calls.
    pub(super) fn url_arn(&self, owner: &UrlOwner) -> String {
        let UrlOwner { account, function, alias } = owner;
        let plain = format!("arn:aws:lambda:{}:{account}:function:{function}", self.config.region);
        alias.as_ref().map_or(plain.clone(), |alias| format!("{plain}:{alias}"))
    }

    fn show_url<'a>(&self, call: &Call, owner: &UrlOwner, url: &'a FunctionUrl) -> UrlConfigView<'a> {
        let here = call.header(HOST.as_str()).unwrap_or("localhost");
        let base = self.config.function_url_base.as_deref().or(self.config.public_url.as_deref()).unwrap_or(here);
        UrlConfigView {
            function_url: url_of(&url.id, &self.config.region, base),
            function_arn: self.url_arn(owner),
            auth_type: url.auth,
            cors: url.cors.as_ref(),
            creation_time: time(url.created_unix_ms),
            last_modified_time: Some(time(url.modified_unix_ms)),
            invoke_mode: url.mode,
        }
    }
}

/// `2023-01-01T00:00:00.000000Z`
fn time(unix_ms: u64) -> String {
    last_modified(unix_ms).replace("+0000", "000Z")
}

fn not_found(text: &str) -> ApiError {
    ApiError::new(Code::ResourceNotFoundException, text)
}

/// Drawn at random: whoever does not know it does not guess it.
fn new_url_id() -> String {
    const LETTERS: &[u8; 36] = b"abcdefghijklmnopqrstuvwxyz0123456789";
    let (one, other) = (Uuid::new_v4(), Uuid::new_v4());
    let bytes = one.as_bytes().iter().chain(other.as_bytes());
    bytes.take(URL_ID_CHARS).map(|byte| char::from(LETTERS[usize::from(*byte) % LETTERS.len()])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_host_names_and_not_drawn_twice() {
        let ids: std::collections::HashSet<_> = (0..1_000).map(|_| new_url_id()).collect();
        assert_eq!(ids.len(), 1_000);
        for id in ids {
            let host = format!("{id}.lambda-url.us-east-1.localhost");
            assert_eq!(crate::function_url::url_id_of(&host), Some(id));
        }
    }

    #[test]
    fn times_have_microseconds() {
        assert_eq!(time(1_672_531_200_007), "2023-01-01T00:00:00.007000Z");
    }
}
