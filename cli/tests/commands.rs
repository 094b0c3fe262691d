//! `hearth` as people type it, against a real frontend over real stores; only the fleet behind it is the one that the
//! frontend's own tests use (functions in memory: the handler `fail` fails, others echo).

#[path = "../../frontend/tests/api/fleet.rs"]
#[allow(dead_code, reason = "the frontend's tests use all of it")]
mod fleet;

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;

use fleet::{Directory, Fleet, line};
use hearth_frontend::{Config, Deps, Frontend};
use hearth_store::catalog::AccessKey;
use hearth_store::embedded::Database;
use hearth_store::files::FileBundles;
use serde_json::Value;
use tokio::net::TcpListener;

/// A frontend on a port of its own, and what `hearth` needs to find it.
struct Platform {
    fleet: Arc<Fleet>,
    endpoint: String,
    directory: tempfile::TempDir,
    // Dropping it ends the frontend's tasks.
    _runtime: tokio::runtime::Runtime,
}

impl Platform {
    fn start() -> Self {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let directory = tempfile::tempdir().unwrap();
        let fleet = Fleet::new();
        let listener = runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let frontend = frontend(directory.path(), &fleet).await;
            let address = listener.local_addr().unwrap();
            tokio::spawn(async move { frontend.serve(listener).await });
            address
        });
        let credentials = "[hearth]\naws_access_key_id = AKIATEST\naws_secret_access_key = secret\n";
        std::fs::write(directory.path().join("credentials"), credentials).unwrap();
        let code = directory.path().join("code");
        std::fs::create_dir(&code).unwrap();
        std::fs::write(code.join("app.py"), "def handler(event, context): return event\n").unwrap();
        Self { fleet, endpoint: format!("http://{listener}"), directory, _runtime: runtime }
    }

    fn hearth(&self, arguments: &[&str]) -> Output {
        self.hearth_with(arguments, "")
    }

    fn hearth_with(&self, arguments: &[&str], stdin: &str) -> Output {
        let mut child = Command::new(env!("CARGO_BIN_EXE_hearth"))
            .args(arguments)
            .env_clear()
            .env("HEARTH_ENDPOINT", &self.endpoint)
            .env("HEARTH_DATA_DIR", self.directory.path())
            .current_dir(self.directory.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(stdin.as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    }

    /// What a command that succeeds writes to standard output.
    fn told(&self, arguments: &[&str]) -> String {
        let output = self.hearth(arguments);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", stderr(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    fn deploy(&self, handler: &str) -> String {
        self.told(&["deploy", "code", "--name", "echo", "--runtime", "python3.11", "--handler", handler])
    }
}

async fn frontend(directory: &Path, fleet: &Arc<Fleet>) -> Arc<Frontend> {
    let database = Database::open(&directory.join("state")).await.unwrap();
    let deps = Deps {
        catalog: database.catalog(),
        documents: database.documents(),
        bundles: Arc::new(FileBundles::open(&directory.join("bundles")).await.unwrap()),
        events: database.events(),
        messages: database.messages(),
        usage: database.usage(),
        manager: fleet.clone(),
        workers: Arc::new(Directory(fleet.clone())),
    };
    let account = "000000000000".parse().unwrap();
    deps.catalog.put_access_key(AccessKey::root("AKIATEST", "secret", account)).await.unwrap();
    Frontend::start(Config::default(), deps, &prometheus::Registry::new()).await.unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn deploying_twice_creates_and_updates() {
    let platform = Platform::start();
    assert!(platform.deploy("app.handler").starts_with("created arn:aws:lambda:us-east-1:000000000000:function:echo"));
    let updated =
        platform.told(&["deploy", "code", "--name", "echo", "--memory", "512", "--env", "KEY=b", "--output", "json"]);
    let configuration: Value = serde_json::from_str(&updated).unwrap();
    assert_eq!(configuration["MemorySize"], 512);
    assert_eq!(configuration["Environment"]["Variables"]["KEY"], "b");
    assert_eq!((&configuration["Handler"], &configuration["State"]), (&"app.handler".into(), &"Active".into()));
    assert_eq!(configuration["LastUpdateStatus"], "Successful");
    let listed = platform.told(&["ls"]);
    assert!(listed.lines().any(|row| row.starts_with("echo  python3.11  app.handler        512")), "{listed}");
    platform.told(&["rm", "echo"]);
    assert!(platform.told(&["ls"]).starts_with("no functions"));
}

#[test]
fn invoking_gives_the_answer_the_log_and_the_exit_code() {
    let platform = Platform::start();
    platform.deploy("app.handler");
    let done = platform.hearth(&["invoke", "echo", "--data", r#"{"a":1}"#, "--tail"]);
    assert_eq!((done.status.code(), done.stdout.as_slice()), (Some(0), &b"{\"a\":1}\n"[..]), "{}", stderr(&done));
    assert!(stderr(&done).starts_with("START RequestId: "), "{}", stderr(&done));
    let piped = platform.hearth_with(&["invoke", "echo:$LATEST", "--data", "-"], "[2]");
    assert_eq!(piped.stdout, b"[2]\n");
    let queued = platform.hearth(&["invoke", "echo", "--async"]);
    assert!(queued.stdout.is_empty() && stderr(&queued).starts_with("queued as "), "{}", stderr(&queued));
    let machine: Value = serde_json::from_str(&platform.told(&["invoke", "echo", "--output", "json"])).unwrap();
    assert_eq!((&machine["StatusCode"], &machine["FunctionError"]), (&200.into(), &Value::Null));

    platform.deploy("fail");
    let failed = platform.hearth(&["invoke", "echo"]);
    assert_eq!(failed.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&failed.stdout).contains("ValueError"));
    assert!(stderr(&failed).contains("the function answered with an error"));
}

#[test]
fn logs_usage_workers_and_dead_letters_are_shown() {
    let platform = Platform::start();
    platform.deploy("app.handler");
    platform.fleet.lines.lock().unwrap().extend([line(0, "first"), line(1_500, "second")]);
    let lines = "1970-01-01T00:00:00.000Z first\n1970-01-01T00:00:01.500Z second\n";
    assert_eq!(platform.told(&["logs", "echo"]), lines);
    platform.told(&["invoke", "echo"]);
    let usage: Value = serde_json::from_str(&platform.told(&["usage", "--output", "json"])).unwrap();
    assert_eq!(usage["account"], "000000000000");
    let workers = platform.hearth(&["workers"]);
    let shown = String::from_utf8_lossy(&workers.stdout).into_owned();
    assert!(
        shown.contains("worker-1") && shown.contains("128/4096") && shown.contains("no slots under lease"),
        "{shown}"
    );
    assert!(stderr(&workers).contains("no security boundary"), "{}", stderr(&workers));
    assert_eq!(platform.told(&["dead-letters"]), "no dead letters\n");
}

#[test]
fn failures_say_what_to_do_and_have_their_codes() {
    let platform = Platform::start();
    let cases: [(&[&str], i32, &str); 8] = [
        (&["invoke", "absent"], 4, "ResourceNotFoundException: Function not found"),
        (&["logs", "absent"], 4, "`hearth ls` lists what there is"),
        (&["deploy", "/nowhere", "--name", "x", "--runtime", "python3.11"], 2, "/nowhere: No such file"),
        (&["deploy", "code", "--name", "x"], 2, "give --runtime"),
        (&["deploy", "code", "--name", "x", "--runtime", "go1.x", "--handler", "h"], 4, "go1.x"),
        (&["invoke", "x", "--data", "{"], 2, "--data is not JSON"),
        (&["ls", "--credentials", "/nowhere"], 3, "hearth up"),
        (&["ls", "--endpoint", "http://127.0.0.1:1"], 5, "no platform answers at http://127.0.0.1:1"),
    ];
    for (arguments, code, told) in cases {
        let output = platform.hearth(arguments);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {}", stderr(&output));
        assert!(stderr(&output).contains(told), "{arguments:?}: {}", stderr(&output));
        assert!(output.stdout.is_empty(), "{arguments:?}");
    }
}

#[test]
fn a_refused_key_says_which_one_to_take() {
    let platform = Platform::start();
    let credentials = platform.directory.path().join("other");
    std::fs::write(&credentials, "[hearth]\naws_access_key_id = AKIAOTHER\naws_secret_access_key = x\n").unwrap();
    let refused = platform.hearth(&["ls", "--credentials", credentials.to_str().unwrap()]);
    assert_eq!(refused.status.code(), Some(3));
    assert!(stderr(&refused).contains("unset AWS_ACCESS_KEY_ID"), "{}", stderr(&refused));
}
