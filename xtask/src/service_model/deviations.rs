//! Where the running service differs from its published model, and where we do.

use anyhow::{Context, Result};

use super::shapes::{ServiceModel, Shape};

/// Brings the model to what is answered.
pub(super) fn apply(model: &mut ServiceModel) -> Result<()> {
    // AWS developer guide, "Lambda quotas": 15 minutes; the model has no upper bound, the service names this one.
    shape(model, "Timeout")?.max = Some(900.into());
    // The same: 10,240 MB. The model's 32,768 is for functions on capacity providers, which Hearth does not have.
    shape(model, "MemorySize")?.max = Some(10_240.into());
    // Recorded (LocalStack, TestLambdaFunction::test_create_lambda_exceptions): a runtime nobody knows is an
    // InvalidParameterValueException with a text of its own, and an ARN is allowed.
    model.shapes.insert("RuntimeOrArn".to_owned(), free_text());
    for request in ["CreateFunctionRequest", "UpdateFunctionConfigurationRequest"] {
        let members = &mut shape(model, request)?.members.0;
        let runtime = members.iter_mut().find(|(name, _)| name == "Runtime");
        "RuntimeOrArn".clone_into(&mut runtime.with_context(|| format!("{request} has no Runtime"))?.1.shape);
    }
    Ok(())
}

fn shape<'m>(model: &'m mut ServiceModel, name: &str) -> Result<&'m mut Shape> {
    model.shapes.get_mut(name).with_context(|| format!("the model has no shape {name}"))
}

fn free_text() -> Shape {
    Shape {
        kind: "string".to_owned(),
        min: None,
        max: None,
        pattern: None,
        values: Vec::new(),
        required: Vec::new(),
        members: super::shapes::Members::default(),
        member: None,
        key: None,
        value: None,
        payload: None,
        sensitive: false,
    }
}
