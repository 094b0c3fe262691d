"""kill -9 of each role under load: nothing that was acknowledged is lost, and the platform heals by itself."""

import collections
import concurrent.futures
import threading
import time

import pytest
from botocore.exceptions import BotoCoreError, ClientError

import bundles
from conftest import echo, invoke
from platform_under_test import Roles

CALLERS = 8
LOAD_S = 6


class Load:
    """Calls a function from several threads until told to stop; keeps what went wrong."""

    def __init__(self, platform, name):
        self.platform, self.name = platform, name
        self.stop, self.good, self.bad, self.lock = threading.Event(), 0, [], threading.Lock()
        self.threads = [threading.Thread(target=self.run, args=(n,)) for n in range(CALLERS)]

    def run(self, caller):
        client, n = self.platform.client(), 0
        while not self.stop.is_set():
            n += 1
            event = {"caller": caller, "n": n}
            try:
                got, answer = invoke(client, self.name, event)
                failure = None if got == event else f"wrong answer {got}"
            except (ClientError, BotoCoreError) as error:
                failure = repr(error)
            with self.lock:
                if failure:
                    self.bad.append(failure)
                else:
                    self.good += 1
            if failure:
                time.sleep(0.05)

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        for thread in self.threads:
            thread.join()


@pytest.mark.parametrize("role", ["placement", "worker-manager", "frontend", "worker-1"])
def test_kill_9_of_a_role_under_load(own, deploy_on, form, role):
    if form is not Roles:
        pytest.skip("one process has no roles to kill apart: test_kill_9_and_start_again covers it")
    platform = own()
    name = deploy_on(platform)(echo)
    with Load(platform, name) as load:
        time.sleep(LOAD_S / 3)
        platform.kill(role)
        time.sleep(LOAD_S / 6)
        platform.restart(role)
        time.sleep(LOAD_S / 2)
        before_end = load.good
        time.sleep(LOAD_S / 3)
        after = load.good
    assert after > before_end, f"no call succeeds any more: {load.bad[-3:]}\n{platform.logs()}"
    wrong = [failure for failure in load.bad if failure.startswith("wrong")]
    assert not wrong, wrong
    if role in ("placement", "worker-manager"):
        # Neither is in the way of a payload: calls wait for them or go on without.
        assert not load.bad, load.bad[:5]
    assert invoke(platform.client(), name, {"after": role})[0] == {"after": role}


def test_kill_9_of_a_worker_with_many_idle_slots_fails_no_call(own, deploy_on, form):
    """Neither while it is dead nor when it lives again, at the same address, and knows none of its slots."""
    if form is not Roles:
        pytest.skip("one process has no worker to kill apart")
    platform = own()
    name = deploy_on(platform)(bundles.python("import time\ndef handler(e, c):\n    time.sleep(e)\n    return e\n"), Timeout=30)
    client, calls = platform.client(), 16
    with concurrent.futures.ThreadPoolExecutor(calls) as pool:
        list(pool.map(lambda _: invoke(client, name, 1), range(calls)))
    idle = collections.Counter(slot["worker"] for slot in platform.workers_view()["slots"])
    victim, held = idle.most_common(1)[0]
    assert held > 5, f"too few slots to tell: {idle}"
    platform.kill(victim)
    for n in range(10):
        assert invoke(client, name, n / 1_000)[0] == n / 1_000
    platform.restart(victim)
    other = next(worker for worker in platform.workers if worker != victim)
    with concurrent.futures.ThreadPoolExecutor(calls) as pool:
        list(pool.map(lambda _: invoke(client, name, 1), range(calls)))
    # Killed and back before anybody notices: every slot there is stale.
    platform.kill(other)
    platform.restart(other)
    for n in range(10):
        assert invoke(client, name, n / 1_000)[0] == n / 1_000


def test_kill_9_and_start_again(own, deploy_on):
    """What was acknowledged is there; what was left on the machine is gone."""
    platform = own()
    names = [deploy_on(platform)(echo) for _ in range(3)]
    for name in names:
        invoke(platform.client(), name, {})
    for process in platform.processes.values():
        process.kill()
    platform.start()
    for name in names:
        assert invoke(platform.client(), name, {"again": name})[0] == {"again": name}


def test_sigterm_lets_a_running_call_finish(own, deploy_on):
    platform = own()
    name = deploy_on(platform)(bundles.python("import time\ndef handler(e, c):\n    time.sleep(3)\n    return 'done'\n"), Timeout=10)
    invoke(platform.client(), name, {})
    answers = []
    caller = threading.Thread(target=lambda: answers.append(invoke(platform.client(), name, {})[0]))
    caller.start()
    time.sleep(1)
    codes = platform.stop()
    caller.join()
    assert answers == ["done"] and set(codes.values()) == {0}, (answers, codes, platform.logs())
