"""Who is measured: the floor, pydantic-ai's model layer alone, our adapter over it alone, and godwit.

Each contender makes conversations; a conversation takes turns. All of them do the same work against the same provider and
run the same tool. What a contender sets up once (a client, a runtime on a file) is not part of any measurement.

`direct` and `adapter` are no runtimes: a bare loop around the model, so that godwit's own share can be told from the cost
of the provider's SDK. `scripted` is godwit with a model that answers within the process.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol

import httpx2

import godwit
from godwit.contracts import ModelAnswer, ModelRequest
from godwit.core.agent import Limits, ModelSettings, ToolDefinition
from godwit.core.ids import MessageId, SessionId
from godwit.core.messages import Assistant, Message, Text, ToolCall, ToolResult, Usage, User
from godwit.core.transcript import Entry
from godwit.engine.session import Session
from godwit.host.runtime import Runtime
from godwit.models.registry import Registry
from godwit.models.script import Reply, ScriptedModel, call, end, say
from godwit.stores.sqlite import SqliteStore

from .floor import DESCRIPTION, SCHEMA, Floor, FloorTable
from .provider import TOOL, arguments_of, text_of

Durability = Literal["disk", "process", "memory"]
PROVIDER = "bench"


class Conversation(Protocol):
    async def turn(self, prompt: str) -> object:
        """From a prompt until all its work is done, what goes on after the answer included."""
        ...

    async def close(self) -> None: ...


class Contender(Protocol):
    """`name` stands in the table."""

    name: str

    async def open(self, url: str, folder: Path) -> None: ...
    async def begin(self, model: str) -> Conversation:
        """A new conversation with `text-N` or `tools-N`."""
        ...

    async def close(self) -> None: ...


class FloorContender:
    def __init__(self, *, stored: bool = False) -> None:
        self.name = "floor + SQLite" if stored else "floor"
        self._stored = stored
        self._count = itertools.count()
        self.mark: Callable[[], None] = lambda: None
        self.table: FloorTable | None = None

    async def open(self, url: str, folder: Path) -> None:
        self._url = url
        self._client = httpx2.AsyncClient(limits=httpx2.Limits(max_connections=200), timeout=60)
        if self._stored:
            self.table = FloorTable(folder / "floor.db")

    async def begin(self, model: str) -> Floor:
        return self.load(model, f"floor-{next(self._count)}")

    def load(self, model: str, session: str) -> Floor:
        """A conversation with the messages stored under this name."""
        made = Floor(self._client, self._url, model, table=self.table, session=session)
        made.mark = lambda: self.mark()
        return made

    async def close(self) -> None:
        await self._client.aclose()
        if self.table is not None:
            self.table.close()


class DirectContender:
    """pydantic-ai's `model_request_stream` in a bare loop: what the model layer costs anybody."""

    name = "pydantic-ai direct"

    async def open(self, url: str, folder: Path) -> None:
        from openai import AsyncOpenAI
        from pydantic_ai.models import create_async_httpx2_client
        from pydantic_ai.providers.openai import OpenAIProvider

        self._http = create_async_httpx2_client(timeout=60)
        openai = AsyncOpenAI(api_key="none", base_url=url, http_client=self._http, max_retries=0)
        self._provider = OpenAIProvider(openai_client=openai)
        self._models: dict[str, Any] = {}

    async def begin(self, model: str) -> _Direct:
        from pydantic_ai.models.openai import OpenAIChatModel

        if model not in self._models:
            self._models[model] = OpenAIChatModel(model, provider=self._provider)
        return _Direct(self._models[model])

    async def close(self) -> None:
        await self._http.aclose()


class _Direct:
    def __init__(self, model: Any) -> None:
        from pydantic_ai.models import ModelRequestParameters
        from pydantic_ai.tools import ToolDefinition as Definition

        self._model = model
        definition = Definition(name=TOOL, description=DESCRIPTION, parameters_json_schema=SCHEMA)
        self._parameters = ModelRequestParameters(function_tools=[definition])
        self.messages: list[Any] = []

    async def turn(self, prompt: str) -> str:
        from pydantic_ai import messages as pm
        from pydantic_ai.direct import model_request_stream

        self.messages.append(pm.ModelRequest([pm.UserPromptPart(prompt)]))
        while True:
            stream = model_request_stream(
                self._model, self.messages, model_request_parameters=self._parameters, instrument=False
            )
            async with stream as events:
                async for _ in events:
                    pass
            answer = events.get()
            self.messages.append(answer)
            results: list[pm.ModelRequestPart] = []
            for part in answer.parts:
                if isinstance(part, pm.ToolCallPart):
                    arguments = part.args_as_dict()
                    result = str(arguments["a"] + arguments["b"])
                    results.append(pm.ToolReturnPart(part.tool_name, result, part.tool_call_id))
            if not results:
                return "".join(p.content for p in answer.parts if isinstance(p, pm.TextPart))
            self.messages.append(pm.ModelRequest(results))

    async def close(self) -> None:
        self.messages = []


class AdapterContender:
    """Our live adapter alone, in a bare loop: `godwit live` less this is what the engine and the store cost."""

    name = "godwit's adapter alone"

    async def open(self, url: str, folder: Path) -> None:
        self._registry = registry_of(url)

    async def begin(self, model: str) -> _Adapter:
        return _Adapter(self._registry.resolve(f"{PROVIDER}:{model}"))

    async def close(self) -> None:
        await self._registry.close()


