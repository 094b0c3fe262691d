//! A JSON document against its structure, read once and kept nowhere: strings are looked at where they lie.

use std::fmt;

use serde::de::{self, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::rule::{Rendered, Scalar, all, breaks, is_sensitive, note};
use super::{List, Map, Member, Operation, Place, Refusal, Shape};
use crate::validation::ValidationErrors;

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

fn read_list<'de, A: SeqAccess<'de>>(
    shape: &Shape,
    list: &'static List,
    at: &At<'_>,
    errors: &mut ValidationErrors,
    mut items: A,
) -> Result<bool, A::Error> {
    let (mut count, mut bad, mut rendered) = (0, false, Rendered::default());
    if is_nested(list.member) {
        loop {
            let at = At { above: Some(at), step: Step::Item(count) };
            if items.next_element_seed(Value { shape: list.member, at: &at, errors: &mut *errors })?.is_none() {
                break;
            }
            count += 1;
        }
    } else {
        while let Some(broken) = items.next_element_seed(Item { shape: list.member, rendered: &mut rendered })? {
            (bad, count) = (bad | broken, count + 1);
        }
    }
    let rendered = (!is_sensitive(shape)).then(|| rendered.list());
    let broken = bad.then(|| format!("Member must satisfy constraint: {}", all(list.member)));
    note_whole(rendered, at, count, (list.min, list.max), broken, errors);
    Ok(true)
}

fn read_map<'de, A: MapAccess<'de>>(
    shape: &Shape,
    map: &'static Map,
    at: &At<'_>,
    errors: &mut ValidationErrors,
    mut entries: A,
) -> Result<bool, A::Error> {
    let (mut count, mut bad_key, mut bad_value, mut rendered) = (0, false, false, Rendered::default());
    while let Some(broken) = entries.next_key_seed(Item { shape: map.key, rendered: &mut rendered })? {
        (bad_key, count) = (bad_key | broken, count + 1);
        rendered.push("=");
        if is_nested(map.value) {
            entries.next_value_seed(Value { shape: map.value, at, errors: &mut *errors })?;
        } else {
            bad_value |= entries.next_value_seed(Continued(Item { shape: map.value, rendered: &mut rendered }))?;
        }
    }
    let rendered = (!is_sensitive(shape)).then(|| rendered.map());
    let broken = bad_value.then(|| format!("Map value must satisfy constraint: {}", all(map.value)));
    if bad_key {
        let broken = format!("Map keys must satisfy constraint: {}", all(map.key));
        note_whole(rendered.clone(), at, count, (None, None), Some(broken), errors);
    }
    note_whole(rendered, at, count, (map.min, map.max), broken, errors);
    Ok(true)
}

/// What is wrong with a list or a map as a whole.
fn note_whole(
    rendered: Option<String>,
    at: &At<'_>,
    count: usize,
    (min, max): (Option<usize>, Option<usize>),
    broken: Option<String>,
    errors: &mut ValidationErrors,
) {
    let long = max.filter(|max| count > *max).map(|max| format!("Member must have length less than or equal to {max}"));
    let short =
        min.filter(|min| count < *min).map(|min| format!("Member must have length greater than or equal to {min}"));
    for constraint in [broken, long, short].into_iter().flatten() {
        match &rendered {
            Some(rendered) => errors.add(rendered, &at.path(), constraint),
            None => errors.add_hidden(&at.path(), constraint),
        }
    }
}

/// A scalar within a list or a map: whether it breaks its constraints.
struct Item<'a> {
    shape: &'static Shape,
    rendered: &'a mut Rendered,
}

/// The value after a key.
struct Continued<'a>(Item<'a>);

impl Item<'_> {
    fn take<E: de::Error>(self, value: Scalar<'_>) -> Result<bool, E> {
        let value = fitting(self.shape, value)?;
        self.rendered.scalar(value);
        Ok(breaks(self.shape, value))
    }
}

impl<'de> DeserializeSeed<'de> for Item<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        self.rendered.separate();
        deserializer.deserialize_any(self)
    }
}

impl<'de> DeserializeSeed<'de> for Continued<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_any(self.0)
    }
}

