//! Conditions on JSON documents: `$.path op value`, joined by `&&` and `||`, with parentheses.
//!
//! `&&` binds tighter than `||`. A comparison with something that is not there does not hold, whatever it compares.

use serde_json::Value;

use super::{InvalidPattern, invalid, take_quoted};

/// Parentheses within each other.
const DEPTH_MAX: usize = 16;

/// What has to hold for a document.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Condition {
    All(Vec<Condition>),
    Any(Vec<Condition>),
    Test(Vec<Step>, Test),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    Member(String),
    Index(usize),
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Test {
    Compare(Operator, Operand),
    IsTrue,
    IsFalse,
    IsNull,
    Missing,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operator {
    Equal,
    Unequal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Operand {
    Number(f64),
    /// With `*` for anything.
    Text(String),
}

/// Longest first, so that `<=` is not read as `<`.
const OPERATORS: [(&str, Operator); 6] = [
    ("!=", Operator::Unequal),
    ("<=", Operator::LessOrEqual),
    (">=", Operator::GreaterOrEqual),
    ("=", Operator::Equal),
    ("<", Operator::Less),
    (">", Operator::Greater),
];

impl Condition {
    /// Reads what stands between the braces.
    pub(super) fn read(text: &str) -> Result<Self, InvalidPattern> {
        let mut reader = Reader { rest: text };
        let condition = reader.any(0)?;
        if reader.skip_space().is_empty() {
            Ok(condition)
        } else {
            invalid(format!("nothing is expected at {:?}", reader.rest))
        }
    }

    pub(super) fn holds(&self, document: &Value) -> bool {
        match self {
            Self::All(all) => all.iter().all(|condition| condition.holds(document)),
            Self::Any(any) => any.iter().any(|condition| condition.holds(document)),
            Self::Test(path, test) => test.holds(found(document, path)),
        }
    }
}

fn found<'a>(document: &'a Value, path: &[Step]) -> Option<&'a Value> {
    path.iter().try_fold(document, |value, step| match step {
        Step::Member(name) => value.get(name),
        Step::Index(index) => value.get(index),
    })
}

impl Test {
    fn holds(&self, value: Option<&Value>) -> bool {
        match (self, value) {
            (Self::Missing, value) => value.is_none(),
            (_, None) => false,
            (Self::IsTrue, Some(value)) => *value == Value::Bool(true),
            (Self::IsFalse, Some(value)) => *value == Value::Bool(false),
            (Self::IsNull, Some(value)) => value.is_null(),
            (Self::Compare(operator, operand), Some(value)) => operator.holds(value, operand),
        }
    }
}

impl Operator {
    fn holds(self, value: &Value, operand: &Operand) -> bool {
        match operand {
            Operand::Number(number) => value.as_f64().is_some_and(|value| self.orders(value, *number)),
            Operand::Text(pattern) => {
                let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                match self {
                    Self::Equal => like(&text, pattern),
                    Self::Unequal => !like(&text, pattern),
                    _ => false,
                }
            }
        }
    }

    fn orders(self, value: f64, number: f64) -> bool {
        match self {
            Self::Equal => value == number,
            Self::Unequal => value != number,
            Self::Less => value < number,
            Self::LessOrEqual => value <= number,
            Self::Greater => value > number,
            Self::GreaterOrEqual => value >= number,
        }
    }
}

/// Whether a text is like a pattern with `*`: its pieces follow each other, the first at the start, the last at the end.
fn like(text: &str, pattern: &str) -> bool {
    let Some((first, later)) = pattern.split_once('*') else { return text == pattern };
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let mut pieces: Vec<_> = later.split('*').collect();
    let last = pieces.pop().unwrap_or_default();
    for piece in pieces {
        let Some(at) = rest.find(piece) else { return false };
        rest = &rest[at + piece.len()..];
    }
    rest.ends_with(last)
}

struct Reader<'a> {
    rest: &'a str,
}

