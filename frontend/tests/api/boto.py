"""Every operation the frontend serves, through the real boto3. Usage: boto.py ENDPOINT KEY_ID SECRET"""

import base64
import hashlib
import io
import json
import sys
import threading
import urllib.error
import urllib.request
import zipfile

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

ENDPOINT, KEY_ID, SECRET = sys.argv[1:]
ROLE = "arn:aws:iam::000000000000:role/lambda"
ARN = "arn:aws:lambda:us-east-1:000000000000:function:"


def client(secret=SECRET, key_id=KEY_ID, region="us-east-1"):
    config = Config(retries={"total_max_attempts": 1}, max_pool_connections=20)
    return boto3.client("lambda", endpoint_url=ENDPOINT, region_name=region, aws_access_key_id=key_id,
                        aws_secret_access_key=secret, config=config)


def bundle(text):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("app.py", text)
    return buffer.getvalue()


def fails(code, status, call, **arguments):
    try:
        call(**arguments)
    except ClientError as error:
        found = (error.response["Error"]["Code"], error.response["ResponseMetadata"]["HTTPStatusCode"])
        assert found == (code, status), f"{found} instead of {(code, status)}: {error}"
        return error.response["Error"]["Message"]
    raise AssertionError(f"{call} with {arguments} did not fail with {code}")


def create(name, **more):
    return aws.create_function(FunctionName=name, Runtime="python3.11", Role=ROLE, Handler="app.handler",
                               Code={"ZipFile": bundle(name)}, **more)


aws = client()

# Create, wait, read.
created = create("echo", Description="says it again", Timeout=5, MemorySize=256, Tags={"team": "a"},
                 Environment={"Variables": {"STAGE": "prod", "UMLAUT": "ä"}}, EphemeralStorage={"Size": 1024})
assert created["State"] == "Pending" and created["Version"] == "$LATEST" and created["FunctionArn"] == ARN + "echo"
aws.get_waiter("function_exists").wait(FunctionName="echo")
aws.get_waiter("function_active_v2").wait(FunctionName="echo")
aws.get_waiter("function_active").wait(FunctionName="echo")
got = aws.get_function(FunctionName="echo")
assert got["Configuration"]["State"] == "Active" and got["Tags"] == {"team": "a"}
assert got["Configuration"]["Environment"]["Variables"] == {"STAGE": "prod", "UMLAUT": "ä"}
with urllib.request.urlopen(got["Code"]["Location"]) as served:
    assert hashlib.sha256(served.read()).digest() == base64.b64decode(got["Configuration"]["CodeSha256"])
try:
    urllib.request.urlopen(got["Code"]["Location"].replace("Signature=", "Signature=0"))
    raise AssertionError("a forged link was served")
except urllib.error.HTTPError as error:
    assert error.code == 403
for name in ["echo", "echo:$LATEST", "000000000000:function:echo", ARN + "echo", ARN + "echo:$LATEST"]:
    assert aws.get_function_configuration(FunctionName=name)["FunctionName"] == "echo", name
fails("ResourceConflictException", 409, create, name="echo")
fails("ResourceNotFoundException", 404, aws.get_function, FunctionName="nobody")

