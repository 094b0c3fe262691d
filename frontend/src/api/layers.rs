//! Layers: published, read, listed, deleted; and what functions take of them.

mod functions;
mod permissions;
mod view;

use std::sync::Arc;

use axum::response::Response;
use hearth_daemon::Clock;
use hearth_domain::AccountId;
use hearth_store::document::Found;
use serde::{Deserialize, Serialize};

use super::call::Call;
use super::code::CodeSource;
use super::{Api, json, no_content};
use crate::errors::{ApiError, Code};
use crate::layers::{LayerFilter, LayerName, LayerPolicy, LayerVersion, LayerVersionArn};
use crate::validation::ValidationErrors;
pub(super) use functions::check_unzipped;
use view::{LayerItem, VersionItem, WholeVersion};

/// Most entries of a page (service model: `MaxLayerListItems`).
const PAGE_MAX: u32 = 50;
/// Layers looked at to fill one page: those without a version that fits are passed over.
const LOOKED_AT_MAX: usize = 1_000;
const NAME_PATTERN: &str = r"(arn:[a-zA-Z0-9-]+:lambda:[a-zA-Z0-9-]+:\d{12}:layer:[a-zA-Z0-9-_]+)|[a-zA-Z0-9-_]+";
const VERSION_ARN_PATTERN: &str = r"arn:[a-zA-Z0-9-]+:lambda:[a-zA-Z0-9-]+:\d{12}:layer:[a-zA-Z0-9-_]+:[0-9]+";

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct PublishLayerVersion {
    description: Option<String>,
    content: Option<CodeSource>,
    compatible_runtimes: Option<Vec<String>>,
    compatible_architectures: Option<Vec<String>>,
    license_info: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ListLayers {
    #[serde(skip_serializing_if = "Option::is_none")]
    next_marker: Option<String>,
    layers: Vec<LayerItem>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ListLayerVersions {
    #[serde(skip_serializing_if = "Option::is_none")]
    next_marker: Option<String>,
    layer_versions: Vec<VersionItem>,
}

/// A layer, as a path names it.
struct NamedLayer {
    account: AccountId,
    name: LayerName,
}

impl Api {
    pub(super) async fn publish_layer_version(&self, call: Call) -> Result<Response, ApiError> {
        let request: PublishLayerVersion = call.document().await?;
        let layer = self.named_layer(&call)?;
        if layer.account != call.key.account {
            return Err(refused(&call, "lambda:PublishLayerVersion", &self.layer_arn(&layer, 0).layer()));
        }
        let content = request.content.ok_or_else(|| missing("content"))?;
        let zip = content.checked().await?;
        let (code_size, unzipped_bytes) = (zip.size(), zip.unzipped_bytes());
        let version = LayerVersion {
            number: 0,
            description: request.description.unwrap_or_default(),
            created_unix_ms: Clock::unix_ms(),
            bundle: self.store_zip(zip).await?,
            code_size,
            unzipped_bytes,
            compatible_runtimes: request.compatible_runtimes,
            compatible_architectures: request.compatible_architectures,
            license_info: request.license_info,
            policy: LayerPolicy::default(),
        };
        let version = self.layers.publish(&layer.account, &layer.name, version).await?;
        let arn = self.layer_arn(&layer, version.number);
        json(201, &WholeVersion::of(&version, &arn, self.content_link(&call, &arn)?))
    }

    pub(super) async fn get_layer_version(&self, call: Call) -> Result<Response, ApiError> {
        let (layer, number) = (self.named_layer(&call)?, version_number(&call)?);
        self.show_layer_version(&call, &self.layer_arn(&layer, number)).await
    }

    /// `GET /2018-10-31/layers?find=LayerVersion&Arn=`
    pub(super) async fn get_layer_version_by_arn(&self, call: Call) -> Result<Response, ApiError> {
        let arn = read_version_arn(&call.query("Arn").unwrap_or_default())?;
        self.show_layer_version(&call, &arn).await
    }

    /// `GET /hearth/v1/layer?Arn=`: the zip itself.
    pub(super) async fn hearth_layer(&self, call: Call) -> Result<Response, ApiError> {
        let arn = read_version_arn(&call.query("Arn").unwrap_or_default())?;
        let version = self.readable_version(&call, &arn).await?;
        self.bundle_response(version.value.bundle, &format!("{}-{}", arn.name, arn.number)).await
    }

    pub(super) async fn delete_layer_version(&self, call: Call) -> Result<Response, ApiError> {
        let (layer, number) = (self.named_layer(&call)?, version_number(&call)?);
        if layer.account != call.key.account {
            let arn = self.layer_arn(&layer, number).to_string();
            return Err(refused(&call, "lambda:DeleteLayerVersion", &arn));
        }
        self.layers.delete(&layer.account, &layer.name, number).await?;
        no_content()
    }

    /// Each layer with its newest version that fits.
    pub(super) async fn list_layers(&self, call: Call) -> Result<Response, ApiError> {
        let (filter, limit) = (read_filter(&call), page_size(&call)?);
        let account = &call.key.account;
        let marker = call.query("Marker").map(|marker| marker.into_owned());
        let names = self.layers.names(account, marker.as_deref(), LOOKED_AT_MAX).await?;
        let more_names = names.len() == LOOKED_AT_MAX;
        let (mut layers, mut last) = (Vec::new(), None);
        let mut names = names.into_iter();
        while layers.len() < limit
            && let Some(name) = names.next()
        {
            let layer = NamedLayer { account: account.clone(), name };
            let versions = self.layers.versions(account, &layer.name).await?;
            if let Some(newest) = versions.iter().find(|version| filter.has(version)) {
                layers.push(LayerItem::of(newest, &self.layer_arn(&layer, newest.number)));
            }
            last = Some(layer.name.to_string());
        }
        let more = more_names || names.next().is_some();
        json(200, &ListLayers { next_marker: last.filter(|_| more), layers })
    }

    /// The newest first. A layer that is not there has no versions.
    pub(super) async fn list_layer_versions(&self, call: Call) -> Result<Response, ApiError> {
        let (layer, filter, limit) = (self.named_layer(&call)?, read_filter(&call), page_size(&call)?);
        let before = match call.query("Marker") {
            Some(marker) => marker
                .parse()
                .map_err(|_| ApiError::invalid_parameter("Invalid marker. Use the NextMarker of the page before."))?,
            None => u64::MAX,
        };
        let versions = self.layers.versions(&layer.account, &layer.name).await?;
        let visible = |version: &&Arc<LayerVersion>| {
            let allowed = layer.account == call.key.account || version.policy.permits(&call.key.account);
            allowed && version.number < before && filter.has(version)
        };
        let mut found: Vec<_> = versions.iter().filter(visible).take(limit + 1).collect();
        let more = found.len() > limit;
        found.truncate(limit);
        let next_marker = found.last().filter(|_| more).map(|version| version.number.to_string());
        let item = |version: &&Arc<LayerVersion>| VersionItem::of(version, &self.layer_arn(&layer, version.number));
        json(200, &ListLayerVersions { next_marker, layer_versions: found.iter().map(item).collect() })
    }

    async fn show_layer_version(&self, call: &Call, arn: &LayerVersionArn) -> Result<Response, ApiError> {
        let version = self.readable_version(call, arn).await?;
        json(200, &WholeVersion::of(&version.value, arn, self.content_link(call, arn)?))
    }

    /// A version that the caller may read: its account's own, or one whose policy says so.
    async fn readable_version(&self, call: &Call, arn: &LayerVersionArn) -> Result<Found<LayerVersion>, ApiError> {
        let found = self.find_layer_version(arn).await?;
        let own = arn.account == call.key.account;
        if !own && !found.as_ref().is_some_and(|found| found.value.policy.permits(&call.key.account)) {
            return Err(refused(call, "lambda:GetLayerVersion", &arn.to_string()));
        }
        found
            .ok_or_else(|| ApiError::new(Code::ResourceNotFoundException, "The resource you requested does not exist."))
    }

    async fn find_layer_version(&self, arn: &LayerVersionArn) -> Result<Option<Found<LayerVersion>>, ApiError> {
        if arn.region != self.config.region {
            return Ok(None);
        }
        Ok(self.layers.version(&arn.account, &arn.name, arn.number).await?)
    }

    /// The layer in the path, by its name or its ARN.
    fn named_layer(&self, call: &Call) -> Result<NamedLayer, ApiError> {
        let text = call.route.parameter("LayerName", call.parts.uri.path());
        if let Ok(name) = text.parse() {
            return Ok(NamedLayer { account: call.key.account.clone(), name });
        }
        let versioned: Option<LayerVersionArn> = format!("{text}:1").parse().ok();
        match versioned.filter(|arn| arn.region == self.config.region) {
            Some(LayerVersionArn { account, name, .. }) => Ok(NamedLayer { account, name }),
            None => {
                let mut errors = ValidationErrors::default();
                errors.check_pattern(&text, "layerName", false, NAME_PATTERN);
                Err(errors.into())
            }
        }
    }

    fn layer_arn(&self, layer: &NamedLayer, number: u64) -> LayerVersionArn {
        let region = self.config.region.clone();
        LayerVersionArn { region, account: layer.account.clone(), name: layer.name.clone(), number }
    }

    fn content_link(&self, call: &Call, arn: &LayerVersionArn) -> Result<String, ApiError> {
        self.link(call, &format!("/hearth/v1/layer?Arn={}", arn.to_string().replace(':', "%3A")))
    }
}

fn version_number(call: &Call) -> Result<u64, ApiError> {
    let text = call.route.parameter("VersionNumber", call.parts.uri.path());
    let number: i64 = text.parse().map_err(|_| {
        ApiError::new(Code::SerializationException, format!("VersionNumber must be a whole number, not '{text}'"))
    })?;
    u64::try_from(number)
        .ok()
        .filter(|number| *number > 0)
        .ok_or_else(|| ApiError::invalid_parameter("Layer Version Cannot be less than 1"))
}

fn read_version_arn(text: &str) -> Result<LayerVersionArn, ApiError> {
    text.parse().map_err(|_| {
        let mut errors = ValidationErrors::default();
        errors.check_pattern(text, "arn", false, VERSION_ARN_PATTERN);
        errors.into()
    })
}

fn read_filter(call: &Call) -> LayerFilter {
    let asked = |name: &str| call.query(name).map(|value| value.into_owned());
    LayerFilter { runtime: asked("CompatibleRuntime"), architecture: asked("CompatibleArchitecture") }
}

fn page_size(call: &Call) -> Result<usize, ApiError> {
    Ok(call.query_number("MaxItems", "maxItems", PAGE_MAX, PAGE_MAX)? as usize)
}

fn missing(member: &str) -> ApiError {
    let mut errors = ValidationErrors::default();
    errors.add_missing(member);
    errors.into()
}

/// What AWS says to an account that the resource's policy does not name.
fn refused(call: &Call, action: &str, resource: &str) -> ApiError {
    let text = format!(
        "User: arn:aws:iam::{}:root is not authorized to perform: {action} on resource: {resource} because no \
         resource-based policy allows the {action} action",
        call.key.account
    );
    ApiError::new(Code::AccessDeniedException, text)
}
