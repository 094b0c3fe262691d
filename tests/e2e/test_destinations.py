"""Where events go that ended: destinations, dead-letter queues, event buses; and how each function says so."""

import json
import uuid
from pathlib import Path

import boto3
import botocore.config
import pytest

import bundles
from conftest import eventually

FACTS = Path(__file__).resolve().parents[1] / "aws-facts"
ACCOUNT, REGION = "000000000000", "us-east-1"
FUNCTION = bundles.python(
    """
def handler(event, context):
    if event.get("raise_error"): raise Exception("Test exception (this is intentional)")
    return {"ran": context.function_version, "id": context.aws_request_id}
"""
)


def arn(service, resource):
    return f"arn:aws:{service}:{REGION}:{ACCOUNT}:{resource}"


def unique(prefix):
    return f"{prefix}-{uuid.uuid4().hex[:8]}"


def send(client, name, event, **options):
    answer = client.invoke(FunctionName=name, InvocationType="Event", Payload=json.dumps(event).encode(), **options)
    assert answer["StatusCode"] == 202
    return answer["ResponseMetadata"]["RequestId"]


@pytest.fixture
def sqs(shared):
    key, secret = shared.keys()
    config = botocore.config.Config(retries={"total_max_attempts": 1}, read_timeout=60)
    return boto3.client(
        "sqs", endpoint_url=shared.endpoint, region_name=REGION, aws_access_key_id=key,
        aws_secret_access_key=secret, config=config,
    )  # fmt: skip


def receive(sqs, url, **options):
    """The next message, which is waited for; it is deleted."""
    found = sqs.receive_message(QueueUrl=url, WaitTimeSeconds=20, MessageAttributeNames=["All"], **options)
    message = found["Messages"][0]
    sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    return message


def filled(value, names):
    """A fact with its placeholders filled in."""
    text = json.dumps(value)
    for name, filling in names.items():
        text = text.replace("{" + name + "}", filling)
    return json.loads(text)


def test_configurations_are_listed_in_pages_and_go_with_their_function(client, deploy):
    name = deploy(FUNCTION)
    for qualifier in ["$LATEST", client.publish_version(FunctionName=name)["Version"]]:
        client.put_function_event_invoke_config(FunctionName=name, Qualifier=qualifier, MaximumRetryAttempts=1)
    pages = client.get_paginator("list_function_event_invoke_configs").paginate(
        FunctionName=name, PaginationConfig={"PageSize": 1}
    )
    found = [config["FunctionArn"].split(":")[-1] for page in pages for config in page["FunctionEventInvokeConfigs"]]
    assert found == ["$LATEST", "1"]
    client.delete_function(FunctionName=name, Qualifier="1")
    with pytest.raises(client.exceptions.ResourceNotFoundException):
        client.get_function_event_invoke_config(FunctionName=name, Qualifier="1")
    client.delete_function(FunctionName=name)
    deploy(FUNCTION, name=name)
    with pytest.raises(client.exceptions.ResourceNotFoundException):
        client.get_function_event_invoke_config(FunctionName=name)


@pytest.mark.parametrize("limit", [{"MaximumRetryAttempts": 3}, {"MaximumEventAgeInSeconds": 59}, {"MaximumEventAgeInSeconds": 21601}])
def test_limits_of_configurations(shared, deploy, limit):
    unchecked = shared.client(validate=False)
    name = deploy(FUNCTION)
    with pytest.raises(unchecked.exceptions.ClientError, match="1 validation error detected"):
        unchecked.put_function_event_invoke_config(FunctionName=name, **limit)


def check_record(record, fact, name, request):
    fact = filled(fact, {"region": REGION, "account": ACCOUNT, "f": name})
    assert record.pop("timestamp").endswith("Z")
    assert record["requestContext"].pop("requestId") == request
    response = record.pop("responsePayload")
    assert record == fact
    return response


