//! Every route of the service model (botocore, `lambda/2015-03-31`), and our own. What is not served yet answers
//! `NotImplementedException`; what stands nowhere here is an unknown operation.

use std::borrow::Cow;
use std::fmt;
use std::future::Future;
use std::pin::Pin;

use axum::response::Response;
use hearth_domain::limits::{BUNDLE_ZIP_MAX_BYTES, INVOKE_ASYNC_MAX_BYTES, SYNC_REQUEST_MAX_BYTES};

use super::Api;
use super::call::Call;
use crate::errors::ApiError;
use crate::model::path_parameter;

/// Largest body of CreateFunction and UpdateFunctionCode, bytes: a zip of the largest size in base64, and what stands
/// around it. Lambda's own number, as its error message tells it.
pub(super) const UPLOAD_MAX_BYTES: usize = 70_167_211;
const _: () = assert!(UPLOAD_MAX_BYTES > BUNDLE_ZIP_MAX_BYTES.div_ceil(3) * 4);
/// Largest body of the other operations, bytes. Ours.
const OTHER_MAX_BYTES: usize = 1024 * 1024;

/// What serves an operation.
pub(super) type Action = for<'a> fn(&'a Api, Call) -> Answer<'a>;
/// Its answer to come.
type Answer<'a> = Pin<Box<dyn Future<Output = Result<Response, ApiError>> + Send + 'a>>;

/// One route.
#[derive(Clone, Copy)]
pub struct Route {
    /// The method.
    pub method: &'static str,
    /// The path, parameters in braces.
    pub path: &'static str,
    /// A query parameter by which two operations on one path are told apart.
    pub query: Option<&'static str>,
    /// The operation's name, as in the service model.
    pub name: &'static str,
    /// What serves it, if it is served.
    pub(super) action: Option<Action>,
    /// Whether it changes something. A change that has begun is carried through, also if the caller leaves: half of
    /// one would leave a function in progress with nobody at it.
    pub(super) changes: bool,
    /// Largest body, bytes.
    pub(super) body_max_bytes: usize,
}

impl Route {
    /// A route that is not served.
    pub(super) const fn new(method: &'static str, path: &'static str, name: &'static str) -> Self {
        Self { method, path, query: None, name, action: None, changes: false, body_max_bytes: OTHER_MAX_BYTES }
    }

    /// Told apart from another on the same path by this query parameter. Stands before that other one.
    const fn with_query(self, query: &'static str) -> Self {
        Self { query: Some(query), ..self }
    }

    /// Served by `action`, which changes nothing that another request reads.
    pub(super) const fn served(self, action: Action) -> Self {
        Self { action: Some(action), ..self }
    }

    /// Served by `action`, which is carried through once it has begun.
    pub(super) const fn changes(self, action: Action) -> Self {
        Self { action: Some(action), changes: true, ..self }
    }

    /// With another largest body.
    pub(super) const fn body_max(self, bytes: usize) -> Self {
        Self { body_max_bytes: bytes, ..self }
    }

    /// Whether it is served; else it answers `NotImplementedException`.
    #[must_use]
    pub const fn is_served(&self) -> bool {
        self.action.is_some()
    }

    /// The path parameter `name` of a request to this route, percent-decoded; invalid UTF-8 replaced.
    #[must_use]
    pub fn parameter<'a>(&self, name: &str, path: &'a str) -> Cow<'a, str> {
        path_parameter(self.path, name, path)
    }
}

impl fmt::Debug for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} ({})", self.method, self.path, self.name)
    }
}

/// An operation: a method of [`Api`].
macro_rules! action {
    ($method:ident) => {
        |api, call| Box::pin(api.$method(call))
    };
}

/// All routes. One with a query parameter stands before the one on the same path without.
pub fn routes() -> impl Iterator<Item = &'static Route> {
    let tables = [
        FUNCTIONS,
        INVOCATION,
        ALIASES,
        CONCURRENCY,
        LAYERS,
        URLS,
        PERMISSIONS,
        TAGS,
        EVENT_INVOKE,
        SETTINGS,
        HEARTH,
        LATER,
    ];
    tables.into_iter().flatten()
}

