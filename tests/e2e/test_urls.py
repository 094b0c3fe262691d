"""Function URLs: configurations through boto3, requests through plain HTTP with the URL's `Host`."""

import base64
import http.client
import json
import time

import botocore.auth
import botocore.awsrequest
import botocore.credentials
import pytest

import bundles
from conftest import Deployer
from function_urls import STRANGERS, Url, value
from platform_under_test import ROOT

FACTS = json.loads((ROOT / "tests/aws-facts/url-answers.json").read_text())
FORBIDDEN = FACTS["forbidden"]
MB = 1024 * 1024

MIRROR = bundles.python(
    """
import json
def handler(event, context):
    if event.get("rawPath") == "/raise": raise ValueError("no")
    if event.get("rawPath") == "/answer": return json.loads(event["body"])
    if event.get("rawPath") == "/large": return {"statusCode": 200, "body": "x" * (7 * 1024 * 1024)}
    return {"statusCode": 200, "headers": {"x-mirror": "yes"}, "body": json.dumps([event, context.invoked_function_arn])}
"""
)

STREAMS = bundles.node(
    """
const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
exports.handler = awslambda.streamifyResponse(async (event, stream) => {
  const path = event.rawPath;
  if (path === "/raise") throw new Error("no");
  if (path === "/plain") { stream.setContentType("text/csv"); stream.write("a,b"); stream.end(); return; }
  const head = { statusCode: 203, headers: { "Content-Type": "text/event-stream", "X-Streamed": "yes" }, cookies: ["a=b", "c=d"] };
  stream = awslambda.HttpResponseStream.from(stream, head);
  for (let n = 0; n < 3; n += 1) {
    stream.write(`data: ${Date.now()}\\n\\n`);
    await wait(300);
  }
  if (path === "/hold") await wait(5000);
  if (path === "/exit") process.exit(1);
  stream.end();
});
"""
)


@pytest.fixture(scope="module")
def deployed(shared):
    deployer = Deployer(shared.client())
    yield deployer
    deployer.clean()


@pytest.fixture(scope="module")
def mirror(shared, deployed):
    return Url(shared, deployed(MIRROR, MemorySize=512))


@pytest.fixture(scope="module")
def streams(shared, deployed, node_runtime):
    name = deployed(STREAMS, runtime=node_runtime, handler="index.handler", Timeout=20)
    return Url(shared, name, InvokeMode="RESPONSE_STREAM")


def test_life_of_a_configuration(client, deployed):
    name = deployed(MIRROR)
    cors = {"AllowOrigins": ["https://a.example"], "AllowMethods": ["GET"], "MaxAge": 5}
    made = client.create_function_url_config(FunctionName=name, AuthType="AWS_IAM", Cors=cors)
    assert made["ResponseMetadata"]["HTTPStatusCode"] == 201
    assert made["FunctionArn"].endswith(f":function:{name}")
    assert made["FunctionUrl"].startswith("http://") and ".lambda-url.us-east-1." in made["FunctionUrl"]
    assert (made["AuthType"], made["Cors"], made["InvokeMode"]) == ("AWS_IAM", cors, "BUFFERED")
    assert "LastModifiedTime" not in made
    seen = client.get_function_url_config(FunctionName=name)
    assert (seen["FunctionUrl"], seen["CreationTime"]) == (made["FunctionUrl"], made["CreationTime"])
    changed = client.update_function_url_config(FunctionName=name, InvokeMode="RESPONSE_STREAM")
    assert (changed["InvokeMode"], changed["AuthType"], changed["Cors"]) == ("RESPONSE_STREAM", "AWS_IAM", cors)
    assert changed["LastModifiedTime"] > made["CreationTime"]
    with pytest.raises(client.exceptions.ResourceConflictException) as caught:
        client.create_function_url_config(FunctionName=name, AuthType="NONE")
    assert "FunctionUrlConfig exists for this Lambda function" in str(caught.value)
    assert client.delete_function_url_config(FunctionName=name)["ResponseMetadata"]["HTTPStatusCode"] == 204
    for gone in (client.get_function_url_config, client.delete_function_url_config):
        with pytest.raises(client.exceptions.ResourceNotFoundException) as caught:
            gone(FunctionName=name)
        assert caught.value.response["Error"]["Message"] == "The resource you requested does not exist."