impl<'a> Reader<'a> {
    fn skip_space(&mut self) -> &'a str {
        self.rest = self.rest.trim_start();
        self.rest
    }

    fn take(&mut self, token: &str) -> bool {
        let after = self.skip_space().strip_prefix(token);
        self.rest = after.unwrap_or(self.rest);
        after.is_some()
    }

    fn any(&mut self, depth: usize) -> Result<Condition, InvalidPattern> {
        let mut any = vec![self.all(depth)?];
        while self.take("||") {
            any.push(self.all(depth)?);
        }
        Ok(if any.len() == 1 { any.remove(0) } else { Condition::Any(any) })
    }

    fn all(&mut self, depth: usize) -> Result<Condition, InvalidPattern> {
        let mut all = vec![self.one(depth)?];
        while self.take("&&") {
            all.push(self.one(depth)?);
        }
        Ok(if all.len() == 1 { all.remove(0) } else { Condition::All(all) })
    }

    fn one(&mut self, depth: usize) -> Result<Condition, InvalidPattern> {
        if !self.take("(") {
            let path = self.path()?;
            return Ok(Condition::Test(path, self.test()?));
        }
        if depth == DEPTH_MAX {
            return invalid(format!("more than {DEPTH_MAX} parentheses within each other"));
        }
        let inner = self.any(depth + 1)?;
        if self.take(")") { Ok(inner) } else { invalid("a ) is missing") }
    }

    fn path(&mut self) -> Result<Vec<Step>, InvalidPattern> {
        if !self.take("$") {
            return invalid(format!("a property begins with $ at {:?}", self.rest));
        }
        let mut path = Vec::new();
        loop {
            if let Some(rest) = self.rest.strip_prefix('.') {
                let end = rest.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == '-')).unwrap_or(rest.len());
                if end == 0 {
                    return invalid("a name is missing after .");
                }
                path.push(Step::Member(rest[..end].to_owned()));
                self.rest = &rest[end..];
            } else if let Some(quoted) = self.rest.strip_prefix("[\"") {
                let (name, rest) = take_quoted(quoted)?;
                path.push(Step::Member(name));
                self.rest = rest.strip_prefix(']').ok_or_else(|| InvalidPattern("a ] is missing".into()))?;
            } else if let Some(rest) = self.rest.strip_prefix('[') {
                let (index, rest) = rest.split_once(']').ok_or_else(|| InvalidPattern("a ] is missing".into()))?;
                let index = index.trim().parse().map_err(|_| InvalidPattern(format!("{index:?} is no index")))?;
                path.push(Step::Index(index));
                self.rest = rest;
            } else if path.is_empty() {
                return invalid("a property has a name: $.name");
            } else {
                return Ok(path);
            }
        }
    }

    fn test(&mut self) -> Result<Test, InvalidPattern> {
        for (words, test) in [
            (["IS", "TRUE"], Test::IsTrue),
            (["IS", "FALSE"], Test::IsFalse),
            (["IS", "NULL"], Test::IsNull),
            (["NOT", "EXISTS"], Test::Missing),
        ] {
            let before = self.rest;
            if self.take(words[0]) && self.take(words[1]) {
                return Ok(test);
            }
            self.rest = before;
        }
        let operator = OPERATORS.into_iter().find(|(token, _)| self.take(token));
        let Some((_, operator)) = operator else {
            return invalid(format!("an operator is expected at {:?}", self.rest));
        };
        Ok(Test::Compare(operator, self.operand()?))
    }

    fn operand(&mut self) -> Result<Operand, InvalidPattern> {
        if self.take("\"") {
            let (text, rest) = take_quoted(self.rest)?;
            self.rest = rest;
            return Ok(Operand::Text(text));
        }
        let end = self.rest.find(|c: char| c.is_whitespace() || "()&|".contains(c)).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        match word.parse::<f64>() {
            _ if word.is_empty() => invalid("a value is missing"),
            Ok(number) if number.is_finite() => Ok(Operand::Number(number)),
            _ => Ok(Operand::Text(word.to_owned())),
        }
    }
}
