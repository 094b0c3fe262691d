"""`hearth` as people type it."""

import json
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from conftest import doctor, isolation
from platform_under_test import HEARTH, ROOT


@pytest.fixture
def hello(shared):
    name = "cli-hello"
    shared.cli("deploy", ROOT / "examples/hello-python", "--name", name, "--runtime", "python3.11", "--handler", "app.handler")
    yield name
    shared.cli("rm", name)


def test_deploy_invoke_logs_ls_rm(shared, hello):
    shared.cli("deploy", ROOT / "examples/hello-python", "--name", hello, "--runtime", "python3.11", "--handler", "app.handler", "--memory", "256", "--env", "GREETING=hi")
    done = shared.cli("invoke", hello, "--data", '{"name": "Ada"}', "--tail")
    assert "Ada" in json.dumps(json.loads(done.stdout)) and "REPORT RequestId" in done.stderr
    assert "Ada" in shared.cli("invoke", hello, "--data", "-", stdin='{"name": "Ada"}').stdout
    assert "START RequestId" in shared.cli("logs", hello).stdout
    row = next(line for line in shared.cli("ls").stdout.splitlines() if hello in line)
    assert "256" in row and "python3.11" in row
    listed = json.loads(shared.cli("ls", "--output", "json").stdout)
    assert hello in json.dumps(listed)


def test_the_doctor_names_the_runtimes_that_workers_offer(shared):
    if isolation() == "kvm":
        pytest.skip("workers offer those of the guest images: NOT TESTED")
    offered = {runtime for worker in shared.workers_view()["workers"] for runtime in worker["runtimes"]}
    assert set(doctor()["runtimes"]) == offered and "provided.al2023" in offered


def test_usage_counts_and_workers_show(shared, hello):
    def count():
        rows = json.loads(shared.cli("usage", "--output", "json").stdout)["functions"]
        return next((row for row in rows if row["name"] == hello), {"invocations": 0, "gbSeconds": 0})

    before = count()
    for _ in range(3):
        shared.cli("invoke", hello, "--data", "{}")
    after = count()
    assert after["invocations"] == before["invocations"] + 3 and after["gbSeconds"] > before["gbSeconds"]
    fleet = shared.workers_view()
    assert len(fleet["workers"]) == len(shared.workers) and all(w["condition"] == "ready" for w in fleet["workers"])
    assert hello in json.dumps(fleet["slots"])
    assert "slot" in shared.cli("workers").stdout.lower()


def test_what_a_newcomer_is_told_to_type_works(shared, hello, tmp_path):
    said = (shared.processes.get("up") or shared.processes["frontend"]).said
    export = next(line for line in said if line.startswith("next: ")).removeprefix("next: ")
    aws = next(line for line in said if line.strip().startswith("aws "))
    # Nothing of the caller's AWS settings: what was told must be enough.
    environment = {"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin", "HOME": str(tmp_path)}
    for command in (f"{HEARTH} ls", aws.strip()):
        done = subprocess.run(["bash", "-c", f"{export}\n{command}"], env=environment, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0 and hello in done.stdout, (command, done)


def test_errors_say_what_to_do(shared):
    done = shared.cli("invoke", "no-such-function", check=False)
    assert done.returncode != 0 and "Function not found" in done.stderr and done.stdout == ""
    done = shared.cli("deploy", "/nowhere", "--name", "x", "--runtime", "python3.11", "--handler", "a.b", check=False)
    assert done.returncode != 0 and "/nowhere" in done.stderr


def test_bad_configuration_names_every_mistake(tmp_path):
    config = tmp_path / "hearth.toml"
    config.write_text('pool-size = "many"\nnonsense = 1\n')
    done = subprocess.run(
        [HEARTH, "up", "--config", config, "--listen", "nowhere", "--data-dir", tmp_path / "d"],
        env={"PATH": "/usr/bin", "HEARTH_SHUTDOWN_GRACE": "soon", "HEARTH_BOOT_TIMEOUT": "16m"},
        capture_output=True, text=True, timeout=20,
    )  # fmt: skip
    assert done.returncode == 64, done
    wrong = ("pool-size", "many", "nonsense", "listen", "nowhere", "HEARTH_SHUTDOWN_GRACE", "soon", "HEARTH_BOOT_TIMEOUT", "1s to 900s")
    for part in wrong:
        assert part in done.stderr, (part, done.stderr)
    assert not (tmp_path / "d").exists(), "nothing is made before the configuration is right"


def test_a_flag_that_a_role_does_not_have_is_bad_configuration():
    done = subprocess.run([HEARTH, "up", "--nonsense", "1"], capture_output=True, text=True, timeout=20)
    assert done.returncode == 64 and "--nonsense" in done.stderr
    done = subprocess.run([HEARTH, "ls", "--nonsense"], capture_output=True, text=True, timeout=20)
    assert done.returncode == 2 and "--nonsense" in done.stderr
    assert subprocess.run([HEARTH, "up", "--help"], capture_output=True, timeout=20).returncode == 0


def test_doctor_says_what_holds():
    done = subprocess.run([HEARTH, "doctor"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and "isolation" in done.stdout.lower()


def test_completions():
    for shell in ("bash", "zsh", "fish"):
        done = subprocess.run([HEARTH, "completions", shell], capture_output=True, text=True, timeout=20)
        assert done.returncode == 0 and "hearth" in done.stdout


def test_credentials_are_private(shared):
    assert shared.credentials.stat().st_mode & 0o777 == 0o600


def test_admin_port(shared):
    port = getattr(shared, "admin_port", None) or shared.admin_ports["frontend"]
    for path in ("/live", "/ready"):
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as response:
            assert response.status == 200
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as response:
        assert "hearth_" in response.read().decode()
