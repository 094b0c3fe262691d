//! Every route of the service model (botocore, `lambda/2015-03-31`), and our own. What is not served yet answers
//! `NotImplementedException`; what stands nowhere here is an unknown operation.

use std::borrow::Cow;

use super::Operation;
use crate::sigv4::decoded;

/// One route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
    pub operation: Option<Operation>,
}

impl Route {
    /// The path parameter `name` of a request to this route, percent-decoded; invalid UTF-8 replaced.
    #[must_use]
    pub fn parameter<'a>(&self, name: &str, path: &'a str) -> Cow<'a, str> {
        let is_parameter = |segment: &str| segment.strip_prefix('{').and_then(|s| s.strip_suffix('}')) == Some(name);
        let mut segments = self.path.split('/').zip(path.split('/'));
        let found = segments.find(|(pattern, _)| is_parameter(pattern)).map_or("", |(_, segment)| segment);
        match decoded(found) {
            Cow::Borrowed(_) => Cow::Borrowed(found),
            Cow::Owned(bytes) => Cow::Owned(String::from_utf8_lossy(&bytes).into_owned()),
        }
    }
}

const fn served(method: &'static str, path: &'static str, name: &'static str, operation: Operation) -> Route {
    Route { method, path, query: None, name, operation: Some(operation) }
}

const fn later(method: &'static str, path: &'static str, name: &'static str) -> Route {
    Route { method, path, query: None, name, operation: None }
}

const fn later_with(query: &'static str, method: &'static str, path: &'static str, name: &'static str) -> Route {
    Route { method, path, query: Some(query), name, operation: None }
}

