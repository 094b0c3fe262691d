//! Filter patterns (Amazon CloudWatch Logs user guide, "Filter pattern syntax"): terms, and conditions on JSON.
//!
//! Not here: space-delimited fields (`[a, b]`) and regular expressions (`%…%`), which are refused.

mod json;

use std::fmt;

use json::Condition;

/// Longest pattern, characters (service model of CloudWatch Logs: `FilterPattern`).
pub const PATTERN_MAX_CHARS: usize = 1_024;

/// What a line has to be like.
#[derive(Debug, Clone, PartialEq)]
pub struct Pattern(Kind);

#[derive(Debug, Clone, PartialEq)]
enum Kind {
    Terms(Terms),
    Json(Condition),
}

/// Terms in a line: case matters, and a term may stand within a word.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Terms {
    /// All of these.
    all: Vec<String>,
    /// None of these.
    none: Vec<String>,
    /// Any of these. Without effect beside others (the guide: "can't be combined").
    any: Vec<String>,
}

/// No pattern, or none that Hearth knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidPattern(String);

impl fmt::Display for InvalidPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for InvalidPattern {}

fn invalid<T>(why: impl Into<String>) -> Result<T, InvalidPattern> {
    Err(InvalidPattern(why.into()))
}

impl Pattern {
    /// Reads a pattern. An empty one has every line.
    pub fn read(text: &str) -> Result<Self, InvalidPattern> {
        if text.chars().count() > PATTERN_MAX_CHARS {
            return invalid(format!("a filter pattern has at most {PATTERN_MAX_CHARS} characters"));
        }
        let text = text.trim();
        if let Some(inner) = text.strip_prefix('{') {
            let inner = inner.strip_suffix('}');
            let Some(inner) = inner else { return invalid("a JSON pattern ends with }") };
            return Condition::read(inner).map(Kind::Json).map(Self);
        }
        if text.starts_with('[') {
            return invalid("Hearth does not know patterns of space-delimited fields, [a, b]");
        }
        if text.starts_with('%') {
            return invalid("Hearth does not know regular expressions, %…%, in patterns");
        }
        Terms::read(text).map(Kind::Terms).map(Self)
    }

    /// Whether a line is like that.
    #[must_use]
    pub fn has(&self, line: &str) -> bool {
        match &self.0 {
            Kind::Terms(terms) => terms.has(line),
            Kind::Json(condition) => serde_json::from_str(line).is_ok_and(|document| condition.holds(&document)),
        }
    }
}

impl Terms {
    fn read(text: &str) -> Result<Self, InvalidPattern> {
        let mut terms = Self::default();
        let mut rest = text;
        while let Some(first) = rest.chars().next() {
            let list = match first {
                '-' => &mut terms.none,
                '?' => &mut terms.any,
                _ => &mut terms.all,
            };
            if matches!(first, '-' | '?') {
                rest = &rest[1..];
            }
            let (term, after) = take_term(rest)?;
            list.push(term);
            rest = after.trim_start();
        }
        Ok(terms)
    }

    fn has(&self, line: &str) -> bool {
        let in_line = |term: &String| line.contains(term.as_str());
        if self.all.is_empty() && self.none.is_empty() && !self.any.is_empty() {
            return self.any.iter().any(in_line);
        }
        self.all.iter().all(in_line) && !self.none.iter().any(in_line)
    }
}

/// A word, or a phrase in double quotes; and what follows it.
fn take_term(text: &str) -> Result<(String, &str), InvalidPattern> {
    if let Some(quoted) = text.strip_prefix('"') {
        return take_quoted(quoted);
    }
    let end = text.find(char::is_whitespace).unwrap_or(text.len());
    let (word, rest) = text.split_at(end);
    if word.is_empty() { invalid("a term is missing after - or ?") } else { Ok((word.to_owned(), rest)) }
}

