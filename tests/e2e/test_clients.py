"""AWS's own clients, unmodified, against Hearth: as callers of the API and as runtimes of functions.

`awslambdaric` and Rust's `lambda_runtime` are in test_runtimes.py. `aws-lambda-ric` for Node.js compiles curl when it is
installed, which takes minutes: `make test-clients` does that, and without it the test here is SKIPPED. Clients from
registries that can't be reached where this project is tested (aws-lambda-go, aws_lambda_ric, aws-lambda-java-core) are
not tested."""

import json
import shutil
import subprocess
import uuid

import pytest

import bundles
from conftest import invoke
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
