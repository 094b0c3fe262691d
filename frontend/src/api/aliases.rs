//! CreateAlias, GetAlias, UpdateAlias, DeleteAlias, ListAliases.
//!
//! Texts and codes are AWS's, as LocalStack recorded them (`test_lambda_api.snapshot.json`, TestLambdaAlias).

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::response::Response;
use hearth_domain::{AccountId, AliasName, FunctionName, Version};
use hearth_store::StoreFailure;
use hearth_store::document::{Collection, Expected};
use serde::{Deserialize, Serialize};

use super::call::Call;
use super::changes::new_revision;
use super::configuration::function_arn;
use super::paging::{Page, after_marker, page_size};
use super::{Api, json, no_content};
use crate::alias::{Alias, Share};
use crate::belongings;
use crate::errors::{ApiError, Code};
use crate::validation::{NameForm, ValidationErrors};

/// Most versions beside the one an alias names (AWS: "Number of items in AdditionalVersionWeights …").
const SHARES_MAX: usize = 1;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct AliasRequest {
    name: Option<String>,
    function_version: Option<String>,
    description: Option<String>,
    routing_config: Option<RoutingConfig>,
    revision_id: Option<String>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RoutingConfig {
    additional_version_weights: Option<BTreeMap<String, f64>>,
}

/// The `AliasConfiguration` structure of the service model.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct AliasConfiguration<'a> {
    alias_arn: String,
    name: &'a str,
    function_version: String,
    description: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    routing_config: Option<RoutingConfig>,
    revision_id: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ListAliases<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    next_marker: Option<String>,
    aliases: Vec<AliasConfiguration<'a>>,
}

impl Api {
    pub(super) async fn create_alias(&self, call: Call) -> Result<Response, ApiError> {
        let request: AliasRequest = call.document().await?;
        let (account, function) = (&call.key.account, self.unqualified(&call)?);
        let mut errors = ValidationErrors::default();
        if request.function_version.is_none() {
            errors.add_missing("functionVersion");
        }
        let given = request.name.as_deref().map(AliasName::new);
        match (&given, &request.name) {
            (Some(Err(_)), Some(text)) => errors.check_pattern(text, "name", false, "(?!^[0-9]+$)([a-zA-Z0-9-_]+)"),
            (Some(Ok(_)), _) => {}
            _ => errors.add_missing("name"),
        }
        errors.finish()?;
        let Some(Ok(name)) = given else { return Err(ApiError::invalid_parameter("An alias has a name.")) };
        let _change = self.changes.lock(account, &function).await;
        let version =
            self.version_of(account, &function, request.function_version.as_deref().unwrap_or_default()).await?;
        let shares = self.shares_of(account, &function, request.routing_config.unwrap_or_default()).await?;
        let description = request.description.unwrap_or_default();
        let alias = Alias { name, version, description, shares, revision: new_revision() };
        check_routing(&alias)?;
        let path = Alias::path(account, &function, &alias.name);
        if self.resolver.alias(account, &function, &alias.name).await?.is_some() {
            let arn = self.alias_arn(account, &function, &alias.name);
            return Err(ApiError::new(Code::ResourceConflictException, format!("Alias already exists: {arn}")));
        }
        let change = Collection::putting(&path, &alias, Expected::Absent)?;
        self.deps.documents.commit(vec![change]).await?;
        json(201, &self.show_alias(account, &function, &alias))
    }

    pub(super) async fn get_alias(&self, call: Call) -> Result<Response, ApiError> {
        let (account, function) = (&call.key.account, self.unqualified(&call)?);
        let name = call.route.parameter("Name", call.parts.uri.path());
        self.existing(account, &function).await?;
        let found = match AliasName::new(&name) {
            Ok(name) => self.resolver.alias(account, &function, &name).await?,
            Err(_) => None,
        };
        let alias = found.ok_or_else(|| {
            let arn = function_arn(&self.config.region, account, &function, None);
            ApiError::new(Code::ResourceNotFoundException, format!("Cannot find alias arn: {arn}:{name}"))
        })?;
        json(200, &self.show_alias(account, &function, &alias))
    }

