"""docs/seeds.md says what it shows: every row of the five seed pages once, targets that exist, tests that exist.

The rows themselves stand only on the page; here is how many each seed page has. `target` is what other tests of the docs use
to see whether a name in backticks is a name of godwit.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import re
import textwrap
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple, cast

import pytest

import godwit
from godwit.core.events import EVENT_TYPES
from godwit.surfaces import agui

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "seeds.md"
ROWS = {"S000": 24, "S001": 131, "S002": 33, "S003": 37, "S004": 26}
CAPABILITIES = ("AG-UI", "conversation", "governed workspace", "subagents and lanes", "MCP", "server")

_ROW = re.compile(r"^\| (S\d{3}-\d{2,3}) \| (.+?) \| (.*?) \| (.*?) \| (.+?) \|$")
_NAME = re.compile(r"`([^`]+)`")
_DOTTED = re.compile(r"^([A-Za-z_][\w.]*)(?:\((\w*)=?.*\))?$")


class Row(NamedTuple):
    id: str
    what: str
    ours: str
    test: str
    mark: str


def rows() -> list[Row]:
    found = []
    for line in PAGE.read_text().splitlines():
        if line.startswith("| S"):
            match = _ROW.match(line)
            assert match, f"not a row: {line}"
            found.append(Row(*(part.strip() for part in match.groups())))
    return found


ALL = rows()
WORKING = [row for row in ALL if row.mark == "works"]


# --- names ----------------------------------------------------------------------------------------------------------


@cache
def homes() -> dict[str, Any]:
    """Every public class, function and constant of godwit by its bare name, the exported ones first. Of surfaces those of
    the library for AG-UI, which is used like godwit itself."""
    found: dict[str, Any] = {name: getattr(godwit, name) for name in godwit.__all__}
    found |= {name: getattr(agui, name) for name in agui.__all__ if name not in found}
    for module in pkgutil.walk_packages(godwit.__path__, "godwit."):
        if module.name.startswith(("godwit.surfaces", "godwit.__main__")):
            continue
        loaded = importlib.import_module(module.name)
        for name, value in vars(loaded).items():
            if not name.startswith("_") and getattr(value, "__module__", module.name) == module.name:
                found.setdefault(name, value)
    return found


@cache
def instance_names(cls: Any) -> frozenset[str]:
    """What instances of `cls` get in its methods (`self.name = ...`) or declare in its body."""
    found: set[str] = set()
    for base in cls.__mro__:
        found.update(getattr(base, "__annotations__", {}))
        try:
            tree = ast.parse(textwrap.dedent(inspect.getsource(base)))
        except (OSError, TypeError):
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and ast.unparse(node.value) == "self":
                found.add(node.attr)
    return frozenset(found)


def problem(name: str) -> str | None:
    """Why `Session.send(history=)` or the like is no name of godwit; None when it is one."""
    if name in EVENT_TYPES:
        return None
    match = _DOTTED.match(name)
    if match is None:
        return f"{name!r} is not a name"
    dotted, argument = match.groups()
    head, *rest = dotted.removeprefix("godwit.").split(".")
    if head not in homes():
        return f"godwit has no {head!r}"
    value = homes()[head]
    for step in rest:
        if hasattr(value, step):
            value = getattr(value, step)
        elif inspect.isclass(value) and step in instance_names(cast("Any", value)):
            value = None
        else:
            return f"{name!r}: there is no {step!r}"
    if argument and value is not None and argument not in inspect.signature(value).parameters:
        return f"{name!r}: it takes no {argument!r}"
    return None


def test_the_resolver_tells_names_from_others() -> None:
    for good in (
        "Session.send",
        "godwit.Session.send(history=)",
        "Session.queue",
        "Event.labels",
        "run.finished",
        "SessionBusy",
    ):
        assert problem(good) is None, good
    for bad in ("Session.sing", "Sessions", "Session.send(melody=)", "run.flew", "a name"):
        assert problem(bad) is not None, bad


# --- tests ----------------------------------------------------------------------------------------------------------


@cache
def functions(path: str) -> frozenset[str]:
    """The test functions of a file, those of classes as `Class::name`."""
    found: set[str] = set()
    for node in ast.parse((ROOT / path).read_text()).body:
        inside = node.body if isinstance(node, ast.ClassDef) else [node]
        prefix = f"{node.name}::" if isinstance(node, ast.ClassDef) else ""
        found.update(f"{prefix}{f.name}" for f in inside if isinstance(f, ast.FunctionDef | ast.AsyncFunctionDef))
    return frozenset(found)


def test_every_row_is_there_once() -> None:
    ids = [row.id for row in ALL]
    wanted = [f"{page}-{number:02}" for page, count in ROWS.items() for number in range(1, count + 1)]
    assert ids == wanted
    assert len(ids) == sum(ROWS.values()) == 251


def test_marks_are_of_the_closed_list() -> None:
    allowed = re.compile(rf"^(works|partly: .{{10,}}|later: ({'|'.join(CAPABILITIES)}))$")
    assert [f"{row.id}: {row.mark}" for row in ALL if not allowed.match(row.mark)] == []


@pytest.mark.parametrize("row", WORKING, ids=lambda row: row.id)
def test_what_works_has_a_name_and_a_test(row: Row) -> None:
    names = _NAME.findall(row.ours)
    assert names, f"{row.id} works and names nothing of ours"
    assert _NAME.fullmatch(row.test), f"{row.id} works and names no test"


def test_every_name_on_the_page_exists() -> None:
    """Also in rows that work in part or later: they name what is there already."""
    found = []
    for row in ALL:
        for name in _NAME.findall(row.ours):
            if name == ":memory:":
                continue
            why = problem(name)
            if why is not None:
                found.append(f"{row.id}: {why}")
    assert found == []


def test_every_test_on_the_page_exists() -> None:
    missing = []
    for row in ALL:
        for named in _NAME.findall(row.test):
            path, _, function = named.partition("::")
            if (
                not (ROOT / path).is_file()
                or function not in functions(path)
                or not function.split("::")[-1].startswith("test_")
            ):
                missing.append(f"{row.id}: {named}")
    assert missing == []


def test_the_tests_written_for_rows_name_rows_that_work() -> None:
    """The modules tests/engine/test_seed_*.py name the rows they show; the page must not call them missing."""
    marks = {row.id: row.mark for row in ALL}
    wrong = []
    modules = sorted((ROOT / "tests" / "engine").glob("test_seed_*.py"))
    assert modules
    for node in chain.from_iterable(ast.parse(module.read_text()).body for module in modules):
        if not isinstance(node, ast.AsyncFunctionDef | ast.FunctionDef) or not node.name.startswith("test_"):
            continue
        named = _ids(ast.get_docstring(node) or "")
        wrong += [f"{node.name}: {i}" for i in named if marks.get(i, "later").startswith("later")]
        wrong += [] if named else [f"{node.name} names no row"]
    assert wrong == []


def _ids(docstring: str) -> list[str]:
    """The rows of `S001-01, 02, S003-04: ...`."""
    found, page = [], ""
    for given, number in re.findall(r"(?:(S\d{3})-)?\b(\d{2,3})\b", re.split(r"[:.]", docstring)[0]):
        page = given or page
        found.append(f"{page}-{number}")
    return found
