//! The checksums that SQS clients compare: not for security.

use std::collections::BTreeMap;

use hearth_store::message::Attribute;
use md5::{Digest, Md5};

/// Of a body.
pub(super) fn of_body(body: &[u8]) -> String {
    hex::encode(Md5::digest(body))
}

/// Of attributes by name, each as length and bytes of name, type and value (SQS developer guide, "Calculating the MD5
/// message digest for message attributes"). Values are text here, which is transport type 1.
pub(super) fn of_attributes(attributes: &BTreeMap<String, Attribute>) -> String {
    const TEXT: [u8; 1] = [1];
    let mut digest = Md5::new();
    let mut add = |part: &str, before: &[u8]| {
        digest.update(before);
        digest.update(u32::try_from(part.len()).unwrap_or(u32::MAX).to_be_bytes());
        digest.update(part);
    };
    for (name, Attribute { data_type, value }) in attributes {
        add(name, &[]);
        add(data_type, &[]);
        add(value, &TEXT);
    }
    hex::encode(digest.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_has_its_well_known_digest() {
        assert_eq!(of_body(b""), "d41d8cd98f00b204e9800998ecf8427e");
        // The body of a dead letter as AWS recorded it (tests/aws-facts/destinations.json).
        assert_eq!(of_body(br#"{"raise_error": 1}"#), "ba08269cbd0ce515889bfba6593731e1");
    }

    #[test]
    fn every_part_of_attributes_counts() {
        let of = |name: &str, data_type: &str, value: &str| {
            let attribute = Attribute { data_type: data_type.into(), value: value.into() };
            of_attributes(&BTreeMap::from([(name.into(), attribute)]))
        };
        let all = [of("a", "String", "x"), of("b", "String", "x"), of("a", "Number", "x"), of("a", "String", "y")];
        assert!(all.iter().enumerate().all(|(index, one)| !all[index + 1..].contains(one)));
    }
}
