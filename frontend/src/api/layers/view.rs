//! How layers are shown. Members are the service model's.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;

use crate::calendar::last_modified;
use crate::layers::{LayerVersion, LayerVersionArn};

/// `LayersListItem`
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct LayerItem {
    layer_name: String,
    layer_arn: String,
    latest_matching_version: VersionItem,
}

/// `LayerVersionsListItem`
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct VersionItem {
    layer_version_arn: String,
    version: u64,
    description: String,
    created_date: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    compatible_runtimes: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    license_info: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    compatible_architectures: Option<Vec<String>>,
}

/// `GetLayerVersionResponse`, which is `PublishLayerVersionResponse`.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct WholeVersion {
    content: Content,
    layer_arn: String,
    #[serde(flatten)]
    item: VersionItem,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Content {
    location: String,
    code_sha256: String,
    code_size: u64,
}

impl LayerItem {
    pub(super) fn of(version: &LayerVersion, arn: &LayerVersionArn) -> Self {
        let latest_matching_version = VersionItem::of(version, arn);
        Self { layer_name: arn.name.to_string(), layer_arn: arn.layer(), latest_matching_version }
    }
}

impl VersionItem {
    pub(super) fn of(version: &LayerVersion, arn: &LayerVersionArn) -> Self {
        Self {
            layer_version_arn: arn.to_string(),
            version: version.number,
            description: version.description.clone(),
            created_date: last_modified(version.created_unix_ms),
            compatible_runtimes: version.compatible_runtimes.clone(),
            license_info: version.license_info.clone(),
            compatible_architectures: version.compatible_architectures.clone(),
        }
    }
}

impl WholeVersion {
    pub(super) fn of(version: &LayerVersion, arn: &LayerVersionArn, location: String) -> Self {
        let content =
            Content { location, code_sha256: STANDARD.encode(version.bundle.0), code_size: version.code_size };
        Self { content, layer_arn: arn.layer(), item: VersionItem::of(version, arn) }
    }
}
