//! Custom runtimes: an executable named `bootstrap`, whatever it is made of.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;

use crate::sandbox::{Sandbox, text};

#[test]
fn a_shell_script_is_a_runtime() {
    let mut sandbox = Sandbox::custom();
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/bootstrap-shell/bootstrap");
    sandbox.write_executable("bootstrap", &fs::read_to_string(example).unwrap());
    assert!(!sandbox.ready());
    sandbox.initialized("none");
    assert_eq!(sandbox.call("one", r#"{"a":"é"}"#), json!({"bytes": 10, "event": {"a": "é"}}));
    let large = format!("\"{}\"", "x".repeat(100_000));
    assert_eq!(sandbox.call("two", &large)["bytes"], 100_002);
    assert_eq!(sandbox.log_of("two"), "event of 100002 bytes\n");
    assert!(sandbox.shut_down(500).success());
}

#[test]
fn the_environment_is_the_function_s_and_nothing_else() {
    let mut sandbox = Sandbox::start(&[], &[], &[("SECRET_OF_THE_SHIM", "x")]);
    sandbox.write_executable("bootstrap", "#!/bin/sh\npwd; exec /usr/bin/env\n");
    sandbox.ready();
    sandbox.init("the.handler", &[("OWN", "a b")]);
    sandbox.init_error();
    let log = sandbox.log_of("");
    let mut lines = log.lines();
    assert_eq!(lines.next(), sandbox.task_root().to_str());
    let mut names: Vec<_> = lines.filter_map(|line| Some(line.split_once('=')?.0)).collect();
    names.retain(|name| !["PWD", "SHLVL", "_", "OLDPWD"].contains(name));
    names.sort_unstable();
    let expected = [
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
        "AWS_LAMBDA_FUNCTION_NAME",
        "AWS_LAMBDA_FUNCTION_VERSION",
        "AWS_LAMBDA_LOG_GROUP_NAME",
        "AWS_LAMBDA_LOG_STREAM_NAME",
        "AWS_LAMBDA_RUNTIME_API",
        "LAMBDA_TASK_ROOT",
        "OWN",
        "PATH",
        "_HANDLER",
    ];
    assert_eq!(names, expected);
    assert!(log.contains("\nOWN=a b\n") && log.contains("\n_HANDLER=the.handler\n"), "{log}");
}

#[test]
fn a_bootstrap_that_is_missing_or_no_program_is_an_invalid_entrypoint() {
    let missing = |sandbox: &Sandbox| {
        format!(
            "Error: Couldn't find valid bootstrap(s): [{} /opt/bootstrap]",
            sandbox.task_root().join("bootstrap").display()
        )
    };
    let exec = |sandbox: &Sandbox, why: &str| {
        format!("Error: fork/exec {}: {why}", sandbox.task_root().join("bootstrap").display())
    };
    for case in ["missing", "permission denied", "exec format error", "no such file or directory"] {
        let mut sandbox = Sandbox::custom();
        let expected = match case {
            "missing" => missing(&sandbox),
            why => exec(&sandbox, why),
        };
        match case {
            "permission denied" => drop(sandbox.write("bootstrap", "#!/bin/sh\n")),
            "exec format error" => drop(sandbox.write_executable("bootstrap", "\u{7f}ELF no program")),
            "no such file or directory" => drop(sandbox.write_executable("bootstrap", "#!/nothing/here\n")),
            _ => {}
        }
        sandbox.ready();
        sandbox.init("h", &[]);
        let (error_type, document) = sandbox.init_error();
        assert_eq!(
            (error_type.as_str(), text(&document, "errorMessage")),
            ("Runtime.InvalidEntrypoint", expected.as_str())
        );
        assert!(sandbox.shut_down(0).success());
    }
}

#[test]
fn an_init_that_exits_is_told_with_status_or_signal() {
    let cases = [
        ("exit 7", Some(7), None, "Error: Runtime exited with error: exit status 7"),
        ("exit 0", Some(0), None, "Error: Runtime exited without providing a reason"),
        ("kill -SEGV $$", None, Some(11), "Error: Runtime exited with error: signal: segmentation fault"),
    ];
    for (script, status, signal, message) in cases {
        let mut sandbox = Sandbox::custom();
        sandbox.write_executable("bootstrap", &format!("#!/bin/sh\necho last words\n{script}\n"));
        sandbox.ready();
        sandbox.init("h", &[]);
        let (error_type, document) = sandbox.init_error();
        assert_eq!((error_type.as_str(), text(&document, "errorMessage")), ("Runtime.ExitError", message));
        assert_eq!(sandbox.log_of(""), "last words\n");
        let exit = sandbox.exit();
        assert_eq!((exit.status, exit.signal, exit.request_id.as_str()), (status, signal, ""));
    }
}

/// AWS's own client for Python, as a custom runtime's bootstrap.
#[test]
fn awslambdaric_runs_unchanged() {
    let (interpreter, library) = awslambdaric();
    let mut sandbox = Sandbox::custom();
    let script = format!(
        "#!/bin/sh\nexport PYTHONPATH={}\nexec {} -m awslambdaric \"$_HANDLER\"\n",
        library.display(),
        interpreter.display()
    );
    sandbox.write_executable("bootstrap", &script);
    let code = r#"
def handler(event, context):
    print("got", event)
    if event == "raise":
        raise ValueError("bad thing" * 30_000)
    return {"event": event, "id": context.aws_request_id, "left": 0 < context.get_remaining_time_in_millis() <= 3000}
"#;
    sandbox.write("app.py", code);
    sandbox.ready();
    sandbox.initialized("app.handler");
    assert_eq!(sandbox.call("one", r#"{"a":1}"#), json!({"event": {"a": 1}, "id": "one", "left": true}));
    assert_eq!(sandbox.log_of("one"), "got {'a': 1}\n");
    let (_, document) = sandbox.call_failing("two", r#""raise""#);
    assert_eq!((text(&document, "errorType"), text(&document, "errorMessage").len()), ("ValueError", 270_000));
    let large = format!("\"{}\"", "x".repeat(3_000_000));
    assert_eq!(sandbox.call("three", &large)["event"].as_str().unwrap().len(), 3_000_000);
    assert!(sandbox.shut_down(500).success());
}

/// An interpreter and a search path with which awslambdaric is found: that of the environment which `make test` prepares,
/// or else a copy beside the build, installed once.
fn awslambdaric() -> (PathBuf, PathBuf) {
    let prepared = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.venv/bin/python");
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("awslambdaric");
    if has_awslambdaric(&prepared, &target) {
        return (prepared, target);
    }
    let output = Command::new("python3").args(["-c", "import sys; print(sys.executable)"]).output().unwrap();
    let python = PathBuf::from(String::from_utf8(output.stdout).unwrap().trim_end());
    if !has_awslambdaric(&python, &target) {
        let mut pip = Command::new(&python);
        pip.args(["-m", "pip", "install", "--quiet", "--target"]).arg(&target).arg("awslambdaric");
        let said = String::from_utf8_lossy(&pip.output().unwrap().stderr).into_owned();
        assert!(has_awslambdaric(&python, &target), "awslambdaric can't be installed (make test prepares it): {said}");
    }
    (python, target)
}

fn has_awslambdaric(python: &Path, search: &Path) -> bool {
    let mut python = Command::new(python);
    python.args(["-c", "import awslambdaric.bootstrap, runtime_client"]).env("PYTHONPATH", search);
    python.output().is_ok_and(|output| output.status.success())
}
