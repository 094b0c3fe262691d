//! The routes of `hearth`'s own commands.

use serde_json::{Value, json};

use crate::fleet::line;
use crate::platform::{Platform, account};

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
async fn usage_and_dead_letters_are_read_from_the_store() {
    use hearth_domain::{FunctionName, RequestId, Version};
    use hearth_store::event::{DeadLetter, Event};
    let platform = Platform::start().await;
    let usage =
        hearth_store::usage::Usage { invocations: 3, errors: 1, mb_ms: 1_024_000, billed_ms: 9, ..Default::default() };
    let name = FunctionName::new("echo").unwrap();
    platform.deps.usage.add(vec![((account(), name.clone()), usage)]).await.unwrap();
    let report = platform.call("GET", "/hearth/v1/usage", &Value::Null).await.json();
    assert_eq!(report["account"], crate::platform::ACCOUNT);
    let expected = json!({ "name": "echo", "invocations": 3, "errors": 1, "throttles": 0, "coldStarts": 0, "billedMs": 9, "gbSeconds": 1.0 });
    assert_eq!(report["functions"], json!([expected]));

    let event = Event {
        request_id: RequestId::new("r-1").unwrap(),
        account: account(),
        name,
        version: Version::Latest,
        invoked_arn: String::new(),
        payload: bytes::Bytes::from_static(b"{}"),
        accepted_unix_ms: 1,
        due_unix_ms: 1,
        failed_attempts: 3,
        deferrals: 0,
        forwards: 0,
    };
    let id = platform.deps.events.push(event.clone()).await.unwrap();
    platform.deps.events.take_due(1, 1).await.unwrap();
    let letter = DeadLetter { event, condition: "RetriesExhausted".into(), error: Some("{}".into()), unix_ms: 5 };
    platform.deps.events.settle(id, Some(letter)).await.unwrap();
    let page = platform.call("GET", "/hearth/v1/dead-letters", &Value::Null).await.json();
    let shown = &page["deadLetters"][0];
    assert_eq!(
        (&shown["requestId"], &shown["attempts"], &shown["payloadBase64"]),
        (&json!("r-1"), &json!(3), &json!("e30="))
    );
    let next = page["deadLetters"][0]["id"].as_u64().unwrap();
    let rest = platform.call("GET", &format!("/hearth/v1/dead-letters?after={next}"), &Value::Null).await.json();
    assert_eq!(rest["deadLetters"], json!([]));
}
