//! What functions take of layers: `Layers` of CreateFunction and UpdateFunctionConfiguration.

use hearth_domain::AccountId;
use hearth_domain::limits::{BUNDLE_UNZIPPED_MAX_BYTES, LAYERS_MAX};
use hearth_store::FunctionRecord;
use hearth_store::catalog::FunctionLayer;

use super::VERSION_ARN_PATTERN;
use crate::api::Api;
use crate::errors::{ApiError, Code};
use crate::layers::LayerVersionArn;
use crate::validation::ValidationErrors;

impl Api {
    /// The layer versions that a function of `account` asks for, as its record keeps them.
    pub(in crate::api) async fn function_layers(
        &self,
        account: &AccountId,
        asked: &[String],
    ) -> Result<Vec<FunctionLayer>, ApiError> {
        let arns = read_arns(asked)?;
        self.check_list(&arns)?;
        let mut layers = Vec::with_capacity(arns.len());
        for arn in arns {
            layers.push(self.function_layer(account, &arn).await?);
        }
        Ok(layers)
    }

    fn check_list(&self, arns: &[LayerVersionArn]) -> Result<(), ApiError> {
        if arns.len() > LAYERS_MAX {
            return Err(ApiError::invalid_parameter(format!("Cannot reference more than {LAYERS_MAX} layers.")));
        }
        let region = &self.config.region;
        if arns.iter().any(|arn| arn.region != *region) {
            return Err(ApiError::invalid_parameter(format!(
                "Layers are not in the same region as the function. Layers are expected to be in region {region}."
            )));
        }
        for (index, arn) in arns.iter().enumerate() {
            if let Some(earlier) = arns[..index].iter().find(|earlier| earlier.layer() == arn.layer()) {
                return Err(ApiError::invalid_parameter(format!(
                    "Two different versions of the same layer are not allowed to be referenced in the same function. \
                     {earlier} and {arn} are versions of the same layer."
                )));
            }
        }
        Ok(())
    }

    async fn function_layer(&self, account: &AccountId, arn: &LayerVersionArn) -> Result<FunctionLayer, ApiError> {
        let found = self.find_layer_version(arn).await?.map(|found| found.value);
        let own = arn.account == *account;
        if !own && !found.as_ref().is_some_and(|version| version.policy.permits(account)) {
            let text = format!(
                "User: arn:aws:iam::{account}:root is not authorized to perform: lambda:GetLayerVersion on resource: \
                 {arn} because no resource-based policy allows the lambda:GetLayerVersion action"
            );
            return Err(ApiError::new(Code::AccessDeniedException, text));
        }
        let missing = || ApiError::invalid_parameter(format!("Layer version {arn} does not exist."));
        let version = found.ok_or_else(missing)?;
        Ok(FunctionLayer {
            arn: arn.to_string(),
            bundle: version.bundle,
            code_size: version.code_size,
            unzipped_bytes: version.unzipped_bytes,
        })
    }
}

/// Refuses code that is too large together with its layers.
pub(in crate::api) fn check_unzipped(record: &FunctionRecord) -> Result<(), ApiError> {
    let layers = record.layers.iter().map(|layer| layer.unzipped_bytes).sum();
    check_sum(record.unzipped_bytes, layers)
}

fn check_sum(code: u64, layers: u64) -> Result<(), ApiError> {
    let bytes = code.saturating_add(layers);
    if layers > 0 && bytes > BUNDLE_UNZIPPED_MAX_BYTES {
        return Err(ApiError::invalid_parameter(format!(
            "Function code combined with layers exceeds the maximum allowed size of {BUNDLE_UNZIPPED_MAX_BYTES} bytes. \
             The actual size is {bytes} bytes."
        )));
    }
    Ok(())
}

/// The constraint as AWS tells it, for a list of ARNs of which some are none.
fn read_arns(asked: &[String]) -> Result<Vec<LayerVersionArn>, ApiError> {
    let read: Result<Vec<_>, _> = asked.iter().map(|arn| arn.parse()).collect();
    read.map_err(|_| {
        let mut errors = ValidationErrors::default();
        let constraint = format!(
            "Member must satisfy constraint: [Member must have length less than or equal to 140, Member must have length \
             greater than or equal to 1, Member must satisfy regular expression pattern: {VERSION_ARN_PATTERN}, Member \
             must not be null]"
        );
        errors.add(format_args!("[{}]", asked.join(", ")), "layers", constraint);
        errors.into()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_and_layers_have_one_limit() {
        let max = BUNDLE_UNZIPPED_MAX_BYTES;
        assert!(check_sum(max - 1, 1).is_ok() && check_sum(max, 0).is_ok());
        let refusal = check_sum(max, 1).unwrap_err();
        assert_eq!(
            refusal.message(),
            "Function code combined with layers exceeds the maximum allowed size of 262144000 bytes. The actual size is \
             262144001 bytes."
        );
    }

    #[test]
    fn what_is_no_version_is_told_as_a_broken_constraint() {
        let refusal = read_arns(&["x".to_owned()]).unwrap_err();
        let text = refusal.message();
        assert!(text.starts_with("1 validation error detected: Value '[x]' at 'layers' failed to satisfy"), "{text}");
    }
}