def test_aliases_have_their_own_and_all_are_listed(client, shared, deployed):
    name = deployed(MIRROR)
    version = client.publish_version(FunctionName=name)["Version"]
    client.get_waiter("function_active_v2").wait(FunctionName=name, Qualifier=version, WaiterConfig={"Delay": 0.1})
    client.create_alias(FunctionName=name, Name="live", FunctionVersion=version)
    assert client.list_function_url_configs(FunctionName=name)["FunctionUrlConfigs"] == []
    plain, live = Url(shared, name), Url(shared, name, Qualifier="live")
    assert live.config["FunctionArn"].endswith(f":{name}:live")
    listed = client.list_function_url_configs(FunctionName=name)["FunctionUrlConfigs"]
    assert sorted(config["FunctionUrl"] for config in listed) == sorted([plain.config["FunctionUrl"], live.config["FunctionUrl"]])
    page = client.list_function_url_configs(FunctionName=name, MaxItems=1)
    rest = client.list_function_url_configs(FunctionName=name, MaxItems=1, Marker=page["NextMarker"])
    assert page["FunctionUrlConfigs"] + rest["FunctionUrlConfigs"] == listed and "NextMarker" not in rest
    assert json.loads(live.ask()[2])[1].endswith(f":{name}:live")
    client.delete_alias(FunctionName=name, Name="live")
    assert live.ask()[0] == 403
    assert plain.ask()[0] == 200


def test_a_request_becomes_format_2(mirror):
    headers = [("X-Twice", "one"), ("X-Twice", "two"), ("Cookie", "a=b; c=d"), ("User-Agent", "test/1"), ("Content-Type", "application/json")]
    event = mirror.event("POST", "/my/path%20x?q=1&q=2&e=%C3%BC", b'{"a": "\xc3\xbc"}', headers)
    assert (event["version"], event["routeKey"]) == ("2.0", "$default")
    assert (event["rawPath"], event["rawQueryString"]) == ("/my/path%20x", "q=1&q=2&e=%C3%BC")
    assert event["queryStringParameters"] == {"q": "1,2", "e": "ü"}
    assert event["cookies"] == ["a=b", "c=d"]
    assert event["headers"]["x-twice"] == "one,two" and event["headers"]["host"] == mirror.host
    assert (event["body"], event["isBase64Encoded"]) == ('{"a": "ü"}', False)
    context = event["requestContext"]
    assert (context["accountId"], context["apiId"], context["domainPrefix"]) == ("anonymous", mirror.id, mirror.id)
    assert context["domainName"] == mirror.host.split(":")[0]
    assert context["http"] == {
        "method": "POST", "path": "/my/path%20x", "protocol": "HTTP/1.1", "sourceIp": "127.0.0.1", "userAgent": "test/1",
    }  # fmt: skip
    assert abs(context["timeEpoch"] / 1000 - time.time()) < 30
    event = mirror.event("PUT", "/", b"\x00\xff", {"Content-Type": "application/octet-stream"})
    assert event["isBase64Encoded"] and base64.b64decode(event["body"]) == b"\x00\xff"
    event = mirror.event("PATCH", "/2015-03-31/functions")
    assert event["requestContext"]["http"]["method"] == "PATCH"
    assert not {"body", "cookies", "queryStringParameters"} & event.keys()
    status, headers, body = mirror.ask("HEAD")
    assert (status, value(headers, "x-mirror"), body) == (200, "yes", b"")


