"""Imports only go down (ARCHITECTURE.md): read from the syntax tree, so type-only imports and those in functions count too.

The rules are the table below. A new package under `src/godwit` fails until it has a place in it.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

SRC = Path(__file__).resolve().parent.parent / "src"
PARTS = {"stores", "models", "tools", "workspaces"}
BELOW_HOST = {"core", "contracts", "engine", *PARTS}

# area -> the areas it may import besides itself. An area is a package or a module directly under `godwit`.
MAY_IMPORT: dict[str, set[str]] = {
    "core": set(),
    "threads": set(),
    "contracts": {"core"},
    "engine": {"contracts", "core", "threads"},
    **{part: {"contracts", "core", "threads"} for part in PARTS},
    "host": BELOW_HOST,
    "testing": {"host", *BELOW_HOST},
    "surfaces": {"host", "client", *BELOW_HOST},
    "client": {"host", *BELOW_HOST},
    # The public names, and the way to start the command line: they stand above all.
    "__init__": {"host", "client", "testing", *BELOW_HOST},
    "__main__": {"surfaces"},
}

# Core is pure: what does I/O, waits, reads a clock or draws chance comes in through the two sources of ids.py.
IMPURE = {
    "asyncio", "concurrent", "contextvars", "ctypes", "fcntl", "http", "io", "logging", "multiprocessing", "os", "pathlib",
    "random", "secrets", "select", "selectors", "shutil", "signal", "socket", "sqlite3", "ssl", "subprocess", "sys",
    "tempfile", "threading", "time", "urllib", "uuid",
}  # fmt: skip
ONLY_IN_IDS = {"os", "time"}
IMPURE_CALLS = {"open", "input", "print", "exec", "eval", "__import__"}
IMPURE_METHODS = {"now", "utcnow", "today"}

# They cost too much to be loaded by a bare `import godwit`: imported inside the function that needs them.
HEAVY = {
    "anthropic", "fastapi", "genai_prices", "google", "httpx", "mcp", "nicegui", "openai", "opentelemetry", "psycopg",
    "pydantic", "pydantic_ai", "rich", "sqlalchemy", "starlette", "textual", "tree_sitter", "tree_sitter_bash",
    "typer", "uvicorn",
}  # fmt: skip


class Import(NamedTuple):
    """`target`: the module as written out; `top`: it runs when the importing module is loaded."""

    target: str
    line: int
    top: bool


def modules() -> dict[str, Path]:
    found = {}
    for path in sorted((SRC / "godwit").rglob("*.py")):
        name = ".".join(path.relative_to(SRC).with_suffix("").parts)
        found[name.removesuffix(".__init__") if name != "godwit.__init__" else "godwit"] = path
    return found


MODULES = modules()


@cache
def tree(module: str) -> ast.Module:
    return ast.parse(MODULES[module].read_text(), str(MODULES[module]))


def area(module: str) -> str:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


def imports(module: str) -> Iterator[Import]:
    package = module if MODULES[module].name == "__init__.py" else module.rpartition(".")[0]
    yield from _imports(tree(module), package, top=True)


def _imports(node: ast.AST, package: str, top: bool) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        inner = top
        match child:
            case ast.Import(names=names):
                yield from (Import(alias.name, child.lineno, top) for alias in names)
            case ast.ImportFrom(module=base, names=names, level=level):
                if level:
                    above = package.split(".")[: len(package.split(".")) - level + 1]
                    base = ".".join([*above, *([base] if base else [])])
                assert base is not None
                for alias in names:
                    # `from package import module` is an import of the module, where there is one.
                    deeper = f"{base}.{alias.name}"
                    yield Import(deeper if deeper in MODULES else base, child.lineno, top)
            case ast.Call(func=ast.Attribute(attr="import_module") | ast.Name(id="import_module" | "__import__"), args=args):
                for argument in args[:1]:
                    if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
                        name = argument.value
                        yield Import(f"{package}{name}" if name.startswith(".") else name, child.lineno, False)
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.Lambda():
                inner = False
            case ast.If(test=ast.Name(id="TYPE_CHECKING") | ast.Attribute(attr="TYPE_CHECKING")):
                inner = False
            case _:
                pass
        yield from _imports(child, package, inner)


def own(target: str) -> bool:
    return target == "godwit" or target.startswith("godwit.")


def place(module: str, found: Import) -> str:
    return f"{module}:{found.line} imports {found.target}"


def test_every_package_has_a_place_in_the_table() -> None:
    assert {area(m) for m in MODULES} <= MAY_IMPORT.keys()


def test_imports_only_go_down() -> None:
    wrong = []
    for module in MODULES:
        mine = area(module)
        for found in imports(module):
            if own(found.target) and area(found.target) != mine and area(found.target) not in MAY_IMPORT[mine]:
                wrong.append(place(module, found))
    assert not wrong, "\n".join(wrong)


def test_contracts_are_taken_from_their_package() -> None:
    """In which module of it a contract stands is nobody else's business, so that it can be moved."""
    wrong = [
        place(module, found)
        for module in MODULES
        if area(module) != "contracts"
        for found in imports(module)
        if found.target.startswith("godwit.contracts.")
    ]
    assert not wrong, "\n".join(wrong)


