"""`hearth bench cold-start` and `warm` with small numbers: each ends by itself and finds what it says."""

import json
import subprocess

import pytest

from conftest import isolation
from platform_under_test import HEARTH, One

PHASES = ("admit", "route", "claim", "boot", "take", "attach", "init", "dispatch", "handler", "reply", "client")


def run(*arguments):
    return subprocess.run([str(HEARTH), "bench", *map(str, arguments)], capture_output=True, text=True, timeout=300)


def bench(out, job, *arguments):
    """Runs a job; what it found."""
    ran = run(job, "--runtime", "python", *arguments, "--out", out)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return json.loads((out / f"{job}.json").read_text())["found"]


@pytest.mark.parametrize("pool, sandbox, other", [(0, "boot", "take"), (2, "take", "boot")])
def test_cold_starts_are_taken_apart(tmp_path, pool, sandbox, other):
    found = bench(tmp_path, "cold-start", "-n", 4, "--pool", pool, "--isolation", isolation())["python"]
    phases = found["phases"]
    assert found["starts"] == 4 and set(phases) <= set(PHASES)
    assert phases[sandbox]["calls"] >= 3 and phases.get(other, {"calls": 0})["calls"] <= 1
    for part in ("claim", "attach", "init"):
        assert phases[part]["calls"] == 4 and phases[part]["p50_ms"] > 0
    shares = sum(phase["mean_ms"] * phase["calls"] for phase in phases.values()) / 4
    assert shares == pytest.approx(found["whole"]["mean_ms"], rel=0.01)


def test_snapshots_are_refused_where_there_are_none(tmp_path):
    if isolation() == "kvm":
        pytest.skip("microVMs have snapshots")
    refused = run("cold-start", "--snapshot", "-n", 1, "--isolation", isolation(), "--out", tmp_path)
    assert refused.returncode == 1 and f"isolates by {isolation()}" in refused.stderr
    assert not list(tmp_path.iterdir())


def test_warm_calls_have_times_costs_and_phases(tmp_path):
    found = bench(tmp_path, "warm", "--concurrency", "1,2", "--payload", "7,1k", "--seconds", 2, "--isolation", isolation())
    runs = found["runs"]
    assert [(run["payload_bytes"], run["callers"], run["rate"] is None) for run in runs] == [
        (size, *how) for size in (7, 1024) for how in ((1, True), (2, True), (2, False))
    ]
    for run_ in runs:
        # The kernel counts CPU time in ticks of ten milliseconds, and a busy machine makes few calls a second.
        assert run_["calls"] > 0 and 0 < run_["p50_ms"] <= run_["p99_ms"] <= run_["max_ms"]
        assert 0 <= run_["cpu_ms_per_call"]["hearth"] <= run_["cpu_ms_per_call_of_all"] and run_["cpu_ms_per_call_of_all"] > 0
    best = max(run["per_second"] for run in runs[:2])
    assert runs[2]["rate"] == pytest.approx(best / 2)
    assert all(set(of["phases"]) == {"admit", "route", "dispatch", "handler", "reply", "client"} for of in found["phases"])


def test_a_platform_that_runs_already_is_measured_and_left_as_it_was(tmp_path):
    platform = One(tmp_path, isolation()).start()
    try:
        found = bench(tmp_path / "out", "warm", "--concurrency", "1", "--payload", "7", "--rate", "20", "--seconds", 1,
                      "--url", platform.endpoint, "--keys", platform.credentials)  # fmt: skip
        assert found["runs"][1]["rate"] == 20 and found["runs"][0]["cpu_ms_per_call"] is None
        assert platform.client().list_functions()["Functions"] == []
    finally:
        platform.stop()
