"""What functions do in a microVM beyond being called: layers, other languages, streams and large payloads; isolation that
a function demands; guests of another kernel and with slower drives; idle slots that end when memory is short.

Needs `--isolation kvm`, as test_microvm.py does.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

import bundles
import leftovers
from conftest import Deployer, eventually, invoke, isolation
from platform_under_test import GUEST_IMAGES, PATIENCE, One, Roles
from test_streaming import NODE, payload, stream

pytestmark = pytest.mark.skipif(isolation() != "kvm", reason="NOT TESTED here: microVMs (`make test-nested` tests them)")

MB = 1024 * 1024
# A whole CPU: emulated, a share of it takes minutes for what is measured in megabytes.
WHOLE_CPU_MB = 1769
# AWS lets an answer stream for 200 MB. What could go wrong on the way (the rings of the vsock device, 64 KiB of credit,
# the windows of each hop) comes round hundreds of times in this many; emulated, 200 MB would take ten minutes.
STREAMED = 32 * MB

WHERE = bundles.python(
    """
import os
def handler(event, context):
    return {"release": os.uname().release, "stream": context.log_stream_name}
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


def started(tmp_path, form=One, isolation="kvm", **settings):
    """A platform of a test's own, not started yet."""
    tmp_path.mkdir(exist_ok=True)
    settings.setdefault("CAPACITY_WAIT", f"{30 * PATIENCE}s")
    return form(tmp_path, isolation, {f"HEARTH_{name}": str(value) for name, value in settings.items()})


def test_layers_are_merged_in_the_image_of_the_code(client, deploy):
    layers = [
        {"python/shared.py": "FROM = 'below'\n", "python/only_below.py": "", "data": "below"},
        {"python/shared.py": "FROM = 'above'\n", "!bin/tool": "#!/bin/sh\necho of the layer\n"},
    ]
    arns = [
        client.publish_layer_version(LayerName=f"microvm-{at}", Content={"ZipFile": bundles.zip_of(files)})["LayerVersionArn"]
        for at, files in enumerate(layers)
    ]
    source = """
import only_below, os, shared, subprocess
def handler(event, context):
    try:
        open("/opt/data", "w"); writable = True
    except OSError:
        writable = False
    return [shared.FROM, shared.__file__, open("/opt/data").read(), subprocess.check_output(["tool"], text=True), writable,
            os.listdir("/var/task")]
"""
    name = deploy(bundles.python(source), MemorySize=256, Timeout=60, Layers=arns)
    body, answer = invoke(client, name)
    assert "FunctionError" not in answer, body
    assert body == ["above", "/opt/python/shared.py", "below", "of the layer\n", False, ["app.py"]]


def test_six_megabytes_go_in_and_out(client, deploy):
    code = bundles.python("def handler(event, context): return 'x' * event['size'] if 'size' in event else event\n")
    name = deploy(code, MemorySize=WHOLE_CPU_MB, Timeout=300)
    event = {"text": os.urandom(3 * MB - 100).hex()}
    body, answer = invoke(client, name, event)
    assert "FunctionError" not in answer and body == event
    body, answer = invoke(client, name, {"size": 7 * MB})
    assert (answer["FunctionError"], body["errorType"]) == ("Unhandled", "Function.ResponseSizeTooLarge")
    assert invoke(client, name, {"still": "there"})[0] == {"still": "there"}


