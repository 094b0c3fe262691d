//! What the frontend adds to a warm call.

use std::time::{Duration, Instant};

use axum::body::Body;
use http_body_util::BodyExt;
use tower::ServiceExt;

use crate::platform::{Platform, signed};

/// Most that routing, signature, catalog and invocation path may take together. Debug builds hash ten times slower.
const BUDGET: Duration = if cfg!(debug_assertions) { Duration::from_millis(2) } else { Duration::from_micros(100) };
const BATCHES: usize = 40;
const CALLS: u32 = 50;

/// The best of many batches: what the code costs, not what else the machine does.
#[tokio::test]
async fn a_warm_call_stays_within_its_budget() {
    let platform = Platform::start().await;
    platform.create("echo", "app.handler").await;
    let router = platform.frontend.router();
    let mut best = Duration::MAX;
    for _ in 0..BATCHES {
        let call = || signed("POST", "/2015-03-31/functions/echo/invocations", &[], br#"{"a":[1,2,3]}"#);
        let requests: Vec<http::Request<Body>> = (0..CALLS).map(|_| call()).collect();
        let started = Instant::now();
        for request in requests {
            let response = router.clone().oneshot(request).await.unwrap();
            assert_eq!(response.status(), 200);
            response.into_body().collect().await.unwrap();
        }
        best = best.min(started.elapsed() / CALLS);
    }
    println!("a warm call costs {best:?} in the frontend");
    assert!(best < BUDGET, "{best:?} is more than {BUDGET:?}");
}
