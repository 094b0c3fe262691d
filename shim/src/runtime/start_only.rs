//! Which of a function's variables a process takes notice of only when it starts, so that a runtime which was started
//! before the function was known can't serve it.

use std::ffi::OsString;
use std::fs;
use std::path::Path;

use hearth_guest_protocol::EnvironmentVariable;

/// A program that starts the runtime in its place, with the runtime's command line as its arguments
/// (AWS Lambda developer guide, "Modifying the runtime environment", wrapper scripts).
pub(super) const WRAPPER: &str = "AWS_LAMBDA_EXEC_WRAPPER";
/// Variables, by prefix, that the dynamic linker, libc or an interpreter read when they start and not again.
const START_ONLY: [&str; 10] = [
    "LD_",
    "GLIBC_",
    "MALLOC_",
    "NODE_OPTIONS",
    "NODE_EXTRA_CA_CERTS",
    "PYTHON",
    "RUBY",
    "JAVA_TOOL_OPTIONS",
    "_JAVA_OPTIONS",
    "JDK_JAVA_OPTIONS",
];
/// Begin like some of them, but our bootstraps read them when they are told.
const READ_LATER: [&str; 2] = ["PYTHONPATH", "RUBYLIB"];
/// Every function has it; what counts is what lies in its directories.
const LIBRARY_PATH: &str = "LD_LIBRARY_PATH";
/// Where the dynamic linker looks anyway.
const SYSTEM_LIBRARIES: [&str; 4] = ["/lib", "/lib64", "/usr/lib", "/usr/lib64"];

/// Whether a process that was started with the environment `known` can go on with `wanted`.
pub(super) fn fits(known: &[(OsString, OsString)], wanted: &[EnvironmentVariable]) -> bool {
    wanted.iter().all(|variable| {
        let (name, value) = (variable.name.as_str(), variable.value.as_str());
        let is_known = known.iter().any(|(known, same)| known == name && same == value);
        match name {
            WRAPPER => value.is_empty(),
            LIBRARY_PATH => is_known || !value.split(':').any(holds_libraries),
            _ if READ_LATER.contains(&name) => true,
            _ => is_known || !START_ONLY.iter().any(|prefix| name.starts_with(prefix)),
        }
    })
}

/// Whether the linker would find something in this directory that it does not find without.
fn holds_libraries(directory: &str) -> bool {
    let directory = Path::new(directory);
    if SYSTEM_LIBRARIES.iter().any(|system| directory == Path::new(system)) {
        return false;
    }
    let Ok(entries) = fs::read_dir(directory) else { return false };
    entries.flatten().any(|entry| {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        name.starts_with("lib") && (name.ends_with(".so") || name.contains(".so."))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fits_with(name: &str, value: &str) -> bool {
        let known = [("LD_BIND_NOW".into(), "1".into()), ("LANG".into(), "C".into())];
        fits(&known, &[EnvironmentVariable { name: name.into(), value: value.into() }])
    }

    #[test]
    fn most_variables_may_come_later() {
        for name in
            ["OWN", "PATH", "TZ", "LANG", "PYTHONPATH", "RUBYLIB", "GEM_PATH", "NODE_PATH", "AWS_LAMBDA_FUNCTION_NAME"]
        {
            assert!(fits_with(name, "x"), "{name}");
        }
        assert!(fits_with("AWS_LAMBDA_EXEC_WRAPPER", ""));
    }

    #[test]
    fn some_count_only_at_the_start_unless_they_were_there() {
        for name in [
            "LD_PRELOAD",
            "MALLOC_ARENA_MAX",
            "NODE_OPTIONS",
            "PYTHONHASHSEED",
            "RUBYOPT",
            "JAVA_TOOL_OPTIONS",
            "AWS_LAMBDA_EXEC_WRAPPER",
        ] {
            assert!(!fits_with(name, "x"), "{name}");
        }
        assert!(fits_with("LD_BIND_NOW", "1"));
        assert!(!fits_with("LD_BIND_NOW", "2"));
    }

    #[test]
    fn a_library_path_counts_if_there_are_libraries() {
        let code = tempfile::tempdir().unwrap();
        let path = format!("/lib64:/usr/lib64:/nothing/here:{}", code.path().display());
        fs::write(code.path().join("_extension.so"), "").unwrap();
        fs::write(code.path().join("library.py"), "").unwrap();
        assert!(fits_with("LD_LIBRARY_PATH", &path));
        fs::write(code.path().join("libown.so.1"), "").unwrap();
        assert!(!fits_with("LD_LIBRARY_PATH", &path));
    }
}
