"""Every environment a microVM: started from a snapshot, different from its siblings, bounded, gone when it is killed.

Needs `--isolation kvm`, so a KVM that is real or at least boots Linux; `make test-nested` brings a machine that has
one. Waiting times are multiplied by E2E_PATIENCE there.
"""

import concurrent.futures
import os
import re
import signal
import threading
import time
import urllib.request
from pathlib import Path

import pytest

import bundles
import leftovers
from conftest import Deployer, echo, eventually, invoke, isolation
from platform_under_test import GUEST_IMAGES, PATIENCE, One

pytestmark = pytest.mark.skipif(isolation() != "kvm", reason="NOT TESTED here: microVMs (`make test-nested` tests them)")

MB = 1024 * 1024
AT_ONCE = 20

PROBE = bundles.python(
    """
import glob, os, random, secrets, socket, time, uuid
STARTED = [random.random(), uuid.uuid4().hex]
def handler(event, context):
    do = event["do"]
    if do == "machine":
        cpus = sum(line.startswith("processor") for line in open("/proc/cpuinfo"))
        return {"release": os.uname().release, "cpus": cpus, "hypervisor": "hypervisor" in open("/proc/cpuinfo").read(),
                "total_kb": int(open("/proc/meminfo").readline().split()[1]), "host_files": glob.glob("/lab*")}
    if do == "identity":
        return {"random": random.random(), "uuid4": uuid.uuid4().hex, "urandom": os.urandom(16).hex(),
                "secrets": secrets.token_hex(16), "at start": STARTED[0], "uuid at start": STARTED[1],
                "kernel uuid": open("/proc/sys/kernel/random/uuid").read(), "host name": socket.gethostname(),
                "request": context.aws_request_id, "log stream": context.log_stream_name}
    if do == "clock": return time.time()
    if do == "sleep":
        time.sleep(event["seconds"]); return os.getpid()
    if do == "abort": os.abort()
    if do == "write":
        open("/tmp/here", "w").write("x"); return os.path.exists("/tmp/here")
"""
)

NODE_PROBE = bundles.node(
    """
const crypto = require("crypto");
exports.handler = async (event) => ({ random: Math.random(), bytes: crypto.randomBytes(16).toString("hex"),
  uuid: crypto.randomUUID(), host: require("os").hostname() });
"""
)


@pytest.fixture(scope="module")
def client(microvms):
    return microvms.client(timeout_s=60 * PATIENCE)


@pytest.fixture
def deploy(client):
    deployer = Deployer(client)
    yield deployer
    deployer.clean()


@pytest.fixture(scope="module")
def probe(client):
    deployer = Deployer(client)
    yield deployer(PROBE, MemorySize=128, Timeout=60)
    deployer.clean()


def monitors(platform):
    """Process ids of the platform's hearth-vmm."""
    found = set()
    for pid in leftovers.processes([process.process.pid for process in platform.processes.values()]):
        try:
            if Path(f"/proc/{pid}/comm").read_text().strip() == "hearth-vmm":
                found.add(pid)
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


