"""Event invocations: durable, retried, and given up where it can be seen."""

import json
import time

import pytest

import bundles
from conftest import echo, eventually

MARK = "hearth-test-line"
LOGGING = bundles.python(
    f"""
def handler(event, context):
    print("{MARK}", context.aws_request_id, event["n"])
    if event.get("fail"): raise RuntimeError("asked to fail")
"""
)


def lines(platform, name, mark=MARK):
    return [line for line in platform.cli("logs", name).stdout.splitlines() if mark in line]


def dead_letters(platform):
    return json.loads(platform.cli("dead-letters", "--output", "json").stdout)["deadLetters"]


def send(client, name, event):
    answer = client.invoke(FunctionName=name, InvocationType="Event", Payload=json.dumps(event).encode())
    assert answer["StatusCode"] == 202 and answer["Payload"].read() == b""
    return answer["ResponseMetadata"]["RequestId"]


def test_an_event_runs_once_under_its_request_id(shared, client, deploy):
    name = deploy(LOGGING)
    request = send(client, name, {"n": 1})
    assert eventually(lambda: any(request in line for line in lines(shared, name)))
    time.sleep(1)
    assert len(lines(shared, name)) == 1


def test_a_failing_event_is_tried_three_times_then_dead(shared, client, deploy):
    name = deploy(LOGGING)
    request = send(client, name, {"n": 7, "fail": True})

    def dead():
        return [letter for letter in dead_letters(shared) if letter["requestId"] == request]

    letter = eventually(dead)[0]
    assert letter["condition"] == "RetriesExhausted"
    # The log is written behind the answer.
    assert eventually(lambda: len(lines(shared, name)) == 3)
    assert all(request in line for line in lines(shared, name))


def test_on_failure_function_gets_the_record(shared, client, deploy):
    sink = deploy(bundles.python(f"import json\ndef handler(e, c):\n    print('{MARK}', json.dumps(e))\n"))
    sink_arn = f"arn:aws:lambda:us-east-1:000000000000:function:{sink}"
    name = deploy(LOGGING, DeadLetterConfig={"TargetArn": sink_arn})
    request = send(client, name, {"n": 8, "fail": True})
    line = eventually(lambda: lines(shared, sink))[0]
    record = json.loads(line[line.index("{") :])
    assert record["requestContext"]["requestId"] == request
    assert record["requestContext"]["condition"] == "RetriesExhausted"
    assert record["requestContext"]["approximateInvokeCount"] == 3
    assert record["requestPayload"] == {"n": 8, "fail": True}
    assert record["responsePayload"]["errorMessage"] == "asked to fail"


def test_limits_of_asynchronous_payloads(client, deploy):
    name = deploy(echo)
    with pytest.raises(client.exceptions.RequestTooLargeException):
        client.invoke(FunctionName=name, InvocationType="Event", Payload=b'"' + b"x" * (1024 * 1024) + b'"')
    with pytest.raises(client.exceptions.InvalidRequestContentException):
        client.invoke(FunctionName=name, InvocationType="Event", Payload=b"{no json")


def test_acknowledged_events_survive_kill_9(own, deploy_on):
    """Seen by their dead letters, which are as durable as the events; lines of a log that were still to be written
    when the process was killed are not."""
    platform = own()
    client = platform.client()
    name = deploy_on(platform)(LOGGING)
    acknowledged = {send(client, name, {"n": n, "fail": True}) for n in range(60)}
    role = platform.role("frontend")
    platform.kill(role)
    platform.restart(role)
    missing = lambda: acknowledged - {letter["requestId"] for letter in dead_letters(platform)}
    assert eventually(lambda: not missing()), f"events that got their 202 were lost: {missing()}"
