"""Reserved and provisioned concurrency, account settings and the small settings, through boto3."""

import base64
import concurrent.futures

from botocore.exceptions import ClientError

import bundles
from conftest import echo, error_of, eventually, invoke, read_log

ARN = "arn:aws:lambda:us-east-1:000000000000:function"
QUICKLY = {"Delay": 0.05, "MaxAttempts": 200}
RESERVED = "ReservedFunctionConcurrentInvocationLimitExceeded"
SLOW = bundles.python("import time\ndef handler(event, context):\n    time.sleep(event.get('s', 0))\n    return context.function_version\n")
KIND = bundles.python(
    "import os, time\n"
    "def handler(event, context):\n"
    "    if event.get('exit'):\n        os._exit(1)\n"
    "    time.sleep(event.get('s', 0))\n"
    "    return os.environ['AWS_LAMBDA_INITIALIZATION_TYPE']\n"
)


def attempt(client, name, event, **options):
    """The answer, or the reason of the throttle."""
    try:
        return invoke(client, name, event, **options)[0]
    except ClientError as error:
        assert (error.response["Error"]["Code"], error.response["ResponseMetadata"]["HTTPStatusCode"]) == ("TooManyRequestsException", 429)
        return error.response["Reason"]


def at_once(count, call):
    with concurrent.futures.ThreadPoolExecutor(count) as pool:
        return list(pool.map(call, range(count)))


def unreserved(client):
    return client.get_account_settings()["AccountLimit"]["UnreservedConcurrentExecutions"]


def until(condition):
    found = eventually(condition, timeout_s=30)
    assert found, "it did not come about"
    return found


def test_a_reservation_is_kept_shown_and_given_up(client, deploy):
    name, before = deploy(echo), unreserved(client)
    assert client.get_function_concurrency(FunctionName=name).get("ReservedConcurrentExecutions") is None
    assert "Concurrency" not in client.get_function(FunctionName=name)
    put = client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=7)
    assert (put["ReservedConcurrentExecutions"], put["ResponseMetadata"]["HTTPStatusCode"]) == (7, 200)
    assert client.get_function_concurrency(FunctionName=name)["ReservedConcurrentExecutions"] == 7
    assert client.get_function(FunctionName=name)["Concurrency"] == {"ReservedConcurrentExecutions": 7}
    assert unreserved(client) == before - 7
    assert client.delete_function_concurrency(FunctionName=name)["ResponseMetadata"]["HTTPStatusCode"] == 204
    assert unreserved(client) == before
    client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=3)
    client.delete_function(FunctionName=name)
    assert unreserved(client) == before


def test_what_cannot_be_reserved(client, deploy):
    name = deploy(echo)
    put = client.put_function_concurrency
    limit = client.get_account_settings()["AccountLimit"]["ConcurrentExecutions"]
    too_much = "Specified ReservedConcurrentExecutions for function decreases account's UnreservedConcurrentExecution below its minimum value of [100]."
    assert error_of(put, FunctionName=name, ReservedConcurrentExecutions=limit - 99) == ("InvalidParameterValueException", too_much, 400)
    put(FunctionName=name, ReservedConcurrentExecutions=limit - 100 - (limit - unreserved(client)))
    client.delete_function_concurrency(FunctionName=name)
    missing = error_of(put, FunctionName="nobody-knows-me", ReservedConcurrentExecutions=1)
    assert missing == ("ResourceNotFoundException", f"Function not found: {ARN}:nobody-knows-me:$LATEST", 404)
    qualified = error_of(put, FunctionName=f"{ARN}:{name}:1", ReservedConcurrentExecutions=1)
    assert qualified[0] == "InvalidParameterValueException"
    assert qualified[1].startswith("This operation is permitted on Lambda functions only. Aliases and versions do not")


def test_a_reservation_of_none_stops_a_function(client, deploy):
    name, other = deploy(echo), deploy(echo)
    client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=0)
    assert attempt(client, name, {}) == RESERVED
    assert attempt(client, other, {"a": 1}) == {"a": 1}
    client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=1)
    assert attempt(client, name, {"a": 1}) == {"a": 1}


def test_the_limit_holds_over_all_versions(client, deploy):
    name = deploy(SLOW, Timeout=10)
    client.publish_version(FunctionName=name)
    client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=2)
    results = at_once(6, lambda n: attempt(client, name, {"s": 1.5}, Qualifier=["$LATEST", "1"][n % 2]))
    assert results.count(RESERVED) == 4, results
    assert attempt(client, name, {}) == "$LATEST"


def test_a_throttled_event_goes_back_to_the_queue_and_runs_later(client, deploy):
    name, target = deploy(SLOW), deploy(echo)
    client.put_function_event_invoke_config(FunctionName=name, DestinationConfig={"OnSuccess": {"Destination": f"{ARN}:{target}"}})
    client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=1)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        # The attempts below may be first and throttle this one: then it comes again.
        blocking = pool.submit(until, lambda: (answer := attempt(client, name, {"s": 1.5})) != RESERVED and answer)
        until(lambda: attempt(client, name, {}) == RESERVED)
        assert client.invoke(FunctionName=name, InvocationType="Event", Payload=b'{"n": 1}')["StatusCode"] == 202
        assert blocking.result() == "$LATEST"
    # What the event left behind says that it ran: the target has a log then.
    assert until(lambda: has_run(client, target))


