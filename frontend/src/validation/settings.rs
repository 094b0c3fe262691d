//! A function's settings, as CreateFunction and UpdateFunctionConfiguration give them: checked, then applied to its
//! record. What Hearth can't honour is refused by name, never ignored.

use std::collections::BTreeMap;

use hearth_domain::limits::ENVIRONMENT_MAX_BYTES;
use hearth_domain::{EphemeralStorage, InvalidId, MemorySize, Runtime, Timeout};
use hearth_store::FunctionRecord;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::check_environment;
use super::logging::{LoggingConfig, LoggingError};
use crate::asynchronous::target::{ChannelKind, Home, Target};

/// Settings of a request; what is `None` was not given.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Settings {
    /// `Runtime`
    pub runtime: Option<String>,
    /// `Role`
    pub role: Option<String>,
    /// `Handler`
    pub handler: Option<String>,
    description: Option<String>,
    timeout: Option<i64>,
    memory_size: Option<i64>,
    environment: Option<Environment>,
    dead_letter_config: Option<DeadLetterConfig>,
    ephemeral_storage: Option<EphemeralStorageSize>,
    tracing_config: Option<TracingConfig>,
    snap_start: Option<SnapStart>,
    logging_config: Option<LoggingConfig>,
    vpc_config: Option<VpcConfig>,
    layers: Option<Vec<String>>,
    file_system_configs: Option<Vec<IgnoredAny>>,
    image_config: Option<IgnoredAny>,
    #[serde(rename = "KMSKeyArn")]
    kms_key_arn: Option<String>,
}

