"""`hearth bench`: each job with small numbers ends by itself, finds what it says and leaves nothing behind."""

import json
import os
import signal
import subprocess
from html.parser import HTMLParser

from conftest import isolation
from leftovers import alive, processes
from platform_under_test import HEARTH


def bench(out, *arguments):
    """Runs a job; its report as JSON."""
    line = [str(HEARTH), "bench", *arguments, "--out", str(out)]
    ran = subprocess.run(line, capture_output=True, text=True, timeout=120)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    [report] = out.glob("*.json")
    pictures = {path.stem for path in out.glob("*.svg")}
    assert pictures == {path.stem for path in out.glob("*.png")} and len(list(out.glob("*.html"))) == 1
    assert all(path.read_bytes().startswith(b"\x89PNG\r\n") for path in out.glob("*.png"))
    return json.loads(report.read_text())


class Parts(HTMLParser):
    def __init__(self):
        super().__init__()
        self.pictures, self.outside = 0, []

    def handle_starttag(self, tag, attributes):
        self.pictures += tag == "svg"
        self.outside += [value for name, value in attributes if name in ("src", "href")]


def test_density_counts_slots_that_still_answer(tmp_path):
    report = bench(tmp_path, "density", "--runtime", "python", "-n", "3", "--every", "2", "--isolation", isolation())
    assert all(report["run"][fact] for fact in ("machine", "load", "date", "hearth", "command"))
    [found] = report["found"]["density"]
    assert len(found["first_calls_ms"]) == 3 and found["stopped"] == "3 slots were asked for"
    # The first and the third; none of them had gone.
    assert len(found["again_ms"]) == 2 and found["again_cold"] == 0 and not found["again_failed"]
    # A Python interpreter with a function in it: less would mean that a process was missed.
    assert 2_000 < sum(found["kib_each"]) < 60_000
    page = Parts()
    page.feed((tmp_path / "density.html").read_text())
    assert page.pictures == 3 and not page.outside


def test_compare_takes_turns(tmp_path):
    report = bench(tmp_path, "compare", "warm", "--runtime", "python", "--rounds", "2", "--calls", "20")
    contest = report["found"]["warm p50 ms"]
    sides = {entry["name"]: entry["rounds"] for entry in contest["entries"]}
    ours = next(name for name in sides if name.endswith(" python"))
    assert len(sides[ours]) == len(sides["Python's http.server"]) == 2
    # A server in between costs something; a hundred times as much would be another thing than a warm call.
    assert 0.2 < sides[ours][0] / sides["Python's http.server"][0] < 1_000


def test_an_interrupt_ends_a_job_and_its_platform(tmp_path):
    line = [str(HEARTH), "bench", "density", "--runtime", "python", "-n", "1000", "--out", str(tmp_path)]
    job = subprocess.Popen(line, stderr=subprocess.PIPE, text=True, env=os.environ | {"TMPDIR": str(tmp_path)})
    # Progress is told every few seconds; then there are slots.
    assert "slots: " in next(told for told in job.stderr if "slots" in told)
    mine = processes([job.pid])
    assert mine
    job.send_signal(signal.SIGINT)
    assert job.wait(timeout=60) == 1 and "interrupted" in job.stderr.read()
    assert not alive(mine)
    assert not list(tmp_path.iterdir())
