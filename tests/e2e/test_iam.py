"""Who may do what: users, roles, policies, other accounts, as boto3 sees them."""

import json
import uuid

import boto3
import botocore.config
import pytest
from botocore.exceptions import ClientError

from conftest import ROLE, echo, invoke
from test_api import error_of

ADMINISTRATOR = "arn:aws:iam::aws:policy/AdministratorAccess"
LAMBDA_TRUST = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}],
    }
)


def client_of(platform, service, keys=None):
    key, secret, *token = keys or platform.keys()
    return boto3.client(
        service,
        endpoint_url=platform.endpoint,
        region_name="us-east-1",
        aws_access_key_id=key,
        aws_secret_access_key=secret,
        aws_session_token=token[0] if token else None,
        config=botocore.config.Config(retries={"total_max_attempts": 1}),
    )


def policy(*statements):
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def allow(action, resource="*", **more):
    return {"Effect": "Allow", "Action": action, "Resource": resource, **more}


@pytest.fixture
def iam(shared):
    return client_of(shared, "iam")


@pytest.fixture
def user(shared, iam):
    """`user(policy document)`: name, arn and a boto3 client maker of a new user."""
    made = []

    def make(document=None, attach=None):
        name = f"u-{uuid.uuid4().hex[:8]}"
        arn = iam.create_user(UserName=name)["User"]["Arn"]
        made.append(name)
        if document:
            iam.put_user_policy(UserName=name, PolicyName="p", PolicyDocument=document)
        if attach:
            iam.attach_user_policy(UserName=name, PolicyArn=attach)
        key = iam.create_access_key(UserName=name)["AccessKey"]
        keys = (key["AccessKeyId"], key["SecretAccessKey"])
        return name, arn, lambda service="lambda": client_of(shared, service, keys)

    yield make
    for name in made:
        for key in iam.list_access_keys(UserName=name)["AccessKeyMetadata"]:
            iam.delete_access_key(UserName=name, AccessKeyId=key["AccessKeyId"])
        for inline in iam.list_user_policies(UserName=name)["PolicyNames"]:
            iam.delete_user_policy(UserName=name, PolicyName=inline)
        for attached in iam.list_attached_user_policies(UserName=name)["AttachedPolicies"]:
            iam.detach_user_policy(UserName=name, PolicyArn=attached["PolicyArn"])
        iam.delete_user(UserName=name)


@pytest.fixture
def account(shared):
    """Another account: its number and a client maker."""
    made = json.loads(shared.cli("account", "create", "--name", "other", "--output", "json").stdout)
    keys = (made["key"]["id"], made["key"]["secret"])
    yield made["account"], lambda service="lambda": client_of(shared, service, keys)
    shared.cli("account", "delete", made["account"])


def test_a_user_may_do_what_its_policies_allow(client, deploy, user):
    name, other = deploy(echo), deploy(echo)
    arn = f"arn:aws:lambda:us-east-1:000000000000:function:{name}"
    _, user_arn, session = user(policy(allow("lambda:InvokeFunction", arn), allow("lambda:List*")))
    caller = session()
    assert invoke(caller, name, {"a": 1})[0] == {"a": 1}
    assert any(function["FunctionName"] == name for function in caller.list_functions()["Functions"])
    code, message, status = error_of(caller.invoke, FunctionName=other, Payload=b"{}")
    assert (code, status) == ("AccessDeniedException", 403)
    assert message == (
        f"User: {user_arn} is not authorized to perform: lambda:InvokeFunction on resource: "
        f"arn:aws:lambda:us-east-1:000000000000:function:{other} "
        "because no identity-based policy allows the lambda:InvokeFunction action"
    )
    # A version is another resource.
    assert error_of(caller.invoke, FunctionName=name, Qualifier="$LATEST", Payload=b"{}")[0] == "AccessDeniedException"
    assert error_of(caller.get_function, FunctionName=name)[0] == "AccessDeniedException"
    assert error_of(caller.delete_function, FunctionName=name)[0] == "AccessDeniedException"
    assert client.get_function(FunctionName=name)["Configuration"]["FunctionName"] == name


def test_a_deny_wins_and_conditions_hold(deploy, user):
    name = deploy(echo, Tags={"team": "blue"})
    blue = allow("lambda:*", Condition={"StringEquals": {"aws:ResourceTag/team": "blue"}})
    deny = {"Effect": "Deny", "Action": "lambda:DeleteFunction", "Resource": "*"}
    _, _, session = user(policy(blue, deny))
    assert session().get_function(FunctionName=name)["Tags"] == {"team": "blue"}
    message = error_of(session().delete_function, FunctionName=name)[1]
    assert message.endswith("with an explicit deny in an identity-based policy")
    assert error_of(session().get_function, FunctionName=deploy(echo))[0] == "AccessDeniedException"