def metric(platform, name, label=""):
    """The sum of a metric over its labels, of those that have `label`."""
    with urllib.request.urlopen(f"http://127.0.0.1:{platform.admin_port}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if re.match(rf"{name}(\{{|\s)", line) and label in line)


def at_once(client, name, count, event, **options):
    with concurrent.futures.ThreadPoolExecutor(count) as threads:
        calls = [threads.submit(invoke, client, name, event, **options) for _ in range(count)]
        return [call.result() for call in calls]


def test_a_function_has_a_machine_of_its_own(client, probe, microvms):
    machine, answer = invoke(client, probe, {"do": "machine"})
    assert "FunctionError" not in answer, machine
    assert machine["hypervisor"] and machine["cpus"] == 1
    assert machine["release"] != os.uname().release or "stock" in GUEST_IMAGES.name
    assert 128 * MB < machine["total_kb"] * 1024 < 194 * MB
    assert machine["host_files"] == []
    assert monitors(microvms)


def test_a_larger_function_has_a_larger_machine(client, deploy):
    name = deploy(PROBE, MemorySize=3008, Timeout=60)
    machine, answer = invoke(client, name, {"do": "machine"})
    assert "FunctionError" not in answer, machine
    assert machine["cpus"] == 2 and machine["total_kb"] > 2_800_000, machine


def test_clones_of_a_snapshot_differ(client, probe, microvms):
    answers = at_once(client, probe, 3, {"do": "identity"}) + at_once(client, probe, 3, {"do": "sleep", "seconds": 2 * PATIENCE})
    assert all("FunctionError" not in answer for _, answer in answers), answers
    identities = [body for body, _ in at_once(client, probe, 3, {"do": "identity"})]
    environments = {identity["log stream"]: identity for identity in identities}
    assert len(environments) >= 2, "no two environments answered"
    for what in identities[0]:
        assert len({environment[what] for environment in environments.values()}) == len(environments), what
    assert metric(microvms, "hearth_worker_sandbox_start_seconds_count", 'how="restore"') >= 2


def test_clones_of_node_differ(client, deploy, node_runtime):
    name = deploy(NODE_PROBE, runtime=node_runtime, handler="index.handler", MemorySize=128, Timeout=60)
    bodies = [body for body, _ in at_once(client, name, 3, {})]
    for what in bodies[0]:
        assert len({body[what] for body in bodies}) >= 2, (what, bodies)
    assert len({body["random"] for body in bodies}) == 3, bodies


def test_the_clock_is_right_after_a_restore(client, probe):
    before = time.time()
    inside, _ = invoke(client, probe, {"do": "clock"})
    assert before - 1 <= inside <= time.time() + 1


# Half of it is taken during init, which has a whole CPU; with the share of 128 MB an emulated machine takes minutes.
HUNGRY = bundles.python(
    f"""
TAKEN = bytearray(64 * {MB})
def handler(event, context):
    return len(TAKEN) + len(bytearray(event["mb"] * {MB}))
"""
)


def test_memory_is_bounded_within_the_machine(client, deploy):
    name = deploy(HUNGRY, MemorySize=128, Timeout=50 * PATIENCE)
    body, answer = invoke(client, name, {"mb": 400})
    assert answer["FunctionError"] == "Unhandled" and body["errorType"] == "Runtime.OutOfMemory", body
    body, answer = invoke(client, name, {"mb": 1})
    assert "FunctionError" not in answer and body == 65 * MB


def test_a_timeout_ends_the_machine_and_the_next_call_works(client, deploy, microvms):
    name = deploy(PROBE, MemorySize=128, Timeout=1 * PATIENCE)
    body, answer = invoke(client, name, {"do": "sleep", "seconds": 100})
    assert answer["FunctionError"] == "Unhandled" and "timed out" in body["errorMessage"], body
    assert invoke(client, name, {"do": "write"})[0] is True


def test_a_crash_is_told_and_the_next_call_works(client, deploy):
    name = deploy(PROBE, MemorySize=128, Timeout=60)
    body, answer = invoke(client, name, {"do": "abort"})
    assert answer["FunctionError"] == "Unhandled" and body["errorType"] == "Runtime.ExitError", body
    assert invoke(client, name, {"do": "write"})[0] is True


def test_monitors_killed_during_a_call_end_that_call_and_the_next_works(client, deploy, microvms):
    name = deploy(PROBE, MemorySize=128, Timeout=100)
    invoke(client, name, {"do": "write"})
    with concurrent.futures.ThreadPoolExecutor(1) as threads:
        call = threads.submit(invoke, client, name, {"do": "sleep", "seconds": 90})
        assert eventually(lambda: busy(microvms, name)), "no slot of the function is busy"
        for pid in monitors(microvms):
            os.kill(pid, signal.SIGKILL)
        body, answer = call.result()
    assert answer.get("FunctionError") == "Unhandled", body
    assert invoke(client, name, {"do": "write"})[0] is True


def busy(platform, name):
    slots = platform.workers_view()["slots"]
    return [slot for slot in slots if name in str(slot) and "usy" in str(slot)]


def test_twenty_at_once(client, deploy, microvms):
    name = deploy(PROBE, MemorySize=128, Timeout=100)
    seen = set()
    done = threading.Event()

    def watch():
        while not done.wait(0.2):
            seen.add(len(monitors(microvms)))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        answers = at_once(client, name, AT_ONCE, {"do": "sleep", "seconds": 4 * PATIENCE})
    finally:
        done.set()
        watcher.join()
    assert all("FunctionError" not in answer for _, answer in answers), answers
    assert max(seen) >= AT_ONCE


def test_the_host_bounds_the_monitor(microvms, client, probe):
    invoke(client, probe, {"do": "write"})
    pids = [process.process.pid for process in microvms.processes.values()]
    groups = [Path(group) for group in leftovers.cgroups(pids) if (Path(group) / "cgroup.procs").exists()]
    bounded = [group for group in groups if (group / "cgroup.procs").read_text().strip()]
    assert bounded
    limits = [(group / "memory.max").read_text().strip() for group in bounded]
    assert all(limit != "max" and int(limit) < 1024 * MB for limit in limits if limit), limits
    assert all((group / "pids.max").read_text().strip() != "max" for group in bounded)


def test_a_monitor_has_nothing_of_the_host(microvms, client, probe):
    invoke(client, probe, {"do": "write"})
    for pid in monitors(microvms):
        try:
            status = Path(f"/proc/{pid}/status").read_text()
            links = os.listdir(f"/proc/{pid}/root/")
            uid = int(re.search(r"^Uid:\s+(\d+)", status, re.M)[1])
        except (FileNotFoundError, ProcessLookupError):
            continue  # It ended meanwhile.
        assert uid >= 100_000, "the monitor has a user id of people"
        assert re.search(r"^CapEff:\s+0+$", status, re.M) and re.search(r"^NoNewPrivs:\s+1$", status, re.M)
        assert re.search(r"^Seccomp:\s+2$", status, re.M)
        assert len(links) <= 1, links
        for space in ("mnt", "pid", "net", "ipc", "uts", "user", "cgroup"):
            assert os.readlink(f"/proc/{pid}/ns/{space}") != os.readlink(f"/proc/self/ns/{space}"), space


def test_a_function_may_demand_a_microvm(client, deploy):
    name = deploy(PROBE, MemorySize=128, Timeout=60, Tags={"hearth:isolation": "kvm"})
    assert invoke(client, name, {"do": "machine"})[0]["hypervisor"]


SNAP_STARTED = bundles.python(
    """
import os, random, time, uuid
INIT = uuid.uuid4().hex
print("init ran")
def handler(event, context):
    return {"init": INIT, "type": os.environ["AWS_LAMBDA_INITIALIZATION_TYPE"], "random": random.random(), "now": time.time()}
"""
)


def test_snap_start_restores_versions_after_their_init(client, deploy):
    name = deploy(SNAP_STARTED, MemorySize=128, Timeout=60, SnapStart={"ApplyOn": "PublishedVersions"})
    version = client.publish_version(FunctionName=name)["Version"]
    client.get_waiter("published_version_active").wait(FunctionName=name, Qualifier=version)
    first, _ = invoke(client, name, {}, Qualifier=version)
    assert first["type"] == "snap-start"

    def restored():
        bodies = [body for body, _ in at_once(client, name, 4, {}, Qualifier=version)]
        return bodies if len({body["random"] for body in bodies}) == len(bodies) else None

    bodies = eventually(restored, 60 * PATIENCE)
    assert bodies and all(body["init"] == first["init"] for body in bodies), (first, bodies)


def test_killed_and_started_again_and_stopped_nothing_is_left(tmp_path, deploy_on):
    platform = One(tmp_path / "own", "kvm")
    platform.directory.mkdir(parents=True)
    platform.start()
    name = deploy_on(platform)(echo)
    invoke(platform.client(timeout_s=60 * PATIENCE), name, {})
    roots, sandboxes = [platform.processes["up"].process.pid], monitors(platform)
    assert sandboxes
    platform.kill("up")
    platform.start()
    assert leftovers.alive(sandboxes) == set()
    assert leftovers.cgroups(roots) == []
    assert invoke(platform.client(timeout_s=60 * PATIENCE), name, {"again": 1})[0] == {"again": 1}
    roots, sandboxes = [platform.processes["up"].process.pid], monitors(platform)
    assert set(platform.stop().values()) == {0}, platform.logs()
    assert leftovers.alive(sandboxes) == set()
    assert leftovers.cgroups(roots) == []
    assert leftovers.mounts(platform.directory) == []