class _Adapter:
    def __init__(self, model: Any) -> None:
        self._model = model
        self._tools = (ToolDefinition(TOOL, DESCRIPTION, SCHEMA),)
        self.entries: list[Entry] = []

    async def turn(self, prompt: str) -> str:
        self._add(User((Text(prompt),)))
        for turn in itertools.count(1):
            message = MessageId(f"msg_{turn}")
            request = ModelRequest(self.entries, "", self._tools, ModelSettings(), SessionId("ses"), message, turn)
            answer: ModelAnswer | None = None
            async for chunk in self._model.stream(request):
                if isinstance(chunk, ModelAnswer):
                    answer = chunk
            assert answer is not None
            said = Assistant(message, answer.content, answer.model, answer.stop)
            self._add(said)
            if not said.calls:
                return said.text
            for asked in said.calls:
                result = str(asked.arguments["a"] + asked.arguments["b"])
                self._add(ToolResult(asked.id, asked.name, (Text(result),)))
        raise AssertionError

    def _add(self, message: Message) -> None:
        self.entries.append(Entry(message))

    async def close(self) -> None:
        self.entries = []


class GodwitContender:
    """A runtime on a real file. `followed`: the run is watched, deltas included, by one follower."""

    def __init__(
        self, model: Literal["live", "scripted"], durability: Durability = "disk", *, followed: bool = False
    ) -> None:
        self.name = f"godwit {model}, {durability}" + (", followed" if followed else "")
        self.kind = model
        self._durability: Durability = durability
        self._followed = followed
        self.mark: Callable[[], None] = lambda: None
        """Called in each tool call."""
        self.runtime: Runtime
        self.store: SqliteStore
        self.scripted: dict[str, ScriptedModel] = {}
        self._agents: dict[str, godwit.Agent] = {}

    async def open(self, url: str, folder: Path) -> None:
        path = folder / f"{self.name.replace(', ', '-').replace(' ', '-')}.db"
        self.registry = registry_of(url)
        self.store = SqliteStore.open(path, durability=self._durability)
        self.runtime = await Runtime.open(store=self.store, models=self.registry)

    def agent(self, model: str) -> godwit.Agent:
        """The agent that uses this model; both are made when they are not there yet."""
        if model in self._agents:
            return self._agents[model]
        name = f"{PROVIDER}:{model}"
        if self.kind == "scripted":
            name = f"scripted:{model}"
            if name not in self.scripted:
                self.scripted[name] = scripted(model)
                self.registry.register(name, self.scripted[name])

        @godwit.tool(name=TOOL)
        async def add(a: int, b: int) -> str:
            """Add two numbers."""
            self.mark()
            return str(a + b)

        made = self._agents[model] = godwit.Agent(model, model=name, tools=[add], limits=Limits(max_turns=1000))
        return made

    async def begin(self, model: str) -> GodwitConversation:
        for one in self.scripted.values():
            one.requests.clear()
        session = await self.runtime.start_session(self.agent(model))
        return GodwitConversation(self.runtime, session, self._followed)

    async def load(self, model: str, session: str) -> GodwitConversation:
        """A conversation that stands in the store."""
        handle = await self.runtime.open_session(session, agent=self.agent(model))
        return GodwitConversation(self.runtime, handle, self._followed)

    async def close(self) -> None:
        await self.runtime.close()


class GodwitConversation:
    def __init__(self, runtime: Runtime, session: Session, followed: bool) -> None:
        self._runtime = runtime
        self.session = session
        self._followed = followed

    async def turn(self, prompt: str) -> object:
        result: object = None
        if self._followed:
            async for item in self.session.stream(prompt):
                result = item
        else:
            result = await self.session.send(prompt)
        # The answer is out before the lease is let go; that belongs to the turn's cost all the same.
        await self._runtime.settle(self.session.id)
        return result

    async def close(self) -> None:
        await self.session.close()


def registry_of(url: str) -> Registry:
    registry = Registry()
    registry.register_provider(PROVIDER, kind="openai-chat", base_url=url, api_key="none")
    return registry


def scripted(model: str) -> ScriptedModel:
    """The model of this name as a script: it says the same as the provider, in as many pieces."""
    kind, _, number = model.rpartition("-")
    count = int(number)
    # A usage of its own, or the script would count the words of the whole history each time.
    counted = end(usage=Usage(100, count, requests=1))
    turns: Sequence[Reply]
    if kind == "text":
        turns = [say("".join(text_of(count))) + counted]
    else:
        turns = [call(TOOL, id=f"call_{n}", **arguments_of(n)) + counted for n in range(count)]
        turns = [*turns, say("done") + counted]
    return ScriptedModel(turns, f"scripted:{model}", select=_results)


def _results(request: ModelRequest) -> int:
    """The tool results behind the last user's message."""
    count = 0
    for entry in reversed(request.entries):
        if isinstance(entry.message, User):
            break
        count += isinstance(entry.message, ToolResult)
    return count


def history_rows(messages: Sequence[Message]) -> list[dict[str, Any]]:
    """Messages as the floor keeps them."""
    rows: list[dict[str, Any]] = []
    for message in messages:
        match message:
            case User():
                rows.append({"role": "user", "content": _text(message.content)})
            case Assistant():
                row: dict[str, Any] = {"role": "assistant", "content": message.text or None}
                if message.calls:
                    row["tool_calls"] = [_call(c) for c in message.calls]
                rows.append(row)
            case ToolResult():
                rows.append({"role": "tool", "tool_call_id": message.call_id, "content": message.text})
    return rows


def _text(content: Sequence[Any]) -> str:
    return "".join(b.text for b in content if isinstance(b, Text))


def _call(asked: ToolCall) -> dict[str, Any]:
    return {"id": asked.id, "type": "function", "function": {"name": asked.name, "arguments": json.dumps(asked.arguments)}}
