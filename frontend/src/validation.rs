//! What a request may say. Checks gather every mistake before the first is told, as Lambda does:
//! `2 validation errors detected: Value '…' at '…' failed to satisfy constraint: …; Value …`.
//!
//! Absent on purpose: anything that needs the catalog or the fleet.

mod environment;
mod logging;
mod settings;
mod target;

use std::fmt;

pub use environment::check_environment;
pub use settings::{Settings, SettingsError};
pub use target::{Addressee, NameForm, Named, Qualifier, Target, TargetError};

/// Longest value repeated in a message, characters.
const VALUE_MAX_CHARS: usize = 1024;

/// Mistakes of one request, in the order they were found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ValidationErrors {
    errors: Vec<String>,
}

impl ValidationErrors {
    /// Notes that `value` at `member` breaks `constraint`.
    pub fn add(&mut self, value: impl fmt::Display, member: &str, constraint: impl fmt::Display) {
        let value: String = value.to_string().chars().take(VALUE_MAX_CHARS).collect();
        self.errors.push(format!("Value '{value}' at '{member}' failed to satisfy constraint: {constraint}"));
    }

    /// As [`Self::add`], of a value that must not be repeated.
    pub fn add_hidden(&mut self, member: &str, constraint: impl fmt::Display) {
        self.errors.push(format!("Value at '{member}' failed to satisfy constraint: {constraint}"));
    }

    /// Whether nothing was found.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.errors.is_empty()
    }

    /// Notes that a required member is missing.
    pub fn add_missing(&mut self, member: &str) {
        self.errors.push(format!("Value null at '{member}' failed to satisfy constraint: Member must not be null"));
    }

    /// Checks a length in characters.
    pub fn check_length(&mut self, value: &str, member: &str, min: usize, max: usize) {
        let length = value.chars().count();
        if length < min {
            self.add(value, member, format_args!("Member must have length greater than or equal to {min}"));
        } else if length > max {
            self.add(value, member, format_args!("Member must have length less than or equal to {max}"));
        }
    }

    /// Checks a number.
    pub fn check_range(&mut self, value: i64, member: &str, min: u32, max: u32) {
        if value < i64::from(min) {
            self.add(value, member, format_args!("Member must have value greater than or equal to {min}"));
        } else if value > i64::from(max) {
            self.add(value, member, format_args!("Member must have value less than or equal to {max}"));
        }
    }

    /// Checks that a value is one of a set.
    pub fn check_enum(&mut self, value: &str, member: &str, allowed: &[&str]) {
        if !allowed.contains(&value) {
            let allowed = allowed.join(", ");
            self.add(value, member, format_args!("Member must satisfy enum value set: [{allowed}]"));
        }
    }

    /// Checks a pattern: `matches` tells whether the value satisfies it, `pattern` is how it is told.
    pub fn check_pattern(&mut self, value: &str, member: &str, matches: bool, pattern: &str) {
        if !matches {
            self.add(value, member, format_args!("Member must satisfy regular expression pattern: {pattern}"));
        }
    }

    /// Takes over what another check found.
    pub fn append(&mut self, mut others: Self) {
        self.errors.append(&mut others.errors);
    }

    /// `Ok` if nothing was found.
    pub fn finish(self) -> Result<(), Self> {
        if self.errors.is_empty() { Ok(()) } else { Err(self) }
    }
}

impl fmt::Display for ValidationErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.errors.len();
        let plural = if count == 1 { "" } else { "s" };
        write!(f, "{count} validation error{plural} detected: {}", self.errors.join("; "))
    }
}

impl std::error::Error for ValidationErrors {}
