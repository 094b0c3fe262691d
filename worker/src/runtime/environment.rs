//! The environment variables of a function's runtime process, as Lambda defines them
//! (AWS Lambda developer guide, "Working with Lambda environment variables").

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;

use hearth_domain::{FunctionCredentials, FunctionSpec};
use hearth_guest_protocol::EnvironmentVariable;

use super::RuntimeClass;
use crate::calendar::Date;

const PATH: &str = "/usr/local/bin:/usr/bin/:/bin";
const LANG: &str = "en_US.UTF-8";
const TIME_ZONE: &str = ":UTC";
/// Names the log stream; another one in each sandbox of a snapshot.
pub(crate) const LOG_STREAM_VARIABLE: &str = "AWS_LAMBDA_LOG_STREAM_NAME";
/// Where sandboxes with a mount namespace see the function's code.
const TASK_ROOT: &str = "/var/task";

/// Where sandboxes with a mount namespace see the function's layers.
pub(crate) const LAYERS_ROOT: &str = "/opt";

/// Everything that a function's environment follows from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FunctionEnvironment<'a> {
    /// The function.
    pub(crate) function: &'a FunctionSpec,
    /// Where its code is, seen from inside.
    pub(crate) task_root: &'a Path,
    /// Where its layers are, seen from inside.
    pub(crate) layers_root: &'a Path,
    /// Where the bootstraps are, seen from inside.
    pub(crate) runtime_dir: &'a Path,
    /// The log stream of its slot.
    pub(crate) log_stream: &'a str,
    /// Whether a snapshot is taken after init.
    pub(crate) snap_start: bool,
}

impl FunctionEnvironment<'_> {
    /// The variables by name. The function's own stand above defaults such as `PATH`, and below reserved ones.
    pub(crate) fn variables(&self) -> Vec<EnvironmentVariable> {
        let mut variables = self.defaults();
        variables.extend(self.function.environment.iter().map(|(name, value)| (name.clone(), value.clone())));
        variables.extend(self.reserved());
        variables.into_iter().map(|(name, value)| EnvironmentVariable { name, value }).collect()
    }

    fn defaults(&self) -> BTreeMap<String, String> {
        let (runtime, task) = (self.runtime_dir.display(), self.task_root.display());
        let opt = self.layers_root.display();
        let mut variables = start_variables(self.runtime_dir, self.layers_root);
        match RuntimeClass::of(self.function.runtime) {
            RuntimeClass::Provided => {}
            RuntimeClass::Python { minor } if self.layers_root != Path::new(LAYERS_ROOT) => {
                // Elsewhere the bootstrap knows the place.
                let path = format!("{opt}/python/lib/python3.{minor}/site-packages:{opt}/python:{runtime}");
                variables.insert("PYTHONPATH".to_owned(), path);
            }
            RuntimeClass::Python { .. } => {
                variables.insert("PYTHONPATH".to_owned(), runtime.to_string());
            }
            RuntimeClass::Nodejs { major } => {
                let layers = format!("{opt}/nodejs/node{major}/node_modules:{opt}/nodejs/node_modules");
                let path = format!("{layers}:{runtime}/node_modules:{runtime}:{task}");
                variables.insert("NODE_PATH".to_owned(), path);
            }
            RuntimeClass::Ruby { major, minor } => {
                let version = format!("{major}.{minor}.0");
                let bundled = format!("{task}/vendor/bundle/ruby/{version}:{opt}/ruby/gems/{version}");
                variables.insert("GEM_PATH".to_owned(), format!("{bundled}:{runtime}:{runtime}/ruby/{version}"));
                variables.insert("GEM_HOME".to_owned(), runtime.to_string());
                variables.insert("RUBYLIB".to_owned(), format!("{task}:{runtime}/lib:{opt}/ruby/lib"));
            }
            // Its class path is not a variable: the bootstrap loads `lib/*.jar` and layers itself.
            RuntimeClass::Java { .. } => {}
        }
        variables
    }

    fn initialization_type(&self) -> &'static str {
        match (self.snap_start, self.function.provisioned) {
            (true, _) => "snap-start",
            (false, true) => "provisioned-concurrency",
            (false, false) => "on-demand",
        }
    }

    fn reserved(&self) -> impl Iterator<Item = (String, String)> {
        let spec = self.function;
        let execution = match RuntimeClass::of(spec.runtime) {
            RuntimeClass::Provided => None,
            managed => Some(("AWS_EXECUTION_ENV", format!("AWS_Lambda_{managed}"))),
        };
        let credentials = spec.credentials.iter().flat_map(credential_variables);
        let credentials = credentials.map(|(name, value)| (name, value.to_owned()));
        let log_level = spec.logging.application_level.map(|level| ("AWS_LAMBDA_LOG_LEVEL", level.to_string()));
        [
            ("AWS_LAMBDA_LOG_FORMAT", spec.logging.format.to_string()),
            ("_HANDLER", spec.handler.clone()),
            ("AWS_REGION", spec.region.clone()),
            ("AWS_DEFAULT_REGION", spec.region.clone()),
            ("AWS_LAMBDA_FUNCTION_NAME", spec.function.name.to_string()),
            ("AWS_LAMBDA_FUNCTION_VERSION", spec.function.version.to_string()),
            ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", spec.memory.get().to_string()),
            ("AWS_LAMBDA_INITIALIZATION_TYPE", self.initialization_type().to_owned()),
            ("AWS_LAMBDA_LOG_GROUP_NAME", spec.logging.group_of(&spec.function.name).to_string()),
            (LOG_STREAM_VARIABLE, self.log_stream.to_owned()),
            ("LAMBDA_TASK_ROOT", self.task_root.display().to_string()),
            ("LAMBDA_RUNTIME_DIR", self.runtime_dir.display().to_string()),
        ]
        .into_iter()
        .chain(execution)
        .chain(credentials)
        .chain(log_level)
        .map(|(name, value)| (name.to_owned(), value))
    }
}

