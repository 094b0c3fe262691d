//! CreateFunction.

use std::collections::BTreeMap;

use axum::response::Response;
use hearth_daemon::Clock;
use hearth_domain::runtime::RuntimeFamily;
use hearth_domain::{BundleDigest, EphemeralStorage, FunctionRef, Isolation, MemorySize, Runtime, Timeout, Version};
use hearth_store::catalog::{FunctionState, ISOLATION_TAG, UpdateStatus};
use hearth_store::{CatalogError, FunctionRecord};
use serde::Deserialize;

use super::call::Call;
use super::changes::new_revision;
use super::code::CodeSource;
use super::configuration::{FunctionConfiguration, View};
use super::layers::check_unzipped;
use super::runtimes::{Offer, not_offered, offer};
use super::tags::check_tags;
use super::{Api, json};
use crate::errors::ApiError;
use crate::validation::{NameForm, Settings, Target};

/// Memory of a function that names none (AWS: CreateFunction, `MemorySize`).
const MEMORY_DEFAULT: MemorySize = default_of(MemorySize::new(128));
/// Timeout of a function that names none (AWS: CreateFunction, `Timeout`).
const TIMEOUT_DEFAULT: Timeout = default_of(Timeout::new(3));
/// `/tmp` of a function that names none (AWS: CreateFunction, `EphemeralStorage`).
const EPHEMERAL_STORAGE_DEFAULT: EphemeralStorage = default_of(EphemeralStorage::new(512));

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct CreateFunction {
    function_name: Option<String>,
    code: Option<CodeSource>,
    publish: Option<bool>,
    package_type: Option<String>,
    architectures: Option<Vec<String>>,
    tags: Option<BTreeMap<String, String>>,
    #[serde(flatten)]
    settings: Settings,
}

impl Api {
    /// Creates `$LATEST`, and version 1 if asked to publish.
    pub(super) async fn create_function(&self, call: Call) -> Result<Response, ApiError> {
        let request: CreateFunction = call.document().await?;
        let target = self.check_create(&call, &request)?;
        let settings = request.settings;
        let (account, name) = (&call.key.account, target.name);
        let runtime = settings.parsed_runtime()?.ok_or_else(mandatory)?;
        if settings.handler.is_none() && runtime.family() != RuntimeFamily::Provided {
            return Err(mandatory());
        }
        let function = FunctionRef {
            account: account.clone(),
            name: name.clone(),
            version: Version::Latest,
            revision: new_revision(),
        };
        let mut record = with_defaults(function, &self.config.region, runtime);
        if let Some(arns) = settings.layers() {
            record.layers = self.function_layers(account, arns).await?;
        }
        settings.apply(&mut record)?;
        record.tags = request.tags.unwrap_or_default();
        self.check_function_role(account, &record.role).await?;
        if let Offer::NotOffered(offered) = offer(&*self.deps.manager, record.runtime).await {
            return Err(ApiError::invalid_parameter(not_offered(record.runtime, &offered)));
        }
        if self.deps.catalog.get(account, &name, Version::Latest).await?.is_some() {
            return Err(CatalogError::Exists(name).into());
        }
        let zip = request.code.unwrap_or_default().checked().await?;
        (record.code_size, record.unzipped_bytes) = (zip.size(), zip.unzipped_bytes());
        check_unzipped(&record)?;
        record.bundle = self.store_zip(zip).await?;
        record.last_modified_unix_ms = Clock::unix_ms();
        let _change = self.changes.lock(account, &name).await;
        if let Some(target) = &record.dead_letter_target {
            self.ensure_channel(account, target).await?;
        }
        self.deps.catalog.create(record.clone()).await?;
        let shown = if request.publish == Some(true) { self.publish_copy(&record, None).await? } else { record.into() };
        self.activator.activate(account.clone(), name);
        // Its ARN has no version, unlike that of a version published later (LocalStack's recordings, TestLambdaAlias).
        json(201, &FunctionConfiguration::of(&shown, false, View::Whole))
    }

    fn check_create(&self, call: &Call, request: &CreateFunction) -> Result<Target, ApiError> {
        let to = call.addressee(&self.config.region);
        let name = request.function_name.as_deref().unwrap_or_default();
        let target = Target::read(name, NameForm::Plain, None, to)?;
        if request.package_type.as_deref() == Some("Image") {
            return Err(ApiError::invalid_parameter("Container images are not supported by Hearth. Send a ZipFile."));
        }
        refuse_arm(request.architectures.as_deref())?;
        if let Some(tags) = &request.tags {
            check_tags(tags)?;
        }
        check_isolation(request.tags.as_ref().and_then(|tags| tags.get(ISOLATION_TAG)))?;
        if target.qualifier.is_some() {
            let text = "A function is created without a version or alias in its name.";
            return Err(ApiError::invalid_parameter(text));
        }
        Ok(target)
    }
}

/// Whoever asks for a security boundary and misspells it must not get a function without one.
fn check_isolation(asked: Option<&String>) -> Result<(), ApiError> {
    match asked.map(|asked| asked.parse::<Isolation>()) {
        None | Some(Ok(_)) => Ok(()),
        Some(Err(wrong)) => Err(ApiError::invalid_parameter(format!(
            "The tag {ISOLATION_TAG} names the least isolation the function may run in: {wrong}"
        ))),
    }
}

/// Refuses arm64.
pub(super) fn refuse_arm(architectures: Option<&[String]>) -> Result<(), ApiError> {
    if architectures.is_some_and(|architectures| architectures.iter().any(|architecture| architecture == "arm64")) {
        let text = "Architecture arm64 is not offered by the workers of this platform. Use x86_64.";
        return Err(ApiError::invalid_parameter(text));
    }
    Ok(())
}

/// A new function's record, all settings at their defaults and no code yet.
fn with_defaults(function: FunctionRef, region: &str, runtime: Runtime) -> FunctionRecord {
    FunctionRecord {
        function,
        region: region.to_owned(),
        runtime,
        role: String::new(),
        handler: String::new(),
        description: String::new(),
        memory: MEMORY_DEFAULT,
        timeout: TIMEOUT_DEFAULT,
        ephemeral_storage: EPHEMERAL_STORAGE_DEFAULT,
        environment: None,
        bundle: BundleDigest([0; 32]),
        code_size: 0,
        unzipped_bytes: 0,
        last_modified_unix_ms: 0,
        dead_letter_target: None,
        tags: BTreeMap::new(),
        snap_start: false,
        layers: Vec::new(),
        logging: hearth_domain::Logging::default(),
        state: FunctionState::Pending,
        last_update: UpdateStatus::Successful,
        revision_id: None,
    }
}

fn mandatory() -> ApiError {
    let text = "Runtime and Handler are mandatory parameters for functions created with deployment packages.";
    ApiError::invalid_parameter(text)
}

const fn default_of<T: Copy, E: Copy>(value: Result<T, E>) -> T {
    match value {
        Ok(value) => value,
        Err(_) => panic!("the default is within its bounds"),
    }
}
