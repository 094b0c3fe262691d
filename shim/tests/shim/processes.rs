//! What becomes of processes: logs, exits, orphans, the end.

use std::fs;
use std::path::Path;
use std::process::Command;

use hearth_domain::limits::INVOCATION_LOG_MAX_BYTES;
use hearth_guest_protocol::LOG_CHUNK_MAX_BYTES;
use serde_json::json;

use crate::sandbox::{Sandbox, python};

/// Python whose handler runs the event as code; what that leaves in `result` is the answer.
fn obedient() -> Sandbox {
    let mut sandbox = Sandbox::pre_started(&python());
    let code = "
import os, signal, subprocess, sys, time
def handler(event, context):
    names = dict(globals(), result=None)
    exec(event, names)
    return names['result']
";
    sandbox.write("app.py", code);
    assert!(sandbox.ready());
    sandbox.initialized("app.handler");
    sandbox
}

fn quoted(code: &str) -> String {
    json!(code).to_string()
}

/// Whether a process of that id is there and not dead.
fn is_alive(pid: u64) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

#[test]
fn all_that_was_written_before_an_answer_comes_before_it() {
    let mut sandbox = obedient();
    for round in 0..20 {
        let id = format!("r{round}");
        let answer =
            sandbox.call(&id, &quoted("os.write(1, b'o' * 50_000); os.write(2, b'e' * 10_000); result = 'fine'"));
        assert_eq!(answer, "fine");
        assert_eq!(sandbox.log_of(&id), "o".repeat(50_000) + &"e".repeat(10_000));
    }
    assert!(sandbox.logs.iter().all(|(_, data)| data.len() <= LOG_CHUNK_MAX_BYTES));
}

#[test]
fn a_log_flood_is_cut_counted_and_never_stops_the_function() {
    let mut sandbox = obedient();
    let written = INVOCATION_LOG_MAX_BYTES + 5_000_000;
    let flood = format!(
        "
left = {written}
while left: left -= os.write(1, b'x' * min(left, 60_000))
result = 'done'"
    );
    assert_eq!(sandbox.call("r", &quoted(&flood)), "done");
    assert_eq!(sandbox.log_of("r").len(), INVOCATION_LOG_MAX_BYTES);
    assert_eq!(sandbox.dropped, 5_000_000);
    assert_eq!(sandbox.call("s", &quoted("print('heard again')")), json!(null));
    assert_eq!(sandbox.log_of("s"), "heard again\n");
}

#[test]
fn a_worker_that_does_not_read_holds_the_function_up_and_memory_stays_small() {
    let mut sandbox = obedient();
    // Eight times what the pipe, the socket and the shim hold together.
    sandbox.invoke("r", &quoted("for i in range(80): os.write(1, b'x' * 100_000)\nresult = 'done'"));
    // The function is stuck in a write once everything is full; nothing else tells the test when that is.
    std::thread::sleep(std::time::Duration::from_millis(300));
    let status = fs::read_to_string(format!("/proc/{}/status", sandbox.pid())).unwrap();
    let rss = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB")?.parse().ok());
    assert!(rss.is_some_and(|kb: u64| kb < 16_000), "{rss:?} kB for 8 MB of logs nobody reads");
    assert_eq!(sandbox.answer("r"), "done");
    assert_eq!(sandbox.log_of("r").len(), 8_000_000);
}

#[test]
fn a_runtime_that_dies_in_a_call_says_its_last_words_first() {
    for (code, status, signal) in [
        ("print('dying'); sys.stdout.flush(); os._exit(9)", Some(9), None),
        ("print('dying'); sys.stdout.flush(); os.kill(os.getpid(), signal.SIGKILL)", None, Some(9)),
    ] {
        let mut sandbox = obedient();
        sandbox.invoke("r", &quoted(code));
        let exit = sandbox.exit();
        assert_eq!((exit.request_id.as_str(), exit.status, exit.signal), ("r", status, signal));
        assert_eq!(sandbox.log_of("r"), "dying\n");
        // What the worker may have sent meanwhile does no harm.
        sandbox.invoke("s", "{}");
        assert!(sandbox.shut_down(100).success());
    }
}

#[test]
fn a_pre_started_runtime_that_dies_is_told() {
    let mut sandbox = Sandbox::pre_started(&["sh", "-c", "echo no luck >&2; exit 4"]);
    assert!(!sandbox.ready());
    assert_eq!(sandbox.exit().status, Some(4));
    assert!(sandbox.shut_down(0).success());
}

#[test]
fn what_a_function_leaves_running_ends_with_its_sandbox() {
    // A child in a session of its own, whose parent is dead: an orphan that no process group holds.
    let leave = "
p = subprocess.Popen(['sh', '-c', 'setsid sleep 1000 & echo $!'], stdout=subprocess.PIPE)
result = int(p.stdout.readline()); p.wait()";
    for abandon in [false, true] {
        let mut sandbox = obedient();
        let orphan = sandbox.call("r", &quoted(leave)).as_u64().unwrap();
        assert!(is_alive(orphan));
        if abandon {
            sandbox.abandon();
        } else {
            assert!(sandbox.shut_down(1_000).success());
        }
        assert!(!is_alive(orphan));
    }
}