/// The variables in which SDKs look for credentials.
pub(crate) fn credential_variables(credentials: &FunctionCredentials) -> [(&'static str, &str); 3] {
    [
        ("AWS_ACCESS_KEY_ID", &credentials.key_id),
        ("AWS_SECRET_ACCESS_KEY", &credentials.secret),
        ("AWS_SESSION_TOKEN", &credentials.session_token),
    ]
}

/// `2026/11/22/[$LATEST]` and 32 hexadecimal digits; in a group that functions may share, the function's name stands
/// before the bracket (AWS Lambda developer guide, "Configuring CloudWatch log groups").
pub(crate) fn log_stream_name(function: &FunctionSpec, unix_ms: u64, random: u128) -> String {
    let name = if function.logging.group.is_some() { function.function.name.as_str() } else { "" };
    format!("{}/{name}[{}]{random:032x}", Date::from_unix_ms(unix_ms).slashed(), function.function.version)
}

/// What the shim and a language started ahead of any function see: nothing of the worker's own environment, and all
/// that counts only when a process starts. A function that sets such a variable otherwise costs a new process.
pub(crate) fn shim_environment(runtime_dir: &Path) -> Vec<(OsString, OsString)> {
    start_variables(runtime_dir, Path::new(LAYERS_ROOT))
        .into_iter()
        .map(|(name, value)| (name.into(), value.into()))
        .collect()
}

/// The same for every function, because they are there before it. Where code does not lie at `/var/task` (plain
/// processes), its own libraries are therefore found only by their paths.
fn start_variables(runtime_dir: &Path, layers_root: &Path) -> BTreeMap<String, String> {
    let (runtime, opt) = (runtime_dir.display(), layers_root.display());
    let libraries = format!("/lib64:/usr/lib64:{runtime}:{runtime}/lib:{TASK_ROOT}:{TASK_ROOT}/lib:{opt}/lib");
    BTreeMap::from([
        ("PATH".to_owned(), format!("{PATH}:{opt}/bin")),
        ("LD_LIBRARY_PATH".to_owned(), libraries),
        ("LANG".to_owned(), LANG.to_owned()),
        ("TZ".to_owned(), TIME_ZONE.to_owned()),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::slot::testing::function;

    fn variables(own: &[(&str, &str)]) -> BTreeMap<String, String> {
        let mut spec = function("python3.11");
        spec.environment = own.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let environment = FunctionEnvironment {
            function: &spec,
            task_root: Path::new("/var/task"),
            layers_root: Path::new(LAYERS_ROOT),
            runtime_dir: Path::new("/var/runtime"),
            log_stream: "2026/11/22/[$LATEST]00",
            snap_start: false,
        };
        let all = environment.variables();
        let count = all.len();
        let by_name: BTreeMap<_, _> = all.into_iter().map(|variable| (variable.name, variable.value)).collect();
        assert_eq!(by_name.len(), count, "a variable is set twice");
        by_name
    }

    #[test]
    fn a_function_sees_what_lambda_sets() {
        let variables = variables(&[("GREETING", "hello")]);
        for (name, value) in [
            ("GREETING", "hello"),
            ("_HANDLER", "index.handler"),
            ("AWS_LAMBDA_FUNCTION_NAME", "hello"),
            ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
            ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128"),
            ("AWS_LAMBDA_LOG_GROUP_NAME", "/aws/lambda/hello"),
            ("AWS_EXECUTION_ENV", "AWS_Lambda_python3.11"),
            ("LAMBDA_TASK_ROOT", "/var/task"),
            ("TZ", ":UTC"),
        ] {
            assert_eq!(variables[name], value, "{name}");
        }
    }

    /// Otherwise the shim would start every language anew, and the pool would be for nothing.
    #[test]
    fn a_language_started_ahead_has_what_counts_only_at_a_start() {
        let ahead = shim_environment(Path::new("/var/runtime"));
        let ahead: BTreeMap<_, _> = ahead.iter().map(|(name, value)| (name.to_str().unwrap(), value)).collect();
        let variables = variables(&[]);
        let of_linker: Vec<_> = variables.iter().filter(|(name, _)| name.starts_with("LD_")).collect();
        assert_eq!(of_linker.len(), 1);
        for (name, value) in of_linker {
            assert_eq!(ahead[name.as_str()].to_str(), Some(value.as_str()));
        }
    }

    #[test]
    fn defaults_give_way_and_reserved_ones_do_not() {
        let variables = variables(&[("PATH", "/mine"), ("_HANDLER", "evil"), ("LAMBDA_TASK_ROOT", "/")]);
        assert_eq!(variables["PATH"], "/mine");
        assert_eq!(variables["_HANDLER"], "index.handler");
        assert_eq!(variables["LAMBDA_TASK_ROOT"], "/var/task");
    }

    #[test]
    fn credentials_are_the_roles_and_no_other() {
        let mut spec = function("provided.al2023");
        spec.environment = [("AWS_SECRET_ACCESS_KEY".to_owned(), "mine".to_owned())].into();
        let (key_id, secret, session_token) = ("ASIA".to_owned(), "s3cret".to_owned(), "t0ken".to_owned());
        spec.credentials = Some(FunctionCredentials { key_id, secret, session_token });
        assert!(!format!("{:?}", spec.credentials).contains("s3cret") && !format!("{spec:?}").contains("t0ken"));
        let environment = FunctionEnvironment {
            function: &spec,
            task_root: Path::new("/var/task"),
            layers_root: Path::new(LAYERS_ROOT),
            runtime_dir: Path::new("/var/runtime"),
            log_stream: "",
            snap_start: false,
        };
        let variables: BTreeMap<_, _> = environment.variables().into_iter().map(|set| (set.name, set.value)).collect();
        assert_eq!(variables["AWS_ACCESS_KEY_ID"], "ASIA");
        assert_eq!(variables["AWS_SECRET_ACCESS_KEY"], "s3cret");
        assert_eq!(variables["AWS_SESSION_TOKEN"], "t0ken");
    }

    #[test]
    fn log_streams_are_named_by_day_and_version() {
        let name = log_stream_name(&function("provided"), 951_782_400_000, 0xab);
        assert_eq!(name, "2000/02/29/[$LATEST]000000000000000000000000000000ab");
    }
}