/// Functions and versions.
const FUNCTIONS: &[Route] = &[
    Route::new("GET", "/2015-03-31/functions", "ListFunctions").served(action!(list_functions)),
    Route::new("POST", "/2015-03-31/functions", "CreateFunction")
        .changes(action!(create_function))
        .body_max(UPLOAD_MAX_BYTES),
    Route::new("DELETE", "/2015-03-31/functions/{FunctionName}", "DeleteFunction").changes(action!(delete_function)),
    Route::new("GET", "/2015-03-31/functions/{FunctionName}", "GetFunction").served(action!(get_function)),
    Route::new("PUT", "/2015-03-31/functions/{FunctionName}/code", "UpdateFunctionCode")
        .changes(action!(update_function_code))
        .body_max(UPLOAD_MAX_BYTES),
    Route::new("GET", "/2015-03-31/functions/{FunctionName}/configuration", "GetFunctionConfiguration")
        .served(action!(get_function_configuration)),
    Route::new("PUT", "/2015-03-31/functions/{FunctionName}/configuration", "UpdateFunctionConfiguration")
        .changes(action!(update_function_configuration)),
    Route::new("GET", "/2015-03-31/functions/{FunctionName}/versions", "ListVersionsByFunction")
        .served(action!(list_versions_by_function)),
    Route::new("POST", "/2015-03-31/functions/{FunctionName}/versions", "PublishVersion")
        .changes(action!(publish_version)),
];

/// Invocations.
const INVOCATION: &[Route] = &[
    Route::new("POST", "/2014-11-13/functions/{FunctionName}/invoke-async", "InvokeAsync")
        .served(action!(invoke_async))
        .body_max(INVOKE_ASYNC_MAX_BYTES),
    Route::new("POST", "/2015-03-31/functions/{FunctionName}/invocations", "Invoke")
        .served(action!(invoke))
        .body_max(SYNC_REQUEST_MAX_BYTES),
    Route::new(
        "POST",
        "/2021-11-15/functions/{FunctionName}/response-streaming-invocations",
        "InvokeWithResponseStream",
    )
    .served(action!(invoke_with_response_stream))
    .body_max(SYNC_REQUEST_MAX_BYTES),
];

/// Aliases.
const ALIASES: &[Route] = &[
    Route::new("GET", "/2015-03-31/functions/{FunctionName}/aliases", "ListAliases").served(action!(list_aliases)),
    Route::new("POST", "/2015-03-31/functions/{FunctionName}/aliases", "CreateAlias").changes(action!(create_alias)),
    Route::new("DELETE", "/2015-03-31/functions/{FunctionName}/aliases/{Name}", "DeleteAlias")
        .changes(action!(delete_alias)),
    Route::new("GET", "/2015-03-31/functions/{FunctionName}/aliases/{Name}", "GetAlias").served(action!(get_alias)),
    Route::new("PUT", "/2015-03-31/functions/{FunctionName}/aliases/{Name}", "UpdateAlias")
        .changes(action!(update_alias)),
];

/// Reserved and provisioned concurrency, and the account's limits.
const CONCURRENCY: &[Route] = &[
    Route::new("GET", "/2016-08-19/account-settings", "GetAccountSettings").served(action!(get_account_settings)),
    Route::new("DELETE", "/2017-10-31/functions/{FunctionName}/concurrency", "DeleteFunctionConcurrency")
        .changes(action!(delete_function_concurrency)),
    Route::new("PUT", "/2017-10-31/functions/{FunctionName}/concurrency", "PutFunctionConcurrency")
        .changes(action!(put_function_concurrency)),
    Route::new("GET", "/2019-09-30/functions/{FunctionName}/concurrency", "GetFunctionConcurrency")
        .served(action!(get_function_concurrency)),
    Route::new(
        "GET",
        "/2019-09-30/functions/{FunctionName}/provisioned-concurrency",
        "ListProvisionedConcurrencyConfigs",
    )
    .served(action!(list_provisioned_concurrency))
    .with_query("List"),
    Route::new(
        "DELETE",
        "/2019-09-30/functions/{FunctionName}/provisioned-concurrency",
        "DeleteProvisionedConcurrencyConfig",
    )
    .changes(action!(delete_provisioned_concurrency)),
    Route::new(
        "GET",
        "/2019-09-30/functions/{FunctionName}/provisioned-concurrency",
        "GetProvisionedConcurrencyConfig",
    )
    .served(action!(get_provisioned_concurrency)),
    Route::new(
        "PUT",
        "/2019-09-30/functions/{FunctionName}/provisioned-concurrency",
        "PutProvisionedConcurrencyConfig",
    )
    .changes(action!(put_provisioned_concurrency)),
];

