//! Our Node.js bootstrap in a real shim: what functions see and what callers get.

use serde_json::json;

use crate::sandbox::{Sandbox, invocation, node, text};

/// A ready sandbox with Node.js, this module as `index.js`, bound to `handler`; its init is under way.
fn bound(code: &str, handler: &str) -> Sandbox {
    let mut sandbox = Sandbox::pre_started(&node());
    sandbox.write("index.js", code);
    assert!(sandbox.ready());
    sandbox.init(handler, &[]);
    sandbox
}

#[test]
fn serves_calls_and_shows_what_lambda_shows() {
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
fn handlers_may_answer_in_every_way() {
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
        let mut sandbox = bound(code, handler);
        assert_eq!(sandbox.init_done().error, None, "{handler}: {}", sandbox.log_text());
        for id in ["one", "two"] {
            assert_eq!(sandbox.call(id, r#""e""#), expected, "{handler}");
            assert_eq!(sandbox.log_of(id).contains("later"), handler.contains("callback"), "{handler}");
        }
    }
}

#[test]
fn tells_errors_as_lambda_does() {
    let code = r#"
exports.handler = async (event) => {
  if (event === "throw") throw new TypeError("bad thing");
  if (event === "string") throw "just text";
  if (event === "circle") { const circle = {}; circle.self = circle; return circle; }
  return "fine";
};
"#;
    let mut sandbox = bound(code, "index.handler");
    assert_eq!(sandbox.init_done().error, None);
    let (error_type, document) = sandbox.call_failing("one", r#""throw""#);
    assert_eq!((error_type.as_str(), text(&document, "errorType")), ("TypeError", "TypeError"));
    assert_eq!(text(&document, "errorMessage"), "bad thing");
    assert_eq!(document["trace"][0], "TypeError: bad thing");
    let log = sandbox.log_of("one");
    assert!(
        log.contains(
            "\tone\tERROR\tInvoke Error \t{\"errorType\":\"TypeError\",\"errorMessage\":\"bad thing\",\"stack\":["
        ),
        "{log}"
    );
    let (_, document) = sandbox.call_failing("two", r#""string""#);
    assert_eq!(document, json!({"errorType": "string", "errorMessage": "just text", "trace": []}));
    let (_, document) = sandbox.call_failing("three", r#""circle""#);
    assert_eq!(text(&document, "errorMessage"), "Unable to stringify response body");
    assert_eq!(sandbox.call("four", "1"), json!("fine"));
}

#[test]
fn init_errors_are_lambda_s() {
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
        let mut sandbox = bound(code, handler);
        let (error_type, document) = sandbox.init_error();
        assert_eq!(error_type, expected_type, "{document}");
        assert!(text(&document, "errorMessage").starts_with(expected_message), "{document}");
        assert!(sandbox.log_of("").contains("\tundefined\tERROR\tUncaught Exception \t{\"errorType\":"));
        assert_eq!(sandbox.exit().status, Some(129));
    }
}

#[test]
fn errors_that_nobody_catches_are_the_call_s_and_end_the_process() {
    let code = r#"
exports.handler = async (event) => {
  if (event === "reject") Promise.reject(new Error("lost"));
  else setImmediate(() => { throw new Error("thrown"); });
  await new Promise((resolve) => setTimeout(resolve, 5_000));
};
"#;
    let cases =
        [(r#""reject""#, "Runtime.UnhandledPromiseRejection", "Error: lost", 128), ("1", "Error", "thrown", 129)];
    for (event, expected_type, message, status) in cases {
        let mut sandbox = bound(code, "index.handler");
        assert_eq!(sandbox.init_done().error, None);
        let (error_type, document) = sandbox.call_failing("r", event);
        assert_eq!((error_type.as_str(), text(&document, "errorMessage")), (expected_type, message));
        let exit = sandbox.exit();
        assert_eq!((exit.request_id.as_str(), exit.status), ("", Some(status)));
    }
}

#[test]
fn an_error_between_calls_ends_the_process_at_once() {
    let code = "exports.handler = (event, context, callback) => {
  context.callbackWaitsForEmptyEventLoop = false;
  setTimeout(() => { throw new Error('late'); }, 50);
  callback(null, 'fine');
};";
    let mut sandbox = bound(code, "index.handler");
    assert_eq!(sandbox.init_done().error, None);
    assert_eq!(sandbox.call("r", "1"), json!("fine"));
    let exit = sandbox.exit();
    assert_eq!((exit.request_id.as_str(), exit.status), ("", Some(129)));
}

#[test]
fn modules_are_found_by_kind() {
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
fn streaming_handlers_answer_whole() {
    let code = r#"
exports.handler = awslambda.streamifyResponse(async (event, stream, context) => {
  stream.setContentType("text/plain");
  for (const part of ["a", "b", context.awsRequestId]) stream.write(part);
  stream.end();
});
"#;
    let mut sandbox = bound(code, "index.handler");
    assert_eq!(sandbox.init_done().error, None, "{}", sandbox.log_text());
    sandbox.invoke("r", "1");
    assert_eq!(sandbox.raw_answer("r"), "abr");
}
