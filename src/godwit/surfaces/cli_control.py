"""What one process tells another's session: send, steer, approve, deny, answer, pause, interrupt; archive and delete.

The word is appended to the log, which is all that is needed; then it is said who goes on with it. Nothing is driven here
unless `--drive` asks for it and no living process does. Rule: what cannot be brought back is asked for first, and where
nobody can be asked it is refused without `--yes`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core.forms import answered
from .cli_agent import AgentFlags
from .cli_exit import DONE, INTERRUPTED, NOT_FOUND, PARKED, CliError
from .cli_forms import Forms, question_lines
from .cli_keyboard import Keyboard, interactive
from .cli_list import status_text
from .cli_place import Where, find
from .cli_run import picked_up
from .cli_server_run import runner
from .cli_view import ScreenView, write_json
from .cli_words import call_text, clean, one_line, owner_text, seconds, visible

if TYPE_CHECKING:
    from ..contracts import SessionHandle, SessionRow
    from ..core.events import ActionKind, Remember

APPROVALS: tuple[ActionKind, ...] = ("approval",)
RESULTS: tuple[ActionKind, ...] = ("question", "external")
"""The kinds of action that are answered with words, not with a yes or a no."""
REFUSABLE: tuple[ActionKind, ...] = ("approval", "question")
"""The kinds that a person may refuse."""

Work = Callable[["SessionHandle"], Awaitable[dict[str, Any] | None]]
"""What it did, or None: it was left as it was."""
ACTION = "act_"
"""How the ids of actions begin."""


async def control(
    place: Where,
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
    command = runner(place)(place, AgentFlags(), None, yes=yes, as_json=as_json, replay=replay)
    async with place.reach(models=command.models.registry) as runtime:
        row = await find(runtime, typed)
        handle = await runtime.open_session(row.id, drive=False)
        facts = await work(handle)
        if facts is None:
            return PARKED
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
        elif (await runtime.row(handle.id)).status == "waiting":
            for action in await handle.approvals.pending():
                told = one_line(action.message, 100) if action.asking and action.message else ""
                command.view.say(f"still waits: {action.id} {told or call_text(action.name, action.arguments)}")
        elif await handle.is_running():
            if drive:
                return await command.go_on(runtime, await runtime.row(handle.id))
            command.view.say(f"no process drives it; go on with: {place.command('resume', handle.id)}", "yellow")
        return DONE


def _sentence(session: str, said: str, facts: dict[str, Any]) -> str:
    if "command" in facts and facts["run"] is None:
        return clean(facts["text"])
    if facts.get("answered") == [False]:
        return f"{session}: it had been answered before; nothing changed"
    if facts.get("paused") is False:
        return f"{session}: it was paused already"
    if facts.get("declined"):
        said = "declined"
    if facts.get("allowed"):
        said += f": {', '.join(facts['allowed'])}"
    named = facts.get("input") or facts.get("run") or ", ".join(facts.get("actions", ()))
    return f"{session}: {named} {said}" if named else f"{session}: {said}"


async def interrupt(place: Where, typed: str, *, force: bool, as_json: bool) -> int:
    """End the open run, wherever it is driven; by force, take it from a process that does not answer."""
    async with place.reach() as runtime:
        row = await find(runtime, typed)
        handle = await runtime.open_session(row.id, drive=force and row.run is not None)
        ended = await handle.interrupt(force=force, reason="godwit interrupt")
        if as_json:
            write_json({"session": handle.id, "interrupted": ended})
        else:
            print(f"{handle.id}: {'interrupted' if ended else 'no run is open; nothing changed'}")
        return DONE


async def archive(place: Where, typed: str, *, as_json: bool) -> int:
    """Make the session final; an open run is interrupted first."""
    async with place.reach() as runtime:
        row = await find(runtime, typed)
        fresh = row.status != "archived"
        if fresh:
            await runtime.archive(row.id)
        if as_json:
            write_json({"session": row.id, "archived": fresh})
        else:
            print(f"{row.id}: {'archived; its log stays readable' if fresh else 'it was archived already'}")
        return DONE


async def delete(place: Where, typed: str, *, yes: bool, as_json: bool) -> int:
    """Remove the session for good, once somebody has said yes. A no ends like Ctrl-C at the question."""
    if not yes and (as_json or not interactive()):
        raise CliError("what is deleted cannot be brought back, and nobody can be asked here", hint="--yes deletes it")
    async with place.reach() as runtime:
        row = await find(runtime, typed)
        if not yes:
            said = await Keyboard().line(f"delete {_described(row)}? It cannot be brought back. [y]es  [n]o: ")
            if (said or "").strip().lower() not in ("y", "yes"):
                print(f"{row.id}: kept")
                return INTERRUPTED
        await runtime.delete_session(row.id)
        if as_json:
            write_json({"session": row.id, "deleted": True})
        else:
            print(f"{row.id}: deleted")
        return DONE


def _described(row: SessionRow) -> str:
    what = one_line(row.name or row.first_prompt or "", 60)
    return f"{row.id}{f' ({what})' if what else ''}, {status_text(row).rstrip('*')}, {row.head} events"


async def waiting(place: Where, typed: str, action: str | None, *, as_json: bool) -> int:
    """Show the calls that wait, whole, and change nothing."""
    async with place.reach() as runtime:
        handle = await runtime.open_session((await find(runtime, typed)).id, drive=False)
        wanted = None if action is None else await chosen(handle, action, kinds=(*APPROVALS, *RESULTS))
        for one in await handle.approvals.pending():
            if wanted is None or one.id in wanted:
                if as_json:
                    facts: dict[str, Any] = {
                        "action": one.id,
                        "kind": one.kind,
                        "call": one.call,
                        "name": one.name,
                        "message": one.message,
                    }
                    facts |= {"asking": one.asking, "schema": one.schema, "url": one.url, "path": list(one.path)}
                    when = {"age_s": round(one.age_s, 3), "remaining_s": one.remaining_s, "rules": list(one.rules)}
                    write_json({"session": handle.id, **facts, "arguments": one.arguments, **when})
                else:
                    left = "" if one.remaining_s is None else f", answered by itself in {seconds(one.remaining_s)}"
                    who = f", asked by {clean(' > '.join(one.path))}" if one.path and not one.asking else ""
                    print(f"{one.kind} {one.id}{who}, waiting for {seconds(one.age_s)}{left}:")
                    for line in question_lines(one, handle.workspace):
                        print(line.text)
                    for rule in one.rules:
                        print(f"  may be remembered: {visible(rule)}")
    return DONE


async def chosen(
    handle: SessionHandle, typed: str | None, *, everything: bool = False, kinds: Sequence[ActionKind] = APPROVALS
) -> list[str]:
    """The actions meant: the one named (by id or the beginning of it), the only one of these kinds that waits, or all."""
    pending = [a for a in await handle.approvals.pending() if a.kind in kinds]
    if everything:
        return [a.id for a in pending]
    if typed is not None:
        begun = [a.id for a in pending if a.id.startswith(typed) or a.call == typed]
        return [begun[0] if len(begun) == 1 else typed]
    if len(pending) == 1:
        return [pending[0].id]
    if not pending:
        what = "for an answer" if kinds == REFUSABLE else "for approval" if kinds == APPROVALS else "for a result"
        raise CliError(f"nothing waits {what} in session {handle.id}", code="action_not_found", exit_code=NOT_FOUND)
    listed = "; ".join(f"{a.id} {call_text(a.name, a.arguments, 60)}" for a in pending)
    hint = "name one of them; --list shows them whole" if kinds == RESULTS else "name one of them, or use --all"
    hint += "; --list shows them whole" if kinds == APPROVALS else ""
    raise CliError(f"{len(pending)} actions wait: {listed}", hint=hint, code="ambiguous")


def action_and_words(words: Sequence[str]) -> tuple[str | None, list[str]]:
    """What `godwit answer` was given behind the session: an action, if one is named, and a text or `NAME=VALUE` for the
    fields of a form. `-` reads standard input. Without either a person is asked."""
    pairs = all("=" in word for word in words)
    named = words[0] if (len(words) > 1 and not pairs) or (len(words) == 1 and words[0].startswith(ACTION)) else None
    rest = list(words if named is None else words[1:])
    if len(rest) > 1 and not all("=" in word for word in rest):
        raise CliError(
            f"{len(words)} words are given; an action and one text, or NAME=VALUE for the fields of a form, are expected",
            hint="put the text in quotes",
        )
    return named, [sys.stdin.read()] if rest == ["-"] else rest


async def answer(handle: SessionHandle, typed: str | None, words: Sequence[str], *, error: bool) -> dict[str, Any] | None:
    """Give the answer that was typed, or ask for it at the terminal. None when it was left waiting."""
    (id_,) = await chosen(handle, typed, kinds=RESULTS)
    action = next((a for a in await handle.approvals.pending() if a.id == id_), None)
    given: Any = words[0] if len(words) == 1 else ""
    if not words:
        if action is None or not interactive():
            raise CliError("no answer is given", hint="name the text, or NAME=VALUE for the fields of a form")
        if action.kind != "question":
            raise CliError(f"{action.id} waits for the result of a call", hint="put it behind the id")
        said = await Forms(ScreenView(), Keyboard()).ask(action)
        if said is None:
            return None
        if said.decision == "deny":
            done = await handle.approvals.deny(action.id, said.reason, sender="cli")
            return {"actions": [action.id], "answered": [done], "declined": True}
        given = said.content
    elif action is not None and action.schema is not None and not error:
        given = answered(action.schema, words)
    elif len(words) > 1:
        raise CliError(f"{id_} has no form with fields", hint="put the text in quotes")
    return {"actions": [id_], "answered": [await handle.approvals.answer(id_, given, is_error=error, sender="cli")]}


def remembered(flag: str | None) -> Remember | None:
    """How far an answer is to go. CliError for what is no word for it."""
    known: dict[str | None, Remember | None] = {None: None, "session": "session", "always": "always"}
    if flag not in known:
        raise CliError(f"--remember {flag!r} is neither session nor always")
    return known[flag]


def json_object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise CliError(f"--args is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise CliError("--args is not a JSON object")
    return value