def test_managed_policies_and_disabled_keys(iam, deploy, user):
    name = deploy(echo)
    user_name, _, session = user(attach="arn:aws:iam::aws:policy/AWSLambda_ReadOnlyAccess")
    assert session().get_function(FunctionName=name)["Configuration"]["FunctionName"] == name
    assert error_of(session().invoke, FunctionName=name)[0] == "AccessDeniedException"
    iam.attach_user_policy(UserName=user_name, PolicyArn=ADMINISTRATOR)
    assert invoke(session(), name, 1)[0] == 1
    key = iam.list_access_keys(UserName=user_name)["AccessKeyMetadata"][0]
    iam.update_access_key(UserName=user_name, AccessKeyId=key["AccessKeyId"], Status="Inactive")
    code, message, _ = error_of(session().list_functions)
    assert (code, message) == ("UnrecognizedClientException", "The security token included in the request is invalid.")
    iam.update_access_key(UserName=user_name, AccessKeyId=key["AccessKeyId"], Status="Active")
    assert session().list_functions()["ResponseMetadata"]["HTTPStatusCode"] == 200


def test_who_creates_a_function_needs_to_be_allowed_to_pass_its_role(deploy, user, client):
    _, arn, session = user(policy(allow("lambda:*")))
    arguments = {"Runtime": "python3.11", "Handler": "app.handler", "Role": ROLE, "Code": {"ZipFile": echo}}
    code, message, _ = error_of(session().create_function, FunctionName="never", **arguments)
    assert code == "AccessDeniedException"
    assert message.startswith(f"User: {arn} is not authorized to perform: iam:PassRole on resource: {ROLE} because")
    _, _, session = user(policy(allow("lambda:*"), allow("iam:PassRole", ROLE)))
    name = f"f-{uuid.uuid4().hex[:8]}"
    session().create_function(FunctionName=name, **arguments)
    client.delete_function(FunctionName=name)


def test_roles_policies_and_their_errors(iam):
    name = f"r-{uuid.uuid4().hex[:8]}"
    made = iam.create_role(RoleName=name, AssumeRolePolicyDocument=LAMBDA_TRUST, Description="d", Tags=[{"Key": "a", "Value": "b"}])
    role = iam.get_role(RoleName=name)["Role"]
    assert role["Arn"] == made["Role"]["Arn"] == f"arn:aws:iam::000000000000:role/{name}"
    assert role["AssumeRolePolicyDocument"] == json.loads(LAMBDA_TRUST)
    assert (role["Description"], role["MaxSessionDuration"], role["Tags"]) == ("d", 3600, [{"Key": "a", "Value": "b"}])
    assert role["RoleId"].startswith("AROA") and name in [role["RoleName"] for role in iam.list_roles()["Roles"]]
    assert error_of(iam.create_role, RoleName=name, AssumeRolePolicyDocument=LAMBDA_TRUST)[:2] == (
        "EntityAlreadyExists",
        f"Role with name {name} already exists.",
    )
    document = policy(allow("logs:*"))
    iam.put_role_policy(RoleName=name, PolicyName="logs", PolicyDocument=document)
    assert iam.get_role_policy(RoleName=name, PolicyName="logs")["PolicyDocument"] == json.loads(document)
    assert iam.list_role_policies(RoleName=name)["PolicyNames"] == ["logs"]
    custom = iam.create_policy(PolicyName=f"p-{name}", PolicyDocument=document)["Policy"]["Arn"]
    iam.attach_role_policy(RoleName=name, PolicyArn=custom)
    assert iam.list_attached_role_policies(RoleName=name)["AttachedPolicies"] == [
        {"PolicyName": f"p-{name}", "PolicyArn": custom}
    ]
    assert iam.get_policy(PolicyArn=custom)["Policy"]["AttachmentCount"] == 1
    version = iam.get_policy_version(PolicyArn=custom, VersionId="v1")["PolicyVersion"]
    assert version["Document"] == json.loads(document)
    listed = [policy["Arn"] for policy in iam.list_policies()["Policies"]]
    assert custom in listed and ADMINISTRATOR in listed
    assert error_of(iam.delete_role, RoleName=name)[0] == "DeleteConflict"
    assert error_of(iam.delete_policy, PolicyArn=custom)[0] == "DeleteConflict"
    iam.detach_role_policy(RoleName=name, PolicyArn=custom)
    iam.delete_policy(PolicyArn=custom)
    assert error_of(iam.delete_role, RoleName=name)[0] == "DeleteConflict"
    iam.delete_role_policy(RoleName=name, PolicyName="logs")
    iam.delete_role(RoleName=name)
    assert error_of(iam.get_role, RoleName=name)[:2] == (
        "NoSuchEntity",
        f"The role with name {name} cannot be found.",
    )
    assert error_of(iam.put_role_policy, RoleName=name, PolicyName="x", PolicyDocument=document)[0] == "NoSuchEntity"
    code, message, status = error_of(iam.create_policy, PolicyName="bad", PolicyDocument='{"Statement": 1}')
    assert (code, status) == ("MalformedPolicyDocument", 400), message


