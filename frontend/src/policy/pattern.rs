//! Texts with wildcards: `*` is any run of characters, `?` one; `${name}` is a value of the request, taken literally.

use super::Context;

/// A text to match others against.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pattern {
    tokens: Vec<Token>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Literal(char),
    /// `*`
    Any,
    /// `?`
    One,
    /// `${name}`, and what stands for it if the request has no such value: `${name, 'default'}`.
    Variable {
        name: String,
        default: Option<String>,
    },
}

/// One step of a match, once variables have their values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Literal(char),
    Any,
    One,
}

impl Pattern {
    /// A pattern with wildcards and, in documents of the version that has them, variables.
    pub(super) fn new(text: &str, has_variables: bool) -> Self {
        Self::read(text, has_variables, true)
    }

    /// A text without wildcards, but with variables.
    pub(super) fn literal(text: &str, has_variables: bool) -> Self {
        Self::read(text, has_variables, false)
    }

    fn read(text: &str, has_variables: bool, has_wildcards: bool) -> Self {
        let mut tokens = Vec::with_capacity(text.len());
        let mut rest = text;
        while let Some(first) = rest.chars().next() {
            if has_variables && let Some((variable, after)) = variable(rest) {
                tokens.push(variable);
                rest = after;
                continue;
            }
            tokens.push(match first {
                '*' if has_wildcards => Token::Any,
                '?' if has_wildcards => Token::One,
                plain => Token::Literal(plain),
            });
            rest = &rest[first.len_utf8()..];
        }
        Self { tokens }
    }

    /// Whether `text` matches. A variable that the request has no value for matches nothing.
    pub(super) fn matches(&self, text: &str, context: &Context, ignore_case: bool) -> bool {
        let Some(steps) = self.steps(context) else { return false };
        matches(&steps, text, ignore_case)
    }

    fn steps(&self, context: &Context) -> Option<Vec<Step>> {
        let mut steps = Vec::with_capacity(self.tokens.len());
        for token in &self.tokens {
            match token {
                Token::Literal(plain) => steps.push(Step::Literal(*plain)),
                Token::Any => steps.push(Step::Any),
                Token::One => steps.push(Step::One),
                Token::Variable { name, default } => {
                    let value = context.one(name).or(default.as_deref())?;
                    steps.extend(value.chars().map(Step::Literal));
                }
            }
        }
        Some(steps)
    }
}

/// The variable at the head of `text`, and what follows it. `${*}`, `${?}` and `${$}` stand for themselves.
fn variable(text: &str) -> Option<(Token, &str)> {
    let (inner, after) = text.strip_prefix("${")?.split_once('}')?;
    let token = match inner {
        "*" | "?" | "$" => Token::Literal(inner.chars().next()?),
        inner => {
            let (name, default) = inner.split_once(',').map_or((inner, None), |(name, rest)| (name, Some(rest)));
            let default = default.map(|rest| rest.trim().trim_matches('\'').to_owned());
            Token::Variable { name: name.trim().to_owned(), default }
        }
    };
    Some((token, after))
}

/// Greedy, and back to the last `*` where it fails: at most steps × text.
fn matches(steps: &[Step], text: &str, ignore_case: bool) -> bool {
    let text: Vec<char> = text.chars().collect();
    let fits = |step: Step, found: char| match step {
        Step::One => true,
        Step::Literal(wanted) => wanted == found || ignore_case && wanted.eq_ignore_ascii_case(&found),
        Step::Any => false,
    };
    let (mut at, mut step) = (0, 0);
    let mut last_any: Option<(usize, usize)> = None;
    while at < text.len() {
        if steps.get(step) == Some(&Step::Any) {
            last_any = Some((step, at));
            step += 1;
        } else if steps.get(step).is_some_and(|wanted| fits(*wanted, text[at])) {
            at += 1;
            step += 1;
        } else if let Some((any, from)) = last_any {
            last_any = Some((any, from + 1));
            (step, at) = (any + 1, from + 1);
        } else {
            return false;
        }
    }
    steps[step..].iter().all(|step| *step == Step::Any)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// As the definition reads.
    fn naive(pattern: &[char], text: &[char]) -> bool {
        match (pattern.split_first(), text.split_first()) {
            (None, None) => true,
            (Some(('*', rest)), _) => {
                naive(rest, text) || text.split_first().is_some_and(|(_, shorter)| naive(pattern, shorter))
            }
            (Some(('?', rest)), Some((_, shorter))) => naive(rest, shorter),
            (Some((wanted, rest)), Some((found, shorter))) => wanted == found && naive(rest, shorter),
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn it_matches_what_the_definition_matches(pattern in "[ab*?é]{0,8}", text in "[abé]{0,10}") {
            let chars = |text: &str| text.chars().collect::<Vec<_>>();
            let expected = naive(&chars(&pattern), &chars(&text));
            prop_assert_eq!(Pattern::new(&pattern, true).matches(&text, &Context::default(), false), expected);
        }

        #[test]
        fn values_are_literal(value in "[a*?$]{0,6}", text in "[ab*?$]{0,8}") {
            let context = Context::default().with("aws:username", &value);
            let matched = Pattern::new("x${aws:username}", true).matches(&format!("x{text}"), &context, false);
            prop_assert_eq!(matched, value == text);
        }
    }

    #[test]
    fn many_stars_do_not_take_forever() {
        let pattern = Pattern::new(&"*a".repeat(200), true);
        assert!(pattern.matches(&"a".repeat(10_000), &Context::default(), false));
        assert!(!pattern.matches(&"b".repeat(10_000), &Context::default(), false));
    }

    #[test]
    fn variables_have_defaults_and_escapes() {
        let context = Context::default().with("aws:username", "ann");
        let matches = |pattern: &str, text: &str| Pattern::new(pattern, true).matches(text, &context, false);
        assert!(matches("f-${aws:username}-*", "f-ann-1"));
        assert!(!matches("f-${aws:userid}-*", "f-ann-1"));
        assert!(matches("f-${aws:userid, 'nobody'}", "f-nobody"));
        assert!(matches("${*}${?}${$}", "*?$") && !matches("${*}", "ann"));
        assert!(matches("${unclosed", "${unclosed"));
        assert!(Pattern::new("${aws:username}", false).matches("${aws:username}", &context, false));
    }
}
