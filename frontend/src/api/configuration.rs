//! `FunctionConfiguration`: how a function is shown.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hearth_domain::{AccountId, FunctionName, LogLevel, Version};
use hearth_store::FunctionRecord;
use hearth_store::catalog::{FunctionState, UpdateStatus};
use serde::Serialize;

use crate::calendar::last_modified;

/// How much is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum View {
    /// Everything.
    Whole,
    /// Without state and runtime version, as in lists (AWS: ListFunctions, "returns a subset").
    Listed,
}

/// The `FunctionConfiguration` structure of the service model. Its members are the model's.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct FunctionConfiguration<'a> {
    function_name: &'a str,
    function_arn: String,
    runtime: String,
    role: &'a str,
    handler: &'a str,
    code_size: u64,
    description: &'a str,
    timeout: u32,
    memory_size: u32,
    last_modified: String,
    code_sha256: String,
    version: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    environment: Option<Environment<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dead_letter_config: Option<DeadLetterConfig<'a>>,
    tracing_config: TracingConfig,
    revision_id: &'a str,
    package_type: &'static str,
    architectures: [&'static str; 1],
    ephemeral_storage: EphemeralStorage,
    snap_start: SnapStart,
    logging_config: LoggingConfig,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    layers: Vec<Layer<'a>>,
    #[serde(flatten)]
    state: Option<State<'a>>,
}

/// The members that lists leave out.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct State<'a> {
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    state_reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    state_reason_code: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_update_status: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_update_status_reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_update_status_reason_code: Option<&'static str>,
    runtime_version_config: RuntimeVersionConfig,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Environment<'a> {
    variables: &'a BTreeMap<String, String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct DeadLetterConfig<'a> {
    target_arn: &'a str,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct TracingConfig {
    mode: &'static str,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct EphemeralStorage {
    size: u32,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct SnapStart {
    apply_on: &'static str,
    optimization_status: &'static str,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct LoggingConfig {
    log_format: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    application_log_level: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    system_log_level: Option<&'static str>,
    log_group: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Layer<'a> {
    arn: &'a str,
    code_size: u64,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct RuntimeVersionConfig {
    runtime_version_arn: String,
}

impl<'a> FunctionConfiguration<'a> {
    /// Shows a version under an ARN with its version number if `qualified`.
    pub(super) fn of(record: &'a FunctionRecord, qualified: bool, view: View) -> Self {
        let version = qualified.then_some(record.function.version);
        Self {
            function_name: record.function.name.as_str(),
            function_arn: function_arn(&record.region, &record.function.account, &record.function.name, version),
            runtime: record.runtime.to_string(),
            role: &record.role,
            handler: &record.handler,
            code_size: record.code_size,
            description: &record.description,
            timeout: record.timeout.get(),
            memory_size: record.memory.get(),
            last_modified: last_modified(record.last_modified_unix_ms),
            code_sha256: STANDARD.encode(record.bundle.0),
            version: record.function.version.to_string(),
            environment: record.environment.as_ref().map(|variables| Environment { variables }),
            dead_letter_config: record.dead_letter_target.as_deref().map(|target_arn| DeadLetterConfig { target_arn }),
            tracing_config: TracingConfig { mode: "PassThrough" },
            revision_id: record.revision_id().as_str(),
            package_type: "Zip",
            architectures: ["x86_64"],
            ephemeral_storage: EphemeralStorage { size: record.ephemeral_storage.get() },
            snap_start: SnapStart::of(record),
            logging_config: LoggingConfig::of(record),
            layers: record.layers.iter().map(|layer| Layer { arn: &layer.arn, code_size: layer.code_size }).collect(),
            state: (view == View::Whole).then(|| State::of(record)),
        }
    }

    /// Under the ARN by which it was asked for.
    pub(super) fn under(self, arn: String) -> Self {
        Self { function_arn: arn, ..self }
    }
}

impl LoggingConfig {
    fn of(record: &FunctionRecord) -> Self {
        let logging = &record.logging;
        Self {
            log_format: logging.format.name(),
            application_log_level: logging.application_level.map(LogLevel::name),
            system_log_level: logging.system_level.map(LogLevel::name),
            log_group: logging.group_of(&record.function.name).to_string(),
        }
    }
}

impl SnapStart {
    fn of(record: &FunctionRecord) -> Self {
        Self {
            apply_on: if record.snap_start { "PublishedVersions" } else { "None" },
            optimization_status: if record.is_optimized() { "On" } else { "Off" },
        }
    }
}

impl<'a> State<'a> {
    fn of(record: &'a FunctionRecord) -> Self {
        let (state, state_reason, state_reason_code) = match &record.state {
            FunctionState::Pending => ("Pending", Some("The function is being created."), Some("Creating")),
            FunctionState::Active => ("Active", None, None),
            FunctionState::Failed { reason } => ("Failed", Some(reason.as_str()), Some("InvalidRuntime")),
        };
        // While a function is being created Lambda says nothing of updates.
        let update = match (&record.state, &record.last_update) {
            (FunctionState::Pending, _) => None,
            (_, UpdateStatus::Successful) => Some(("Successful", None, None)),
            (_, UpdateStatus::InProgress) => {
                Some(("InProgress", Some("The function is being created."), Some("Creating")))
            }
            (_, UpdateStatus::Failed { reason }) => Some(("Failed", Some(reason.as_str()), Some("InternalError"))),
        };
        Self {
            state,
            state_reason,
            state_reason_code,
            last_update_status: update.map(|update| update.0),
            last_update_status_reason: update.and_then(|update| update.1),
            last_update_status_reason_code: update.and_then(|update| update.2),
            runtime_version_config: RuntimeVersionConfig { runtime_version_arn: runtime_version_arn(record) },
        }
    }
}

/// The one version there is of a version's runtime.
pub(super) fn runtime_version_arn(record: &FunctionRecord) -> String {
    format!("arn:aws:lambda:{}::runtime:{}", record.region, record.runtime)
}

/// A function's ARN, with a version or without.
pub(super) fn function_arn(region: &str, account: &AccountId, name: &FunctionName, version: Option<Version>) -> String {
    match version {
        None => format!("arn:aws:lambda:{region}:{account}:function:{name}"),
        Some(version) => format!("arn:aws:lambda:{region}:{account}:function:{name}:{version}"),
    }
}
