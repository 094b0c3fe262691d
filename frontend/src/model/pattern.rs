//! A pattern of the service model: how it is told, and whether a text holds it.
//!
//! Java's regular expressions, as AWS has them, against the whole text. Their `\d` and `\s` mean ASCII.

use std::fmt;
use std::sync::OnceLock;

use regex::Regex;

/// A pattern, compiled at first use.
pub struct Pattern {
    text: &'static str,
    must: &'static str,
    must_not: Option<&'static str>,
    compiled: OnceLock<Compiled>,
}

struct Compiled {
    must: Regex,
    must_not: Option<Regex>,
}

impl Pattern {
    /// A pattern that Rust's regular expressions can say.
    pub(super) const fn new(text: &'static str) -> Self {
        Self { text, must: text, must_not: None, compiled: OnceLock::new() }
    }

    /// One that looks around: told as `text`, held by what matches `must` and does not match `must_not`.
    pub(super) const fn except(text: &'static str, must: &'static str, must_not: &'static str) -> Self {
        Self { text, must, must_not: Some(must_not), compiled: OnceLock::new() }
    }

    /// As the service model says it.
    #[must_use]
    pub const fn text(&self) -> &'static str {
        self.text
    }

    /// Whether the whole of `value` matches.
    #[must_use]
    pub fn holds(&self, value: &str) -> bool {
        let compiled =
            self.compiled.get_or_init(|| Compiled { must: whole(self.must), must_not: self.must_not.map(whole) });
        compiled.must.is_match(value) && !compiled.must_not.as_ref().is_some_and(|must_not| must_not.is_match(value))
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pattern({})", self.text)
    }
}

/// Anchored at both ends.
fn whole(pattern: &str) -> Regex {
    let ascii = pattern.replace(r"\d", "[0-9]").replace(r"\s", r"[ \t\n\x0B\f\r]").replace(r"\S", r"[^ \t\n\x0B\f\r]");
    // A test compiles every pattern of the table.
    Regex::new(&format!(r"\A(?:{ascii})\z")).unwrap_or_else(|error| panic!("pattern {pattern}: {error}"))
}

#[cfg(test)]
mod tests {
    use crate::model::{OPERATIONS, Shape};

    use super::*;

    fn texts(shape: &'static Shape, depth: usize, seen: &mut Vec<&'static Pattern>) {
        if depth == 0 {
            return;
        }
        match shape {
            Shape::Text(text) => seen.extend(text.pattern),
            Shape::List(list) => texts(list.member, depth - 1, seen),
            Shape::Map(map) => {
                texts(map.key, depth - 1, seen);
                texts(map.value, depth - 1, seen);
            }
            Shape::Structure(members) => members.iter().for_each(|member| texts(member.shape, depth - 1, seen)),
            _ => {}
        }
    }

    #[test]
    fn every_pattern_of_the_model_compiles() {
        let mut seen = Vec::new();
        for member in OPERATIONS.iter().flat_map(|operation| operation.members) {
            texts(member.shape, 8, &mut seen);
        }
        assert!(seen.len() > 50, "{}", seen.len());
        for pattern in seen {
            assert!(!pattern.text().is_empty() && pattern.holds("anything") == pattern.holds("anything"));
        }
    }

    #[test]
    fn a_pattern_holds_the_whole_text() {
        let word = Pattern::new("[a-z]+|x1");
        assert!(word.holds("abc") && word.holds("x1"));
        assert!(!word.holds("abc\n") && !word.holds("abc1") && !word.holds(""));
        let alias = Pattern::except("(?!^[0-9]+$)([a-zA-Z0-9-_]+)", "([a-zA-Z0-9-_]+)", "[0-9]+");
        assert!(alias.holds("v1") && !alias.holds("12") && !alias.holds("a b"));
        let digits = Pattern::new(r"\d{2}");
        assert!(digits.holds("42") && !digits.holds("٤٢"));
        let handler = Pattern::new(r"[^\s]+");
        assert!(handler.holds("a\u{a0}b") && !handler.holds("a b"));
    }
}
