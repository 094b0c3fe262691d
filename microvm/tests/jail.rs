//! Jails for real: what works inside, and that nothing is left. Needs root (as an ordinary user: `rootless.rs`).

#[path = "support/agent.rs"]
mod agent;
#[path = "support/host.rs"]
mod host;

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::task::Poll;
use std::time::Duration;

use agent::{Agent, launcher, limits, spec};
use hearth_microvm::{Launcher, Limits};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::json;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn boots_answers_and_leaves_nothing() {
    let Some(launcher) = launcher() else { return };
    assert_eq!(launcher.unenforced(), []);
    let mut agent = Agent::boot(&*launcher, spec("first")).await;
    assert_eq!(agent.ask("answer = os.getpid()").await, json!(1));
    assert_eq!(agent.sandbox.id(), "first");
    let groups = host::groups(&launcher.directory);
    assert!(!groups.is_empty());
    let ended = agent.sandbox.kill().await.unwrap();
    assert_eq!((ended.signal, ended.status, ended.out_of_memory), (Some(9), None, false));
    assert_eq!(agent.sandbox.kill().await.unwrap(), ended);
    let directory = launcher.directory;
    drop((agent, launcher.launcher));
    assert!(groups.iter().all(|group| !group.exists()));
    assert_eq!(std::fs::read_dir(directory.path().join("state/sandboxes")).unwrap().count(), 0);
    assert!(!host::mounts().contains(directory.path().to_str().unwrap()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn code_appears_in_a_running_sandbox_and_cannot_be_written() {
    let Some(launcher) = launcher() else { return };
    let mut agent = Agent::boot(&*launcher, spec("code")).await;
    let code = launcher.directory.path().join("code");
    std::fs::create_dir(&code).unwrap();
    std::fs::write(code.join("main.py"), "print('hello')").unwrap();
    assert_eq!(agent.ask("answer = os.listdir('/var/task')").await, json!([]));
    assert_eq!(agent.sandbox.attach_code(&code).await.unwrap(), Path::new("/var/task"));
    assert_eq!(agent.ask("answer = open('/var/task/main.py').read()").await, json!("print('hello')"));
    assert_eq!(agent.refused("open('/var/task/new', 'w')").await, i64::from(libc::EROFS));
    assert!(agent.sandbox.attach_code(&code).await.is_err());
    assert!(!host::mounts().contains("/var/task"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_of_the_host_are_shown_where_asked_and_nowhere_else() {
    let Some(launcher) = launcher() else { return };
    let here = launcher.directory.path();
    std::fs::write(here.join("bootstrap.py"), "#").unwrap();
    std::fs::set_permissions(here.join("bootstrap.py"), std::fs::Permissions::from_mode(0o666)).unwrap();
    let mut spec = spec("shown");
    spec.read_only.push((here.join("bootstrap.py"), "/opt/some/where/bootstrap.py".into()));
    let mut agent = Agent::boot(&*launcher, spec).await;
    assert_eq!(agent.ask("answer = open('/opt/some/where/bootstrap.py').read()").await, json!("#"));
    assert_eq!(agent.refused("open('/opt/some/where/bootstrap.py', 'a')").await, i64::from(libc::EROFS));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_that_is_not_there_is_told_by_the_step_and_leaves_nothing() {
    let Some(launcher) = launcher() else { return };
    let mut missing = spec("missing");
    missing.init = "/no/such/program".into();
    let error = launcher.boot(missing).await.err().expect("no boot");
    assert!(error.step.contains("/no/such/program"), "{error}");
    let mut unfit = spec("unfit");
    unfit.init = "/etc/passwd".into();
    let error = launcher.boot(unfit).await.err().expect("no boot");
    assert!(error.step.contains("execute"), "{error}");
    let mut named = spec("../x");
    named.id = "../x".into();
    assert!(launcher.boot(named).await.is_err());
    assert_eq!(std::fs::read_dir(launcher.directory.path().join("state/sandboxes")).unwrap().count(), 0);
    Agent::boot(&*launcher, spec("missing")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_exit_is_told_with_its_status() {
    let Some(launcher) = launcher() else { return };
    let mut agent = Agent::boot(&*launcher, spec("exits")).await;
    agent.leave("os._exit(3)").await;
    let ended = agent.sandbox.ended().await;
    assert_eq!((ended.status, ended.signal), (Some(3), None));
    assert_eq!(agent.sandbox.ended().await, ended);
    assert_eq!(agent.sandbox.kill().await.unwrap(), ended);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limits_can_be_changed_while_it_runs() {
    let Some(launcher) = launcher() else { return };
    let mut agent = Agent::boot(&*launcher, spec("changing")).await;
    let more = Limits { memory_bytes: 256 << 20, max_open_files: 64, tmp_bytes: 32 << 20, ..limits() };
    agent.sandbox.set_limits(more).await.unwrap();
    assert_eq!(agent.ask("import resource; answer = resource.getrlimit(resource.RLIMIT_NOFILE)[0]").await, json!(64));
    let size = agent.ask("s = os.statvfs('/tmp'); answer = s.f_blocks * s.f_frsize").await;
    assert_eq!(size, json!(32 << 20));
    agent.ask("held = bytearray(100 << 20); answer = len(held)").await;
    let less = Limits { memory_bytes: 32 << 20, ..more };
    assert!(agent.sandbox.set_limits(less).await.is_err());
    assert_eq!(agent.ask("answer = len(held)").await, json!(100 << 20));
    agent.ask("del held").await;
    agent.sandbox.set_limits(Limits { memory_bytes: 64 << 20, ..more }).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn usage_counts_memory_and_processor_time() {
    let Some(launcher) = launcher() else { return };
    let mut agent = Agent::boot(&*launcher, spec("using")).await;
    agent.ask("held = bytearray(50 << 20); del held; answer = 0").await;
    let before = agent.sandbox.usage().unwrap();
    assert!(before.memory_peak_bytes > 50 << 20, "{before:?}");
    assert!(before.memory_bytes < 40 << 20, "{before:?}");
    assert_eq!(agent.sandbox.memory_peak_bytes().unwrap(), before.memory_peak_bytes);
    agent.sandbox.reset_memory_peak();
    // Kernels before 6.12 can't on version 2: then it stays, but never grows by itself.
    assert!(agent.sandbox.memory_peak_bytes().unwrap() <= before.memory_peak_bytes);
    agent.ask("import time\nend = time.process_time() + 0.1\nwhile time.process_time() < end: pass").await;
    let after = agent.sandbox.usage().unwrap();
    assert!(after.cpu - before.cpu >= Duration::from_millis(90), "{before:?} {after:?}");
    assert_eq!(after.oom_kills, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_share_of_a_processor_is_what_was_given() {
    let Some(launcher) = launcher() else { return };
    let mut slow = spec("slow");
    slow.limits.milli_cpus = 250;
    let mut agent = Agent::boot(&*launcher, slow).await;
    let code = "import time\nstart = time.monotonic()\nend = time.process_time() + 0.2\n\
                while time.process_time() < end: pass\nanswer = time.monotonic() - start";
    let took = agent.ask(code).await.as_f64().unwrap();
    assert!(took > 0.6, "0.2 s of CPU at a quarter took {took} s");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn paused_it_uses_no_time_and_then_goes_on() {
    let Some(launcher) = launcher() else { return };
    let mut agent = Agent::boot(&*launcher, spec("paused")).await;
    let code = "
import threading
def spin():
    while True: pass
threading.Thread(target=spin, daemon=True).start()";
    agent.ask(code).await;
    agent.sandbox.pause().await.unwrap();
    let before = agent.sandbox.usage().unwrap().cpu;
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(agent.sandbox.usage().unwrap().cpu, before);
    agent.sandbox.resume().await.unwrap();
    agent.ask("answer = 1").await;
    agent.sandbox.pause().await.unwrap();
    agent.sandbox.kill().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_runs_inside_works() {
    let Some(launcher) = launcher() else { return };
    let mut agent = Agent::boot(&*launcher, spec("works")).await;
    let code = "
import subprocess, threading, multiprocessing, tempfile, time
sock = socket.socket(); sock.bind(('127.0.0.1', 0)); sock.listen()
client = socket.create_connection(sock.getsockname()); client.close()
with tempfile.TemporaryFile() as file: file.write(b'x')
lock = multiprocessing.Lock()
thread = threading.Thread(target=time.sleep, args=(0,)); thread.start(); thread.join()
out = subprocess.run(['/bin/sh', '-c', 'echo $((6*7)); ls /proc | grep -c meminfo'], capture_output=True, text=True)
answer = [out.stdout, out.stderr, socket.gethostname(), socket.if_nameindex(), len(open('/proc/meminfo').read()) > 0]";
    assert_eq!(agent.ask(code).await, json!(["42\n1\n", "", "sandbox", [[1, "lo"]], true]));
}

/// A worker with a hundred slots has more files open than any of its sandboxes may.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_launcher_may_have_more_files_open_than_a_sandbox_may() {
    let Some(launcher) = launcher() else { return };
    let spec = spec("crowded");
    let limit = getrlimit(Resource::Nofile);
    let needed = spec.limits.max_open_files + 200;
    assert!(limit.maximum.is_none_or(|most| most > needed), "run with `ulimit -Hn` above {needed}");
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).unwrap();
    let null = std::fs::File::open("/dev/null").unwrap();
    let _kept: Vec<_> = (0..spec.limits.max_open_files + 100).map(|_| null.try_clone().unwrap()).collect();
    let mut agent = Agent::boot(&*launcher, spec).await;
    assert_eq!(agent.ask("answer = os.getpid()").await, json!(1));
    assert_eq!(agent.ask("answer = sorted(int(fd) for fd in os.listdir('/proc/self/fd'))[:3]").await, json!([0, 1, 2]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_is_given_once_among_the_living() {
    let Some(launcher) = launcher() else { return };
    let mut first = Agent::boot(&*launcher, spec("name")).await;
    let error = launcher.boot(spec("name")).await.err().expect("no second of this name");
    assert_eq!(error.source.kind(), std::io::ErrorKind::AlreadyExists);
    assert_eq!(first.ask("answer = 1").await, json!(1));
    first.sandbox.kill().await.unwrap();
    Agent::boot(&*launcher, spec("name")).await.sandbox.kill().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_boot_that_nobody_waits_for_leaves_nothing() {
    let Some(launcher) = launcher() else { return };
    // Asked for once, then given up. On a busy host the boot may be done by then: its sandbox goes the same way.
    let mut given_up = 0;
    for number in 0..5 {
        let mut boot = launcher.boot(spec(&format!("unwanted-{number}")));
        given_up += usize::from(std::future::poll_fn(|task| Poll::Ready(boot.as_mut().poll(task).is_pending())).await);
    }
    assert!(given_up > 0);
    let directory = launcher.directory;
    drop(launcher.launcher);
    assert_eq!(std::fs::read_dir(directory.path().join("state/sandboxes")).unwrap().count(), 0);
    assert_eq!(host::groups(&directory).len(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn runtimes_of_the_host_run_inside() {
    let Some(launcher) = launcher() else { return };
    let mut wide = spec("runtimes");
    wide.limits.memory_bytes = 512 << 20;
    let mut agent = Agent::boot(&*launcher, wide).await;
    agent.ask("import subprocess; os.setgroups([]); os.setresgid(990, 990, 990); os.setresuid(993, 993, 993)").await;
    let programs = [
        ("/usr/bin/node", "['/usr/bin/node', '-e', 'console.log(6*7)']"),
        ("/usr/bin/java", "['/usr/bin/java', '-Xmx64m', '-version']"),
        ("/usr/bin/perl", "['/usr/bin/perl', '-e', 'print 42']"),
    ];
    for (program, command) in programs.into_iter().filter(|(program, _)| Path::new(program).exists()) {
        let run = format!(
            "run = subprocess.run({command}, capture_output=True, text=True); answer = [run.returncode, run.stdout + run.stderr]"
        );
        assert_eq!(
            agent.ask(&run).await[0],
            json!(0),
            "{program}: {}",
            agent.ask("answer = run.stderr + run.stdout").await
        );
    }
}
