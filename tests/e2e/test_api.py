"""The Lambda API as the tools people have speak it: boto3, awscli, plain HTTP."""

import base64
import hashlib
import json
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import botocore.auth
import botocore.awsrequest
import botocore.credentials
import pytest

import bundles
from conftest import ROLE, echo, error_of, invoke

AWS = Path(sys.executable).parent / "aws"


def test_create_get_update_delete(client, deploy):
    name = deploy(echo, Description="first", MemorySize=192, Timeout=5, Environment={"Variables": {"AA": "1"}})
    got = client.get_function(FunctionName=name)
    configuration = got["Configuration"]
    assert configuration["FunctionArn"] == f"arn:aws:lambda:us-east-1:000000000000:function:{name}"
    assert (configuration["State"], configuration["LastUpdateStatus"]) == ("Active", "Successful")
    assert configuration["CodeSha256"] == base64.b64encode(hashlib.sha256(echo).digest()).decode()
    assert configuration["CodeSize"] == len(echo)
    assert (configuration["MemorySize"], configuration["Timeout"], configuration["Description"]) == (192, 5, "first")
    assert configuration["EphemeralStorage"] == {"Size": 512} and configuration["Architectures"] == ["x86_64"]
    with urllib.request.urlopen(got["Code"]["Location"], timeout=10) as response:
        assert response.read() == echo

    updated = client.update_function_configuration(FunctionName=name, Timeout=9, Environment={"Variables": {"BB": "2"}})
    assert updated["RevisionId"] != configuration["RevisionId"]
    client.get_waiter("function_updated_v2").wait(FunctionName=name, WaiterConfig={"Delay": 0.05, "MaxAttempts": 100})
    after = client.get_function_configuration(FunctionName=name)
    assert (after["Timeout"], after["MemorySize"], after["Environment"]) == (9, 192, {"Variables": {"BB": "2"}})
    client.delete_function(FunctionName=name)
    code, message, status = error_of(client.get_function, FunctionName=name)
    assert (code, status) == ("ResourceNotFoundException", 404)
    assert message == f"Function not found: arn:aws:lambda:us-east-1:000000000000:function:{name}"


def test_name_is_taken(client, deploy):
    name = deploy(echo)
    code, message, status = error_of(
        client.create_function, FunctionName=name, Runtime="python3.11", Handler="a.b", Role=ROLE, Code={"ZipFile": echo}
    )
    assert (code, status, message) == ("ResourceConflictException", 409, f"Function already exist: {name}")


def test_configuration_change_reaches_the_next_call(client, deploy):
    name = deploy(bundles.python("import os\ndef handler(e, c): return os.environ.get('COLOUR')\n"))
    for colour in ("red", "blue", "green"):
        client.update_function_configuration(FunctionName=name, Environment={"Variables": {"COLOUR": colour}})
        client.get_waiter("function_updated_v2").wait(FunctionName=name, WaiterConfig={"Delay": 0.05, "MaxAttempts": 100})
        assert invoke(client, name, {})[0] == colour


def test_listing_is_paged(client, deploy):
    names = {deploy(echo, wait=False) for _ in range(7)}
    pages = list(client.get_paginator("list_functions").paginate(PaginationConfig={"PageSize": 3}))
    assert all(len(page["Functions"]) <= 3 for page in pages)
    listed = [function["FunctionName"] for page in pages for function in page["Functions"]]
    assert names <= set(listed) and len(listed) == len(set(listed))


def test_versions(client, deploy):
    name = deploy(echo)
    first = client.publish_version(FunctionName=name, Description="one")
    again = client.publish_version(FunctionName=name)
    assert first["Version"] == again["Version"] == "1", "publishing what did not change gives the same version"
    client.update_function_code(FunctionName=name, ZipFile=bundles.python("def handler(e, c): return 2\n"), Publish=True)
    versions = client.list_versions_by_function(FunctionName=name)["Versions"]
    assert [v["Version"] for v in versions] == ["$LATEST", "1", "2"]
    assert versions[1]["FunctionArn"].endswith(f":{name}:1") and versions[1]["Description"] == "one"
    client.delete_function(FunctionName=name, Qualifier="1")
    versions = client.list_versions_by_function(FunctionName=name)["Versions"]
    assert [v["Version"] for v in versions] == ["$LATEST", "2"]


def test_four_ways_to_name_a_function(client, deploy):
    name = deploy(echo, Publish=True)
    arn = f"arn:aws:lambda:us-east-1:000000000000:function:{name}"
    for spelling in (name, f"{name}:1", f"000000000000:function:{name}", arn, f"{arn}:1", f"{arn}:$LATEST"):
        assert invoke(client, spelling, {"via": spelling})[0] == {"via": spelling}


def test_revision_preconditions(client, deploy):
    name = deploy(echo)
    code, _, status = error_of(client.update_function_configuration, FunctionName=name, Timeout=4, RevisionId="0" * 8)
    assert (code, status) == ("PreconditionFailedException", 412)


def test_dry_run(client, deploy):
    name = deploy(echo)
    answer = client.invoke(FunctionName=name, InvocationType="DryRun")
    assert answer["StatusCode"] == 204


