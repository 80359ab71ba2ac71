"""Who answers when a run waits: nobody, everybody's yes, or the person at the terminal.

An `Answerer` only decides; the foreground records what it said. None leaves the action waiting, and the run parks. Rule: a
person is shown the whole of a call (`cli_asked`) before the question, every time it is asked.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shlex
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from ..core.events import Decision, Remember
from ..core.facts import PendingAction
from .cli_asked import Line, asked, shortened
from .cli_budget import is_question
from .cli_forms import Forms, question_lines
from .cli_keyboard import Keyboard
from .cli_view import View
from .cli_words import clean, visible

YES = "--yes"
"""Who gave the answers of `Everything`, in the log."""


def show(view: View, lines: list[Line], *, whole: bool = False) -> int:
    """Show a call; what is long only in part, unless `whole`. The count of lines that were left out."""
    shown, hidden = (lines, 0) if whole else shortened(lines)
    for line in shown:
        view.say(line.text, line.style)
    return hidden


@dataclass(frozen=True)
class Answer:
    decision: Decision
    reason: str | None = None
    arguments: dict[str, Any] | None = None
    text: str = ""
    sender: str | None = None
    remember: Remember | None = None
    rule: str | None = None
    content: dict[str, Any] | None = None
    """The fields of a question's form."""


class Answerer(Protocol):
    async def answer(self, action: PendingAction, folder: str | None) -> Answer | None:
        """`folder`: the session's workspace, if it has one."""
        ...


class Nobody:
    """There is no one to ask: what needs an answer waits for one."""

    async def answer(self, action: PendingAction, folder: str | None) -> Answer | None:
        return None


class Everything:
    """`--yes`: approvals are given; a question is asked of the `person`, where there is one. An external call still waits
    for its answer, and so does a budget that asks for more, since a limit that is always raised is none."""

    def __init__(self, person: Person | None = None) -> None:
        self._person = person

    async def answer(self, action: PendingAction, folder: str | None) -> Answer | None:
        if action.kind == "question":
            return None if self._person is None else await self._person.answer(action, folder)
        # The view says it, from the log.
        return Answer("approve", sender=YES) if action.kind == "approval" and not is_question(action) else None


class Person:
    """Asks at the terminal. One question at a time."""

    def __init__(self, view: View, keyboard: Keyboard) -> None:
        self._view = view
        self._keyboard = keyboard
        self._forms = Forms(view, keyboard)

    async def answer(self, action: PendingAction, folder: str | None) -> Answer | None:
        if action.kind == "question":
            form = await self._forms.ask(action)
            return None if form is None else Answer(form.decision, form.reason, content=form.content)
        self._view.settle()
        if action.path and not action.asking:
            self._view.say(f"{clean(' > '.join(action.path))} asks:", "bold")
        if action.message and action.call is not None and not action.asking:  # what the run itself asks was shown as it is
            self._view.say(action.message, "bold")
        lines = question_lines(action, folder) if action.asking else asked(action.name, action.arguments, folder)
        hidden = show(self._view, lines)
        if action.kind != "approval":
            self._view.settle()
            text = await self._keyboard.line(f"{action.name}: type the result, nothing leaves it waiting: ")
            return Answer("result", text=text) if text else None
        more = "  [s]how all" if hidden else ""
        more += "  [r]emember" if action.rules else ""
        while True:
            self._view.settle()
            said = await self._keyboard.line(f"allow this? [y]es  [n]o, with a reason  [e]dit{more}  [a]nswer later: ")
            if said is None:
                self._view.say("")  # the answer was Ctrl-D, which ends no line
            choice, _, rest = (said or "a").strip().partition(" ")
            match choice.lower():
                case "y" | "yes":
                    return Answer("approve")
                case "n" | "no":
                    return Answer("deny", reason=rest.strip() or await self._reason())
                case "e" | "edit":
                    edited = await self._edit(action.arguments)
                    if edited is not None:
                        return Answer("approve", arguments=edited)
                case "s" | "show":
                    show(self._view, lines, whole=True)
                case "r" | "remember" if action.rules:
                    remembered = await self._remember(action.rules)
                    if remembered is not None:
                        return remembered
                case "a" | "later":
                    return None
                case _:
                    self._view.say(f"  {clean(choice)!r} is none of y, n, e, s, r, a", "yellow")

    async def _remember(self, rules: tuple[str, ...]) -> Answer | None:
        """A yes for all that one of these rules matches, or None when that was too much."""
        for number, rule in enumerate(rules, 1):
            self._view.say(f"  {number}  {visible(rule)}", "")
        which = "1" if len(rules) == 1 else f"1 to {len(rules)}"
        said = await self._keyboard.line(
            f"allow all such calls? {which} for this [s]ession or [a]lways in this folder, as in `1 s`; empty: no: "
        )
        words = (said or "").split()
        if len(words) == 1 and len(rules) == 1:
            words = ["1", *words]
        if len(words) != 2 or not words[0].isdigit() or not 0 < int(words[0]) <= len(rules):
            return None
        far: dict[str, Remember] = {"s": "session", "session": "session", "a": "always", "always": "always"}
        remember = far.get(words[1].lower())
        return Answer("approve", remember=remember, rule=rules[int(words[0]) - 1]) if remember is not None else None

    async def _reason(self) -> str | None:
        return (await self._keyboard.line("why not? (the model is told; may be empty): ") or "").strip() or None

    async def _edit(self, arguments: dict[str, Any]) -> dict[str, Any] | None:
        """Other arguments, or None when they were left as they are or could not be used."""
        editor = os.environ.get("VISUAL") or os.environ.get("EDITOR")
        if editor:
            text = await _in_editor(editor, json.dumps(arguments, indent=2, ensure_ascii=False))
        else:
            self._view.say(f"  now: {visible(json.dumps(arguments, ensure_ascii=False))}", "")
            text = await self._keyboard.line("new arguments as JSON on one line (empty: as they are): ") or ""
        if not text.strip():
            return None
        try:
            edited = json.loads(text)
        except ValueError as error:
            self._view.say(f"  that is not JSON: {error}", "yellow")
            return None
        if not isinstance(edited, dict):
            self._view.say("  the arguments are a JSON object", "yellow")
            return None
        return edited


async def _in_editor(editor: str, text: str) -> str:
    with tempfile.TemporaryDirectory(prefix="godwit-") as folder:
        path = Path(folder) / "arguments.json"
        path.write_text(text + "\n")
        async with _terminal_lent():
            process = await asyncio.create_subprocess_exec(*shlex.split(editor), os.fspath(path))
            await process.wait()
        return path.read_text() if process.returncode == 0 else ""


@asynccontextmanager
async def _terminal_lent() -> AsyncIterator[None]:
    """While another program has the terminal, its Ctrl-C is not ours."""
    import signal

    loop = asyncio.get_running_loop()
    before = signal.getsignal(signal.SIGINT)
    with contextlib.suppress(ValueError):
        loop.add_signal_handler(signal.SIGINT, lambda: None)
    try:
        yield
    finally:
        with contextlib.suppress(ValueError):
            signal.signal(signal.SIGINT, before)
