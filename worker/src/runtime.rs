//! What this host can start: which runtimes it offers, and the command that starts each one's language before any
//! function is known.
//!
//! On the host's kernel a runtime is offered if its interpreter lies in `/usr/bin`: a jail shows `/usr`, `/lib*` and
//! `/bin` and nothing else of the host. Custom runtimes bring their own executable and are always offered. MicroVMs offer
//! what they have an image for, under the runtime's name.

mod bootstrap;
mod environment;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use hearth_domain::Runtime;
use hearth_domain::runtime::ProvidedOs;
use hearth_microvm::GuestImage;
use tokio::process::Command;
use tracing::warn;

pub(crate) use bootstrap::{Bootstraps, RUNTIME_DIR};
pub(crate) use environment::{
    FunctionEnvironment, LOG_STREAM_VARIABLE, credential_variables, log_stream_name, shim_environment,
};

/// Runtimes that start alike share their pooled sandboxes: the three names of the custom runtime are one class.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum RuntimeClass {
    /// Nothing is started before the code is there.
    Provided,
    /// CPython 3.`minor`.
    Python {
        /// The `minor`.
        minor: u8,
    },
    /// Node.js `major`.
    Nodejs {
        /// The `major`.
        major: u8,
    },
}

impl RuntimeClass {
    /// The class that serves `runtime`.
    pub(crate) const fn of(runtime: Runtime) -> Self {
        match runtime {
            Runtime::Provided(_) => Self::Provided,
            Runtime::Python { minor } => Self::Python { minor },
            Runtime::Nodejs { major } => Self::Nodejs { major },
        }
    }

    /// The runtimes that the class serves.
    pub(crate) fn runtimes(self) -> Vec<Runtime> {
        match self {
            Self::Provided => [ProvidedOs::Al1, ProvidedOs::Al2, ProvidedOs::Al2023].map(Runtime::Provided).to_vec(),
            Self::Python { minor } => vec![Runtime::Python { minor }],
            Self::Nodejs { major } => vec![Runtime::Nodejs { major }],
        }
    }
}

impl std::fmt::Display for RuntimeClass {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Provided => f.write_str("provided"),
            Self::Python { minor } => write!(f, "python3.{minor}"),
            Self::Nodejs { major } => write!(f, "nodejs{major}.x"),
        }
    }
}

/// The classes this host offers.
#[derive(Debug, Clone)]
pub(crate) struct Offer {
    classes: BTreeMap<RuntimeClass, Offered>,
}

/// How one class is started.
#[derive(Debug, Clone, Default)]
struct Offered {
    /// `None` where there is nothing to start ahead.
    interpreter: Option<PathBuf>,
    /// The root file system; `None` for the host's programs.
    image: Option<String>,
}

impl Offer {
    /// Looks at `/usr/bin`.
    pub(crate) async fn of_this_host() -> Self {
        Self::of(Path::new("/usr/bin")).await
    }

    async fn of(programs: &Path) -> Self {
        let mut classes = BTreeMap::from([(RuntimeClass::Provided, Offered::default())]);
        let on_host = |path| Offered { interpreter: Some(path), image: None };
        for minor in PYTHON_MINORS {
            let path = programs.join(format!("python3.{minor}"));
            if path.exists() {
                classes.insert(RuntimeClass::Python { minor }, on_host(path));
            }
        }
        for (program, class_of) in [("python3", python_class as fn(&str) -> _), ("node", nodejs_class)] {
            let path = programs.join(program);
            if let Some(class) = version(&path).await.as_deref().and_then(class_of) {
                classes.entry(class).or_insert(on_host(path));
            }
        }
        Self { classes }
    }

    /// What `images` are for, by their names. One that is for no runtime is passed over, and so is one of a language
    /// that lacks it.
    pub(crate) fn of_images(images: Vec<GuestImage>) -> Self {
        let mut classes = BTreeMap::new();
        for GuestImage { name, interpreter } in images {
            match name.parse::<Runtime>().map(RuntimeClass::of) {
                Ok(class) if class == RuntimeClass::Provided || interpreter.is_some() => {
                    classes.insert(class, Offered { interpreter, image: Some(name) });
                }
                Ok(_) => warn!(image = name, "a guest image has no interpreter: it is not used"),
                Err(error) => warn!(image = name, %error, "a guest image is named after no runtime: it is not used"),
            }
        }
        Self { classes }
    }

    /// Whether this host can start `class`.
    pub(crate) fn has(&self, class: RuntimeClass) -> bool {
        self.classes.contains_key(&class)
    }

