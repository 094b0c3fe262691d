//! Our Python bootstrap in a real shim: what functions see and what callers get.

use serde_json::json;

use crate::sandbox::{Sandbox, invocation, node, python, text};

/// A ready sandbox with Python, this module as `app`, bound to `handler`; its init is under way.
fn bound(code: &str, handler: &str) -> Sandbox {
    let mut sandbox = Sandbox::pre_started(&python());
    sandbox.write("app.py", code);
    assert!(sandbox.ready());
    sandbox.init(handler, &[]);
    sandbox
}

#[test]
fn serves_calls_and_shows_what_lambda_shows() {
    let mut sandbox = Sandbox::pre_started(&python());
    sandbox.write(
        "app.py",
        r#"
import os, sys, time
print("loading")
def handler(event, context):
    print("got", event)
    sys.stderr.write("to stderr\n")
    left = context.get_remaining_time_in_millis()
    return {
        "event": event, "id": context.aws_request_id, "name": context.function_name, "version": context.function_version,
        "arn": context.invoked_function_arn, "memory": context.memory_limit_in_mb, "group": context.log_group_name,
        "stream": context.log_stream_name, "identity": context.identity.cognito_identity_id,
        "custom": context.client_context and context.client_context.custom, "left": 0 < left <= 3000,
        "trace": os.environ["_X_AMZN_TRACE_ID"], "zone": time.tzname[0], "own": os.environ.get("OWN"),
        "cwd": os.getcwd() == os.environ["LAMBDA_TASK_ROOT"] == sys.path[0], "init": os.environ.get("HEARTH_INIT_FD"),
    }
"#,
    );
    assert!(sandbox.ready());
    sandbox.init("app.handler", &[("TZ", "Asia/Tokyo"), ("OWN", "ü")]);
    assert_eq!(sandbox.init_done().error, None);
    assert_eq!(sandbox.log_of(""), "loading\n");
    for id in ["one", "two"] {
        let mut invoke = invocation(id, r#"{"a":[1,"é"]}"#);
        invoke.client_context = r#"{"custom":{"k":"v"}}"#.into();
        let expected = json!({
            "event": {"a": [1, "é"]}, "id": id, "name": "tested", "version": "$LATEST", "arn": invoke.invoked_arn,
            "memory": "128", "group": "/aws/lambda/tested", "stream": "stream", "identity": null,
            "custom": {"k": "v"}, "left": true, "trace": invoke.trace_id, "zone": "JST", "own": "ü",
            "cwd": true, "init": null,
        });
        sandbox.send(invoke);
        assert_eq!(sandbox.answer(id), expected);
        assert_eq!(sandbox.log_of(id), "got {'a': [1, 'é']}\nto stderr\n");
    }
    assert!(sandbox.shut_down(500).success());
}

#[test]
fn tells_errors_as_lambda_does() {
    let code = r#"
def handler(event, context):
    if event == "raise":
        raise ValueError("bad thing")
    if event == "marshal":
        return {1, 2}
    return "fine"
"#;
    let mut sandbox = bound(code, "app.handler");
    assert_eq!(sandbox.init_done().error, None);
    let (error_type, document) = sandbox.call_failing("one", r#""raise""#);
    assert_eq!(error_type, "ValueError");
    assert_eq!((text(&document, "errorType"), text(&document, "errorMessage")), ("ValueError", "bad thing"));
    assert_eq!(text(&document, "requestId"), "one");
    let trace = document["stackTrace"].as_array().unwrap();
    assert_eq!(trace.len(), 1, "only the function's own frames: {document}");
    assert!(trace[0].as_str().unwrap().contains("app.py\", line 4, in handler\n    raise ValueError"), "{document}");
    let log = sandbox.log_of("one");
    assert!(log.starts_with("[ERROR] ValueError: bad thing\nTraceback (most recent call last):\n"), "{log}");

    let (error_type, document) = sandbox.call_failing("two", r#""marshal""#);
    let message = "Unable to marshal response: Object of type set is not JSON serializable";
    assert_eq!((error_type.as_str(), text(&document, "errorMessage")), ("Runtime.MarshalError", message));
    let (error_type, _) = sandbox.call_failing("three", "no json");
    assert_eq!(error_type, "Runtime.UnmarshalError");
    assert_eq!(sandbox.call("four", "1"), json!("fine"));
}

#[test]
fn init_errors_are_lambda_s() {
    let cases = [
        ("", "app.handler", "Runtime.HandlerNotFound", "Handler 'handler' missing on module 'app'"),
        (
            "",
            "app",
            "Runtime.MalformedHandlerName",
            "Bad handler 'app': not enough values to unpack (expected 2, got 1)",
        ),
        ("", "x.handler", "Runtime.ImportModuleError", "Unable to import module 'x': No module named 'x'"),
        ("", "sys.exit", "Runtime.BuiltInModuleConflict", "Cannot use built-in module sys as a handler module"),
        ("def (", "app.handler", "Runtime.UserCodeSyntaxError", "Syntax error in module 'app': "),
        (
            "import nothing_such",
            "app.h",
            "Runtime.ImportModuleError",
            "Unable to import module 'app': No module named 'nothing_such'",
        ),
        ("1/0", "app.handler", "ZeroDivisionError", "division by zero"),
    ];
    for (code, handler, expected_type, expected_message) in cases {
        let mut sandbox = bound(code, handler);
        let (error_type, document) = sandbox.init_error();
        assert_eq!(error_type, expected_type, "{document}");
        assert_eq!(text(&document, "errorType"), expected_type);
        assert!(text(&document, "errorMessage").starts_with(expected_message), "{document}");
        assert!(sandbox.log_of("").starts_with(&format!("[ERROR] {expected_type}: {expected_message}")));
        assert_eq!(sandbox.exit().status, Some(1));
    }
}

#[test]
fn packages_may_be_named_with_dots_or_slashes() {
    for handler in ["pkg/sub/mod.handler", "pkg.sub.mod.handler"] {
        let mut sandbox = Sandbox::pre_started(&python());
        std::fs::create_dir_all(sandbox.task_root().join("pkg/sub")).unwrap();
        sandbox.write("pkg/sub/mod.py", "def handler(event, context): return __name__");
        sandbox.ready();
        sandbox.initialized(handler);
        assert_eq!(sandbox.call("r", "{}"), json!("pkg.sub.mod"));
    }
}

#[test]
fn logging_has_lambda_s_format_and_decimals_are_numbers() {
    let code = r#"
import logging, decimal
logger = logging.getLogger()
logger.setLevel("INFO")
def handler(event, context):
    logger.info("told %s", event)
    return [decimal.Decimal("1.10"), decimal.Decimal("1E+2"), "1.10"]
"#;
    let mut sandbox = bound(code, "app.handler");
    assert_eq!(sandbox.init_done().error, None);
    sandbox.invoke("r", "7");
    assert_eq!(sandbox.raw_answer("r"), r#"[1.10, 1E+2, "1.10"]"#);
    let log = sandbox.log_of("r");
    let parts: Vec<_> = log.trim_end().split('\t').collect();
    assert_eq!((parts[0], parts[2], parts[3]), ("[INFO]", "r", "told 7"), "{log}");
    assert!(parts[1].len() == "2026-01-01T00:00:00.000Z".len() && parts[1].ends_with('Z'), "{log}");
}

#[test]
fn whatever_a_function_does_to_its_streams_it_goes_on() {
    let code = "import sys\ndef handler(e, c):\n    exec(e)\n    return 'fine'";
    for event in ["sys.stdout = None", "sys.stdout.close()", "sys.stderr = object()"] {
        let mut sandbox = bound(code, "app.handler");
        assert_eq!(sandbox.init_done().error, None);
        assert_eq!(sandbox.call("a", &json!(event).to_string()), json!("fine"), "{event}");
        assert_eq!(sandbox.call_failing("b", "\"1/0\"").0, "ZeroDivisionError");
        assert!(sandbox.log_of("b").starts_with("[ERROR] ZeroDivisionError: division by zero\n"), "{event}");
        assert_eq!(sandbox.call("c", "\"pass\""), json!("fine"), "{event}");
    }
}

#[test]
fn that_exits_is_an_exit() {
    let mut sandbox = bound("import sys\ndef handler(e, c):\n    print('bye')\n    sys.exit(3)", "app.handler");
    assert_eq!(sandbox.init_done().error, None);
    sandbox.invoke("r", "1");
    let exit = sandbox.exit();
    assert_eq!((exit.request_id.as_str(), exit.status, exit.signal), ("r", Some(3), None));
    assert_eq!(sandbox.log_of("r"), "bye\n");
}

#[test]
fn started_anew_for_variables_that_matter_at_the_start() {
    let mut sandbox = Sandbox::pre_started(&python());
    sandbox.write(
        "app.py",
        "import sys\ndef handler(e, c): return [sys.flags.dont_write_bytecode, sys.flags.hash_randomization]",
    );
    assert!(sandbox.ready());
    sandbox.init("app.handler", &[("PYTHONDONTWRITEBYTECODE", "1"), ("PYTHONHASHSEED", "0")]);
    assert_eq!(sandbox.init_done().error, None, "{}", sandbox.log_text());
    assert_eq!(sandbox.call("r", "1"), json!([1, 0]));
}

#[test]
fn a_wrapper_script_starts_the_runtime() {
    let mut sandbox = Sandbox::pre_started(&python());
    sandbox.write("app.py", "import os\ndef handler(e, c): return os.environ['WRAPPED']");
    let wrapper = sandbox.write_executable("wrapper", "#!/bin/sh\nexport WRAPPED=yes\nexec \"$@\"\n");
    assert!(sandbox.ready());
    sandbox.init("app.handler", &[("AWS_LAMBDA_EXEC_WRAPPER", wrapper.to_str().unwrap())]);
    assert_eq!(sandbox.init_done().error, None, "{}", sandbox.log_text());
    assert_eq!(sandbox.call("r", "1"), json!("yes"));
}

#[test]
fn a_wanted_sandbox_is_ready_before_its_language_and_serves() {
    for (command, file, code) in [
        (
            python(),
            "index.py",
            "import os\ndef handler(event, context): return [event, os.environ.get('HEARTH_WANTED')]",
        ),
        (node(), "index.js", "exports.handler = async (event) => [event, process.env.HEARTH_WANTED ?? null];"),
    ] {
        let mut sandbox = Sandbox::start(&["--wanted"], &command, &[]);
        sandbox.write(file, code);
        assert!(sandbox.ready());
        sandbox.init("index.handler", &[]);
        assert_eq!(sandbox.init_done().error, None, "{}", sandbox.log_text());
        sandbox.send(invocation("one", "1"));
        assert_eq!(sandbox.answer("one"), json!([1, null]));
        assert!(sandbox.shut_down(500).success());
    }
}