def test_an_answer_becomes_a_response(mirror):
    def answer(document):
        return mirror.ask("POST", "/answer", json.dumps(document).encode(), {"Content-Type": "application/json"})

    for fact in FACTS["answers"]:
        status, headers, body = answer(fact["returns"])
        seen = {"status": status, "type": value(headers, "content-type"), "body": body.decode(), "length": value(headers, "content-length")}
        assert seen == {"status": 200, "type": "application/json", "body": fact["body"], "length": str(fact["length"])}, fact["case"]
    assert answer(None)[2] == b"null"
    status, headers, body = answer(
        {"statusCode": 418, "headers": {"Content-Type": "text/x"}, "cookies": ["a=b", "c=d"], "body": "AP8=", "isBase64Encoded": True}
    )
    assert (status, value(headers, "content-type"), body) == (418, "text/x", b"\x00\xff")
    assert [value for name, value in headers if name == "set-cookie"] == ["a=b", "c=d"]
    for malformed in ({"statusCode": "x"}, {"statusCode": 200, "headers": [1]}, {"statusCode": 200, "body": "%", "isBase64Encoded": True}):
        assert answer(malformed)[::2] == (502, b"Internal Server Error")


def test_failures(mirror):
    assert mirror.ask(target="/raise")[::2] == (502, b"Internal Server Error")
    assert mirror.ask(target="/large")[::2] == (502, b"Internal Server Error")
    assert mirror.ask("POST", "/", b"x" * (6 * MB + 1))[0] == 413
    assert mirror.ask("POST", "/", b"x" * (5 * MB), {"Content-Type": "application/octet-stream"})[0] == 413  # As base64.


def test_a_timeout(shared, deployed):
    sleeps = bundles.python("import time\ndef handler(event, context): time.sleep(30)\n")
    late = Url(shared, deployed(sleeps, Timeout=1))
    assert late.ask()[::2] == (502, b"Internal Server Error")


def test_a_throttle(own, node_runtime):
    platform = own(HEARTH_ACCOUNT_CONCURRENCY="1")
    deployer = Deployer(platform.client())
    url = Url(platform, deployer(STREAMS, runtime=node_runtime, handler="index.handler", Timeout=20), InvokeMode="RESPONSE_STREAM")
    holding = url.connect()
    holding.request("GET", "/hold", headers={"Host": url.host})
    held = holding.getresponse()  # It runs from here on.
    assert held.status == 203
    status, headers, _ = url.ask(target="/plain")
    assert (status, value(headers, "retry-after")) == (429, "1")
    assert held.read().count(b"data: ") == 3


def test_nobody_comes_in_without_the_policy(client, shared, deployed):
    name = deployed(MIRROR)
    url = Url(shared, name, open_to_all=False)
    refused = (403, FORBIDDEN["body"])

    def asked():
        status, headers, body = url.ask()
        assert status == 200 or value(headers, "x-amzn-errortype") == FORBIDDEN["type"]
        return status, json.loads(body)

    assert asked() == refused
    client.add_permission(FunctionName=name, StatementId="iam", Action="lambda:InvokeFunctionUrl", Principal="*", FunctionUrlAuthType="AWS_IAM")
    client.add_permission(FunctionName=name, StatementId="invoke", Action="lambda:InvokeFunction", Principal="*")
    assert asked() == refused
    client.add_permission(FunctionName=name, StatementId="url", **STRANGERS["url"])
    assert asked()[0] == 200
    client.remove_permission(FunctionName=name, StatementId="invoke")
    assert asked() == refused
    client.add_permission(FunctionName=name, StatementId="invoke-by-url", **STRANGERS["invoke-by-url"])
    assert asked()[0] == 200
    statement = json.loads(client.get_policy(FunctionName=name)["Policy"])["Statement"][-1]
    assert statement["Condition"] == {"Bool": {"lambda:InvokedViaFunctionUrl": "true"}}
    client.remove_permission(FunctionName=name, StatementId="url")
    assert asked() == refused
    unknown = Url.__new__(Url)
    unknown.shared, unknown.host = shared, "a" * 32 + ".lambda-url.us-east-1.localhost"
    assert unknown.ask()[0] == 403
    client.add_permission(FunctionName=name, StatementId="url", **STRANGERS["url"])
    assert asked()[0] == 200
    client.delete_function(FunctionName=name)
    assert asked() == refused


def signed(url, shared, service="lambda", secret=None, method="POST", target="/p%20q?b=2&a=1", body=b"{}"):
    key, known = shared.keys()
    request = botocore.awsrequest.AWSRequest(method, f"http://{url.host}{target}", data=body, headers={"Content-Type": "text/plain"})
    credentials = botocore.credentials.Credentials(key, secret or known)
    botocore.auth.SigV4Auth(credentials, service, "us-east-1").add_auth(request)
    headers = {name: value for name, value in request.headers.items() if name != "Host"}
    return url.ask(method, target, body, headers)


