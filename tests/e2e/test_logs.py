"""CloudWatch Logs through boto3 and awscli, and how functions' logs are written."""

import base64
import json
import subprocess
import sys
import time
import uuid
from pathlib import Path

import boto3
import botocore.config
import pytest

import bundles
from conftest import error_of, eventually, invoke

TALKS = bundles.python(
    """
import logging, os
log = logging.getLogger()
def handler(event, context):
    print(event.get("say", "hello"))
    for level in event.get("levels", []):
        log.log(getattr(logging, level), "at %s", level)
    if "fail" in event:
        raise ValueError(event["fail"])
    return {"group": context.log_group_name, "stream": context.log_stream_name,
            "format": os.environ.get("AWS_LAMBDA_LOG_FORMAT"), "level": os.environ.get("AWS_LAMBDA_LOG_LEVEL")}
"""
)


AWS = Path(sys.executable).parent / "aws"


@pytest.fixture
def logs(shared):
    key, secret = shared.keys()
    keys = {"aws_access_key_id": key, "aws_secret_access_key": secret, "region_name": "us-east-1"}
    config = botocore.config.Config(retries={"total_max_attempts": 1})
    return boto3.client("logs", endpoint_url=shared.endpoint, config=config, **keys)


def events(logs, group, **arguments):
    pages = logs.get_paginator("filter_log_events").paginate(logGroupName=group, **arguments)
    return [event for page in pages for event in page["events"]]


def written(logs, group, text):
    """The group's events, once one with `text` is among them: lines are written behind the answer."""

    def look():
        try:
            found = events(logs, group)
        except logs.exceptions.ResourceNotFoundException:
            return None
        return found if any(text in event["message"] for event in found) else None

    found = eventually(look)
    assert found, f"no {text!r} in {group}"
    return found


def tail(answer):
    return base64.b64decode(answer["LogResult"]).decode()


def aws(shared, *arguments):
    done = subprocess.run(
        [str(AWS), "--endpoint-url", shared.endpoint, *arguments, "--output", "json"],
        env=shared.environment(), capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout) if done.stdout else None


def test_groups_streams_and_events(client, logs, deploy, python_runtime):
    name = deploy(TALKS, runtime=python_runtime)
    group = f"/aws/lambda/{name}"
    assert error_of(logs.describe_log_streams, logGroupName=group)[0] == "ResourceNotFoundException"
    before = int(time.time() * 1000)
    seen, answer = invoke(client, name, {"say": "one"})
    invoke(client, name, {"say": "two"})
    request = answer["ResponseMetadata"]["RequestId"]
    assert seen["group"] == group
    written(logs, group, "two")

    shown = logs.describe_log_groups(logGroupNamePrefix=group)["logGroups"]
    assert [one["logGroupName"] for one in shown] == [group]
    assert shown[0]["storedBytes"] > 0 and shown[0]["arn"].endswith(f":log-group:{group}:*")
    streams = logs.describe_log_streams(logGroupName=group, orderBy="LastEventTime", descending=True)["logStreams"]
    assert [stream["logStreamName"] for stream in streams] == [seen["stream"]]
    assert before - 5_000 <= streams[0]["firstEventTimestamp"] <= streams[0]["lastEventTimestamp"]
    prefix = seen["stream"][:11]
    assert logs.describe_log_streams(logGroupName=group, logStreamNamePrefix=prefix)["logStreams"]
    assert not logs.describe_log_streams(logGroupName=group, logStreamNamePrefix="x")["logStreams"]
    wrong = error_of(logs.describe_log_streams, logGroupName=group, logStreamNamePrefix=prefix, orderBy="LastEventTime")
    assert wrong[0] == "InvalidParameterException"

    which = {"logGroupName": group, "logStreamName": seen["stream"]}
    whole = logs.get_log_events(**which, startFromHead=True)
    lines = [event["message"] for event in whole["events"]]
    start = lines.index(f"START RequestId: {request} Version: $LATEST\n")
    assert lines[start + 1 : start + 3] == ["one\n", f"END RequestId: {request}\n"]
    assert lines[start + 3].startswith(f"REPORT RequestId: {request}\tDuration: ")
    # At the end the token stays; backwards from there everything comes again.
    end = logs.get_log_events(**which, nextToken=whole["nextForwardToken"])
    assert end["events"] == [] and end["nextForwardToken"] == whole["nextForwardToken"]
    last = logs.get_log_events(**which, limit=2)
    assert [event["message"] for event in last["events"]] == lines[-2:]
    earlier = logs.get_log_events(**which, limit=2, nextToken=last["nextBackwardToken"])
    assert [event["message"] for event in earlier["events"]] == lines[-4:-2]
    first = logs.get_log_events(**which, limit=3, startFromHead=True)
    rest = logs.get_log_events(**which, startFromHead=True, nextToken=first["nextForwardToken"])
    assert [event["message"] for event in first["events"] + rest["events"]] == lines
    assert error_of(logs.get_log_events, logGroupName=group, logStreamName="x")[0] == "ResourceNotFoundException"
    assert error_of(logs.get_log_events, **which, nextToken="x")[0] == "InvalidParameterException"


