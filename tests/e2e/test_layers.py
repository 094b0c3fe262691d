"""Layers through boto3: published, listed, shared, merged under /opt, and what AWS says to mistakes."""

import base64
import hashlib
import json
import urllib.request
import uuid

import pytest

import bundles
from conftest import echo, error_of, invoke, isolation


@pytest.fixture
def layer(client):
    """`layer(files, **settings)` publishes a version of a layer of the test's own; all go in the end."""
    published = []

    def publish(files, name=None, **settings):
        name = name or f"l-{uuid.uuid4().hex[:12]}"
        version = client.publish_layer_version(LayerName=name, Content={"ZipFile": bundles.zip_of(files)}, **settings)
        published.append((name, version["Version"]))
        return version

    yield publish
    for name, number in published:
        client.delete_layer_version(LayerName=name, VersionNumber=number)


def name_of(version):
    return version["LayerArn"].rsplit(":", 1)[1]


def test_a_layer_is_published_read_and_listed(client, layer):
    files = {"python/one.py": "ONE = 1\n"}
    settings = {"CompatibleRuntimes": ["python3.11", "python3.12"], "CompatibleArchitectures": ["x86_64"]}
    first = layer(files, Description="the first", LicenseInfo="MIT", **settings)
    name, zipped = name_of(first), bundles.zip_of(files)
    assert first["LayerVersionArn"] == f"{first['LayerArn']}:1" and first["Version"] == 1
    assert (first["Description"], first["LicenseInfo"]) == ("the first", "MIT")
    assert first["Content"]["CodeSize"] == len(zipped)
    assert first["Content"]["CodeSha256"] == base64.b64encode(hashlib.sha256(zipped).digest()).decode()
    assert urllib.request.urlopen(first["Content"]["Location"]).read() == zipped

    second = layer({"python/one.py": "ONE = 2\n"}, name=name)
    assert second["Version"] == 2 and second["Description"] == "" and "CompatibleRuntimes" not in second
    read = client.get_layer_version(LayerName=name, VersionNumber=1)
    by_arn = client.get_layer_version_by_arn(Arn=first["LayerVersionArn"])
    by_layer_arn = client.get_layer_version(LayerName=first["LayerArn"], VersionNumber=1)
    for found in (read, by_arn, by_layer_arn):
        for member in ("LayerArn", "LayerVersionArn", "CreatedDate", "Version", "CompatibleRuntimes", "CompatibleArchitectures"):
            assert found[member] == first[member], member

    listed = client.list_layer_versions(LayerName=name)["LayerVersions"]
    assert [version["Version"] for version in listed] == [2, 1] and "Content" not in listed[0]
    page = client.list_layer_versions(LayerName=name, MaxItems=1)
    rest = client.list_layer_versions(LayerName=name, Marker=page["NextMarker"])
    assert [version["Version"] for version in page["LayerVersions"] + rest["LayerVersions"]] == [2, 1]
    only = client.list_layer_versions(LayerName=name, CompatibleRuntime="python3.12")["LayerVersions"]
    assert [version["Version"] for version in only] == [1]
    assert not client.list_layer_versions(LayerName=name, CompatibleArchitecture="arm64")["LayerVersions"]

    def latest(**filters):
        pages = client.get_paginator("list_layers").paginate(PaginationConfig={"PageSize": 2}, **filters)
        found = [item for page in pages for item in page["Layers"] if item["LayerName"] == name]
        return [item["LatestMatchingVersion"]["Version"] for item in found]

    assert (latest(), latest(CompatibleRuntime="python3.11"), latest(CompatibleRuntime="nodejs20.x")) == ([2], [1], [])


def test_numbers_are_never_used_again(client, layer):
    first = layer({"a": "1"})
    name = name_of(first)
    client.delete_layer_version(LayerName=name, VersionNumber=1)
    client.delete_layer_version(LayerName=name, VersionNumber=1)
    assert client.list_layer_versions(LayerName=name)["LayerVersions"] == []
    assert name not in [item["LayerName"] for item in client.list_layers()["Layers"]]
    assert layer({"a": "2"}, name=name)["Version"] == 2


def test_what_is_not_there(client):
    gone = ("ResourceNotFoundException", "The resource you requested does not exist.", 404)
    assert error_of(client.get_layer_version, LayerName="nobody", VersionNumber=1) == gone
    arn = f"arn:aws:lambda:{client.meta.region_name}:000000000000:layer:nobody"
    assert error_of(client.get_layer_version_by_arn, Arn=f"{arn}:1") == gone
    code, text, status = error_of(client.get_layer_version_by_arn, Arn=arn)
    assert (code, status) == ("ValidationException", 400) and "at 'arn' failed to satisfy constraint" in text
    assert error_of(client.get_layer_version, LayerName="nobody", VersionNumber=0)[:2] == (
        "InvalidParameterValueException", "Layer Version Cannot be less than 1",
    )  # fmt: skip
    code, text, _ = error_of(client.publish_layer_version, LayerName="nobody", Content={"S3Bucket": "b-c-d", "S3Key": "k"})
    assert code == "InvalidParameterValueException" and "ZipFile" in text
    assert error_of(client.publish_layer_version, LayerName="nobody", Content={"ZipFile": b"no zip"})[2] == 400
    assert client.list_layer_versions(LayerName="nobody")["LayerVersions"] == []


