"""Streamed answers: InvokeWithResponseStream through boto3, from Node.js, from a custom runtime, from functions that
don't stream."""

import base64
import json
import time

import pytest
from botocore.exceptions import ClientError

import bundles
from conftest import Deployer, echo, eventually, invoke

MB = 1024 * 1024

NODE = bundles.node(
    """
const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
exports.handler = awslambda.streamifyResponse(async (event, stream, context) => {
  if (event.do === "fail early") throw new RangeError("too early");
  if (event.do === "forget") return;
  console.log("streams for " + context.awsRequestId);
  for (let n = 0; n < (event.pieces ?? 3); n += 1) {
    stream.write(JSON.stringify({ n, at: Date.now() }) + "\\n");
    if (event.do === "fail late" && n === 1) throw new RangeError("too late");
    if (event.do === "exit" && n === 1) { await wait(50); process.exit(7); }
    await wait(event.pause ?? 0);
  }
  if (event.bytes) {
    const block = Buffer.alloc(65536, "x");
    for (let left = event.bytes; left > 0; left -= block.length) {
      if (!stream.write(left < block.length ? block.subarray(0, left) : block)) {
        await new Promise((resolve) => stream.once("drain", resolve));
      }
    }
  }
  if (event.do === "hang") await wait(60000);
  stream.end();
});
"""
)

# Speaks the Runtime API as its documentation has it, byte by byte.
CUSTOM = """#!/usr/bin/python3
import base64, json, os, socket
host, port = os.environ["AWS_LAMBDA_RUNTIME_API"].split(":")
def talk(request):
    with socket.create_connection((host, int(port))) as connection:
        for piece in request: connection.sendall(piece)
        answer = b""
        while b"\\r\\n\\r\\n" not in answer: answer += connection.recv(65536)
        head, _, body = answer.partition(b"\\r\\n\\r\\n")
        headers = dict(line.lower().split(b": ", 1) for line in head.split(b"\\r\\n")[1:])
        while len(body) < int(headers[b"content-length"]): body += connection.recv(65536)
        return headers, body
while True:
    headers, event = talk([b"GET /2018-06-01/runtime/invocation/next HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n"])
    if b"lambda-runtime-aws-request-id" not in headers: continue  # It has not noticed the cut yet.
    event = json.loads(event)
    def answer():
        path = "/2018-06-01/runtime/invocation/" + headers[b"lambda-runtime-aws-request-id"].decode() + "/response"
        yield ("POST " + path + " HTTP/1.1\\r\\nHost: x\\r\\nContent-Type: text/plain\\r\\nTransfer-Encoding: chunked\\r\\n"
               "Lambda-Runtime-Function-Response-Mode: streaming\\r\\n"
               "Trailer: Lambda-Runtime-Function-Error-Type\\r\\nTrailer: Lambda-Runtime-Function-Error-Body\\r\\n\\r\\n").encode()
        yield b"5\\r\\nhello\\r\\n"
        if event.get("cut"): return
        yield b"6\\r\\n world\\r\\n0\\r\\n"
        if event.get("fail"):
            body = base64.b64encode(b'{"errorType":"Custom.Oh","errorMessage":"oh"}')
            yield b"Lambda-Runtime-Function-Error-Type: Custom.Oh\\r\\nLambda-Runtime-Function-Error-Body: " + body + b"\\r\\n"
        yield b"\\r\\n"
    if event.get("cut"):
        with socket.create_connection((host, int(port))) as connection:
            for piece in answer(): connection.sendall(piece)
    else:
        talk(answer())
"""


@pytest.fixture(scope="module")
def deployed(shared):
    deployer = Deployer(shared.client())
    yield deployer
    deployer.clean()


@pytest.fixture(scope="module")
def streaming(deployed, node_runtime):
    return deployed(NODE, runtime=node_runtime, handler="index.handler", Timeout=20)


@pytest.fixture(scope="module")
def custom(deployed):
    return deployed(bundles.zip_of({"!bootstrap": CUSTOM}), runtime="provided.al2023", handler="x", Timeout=10)


def stream(client, name, event=None, **options):
    """All events of an answer: the payload's pieces with the times at which they came, the end, the answer."""
    answer = client.invoke_with_response_stream(FunctionName=name, Payload=json.dumps(event or {}).encode(), **options)
    pieces, complete = [], None
    for came in answer["EventStream"]:
        assert complete is None, "nothing comes after the end"
        if "PayloadChunk" in came:
            pieces.append((time.time(), came["PayloadChunk"]["Payload"]))
        else:
            complete = came["InvokeComplete"]
    return pieces, complete, answer


def payload(pieces):
    return b"".join(piece for _, piece in pieces)


def test_pieces_come_as_they_are_written(client, streaming):
    stream(client, streaming, {"pieces": 1})
    pieces, complete, answer = stream(client, streaming, {"pieces": 4, "pause": 300})
    lines = [json.loads(line) for line in payload(pieces).decode().splitlines()]
    assert [line["n"] for line in lines] == [0, 1, 2, 3]
    # The caller had the first before the function wrote the last: both clocks are this machine's.
    assert pieces[0][0] * 1000 < lines[-1]["at"]
    assert complete == {}
    assert (answer["StatusCode"], answer["ExecutedVersion"]) == (200, "$LATEST")
    assert answer["ResponseStreamContentType"] == "application/vnd.amazon.eventstream"


def test_log_tail_is_at_the_end(client, streaming):
    _, complete, answer = stream(client, streaming, LogType="Tail")
    request_id = answer["ResponseMetadata"]["RequestId"]
    tail = base64.b64decode(complete["LogResult"]).decode()
    for line in [f"START RequestId: {request_id}", f"streams for {request_id}", f"REPORT RequestId: {request_id}"]:
        assert line in tail
    assert tail.count("START") == 1


