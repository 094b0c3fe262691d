//! Waiting until a change of a function is in effect.

use std::time::Duration;

use serde_json::Value;

use crate::api::{Api, Call};
use crate::exit::{Exit, Failure};

/// Time between two looks: the API tells a function's state, and has no way to wait for it.
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(100);
/// Longest wait for one change (AWS CLI waiters `function-active-v2` and `function-updated-v2`: 300 s).
const LONGEST_WAIT: Duration = Duration::from_secs(300);

/// Waits until the function at `path` is Active and its last update Successful; returns its configuration.
pub(super) async fn wait(api: &Api, path: &str) -> Result<Value, Failure> {
    let looking = async {
        loop {
            let configuration: Value = api.call(Call::get(format!("{path}/configuration"))).await?.json()?;
            if let Some(outcome) = judge(&configuration) {
                return outcome.map(|()| configuration);
            }
            tokio::time::sleep(LOOK_AGAIN_AFTER).await;
        }
    };
    tokio::time::timeout(LONGEST_WAIT, looking).await.unwrap_or_else(|_| {
        let message = format!("the function is not active after {LONGEST_WAIT:?}");
        Err(Failure::new(Exit::Unavailable, message).remedy("`hearth workers` tells what the fleet is doing"))
    })
}

/// `None` while the change is under way.
fn judge(configuration: &Value) -> Option<Result<(), Failure>> {
    let member = |name: &str| configuration[name].as_str().unwrap_or_default();
    let failed = |what: &str, reason: &str| {
        let message = format!("{what} of {} failed: {}", member("FunctionName"), member(reason));
        Some(Err(Failure::new(Exit::Refused, message)))
    };
    match (member("State"), member("LastUpdateStatus")) {
        ("Failed", _) => failed("creation", "StateReason"),
        (_, "Failed") => failed("the update", "LastUpdateStatusReason"),
        ("Active", "Successful" | "") => Some(Ok(())),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn states_are_judged_as_aws_means_them() {
        assert_eq!(judge(&json!({ "State": "Pending" })), None);
        assert_eq!(judge(&json!({ "State": "Active", "LastUpdateStatus": "InProgress" })), None);
        assert_eq!(judge(&json!({ "State": "Active", "LastUpdateStatus": "Successful" })), Some(Ok(())));
        let failed = judge(&json!({ "FunctionName": "f", "State": "Failed", "StateReason": "no runtime" }));
        assert_eq!(failed.unwrap().unwrap_err().to_string(), "error: creation of f failed: no runtime");
    }
}
