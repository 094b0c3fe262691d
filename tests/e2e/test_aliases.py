"""Versions and aliases through boto3: what is frozen, what changes a RevisionId, who runs and what is told of it."""

import base64
import json
import time
from collections import Counter

import pytest

import bundles
from conftest import echo, error_of, invoke, read_log

ARN = "arn:aws:lambda:us-east-1:000000000000:function"
QUICKLY = {"Delay": 0.05, "MaxAttempts": 200}
WHO = bundles.python(
    "import os\n"
    "def handler(event, context):\n"
    "    return {'env': os.environ['AWS_LAMBDA_FUNCTION_VERSION'], 'context': context.function_version,\n"
    "            'arn': context.invoked_function_arn, 'colour': os.environ.get('COLOUR')}\n"
)


def recolour(client, name, colour):
    client.update_function_configuration(FunctionName=name, Environment={"Variables": {"COLOUR": colour}})
    client.get_waiter("function_updated_v2").wait(FunctionName=name, WaiterConfig=QUICKLY)


@pytest.fixture
def versioned(client, deploy):
    """A function with versions 1 (red) and 2 (blue)."""
    name = deploy(WHO, Environment={"Variables": {"COLOUR": "red"}})
    client.publish_version(FunctionName=name)
    recolour(client, name, "blue")
    client.publish_version(FunctionName=name)
    return name


def shown(answer):
    return {key: value for key, value in answer.items() if key != "ResponseMetadata"}


def test_an_alias_is_created_read_changed_listed_and_deleted(client, versioned):
    name = versioned
    created = client.create_alias(
        FunctionName=name, Name="prod", FunctionVersion="1", Description="now", RoutingConfig={"AdditionalVersionWeights": {"2": 0.2}}
    )
    assert created["ResponseMetadata"]["HTTPStatusCode"] == 201
    assert shown(created) == {
        "AliasArn": f"{ARN}:{name}:prod", "Name": "prod", "FunctionVersion": "1", "Description": "now",
        "RoutingConfig": {"AdditionalVersionWeights": {"2": 0.2}}, "RevisionId": created["RevisionId"],
    }  # fmt: skip
    assert shown(client.get_alias(FunctionName=name, Name="prod")) == shown(created)
    plain = client.create_alias(FunctionName=name, Name="next", FunctionVersion="$LATEST")
    assert plain["Description"] == "" and "RoutingConfig" not in plain
    listed = client.list_aliases(FunctionName=name)
    assert [alias["Name"] for alias in listed["Aliases"]] == ["next", "prod"] and "NextMarker" not in listed
    of_one = client.list_aliases(FunctionName=name, FunctionVersion="1")["Aliases"]
    assert of_one == [shown(created)]
    pages = client.get_paginator("list_aliases").paginate(FunctionName=name, PaginationConfig={"PageSize": 1})
    assert [[alias["Name"] for alias in page["Aliases"]] for page in pages] == [["next"], ["prod"]]

    stale = error_of(client.update_alias, FunctionName=name, Name="prod", RevisionId="wrong")
    assert (stale[0], stale[2]) == ("PreconditionFailedException", 412)
    updated = client.update_alias(FunctionName=name, Name="prod", RoutingConfig={}, RevisionId=created["RevisionId"])
    assert "RoutingConfig" not in updated and updated["Description"] == "now"
    again = client.update_alias(FunctionName=name, Name="prod")
    assert again["RevisionId"] != updated["RevisionId"] != created["RevisionId"]
    moved = client.update_alias(FunctionName=name, Name="prod", FunctionVersion="2", Description="")
    assert (moved["FunctionVersion"], moved["Description"]) == ("2", "")

    assert client.delete_alias(FunctionName=name, Name="prod")["ResponseMetadata"]["HTTPStatusCode"] == 204
    assert client.delete_alias(FunctionName=name, Name="prod")["ResponseMetadata"]["HTTPStatusCode"] == 204
    code, message, status = error_of(client.get_alias, FunctionName=name, Name="prod")
    assert (code, message, status) == ("ResourceNotFoundException", f"Cannot find alias arn: {ARN}:{name}:prod", 404)
    assert error_of(client.update_alias, FunctionName=name, Name="prod")[1] == f"Alias not found: {ARN}:{name}:prod"


