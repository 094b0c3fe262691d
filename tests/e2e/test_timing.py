"""Where the time of a call went, as `X-Hearth-Timing: 1` has it told."""

import time

import bundles
from conftest import invoke

WARM = ["admit", "route", "dispatch", "handler", "reply"]
SLOW = bundles.python("import time\ntime.sleep(0.3)\ndef handler(event, context):\n    time.sleep(0.1)\n    return event\n")


def asking(client):
    client.meta.events.register("before-sign.lambda.Invoke", lambda request, **_: request.headers.add_header("X-Hearth-Timing", "1"))
    return client


def timed(client, name):
    """Parts by name in milliseconds, and how long the call took here."""
    started = time.monotonic()
    answer = invoke(client, name, {})[1]
    whole = 1_000 * (time.monotonic() - started)
    told = answer["ResponseMetadata"]["HTTPHeaders"]["server-timing"]
    parts = dict(part.split(";dur=") for part in told.split(", "))
    return {part: float(took) for part, took in parts.items()}, whole


def all_but_the_clients_own(parts, whole):
    """What boto3 takes for itself is milliseconds, on a machine that does nothing else."""
    told = sum(parts.values())
    assert told <= whole and whole - told < 100 + 0.25 * whole, (parts, whole)


def test_a_cold_call_tells_its_start_and_a_warm_one_has_none(shared, deploy):
    client = asking(shared.client())
    name = deploy(SLOW)
    cold, whole = timed(client, name)
    started = [part for part in cold if part in ("boot", "take")]
    assert [*cold] == ["admit", "route", "claim", *started, "attach", "init", "dispatch", "handler", "reply"]
    assert len(started) == 1 and min(cold.values()) >= 0
    assert cold["init"] >= 300 and cold["handler"] >= 100
    all_but_the_clients_own(cold, whole)
    warm, whole = timed(client, name)
    assert [*warm] == WARM and warm["handler"] >= 100
    all_but_the_clients_own(warm, whole)


def test_nobody_else_is_told(client, deploy):
    name = deploy(bundles.python("def handler(event, context):\n    return event\n"))
    assert "server-timing" not in invoke(client, name, {})[1]["ResponseMetadata"]["HTTPHeaders"]