    /// Changes what is named; a change that changes nothing gives a new revision, too.
    pub(super) async fn update_alias(&self, call: Call) -> Result<Response, ApiError> {
        let request: AliasRequest = call.document().await?;
        let (account, function) = (&call.key.account, self.unqualified(&call)?);
        let name = call.route.parameter("Name", call.parts.uri.path());
        let _change = self.changes.lock(account, &function).await;
        self.existing(account, &function).await?;
        let found = match AliasName::new(&name) {
            Ok(name) => self.resolver.alias(account, &function, &name).await?,
            Err(_) => None,
        };
        let current = found.ok_or_else(|| {
            let arn = function_arn(&self.config.region, account, &function, None);
            ApiError::new(Code::ResourceNotFoundException, format!("Alias not found: {arn}:{name}"))
        })?;
        if request.revision_id.is_some_and(|revision| revision != current.revision.as_str()) {
            return Err(ApiError::stale_revision());
        }
        let mut alias = (*current).clone();
        if let Some(version) = &request.function_version {
            alias.version = self.version_of(account, &function, version).await?;
        }
        if let Some(routing) = request.routing_config {
            alias.shares = self.shares_of(account, &function, routing).await?;
        }
        if let Some(description) = request.description {
            alias.description = description;
        }
        alias.revision = new_revision();
        check_routing(&alias)?;
        let path = Alias::path(account, &function, &alias.name);
        let change = Collection::putting(&path, &alias, Expected::Present)?;
        self.deps.documents.commit(vec![change]).await?;
        self.provisioner.changed();
        json(200, &self.show_alias(account, &function, &alias))
    }

    /// Deletes an alias with all that belongs to it. One that is not there is no error.
    pub(super) async fn delete_alias(&self, call: Call) -> Result<Response, ApiError> {
        let (account, function) = (&call.key.account, self.unqualified(&call)?);
        let name = call.route.parameter("Name", call.parts.uri.path());
        let _change = self.changes.lock(account, &function).await;
        self.existing(account, &function).await?;
        if let Ok(name) = AliasName::new(&name) {
            self.concurrency.change(account, |all| Ok(all.stop_provisioning(&function, name.as_str()))).await?;
            belongings::remove(&*self.deps.documents, account, &function, Some(name.as_str())).await?;
            self.provisioner.changed();
        }
        no_content()
    }

    pub(super) async fn list_aliases(&self, call: Call) -> Result<Response, ApiError> {
        let (account, function) = (&call.key.account, self.unqualified(&call)?);
        let limit = page_size(&call)?;
        self.existing(account, &function).await?;
        let named = call.query("FunctionVersion");
        let after = after_marker(&call)?;
        let wanted = |alias: &Alias| named.as_deref().is_none_or(|version| alias.version.to_string() == version);
        let mut page = Page::new(limit);
        let all = self.aliases_of(account, &function, after.as_deref()).await?;
        all.into_iter().filter(|alias| wanted(alias)).for_each(|alias| page.add(alias));
        let (aliases, next_marker) = page.finish(|alias| alias.name.to_string());
        let aliases = aliases.iter().map(|alias| self.show_alias(account, &function, alias)).collect();
        json(200, &ListAliases { next_marker, aliases })
    }

    /// Refuses to delete a version while an alias sends calls to it.
    pub(super) async fn check_no_alias_names(
        &self,
        account: &AccountId,
        function: &FunctionName,
        version: Version,
    ) -> Result<(), ApiError> {
        let all = self.aliases_of(account, function, None).await?;
        let names: Vec<_> =
            all.iter().filter(|alias| alias.names(version)).map(|alias| alias.name.to_string()).collect();
        if names.is_empty() {
            return Ok(());
        }
        let text =
            format!("Unable to delete version because the following aliases reference it: [{}]", names.join(", "));
        Err(ApiError::new(Code::ResourceConflictException, text))
    }

