//! Environment variables of a function.

use std::collections::BTreeMap;

use hearth_domain::limits::ENVIRONMENT_MAX_BYTES;

use super::SettingsError;

/// Variables that Lambda sets itself and refuses to take
/// (developer guide, "Using Lambda environment variables", defined runtime environment variables: reserved).
const RESERVED: [&str; 18] = [
    "_HANDLER",
    "_X_AMZN_TRACE_ID",
    "AWS_DEFAULT_REGION",
    "AWS_REGION",
    "AWS_EXECUTION_ENV",
    "AWS_LAMBDA_FUNCTION_NAME",
    "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
    "AWS_LAMBDA_FUNCTION_VERSION",
    "AWS_LAMBDA_INITIALIZATION_TYPE",
    "AWS_LAMBDA_LOG_GROUP_NAME",
    "AWS_LAMBDA_LOG_STREAM_NAME",
    "AWS_ACCESS_KEY",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_LAMBDA_RUNTIME_API",
    "LAMBDA_TASK_ROOT",
    "LAMBDA_RUNTIME_DIR",
];

/// Checks names against the reserved ones and the whole against its size limit.
pub fn check_environment(variables: &BTreeMap<String, String>) -> Result<(), SettingsError> {
    let reserved: Vec<&str> = variables.keys().map(String::as_str).filter(|name| RESERVED.contains(name)).collect();
    if !reserved.is_empty() {
        return Err(SettingsError::ReservedVariables(reserved.join(", ")));
    }
    if let Some((name, _)) = variables.iter().find(|(_, value)| value.contains('\0')) {
        return Err(SettingsError::BadVariable(name.chars().take(64).collect()));
    }
    // Measured as Lambda does: the JSON of all of them.
    let measured = serde_json::to_string(variables).unwrap_or_default();
    if measured.len() > ENVIRONMENT_MAX_BYTES {
        return Err(SettingsError::EnvironmentTooLarge(measured));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pairs: &[(&str, &str)]) -> Result<(), SettingsError> {
        check_environment(&pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
    }

    #[test]
    fn names_and_size_are_held() {
        assert!(check(&[("STAGE", "prod"), ("a1_", "")]).is_ok());
        assert!(check(&[("AWS_REGION", "x")]).unwrap_err().to_string().contains("AWS_REGION"));
        assert!(check(&[("LAMBDA_RUNTIME_DIR", "x")]).is_err());
        assert!(check(&[("NUL", "a\0b")]).is_err());
        assert!(check(&[("KEY", &"x".repeat(4_086))]).is_ok());
        assert!(check(&[("KEY", &"x".repeat(4_087))]).is_err());
    }
}
