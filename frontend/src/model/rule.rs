//! One value against one shape: which constraints it breaks, in the words of Lambda.

use std::fmt::Write;

use super::{Shape, Text};
use crate::validation::ValidationErrors;

/// Longest list or map repeated in a message, characters.
const RENDERED_MAX_CHARS: usize = 1024;

/// A value that is neither list, map nor structure.
#[derive(Debug, Clone, Copy)]
pub(super) enum Scalar<'v> {
    Text(&'v str),
    Whole(i64),
    Decimal(f64),
    /// Nothing that could break a constraint.
    Free,
    Null,
}

/// Notes every constraint of `shape` that `value` breaks.
pub(super) fn note(shape: &Shape, value: Scalar<'_>, member: &dyn Fn() -> String, errors: &mut ValidationErrors) {
    for broken in broken(shape, value) {
        match (is_sensitive(shape), value) {
            (true, _) => errors.add_hidden(&member(), broken),
            (false, Scalar::Text(text)) => errors.add(text, &member(), broken),
            (false, Scalar::Whole(number)) => errors.add(number, &member(), broken),
            (false, Scalar::Decimal(number)) => errors.add(decimal(number), &member(), broken),
            (false, Scalar::Free | Scalar::Null) => {}
        }
    }
}

/// Whether a value within a list or a map breaks its constraints.
pub(super) fn breaks(shape: &Shape, value: Scalar<'_>) -> bool {
    matches!(value, Scalar::Null) || broken(shape, value).next().is_some()
}

/// All constraints of what a list or a map holds, as its error names them.
pub(super) fn all(shape: &Shape) -> String {
    let mut rules: Vec<String> = rules(shape).into_iter().flatten().collect();
    rules.push("Member must not be null".to_owned());
    format!("[{}]", rules.join(", "))
}

/// Whether a value must not be repeated.
pub(super) fn is_sensitive(shape: &Shape) -> bool {
    match shape {
        Shape::Text(text) => text.sensitive,
        Shape::List(list) => list.sensitive,
        Shape::Map(map) => map.sensitive,
        _ => false,
    }
}

/// A list or a map as a message repeats it, `[a, b]` or `{k=v}`, gathered while it is read.
#[derive(Default)]
pub(super) struct Rendered(String);

impl Rendered {
    pub(super) fn separate(&mut self) {
        if !self.0.is_empty() {
            self.push(", ");
        }
    }

    pub(super) fn push(&mut self, text: &str) {
        let room = RENDERED_MAX_CHARS.saturating_sub(self.0.len());
        self.0.extend(text.chars().take(room));
    }

    pub(super) fn scalar(&mut self, value: Scalar<'_>) {
        match value {
            Scalar::Text(text) => self.push(text),
            Scalar::Whole(number) => {
                let _ = write!(self.0, "{number}");
            }
            Scalar::Decimal(number) => self.push(&decimal(number)),
            Scalar::Free => self.push("…"),
            Scalar::Null => self.push("null"),
        }
    }

    pub(super) fn list(&self) -> String {
        format!("[{}]", self.0)
    }

    pub(super) fn map(&self) -> String {
        format!("{{{}}}", self.0)
    }
}

/// The constraints of a shape in Lambda's order (recorded for the weights of an alias: longest, shortest, pattern), and
/// whether each is broken.
fn broken<'s>(shape: &'s Shape, value: Scalar<'s>) -> impl Iterator<Item = String> + 's {
    let holds = match (shape, value) {
        (Shape::Text(text), Scalar::Text(value)) => text_holds(text, value),
        (Shape::Integer(range) | Shape::Long(range), Scalar::Whole(value)) => {
            [range.max.is_none_or(|max| value <= max), range.min.is_none_or(|min| value >= min), true, true]
        }
        (Shape::Double(range), Scalar::Decimal(value)) => {
            [range.max.is_none_or(|max| value <= max), range.min.is_none_or(|min| value >= min), true, true]
        }
        _ => [true; 4],
    };
    let any = holds.contains(&false);
    let rules = if any { rules(shape) } else { [const { None }; 4] };
    rules.into_iter().zip(holds).filter(|(_, holds)| !holds).filter_map(|(rule, _)| rule)
}

fn text_holds(text: &Text, value: &str) -> [bool; 4] {
    // Characters are counted only where bytes don't tell.
    let longer = |max: usize| value.len() > max && value.chars().count() > max;
    let shorter = |min: usize| value.len() < min || (value.len() < 4 * min && value.chars().count() < min);
    [
        !text.max.is_some_and(longer),
        !text.min.is_some_and(shorter),
        text.pattern.is_none_or(|pattern| pattern.holds(value)),
        text.values.is_empty() || text.values.contains(&value),
    ]
}

fn rules(shape: &Shape) -> [Option<String>; 4] {
    match shape {
        Shape::Text(text) => [
            text.max.map(|max| format!("Member must have length less than or equal to {max}")),
            text.min.map(|min| format!("Member must have length greater than or equal to {min}")),
            text.pattern.map(|p| format!("Member must satisfy regular expression pattern: {}", p.text())),
            (!text.values.is_empty())
                .then(|| format!("Member must satisfy enum value set: [{}]", text.values.join(", "))),
        ],
        Shape::Integer(range) | Shape::Long(range) => [
            range.max.map(|max| format!("Member must have value less than or equal to {max}")),
            range.min.map(|min| format!("Member must have value greater than or equal to {min}")),
            None,
            None,
        ],
        Shape::Double(range) => [
            range.max.map(|max| format!("Member must have value less than or equal to {}", decimal(max))),
            range.min.map(|min| format!("Member must have value greater than or equal to {}", decimal(min))),
            None,
            None,
        ],
        _ => [const { None }; 4],
    }
}

/// `2.0`, as Java writes it.
fn decimal(number: f64) -> String {
    format!("{number:?}")
}
