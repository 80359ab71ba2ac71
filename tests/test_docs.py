"""The pages under docs/ say what is: names exist and are all told, generated tables are current, examples run as shown.

    python -m tests.test_docs        # writes the generated tables and the outputs of examples into the pages

A Python block whose first line is `# runs` is a whole program; so is a file under examples/ that a page includes with
`<!-- examples/NAME.py -->` before the block. It is run here, in a folder of its own per page, and the `text` block right
behind it must be its output, to the letter. In a `console` block with `# runs`, lines that begin with `$ ` are commands.
Ids, times and folders may differ from run to run: `steadied` says how.
"""

from __future__ import annotations

import contextlib
import importlib.util
import inspect
import io
import os
import re
import shlex
import signal
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import msgspec
import pytest

import godwit
from godwit.contracts import Enclosure
from godwit.core import errors, events, hooks
from godwit.core.attachments import AttachmentLimits
from godwit.core.model_info import ModelInfo
from godwit.engine.approvals import Approvals
from godwit.engine.artifacts import Artifacts
from godwit.engine.queue import Queue
from godwit.engine.receiver import EventReceiver
from godwit.engine.runs import RunHandle
from godwit.engine.session import Home, SessionHome
from godwit.engine.session_tree import ForkHome
from godwit.host.config_sections import SECTIONS
from godwit.host.config_settings import settings
from godwit.models.attachment_limits import limits_for
from tests.patience import PATIENCE_S
from tests.test_seeds import problem

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
EXAMPLES = ROOT / "examples"
PAGES = sorted(DOCS.glob("*.md"))
TOLD = [page for page in PAGES if page.name != "seeds.md"]
"""seeds.md maps names of others to ours; it explains none."""


