//! The clients people have: boto3 and awscli, as installed, against a listening frontend.

use std::io::Write;
use std::process::Stdio;

use hearth_frontend::calendar::AmzDate;
use hearth_frontend::sigv4::{Credentials, sign};
use http::HeaderMap;
use tokio::process::Command;

use crate::platform::{KEY_ID, Platform, ROLE, SECRET, zip};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn boto3_works_with_nothing_but_another_endpoint() {
    if !runs("python3", &["-c", "import boto3"]).await {
        return skipped("boto3 can't be imported by the python3 on PATH");
    }
    let platform = Platform::start().await;
    let endpoint = platform.listen().await;
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/api/boto.py");
    let output = Command::new("python3").args([script, &endpoint, KEY_ID, SECRET]).output().await.unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "boto.py failed:\n{errors}");
    assert_eq!(platform.fleet.open_slots(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn awscli_deploys_and_invokes() {
    if !runs("aws", &["--version"]).await {
        return skipped("there is no aws on PATH");
    }
    let platform = Platform::start().await;
    let endpoint = platform.listen().await;
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("code.zip"), zip("cli")).unwrap();
    let aws = async |arguments: &str| {
        let output = Command::new("aws")
            .args(["--endpoint-url", &endpoint, "--region", "us-east-1", "--output", "json", "lambda"])
            .args(arguments.split_whitespace())
            .env("AWS_ACCESS_KEY_ID", KEY_ID)
            .env("AWS_SECRET_ACCESS_KEY", SECRET)
            .env("AWS_MAX_ATTEMPTS", "1")
            .env("AWS_PAGER", "")
            .current_dir(dir.path())
            .output()
            .await
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        (output.status.success(), text)
    };
    let create = format!(
        "create-function --function-name cli --runtime python3.11 --role {ROLE} --handler app.handler --zip-file fileb://code.zip"
    );
    for arguments in [
        create.as_str(),
        "wait function-active-v2 --function-name cli",
        "update-function-configuration --function-name cli --timeout 9",
        "wait function-updated-v2 --function-name cli",
        "list-functions",
    ] {
        let (success, text) = aws(arguments).await;
        assert!(success, "aws lambda {arguments}: {text}");
    }
    let (success, text) = aws("invoke --function-name cli --log-type Tail answer.json").await;
    assert!(success && text.contains("\"StatusCode\": 200") && text.contains("LogResult"), "{text}");
    assert_eq!(std::fs::read_to_string(dir.path().join("answer.json")).unwrap(), "{}");
    let (success, text) = aws("get-function --function-name nobody").await;
    assert!(!success && text.contains("(ResourceNotFoundException)"), "{text}");
}

/// What our signer writes is what botocore writes for the same request at the same second.
#[tokio::test]
async fn our_signatures_are_botocores() {
    const SCRIPT: &str = r#"
import sys
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
key, secret, url, method, body = sys.argv[1:]
headers = {"X-Amz-Invocation-Type": "Event", "My-Header": " a   b ", "X-Amz-Content-SHA256": __import__("hashlib").sha256(body.encode()).hexdigest()}
request = AWSRequest(method=method, url=url, headers=headers, data=body)
SigV4Auth(Credentials(key, secret), "lambda", "eu-central-1").add_auth(request)
print(request.headers["X-Amz-Date"])
print(request.headers["Authorization"])
"#;
    if !runs("python3", &["-c", "import botocore"]).await {
        return skipped("botocore can't be imported by the python3 on PATH");
    }
    let credentials = Credentials {
        key_id: KEY_ID.into(),
        secret: SECRET.into(),
        session_token: None,
        region: "eu-central-1".into(),
    };
    for (method, url) in [
        ("GET", "http://localhost:9000/"),
        (
            "POST",
            "http://h/2015-03-31/functions/arn%3Aaws%3Alambda%3Aeu-central-1%3A000000000000%3Afunction%3Af/invocations",
        ),
        ("GET", "http://h/2015-03-31/functions?Marker=a%2Fb%20c%3D&MaxItems=50&FunctionVersion=ALL"),
        ("PUT", "http://h/2015-03-31/functions/f%20%C3%A4/code?b=2&a=%24LATEST&a=1"),
    ] {
        let arguments = ["-c", SCRIPT, KEY_ID, SECRET, url, method, "body"];
        let output = Command::new("python3").args(arguments).output().await.unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let (date, authorization) = text.trim().split_once('\n').expect("date and header");
        let mut headers = HeaderMap::new();
        headers.insert("x-amz-invocation-type", "Event".parse().unwrap());
        headers.insert("my-header", " a   b ".parse().unwrap());
        let at = AmzDate::parse(date).unwrap().unix_s();
        sign(&credentials, at, &method.parse().unwrap(), &url.parse().unwrap(), &mut headers, b"body").unwrap();
        assert_eq!(headers["authorization"].to_str().unwrap(), authorization, "{method} {url}");
    }
}

async fn runs(program: &str, arguments: &[&str]) -> bool {
    let status = Command::new(program).args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).status().await;
    status.is_ok_and(|status| status.success())
}

/// Written past the test harness, which would keep it to itself.
fn skipped(why: &str) {
    let _ = writeln!(std::io::stderr(), "\n*** SKIPPED: {why}; what real clients see was NOT tested ***\n");
}
