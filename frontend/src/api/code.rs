//! Code that comes in with a request, and the links by which it goes out again.

use std::fmt;

use axum::body::Body;
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hearth_daemon::Clock;
use hearth_domain::BundleDigest;
use hearth_domain::limits::BUNDLE_ZIP_MAX_BYTES;
use hearth_store::FunctionRecord;
use hearth_store::unzip::inspect;
use http::{Uri, header};
use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer};
use sha2::{Digest, Sha256};
use tokio::fs::File;
use tokio_util::io::ReaderStream;

use super::Api;
use super::call::Call;
use crate::errors::{ApiError, Code};
use crate::sigv4::{Credentials, presign};
use crate::validation::NameForm;

/// How long a link to a function's code is good, seconds (AWS: GetFunction, "a link valid for 10 minutes").
const LINK_LIFE_S: u32 = 600;

/// Where code comes from, as CreateFunction nests it and UpdateFunctionCode has it flat.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct CodeSource {
    zip_file: Option<ZipFile>,
    s3_bucket: Option<String>,
    s3_key: Option<String>,
    image_uri: Option<String>,
}

/// The bytes of `ZipFile`, decoded as they are read: no second copy of the text is made.
#[derive(Debug)]
struct ZipFile(Vec<u8>);

/// A zip that was found good.
pub(super) struct CheckedZip {
    bytes: Bytes,
    unzipped_bytes: u64,
}

impl CheckedZip {
    /// Its size, bytes.
    pub(super) fn size(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// Size of its files, bytes.
    pub(super) fn unzipped_bytes(&self) -> u64 {
        self.unzipped_bytes
    }

    /// The digest it would be stored under.
    pub(super) fn digest(&self) -> BundleDigest {
        BundleDigest(Sha256::digest(&self.bytes).into())
    }
}

impl CodeSource {
    /// Whether it names a container image.
    pub(super) fn is_image(&self) -> bool {
        self.image_uri.is_some()
    }

    /// Inspects the zip, off the threads that serve connections.
    pub(super) async fn checked(self) -> Result<CheckedZip, ApiError> {
        if self.s3_bucket.is_some() || self.s3_key.is_some() {
            return Err(ApiError::invalid_parameter("Code in S3 is not supported by Hearth. Send it as ZipFile."));
        }
        if self.image_uri.is_some() {
            return Err(ApiError::invalid_parameter("Container images are not supported by Hearth. Send a ZipFile."));
        }
        let missing = || ApiError::invalid_parameter("Please provide a source for function code.");
        let ZipFile(zip) = self.zip_file.ok_or_else(missing)?;
        tokio::task::spawn_blocking(move || check_zip(zip)).await.map_err(ApiError::internal)?
    }
}

impl Api {
    /// Stores a zip; on disk when this returns.
    pub(super) async fn store_zip(&self, zip: CheckedZip) -> Result<BundleDigest, ApiError> {
        Ok(self.deps.bundles.put(zip.bytes).await?)
    }

    /// A link to a version's code, good for ten minutes for whoever has it.
    pub(super) fn code_link(&self, call: &Call, record: &FunctionRecord) -> Result<String, ApiError> {
        let (name, version) = (&record.function.name, record.function.version.to_string().replace('$', "%24"));
        self.link(call, &format!("/hearth/v1/functions/{name}/code?Qualifier={version}"))
    }

    /// A link to a path of ours, good for ten minutes for whoever has it.
    pub(super) fn link(&self, call: &Call, path: &str) -> Result<String, ApiError> {
        let base = match &self.config.public_url {
            Some(url) => url.trim_end_matches('/').to_owned(),
            None => format!("http://{}", call.header(header::HOST.as_str()).unwrap_or("localhost")),
        };
        let uri: Uri =
            format!("{base}{path}").parse().map_err(|error: http::uri::InvalidUri| ApiError::internal(error))?;
        let credentials = Credentials {
            key_id: call.key.id.clone(),
            secret: call.key.secret.clone(),
            session_token: call.session_token.clone(),
            region: self.config.region.clone(),
        };
        let now_s = i64::try_from(Clock::unix_ms() / 1_000).unwrap_or(i64::MAX);
        presign(&credentials, now_s, LINK_LIFE_S, &uri).map_err(ApiError::internal)
    }

    /// `GET /hearth/v1/functions/{name}/code`: the zip itself.
    pub(super) async fn hearth_code(&self, call: Call) -> Result<Response, ApiError> {
        let target = call.target(&self.config.region, NameForm::Namespaced)?;
        let record = self.record(&call, &target).await?;
        self.bundle_response(record.bundle, record.function.name.as_str()).await
    }

    /// A zip of the store, to be saved under `name`.
    pub(super) async fn bundle_response(&self, bundle: BundleDigest, name: &str) -> Result<Response, ApiError> {
        let path = self.deps.bundles.fetch(bundle).await?;
        let path = path.ok_or_else(|| ApiError::internal(format!("bundle {bundle} of {name} is not in the store")))?;
        let zip = File::open(&path).await.map_err(ApiError::internal)?;
        let length = zip.metadata().await.map_err(ApiError::internal)?.len();
        let disposition = format!("attachment; filename=\"{name}.zip\"");
        Response::builder()
            .header(header::CONTENT_TYPE, "application/zip")
            .header(header::CONTENT_DISPOSITION, disposition)
            .header(header::CONTENT_LENGTH, length)
            .body(Body::from_stream(ReaderStream::new(zip)))
            .map_err(ApiError::internal)
    }
}

impl<'de> Deserialize<'de> for ZipFile {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Base64;
        impl Visitor<'_> for Base64 {
            type Value = ZipFile;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a zip file in base64")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<ZipFile, E> {
                STANDARD.decode(text).map(ZipFile).map_err(|error| E::custom(format_args!("ZipFile: {error}")))
            }
        }
        deserializer.deserialize_str(Base64)
    }
}

fn check_zip(zip: Vec<u8>) -> Result<CheckedZip, ApiError> {
    if zip.is_empty() {
        return Err(ApiError::invalid_parameter("Uploaded file must be a non-empty zip"));
    }
    if zip.len() > BUNDLE_ZIP_MAX_BYTES {
        let text = format!("Zipped size must be smaller than {BUNDLE_ZIP_MAX_BYTES} bytes");
        return Err(ApiError::new(Code::RequestEntityTooLargeException, text));
    }
    let unzipped_bytes = inspect(&zip)?.unzipped_bytes;
    Ok(CheckedZip { bytes: zip.into(), unzipped_bytes })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Zeros are no zip, so what is within the limit gets as far as the reader.
    #[test]
    fn a_zip_ends_where_lambda_ends_it() {
        let refusal = |bytes| check_zip(vec![0; bytes]).err().map(|error| error.code());
        assert_eq!(refusal(BUNDLE_ZIP_MAX_BYTES), Some(Code::InvalidParameterValueException));
        assert_eq!(refusal(BUNDLE_ZIP_MAX_BYTES + 1), Some(Code::RequestEntityTooLargeException));
    }
}
