//! PutFunctionEventInvokeConfig, UpdateFunctionEventInvokeConfig, GetFunctionEventInvokeConfig,
//! ListFunctionEventInvokeConfigs, DeleteFunctionEventInvokeConfig.
//!
//! Texts and members as AWS gave them (tests/aws-facts/event-invoke-config.json).

use std::collections::BTreeMap;

use axum::response::Response;
use hearth_daemon::Clock;
use hearth_domain::{AccountId, FunctionName, Version};
use hearth_store::document::{CommitError, Expected};
use serde::{Deserialize, Serialize};

use super::call::Call;
use super::changes::modified_after;
use super::configuration::function_arn;
use super::paging::{Page, after_marker};
use super::{Api, json, no_content};
use crate::asynchronous::channels::CreateError;
use crate::asynchronous::configuration::EventInvokeConfig;
use crate::asynchronous::target::{Home, Target as Destination};
use crate::errors::{ApiError, Code};
use crate::validation::{NameForm, Target};

/// Most configurations in one page (service model, `MaxFunctionEventInvokeConfigListItems`).
const PAGE_MAX: u32 = 50;

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Request {
    maximum_retry_attempts: Option<i64>,
    maximum_event_age_in_seconds: Option<i64>,
    destination_config: Option<DestinationConfig>,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase")]
struct DestinationConfig {
    #[serde(skip_serializing_if = "Option::is_none")]
    on_success: Option<DestinationArn>,
    #[serde(skip_serializing_if = "Option::is_none")]
    on_failure: Option<DestinationArn>,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase")]
struct DestinationArn {
    #[serde(skip_serializing_if = "Option::is_none")]
    destination: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct View {
    /// Seconds of Unix time.
    last_modified: f64,
    function_arn: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    maximum_retry_attempts: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    maximum_event_age_in_seconds: Option<u32>,
    destination_config: DestinationConfig,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct List {
    function_event_invoke_configs: Vec<View>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_marker: Option<String>,
}

/// Whose configuration is meant.
struct Owner<'a> {
    account: &'a AccountId,
    name: FunctionName,
    qualifier: String,
}

impl Api {
    /// Sets the configuration: what is not named is not set any more.
    pub(super) async fn put_function_event_invoke_config(&self, call: Call) -> Result<Response, ApiError> {
        self.change_event_invoke_config(&call, |_| EventInvokeConfig::default(), Expected::Anything).await
    }

    /// Changes a configuration that is there: what is not named stays.
    pub(super) async fn update_function_event_invoke_config(&self, call: Call) -> Result<Response, ApiError> {
        self.change_event_invoke_config(&call, Clone::clone, Expected::Present).await
    }

    pub(super) async fn get_function_event_invoke_config(&self, call: Call) -> Result<Response, ApiError> {
        let target = call.target(&self.config.region, NameForm::Plain)?;
        let owner = Owner::of(&call.key.account, target);
        let found = self.event_invoke_configs.get(&owner.path()).await?;
        let found = found.ok_or_else(|| owner.unconfigured(&self.config.region))?;
        json(200, &View::of(&found.value, owner.arn(&self.config.region)))
    }

    pub(super) async fn list_function_event_invoke_configs(&self, call: Call) -> Result<Response, ApiError> {
        let max = call.query_number("MaxItems", "maxItems", PAGE_MAX, PAGE_MAX)? as usize;
        let target = call.target(&self.config.region, NameForm::Plain)?;
        let account = &call.key.account;
        if self.resolver.look_up(account, &target.name, None).await?.is_none() {
            return Err(no_function());
        }
        let below = EventInvokeConfig::path(account, &target.name, "");
        let after = after_marker(&call)?.map(|qualifier| format!("{below}{qualifier}"));
        let mut page = Page::new(max);
        for found in self.event_invoke_configs.scan(&below, after.as_deref(), max + 1).await? {
            page.add(found);
        }
        let qualifier = |path: &str| path.strip_prefix(&below).unwrap_or_default().to_owned();
        let (found, next_marker) = page.finish(|(path, _)| qualifier(path));
        let function = function_arn(&self.config.region, account, &target.name, None);
        let views =
            found.iter().map(|(path, config)| View::of(&config.value, format!("{function}:{}", qualifier(path))));
        json(200, &List { function_event_invoke_configs: views.collect(), next_marker })
    }

    pub(super) async fn delete_function_event_invoke_config(&self, call: Call) -> Result<Response, ApiError> {
        let target = call.target(&self.config.region, NameForm::Plain)?;
        let owner = Owner::of(&call.key.account, target);
        match self.event_invoke_configs.remove(&owner.path(), Expected::Present).await {
            Ok(()) => no_content(),
            Err(CommitError::Unexpected { .. }) => Err(owner.unconfigured(&self.config.region)),
            Err(CommitError::Store(failure)) => Err(failure.into()),
        }
    }

    async fn change_event_invoke_config(
        &self,
        call: &Call,
        start: fn(&EventInvokeConfig) -> EventInvokeConfig,
        expected: Expected,
    ) -> Result<Response, ApiError> {
        let target = call.target(&self.config.region, NameForm::Plain)?;
        let request: Request = call.document().await?;
        request.check()?;
        let account = &call.key.account;
        let _change = self.changes.lock(account, &target.name).await;
        if self.resolver.look_up(account, &target.name, target.qualifier.as_ref()).await?.is_none() {
            return Err(no_function());
        }
        let owner = Owner::of(account, target);
        let current = self.event_invoke_configs.get(&owner.path()).await?.map(|found| found.value);
        if current.is_none() && expected == Expected::Present {
            return Err(owner.unconfigured(&self.config.region));
        }
        let mut config = start(&current.clone().unwrap_or_default());
        if let Some(destinations) = &request.destination_config {
            self.check_destinations(&owner, destinations).await?;
            config.on_success = arn_of(&destinations.on_success).map(str::to_owned);
            config.on_failure = arn_of(&destinations.on_failure).map(str::to_owned);
        }
        let given = |value: Option<i64>| value.and_then(|value| u32::try_from(value).ok());
        config.max_retries = given(request.maximum_retry_attempts).or(config.max_retries);
        config.max_age_s = given(request.maximum_event_age_in_seconds).or(config.max_age_s);
        config.last_modified_unix_ms = modified_after(current.map_or(0, |current| current.last_modified_unix_ms));
        match self.event_invoke_configs.put(&owner.path(), &config, expected).await {
            Ok(()) => json(200, &View::of(&config, owner.arn(&self.config.region))),
            Err(CommitError::Unexpected { .. }) => Err(owner.unconfigured(&self.config.region)),
            Err(CommitError::Store(failure)) => Err(failure.into()),
        }
    }

    async fn check_destinations(&self, owner: &Owner<'_>, config: &DestinationConfig) -> Result<(), ApiError> {
        for arn in [arn_of(&config.on_success), arn_of(&config.on_failure)].into_iter().flatten() {
            let invalid = || ApiError::invalid_parameter(format!("The destination ARN {arn} is invalid."));
            // The fourth of AWS's services, S3, gets no records here.
            if !["lambda", "sqs", "sns", "events", "s3"].contains(&arn.split(':').nth(2).unwrap_or_default()) {
                let text = format!("The provided destination config {} is invalid.", in_java(config));
                return Err(ApiError::invalid_parameter(text));
            }
            let home = Home { account: owner.account, region: &self.config.region };
            match Destination::read(arn, home).ok_or_else(invalid)? {
                Destination::Function(function) if function.name == owner.name => {
                    let text = "You can't specify the function as a destination for itself.";
                    return Err(ApiError::invalid_parameter(text));
                }
                Destination::Function(function) => {
                    let found = self.resolver.look_up(owner.account, &function.name, function.qualifier.as_ref());
                    found.await?.ok_or_else(invalid)?;
                }
                Destination::Channel(_) => self.ensure_channel(owner.account, arn).await?,
            }
        }
        Ok(())
    }

    /// Creates the queue, topic or bus that a configuration names, if that is what it names and there is none yet.
    pub(super) async fn ensure_channel(&self, account: &AccountId, arn: &str) -> Result<(), ApiError> {
        let home = Home { account, region: &self.config.region };
        let Some(Destination::Channel(target)) = Destination::read(arn, home) else { return Ok(()) };
        match self.channels.ensure(account, &target, BTreeMap::new(), Clock::unix_ms()).await {
            Ok(_) => Ok(()),
            Err(CreateError::TooMany) => {
                let text = format!("{arn} does not exist and can't be created: {}.", CreateError::TooMany);
                Err(ApiError::invalid_parameter(text))
            }
            Err(CreateError::Store(failure)) => Err(failure.into()),
        }
    }
}

impl Request {
    fn check(&self) -> Result<(), ApiError> {
        let says_something = self.maximum_retry_attempts.is_some()
            || self.maximum_event_age_in_seconds.is_some()
            || self.destination_config.is_some();
        if says_something {
            return Ok(());
        }
        let text = "You must specify at least one of error handling or destination setting.";
        Err(ApiError::invalid_parameter(text))
    }
}

impl<'a> Owner<'a> {
    fn of(account: &'a AccountId, target: Target) -> Self {
        let qualifier = target.qualifier.as_ref().map_or_else(|| Version::Latest.to_string(), ToString::to_string);
        Self { account, name: target.name, qualifier }
    }

    fn path(&self) -> String {
        EventInvokeConfig::path(self.account, &self.name, &self.qualifier)
    }

    fn arn(&self, region: &str) -> String {
        format!("{}:{}", function_arn(region, self.account, &self.name, None), self.qualifier)
    }

    fn unconfigured(&self, region: &str) -> ApiError {
        let text = format!("The function {} doesn't have an EventInvokeConfig", self.arn(region));
        ApiError::new(Code::ResourceNotFoundException, text)
    }
}

impl View {
    fn of(config: &EventInvokeConfig, function_arn: String) -> Self {
        let destination = |arn: &Option<String>| Some(DestinationArn { destination: arn.clone() });
        Self {
            last_modified: config.last_modified_unix_ms as f64 / 1_000.0,
            function_arn,
            maximum_retry_attempts: config.max_retries,
            maximum_event_age_in_seconds: config.max_age_s,
            destination_config: DestinationConfig {
                on_success: destination(&config.on_success),
                on_failure: destination(&config.on_failure),
            },
        }
    }
}

/// The destination that is named; an empty one names none.
fn arn_of(destination: &Option<DestinationArn>) -> Option<&str> {
    destination.as_ref().and_then(|destination| destination.destination.as_deref()).filter(|arn| !arn.is_empty())
}

/// As Lambda's own text shows it.
fn in_java(config: &DestinationConfig) -> String {
    let shown = |name: &str, destination: &Option<DestinationArn>| {
        destination.as_ref().map_or_else(
            || "null".to_owned(),
            |inner| format!("{name}(destination={})", inner.destination.as_deref().unwrap_or("null")),
        )
    };
    let (success, failure) = (shown("OnSuccess", &config.on_success), shown("OnFailure", &config.on_failure));
    format!("DestinationConfig(onSuccess={success}, onFailure={failure})")
}

fn no_function() -> ApiError {
    ApiError::new(Code::ResourceNotFoundException, "The function doesn't exist.")
}
