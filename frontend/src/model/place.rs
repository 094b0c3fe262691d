//! A whole request against its operation: path, query, headers, body.

use std::borrow::Cow;

use http::request::Parts;

use super::departure::refused;
use super::document::{At, Findings, read_structure};
use super::rule::{Scalar, note};
use super::{Member, Operation, Place, Refusal, Shape};
use crate::sigv4::decoded;
use crate::validation::ValidationErrors;

/// Holds a request against the model. `body` is looked at only if it is a document: not where it is a payload.
pub fn check(operation: &Operation, parts: &Parts, body: &[u8]) -> Result<(), Refusal> {
    let mut found = Findings::default();
    if has_document(operation) {
        read_structure(operation.members, body, &mut found)?;
    }
    for (index, member) in operation.members.iter().enumerate() {
        if matches!(member.place, Place::Body) {
            continue;
        }
        let mut errors = ValidationErrors::default();
        if check_member(operation, member, parts, &mut errors)? {
            found.give(index);
        }
        found.put(index, errors);
    }
    let named = |name: &str| operation.members.iter().position(|member| member.name == name);
    let refused =
        refused(operation.name).find(|departure| named(departure.member).is_some_and(|index| found.is_given(index)));
    found.in_order().finish()?;
    refused.map_or(Ok(()), |departure| Err(Refusal::Unsupported(departure)))
}

/// Whether the body is a JSON document whose members the model names.
fn has_document(operation: &Operation) -> bool {
    operation.payload.is_none() && operation.members.iter().any(|member| matches!(member.place, Place::Body))
}

/// Checks a member that stands outside the document; whether it was there.
fn check_member(
    operation: &Operation,
    member: &Member,
    parts: &Parts,
    errors: &mut ValidationErrors,
) -> Result<bool, Refusal> {
    let name = || At::top(member.name).path();
    if let Shape::List(list) = member.shape {
        let Place::Query(query) = member.place else { return Ok(false) };
        let mut given = false;
        for value in queried(parts, query) {
            given = true;
            note(list.member, scalar(list.member, &value, member.name)?, &name, errors);
        }
        if member.required && !given {
            errors.add_missing(&name());
        }
        return Ok(given);
    }
    let value = match member.place {
        Place::Path(label) => Some(path_parameter(operation.path, label, parts.uri.path())),
        Place::Query(query) => queried(parts, query).next(),
        // A presigned URL carries them in its query.
        Place::Header(header) => header_text(parts, header).or_else(|| queried(parts, header).next()),
        Place::Body => None,
    };
    match &value {
        Some(value) => note(member.shape, scalar(member.shape, value, member.name)?, &name, errors),
        None if member.required => errors.add_missing(&name()),
        None => {}
    }
    Ok(value.is_some())
}

/// Text read as what the shape says.
fn scalar<'v>(shape: &Shape, text: &'v str, member: &str) -> Result<Scalar<'v>, Refusal> {
    let wrong = |what: &str| Refusal::Unreadable(format!("{member} must be {what}, not '{}'", shortened(text)));
    Ok(match shape {
        Shape::Integer(_) => Scalar::Whole(text.parse::<i32>().map_err(|_| wrong("a whole number"))?.into()),
        Shape::Long(_) => Scalar::Whole(text.parse().map_err(|_| wrong("a whole number"))?),
        Shape::Double(_) => Scalar::Decimal(text.parse().map_err(|_| wrong("a number"))?),
        Shape::Boolean if !matches!(text, "true" | "false") => return Err(wrong("true or false")),
        Shape::Text(_) => Scalar::Text(text),
        _ => Scalar::Free,
    })
}

fn shortened(text: &str) -> String {
    text.chars().take(64).collect()
}

/// What stands in `path` where `pattern` has `label` in braces, percent-decoded; invalid UTF-8 replaced.
#[must_use]
pub fn path_parameter<'p>(pattern: &str, label: &str, path: &'p str) -> Cow<'p, str> {
    let is_label = |segment: &str| segment.strip_prefix('{').and_then(|s| s.strip_suffix('}')) == Some(label);
    let mut segments = pattern.split('/').zip(path.split('/'));
    text(segments.find(|(pattern, _)| is_label(pattern)).map_or("", |(_, segment)| segment))
}

/// The values of a query parameter, percent-decoded; invalid UTF-8 replaced.
pub fn queried<'p>(parts: &'p Parts, name: &str) -> impl Iterator<Item = Cow<'p, str>> {
    let pairs = parts.uri.query().into_iter().flat_map(|query| query.split('&'));
    pairs.filter_map(move |pair| {
        let (found, value) = pair.split_once('=').unwrap_or((pair, ""));
        (found == name).then(|| text(value))
    })
}

fn header_text<'p>(parts: &'p Parts, name: &str) -> Option<Cow<'p, str>> {
    parts.headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()))
}

/// Percent-decoded, invalid UTF-8 replaced.
fn text(encoded: &str) -> Cow<'_, str> {
    match decoded(encoded) {
        Cow::Borrowed(_) => Cow::Borrowed(encoded),
        Cow::Owned(bytes) => Cow::Owned(String::from_utf8_lossy(&bytes).into_owned()),
    }
}