_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_GENERATED = re.compile(r"(<!-- generated: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
_CODE = re.compile(r"`([^`\n]+)`")
_LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")


def told() -> str:
    return "\n".join(page.read_text() for page in TOLD)


# --- names ----------------------------------------------------------------------------------------------------------


def test_every_public_name_is_told() -> None:
    text = told()
    missing = [n for n in godwit.__all__ if not re.search(rf"(godwit\.{n}\b|`{n}`|\b{n}\()", text)]
    assert missing == []


@pytest.mark.parametrize(
    ("cls", "as_written"),
    [
        (godwit.Session, r"[sS]ession"),
        (godwit.Runtime, r"[rR]untime"),
        (Queue, r"(?:session\.queue|Queue)"),
        (Artifacts, r"(?:session\.artifacts|Artifacts)"),
        (Approvals, r"(?:session\.approvals|Approvals)"),
        (EventReceiver, r"(?:receiver|EventReceiver)"),
        (RunHandle, r"(?:run|RunHandle)"),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else "",
)
def test_every_public_method_is_told(cls: type, as_written: str) -> None:
    text = told()
    # What handles and the desk ask of the runtime is no business of its users.
    inside = {*vars(Home), *vars(SessionHome), *vars(ForkHome), "recovers", "next_stored", "prompt_for_task"}
    own = [vars(base).items() for base in cls.__mro__ if base.__module__.startswith("godwit.")]
    names = [
        n
        for n, v in chain.from_iterable(own)
        if not n.startswith("_") and (callable(v) or isinstance(v, property | classmethod))
    ]
    missing = [n for n in names if n not in inside and not re.search(rf"\b{as_written}\.{n}\b", text)]
    assert missing == []


@pytest.mark.parametrize(
    "call",
    [
        godwit.Runtime.open,
        godwit.Runtime.start_session,
        godwit.Runtime.open_session,
        godwit.Agent,
        godwit.ModelSettings,
        godwit.tool,
    ],
    ids=lambda call: call.__qualname__,
)
def test_every_argument_is_told(call: Any) -> None:
    text = told()
    names = [n for n in inspect.signature(call).parameters if n not in ("self", "path", "agent", "fn")]
    assert [n for n in names if f"`{n}`" not in text and f"{n}=" not in text] == []


def test_limits_are_told_with_their_defaults() -> None:
    shown = dict(re.findall(r"^\| `(\w+)` \| (\S+) \| .+ \|$", (DOCS / "sessions.md").read_text(), re.MULTILINE))
    limits = godwit.Limits()
    assert shown == {n: "none" if getattr(limits, n) is None else str(getattr(limits, n)) for n in limits.__struct_fields__}


def test_every_setting_is_told() -> None:
    """Each table of the files has one on the page with its very settings; those of a table within it stand in its row."""
    page = (DOCS / "configuration.md").read_text()
    tables = dict(re.findall(r"^\| `\[([\w.]+)\]`[^\n]*\n\|---[^\n]*\n((?:\|[^\n]*\n)+)", page, re.MULTILINE))
    inner: dict[str, set[str]] = {}
    shown: dict[str, set[str]] = {}
    for setting in settings():
        table = max((one for one in _tables() if setting.key.startswith(f"{one}.")), key=len, default="")
        first, _, rest = setting.key.removeprefix(f"{table}.").partition(".")
        shown.setdefault(table, set()).add(first)
        if rest:
            inner.setdefault(f"{table} {first}", set()).update(rest.split("."))
    assert shown.pop("") == {"trusted", "hooks"}
    assert "`trusted`" in page
    assert "`[[hooks]]`" in page
    assert set(shown) == _tables()
    rows = {table: _rows(tables.get(table) or tables[table.replace(".tree", "")]) for table in shown}
    for table, keys in shown.items():
        assert {key for key in rows[table] if key in keys} == keys, table
        assert set(rows[table]) - keys == set(), table
    for where, keys in inner.items():
        table, first = where.split(" ")
        told = rows[table][first] + "".join(t for name, t in tables.items() if name == f"{table}.{first}")
        told += (DOCS / "keys.md").read_text() if first == "oauth" else ""
        assert [key for key in sorted(keys) if not re.search(rf"\b{key}\b", told)] == [], where


def _tables() -> set[str]:
    return {table for section in SECTIONS.values() for table in section.tables}


def _rows(table: str) -> dict[str, str]:
    """The settings that a table's first column names, each with its row."""
    return {key: row for row in table.splitlines() for key in re.findall(r"`(\w+)`", row.split("|")[1])}


def test_names_on_the_pages_exist() -> None:
    """`Session.something`, `godwit.something` and the like, wherever they stand in backticks."""
    wrong = []
    for page in TOLD:
        text = _FENCE.sub("", page.read_text())
        for name in _CODE.findall(text):
            if re.match(
                r"^(godwit|Session|Runtime|Queue|Approvals|Agent|Limits|Registry|ToolContext|EventReceiver)\.(?!db)\w", name
            ):
                bare = name if "(" not in name else name[: name.index("(")]
                module = bare.startswith("godwit.") and _is_module(bare)
                why = None if module else problem(bare)
                if why is not None:
                    wrong.append(f"{page.name}: {why}")
    assert wrong == []


def _is_module(name: str) -> bool:
    head, _, last = name.rpartition(".")
    with contextlib.suppress(ModuleNotFoundError):
        if importlib.util.find_spec(name) is not None:
            return True
    with contextlib.suppress(ModuleNotFoundError):
        return hasattr(importlib.import_module(head), last) if head else False
    return False


def test_every_page_is_linked_from_the_index() -> None:
    linked = set(_LINK.findall((DOCS / "README.md").read_text()))
    assert [page.name for page in PAGES if page.name != "README.md" and page.name not in linked] == []


def test_links_lead_somewhere() -> None:
    broken = []
    for page in PAGES:
        for link in _LINK.findall(_FENCE.sub("", page.read_text())):
            if "://" not in link and not (page.parent / link).exists():
                broken.append(f"{page.name}: {link}")
    assert broken == []


def test_pages_say_nothing_of_the_machine_they_were_made_on() -> None:
    found = [
        (page.name, word) for page in PAGES for word in re.findall(r"(?<!\w)/(?:tmp|root|home|Users)/\S*", page.read_text())
    ]
    assert found == []
    assert [page.name for page in PAGES if page.read_text() != shown_as(page.read_text())] == []


# --- generated tables -----------------------------------------------------------------------------------------------

_STAND_INS = {
    "input.delivered": "A queued input was placed in the transcript.",
    "session.paused": "No step is taken from here on; inputs are accepted and wait.",
    "session.resumed": "The session goes on.",
    "session.archived": "The session is final. Its log stays readable.",
    "run.parked": "Only answers from outside are missing: the run waits and needs no process.",
    "run.unparked": "An answer, an interrupt or a skipping steer has come: the run may go on.",
    "turn.started": "A turn begins; `index` counts the session's turns from 1.",
    "turn.finished": "Each call of the turn has its result; the turn enters the transcript as a whole.",
    "action.closed": "The action needs no answer any more, and why.",
    "agent.message": "What the model answered: whole, or as far as it had come when it was cut.",
}
"""What is said of an event whose class says nothing of itself."""


def _doc(cls: type) -> str:
    text = inspect.getdoc(cls) if "__doc__" in vars(cls) and cls.__doc__ else ""
    return " ".join((text or "").split()).replace("|", "\\|")


def table_of_events() -> str:
    lines = ["| type | written by | fields | meaning |", "|---|---|---|---|"]
    for name, cls in events.EVENT_TYPES.items():
        outside = cls in events.OUTSIDE_TYPES
        writer = "outside" if outside else "store" if cls is events.RunUnparked else "driver"
        writer = "import" if cls in events.IMPORT_TYPES else writer
        fields = ", ".join(f"`{field}`" for field in cls.__struct_fields__)
        lines.append(f"| `{name}` | {writer} | {fields} | {_doc(cls) or _STAND_INS[name]} |")
    return "\n".join(lines)


def table_of_errors() -> str:
    lines = ["| code | exception | meaning |", "|---|---|---|"]

    def add(cls: type[errors.GodwitError], depth: int) -> None:
        lines.append(f"| `{cls.code}` | {'&nbsp;&nbsp;' * depth}`{cls.__name__}` | {_doc(cls)} |")
        for child in cls.__subclasses__():
            if child.__module__ == errors.__name__:
                add(child, depth + 1)

    add(errors.GodwitError, 0)
    return "\n".join(lines)


def table_of_commands() -> str:
    import typer.main

    from godwit.surfaces.cli import app

    group: Any = typer.main.get_command(app)
    lines = ["| command | what it does | options |", "|---|---|---|"]
    for name, command in group.commands.items():
        does = " ".join(line for line in (command.help or "").split("\n\n")[:1]).replace("\n", " ")
        given = [p for p in command.params if not p.opts[0].startswith("-")]
        arguments = [w if p.required else f"[{w}]" for p in given for w in [p.metavar or p.name.upper()]]
        options = ", ".join(f"`{max(p.opts, key=len)}`" for p in command.params if p.opts[0].startswith("-"))
        lines.append(f"| `{' '.join(['godwit', name, *arguments])}` | {does} | {options} |")
    return "\n".join(lines)


def table_of_slash_commands() -> str:
    from godwit.engine.builtin_commands import builtin_commands

    lines = ["| command | what it does | while a run is open |", "|---|---|---|"]
    for command in builtin_commands():
        usage = f"/{command.name} {command.usage or ''}".strip().replace("|", "\\|")
        lines.append(f"| `{usage}` | {command.description} | {'yes' if command.safe else 'refused'} |")
    return "\n".join(lines)


def table_of_hooks() -> str:
    lines = ["| point | gating | payload | may change | note |", "|---|---|---|---|---|"]
    for point in hooks.POINTS:
        payload = ", ".join(f"`{key}`" for key in hooks.PAYLOAD[point])
        changes = ", ".join(f"`{key}`" for key in hooks.MODIFIABLE.get(point, ()))
        noted, gating = ("yes" if point in where else "" for where in (hooks.NOTED, hooks.GATING))
        lines.append(f"| `{point}` | {gating} | {payload} | {changes} | {noted} |")
    return "\n".join(lines)


def table_of_promises() -> str:
    from godwit.core.sandbox import PROMISES, SandboxPolicy
    from godwit.surfaces.cli_sandbox import ASKED
    from godwit.workspaces.sandboxes import bubblewrap, landlock

    few = msgspec.structs.replace(ASKED, processes=None)
    best = {
        "bubblewrap": bubblewrap.left_open(ASKED, root=False, filters=True),
        "landlock": landlock.left_open(few, landlock.TESTED_ABI),
        "none": dict.fromkeys(PROMISES, ""),
    }
    lines = [f"| promise | of a command | {' | '.join(best)} |", "|---|---|---|---|---|"]
    for promise, what in PROMISES.items():
        kept = " | ".join("no" if promise in gaps else "yes" for gaps in best.values())
        lines.append(f"| `{promise}` | {what} | {kept} |")
    lines += ["", "Why not, and where less is kept:", ""]
    for promise, why in best["landlock"].items():
        lines.append(f"- landlock, `{promise}`: {why}.")
    inner = Enclosure("/w", "/t", (("/", "read"), ("/w", "write"), ("/w/keys", "hidden")))
    cases = {
        "bubblewrap as root, with `processes`": bubblewrap.left_open(ASKED, root=True, filters=True),
        "bubblewrap on a machine that is none of x86-64, ARM and RISC-V": bubblewrap.left_open(
            ASKED, root=False, filters=False
        ),
        "bubblewrap with `unix_sockets`": bubblewrap.left_open(SandboxPolicy(unix_sockets=True), root=False, filters=True),
        "landlock with `processes`": landlock.left_open(ASKED, landlock.TESTED_ABI),
        "landlock before ABI 3 (Linux 6.2)": landlock.left_open(few, 2),
        "landlock and something hidden within the workspace": landlock.left_open(few, landlock.TESTED_ABI, inner),
    }
    for case, gaps in cases.items():
        for promise, why in gaps.items():
            if promise not in best[case.split()[0]]:
                lines.append(f"- {case}, `{promise}`: {why}.")
    return "\n".join(lines)


def table_of_operations() -> str:
    from godwit.surfaces.api.app import openapi
    from godwit.surfaces.api.operations import PREFIX

    lines = ["| | below `/godwit/v1` | what it does | scope |", "|---|---|---|---|"]
    for path, methods in openapi()["paths"].items():
        for method, told in methods.items():
            does = told["description"].partition(". ")[0].rstrip(".").replace("|", "\\|")
            lines.append(f"| {method.upper()} | `{path.removeprefix(PREFIX)}` | {does}. | {told['x-scope']} |")
    return "\n".join(lines)


def table_of_attachment_limits() -> str:
    given = [limits_for(ModelInfo(f"{name}:x", name)) for name in ("anthropic", "openai", "google", "others")]
    rows: list[tuple[str, Callable[[AttachmentLimits], object]]] = [
        ("bytes of an image", lambda one: _large(one.image_bytes)),
        ("pixels of a side", lambda one: _or_none(one.side, f"{one.side}; {one.crowd_side} beyond {one.crowd} images")),
        ("images in a request", lambda one: _or_none(one.images, _longer(one.provider, one.images, "images"))),
        ("bytes of a PDF", lambda one: _large(one.document_bytes)),
        ("pages in a request", lambda one: _or_none(one.pages, _longer(one.provider, one.pages, "pages"))),
        ("bytes in a request", lambda one: _large(one.request_bytes)),
        ("bytes of a text file", lambda one: _large(one.text_bytes)),
    ]
    lines = ["| | Anthropic | OpenAI | Google | others |", "|---|---|---|---|---|"]
    lines += [f"| {what} | {' | '.join(str(told(one)) for one in given)} |" for what, told in rows]
    return "\n".join(lines)


def _large(size: int | None) -> str:
    return "" if size is None else f"{size // 1024**2} MB"


def _or_none(value: object, text: str) -> str:
    return "" if value is None else text


def _longer(provider: str, value: int | None, field: str) -> str:
    known = limits_for(ModelInfo("anthropic:x", "anthropic", context_window=1_000_000))
    more = f", {getattr(known, field)} with more than 200,000 tokens of context" if provider == known.provider else ""
    return f"{value}{more}"


TABLES = {
    "attachment_limits": table_of_attachment_limits,
    "operations": table_of_operations,
    "promises": table_of_promises,
    "hooks": table_of_hooks,
    "events": table_of_events,
    "errors": table_of_errors,
    "commands": table_of_commands,
    "slash": table_of_slash_commands,
}


def with_tables(text: str) -> str:
    return _GENERATED.sub(lambda m: f"{m[1]}\n{TABLES[m[2]]()}\n\n{m[3]}", text)


@pytest.mark.parametrize("page", [p for p in PAGES if _GENERATED.search(p.read_text())], ids=lambda p: p.name)
def test_generated_tables_are_current(page: Path) -> None:
    assert page.read_text() == with_tables(page.read_text()), "run: python -m tests.test_docs"


def test_every_event_error_and_command_is_in_its_table() -> None:
    wanted = {
        "events.md": "events",
        "errors.md": "errors",
        "cli.md": "commands",
        "commands.md": "slash",
        "sandbox.md": "promises",
    }
    for name, table in wanted.items():
        assert f"<!-- generated: {table} -->" in (DOCS / name).read_text(), name
    assert table_of_errors().count("\n") == len(_all_errors()) + 1
    codes = [cls.code for cls in _all_errors()]
    assert len(set(codes)) == len(codes), "two errors share a code"


def _all_errors() -> list[type[errors.GodwitError]]:
    return [v for v in vars(errors).values() if inspect.isclass(v) and issubclass(v, errors.GodwitError)]


# --- examples -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Block:
    """A program on a page: `kind` python or console, and the output shown behind it, None when there is none."""

    page: Path
    number: int
    kind: str
    code: str
    output: str | None
    where: tuple[int, int]
    """Where the output stands in the page's text."""


def blocks(page: Path, text: str | None = None) -> list[Block]:
    text = page.read_text() if text is None else text
    fences = list(_FENCE.finditer(text))
    found: list[Block] = []
    for place, fence in enumerate(fences):
        kind, code = fence[1], fence[2]
        if kind not in ("python", "console") or not code.startswith("# runs\n"):
            continue
        output, where = None, (fence.start(2), fence.end(2))
        if kind == "python" and place + 1 < len(fences):
            following = fences[place + 1]
            if following[1] == "text" and not text[fence.end() : following.start()].strip():
                output, where = following[2], (following.start(2), following.end(2))
        found.append(Block(page, len(found) + 1, kind, code, output, where))
    return found


def run_python(code: str, name: str) -> str:
    def too_long(*_: object) -> None:
        raise TimeoutError(f"{name} has not ended after {PATIENCE_S} s")

    out = io.StringIO()
    before = signal.signal(signal.SIGALRM, too_long)
    signal.alarm(PATIENCE_S)
    try:
        with contextlib.redirect_stdout(out):
            exec(compile(code, name, "exec"), {"__name__": "__main__"})
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
    return out.getvalue()


def run_console(code: str, folder: Path) -> str:
    """The block anew: each command line, and behind it what it prints now."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "NO_COLOR": "1", "COLUMNS": "110", "TERM": "dumb"}
    for variable in ("GODWIT_DB", "GODWIT_MODEL", "GODWIT_DEBUG"):
        environment.pop(variable, None)
    lines = ["# runs"]
    for command in [line[2:] for line in code.splitlines() if line.startswith("$ ")]:
        words = shlex.split(command)
        assert words[0] == "godwit", f"only godwit is run here: {command}"
        done = subprocess.run(
            [sys.executable, "-m", "godwit", *words[1:]],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
        lines += [f"$ {command}", *done.stdout.rstrip("\n").splitlines()]
        if done.returncode:
            lines.append(f"(exit code {done.returncode})")
    return "\n".join(lines) + "\n"


def run_block(block: Block, folder: Path) -> str:
    with contextlib.chdir(folder):
        if block.kind == "console":
            return run_console(block.code, folder)
        return run_python(block.code, f"{block.page.name}, block {block.number}")


def shown_as(text: str) -> str:
    """The text as a page shows it: nothing of the machine it was made on."""
    text = re.sub(r"(/[\w.+-]+)*/godwit-docs-\w+(/\w+)?", "~", text)
    return re.sub(r"process \d+ on \S+", "process 4711 on ada", text)


def steadied(text: str) -> str:
    """The text without what differs from run to run: ids, times, folders of tests, who drives."""
    text = re.sub(r"\b(ses|run|in|act|msg)_[0-9a-z]{20,}\b", r"\1_x", shown_as(text))
    text = re.sub(r"\b\d+(\.\d+)? (s|min|ms)\b", "0 s", text)
    text = re.sub(r"\b\d\d:\d\d:\d\d(\.\d+)?\b", "00:00:00", text)
    return re.sub(r"[ \t]+", " ", text)


@pytest.fixture(scope="module")
def folders() -> Iterator[dict[str, Path]]:
    """One folder per page: what one block leaves is there for the next."""
    with tempfile.TemporaryDirectory(prefix="godwit-docs-") as top:
        made: dict[str, Path] = {}
        for page in PAGES:
            made[page.name] = Path(top) / page.stem
            made[page.name].mkdir()
        yield made


RUNNABLE = [block for page in PAGES for block in blocks(page)]
_RAN: set[tuple[Path, int]] = set()
"""Blocks that this process has run."""


@pytest.mark.parametrize("block", RUNNABLE, ids=lambda b: f"{b.page.stem}-{b.number}")
def test_examples_run_as_shown(block: Block, folders: dict[str, Path]) -> None:
    # What a block builds on may have been run by another worker, in a folder of its own.
    for earlier in RUNNABLE:
        if earlier.page == block.page and earlier.number < block.number and (earlier.page, earlier.number) not in _RAN:
            _RAN.add((earlier.page, earlier.number))
            run_block(earlier, folders[block.page.name])
    _RAN.add((block.page, block.number))
    said = run_block(block, folders[block.page.name])
    shown = block.code if block.kind == "console" else block.output
    if shown is not None:
        assert steadied(said) == steadied(shown), "run: python -m tests.test_docs"
    else:
        assert said == "", "it prints something the page does not show"


@pytest.mark.parametrize("example", sorted(EXAMPLES.glob("*.py")), ids=lambda p: p.stem)
def test_example_files_run_and_stand_on_a_page(example: Path, tmp_path: Path) -> None:
    included = [page for page in PAGES if f"<!-- examples/{example.name} -->" in page.read_text()]
    assert included, f"no page shows examples/{example.name}"
    done = subprocess.run(
        [sys.executable, str(example)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for page in included:
        match = re.search(
            rf"<!-- examples/{re.escape(example.name)} -->\n+```python\n(.*?)^```\n+(?:```text\n(.*?)^```)?",
            page.read_text(),
            re.MULTILINE | re.DOTALL,
        )
        assert match, f"{page.name}: behind the marker belongs the file's text"
        assert match[1] == example.read_text(), "run: python -m tests.test_docs"
        assert steadied(match[2] or "") == steadied(done.stdout), "run: python -m tests.test_docs"


# --- writing --------------------------------------------------------------------------------------------------------


def rewrite(page: Path) -> bool:
    """Bring the page up to date. True when something changed."""
    before = page.read_text()
    text = with_tables(before)

    def include(match: re.Match[str]) -> str:
        source = (EXAMPLES / match[1]).read_text()
        with tempfile.TemporaryDirectory(prefix="godwit-docs-") as folder:
            done = subprocess.run(
                [sys.executable, str(EXAMPLES / match[1])],
                cwd=folder,
                env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
                capture_output=True,
                text=True,
                timeout=PATIENCE_S,
                check=True,
            )
        return f"<!-- examples/{match[1]} -->\n```python\n{source}```\n\n```text\n{shown_as(done.stdout)}```"

    text = re.sub(
        r"<!-- examples/([\w.]+) -->\n+```python\n.*?^```\n+```text\n.*?^```", include, text, flags=re.MULTILINE | re.DOTALL
    )
    with tempfile.TemporaryDirectory(prefix="godwit-docs-") as top:
        folder = Path(top) / page.stem
        folder.mkdir()
        number = 0
        while number < len(found := blocks(page, text)):
            block = found[number]
            shown = block.code if block.kind == "console" else block.output
            try:
                said = run_block(block, folder)
            except Exception as error:
                print(f"{page.name}, block {block.number} failed: {type(error).__name__}: {error}")
                number += 1
                continue
            if shown is not None and (steadied(said) != steadied(shown) or shown != shown_as(shown)):
                text = text[: block.where[0]] + shown_as(said) + text[block.where[1] :]
            elif shown is None and said:
                print(
                    f"{page.name}, block {block.number} prints what the page does not show:\n{textwrap.indent(said, '  ')}"
                )
            number += 1
    if text != before:
        page.write_text(text)
    return text != before


if __name__ == "__main__":
    for page in PAGES:
        if page.name != "seeds.md" and rewrite(page):
            print(f"written: {page.relative_to(ROOT)}")
