"""Which verification commands fit a project, told from the names and the contents of a few of its files.

Pure: the caller lists the folder and reads what `to_read` names. Rules a change must keep: a file that cannot be read as
what it should be gives no preset and never an error; no text of a project's files gets into a command, which is made of our
own words alone; nothing here asks what is installed.
"""

from __future__ import annotations

import configparser
import json
import tomllib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec

from .verification import LONGEST_S, VerificationCommand, VerificationPreset

LARGEST_BYTES = 1024 * 1024
"""A file above this is not read: no project describes itself at such length."""
PROGRAMS_FOLDER = ".venv/bin"

_MAKEFILES = ("GNUmakefile", "makefile", "Makefile")
_JUSTFILES = ("justfile", "Justfile", ".justfile")
_READ = ("pyproject.toml", "setup.cfg", "tox.ini", "package.json", "Cargo.toml", "go.mod", *_MAKEFILES, *_JUSTFILES)


class Project(msgspec.Struct, frozen=True):
    """What is known of a folder. `files`, `folders`: names of its entries. `texts`: contents by name. `programs`: names in
    `.venv/bin`."""

    files: frozenset[str] = frozenset()
    folders: frozenset[str] = frozenset()
    texts: Mapping[str, str] = {}
    programs: frozenset[str] = frozenset()


def to_read(files: Iterable[str]) -> list[str]:
    """Those of these files whose content matters."""
    present = set(files)
    return [name for name in _READ if name in present]


def presets_of(project: Project) -> tuple[VerificationPreset, ...]:
    """Every preset that fits, in a fixed order. Several can: a project may be of two languages and have a Makefile."""
    languages = [p for find in (_python, _node, _rust, _go) for p in find(project)]
    # A task runner's `test` mostly calls what the language's own preset calls: it is required only where there is none.
    alone = not any(c.required for p in languages for c in p.commands)
    runners = [p for find in (_make, _just) for p in find(project, alone)]
    return (*languages, *runners)


def _command(language: str, kind: str, command: str, description: str, *, required: bool = False) -> VerificationCommand:
    return VerificationCommand(f"{language}:{kind}", command, kind, description, required, LONGEST_S)


def _preset(
    name: str, description: str, commands: list[VerificationCommand], found: Iterable[str]
) -> list[VerificationPreset]:
    return [VerificationPreset(name, description, tuple(commands), tuple(found))] if commands else []


# --- python ---------------------------------------------------------------------------------------------------------

_PYTHON_FILES = ("pyproject.toml", "setup.py", "setup.cfg", "tox.ini", "pytest.ini", "requirements.txt", "conftest.py")


def _python(project: Project) -> list[VerificationPreset]:
    files = project.files
    found = [name for name in _PYTHON_FILES if name in files]
    loose = sorted(f for f in files if f.endswith(".py") and (f.startswith("test_") or f.endswith("_test.py")))
    if not found and not loose:
        return []
    tables = _toml(project.texts.get("pyproject.toml", ""))
    if tables is None:
        return []
    tool = _table(tables, "tool")
    sections = {name: _sections(project.texts.get(name, "")) for name in ("setup.cfg", "tox.ini")}
    marked = (
        bool({"pytest.ini", "conftest.py"} & files)
        or "pytest" in tool
        or "tool:pytest" in sections["setup.cfg"]
        or "pytest" in sections["tox.ini"]
        or bool({"tests", "test"} & project.folders)
        or bool(loose)
    )
    commands = []
    if marked:
        run = _python_run(project, tool, "pytest", "python3 -m pytest")
        commands.append(_command("python", "test", f"{run} -q", "the tests pass", required=True))
    mypy = _table(tool, "mypy")
    if "mypy" in tool or {"mypy.ini", ".mypy.ini"} & files or "mypy" in sections["setup.cfg"]:
        # Where the configuration says what to check, it is asked; else all is checked.
        whole = "" if {"files", "packages", "modules"} & set(mypy) else " ."
        run = _python_run(project, tool, "mypy", "python3 -m mypy")
        commands.append(_command("python", "types", f"{run}{whole}", "mypy finds no errors"))
    if "ruff" in tool or {"ruff.toml", ".ruff.toml"} & files:
        run = _python_run(project, tool, "ruff", "ruff")
        commands.append(_command("python", "lint", f"{run} check .", "ruff finds nothing"))
    return _preset("python", "a Python project", commands, found or loose[:1])


def _python_run(project: Project, tool: dict[str, Any], program: str, plain: str) -> str:
    """How this project runs `program`: from its own `.venv`, by the tool that manages it, or as found on the path."""
    if program in project.programs and {"python", "python3"} & project.programs:
        python = "python" if "python" in project.programs else "python3"
        return f"{PROGRAMS_FOLDER}/{python} -m {program}"
    if "uv.lock" in project.files or "uv" in tool:
        return f"uv run {program}"
    if "poetry.lock" in project.files or "poetry" in tool:
        return f"poetry run {program}"
    if "pdm.lock" in project.files or "pdm" in tool:
        return f"pdm run {program}"
    if "hatch.toml" in project.files or "envs" in _table(tool, "hatch"):
        return f"hatch run {program}"
    return plain


# --- node, rust, go -------------------------------------------------------------------------------------------------