def test_what_does_not_stream_comes_in_one_piece(client, deployed):
    name = deployed(echo)
    pieces, complete, _ = stream(client, name, {"a": [1, 2]})
    assert [json.loads(piece) for _, piece in pieces] == [{"a": [1, 2]}]
    assert complete == {}


def test_types_of_invocation(shared, client, streaming):
    answer = client.invoke_with_response_stream(FunctionName=streaming, InvocationType="DryRun")
    assert answer["StatusCode"] == 204
    with pytest.raises(ClientError) as caught:
        shared.client(validate=False).invoke_with_response_stream(FunctionName=streaming, InvocationType="Event")
    assert caught.value.response["Error"]["Code"] == "ValidationException"
    with pytest.raises(ClientError) as caught:
        client.invoke_with_response_stream(FunctionName="there-is-none")
    assert caught.value.response["Error"]["Code"] == "ResourceNotFoundException"
    with pytest.raises(ClientError) as caught:
        client.invoke_with_response_stream(FunctionName=streaming, Payload=b"{")
    assert caught.value.response["Error"]["Code"] == "InvalidRequestContentException"


def test_an_error_before_the_first_byte(client, streaming):
    pieces, complete, _ = stream(client, streaming, {"do": "fail early"})
    document = json.loads(complete["ErrorDetails"])
    assert (complete["ErrorCode"], document["errorMessage"]) == ("RangeError", "too early")
    assert json.loads(payload(pieces)) == document
    _, complete, _ = stream(client, streaming, {"do": "forget"})
    assert "Response stream is not finished" in complete["ErrorDetails"]


def test_an_error_within_leaves_what_came_and_the_environment(client, streaming):
    pieces, complete, _ = stream(client, streaming, {"do": "fail late"})
    assert [json.loads(line)["n"] for line in payload(pieces).decode().splitlines()] == [0, 1]
    assert complete["ErrorCode"] == "RangeError"
    assert json.loads(complete["ErrorDetails"])["errorMessage"] == "too late"
    assert stream(client, streaming)[1] == {}


def test_a_runtime_that_dies_within(client, streaming):
    pieces, complete, _ = stream(client, streaming, {"do": "exit"})
    assert payload(pieces).startswith(b'{"n":0')
    assert complete["ErrorCode"] == "Runtime.ExitError"
    assert "exit status 7" in complete["ErrorDetails"]
    assert stream(client, streaming)[1] == {}


def test_a_timeout_within(client, deployed, node_runtime):
    name = deployed(NODE, runtime=node_runtime, handler="index.handler", Timeout=1)
    pieces, complete, _ = stream(client, name, {"do": "hang"})
    assert payload(pieces).startswith(b'{"n":0')
    assert complete["ErrorCode"] == "Sandbox.Timedout"
    assert "Task timed out after 1.00 seconds" in complete["ErrorDetails"]
    assert stream(client, name)[1] == {}


def test_invoke_gives_a_streamed_answer_whole(client, streaming):
    answer = client.invoke(FunctionName=streaming, Payload=b'{"pieces": 2}')
    lines = [json.loads(line)["n"] for line in answer["Payload"].read().decode().splitlines()]
    assert lines == [0, 1]
    assert "FunctionError" not in answer
    answer = client.invoke(FunctionName=streaming, Payload=b'{"do": "fail late"}')
    assert answer["FunctionError"] == "Unhandled"
    assert json.loads(answer["Payload"].read())["errorMessage"] == "too late"
    body, answer = invoke(client, streaming, {"bytes": 7 * MB})
    assert (answer["FunctionError"], body["errorType"]) == ("Unhandled", "Function.ResponseSizeTooLarge")


def test_more_than_six_megabytes_to_a_slow_reader(client, streaming):
    answer = client.invoke_with_response_stream(FunctionName=streaming, Payload=json.dumps({"bytes": 20 * MB}).encode())
    events = iter(answer["EventStream"])
    length = len(next(events)["PayloadChunk"]["Payload"])
    time.sleep(0.5)  # The windows on the way fill up, and the function waits.
    for came in events:
        length += len(came.get("PayloadChunk", {}).get("Payload", b""))
        complete = came.get("InvokeComplete")
    assert length > 20 * MB
    assert complete == {}


def test_a_caller_who_leaves_does_not_end_the_call(shared, client, deployed, node_runtime):
    name = deployed(NODE, runtime=node_runtime, handler="index.handler", Timeout=20)
    leaving = shared.client()
    answer = leaving.invoke_with_response_stream(FunctionName=name, Payload=json.dumps({"bytes": 30 * MB}).encode())
    next(iter(answer["EventStream"]))
    answer["EventStream"].close()
    request_id = answer["ResponseMetadata"]["RequestId"]
    assert eventually(lambda: f"REPORT RequestId: {request_id}" in shared.cli("logs", name).stdout)
    assert stream(client, name)[1] == {}


def test_a_custom_runtime_streams_with_trailers(client, custom):
    pieces, complete, _ = stream(client, custom)
    assert (payload(pieces), complete) == (b"hello world", {})
    pieces, complete, _ = stream(client, custom, {"fail": True})
    assert payload(pieces) == b"hello world"
    assert complete == {"ErrorCode": "Custom.Oh", "ErrorDetails": '{"errorType":"Custom.Oh","errorMessage":"oh"}'}
    pieces, complete, _ = stream(client, custom, {"cut": True})
    assert (payload(pieces), complete["ErrorCode"]) == (b"hello", "Runtime.TruncatedResponse")
    assert payload(stream(client, custom)[0]) == b"hello world"
