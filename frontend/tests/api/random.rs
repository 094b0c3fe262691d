//! Requests that nobody should send, made from the service model: every operation, in every way it can be got wrong, and
//! now and then right. None gives a 500, none hangs, and none that is refused changes anything.
//!
//! The seed is in `SEED`; what fails is printed with its number, method, path and body, and comes again with the same
//! seed. `HEARTH_RANDOM_REQUESTS` and `HEARTH_RANDOM_SEED` ask for others.

mod generator;
mod watch;

use std::time::Duration;

use axum::body::Body;
use hearth_frontend::{Config, routes};
use http::Request;
use rand::SeedableRng;
use rand::rngs::StdRng;

use crate::fleet::Fleet;
use crate::platform::{Platform, Reply};
use generator::{Generator, RawRequest};
use watch::State;

const REQUESTS: usize = 20_000;
const SEED: u64 = 4;
/// Longest wait for one reply.
const PATIENCE: Duration = Duration::from_secs(20);
/// Requests after which all functions are deleted and those that always exist are made anew, so that their versions stay few.
const ROUND: usize = 250;

#[tokio::test]
async fn requests_that_nobody_should_send() {
    let asked = |name: &str| std::env::var(name).ok().and_then(|value| value.parse::<u64>().ok());
    let seed = asked("HEARTH_RANDOM_SEED").unwrap_or(SEED);
    let requests = asked("HEARTH_RANDOM_REQUESTS").map_or(REQUESTS, |asked| asked as usize);
    let documents = watch::Watched::default();
    let platform = Platform::watched(Config::default(), Fleet::new(), |inner| documents.around(inner)).await;
    let mut generator = Generator::new(StdRng::seed_from_u64(seed));
    let (mut refused, mut accepted, mut before) = (0, 0, State::default());
    for number in 0..requests {
        if number % ROUND == 0 {
            start_over(&platform).await;
            before = State::settled(&platform, &documents).await;
        }
        let request = generator.request();
        let Some(signed) = request.signed() else { continue };
        let reply = reply(&platform, signed, &request, number, seed).await;
        let told = || format!("request {number} of seed {seed}: {request:?} got {} {:?}", reply.status, reply.bytes);
        assert!(reply.status < 500 || reply.status == 501, "{}", told());
        assert_eq!(reply.header("x-amzn-requestid").len(), 36, "{}", told());
        if reply.status >= 400 {
            refused += 1;
            assert!(!reply.error().1.is_empty(), "no error type: {}", told());
            assert!(State::now(&platform, &documents).await == before, "something changed: {}", told());
        } else {
            accepted += 1;
            before = State::settled(&platform, &documents).await;
        }
    }
    println!("{refused} refused, {accepted} accepted");
    assert!(accepted * 12 > requests, "only {accepted} of {requests} were accepted: the rest proves little");
    assert!(refused * 3 > requests, "only {refused} of {requests} were refused");
}

async fn reply(platform: &Platform, signed: Request<Body>, request: &RawRequest, number: usize, seed: u64) -> Reply {
    let reply = tokio::time::timeout(PATIENCE, platform.raw(signed)).await;
    reply.unwrap_or_else(|_| panic!("request {number} of seed {seed} hangs: {request:?}"))
}

/// Only what always exists, as new.
async fn start_over(platform: &Platform) {
    for name in generator::NAMES {
        platform.send("DELETE", &format!("/2015-03-31/functions/{name}"), &[], b"").await;
    }
    for name in &generator::NAMES[..2] {
        platform.create(name, "app.handler").await;
        platform.send("POST", &format!("/2015-03-31/functions/{name}/versions"), &[], b"").await;
    }
}

/// What the generator asks for by name must be there to be asked.
#[test]
fn the_generator_reaches_every_route_of_the_model() {
    let mut generator = Generator::new(StdRng::seed_from_u64(SEED));
    let mut met = std::collections::BTreeSet::new();
    for _ in 0..5_000 {
        met.insert(generator.request().operation);
    }
    for route in routes().filter(|route| hearth_frontend::model::operation(route.name).is_some()) {
        assert!(met.contains(route.name), "{} was never asked for", route.name);
    }
}
