//! Which function, in which version: the four ways to name one, and the qualifier.
//!
//! `name` · `name:qualifier` · `account:function:name` · `arn:aws:lambda:region:account:function:name`, the last three
//! with a qualifier or without. The same function is meant however it is named.

use hearth_domain::{AccountId, FunctionName, Version};

use super::ValidationErrors;

/// Longest bare name (AWS: CreateFunction, `FunctionName`: "If you specify only the function name, it is limited to 64
/// characters in length").
const NAME_MAX_CHARS: usize = 64;
/// Longest qualifier (service model: `Qualifier`).
const QUALIFIER_MAX_CHARS: usize = 128;
const NAME_PATTERN: &str = r"(arn:(aws[a-zA-Z-]*)?:lambda:)?([a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\d{1}:)?(\d{12}:)?(function:)?([a-zA-Z0-9-_]+)(:(\$LATEST|[a-zA-Z0-9-_]+))?";
const QUALIFIER_PATTERN: &str = "(|[a-zA-Z0-9$_-]+)";

/// A function, as asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Its bare name.
    pub name: FunctionName,
    /// The version or alias, if one was named.
    pub qualifier: Option<Qualifier>,
}

/// A version or an alias.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Qualifier {
    /// `$LATEST` or a number.
    Version(Version),
    /// The name of an alias.
    Alias(String),
}

/// Whose functions are meant: a caller reaches those of its own account and of the region served here.
#[derive(Debug, Clone, Copy)]
pub struct Addressee<'a> {
    /// The caller's account.
    pub account: &'a AccountId,
    /// The region served.
    pub region: &'a str,
}

/// Whether a name may be long (service model: `FunctionName` and `NamespacedFunctionName`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameForm {
    /// At most 140 characters.
    Plain,
    /// At most 256 characters.
    Namespaced,
}

/// A name that leads nowhere.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// It is no name at all.
    #[error(transparent)]
    Invalid(#[from] ValidationErrors),
    /// The bare name is too long. Lambda words it as a broken constraint and sends it as an
    /// `InvalidParameterValueException` (LocalStack's recordings, TestLambdaFunction::test_function_arns).
    #[error(
        "1 validation error detected: Value '{0}' at 'functionName' failed to satisfy constraint: Member must have \
         length less than or equal to {NAME_MAX_CHARS}"
    )]
    LongName(String),
    /// It names another region.
    #[error("Functions from '{asked}' are not reachable in this region ('{here}')")]
    OtherRegion {
        /// The region in the ARN.
        asked: String,
        /// The region served.
        here: String,
    },
    /// It names another account's function.
    #[error(
        "User: arn:aws:iam::{caller}:root is not authorized to perform this operation on resource: {resource} because \
         no resource-based policy allows it"
    )]
    OtherAccount {
        /// Who asked.
        caller: AccountId,
        /// The name as given.
        resource: String,
    },
    /// The name carries one qualifier and the request another.
    #[error("The derived qualifier from the function name does not match the specified qualifier.")]
    QualifierMismatch,
}

impl Target {
    /// Reads a function's name, already percent-decoded, and the `Qualifier` parameter.
    pub fn read(text: &str, form: NameForm, qualifier: Option<&str>, to: Addressee<'_>) -> Result<Self, TargetError> {
        let mut errors = ValidationErrors::default();
        let max = if form == NameForm::Plain { 140 } else { 256 };
        errors.check_length(text, "functionName", 1, max);
        let parts = NameParts::read(text);
        errors.check_pattern(text, "functionName", parts.is_some(), NAME_PATTERN);
        if let Some(qualifier) = qualifier {
            errors.check_length(qualifier, "qualifier", 1, QUALIFIER_MAX_CHARS);
            errors.check_pattern(qualifier, "qualifier", is_qualifier(qualifier), QUALIFIER_PATTERN);
        }
        errors.finish()?;
        if let Some(parts) = parts.filter(|parts| parts.name.chars().count() > NAME_MAX_CHARS) {
            return Err(TargetError::LongName(parts.name.to_owned()));
        }
        // Only a name that matches the pattern gets here.
        let Some((parts, name)) = parts.and_then(|parts| Some((parts, FunctionName::new(parts.name).ok()?))) else {
            let mut errors = ValidationErrors::default();
            errors.check_pattern(text, "functionName", false, NAME_PATTERN);
            return Err(errors.into());
        };
        if let Some(asked) = parts.region.filter(|asked| *asked != to.region) {
            return Err(TargetError::OtherRegion { asked: asked.to_owned(), here: to.region.to_owned() });
        }
        if parts.account.is_some_and(|account| account != to.account.as_str()) {
            return Err(TargetError::OtherAccount { caller: to.account.clone(), resource: text.to_owned() });
        }
        if matches!((parts.qualifier, qualifier), (Some(derived), Some(given)) if derived != given) {
            return Err(TargetError::QualifierMismatch);
        }
        Ok(Self { name, qualifier: parts.qualifier.or(qualifier).map(Qualifier::read) })
    }

