//! Between wire messages and domain types. Towards the wire is total; from the wire every field is checked, and what
//! is wrong is told by the field's path (`slots[3].function.name`).
//!
//! Invariant: nothing that comes from the wire makes this panic, and no value of a domain type comes into being here
//! except through that type's own check.

mod collections;
mod logs;
mod placement;
#[cfg(test)]
mod round_trip;
mod shared;
mod stream;
mod worker;
mod worker_manager;

pub(crate) use collections::{Grants, Reclaim, Recover, Workers};
pub(crate) use stream::InvokePiece;

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::Unreachable;

/// Longest text whose kind has no bound of its own (reasons, ARNs, trace ids), bytes.
pub(crate) const TEXT_MAX_BYTES: usize = 64 * 1024;

/// A message from the wire that is no value of the domain type asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {reason}")]
pub struct Malformed {
    /// Path of the field that is wrong.
    pub field: String,
    /// What is wrong with it.
    pub reason: String,
}

impl Malformed {
    pub(crate) fn new(field: impl Into<String>, reason: impl fmt::Display) -> Self {
        Self { field: field.into(), reason: reason.to_string() }
    }

    /// The same mistake, seen from the message around it.
    fn within(self, outer: impl fmt::Display) -> Self {
        Self { field: format!("{outer}.{}", self.field), reason: self.reason }
    }
}

/// A message field that must be there.
fn required<W, T>(field: &'static str, value: Option<W>) -> Result<T, Malformed>
where
    T: TryFrom<W, Error = Malformed>,
{
    let value = value.ok_or_else(|| missing(field))?;
    nested(field, value)
}

/// A message field that is there.
fn nested<W, T>(field: &'static str, value: W) -> Result<T, Malformed>
where
    T: TryFrom<W, Error = Malformed>,
{
    T::try_from(value).map_err(|malformed| malformed.within(field))
}

/// A repeated message field.
fn each<W, T>(field: &'static str, values: Vec<W>) -> Result<Vec<T>, Malformed>
where
    T: TryFrom<W, Error = Malformed>,
{
    let one = |(index, value)| T::try_from(value).map_err(|wrong: Malformed| wrong.within(format!("{field}[{index}]")));
    values.into_iter().enumerate().map(one).collect()
}

/// An identifier or another domain type that is text on the wire.
fn parsed<T>(field: &'static str, text: &str) -> Result<T, Malformed>
where
    T: FromStr<Err: fmt::Display>,
{
    text.parse().map_err(|wrong| Malformed::new(field, wrong))
}

/// A number with bounds.
fn bounded<W, T>(field: &'static str, value: W) -> Result<T, Malformed>
where
    T: TryFrom<W, Error: fmt::Display>,
{
    T::try_from(value).map_err(|wrong| Malformed::new(field, wrong))
}

/// Free text of at most `max` bytes.
fn text(field: &'static str, value: String, max: usize) -> Result<String, Malformed> {
    if value.len() > max {
        return Err(Malformed::new(field, format_args!("{} bytes are more than {max}", value.len())));
    }
    Ok(value)
}

fn missing(field: &'static str) -> Malformed {
    Malformed::new(field, "missing")
}

/// Nanoseconds; a duration beyond 584 years is cut to that.
fn ns(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Counts travel as 64 bits whatever the machine.
fn count(value: usize) -> u64 {
    u64::try_from(value).unwrap_or(u64::MAX)
}

impl From<Malformed> for tonic::Status {
    fn from(malformed: Malformed) -> Self {
        Self::invalid_argument(malformed.to_string())
    }
}

impl Unreachable {
    /// A reply that can't be understood: whether the request took effect is not known.
    pub(crate) fn not_understood(role: &str, malformed: &Malformed) -> Self {
        Self { role: role.to_owned(), reason: format!("its reply is malformed: {malformed}"), not_sent: false }
    }
}
