//! Requests of the query protocol (STS, IAM): a form in the body, lists and maps spread over numbered members.

use std::borrow::Cow;

use crate::errors::{ApiError, Code};
use crate::identity::{Caller, Identity};
use crate::sigv4::decoded;

/// A form.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Form {
    members: Vec<(String, String)>,
}

impl Form {
    /// Reads `application/x-www-form-urlencoded`; invalid UTF-8 replaced.
    pub(super) fn read(body: &[u8]) -> Self {
        let text = String::from_utf8_lossy(body);
        let plain = |part: &str| {
            let spaced = part.replace('+', " ");
            match decoded(&spaced) {
                Cow::Borrowed(_) => spaced,
                Cow::Owned(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            }
        };
        let pairs = text.split('&').filter(|pair| !pair.is_empty());
        let members = pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        Self { members: members.map(|(name, value)| (plain(name), plain(value))).collect() }
    }

    /// A member.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.members.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    /// A member that must be there.
    pub(super) fn required(&self, name: &str) -> Result<&str, ApiError> {
        self.get(name).filter(|value| !value.is_empty()).ok_or_else(|| {
            let mut member = name.to_owned();
            member.replace_range(..1, &name[..1].to_ascii_lowercase());
            let text = format!(
                "1 validation error detected: Value null at '{member}' failed to satisfy constraint: Member must not \
                 be null"
            );
            ApiError::new(Code::ValidationErrorException, text)
        })
    }

    /// A number that must lie within bounds.
    pub(super) fn number(&self, name: &str, min: u32, max: u32, default: u32) -> Result<u32, ApiError> {
        let Some(text) = self.get(name) else { return Ok(default) };
        let found = text.parse::<u32>().ok().filter(|number| (min..=max).contains(number));
        found.ok_or_else(|| {
            let text = format!("{name} must be a number from {min} to {max}, not '{text}'");
            ApiError::new(Code::ValidationErrorException, text)
        })
    }

    /// The members of a list: `NAME.member.1`, `NAME.member.2`, …, or of what is in them: `NAME.member.1.INNER`.
    pub(super) fn list(&self, name: &str, inner: &str) -> Vec<&str> {
        let value = |number: usize| self.get(&format!("{name}.member.{number}{inner}"));
        (1..).map_while(value).collect()
    }

    /// `Tags.member.1.Key`, `Tags.member.1.Value`, ….
    pub(super) fn tags(&self) -> impl Iterator<Item = (String, String)> {
        let (keys, values) = (self.list("Tags", ".Key"), self.list("Tags", ".Value"));
        keys.into_iter().zip(values).map(|(key, value)| (key.to_owned(), value.to_owned()))
    }

    /// What an IAM request is done to.
    pub(super) fn iam_resource(&self, caller: &Caller) -> String {
        let account = &caller.account;
        let path = self.get("Path").unwrap_or("/");
        let own = match &caller.identity {
            Identity::User { name, .. } => Some(name.as_str()),
            _ => None,
        };
        let named = |kind: &str, name: &str| format!("arn:aws:iam::{account}:{kind}{path}{name}");
        let is_of_user = self.get("Action").is_some_and(|action| action.contains("AccessKey") || action == "GetUser");
        match (self.get("RoleName"), self.get("UserName"), self.get("PolicyName"), self.get("PolicyArn")) {
            (Some(role), ..) => named("role", role),
            (None, Some(user), ..) => named("user", user),
            (None, None, _, Some(arn)) => arn.to_owned(),
            (None, None, Some(policy), None) => named("policy", policy),
            (None, None, None, None) => own.filter(|_| is_of_user).map_or("*".to_owned(), |own| named("user", own)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Form;

    #[test]
    fn forms_are_read() {
        let form = Form::read(b"Action=CreateRole&RoleName=a%2Bb+c&Tags.member.1.Key=k&Tags.member.1.Value=v&=&x");
        assert_eq!(form.get("Action"), Some("CreateRole"));
        assert_eq!(form.get("RoleName"), Some("a+b c"));
        assert_eq!(form.tags().collect::<Vec<_>>(), [("k".to_owned(), "v".to_owned())]);
        assert_eq!((form.get("x"), form.get("y")), (Some(""), None));
        let text = form.required("PolicyName").unwrap_err().message().to_owned();
        assert!(text.contains("Value null at 'policyName' failed"), "{text}");
    }
}