def has_run(client, name):
    return any(line["text"].startswith("REPORT") for line in read_log(client, name, 1000)["lines"])


def test_account_settings_are_what_is_used(client, deploy):
    before = client.get_account_settings()
    deploy(echo)
    after = client.get_account_settings()
    assert after["AccountUsage"]["FunctionCount"] == before["AccountUsage"]["FunctionCount"] + 1
    assert after["AccountUsage"]["TotalCodeSize"] == before["AccountUsage"]["TotalCodeSize"] + len(echo)
    limit = after["AccountLimit"]
    assert (limit["ConcurrentExecutions"], limit["CodeSizeUnzipped"], limit["CodeSizeZipped"]) == (1000, 262144000, 52428800)


def ready(client, name, qualifier):
    config = client.get_provisioned_concurrency_config(FunctionName=name, Qualifier=qualifier)
    return config if config["Status"] != "IN_PROGRESS" else None


def provision(client, name, qualifier, count):
    put = client.put_provisioned_concurrency_config(FunctionName=name, Qualifier=qualifier, ProvisionedConcurrentExecutions=count)
    assert put["ResponseMetadata"]["HTTPStatusCode"] == 202
    assert (put["Status"], put["RequestedProvisionedConcurrentExecutions"]) == ("IN_PROGRESS", count)
    return until(lambda: ready(client, name, qualifier))


def test_provisioned_environments_are_ready_before_anybody_calls(client, deploy):
    name, before = deploy(KIND, Timeout=10), unreserved(client)
    client.publish_version(FunctionName=name)
    config = provision(client, name, "1", 2)
    assert (config["Status"], config["AvailableProvisionedConcurrentExecutions"], config["AllocatedProvisionedConcurrentExecutions"]) == ("READY", 2, 2)
    assert unreserved(client) == before - 2
    first = client.invoke(FunctionName=name, Qualifier="1", LogType="Tail", Payload=b"{}")
    report = base64.b64decode(first["LogResult"]).decode().splitlines()[-1]
    assert report.startswith("REPORT") and "Init Duration" not in report, report
    kinds = at_once(3, lambda _: attempt(client, name, {"s": 1}, Qualifier="1"))
    assert sorted(kinds) == ["on-demand", "provisioned-concurrency", "provisioned-concurrency"]
    assert attempt(client, name, {}) == "on-demand", "$LATEST has none"
    listed = client.list_provisioned_concurrency_configs(FunctionName=name)["ProvisionedConcurrencyConfigs"]
    assert [(c["FunctionArn"], c["Status"], c["RequestedProvisionedConcurrentExecutions"]) for c in listed] == [(f"{ARN}:{name}:1", "READY", 2)]
    # One that dies is replaced.
    assert "errorType" in attempt(client, name, {"exit": True}, Qualifier="1")
    assert until(lambda: ready(client, name, "1"))["AvailableProvisionedConcurrentExecutions"] == 2
    assert client.delete_provisioned_concurrency_config(FunctionName=name, Qualifier="1")["ResponseMetadata"]["HTTPStatusCode"] == 204
    gone = error_of(client.get_provisioned_concurrency_config, FunctionName=name, Qualifier="1")
    assert gone == ("ProvisionedConcurrencyConfigNotFoundException", "No Provisioned Concurrency Config found for this function", 404)
    assert unreserved(client) == before


def test_an_alias_provisions_what_it_names(client, deploy):
    name = deploy(KIND, Timeout=10)
    client.publish_version(FunctionName=name)
    client.create_alias(FunctionName=name, Name="live", FunctionVersion="1")
    assert provision(client, name, "live", 1)["Status"] == "READY"
    conflict = error_of(client.put_provisioned_concurrency_config, FunctionName=name, Qualifier="1", ProvisionedConcurrentExecutions=1)
    assert conflict == ("ResourceConflictException", "Version is pointed by a Provisioned Concurrency alias", 409)
    assert attempt(client, name, {}, Qualifier="live") == "provisioned-concurrency"
    client.update_function_configuration(FunctionName=name, Description="two")
    client.get_waiter("function_updated_v2").wait(FunctionName=name, WaiterConfig=QUICKLY)
    client.publish_version(FunctionName=name)
    client.update_alias(FunctionName=name, Name="live", FunctionVersion="2")
    assert until(lambda: ready(client, name, "live"))["Status"] == "READY"
    assert attempt(client, name, {}, Qualifier="2") == "provisioned-concurrency"
    client.delete_alias(FunctionName=name, Name="live")
    assert client.list_provisioned_concurrency_configs(FunctionName=name)["ProvisionedConcurrencyConfigs"] == []


