//! What this host can start: which runtimes it offers, and the command that starts each one's language before any
//! function is known.
//!
//! On the host's kernel a runtime is offered if its interpreter lies in `/usr/bin` (Java: in `/usr/lib/jvm`): a jail shows
//! `/usr`, `/lib*` and `/bin`, and hardly anything else of the host. Java also needs our bootstrap for it, which is
//! compiled only where there is a Java compiler. Custom runtimes bring their own executable and are always offered. MicroVMs offer
//! what they have an image for, under the runtime's name.

mod bootstrap;
mod environment;
mod host;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use hearth_domain::Runtime;
use hearth_domain::runtime::ProvidedOs;
use hearth_microvm::GuestImage;
use tracing::warn;

pub(crate) use bootstrap::{Bootstraps, RUNTIME_DIR};
use bootstrap::{JAVA_BOOTSTRAP, JAVA_FLAGS};
pub(crate) use environment::{
    FunctionEnvironment, LAYERS_ROOT, LOG_STREAM_VARIABLE, credential_variables, log_stream_name, shim_environment,
};
use host::Places;

/// The runtimes that functions have which run on this host's own programs, in jails or as plain processes. `compiled` is
/// [`Config::compiled_bootstraps`](crate::Config::compiled_bootstraps).
pub async fn runtimes_of_this_host(compiled: Option<&Path>) -> std::io::Result<Vec<Runtime>> {
    let has_java = compiled.map(bootstrap::java_files).transpose()?.flatten().is_some();
    Ok(Offer::of_this_host(has_java).await.runtimes())
}

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
    /// Ruby `major`.`minor`.
    Ruby {
        /// The `major`.
        major: u8,
        /// The `minor`.
        minor: u8,
    },
    /// Java `major`.
    Java {
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
            Runtime::Ruby { major, minor } => Self::Ruby { major, minor },
            Runtime::Java { major } => Self::Java { major },
        }
    }

    /// The runtimes that the class serves.
    pub(crate) fn runtimes(self) -> Vec<Runtime> {
        match self {
            Self::Provided => [ProvidedOs::Al1, ProvidedOs::Al2, ProvidedOs::Al2023].map(Runtime::Provided).to_vec(),
            Self::Python { minor } => vec![Runtime::Python { minor }],
            Self::Nodejs { major } => vec![Runtime::Nodejs { major }],
            Self::Ruby { major, minor } => vec![Runtime::Ruby { major, minor }],
            Self::Java { major } => vec![Runtime::Java { major }],
        }
    }
}

impl std::fmt::Display for RuntimeClass {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Provided => f.write_str("provided"),
            Self::Python { minor } => write!(f, "python3.{minor}"),
            Self::Nodejs { major } => write!(f, "nodejs{major}.x"),
            Self::Ruby { major, minor } => write!(f, "ruby{major}.{minor}"),
            Self::Java { major } => write!(f, "java{major}"),
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
    /// Looks at `/usr/bin` and, if there is what Java needs, at `/usr/lib/jvm`.
    pub(crate) async fn of_this_host(has_java: bool) -> Self {
        let java = has_java.then_some(Path::new("/usr/lib/jvm"));
        Self::of(Places { programs: Path::new("/usr/bin"), java, visible: &["/usr", "/lib"] }).await
    }

    /// Compiles the bootstraps for every Python of this host. Whoever can't starts more slowly, and that is all.
    pub(crate) async fn compile_python(&self, bootstraps: &Bootstraps) {
        for (class, offered) in &self.classes {
            if let (RuntimeClass::Python { .. }, Some(interpreter)) = (class, &offered.interpreter)
                && let Err(error) = bootstraps.compile_python(interpreter).await
            {
                warn!(%class, %error, "the bootstrap is compiled at every start of a sandbox");
            }
        }
    }

    async fn of(places: Places<'_>) -> Self {
        let mut classes = BTreeMap::from([(RuntimeClass::Provided, Offered::default())]);
        for (class, path) in host::interpreters(places).await {
            classes.insert(class, Offered { interpreter: Some(path), image: None });
        }
        Self { classes }
    }

