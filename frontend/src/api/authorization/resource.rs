//! What a request is done to.

use hearth_domain::{AccountId, FunctionName};

use super::Call;
use super::asked::Asked;
use crate::model;
use crate::resource_policy::ResourcePolicy;
use crate::validation::Named;

/// A resource as policies name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Resource {
    /// Its ARN, or `*`.
    pub(super) arn: String,
    /// Whose it is.
    pub(super) account: AccountId,
    /// Where its policy lies, if it can have one.
    pub(super) policy: Option<String>,
}

impl Resource {
    pub(super) fn of(call: &Call, asked: &Asked, region: &str) -> Self {
        let (route, path, own) = (call.route, call.parts.uri.path(), &call.caller.account);
        let plain = |arn: String| Self { arn, account: own.clone(), policy: None };
        let has = |parameter: &str| route.path.contains(parameter);
        match route.name {
            "HearthLogs" => {
                let name = route.parameter("FunctionName", path);
                return plain(format!("arn:aws:logs:{region}:{own}:log-group:/aws/lambda/{name}:*"));
            }
            "Logs" => return plain(log_group(asked, region, own)),
            "Iam" => return plain(call.form().iam_resource(&call.caller)),
            // Whether a layer's own policy lets a stranger in, the layer's file asks.
            "GetLayerVersionByArn" => return plain(call.query("Arn").as_deref().unwrap_or("*").to_owned()),
            _ => {}
        }
        if has("{FunctionName}") {
            let name = route.parameter("FunctionName", path);
            let qualifier = call.query("Qualifier").filter(|_| takes_qualifier(route.name));
            return Self::function(&name, qualifier.as_deref(), region, own);
        }
        if has("{LayerName}") {
            let name = route.parameter("LayerName", path);
            let layer = if name.starts_with("arn:") {
                name.into_owned()
            } else {
                format!("arn:aws:lambda:{region}:{own}:layer:{name}")
            };
            let number = has("{VersionNumber}").then(|| route.parameter("VersionNumber", path));
            return plain(number.map_or(layer.clone(), |number| format!("{layer}:{number}")));
        }
        if has("{Resource}") {
            return Self::named_by_arn(&route.parameter("Resource", path), own);
        }
        match asked.function_name() {
            Some(name) => Self::function(name, None, region, own),
            None => plain("*".to_owned()),
        }
    }

    /// A function by one of its four names. What is no name is no function of anybody else's.
    fn function(text: &str, qualifier: Option<&str>, region: &str, own: &AccountId) -> Self {
        let Some(named) = Named::read(text) else {
            return Self { arn: function_arn(region, own, text, None), account: own.clone(), policy: None };
        };
        let account = named.account.unwrap_or_else(|| own.clone());
        let qualifier = named.qualifier.as_deref().or(qualifier);
        // $LATEST has the function's policy.
        let of_policy = qualifier.filter(|qualifier| *qualifier != "$LATEST");
        Self {
            arn: function_arn(region, &account, named.name.as_str(), qualifier),
            policy: Some(policy_path(&account, &named.name, of_policy)),
            account,
        }
    }

    /// Something by its ARN, which names whose it is.
    fn named_by_arn(arn: &str, own: &AccountId) -> Self {
        let account = arn.split(':').nth(4).and_then(|account| AccountId::new(account).ok());
        let policy = arn
            .split_once(":function:")
            .and_then(|_| Named::read(arn))
            .and_then(|named| Some(policy_path(&named.account?, &named.name, named.qualifier.as_deref())));
        Self { arn: arn.to_owned(), account: account.unwrap_or_else(|| own.clone()), policy }
    }
}

/// Whether an operation is about the version or alias in `Qualifier`. To one that is not, a qualifier that a caller adds
/// must not make another resource of the function.
fn takes_qualifier(operation: &str) -> bool {
    model::operation(operation)
        .is_none_or(|operation| operation.members.iter().any(|member| member.name == "Qualifier"))
}

fn policy_path(account: &AccountId, function: &FunctionName, qualifier: Option<&str>) -> String {
    ResourcePolicy::path(account, function, qualifier)
}

pub(super) fn function_arn(region: &str, account: &AccountId, name: &str, qualifier: Option<&str>) -> String {
    let plain = format!("arn:aws:lambda:{region}:{account}:function:{name}");
    qualifier.map_or(plain.clone(), |qualifier| format!("{plain}:{qualifier}"))
}

fn log_group(asked: &Asked, region: &str, own: &AccountId) -> String {
    let groups = format!("arn:aws:logs:{region}:{own}:log-group:");
    match asked.log_group() {
        None => format!("{groups}:log-stream:"),
        Some((group, None)) => format!("{groups}{group}:*"),
        Some((group, Some(stream))) => format!("{groups}{group}:log-stream:{stream}"),
    }
}