    /// The aliases of a function in the order of their names, from after `after`.
    pub(super) async fn aliases_of(
        &self,
        account: &AccountId,
        function: &FunctionName,
        after: Option<&str>,
    ) -> Result<Vec<Arc<Alias>>, StoreFailure> {
        let prefix = Alias::path_of_all(account, function);
        let after = after.map(|name| format!("{prefix}{name}"));
        let all = self.aliases.all(&prefix, after.as_deref()).await?;
        Ok(all.into_iter().map(|(_, found)| found.value).collect())
    }

    /// The name in the path of an operation on functions as such.
    pub(super) fn unqualified(&self, call: &Call) -> Result<FunctionName, ApiError> {
        let target = call.target(&self.config.region, NameForm::Plain)?;
        match target.qualifier {
            None => Ok(target.name),
            Some(_) => Err(ApiError::invalid_parameter(
                "This operation is permitted on Lambda functions only. Aliases and versions do not support this \
                 operation. Please specify either a function name or an unqualified function ARN.",
            )),
        }
    }

    /// An error unless the function is there.
    pub(super) async fn existing(&self, account: &AccountId, function: &FunctionName) -> Result<(), ApiError> {
        match self.deps.catalog.get(account, function, Version::Latest).await? {
            Some(_) => Ok(()),
            None => Err(ApiError::function_not_found(&function_arn(&self.config.region, account, function, None))),
        }
    }

    /// A version, which must be there.
    async fn version_of(&self, account: &AccountId, function: &FunctionName, text: &str) -> Result<Version, ApiError> {
        let found = match text.parse::<Version>() {
            Ok(version) => self.deps.catalog.get(account, function, version).await?.map(|_| version),
            Err(_) => None,
        };
        found.ok_or_else(|| {
            let arn = function_arn(&self.config.region, account, function, None);
            ApiError::function_not_found(&format!("{arn}:{text}"))
        })
    }

    async fn shares_of(
        &self,
        account: &AccountId,
        function: &FunctionName,
        routing: RoutingConfig,
    ) -> Result<Vec<Share>, ApiError> {
        let weights = routing.additional_version_weights.unwrap_or_default();
        if weights.len() > SHARES_MAX {
            return Err(ApiError::invalid_parameter(format!(
                "Number of items in AdditionalVersionWeights cannot be greater than {SHARES_MAX}"
            )));
        }
        let mut shares = Vec::new();
        for (version, weight) in weights {
            if !(0.0..=1.0).contains(&weight) {
                return Err(ApiError::invalid_parameter("The weight of a version is a number from 0.0 to 1.0."));
            }
            shares.push(Share { version: self.version_of(account, function, &version).await?, weight });
        }
        Ok(shares)
    }

    fn alias_arn(&self, account: &AccountId, function: &FunctionName, name: &AliasName) -> String {
        format!("{}:{name}", function_arn(&self.config.region, account, function, None))
    }

    fn show_alias<'a>(&self, account: &AccountId, function: &FunctionName, alias: &'a Alias) -> AliasConfiguration<'a> {
        let weights = alias.shares.iter().map(|share| (share.version.to_string(), share.weight)).collect();
        AliasConfiguration {
            alias_arn: self.alias_arn(account, function, &alias.name),
            name: alias.name.as_str(),
            function_version: alias.version.to_string(),
            description: &alias.description,
            routing_config: (!alias.shares.is_empty())
                .then_some(RoutingConfig { additional_version_weights: Some(weights) }),
            revision_id: alias.revision.as_str(),
        }
    }
}

/// Whether an alias' version and shares go together.
fn check_routing(alias: &Alias) -> Result<(), ApiError> {
    let Some(share) = alias.shares.first() else { return Ok(()) };
    if alias.version == Version::Latest || share.version == Version::Latest {
        let text = "$LATEST is not supported for an alias pointing to more than 1 version";
        return Err(ApiError::invalid_parameter(text).untyped());
    }
    if share.version == alias.version {
        let version = alias.version;
        return Err(ApiError::invalid_parameter(format!(
            "Invalid function version {version}. Function version {version} is already included in routing \
             configuration."
        )));
    }
    Ok(())
}
