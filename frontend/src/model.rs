//! The Lambda API as AWS's service model tells it, and every request held against it before its operation runs.
//!
//! `generated.rs` is the model as a table: operations, their members, where each stands (path, query, header, body),
//! bounds, patterns, enumerations. `cargo xtask gen` writes it from botocore; what the running service does differently
//! stands in `xtask/src/service_model/deviations.rs`, with its source. [`check`] walks a request along the table:
//!
//! - All broken constraints are told at once, in the model's order of members: `2 validation errors detected: Value
//!   '…' at '…' failed to satisfy constraint: …; Value …` (`ValidationException`).
//! - A value of the wrong JSON type ends the check with a `SerializationException`, as its deserializer does at AWS.
//! - A member that the model does not know is passed over, and null is the same as absent.
//!
//! **For whoever adds an operation:** name it in `api/routes.rs` as the model does and mark it served; nothing else is
//! needed. Its action then runs only with fields that hold the model's bounds, patterns and enumerations, whose
//! required members are there and whose JSON types are right, so it reads its document and decides; no field checks by
//! hand. What the model can't say (does the version exist, do two members go together) stays with the operation.
//!
//! Members that are not honoured stand in [`DEPARTURES`], and through it in docs/lambda-api.md.
//!
//! Operations that are not served answer 501 before anything of this: see docs/decisions/0135.
//!
//! Invariants: a payload (of Invoke, say) is never looked at here; patterns are compiled once, at first use; a request
//! that holds its constraints costs no allocation but for escaped text and for maps and lists in its document.

mod departure;
mod document;
mod documentation;
#[rustfmt::skip]
mod generated;
mod pattern;
mod place;
mod rule;

pub use departure::{DEPARTURES, Departure, Treatment};
pub use document::check_document;
pub use documentation::lambda_api;
pub use generated::{BOTOCORE, OPERATIONS};
pub use pattern::Pattern;
pub use place::{check, path_parameter, queried};

use crate::validation::ValidationErrors;

/// An operation.
#[derive(Debug)]
pub struct Operation {
    /// Its name.
    pub name: &'static str,
    /// The HTTP method.
    pub method: &'static str,
    /// The path, parameters in braces.
    pub path: &'static str,
    /// The query parameter, and its value, that tells it from another on the same path.
    pub query: Option<(&'static str, &'static str)>,
    /// The member that is the body as it stands.
    pub payload: Option<&'static str>,
    /// What a request says, in the model's order.
    pub members: &'static [Member],
}

/// A member of a request or of a structure in it.
#[derive(Debug)]
pub struct Member {
    /// Its name.
    pub name: &'static str,
    /// Where it stands.
    pub place: Place,
    /// Whether it must be there.
    pub required: bool,
    /// What it is.
    pub shape: &'static Shape,
}

/// Where a member of a request stands, and under which name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// In the path.
    Path(&'static str),
    /// In the query.
    Query(&'static str),
    /// In a header.
    Header(&'static str),
    /// In the JSON document, under its own name; or it is the payload.
    Body,
}

/// A type and its constraints.
#[derive(Debug)]
pub enum Shape {
    /// A string.
    Text(Text),
    /// 32 bits, signed.
    Integer(Range),
    /// 64 bits, signed.
    Long(Range),
    /// A number with decimals.
    Double(Decimals),
    /// True or false.
    Boolean,
    /// Base64 in JSON.
    Blob,
    /// Seconds since 1970, or a date in text.
    Timestamp,
    /// A list.
    List(List),
    /// A map by text.
    Map(Map),
    /// Members by name.
    Structure(&'static [Member]),
}

/// Constraints of a string; lengths in characters.
#[derive(Debug)]
pub struct Text {
    /// Shortest.
    pub min: Option<usize>,
    /// Longest.
    pub max: Option<usize>,
    /// What it looks like.
    pub pattern: Option<&'static Pattern>,
    /// What it can be; empty if anything.
    pub values: &'static [&'static str],
    /// Whether it must not be repeated in a message.
    pub sensitive: bool,
}

/// Bounds of a whole number.
#[derive(Debug)]
pub struct Range {
    /// Smallest.
    pub min: Option<i64>,
    /// Largest.
    pub max: Option<i64>,
}

/// Bounds of a number with decimals.
#[derive(Debug)]
pub struct Decimals {
    /// Smallest.
    pub min: Option<f64>,
    /// Largest.
    pub max: Option<f64>,
}

/// Constraints of a list.
#[derive(Debug)]
pub struct List {
    /// Fewest.
    pub min: Option<usize>,
    /// Most.
    pub max: Option<usize>,
    /// What it holds.
    pub member: &'static Shape,
    /// Whether it must not be repeated in a message.
    pub sensitive: bool,
}

/// Constraints of a map.
#[derive(Debug)]
pub struct Map {
    /// Fewest.
    pub min: Option<usize>,
    /// Most.
    pub max: Option<usize>,
    /// What it is by.
    pub key: &'static Shape,
    /// What it holds.
    pub value: &'static Shape,
    /// Whether it must not be repeated in a message.
    pub sensitive: bool,
}

/// Why a request is refused.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// `SerializationException`: it can't be read as what the model says it is.
    #[error("{0}")]
    Unreadable(String),
    /// `InvalidParameterValueException`: it says something that Hearth can't honour.
    #[error("{} is not supported by Hearth: {}.", .0.member, .0.why)]
    Unsupported(&'static Departure),
    /// `ValidationException`: it was read, and breaks constraints.
    #[error(transparent)]
    Invalid(#[from] ValidationErrors),
}

/// The operation of this name; none if the model does not have it, as with those of our own.
#[must_use]
pub fn operation(name: &str) -> Option<&'static Operation> {
    OPERATIONS.binary_search_by(|operation| operation.name.cmp(name)).ok().map(|found| &OPERATIONS[found])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_are_found_by_name() {
        for known in &OPERATIONS {
            assert!(std::ptr::eq(operation(known.name).unwrap(), known));
        }
        assert!(operation("HearthUsage").is_none());
    }
}
