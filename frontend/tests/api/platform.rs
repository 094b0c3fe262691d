//! A frontend over a real store in a temporary directory and the fleet in memory, and a client that signs.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hearth_daemon::Clock;
use hearth_domain::{AccountId, FunctionName, Version};
use hearth_frontend::sigv4::{Credentials, sign};
use hearth_frontend::{Config, Deps, Frontend};
use hearth_store::catalog::{AccessKey, FunctionState, UpdateStatus};
use hearth_store::document::Documents;
use hearth_store::embedded::Database;
use hearth_store::files::FileBundles;
use http::{HeaderMap, Method, Request, Uri};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::fleet::{Directory, Fleet};

pub(crate) const KEY_ID: &str = "AKIAIOSFODNN7EXAMPLE";
pub(crate) const SECRET: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
pub(crate) const ACCOUNT: &str = "000000000000";
pub(crate) const ROLE: &str = "arn:aws:iam::000000000000:role/lambda";
pub(crate) const HOST: &str = "http://lambda.test";

pub(crate) struct Platform {
    pub(crate) fleet: Arc<Fleet>,
    pub(crate) frontend: Arc<Frontend>,
    pub(crate) deps: Deps,
    router: Router,
    dir: tempfile::TempDir,
}

/// A reply, read whole.
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) bytes: bytes::Bytes,
}

impl Reply {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes).unwrap_or_else(|_| panic!("no JSON: {:?}", self.bytes))
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// Status, error type and text, in whichever spelling.
    pub(crate) fn error(&self) -> (u16, String, String) {
        let body = self.json();
        let text = body["message"].as_str().or(body["Message"].as_str()).unwrap_or_default().to_owned();
        (self.status, self.header("x-amzn-errortype").to_owned(), text)
    }
}

impl Platform {
    pub(crate) async fn start() -> Self {
        Self::with(Config::default(), Fleet::new()).await
    }

    pub(crate) async fn with(config: Config, fleet: Arc<Fleet>) -> Self {
        Self::watched(config, fleet, |documents| documents).await
    }

    /// With something between the frontend and its documents.
    pub(crate) async fn watched(
        config: Config,
        fleet: Arc<Fleet>,
        around: impl FnOnce(Arc<dyn Documents>) -> Arc<dyn Documents>,
    ) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let database = Database::open(&dir.path().join("state")).await.unwrap();
        let deps = Deps {
            catalog: database.catalog(),
            documents: around(database.documents()),
            bundles: Arc::new(FileBundles::open(&dir.path().join("bundles")).await.unwrap()),
            events: database.events(),
            messages: database.messages(),
            usage: database.usage(),
            manager: fleet.clone(),
            workers: Arc::new(Directory(fleet.clone())),
        };
        let key = AccessKey::root(KEY_ID, SECRET, account());
        deps.catalog.put_access_key(key).await.unwrap();
        let frontend = Frontend::start(config, deps.clone(), &prometheus::Registry::new()).await.unwrap();
        Self { fleet, router: frontend.router(), frontend, deps, dir }
    }

    pub(crate) fn bundle_files(&self) -> usize {
        fn files(dir: &std::path::Path) -> usize {
            let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
            entries.map(|path| if path.is_dir() { files(&path) } else { 1 }).sum()
        }
        files(&self.dir.path().join("bundles"))
    }

    /// Serves on a socket of loopback; the URL to reach it by.
    pub(crate) async fn listen(&self) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let frontend = self.frontend.clone();
        tokio::spawn(async move { frontend.serve(listener).await });
        endpoint
    }

    /// Signs and sends; `path` is as on the wire, query included.
    pub(crate) async fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Reply {
        self.raw(signed(method, path, headers, body)).await
    }

    pub(crate) async fn raw(&self, request: Request<Body>) -> Reply {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        Reply { status: parts.status.as_u16(), headers: parts.headers, bytes: body.collect().await.unwrap().to_bytes() }
    }

    pub(crate) async fn call(&self, method: &str, path: &str, document: &Value) -> Reply {
        let body = if document.is_null() { Vec::new() } else { document.to_string().into_bytes() };
        self.send(method, path, &[], &body).await
    }

    pub(crate) async fn create(&self, name: &str, handler: &str) -> Reply {
        let reply = self.call("POST", "/2015-03-31/functions", &create_request(name, handler)).await;
        assert_eq!(reply.status, 201, "{:?}", reply.bytes);
        self.settled(name).await;
        reply
    }

    pub(crate) async fn invoke(&self, name: &str, headers: &[(&str, &str)], payload: &[u8]) -> Reply {
        self.send("POST", &format!("/2015-03-31/functions/{name}/invocations"), headers, payload).await
    }

    /// Until the function is neither Pending nor InProgress. The catalog tells nobody of changes, so this looks again
    /// after each step of the scheduler; the activation is a task of the same runtime.
    pub(crate) async fn settled(&self, name: &str) {
        let settle = async {
            loop {
                let name = FunctionName::new(name).unwrap();
                let record = self.deps.catalog.get(&account(), &name, Version::Latest).await.unwrap().unwrap();
                if record.state != FunctionState::Pending && record.last_update != UpdateStatus::InProgress {
                    return;
                }
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), settle).await.expect("the function settles");
    }
}