/// Layers and their policies.
const LAYERS: &[Route] = &[
    Route::new("GET", "/2018-10-31/layers", "GetLayerVersionByArn")
        .with_query("find")
        .served(action!(get_layer_version_by_arn)),
    Route::new("GET", "/2018-10-31/layers", "ListLayers").served(action!(list_layers)),
    Route::new("GET", "/2018-10-31/layers/{LayerName}/versions", "ListLayerVersions")
        .served(action!(list_layer_versions)),
    Route::new("POST", "/2018-10-31/layers/{LayerName}/versions", "PublishLayerVersion")
        .changes(action!(publish_layer_version))
        .body_max(UPLOAD_MAX_BYTES),
    Route::new("DELETE", "/2018-10-31/layers/{LayerName}/versions/{VersionNumber}", "DeleteLayerVersion")
        .changes(action!(delete_layer_version)),
    Route::new("GET", "/2018-10-31/layers/{LayerName}/versions/{VersionNumber}", "GetLayerVersion")
        .served(action!(get_layer_version)),
    Route::new("GET", "/2018-10-31/layers/{LayerName}/versions/{VersionNumber}/policy", "GetLayerVersionPolicy")
        .served(action!(get_layer_version_policy)),
    Route::new("POST", "/2018-10-31/layers/{LayerName}/versions/{VersionNumber}/policy", "AddLayerVersionPermission")
        .changes(action!(add_layer_version_permission)),
    Route::new(
        "DELETE",
        "/2018-10-31/layers/{LayerName}/versions/{VersionNumber}/policy/{StatementId}",
        "RemoveLayerVersionPermission",
    )
    .changes(action!(remove_layer_version_permission)),
];

/// Function URLs.
const URLS: &[Route] = &[
    Route::new("DELETE", "/2021-10-31/functions/{FunctionName}/url", "DeleteFunctionUrlConfig")
        .changes(action!(delete_function_url_config)),
    Route::new("GET", "/2021-10-31/functions/{FunctionName}/url", "GetFunctionUrlConfig")
        .served(action!(get_function_url_config)),
    Route::new("POST", "/2021-10-31/functions/{FunctionName}/url", "CreateFunctionUrlConfig")
        .changes(action!(create_function_url_config)),
    Route::new("PUT", "/2021-10-31/functions/{FunctionName}/url", "UpdateFunctionUrlConfig")
        .changes(action!(update_function_url_config)),
    Route::new("GET", "/2021-10-31/functions/{FunctionName}/urls", "ListFunctionUrlConfigs")
        .served(action!(list_function_url_configs)),
];

/// Resource policies of functions.
const PERMISSIONS: &[Route] = &[
    Route::new("GET", "/2015-03-31/functions/{FunctionName}/policy", "GetPolicy").served(action!(get_policy)),
    Route::new("POST", "/2015-03-31/functions/{FunctionName}/policy", "AddPermission").changes(action!(add_permission)),
    Route::new("DELETE", "/2015-03-31/functions/{FunctionName}/policy/{StatementId}", "RemovePermission")
        .changes(action!(remove_permission)),
];

/// Tags.
const TAGS: &[Route] = &[
    Route::new("DELETE", "/2017-03-31/tags/{Resource}", "UntagResource").changes(action!(untag_resource)),
    Route::new("GET", "/2017-03-31/tags/{Resource}", "ListTags").served(action!(list_tags)),
    Route::new("POST", "/2017-03-31/tags/{Resource}", "TagResource").changes(action!(tag_resource)),
];