/// All of them. A route with a query parameter stands before the one on the same path without.
pub const ROUTES: &[Route] = &[
    // Served.
    served("POST", "/2015-03-31/functions", "CreateFunction", Operation::CreateFunction),
    served("DELETE", "/2015-03-31/functions/{FunctionName}", "DeleteFunction", Operation::DeleteFunction),
    served("GET", "/2015-03-31/functions/{FunctionName}", "GetFunction", Operation::GetFunction),
    served(
        "GET",
        "/2015-03-31/functions/{FunctionName}/configuration",
        "GetFunctionConfiguration",
        Operation::GetFunctionConfiguration,
    ),
    served("POST", "/2015-03-31/functions/{FunctionName}/invocations", "Invoke", Operation::Invoke),
    served("GET", "/2015-03-31/functions", "ListFunctions", Operation::ListFunctions),
    served(
        "GET",
        "/2015-03-31/functions/{FunctionName}/versions",
        "ListVersionsByFunction",
        Operation::ListVersionsByFunction,
    ),
    served("POST", "/2015-03-31/functions/{FunctionName}/versions", "PublishVersion", Operation::PublishVersion),
    served("PUT", "/2015-03-31/functions/{FunctionName}/code", "UpdateFunctionCode", Operation::UpdateFunctionCode),
    served(
        "PUT",
        "/2015-03-31/functions/{FunctionName}/configuration",
        "UpdateFunctionConfiguration",
        Operation::UpdateFunctionConfiguration,
    ),
    // Ours, for `hearth` and for the links that GetFunction gives.
    served("GET", "/hearth/v1/workers", "HearthWorkers", Operation::Workers),
    served("GET", "/hearth/v1/usage", "HearthUsage", Operation::Usage),
    served("GET", "/hearth/v1/dead-letters", "HearthDeadLetters", Operation::DeadLetters),
    served("GET", "/hearth/v1/functions/{FunctionName}/logs", "HearthLogs", Operation::Logs),
    served("GET", "/hearth/v1/functions/{FunctionName}/code", "HearthCode", Operation::Code),
    // Not yet.
    later_with("find", "GET", "/2018-10-31/layers", "GetLayerVersionByArn"),
    later_with(
        "List",
        "GET",
        "/2019-09-30/functions/{FunctionName}/provisioned-concurrency",
        "ListProvisionedConcurrencyConfigs",
    ),
    later("POST", "/2018-10-31/layers/{LayerName}/versions/{VersionNumber}/policy", "AddLayerVersionPermission"),
    later("POST", "/2015-03-31/functions/{FunctionName}/policy", "AddPermission"),
    later("POST", "/2025-12-01/durable-executions/{DurableExecutionArn}/checkpoint", "CheckpointDurableExecution"),
    later("POST", "/2015-03-31/functions/{FunctionName}/aliases", "CreateAlias"),
    later("POST", "/2025-11-30/capacity-providers", "CreateCapacityProvider"),
    later("POST", "/2020-04-22/code-signing-configs", "CreateCodeSigningConfig"),
    later("POST", "/2015-03-31/event-source-mappings", "CreateEventSourceMapping"),
    later("POST", "/2021-10-31/functions/{FunctionName}/url", "CreateFunctionUrlConfig"),
    later("DELETE", "/2015-03-31/functions/{FunctionName}/aliases/{Name}", "DeleteAlias"),
    later("DELETE", "/2025-11-30/capacity-providers/{CapacityProviderName}", "DeleteCapacityProvider"),
    later("DELETE", "/2020-04-22/code-signing-configs/{CodeSigningConfigArn}", "DeleteCodeSigningConfig"),
    later("DELETE", "/2015-03-31/event-source-mappings/{UUID}", "DeleteEventSourceMapping"),
    later("DELETE", "/2020-06-30/functions/{FunctionName}/code-signing-config", "DeleteFunctionCodeSigningConfig"),
    later("DELETE", "/2017-10-31/functions/{FunctionName}/concurrency", "DeleteFunctionConcurrency"),
    later("DELETE", "/2019-09-25/functions/{FunctionName}/event-invoke-config", "DeleteFunctionEventInvokeConfig"),
    later("DELETE", "/2021-10-31/functions/{FunctionName}/url", "DeleteFunctionUrlConfig"),
    later("DELETE", "/2018-10-31/layers/{LayerName}/versions/{VersionNumber}", "DeleteLayerVersion"),
    later(
        "DELETE",
        "/2019-09-30/functions/{FunctionName}/provisioned-concurrency",
        "DeleteProvisionedConcurrencyConfig",
    ),
    later("GET", "/2016-08-19/account-settings", "GetAccountSettings"),
    later("GET", "/2015-03-31/functions/{FunctionName}/aliases/{Name}", "GetAlias"),
    later("GET", "/2025-11-30/capacity-providers/{CapacityProviderName}", "GetCapacityProvider"),
    later("GET", "/2020-04-22/code-signing-configs/{CodeSigningConfigArn}", "GetCodeSigningConfig"),
    later("GET", "/2025-12-01/durable-executions/{DurableExecutionArn}", "GetDurableExecution"),
    later("GET", "/2025-12-01/durable-executions/{DurableExecutionArn}/history", "GetDurableExecutionHistory"),
    later("GET", "/2025-12-01/durable-executions/{DurableExecutionArn}/state", "GetDurableExecutionState"),
    later("GET", "/2015-03-31/event-source-mappings/{UUID}", "GetEventSourceMapping"),
    later("GET", "/2020-06-30/functions/{FunctionName}/code-signing-config", "GetFunctionCodeSigningConfig"),
    later("GET", "/2019-09-30/functions/{FunctionName}/concurrency", "GetFunctionConcurrency"),
    later("GET", "/2019-09-25/functions/{FunctionName}/event-invoke-config", "GetFunctionEventInvokeConfig"),
    later("GET", "/2024-08-31/functions/{FunctionName}/recursion-config", "GetFunctionRecursionConfig"),
    later("GET", "/2025-11-30/functions/{FunctionName}/function-scaling-config", "GetFunctionScalingConfig"),
    later("GET", "/2021-10-31/functions/{FunctionName}/url", "GetFunctionUrlConfig"),
    later("GET", "/2018-10-31/layers/{LayerName}/versions/{VersionNumber}", "GetLayerVersion"),
    later("GET", "/2018-10-31/layers/{LayerName}/versions/{VersionNumber}/policy", "GetLayerVersionPolicy"),
    later("GET", "/2015-03-31/functions/{FunctionName}/policy", "GetPolicy"),
    later("GET", "/2019-09-30/functions/{FunctionName}/provisioned-concurrency", "GetProvisionedConcurrencyConfig"),
    later("GET", "/2021-07-20/functions/{FunctionName}/runtime-management-config", "GetRuntimeManagementConfig"),
    later("POST", "/2014-11-13/functions/{FunctionName}/invoke-async", "InvokeAsync"),
    later("POST", "/2021-11-15/functions/{FunctionName}/response-streaming-invocations", "InvokeWithResponseStream"),
    later("GET", "/2015-03-31/functions/{FunctionName}/aliases", "ListAliases"),
    later("GET", "/2025-11-30/capacity-providers", "ListCapacityProviders"),
    later("GET", "/2020-04-22/code-signing-configs", "ListCodeSigningConfigs"),
    later("GET", "/2025-12-01/functions/{FunctionName}/durable-executions", "ListDurableExecutionsByFunction"),
    later("GET", "/2015-03-31/event-source-mappings", "ListEventSourceMappings"),
    later("GET", "/2019-09-25/functions/{FunctionName}/event-invoke-config/list", "ListFunctionEventInvokeConfigs"),
    later("GET", "/2021-10-31/functions/{FunctionName}/urls", "ListFunctionUrlConfigs"),
    later(
        "GET",
        "/2025-11-30/capacity-providers/{CapacityProviderName}/function-versions",
        "ListFunctionVersionsByCapacityProvider",
    ),
    later(
        "GET",
        "/2020-04-22/code-signing-configs/{CodeSigningConfigArn}/functions",
        "ListFunctionsByCodeSigningConfig",
    ),
    later("GET", "/2018-10-31/layers/{LayerName}/versions", "ListLayerVersions"),
    later("GET", "/2018-10-31/layers", "ListLayers"),
    later("GET", "/2017-03-31/tags/{Resource}", "ListTags"),
    later("POST", "/2018-10-31/layers/{LayerName}/versions", "PublishLayerVersion"),
    later("PUT", "/2020-06-30/functions/{FunctionName}/code-signing-config", "PutFunctionCodeSigningConfig"),
    later("PUT", "/2017-10-31/functions/{FunctionName}/concurrency", "PutFunctionConcurrency"),
    later("PUT", "/2019-09-25/functions/{FunctionName}/event-invoke-config", "PutFunctionEventInvokeConfig"),
    later("PUT", "/2024-08-31/functions/{FunctionName}/recursion-config", "PutFunctionRecursionConfig"),
    later("PUT", "/2025-11-30/functions/{FunctionName}/function-scaling-config", "PutFunctionScalingConfig"),
    later("PUT", "/2019-09-30/functions/{FunctionName}/provisioned-concurrency", "PutProvisionedConcurrencyConfig"),
    later("PUT", "/2021-07-20/functions/{FunctionName}/runtime-management-config", "PutRuntimeManagementConfig"),
    later(
        "DELETE",
        "/2018-10-31/layers/{LayerName}/versions/{VersionNumber}/policy/{StatementId}",
        "RemoveLayerVersionPermission",
    ),
    later("DELETE", "/2015-03-31/functions/{FunctionName}/policy/{StatementId}", "RemovePermission"),
    later("POST", "/2025-12-01/durable-execution-callbacks/{CallbackId}/fail", "SendDurableExecutionCallbackFailure"),
    later(
        "POST",
        "/2025-12-01/durable-execution-callbacks/{CallbackId}/heartbeat",
        "SendDurableExecutionCallbackHeartbeat",
    ),
    later(
        "POST",
        "/2025-12-01/durable-execution-callbacks/{CallbackId}/succeed",
        "SendDurableExecutionCallbackSuccess",
    ),
    later("POST", "/2025-12-01/durable-executions/{DurableExecutionArn}/stop", "StopDurableExecution"),
    later("POST", "/2017-03-31/tags/{Resource}", "TagResource"),
    later("DELETE", "/2017-03-31/tags/{Resource}", "UntagResource"),
    later("PUT", "/2015-03-31/functions/{FunctionName}/aliases/{Name}", "UpdateAlias"),
    later("PUT", "/2025-11-30/capacity-providers/{CapacityProviderName}", "UpdateCapacityProvider"),
    later("PUT", "/2020-04-22/code-signing-configs/{CodeSigningConfigArn}", "UpdateCodeSigningConfig"),
    later("PUT", "/2015-03-31/event-source-mappings/{UUID}", "UpdateEventSourceMapping"),
    later("POST", "/2019-09-25/functions/{FunctionName}/event-invoke-config", "UpdateFunctionEventInvokeConfig"),
    later("PUT", "/2021-10-31/functions/{FunctionName}/url", "UpdateFunctionUrlConfig"),
];
