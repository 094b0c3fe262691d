//! Routes and documents held against the service model.

use std::path::Path;

use hearth_frontend::model::{BOTOCORE, OPERATIONS, lambda_api, operation};
use hearth_frontend::routes;
use serde_json::{Value, json};

use crate::platform::{Platform, create_request};

#[test]
fn every_operation_of_the_model_has_its_route_and_no_other() {
    for operation in &OPERATIONS {
        let found: Vec<_> = routes().filter(|route| route.name == operation.name).collect();
        let [route] = found[..] else { panic!("{} has {} routes", operation.name, found.len()) };
        assert_eq!((route.method, route.path), (operation.method, operation.path.trim_end_matches('/')));
        assert_eq!(route.query, operation.query.map(|(name, _)| name), "{}", operation.name);
    }
    for route in routes().filter(|route| operation(route.name).is_none()) {
        assert!(route.path.starts_with("/hearth/"), "{route:?} is not in the model of botocore {BOTOCORE}");
    }
}

#[test]
fn the_document_of_the_api_is_what_the_code_says() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/lambda-api.md");
    let written = std::fs::read_to_string(path).unwrap();
    assert!(written == lambda_api(), "docs/lambda-api.md has drifted: run `cargo xtask gen` and commit");
}

#[tokio::test]
async fn what_cannot_be_honoured_at_all_is_refused_by_name() {
    let platform = Platform::start().await;
    platform.create("echo", "app.handler").await;
    let mut request = create_request("other", "app.handler");
    request["TenancyConfig"] = json!({ "TenantIsolationMode": "PER_TENANT" });
    let refused = platform.call("POST", "/2015-03-31/functions", &request).await.error();
    let expected = "TenancyConfig is not supported by Hearth: environments are not told apart by tenant.";
    assert_eq!(refused, (400, "InvalidParameterValueException".to_owned(), expected.to_owned()));
    let invoked = platform.invoke("echo", &[("x-amz-tenant-id", "blue")], b"{}").await.error();
    assert!(invoked.2.starts_with("TenantId is not supported"), "{invoked:?}");
    let body = json!({ "PublishTo": null });
    let published = platform.call("POST", "/2015-03-31/functions/echo/versions", &body).await;
    assert_eq!(published.status, 201, "null is absent: {:?}", published.bytes);
    let missing = platform.call("GET", "/2015-03-31/functions/other", &Value::Null).await;
    assert_eq!(missing.status, 404);
}
