"""An MCP server of the official package whose tools ask: over stdio as a program, `mcp_asker.py [--old] [--log FILE]`, over
HTTP as one, `mcp_asker.py --http [--port N] ...`, whose first line is its address, or in a thread (`asker_site`).

`ask`, and `again` which may be repeated, take `steps`, each of them one round: `{"form": ...}` (a message or the whole
parameters), `{"url": ...}`, `{"sample": {...}}`, `{"roots": true}`, `{"all": {KEY: STEP, ...}}`, all at once, `{"idle": N}`,
N rounds of `requestState` alone, or `{"say": TEXT}`, which only logs; of the older protocol alone `{"impatient": S, ...}`,
which waits so long for the answer, and `{"required": {...}}`, which fails. Their result is what was answered, as JSON. So do
the resource `uri_of(STEPS)` and the prompt `ask`, which takes them as JSON.
`--old`: speaks the handshake protocol alone.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote, unquote

import anyio
import mcp_types as types
from mcp.server import Server
from mcp.server.stdio import stdio_server
from mcp.shared.exceptions import MCPError

NAME = {"type": "object", "properties": {"name": {"type": "string"}, "size": {"type": "integer", "default": 3}}}
NAME["required"] = ["name"]
STATE = "état \u2603 " + '{"not": "yours"} '
"""What each `requestState` begins with: no two encodings of it are the same."""
READS = "ask://"


class Asker:
    """`heard`: what was called, answered and cancelled, in order. `log`: a file that has the same."""

    def __init__(self, *, old: bool = False, log: str | None = None) -> None:
        self.old = old
        self.heard: list[str] = []
        self.cancelled = threading.Event()
        self.log = log

    def server(self) -> Server[Any]:
        return Server(
            "asker",
            version="1",
            on_list_tools=self._tools,
            on_call_tool=self._call,
            on_list_resources=self._resources,
            on_read_resource=self._read,
            on_list_prompts=self._prompts,
            on_get_prompt=self._prompt,
        )

    def note(self, text: str) -> None:
        self.heard.append(text)
        if self.log is not None:
            with open(self.log, "a", encoding="utf-8") as file:
                file.write(text + "\n")

    async def _tools(self, _: Any, __: Any) -> types.ListToolsResult:
        schema = {"type": "object", "properties": {"steps": {"type": "array"}, "who": {"type": "string"}}}
        may_be_repeated = types.ToolAnnotations(idempotent_hint=True)
        return types.ListToolsResult(
            tools=[
                types.Tool(name="ask", input_schema=schema),
                types.Tool(name="again", input_schema=schema, annotations=may_be_repeated),
            ]
        )

    async def _resources(self, _: Any, __: Any) -> types.ListResourcesResult:
        return types.ListResourcesResult(resources=[types.Resource(uri=uri_of([]), name="ask")])

    async def _prompts(self, _: Any, __: Any) -> types.ListPromptsResult:
        steps = types.PromptArgument(name="steps", required=True)
        return types.ListPromptsResult(prompts=[types.Prompt(name="ask", arguments=[steps])])

    async def _call(self, context: Any, params: types.CallToolRequestParams) -> Any:
        given = params.arguments or {}
        found = await self._asked(given.get("steps", []), given.get("who", ""), context, params)
        return result(found) if isinstance(found, list) else found

    async def _read(self, context: Any, params: types.ReadResourceRequestParams) -> Any:
        found = await self._asked(json.loads(unquote(params.uri.removeprefix(READS))), "", context, params)
        if isinstance(found, list):
            text = types.TextResourceContents(uri=params.uri, text=json.dumps(found))
            return types.ReadResourceResult(contents=[text])
        return found

    async def _prompt(self, context: Any, params: types.GetPromptRequestParams) -> Any:
        found = await self._asked(json.loads((params.arguments or {})["steps"]), "", context, params)
        if isinstance(found, list):
            said = types.PromptMessage(role="user", content=types.TextContent(text=json.dumps(found)))
            return types.GetPromptResult(messages=[said])
        return found

    async def _asked(self, steps: list[Any], who: str, context: Any, params: Any) -> Any:
        """The answers; of the newer protocol also a result that asks."""
        if context.session.protocol_version == "2026-07-28":
            return self._round(steps, who, params)
        self.note(f"call {who}")
        try:
            return await self._within(steps, context)
        except asyncio.CancelledError:
            self.note("cancelled")
            self.cancelled.set()
            raise

    # --- the newer protocol -------------------------------------------------------------------------------------------

    def _round(self, steps: list[Any], who: str, params: Any) -> Any:
        if params.request_state is None:
            assert params.input_responses is None
            at, idled, answers = 0, 0, []
            self.note(f"call {who}")
        else:
            assert params.request_state.startswith(STATE), params.request_state
            at, idled, answers = json.loads(params.request_state[len(STATE) :])
            self.note("resumed")
            if params.input_responses is not None:
                found = {key: shown(one) for key, one in params.input_responses.items()}
                self.note("answered")
                answers.append(found if "all" in steps[at] else found["one"])
                at += 1
        while at < len(steps) and "say" in steps[at]:
            self.note(steps[at]["say"])
            at += 1
        if at == len(steps):
            return answers
        step = steps[at]
        if "idle" in step:
            idled += 1
            if idled >= step["idle"]:
                at, idled = at + 1, 0
            return types.InputRequiredResult(request_state=STATE + json.dumps([at, idled, answers]))
        requests = {key: request(one) for key, one in step.get("all", {"one": step}).items()}
        state = STATE + json.dumps([at, 0, answers]) + " " * step.get("pad", 0)
        return types.InputRequiredResult(input_requests=requests, request_state=state)

    # --- the older one ------------------------------------------------------------------------------------------------

    async def _within(self, steps: list[Any], context: Any) -> Any:
        answers: list[Any] = []
        for step in steps:
            if "say" in step:
                self.note(step["say"])
            elif "required" in step:
                raise MCPError(code=-32042, message="open it", data={"elicitations": [step["required"]]})
            elif "impatient" in step:
                with anyio.move_on_after(step["impatient"]):
                    await self._answer(step, context)
            elif "all" in step:
                found: dict[str, Any] = {}

                async def one(key: str, step: Any, found: dict[str, Any] = found) -> None:
                    found[key] = await self._answer(step, context)

                async with anyio.create_task_group() as group:
                    for key, sub in step["all"].items():
                        group.start_soon(one, key, sub)
                answers.append(dict(sorted(found.items())))
            else:
                answers.append(await self._answer(step, context))
            if "say" not in step:
                self.note("answered")
        return answers

    async def _answer(self, step: Any, context: Any) -> Any:
        asked = request(step)
        kind: Any = types.ElicitResult
        if isinstance(asked, types.CreateMessageRequest):
            kind = types.CreateMessageResult
        elif isinstance(asked, types.ListRootsRequest):
            kind = types.ListRootsResult
        from mcp.shared.message import ServerMessageMetadata

        try:
            found = await context.session.send_request(
                asked, kind, metadata=ServerMessageMetadata(related_request_id=context.request_id)
            )
        except MCPError as error:
            return f"error {error.code}: {error.message}"
        return shown(found)


def uri_of(steps: list[Any]) -> str:
    """Of the resource that asks this before it can be read, and holds the answers."""
    return READS + quote(json.dumps(steps))


def request(step: Any) -> Any:
    if "form" in step:
        given = step["form"]
        given = {"message": given, "requestedSchema": NAME} if isinstance(given, str) else given
        return types.ElicitRequest(params=types.ElicitRequestFormParams.model_validate(given, by_name=False))
    if "url" in step:
        return types.ElicitRequest(
            params=types.ElicitRequestURLParams(message="Please log in.", url=step["url"], elicitation_id="e1")
        )
    if "sample" in step:
        return types.CreateMessageRequest(
            params=types.CreateMessageRequestParams.model_validate(step["sample"], by_name=False)
        )
    return types.ListRootsRequest()


def shown(found: Any) -> Any:
    if isinstance(found, types.ElicitResult):
        return found.action if found.content is None else [found.action, found.content]
    if isinstance(found, types.CreateMessageResult):
        text = getattr(found.content, "text", None)
        return [text, found.model, found.stop_reason]
    return [str(root.uri) for root in found.roots]


def result(answers: list[Any]) -> types.CallToolResult:
    return types.CallToolResult(content=[types.TextContent(text=json.dumps(answers))])


async def over_stdio(asker: Asker) -> None:
    from tests.parts.mcp_library import Handshakes

    if asker.log is not None:
        await anyio.Path(f"{asker.log}.pid").write_text(str(os.getpid()))
    server = asker.server()
    async with stdio_server() as (read, write):
        await server.run(Handshakes(read) if asker.old else read, write, server.create_initialization_options())


@contextmanager
def asker_site(*, old: bool = False, sse: bool = False) -> Iterator[Any]:
    """The asker as an `McpSite`, whose `asker` it is."""
    from tests.parts.mcp_site import McpSite

    class AskerSite(McpSite):
        asker = Asker(old=old)

        def made(self) -> Server[Any]:
            return self.asker.server()

    site = AskerSite()
    site.stateful, site.sse = old, sse
    site.start()
    try:
        yield site
    finally:
        site.stop()


def over_http(asker: Asker, port: int) -> None:
    from tests.parts.mcp_site import McpSite

    class AskerSite(McpSite):
        def made(self) -> Server[Any]:
            return asker.server()

    site = AskerSite()
    site.stateful, site.port = asker.old, port
    site.start()
    print(site.here, flush=True)
    sys.stdin.read()
    os._exit(0)


def option(name: str) -> str | None:
    return sys.argv[sys.argv.index(name) + 1] if name in sys.argv else None


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    asking = Asker(old="--old" in sys.argv, log=option("--log"))
    if "--http" in sys.argv:
        over_http(asking, int(option("--port") or 0))
    else:
        asyncio.run(over_stdio(asking))
