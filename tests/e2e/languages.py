"""The languages that functions can be written in, each with a program that does what test_languages.py asks (in
`languages/`), how it is compiled, and what a failure of it looks like."""

import os
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from platform_under_test import HEARTH, ROOT

PROGRAMS = Path(__file__).parent / "languages"
CUSTOM = "provided.al2023"


@dataclass(frozen=True)
class Language:
    """One language. `fails` maps a way to fail at init to handler and (errorType, start of errorMessage)."""

    name: str
    # Of the runtimes it runs on, by the start of their names; `provided.al2023` for programs of their own.
    runtime: str
    handler: str
    # errorType of the error that the programs call Broken.
    broken: str
    # Program that has to be there for it to be compiled.
    compiler: str = ""
    # Whether what stands behind an error is in the log.
    logs_cause: bool = False
    fails: dict = field(default_factory=dict)

    def files(self, directory):
        """{name: content} of its bundle; compiles into `directory` what has to be."""
        return COMPILE[self.name](PROGRAMS / self.name, directory) if self.name in COMPILE else tree(PROGRAMS / self.name)

    def missing(self):
        """Why it can't be compiled here, if it can't."""
        if built := os.environ.get("E2E_COMPILED"):
            there = not self.compiler or (Path(built) / f"every-{self.name}").exists()
            return None if there else f"no every-{self.name} in {built}"
        if self.compiler and not shutil.which(self.compiler):
            return f"no {self.compiler} on this machine"
        if self.name == "java" and not HEARTH.with_name("hearth-java.jar").exists():
            return "no hearth-java.jar beside hearth: there was no Java compiler"
        return None


def tree(directory, strip=None):
    """A directory as {name: content}."""
    top = strip or directory
    return {str(path.relative_to(top)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def run(*command, cwd=ROOT, **environment):
    done = subprocess.run([str(part) for part in command], cwd=cwd, env={**os.environ, **environment}, capture_output=True, text=True)
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"


def compiled(program):
    return {"!bootstrap": program.read_bytes()}


def java(source, directory):
    if built := os.environ.get("E2E_COMPILED"):
        return tree(Path(built) / "every-java")
    sources = [str(path) for path in source.rglob("*.java")]
    run("javac", "--release", "17", "-cp", HEARTH.with_name("hearth-java.jar"), "-d", directory, *sources)
    return tree(directory)


def go(source, directory):
    run("go", "build", "-o", directory / "bootstrap", ".", cwd=source, CGO_ENABLED="0", GOFLAGS="-mod=mod", GOPROXY="off")
    return compiled(directory / "bootstrap")


def cpp(source, directory):
    run("g++", "-std=c++17", "-O1", "-Wall", "-Wextra", "-Werror", "-static", "-o", directory / "bootstrap", source / "main.cpp")
    return compiled(directory / "bootstrap")


def rust(_source, _directory):
    if built := os.environ.get("E2E_COMPILED"):
        return compiled(Path(built) / "every-rust/bootstrap")
    run("cargo", "build", "--quiet", "--release", "--locked", "-p", "every-rust")
    return compiled(Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release/every-rust")


COMPILE = {"java": java, "go": go, "cpp": cpp, "rust": rust}

LANGUAGES = [
    Language(
        "python", "python3", "app.handler", "Broken",
        fails={
            "raises": ("app.handler", "ValueError", "at init"),
            "no function": ("app.nothing", "Runtime.HandlerNotFound", "Handler 'nothing' missing on module 'app'"),
            "no file": ("nothing.handler", "Runtime.ImportModuleError", "Unable to import module 'nothing': No module"),
            "no sense": ("broken.handler", "Runtime.UserCodeSyntaxError", "Syntax error in module 'broken': "),
        },
    ),
    Language(
        "nodejs", "nodejs", "index.handler", "Broken",
        fails={
            "raises": ("index.handler", "RangeError", "at init"),
            "no function": ("index.nothing", "Runtime.HandlerNotFound", "index.nothing is undefined or not exported"),
            "no file": ("nothing.handler", "Runtime.ImportModuleError", "Error: Cannot find module 'nothing'"),
            "no sense": ("broken.handler", "Runtime.UserCodeSyntaxError", "SyntaxError: "),
        },
    ),
    Language(
        "ruby", "ruby", "app.Functions::Every.handler", "Function<Broken>",
        fails={
            "raises": ("app.handler", "Init<ArgumentError>", "at init"),
            "no function": ("app.nothing", "Function<NoMethodError>", "undefined method `nothing' for #<LambdaHandler"),
            "no class": ("app.Nothing.handler", "Function<NameError>", "uninitialized constant Kernel::Nothing"),
            "no file": ("nothing.handler", "Init<LoadError>", "cannot load such file -- nothing"),
            "no sense": ("broken.handler", "Init<SyntaxError>", ""),
            "no handler": ("app", "Init<ArgumentError>", 'Invalid handler ["app"], must be of form FILENAME.METHOD'),
        },
    ),
    Language(
        "java", "java", "functions.Every", "functions.Every$Broken", compiler="javac", logs_cause=True,
        fails={
            "raises": ("functions.Every", "java.lang.ExceptionInInitializerError", "Error loading class functions.Every"),
            "no function": (
                "functions.Every::nothing", None,
                "No public method named nothing with appropriate method signature found on class functions.Every",
            ),
            "no file": ("functions.Nothing", "java.lang.ClassNotFoundException", "Class not found: functions.Nothing"),
            "no interface": (
                "functions.Every$Broken", None,
                "Class does not implement an appropriate handler interface: functions.Every$Broken",
            ),
        },
    ),
    Language("go", CUSTOM, "none", "Broken", compiler="go"),
    Language("cpp", CUSTOM, "none", "Broken", compiler="g++"),
    Language("rust", CUSTOM, "none", "Broken", compiler="cargo"),
]  # fmt: skip