# Invoke.
reply = aws.invoke(FunctionName="echo", Payload=json.dumps({"a": [1, "ä"]}), LogType="Tail")
assert reply["StatusCode"] == 200 and reply["ExecutedVersion"] == "$LATEST" and "FunctionError" not in reply
assert json.load(reply["Payload"]) == {"a": [1, "ä"]}
assert base64.b64decode(reply["LogResult"]).startswith(b"START RequestId: " + reply["ResponseMetadata"]["RequestId"].encode())
assert json.load(aws.invoke(FunctionName=ARN + "echo")["Payload"]) == {}
assert aws.invoke(FunctionName="echo", InvocationType="DryRun")["StatusCode"] == 204
assert aws.invoke(FunctionName="echo", InvocationType="Event", Payload=b"{}")["StatusCode"] == 202
context = base64.b64encode(b'{"custom": {"k": "v"}}').decode()
assert aws.invoke(FunctionName="echo", ClientContext=context, Payload=b"1")["StatusCode"] == 200
fails("InvalidRequestContentException", 400, aws.invoke, FunctionName="echo", Payload=b"{")
large = b'"' + b"x" * (6 * 1024 * 1024) + b'"'
fails("RequestEntityTooLargeException", 413, aws.invoke, FunctionName="echo", Payload=large)
fails("RequestTooLargeException", 413, aws.invoke, FunctionName="echo", Payload=large[:1024 * 1024] + b'"', InvocationType="Event")
fits = b'"' + b"x" * (6 * 1024 * 1024 - 2) + b'"'
assert aws.invoke(FunctionName="echo", Payload=fits)["Payload"].read() == fits
create("fails")
aws.get_waiter("function_active_v2").wait(FunctionName="fails")
aws.update_function_configuration(FunctionName="fails", Handler="fail")
aws.get_waiter("function_updated_v2").wait(FunctionName="fails")
failed = aws.invoke(FunctionName="fails")
assert failed["FunctionError"] == "Unhandled" and json.load(failed["Payload"])["errorType"] == "ValueError"
answers = []
threads = [threading.Thread(target=lambda n=n: answers.append(json.load(aws.invoke(
    FunctionName="echo", Payload=json.dumps(n))["Payload"]) == n)) for n in range(16)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
assert answers == [True] * 16

# Update, publish.
revision = aws.get_function_configuration(FunctionName="echo")["RevisionId"]
dry = aws.update_function_code(FunctionName="echo", ZipFile=bundle("two"), DryRun=True)
assert dry["CodeSha256"] != created["CodeSha256"]
assert aws.get_function_configuration(FunctionName="echo")["CodeSha256"] == created["CodeSha256"]
updated = aws.update_function_code(FunctionName="echo", ZipFile=bundle("two"), RevisionId=revision)
assert updated["LastUpdateStatus"] == "InProgress"
aws.get_waiter("function_updated_v2").wait(FunctionName="echo")
aws.get_waiter("function_updated").wait(FunctionName="echo")
fails("PreconditionFailedException", 412, aws.update_function_code, FunctionName="echo", ZipFile=bundle("3"), RevisionId=revision)
one = aws.publish_version(FunctionName="echo", Description="one", CodeSha256=updated["CodeSha256"])
assert (one["Version"], one["Description"], one["FunctionArn"]) == ("1", "one", ARN + "echo:1")
assert aws.publish_version(FunctionName="echo")["Version"] == "1"
aws.get_waiter("published_version_active").wait(FunctionName="echo", Qualifier="1")
two = aws.update_function_code(FunctionName="echo", ZipFile=bundle("three"), Publish=True)
assert two["Version"] == "2"
aws.get_waiter("published_version_active").wait(FunctionName="echo", Qualifier="2")
aws.get_waiter("function_updated_v2").wait(FunctionName="echo")
assert aws.invoke(FunctionName="echo", Qualifier="1")["ExecutedVersion"] == "1"
assert aws.invoke(FunctionName=ARN + "echo:2")["ExecutedVersion"] == "2"
assert create("born-published", Publish=True)["Version"] == "1"
aws.get_waiter("published_version_active").wait(FunctionName="born-published", Qualifier="1")
emptied = aws.update_function_configuration(FunctionName="echo", Environment={"Variables": {}})
assert emptied["Environment"] == {"Variables": {}}
aws.get_waiter("function_updated_v2").wait(FunctionName="echo")

# Lists.
for index in range(60):
    create(f"many-{index:02}")
pages = list(aws.get_paginator("list_functions").paginate())
names = [function["FunctionName"] for page in pages for function in page["Functions"]]
assert len(pages) == 2 and len(names) == 63 and sorted(names) == names, (len(pages), len(names))
everything = aws.get_paginator("list_functions").paginate(FunctionVersion="ALL", PaginationConfig={"PageSize": 7})
versions = [function["FunctionArn"] for page in everything for function in page["Functions"]]
assert len(versions) == 66 and len(set(versions)) == 66, len(versions)
paged = aws.get_paginator("list_versions_by_function").paginate(FunctionName="echo", PaginationConfig={"PageSize": 1})
assert [version["Version"] for page in paged for version in page["Versions"]] == ["$LATEST", "1", "2"]

# Refusals.
message = fails("InvalidParameterValueException", 400, create, name="x" * 65)
assert "at 'functionName' failed to satisfy constraint: Member must have length less than or equal to 64" in message
message = fails("InvalidParameterValueException", 400, aws.create_function, FunctionName="java", Runtime="java21",
                Role=ROLE, Handler="a.B", Code={"ZipFile": bundle("x")})
message = fails("InvalidParameterValueException", 400, aws.create_function, FunctionName="old", Runtime="python3.9",
                Role=ROLE, Handler="a.b", Code={"ZipFile": bundle("x")})
assert "[provided.al2023, python3.11]" in message, message
message = fails("InvalidParameterValueException", 400, create, name="arm", Architectures=["arm64"])
assert "arm64" in message
message = fails("InvalidParameterValueException", 400, aws.create_function, FunctionName="bad", Runtime="python3.11",
                Role=ROLE, Handler="a.b", Code={"ZipFile": bundle("x")[:-30]})
assert message.startswith("Could not unzip uploaded file. Please check your file, then try to upload again."), message
fails("InvalidParameterValueException", 400, create, name="env", Environment={"Variables": {"AWS_REGION": "x"}})
fails("InvalidParameterValueException", 400, create, name="env", Environment={"Variables": {"BIG": "x" * 4096}})
fails("NotImplementedException", 501, aws.list_code_signing_configs)
fails("UnrecognizedClientException", 403, client(key_id="AKIAI44QH8DHBEXAMPLE").list_functions)
fails("InvalidSignatureException", 403, client(secret="wrong").list_functions)
assert client(region="eu-west-1").list_functions()["Functions"]

# Presigned.
url = aws.generate_presigned_url("get_function_configuration", {"FunctionName": ARN + "echo", "Qualifier": "1"})
with urllib.request.urlopen(url) as answer:
    assert json.load(answer)["Version"] == "1"
url = aws.generate_presigned_url("invoke", {"FunctionName": "echo", "Qualifier": "2"}, HttpMethod="POST")
with urllib.request.urlopen(urllib.request.Request(url, data=b"", method="POST")) as answer:
    assert json.load(answer) == {} and answer.headers["X-Amz-Executed-Version"] == "2"

# Delete.
fails("InvalidParameterValueException", 400, aws.delete_function, FunctionName="echo", Qualifier="$LATEST")
aws.delete_function(FunctionName="echo", Qualifier="1")
fails("ResourceNotFoundException", 404, aws.get_function, FunctionName="echo", Qualifier="1")
assert aws.get_function(FunctionName="echo:2")["Configuration"]["Version"] == "2"
aws.delete_function(FunctionName="echo")
fails("ResourceNotFoundException", 404, aws.invoke, FunctionName="echo")
fails("ResourceNotFoundException", 404, aws.delete_function, FunctionName="echo")
print("boto3 is content")
