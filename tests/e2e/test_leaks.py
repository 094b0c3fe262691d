"""After SIGTERM, and after kill -9 and a new start, nothing is left; and 10,000 calls leak nothing."""

import concurrent.futures
import time

import pytest

import leftovers
from conftest import echo, invoke

CALLS = 10_000
CONCURRENCY = 32


def pids(platform):
    return [process.process.pid for process in platform.processes.values()]


def snapshot(platform):
    roots = pids(platform)
    return {
        "processes": len(leftovers.processes(roots)),
        "cgroups": len(leftovers.cgroups(roots)),
        "mounts": len(leftovers.mounts(platform.directory)),
    }


def test_sigterm_leaves_nothing(own, deploy_on):
    platform = own()
    name = deploy_on(platform)(echo)
    invoke(platform.client(), name, {})
    roots, sandboxes = pids(platform), leftovers.processes(pids(platform))
    assert sandboxes
    assert set(platform.stop().values()) == {0}, platform.logs()
    # With its last process a network, mount or PID namespace is gone, too.
    assert leftovers.alive(sandboxes) == set()
    assert leftovers.cgroups(roots) == []
    assert leftovers.mounts(platform.directory) == []


def test_a_start_after_kill_9_removes_what_was_left(own, deploy_on):
    platform = own()
    name = deploy_on(platform)(echo)
    invoke(platform.client(), name, {})
    roots, sandboxes = pids(platform), leftovers.processes(pids(platform))
    for process in platform.processes.values():
        process.kill()
    platform.start()
    assert leftovers.alive(sandboxes) == set()
    assert leftovers.cgroups(roots) == []
    platform.stop()
    assert leftovers.mounts(platform.directory) == []


@pytest.mark.timeout(600)
def test_ten_thousand_calls_without_an_error_or_a_leak(own, deploy_on):
    platform = own()
    name = deploy_on(platform)(echo)
    clients = [platform.client() for _ in range(CONCURRENCY)]

    def burst(calls):
        def one(n):
            got, answer = invoke(clients[n % CONCURRENCY], name, {"n": n})
            return got == {"n": n} and "FunctionError" not in answer

        with concurrent.futures.ThreadPoolExecutor(CONCURRENCY) as pool:
            return sum(pool.map(one, range(calls)))

    assert burst(500) == 500
    before, open_before = snapshot(platform), [leftovers.descriptors(pid) for pid in pids(platform)]
    assert burst(CALLS) == CALLS
    # Connections of the callers' pools stay; idle slots may be fewer, never many more than callers.
    deadline = time.monotonic() + 20
    while (after := snapshot(platform)) and time.monotonic() < deadline:
        if all(after[k] <= before[k] + CONCURRENCY * 3 for k in after):
            break
        time.sleep(0.5)
    assert all(after[k] <= before[k] + CONCURRENCY * 3 for k in after), (before, after)
    for pid, was in zip(pids(platform), open_before):
        assert leftovers.descriptors(pid) <= was + CONCURRENCY * 8
    for client in clients:
        client.close()
    platform.stop()
    assert leftovers.mounts(platform.directory) == []