def test_permissions_of_a_version(client, layer):
    version = layer({"a": "1"})
    which = {"LayerName": name_of(version), "VersionNumber": 1}
    missing = error_of(client.get_layer_version_policy, **which)
    assert missing == ("ResourceNotFoundException", "No policy is associated with the given resource.", 404)
    nobody = {"LayerName": "nobody", "VersionNumber": 1}
    assert error_of(client.get_layer_version_policy, **nobody)[1].startswith("Layer version arn:aws:lambda:")

    allow = {"StatementId": "s1", "Action": "lambda:GetLayerVersion", "Principal": "*"}
    added = client.add_layer_version_permission(**which, **allow)
    statement = {
        "Sid": "s1", "Effect": "Allow", "Principal": "*", "Action": "lambda:GetLayerVersion",
        "Resource": version["LayerVersionArn"],
    }  # fmt: skip
    assert added["Statement"] == json.dumps(statement, separators=(",", ":"))
    policy = client.get_layer_version_policy(**which)
    assert policy["RevisionId"] == added["RevisionId"]
    assert json.loads(policy["Policy"]) == {"Version": "2012-10-17", "Id": "default", "Statement": [statement]}

    code, text, status = error_of(client.add_layer_version_permission, **which, **allow)
    assert (code, status) == ("ResourceConflictException", 409) and text.startswith("The statement id (s1) provided already exists.")
    other = {**allow, "StatementId": "s2", "Principal": "111111111111"}
    stale = error_of(client.add_layer_version_permission, **which, **other, RevisionId="wrong")
    assert stale == (
        "PreconditionFailedException",
        "The Revision Id provided does not match the latest Revision Id. Call the GetLayerPolicy API to retrieve the latest Revision Id",
        412,
    )
    second = client.add_layer_version_permission(**which, **other, RevisionId=added["RevisionId"])
    assert json.loads(second["Statement"])["Principal"] == {"AWS": "arn:aws:iam::111111111111:root"}
    assert error_of(client.remove_layer_version_permission, **which, StatementId="s3")[:2] == (
        "ResourceNotFoundException", "Statement s3 is not found in resource policy.",
    )  # fmt: skip
    client.remove_layer_version_permission(**which, StatementId="s1", RevisionId=second["RevisionId"])
    left = json.loads(client.get_layer_version_policy(**which)["Policy"])["Statement"]
    assert [statement["Sid"] for statement in left] == ["s2"]


LOOKS = """
import os, subprocess, sys
import shared_module
def handler(event, context):
    try:
        import only_below
        below = only_below.WHERE
    except ImportError:
        below = None
    try:
        open(os.path.join(event["opt"] or shared_module.opt(), "new"), "w")
        writable = True
    except OSError as error:
        writable = False
    return {
        "shared": shared_module.WHERE, "below": below, "writable": writable, "file": shared_module.__file__,
        "tool": subprocess.run(["layer-tool"], capture_output=True, text=True).stdout.strip(),
        "path": os.environ["PATH"].split(":"), "libraries": os.environ["LD_LIBRARY_PATH"].split(":"),
    }
"""
SHARED = "import os\nWHERE = {!r}\ndef opt():\n    return os.path.dirname(os.path.dirname(os.path.abspath(__file__)))\n"


def wait_updated(client, name):
    client.get_waiter("function_updated_v2").wait(FunctionName=name, WaiterConfig={"Delay": 0.05, "MaxAttempts": 400})


def test_layers_are_merged_under_opt(client, deploy, layer, python_runtime):
    below = layer({"python/shared_module.py": SHARED.format("below"), "python/only_below.py": "WHERE = 'below'\n"})
    above = layer(
        {
            "python/shared_module.py": SHARED.format("above"),
            f"python/lib/{python_runtime}/site-packages/in_site.py": "",
            "!bin/layer-tool": "#!/bin/sh\necho tool of the layer\n",
        }
    )
    arns = [below["LayerVersionArn"], above["LayerVersionArn"]]
    name = deploy(bundles.python(LOOKS), runtime=python_runtime, Layers=arns)
    shown = client.get_function_configuration(FunctionName=name)["Layers"]
    assert shown == [{"Arn": v["LayerVersionArn"], "CodeSize": v["Content"]["CodeSize"]} for v in (below, above)]
    opt = "" if isolation() == "process" else "/opt"
    got, _ = invoke(client, name, {"opt": opt})
    assert (got["shared"], got["below"], got["tool"]) == ("above", "below", "tool of the layer")
    if opt:
        assert not got["writable"] and got["file"] == "/opt/python/shared_module.py"
        assert "/opt/bin" in got["path"] and "/opt/lib" in got["libraries"]

    client.update_function_configuration(FunctionName=name, Layers=arns[::-1])
    wait_updated(client, name)
    assert invoke(client, name, {"opt": opt})[0]["shared"] == "below"

    # What is deleted goes on where it is used.
    for version in (below, above):
        client.delete_layer_version(LayerName=name_of(version), VersionNumber=1)
    client.update_function_configuration(FunctionName=name, Timeout=9)
    wait_updated(client, name)
    assert invoke(client, name, {"opt": opt})[0]["shared"] == "below"
    gone = error_of(client.update_function_configuration, FunctionName=name, Layers=arns)
    assert gone[:2] == ("InvalidParameterValueException", f"Layer version {arns[0]} does not exist.")
    client.update_function_configuration(FunctionName=name, Layers=[])
    wait_updated(client, name)
    assert not client.get_function_configuration(FunctionName=name).get("Layers")
    assert "shared_module" in invoke(client, name, {"opt": opt})[0]["errorMessage"]


