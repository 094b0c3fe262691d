"""Starts Hearth as people do, in either of its two forms, and stops it again.

`One` is `hearth up`; `Roles` is a frontend, a worker manager, a placement and two workers as processes of their own.
Both offer the same: an endpoint, credentials, and `kill(role)` / `restart(role)` for the tests that break things.
"""

import configparser
import json
import os
import queue
import random
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path

import boto3
import botocore.config

ROOT = Path(__file__).resolve().parents[2]
HEARTH = Path(os.environ.get("E2E_BINARY", ROOT / "target/release/hearth"))
# How much slower than usual this machine is: emulated machines are.
PATIENCE = int(os.environ.get("E2E_PATIENCE", "1"))
# What microVMs boot from, if not what lies beside hearth.
GUEST_IMAGES = Path(os.environ.get("E2E_GUEST_IMAGES", HEARTH.with_name("guest-images")))
READY_TIMEOUT_S = 60 * PATIENCE
STOP_TIMEOUT_S = 45 * PATIENCE

# Shorter waits than the defaults, so that retries and keep-alive can be seen within a test.
FAST = {
    "HEARTH_ASYNC_RETRY_DELAYS": "1s,2s",
    "HEARTH_SHUTDOWN_GRACE": "20s",
    "HEARTH_LOG": "info",
    "HEARTH_CAPACITY_WAIT": f"{10 * PATIENCE}s",
}
if PATIENCE > 1:
    usual = {"BOOT": 30, "RESTORE": 10, "SNAPSHOT": 60, "INIT": 10}
    FAST |= {f"HEARTH_{what}_TIMEOUT": f"{seconds * PATIENCE}s" for what, seconds in usual.items()}


def without_ours(environment):
    """Whatever the caller has set for AWS or Hearth must not reach what is tested."""
    return {k: v for k, v in environment.items() if not k.startswith(("AWS_", "HEARTH_"))}


def held_to_the_model(operation_model, response_dict, **_):
    """Fails where an answer has a member that the service model does not know, or one of another type: botocore would
    pass over it in silence, and other SDKs would not."""
    shape = operation_model.output_shape
    if response_dict["status_code"] >= 300 or shape is None or "payload" in shape.serialization:
        return
    if body := response_dict["body"]:
        hold_to_shape(json.loads(body), shape, operation_model.name)


# Members that AWS itself answers with what its model does not have (`Creating`), or that we have more of.
OPEN_ENUMS = {"LastUpdateStatusReasonCode", "Runtime"}


def hold_to_shape(value, shape, at):
    if value is None:
        return
    kinds = {"structure": dict, "map": dict, "list": list, "string": str, "boolean": bool, "integer": int, "long": int}
    assert isinstance(value, kinds.get(shape.type_name, object)), f"{at} is no {shape.type_name}: {value!r}"
    if shape.type_name == "structure":
        for name, inner in value.items():
            assert name in shape.members, f"the service model has no {at}.{name}"
            hold_to_shape(inner, shape.members[name], f"{at}.{name}")
    elif shape.type_name == "list":
        for inner in value:
            hold_to_shape(inner, shape.member, f"{at}[]")
    elif shape.type_name == "map":
        for name, inner in value.items():
            hold_to_shape(inner, shape.value, f"{at}.{name}")
    elif shape.type_name == "string" and getattr(shape, "enum", None) and at.split(".")[-1] not in OPEN_ENUMS:
        assert value in shape.enum, f"{at} is none of {shape.enum}: {value!r}"


ports_given = set()


def free_port():
    """A port that nobody has now and that was not given before, from below the range out of which the kernel gives
    ports to connections: those would be taken again before the platform binds."""
    while True:
        port = random.randrange(20_000, 32_000)
        if port in ports_given:
            continue
        with socket.socket() as listener:
            try:
                listener.bind(("127.0.0.1", port))
                ports_given.add(port)
                return port
            except OSError:
                continue