    /// The ARN as it was asked for: with the qualifier if there was one.
    #[must_use]
    pub fn arn(&self, to: Addressee<'_>) -> String {
        let plain = format!("arn:aws:lambda:{}:{}:function:{}", to.region, to.account, self.name);
        match &self.qualifier {
            None => plain,
            Some(Qualifier::Version(version)) => format!("{plain}:{version}"),
            Some(Qualifier::Alias(alias)) => format!("{plain}:{alias}"),
        }
    }

    /// The version meant: `$LATEST` unless one was named; `None` for an alias.
    #[must_use]
    pub fn version(&self) -> Option<Version> {
        match &self.qualifier {
            None => Some(Version::Latest),
            Some(Qualifier::Version(version)) => Some(*version),
            Some(Qualifier::Alias(_)) => None,
        }
    }
}

/// A function's name, whoever's it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// The account in it.
    pub account: Option<AccountId>,
    /// The bare name.
    pub name: FunctionName,
    /// The qualifier in it.
    pub qualifier: Option<String>,
}

impl Named {
    /// Takes a name apart; `None` if it is none.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        let parts = NameParts::read(text)?;
        Some(Self {
            account: parts.account.and_then(|account| AccountId::new(account).ok()),
            name: FunctionName::new(parts.name).ok()?,
            qualifier: parts.qualifier.map(str::to_owned),
        })
    }
}

impl Qualifier {
    /// Reads `$LATEST`, a number, or anything else as the name of an alias.
    #[must_use]
    pub fn read(text: &str) -> Self {
        text.parse().map_or_else(|_| Self::Alias(text.to_owned()), Self::Version)
    }
}

impl std::fmt::Display for Qualifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Version(version) => version.fmt(f),
            Self::Alias(alias) => f.write_str(alias),
        }
    }
}

/// The pieces of a name.
#[derive(Debug, Clone, Copy)]
struct NameParts<'a> {
    region: Option<&'a str>,
    account: Option<&'a str>,
    name: &'a str,
    qualifier: Option<&'a str>,
}

impl<'a> NameParts<'a> {
    /// Takes a name apart as Lambda's pattern does: each optional piece is taken if it can be, and given back, the last
    /// first, if what follows is no name: `us-east-1:prod` is a version of a function of that name.
    fn read(text: &'a str) -> Option<Self> {
        // What does not go on as an ARN is a function named arn.
        let all = after_arn(text).unwrap_or(text);
        let (region, after_region) = piece(all, is_region);
        let (account, after_account) = piece(after_region, is_account);
        let (_, after_function) = piece(after_account, |piece| piece == "function");
        let attempts = [
            (region, account, after_function),
            (region, account, after_account),
            (region, None, after_region),
            (None, None, all),
        ];
        attempts.into_iter().find_map(|(region, account, rest)| {
            let (name, qualifier) = rest.split_once(':').map_or((rest, None), |(name, after)| (name, Some(after)));
            let well_formed =
                is_word(name) && qualifier.is_none_or(|qualifier| qualifier == "$LATEST" || is_word(qualifier));
            well_formed.then_some(Self { region, account, name, qualifier })
        })
    }
}

/// The first piece of a name, if it fits, and what follows it.
fn piece(text: &str, fits: fn(&str) -> bool) -> (Option<&str>, &str) {
    match text.split_once(':') {
        Some((piece, after)) if fits(piece) => (Some(piece), after),
        _ => (None, text),
    }
}

