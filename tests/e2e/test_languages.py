"""Every language is served alike: the same questions to the same program in each, and the answers that AWS's runtimes
give. What a platform says of a failure (exit, timeout, memory) is the same in all of them.

Runtimes that this machine does not have are SKIPPED, and so not tested."""

import base64
import json
import re
import time

import pytest

import bundles
from conftest import Deployer, invoke, isolation
from languages import CUSTOM, LANGUAGES, PROGRAMS, go, cpp, java, tree
from platform_under_test import ROOT

# One form of the platform is enough: no answer here depends on it.
pytestmark = pytest.mark.parametrize("form", ["one"], indirect=True)

MIB = 1024 * 1024


def offered(platform, start):
    """The runtime whose name starts so, of those that the platform offers; of several the first."""
    runtimes = platform.workers_view()["workers"][0]["runtimes"]
    found = [runtime for runtime in runtimes if runtime.startswith(start)]
    if not found:
        pytest.skip(f"no runtime {start}* here, only {runtimes}: NOT TESTED")
    return found[0]


class Programs:
    """Deploys each language's program once for each set of settings."""

    def __init__(self, platform, scratch):
        self.platform, self.scratch = platform, scratch
        self.client = platform.client()
        self.deployer = Deployer(self.client)
        self.built, self.deployed = {}, {}

    def bundle(self, language):
        if language.name not in self.built:
            if why := language.missing():
                pytest.skip(f"{why}: NOT TESTED")
            directory = self.scratch / language.name
            directory.mkdir()
            files = language.files(directory)
            suffix = {"python": ".py", "nodejs": ".js", "ruby": ".rb"}.get(language.name)
            if suffix:
                files["broken" + suffix] = b"def ( {"
            self.built[language.name] = bundles.zip_of(files)
        return self.built[language.name]

    def __call__(self, language, **settings):
        settings = {"MemorySize": 512, "Timeout": 30, "Handler": language.handler, **settings}
        key = (language.name, json.dumps(settings, sort_keys=True))
        if key not in self.deployed:
            runtime, code = offered(self.platform, language.runtime), self.bundle(language)
            handler = settings.pop("Handler")
            self.deployed[key] = self.deployer(code, runtime=runtime, handler=handler, **settings)
        return self.deployed[key]


@pytest.fixture(scope="module")
def programs(shared, tmp_path_factory):
    found = Programs(shared, tmp_path_factory.mktemp("languages"))
    yield found
    found.deployer.clean()


@pytest.fixture(params=LANGUAGES, ids=lambda language: language.name)
def language(request):
    return request.param


@pytest.fixture
def ask(programs, language):
    """Asks the program: (answer, tail of the log, whole answer)."""

    def asked(do, settings=None, **event):
        payload = json.dumps({"do": do, **event}, ensure_ascii=False).encode()
        name = programs(language, **(settings or {}))
        answer = programs.client.invoke(FunctionName=name, Payload=payload, LogType="Tail")
        return json.loads(answer["Payload"].read()), base64.b64decode(answer["LogResult"]).decode(), answer

    return asked


def request_id(answer):
    return answer["ResponseMetadata"]["RequestId"]


def test_echo(ask):
    for value in ({"a": [1, 2.5, {"b": "ü€𝄞\n\"\\"}], "c": True, "d": -9007199254740991}, [], "text", 0):
        got, _, answer = ask("echo", value=value)
        assert got == {"do": "echo", "value": value} and "FunctionError" not in answer


def test_context(programs, language):
    name = programs(language)
    client = {"app_title": "t", "installation_id": "i", "app_version_name": "n", "app_version_code": "c", "app_package_name": "p"}
    # AWS's crate for Rust reads `environment` where all others read `env`.
    given = {"custom": {"k": "v"}, "env": {"e": "1"}, "environment": {"e": "1"}, "client": client}
    context = base64.b64encode(json.dumps(given).encode()).decode()
    for qualifier in ({}, {"Qualifier": "$LATEST"}):
        got, answer = invoke(programs.client, name, {"do": "context"}, ClientContext=context, **qualifier)
        arn = f"arn:aws:lambda:us-east-1:000000000000:function:{name}" + (":$LATEST" if qualifier else "")
        assert 20_000 < got.pop("left_ms") <= 30_000
        assert re.fullmatch(r"\d{4}/\d\d/\d\d/\[\$LATEST][0-9a-f]{32}", got.pop("log_stream"))
        assert got == {
            "request_id": request_id(answer), "function_name": name, "function_version": "$LATEST", "arn": arn,
            "memory_mb": "512", "log_group": f"/aws/lambda/{name}", "custom": {"k": "v"}, "client_env": {"e": "1"},
            "title": "t",
        }  # fmt: skip


