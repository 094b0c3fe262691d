//! The service model as botocore writes it: what of it is read.

use std::collections::BTreeMap;

use serde::Deserialize;

/// The whole.
#[derive(Debug, Deserialize)]
pub(super) struct ServiceModel {
    pub(super) operations: BTreeMap<String, Operation>,
    pub(super) shapes: BTreeMap<String, Shape>,
}

/// An operation.
#[derive(Debug, Deserialize)]
pub(super) struct Operation {
    pub(super) http: Http,
    pub(super) input: Option<ShapeRef>,
}

/// Its route.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Http {
    pub(super) method: String,
    pub(super) request_uri: String,
}

/// A shape, whatever its type: what it has no use for is absent.
#[derive(Debug, Deserialize)]
pub(super) struct Shape {
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) min: Option<serde_json::Number>,
    pub(super) max: Option<serde_json::Number>,
    pub(super) pattern: Option<String>,
    #[serde(default, rename = "enum")]
    pub(super) values: Vec<String>,
    #[serde(default)]
    pub(super) required: Vec<String>,
    #[serde(default)]
    pub(super) members: Members,
    pub(super) member: Option<ShapeRef>,
    pub(super) key: Option<ShapeRef>,
    pub(super) value: Option<ShapeRef>,
    pub(super) payload: Option<String>,
    #[serde(default)]
    pub(super) sensitive: bool,
}

/// Members in the model's order.
#[derive(Debug, Default)]
pub(super) struct Members(pub(super) Vec<(String, ShapeRef)>);

/// A use of a shape.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ShapeRef {
    pub(super) shape: String,
    pub(super) location: Option<String>,
    pub(super) location_name: Option<String>,
}

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;
        impl<'de> serde::de::Visitor<'de> for InOrder {
            type Value = Members;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("members by name")
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(InOrder)
    }
}
