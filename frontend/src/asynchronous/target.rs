//! What records and failed events can be sent to, read from its ARN: functions, and the stand-ins of SQS queues, SNS
//! topics and EventBridge buses. All are of the own account and region.

use std::fmt;

use hearth_domain::{AccountId, FunctionName};

use crate::validation::Qualifier;

/// Somebody who can get a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// A function, as an event of its own.
    Function(FunctionTarget),
    /// A queue, a topic or a bus, as a message.
    Channel(ChannelTarget),
}

/// A function that gets records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FunctionTarget {
    /// The function.
    pub name: FunctionName,
    /// Which version or alias of it.
    pub qualifier: Option<Qualifier>,
    /// Its ARN as it was configured.
    pub arn: String,
}

/// A queue, a topic or a bus.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChannelTarget {
    /// Which of them.
    pub kind: ChannelKind,
    /// Its name.
    pub name: String,
    /// Its ARN, by which its messages are stored.
    pub arn: String,
}

/// What a channel stands in for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ChannelKind {
    /// An SQS standard queue.
    Queue,
    /// An SNS standard topic.
    Topic,
    /// An EventBridge event bus.
    Bus,
}

/// Longest name of a queue (SQS: `CreateQueue`); topics and buses may be longer and are not, here.
const CHANNEL_NAME_MAX_CHARS: usize = 80;

/// Where targets have to be.
#[derive(Debug, Clone, Copy)]
pub struct Home<'a> {
    /// The account.
    pub account: &'a AccountId,
    /// The region.
    pub region: &'a str,
}

impl Target {
    /// Reads `arn:aws:SERVICE:REGION:ACCOUNT:RESOURCE`. `None` if it is of another account or region, a FIFO queue or
    /// topic (AWS refuses those, too), or something that gets no records here.
    #[must_use]
    pub fn read(arn: &str, home: Home<'_>) -> Option<Self> {
        let mut parts = arn.splitn(6, ':');
        let mut next = || parts.next().unwrap_or_default();
        let (prefix, partition, service, region, account, resource) = (next(), next(), next(), next(), next(), next());
        let is_ours = prefix == "arn" && partition.starts_with("aws") && account == home.account.as_str();
        if !is_ours || region != home.region {
            return None;
        }
        let (kind, name) = match service {
            "lambda" => return FunctionTarget::read(arn, resource).map(Self::Function),
            "sqs" => (ChannelKind::Queue, resource),
            "sns" => (ChannelKind::Topic, resource),
            "events" => (ChannelKind::Bus, resource.strip_prefix("event-bus/")?),
            _ => return None,
        };
        ChannelKind::is_name(kind, name)
            .then(|| Self::Channel(ChannelTarget { kind, name: name.to_owned(), arn: arn.to_owned() }))
    }
}

impl FunctionTarget {
    fn read(arn: &str, resource: &str) -> Option<Self> {
        let mut parts = resource.split(':');
        let is_function = parts.next()? == "function";
        let name = parts.next()?.parse().ok()?;
        let qualifier = parts.next().map(Qualifier::read);
        (is_function && parts.next().is_none()).then(|| Self { name, qualifier, arn: arn.to_owned() })
    }
}

impl ChannelTarget {
    /// The channel of this name.
    #[must_use]
    pub fn named(kind: ChannelKind, name: &str, home: Home<'_>) -> Self {
        let Home { account, region } = home;
        let arn = match kind {
            ChannelKind::Queue => format!("arn:aws:sqs:{region}:{account}:{name}"),
            ChannelKind::Topic => format!("arn:aws:sns:{region}:{account}:{name}"),
            ChannelKind::Bus => format!("arn:aws:events:{region}:{account}:event-bus/{name}"),
        };
        Self { kind, name: name.to_owned(), arn }
    }
}

impl ChannelKind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Queue, Self::Topic, Self::Bus];

    /// Its name in paths and in what `hearth` shows.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Queue => "queue",
            Self::Topic => "topic",
            Self::Bus => "bus",
        }
    }

    /// Whether a channel can have this name. Dots are for buses alone: a queue with one would be a FIFO queue.
    #[must_use]
    pub fn is_name(self, name: &str) -> bool {
        let allowed = |byte: u8| {
            byte.is_ascii_alphanumeric() || b"-_".contains(&byte) || self == Self::Bus && b".".contains(&byte)
        };
        (1..=CHANNEL_NAME_MAX_CHARS).contains(&name.len()) && name.bytes().all(allowed)
    }
}

impl fmt::Display for ChannelKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use hearth_domain::Version;

    use super::*;

    const ARN: &str = "arn:aws:lambda:us-east-1:000000000000:function:f";

    fn read(arn: &str) -> Option<Target> {
        Target::read(arn, Home { account: &"000000000000".parse().unwrap(), region: "us-east-1" })
    }

    #[test]
    fn functions_by_every_qualifier() {
        let qualifier = |arn: &str| match read(arn) {
            Some(Target::Function(target)) => target.qualifier,
            other => panic!("{other:?}"),
        };
        assert_eq!(qualifier(ARN), None);
        assert_eq!(qualifier(&format!("{ARN}:$LATEST")), Some(Qualifier::Version(Version::Latest)));
        assert_eq!(qualifier(&format!("{ARN}:3")), Some(Qualifier::Version(Version::Number(3))));
        assert_eq!(qualifier(&format!("{ARN}:prod")), Some(Qualifier::Alias("prod".into())));
    }

    #[test]
    fn channels_round_trip() {
        let (account, region) = ("000000000000".parse().unwrap(), "us-east-1");
        for kind in ChannelKind::ALL {
            let target = ChannelTarget::named(kind, "my-name_1", Home { account: &account, region });
            assert_eq!(read(&target.arn), Some(Target::Channel(target)));
        }
    }

    #[test]
    fn what_gets_no_records() {
        for other in [
            "",
            "f",
            "arn:aws:lambda:us-east-1:111111111111:function:f",
            "arn:aws:lambda:eu-west-1:000000000000:function:f",
            "arn:aws:lambda:us-east-1:000000000000:function:f:1:2",
            "arn:aws:lambda:us-east-1:000000000000:layer:f",
            "arn:aws:sqs:us-east-1:000000000000:q.fifo",
            "arn:aws:sqs:us-east-1:000000000000:",
            "arn:aws:sqs:us-east-1:111111111111:q",
            "arn:aws:events:us-east-1:000000000000:rule/r",
            "arn:aws:s3:::bucket",
            "arn:aws:iam:us-east-1:000000000000:function:f",
        ] {
            assert_eq!(read(other), None, "{other}");
        }
    }
}