def test_what_no_alias_can_be(client, versioned):
    name = versioned

    def refused(weights=None, version="1", alias="bad", function=name):
        routing = {} if weights is None else {"RoutingConfig": {"AdditionalVersionWeights": weights}}
        return error_of(client.create_alias, FunctionName=function, Name=alias, FunctionVersion=version, **routing)

    invalid = "InvalidParameterValueException"
    assert refused({"1": 0.1, "2": 0.1})[:2] == (invalid, "Number of items in AdditionalVersionWeights cannot be greater than 1")
    already = "Invalid function version 1. Function version 1 is already included in routing configuration."
    assert refused({"1": 0.5})[:2] == (invalid, already)
    assert refused({"10": 0.5}) == ("ResourceNotFoundException", f"Function not found: {ARN}:{name}:10", 404)
    assert refused(version="10") == ("ResourceNotFoundException", f"Function not found: {ARN}:{name}:10", 404)
    several = "$LATEST is not supported for an alias pointing to more than 1 version"
    assert refused({"1": 0.5}, version="$LATEST")[:2] == (invalid, several)
    assert refused({"2": 1.5})[2] == 400
    unknown = refused(function="nobody-knows-me")
    assert unknown == ("ResourceNotFoundException", f"Function not found: {ARN}:nobody-knows-me:1", 404)
    assert refused(alias="123")[2] == 400
    client.create_alias(FunctionName=name, Name="bad", FunctionVersion="1")
    assert refused() == ("ResourceConflictException", f"Alias already exists: {ARN}:{name}:bad", 409)
    assert error_of(client.get_function, FunctionName=name, Qualifier="gone")[1] == f"Function not found: {ARN}:{name}:gone"
    assert error_of(client.invoke, FunctionName=f"{name}:gone")[1] == f"Function not found: {ARN}:{name}:gone"


def test_an_alias_runs_the_version_it_names(client, versioned):
    name = versioned
    client.create_alias(FunctionName=name, Name="live", FunctionVersion="1")
    arn = f"{ARN}:{name}:live"
    for called in ({"FunctionName": name, "Qualifier": "live"}, {"FunctionName": f"{name}:live"}, {"FunctionName": arn}):
        answer = client.invoke(LogType="Tail", **called)
        body = json.loads(answer["Payload"].read())
        assert body == {"env": "1", "context": "1", "arn": arn, "colour": "red"}
        assert answer["ExecutedVersion"] == "1"
        start = base64.b64decode(answer["LogResult"]).decode().splitlines()[0]
        assert start.startswith("START RequestId: ") and start.endswith("Version: 1"), start
    configuration = client.get_function(FunctionName=name, Qualifier="live")["Configuration"]
    assert (configuration["FunctionArn"], configuration["Version"]) == (arn, "1")
    client.update_alias(FunctionName=name, Name="live", FunctionVersion="2")
    body, answer = invoke(client, f"{name}:live", {})
    assert (body["colour"], body["env"], answer["ExecutedVersion"]) == ("blue", "2", "2")


def test_weights_share_calls_out_and_the_version_that_ran_is_the_one_reported(client, versioned):
    name = versioned
    client.create_alias(FunctionName=name, Name="split", FunctionVersion="1", RoutingConfig={"AdditionalVersionWeights": {"2": 0.5}})
    ran = Counter()
    for _ in range(60):
        body, answer = invoke(client, name, {}, Qualifier="split")
        assert body["env"] == body["context"] == answer["ExecutedVersion"]
        assert body["arn"] == f"{ARN}:{name}:split"
        ran[answer["ExecutedVersion"]] += 1
    # Fewer than 10 of 60 fair throws: one run in ten million.
    assert set(ran) == {"1", "2"} and min(ran.values()) >= 10, ran
    client.update_alias(FunctionName=name, Name="split", RoutingConfig={"AdditionalVersionWeights": {"2": 1.0}})
    assert {invoke(client, name, {}, Qualifier="split")[1]["ExecutedVersion"] for _ in range(5)} == {"2"}


def test_an_event_for_an_alias_runs_what_the_alias_means_when_it_runs(client, deploy, tmp_path):
    """The first attempt fails on version 1; the alias moves; the retry runs version 2, and succeeds."""
    failing = bundles.python("def handler(event, context):\n    raise RuntimeError(f'version {context.function_version}')\n")
    name = deploy(failing)
    client.publish_version(FunctionName=name)
    client.update_function_code(FunctionName=name, ZipFile=WHO)
    client.get_waiter("function_updated_v2").wait(FunctionName=name, WaiterConfig=QUICKLY)
    client.publish_version(FunctionName=name)
    client.create_alias(FunctionName=name, Name="live", FunctionVersion="1")
    accepted = client.invoke(FunctionName=name, Qualifier="live", InvocationType="Event", Payload=b"{}")
    assert accepted["StatusCode"] == 202
    log = follow(client, name)
    assert log.until("version 1")
    client.update_alias(FunctionName=name, Name="live", FunctionVersion="2")
    assert log.until("Version: 2")


