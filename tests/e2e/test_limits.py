"""Limits hold: exceeding one ends that call or that environment, and nothing else notices."""

import concurrent.futures

import pytest
from botocore.exceptions import ClientError

import bundles
from conftest import echo, invoke

MB = 1024 * 1024

INSIDE = bundles.python(
    """
import os, sys, time
def handler(event, context):
    do = event["do"]
    if do == "fork":
        children = 0
        try:
            for _ in range(100000):
                if os.fork() == 0:
                    time.sleep(60); os._exit(0)
                children += 1
        except OSError as error:
            return [children, error.errno]
    if do == "tmp":
        written = 0
        try:
            with open("/tmp/full", "wb", buffering=0) as file:
                while written < (2 << 30): written += file.write(b"x" * (1 << 20))
        except OSError as error:
            return [written, error.errno]
    if do == "log":
        for _ in range(400): sys.stdout.write("x" * 99999 + "\\n")
        return "logged"
    if do == "files":
        opened = []
        try:
            while True: opened.append(open("/dev/null"))
        except OSError as error:
            return [len(opened), error.errno]
    if do == "outlive":
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0: time.sleep(3600)
            os._exit(0)
        return "left a process"
    if do == "spin":
        end = time.monotonic() + event["seconds"]; begun = time.process_time()
        while time.monotonic() < end: pass
        return time.process_time() - begun
    return "fine"
"""
)


@pytest.fixture(scope="module")
def inside(shared):
    from conftest import Deployer

    deployer = Deployer(shared.client())
    yield deployer(INSIDE, Timeout=20, MemorySize=1024)
    deployer.clean()


def test_synchronous_payloads(client, deploy):
    name = deploy(echo, MemorySize=512)
    event = "x" * (6 * MB - 2)
    assert invoke(client, name, event)[0] == event
    with pytest.raises(ClientError) as caught:
        invoke(client, name, "x" * (6 * MB - 1))
    assert caught.value.response["Error"]["Code"] == "RequestEntityTooLargeException"
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 413


def test_environment_is_at_most_4_kb(client, deploy):
    with pytest.raises(client.exceptions.InvalidParameterValueException):
        deploy(echo, Environment={"Variables": {"BIG": "x" * 4200}})


@pytest.mark.needs("process limit")
def test_a_fork_bomb_meets_its_limit(client, deploy):
    # An environment of its own: the children stay in it for a while.
    name = deploy(INSIDE, Timeout=20, MemorySize=1024)
    children, errno = invoke(client, name, {"do": "fork"})[0]
    assert errno == 11 and 500 < children < 1024
    assert invoke(client, name, {"do": "nothing"})[0] == "fine"


@pytest.mark.jail
def test_tmp_is_full_at_its_size(client, deploy):
    # An environment of its own: what is in /tmp counts as memory, beside whatever earlier calls left running.
    name = deploy(INSIDE, Timeout=20, MemorySize=1024)
    got = invoke(client, name, {"do": "tmp"})[0]
    assert isinstance(got, list), got
    written, errno = got
    assert errno == 28 and written == 512 * MB


def test_open_files(client, inside):
    opened, errno = invoke(client, inside, {"do": "files"})[0]
    assert errno == 24 and 900 < opened <= 1024


def test_a_runaway_log_is_cut_and_the_call_goes_on(shared, client, inside):
    assert invoke(client, inside, {"do": "log"})[0] == "logged"


def test_a_process_that_outlives_its_call_harms_nobody(client, inside):
    for _ in range(3):
        assert invoke(client, inside, {"do": "outlive"})[0] == "left a process"
    assert invoke(client, inside, {"do": "nothing"})[0] == "fine"


@pytest.mark.needs("CPU share")
def test_cpu_is_in_proportion_to_memory(client, deploy):
    name = deploy(INSIDE, Timeout=20, MemorySize=442)  # a quarter of 1,769
    used = invoke(client, name, {"do": "spin", "seconds": 4})[0]
    assert 0.6 < used < 1.4, f"{used} s of CPU in 4 s, where 1.0 is a quarter"


def test_account_concurrency(own, deploy_on):
    platform = own(HEARTH_ACCOUNT_CONCURRENCY="3")
    name = deploy_on(platform)(bundles.python("import time\ndef handler(e, c): time.sleep(2)\n"), Timeout=10)

    def call(_):
        try:
            invoke(platform.client(), name, {})
            return "ok"
        except ClientError as error:
            return error.response["Error"]["Code"], error.response["Reason"], error.response["ResponseMetadata"]["HTTPStatusCode"]

    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        results = list(pool.map(call, range(6)))
    assert results.count("ok") == 3
    assert results.count(("TooManyRequestsException", "ConcurrentInvocationLimitExceeded", 429)) == 3


def test_a_burst_on_a_cold_function_makes_no_more_slots_than_calls(own, deploy_on):
    platform = own()
    name = deploy_on(platform)(bundles.python("import time, uuid\nid = str(uuid.uuid4())\ndef handler(e, c):\n    time.sleep(0.2)\n    return id\n"), Timeout=30)
    calls = 16
    with concurrent.futures.ThreadPoolExecutor(calls) as pool:
        environments = list(pool.map(lambda _: invoke(platform.client(), name, {})[0], range(calls)))
    assert None not in environments
    slots = [s for s in platform.workers_view()["slots"] if name in s["function"]]
    assert len(slots) <= calls