def test_node_finds_modules_of_layers(client, deploy, layer, node_runtime):
    version = layer({"nodejs/node_modules/of-layer/index.js": "module.exports = 'of the layer';\n"})
    code = bundles.node("const m = require('of-layer'); exports.handler = async () => [m, process.env.NODE_PATH];\n")
    name = deploy(code, runtime=node_runtime, handler="index.handler", Layers=[version["LayerVersionArn"]])
    (module, path), _ = invoke(client, name)
    assert module == "of the layer"
    major = node_runtime.removeprefix("nodejs").split(".")[0]
    if isolation() != "process":
        assert path.startswith(f"/opt/nodejs/node{major}/node_modules:/opt/nodejs/node_modules:")


@pytest.mark.jail
def test_a_custom_runtime_starts_from_a_layer(client, deploy, layer):
    script = (bundles.FUNCTIONS.parents[2] / "examples/bootstrap-shell/bootstrap").read_text()
    version = layer({"!bootstrap": script})
    name = deploy(bundles.zip_of({"data": "x"}), runtime="provided.al2023", handler="h", Layers=[version["LayerVersionArn"]])
    payload, answer = invoke(client, name, {"a": 1})
    assert "FunctionError" not in answer, payload


def test_layers_that_a_function_can_not_have(client, deploy, layer):
    name = deploy(echo)
    one, two = layer({"a": "1"}), None
    two = layer({"a": "2"}, name=name_of(one))

    def why(*arns):
        code, text, _ = error_of(client.update_function_configuration, FunctionName=name, Layers=list(arns))
        return code, text

    both = (one["LayerVersionArn"], two["LayerVersionArn"])
    assert why(*both) == (
        "InvalidParameterValueException",
        "Two different versions of the same layer are not allowed to be referenced in the same function. "
        f"{both[0]} and {both[1]} are versions of the same layer.",
    )
    prefix = one["LayerArn"].rsplit(":", 1)[0]
    assert why(*(f"{prefix}:x{n}:1" for n in range(6))) == (
        "InvalidParameterValueException", "Cannot reference more than 5 layers.",
    )  # fmt: skip
    assert why(f"{prefix}:nobody:1")[1] == f"Layer version {prefix}:nobody:1 does not exist."
    code, text = why(one["LayerArn"])
    assert code == "ValidationException" and "at 'layers' failed to satisfy constraint" in text
    elsewhere = prefix.replace(client.meta.region_name, "ap-south-1")
    assert why(f"{elsewhere}:x:1")[1].startswith("Layers are not in the same region as the function.")
    stranger = prefix.replace("000000000000", "999999999999")
    code, text = why(f"{stranger}:x:1")
    assert code == "AccessDeniedException" and "lambda:GetLayerVersion on resource" in text


def test_settings_are_echoed_as_recorded(client, deploy):
    """LocalStack's recordings of AWS, `TestLambdaFunction::test_function_lifecycle` and `TestLambdaImages`."""
    name = deploy(echo, EphemeralStorage={"Size": 1024}, Architectures=["x86_64"], Environment={"Variables": {}})
    shown = client.get_function(FunctionName=name)["Configuration"]
    assert shown["EphemeralStorage"] == {"Size": 1024} and shown["Architectures"] == ["x86_64"]
    assert shown["PackageType"] == "Zip" and shown["Environment"] == {"Variables": {}}
    assert shown["LoggingConfig"] == {"LogFormat": "Text", "LogGroup": f"/aws/lambda/{name}"} and "Layers" not in shown
    plain = client.get_function_configuration(FunctionName=deploy(echo))
    assert plain["EphemeralStorage"] == {"Size": 512} and "Environment" not in plain
    code, text, _ = error_of(client.update_function_code, FunctionName=name, ZipFile=echo, Architectures=["arm64"])
    assert code == "InvalidParameterValueException" and "arm64" in text
