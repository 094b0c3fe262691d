"""AWS's own clients, unmodified, against Hearth: as callers of the API and as runtimes of functions.

`awslambdaric` and Rust's `lambda_runtime` are in test_runtimes.py. The SDK for Rust is compiled for `tests/sdk-lambda`,
which is a workspace of its own (80 s of one processor, once). `aws-lambda-ric` for Node.js compiles curl when it is
installed, which takes minutes: `make test-clients` does that, and without it the test here is SKIPPED. Clients from
registries that can't be reached where this project is tested (aws-lambda-go, aws_lambda_ric, aws-lambda-java-core) are
not tested."""

import json
import os
import shutil
import subprocess
import uuid

import pytest

import bundles
from conftest import invoke
from function_urls import Url, value
from platform_under_test import ROOT

pytestmark = pytest.mark.parametrize("form", ["one"], indirect=True)

INSTALLED = ROOT / "target/node-clients"
FUNCTION = "exports.handler = async (event) => { if (event.fail) throw new Error('as asked'); console.log('seen'); return event; };"


def needs(package):
    if not (INSTALLED / "node_modules" / package / "package.json").exists():
        pytest.skip(f"{package} is not in {INSTALLED}: NOT TESTED")


def test_the_official_api_client_for_node(shared, tmp_path, node_runtime):
    needs("@aws-sdk/client-lambda")
    zip_file = tmp_path / "function.zip"
    zip_file.write_bytes(bundles.node(FUNCTION))
    script = INSTALLED / "lambda.mjs"
    shutil.copy(ROOT / "tests/e2e/clients/lambda.mjs", script)
    key, secret = shared.keys()
    name = f"sdk-{uuid.uuid4().hex[:12]}"
    asked = {
        "endpoint": shared.endpoint, "key": key, "secret": secret, "name": name, "zip": str(zip_file),
        "runtime": node_runtime, "handler": "index.handler", "event": {"n": [1, "ü"]},
    }  # fmt: skip
    done = subprocess.run(["/usr/bin/node", script, json.dumps(asked)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    got = json.loads(done.stdout)
    log = got.pop("log")
    assert "START RequestId: " in log and "seen" in log and "REPORT RequestId: " in log
    assert got == {
        "arn": f"arn:aws:lambda:us-east-1:000000000000:function:{name}", "status": 200, "payload": {"n": [1, "ü"]},
        "error": "Unhandled", "message": "as asked", "conflict": "ResourceConflictException",
        "gone": "ResourceNotFoundException",
    }  # fmt: skip


def test_the_official_runtime_client_for_node(client, deploy):
    """aws-lambda-ric 3.x, started by a `bootstrap` script from a bundle that carries it."""
    needs("aws-lambda-ric")
    package = INSTALLED / "node_modules/aws-lambda-ric"
    files = {
        f"node_modules/aws-lambda-ric/{path.relative_to(package)}": path.read_bytes()
        for folder in ("bin", "dist")
        for path in (package / folder).rglob("*")
        if path.is_file()
    }
    files["node_modules/aws-lambda-ric/package.json"] = (package / "package.json").read_bytes()
    files["index.js"] = FUNCTION
    start = 'exec /usr/bin/node node_modules/aws-lambda-ric/bin/index.mjs "$_HANDLER"'
    files["!bootstrap"] = f'#!/bin/sh\ncd "$LAMBDA_TASK_ROOT"\n{start}\n'
    name = deploy(bundles.zip_of(files), runtime="provided.al2023", handler="index.handler", MemorySize=256, Timeout=20)
    for n in range(2):
        assert invoke(client, name, {"n": n})[0] == {"n": n}
    got, answer = invoke(client, name, {"fail": True})
    assert answer["FunctionError"] == "Unhandled" and (got["errorType"], got["errorMessage"]) == ("Error", "as asked")


CALLS = bundles.python("def handler(event, context):\n    print('seen')\n    if isinstance(event, dict) and 'fail' in event: raise ValueError(event['fail'])\n    return event\n")
STREAMS = bundles.node(
    """
exports.handler = awslambda.streamifyResponse(async (event, stream) => {
  stream.write("one");
  await new Promise((resolve) => setTimeout(resolve, 200));
  if (event.fail) throw new Error("as asked");
  stream.write("two");
  stream.end();
});
"""
)


@pytest.fixture(scope="module")
def sdk_lambda():
    """The program of tests/sdk-lambda."""
    target = ROOT / "target/clients"
    built = subprocess.run(
        ["cargo", "build", "--quiet", "--locked", "--manifest-path", ROOT / "tests/sdk-lambda/Cargo.toml"],
        env={**os.environ, "CARGO_TARGET_DIR": str(target)}, capture_output=True, text=True,
    )  # fmt: skip
    assert built.returncode == 0, built.stderr
    return target / "debug/sdk-lambda"


def test_the_official_sdk_for_rust(shared, tmp_path, sdk_lambda, python_runtime, node_runtime):
    """What is asked and what must come back is in tests/sdk-lambda: errors there are types, which only Rust sees."""
    given = [shared.endpoint, *shared.keys(), f"sdk-{uuid.uuid4().hex[:12]}"]
    for runtime, code in ((python_runtime, CALLS), (node_runtime, STREAMS)):
        zip_file = tmp_path / f"{runtime}.zip"
        zip_file.write_bytes(code)
        given += [runtime, str(zip_file)]
    done = subprocess.run([sdk_lambda, *given], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def test_the_official_http_runtime_for_rust(shared, client, deploy, compiled):
    """lambda_http behind a function URL, and called directly."""
    url = Url(shared, deploy(bundles.bootstrap(compiled("rust-lambda-http")), runtime="provided.al2023", handler="bootstrap"))
    sent = {"Content-Type": "text/plain", "Cookie": "a=b; c=d", "X-Asked": "yes"}
    status, headers, body = url.ask("POST", "/some/path%20x?q=1&q=2&e=%C3%BC", "ü".encode(), sent)
    told = json.loads(body)
    assert (status, value(headers, "content-type")) == (201, "application/json")
    assert [value for name, value in headers if name.lower() == "set-cookie"] == ["a=b; Secure", "c=d"]
    assert value(headers, "x-amzn-requestid") == told.pop("id")
    assert told.pop("cookies") == ["a=b; c=d"]
    told["query"].sort()  # The crate has it in no order.
    assert told == {
        "method": "POST", "path": "/some/path%20x", "query": [["e", "ü"], ["q", "1"], ["q", "2"]], "body": ["text", "ü"],
    }  # fmt: skip
    every_byte = bytes(range(256))
    assert url.ask("PUT", "/mirror", every_byte, {"Content-Type": "application/octet-stream"})[::2] == (200, every_byte)
    assert url.ask("GET", "/fail")[::2] == (502, b"Internal Server Error")
    event = json.loads((ROOT / "tests/e2e/clients/request.json").read_text())
    got, answer = invoke(client, url.name, event)
    assert (got["statusCode"], got["isBase64Encoded"]) == (201, False) and answer.get("FunctionError") is None
    told = json.loads(got["body"])
    assert (told["method"], told["path"], told["body"]) == ("GET", "/by/invoke", ["empty", ""])
