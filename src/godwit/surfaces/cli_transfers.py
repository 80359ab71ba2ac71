"""`godwit import` and `godwit export`: sessions of elsewhere brought in, and ours taken out.

A session that is imported here is the coder's, as `godwit run` starts it, in the folder it worked in, if that is here. On a
server it is an agent's of the server, and has no folder.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core.errors import GodwitError, InvalidArgument
from ..core.facts import ExportFormat, ImportReport
from ..core.narrowing import INHERIT
from .cli_agent import AgentFlags
from .cli_exit import DONE, FAILED, CliError
from .cli_place import Host, Where, find
from .cli_view import write_json
from .cli_words import clean, one_line

if TYPE_CHECKING:
    from ..core.agent import AgentSpec

ENDING = ".jsonl"
SUBAGENT = "agent-"
"""How the names of files begin that come with those of the sessions they worked for."""


async def brought(
    place: Where,
    paths: Sequence[Path],
    *,
    format: str,  # noqa: A002 - as it is typed
    agent: str | None,
    model: str | None,
    name: str | None,
    workspace: Path | None,
    as_json: bool,
) -> int:
    """Import these files, and those in these folders; what cannot be read is told and the others are imported."""
    files = found(paths)
    if not files:
        raise CliError(
            "there is no session file in " + ", ".join(os.fspath(path) for path in paths), hint=f"they end in {ENDING}"
        )
    if name is not None and len(files) > 1:
        raise CliError(f"--name is for one session, and {len(files)} files are to be imported")
    if place.served and workspace is not None:
        raise CliError("a session that is imported on a server has no folder: leave out --workspace")
    if not place.served and agent is not None:
        raise CliError("--agent is for a server, which has its own agents: here the session becomes the coder's")
    named = [path for path in paths if not path.is_dir()]
    failed = skipped = 0
    async with place.reach(make=True) as runtime:
        given: AgentSpec | str | None = agent if place.served else AgentFlags().agent(INHERIT).spec
        for number, file in enumerate(files, 1):
            shown = _Progress(file, number, len(files), quiet=as_json)
            how: dict[str, Any] = {"format": format, "agent": given, "model": model, "name": name, "progress": shown}
            try:
                report = await runtime.import_session(file, **how, workspace=workspace)
            except InvalidArgument as error:
                if file not in named:
                    skipped += 1
                    continue
                failed += 1
                _tell(file, error, as_json=as_json)
            except GodwitError as error:
                failed += 1
                _tell(file, error, as_json=as_json)
            else:
                shown.clear()
                if as_json:
                    write_json({"file": os.fspath(file), **dataclasses.asdict(report)})
                else:
                    _say(place, report, (await runtime.row(report.session)).workspace)
            finally:
                shown.clear()
    if skipped and not as_json:
        print(f"{skipped} files are no session files", file=sys.stderr)
    return FAILED if failed else DONE


async def taken(
    place: Where,
    typed: str,
    *,
    format: ExportFormat,  # noqa: A002 - as it is typed
    output: Path | None,
    children: bool,
) -> int:
    """Export a session to a file, whole or not at all, or to stdout."""
    async with place.reach() as runtime:
        row = await find(runtime, typed)
        if output is None:
            if format == "html" and sys.stdout.isatty():
                raise CliError("a page is not for a terminal", hint=f"godwit export {typed} -o session.html")
            async for piece in runtime.export_session(row.id, format, children=children):
                sys.stdout.buffer.write(piece)
            sys.stdout.buffer.flush()
            return DONE
        await _written(runtime, row.id, format, output, children=children)
        print(
            f"{output}: {output.stat().st_size:,} bytes; it holds what the session's log holds, secrets too", file=sys.stderr
        )
    return DONE


async def _written(runtime: Host, session: str, format_: ExportFormat, output: Path, *, children: bool) -> None:
    beside = output.with_name(f".{output.name}.{os.getpid()}")
    try:
        with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            async for piece in runtime.export_session(session, format_, children=children):
                await asyncio.to_thread(file.write, piece)
        beside.replace(output)
    except OSError as error:
        raise CliError(f"{os.fspath(output)!r} cannot be written: {error.strerror}") from error
    finally:
        with contextlib.suppress(OSError):
            beside.unlink(missing_ok=True)


def found(paths: Sequence[Path]) -> list[Path]:
    """The files, and of folders those below them that may hold sessions, each once, in order. CliError for what is
    not there."""
    files: dict[Path, None] = {}
    for path in paths:
        if path.is_dir():
            inside = sorted(one for one in path.rglob(f"*{ENDING}") if not one.name.startswith(SUBAGENT) and one.is_file())
            files.update(dict.fromkeys(inside))
        elif path.exists():
            files[path] = None
        else:
            raise CliError(f"{os.fspath(path)!r} is not there")
    return list(files)


class _Progress:
    """How far a file is read, on a terminal, once it takes a while."""

    def __init__(self, file: Path, number: int, count: int, *, quiet: bool) -> None:
        self._name = f"{file.name}" if count == 1 else f"{number} of {count}: {file.name}"
        self._size = max(1, file.stat().st_size)
        self._shown = False
        self._quiet = quiet or not sys.stderr.isatty()

    def __call__(self, read: int) -> None:
        if self._quiet or self._size < 1 << 22:
            return
        print(f"\r{clean(self._name)} {min(100, 100 * read // self._size):3}%\x1b[K", end="", file=sys.stderr, flush=True)
        self._shown = True

    def clear(self) -> None:
        if self._shown:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
            self._shown = False


def _say(place: Where, report: ImportReport, folder: str | None) -> None:
    counts = ", ".join(f"{count} {what}" for what, count in report.counts.items())
    print(f"{report.session}  {report.format} {clean(report.source)}: " + (counts if report.new else "imported before"))
    if not report.new:
        return
    for said, group in (("kept as data", report.kept), ("adapted", report.adapted), ("skipped", report.skipped)):
        if group:
            told = ", ".join(f"{count} {what}" for what, count in group.items())
            print(f"  {said}: {one_line(told, 400)}")
    if report.children:
        print(f"  with {len(report.children)} sessions of subagents")
    if folder is not None:
        print(f"  works in {clean(folder)}")
    print(f"  go on: {place.command('run', '--session', report.session, '...')}")


def _tell(file: Path, error: GodwitError, *, as_json: bool) -> None:
    if as_json:
        write_json({"file": os.fspath(file), "error": {"code": error.code, "message": error.message}})
    else:
        print(f"{clean(os.fspath(file))}: {clean(error.message)}", file=sys.stderr)