/// What becomes of asynchronous invocations.
const EVENT_INVOKE: &[Route] = &[
    Route::new("DELETE", "/2019-09-25/functions/{FunctionName}/event-invoke-config", "DeleteFunctionEventInvokeConfig")
        .changes(action!(delete_function_event_invoke_config)),
    Route::new("GET", "/2019-09-25/functions/{FunctionName}/event-invoke-config", "GetFunctionEventInvokeConfig")
        .served(action!(get_function_event_invoke_config)),
    Route::new("POST", "/2019-09-25/functions/{FunctionName}/event-invoke-config", "UpdateFunctionEventInvokeConfig")
        .changes(action!(update_function_event_invoke_config)),
    Route::new("PUT", "/2019-09-25/functions/{FunctionName}/event-invoke-config", "PutFunctionEventInvokeConfig")
        .changes(action!(put_function_event_invoke_config)),
    Route::new(
        "GET",
        "/2019-09-25/functions/{FunctionName}/event-invoke-config/list",
        "ListFunctionEventInvokeConfigs",
    )
    .served(action!(list_function_event_invoke_configs)),
];

/// Settings that stand beside the configuration.
const SETTINGS: &[Route] = &[
    Route::new("GET", "/2021-07-20/functions/{FunctionName}/runtime-management-config", "GetRuntimeManagementConfig")
        .served(action!(get_runtime_management)),
    Route::new("PUT", "/2021-07-20/functions/{FunctionName}/runtime-management-config", "PutRuntimeManagementConfig")
        .changes(action!(put_runtime_management)),
    Route::new("GET", "/2024-08-31/functions/{FunctionName}/recursion-config", "GetFunctionRecursionConfig")
        .served(action!(get_recursion_config)),
    Route::new("PUT", "/2024-08-31/functions/{FunctionName}/recursion-config", "PutFunctionRecursionConfig")
        .changes(action!(put_recursion_config)),
];

/// Ours, for `hearth` and for the links that GetFunction gives.
const HEARTH: &[Route] = &[
    Route::new("GET", "/hearth/v1/channels", "HearthChannels").served(action!(hearth_channels)),
    Route::new("GET", "/hearth/v1/channels/{Kind}/{Name}/messages", "HearthMessages").served(action!(hearth_messages)),
    Route::new("DELETE", "/hearth/v1/channels/{Kind}/{Name}/messages/{Number}", "HearthDeleteMessage")
        .changes(action!(hearth_delete_message)),
    Route::new("GET", "/hearth/v1/dead-letters", "HearthDeadLetters").served(action!(hearth_dead_letters)),
    Route::new("GET", "/hearth/v1/functions/{FunctionName}/code", "HearthCode").served(action!(hearth_code)),
    Route::new("GET", "/hearth/v1/functions/{FunctionName}/logs", "HearthLogs").served(action!(hearth_logs)),
    Route::new("GET", "/hearth/v1/layer", "HearthLayer").served(action!(hearth_layer)),
    Route::new("GET", "/hearth/v1/usage", "HearthUsage").served(action!(hearth_usage)),
    Route::new("GET", "/hearth/v1/workers", "HearthWorkers").served(action!(hearth_workers)),
    Route::new("GET", "/hearth/v1/accounts", "HearthAccounts").served(action!(hearth_accounts)),
    Route::new("POST", "/hearth/v1/accounts", "HearthCreateAccount").changes(action!(hearth_create_account)),
    Route::new("DELETE", "/hearth/v1/accounts/{AccountId}", "HearthDeleteAccount")
        .changes(action!(hearth_delete_account)),
    Route::new("GET", "/hearth/v1/keys", "HearthKeys").served(action!(hearth_keys)),
    Route::new("POST", "/hearth/v1/keys", "HearthCreateKey").changes(action!(hearth_create_key)),
    Route::new("PUT", "/hearth/v1/keys/{KeyId}", "HearthUpdateKey").changes(action!(hearth_update_key)),
    Route::new("DELETE", "/hearth/v1/keys/{KeyId}", "HearthDeleteKey").changes(action!(hearth_delete_key)),
];

