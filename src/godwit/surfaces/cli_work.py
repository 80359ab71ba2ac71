"""`godwit work`: a worker on this machine."""

from __future__ import annotations

import asyncio
import importlib
import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .cli_exit import DONE, INTERRUPTED, CliError
from .cli_place import Place
from .cli_view import write_json

if TYPE_CHECKING:
    from ..client.worker import Worker
    from .cli_server import ServerPlace


@dataclass(frozen=True)
class WorkFlags:
    """What was typed."""

    lanes: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    tools: tuple[str, ...] = ()
    folder: Path = Path()
    per_session: bool = False
    concurrency: int = 1
    tenant: str | None = None
    name: str | None = None


async def work(place: Place | ServerPlace, flags: WorkFlags, *, as_json: bool) -> int:
    """Until the process is told to end: once, and what is under way ends first; twice, and it is ended."""
    told = 0

    def end() -> None:
        nonlocal told
        told += 1
        if told == 1:
            print(f"no new tasks; {worker.active} under way, once more ends them", file=sys.stderr, flush=True)
            worker.stop()
        else:
            worker.cancel()

    # Before anything large is loaded: one that is told to end while it starts ends as well. It is called in the loop, and
    # there not before something is awaited: then there is a worker.
    loop = asyncio.get_running_loop()
    for one in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(one, end)
    from ..client.worker import Worker

    target, key = _target(place, flags)
    worker = Worker(
        target,
        lanes=flags.lanes or ("query", "execute"),
        labels=labels_of(flags.labels),
        tools=[_tool(name) for name in flags.tools] or ("files", "bash"),
        folder=flags.folder,
        per_session=flags.per_session,
        concurrency=flags.concurrency,
        key=key,
        tenant=flags.tenant,
        name=flags.name,
    )
    async with worker:
        _say({"worker": worker.name, "lanes": list(worker.lanes), "tools": worker.tools}, worker, as_json, target)
        await worker.wait()
    if as_json:
        write_json({"done": worker.done, "failed": worker.failed, "lost": worker.lost})
    else:
        print(f"{worker.done} done, {worker.failed} failed, {worker.lost} lost", flush=True)
    return DONE if told < 2 else INTERRUPTED


def _target(place: Place | ServerPlace, flags: WorkFlags) -> tuple[str, str | None]:
    if isinstance(place, Place):
        if not place.file.exists():
            raise CliError(f"there is no database at {place.file}", hint="start what drives the sessions first")
        return os.fspath(place.file), None
    if flags.tenant is not None:
        raise CliError("with a server the tenant is that of the key: leave --tenant out")
    return place.url, os.environ.get("GODWIT_KEY")


def _say(facts: dict[str, Any], worker: Worker, as_json: bool, target: str) -> None:
    if as_json:
        write_json(facts)
    else:
        lanes, tools = ", ".join(worker.lanes), ", ".join(worker.tools)
        print(f"worker {worker.name} works for {target} in {worker.folder}\n  lanes: {lanes}\n  tools: {tools}", flush=True)
    sys.stdout.flush()


def labels_of(given: Sequence[str]) -> dict[str, str]:
    """CliError for one that is no NAME=VALUE."""
    found = {}
    for one in given:
        name, equals, value = one.partition("=")
        if not equals or not name:
            raise CliError(f"--label {one!r} has to be NAME=VALUE", hint="as in --label os=linux")
        found[name] = value
    return found


def _tool(name: str) -> Any:
    """A tool or toolset by its name; one of the user's own as MODULE:NAME."""
    module, colon, attribute = name.partition(":")
    if not colon:
        return name
    if "" not in sys.path and os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        return getattr(importlib.import_module(module), attribute)
    except ModuleNotFoundError as error:
        raise CliError(f"--tool {name}: {error}", hint="it is looked for in this folder and where Python looks") from None
    except AttributeError:
        raise CliError(f"--tool {name}: {module} has no {attribute}") from None