def test_filters(client, logs, deploy, python_runtime):
    name = deploy(TALKS, runtime=python_runtime)
    group = f"/aws/lambda/{name}"
    for say in ("red apple", "green apple", "red pear", '{"level": "ERROR", "n": 7}', "the end"):
        invoke(client, name, {"say": say})
    everything = written(logs, group, "the end")
    assert len({event["eventId"] for event in everything}) == len(everything)

    def found(pattern, **arguments):
        return [event["message"].strip() for event in events(logs, group, filterPattern=pattern, **arguments)]

    assert found("apple") == ["red apple", "green apple"]
    assert found("apple -red") == ["green apple"]
    assert found('"red pear"') == ["red pear"]
    assert found("?green ?pear") == ["green apple", "red pear"]
    assert found('{ $.level = "ERROR" && $.n > 5 }') == ['{"level": "ERROR", "n": 7}']
    assert found("apple", PaginationConfig={"PageSize": 1}) == ["red apple", "green apple"]
    middle = next(event["timestamp"] for event in everything if "red pear" in event["message"])
    assert "the end" in found("", startTime=middle) and "red apple" not in found("", startTime=middle + 1)
    assert "the end" not in found("", endTime=middle)
    stream = everything[0]["logStreamName"]
    assert found("apple", logStreamNames=[stream]) == found("apple", logStreamNamePrefix=stream[:12])
    assert found("apple", logStreamNames=["other"]) == []
    assert error_of(logs.filter_log_events, logGroupName=group, filterPattern='"open')[0] == "InvalidParameterException"


def test_groups_are_created_bounded_and_deleted(client, logs, deploy, python_runtime):
    name = deploy(TALKS, runtime=python_runtime)
    group = f"/aws/lambda/{name}"
    logs.create_log_group(logGroupName=group)
    assert error_of(logs.create_log_group, logGroupName=group)[0] == "ResourceAlreadyExistsException"
    logs.put_retention_policy(logGroupName=group, retentionInDays=7)
    assert logs.describe_log_groups(logGroupNamePrefix=group)["logGroups"][0]["retentionInDays"] == 7
    assert error_of(logs.put_retention_policy, logGroupName=group, retentionInDays=8)[0] == "InvalidParameterException"
    invoke(client, name, {"say": "before"})
    written(logs, group, "REPORT")
    logs.delete_log_group(logGroupName=group)
    assert logs.describe_log_groups(logGroupNamePrefix=group)["logGroups"] == []
    assert error_of(logs.filter_log_events, logGroupName=group)[0] == "ResourceNotFoundException"
    invoke(client, name, {"say": "after"})
    assert not any("before" in event["message"] for event in written(logs, group, "after"))
    assert error_of(logs.delete_log_group, logGroupName="nobody")[0] == "ResourceNotFoundException"
    code, text, _ = error_of(logs.put_log_events, logGroupName=group, logStreamName="s", logEvents=[{"timestamp": 1, "message": "m"}])
    assert code == "NotImplementedException" and "PutLogEvents" in text