class follow:
    """A function's log, read by our own route until a line comes."""

    def __init__(self, client, name):
        self.client, self.name, self.after, self.lines = client, name, None, []

    def until(self, text, patience_s=20):
        deadline = time.monotonic() + patience_s
        while time.monotonic() < deadline:
            page = read_log(self.client, self.name, 2000, self.after)
            self.lines += [line["text"] for line in page["lines"]]
            self.after = page["next"]
            if any(text in line for line in self.lines):
                return True
        raise AssertionError(f"{text!r} is not in {self.lines}")


def test_a_version_that_an_alias_names_stays(client, versioned):
    name = versioned
    client.create_alias(FunctionName=name, Name="a", FunctionVersion="1")
    client.create_alias(FunctionName=name, Name="b", FunctionVersion="1", RoutingConfig={"AdditionalVersionWeights": {"2": 0.1}})
    for version, names in (("1", "[a, b]"), ("2", "[b]")):
        code, message, status = error_of(client.delete_function, FunctionName=name, Qualifier=version)
        assert (code, status) == ("ResourceConflictException", 409)
        assert message == f"Unable to delete version because the following aliases reference it: {names}"
    client.delete_alias(FunctionName=name, Name="b")
    client.delete_function(FunctionName=name, Qualifier="2")
    assert [version["Version"] for version in client.list_versions_by_function(FunctionName=name)["Versions"]] == ["$LATEST", "1"]


def test_a_deleted_function_leaves_no_alias_behind(client, deploy):
    name = deploy(echo)
    client.create_alias(FunctionName=name, Name="prod", FunctionVersion="$LATEST")
    client.delete_function(FunctionName=name)
    assert error_of(client.list_aliases, FunctionName=name)[0] == "ResourceNotFoundException"
    deploy(echo, name=name)
    assert client.list_aliases(FunctionName=name)["Aliases"] == []


def test_revisions_change_as_at_aws(client, deploy):
    """LocalStack's recordings, TestLambdaRevisions: with states, with publishing; not with aliases."""
    name = deploy(echo, wait=False)

    def revision(**of):
        return client.get_function_configuration(FunctionName=name, **of)["RevisionId"]

    client.get_waiter("function_active_v2").wait(FunctionName=name, WaiterConfig=QUICKLY)
    active = revision()
    published = client.publish_version(FunctionName=name, RevisionId=active)
    assert published["RevisionId"] != active and published["State"] == "Active"
    assert revision(Qualifier="1") == published["RevisionId"]
    after = revision()
    assert after not in (active, published["RevisionId"])
    alias = client.create_alias(FunctionName=name, Name="a", FunctionVersion="1")
    assert alias["RevisionId"] not in (after, published["RevisionId"])
    assert (revision(), revision(Qualifier="1")) == (after, published["RevisionId"])
    assert error_of(client.publish_version, FunctionName=name, RevisionId=active)[0] == "PreconditionFailedException"
    update = client.update_function_configuration(FunctionName=name, Description="x", RevisionId=after)
    client.get_waiter("function_updated_v2").wait(FunctionName=name, WaiterConfig=QUICKLY)
    assert revision() not in (after, update["RevisionId"])


def test_publishing_with_creation_and_with_code(client, deploy):
    name = deploy(echo, Publish=True)
    client.get_waiter("published_version_active").wait(FunctionName=name, Qualifier="1", WaiterConfig=QUICKLY)
    again = client.publish_version(FunctionName=name)
    assert (again["Version"], again["FunctionArn"]) == ("1", f"{ARN}:{name}:1")
    before = client.get_function_configuration(FunctionName=name)
    dry = client.update_function_code(FunctionName=name, ZipFile=WHO, DryRun=True, Publish=True)
    assert dry["CodeSha256"] != before["CodeSha256"]
    assert shown(client.get_function_configuration(FunctionName=name)) == shown(before)
    second = client.update_function_code(FunctionName=name, ZipFile=WHO, Publish=True)
    assert (second["Version"], second["FunctionArn"]) == ("2", f"{ARN}:{name}:2")
    assert (second["State"], "LastUpdateStatus" in second) == ("Pending", False)
    client.get_waiter("function_updated_v2").wait(FunctionName=name, WaiterConfig=QUICKLY)
    client.get_waiter("published_version_active").wait(FunctionName=name, Qualifier="2", WaiterConfig=QUICKLY)
    assert invoke(client, name, {"a": 1}, Qualifier="1")[0] == {"a": 1}
    assert invoke(client, name, {}, Qualifier="2")[0]["env"] == "2"
    versions = client.list_functions(FunctionVersion="ALL")["Functions"]
    mine = [(f["Version"], f["FunctionArn"]) for f in versions if f["FunctionName"] == name]
    assert mine == [(version, f"{ARN}:{name}:{version}") for version in ("$LATEST", "1", "2")]
