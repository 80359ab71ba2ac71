"""Questions of calls at the terminal: who asks, what is to be filled in, and how a person does it, field by field.

Leaves out when somebody is asked (`cli_foreground`, `cli_chat`) and what approvals look like (`cli_answers`). Rules: what a
tool or a server wrote is shown with all that would not be seen made visible, and behind a bar where it has many lines; a
browser is opened only when the person says so; what is secret is neither echoed nor shown again.
"""

from __future__ import annotations

import asyncio
import ipaddress
import urllib.parse
from dataclasses import dataclass
from typing import Any, Literal

from ..core.errors import InvalidArgument
from ..core.facts import PendingAction
from ..core.forms import Field, content_lines, fields_of, form_lines, typed
from ..core.questions import filled
from .cli_asked import Line, asked, block
from .cli_keyboard import Keyboard
from .cli_view import View
from .cli_words import asker, clean, visible

KEYS = "/d declines, /l leaves it waiting, /b goes back a field"


@dataclass(frozen=True)
class Said:
    """What a person made of a question: its fields, or that they do not want to answer."""

    decision: Literal["result", "deny"]
    content: dict[str, Any] | None = None
    reason: str | None = None


def question_lines(action: PendingAction, folder: str | None = None) -> list[Line]:
    """All of what waits: a question with what is to be filled in or opened, or a call with its arguments."""
    if not action.asking:
        said = [] if action.message is None else _told(action.message)
        return [*said, *asked(action.name, action.arguments, folder)]
    what = " for leave to do this" if action.kind == "approval" else ""
    lines = [Line(f"  {asker(action.name, action.path)} asks{what}:", "bold"), *_told(action.message or "")]
    if action.arguments:
        lines += asked(action.name, action.arguments, folder)[1:]
    if action.url is not None:
        lines += address_lines(action.url)
    return [*lines, *(Line(f"    {_flat(line)}") for line in form_lines(action.schema))]


def address_lines(url: str) -> list[Line]:
    """The address, whole, and the host it leads to as it is looked up: letters that look like others are not to hide."""
    lines = [Line(f"  address: {_flat(url)}")]
    host = _host(url)
    return [*lines, Line(f"  at the host: {host}", "bold")] if host is not None else lines


def _host(url: str) -> str | None:
    try:
        host = urllib.parse.urlsplit(url).hostname
    except ValueError:
        return None
    if not host:
        return None
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        pass
    try:
        return host.encode("idna").decode()
    except UnicodeError:
        return _flat(host)


def _told(message: str) -> list[Line]:
    if not message:
        return []
    return [Line(f"  {_flat(message)}", "bold")] if "\n" not in message else block(message)


def _flat(text: str) -> str:
    return visible(text).replace("\n", "␊")


def answer_words(schema: dict[str, Any] | None) -> list[str]:
    """What is typed behind `godwit answer` for a form, as an example: `name=... size=...`."""
    fields = fields_of(schema)
    wanted = [field for field in fields if field.required and not field.has_default] or fields
    return [f"{_flat(field.name)}=..." for field in wanted] or ["done" if schema is None else "{}"]


