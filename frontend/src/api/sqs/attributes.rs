//! Attributes of queues: those that can be set, and those that are counted.

use std::collections::BTreeMap;

use hearth_store::message::MessageCounts;

use super::bounded;
use crate::asynchronous::channels::Channel;
use crate::errors::ApiError;

/// How long a received message is hidden unless said otherwise, seconds (SQS: `VisibilityTimeout`).
const VISIBILITY_DEFAULT_S: u64 = 30;
/// Longest, seconds: 12 hours.
pub(super) const VISIBILITY_MAX_S: i64 = 43_200;
/// Longest wait of ReceiveMessage, seconds.
pub(super) const WAIT_MAX_S: i64 = 20;
/// Longest delay of a message, seconds.
pub(super) const DELAY_MAX_S: i64 = 900;

/// Attributes that can be set, with their largest value.
const SETTABLE: [(&str, i64); 3] = [
    ("VisibilityTimeout", VISIBILITY_MAX_S),
    ("DelaySeconds", DELAY_MAX_S),
    ("ReceiveMessageWaitTimeSeconds", WAIT_MAX_S),
];

/// Checks what CreateQueue is given. What Hearth does not have is refused by name, but for what changes nothing here.
pub(super) fn check(attributes: &BTreeMap<String, String>) -> Result<(), ApiError> {
    for (name, value) in attributes {
        let known = SETTABLE.iter().find(|(settable, _)| settable == name);
        match (known, name.as_str()) {
            (Some((_, max)), _) => {
                let number = value.parse().ok();
                bounded(number.or(Some(-1)), name, 0, *max, 0)?;
            }
            // Messages are kept until there are too many; their largest size is SQS's.
            (None, "MessageRetentionPeriod" | "MaximumMessageSize" | "SqsManagedSseEnabled" | "Policy") => {}
            (None, _) => {
                let text = format!("The attribute {name} is not supported by Hearth.");
                return Err(ApiError::invalid_parameter(text));
            }
        }
    }
    Ok(())
}

/// A number of seconds that was set, or its default.
pub(super) fn seconds(channel: &Channel, name: &str) -> u64 {
    let default = if name == "VisibilityTimeout" { VISIBILITY_DEFAULT_S } else { 0 };
    channel.attributes.get(name).and_then(|value| value.parse().ok()).unwrap_or(default)
}

/// All attributes of a queue.
pub(super) fn all(channel: &Channel, counts: MessageCounts) -> BTreeMap<&'static str, String> {
    let created_s = (channel.created_unix_ms / 1_000).to_string();
    let mut all = BTreeMap::from([
        ("QueueArn", channel.arn.clone()),
        ("ApproximateNumberOfMessages", counts.visible.to_string()),
        ("ApproximateNumberOfMessagesNotVisible", counts.in_flight.to_string()),
        ("ApproximateNumberOfMessagesDelayed", counts.delayed.to_string()),
        ("CreatedTimestamp", created_s.clone()),
        ("LastModifiedTimestamp", created_s),
        ("MaximumMessageSize", hearth_domain::limits::QUEUE_MESSAGE_MAX_BYTES.to_string()),
    ]);
    all.extend(SETTABLE.iter().map(|(name, _)| (*name, seconds(channel, name).to_string())));
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_not_be_had_is_refused_by_name() {
        let check = |name: &str, value: &str| check(&BTreeMap::from([(name.to_owned(), value.to_owned())]));
        assert!(check("VisibilityTimeout", "43200").is_ok() && check("MessageRetentionPeriod", "60").is_ok());
        for (name, value) in [
            ("VisibilityTimeout", "43201"),
            ("VisibilityTimeout", "soon"),
            ("DelaySeconds", "-1"),
            ("FifoQueue", "true"),
            ("RedrivePolicy", "{}"),
        ] {
            assert!(check(name, value).unwrap_err().message().contains(name), "{name}");
        }
    }
}
