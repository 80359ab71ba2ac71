"""`godwit mcp resources`, `read` and `prompts`: what the MCP servers of a folder's sessions have beside tools.

Leaves out which servers those are (`cli_mcp.py`). Rule: what servers say is shown without anything a terminal would act on.
"""

from __future__ import annotations

import asyncio
import base64
import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from ..core.errors import McpServerFailed
from .cli_exit import DONE, FAILED
from .cli_mcp import opened
from .cli_view import write_json
from .cli_words import clean, one_line

if TYPE_CHECKING:
    from ..contracts import ServerContents

T = TypeVar("T")


async def resources(name: str | None, folder: Path, *, as_json: bool) -> int:
    """List resources and resource templates. CliError."""

    async def ask(contents: ServerContents) -> tuple[Sequence[Any], Sequence[Any]]:
        return await contents.resources(), await contents.resource_templates()

    found, failed = await _of_each(name, folder, ask)
    for listed, templates in found:
        for one in (*listed, *templates):
            if as_json:
                write_json(msgspec.to_builtins(one))
                continue
            where = getattr(one, "uri", None) or f"{one.uri_template} (template)"
            about = "; ".join(text for text in (one.title or one.name, one.media_type, one.description) if text)
            print(f"{one_line(one.server, 40):<16}  {one_line(where, 300)}  {one_line(about, 200)}".rstrip())
    return FAILED if failed else DONE


async def prompts(name: str | None, folder: Path, *, as_json: bool) -> int:
    """List prompts, with the slash commands that run them. CliError."""
    from ..core.mcp_contents import McpPrompt, command_names

    async def ask(contents: ServerContents) -> Sequence[McpPrompt]:
        return await contents.prompts()

    found, failed = await _of_each(name, folder, ask)
    listed = [one for those in found for one in those]
    commands = command_names((one.server, one.name) for one in listed)
    for one in listed:
        made = msgspec.structs.replace(one, command=commands[one.server, one.name])
        if as_json:
            write_json(msgspec.to_builtins(made))
        else:
            usage = one_line(f"/{made.command} {made.usage or ''}".rstrip(), 200)
            print(f"{usage}  {one_line(made.description or made.title or '', 200)}".rstrip())
    return FAILED if failed else DONE


async def read(name: str, uri: str, folder: Path, *, as_json: bool) -> int:
    """Write what a resource holds: text as text, all else as it is where that is no terminal. CliError."""
    async with opened(name, folder) as (servers, connections, of):
        found = await connections.contents(servers[0], of).read(uri)
    for one in found:
        if as_json:
            told = {"uri": one.uri, "media_type": one.media_type, "size": one.size, "text": one.text}
            data = None if one.data is None else base64.b64encode(one.data).decode()
            write_json({**told, "data": data})
        elif one.text is not None:
            print(clean(one.text))
        elif sys.stdout.isatty():
            print(
                one_line(
                    f"[{one.uri}: {one.size} bytes of type {one.media_type or 'unknown'}, not shown on a terminal]", 500
                )
            )
        else:
            sys.stdout.flush()
            sys.stdout.buffer.write(one.data or b"")
            sys.stdout.buffer.flush()
    return DONE


async def _of_each(name: str | None, folder: Path, ask: Callable[[ServerContents], Awaitable[T]]) -> tuple[list[T], bool]:
    """What each server answers, in their order; and whether one could not be asked, which is told."""
    async with opened(name, folder) as (servers, connections, of):
        asked = [connections.contents(one, of) for one in servers if one.enabled]
        answers = await asyncio.gather(*(ask(contents) for contents in asked), return_exceptions=True)
    found: list[T] = []
    failed = False
    for answer in answers:
        if isinstance(answer, McpServerFailed):
            failed = True
            print(one_line(f"note: {answer.message}", 500), file=sys.stderr)
        elif isinstance(answer, BaseException):
            raise answer
        else:
            found.append(answer)
    return found, failed