/// Not served: mappings, code signing, capacity providers, durable executions.
const LATER: &[Route] = &[
    Route::new("GET", "/2015-03-31/event-source-mappings", "ListEventSourceMappings"),
    Route::new("POST", "/2015-03-31/event-source-mappings", "CreateEventSourceMapping"),
    Route::new("DELETE", "/2015-03-31/event-source-mappings/{UUID}", "DeleteEventSourceMapping"),
    Route::new("GET", "/2015-03-31/event-source-mappings/{UUID}", "GetEventSourceMapping"),
    Route::new("PUT", "/2015-03-31/event-source-mappings/{UUID}", "UpdateEventSourceMapping"),
    Route::new("GET", "/2020-04-22/code-signing-configs", "ListCodeSigningConfigs"),
    Route::new("POST", "/2020-04-22/code-signing-configs", "CreateCodeSigningConfig"),
    Route::new("DELETE", "/2020-04-22/code-signing-configs/{CodeSigningConfigArn}", "DeleteCodeSigningConfig"),
    Route::new("GET", "/2020-04-22/code-signing-configs/{CodeSigningConfigArn}", "GetCodeSigningConfig"),
    Route::new("PUT", "/2020-04-22/code-signing-configs/{CodeSigningConfigArn}", "UpdateCodeSigningConfig"),
    Route::new(
        "GET",
        "/2020-04-22/code-signing-configs/{CodeSigningConfigArn}/functions",
        "ListFunctionsByCodeSigningConfig",
    ),
    Route::new("DELETE", "/2020-06-30/functions/{FunctionName}/code-signing-config", "DeleteFunctionCodeSigningConfig"),
    Route::new("GET", "/2020-06-30/functions/{FunctionName}/code-signing-config", "GetFunctionCodeSigningConfig"),
    Route::new("PUT", "/2020-06-30/functions/{FunctionName}/code-signing-config", "PutFunctionCodeSigningConfig"),
    Route::new("GET", "/2025-11-30/capacity-providers", "ListCapacityProviders"),
    Route::new("POST", "/2025-11-30/capacity-providers", "CreateCapacityProvider"),
    Route::new("DELETE", "/2025-11-30/capacity-providers/{CapacityProviderName}", "DeleteCapacityProvider"),
    Route::new("GET", "/2025-11-30/capacity-providers/{CapacityProviderName}", "GetCapacityProvider"),
    Route::new("PUT", "/2025-11-30/capacity-providers/{CapacityProviderName}", "UpdateCapacityProvider"),
    Route::new(
        "GET",
        "/2025-11-30/capacity-providers/{CapacityProviderName}/function-versions",
        "ListFunctionVersionsByCapacityProvider",
    ),
    Route::new("GET", "/2025-11-30/functions/{FunctionName}/function-scaling-config", "GetFunctionScalingConfig"),
    Route::new("PUT", "/2025-11-30/functions/{FunctionName}/function-scaling-config", "PutFunctionScalingConfig"),
    Route::new(
        "POST",
        "/2025-12-01/durable-execution-callbacks/{CallbackId}/fail",
        "SendDurableExecutionCallbackFailure",
    ),
    Route::new(
        "POST",
        "/2025-12-01/durable-execution-callbacks/{CallbackId}/heartbeat",
        "SendDurableExecutionCallbackHeartbeat",
    ),
    Route::new(
        "POST",
        "/2025-12-01/durable-execution-callbacks/{CallbackId}/succeed",
        "SendDurableExecutionCallbackSuccess",
    ),
    Route::new("GET", "/2025-12-01/durable-executions/{DurableExecutionArn}", "GetDurableExecution"),
    Route::new("POST", "/2025-12-01/durable-executions/{DurableExecutionArn}/checkpoint", "CheckpointDurableExecution"),
    Route::new("GET", "/2025-12-01/durable-executions/{DurableExecutionArn}/history", "GetDurableExecutionHistory"),
    Route::new("GET", "/2025-12-01/durable-executions/{DurableExecutionArn}/state", "GetDurableExecutionState"),
    Route::new("POST", "/2025-12-01/durable-executions/{DurableExecutionArn}/stop", "StopDurableExecution"),
    Route::new("GET", "/2025-12-01/functions/{FunctionName}/durable-executions", "ListDurableExecutionsByFunction"),
];