_MANAGERS = ("npm", "pnpm", "yarn", "bun")
_LOCKS = (
    ("pnpm-lock.yaml", "pnpm"),
    ("yarn.lock", "yarn"),
    ("bun.lock", "bun"),
    ("bun.lockb", "bun"),
)
_TYPE_SCRIPTS = ("typecheck", "type-check", "check-types", "tsc")


def _node(project: Project) -> list[VerificationPreset]:
    try:
        package = json.loads(project.texts.get("package.json", "null"))
    except (ValueError, RecursionError):
        return []
    if not isinstance(package, dict):
        return []
    scripts = {k: v for k, v in _table(package, "scripts").items() if isinstance(v, str) and v.strip()}
    manager = _manager(package, project.files)
    commands = []
    if "test" in scripts and "no test specified" not in scripts["test"]:
        # `bun test` is bun's own runner, not the script.
        commands.append(
            _command(
                "node",
                "test",
                "bun run test" if manager == "bun" else f"{manager} test",
                "the tests pass",
                required=True,
            )
        )
    run = f"{manager} run" if manager in ("npm", "bun") else manager
    types = next((name for name in _TYPE_SCRIPTS if name in scripts), None)
    if types is not None:
        commands.append(_command("node", "types", f"{run} {types}", "the type check finds no errors"))
    if "lint" in scripts:
        commands.append(_command("node", "lint", f"{run} lint", "the linter finds nothing"))
    return _preset("node", "a Node project", commands, ["package.json"])


def _manager(package: dict[str, Any], files: frozenset[str]) -> str:
    named = package.get("packageManager")
    if isinstance(named, str) and (name := named.partition("@")[0]) in _MANAGERS:
        return name
    return next((manager for lock, manager in _LOCKS if lock in files), "npm")


def _rust(project: Project) -> list[VerificationPreset]:
    tables = _toml(project.texts.get("Cargo.toml", ""))
    if not tables or not (_table(tables, "package") or _table(tables, "workspace")):
        return []
    commands = [
        _command("rust", "format", "cargo fmt -- --check", "the code is formatted", required=True),
        _command("rust", "build", "cargo check", "it compiles", required=True),
        _command("rust", "test", "cargo test", "the tests pass", required=True),
        _command("rust", "lint", "cargo clippy --all-targets -- -D warnings", "clippy finds nothing"),
    ]
    return _preset("rust", "a Rust project", commands, ["Cargo.toml"])


def _go(project: Project) -> list[VerificationPreset]:
    lines = project.texts.get("go.mod", "").splitlines()
    if not any(line.split()[:1] == ["module"] and len(line.split()) > 1 for line in lines):
        return []
    commands = [
        _command("go", "test", "go test ./...", "the tests pass", required=True),
        _command("go", "lint", "go vet ./...", "vet finds nothing"),
    ]
    return _preset("go", "a Go module", commands, ["go.mod"])


# --- make, just -----------------------------------------------------------------------------------------------------


def _make(project: Project, alone: bool) -> list[VerificationPreset]:
    return _runner(project, alone, "make", _MAKEFILES, _targets)


def _just(project: Project, alone: bool) -> list[VerificationPreset]:
    return _runner(project, alone, "just", _JUSTFILES, _recipes)


def _runner(
    project: Project, alone: bool, program: str, names: tuple[str, ...], read: Callable[[str], set[str]]
) -> list[VerificationPreset]:
    """The tasks test, check and lint, as far as there are any; the first of test and check is the required one."""
    file = next((name for name in names if name in project.texts), None)
    if file is None:
        return []
    tasks = read(project.texts[file])
    commands: list[VerificationCommand] = []
    for kind, says in (("test", "the tests pass"), ("check", "the checks pass"), ("lint", "the linter finds nothing")):
        if kind in tasks:
            required = alone and not commands and kind != "lint"
            commands.append(_command(program, kind, f"{program} {kind}", says, required=required))
    return _preset(program, f"tasks of a {file}", commands, [file])


def _targets(text: str) -> set[str]:
    """Names a Makefile has explicit rules for, as far as the file itself says."""
    found: set[str] = set()
    goes_on = defining = False
    for line in text.splitlines():
        is_rest, goes_on = goes_on, line.endswith("\\")
        words = line.split()
        if defining or words[:1] == ["define"]:
            defining = words[:1] != ["endef"]
            continue
        if is_rest or line[:1] in ("\t", " ", "#"):
            continue
        head, colon, rest = line.partition("#")[0].partition(":")
        if not colon or "=" in head or rest.lstrip(":").startswith("=") or "=" in rest.partition(";")[0]:
            continue  # an assignment, or one for a target
        found.update(name for name in head.split() if not name.startswith("."))
    return found


def _recipes(text: str) -> set[str]:
    """Names of a justfile's recipes that need no arguments."""
    found: set[str] = set()
    for line in text.splitlines():
        head, colon, rest = line.partition(":")
        words = head.removeprefix("@").split()
        if not colon or not words or line[:1] in ("\t", " ", "#", "[") or rest.startswith("="):
            continue
        if all("=" in word or word.startswith("*") for word in words[1:]):
            found.add(words[0])
    return found


# --- reading --------------------------------------------------------------------------------------------------------


def _toml(text: str) -> dict[str, Any] | None:
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError):
        return None


def _sections(text: str) -> set[str]:
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    try:
        parser.read_string(text)
    except configparser.Error:
        return set()
    return set(parser.sections())


def _table(tables: dict[str, Any], name: str) -> dict[str, Any]:
    found = tables.get(name)
    return found if isinstance(found, dict) else {}