def test_environment(ask, programs, language):
    """Names and values as recorded in LocalStack's test_lambda_common.snapshot.json (test_introspection_invoke)."""
    runtime = offered(programs.platform, language.runtime)
    custom = runtime == CUSTOM
    # Without a mount namespace, directories are the host's.
    at = {"task": "/var/task", "runtime": "/var/runtime"} if isolation() != "process" else None
    settings = {"Environment": {"Variables": {"GREETING": "grüße"}}}
    expected = {
        "GREETING": "grüße",
        "_HANDLER": language.handler,
        "AWS_EXECUTION_ENV": None if custom else f"AWS_Lambda_{runtime}",
        "AWS_REGION": "us-east-1",
        "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "512",
        "TZ": ":UTC",
        "LANG": "en_US.UTF-8",
        "PATH": "/usr/local/bin:/usr/bin/:/bin:/opt/bin",
        "HEARTH_INIT_FD": None,
    }
    if at:
        libraries = "/lib64:/usr/lib64:/var/runtime:/var/runtime/lib:/var/task:/var/task/lib:/opt/lib"
        expected |= {"LAMBDA_TASK_ROOT": at["task"], "LAMBDA_RUNTIME_DIR": at["runtime"], "LD_LIBRARY_PATH": libraries}
        own = "/var/runtime/node_modules:/var/runtime:/var/task"
        number = runtime.removeprefix("nodejs").removesuffix(".x")
        layers = f"/opt/nodejs/node{number}/node_modules:/opt/nodejs/node_modules"
        expected |= {"nodejs": {"NODE_PATH": f"{layers}:{own}"}, "python": {"PYTHONPATH": "/var/runtime"}}.get(language.name, {})
    got, _, _ = ask("environment", settings, names=list(expected))
    assert {name: got.get(name) for name in expected} == expected


def test_log_lines(ask):
    for text in ("first", "zweite ü"):
        _, tail, answer = ask("log", text=text)
        rid = request_id(answer)
        parts = [f"START RequestId: {rid}", f"to stdout: {text}\n", f"to stderr: {text}\n", f"END RequestId: {rid}"]
        assert [tail.find(part) for part in parts] == sorted(tail.find(part) for part in parts) and parts[1] in tail, tail
        assert tail.count("to stdout") == 1, "a tail shows only its own call"


def test_payloads_of_six_megabytes(ask):
    big = "x" * (6 * MIB - 100)
    got, _, answer = ask("echo", value=big)
    assert got["value"] == big, answer
    got, _, _ = ask("large", size=6 * MIB - 10)
    assert len(got) == 6 * MIB - 10
    got, _, answer = ask("large", size=6 * MIB + 200)
    assert (answer["FunctionError"], got["errorType"]) == ("Unhandled", "Function.ResponseSizeTooLarge")
    assert ask("echo", value=1)[0]["value"] == 1


def test_an_error_is_told(ask, language):
    got, tail, answer = ask("raise", message="bröken")
    assert (answer["StatusCode"], answer["FunctionError"]) == (200, "Unhandled")
    assert (got["errorType"], got["errorMessage"]) == (language.broken, "bröken")
    # AWS's crate for Rust leaves logging to the function.
    assert "bröken" in tail or "br\\u00f6ken" in tail or language.name == "rust", "the log tells it, too"
    frames = got.get("stackTrace", got.get("trace"))
    first = {"python": "app.py", "nodejs": "Broken: bröken", "ruby": "app.rb", "java": "functions.Every."}
    if language.name in first:
        assert first[language.name] in frames[0] and not any("hearth" in frame.lower() for frame in frames), frames
    if language.name == "python":
        assert got["requestId"] == request_id(answer)
    assert ask("echo", value=1)[0]["value"] == 1


def test_an_error_with_a_cause_is_the_outer_one(ask, language):
    got, tail, _ = ask("cause")
    assert (got["errorType"], got["errorMessage"]) == (language.broken, "outer")
    assert not language.logs_cause or "inner" in tail, tail


PLATFORM = [
    ("exit", {}, "Runtime.ExitError", "Runtime exited with error: exit status 3"),
    ("sleep", {"Timeout": 1}, "Sandbox.Timedout", "Task timed out after 1.00 seconds"),
    pytest.param("memory", {}, "Runtime.OutOfMemory", "Runtime exited with error: signal: killed", marks=pytest.mark.needs("memory limit")),
]


