//! Our Python and Node.js bootstraps in a real shim: what functions see and what callers get.

use serde_json::{Value, json};

use crate::sandbox::{Sandbox, invocation, node, python};

/// A ready sandbox with Python, this module as `app`, bound to `handler`; its init is under way.
fn python_with(code: &str, handler: &str) -> Sandbox {
    let mut sandbox = Sandbox::pre_started(&python());
    sandbox.write("app.py", code);
    assert!(sandbox.ready());
    sandbox.init(handler, &[]);
    sandbox
}

/// The same with Node.js and `index.js`.
fn node_with(code: &str, handler: &str) -> Sandbox {
    let mut sandbox = Sandbox::pre_started(&node());
    sandbox.write("index.js", code);
    assert!(sandbox.ready());
    sandbox.init(handler, &[]);
    sandbox
}

fn text<'a>(document: &'a Value, field: &str) -> &'a str {
    document[field].as_str().unwrap_or_else(|| panic!("{field} of {document} is text"))
}

#[test]
fn python_serves_calls_and_shows_what_lambda_shows() {
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
fn python_tells_errors_as_lambda_does() {
    let code = r#"
def handler(event, context):
    if event == "raise":
        raise ValueError("bad thing")
    if event == "marshal":
        return {1, 2}
    return "fine"
"#;
    let mut sandbox = python_with(code, "app.handler");
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
fn python_init_errors_are_lambda_s() {
    let cases = [
        ("", "app.handler", "Runtime.HandlerNotFound", "Handler 'handler' missing on module 'app'"),
        ("", "app", "Runtime.MalformedHandlerName", "Bad handler 'app': not enough values to unpack (expected 2, got 1)"),
        ("", "x.handler", "Runtime.ImportModuleError", "Unable to import module 'x': No module named 'x'"),
        ("", "sys.exit", "Runtime.BuiltInModuleConflict", "Cannot use built-in module sys as a handler module"),
        ("def (", "app.handler", "Runtime.UserCodeSyntaxError", "Syntax error in module 'app': "),
        ("import nothing_such", "app.h", "Runtime.ImportModuleError", "Unable to import module 'app': No module named 'nothing_such'"),
        ("1/0", "app.handler", "ZeroDivisionError", "division by zero"),
    ];
    for (code, handler, expected_type, expected_message) in cases {
        let mut sandbox = python_with(code, handler);
        let (error_type, document) = sandbox.init_error();
        assert_eq!(error_type, expected_type, "{document}");
        assert_eq!(text(&document, "errorType"), expected_type);
        assert!(text(&document, "errorMessage").starts_with(expected_message), "{document}");
        assert!(sandbox.log_of("").starts_with(&format!("[ERROR] {expected_type}: {expected_message}")));
        assert_eq!(sandbox.exit().status, Some(1));
    }
}

#[test]
fn python_packages_may_be_named_with_dots_or_slashes() {
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
fn python_logging_has_lambda_s_format_and_decimals_are_numbers() {
    let code = r#"
import logging, decimal
logger = logging.getLogger()
logger.setLevel("INFO")
def handler(event, context):
    logger.info("told %s", event)
    return [decimal.Decimal("1.10"), decimal.Decimal("1E+2"), "1.10"]
"#;
    let mut sandbox = python_with(code, "app.handler");
    assert_eq!(sandbox.init_done().error, None);
    sandbox.invoke("r", "7");
    assert_eq!(sandbox.raw_answer("r"), r#"[1.10, 1E+2, "1.10"]"#);
    let log = sandbox.log_of("r");
    let parts: Vec<_> = log.trim_end().split('\t').collect();
    assert_eq!((parts[0], parts[2], parts[3]), ("[INFO]", "r", "told 7"), "{log}");
    assert!(parts[1].len() == "2026-01-01T00:00:00.000Z".len() && parts[1].ends_with('Z'), "{log}");
}

#[test]
fn python_that_exits_is_an_exit() {
    let mut sandbox = python_with("import sys\ndef handler(e, c):\n    print('bye')\n    sys.exit(3)", "app.handler");
    assert_eq!(sandbox.init_done().error, None);
    sandbox.invoke("r", "1");
    let exit = sandbox.exit();
    assert_eq!((exit.request_id.as_str(), exit.status, exit.signal), ("r", Some(3), None));
    assert_eq!(sandbox.log_of("r"), "bye\n");
}

#[test]
fn python_started_anew_for_variables_that_matter_at_the_start() {
    let mut sandbox = Sandbox::pre_started(&python());
    sandbox.write("app.py", "import sys\ndef handler(e, c): return [sys.flags.dont_write_bytecode, sys.flags.hash_randomization]");
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
fn node_serves_calls_and_shows_what_lambda_shows() {
    let mut sandbox = Sandbox::pre_started(&node());
    sandbox.write(
        "index.mjs",
        r#"
console.log("loading");
const zone = await Promise.resolve(new Date(0).getTimezoneOffset());
export const handler = async (event, context) => {
  console.warn("got", event);
  const left = context.getRemainingTimeInMillis();
  return {
    event, id: context.awsRequestId, name: context.functionName, version: context.functionVersion,
    arn: context.invokedFunctionArn, memory: context.memoryLimitInMB, group: context.logGroupName,
    stream: context.logStreamName, custom: context.clientContext.custom, left: 0 < left && left <= 3000,
    trace: process.env._X_AMZN_TRACE_ID, zone, own: process.env.OWN,
    cwd: process.cwd() === process.env.LAMBDA_TASK_ROOT, init: process.env.HEARTH_INIT_FD ?? null,
    waits: context.callbackWaitsForEmptyEventLoop,
  };
};
"#,
    );
    assert!(sandbox.ready());
    sandbox.init("index.handler", &[("TZ", "Asia/Tokyo"), ("OWN", "ü")]);
    assert_eq!(sandbox.init_done().error, None, "{}", sandbox.log_text());
    assert!(sandbox.log_of("").ends_with("\tundefined\tINFO\tloading\n"), "{}", sandbox.log_text());
    for id in ["one", "two"] {
        let mut invoke = invocation(id, r#"{"a":[1,"é"]}"#);
        invoke.client_context = r#"{"custom":{"k":"v"}}"#.into();
        let expected = json!({
            "event": {"a": [1, "é"]}, "id": id, "name": "tested", "version": "$LATEST", "arn": invoke.invoked_arn,
            "memory": "128", "group": "/aws/lambda/tested", "stream": "stream", "custom": {"k": "v"}, "left": true,
            "trace": invoke.trace_id, "zone": -540, "own": "ü", "cwd": true, "init": null, "waits": true,
        });
        sandbox.send(invoke);
        assert_eq!(sandbox.answer(id), expected);
        assert!(sandbox.log_of(id).ends_with(&format!("\t{id}\tWARN\tgot {{ a: [ 1, 'é' ] }}\n")));
    }
    assert!(sandbox.shut_down(500).success());
}

#[test]
fn node_handlers_may_answer_in_every_way() {
    let code = r#"
exports.returns = async (event) => event;
exports.nothing = () => {};
exports.a = { b: { callback: (event, context, callback) => { setTimeout(() => console.log("later"), 30); callback(null, event); } } };
exports.hasty = (event, context, callback) => {
  context.callbackWaitsForEmptyEventLoop = false;
  setTimeout(() => {}, 60_000);
  callback(null, event);
};
exports.old = (event, context) => context.succeed(event);
exports.undefined = async () => {};
"#;
    let cases = [
        ("index.returns", json!("e")),
        ("index.nothing", json!(null)),
        ("index.a.b.callback", json!("e")),
        ("index.hasty", json!("e")),
        ("index.old", json!("e")),
        ("index.undefined", json!(null)),
    ];
    for (handler, expected) in cases {
        let mut sandbox = node_with(code, handler);
        assert_eq!(sandbox.init_done().error, None, "{handler}: {}", sandbox.log_text());
        for id in ["one", "two"] {
            assert_eq!(sandbox.call(id, r#""e""#), expected, "{handler}");
            assert_eq!(sandbox.log_of(id).contains("later"), handler.contains("callback"), "{handler}");
        }
    }
}

#[test]
fn node_tells_errors_as_lambda_does() {
    let code = r#"
exports.handler = async (event) => {
  if (event === "throw") throw new TypeError("bad thing");
  if (event === "string") throw "just text";
  if (event === "circle") { const circle = {}; circle.self = circle; return circle; }
  return "fine";
};
"#;
    let mut sandbox = node_with(code, "index.handler");
    assert_eq!(sandbox.init_done().error, None);
    let (error_type, document) = sandbox.call_failing("one", r#""throw""#);
    assert_eq!((error_type.as_str(), text(&document, "errorType")), ("TypeError", "TypeError"));
    assert_eq!(text(&document, "errorMessage"), "bad thing");
    assert_eq!(document["trace"][0], "TypeError: bad thing");
    let log = sandbox.log_of("one");
    assert!(log.contains("\tone\tERROR\tInvoke Error \t{\"errorType\":\"TypeError\",\"errorMessage\":\"bad thing\",\"stack\":["), "{log}");
    let (_, document) = sandbox.call_failing("two", r#""string""#);
    assert_eq!(document, json!({"errorType": "string", "errorMessage": "just text", "trace": []}));
    let (_, document) = sandbox.call_failing("three", r#""circle""#);
    assert_eq!(text(&document, "errorMessage"), "Unable to stringify response body");
    assert_eq!(sandbox.call("four", "1"), json!("fine"));
}

#[test]
fn node_init_errors_are_lambda_s() {
    let cases = [
        ("", "index.handler", "Runtime.HandlerNotFound", "index.handler is undefined or not exported"),
        ("exports.handler = 1", "index.handler", "Runtime.HandlerNotFound", "index.handler is not a function"),
        ("", "index", "Runtime.MalformedHandlerName", "Bad handler"),
        ("", "../x.handler", "Runtime.MalformedHandlerName", "'../x.handler' is not a valid handler name."),
        ("", "x.handler", "Runtime.ImportModuleError", "Error: Cannot find module 'x'\nRequire stack:\n"),
        ("const const", "index.handler", "Runtime.UserCodeSyntaxError", "SyntaxError: "),
        ("require('nothing-such')", "index.h", "Runtime.ImportModuleError", "Error: Cannot find module 'nothing-such'"),
        ("throw new RangeError('at load')", "index.handler", "RangeError", "at load"),
    ];
    for (code, handler, expected_type, expected_message) in cases {
        let mut sandbox = node_with(code, handler);
        let (error_type, document) = sandbox.init_error();
        assert_eq!(error_type, expected_type, "{document}");
        assert!(text(&document, "errorMessage").starts_with(expected_message), "{document}");
        assert!(sandbox.log_of("").contains("\tundefined\tERROR\tUncaught Exception \t{\"errorType\":"));
        assert_eq!(sandbox.exit().status, Some(129));
    }
}

#[test]
fn node_errors_that_nobody_catches_are_the_call_s_and_end_the_process() {
    let code = r#"
exports.handler = async (event) => {
  if (event === "reject") Promise.reject(new Error("lost"));
  else setImmediate(() => { throw new Error("thrown"); });
  await new Promise((resolve) => setTimeout(resolve, 5_000));
};
"#;
    let cases = [(r#""reject""#, "Runtime.UnhandledPromiseRejection", "Error: lost", 128), ("1", "Error", "thrown", 129)];
    for (event, expected_type, message, status) in cases {
        let mut sandbox = node_with(code, "index.handler");
        assert_eq!(sandbox.init_done().error, None);
        let (error_type, document) = sandbox.call_failing("r", event);
        assert_eq!((error_type.as_str(), text(&document, "errorMessage")), (expected_type, message));
        let exit = sandbox.exit();
        assert_eq!((exit.request_id.as_str(), exit.status), ("", Some(status)));
    }
}

#[test]
fn node_modules_are_found_by_kind() {
    let cases = [
        ("index.js", "export const handler = async () => 'module';", Some(r#"{"type":"module"}"#), "module"),
        ("index.js", "exports.handler = async () => 'commonjs';", Some("{}"), "commonjs"),
        ("index.cjs", "exports.handler = async () => 'cjs';", None, "cjs"),
        ("index.mjs", "export const handler = async () => 'mjs';", None, "mjs"),
    ];
    for (name, code, manifest, expected) in cases {
        let mut sandbox = Sandbox::pre_started(&node());
        sandbox.write(name, code);
        if let Some(manifest) = manifest {
            sandbox.write("package.json", manifest);
        }
        sandbox.ready();
        sandbox.initialized("index.handler");
        assert_eq!(sandbox.call("r", "1"), json!(expected), "{name}");
    }
}

#[test]
fn node_streaming_handlers_answer_whole() {
    let code = r#"
exports.handler = awslambda.streamifyResponse(async (event, stream, context) => {
  stream.setContentType("text/plain");
  for (const part of ["a", "b", context.awsRequestId]) stream.write(part);
  stream.end();
});
"#;
    let mut sandbox = node_with(code, "index.handler");
    assert_eq!(sandbox.init_done().error, None, "{}", sandbox.log_text());
    sandbox.invoke("r", "1");
    assert_eq!(sandbox.raw_answer("r"), "abr");
}