impl<'de> Visitor<'de> for Item<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E: de::Error>(self) -> Result<bool, E> {
        self.take(Scalar::Null)
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<bool, E> {
        let fits = matches!(self.shape, Shape::Boolean);
        if fits { Ok(false) } else { Err(mismatch(if value { "TRUE_VALUE" } else { "FALSE_VALUE" }, self.shape)) }
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<bool, E> {
        self.take(Scalar::Whole(value))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<bool, E> {
        let whole = i64::try_from(value).map(Scalar::Whole);
        self.take(whole.unwrap_or(Scalar::Decimal(value as f64)))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<bool, E> {
        self.take(Scalar::Decimal(value))
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<bool, E> {
        self.take(Scalar::Text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, _: A) -> Result<bool, A::Error> {
        Err(de::Error::custom("Start of list found where not expected"))
    }

    fn visit_map<A: MapAccess<'de>>(self, _: A) -> Result<bool, A::Error> {
        Err(de::Error::custom("Start of structure or map found where not expected."))
    }
}

fn is_nested(shape: &Shape) -> bool {
    matches!(shape, Shape::List(_) | Shape::Map(_) | Shape::Structure(_))
}

/// The value as the shape has it, if it can be.
fn fitting<'v, E: de::Error>(shape: &Shape, value: Scalar<'v>) -> Result<Scalar<'v>, E> {
    match (shape, value) {
        (_, Scalar::Null) | (Shape::Text(_), Scalar::Text(_)) | (Shape::Long(_), Scalar::Whole(_)) => Ok(value),
        (Shape::Integer(_), Scalar::Whole(number)) if i32::try_from(number).is_ok() => Ok(value),
        (Shape::Double(_), Scalar::Decimal(_)) => Ok(value),
        (Shape::Double(_), Scalar::Whole(number)) => Ok(Scalar::Decimal(number as f64)),
        (Shape::Blob, Scalar::Text(_))
        | (Shape::Timestamp, Scalar::Text(_) | Scalar::Whole(_) | Scalar::Decimal(_)) => Ok(Scalar::Free),
        (_, Scalar::Text(_)) => Err(mismatch("STRING_VALUE", shape)),
        (_, Scalar::Whole(_) | Scalar::Decimal(_)) => Err(mismatch("NUMBER_VALUE", shape)),
        (_, Scalar::Free) => Ok(value),
    }
}

/// AWS's deserializer: "NUMBER_VALUE can not be converted to a String".
fn mismatch<E: de::Error>(found: &str, shape: &Shape) -> E {
    let wanted = match shape {
        Shape::Text(_) => "a String",
        Shape::Integer(_) => "an Integer",
        Shape::Long(_) => "a Long",
        Shape::Double(_) => "a Double",
        Shape::Boolean => "a Boolean",
        Shape::Blob => "a Blob",
        Shape::Timestamp => "a Date",
        Shape::List(_) => return E::custom("Expected list or null"),
        Shape::Map(_) | Shape::Structure(_) => return E::custom("Unexpected field type"),
    };
    E::custom(format_args!("{found} can not be converted to {wanted}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::operation;

    fn told_of(name: &str, body: &str) -> String {
        check_document(operation(name).unwrap(), body.as_bytes()).unwrap_err().to_string()
    }

    fn holds(name: &str, body: &str) {
        check_document(operation(name).unwrap(), body.as_bytes()).unwrap_or_else(|refusal| panic!("{refusal}: {body}"));
    }

    #[test]
    fn all_broken_constraints_are_told_at_once_in_the_models_order() {
        let told = told_of(
            "CreateFunction",
            r#"{"Timeout":901,"Handler":"a b","Role":"me","EphemeralStorage":{"Size":1},"MemorySize":64,"Code":null}"#,
        );
        let expected = r"6 validation errors detected: Value null at 'functionName' failed to satisfy constraint: Member must not be null; Value 'me' at 'role' failed to satisfy constraint: Member must satisfy regular expression pattern: arn:(aws[a-zA-Z-]*)?:iam::\d{12}:role/?[a-zA-Z_0-9+=,.@\-_/]+; Value 'a b' at 'handler' failed to satisfy constraint: Member must satisfy regular expression pattern: [^\s]+; Value null at 'code' failed to satisfy constraint: Member must not be null; Value '901' at 'timeout' failed to satisfy constraint: Member must have value less than or equal to 900; Value '64' at 'memorySize' failed";
        let expected = expected.replacen("6 validation", "7 validation", 1);
        assert!(told.starts_with(&expected), "{told}");
        assert!(told.ends_with("Value '1' at 'ephemeralStorage.size' failed to satisfy constraint: Member must have value greater than or equal to 512"), "{told}");
    }

    /// Recorded: LocalStack, TestLambdaAlias::test_notfound_and_invalid_routingconfigs.
    #[test]
    fn maps_are_told_as_lambda_tells_them() {
        let alias = |weights: &str| {
            let body = format!(
                r#"{{"Name":"a","FunctionVersion":"1","RoutingConfig":{{"AdditionalVersionWeights":{weights}}}}}"#
            );
            told_of("CreateAlias", &body)
        };
        let at = "at 'routingConfig.additionalVersionWeights' failed to satisfy constraint:";
        assert_eq!(
            alias(r#"{"2":2}"#),
            format!(
                "1 validation error detected: Value '{{2=2.0}}' {at} Map value must satisfy constraint: [Member must have value less than or equal to 1.0, Member must have value greater than or equal to 0.0, Member must not be null]"
            )
        );
        assert_eq!(
            alias(r#"{"$LATEST":0.5}"#),
            format!(
                "1 validation error detected: Value '{{$LATEST=0.5}}' {at} Map keys must satisfy constraint: [Member must have length less than or equal to 1024, Member must have length greater than or equal to 1, Member must satisfy regular expression pattern: [0-9]+, Member must not be null]"
            )
        );
    }

    #[test]
    fn lists_and_what_is_in_them() {
        let told = told_of("UpdateFunctionCode", r#"{"Architectures":["mips"]}"#);
        assert_eq!(
            told,
            "1 validation error detected: Value '[mips]' at 'architectures' failed to satisfy constraint: Member must satisfy constraint: [Member must satisfy enum value set: [x86_64, arm64], Member must not be null]"
        );
        let told = told_of("UpdateFunctionCode", r#"{"Architectures":["arm64","x86_64"]}"#);
        assert_eq!(
            told,
            "1 validation error detected: Value '[arm64, x86_64]' at 'architectures' failed to satisfy constraint: Member must have length less than or equal to 1"
        );
        let told =
            told_of("UpdateFunctionConfiguration", r#"{"FileSystemConfigs":[{"Arn":"x","LocalMountPath":"/mnt/a"}]}"#);
        assert!(told.contains("Value 'x' at 'fileSystemConfigs.1.member.arn' failed"), "{told}");
    }

    #[test]
    fn secrets_are_not_repeated() {
        let told = told_of("UpdateFunctionConfiguration", r#"{"Environment":{"Variables":{"1":"secret"}}}"#);
        assert_eq!(
            told,
            "1 validation error detected: Value at 'environment.variables' failed to satisfy constraint: Map keys must satisfy constraint: [Member must satisfy regular expression pattern: [a-zA-Z]([a-zA-Z0-9_])+, Member must not be null]"
        );
    }

    #[test]
    fn wrong_types_end_the_check() {
        for (body, text) in [
            (r#"{"Timeout":"soon","Handler":"a b"}"#, "STRING_VALUE can not be converted to an Integer"),
            (r#"{"Timeout":1.5}"#, "NUMBER_VALUE can not be converted to an Integer"),
            (r#"{"Timeout":99999999999}"#, "NUMBER_VALUE can not be converted to an Integer"),
            (r#"{"Timeout":1e400}"#, "Could not parse request body into json: number out of range at line 1 column 16"),
            (r#"{"Handler":7}"#, "NUMBER_VALUE can not be converted to a String"),
            (r#"{"Handler":true}"#, "TRUE_VALUE can not be converted to a String"),
            (r#"{"Handler":{}}"#, "Start of structure or map found where not expected."),
            (r#"{"Handler":["x"]}"#, "Start of list found where not expected"),
            (r#"{"Layers":"x"}"#, "Expected list or null"),
            (r#"{"Layers":[{}]}"#, "Start of structure or map found where not expected."),
            (r#"{"TracingConfig":5}"#, "Unexpected field type"),
            ("[]", "Start of list found where not expected"),
        ] {
            assert_eq!(told_of("UpdateFunctionConfiguration", body), text, "{body}");
        }
        for bad in ["{", "{}x", "\"\\ud800\"", "nul"] {
            assert!(told_of("UpdateFunctionConfiguration", bad).starts_with("Could not parse request body into json"));
        }
        assert!(told_of("UpdateFunctionConfiguration", "7").contains("expected a structure"));
        let deep = |member: &str| format!(r#"{{"{member}":{}{}}}"#, "[".repeat(100_000), "]".repeat(100_000));
        assert_eq!(told_of("UpdateFunctionConfiguration", &deep("Layers")), "Start of list found where not expected");
        holds("UpdateFunctionConfiguration", &deep("Unknown"));
    }

    #[test]
    fn null_is_absent_and_the_unknown_is_passed_over() {
        holds("UpdateFunctionConfiguration", r#"{"Timeout":null,"Surprise":{"x":[1]},"TracingConfig":{"Mode":null}}"#);
        holds("UpdateFunctionConfiguration", "");
        holds(
            "CreateAlias",
            r#"{"Name":"a","FunctionVersion":"1","RoutingConfig":{"AdditionalVersionWeights":{"2":1}}}"#,
        );
    }
}
