//! A JSON document against its structure, read once and kept nowhere: strings are looked at where they lie.

use std::fmt;

use serde::de::{self, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use self::fit::{fitting, mismatch};
use self::items::{read_list, read_map};
use super::rule::{Scalar, note};
use super::{Member, Operation, Place, Refusal, Shape};
use crate::validation::ValidationErrors;

mod fit;
mod items;
#[cfg(test)]
mod tests;

/// What was found at the members of one structure.
#[derive(Debug, Default)]
pub(super) struct Findings {
    found: Vec<(usize, ValidationErrors)>,
    /// The members that were there, a bit each.
    given: u64,
}

/// Where in the document a value stands.
#[derive(Clone, Copy)]
pub(super) struct At<'a> {
    above: Option<&'a At<'a>>,
    step: Step,
}

#[derive(Clone, Copy)]
enum Step {
    Member(&'static str),
    /// From 0.
    Item(usize),
}

/// Reads a document as the members of `operation` that stand in the body, and holds it against them.
pub fn check_document(operation: &Operation, body: &[u8]) -> Result<(), Refusal> {
    let mut found = Findings::default();
    read_structure(operation.members, body, &mut found)?;
    Ok(found.in_order().finish()?)
}

/// As [`check_document`], into `found`. An absent document is an empty one.
pub(super) fn read_structure(members: &'static [Member], body: &[u8], found: &mut Findings) -> Result<(), Refusal> {
    let body = if body.is_empty() { b"{}" } else { body };
    let mut reader = serde_json::Deserializer::from_slice(body);
    let read = reader.deserialize_any(Structure { members, at: None, found });
    read.and_then(|()| reader.end()).map_err(|error| Refusal::Unreadable(told(&error)))
}

/// What our visitors say stands alone, as at AWS; what the parser says has its line and column.
fn told(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match error.classify() {
        serde_json::error::Category::Data => text.split(" at line ").next().unwrap_or_default().to_owned(),
        _ => format!("Could not parse request body into json: {text}"),
    }
}

impl Findings {
    pub(super) fn put(&mut self, index: usize, errors: ValidationErrors) {
        if !errors.is_empty() {
            self.found.push((index, errors));
        }
    }

    pub(super) fn give(&mut self, index: usize) {
        self.given |= 1 << index;
    }

    /// Whether a member was there.
    pub(super) fn is_given(&self, index: usize) -> bool {
        self.given & (1 << index) != 0
    }

    /// In the order of the members.
    pub(super) fn in_order(mut self) -> ValidationErrors {
        self.found.sort_by_key(|(index, _)| *index);
        let mut all = ValidationErrors::default();
        self.found.into_iter().for_each(|(_, errors)| all.append(errors));
        all
    }
}

impl At<'_> {
    pub(super) fn top(member: &'static str) -> At<'static> {
        At { above: None, step: Step::Member(member) }
    }

    /// `functionName`, `fileSystemConfigs.1.member.arn`: names begin with a small letter, items are counted from 1.
    pub(super) fn path(&self) -> String {
        let mut path = self.above.map(|above| above.path() + ".").unwrap_or_default();
        match self.step {
            Step::Member(name) => {
                let (first, rest) = name.split_at(name.len().min(1));
                path.push_str(&first.to_ascii_lowercase());
                path.push_str(rest);
            }
            Step::Item(index) => path.push_str(&format!("{}.member", index + 1)),
        }
        path
    }
}

/// Any value, read as `shape`.
struct Value<'a> {
    shape: &'static Shape,
    at: &'a At<'a>,
    errors: &'a mut ValidationErrors,
}

impl<'de> DeserializeSeed<'de> for Value<'_> {
    /// Whether there was one: null is the same as none.
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Value<'_> {
    fn scalar<E: de::Error>(self, value: Scalar<'_>) -> Result<bool, E> {
        note(self.shape, fitting(self.shape, value)?, &|| self.at.path(), self.errors);
        Ok(true)
    }
}

impl<'de> Visitor<'de> for Value<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<bool, E> {
        let fits = matches!(self.shape, Shape::Boolean);
        if fits { Ok(true) } else { Err(mismatch(if value { "TRUE_VALUE" } else { "FALSE_VALUE" }, self.shape)) }
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<bool, E> {
        self.scalar(Scalar::Whole(value))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<bool, E> {
        match i64::try_from(value) {
            Ok(value) => self.scalar(Scalar::Whole(value)),
            Err(_) => self.scalar(Scalar::Decimal(value as f64)),
        }
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<bool, E> {
        self.scalar(Scalar::Decimal(value))
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<bool, E> {
        self.scalar(Scalar::Text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<bool, A::Error> {
        match self.shape {
            Shape::List(list) => read_list(self.shape, list, self.at, self.errors, items),
            _ => Err(de::Error::custom("Start of list found where not expected")),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, entries: A) -> Result<bool, A::Error> {
        match self.shape {
            Shape::Map(map) => read_map(self.shape, map, self.at, self.errors, entries),
            Shape::Structure(members) => {
                let mut found = Findings::default();
                Structure { members, at: Some(self.at), found: &mut found }.visit_map(entries)?;
                self.errors.append(found.in_order());
                Ok(true)
            }
            _ => Err(de::Error::custom("Start of structure or map found where not expected.")),
        }
    }
}

/// The members of a structure.
struct Structure<'a> {
    members: &'static [Member],
    at: Option<&'a At<'a>>,
    found: &'a mut Findings,
}

impl<'de> Visitor<'de> for Structure<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a structure")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        while let Some(index) = entries.next_key_seed(MemberName(self.members))? {
            let Some(index) = index else {
                entries.next_value::<IgnoredAny>()?;
                continue;
            };
            let member = &self.members[index];
            let (at, mut errors) =
                (At { above: self.at, step: Step::Member(member.name) }, ValidationErrors::default());
            if entries.next_value_seed(Value { shape: member.shape, at: &at, errors: &mut errors })? {
                self.found.give(index);
            }
            self.found.put(index, errors);
        }
        for (index, member) in self.members.iter().enumerate() {
            if member.required && member.place == Place::Body && !self.found.is_given(index) {
                let mut errors = ValidationErrors::default();
                errors.add_missing(&At { above: self.at, step: Step::Member(member.name) }.path());
                self.found.put(index, errors);
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, _: A) -> Result<(), A::Error> {
        Err(de::Error::custom("Start of list found where not expected"))
    }
}

/// The name of a member: its index among those in the body, if the model knows it.
struct MemberName(&'static [Member]);

impl<'de> DeserializeSeed<'de> for MemberName {
    type Value = Option<usize>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Option<usize>, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for MemberName {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E>(self, name: &str) -> Result<Option<usize>, E> {
        Ok(self.0.iter().position(|member| member.place == Place::Body && member.name == name))
    }
}
