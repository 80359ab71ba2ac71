"""`godwit tool`: a tool called on a session by a person, with no model in between.

It is the host's direct call: recorded, hooked, budgeted and confined, and not asked about. Function tools live in the
program that brings them, so what can be called here are the built-in ones.
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

from ..core.errors import ToolNotFound
from ..core.messages import Text
from .cli_exit import DONE, FAILED, CliError
from .cli_place import Where, find
from .cli_view import write_json
from .cli_words import clean, one_line, seconds

if TYPE_CHECKING:
    from ..contracts import SessionHandle
    from ..core.facts import ToolCallResult


async def call(
    place: Where, typed: str, name: str | None, arguments: str | None, *, timeout_s: float | None, as_json: bool
) -> int:
    """Call the tool and print what came of it; without a name, list those that can be called.

    The code is FAILED when it did not do its work.
    """
    given = {} if arguments is None else _object(sys.stdin.read() if arguments == "-" else arguments)
    if timeout_s is not None and timeout_s <= 0:
        raise CliError(f"--timeout {timeout_s:g} is not more than 0 seconds")
    async with place.reach() as runtime:
        handle = await runtime.open_session((await find(runtime, typed)).id, drive=False)
        if name is None:
            return _listing(handle, as_json=as_json)
        result = await handle.tool(name, given, timeout_s=timeout_s)
        _show(handle, result, as_json=as_json)
        return DONE if result.ok else FAILED


def _listing(handle: SessionHandle, *, as_json: bool) -> int:
    try:
        tools = handle.tool_definitions()
    except ToolNotFound as error:
        raise CliError(error.message, hint="the others can be called by name", code=error.code) from None
    for tool in tools:
        if as_json:
            write_json({"name": tool.name, "description": tool.description, "parameters": tool.parameters})
        else:
            needed = ", ".join(tool.parameters.get("required", ()))
            print(f"{tool.name:<12} {one_line(tool.description, 90)}" + (f"  ({needed})" if needed else ""))
    return DONE


def _show(handle: SessionHandle, result: ToolCallResult, *, as_json: bool) -> None:
    if as_json:
        facts: dict[str, Any] = {"session": handle.id, "exit_code": result.exit_code, "output": result.output}
        for field in ("call", "name", "status", "metadata", "duration_ms", "seq"):
            facts[field] = getattr(result, field)
        write_json(facts)
        return
    text = clean(result.output)
    if text:
        print(text if not text.endswith("\n") else text[:-1])
    for block in result.content:
        if not isinstance(block, Text):
            what = block.url if block.data is None else f"{len(block.data):,} bytes"
            print(clean(f"[{type(block).__name__.lower()}: {what} of {block.media_type}]"))
    if not result.ok:
        after = f" after {seconds(result.duration_ms / 1000)}" if result.seq else ", and was not run"
        print(f"{result.name}: {result.status}{after}", file=sys.stderr)


def _object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise CliError(f"the arguments are not JSON: {error}", hint='such as \'{"command": "pytest -q"}\'') from None
    if not isinstance(value, dict):
        raise CliError("the arguments are not a JSON object", hint='such as \'{"command": "pytest -q"}\'')
    return value
