"""What AWS answered, recorded by others and kept in tests/aws-facts/ (tests/aws-facts/README.md), asked of Hearth.

Each scenario has a function of its own where it needs one. A step that an operation answers with "not implemented", or
whose setting Hearth does not have, is skipped, and so is what follows from it; it counts as soon as that is served.
"""

import functools
import io
import json
import re
import uuid
import warnings
import zipfile
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

import bundles
from conftest import ROLE, eventually

FACTS = Path(__file__).parents[1] / "aws-facts"
ACCOUNT, REGION = "000000000000", "us-east-1"
# Under which key an error has its text (its shape in the service model); others have no shape of their own.
SPELLED = {
    "ResourceNotFoundException": "Message",
    "InvalidParameterValueException": "message",
    "ResourceConflictException": "message",
    "PreconditionFailedException": "message",
}
UNSUPPORTED = re.compile(r"not supported by Hearth|Hearth does not implement")


def scenarios():
    for path in sorted(FACTS.glob("*.json")):
        # The others are read by the tests of what they are about.
        for scenario in json.loads(path.read_text()).get("scenarios", []):
            yield pytest.param(scenario, id=f"{path.stem}-{scenario['test'].split('::')[1]}")


@functools.cache
def code(text):
    return bundles.python(f"def handler(event, context):\n    return {text!r}\n")


