"""Fixtures: the platform in both forms, a boto3 client, and functions that clean up after themselves."""

import functools
import json
import os
import subprocess
import time
import urllib.request
import uuid
from pathlib import Path

import botocore.auth
import botocore.awsrequest
import pytest
from botocore.exceptions import ClientError

import bundles
from platform_under_test import FORMS, GUEST_IMAGES, HEARTH, PATIENCE, ROOT, One

ROLE = "arn:aws:iam::000000000000:role/lambda"


@functools.cache
def doctor():
    """What `hearth doctor` finds on this machine, for this user."""
    found = subprocess.run([str(HEARTH), "doctor", "--output", "json"], capture_output=True, text=True, timeout=60)
    return json.loads(found.stdout)


@functools.cache
def isolation():
    """What `auto` would take; `process` only where nothing better works, and then loudly."""
    return os.environ.get("E2E_ISOLATION") or doctor()["chosen"] or "process"


def loose():
    """What a jail does not enforce here, by name: why."""
    return {found["what"]: found["seen"] for found in doctor()["jail"] if found["verdict"] != "good"}


def enforced(what):
    """Whether this machine enforces `what`, as the doctor names it."""
    assert what in {found["what"] for found in doctor()["jail"]}, f"the doctor looks at nothing named {what!r}"
    return isolation() == "kvm" or isolation() == "jail" and what not in loose()


def pytest_report_header(config):
    lines = [f"hearth: {HEARTH}, isolation: {isolation()}, as {doctor()['user']}"]
    if isolation() == "process":
        lines.append("hearth: NO JAIL HERE: isolation, memory, process and /tmp limits are NOT TESTED in this run")
    elif isolation() == "jail":
        lines += [f"hearth: NOT ENFORCED HERE, tests that need it are SKIPPED: {what}: {why}" for what, why in loose().items()]
    return lines


def why_not(item):
    """Why this machine can't run a test; None if it can."""
    wanted = [what for mark in item.iter_markers("needs") for what in mark.args]
    if isolation() == "process" and (wanted or item.get_closest_marker("jail")):
        return "only --isolation process works on this machine: NOT TESTED here"
    missing = [f"{what} ({loose()[what]})" for what in wanted if not enforced(what)]
    return f"not enforced on this machine for this user: {', '.join(missing)}: NOT TESTED here" if missing else None


def pytest_collection_modifyitems(items):
    for item in items:
        if reason := why_not(item):
            item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope="session", params=list(FORMS))
def form(request):
    return FORMS[request.param]


@pytest.fixture(scope="session")
def shared(form, tmp_path_factory):
    """A platform that a whole session's tests share; they must not break it."""
    running = form(tmp_path_factory.mktemp(form.form), isolation()).start()
    yield running
    codes = running.stop()
    assert set(codes.values()) == {0}, f"exit codes {codes}\n{running.logs()}"


@pytest.fixture(scope="session")
def microvms(tmp_path_factory):
    """A platform whose environments are microVMs, for the suites that are about those."""
    # Twenty machines that start at once share what CPUs there are.
    platform = One(tmp_path_factory.mktemp("microvms"), "kvm", {"HEARTH_CAPACITY_WAIT": f"{30 * PATIENCE}s"}).start()
    yield platform
    assert set(platform.stop().values()) == {0}, platform.logs()


@pytest.fixture
def own(form, tmp_path):
    """Starts platforms that belong to one test: `own(extra_environment)`."""
    started = []

    def start(**extra):
        platform = form(tmp_path / f"p{len(started)}", isolation(), extra)
        platform.directory.mkdir(parents=True)
        started.append(platform)
        return platform.start()

    yield start
    for platform in started:
        for process in platform.processes.values():
            if process.running:
                process.terminate()


@pytest.fixture
def client(shared):
    return shared.client()