def test_validation_tells_all_at_once(shared):
    # botocore would refuse this by itself.
    client = shared.client(validate=False)
    code, message, status = error_of(
        client.create_function, FunctionName="bad name!", Runtime="python3.11", Handler="a.b", Role="nobody", Code={"ZipFile": echo},
        MemorySize=64, Timeout=9000,
    )  # fmt: skip
    assert (code, status) == ("ValidationException", 400)
    assert message.startswith("4 validation errors detected: "), message
    for part in ("functionName", "role", "memorySize", "timeout"):
        assert f"at '{part}' failed to satisfy constraint" in message, message


def test_runtime_the_host_lacks(client):
    code, message, _ = error_of(
        client.create_function, FunctionName="lacks", Runtime="python3.8", Handler="a.b", Role=ROLE, Code={"ZipFile": echo}
    )
    assert code == "InvalidParameterValueException" and "python3.8" in message and "provided.al2023" in message


@pytest.mark.parametrize(
    ("what", "zipped"),
    [
        ("truncated", echo[: len(echo) // 2]),
        ("garbage", b"no zip at all"),
        ("parent", bundles.zip_of({"../evil.py": "x"})),
        ("absolute", bundles.zip_of({"/etc/evil": "x"})),
        ("bomb", bundles.zip_of({f"{n}.bin": bytes(26 * 1024 * 1024) for n in range(10)})),
    ],
)
def test_bad_zips_are_refused_and_leave_nothing(shared, client, what, zipped):
    before = set((shared.data / "bundles").rglob("*"))
    code, message, status = error_of(
        client.create_function, FunctionName=f"zip-{what}", Runtime="python3.11", Handler="a.b", Role=ROLE, Code={"ZipFile": zipped}
    )
    assert (code, status) == ("InvalidParameterValueException", 400), message
    assert error_of(client.get_function, FunctionName=f"zip-{what}")[0] == "ResourceNotFoundException"
    assert set((shared.data / "bundles").rglob("*")) == before


def test_an_operation_that_is_not_there_yet_says_so(client):
    code, message, status = error_of(client.list_event_source_mappings)
    assert status == 501 and "ListEventSourceMappings" in message


class Signed:
    """Requests signed by botocore's own signer, with something wrong on purpose."""

    def __init__(self, platform):
        self.platform = platform
        self.key, self.secret = platform.keys()

    def send(self, path="/2015-03-31/functions/", key=None, secret=None, signer=botocore.auth.SigV4Auth, tamper=None, **signer_options):
        request = botocore.awsrequest.AWSRequest("GET", self.platform.endpoint + path)
        if signer:
            credentials = botocore.credentials.Credentials(key or self.key, secret or self.secret)
            signer(credentials, "lambda", "us-east-1", **signer_options).add_auth(request)
        if tamper:
            tamper(request)
        plain = urllib.request.Request(request.url, headers=dict(request.headers.items()))
        try:
            with urllib.request.urlopen(plain, timeout=10) as response:
                return response.status, json.load(response), response.headers
        except urllib.error.HTTPError as error:
            return error.code, json.load(error), error.headers


def test_signatures(shared):
    signed = Signed(shared)
    assert signed.send()[0] == 200
    assert signed.send(signer=botocore.auth.SigV4QueryAuth, expires=60)[0] == 200
    wrong = {
        "MissingAuthenticationTokenException": {"signer": None},
        "UnrecognizedClientException": {"key": "AKIA" + "X" * 16},
        "InvalidSignatureException": {"secret": "not the secret"},
        "IncompleteSignatureException": {"tamper": lambda r: r.headers.replace_header("Authorization", "AWS4-HMAC-SHA256 nonsense")},
    }
    for expected, options in wrong.items():
        status, body, headers = signed.send(**options)
        assert headers["x-amzn-ErrorType"].split(":")[0] == expected and status in (400, 403), (expected, status, body)
        assert body.get("message") or body.get("Message"), body
        assert headers["x-amzn-RequestId"]


def test_awscli_end_to_end(shared, tmp_path):
    bundle = tmp_path / "code.zip"
    bundle.write_bytes(echo)
    name, out = "from-awscli", tmp_path / "out.json"

    def aws(*arguments):
        done = subprocess.run(
            [AWS, "--endpoint-url", shared.endpoint, "lambda", *arguments], env=shared.environment(), capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout) if done.stdout.strip() else None

    aws("create-function", "--function-name", name, "--runtime", "python3.11", "--handler", "app.handler", "--role", ROLE, "--zip-file", f"fileb://{bundle}")
    aws("wait", "function-active-v2", "--function-name", name)
    answer = aws("invoke", "--function-name", name, "--payload", '{"from": "awscli"}', "--log-type", "Tail", str(out))
    assert json.loads(out.read_text()) == {"from": "awscli"} and answer["StatusCode"] == 200
    assert "REPORT RequestId" in base64.b64decode(answer["LogResult"]).decode()
    assert name in [f["FunctionName"] for f in aws("list-functions")["Functions"]]
    aws("delete-function", "--function-name", name)
