"""Sessions: STS as boto3 and awscli speak it, and the credentials that functions have."""

import json
import subprocess
import uuid

import pytest

import bundles
from conftest import echo, invoke
from test_api import AWS, error_of
from test_iam import LAMBDA_TRUST, allow, client_of, iam, policy, user  # noqa: F401

SHOW = bundles.python(
    "import os\n"
    "NAMES = ('AWS_ACCESS_KEY_ID', 'AWS_SECRET_ACCESS_KEY', 'AWS_SESSION_TOKEN')\n"
    "def handler(event, context): return [os.environ.get(name) for name in NAMES]\n"
)


@pytest.fixture
def role(iam):  # noqa: F811
    """`role(trust, policy document)`: the ARN of a new role."""
    made = []

    def make(trust, document=None):
        name = f"r-{uuid.uuid4().hex[:8]}"
        made.append(name)
        arn = iam.create_role(RoleName=name, AssumeRolePolicyDocument=trust)["Role"]["Arn"]
        if document:
            iam.put_role_policy(RoleName=name, PolicyName="p", PolicyDocument=document)
        return arn

    yield make
    for name in made:
        for inline in iam.list_role_policies(RoleName=name)["PolicyNames"]:
            iam.delete_role_policy(RoleName=name, PolicyName=inline)
        iam.delete_role(RoleName=name)


def trust_of(principal, **condition):
    statement = {"Effect": "Allow", "Principal": {"AWS": principal}, "Action": "sts:AssumeRole"}
    return json.dumps({"Version": "2012-10-17", "Statement": [{**statement, **condition}]})


def keys_of(answer):
    given = answer["Credentials"]
    return given["AccessKeyId"], given["SecretAccessKey"], given["SessionToken"]


def test_who_am_i(shared, user):  # noqa: F811
    me = client_of(shared, "sts").get_caller_identity()
    assert (me["Account"], me["Arn"], me["UserId"]) == ("000000000000", "arn:aws:iam::000000000000:root", "000000000000")
    _, arn, session = user()
    me = session("sts").get_caller_identity()
    assert me["Arn"] == arn and me["UserId"].startswith("AIDA")
    told = subprocess.run(
        [str(AWS), "sts", "get-caller-identity", "--endpoint-url", shared.endpoint, "--output", "json"],
        env=shared.environment(), capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert json.loads(told.stdout)["Account"] == "000000000000"


def test_a_role_is_assumed_by_whom_it_trusts(shared, deploy, role, user):  # noqa: F811
    name = deploy(echo)
    _, user_arn, session = user()
    _, _, stranger = user(policy(allow("sts:AssumeRole")))
    arn = role(trust_of(user_arn, Condition={"StringEquals": {"sts:ExternalId": "42"}}), policy(allow("lambda:*")))
    answer = session("sts").assume_role(RoleArn=arn, RoleSessionName="s-1", ExternalId="42", DurationSeconds=900)
    assert answer["AssumedRoleUser"]["Arn"] == f"arn:aws:sts::000000000000:assumed-role/{arn.split('/')[-1]}/s-1"
    assert answer["Credentials"]["AccessKeyId"].startswith("ASIA")
    temporary = client_of(shared, "lambda", keys_of(answer))
    assert invoke(temporary, name, 5)[0] == 5
    assert client_of(shared, "sts", keys_of(answer)).get_caller_identity()["Arn"] == answer["AssumedRoleUser"]["Arn"]
    code, message, status = error_of(session("sts").assume_role, RoleArn=arn, RoleSessionName="s-1")
    assert (code, status) == ("AccessDenied", 403)
    assert message == f"User: {user_arn} is not authorized to perform: sts:AssumeRole on resource: {arn}"
    refused = error_of(stranger("sts").assume_role, RoleArn=arn, RoleSessionName="s-1", ExternalId="42")
    assert refused[0] == "AccessDenied"
    missing = error_of(session("sts").assume_role, RoleArn=arn + "x", RoleSessionName="s-1")
    assert missing[0] == "AccessDenied"
    narrow = session("sts").assume_role(
        RoleArn=arn, RoleSessionName="s-2", ExternalId="42", Policy=policy(allow("lambda:ListFunctions"))
    )
    narrowed = client_of(shared, "lambda", keys_of(narrow))
    assert narrowed.list_functions()["Functions"]
    assert "no session policy allows" in error_of(narrowed.invoke, FunctionName=name)[1]


def test_a_trusted_account_lets_in_whom_it_allows(role, user):  # noqa: F811
    arn = role(trust_of("000000000000"))
    _, _, without = user()
    _, _, allowed = user(policy(allow("sts:AssumeRole", arn)))
    assert error_of(without("sts").assume_role, RoleArn=arn, RoleSessionName="some")[0] == "AccessDenied"
    assert keys_of(allowed("sts").assume_role(RoleArn=arn, RoleSessionName="some"))


def test_tokens_that_are_none(shared, user):  # noqa: F811
    _, _, session = user(policy(allow("lambda:List*")))
    key, secret, token = keys_of(session("sts").get_session_token())
    assert client_of(shared, "lambda", (key, secret, token)).list_functions()["ResponseMetadata"]["HTTPStatusCode"] == 200
    for wrong in [(key, secret), (key, secret, token[:-4] + "AAAA"), (shared.keys()[0], secret, token)]:
        code, message, _ = error_of(client_of(shared, "lambda", wrong).list_functions)
        assert (code, message) == ("UnrecognizedClientException", "The security token included in the request is invalid.")
    assert error_of(client_of(shared, "lambda", (key, secret[:-1] + "!", token)).list_functions)[0] == "InvalidSignatureException"
    again = client_of(shared, "sts", (key, secret, token))
    assert error_of(again.get_session_token)[:2] == ("AccessDenied", "Cannot call GetSessionToken with session credentials")
    assert error_of(client_of(shared, "sts", (key, secret)).get_caller_identity)[0] == "InvalidClientTokenId"


def test_a_function_has_the_credentials_of_its_role(shared, client, deploy, role):
    arn = role(LAMBDA_TRUST, policy(allow("lambda:GetFunctionConfiguration")))
    name = deploy(SHOW)
    client.update_function_configuration(FunctionName=name, Role=arn)
    client.get_waiter("function_updated_v2").wait(FunctionName=name, WaiterConfig={"Delay": 0.05, "MaxAttempts": 100})
    keys, _ = invoke(client, name, {})
    assert keys[0].startswith("ASIA") and len(keys[1]) == 40
    me = client_of(shared, "sts", keys).get_caller_identity()
    assert me["Arn"] == f"arn:aws:sts::000000000000:assumed-role/{arn.split('/')[-1]}/{name}"
    function = client_of(shared, "lambda", keys)
    assert function.get_function_configuration(FunctionName=name)["Role"] == arn
    assert error_of(function.delete_function, FunctionName=name)[0] == "AccessDeniedException"
    assert keys[1] not in shared.logs() and keys[2] not in shared.logs()


def test_a_role_that_nobody_made_may_only_write_logs(shared, client, deploy):
    name = deploy(SHOW)
    keys, _ = invoke(client, name, {})
    assert client_of(shared, "sts", keys).get_caller_identity()["Arn"].endswith(f":assumed-role/lambda/{name}")
    assert error_of(client_of(shared, "lambda", keys).list_functions)[0] == "AccessDeniedException"
