//! Where Hearth departs from the service model: members that operations it serves can't honour.
//!
//! What can't be honoured is refused by name and never ignored, unless ignoring it changes nothing that a caller could
//! see. docs/lambda-api.md is written from this table.

/// A member that is not honoured as at AWS.
#[derive(Debug)]
pub struct Departure {
    /// The operations it stands in.
    pub operations: &'static [&'static str],
    /// The member, dotted if it lies deeper.
    pub member: &'static str,
    /// What becomes of it.
    pub treatment: Treatment,
    /// Which values are meant, if not all, and why.
    pub why: &'static str,
}

/// What becomes of a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Treatment {
    /// Refused here, whatever it says, with `InvalidParameterValueException`.
    Refused,
    /// Some values are refused by the operation.
    RefusedInPart,
    /// Passed over.
    Ignored,
}

use Treatment::{Ignored, Refused, RefusedInPart};

const SETTINGS: &[&str] = &["CreateFunction", "UpdateFunctionConfiguration"];
const PUBLISHERS: &[&str] = &["CreateFunction", "UpdateFunctionCode", "PublishVersion"];
const INVOKERS: &[&str] = &["Invoke", "InvokeWithResponseStream"];

/// All of them.
pub static DEPARTURES: [Departure; 23] = [
    departure(&["CreateFunction"], "CodeSigningConfigArn", Refused, "code signing is not served"),
    departure(SETTINGS, "CapacityProviderConfig", Refused, "functions run on the platform's own workers"),
    departure(SETTINGS, "DurableConfig", Refused, "durable executions are not served"),
    departure(&["CreateFunction"], "TenancyConfig", Refused, "environments are not told apart by tenant"),
    departure(PUBLISHERS, "PublishTo", Refused, "it belongs to capacity providers"),
    departure(SETTINGS, "VpcConfig", RefusedInPart, "subnets and groups: there is no VPC"),
    departure(SETTINGS, "FileSystemConfigs", RefusedInPart, "any: there is no shared file system"),
    departure(SETTINGS, "ImageConfig", RefusedInPart, "any: container images are not run"),
    departure(SETTINGS, "KMSKeyArn", RefusedInPart, "any but the empty one: there is no KMS"),
    departure(SETTINGS, "TracingConfig.Mode", RefusedInPart, "`Active`: there is no X-Ray"),
    departure(SETTINGS, "Runtime", RefusedInPart, "those that no worker offers"),
    departure(SETTINGS, "DeadLetterConfig.TargetArn", RefusedInPart, "what Hearth can't send to"),
    departure(&["CreateFunction"], "PackageType", RefusedInPart, "`Image`: container images are not run"),
    departure(&["CreateFunction", "UpdateFunctionCode"], "Architectures", RefusedInPart, "`arm64`"),
    departure(&["CreateFunction"], "Code.S3Bucket", RefusedInPart, "any: there is no S3; send `ZipFile`"),
    departure(&["CreateFunction"], "Code.ImageUri", RefusedInPart, "any: container images are not run"),
    departure(&["UpdateFunctionCode"], "S3Bucket", RefusedInPart, "any: there is no S3; send `ZipFile`"),
    departure(&["UpdateFunctionCode"], "ImageUri", RefusedInPart, "any: container images are not run"),
    departure(&["UpdateFunctionCode"], "SourceKMSKeyArn", Refused, "there is no KMS"),
    departure(&["Invoke"], "DurableExecutionName", Refused, "durable executions are not served"),
    departure(INVOKERS, "TenantId", Refused, "environments are not told apart by tenant"),
    departure(&["ListFunctions"], "MasterRegion", Ignored, "there are no functions at edges"),
    departure(&["CreateFunction"], "Code.SourceKMSKeyArn", Ignored, "without S3 there is nothing it could decrypt"),
];

const fn departure(
    operations: &'static [&'static str],
    member: &'static str,
    treatment: Treatment,
    why: &'static str,
) -> Departure {
    Departure { operations, member, treatment, why }
}

/// What of an operation's members is refused whatever it says.
pub(super) fn refused(operation: &str) -> impl Iterator<Item = &'static Departure> {
    departures(operation).filter(|departure| departure.treatment == Refused)
}

/// Everything that an operation does differently.
pub(super) fn departures(operation: &str) -> impl Iterator<Item = &'static Departure> {
    DEPARTURES.iter().filter(move |departure| departure.operations.contains(&operation))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Member, Shape, operation};

    fn find(members: &'static [Member], path: &str) -> Option<&'static Member> {
        let (first, rest) = path.split_once('.').map_or((path, None), |(first, rest)| (first, Some(rest)));
        let member = members.iter().find(|member| member.name == first)?;
        match (rest, member.shape) {
            (None, _) => Some(member),
            (Some(rest), Shape::Structure(members)) => find(members, rest),
            _ => None,
        }
    }

    #[test]
    fn departures_name_what_the_model_has() {
        for departure in &DEPARTURES {
            for name in departure.operations {
                let members = operation(name).unwrap().members;
                let member = find(members, departure.member);
                assert!(member.is_some_and(|member| !member.required), "{name} has no {}", departure.member);
            }
            assert!(departure.treatment != Refused || !departure.member.contains('.'), "{departure:?} is not enforced");
        }
    }
}