pub(crate) fn account() -> AccountId {
    AccountId::new(ACCOUNT).unwrap()
}

pub(crate) fn credentials() -> Credentials {
    Credentials { key_id: KEY_ID.into(), secret: SECRET.into(), session_token: None, region: "us-east-1".into() }
}

pub(crate) fn now_s() -> i64 {
    i64::try_from(Clock::unix_ms() / 1_000).unwrap()
}

pub(crate) fn signed(method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Request<Body> {
    signed_by(&credentials(), now_s(), method, path, headers, body)
}

pub(crate) fn signed_by(
    credentials: &Credentials,
    at: i64,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Request<Body> {
    let method: Method = method.parse().unwrap();
    let uri: Uri = format!("{HOST}{path}").parse().unwrap();
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.append(http::HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap());
    }
    sign(credentials, at, &method, &uri, &mut map, body).unwrap();
    map.insert("content-length", body.len().into());
    let mut request = Request::builder().method(method).uri(path).body(Body::from(body.to_vec())).unwrap();
    *request.headers_mut() = map;
    request
}

/// As [`signed`], of what may be no HTTP at all; then none.
pub(crate) fn signed_bytes(
    method: &str,
    target: &str,
    headers: &[(String, Vec<u8>)],
    body: &[u8],
) -> Option<Request<Body>> {
    let uri: Uri = format!("{HOST}{target}").parse().ok()?;
    let target: Uri = target.parse().ok()?;
    let method: Method = method.parse().ok()?;
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        let name = http::HeaderName::from_bytes(name.as_bytes()).ok()?;
        map.append(name, http::HeaderValue::from_bytes(value).ok()?);
    }
    sign(&credentials(), now_s(), &method, &uri, &mut map, body).ok()?;
    map.insert("content-length", body.len().into());
    let mut request = Request::builder().method(method).uri(target).body(Body::from(body.to_vec())).ok()?;
    *request.headers_mut() = map;
    Some(request)
}

/// A zip with one stored file.
pub(crate) fn zip(content: &str) -> Vec<u8> {
    use std::io::Write;
    let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    writer
        .start_file(
            "app.py",
            zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored),
        )
        .unwrap();
    writer.write_all(content.as_bytes()).unwrap();
    writer.finish().unwrap().into_inner()
}

pub(crate) fn zip_base64(content: &str) -> String {
    STANDARD.encode(zip(content))
}

pub(crate) fn create_request(name: &str, handler: &str) -> Value {
    json!({
        "FunctionName": name, "Runtime": "python3.11", "Role": ROLE, "Handler": handler,
        "Code": { "ZipFile": zip_base64(name) },
    })
}
