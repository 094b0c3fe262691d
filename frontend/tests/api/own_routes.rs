//! The routes of `hearth`'s own commands.

use serde_json::{Value, json};

use crate::fleet::line;
use crate::platform::Platform;

#[tokio::test]
async fn workers_are_shown() {
    let platform = Platform::start().await;
    let fleet = platform.call("GET", "/hearth/v1/workers", &Value::Null).await.json();
    let worker = &fleet["workers"][0];
    assert_eq!(
        (&worker["id"], &worker["condition"], &worker["silentMs"]),
        (&json!("worker-1"), &json!("ready"), &json!(7))
    );
    assert_eq!(worker["runtimes"], json!(["python3.11", "provided.al2023"]));
    assert_eq!((&fleet["slots"], &fleet["waiting"]), (&json!([]), &json!(0)));
    *platform.fleet.reachable.lock().unwrap() = false;
    assert_eq!(platform.call("GET", "/hearth/v1/workers", &Value::Null).await.error().0, 503);
}

#[tokio::test]
async fn a_log_is_read_in_pages_and_followed() {
    let platform = Platform::start().await;
    platform.create("echo", "app.handler").await;
    let logs = async |query: String| {
        platform.call("GET", &format!("/hearth/v1/functions/echo/logs{query}"), &Value::Null).await
    };
    platform.fleet.lines.lock().unwrap().extend([line(1, "one"), line(2, "two"), line(3, "three")]);
    let first = logs("?limit=2".into()).await.json();
    let texts = |page: &Value| -> Vec<String> {
        page["lines"].as_array().unwrap().iter().map(|line| line["text"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(texts(&first), ["one", "two"]);
    assert_eq!(first["lines"][0], json!({ "unixMs": 1, "requestId": "r-1", "text": "one" }));
    let second = logs(format!("?after={}", first["next"].as_str().unwrap())).await.json();
    assert_eq!(texts(&second), ["three"]);
    let after = second["next"].as_str().unwrap();
    assert!(texts(&logs(format!("?after={after}")).await.json()).is_empty());
    let (followed, ()) = tokio::join!(logs(format!("?after={after}&waitMs=10000")), async {
        tokio::task::yield_now().await;
        platform.fleet.lines.lock().unwrap().push(line(4, "four"));
        platform.fleet.line_written.notify_waiters();
    });
    assert_eq!(texts(&followed.json()), ["four"]);
    assert_eq!(logs("?after=nonsense".into()).await.error().1, "InvalidParameterValueException");
    let nobody = platform.call("GET", "/hearth/v1/functions/nobody/logs", &Value::Null).await;
    assert_eq!(nobody.status, 404);
}

#[tokio::test]
async fn following_a_log_does_not_hold_up_a_shutdown() {
    let platform = Platform::start().await;
    platform.create("echo", "app.handler").await;
    let follow = platform.call("GET", "/hearth/v1/functions/echo/logs?waitMs=30000", &Value::Null);
    let shutdown = async {
        tokio::task::yield_now().await;
        platform.frontend.shutdown(std::time::Duration::from_secs(5)).await
    };
    let both = async { tokio::join!(follow, shutdown) };
    let (followed, stopped) = tokio::time::timeout(std::time::Duration::from_secs(5), both).await.expect("it ends");
    assert_eq!((followed.status, stopped), (200, true));
    assert_eq!(followed.json()["lines"], json!([]));
}

#[tokio::test]
async fn usage_is_there_as_soon_as_the_answer() {
    let platform = Platform::start().await;
    platform.create("echo", "app.handler").await;
    platform.create("fails", "fail").await;
    for _ in 0..3 {
        platform.invoke("echo", &[], b"{}").await;
    }
    platform.invoke("fails", &[], b"{}").await;
    let report = platform.call("GET", "/hearth/v1/usage", &Value::Null).await.json();
    assert_eq!(report["account"], crate::platform::ACCOUNT);
    let usage = |name: &str, invocations: u32, errors: u32| {
        let billed_ms = 2 * invocations;
        json!({
            "name": name, "invocations": invocations, "errors": errors, "throttles": 0, "coldStarts": 0,
            "billedMs": billed_ms, "gbSeconds": f64::from(128 * billed_ms) / 1_024_000.0,
        })
    };
    assert_eq!(report["functions"], json!([usage("echo", 3, 0), usage("fails", 1, 1)]));
}

#[tokio::test]
async fn an_event_given_up_is_listed() {
    let mut config = hearth_frontend::Config::default();
    config.events.retry.waits = vec![std::time::Duration::ZERO];
    let platform = Platform::with(config, crate::fleet::Fleet::new()).await;
    platform.create("fails", "fail").await;
    let accepted = platform.invoke("fails", &[("x-amz-invocation-type", "Event")], b"{\"n\":1}").await;
    assert_eq!(accepted.status, 202);
    let listed = async {
        loop {
            let page = platform.call("GET", "/hearth/v1/dead-letters", &Value::Null).await.json();
            if page["deadLetters"] != json!([]) {
                return page;
            }
            tokio::task::yield_now().await;
        }
    };
    let page = tokio::time::timeout(std::time::Duration::from_secs(10), listed).await.expect("it is given up");
    let letter = &page["deadLetters"][0];
    assert_eq!(letter["requestId"], accepted.header("x-amzn-requestid"));
    assert_eq!(
        (&letter["function"], &letter["condition"], &letter["attempts"]),
        (&json!("fails"), &json!("RetriesExhausted"), &json!(2))
    );
    assert_eq!(letter["payloadBase64"], "eyJuIjoxfQ==");
    assert_eq!(platform.fleet.invoked.lock().unwrap().len(), 2);
    let next = letter["id"].as_u64().unwrap();
    let rest = platform.call("GET", &format!("/hearth/v1/dead-letters?after={next}"), &Value::Null).await.json();
    assert_eq!(rest["deadLetters"], json!([]));
}
