//! Names of layers and of their versions (service model: `LayerName`, `LayerVersionArn`).

use std::fmt;
use std::str::FromStr;

use hearth_domain::AccountId;
use serde::{Deserialize, Serialize};

/// Longest bare name of a layer: its longest version ARN has to keep within 140 characters.
const NAME_MAX_CHARS: usize = 140;

/// Not the name of a layer, or of a version of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a layer")]
pub struct InvalidLayer;

/// A layer's bare name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct LayerName(String);

impl FromStr for LayerName {
    type Err = InvalidLayer;

    fn from_str(text: &str) -> Result<Self, InvalidLayer> {
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        let valid = (1..=NAME_MAX_CHARS).contains(&text.len()) && text.bytes().all(legal);
        if valid { Ok(Self(text.to_owned())) } else { Err(InvalidLayer) }
    }
}

impl TryFrom<String> for LayerName {
    type Error = InvalidLayer;

    fn try_from(text: String) -> Result<Self, InvalidLayer> {
        text.parse()
    }
}

impl From<LayerName> for String {
    fn from(name: LayerName) -> Self {
        name.0
    }
}

impl fmt::Display for LayerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// `arn:aws:lambda:REGION:ACCOUNT:layer:NAME:NUMBER`
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct LayerVersionArn {
    /// The region.
    pub region: String,
    /// Whose layer.
    pub account: AccountId,
    /// Its name.
    pub name: LayerName,
    /// The version.
    pub number: u64,
}

impl LayerVersionArn {
    /// The ARN of the layer, all versions together.
    #[must_use]
    pub fn layer(&self) -> String {
        format!("arn:aws:lambda:{}:{}:layer:{}", self.region, self.account, self.name)
    }
}

impl fmt::Display for LayerVersionArn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.layer(), self.number)
    }
}

impl FromStr for LayerVersionArn {
    type Err = InvalidLayer;

    fn from_str(text: &str) -> Result<Self, InvalidLayer> {
        let (layer, number) = text.rsplit_once(':').ok_or(InvalidLayer)?;
        let (region, account, name) = read_layer(layer).ok_or(InvalidLayer)?;
        let digits = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
        let number = number.parse().ok().filter(|_| digits).ok_or(InvalidLayer)?;
        Ok(Self { region: region.to_owned(), account, name, number })
    }
}

/// The region, account and name of a layer's ARN.
pub(super) fn read_layer(arn: &str) -> Option<(&str, AccountId, LayerName)> {
    let mut parts = arn.split(':');
    let mut next = || parts.next().unwrap_or_default();
    let (scheme, partition, service, region, account, kind, name) =
        (next(), next(), next(), next(), next(), next(), next());
    let plain = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    let is_layer = (scheme, service, kind) == ("arn", "lambda", "layer") && plain(partition) && plain(region);
    if !is_layer || parts.next().is_some() {
        return None;
    }
    Some((region, AccountId::new(account).ok()?, name.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_no_version_is_refused() {
        for bad in [
            "",
            "numpy",
            "arn:aws:lambda:us-east-1:000000000000:layer:numpy",
            "arn:aws:lambda:us-east-1:000000000000:layer:numpy:",
            "arn:aws:lambda:us-east-1:000000000000:layer:numpy:+1",
            "arn:aws:lambda:us-east-1:000000000000:layer:numpy:1:2",
            "arn:aws:lambda:us-east-1:0:layer:numpy:1",
            "arn:aws:s3:us-east-1:000000000000:layer:numpy:1",
            "arn:aws:lambda:us-east-1:000000000000:function:numpy:1",
        ] {
            assert_eq!(bad.parse::<LayerVersionArn>(), Err(InvalidLayer), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn arns_are_read_back(region in "[a-z0-9-]{1,12}", account in "[0-9]{12}", name in "[a-zA-Z0-9_-]{1,64}", number: u64) {
            let account = AccountId::new(&account).unwrap();
            let arn = LayerVersionArn { region, account, name: name.parse().unwrap(), number };
            prop_assert_eq!(arn.to_string().parse(), Ok(arn));
        }

        #[test]
        fn nothing_makes_it_panic(text in ".{0,80}") {
            let _ = text.parse::<LayerVersionArn>();
        }
    }
}
