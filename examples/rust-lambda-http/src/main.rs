//! Tells what it was asked, as an HTTP service with AWS's own crate.

use lambda_http::{Body, Error, Request, RequestExt, Response, run, service_fn};
use serde_json::json;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    run(service_fn(handle)).await
}

async fn handle(request: Request) -> Result<Response<Body>, Error> {
    if request.uri().path() == "/fail" {
        return Err("as asked".into());
    }
    let query = request.query_string_parameters();
    let (kind, body) = match request.body() {
        Body::Empty => ("empty", Vec::new()),
        Body::Text(text) => ("text", text.clone().into_bytes()),
        Body::Binary(bytes) => ("binary", bytes.clone()),
        _ => return Err("a body of a kind that this function does not know".into()),
    };
    if request.uri().path() == "/mirror" {
        return Ok(Response::builder().header("content-type", "application/octet-stream").body(Body::Binary(body))?);
    }
    let told = json!({
        "method": request.method().as_str(),
        "path": request.uri().path(),
        "query": query.iter().collect::<Vec<_>>(),
        "cookies": request.headers().get_all("cookie").iter().map(|own| own.to_str()).collect::<Result<Vec<_>, _>>()?,
        "body": [kind, &String::from_utf8_lossy(&body)],
        "id": request.lambda_context().request_id,
    });
    let answer = Response::builder().status(201).header("content-type", "application/json");
    let answer = answer.header("set-cookie", "a=b; Secure").header("set-cookie", "c=d");
    Ok(answer.body(Body::Text(told.to_string()))?)
}