def test_a_queue_gets_the_records_that_aws_sends(client, sqs, deploy):
    facts = json.loads((FACTS / "destinations.json").read_text())["records"]
    queue = unique("records")
    url = sqs.create_queue(QueueName=queue)["QueueUrl"]
    name = deploy(FUNCTION)
    both = {"Destination": arn("sqs", queue)}
    client.put_function_event_invoke_config(
        FunctionName=name, MaximumRetryAttempts=0, DestinationConfig={"OnSuccess": both, "OnFailure": both}
    )
    request = send(client, name, {})
    response = check_record(json.loads(receive(sqs, url)["Body"]), facts["success"], name, request)
    assert response == {"ran": "$LATEST", "id": request}
    request = send(client, name, {"raise_error": 1})
    response = check_record(json.loads(receive(sqs, url)["Body"]), facts["failure"], name, request)
    assert response["errorMessage"] == "Test exception (this is intentional)"


def test_a_dead_letter_queue_gets_the_event_as_aws_sends_it(client, sqs, deploy):
    facts = json.loads((FACTS / "destinations.json").read_text())["dead_letter_attributes"]
    queue = unique("dlq")
    name = deploy(FUNCTION, DeadLetterConfig={"TargetArn": arn("sqs", queue)})
    url = sqs.get_queue_url(QueueName=queue)["QueueUrl"]
    client.put_function_event_invoke_config(FunctionName=name, MaximumRetryAttempts=0)
    request = send(client, name, {"raise_error": 1})
    message = receive(sqs, url)
    assert json.loads(message["Body"]) == {"raise_error": 1}
    said = message["MessageAttributes"]
    assert said.pop("RequestID") == {"DataType": "String", "StringValue": request}
    assert said == facts


def test_retries_are_counted_in_the_record(client, sqs, deploy):
    queue = unique("retries")
    name = deploy(FUNCTION)
    client.put_function_event_invoke_config(
        FunctionName=name, DestinationConfig={"OnFailure": {"Destination": arn("sqs", queue)}}
    )
    url = sqs.get_queue_url(QueueName=queue)["QueueUrl"]
    send(client, name, {"raise_error": 1})
    context = json.loads(receive(sqs, url)["Body"])["requestContext"]
    assert (context["condition"], context["approximateInvokeCount"]) == ("RetriesExhausted", 3)


def test_an_alias_has_a_configuration_of_its_own_and_a_function_is_a_destination(client, sqs, deploy):
    """f through its alias → g through its alias → a queue: one record within the other."""
    queue = unique("chain")
    f, g = deploy(FUNCTION), deploy(FUNCTION)
    for name in [f, g]:
        client.publish_version(FunctionName=name)
        client.create_alias(FunctionName=name, Name="prod", FunctionVersion="1")
    client.put_function_event_invoke_config(
        FunctionName=f, Qualifier="prod",
        DestinationConfig={"OnSuccess": {"Destination": arn("lambda", f"function:{g}:prod")}},
    )  # fmt: skip
    client.put_function_event_invoke_config(
        FunctionName=g, Qualifier="prod", DestinationConfig={"OnSuccess": {"Destination": arn("sqs", queue)}}
    )
    url = sqs.get_queue_url(QueueName=queue)["QueueUrl"]
    send(client, f, {"by": "name"})
    request = send(client, f, {"by": "alias"}, Qualifier="prod")
    record = json.loads(receive(sqs, url)["Body"])
    assert record["requestContext"]["functionArn"] == arn("lambda", f"function:{g}:prod")
    assert record["responseContext"]["executedVersion"] == "1"
    inner = record["requestPayload"]
    assert inner["requestContext"]["requestId"] == request
    assert inner["requestContext"]["functionArn"] == arn("lambda", f"function:{f}:prod")
    assert inner["requestPayload"] == {"by": "alias"}
    assert "Messages" not in sqs.receive_message(QueueUrl=url)


