//! `java`: compile our bootstrap for Java, to lie beside `hearth`: `hearth-java.jar` and `libhearth-java.so`.
//!
//! It takes a Java compiler and its `jar`, from `PATH`, and a C compiler. Where there is no Java compiler nothing is
//! made, and said so: `hearth` then offers no Java.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

/// The version whose class files we make, and the oldest whose programs understand them.
const RELEASE: &str = "17";
const CLASSES: &str = "hearth-java.jar";
const LIBRARY: &str = "libhearth-java.so";

/// Makes both in `target/debug` or `target/release`.
pub(crate) fn build(root: &Path, release: bool) -> Result<()> {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), |target| root.join(target));
    let beside = target.join(if release { "release" } else { "debug" });
    let Some(home) = compiler_home() else {
        println!("no Java compiler here (Debian: openjdk-17-jdk-headless): hearth will offer no Java");
        return Ok(());
    };
    let (classes, library) = (beside.join(CLASSES), beside.join(LIBRARY));
    let sources = sources(&root.join("sdk/java"))?;
    if is_newer(&classes, &sources) && is_newer(&library, &sources) {
        println!("{} is as its sources are", classes.display());
        return Ok(());
    }
    let unpacked = target.join("java-classes");
    let _ = fs::remove_dir_all(&unpacked);
    fs::create_dir_all(&unpacked).with_context(|| format!("making {}", unpacked.display()))?;
    fs::create_dir_all(&beside).with_context(|| format!("making {}", beside.display()))?;
    let java = sources.iter().filter(|path| path.extension().is_some_and(|extension| extension == "java"));
    let mut javac = Command::new(home.join("bin/javac"));
    javac.args(["--release", RELEASE, "-Xlint:all", "-encoding", "UTF-8", "-d"]).arg(&unpacked).args(java);
    run(&mut javac)?;
    let mut jar = Command::new(home.join("bin/jar"));
    run(jar.args(["--create", "--file"]).arg(&classes).arg("-C").arg(&unpacked).arg("."))?;
    let include = home.join("include");
    let mut cc = Command::new(std::env::var_os("CC").unwrap_or_else(|| "cc".into()));
    cc.args(["-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-I"]).arg(&include);
    cc.arg("-I").arg(include.join("linux")).arg("-o").arg(&library).arg(root.join("sdk/java/native/hearth.c"));
    run(&mut cc)?;
    println!("{}", classes.display());
    Ok(())
}

/// The directory of the compiler that `PATH` finds first, free of links, if it has all that is needed.
fn compiler_home() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let compilers = std::env::split_paths(&path).map(|directory| directory.join("javac"));
    let mut homes = compilers.filter_map(|compiler| {
        let program = fs::canonicalize(compiler).ok()?;
        Some(program.parent()?.parent()?.to_owned())
    });
    homes.find(|home| home.join("bin/jar").exists() && home.join("include/jni.h").exists())
}

/// Every file below `directory`, in the order of the names.
fn sources(directory: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).with_context(|| format!("reading {}", directory.display()))? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            found.extend(sources(&entry.path())?);
        } else {
            found.push(entry.path());
        }
    }
    found.sort();
    Ok(found)
}

fn is_newer(made: &Path, sources: &[PathBuf]) -> bool {
    let modified = |path: &Path| fs::metadata(path).and_then(|found| found.modified());
    let Ok(made) = modified(made) else { return false };
    sources.iter().all(|source| modified(source).is_ok_and(|changed| changed < made))
}

fn run(command: &mut Command) -> Result<()> {
    let program = command.get_program().to_owned();
    let name = Path::new(&program).file_name().map_or_else(|| program.display(), OsStr::display).to_string();
    if !command.status().with_context(|| format!("running {name}"))?.success() {
        bail!("{name} failed");
    }
    Ok(())
}