class Forms:
    """Asks the person at the terminal. One question at a time."""

    def __init__(self, view: View, keyboard: Keyboard) -> None:
        self._view = view
        self._keyboard = keyboard

    async def ask(self, action: PendingAction) -> Said | None:
        """What the person made of it; None leaves it waiting."""
        view = self._view
        view.settle()
        view.say(f"{asker(action.name, action.path)} asks:", "bold")
        for line in _told(action.message or ""):
            view.say(line.text, line.style)
        if action.url is not None:
            return await self._address(action.url)
        return await self._form(action.schema)

    async def _address(self, url: str) -> Said | None:
        for line in address_lines(url):
            self._view.say(line.text, line.style)
        opens = url.startswith(("https://", "http://"))
        keys = f"Enter when you are done there{'  [o]pen it in the browser' if opens else ''}  [d]ecline  answer [l]ater: "
        while True:
            said = await self._line(keys)
            match "/l" if said is None else said.strip().lower():
                case "" | "done":
                    return Said("result", {})
                case "o" | "open" if opens:
                    self._view.say(
                        "  opened" if await _opened(url) else "  there is no browser here: open it yourself", "yellow"
                    )
                case "d" | "/d" | "decline":
                    return await self._declined()
                case "l" | "/l" | "later":
                    return None
                case other:
                    self._view.say(f"  {clean(other)!r} is none of Enter, {'o, ' if opens else ''}d, l", "yellow")

    async def _form(self, schema: dict[str, Any] | None) -> Said | None:
        fields, values, at = fields_of(schema), dict[str, Any](), 0
        if fields:
            self._view.say(f"  {KEYS}", "dim")
        while True:
            while at < len(fields):
                step = await self._field(fields[at], values)
                if step is None:
                    return None
                if step == "decline":
                    return await self._declined()
                at = max(0, at + (-1 if step == "back" else step == "next"))
            try:
                content = filled(schema, values)
            except InvalidArgument as error:
                self._view.say(f"  {clean(error.message)}", "yellow")
                at = next((n for n, one in enumerate(fields) if one.name == error.details.get("field")), 0)
                if not fields:
                    return None
                continue
            if len(fields) == 1:
                return Said("result", content)
            for title, value in content_lines(schema, content):
                self._view.say(f"    {_flat(title)}: {_flat(value)}", "")
            word = await self._choice("send this? [y]es  [c]hange  [d]ecline  answer [l]ater: ", "ycdl")
            match word:
                case "y":
                    return Said("result", content)
                case "c":
                    at = 0
                case "d":
                    return await self._declined()
                case _:
                    return None

    async def _field(self, field: Field, values: dict[str, Any]) -> Literal["next", "back", "again", "decline"] | None:
        """Ask for one field. None leaves the question waiting."""
        view = self._view
        notes = field.kind if field.required or field.has_default else f"{field.kind}, may be left out"
        view.say(f"  {_flat(field.title)} ({notes})", "bold")
        if field.description:
            for line in block(field.description):
                view.say(line.text, line.style)
        for number, (_, name) in enumerate(field.choices or (), 1):
            view.say(f"    {number}  {_flat(name)}", "")
        now = values.get(field.name, field.about.get("default"))
        known = field.name in values or field.has_default
        said = await self._line(f"  {_flat(field.shown(now))!r} > " if known else "  > ", hidden=field.secret)
        if said is None:
            return None
        match said.strip():
            case "/d" | "/decline":
                return "decline"
            case "/l" | "/later":
                return None
            case "/b" | "/back":
                return "back"
            case "" if known or not field.required:
                return "next"
            case "":
                view.say("  this one is needed", "yellow")
                return "again"
        try:
            values[field.name] = typed(field, said)
        except InvalidArgument as error:
            view.say(f"  {visible(error.message)}", "yellow")
            return "again"
        return "next"

    async def _choice(self, prompt: str, letters: str) -> str | None:
        while True:
            said = await self._line(prompt)
            if said is None:
                return None
            word = said.strip().lower().lstrip("/")[:1]
            if word and word in letters:
                return word
            self._view.say(f"  {clean(said)!r} is none of {', '.join(letters)}", "yellow")

    async def _declined(self) -> Said:
        reason = (await self._line("why not? (may be empty): ") or "").strip()
        return Said("deny", reason=reason or None)

    async def _line(self, prompt: str, *, hidden: bool = False) -> str | None:
        self._view.settle()
        said = await self._keyboard.line(prompt, hidden=hidden)
        if said is None:
            self._view.say("")  # the answer was Ctrl-D, which ends no line
        return said


async def _opened(url: str) -> bool:
    import webbrowser

    return await asyncio.to_thread(webbrowser.open, url)