@functools.cache
def huge_zip():
    """Small, and one byte too large when it is unpacked."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as writer:
        writer.writestr("app.py", b"#" * (262_144_000 + 1))
    return archive.getvalue()


BLOBS = {"zip": lambda: code("one"), "other-zip": lambda: code("two"), "no-zip": lambda: b"no zip", "huge-zip": huge_zip}


class Replay:
    def __init__(self, client, runtime, source=None):
        self.client, self.runtime, self.source = client, runtime, source
        self.values = {"name": f"fact-{uuid.uuid4().hex[:10]}", "account": ACCOUNT, "region": REGION}
        self.made, self.held, self.skipped = [], 0, []

    def fill(self, value):
        """`value` with what stands in braces put in."""
        if isinstance(value, dict):
            return {self.fill(key): self.fill(inner) for key, inner in value.items()}
        if isinstance(value, list):
            return [self.fill(inner) for inner in value]
        if not isinstance(value, str):
            return value
        if value.strip("{}") in BLOBS and value.startswith("{"):
            return BLOBS[value.strip("{}")]()
        if zeros := re.fullmatch(r"\{zeros:(\d+)\}", value):
            return bytes(int(zeros[1]))
        return re.sub(r"\{([a-z]+(?::\w+)?)\}", lambda found: self.values.get(found[1], found[0]), value)

    def arguments(self, step):
        given = self.fill(step.get("with", {}))
        if step["call"] != "create_function":
            return given
        usual = {"FunctionName": self.values["name"], "Runtime": self.runtime, "Handler": "app.handler", "Role": ROLE}
        zip_file = bundles.python(self.source) if self.source else code("one")
        return {**usual, "Code": {"ZipFile": zip_file}, **given}

    def ask(self, step):
        """(status, answer, error code, error message)"""
        arguments = self.arguments(step)
        try:
            answer = getattr(self.client, step["call"])(**arguments)
        except ClientError as error:
            response = error.response
            return response["ResponseMetadata"]["HTTPStatusCode"], response, *map(response["Error"].get, ("Code", "Message"))
        if step["call"] == "create_function":
            self.made.append(answer["FunctionName"])
        if step["call"] == "invoke":
            self.values["request"] = answer["ResponseMetadata"]["RequestId"]
            answer["Payload"] = document(answer["Payload"].read())
        return answer["ResponseMetadata"]["HTTPStatusCode"], answer, None, None

    def step(self, step):
        if until := step.get("until"):
            assert eventually(lambda: until.items() <= self.ask(step)[1].items()), f"never {until}: {step['case']}"
        status, answer, error, text = self.ask(step)
        if status == 501 or UNSUPPORTED.search(text or ""):
            self.skipped.append(step.get("case", step["call"]))
            return False
        if step.get("setup"):
            assert error is None, f"setting up {step}: {error} {text}"
        elif "differs" in step:
            with pytest.raises(AssertionError):
                self.compare(step, status, answer, error, text)
        else:
            self.compare(step, status, answer, error, text)
            self.held += 1
        revision = answer.get("RevisionId") or answer.get("Configuration", {}).get("RevisionId")
        if label := step.get("revision"):
            self.revise(label, revision)
        for name, member in step.get("save", {}).items():
            self.values[name] = answer[member]
        if step.get("wait"):
            self.settle(answer["FunctionName"], answer["Version"])
        return True

    def compare(self, step, status, answer, error, text):
        case = step["case"]
        assert (status, error) == (step["status"], step.get("code")), f"{case}: {status} {error} {text}"
        if "message" in step:
            assert masked(text) == masked(self.fill(step["message"])), case
        if error in SPELLED and "message" in step:
            assert answer.get(SPELLED[error]) == text, f"{case}: the text is not under {SPELLED[error]!r}"
            assert answer.get("Type") == step.get("type", "User"), case
        if "members" in step:
            hold(self.fill(step["members"]), answer, case)
        for path in step.get("absent", []):
            assert member_of(answer, path) is None, f"{case}: {path} is there"

    def revise(self, label, revision):
        key = f"revision:{label}"
        known = self.values.get(key)
        assert known in (None, revision), f"revision {label} changed"
        if known is None:
            others = [value for name, value in self.values.items() if name.startswith("revision:")]
            assert revision not in others, f"revision {label} is an old one"
        self.values[key] = revision

    def settle(self, name, version="$LATEST"):
        often = {"Delay": 0.02, "MaxAttempts": 500}
        for waiter in ("function_active_v2", "function_updated_v2"):
            self.client.get_waiter(waiter).wait(FunctionName=name, WaiterConfig=often)
        if version != "$LATEST":
            self.client.get_waiter("function_active_v2").wait(FunctionName=name, Qualifier=version, WaiterConfig=often)

    def clean(self):
        for name in self.made:
            try:
                self.client.delete_function(FunctionName=name)
            except self.client.exceptions.ResourceNotFoundException:
                pass


def document(payload):
    return json.loads(payload) if payload else ""


def masked(text):
    """Without the wording of patterns and the list of runtimes, which change as AWS goes on, and without the order of
    values, in which AWS has them as they come."""
    text = re.sub(r"(regular expression pattern: ).*?(?=, Member must not be null\]|; Value |$)", r"\1…", text)
    text = re.sub(r"(enum value set: )\[[^\]]*(?:python|nodejs|provided)[^\]]*\]", r"\1[runtimes]", text)
    return re.sub(r"(enum value set: )\[([^\]]*)\]", lambda found: found[1] + str(sorted(found[2].split(", "))), text)


def member_of(answer, path):
    for name in path.split("."):
        answer = (answer or {}).get(name)
    return answer


def hold(expected, found, at):
    """Every member that was recorded; there may be more."""
    if expected == "*":
        assert found not in (None, ""), f"{at} is missing"
    elif isinstance(expected, dict) and set(expected) == {"json"}:
        hold(expected["json"], json.loads(found), at)
    elif isinstance(expected, dict) and expected:
        assert isinstance(found, dict), f"{at} is {found!r}"
        for name, inner in expected.items():
            hold(inner, found.get(name), f"{at}.{name}")
    elif isinstance(expected, list):
        assert found is not None and len(found) == len(expected), f"{at} is {found!r}"
        for index, inner in enumerate(expected):
            hold(inner, found[index], f"{at}[{index}]")
    else:
        assert found == expected, at


@pytest.mark.parametrize("scenario", scenarios())
def test_recorded(shared, python_runtime, scenario):
    replay = Replay(shared.client(validate=False), python_runtime, scenario.get("code"))
    try:
        if scenario.get("function") or scenario.get("code"):
            step = {"call": "create_function", "with": scenario.get("settings", {})}
            made = replay.client.create_function(**replay.arguments(step))
            replay.made.append(made["FunctionName"])
            replay.settle(made["FunctionName"])
        if scenario.get("publish"):
            version = replay.client.publish_version(FunctionName=replay.values["name"])["Version"]
            replay.settle(replay.values["name"], version)
        for step in scenario["steps"]:
            # Nothing stands on a step that AWS refused.
            if not replay.step(step) and step.get("status", 200) < 300:
                break
    finally:
        replay.clean()
    if replay.skipped and not replay.held:
        pytest.skip(f"not served: {', '.join(replay.skipped)}")
    if replay.skipped:
        warnings.warn(f"{scenario['test']}: {replay.held} held; not served: {', '.join(replay.skipped)}", stacklevel=1)
