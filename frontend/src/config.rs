//! What a frontend can be told.

use std::time::Duration;

use hearth_domain::limits::ACCOUNT_CONCURRENCY_DEFAULT;
use hearth_domain::timing::CAPACITY_WAIT_DEFAULT;

use crate::asynchronous;

/// Settings of a frontend, complete.
#[derive(Debug, Clone)]
pub struct Config {
    /// The region in ARNs and in functions' `AWS_REGION`.
    pub region: String,
    /// Whether the scope of a signature must name [`Self::region`]; otherwise any region will do.
    pub only_own_region: bool,
    /// Scheme and authority by which clients reach this frontend, for the links it hands out; `None` takes the `Host`
    /// of the request, and plain HTTP.
    pub public_url: Option<String>,
    /// Scheme and authority that function URLs lie below, such as `https://functions.example.com`; `None` takes
    /// [`Self::public_url`], or else the `Host` of the request that asks. Whatever it is, a URL is served by its own host
    /// name.
    pub function_url_base: Option<String>,
    /// Longest wait of a call for capacity.
    pub capacity_wait: Duration,
    /// Concurrent invocations of an account; it goes with each call to the worker manager, which holds calls to it.
    pub account_concurrency: u32,
    /// Connections served at a time; more wait in the listener's backlog.
    pub max_connections: usize,
    /// Longest time for the head of a request, counted from the end of the reply before: a keep-alive connection that
    /// is idle for longer is closed.
    pub head_timeout: Duration,
    /// Longest time for the body of a request.
    pub body_timeout: Duration,
    /// Longest time that a client may take nothing of a reply that waits for it.
    pub stall_timeout: Duration,
    /// Bytes of request bodies in memory at a time; more answers 503.
    pub body_memory_bytes: usize,
    /// How asynchronous invocations are run and retried.
    pub events: asynchronous::Config,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            region: "us-east-1".to_owned(),
            only_own_region: false,
            public_url: None,
            function_url_base: None,
            capacity_wait: CAPACITY_WAIT_DEFAULT,
            account_concurrency: ACCOUNT_CONCURRENCY_DEFAULT,
            max_connections: 4_096,
            head_timeout: Duration::from_secs(75),
            body_timeout: Duration::from_secs(120),
            stall_timeout: Duration::from_secs(30),
            body_memory_bytes: 1 << 30,
            events: asynchronous::Config::default(),
        }
    }
}