class Deployer:
    def __init__(self, client):
        self.client, self.names = client, []

    def __call__(self, code, runtime="python3.11", handler="app.handler", wait=True, **settings):
        name = settings.pop("name", f"f-{uuid.uuid4().hex[:12]}")
        if PATIENCE > 1:
            settings.setdefault("Timeout", 3 * PATIENCE)  # Lambda's default is 3 s.
        self.client.create_function(
            FunctionName=name, Runtime=runtime, Handler=handler, Role=ROLE, Code={"ZipFile": code}, **settings
        )
        self.names.append(name)
        if wait:
            self.client.get_waiter("function_active_v2").wait(FunctionName=name, WaiterConfig={"Delay": 0.05, "MaxAttempts": 200})
        return name

    def clean(self):
        for name in self.names:
            try:
                self.client.delete_function(FunctionName=name)
            except self.client.exceptions.ResourceNotFoundException:
                pass


@pytest.fixture
def deploy(client):
    deployer = Deployer(client)
    yield deployer
    deployer.clean()


@pytest.fixture
def deploy_on():
    """`deploy_on(platform)` for tests with a platform of their own."""
    return lambda platform: Deployer(platform.client())


def eventually(check, timeout_s=60 * PATIENCE):
    """Waits for what has no event a test could wait for."""
    deadline = time.monotonic() + timeout_s
    while True:
        result = check()
        if result or time.monotonic() > deadline:
            return result
        time.sleep(0.1)


def error_of(call, **arguments):
    """Code, message and status of a call that is refused."""
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    response = caught.value.response
    return response["Error"]["Code"], response["Error"]["Message"], response["ResponseMetadata"]["HTTPStatusCode"]


def read_log(client, name, wait_ms, after=None):
    """A page of a function's log, by our own route, that boto3 knows nothing of."""
    query = f"waitMs={wait_ms}" + ("" if after is None else f"&after={after}")
    url = f"{client.meta.endpoint_url}/hearth/v1/functions/{name}/logs?{query}"
    request = botocore.awsrequest.AWSRequest("GET", url)
    botocore.auth.SigV4Auth(client._request_signer._credentials, "lambda", "us-east-1").add_auth(request)
    with urllib.request.urlopen(urllib.request.Request(url, headers=dict(request.headers)), timeout=30) as reply:
        return json.loads(reply.read())


def invoke(client, name, event=None, **options):
    """Invokes and returns (payload as JSON, answer)."""
    answer = client.invoke(FunctionName=name, Payload=json.dumps(event).encode(), **options)
    body = answer["Payload"].read()
    return (json.loads(body) if body else None), answer


def guest_runtime(language):
    """The runtime that the guest images have for a language."""
    images = json.loads((GUEST_IMAGES / "manifest.json").read_text())["images"]
    return next(image["name"] for image in images if image["name"].startswith(language))


@pytest.fixture(scope="session")
def node_runtime():
    if isolation() == "kvm":
        return guest_runtime("nodejs")
    version = subprocess.run(["/usr/bin/node", "--version"], capture_output=True, text=True).stdout
    return f"nodejs{version.lstrip('v').split('.')[0]}.x"


@pytest.fixture(scope="session")
def python_runtime():
    if isolation() == "kvm":
        return guest_runtime("python")
    version = subprocess.run(["/usr/bin/python3", "-c", "import sys; print(sys.version_info[1])"], capture_output=True, text=True).stdout
    return f"python3.{version.strip()}"


@pytest.fixture(scope="session")
def compiled():
    """Path of a compiled `bootstrap` by example name; built once."""

    def build(package):
        if built := os.environ.get("E2E_COMPILED"):
            return Path(built) / package / "bootstrap"
        done = subprocess.run(
            ["cargo", "build", "--quiet", "--release", "--locked", "-p", package, "--message-format", "json"],
            cwd=ROOT, capture_output=True, text=True, check=True,
        )  # fmt: skip
        artifacts = [json.loads(line) for line in done.stdout.splitlines()]
        return next(a["executable"] for a in artifacts if a.get("executable"))

    return functools.cache(build)


echo = bundles.python("def handler(event, context):\n    return event\n")