def test_what_cannot_be_provisioned(client, deploy):
    name = deploy(bundles.python("raise RuntimeError('no')\n"))
    client.publish_version(FunctionName=name)
    put = client.put_provisioned_concurrency_config
    latest = error_of(put, FunctionName=name, Qualifier="$LATEST", ProvisionedConcurrentExecutions=1)
    assert latest[:2] == ("InvalidParameterValueException", "Provisioned Concurrency Configs cannot be applied to unpublished function versions.")
    version = error_of(put, FunctionName=name, Qualifier="10", ProvisionedConcurrentExecutions=1)
    assert version == ("ResourceNotFoundException", f"Function not found: {ARN}:{name}:10", 404)
    alias = error_of(put, FunctionName=name, Qualifier="gone", ProvisionedConcurrentExecutions=1)
    assert alias == ("ResourceNotFoundException", f"Cannot find alias arn: {ARN}:{name}:gone", 404)
    client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=1)
    above = error_of(put, FunctionName=name, Qualifier="1", ProvisionedConcurrentExecutions=2)
    assert above[1] == "Requested Provisioned Concurrency should not be greater than the reservedConcurrentExecution for function"
    failed = provision(client, name, "1", 1)
    assert (failed["Status"], failed["StatusReason"]) == ("FAILED", "FUNCTION_ERROR_INIT_FAILURE")
    assert failed["AvailableProvisionedConcurrentExecutions"] == 0


def test_provisioned_concurrency_survives_a_restart(own, deploy_on):
    platform = own()
    name = deploy_on(platform)(KIND, Timeout=10)
    client = platform.client()
    client.publish_version(FunctionName=name)
    assert provision(client, name, "1", 1)["Status"] == "READY"
    platform.stop()
    platform.start()
    assert until(lambda: ready(platform.client(), name, "1"))["Status"] == "READY"
    assert attempt(platform.client(), name, {}, Qualifier="1") == "provisioned-concurrency"


def test_tags_come_and_go(client, deploy):
    name = deploy(echo, Tags={"a": "1"})
    arn = f"{ARN}:{name}"
    revision = client.get_function_configuration(FunctionName=name)["RevisionId"]
    assert client.list_tags(Resource=arn)["Tags"] == {"a": "1"}
    assert client.tag_resource(Resource=arn, Tags={"a": "2", "b c": "ü"})["ResponseMetadata"]["HTTPStatusCode"] == 204
    assert client.get_function(FunctionName=name)["Tags"] == {"a": "2", "b c": "ü"}
    assert client.untag_resource(Resource=arn, TagKeys=["b c", "never"])["ResponseMetadata"]["HTTPStatusCode"] == 204
    assert client.list_tags(Resource=arn)["Tags"] == {"a": "2"}
    assert client.get_function_configuration(FunctionName=name)["RevisionId"] == revision
    many = error_of(client.tag_resource, Resource=arn, Tags={f"k{n}": "v" for n in range(50)})
    assert many == ("InvalidParameterValueException", "Number of tags exceeds resource tag limit.", 400)
    isolation = error_of(client.tag_resource, Resource=arn, Tags={"hearth:isolation": "kvm"})
    assert isolation[0] == "InvalidParameterValueException" and "fixed" in isolation[1]
    assert error_of(client.tag_resource, Resource=f"{arn}:1", Tags={"a": "b"})[0] == "InvalidParameterValueException"
    missing = error_of(client.list_tags, Resource=f"{ARN}:nobody-knows-me")
    assert missing == ("ResourceNotFoundException", f"Function not found: {ARN}:nobody-knows-me", 404)


def test_recursion_and_runtime_management(client, deploy):
    name = deploy(echo)
    assert client.get_function_recursion_config(FunctionName=name)["RecursiveLoop"] == "Terminate"
    assert client.put_function_recursion_config(FunctionName=name, RecursiveLoop="Allow")["RecursiveLoop"] == "Allow"
    assert client.get_function_recursion_config(FunctionName=name)["RecursiveLoop"] == "Allow"
    runtime = client.get_function_configuration(FunctionName=name)["RuntimeVersionConfig"]["RuntimeVersionArn"]
    management = client.get_runtime_management_config(FunctionName=name)
    assert (management["UpdateRuntimeOn"], management["FunctionArn"]) == ("Auto", f"{ARN}:{name}")
    client.put_runtime_management_config(FunctionName=name, UpdateRuntimeOn="Manual", RuntimeVersionArn=runtime)
    assert client.get_runtime_management_config(FunctionName=name)["RuntimeVersionArn"] == runtime
    put = client.put_runtime_management_config
    assert error_of(put, FunctionName=name, UpdateRuntimeOn="Manual")[0] == "InvalidParameterValueException"
    other = f"{runtime}-of-another-day"
    assert error_of(put, FunctionName=name, UpdateRuntimeOn="Manual", RuntimeVersionArn=other)[0] == "InvalidParameterValueException"
    client.delete_function(FunctionName=name)
    deploy(echo, name=name)
    assert client.get_runtime_management_config(FunctionName=name)["UpdateRuntimeOn"] == "Auto"
    assert client.get_function_recursion_config(FunctionName=name)["RecursiveLoop"] == "Terminate"