def test_a_bus_gets_events_that_hearth_events_shows(shared, client, deploy):
    bus = unique("bus")
    name = deploy(FUNCTION)
    client.put_function_event_invoke_config(
        FunctionName=name, DestinationConfig={"OnSuccess": {"Destination": arn("events", f"event-bus/{bus}")}}
    )
    request = send(client, name, {"n": 1})
    events = lambda *more: json.loads(shared.cli("events", "--bus", bus, "--output", "json", *more).stdout)["messages"]
    assert eventually(events)
    event = events("--take")[0]["body"]
    assert event["source"] == "lambda"
    assert event["detail-type"] == "Lambda Function Invocation Result - Success"
    assert event["resources"] == [arn("events", f"event-bus/{bus}"), arn("lambda", f"function:{name}:$LATEST")]
    assert event["detail"]["requestContext"]["requestId"] == request
    assert events() == []


def test_a_topic_gets_records_that_hearth_queue_shows(shared, client, deploy):
    topic = unique("topic")
    name = deploy(FUNCTION)
    client.put_function_event_invoke_config(
        FunctionName=name, DestinationConfig={"OnSuccess": {"Destination": arn("sns", topic)}}
    )
    request = send(client, name, {"n": 1})
    shown = lambda: shared.cli("queue", topic, "--topic", "--output", "json").stdout
    assert eventually(lambda: json.loads(shown())["messages"])
    assert json.loads(shown())["messages"][0]["body"]["requestContext"]["requestId"] == request
    assert arn("sns", topic) in shared.cli("queue").stdout


def test_a_circle_of_functions_is_stopped(shared, client, deploy):
    f, g = deploy(FUNCTION), deploy(FUNCTION)
    for one, other in [(f, g), (g, f)]:
        client.put_function_event_invoke_config(
            FunctionName=one, DestinationConfig={"OnSuccess": {"Destination": arn("lambda", f"function:{other}")}}
        )
    send(client, f, {})

    def stopped():
        letters = json.loads(shared.cli("dead-letters", "--function", f, "--output", "json").stdout)["deadLetters"]
        return [letter for letter in letters if letter["condition"] == "RecursiveLoop"]

    assert eventually(stopped)
    usage = json.loads(shared.cli("usage", "--output", "json").stdout)["functions"]
    assert sum(function["invocations"] for function in usage if function["name"] in (f, g)) == 16


def test_a_circle_that_is_allowed_goes_on(shared, client, deploy):
    f, g = deploy(FUNCTION), deploy(FUNCTION)
    for one, other in [(f, g), (g, f)]:
        client.put_function_recursion_config(FunctionName=one, RecursiveLoop="Allow")
        client.put_function_event_invoke_config(
            FunctionName=one, DestinationConfig={"OnSuccess": {"Destination": arn("lambda", f"function:{other}")}}
        )
    send(client, f, {})

    def runs():
        usage = json.loads(shared.cli("usage", "--output", "json").stdout)["functions"]
        return sum(function["invocations"] for function in usage if function["name"] in (f, g))

    assert eventually(lambda: runs() > 20)


def test_without_concurrency_an_event_is_given_up_at_once(client, sqs, deploy):
    queue = unique("stopped")
    name = deploy(FUNCTION)
    client.put_function_event_invoke_config(
        FunctionName=name, DestinationConfig={"OnFailure": {"Destination": arn("sqs", queue)}}
    )
    url = sqs.get_queue_url(QueueName=queue)["QueueUrl"]
    client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=0)
    send(client, name, {"n": 1})
    record = json.loads(receive(sqs, url)["Body"])
    assert record["requestContext"]["condition"] == "ZeroReservedConcurrency"
    assert record["requestPayload"] == {"n": 1} and "responseContext" not in record