    /// What `images` are for, by their names. One that is for no runtime is passed over, and so is one of a language
    /// that lacks it, or for which `bootstraps` have nothing.
    pub(crate) fn of_images(images: Vec<GuestImage>, bootstraps: &Bootstraps) -> Self {
        let mut classes = BTreeMap::new();
        for GuestImage { name, interpreter } in images {
            match name.parse::<Runtime>().map(RuntimeClass::of) {
                Ok(RuntimeClass::Java { .. }) if !bootstraps.has_java() => {
                    warn!(image = name, "there is no bootstrap for Java beside hearth: the image is not used");
                }
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
            RuntimeClass::Python { .. } => vec![runtime_dir.join("bootstrap.py").into()],
            RuntimeClass::Nodejs { .. } => vec![runtime_dir.join("bootstrap.cjs").into()],
            RuntimeClass::Ruby { major, minor } => ruby_arguments((major, minor), runtime_dir),
            RuntimeClass::Java { major } => java_arguments(major, runtime_dir),
        };
        std::iter::once(interpreter.into()).chain(bootstrap).collect()
    }

    /// The root file system of `class`, where sandboxes have their own.
    pub(crate) fn image(&self, class: RuntimeClass) -> Option<&str> {
        self.classes.get(&class)?.image.as_deref()
    }
}

/// Text is UTF-8 whatever the locale, as on AWS. Messages of errors have no suggestions and no source in them, as those of
/// every version but 3.1.
fn ruby_arguments(version: (u8, u8), runtime_dir: &Path) -> Vec<OsString> {
    let plain = ["--disable=did_you_mean", "--disable=error_highlight"].map(OsString::from);
    let plain = plain.into_iter().filter(|_| version == (3, 1));
    plain.chain(["-EUTF-8:UTF-8".into(), runtime_dir.join("bootstrap.rb").into()]).collect()
}

/// What a virtual machine is to do in general stands in a file, so that `JAVA_TOOL_OPTIONS` can say otherwise. Text is
/// UTF-8 whatever the locale, as on AWS.
fn java_arguments(major: u8, runtime_dir: &Path) -> Vec<OsString> {
    let mut arguments = vec![
        format!("-XX:Flags={}", runtime_dir.join(JAVA_FLAGS).display()).into(),
        "-Dfile.encoding=UTF-8".into(),
        "-Dsun.jnu.encoding=UTF-8".into(),
    ];
    if major >= JAVA_ASKS_FOR_NATIVE_ACCESS {
        arguments.push("--enable-native-access=ALL-UNNAMED".into());
    }
    arguments.extend(["-cp".into(), runtime_dir.join(JAVA_BOOTSTRAP).into(), "hearth.Bootstrap".into()]);
    arguments
}

/// From this version on, Java writes a warning when a program loads a native library unannounced (JEP 472).
const JAVA_ASKS_FOR_NATIVE_ACCESS: u8 = 24;

#[cfg(test)]
mod tests {

    use super::*;

    fn none() -> Bootstraps {
        Bootstraps::at(Path::new("/nowhere"))
    }

    #[tokio::test]
    async fn a_host_offers_what_it_has_and_custom_runtimes_always() {
        let dir = tempfile::tempdir().unwrap();
        let places = Places { programs: dir.path(), java: None, visible: &[] };
        let offer = Offer::of(places).await;
        assert_eq!(offer.classes().collect::<Vec<_>>(), [RuntimeClass::Provided]);
        assert!(offer.command(RuntimeClass::Provided, Path::new("/var/runtime")).is_empty());

        std::fs::write(dir.path().join("python3.11"), "").unwrap();
        let offer = Offer::of(places).await;
        let names: Vec<_> = offer.runtimes().iter().map(ToString::to_string).collect();
        assert_eq!(names, ["provided", "provided.al2", "provided.al2023", "python3.11"]);
        let command = offer.command(RuntimeClass::Python { minor: 11 }, Path::new("/var/runtime"));
        assert_eq!(command, [dir.path().join("python3.11").into_os_string(), "/var/runtime/bootstrap.py".into()]);
        assert!(!offer.has(RuntimeClass::Nodejs { major: 22 }));
    }

    #[test]
    fn microvms_offer_what_they_have_images_for() {
        let image = |name: &str, interpreter: Option<&str>| GuestImage {
            name: name.into(),
            interpreter: interpreter.map(Into::into),
        };
        let images = vec![
            image("provided", None),
            image("python3.11", Some("/usr/bin/python3.11")),
            image("nodejs18.x", None),
            image("java17", Some("/usr/bin/java")),
            image("cobol", Some("/usr/bin/cobc")),
        ];
        let offer = Offer::of_images(images, &none());
        let python = RuntimeClass::Python { minor: 11 };
        assert_eq!(offer.classes().collect::<Vec<_>>(), [RuntimeClass::Provided, python]);
        assert_eq!(offer.image(python), Some("python3.11"));
        let command = offer.command(python, Path::new("/var/runtime"));
        assert_eq!(command, ["/usr/bin/python3.11", "/var/runtime/bootstrap.py"]);
        assert_eq!(Offer::of_images(Vec::new(), &none()).image(RuntimeClass::Provided), None);
    }
}
