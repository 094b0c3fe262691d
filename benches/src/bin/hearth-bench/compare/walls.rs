//! Other ways to put walls around a program: bubblewrap, crun and gVisor's runsc, and none. Each runs the same program with
//! the host's `/usr`, an empty `/tmp`, and namespaces of its own for all but users.

use std::ffi::OsString;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use hearth_benches::function::{Language, NODE, PYTHON};
use hearth_benches::platform::release_binary;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::Command;

/// What stands between a program and the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Walls {
    None,
    Bwrap,
    Crun,
    Runsc,
}

/// What a program does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Deed {
    /// Ends at once.
    Ends,
    /// Says a line, then waits until its input ends.
    Waits,
}

/// Walls that stand on this machine, with what they need there.
pub(super) struct Site {
    pub(super) walls: Walls,
    files: TempDir,
}

impl Walls {
    pub(super) const ALL: [Self; 4] = [Self::None, Self::Bwrap, Self::Crun, Self::Runsc];

    /// As the tables name it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::None => "no walls",
            Self::Bwrap => "bwrap",
            Self::Crun => "crun",
            Self::Runsc => "runsc",
        }
    }
}

impl Site {
    /// Those that work here, and a sentence for each that does not.
    pub(super) async fn all() -> Result<(Vec<Self>, Vec<String>)> {
        let (mut there, mut absent) = (Vec::new(), Vec::new());
        for walls in Walls::ALL {
            let site = Self::make(walls)?;
            match site.run(Language::Provided).await {
                Ok(()) => there.push(site),
                Err(error) => absent.push(format!("{} is left out: {error:#}.", walls.name())),
            }
        }
        Ok((there, absent))
    }

    fn make(walls: Walls) -> Result<Self> {
        let files = TempDir::new()?;
        let root = files.path().join("rootfs");
        for folder in ["proc", "dev", "tmp", "usr"] {
            std::fs::create_dir_all(root.join(folder))?;
        }
        for link in ["bin", "lib", "lib64"] {
            symlink(format!("usr/{link}"), root.join(link))?;
        }
        std::fs::copy(release_binary("hearth-shim")?, root.join("program"))?;
        Ok(Self { walls, files })
    }

    /// From the call until the program has ended.
    pub(super) async fn run(&self, language: Language) -> Result<()> {
        let output = self.command(language, Deed::Ends, "run")?.stdin(Stdio::null()).output().await;
        let output = output.with_context(|| self.walls.name())?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{}: {}", output.status, said.trim().lines().last().unwrap_or("no word"));
        Ok(())
    }

    /// Ready to be started; ends when dropped. `id` is its own among those that run.
    pub(super) fn command(&self, language: Language, deed: Deed, id: &str) -> Result<Command> {
        let root = self.files.path().join("rootfs");
        let program = self.program(language, deed, &root);
        let mut command = match self.walls {
            Walls::None => Command::new(&program[0]),
            Walls::Bwrap => Command::new("bwrap"),
            Walls::Crun => Command::new("crun"),
            Walls::Runsc => Command::new("runsc"),
        };
        match self.walls {
            Walls::None => command.args(&program[1..]),
            Walls::Bwrap => command
                .args(["--unshare-all", "--clearenv", "--die-with-parent", "--ro-bind"])
                .arg(&root)
                .args(["/", "--ro-bind", "/usr", "/usr", "--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp"])
                .args(&program),
            Walls::Crun | Walls::Runsc => {
                // Its own folder for each: what runs at once must not share a configuration.
                let bundle = self.files.path().join(id);
                std::fs::create_dir_all(&bundle)?;
                let config = config(&root, &program, rustix::process::getuid().is_root());
                std::fs::write(bundle.join("config.json"), config.to_string())?;
                command.arg("--root").arg(self.files.path().join("state"));
                if self.walls == Walls::Runsc {
                    command.args(["--network=none", "--ignore-cgroups"]);
                    if !rustix::process::getuid().is_root() {
                        command.arg("--rootless");
                    }
                }
                command.args(["run", "--bundle"]).arg(bundle).arg(id)
            }
        };
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        Ok(command)
    }

    /// As it is called inside the walls.
    fn program(&self, language: Language, deed: Deed, root: &Path) -> Vec<OsString> {
        let inside = if self.walls == Walls::None { root.join("program") } else { "/program".into() };
        let words: Vec<&str> = match (language, deed) {
            (Language::Provided, Deed::Ends) => return vec![inside.into(), "--version".into()],
            // Nothing of ours waits without a platform; this is small, too, but not static.
            (Language::Provided, Deed::Waits) => vec!["/usr/bin/sh", "-c", "echo ready; exec /usr/bin/cat"],
            (Language::Python, Deed::Ends) => vec![PYTHON, "-c", "pass"],
            (Language::Python, Deed::Waits) => {
                vec![PYTHON, "-c", "import sys; print('ready', flush=True); sys.stdin.read()"]
            }
            (Language::Nodejs, Deed::Ends) => vec![NODE, "-e", "0"],
            (Language::Nodejs, Deed::Waits) => vec![NODE, "-e", "console.log('ready'); process.stdin.resume()"],
        };
        words.into_iter().map(OsString::from).collect()
    }
}

/// For an OCI runtime (runtime-spec 1.0.2).
fn config(root: &Path, program: &[OsString], is_root: bool) -> Value {
    let mut namespaces: Vec<Value> = ["pid", "mount", "ipc", "uts", "network"].map(|kind| json!({"type": kind})).into();
    let mut linux = json!({});
    if is_root {
        linux["resources"] = json!({"memory": {"limit": 512 << 20}, "pids": {"limit": 64}});
    } else {
        namespaces.push(json!({"type": "user"}));
        let (uid, gid) = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
        linux["uidMappings"] = json!([{"containerID": 0, "hostID": uid, "size": 1}]);
        linux["gidMappings"] = json!([{"containerID": 0, "hostID": gid, "size": 1}]);
    }
    linux["namespaces"] = Value::Array(namespaces);
    let tmpfs = |destination: &str| json!({"destination": destination, "type": "tmpfs", "source": "tmpfs"});
    json!({
        "ociVersion": "1.0.2",
        "process": {
            "terminal": false, "user": {"uid": 0, "gid": 0}, "cwd": "/", "noNewPrivileges": true,
            "args": program.iter().map(|word| word.to_string_lossy()).collect::<Vec<_>>(), "env": ["PATH=/usr/bin"],
        },
        "root": {"path": root, "readonly": true},
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            tmpfs("/dev"), tmpfs("/tmp"),
            {"destination": "/usr", "type": "bind", "source": "/usr", "options": ["rbind", "ro"]},
        ],
        "linux": linux,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_says_who_may_do_what() {
        let program = [OsString::from("/program"), "--version".into()];
        let config = |is_root| super::config(Path::new("/there"), &program, is_root);
        let (root, rootless) = (config(true), config(false));
        assert_eq!(root["process"]["args"], json!(["/program", "--version"]));
        assert!(root["linux"]["resources"]["pids"].is_object() && root["linux"].get("uidMappings").is_none());
        let user = json!({"type": "user"});
        let namespaces = |config: &Value| config["linux"]["namespaces"].as_array().unwrap().contains(&user);
        assert!(namespaces(&rootless) && !namespaces(&root));
    }
}
