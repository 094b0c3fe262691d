"""Functions run as on Lambda: answers, context, environment, logs, and every way to fail."""

import base64
import json
import re

import pytest

import bundles
from conftest import echo, invoke

CONTEXT = bundles.python(
    """
import os
def handler(event, context):
    return {
        "id": context.aws_request_id, "name": context.function_name, "version": context.function_version,
        "arn": context.invoked_function_arn, "memory": context.memory_limit_in_mb, "group": context.log_group_name,
        "stream": context.log_stream_name, "left": context.get_remaining_time_in_millis(),
        "env": {k: os.environ.get(k) for k in
                ("GREETING", "_HANDLER", "LAMBDA_TASK_ROOT", "AWS_LAMBDA_FUNCTION_NAME", "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
                 "AWS_LAMBDA_FUNCTION_VERSION", "AWS_REGION", "TZ", "AWS_LAMBDA_RUNTIME_API")},
        "cwd": os.getcwd(), "client": context.client_context and context.client_context.custom,
    }
"""
)


def tail(answer):
    return base64.b64decode(answer["LogResult"]).decode()


def request_id(answer):
    return answer["ResponseMetadata"]["RequestId"]


def test_python_echo(client, deploy, python_runtime):
    name = deploy(echo, runtime=python_runtime)
    for event in ({"a": [1, 2.5, None, "ü"]}, [], "text", 7, None):
        assert invoke(client, name, event)[0] == event


def test_context_and_environment(client, deploy, python_runtime):
    name = deploy(
        CONTEXT, runtime=python_runtime, MemorySize=256, Timeout=7, Environment={"Variables": {"GREETING": "hello"}}
    )
    context = base64.b64encode(json.dumps({"custom": {"k": "v"}}).encode()).decode()
    got, answer = invoke(client, name, {}, ClientContext=context)
    assert got["id"] == request_id(answer)
    assert (got["name"], got["version"], got["memory"]) == (name, "$LATEST", "256")
    assert got["arn"] == f"arn:aws:lambda:us-east-1:000000000000:function:{name}"
    assert got["group"] == f"/aws/lambda/{name}" and "[$LATEST]" in got["stream"]
    assert 5000 < got["left"] <= 7000
    env = got["env"]
    assert env.pop("AWS_LAMBDA_RUNTIME_API").startswith("127.0.0.1:")
    assert env == {
        "GREETING": "hello", "_HANDLER": "app.handler", "LAMBDA_TASK_ROOT": got["cwd"], "AWS_LAMBDA_FUNCTION_NAME": name,
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "256", "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST", "AWS_REGION": "us-east-1",
        "TZ": ":UTC",
    }  # fmt: skip
    assert got["client"] == {"k": "v"}


def test_node(client, deploy, node_runtime):
    name = deploy(
        bundles.node("exports.handler = async (event, context) => ({ event, id: context.awsRequestId, node: process.version });"),
        runtime=node_runtime, handler="index.handler",
    )  # fmt: skip
    got, answer = invoke(client, name, {"x": 1})
    assert got["event"] == {"x": 1} and got["id"] == request_id(answer)


@pytest.mark.parametrize("example", ["echo-rust", "rust-lambda-runtime"])
def test_compiled_bootstrap(client, deploy, compiled, example):
    name = deploy(bundles.bootstrap(compiled(example)), runtime="provided.al2023", handler="bootstrap")
    for n in range(3):
        assert invoke(client, name, {"n": n})[0] == {"n": n}


