"""McpContents: what one server of a session has beside its tools, as the session asks for it: resources and prompts, values
that complete an argument, what it has logged.

Is `contracts.ServerContents`. Leaves out the connection (`connection.py`) and what a session makes of it
(`engine/live_contents.py`). Rules: whatever a server answers is bounded here; a URI is a name that goes to its server and
nowhere else; what a server does is an McpServerFailed of who asked.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from ...contracts import ToldOfResource, ToolContext, ToolOutput
from ...core.errors import McpInputRequired, McpServerFailed, ToolFailed
from ...core.ids import SessionId
from ...core.mcp import McpServer
from ...core.mcp_contents import (
    McpCompletion,
    McpLogEntry,
    McpPrompt,
    McpPromptArgument,
    McpPromptMessage,
    McpPromptResult,
    McpRef,
    McpResource,
    McpResourceContent,
    McpResourceTemplate,
)
from ...core.media import image_type
from ...core.questions import Resumption
from ...tools.mcp import Order
from . import legs, rounds
from .apart import Apart, bound, unbound
from .client import all_pages
from .connection import McpConnection
from .listening import tells_of_resources
from .within import Within

if TYPE_CHECKING:
    from mcp import Client

T = TypeVar("T")

MOST = 500
"""Resources, templates or prompts of one server."""
LONGEST_NAME = 200
LONGEST_URI = 4096
DESCRIPTION = 2000
"""Characters of what a server says of one of them."""
MOST_ARGUMENTS = 50
MOST_CONTENTS = 100
"""Parts of one resource."""
MOST_MESSAGES = 100
MOST_VALUES = 100
VALUE = 1000
FRESH_S = 60.0
"""How long a list of prompts is taken for the current one where its server does not tell of changes."""
COMPLETE_S = 10.0


class McpContents:
    """`find`: the connection to the server as it is now."""

    def __init__(self, server: McpServer, session: SessionId, find: Callable[[], McpConnection]) -> None:
        self._server = server
        self._session = session
        self._find = find

    async def resources(self) -> Sequence[McpResource]:
        async def page(client: Client, cursor: str | None) -> tuple[Sequence[Any], str | None]:
            found = await client.list_resources(cursor=cursor)
            return found.resources, found.next_cursor

        return [
            McpResource(
                self._server.name,
                one.uri,
                one.name[:LONGEST_NAME],
                _short(one.title, LONGEST_NAME),
                _short(one.description),
                _short(one.mime_type, LONGEST_NAME),
                one.size if one.size is not None and 0 <= one.size < 1 << 53 else None,
            )
            for one in await self._listed("resources", page)
            if _usable(one.uri, LONGEST_URI)
        ]

    async def resource_templates(self) -> Sequence[McpResourceTemplate]:
        async def page(client: Client, cursor: str | None) -> tuple[Sequence[Any], str | None]:
            found = await client.list_resource_templates(cursor=cursor)
            return found.resource_templates, found.next_cursor

        return [
            McpResourceTemplate(
                self._server.name,
                one.uri_template,
                one.name[:LONGEST_NAME],
                _short(one.title, LONGEST_NAME),
                _short(one.description),
                _short(one.mime_type, LONGEST_NAME),
            )
            for one in await self._listed("resources", page, "resource templates")
            if _usable(one.uri_template, LONGEST_URI)
        ]

    async def read(
        self, uri: str, *, context: ToolContext | None = None, answers: Resumption | None = None
    ) -> Sequence[McpResourceContent]:
        found = await self._answered(Order(self._server, uri, {}, repeatable=True, what="resource"), context, answers)
        return [_content(one, uri) for one in found.contents[:MOST_CONTENTS]]

    async def abandoned(self, state: str) -> None:
        legs.abandon(state, self._find().held)

    async def prompts(self) -> Sequence[McpPrompt]:
        connection = await self._connected()
        kept = connection.prompts
        can = None if connection.can is None else connection.can.prompts
        now = asyncio.get_running_loop().time()
        fresh = can is not None and (can.list_changed is True or now < kept.read_at + FRESH_S)
        if kept.listed is None or kept.of != connection.lists or not fresh:
            of = connection.lists
            kept.listed, kept.of, kept.read_at = await self._prompts(), of, now
        return [_named(one, self._server.name) for one in kept.listed]

    async def prompt(self, name: str, arguments: dict[str, str], *, answers: Resumption | None = None) -> McpPromptResult:
        order = Order(self._server, name, dict(arguments), repeatable=True, what="prompt")
        found = await self._answered(order, None, answers)
        messages = [McpPromptMessage(one.role, _blocks(one.content)) for one in found.messages[:MOST_MESSAGES]]
        return McpPromptResult(tuple(one for one in messages if one.content), _short(found.description))

    async def complete(self, ref: McpRef, argument: str, value: str, context: dict[str, str]) -> McpCompletion:
        from mcp_types import PromptReference, ResourceTemplateReference

        about = (
            PromptReference(name=ref.name or "")
            if ref.type == "ref/prompt"
            else ResourceTemplateReference(uri=ref.uri or "")
        )
        given = {"name": argument, "value": value}
        found = await self._ask(lambda client: client.complete(about, given, context or None), COMPLETE_S)
        completion = found.completion
        values = tuple(_unicode(one[:VALUE]) for one in completion.values[:MOST_VALUES])
        more = completion.has_more is True or len(completion.values) > MOST_VALUES
        return McpCompletion(values, completion.total, more)

    async def subscribe(self, uri: str, tell: ToldOfResource) -> bool:
        connection = await self._connected()
        who = (self._session, self._server.name)
        new = False
        try:
            if not await self._ask(_tells):
                raise ToolFailed("the MCP server does not tell of changed resources")
            new = connection.subscriptions.add(who, uri, tell)
            await connection.listening.hears(uri)
        except ToolFailed as error:
            if new:
                connection.subscriptions.remove(who, uri)
            raise self._failed(error) from None
        return new

    async def unsubscribe(self, uri: str) -> bool:
        return self._find().subscriptions.remove((self._session, self._server.name), uri)

    def log(self) -> Sequence[McpLogEntry]:
        return self._find().log.entries

    # --- asking -------------------------------------------------------------------------------------------------------

    async def _prompts(self) -> Sequence[McpPrompt]:
        async def page(client: Client, cursor: str | None) -> tuple[Sequence[Any], str | None]:
            found = await client.list_prompts(cursor=cursor)
            return found.prompts, found.next_cursor

        found = await self._listed("prompts", page)
        return [
            McpPrompt(
                "",
                one.name,
                "",
                _short(one.title, LONGEST_NAME),
                _short(one.description),
                tuple(
                    McpPromptArgument(argument.name, _short(argument.description), argument.required is True)
                    for argument in (one.arguments or ())[:MOST_ARGUMENTS]
                    if _usable(argument.name, LONGEST_NAME)
                ),
            )
            for one in {one.name: one for one in reversed(found)}.values()
            if _usable(one.name, LONGEST_NAME)
        ][::-1]

    async def _listed(
        self,
        capability: str,
        page: Callable[[Client, str | None], Awaitable[tuple[Sequence[Any], str | None]]],
        what: str | None = None,
    ) -> Sequence[Any]:
        """All pages; nothing of a server that does not say that it has such things and knows no such request."""
        from mcp import MCPError
        from mcp_types import METHOD_NOT_FOUND

        async def all_of_it(client: Client) -> Sequence[Any]:
            try:
                return await all_pages(lambda cursor: page(client, cursor), what or capability, MOST)
            except MCPError as error:
                # Some have resources and no templates.
                lacks = getattr(client.server_capabilities, capability) is None or what is not None
                if error.code == METHOD_NOT_FOUND and lacks:
                    return []
                raise

        return await self._ask(all_of_it)

    async def _connected(self) -> McpConnection:
        for _ in range(2):  # one that turns out to keep a state is another session's
            connection = self._find()
            await connection.tried()
        return self._find()

    async def _ask(self, request: Callable[[Client], Awaitable[T]], timeout_s: float | None = None) -> T:
        return await self._in_time(lambda connection: connection.ask(request), timeout_s)

    async def _answered(self, order: Order, context: ToolContext | None, answers: Resumption | None) -> Any:
        """What the server answers to a request that may ask first: McpInputRequired. `context`: of the call that it is made
        for; without one `answers` are what it goes on with."""
        resumed = None if answers is None else unbound(answers, order)
        within: Within = context or Apart(self._session, resumed)
        while True:
            found = await self._in_time(partial(legs.run, order, within=within, models=context is not None))
            if not isinstance(found, ToolOutput):
                return found
            if context is None and isinstance(rounds.read(found.state), rounds.Held):
                # Nobody may ever come back to it, and the server is at work on it for as long as it is held.
                within = Apart(self._session, Resumption(found.state, ()))
                continue
            state = found.state if context is not None else bound(found.state, order)
            raise McpInputRequired(
                "; ".join(one.message for one in found.questions),
                questions=found.questions,
                state=state,
                server=self._server.name,
            )

    async def _in_time(self, ask: Callable[[McpConnection], Awaitable[T]], timeout_s: float | None = None) -> T:
        timeout_s = self._server.timeout_s if timeout_s is None else min(timeout_s, self._server.timeout_s)
        try:
            async with asyncio.timeout(timeout_s):
                return await ask(await self._connected())
        except TimeoutError:
            raise self._failed(ToolFailed(f"the MCP server does not answer within {timeout_s:g} s")) from None
        except ToolFailed as error:
            raise self._failed(error) from None

    def _failed(self, error: ToolFailed) -> McpServerFailed:
        said = error.message.removeprefix("the MCP server")
        return McpServerFailed(f"the MCP server {self._server.name!r}{said}", server=self._server.name)


async def _tells(client: Client) -> bool:
    return tells_of_resources(client)


def _content(one: Any, asked: str) -> McpResourceContent:
    """A part as it is: an image or a PDF by what it begins with, whatever the server calls it."""
    uri = one.uri if _usable(one.uri, LONGEST_URI) else asked
    media_type = _short(one.mime_type, LONGEST_NAME)
    if isinstance(text := getattr(one, "text", None), str):
        text = _unicode(text)
        return McpResourceContent(uri, len(text.encode()), media_type or "text/plain", text=text)
    try:
        data = base64.b64decode(one.blob, validate=True)
    except (binascii.Error, ValueError):
        raise McpServerFailed(f"the resource {uri!r} is not encoded as it should be") from None
    told = image_type(data) or ("application/pdf" if data.startswith(b"%PDF-") else media_type)
    return McpResourceContent(uri, len(data), told, data=data)


def _blocks(content: Any) -> tuple[Any, ...]:
    from ...tools.mcp import FILES_BYTES, block_of

    block = block_of(content, FILES_BYTES)
    return () if block is None else (block,)


def _named(prompt: McpPrompt, server: str) -> McpPrompt:
    import msgspec

    return msgspec.structs.replace(prompt, server=server)


def _usable(name: str, most: int) -> bool:
    """Whether it can be said back to the server as it is."""
    return 0 < len(name) <= most and _unicode(name) == name


def _short(text: str | None, most: int = DESCRIPTION) -> str | None:
    return _unicode(text[:most]) if text else None


def _unicode(text: str) -> str:
    return text if text.isascii() else text.encode(errors="replace").decode()