def test_signed_requests(shared, deployed):
    url = Url(shared, deployed(MIRROR), auth="AWS_IAM", open_to_all=False)
    status, _, body = signed(url, shared)
    assert status == 200, body
    context = json.loads(body)[0]["requestContext"]
    iam = context["authorizer"]["iam"]
    assert (context["accountId"], iam["accountId"], iam["accessKey"]) == ("000000000000", "000000000000", shared.keys()[0])
    assert iam["userArn"].startswith("arn:aws:iam::000000000000:")
    for refused in (url.ask(), signed(url, shared, service="s3"), signed(url, shared, secret="x" * 40)):
        assert (refused[0], json.loads(refused[2])) == (403, FORBIDDEN["body"])


def test_cors(client, shared, deployed):
    cors = {
        "AllowOrigins": ["https://a.example"], "AllowMethods": ["GET", "POST"], "AllowHeaders": ["x-one"],
        "ExposeHeaders": ["x-mirror"], "MaxAge": 60, "AllowCredentials": True,
    }  # fmt: skip
    url = Url(shared, deployed(MIRROR), Cors=cors)
    asks = {"Origin": "https://a.example", "Access-Control-Request-Method": "POST"}
    status, headers, body = url.ask("OPTIONS", "/", headers=asks)
    assert (status, body) == (200, b"")
    assert value(headers, "access-control-allow-origin") == "https://a.example"
    assert value(headers, "access-control-allow-methods") == "GET,POST"
    assert value(headers, "access-control-allow-headers") == "x-one"
    assert value(headers, "access-control-max-age") == "60"
    assert value(headers, "access-control-allow-credentials") == "true"
    assert value(url.ask("OPTIONS", "/", headers={**asks, "Origin": "https://b.example"})[1], "access-control-allow-origin") is None
    _, headers, _ = url.ask(headers={"Origin": "https://a.example"})
    assert (value(headers, "access-control-allow-origin"), value(headers, "access-control-expose-headers")) == ("https://a.example", "x-mirror")
    _, headers, _ = url.ask(headers={"Origin": "https://b.example"})
    assert value(headers, "access-control-allow-origin") is None
    # Without the settings, and without a question, OPTIONS is a method like any other.
    assert url.event("OPTIONS")["requestContext"]["http"]["method"] == "OPTIONS"


def test_a_stream_is_progressive(streams):
    streams.ask(target="/plain")
    connection = streams.connect()
    connection.request("GET", "/", headers={"Host": streams.host})
    answer = connection.getresponse()
    assert (answer.status, answer.getheader("content-type"), answer.getheader("x-streamed")) == (203, "text/event-stream", "yes")
    assert answer.headers.get_all("set-cookie") == ["a=b", "c=d"]
    came, written = [], []
    while line := answer.readline():
        if line.startswith(b"data: "):
            came.append(time.time() * 1000)
            written.append(int(line[6:]))
    assert len(written) == 3
    # Each piece was here before the next was written: both clocks are this machine's.
    assert came[0] < written[1] and came[1] < written[2]


def test_streams_without_a_prelude_and_streams_that_fail(streams):
    status, headers, body = streams.ask(target="/plain")
    assert (status, value(headers, "content-type"), body) == (200, "text/csv", b"a,b")
    assert streams.ask(target="/raise")[::2] == (502, b"Internal Server Error")
    with pytest.raises(http.client.IncompleteRead):
        streams.ask(target="/exit")
    assert streams.ask(target="/plain")[0] == 200


def test_a_stream_is_given_whole_where_it_is_not_wanted(shared, client, streams):
    client.update_function_url_config(FunctionName=streams.name, InvokeMode="BUFFERED")
    status, headers, body = streams.ask()
    assert (status, value(headers, "x-streamed"), body.count(b"data: ")) == (203, "yes", 3)
    assert value(headers, "content-length") == str(len(body))
    client.update_function_url_config(FunctionName=streams.name, InvokeMode="RESPONSE_STREAM")
