//! Around a snapshot, as far as that goes without a machine: coming to rest, hooks, and random numbers of clones. Two
//! clones are two processes whose generators were given the same seed before they knew their function.

use std::fs;
use std::io::Read;

use hearth_guest_protocol::GuestError;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::sandbox::{Sandbox, node, python, text};

const NODE_DRAWS: &str = "
const crypto = require('node:crypto');
exports.handler = async () => [Math.random(), Math.random()];
exports.many = async () => {
  const drawn = Array.from({ length: 20000 }, Math.random);
  const inside = drawn.every((n) => n >= 0 && n < 1);
  return [inside, drawn.reduce((a, b) => a + b) / drawn.length, new Set(drawn).size, Math.random.name, Math.random.length];
};
exports.clock = async () => Math.abs(performance.timeOrigin + performance.now() - Date.now());
";

/// What a sandbox of the pool answers that was restored, or was not.
fn from_the_pool(mut sandbox: Sandbox, restored: bool, file: &str, code: &str, handler: &str) -> Value {
    sandbox.write(file, code);
    assert!(sandbox.ready());
    if restored {
        sandbox.rest();
        sandbox.restore(&[]);
        assert_eq!(sandbox.restored().error, None);
    }
    sandbox.initialized(handler);
    sandbox.call("r", "{}")
}

/// Python with a `random` that was seeded before the function came.
fn seeded_python() -> (TempDir, Sandbox) {
    let site = TempDir::new().unwrap();
    fs::write(site.path().join("sitecustomize.py"), "import random\nrandom.seed(1)\n").unwrap();
    let path = site.path().to_str().unwrap().to_owned();
    let sandbox = Sandbox::start(&[], &python(), &[("PYTHONPATH", &path)]);
    (site, sandbox)
}

#[test]
fn clones_of_python_draw_other_numbers() {
    let code = "import random, uuid\ndef handler(e, c): return [random.random(), str(uuid.uuid4())]\n";
    let draw = |restored| {
        let (_site, sandbox) = seeded_python();
        from_the_pool(sandbox, restored, "app.py", code, "app.handler")
    };
    assert_eq!(draw(false)[0], draw(false)[0], "without a restore they are the same, so this test tells something");
    let (one, other) = (draw(true), draw(true));
    assert!(one[0] != other[0] && one[1] != other[1], "{one} {other}");
}

#[test]
fn clones_of_node_draw_other_numbers() {
    let clone = || Sandbox::pre_started(&[&["node", "--random-seed=7"], &node()[1..]].concat());
    let draw = |restored| from_the_pool(clone(), restored, "index.js", NODE_DRAWS, "index.handler");
    assert_eq!(draw(false), draw(false), "without a restore they are the same, so this test tells something");
    let (one, other) = (draw(true), draw(true));
    assert!(one[0] != other[0] && one[1] != other[1] && one[0] != one[1], "{one} {other}");
}

#[test]
fn what_clones_of_node_draw_is_as_good_as_before() {
    let answer = from_the_pool(Sandbox::pre_started(&node()), true, "index.js", NODE_DRAWS, "index.many");
    let mean = answer[1].as_f64().unwrap();
    // Twenty thousand draws: five standard deviations are 0.0102.
    assert!(answer[0] == json!(true) && (mean - 0.5).abs() < 0.0103 && answer[2] == json!(20_000), "{answer}");
    assert_eq!((answer[3].clone(), answer[4].clone()), (json!("random"), json!(0)));
    let clock = from_the_pool(Sandbox::pre_started(&node()), true, "index.js", NODE_DRAWS, "index.clock");
    assert!(clock.as_f64().unwrap() < 1_000.0, "{clock} ms");
}

const HOOKS: &str = "
import os
from snapshot_restore_py import register_after_restore, register_before_snapshot

ran = []
register_before_snapshot(ran.append, 'before 1')

@register_before_snapshot
def before():
    print('before the snapshot', flush=True)
    ran.append('before 2')

