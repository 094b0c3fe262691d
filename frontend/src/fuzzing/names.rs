//! Names of functions and layers: what is read can be written, and is then read as the same.

use hearth_domain::AccountId;

use super::lines;
use crate::layers::LayerVersionArn;
use crate::validation::{Addressee, NameForm, Named, Target};

const REGION: &str = "us-east-1";

/// Lines: a name, a qualifier.
pub fn names(data: &[u8]) {
    let ([name, qualifier], _) = lines(data);
    let Ok(account) = AccountId::new("000000000000") else { unreachable!("an account of ours") };
    let to = Addressee { account: &account, region: REGION };
    for form in [NameForm::Plain, NameForm::Namespaced] {
        for qualifier in [None, Some(qualifier.as_str())] {
            let Ok(target) = Target::read(&name, form, qualifier, to) else { continue };
            let arn = target.arn(to);
            // The longest ARN that is made of a short name need not be short enough to be given itself.
            if let Ok(again) = Target::read(&arn, NameForm::Namespaced, None, to) {
                assert_eq!(again, target, "{arn}");
            }
            let named = Named::read(&name);
            assert!(named.is_some_and(|named| named.name == target.name), "{name:?}");
        }
    }
    if let Ok(layer) = name.parse::<LayerVersionArn>() {
        assert_eq!(layer.to_string().parse(), Ok(layer), "{name:?}");
    }
}