/// A setting that is well formed and still can't be taken: `InvalidParameterValueException`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// A runtime Hearth does not know.
    #[error(
        "Value {} at 'runtime' failed to satisfy constraint: Member must satisfy enum value set: [provided, \
         provided.al2, provided.al2023, python3.N, nodejsN.x, rubyM.N, javaN] or be a valid ARN", .0.value
    )]
    UnknownRuntime(InvalidId),
    /// Names that belong to the platform.
    #[error(
        "Lambda was unable to configure your environment variables because the environment variables you have provided \
         contains reserved keys that are currently not supported for modification. Reserved keys used in this request: \
         {0}"
    )]
    ReservedVariables(String),
    /// A name or value no process can have.
    #[error(
        "Environment variable '{0}' can't be set: names are a letter followed by one or more letters, digits or \
         underscores, and values have no NUL"
    )]
    BadVariable(String),
    /// Too many bytes of variables, as JSON.
    #[error(
        "Lambda was unable to configure your environment variables because the environment variables you have provided \
         exceeded the {limit_kb}KB limit. String measured: {0}", limit_kb = ENVIRONMENT_MAX_BYTES / 1024
    )]
    EnvironmentTooLarge(String),
    /// A dead-letter target Hearth can't send to.
    #[error(
        "The dead-letter target {0} can't be used: failed events go to a standard queue, a standard topic or a function of \
         the own account and region; those without a target are kept for `hearth dead-letters`."
    )]
    DeadLetterTarget(String),
    /// A `LoggingConfig` that contradicts itself.
    #[error(transparent)]
    Logging(#[from] LoggingError),
    /// A runtime whose environments can't be made different from each other after an init.
    #[error("{0} is not supported for SnapStart enabled functions.")]
    SnapStartRuntime(Runtime),
    /// Something of Lambda's that Hearth does not have.
    #[error("{0} is not supported by Hearth.")]
    Unsupported(&'static str),
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Environment {
    variables: Option<BTreeMap<String, String>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DeadLetterConfig {
    target_arn: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct EphemeralStorageSize {
    size: Option<i64>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct TracingConfig {
    mode: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct SnapStart {
    apply_on: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct VpcConfig {
    subnet_ids: Option<Vec<String>>,
    security_group_ids: Option<Vec<String>>,
}

impl Settings {
    /// `Layers`, if they are to be changed: ARNs of layer versions.
    pub fn layers(&self) -> Option<&[String]> {
        self.layers.as_deref()
    }

    /// The runtime asked for.
    pub fn parsed_runtime(&self) -> Result<Option<Runtime>, SettingsError> {
        self.runtime.as_deref().map(str::parse).transpose().map_err(SettingsError::UnknownRuntime)
    }

    /// Puts what was given into `record`. The service model's constraints hold already ([`crate::model`]).
    pub fn apply(self, record: &mut FunctionRecord) -> Result<(), SettingsError> {
        self.refuse_unsupported()?;
        if let Some(runtime) = self.parsed_runtime()? {
            record.runtime = runtime;
        }
        if let Some(target) = self.dead_letter_config.and_then(|config| config.target_arn) {
            record.dead_letter_target = {
                let home = Home { account: &record.function.account, region: &record.region };
                dead_letter_target(target, home)?
            };
        }
        if let Some(variables) = self.environment.map(|environment| environment.variables.unwrap_or_default()) {
            check_environment(&variables)?;
            // An empty map is shown as one (LocalStack's recordings, TestLambdaFunction::test_function_lifecycle).
            record.environment = Some(variables);
        }
        let bounded = |value: Option<i64>| value.and_then(|value| u32::try_from(value).ok());
        if let Some(Ok(timeout)) = bounded(self.timeout).map(Timeout::new) {
            record.timeout = timeout;
        }
        if let Some(Ok(memory)) = bounded(self.memory_size).map(MemorySize::new) {
            record.memory = memory;
        }
        let storage = bounded(self.ephemeral_storage.and_then(|storage| storage.size));
        if let Some(Ok(storage)) = storage.map(EphemeralStorage::new) {
            record.ephemeral_storage = storage;
        }
        if let Some(apply_on) = self.snap_start.and_then(|snap_start| snap_start.apply_on) {
            record.snap_start = apply_on == "PublishedVersions";
        }
        if record.snap_start && !has_snap_start(record.runtime) {
            return Err(SettingsError::SnapStartRuntime(record.runtime));
        }
        if let Some(logging) = &self.logging_config {
            record.logging = logging.applied(&record.logging, &record.function.name)?;
        }
        replace(&mut record.role, self.role);
        replace(&mut record.handler, self.handler);
        replace(&mut record.description, self.description);
        Ok(())
    }

    fn refuse_unsupported(&self) -> Result<(), SettingsError> {
        let any = |list: &Option<Vec<String>>| list.as_ref().is_some_and(|list| !list.is_empty());
        let refused = [
            ("VpcConfig", self.vpc_config.as_ref().is_some_and(|c| any(&c.subnet_ids) || any(&c.security_group_ids))),
            ("FileSystemConfigs", self.file_system_configs.as_ref().is_some_and(|configs| !configs.is_empty())),
            ("ImageConfig", self.image_config.is_some()),
            ("KMSKeyArn", self.kms_key_arn.as_ref().is_some_and(|arn| !arn.is_empty())),
            ("TracingConfig mode Active", is(&self.tracing_config, |c| c.mode.as_deref() == Some("Active"))),
        ];
        match refused.into_iter().find(|(_, given)| *given) {
            Some((what, _)) => Err(SettingsError::Unsupported(what)),
            None => Ok(()),
        }
    }
}

/// Lowest Java that AWS snapshots.
const SNAP_START_JAVA_MIN: u8 = 11;

/// AWS takes Java 11, Python 3.12 and .NET 8, and later ones. Here every Python has the hooks that it takes, and so has a
/// bootstrap of the function's own; Node.js and Ruby have none
/// (docs/decisions/0180-snapstart-where-clones-can-differ.md).
const fn has_snap_start(runtime: Runtime) -> bool {
    match runtime {
        Runtime::Provided(_) | Runtime::Python { .. } => true,
        Runtime::Java { major } => major >= SNAP_START_JAVA_MIN,
        Runtime::Nodejs { .. } | Runtime::Ruby { .. } => false,
    }
}

fn is<T>(config: &Option<T>, holds: impl FnOnce(&T) -> bool) -> bool {
    config.as_ref().is_some_and(holds)
}

fn replace(slot: &mut String, value: Option<String>) {
    if let Some(value) = value {
        *slot = value;
    }
}

/// An empty one takes the target away. AWS takes queues and topics; functions are an addition.
fn dead_letter_target(target: String, home: Home<'_>) -> Result<Option<String>, SettingsError> {
    if target.is_empty() {
        return Ok(None);
    }
    match Target::read(&target, home) {
        Some(Target::Channel(channel)) if channel.kind == ChannelKind::Bus => {
            Err(SettingsError::DeadLetterTarget(target))
        }
        Some(_) => Ok(Some(target)),
        None => Err(SettingsError::DeadLetterTarget(target)),
    }
}