def test_an_answer_streams_through_the_channel(client, deploy, node_runtime):
    name = deploy(NODE, runtime=node_runtime, handler="index.handler", MemorySize=WHOLE_CPU_MB, Timeout=300)
    pieces, complete, _ = stream(client, name, {"pieces": 2, "pause": 1000 * PATIENCE})
    assert [json.loads(line)["n"] for line in payload(pieces).decode().splitlines()] == [0, 1] and complete == {}
    assert pieces[-1][0] - pieces[0][0] > PATIENCE / 2, "the first piece waited for the last"
    pieces, complete, _ = stream(client, name, {"pieces": 0, "bytes": STREAMED})
    assert complete == {} and payload(pieces) == b"x" * STREAMED
    # Who reads slowly holds the function up, and loses nothing.
    answer = client.invoke_with_response_stream(FunctionName=name, Payload=json.dumps({"pieces": 0, "bytes": STREAMED // 4}).encode())
    length = 0
    for came in answer["EventStream"]:
        if not length:
            time.sleep(PATIENCE)
        length += len(came.get("PayloadChunk", {}).get("Payload", b""))
    assert length == STREAMED // 4


def test_a_function_that_demands_a_microvm_runs_in_nothing_less(tmp_path):
    platform = started(tmp_path / "two", Roles, CAPACITY_WAIT=f"{2 * PATIENCE}s", GUEST_IMAGES=GUEST_IMAGES, POOL_SIZE=1)
    jail = platform.processes["worker-1"]
    jail.args[jail.args.index("--isolation") + 1] = "jail"
    platform.start()
    try:
        client = platform.client(timeout_s=60 * PATIENCE)
        deployer = Deployer(client)
        demands = deployer(WHERE, MemorySize=128, Timeout=60, Tags={"hearth:isolation": "kvm"})
        plain = deployer(WHERE, MemorySize=128, Timeout=60)
        guest = json.loads((GUEST_IMAGES / "manifest.json").read_text())["kernel"]["release"]

        assert eventually(lambda: outcome(client, demands) == guest)
        platform.kill("worker-2")
        # What it had there is gone; the jail is free, and takes what does not demand more.
        assert eventually(lambda: outcome(client, plain) == os.uname().release) and os.uname().release != guest
        told = []

        def refused():
            told.append(outcome(client, demands))
            return "runs in nothing less" in told[-1]

        assert eventually(refused), told
        platform.restart("worker-2")

        def runs_again():
            told.append(outcome(client, demands))
            return told[-1] == guest

        assert eventually(runs_again), told
        assert os.uname().release not in told
    finally:
        platform.stop()


def outcome(client, name):
    """The kernel a function ran on, or why it did not run."""
    try:
        body, answer = invoke(client, name)
    except ClientError as error:
        return error.response["Error"]["Message"]
    return body["release"] if "FunctionError" not in answer else str(body)


STOCK_IMAGES = GUEST_IMAGES.with_name("guest-images-stock")
READS = """
import os, time
def handler(event, context):
    began = time.monotonic()
    size = len(open("/var/task/large", "rb").read())
    return {"release": os.uname().release, "seconds": time.monotonic() - began, "size": size}
"""


def test_another_kernel_huge_pages_and_slower_drives_by_setting(tmp_path, client, deploy):
    if GUEST_IMAGES == STOCK_IMAGES or not STOCK_IMAGES.exists():
        pytest.skip("NOT TESTED: there is no second kernel beside the first")
    stock = json.loads((STOCK_IMAGES / "manifest.json").read_text())["kernel"]
    size, mb_a_second = 12 * MB, 2
    code = bundles.zip_of({"app.py": READS, "large": os.urandom(size)})
    unlimited, _ = invoke(client, deploy(code, MemorySize=WHOLE_CPU_MB, Timeout=300))
    platform = started(
        tmp_path / "own",
        GUEST_KERNEL=STOCK_IMAGES / stock["file"],
        GUEST_KERNEL_MODULES=",".join(str(STOCK_IMAGES / module) for module in stock["modules"]),
        GUEST_HUGE_PAGES="on",
        DRIVE_BANDWIDTH_MB=mb_a_second,
        POOL_SIZE=1,
    ).start()
    try:
        own = platform.client(timeout_s=60 * PATIENCE)
        limited, answer = invoke(own, Deployer(own)(code, MemorySize=WHOLE_CPU_MB, Timeout=300))
        assert "FunctionError" not in answer, limited
        assert limited["release"] == stock["release"] != unlimited["release"]
        assert limited["size"] == unlimited["size"] == size
        # What may come at once is a second's worth.
        least = size / MB / mb_a_second - 1
        assert unlimited["seconds"] < least <= limited["seconds"]
    finally:
        assert set(platform.stop().values()) == {0}, platform.logs()


def test_a_kernel_that_is_none_is_refused_before_anything_starts(tmp_path):
    wrong = tmp_path / "vmlinuz"
    wrong.write_bytes(b"\x1f\x8b something compressed")
    platform = started(tmp_path / "own", GUEST_KERNEL=wrong)
    with pytest.raises(AssertionError, match="neither an uncompressed ELF file"):
        platform.start()


NOBODY = 65534
AS_NOBODY = """
[ -z "$1" ] || echo 0 >"$1/cgroup.procs"
shift
exec /usr/bin/setpriv --reuid 65534 --regid 65534 --clear-groups "$@"
"""


@pytest.fixture
def ordinary():
    """`ordinary(kvm, group)`: a platform that an ordinary user starts, who may use KVM or not, in a control group that
    was given to that user or in none."""
    home = Path(tempfile.mkdtemp(prefix="ordinary-"))
    mode, group, made = Path("/dev/kvm").stat().st_mode, Path("/sys/fs/cgroup/delegated"), []

    def make(kvm, delegated):
        os.chmod("/dev/kvm", 0o666 if kvm else 0o600)
        if delegated:
            group.mkdir(exist_ok=True)
            for path in [group, *group.iterdir()]:
                os.chown(path, NOBODY, NOBODY)
        directory = home / str(len(made))
        directory.mkdir()
        os.chown(home, NOBODY, NOBODY)
        os.chown(directory, NOBODY, NOBODY)
        platform = started(directory, POOL_SIZE=1)
        platform.processes["up"].prefix = ["sh", "-c", AS_NOBODY, "sh", str(group) if delegated else ""]
        made.append(platform)
        return platform

    yield make
    for platform in made:
        platform.stop()
    os.chmod("/dev/kvm", mode & 0o777)


def test_an_ordinary_user_without_kvm_is_told_what_to_do(ordinary):
    platform = ordinary(kvm=False, delegated=False)
    with pytest.raises(AssertionError) as refused:
        platform.start()
    assert "Permission denied" in str(refused.value) and "group kvm" in str(refused.value)


@pytest.mark.parametrize("delegated", [True, False], ids=["in a control group of its own", "in none"])
def test_an_ordinary_user_with_kvm_has_microvms(ordinary, delegated):
    platform = ordinary(kvm=True, delegated=delegated).start()
    client = platform.client(timeout_s=60 * PATIENCE)
    deployer = Deployer(client)
    body, answer = invoke(client, deployer(WHERE, MemorySize=128, Timeout=60))
    assert "FunctionError" not in answer and body["release"] != os.uname().release
    # More than the first: restored from its snapshot.
    body, answer = invoke(client, deployer(WHERE, MemorySize=128, Timeout=60))
    assert "FunctionError" not in answer, body
    sandboxes = leftovers.processes([platform.processes["up"].process.pid])
    # There is but one user: nobody gave this one others.
    assert {Path(f"/proc/{pid}").stat().st_uid for pid in sandboxes} == {NOBODY}
    told = platform.logs()
    assert "users of its own for each sandbox" in told and ("CPU share" in told) != delegated
    assert set(platform.stop().values()) == {0}, told
    assert leftovers.alive(sandboxes) == set()


# Takes memory until little is left, then holds it, and has the rest of the system fetch from disk what it reads.
HOG = """
import mmap, os, sys, time
left_kb, held = int(sys.argv[1]), []
def available_kb():
    with open("/proc/meminfo") as meminfo:
        return next(int(line.split()[1]) for line in meminfo if line.startswith("MemAvailable"))
with open("/proc/self/oom_score_adj", "w") as score: score.write("1000")
while (over := available_kb() - left_kb) > 0:
    block = mmap.mmap(-1, min(64 << 20, max(4 << 20, over << 9)))
    for page in range(0, len(block), mmap.PAGESIZE): block[page] = 1
    held.append(block)
print("held", flush=True)
while True:
    for path in sys.argv[2:]:
        with open(path, "rb", buffering=0) as file:
            while file.read(1 << 20): pass
"""


def test_idle_slots_end_oldest_first_when_memory_is_short(tmp_path):
    """With real pressure: a process takes the machine's memory until under a tenth is left, and something waits for it."""
    platform = started(tmp_path / "own", POOL_SIZE=0).start()
    hog = None
    try:
        client = platform.client(timeout_s=60 * PATIENCE)
        deployer = Deployer(client)
        names = [deployer(WHERE, name=f"idle-{at}", MemorySize=128, Timeout=60) for at in range(4)]
        first = {name: invoke(client, name)[0]["stream"] for name in names}

        def alive():
            return [name for name in names if any(name in str(slot) for slot in platform.workers_view()["slots"])]

        assert alive() == names
        total_kb = next(int(line.split()[1]) for line in open("/proc/meminfo") if line.startswith("MemTotal"))
        # Larger than what is left, so that it has to be read from the disk again and again.
        images = [str(path) for path in GUEST_IMAGES.glob("*.erofs")]
        hog = subprocess.Popen([sys.executable, "-c", HOG, str(total_kb // 50), *images], stdout=subprocess.PIPE, text=True)
        seen = []

        def fewer():
            now = alive()
            if not seen or seen[-1] != now:
                seen.append(now)
            return len(now) < len(names)

        assert eventually(fewer), f"no idle slot ended: {Path('/proc/pressure/memory').read_text()}"
        hog.kill()
        hog.wait()
        # Those that were idle longest went, whatever number it was.
        for left in seen:
            assert left == names[len(names) - len(left) :], seen
        assert "memory is short" in platform.logs()
        # Nothing is broken: who was ended starts anew, and says so.
        assert invoke(client, names[0])[0]["stream"] != first[names[0]]
    finally:
        if hog:
            hog.kill()
        assert set(platform.stop().values()) == {0}, platform.logs()
