//! Our Python and Node.js bootstraps in a real shim: what functions see and what callers get.

use serde_json::json;

use crate::sandbox::{Sandbox, node, python};

#[test]
fn python_pre_started_serves_calls() {
    let mut sandbox = Sandbox::pre_started(&python());
    sandbox.write(
        "app.py",
        r#"
import os
print("loading")
def handler(event, context):
    print("got", event)
    return {"event": event, "name": context.function_name, "id": context.aws_request_id, "trace": os.environ["_X_AMZN_TRACE_ID"][:4]}
"#,
    );
    assert!(sandbox.ready());
    sandbox.initialized("app.handler");
    assert_eq!(sandbox.log_of(""), "loading\n");
    for id in ["one", "two"] {
        let answer = sandbox.call(id, r#"{"a":1}"#);
        assert_eq!(answer, json!({"event": {"a": 1}, "name": "tested", "id": id, "trace": "Root"}));
        assert_eq!(sandbox.log_of(id), "got {'a': 1}\n");
    }
    assert!(sandbox.shut_down(500).success());
}

#[test]
fn node_pre_started_serves_calls() {
    let mut sandbox = Sandbox::pre_started(&node());
    sandbox.write(
        "index.mjs",
        "console.log('loading'); export const handler = async (event, context) => { console.log('got', event); return { event, id: context.awsRequestId }; };",
    );
    assert!(sandbox.ready());
    sandbox.initialized("index.handler");
    assert!(sandbox.log_of("").ends_with("\tundefined\tINFO\tloading\n"), "{}", sandbox.log_text());
    for id in ["one", "two"] {
        assert_eq!(sandbox.call(id, r#"{"a":1}"#), json!({"event": {"a": 1}, "id": id}));
        assert!(sandbox.log_of(id).ends_with(&format!("\t{id}\tINFO\tgot {{ a: 1 }}\n")), "{}", sandbox.log_text());
    }
    assert!(sandbox.shut_down(500).success());
}
