//! Whether a value is of the type that a shape asks for, and the words of AWS's deserializer where it is not.

use serde::de;

use crate::model::Shape;
use crate::model::rule::Scalar;

/// The value as the shape has it, if it can be.
pub(super) fn fitting<'v, E: de::Error>(shape: &Shape, value: Scalar<'v>) -> Result<Scalar<'v>, E> {
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
pub(super) fn mismatch<E: de::Error>(found: &str, shape: &Shape) -> E {
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
