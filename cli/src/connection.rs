//! Where the platform is and with which key to speak to it.

use std::path::{Path, PathBuf};

use clap::Args;
use hearth_frontend::sigv4::Credentials;

use crate::data_dir::{CREDENTIALS_FILE, default_data_dir};
use crate::exit::{Exit, Failure};

/// The endpoint of `hearth up` as it comes.
const ENDPOINT_DEFAULT: &str = "http://127.0.0.1:9000";
const REGION_DEFAULT: &str = "us-east-1";

/// Flags of every client command.
#[derive(Debug, Clone, Args)]
pub(crate) struct ConnectionArgs {
    /// Where the platform answers [default: http://127.0.0.1:9000]
    #[arg(long, value_name = "URL", env = "HEARTH_ENDPOINT", global = true, help_heading = "Connection")]
    endpoint: Option<String>,
    /// AWS shared-credentials file with the access key [default: the environment's AWS_ACCESS_KEY_ID, else
    /// AWS_SHARED_CREDENTIALS_FILE, else the file in the data directory]
    #[arg(long, value_name = "FILE", global = true, help_heading = "Connection")]
    credentials: Option<PathBuf>,
    /// Profile in the credentials file
    #[arg(long, value_name = "NAME", default_value = "hearth", global = true, help_heading = "Connection")]
    profile: String,
    /// Region that requests are signed for [default: the profile's, else us-east-1]
    #[arg(long, value_name = "REGION", env = "HEARTH_REGION", global = true, help_heading = "Connection")]
    region: Option<String>,
}

/// A resolved connection.
#[derive(Debug, Clone)]
pub(crate) struct Connection {
    pub(crate) endpoint: String,
    pub(crate) credentials: Credentials,
}

impl ConnectionArgs {
    /// Finds endpoint and key. `variable` reads the process's environment.
    pub(crate) fn resolve(&self, variable: impl Fn(&str) -> Option<String>) -> Result<Connection, Failure> {
        let profile = self.find_profile(&variable)?;
        let endpoint = self.endpoint.clone().or(profile.endpoint).unwrap_or_else(|| ENDPOINT_DEFAULT.into());
        let region = self.region.clone().or(profile.region).unwrap_or_else(|| REGION_DEFAULT.into());
        Ok(Connection {
            endpoint,
            credentials: Credentials {
                key_id: profile.key_id,
                secret: profile.secret,
                session_token: profile.session_token,
                region,
            },
        })
    }

    fn find_profile(&self, variable: &impl Fn(&str) -> Option<String>) -> Result<Profile, Failure> {
        if let Some(path) = &self.credentials {
            return Profile::read(path, &self.profile);
        }
        if let (Some(key_id), Some(secret)) = (variable("AWS_ACCESS_KEY_ID"), variable("AWS_SECRET_ACCESS_KEY")) {
            let session_token = variable("AWS_SESSION_TOKEN");
            return Ok(Profile { key_id, secret, session_token, region: None, endpoint: None });
        }
        if let Some(path) = variable("AWS_SHARED_CREDENTIALS_FILE") {
            return Profile::read(Path::new(&path), &self.profile);
        }
        let data_dir = variable("HEARTH_DATA_DIR").map_or_else(|| default_data_dir(variable), PathBuf::from);
        Profile::read(&data_dir.join(CREDENTIALS_FILE), &self.profile)
    }
}

/// One profile of a shared-credentials file (AWS CLI user guide, "Configuration and credential file settings").
#[derive(Debug, Clone, PartialEq, Eq)]
struct Profile {
    key_id: String,
    secret: String,
    session_token: Option<String>,
    region: Option<String>,
    endpoint: Option<String>,
}

impl Profile {
    fn read(path: &Path, profile: &str) -> Result<Self, Failure> {
        let text = std::fs::read_to_string(path).map_err(|error| {
            Failure::new(Exit::Denied, format!("no access key: {}: {error}", path.display()))
                .remedy("start the platform with `hearth up`, which writes that file, or give --credentials FILE")
        })?;
        Self::parse(&text, profile).ok_or_else(|| {
            let message = format!("{} has no access key in profile [{profile}]", path.display());
            Failure::new(Exit::Denied, message).remedy("give --profile NAME or another --credentials FILE")
        })
    }

    fn parse(text: &str, profile: &str) -> Option<Self> {
        let header = format!("[{profile}]");
        let lines = text.lines().map(str::trim).skip_while(|line| *line != header).skip(1);
        let entries: Vec<(&str, &str)> = lines
            .take_while(|line| !line.starts_with('['))
            .filter(|line| !line.starts_with(['#', ';']))
            .filter_map(|line| line.split_once('='))
            .map(|(key, value)| (key.trim(), value.trim()))
            .collect();
        let entry = |name: &str| entries.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        Some(Self {
            key_id: entry("aws_access_key_id")?,
            secret: entry("aws_secret_access_key")?,
            session_token: entry("aws_session_token"),
            region: entry("region"),
            endpoint: entry("endpoint_url"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "\
[default]
aws_access_key_id = AKIADEFAULT
aws_secret_access_key = s0

# ours
[hearth]
aws_access_key_id = AKIAHEARTH
aws_secret_access_key = abc/+=
endpoint_url = http://127.0.0.1:9100
[half]
aws_access_key_id = AKIAHALF
";

    fn args() -> ConnectionArgs {
        ConnectionArgs { endpoint: None, credentials: None, profile: "hearth".into(), region: None }
    }

    #[test]
    fn a_profile_ends_where_the_next_begins() {
        let profile = Profile::parse(FILE, "hearth").unwrap();
        assert_eq!((profile.key_id.as_str(), profile.secret.as_str()), ("AKIAHEARTH", "abc/+="));
        assert_eq!(profile.endpoint.as_deref(), Some("http://127.0.0.1:9100"));
        assert_eq!(Profile::parse(FILE, "default").unwrap().endpoint, None);
        assert_eq!(Profile::parse(FILE, "half"), None);
        assert_eq!(Profile::parse(FILE, "other"), None);
    }

    #[test]
    fn an_explicit_file_goes_before_the_environment_before_the_files() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("credentials");
        std::fs::write(&file, FILE).unwrap();
        let keys = |name: &str| match name {
            "AWS_ACCESS_KEY_ID" => Some("AKIAENV".to_owned()),
            "AWS_SECRET_ACCESS_KEY" => Some("s1".to_owned()),
            _ => None,
        };
        let explicit = ConnectionArgs { credentials: Some(file.clone()), ..args() }.resolve(keys).unwrap();
        assert_eq!(explicit.credentials.key_id, "AKIAHEARTH");
        assert_eq!(explicit.endpoint, "http://127.0.0.1:9100");
        assert_eq!(args().resolve(keys).unwrap().credentials.key_id, "AKIAENV");
        let shared = |name: &str| (name == "AWS_SHARED_CREDENTIALS_FILE").then(|| file.to_string_lossy().into_owned());
        assert_eq!(args().resolve(shared).unwrap().credentials.key_id, "AKIAHEARTH");
        let data_dir =
            |name: &str| (name == "HEARTH_DATA_DIR").then(|| directory.path().to_string_lossy().into_owned());
        assert_eq!(args().resolve(data_dir).unwrap().credentials.key_id, "AKIAHEARTH");
        let nowhere = |name: &str| (name == "HEARTH_DATA_DIR").then(|| "/nonexistent".to_owned());
        let failure = args().resolve(nowhere).unwrap_err();
        assert_eq!(failure.exit(), Exit::Denied);
        assert!(failure.to_string().contains("hearth up"), "{failure}");
    }
}
