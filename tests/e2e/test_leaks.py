"""After SIGTERM, and after kill -9 and a new start, nothing is left; and 10,000 calls leak nothing."""

import concurrent.futures

import pytest

import leftovers
from conftest import echo, eventually, invoke

CALLS = 10_000
CONCURRENCY = 32
POOL_SIZE = 2


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


def settled(platform):
    """No slot is left and every pool has just what it starts with."""
    fleet = platform.workers_view()
    pooled = [pool["ready"] for worker in fleet["workers"] for pool in worker["pooled"]]
    return not fleet["slots"] and pooled and set(pooled) == {POOL_SIZE}


@pytest.mark.timeout(600)
def test_ten_thousand_calls_without_an_error_or_a_leak(own, deploy_on):
    # Pools that do not grow: what is there afterwards can then be told to the last process.
    platform = own(HEARTH_POOL_SIZE=str(POOL_SIZE), HEARTH_POOL_MAX=str(POOL_SIZE))
    assert eventually(lambda: settled(platform))
    before = snapshot(platform)
    deployer = deploy_on(platform)
    name = deployer(echo)
    clients = [platform.client() for _ in range(CONCURRENCY)]

    def one(n):
        got, answer = invoke(clients[n % CONCURRENCY], name, {"n": n})
        return got == {"n": n} and "FunctionError" not in answer

    with concurrent.futures.ThreadPoolExecutor(CONCURRENCY) as pool:
        assert sum(pool.map(one, range(CALLS // 10))) == CALLS // 10
        open_before = [leftovers.descriptors(pid) for pid in pids(platform)]
        assert sum(pool.map(one, range(CALLS))) == CALLS
        open_after = [leftovers.descriptors(pid) for pid in pids(platform)]
    # Slots may have come meanwhile, each with a few descriptors; calls leave none.
    assert all(after <= was + CONCURRENCY * 16 for was, after in zip(open_before, open_after)), (open_before, open_after)
    for client in clients:
        client.close()
    deployer.clean()
    assert eventually(lambda: settled(platform) and snapshot(platform) == before), (before, snapshot(platform))
    platform.stop()
    assert leftovers.mounts(platform.directory) == []
