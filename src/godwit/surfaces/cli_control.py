"""What one process tells another's session: send, steer, approve, deny, pause, interrupt.

The word is appended to the log, which is all that is needed; then it is said who goes on with it. Nothing is driven here
unless `--drive` asks for it and no living process does.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .cli_agent import AgentFlags
from .cli_exit import DONE, NOT_FOUND, CliError
from .cli_place import Place, find
from .cli_run import Run, picked_up
from .cli_view import write_json
from .cli_words import call_text, owner_text

if TYPE_CHECKING:
    from ..engine.session import Session

Work = Callable[["Session"], Awaitable[dict[str, Any]]]


async def control(
    place: Place,
    typed: str,
    work: Work,
    said: str,
    *,
    drive: bool = False,
    yes: bool = False,
    replay: Path | None = None,
    as_json: bool = False,
) -> int:
    """Do `work` on the session and say what became of it."""
    command = Run(place, AgentFlags(), None, yes=yes, as_json=as_json, replay=replay)
    async with place.open(models=command.models.registry) as runtime:
        row = await find(runtime, typed)
        handle = await runtime.open_session(row.id, drive=False)
        facts = await work(handle)
        if as_json:
            write_json({"session": handle.id, **facts})
        else:
            print(_sentence(handle.id, said, facts))
        state = await handle.state()
        if state.run is None or state.gate.paused:
            return DONE
        driven = await picked_up(runtime, handle)
        if driven is not None:
            command.view.say(f"{owner_text(driven)} goes on with it")
        elif (await runtime.store.session(handle.id)).status == "waiting":
            for action in await handle.approvals.pending():
                command.view.say(f"still waits: {action.id} {call_text(action.name, action.arguments)}")
        elif await handle.is_running():
            if drive:
                return await command.go_on(runtime, await runtime.store.session(handle.id))
            command.view.say(f"no process drives it; go on with: {place.command('resume', handle.id)}", "yellow")
        return DONE


def _sentence(session: str, said: str, facts: dict[str, Any]) -> str:
    if facts.get("answered") == [False]:
        return f"{session}: it had been answered before; nothing changed"
    if facts.get("paused") is False:
        return f"{session}: it was paused already"
    named = facts.get("input") or facts.get("run") or ", ".join(facts.get("actions", ()))
    return f"{session}: {named} {said}" if named else f"{session}: {said}"


async def interrupt(place: Place, typed: str, *, force: bool, as_json: bool) -> int:
    """End the open run, wherever it is driven; by force, take it from a process that does not answer."""
    async with place.open() as runtime:
        row = await find(runtime, typed)
        handle = await runtime.open_session(row.id, drive=force and row.run is not None)
        ended = await handle.interrupt(force=force, reason="godwit interrupt")
        if as_json:
            write_json({"session": handle.id, "interrupted": ended})
        else:
            print(f"{handle.id}: {'interrupted' if ended else 'no run is open; nothing changed'}")
        return DONE


async def chosen(handle: Session, typed: str | None, *, everything: bool) -> list[str]:
    """The actions meant: the one named (by id or the beginning of it), the only one that waits, or all approvals."""
    pending = [a for a in await handle.approvals.pending() if a.kind == "approval"]
    if everything:
        return [a.id for a in pending]
    if typed is not None:
        begun = [a.id for a in pending if a.id.startswith(typed) or a.call == typed]
        return [begun[0] if len(begun) == 1 else typed]
    if len(pending) == 1:
        return [pending[0].id]
    if not pending:
        raise CliError(f"nothing waits for approval in session {handle.id}", code="action_not_found", exit_code=NOT_FOUND)
    listed = "; ".join(f"{a.id} {call_text(a.name, a.arguments, 60)}" for a in pending)
    raise CliError(f"{len(pending)} actions wait: {listed}", hint="name one of them, or use --all", code="ambiguous")


def json_object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise CliError(f"--args is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise CliError("--args is not a JSON object")
    return value