def test_an_account_reaches_another_only_if_both_allow(client, deploy, account, user):
    name = deploy(echo)
    arn = f"arn:aws:lambda:us-east-1:000000000000:function:{name}"
    number, other = account
    code, message, _ = error_of(other().invoke, FunctionName=arn, Payload=b"{}")
    assert code == "AccessDeniedException"
    assert message == (
        f"User: arn:aws:iam::{number}:root is not authorized to perform: lambda:InvokeFunction on resource: {arn} "
        "because no resource-based policy allows the lambda:InvokeFunction action"
    )
    client.add_permission(FunctionName=name, StatementId="other", Action="lambda:InvokeFunction", Principal=number)
    assert invoke(other(), arn, [1])[0] == [1]
    assert error_of(other().get_function, FunctionName=arn)[0] == "AccessDeniedException"
    iam = other("iam")
    iam.create_user(UserName="eve")
    key = iam.create_access_key(UserName="eve")["AccessKey"]
    eve = boto3.client(
        "lambda", endpoint_url=client.meta.endpoint_url, region_name="us-east-1",
        aws_access_key_id=key["AccessKeyId"], aws_secret_access_key=key["SecretAccessKey"],
    )  # fmt: skip
    assert "no identity-based policy" in error_of(eve.invoke, FunctionName=arn, Payload=b"{}")[1]
    iam.put_user_policy(UserName="eve", PolicyName="p", PolicyDocument=policy(allow("lambda:InvokeFunction", arn)))
    assert invoke(eve, arn, [2])[0] == [2]
    client.remove_permission(FunctionName=name, StatementId="other")
    assert error_of(eve.invoke, FunctionName=arn, Payload=b"{}")[0] == "AccessDeniedException"
    # What a name leaves open is the caller's own.
    assert error_of(eve.invoke, FunctionName=name, Payload=b"{}")[0] == "AccessDeniedException"
    assert error_of(other().invoke, FunctionName=name, Payload=b"{}")[0] == "ResourceNotFoundException"


def test_a_resource_policy_alone_lets_a_user_of_the_same_account_in(client, deploy, user):
    name = deploy(echo)
    _, arn, session = user()
    assert error_of(session().invoke, FunctionName=name, Payload=b"1")[0] == "AccessDeniedException"
    client.add_permission(FunctionName=name, StatementId="s", Action="lambda:InvokeFunction", Principal=arn)
    assert invoke(session(), name, 1)[0] == 1