fn is_account(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_word(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

/// What follows `arn:aws:lambda:`.
fn after_arn(text: &str) -> Option<&str> {
    let (partition, after) = text.strip_prefix("arn:")?.split_once(':')?;
    let tail = if partition.is_empty() { "" } else { partition.strip_prefix("aws")? };
    let well_formed = tail.bytes().all(|byte| byte.is_ascii_alphabetic() || byte == b'-');
    well_formed.then(|| after.strip_prefix("lambda:"))?
}

/// `eu-west-1`, `us-gov-east-1`, `us-isob-east-1`.
fn is_region(text: &str) -> bool {
    let letters = |word: &str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase());
    let kind = |word: &str| {
        word == "gov"
            || word.strip_prefix("iso").is_some_and(|more| more.is_empty() || more.len() == 1 && letters(more))
    };
    let words: Vec<&str> = text.split('-').collect();
    let (country, place, digit) = match words[..] {
        [country, place, digit] => (country, place, digit),
        [country, of, place, digit] if kind(of) => (country, place, digit),
        _ => return false,
    };
    country.len() == 2 && letters(country) && letters(place) && digit.len() == 1 && digit.as_bytes()[0].is_ascii_digit()
}

fn is_qualifier(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'$' | b'_' | b'-'))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str, qualifier: Option<&str>) -> Result<Target, TargetError> {
        let account = AccountId::new("000000000000").unwrap();
        Target::read(text, NameForm::Namespaced, qualifier, Addressee { account: &account, region: "us-east-1" })
    }

    #[test]
    fn four_ways_to_name_a_function() {
        for text in [
            "echo",
            "000000000000:function:echo",
            "arn:aws:lambda:us-east-1:000000000000:function:echo",
            "function:echo",
            "us-east-1:000000000000:function:echo",
        ] {
            let plain = read(text, None).unwrap();
            assert_eq!((plain.name.as_str(), plain.qualifier.clone()), ("echo", None), "{text}");
            let qualified = read(&format!("{text}:7"), None).unwrap();
            assert_eq!(qualified.version(), Some(Version::Number(7)), "{text}");
            assert_eq!(read(text, Some("7")).unwrap(), qualified);
            assert_eq!(read(&format!("{text}:$LATEST"), None).unwrap().version(), Some(Version::Latest));
            assert_eq!(read(&format!("{text}:prod"), None).unwrap().version(), None);
        }
    }

    #[test]
    fn a_piece_without_a_name_behind_it_is_the_name() {
        for name in ["us-east-1", "000000000000", "function"] {
            let text = format!("{name}:$LATEST");
            let found = NameParts::read(&text).unwrap();
            assert_eq!((found.name, found.qualifier), (name, Some("$LATEST")));
        }
        assert!(NameParts::read("us-xx-east-1:function:echo").is_none(), "there is no such region");
    }

    /// Pieces that names are made of, and some that they are not.
    fn pieces() -> impl Strategy<Value = String> {
        let piece = prop::sample::select(vec![
            "arn",
            "aws",
            "aws-cn",
            "aws1",
            "lambda",
            "us-east-1",
            "us-gov-west-1",
            "us-isob-east-1",
            "us-xx-east-1",
            "000000000000",
            "111111111111",
            "function",
            "echo",
            "a_b-C",
            "$LATEST",
            "1",
            "007",
            "prod",
            "",
            "é",
            " ",
            "x.y",
        ]);
        prop::collection::vec(piece, 0..8).prop_map(|pieces| pieces.join(":"))
    }

    proptest! {
        #[test]
        fn a_name_is_read_if_and_only_if_it_matches_the_pattern(text in prop_oneof![pieces(), ".{0,40}"]) {
            let pattern = regex::Regex::new(&format!(r"\A(?:{})\z", NAME_PATTERN.replace(r"\d", "[0-9]"))).unwrap();
            prop_assert_eq!(NameParts::read(&text).is_some(), pattern.is_match(&text), "{}", text);
        }

        #[test]
        fn what_was_read_reads_the_same_from_its_arn(text in pieces(), qualifier in prop::option::of("[a-zA-Z0-9$_-]{1,8}")) {
            let account = AccountId::new("000000000000").unwrap();
            let to = Addressee { account: &account, region: "us-east-1" };
            if let Ok(target) = read(&text, qualifier.as_deref()) {
                let arn = target.arn(to);
                let again = read(&arn, None).or_else(|_| read(arn.rsplit_once(':').unwrap().0, qualifier.as_deref()));
                prop_assert_eq!(again, Ok(target), "{}", text);
            }
        }

        #[test]
        fn nothing_that_is_asked_for_panics(text in any::<String>(), qualifier in prop::option::of(any::<String>())) {
            let _ = read(&text, qualifier.as_deref());
        }
    }

    #[test]
    fn what_leads_nowhere_is_told_apart() {
        for text in ["", "a b", "ä", "echo:", "echo:a:b", "arn:aws:s3:::bucket", ":echo", "echo!"] {
            assert!(matches!(read(text, None), Err(TargetError::Invalid(_))), "{text:?} was taken for a name");
        }
        let long = read(&"x".repeat(65), None).unwrap_err();
        assert_eq!(long, TargetError::LongName("x".repeat(65)));
        let elsewhere = read("arn:aws:lambda:eu-west-1:000000000000:function:echo", None);
        assert!(matches!(elsewhere, Err(TargetError::OtherRegion { .. })));
        let foreign = read("111111111111:function:echo", None);
        assert!(matches!(foreign, Err(TargetError::OtherAccount { .. })));
        assert_eq!(read("echo:1", Some("2")), Err(TargetError::QualifierMismatch));
        let both = read("a b", Some("c d")).unwrap_err().to_string();
        assert!(both.starts_with("2 validation errors detected: Value 'a b' at 'functionName'"), "{both}");
    }
}