def test_official_python_client_as_bootstrap(client, deploy):
    """awslambdaric, unmodified, started by a `bootstrap` script from a bundle that carries it."""
    import pathlib

    import awslambdaric

    site = pathlib.Path(awslambdaric.__file__).parents[1]
    wanted = ["awslambdaric", "simplejson", "snapshot_restore_py"]
    files = {
        str(path.relative_to(site)): path.read_bytes()
        for top in [*wanted, *(p.name for p in site.glob("runtime_client*.so"))]
        for path in ([site / top] if (site / top).is_file() else (site / top).rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts
    }
    files["app.py"] = "def handler(event, context):\n    return {'id': context.aws_request_id, 'event': event}\n"
    files["!bootstrap"] = '#!/bin/sh\ncd "$LAMBDA_TASK_ROOT"\nexec /usr/bin/python3 -m awslambdaric "$_HANDLER"\n'
    name = deploy(bundles.zip_of(files), runtime="provided.al2023", handler="app.handler", MemorySize=256, Timeout=20)
    got, answer = invoke(client, name, {"official": True})
    assert got == {"id": request_id(answer), "event": {"official": True}}


def test_log_tail_has_start_output_end_report(client, deploy):
    name = deploy(bundles.python("def handler(e, c):\n    print('line of', c.aws_request_id)\n    return 1\n"))
    _, cold = invoke(client, name, {}, LogType="Tail")
    _, warm = invoke(client, name, {}, LogType="Tail")
    for answer in (cold, warm):
        text, rid = tail(answer), request_id(answer)
        assert text.index(f"START RequestId: {rid} Version: $LATEST") < text.index(f"line of {rid}") < text.index(f"END RequestId: {rid}")
        assert re.search(
            rf"REPORT RequestId: {rid}\tDuration: \d+\.\d\d ms\tBilled Duration: \d+ ms\tMemory Size: 128 MB\tMax Memory Used: \d+ MB", text
        ), text
        assert text.count("START") == 1, "a tail shows only its own call"
    assert "Init Duration: " in tail(cold) and "Init Duration" not in tail(warm)


def test_handler_error_document(client, deploy):
    name = deploy(bundles.python("def handler(e, c):\n    raise ValueError('broken ' + e['what'])\n"))
    got, answer = invoke(client, name, {"what": "thing"})
    assert answer["StatusCode"] == 200 and answer["FunctionError"] == "Unhandled"
    assert (got["errorType"], got["errorMessage"], got["requestId"]) == ("ValueError", "broken thing", request_id(answer))
    assert "app.py" in got["stackTrace"][0]


def test_node_error_document(client, deploy, node_runtime):
    code = bundles.node("exports.handler = async () => { throw new TypeError('no way'); };")
    name = deploy(code, runtime=node_runtime, handler="index.handler")
    got, answer = invoke(client, name, {})
    assert answer["FunctionError"] == "Unhandled"
    assert (got["errorType"], got["errorMessage"]) == ("TypeError", "no way") and got["trace"][0] == "TypeError: no way"


@pytest.mark.parametrize(
    ("source", "handler", "error"),
    [
        ("import nothing_like_this\n", "app.handler", "Runtime.ImportModuleError"),
        ("def other(e, c): pass\n", "app.handler", "Runtime.HandlerNotFound"),
        ("def handler(e, c) pass\n", "app.handler", "Runtime.UserCodeSyntaxError"),
        ("raise RuntimeError('at import')\n", "app.handler", "RuntimeError"),
        ("import os; os._exit(3)\n", "app.handler", "Runtime.ExitError"),
        pytest.param(
            "x = bytearray(b'x') * (1 << 30)\n", "app.handler", "Runtime.OutOfMemory",
            marks=[pytest.mark.jail, pytest.mark.needs("memory limit")],
        ),
    ],
)
def test_failing_init_is_the_answer(client, deploy, source, handler, error):
    name = deploy(bundles.python(source), handler=handler)
    for _ in range(2):
        got, answer = invoke(client, name, {})
        assert answer["FunctionError"] == "Unhandled" and got["errorType"] == error, got
        if error in ("Runtime.ExitError", "Runtime.OutOfMemory"):
            assert got["errorMessage"].startswith(f"RequestId: {request_id(answer)} Error: Runtime exited with error: "), got


FAILURES = bundles.python(
    """
import os, sys, time
def handler(event, context):
    what = event.get("do")
    if what == "sleep": time.sleep(30)
    if what == "exit": sys.exit(1)
    if what == "abort": os.abort()
    if what == "memory": return len(bytearray(b"x") * (1 << 30))
    if what == "unserializable": return {1, 2}
    if what == "large": return "x" * (6 * 1024 * 1024 + 200)
    return "fine"
"""
)


@pytest.fixture(scope="module")
def failing(shared):
    from conftest import Deployer

    deployer = Deployer(shared.client())
    yield deployer(FAILURES, Timeout=3, MemorySize=512)
    deployer.clean()


@pytest.mark.parametrize(
    ("what", "error_type", "message"),
    [
        ("sleep", "Sandbox.Timedout", r"RequestId: \S+ Error: Task timed out after 3.00 seconds"),
        ("exit", "Runtime.ExitError", r"RequestId: \S+ Error: Runtime exited with error: exit status 1"),
        ("abort", "Runtime.ExitError", r"RequestId: \S+ Error: Runtime exited with error: signal: aborted"),
        pytest.param("memory", "Runtime.OutOfMemory", r"RequestId: \S+ Error: Runtime exited with error: signal: killed", marks=pytest.mark.needs("memory limit")),
        ("unserializable", "Runtime.MarshalError", r"Unable to marshal response: .*set.*"),
        ("large", "Function.ResponseSizeTooLarge", r"Response payload size.* exceeded maximum allowed payload size \(6291556 bytes\)\."),
    ],
)  # fmt: skip
def test_failures_are_told_and_the_next_call_works(client, failing, what, error_type, message):
    got, answer = invoke(client, failing, {"do": what})
    assert answer["StatusCode"] == 200 and answer["FunctionError"] == "Unhandled"
    assert got["errorType"] == error_type and re.fullmatch(message, got["errorMessage"]), got
    assert invoke(client, failing, {})[0] == "fine"


def test_qualifier_runs_the_frozen_version(client, deploy):
    name = deploy(bundles.python("def handler(e, c): return 1\n"), Publish=True)
    client.update_function_code(FunctionName=name, ZipFile=bundles.python("def handler(e, c): return 2\n"))
    client.get_waiter("function_updated_v2").wait(FunctionName=name)
    got, answer = invoke(client, name, {}, Qualifier="1")
    assert (got, answer["ExecutedVersion"]) == (1, "1")
    got, answer = invoke(client, name, {})
    assert (got, answer["ExecutedVersion"]) == (2, "$LATEST")


def test_environments_are_reused_and_never_shared(client, deploy):
    source = "import uuid\nid = str(uuid.uuid4())\nseen = 0\ndef handler(e, c):\n    global seen\n    seen += 1\n    return id, seen\n"
    one, other = deploy(bundles.python(source)), deploy(bundles.python(source))
    first, second, third = (invoke(client, name, {})[0] for name in (one, one, other))
    assert first[0] == second[0] and (first[1], second[1]) == (1, 2)
    assert third[0] != first[0] and third[1] == 1