@pytest.mark.parametrize(("do", "settings", "error", "message"), PLATFORM)
def test_what_ends_a_function_is_told_alike_and_the_next_call_works(ask, do, settings, error, message):
    got, tail, answer = ask(do, settings)
    rid = request_id(answer)
    if do == "memory" and got["errorType"] in ("Runtime.ExitError", "RangeError"):
        pytest.fail(f"the limit was not what ended it: {got}")
    assert got == {"errorType": error, "errorMessage": f"RequestId: {rid} Error: {message}"}
    assert answer["FunctionError"] == "Unhandled" and f"REPORT RequestId: {rid}" in tail
    if do != "sleep":
        assert ask("echo", settings, value=2)[0]["value"] == 2


FAILING = [(language, how) for language in LANGUAGES for how in language.fails]


@pytest.mark.parametrize(("language", "how"), FAILING, ids=[f"{language.name}-{how}" for language, how in FAILING])
def test_what_fails_at_init_is_the_answer(programs, language, how):
    handler, error, message = language.fails[how]
    settings = {"Environment": {"Variables": {"AT_INIT": "raise"}}} if how == "raises" else {}
    name = programs(language, Handler=handler, **settings)
    for _ in range(2):
        got, answer = invoke(programs.client, name, {"do": "echo"})
        assert answer["FunctionError"] == "Unhandled" and got.get("errorType") == error, got
        assert got["errorMessage"].startswith(message), got


def test_an_exit_at_init_is_the_answer(ask):
    settings = {"Environment": {"Variables": {"AT_INIT": "exit"}}}
    got, _, answer = ask("echo", settings)
    rid = request_id(answer)
    message = f"RequestId: {rid} Error: Runtime exited with error: exit status 3"
    assert got == {"errorType": "Runtime.ExitError", "errorMessage": message}


@pytest.mark.jail
@pytest.mark.needs("memory limit")
def test_java_collects_its_garbage_within_the_functions_memory(programs):
    """The machine was started before the function's memory was known."""
    language = next(language for language in LANGUAGES if language.name == "java")
    name = programs(language, MemorySize=192)
    got, _ = invoke(programs.client, name, {"do": "garbage", "rounds": 600})
    assert got == 600


def test_every_java_of_this_machine_serves(programs, shared):
    language = next(language for language in LANGUAGES if language.name == "java")
    runtimes = [runtime for runtime in shared.workers_view()["workers"][0]["runtimes"] if runtime.startswith("java")]
    if not runtimes:
        pytest.skip("no Java here: NOT TESTED")
    for runtime in runtimes:
        name = programs.deployer(programs.bundle(language), runtime=runtime, handler=language.handler, MemorySize=256)
        got, _ = invoke(programs.client, name, {"do": "environment", "names": ["AWS_EXECUTION_ENV"]})
        assert got == {"AWS_EXECUTION_ENV": f"AWS_Lambda_{runtime}"}


def test_rust_streams_its_answer(programs):
    """With AWS's own crate: the first piece is there before the last one is written."""
    language = next(language for language in LANGUAGES if language.name == "rust")
    name = programs(language)
    answer = programs.client.invoke_with_response_stream(FunctionName=name, Payload=b'{"do": "stream"}')
    pieces, arrived = [], []
    for event in answer["EventStream"]:
        if "PayloadChunk" in event:
            pieces.append(event["PayloadChunk"]["Payload"])
            arrived.append(time.monotonic())
        else:
            assert "ErrorCode" not in event["InvokeComplete"]
    # Before them the crate always sends the head of an HTTP answer, and eight zero bytes.
    head, _, body = b"".join(pieces).partition(b"\0" * 8)
    assert json.loads(head)["statusCode"] == 200 and body == b"one two three"
    assert len(pieces) > 1 and arrived[-1] - arrived[0] > 0.1, "it came progressively"


EXAMPLES = [
    ("echo-ruby", "ruby", "app.handler", lambda source, _: tree(source)),
    ("echo-java", "java", "example.Echo", java),
    ("echo-go", CUSTOM, "none", go),
    ("echo-cpp", CUSTOM, "none", cpp),
]


@pytest.mark.parametrize(("example", "runtime", "handler", "build"), EXAMPLES, ids=[example[0] for example in EXAMPLES])
def test_the_examples_are_deployable_as_they_stand(programs, shared, tmp_path, example, runtime, handler, build):
    name = example.removeprefix("echo-")
    language = next(language for language in LANGUAGES if language.name == name)
    runtime = offered(shared, runtime)
    if why := language.missing():
        pytest.skip(f"{why}: NOT TESTED")
    code = bundles.zip_of(build(ROOT / "examples" / example, tmp_path))
    deployed = programs.deployer(code, runtime=runtime, handler=handler)
    assert invoke(programs.client, deployed, {"any": "thing"})[0] == {"any": "thing"}


def test_every_program_is_a_languages(form):
    assert {path.name for path in PROGRAMS.iterdir() if path.is_dir()} == {language.name for language in LANGUAGES}