@register_after_restore
def after():
    ran.append('after 1')
    if os.environ.get('FAIL'):
        raise RuntimeError('no way back')

register_after_restore(ran.append, 'after 2')

def handler(event, context):
    return [ran, os.environ['STREAM'], context.aws_request_id]
";

/// A sandbox whose function has run its before-snapshot hooks.
fn hooked(code: &str) -> Sandbox {
    let mut sandbox = Sandbox::pre_started(&python());
    sandbox.write("app.py", code);
    assert!(sandbox.ready());
    sandbox.init_for_snapshot("app.handler");
    sandbox
}

#[test]
fn hooks_run_in_aws_s_order_and_the_environment_is_the_clone_s() {
    let mut sandbox = hooked(HOOKS);
    assert_eq!(sandbox.init_done().error, None);
    assert!(sandbox.log_text().contains("before the snapshot"), "written before the init is over");
    sandbox.rest();
    sandbox.restore(&[("STREAM", "mine")]);
    assert_eq!(sandbox.restored().error, None);
    assert_eq!(sandbox.call("r", "{}"), json!([["before 2", "before 1", "after 1", "after 2"], "mine", "r"]));
}

#[test]
fn a_failing_after_restore_hook_fails_the_restore_and_ends_the_runtime() {
    let mut sandbox = hooked(HOOKS);
    sandbox.init_done();
    sandbox.rest();
    sandbox.restore(&[("FAIL", "1")]);
    let GuestError { error_type, document } = sandbox.restored().error.unwrap();
    assert_eq!(error_type, "Runtime.AfterRestoreError");
    assert_eq!(text(&serde_json::from_slice(&document).unwrap(), "errorMessage"), "no way back");
    assert_eq!(sandbox.exit().status, Some(65));
}

#[test]
fn a_failing_before_snapshot_hook_fails_the_init() {
    let code = "import snapshot_restore_py as s\ns.register_before_snapshot(lambda: 1 / 0)\ndef handler(e, c): pass\n";
    let mut sandbox = hooked(code);
    let (error_type, document) = sandbox.init_error();
    assert_eq!(
        (error_type.as_str(), text(&document, "errorType")),
        ("Runtime.BeforeSnapshotError", "ZeroDivisionError")
    );
    assert_eq!(sandbox.exit().status, Some(64));
}

#[test]
fn a_function_without_hooks_is_snapshotted_after_its_init_as_well() {
    let mut sandbox = hooked("import uuid\nid = str(uuid.uuid4())\ndef handler(e, c): return id\n");
    assert_eq!(sandbox.init_done().error, None);
    sandbox.rest();
    sandbox.restore(&[]);
    assert_eq!(sandbox.restored().error, None);
    let id = sandbox.call("1", "{}");
    assert_eq!(sandbox.call("2", "{}"), id);
}

#[test]
fn what_is_at_rest_says_nothing_until_it_is_restored() {
    let code = "
import os, threading
def chatter():
    with open('ticks', 'wb', buffering=0) as ticks:
        while True:
            print('tick', flush=True)
            ticks.write(b'.')
threading.Thread(target=chatter, daemon=True).start()
def handler(event, context): return 1
";
    let mut sandbox = Sandbox::pre_started(&python());
    sandbox.write("app.py", code);
    let fifo = sandbox.task_root().join("ticks");
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    assert!(sandbox.ready());
    sandbox.init_for_snapshot("app.handler");
    assert_eq!(sandbox.init_done().error, None);
    sandbox.rest();
    // From here on it writes a line before each of these bytes.
    let mut ticks = fs::File::open(&fifo).unwrap();
    ticks.read_exact(&mut [0; 100]).unwrap();
    assert!(sandbox.is_silent());
    sandbox.restore(&[]);
    assert_eq!(sandbox.restored().error, None);
    assert!(sandbox.log_text().matches("tick\n").count() >= 100, "nothing was lost");
}
