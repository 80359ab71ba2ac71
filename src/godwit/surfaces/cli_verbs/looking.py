"""The verbs that look: at sessions, their logs, queues and artifacts, and at this installation."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..cli_place import Where, find
from .options import Json, SessionArgument
from .work import done, ends

if TYPE_CHECKING:
    from ...contracts import SessionHandle, SessionRow

RefArgument = Annotated[str, typer.Argument(metavar="REF", help="The artifact, or the beginning of its ref.")]


def ls(
    context: typer.Context,
    everything: Annotated[
        bool, typer.Option("--all", "-a", help="All of them, archived ones too, not only the newest 20.")
    ] = False,
    children: Annotated[bool, typer.Option("--children", help="Below each one those that work for it.")] = False,
    as_json: Json = False,
) -> None:
    """List sessions, the newest first.

    \b
    Examples:
      godwit ls
      godwit ls --children
      godwit ls --all --json
    """
    from .. import cli_list

    ends(cli_list.sessions(context.obj, everything=everything, children=children, as_json=as_json))


def search(
    context: typer.Context,
    words: Annotated[list[str], typer.Argument(metavar="WORDS", help="Words; '\"in quotes\"' they stand together.")],
    here: Annotated[bool, typer.Option("--here", help="Only of sessions that work in this folder.")] = False,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=1000, help="How many places at most.")] = 20,
    as_json: Json = False,
) -> None:
    """Find what was said in all sessions, and their names.

    \b
    Examples:
      godwit search migration database
      godwit search '"out of memory"' --here
      godwit search 'migrat*' -n 50 --json
    """
    from .. import cli_find

    folder = Path.cwd() if here else None
    ends(cli_find.search(context.obj, " ".join(words), here=folder, limit=limit, as_json=as_json))


def log(
    context: typer.Context,
    session: SessionArgument,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Stay and show what comes, until Ctrl-C.")] = False,
    from_seq: Annotated[int, typer.Option("--from", min=0, metavar="SEQ", help="Only events after this one.")] = 0,
    deltas: Annotated[bool, typer.Option("--deltas", help="With --follow: also the fragments shown live.")] = False,
    tree: Annotated[
        bool, typer.Option("--tree", help="With the logs of all that work for it, each with its agent.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Show a session's log.

    \b
    Examples:
      godwit log last
      godwit log last --follow                     while it runs in another terminal
      godwit log ses_01k9 --from 120 --json
      godwit log last --tree --follow              with what its subagents do
    """
    from .. import cli_list, cli_tree

    if tree:
        ends(cli_tree.log(context.obj, session, follow=follow, whole=not (from_seq or deltas), as_json=as_json))
        return
    ends(cli_list.log(context.obj, session, follow=follow, from_seq=from_seq, deltas=deltas, as_json=as_json))


def queue(
    context: typer.Context,
    session: SessionArgument,
    withdraw: Annotated[str | None, typer.Option("--withdraw", metavar="INPUT", help="Take this input back.")] = None,
    order: Annotated[
        str | None, typer.Option("--order", metavar="A,B,C", help="Put the follow-ups into this order.")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", "-a", help="Delivered and withdrawn ones too.")] = False,
    as_json: Json = False,
) -> None:
    """Show or change a session's queue.

    \b
    Examples:
      godwit queue last
      godwit queue last --withdraw in_01k9zq
      godwit queue last --order in_b,in_a
    """
    from .. import cli_list

    async def work(handle: SessionHandle, row: SessionRow) -> int:
        if withdraw is not None:
            await handle.queue.withdraw(await cli_list.input_of(handle, withdraw))
        if order is not None:
            await handle.queue.reorder([await cli_list.input_of(handle, word.strip()) for word in order.split(",")])
        code = await cli_list.queue(handle, everything=everything, as_json=as_json)
        if not as_json:
            cli_list.say_cut_off(context.obj, row)
        return code

    ends(_watched(context.obj, session, work))


def tasks(
    context: typer.Context,
    session: SessionArgument,
    task: Annotated[
        str | None, typer.Argument(metavar="TASK", help="Show this one and what it came to; its beginning is enough.")
    ] = None,
    cancel: Annotated[bool, typer.Option("--cancel", help="End it, without TASK all of the session's.")] = False,
    wait: Annotated[
        bool, typer.Option("--wait", help="Wait for its end, without TASK for that of all; progress is told on stderr.")
    ] = False,
    as_json: Json = False,
) -> None:
    """List what a session has handed to other agents, as a tree; show one, wait for it, or cancel.

    \b
    Examples:
      godwit tasks last
      godwit tasks last task_01k9zq
      godwit tasks last --wait                     until all have ended
      godwit tasks last task_01k9zq --cancel
    """
    from .. import cli_list, cli_tasks

    async def work() -> int:
        async with context.obj.reach() as runtime:
            row = await find(runtime, session)
            handle = await runtime.open_session(row.id, drive=False)
            if cancel:
                return await cli_tasks.cancelled(runtime, handle, task, as_json=as_json)
            code = 0
            if wait:
                cli_list.say_cut_off(context.obj, row)
                code = await cli_tasks.waited(runtime, handle, task)
            if task is not None:
                return await cli_tasks.one(runtime, handle, task, as_json=as_json) or code
            return await cli_tasks.listed(runtime, handle, as_json=as_json) or code

    ends(work())


def artifacts(
    context: typer.Context,
    session: SessionArgument,
    ref: Annotated[str | None, typer.Argument(metavar="REF", help="Show this one; its beginning is enough.")] = None,
    as_json: Json = False,
) -> None:
    """List the large outputs a session keeps, or show one.

    \b
    Examples:
      godwit artifacts last
      godwit artifacts last 9f86d08 > output.txt
    """
    from .. import cli_artifacts

    async def work(handle: SessionHandle, _: SessionRow) -> int:
        if ref is not None:
            return await cli_artifacts.content(handle, ref)
        return await cli_artifacts.listed(handle, as_json=as_json)

    ends(_watched(context.obj, session, work))


def pin(context: typer.Context, session: SessionArgument, ref: RefArgument, as_json: Json = False) -> None:
    """Keep an artifact whatever the limits are.

    \b
    Examples:
      godwit pin last 9f86d08
    """
    from .. import cli_artifacts

    async def work(handle: SessionHandle, _: SessionRow) -> int:
        return await cli_artifacts.pinned(handle, ref, "pin", as_json=as_json)

    ends(_watched(context.obj, session, work))


def unpin(context: typer.Context, session: SessionArgument, ref: RefArgument, as_json: Json = False) -> None:
    """Let an artifact go when its time comes.

    \b
    Examples:
      godwit unpin last 9f86d08
    """
    from .. import cli_artifacts

    async def work(handle: SessionHandle, _: SessionRow) -> int:
        return await cli_artifacts.pinned(handle, ref, "unpin", as_json=as_json)

    ends(_watched(context.obj, session, work))


def doctor(context: typer.Context, as_json: Json = False) -> None:
    """Show what this installation finds.

    Versions, the database, programs, providers with a key (never a key itself), and what the configuration files say for
    this folder: which file and line, and whether it holds.

    \b
    Examples:
      godwit doctor
      godwit doctor --json
    """
    from ..cli_doctor import show

    done(show(context.obj, as_json=as_json))


async def _watched(place: Where, typed: str, work: Any) -> int:
    """Do `work` on a handle that only watches and controls."""
    async with place.reach() as runtime:
        row = await find(runtime, typed)
        code: int = await work(await runtime.open_session(row.id, drive=False), row)
        return code
