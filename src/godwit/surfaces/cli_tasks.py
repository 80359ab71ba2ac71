"""`godwit tasks`: what a session has handed to other agents, with what these have handed on, as a tree."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import msgspec

from ..core.errors import SessionNotFound, TaskNotFound
from .cli_exit import DONE, FAILED, PARKED
from .cli_view import write_json
from .cli_words import age, clean, counted_as, one_line, usage_text

if TYPE_CHECKING:
    from ..contracts import SessionHandle
    from ..core.tasks import TaskRecord
    from .cli_place import Host


LOOK_S = 1.0
"""How often it is looked how far tasks are that somebody waits for. Their ends are told at once."""


async def below(runtime: Host, handle: SessionHandle) -> list[tuple[TaskRecord, int]]:
    """The tasks of the session and of those that work for it, each before those below it, with how deep it lies from 0."""
    found: list[tuple[TaskRecord, int]] = []
    seen = {handle.id}

    async def add(of: SessionHandle, depth: int) -> None:
        for record in await of.tasks.all():
            found.append((record, depth))
            if record.session in seen:
                continue  # the same child may have several tasks
            seen.add(record.session)
            try:
                child = await runtime.open_session(record.session, drive=False)
            except SessionNotFound:
                continue  # it has not begun, or runs elsewhere
            await add(child, depth + 1)

    await add(handle, 0)
    return found


async def listed(runtime: Host, handle: SessionHandle, *, as_json: bool) -> int:
    """All of them, a line each."""
    records = await below(runtime, handle)
    for record, depth in records:
        if as_json:
            write_json(msgspec.to_builtins(record))
        else:
            print(_line(record, depth))
    if not records and not as_json:
        print("no task was handed to another agent")
    return DONE


async def one(runtime: Host, handle: SessionHandle, typed: str, *, as_json: bool) -> int:
    """One task, and all of what it has come to."""
    record = await find(runtime, handle, typed)
    output = await (await runtime.open_session(record.parent, drive=False)).tasks.output(record.id)
    if as_json:
        write_json({**msgspec.to_builtins(record), "output": output})
        return DONE
    print(_line(record, 0), file=sys.stderr)
    print(f"  session {record.session}", file=sys.stderr)
    if record.error is not None:
        print(f"  {record.error.code}: {one_line(record.error.message, 400)}", file=sys.stderr)
    if output:
        print(clean(output).rstrip("\n"))
    return DONE


async def waited(runtime: Host, handle: SessionHandle, typed: str | None) -> int:
    """Return when the task has ended, or all of the session's, or when all that is open waits for a person; what changes
    meanwhile is told on stderr."""
    if typed is None:
        giver, ids = handle, [record.id for record in await handle.tasks.pending()]
    else:
        record = await find(runtime, handle, typed)
        giver, ids = await runtime.open_session(record.parent, drive=False), [record.id]
    told: dict[str, str] = {}
    records = await giver.tasks.wait(ids, 0) if ids else []
    while True:
        for record in records:
            line = f"{record.id}  {clean(record.agent)}: {record.status}{_steps(record)}"
            if told.get(record.id) != line:
                told[record.id] = line
                print(line, file=sys.stderr, flush=True)
        still = [record for record in records if record.pending]
        if not still:
            return DONE if all(record.success for record in records) else FAILED
        if all(record.status == "waiting" for record in still):
            return PARKED
        records = await giver.tasks.wait(ids, LOOK_S)


async def cancelled(runtime: Host, handle: SessionHandle, typed: str | None, *, as_json: bool) -> int:
    """End one task with all that works for it, or all of the session's."""
    if typed is None:
        count = await handle.tasks.cancel_all("cancelled on the command line")
        changed, text = count > 0, f"{counted_as(count, 'task')} cancelled" if count else "no task is open"
        told: dict[str, object] = {"session": handle.id, "cancelled": count}
    else:
        record = await find(runtime, handle, typed)
        giver = await runtime.open_session(record.parent, drive=False)
        changed = await giver.tasks.cancel(record.id, "cancelled on the command line")
        text = f"task {record.id} cancelled" if changed else f"task {record.id} had ended before ({record.status})"
        told = {"session": record.parent, "task": record.id, "cancelled": int(changed)}
    if as_json:
        write_json(told)
    else:
        print(text)
    return DONE


async def find(runtime: Host, handle: SessionHandle, typed: str) -> TaskRecord:
    """The task in the tree whose id is, or alone begins with, what was typed. TaskNotFound."""
    records = [record for record, _ in await below(runtime, handle)]
    exact = [record for record in records if record.id == typed]
    found = exact or [record for record in records if record.id.startswith((typed, f"task_{typed}"))]
    if len(found) != 1:
        which = "no task's id begins" if not found else f"{len(found)} tasks' ids begin"
        raise TaskNotFound(f"{which} with {typed!r} in session {handle.id}", task=typed)
    return found[0]


def _line(record: TaskRecord, depth: int) -> str:
    what = one_line(record.description or record.prompt, 60)
    done = f", {counted_as(record.turns, 'turn')}, {usage_text(record.usage)}" if record.finished_ms is not None else ""
    steps = _steps(record) if record.pending else ""
    beside = ", in the background" if record.background else ""
    about = f"{age(record.started_ms)} ago{beside}{steps}{done}"
    return f"{'  ' * depth}{record.id}  {record.status:<9}  {clean(record.agent)}: {what} ({about})"


def _steps(record: TaskRecord) -> str:
    """How far it is: what it did last."""
    if not record.progress:
        return ""
    last = record.progress[-1]
    tool = last.metadata.get("tool")
    what = clean(str(tool)) if tool else last.status.replace("_", " ")
    return f", {counted_as(len(record.progress), 'step')}, last {one_line(what, 40)}"