def word(module: str) -> str:
    """A surface is named by its first word: `cli_table` belongs to `cli`."""
    parts = module.split(".")
    return parts[2].split("_")[0] if len(parts) > 2 else ""


DIALECTS = {"managed", "openai", "api", "mcp", "agui"}
"""First words of the packages that stand on `server`; the app of the server is where they are put together."""


def test_surfaces_do_not_know_each_other() -> None:
    def allowed(module: str, target: str) -> bool:
        mine, other = word(module), word(target)
        together = module in ("godwit.surfaces.server.app", "godwit.surfaces.server.sources") and other in DIALECTS
        starts = module in ("godwit.surfaces.cli_serve", "godwit.surfaces.cli_webhooks") and other == "server"
        starts = starts or (module == "godwit.surfaces.cli_mcp_serve" and other in ("mcp", "server"))
        return mine == other or together or starts or (mine in DIALECTS and other == "server")

    wrong = [
        place(module, found)
        for module in MODULES
        if area(module) == "surfaces"
        for found in imports(module)
        if found.target.startswith("godwit.surfaces.") and not allowed(module, found.target)
    ]
    assert not wrong, "\n".join(wrong)


def test_no_import_goes_in_a_circle() -> None:
    graph = {m: sorted({f.target for f in imports(m) if f.target in MODULES and f.target != m}) for m in MODULES}
    done: set[str] = set()

    def visit(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, " -> ".join((*path[path.index(module) :], module))
        if module not in done:
            for target in graph[module]:
                visit(target, (*path, module))
            done.add(module)

    for module in graph:
        visit(module, ())


def test_the_ways_out_of_a_sandbox_need_python_alone() -> None:
    """They run as a command where nothing of ours may be there."""
    package = "godwit.testing.escapes"
    theirs = [m for m in MODULES if m == package or m.startswith(f"{package}.")]
    found = [(m, f) for m in theirs for f in imports(m) if not f.target.startswith(f"{package}.")]
    assert not [place(m, f) for m, f in found if f.target.split(".")[0] not in sys.stdlib_module_names]


@pytest.mark.parametrize("layer", ["core", "contracts", "engine"])
def test_the_lower_layers_need_the_standard_library_and_msgspec_alone(layer: str) -> None:
    allowed = sys.stdlib_module_names | {"msgspec"}
    wrong = [
        place(module, found)
        for module in MODULES
        if area(module) == layer
        for found in imports(module)
        if not own(found.target) and found.target.split(".")[0] not in allowed
    ]
    assert not wrong, "\n".join(wrong)


def test_the_core_does_nothing_but_think() -> None:
    wrong = []
    for module in MODULES:
        if area(module) != "core":
            continue
        allowed = ONLY_IN_IDS if module == "godwit.core.ids" else set()
        wrong += [place(module, f) for f in imports(module) if f.target.split(".")[0] in IMPURE - allowed]
        for node in ast.walk(tree(module)):
            match node:
                case ast.Call(func=ast.Name(id=name)) if name in IMPURE_CALLS:
                    wrong.append(f"{module}:{node.lineno} calls {name}()")
                case ast.Call(func=ast.Attribute(attr=name, value=ast.Name(id="datetime" | "date"))) if (
                    name in IMPURE_METHODS
                ):
                    wrong.append(f"{module}:{node.lineno} asks for the time")
                case ast.AsyncFunctionDef() | ast.Await() | ast.AsyncWith() | ast.AsyncFor():
                    wrong.append(f"{module}:{node.lineno} waits")
                case _:
                    pass
    assert not wrong, "\n".join(wrong)


WEB = {"server", "managed_agents", "openai_agents", "api", "mcp_server", "agui"}
"""Packages of `surfaces` that are themselves loaded on first use, so that they may load web libraries."""


def test_web_packages_are_loaded_on_first_use() -> None:
    names = {f"godwit.surfaces.{name}" for name in WEB}
    wrong = []
    for module in MODULES:
        if not any(module == name or module.startswith(f"{name}.") for name in names):
            wrong += [place(module, f) for f in imports(module) if f.top and ".".join(f.target.split(".")[:3]) in names]
    assert not wrong, "\n".join(wrong)


LIGHT = {"app", "errors", "caller", "roster", "shapes", "uris", "wire"}
"""Modules of `mcp_server` that are loaded before the first request."""


def test_heavy_libraries_are_loaded_on_first_use() -> None:
    wrong = []
    for module in MODULES:
        allowed = {"rich", "typer"} if area(module) == "surfaces" and word(module) == "cli" else set()
        if area(module) == "surfaces" and module.split(".")[2:3] and module.split(".")[2] in WEB:
            allowed = {"starlette", "fastapi", "pydantic", "uvicorn"}
        if module.startswith("godwit.surfaces.mcp_server.") and module.rpartition(".")[2] not in LIGHT:
            allowed |= {"mcp"}
        wrong += [place(module, f) for f in imports(module) if f.top and f.target.split(".")[0] in HEAVY - allowed]
    assert not wrong, "\n".join(wrong)


ENDPOINT = {
    "acting", "answers", "app", "capabilities", "content", "conversation", "cursors", "ends", "errors", "feed", "following",
    "inputs", "interrupts", "leaving", "ordering", "outcome", "parts", "projection", "snapshots", "telling", "threads",
}  # fmt: skip
"""Modules of `agui` by which a server's sessions are told; the others are for any program that produces such streams."""


def test_what_produces_streams_of_agui_needs_nothing_else_of_godwit() -> None:
    def allowed(target: str) -> bool:
        if not target.startswith("godwit."):
            return target.split(".")[0] not in HEAVY
        _, _, name = target.partition("godwit.surfaces.agui")
        return target == "godwit.core.errors" or (bool(name) and name.split(".")[1] not in ENDPOINT)

    wrong = []
    for module in MODULES:
        _, package, name = module.partition("godwit.surfaces.agui.")
        if package and name not in ENDPOINT:
            wrong += [place(module, found) for found in imports(module) if not allowed(found.target)]
    assert not wrong, "\n".join(wrong)


def test_only_the_log_appends_to_a_store() -> None:
    wrong = []
    for module in MODULES:
        if module == "godwit.engine.log" or area(module) in ("stores", "testing"):
            continue
        for node in ast.walk(tree(module)):
            match node:
                case ast.Call(func=ast.Attribute(attr="append", value=ast.Name(id=name) | ast.Attribute(attr=name))):
                    if name.strip("_") == "store":
                        wrong.append(f"{module}:{node.lineno}")
                case _:
                    pass
    assert not wrong, "\n".join(wrong)


def test_the_walk_sees_every_form_of_import() -> None:
    """The tests above prove nothing if an import can hide."""
    source = """
from ..core import events
from .log import append_outside as a
import godwit.stores.sqlite
if TYPE_CHECKING:
    from ..host.runtime import Runtime
def f():
    import pydantic_ai.models
    importlib.import_module("godwit.tools")
class C:
    try:
        import asyncio
    except ImportError:
        pass
"""
    found = list(_imports(ast.parse(source), "godwit.engine", top=True))
    assert [(f.target, f.top) for f in found] == [
        ("godwit.core.events", True),
        ("godwit.engine.log", True),
        ("godwit.stores.sqlite", True),
        ("godwit.host.runtime", False),
        ("pydantic_ai.models", False),
        ("godwit.tools", False),
        ("asyncio", True),
    ]
