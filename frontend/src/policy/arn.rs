//! ARNs in policies. The six parts between colons are compared one by one: a wildcard never reaches over a colon, but
//! in the last part, which may have colons of its own (IAM user guide, "Condition operators", ARN).

use super::Context;
use super::pattern::Pattern;

const PARTS: usize = 6;

/// A pattern of ARNs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ArnPattern {
    /// `*`
    Everything,
    /// Part by part. Missing ones are `*` ("Resource": an incomplete ARN is completed with wildcards).
    Parts(Vec<Pattern>),
}

impl ArnPattern {
    /// `None` if `text` is neither `*` nor begins like an ARN.
    pub(super) fn new(text: &str, has_variables: bool) -> Option<Self> {
        if text == "*" {
            return Some(Self::Everything);
        }
        let mut parts: Vec<&str> = split(text);
        if parts[0] != "arn" && !parts[0].contains(['*', '?']) {
            return None;
        }
        parts.resize(PARTS, "*");
        Some(Self::Parts(parts.into_iter().map(|part| Pattern::new(part, has_variables)).collect()))
    }

    pub(super) fn matches(&self, arn: &str, context: &Context) -> bool {
        match self {
            Self::Everything => true,
            Self::Parts(patterns) => {
                let parts = split(arn);
                parts.len() == PARTS
                    && patterns.iter().zip(parts).all(|(pattern, part)| pattern.matches(part, context, false))
            }
        }
    }
}

/// Splits at the first five colons that stand outside of variables, as in `${aws:username}`.
fn split(text: &str) -> Vec<&str> {
    let (mut parts, mut from, mut in_variable) = (Vec::with_capacity(PARTS), 0, false);
    for (at, found) in text.char_indices() {
        match found {
            '{' if text[..at].ends_with('$') && text[at..].contains('}') => in_variable = true,
            '}' => in_variable = false,
            ':' if !in_variable && parts.len() + 1 < PARTS => {
                parts.push(&text[from..at]);
                from = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[from..]);
    parts
}

/// The account in an ARN, if it is one and names one.
pub(super) fn account_of(arn: &str) -> Option<&str> {
    let parts = split(arn);
    (parts.len() == PARTS && parts[0] == "arn" && !parts[4].is_empty()).then(|| parts[4])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_compared_one_by_one() {
        let function = "arn:aws:lambda:us-east-1:000000000000:function:echo:prod";
        let matches =
            |pattern: &str| ArnPattern::new(pattern, true).is_some_and(|p| p.matches(function, &Context::default()));
        for pattern in [
            "*",
            function,
            "arn:aws:lambda:*:*:function:echo*",
            "arn:*:lambda:us-*-1:000000000000:function:*:prod",
            "arn:aws:lambda",
            "arn:aws:lambda:us-east-1:000000000000:*",
            "arn:aws:lambda:us-east-?:*:function:e?ho:prod",
        ] {
            assert!(matches(pattern), "{pattern}");
        }
        for pattern in ["arn:aws:*:echo:prod", "arn:aws:lambda:*:function:echo:prod", "arn:aws:s3:::*", "echo", ""] {
            assert!(!matches(pattern), "{pattern}");
        }
        let user = Context::default().with("aws:username", "echo");
        assert!(
            ArnPattern::new("arn:aws:lambda:*:*:function:${aws:username}:*", true).unwrap().matches(function, &user)
        );
        assert_eq!(account_of(function), Some("000000000000"));
        assert_eq!(account_of("arn:aws:s3:::bucket"), None);
    }
}
