"""Zips made on the spot."""

import io
import stat
import zipfile
from pathlib import Path

FUNCTIONS = Path(__file__).parent / "functions"


def zip_of(files):
    """A zip of {name: text or bytes}; names that are executable start with `!`."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            executable = name.startswith("!")
            info = zipfile.ZipInfo(name.lstrip("!"), date_time=(2026, 1, 1, 0, 0, 0))
            info.external_attr = (stat.S_IFREG | (0o755 if executable else 0o644)) << 16
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, content)
    return buffer.getvalue()


def python(source, module="app"):
    return zip_of({f"{module}.py": source})


def node(source, file="index.js"):
    return zip_of({file: source})


def bootstrap(path):
    return zip_of({"!bootstrap": Path(path).read_bytes()})
