"""Our Python bootstrap's own way with JSON, beside the standard library's: the same answers, and the same errors."""

import decimal
import enum
import json
import pathlib
import subprocess
import sys

import pytest

SDK = pathlib.Path(__file__).parents[2] / "sdk" / "python"
ESCAPES = sys.version_info < (3, 12)


@pytest.fixture(scope="module")
def bootstrap():
    sys.path.insert(0, str(SDK))
    written, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        import hearth_bootstrap
    finally:
        sys.path.remove(str(SDK))
        sys.dont_write_bytecode = written
    return hearth_bootstrap


class Number(enum.IntEnum):
    ONE = 1


def outcome(function, argument):
    try:
        return repr(function(argument))
    except Exception as error:
        return "{}: {}".format(type(error).__name__, error)


@pytest.mark.parametrize(
    "document",
    [b"1", b' {"a": [1, 2.5e3, NaN, -Infinity, null, true]} \n', '{"é": 1}', b"\xef\xbb\xbf1", '{"a": 1}'.encode("utf-16"),
     "1".encode("utf-16-le"), "[1]".encode("utf-32"), b"", b"1 2", b"{", b'{"a"}', b'"\xff"', b'"\\ud800"', b'"\xed\xa0\x80"',
     b"[1,]", b"\x0c1", b"1" * 400 + b".5", b'"a\nb"', b"[" * 200 + b"]" * 200],
)  # fmt: skip
def test_documents_are_read_as_json_does(bootstrap, document):
    assert outcome(bootstrap.from_json, document) == outcome(json.loads, document)


CIRCLE = []
CIRCLE.append(CIRCLE)


@pytest.mark.parametrize(
    "value",
    [1, 'é"\n', None, True, 1.5, float("nan"), float("inf"), Number.ONE, {1: 2, None: 3, True: 4, 1.5: [(), {}]}, {1, 2},
     object(), CIRCLE, b"x", {(1,): 2}, 10**30, "\ud800", []],
)  # fmt: skip
def test_values_are_written_as_json_does(bootstrap, value):
    assert outcome(bootstrap.to_json, value) == outcome(lambda it: json.dumps(it, ensure_ascii=ESCAPES), value)


def test_decimals_are_numbers(bootstrap):
    assert bootstrap.to_json({"a": decimal.Decimal("1.10"), "b": [decimal.Decimal("NaN")]}) == '{"a": 1.10, "b": [NaN]}'


def test_a_function_that_imports_nothing_pays_for_nothing():
    """What the bootstrap brings in is every cold start's and every idle slot's."""
    loaded = "import hearth_bootstrap, sys; print(sorted({'json', 're', 'logging', 'traceback', 'enum'} & set(sys.modules)))"
    environment = {"PYTHONPATH": str(SDK), "PYTHONDONTWRITEBYTECODE": "1"}
    run = subprocess.run([sys.executable, "-S", "-c", loaded], env=environment, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_logging_is_set_up_when_it_is_imported_and_is_the_standard_librarys(tmp_path):
    (tmp_path / "logging.py").write_text("raise SystemExit('the wrong one')\n")
    script = (
        "import hearth_bootstrap as b, sys\n"
        "sys.meta_path.insert(0, b.StandardFirst()); sys.path.insert(0, {!r})\n"
        "b.Invocation.request_id = 'seven'\n"
        "import logging; logging.error('told'); print(type(logging.__loader__).__name__)\n"
    ).format(str(tmp_path))
    environment = {"PYTHONPATH": str(SDK), "PYTHONDONTWRITEBYTECODE": "1"}
    run = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    first, loader = run.stdout.strip().splitlines()
    assert first.startswith("[ERROR]\t") and first.endswith("Z\tseven\ttold") and loader == "SourceFileLoader"