def test_json_lines_and_levels(client, logs, deploy, python_runtime):
    config = {"LogFormat": "JSON", "ApplicationLogLevel": "WARN", "SystemLogLevel": "DEBUG"}
    name = deploy(TALKS, runtime=python_runtime, LoggingConfig=config)
    group = f"/aws/lambda/{name}"
    assert client.get_function_configuration(FunctionName=name)["LoggingConfig"] == {**config, "LogGroup": group}
    seen, answer = invoke(client, name, {"levels": ["INFO", "WARNING", "ERROR"]}, LogType="Tail")
    request = answer["ResponseMetadata"]["RequestId"]
    assert (seen["format"], seen["level"]) == ("JSON", "WARN")
    documents = [json.loads(line) for line in tail(answer).splitlines() if line.startswith("{")]
    kinds = [document.get("type") or document.get("level") for document in documents]
    assert kinds == ["platform.start", "WARNING", "ERROR", "platform.runtimeDone", "platform.report"]
    assert documents[0]["record"] == {"requestId": request, "version": "$LATEST"}
    assert documents[1]["message"] == "at WARNING" and documents[1]["requestId"] == request
    report = documents[-1]["record"]
    assert report["status"] == "success" and report["metrics"]["memorySizeMB"] == 128
    assert report["metrics"]["initDurationMs"] > 0 and "START RequestId" not in tail(answer)
    failed, answer = invoke(client, name, {"fail": "on purpose"}, LogType="Tail")
    assert failed["errorMessage"] == "on purpose"
    error = next(json.loads(line) for line in tail(answer).splitlines() if '"errorType"' in line)
    assert (error["level"], error["errorType"]) == ("ERROR", "ValueError")
    kinds = {json.loads(event["message"]).get("type") for event in written(logs, group, "on purpose") if event["message"][0] == "{"}
    assert {"platform.initStart", "platform.initRuntimeDone", "platform.initReport"} <= kinds

    client.update_function_configuration(FunctionName=name, LoggingConfig={"LogFormat": "Text"})
    client.get_waiter("function_updated_v2").wait(FunctionName=name, WaiterConfig={"Delay": 0.05, "MaxAttempts": 400})
    assert client.get_function_configuration(FunctionName=name)["LoggingConfig"] == {"LogFormat": "Text", "LogGroup": group}
    seen, answer = invoke(client, name, {}, LogType="Tail")
    assert seen["format"] == "Text" and seen["level"] is None and tail(answer).startswith("START RequestId: ")


def test_node_writes_json(client, deploy, node_runtime):
    code = bundles.node("exports.handler = async () => { console.info('quiet'); console.error('loud'); };\n")
    config = {"LogFormat": "JSON", "ApplicationLogLevel": "ERROR", "SystemLogLevel": "WARN"}
    name = deploy(code, runtime=node_runtime, handler="index.handler", LoggingConfig=config)
    _, answer = invoke(client, name, {}, LogType="Tail")
    lines = [json.loads(line) for line in tail(answer).splitlines()]
    assert [(line["level"], line["message"]) for line in lines] == [("ERROR", "loud")]


def test_functions_share_a_group(client, logs, deploy, python_runtime, shared):
    group = f"team/{uuid.uuid4().hex[:8]}"
    names = [deploy(TALKS, runtime=python_runtime, LoggingConfig={"LogGroup": group}) for _ in range(2)]
    for name in names:
        seen, _ = invoke(client, name, {"say": f"I am {name}"})
        assert seen["group"] == group and f"/{name}[$LATEST]" in seen["stream"]
    for name in names:
        written(logs, group, f"I am {name}")
    assert len(logs.describe_log_streams(logGroupName=group)["logStreams"]) == 2
    shown = shared.cli("logs", names[0]).stdout
    assert f"I am {names[0]}" in shown and f"I am {names[1]}" not in shown


def test_awscli_looks_at_logs(client, logs, deploy, shared, python_runtime):
    name = deploy(TALKS, runtime=python_runtime)
    group = f"/aws/lambda/{name}"
    seen, _ = invoke(client, name, {"say": "for awscli"})
    written(logs, group, "REPORT")
    groups = aws(shared, "logs", "describe-log-groups", "--log-group-name-prefix", group)["logGroups"]
    assert [one["logGroupName"] for one in groups] == [group]
    streams = aws(shared, "logs", "describe-log-streams", "--log-group-name", group)["logStreams"]
    assert [stream["logStreamName"] for stream in streams] == [seen["stream"]]
    got = aws(shared, "logs", "get-log-events", "--log-group-name", group, "--log-stream-name", seen["stream"])["events"]
    assert any(event["message"] == "for awscli\n" for event in got)
    filtered = aws(shared, "logs", "filter-log-events", "--log-group-name", group, "--filter-pattern", "awscli")["events"]
    assert [event["message"] for event in filtered] == ["for awscli\n"]


def test_a_follower_sees_each_line_once(client, logs, deploy, python_runtime):
    """What `aws logs tail --follow` of awscli 2 does: the same pages again from the last time seen, told apart by id."""
    name = deploy(TALKS, runtime=python_runtime)
    group = f"/aws/lambda/{name}"
    seen, start = {}, 0
    for say in ("first", "second", "third"):
        invoke(client, name, {"say": say})
        written(logs, group, say)
        for event in events(logs, group, startTime=start):
            seen.setdefault(event["eventId"], event["message"])
            start = max(start, event["timestamp"])
    spoken = [message.strip() for message in seen.values() if message.strip() in ("first", "second", "third")]
    assert spoken == ["first", "second", "third"]