def test_permissions_as_lambda_renders_them(client, deploy):
    name = deploy(echo)
    arn = f"arn:aws:lambda:us-east-1:000000000000:function:{name}"
    add = lambda **arguments: client.add_permission(FunctionName=name, Action="lambda:InvokeFunction", **arguments)  # noqa: E731
    statement = json.loads(add(StatementId="s3", Principal="s3.amazonaws.com", SourceArn="arn:aws:s3:::b")["Statement"])
    assert statement == {
        "Sid": "s3", "Effect": "Allow", "Principal": {"Service": "s3.amazonaws.com"},
        "Action": "lambda:InvokeFunction", "Resource": arn,
        "Condition": {"ArnLike": {"AWS:SourceArn": "arn:aws:s3:::b"}},
    }  # fmt: skip
    got = client.get_policy(FunctionName=name)
    assert json.loads(got["Policy"]) == {"Version": "2012-10-17", "Id": "default", "Statement": [statement]}
    code, message, status = error_of(add, StatementId="s3", Principal="s3.amazonaws.com")
    assert (code, status) == ("ResourceConflictException", 409)
    assert message == "The statement id (s3) provided already exists. Please provide a new statement id, or remove the existing statement."
    code, _, status = error_of(add, StatementId="x", Principal="*", RevisionId="stale")
    assert (code, status) == ("PreconditionFailedException", 412)
    shown = json.loads(add(StatementId="all", Principal="*", RevisionId=got["RevisionId"], SourceAccount="111111111111")["Statement"])
    assert (shown["Principal"], shown["Condition"]) == ("*", {"StringEquals": {"AWS:SourceAccount": "111111111111"}})
    shown = json.loads(add(StatementId="account", Principal="111111111111", PrincipalOrgID="o-abcdefghij")["Statement"])
    assert shown["Principal"] == {"AWS": "arn:aws:iam::111111111111:root"}
    assert shown["Condition"] == {"StringEquals": {"aws:PrincipalOrgID": "o-abcdefghij"}}
    assert error_of(add, StatementId="bad", Principal="nobody")[1] == (
        "The provided principal was invalid. Please check the principal and try again."
    )
    assert error_of(add, StatementId="latest", Principal="*", Qualifier="$LATEST")[1] == (
        "We currently do not support adding policies for $LATEST."
    )
    assert error_of(add, StatementId="v", Principal="*", Qualifier="7")[1] == f"Function not found: {arn}:7"
    version = client.publish_version(FunctionName=name)["Version"]
    qualified = json.loads(add(StatementId="v", Principal="*", Qualifier=version)["Statement"])
    assert qualified["Resource"] == f"{arn}:{version}"
    assert len(json.loads(client.get_policy(FunctionName=name, Qualifier=version)["Policy"])["Statement"]) == 1
    remove = lambda sid, **arguments: client.remove_permission(FunctionName=name, StatementId=sid, **arguments)  # noqa: E731
    assert error_of(remove, sid="none")[1] == "Statement none is not found in resource policy."
    for sid in ("s3", "all", "account"):
        remove(sid)
    code, message, status = error_of(client.get_policy, FunctionName=name)
    assert (code, message, status) == ("ResourceNotFoundException", "The resource you requested does not exist.", 404)
    assert error_of(remove, sid="s3")[1] == "No policy is associated with the given resource."
    # The next function of that name does not inherit it.
    client.delete_function(FunctionName=name, Qualifier=version)
    assert error_of(client.get_policy, FunctionName=name, Qualifier=version)[0] == "ResourceNotFoundException"


def test_a_role_that_lambda_may_not_assume_is_no_functions(client, iam, deploy):
    name = f"r-{uuid.uuid4().hex[:8]}"
    trust = LAMBDA_TRUST.replace("lambda.amazonaws.com", "ec2.amazonaws.com")
    arn = iam.create_role(RoleName=name, AssumeRolePolicyDocument=trust)["Role"]["Arn"]
    arguments = {"Runtime": "python3.11", "Handler": "app.handler", "Role": arn, "Code": {"ZipFile": echo}}
    code, message, _ = error_of(client.create_function, FunctionName=name, **arguments)
    assert (code, message) == ("InvalidParameterValueException", "The role defined for the function cannot be assumed by Lambda.")
    iam.update_assume_role_policy(RoleName=name, PolicyDocument=LAMBDA_TRUST)
    client.create_function(FunctionName=name, **arguments)
    client.delete_function(FunctionName=name)
    iam.delete_role(RoleName=name)


def test_keys_by_command(shared, deploy):
    deploy(echo)
    made = json.loads(shared.cli("key", "create", "--output", "json").stdout)
    other = client_of(shared, "lambda", (made["id"], made["secret"]))
    assert other.list_functions()["Functions"]
    assert made["id"] in shared.cli("key", "list").stdout
    shared.cli("key", "disable", made["id"])
    with pytest.raises(ClientError):
        other.list_functions()
    shared.cli("key", "enable", made["id"])
    assert other.list_functions()["Functions"]
    shared.cli("key", "delete", made["id"])
    assert made["id"] not in shared.cli("key", "list").stdout


def test_a_qualifier_that_an_operation_does_not_take_opens_nothing(shared, client, deploy, user):
    from test_sigv4 import send, signed

    name = deploy(echo)
    version = client.publish_version(FunctionName=name)["Version"]
    _, _, session = user(policy(allow("lambda:*", f"arn:aws:lambda:us-east-1:000000000000:function:{name}:{version}")))
    assert session().get_function(FunctionName=name, Qualifier=version)["Configuration"]["Version"] == version
    path = f"/2015-03-31/functions/{name}/versions?Qualifier={version}"
    credentials = session()._request_signer._credentials
    headers = signed(shared, "GET", path, keys=(credentials.access_key, credentials.secret_key))
    assert send(shared, "GET", path, headers)[1] == "AccessDeniedException"