def test_the_deprecated_operation_still_works(client, sqs, deploy):
    queue = unique("old")
    name = deploy(FUNCTION)
    client.put_function_event_invoke_config(
        FunctionName=name, DestinationConfig={"OnSuccess": {"Destination": arn("sqs", queue)}}
    )
    assert client.invoke_async(FunctionName=name, InvokeArgs=b'{"n": 1}')["Status"] == 202
    url = sqs.get_queue_url(QueueName=queue)["QueueUrl"]
    assert json.loads(receive(sqs, url)["Body"])["requestPayload"] == {"n": 1}
    with pytest.raises(client.exceptions.ClientError, match="RequestEntityTooLarge"):
        client.invoke_async(FunctionName=name, InvokeArgs=b'"' + b"x" * (256 * 1024) + b'"')


def test_a_queue_as_clients_of_sqs_use_it(sqs):
    name = unique("queue")
    url = sqs.create_queue(QueueName=name, Attributes={"VisibilityTimeout": "60"})["QueueUrl"]
    assert sqs.create_queue(QueueName=name)["QueueUrl"] == url
    assert url in sqs.list_queues(QueueNamePrefix=name)["QueueUrls"]
    with pytest.raises(sqs.exceptions.QueueNameExists):
        sqs.create_queue(QueueName=name, Attributes={"VisibilityTimeout": "61"})
    attributes = {"Color": {"DataType": "String", "StringValue": "blue"}, "N": {"DataType": "Number", "StringValue": "7"}}
    sent = sqs.send_message(QueueUrl=url, MessageBody="hällo", MessageAttributes=attributes)
    asked = {"MessageAttributeNames": ["All"], "MessageSystemAttributeNames": ["All"]}
    message = sqs.receive_message(QueueUrl=url, **asked)["Messages"][0]
    assert (message["Body"], message["MessageId"]) == ("hällo", sent["MessageId"])
    assert message["MessageAttributes"] == attributes
    assert message["MD5OfMessageAttributes"] == sent["MD5OfMessageAttributes"]
    assert message["Attributes"]["ApproximateReceiveCount"] == "1"
    counted = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    assert (counted["ApproximateNumberOfMessages"], counted["ApproximateNumberOfMessagesNotVisible"]) == ("0", "1")
    assert counted["QueueArn"] == arn("sqs", name) and counted["VisibilityTimeout"] == "60"
    assert "Messages" not in sqs.receive_message(QueueUrl=url)
    sqs.change_message_visibility(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"], VisibilityTimeout=1)
    again = sqs.receive_message(QueueUrl=url, WaitTimeSeconds=10, **asked)["Messages"][0]
    assert again["Attributes"]["ApproximateReceiveCount"] == "2"
    done = sqs.delete_message_batch(QueueUrl=url, Entries=[{"Id": "a", "ReceiptHandle": again["ReceiptHandle"]}])
    assert [entry["Id"] for entry in done["Successful"]] == ["a"]
    with pytest.raises(sqs.exceptions.ReceiptHandleIsInvalid):
        sqs.delete_message(QueueUrl=url, ReceiptHandle="none")
    sqs.send_message(QueueUrl=url, MessageBody="later", DelaySeconds=60)
    sqs.purge_queue(QueueUrl=url)
    sqs.delete_queue(QueueUrl=url)
    with pytest.raises(sqs.exceptions.QueueDoesNotExist):
        sqs.receive_message(QueueUrl=url)


def test_records_survive_kill_9(own, deploy_on):
    """Every acknowledged event leaves its record, however often the frontend is killed meanwhile."""
    platform = own()
    client = platform.client()
    deployer = deploy_on(platform)
    name, queue = deployer(FUNCTION), unique("durable")
    client.put_function_event_invoke_config(
        FunctionName=name, DestinationConfig={"OnSuccess": {"Destination": arn("sqs", queue)}}
    )
    role, acknowledged = platform.role("frontend"), set()
    for _ in range(2):
        acknowledged |= {send(client, name, {"n": n}) for n in range(25)}
        platform.kill(role)
        platform.restart(role)

    def recorded():
        shown = json.loads(platform.cli("queue", queue, "--output", "json").stdout)["messages"]
        return {message["body"]["requestContext"]["requestId"] for message in shown}

    assert eventually(lambda: acknowledged <= recorded()), f"lost: {acknowledged - recorded()}"