    /// The classes.
    pub(crate) fn classes(&self) -> impl Iterator<Item = RuntimeClass> {
        self.classes.keys().copied()
    }

    /// The runtimes, by every name.
    pub(crate) fn runtimes(&self) -> Vec<Runtime> {
        self.classes().flat_map(RuntimeClass::runtimes).collect()
    }

    /// What starts the language of `class` ahead of any function, with its bootstrap in `runtime_dir` as seen from
    /// inside; empty if nothing does.
    pub(crate) fn command(&self, class: RuntimeClass, runtime_dir: &Path) -> Vec<OsString> {
        let Some(interpreter) = self.classes.get(&class).and_then(|offered| offered.interpreter.as_ref()) else {
            return Vec::new();
        };
        let bootstrap = match class {
            RuntimeClass::Provided => return Vec::new(),
            RuntimeClass::Python { .. } => "bootstrap.py",
            RuntimeClass::Nodejs { .. } => "bootstrap.cjs",
        };
        vec![interpreter.into(), runtime_dir.join(bootstrap).into()]
    }

    /// The root file system of `class`, where sandboxes have their own.
    pub(crate) fn image(&self, class: RuntimeClass) -> Option<&str> {
        self.classes.get(&class)?.image.as_deref()
    }
}

/// Python versions that are looked for by name; our bootstrap needs 3.9.
const PYTHON_MINORS: std::ops::RangeInclusive<u8> = 9..=30;

fn python_class(version: &str) -> Option<RuntimeClass> {
    let minor = version.strip_prefix("Python 3.")?.split('.').next()?.parse().ok()?;
    PYTHON_MINORS.contains(&minor).then_some(RuntimeClass::Python { minor })
}

fn nodejs_class(version: &str) -> Option<RuntimeClass> {
    let major = version.strip_prefix('v')?.split('.').next()?.parse().ok()?;
    Some(RuntimeClass::Nodejs { major })
}

async fn version(program: &Path) -> Option<String> {
    let output = Command::new(program).arg("--version").env_clear().kill_on_drop(true).output().await.ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn program(dir: &Path, name: &str, says: &str) {
        let path = dir.join(name);
        std::fs::write(&path, format!("#!/bin/sh\necho '{says}'\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    #[tokio::test]
    async fn a_host_offers_what_its_interpreters_say() {
        let dir = tempfile::tempdir().unwrap();
        program(dir.path(), "python3.11", "Python 3.11.7");
        program(dir.path(), "python3", "Python 3.12.1");
        program(dir.path(), "node", "v20.20.2");
        let offer = Offer::of(dir.path()).await;
        let names: Vec<_> = offer.runtimes().iter().map(ToString::to_string).collect();
        assert_eq!(names, ["provided", "provided.al2", "provided.al2023", "python3.11", "python3.12", "nodejs20.x"]);
        let command = offer.command(RuntimeClass::Python { minor: 12 }, Path::new("/var/runtime"));
        assert_eq!(command, [dir.path().join("python3").into_os_string(), "/var/runtime/bootstrap.py".into()]);
        assert!(offer.command(RuntimeClass::Provided, Path::new("/var/runtime")).is_empty());
        assert!(!offer.has(RuntimeClass::Nodejs { major: 22 }));
    }

    #[test]
    fn microvms_offer_what_they_have_images_for() {
        let image = |name: &str, interpreter: Option<&str>| GuestImage {
            name: name.into(),
            interpreter: interpreter.map(Into::into),
        };
        let offer = Offer::of_images(vec![
            image("provided", None),
            image("python3.11", Some("/usr/bin/python3.11")),
            image("nodejs18.x", None),
            image("cobol", Some("/usr/bin/cobc")),
        ]);
        let python = RuntimeClass::Python { minor: 11 };
        assert_eq!(offer.classes().collect::<Vec<_>>(), [RuntimeClass::Provided, python]);
        assert_eq!(offer.image(python), Some("python3.11"));
        let command = offer.command(python, Path::new("/var/runtime"));
        assert_eq!(command, ["/usr/bin/python3.11", "/var/runtime/bootstrap.py"]);
        assert_eq!(Offer::of_images(Vec::new()).image(RuntimeClass::Provided), None);
    }

    #[tokio::test]
    async fn a_bare_host_offers_custom_runtimes_only() {
        let dir = tempfile::tempdir().unwrap();
        let offer = Offer::of(dir.path()).await;
        assert_eq!(offer.classes().collect::<Vec<_>>(), [RuntimeClass::Provided]);
    }
}