class Process:
    """One hearth process; its output goes to a file and, line by line, to whoever waits for a line."""

    def __init__(self, name, args, log_dir, env):
        self.name, self.args, self.env = name, [str(a) for a in args], env
        self.log = log_dir / f"{name}.log"
        # What it is started by, if not by us alone: as another user, say.
        self.prefix = []
        self.process = None
        self.lines = queue.Queue()
        self.said = []

    def start(self):
        self.lines = queue.Queue()
        self.process = subprocess.Popen(
            [*self.prefix, str(HEARTH), *self.args],
            stdout=subprocess.PIPE,
            stderr=self.log.open("ab"),
            env={**without_ours(os.environ), **FAST, **self.env},
            text=True,
        )
        threading.Thread(target=self._read, args=(self.process.stdout, self.lines), daemon=True).start()

    def _read(self, stream, lines):
        for line in stream:
            lines.put(line.rstrip("\n"))
        lines.put(None)

    def wait_for(self, prefix):
        """Waits for a line of standard output that starts with `prefix`."""
        deadline = time.monotonic() + READY_TIMEOUT_S
        seen = []
        while True:
            line = self.lines.get(timeout=max(0.1, deadline - time.monotonic()))
            if line is None:
                raise AssertionError(
                    f"{self.name} ended with {self.process.wait()} before {prefix!r}; it said {seen}\n"
                    + self.log.read_text(errors="replace")[-4000:]
                )
            seen.append(line)
            self.said.append(line)
            if line.startswith(prefix):
                return line

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def terminate(self):
        """SIGTERM; returns the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=STOP_TIMEOUT_S)

    @property
    def running(self):
        return self.process is not None and self.process.poll() is None


class Platform:
    """What tests see."""

    def __init__(self, directory, isolation, extra=None):
        self.directory = Path(directory)
        self.data = self.directory / "data"
        self.isolation = isolation
        self.extra = dict(extra or {})
        self.port = free_port()
        self.endpoint = f"http://127.0.0.1:{self.port}"
        self.processes = {}

    def start(self):
        for process in self.processes.values():
            process.start()
        self.wait_ready()
        return self

    def stop(self):
        """Stops everything with SIGTERM, edge first; returns the exit codes by role."""
        return {name: process.terminate() for name, process in self.processes.items() if process.process}

    def kill(self, role):
        self.processes[role].kill()

    def restart(self, role):
        self.processes[role].start()
        self.processes[role].wait_for("ready")

    def wait_ready(self):
        for process in self.processes.values():
            process.wait_for("ready")

    @property
    def credentials(self):
        return self.data / "credentials"

    def keys(self):
        parser = configparser.ConfigParser()
        parser.read(self.credentials)
        profile = parser["hearth"]
        return profile["aws_access_key_id"], profile["aws_secret_access_key"]

    def client(self, retries=0, timeout_s=120, validate=True, **overrides):
        key, secret = self.keys()
        options = {
            "aws_access_key_id": key,
            "aws_secret_access_key": secret,
            "region_name": "us-east-1",
            "endpoint_url": self.endpoint,
            "config": botocore.config.Config(
                retries={"total_max_attempts": retries + 1, "mode": "standard"},
                read_timeout=timeout_s,
                max_pool_connections=64,
                parameter_validation=validate,
            ),
        }
        client = boto3.client("lambda", **{**options, **overrides})
        client.meta.events.register("before-parse.lambda", held_to_the_model)
        return client

    def environment(self):
        """Environment for awscli and for hearth's own client commands."""
        key, secret = self.keys()
        return {
            **without_ours(os.environ),
            "AWS_ACCESS_KEY_ID": key,
            "AWS_SECRET_ACCESS_KEY": secret,
            "AWS_DEFAULT_REGION": "us-east-1",
            "HEARTH_ENDPOINT": self.endpoint,
        }

    def cli(self, *args, stdin=None, check=True):
        """Runs a `hearth` client command."""
        done = subprocess.run(
            [str(HEARTH), *map(str, args)], env=self.environment(), input=stdin, capture_output=True, text=True, timeout=120
        )
        if check and done.returncode != 0:
            raise AssertionError(f"hearth {args} exited {done.returncode}\n{done.stdout}\n{done.stderr}")
        return done

    def workers_view(self):
        return json.loads(self.cli("workers", "--output", "json").stdout)

    def logs(self):
        return "\n".join(
            f"--- {p.name}\n{p.log.read_text(errors='replace')[-3000:]}" for p in self.processes.values() if p.log.exists()
        )


class One(Platform):
    """`hearth up`."""

    form = "one"

    def __init__(self, directory, isolation, extra=None):
        super().__init__(directory, isolation, extra)
        self.admin_port = free_port()
        args = [
            "up", "--listen", f"127.0.0.1:{self.port}", "--admin-listen", f"127.0.0.1:{self.admin_port}",
            "--data-dir", self.data, "--isolation", isolation,
            *(["--guest-images", GUEST_IMAGES] if isolation == "kvm" else []),
        ]  # fmt: skip
        self.processes = {"up": Process("up", args, self.directory, self.extra)}

    def role(self, _name):
        """The process that plays a role."""
        return "up"

    workers = ("up",)


class Roles(Platform):
    """Five processes joined by gRPC."""

    form = "roles"
    workers = ("worker-1", "worker-2")

    def __init__(self, directory, isolation, extra=None):
        super().__init__(directory, isolation, extra)
        ports = {name: free_port() for name in ("placement", "worker-manager", *self.workers)}
        self.admin_ports = {name: free_port() for name in ("frontend", *ports)}
        url = {name: f"http://127.0.0.1:{port}" for name, port in ports.items()}

        def role(name, command, *args):
            listen = ["--listen", f"127.0.0.1:{self.port if name == 'frontend' else ports[name]}"]
            admin = ["--admin-listen", f"127.0.0.1:{self.admin_ports[name]}"]
            return Process(name, [command, *listen, *admin, *args], self.directory, self.extra)

        bundles = self.data / "bundles"
        self.processes = {
            "frontend": role("frontend", "frontend", "--data-dir", self.data, "--worker-manager", url["worker-manager"]),
            "worker-manager": role("worker-manager", "worker-manager", "--placement", url["placement"]),
            "placement": role("placement", "placement"),
        } | {
            name: role(
                name, "worker", "--id", name, "--placement", url["placement"], "--isolation", isolation,
                "--data-dir", self.directory / name, "--bundle-dir", bundles,
            )
            for name in self.workers
        }  # fmt: skip

    def role(self, name):
        return name


FORMS = {"one": One, "roles": Roles}
