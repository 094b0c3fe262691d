//! DeleteFunction.

use axum::response::Response;
use hearth_domain::Version;
use hearth_protocol::worker_manager::RetireRequest;
use hearth_store::CatalogError;

use super::call::Call;
use super::configuration::function_arn;
use super::{Api, no_content};
use crate::belongings;
use crate::errors::ApiError;
use crate::validation::{NameForm, Qualifier};

impl Api {
    /// Deletes a function with all its versions, or one version. Deleting a version that is not there is no error, as
    /// at AWS; a function that is not there is.
    pub(super) async fn delete_function(&self, call: Call) -> Result<Response, ApiError> {
        let target = call.target(&self.config.region, NameForm::Namespaced)?;
        let (account, name) = (&call.key.account, &target.name);
        let version = match &target.qualifier {
            None => None,
            Some(Qualifier::Version(Version::Latest)) => {
                let text = "$LATEST version cannot be deleted without deleting the function.";
                return Err(ApiError::invalid_parameter(text));
            }
            Some(Qualifier::Version(version)) => Some(*version),
            Some(Qualifier::Alias(_)) => {
                let text = "Deletion of aliases is not currently supported.";
                return Err(ApiError::invalid_parameter(text));
            }
        };
        let _change = self.changes.lock(account, name).await;
        if self.deps.catalog.get(account, name, Version::Latest).await?.is_none() {
            // Without the version, whatever was asked for (LocalStack's recordings, test_delete_on_nonexisting_version).
            return Err(ApiError::function_not_found(&function_arn(&self.config.region, account, name, None)));
        }
        if let Some(version) = version {
            self.check_no_alias_names(account, name, version).await?;
        }
        let qualifier = version.map(|version| version.to_string());
        belongings::remove(&*self.deps.documents, account, name, qualifier.as_deref()).await?;
        self.concurrency
            .change(account, |all| {
                match &qualifier {
                    Some(qualifier) => {
                        all.stop_provisioning(name, qualifier);
                    }
                    None => all.forget(name),
                }
                Ok(())
            })
            .await?;
        self.provisioner.changed();
        match self.deps.catalog.delete(account, name, version).await {
            Ok(()) | Err(CatalogError::NotFound { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        self.specs.forget(account, name);
        let retire = RetireRequest { account: account.clone(), name: name.clone(), version, keep: None };
        self.activator.retire(retire);
        no_content()
    }
}