#[test]
fn orphans_are_reaped_while_the_function_lives() {
    let mut sandbox = obedient();
    let leave = "
pids = [int(subprocess.check_output(['sh', '-c', 'setsid true & echo $!'])) for _ in range(20)]
deadline = time.time() + 10
while any(os.path.exists(f'/proc/{pid}') for pid in pids) and time.time() < deadline: time.sleep(0.01)
result = [pid for pid in pids if os.path.exists(f'/proc/{pid}')]";
    assert_eq!(sandbox.call("r", &quoted(leave)), json!([]));
}

#[test]
fn shutting_down_asks_first_and_insists_after_the_grace() {
    let mut polite = obedient();
    polite.call("r", &quoted("signal.signal(signal.SIGTERM, lambda *_: (os.write(1, b'bye'), os._exit(0)))"));
    assert!(polite.shut_down(20_000).success());
    assert!(polite.log_text().ends_with("bye"), "{}", polite.log_text());

    let mut stubborn = obedient();
    let pid = stubborn.call("r", &quoted("signal.signal(signal.SIGTERM, signal.SIG_IGN); result = os.getpid()"));
    assert!(stubborn.shut_down(50).success());
    assert!(!is_alive(pid.as_u64().unwrap()));
}

#[test]
fn sigterm_to_the_shim_ends_the_sandbox() {
    let mut sandbox = obedient();
    let pid = sandbox.call("r", &quoted("result = os.getpid()"));
    assert!(Command::new("kill").arg(sandbox.pid().to_string()).status().unwrap().success());
    assert!(sandbox.ended().success());
    assert!(!is_alive(pid.as_u64().unwrap()));
}

#[test]
fn a_worker_out_of_turn_or_out_of_its_mind_ends_the_sandbox() {
    let mut sandbox = Sandbox::custom();
    sandbox.ready();
    sandbox.invoke("r", "{}");
    assert!(!sandbox.ended().success());

    let mut sandbox = obedient();
    sandbox.send_raw(&[0xff; 64]);
    assert!(!sandbox.ended().success());
}

#[test]
fn user_code_has_no_descriptor_of_the_shim_and_no_privilege() {
    let mut sandbox = obedient();
    let look = "
status = open('/proc/self/status').read()
result = {
    'fds': sorted(os.readlink(f'/proc/self/fd/{fd}').split(':')[0] for fd in os.listdir('/proc/self/fd') if os.path.exists(f'/proc/self/fd/{fd}') and int(fd) < 3),
    'others': [os.readlink(f'/proc/self/fd/{fd}').split(':')[0] for fd in map(str, range(3, 64)) if os.path.lexists(f'/proc/self/fd/{fd}')],
    'session': os.getsid(0) == os.getpid() == os.getpgrp(),
    'privileges': {line.split(':')[0]: line.split()[1] for line in status.splitlines() if line.startswith(('CapEff', 'CapPrm', 'CapInh', 'CapAmb', 'NoNewPrivs'))},
    'parent': os.getppid(),
    'victim': open('/proc/self/oom_score_adj').read().strip(),
}";
    let seen = sandbox.call("r", &quoted(look));
    assert_eq!(seen["fds"], json!(["/dev/null", "pipe", "pipe"]));
    assert_eq!(seen["others"], json!(["socket"]), "only its connection to the Runtime API");
    assert_eq!((&seen["session"], &seen["victim"]), (&json!(true), &json!("1000")));
    let none = "0000000000000000";
    assert_eq!(
        seen["privileges"],
        json!({"CapEff": none, "CapPrm": none, "CapInh": none, "CapAmb": none, "NoNewPrivs": "1"})
    );
    assert_eq!(seen["parent"], sandbox.pid());
    for (id, look) in [
        ("a", "os.readlink('/proc/{}/fd/3')"),
        ("b", "open('/proc/{}/mem', 'rb')"),
        ("c", "open('/proc/{}/environ').read()"),
    ] {
        let look = look.replace("{}", &sandbox.pid().to_string());
        let code = format!("try: result = repr({look})\nexcept PermissionError: result = 'refused'");
        assert_eq!(sandbox.call(id, &quoted(&code)), "refused", "{look}");
    }
}

#[test]
fn as_root_user_code_runs_as_who_it_is_told() {
    let is_root = fs::read_to_string("/proc/self/status").unwrap().contains("\nUid:\t0\t");
    if !is_root {
        // Switching users takes root; in the jail the shim is root of its user namespace, and the jail's tests see it.
        return;
    }
    let mut sandbox = Sandbox::custom_as("993:990");
    sandbox.write_executable("bootstrap", "#!/bin/sh\nid -u; id -g; id -G; exit 1\n");
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(sandbox.task_root(), open).unwrap();
    sandbox.ready();
    sandbox.init("h", &[]);
    sandbox.init_error();
    assert_eq!(sandbox.log_text(), "993\n990\n990\n");
    assert!(Path::new("/proc/self").exists());
}
