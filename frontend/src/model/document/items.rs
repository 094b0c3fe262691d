//! Lists and maps: what is in them is checked piece by piece, and told of as a whole.

use std::fmt;

use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

use super::fit::{fitting, mismatch};
use super::{At, Step, Value};
use crate::model::rule::{Rendered, Scalar, all, breaks, is_sensitive};
use crate::model::{List, Map, Shape};
use crate::validation::ValidationErrors;

pub(super) fn read_list<'de, A: SeqAccess<'de>>(
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

pub(super) fn read_map<'de, A: MapAccess<'de>>(
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