/// A phrase up to the quote that ends it; a backslash takes the next character as it is.
fn take_quoted(text: &str) -> Result<(String, &str), InvalidPattern> {
    let mut phrase = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Ok((phrase, &text[at + 1..])),
            '\\' => phrase.extend(characters.next().map(|(_, escaped)| escaped)),
            _ => phrase.push(character),
        }
    }
    invalid("a phrase does not end: a double quote is missing")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn has(pattern: &str, line: &str) -> bool {
        Pattern::read(pattern).unwrap().has(line)
    }

    #[test]
    fn terms_phrases_exclusions_and_choices() {
        let line = "[ERROR 400] BAD \"REQUEST\" from 10.0.0.1";
        for (pattern, expected) in [
            ("", true),
            ("ERROR", true),
            ("error", false),
            ("ERROR BAD", true),
            ("ERROR GOOD", false),
            ("\"ERROR 400\"", true),
            ("\"BAD \\\"REQUEST\\\"\"", true),
            ("ERROR -BAD", false),
            ("ERROR -\"GOOD REQUEST\"", true),
            ("?GOOD ?BAD", true),
            ("?GOOD ?BETTER", false),
            ("ERROR ?GOOD", true),
        ] {
            assert_eq!(has(pattern, line), expected, "{pattern}");
        }
        for bad in ["\"open", "-", "? x", "[a, b]", "%x%", "{ $.a = 1"] {
            assert!(Pattern::read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn conditions_on_documents() {
        let line = r#"{"level":"ERROR","n":5,"ok":true,"none":null,"a":{"b":[10,{"c":"deep thought"}]}}"#;
        for (pattern, expected) in [
            (r#"{ $.level = "ERROR" }"#, true),
            (r#"{ $.level = ERROR }"#, true),
            (r#"{ $.level != "ERROR" }"#, false),
            (r#"{ $.level = "ERR*" }"#, true),
            (r#"{ $.level = "*ROR" }"#, true),
            (r#"{ $.n >= 5 && $.n < 6 }"#, true),
            (r#"{ $.n > 5 || $.level = "ERROR" }"#, true),
            (r#"{ ($.n = 4 || $.n = 5) && $.ok IS TRUE }"#, true),
            (r#"{ $.none IS NULL }"#, true),
            (r#"{ $.missing NOT EXISTS }"#, true),
            (r#"{ $.a.b[1].c = "*thought" }"#, true),
            (r#"{ $.a.b[0] = 10 }"#, true),
            (r#"{ $.a.b[7] = 10 }"#, false),
            (r#"{ $.missing != 1 }"#, false),
            (r#"{ $["level"] = "ERROR" }"#, true),
        ] {
            assert_eq!(has(pattern, line), expected, "{pattern}");
        }
        assert!(!has("{ $.level = \"ERROR\" }", "level ERROR"), "text is no document");
        for bad in ["{}", "{ level = 1 }", "{ $.a }", "{ $.a = }", "{ $.a = 1 && }", "{ ($.a = 1 }", "{ $.a IS 1 }"] {
            assert!(Pattern::read(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn nothing_makes_it_panic(pattern in ".{0,60}", line in ".{0,60}") {
            if let Ok(pattern) = Pattern::read(&pattern) {
                let _ = pattern.has(&line);
            }
        }

        #[test]
        fn nothing_like_json_makes_it_panic(inner in r#"[$.a\[\]0-9 ="*&|()<>!ISNULTRE]{0,60}"#) {
            let _ = Pattern::read(&format!("{{{inner}}}"));
        }

        #[test]
        fn a_phrase_is_found_where_it_is_and_excluded_there(before in ".{0,20}", phrase in "[^\"\\\\]{1,20}", after in ".{0,20}") {
            let line = format!("{before}{phrase}{after}");
            let quoted = format!("\"{phrase}\"");
            prop_assert!(has(&quoted, &line));
            let excluded = format!("-{quoted}");
            prop_assert!(!has(&excluded, &line));
        }
    }
}
