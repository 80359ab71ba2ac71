"""One model of a real provider, over pydantic-ai's model layer (never its agent).

A request is made from what each `Entry` was translated to the first time it was sent; the answer is streamed as deltas
and ends as blocks that can be stored. Everything provider-specific lies below pydantic-ai; this file holds what must be
true of every provider: one HTTP request per call, no retry, an answer only when the stream reached its own end, the
connection closed when the caller leaves, and no key in an error.

Importing this module imports neither pydantic-ai nor an SDK: they come with the first request, in a thread.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing
from functools import cache
from typing import TYPE_CHECKING, Any, cast

import msgspec

from ..contracts import ModelAnswer, ModelChunk, ModelRequest, TextDelta, ThinkingDelta, ToolCallDelta
from ..core.agent import ModelSettings
from ..core.budget import Price
from ..core.errors import AuthenticationFailed, ModelError, StreamBroken
from ..core.messages import Assistant, Message, Text, Usage
from ..core.model_info import ModelInfo
from ..core.transcript import Entry
from . import translation
from .attachment_limits import limits_for
from .crowding import Behind, left_behind, without_files
from .failures import model_error
from .fitting import with_answers_between
from .prices import is_free, listed_cost
from .providers import RESPONSES, Connection

if TYPE_CHECKING:
    import httpx2
    from pydantic import TypeAdapter
    from pydantic_ai import messages as pm
    from pydantic_ai.models import Model as PydanticModel, ModelRequestParameters, StreamedResponse
    from pydantic_ai.settings import ModelSettings as PydanticSettings

_ANTHROPIC_CACHE = {
    "anthropic_cache_instructions": True,
    "anthropic_cache_tool_definitions": True,
    "anthropic_cache_messages": True,
}


_PORTION = 128
"""Entries translated before other work on the event loop gets its turn."""


class LiveModel:
    """A model behind a `Connection`. `cache`: mark the prompt for Anthropic's cache (system, tools, the last two messages of
    the user's side), unless the settings speak of the cache themselves. `price`: in place of the one that is listed for it.

    `settings.extra` goes through as pydantic-ai model settings (`openai_reasoning_summary`, `extra_body`, `timeout` ...);
    its key `native_tools` lists the provider's own tools, such as `{"kind": "web_search"}`.
    """

    def __init__(
        self,
        name: str,
        connection: Connection,
        *,
        cache: bool = True,
        price: Price | None = None,
        info: Callable[[], ModelInfo] | None = None,
    ) -> None:
        self._name = name
        self._known = info
        self._price = price
        self._model_name = name.partition(":")[2]
        self._connection = connection
        self._cache = cache
        self._system = connection.provider.system
        self._kind = connection.provider.kind
        # One provider may speak two formats, in which the same answer goes back differently.
        self._wire = f"pydantic-ai/{self._system}" + ("/chat" if self._kind == "openai-chat" else "")
        self._info: ModelInfo | None = None
        # Chat completions take nothing back that no part carries; the other formats refer to the answer as a whole.
        self._keeps_answer = self._kind in ("openai-responses", "anthropic", "google")

    @property
    def name(self) -> str:
        return self._name

    @property
    def wire(self) -> str:
        return self._wire

    def __repr__(self) -> str:
        return f"LiveModel({self._name!r})"

    def cost_usd(self, usage: Usage) -> float | None:
        """What this usage costs, None when no price is known. Off the event loop: see `prices.listed_cost`."""
        if self._price is not None:
            return self._price.of(usage)
        provider = self._connection.provider
        if is_free(provider.name, self._connection.base_url):
            return 0.0
        return listed_cost(self._system, self._model_name, usage)

    async def stream(self, request: ModelRequest) -> AsyncGenerator[ModelChunk]:
        await self._connection.authorize()
        model = await self._load()
        await self._look()
        from pydantic_ai.direct import model_request_stream

        failure: ModelError | None = None
        names = translation.changed_names(request.tools)
        begun = False
        responses: list[httpx2.Response] = []
        try:
            opening = model_request_stream(
                model,
                await self._messages(request.entries, marked=self._marks(request.settings)),
                model_settings=self._settings(request.settings),
                model_request_parameters=self._parameters(request),
                instrument=False,
            )
            async with AsyncExitStack() as stack:
                # A generator runs in its caller's context: what is set there is taken back before the first yield.
                noting = RESPONSES.set(responses)
                try:
                    stream = await stack.enter_async_context(opening)
                finally:
                    RESPONSES.reset(noting)
                begun = True
                events = cast("AsyncGenerator[pm.ModelResponseStreamEvent]", aiter(stream))
                deltas = _deltas(events, names)
                async with aclosing(events), aclosing(deltas):
                    async for delta in deltas:
                        yield delta
            for chunk in self._end(stream, names):
                yield chunk
        except Exception as error:
            failure = model_error(error, model=self._name, secrets=self._connection.secrets, streaming=begun)
        finally:
            # Not every SDK closes a connection that is merely left.
            for response in responses:
                await response.aclose()
        # Outside the handler, so that the SDK's exception is not chained: its text may quote the key.
        if failure is not None:
            if isinstance(failure, AuthenticationFailed):
                self._connection.refuse()
            raise failure

    async def _load(self) -> PydanticModel:
        ready = self._connection.ready(self._model_name)
        return ready if ready is not None else await asyncio.to_thread(self._connection.model, self._model_name)

    async def _look(self) -> None:
        """See, once, what is known of the model: what it does not take is said otherwise, and kept under a wire of its
        own."""
        if self._known is None or self._info is not None:
            return
        info = await asyncio.to_thread(self._known)
        if self._info is None:
            self._info = info
            lacking = [what for what in ("images", "documents") if getattr(info, what) is False]
            self._wire = "/no-".join([self._wire, *lacking])

    def _end(self, stream: StreamedResponse, names: Mapping[str, str]) -> list[ModelChunk]:
        answer = stream.get()
        details = answer.provider_details or {}
        if not _ended(stream, answer, details):
            raise StreamBroken(f"{self._name}: the stream ended without its end", model=self._name)
        content = translation.blocks(answer, self._system, always=self._keeps_answer, names=names)
        chunks: list[ModelChunk] = []
        if not content and isinstance(refusal := details.get("refusal"), str):
            content = (Text(refusal),)
            chunks.append(TextDelta(0, refusal))
        chunks.append(
            ModelAnswer(
                content=content,
                stop=translation.stop_reason(answer),
                usage=self._priced(translation.usage(answer)),
                model=f"{self._name.partition(':')[0]}:{answer.model_name or self._model_name}",
                response_id=answer.provider_response_id,
            )
        )
        return chunks

    def _priced(self, usage: Usage) -> Usage:
        """With the price that was given; else with that of the name which was asked for, if the answer's own has none.

        What a provider did not count has no price.
        """
        if not usage.total_tokens or (usage.cost_usd is not None and self._price is None):
            return usage
        return msgspec.structs.replace(usage, cost_usd=self.cost_usd(usage))

    # --- the request --------------------------------------------------------------------------------------------

    async def _messages(self, entries: Sequence[Entry], *, marked: bool) -> list[pm.ModelMessage]:
        """The history, each entry translated once; neighbours on the user's side become one request. `marked`: with the mark
        for the cache where the request before ended.

        The first request of a long history translates all of it, in portions that let the event loop breathe.
        """
        from pydantic_ai import messages as pm

        history: list[pm.ModelMessage] = []
        parts: list[pm.ModelRequestPart] = []
        fresh = 0
        entries = tuple(entries)
        behind = await self._left_behind(entries)
        for place, entry in enumerate(entries):
            drawer, message = self._wire, entry.message
            if place in behind:
                drawer, message = f"{self._wire}/behind {behind[place]}", without_files(message, behind[place])
            encoded = entry.encoded.get(drawer)
            if encoded is None:
                encoded = entry.encoded[drawer] = self._encode(message)
                fresh += 1
                if fresh % _PORTION == 0:
                    await asyncio.sleep(0)
            if type(encoded) is list:
                parts.extend(encoded)
                continue
            if encoded is _NOTHING:
                continue
            if parts:
                history.append(pm.ModelRequest(parts))
                parts = []
            history.append(encoded)
        if parts:
            history.append(pm.ModelRequest(parts))
        if marked:
            _mark_before_last(history)
        return with_answers_between(history) if self._connection.provider.name == "mistral" else history

    async def _left_behind(self, entries: Sequence[Entry]) -> Behind:
        limits = limits_for(self._info)
        # In a thread: the pages of PDFs are counted the first time.
        return await asyncio.to_thread(left_behind, entries, limits)

    def _encode(self, message: Message) -> Any:
        if isinstance(message, Assistant):
            return translation.response(message, self._system, self._kind, self._info) or _NOTHING
        return translation.request_parts(message, self._system, self._kind, self._info)

    def _parameters(self, request: ModelRequest) -> ModelRequestParameters:
        from pydantic_ai.messages import InstructionPart
        from pydantic_ai.models import ModelRequestParameters

        return ModelRequestParameters(
            function_tools=translation.tools(request.tools),
            native_tools=_native_tools(request.settings.extra.get("native_tools")),
            instruction_parts=[InstructionPart(request.instructions)] if request.instructions else [],
        )

    def _marks(self, settings: ModelSettings) -> bool:
        own_cache = any(k == "cache" or k.startswith("anthropic_cache") for k in settings.extra)
        return self._cache and self._system == "anthropic" and not own_cache

    def _settings(self, settings: ModelSettings) -> PydanticSettings:
        made: dict[str, Any] = dict(_ANTHROPIC_CACHE) if self._marks(settings) else {}
        for key in ("max_tokens", "temperature", "top_p"):
            if (value := getattr(settings, key)) is not None:
                made[key] = value
        if settings.stop_sequences:
            made["stop_sequences"] = list(settings.stop_sequences)
        if settings.thinking is not None:
            made["thinking"] = False if settings.thinking == "off" else settings.thinking
        made.update((k, v) for k, v in settings.extra.items() if k != "native_tools")
        return cast("PydanticSettings", made)


def _mark_before_last(history: list[pm.ModelMessage]) -> None:
    """Mark where the request before this one ended, which is what is cached. From a mark Anthropic looks back at 20 blocks
    alone, and a turn of ten calls and their results is more than that. It takes four marks; this is the fourth."""
    from pydantic_ai import messages as pm

    places = [place for place, message in enumerate(history) if isinstance(message, pm.ModelRequest)]
    if len(places) > 1:
        before = history[places[-2]]
        assert isinstance(before, pm.ModelRequest)
        history[places[-2]] = pm.ModelRequest([*before.parts, pm.UserPromptPart([pm.CachePoint()])])


class _Nothing:
    """The encoding of an entry of which nothing can be sent to this provider."""


_NOTHING = _Nothing()


async def _deltas(
    events: AsyncIterator[pm.ModelResponseStreamEvent], names: Mapping[str, str]
) -> AsyncGenerator[ModelChunk]:
    from pydantic_ai import messages as pm

    # A provider's own tool calls stream arguments as well; they are no calls for us to run.
    calls: set[int] = set()
    async for event in events:
        if isinstance(event, pm.PartDeltaEvent):
            block, delta = event.index, event.delta
            if isinstance(delta, pm.TextPartDelta):
                if delta.content_delta:
                    yield TextDelta(block, delta.content_delta)
            elif isinstance(delta, pm.ThinkingPartDelta):
                if delta.content_delta:
                    yield ThinkingDelta(block, delta.content_delta)
            elif isinstance(delta, pm.ToolCallPartDelta) and delta.args_delta and block in calls:
                yield ToolCallDelta(block, _arguments_text(delta.args_delta))
        elif isinstance(event, pm.PartStartEvent):
            block, part = event.index, event.part
            if isinstance(part, pm.TextPart):
                if part.content:
                    yield TextDelta(block, part.content)
            elif isinstance(part, pm.ThinkingPart):
                if part.content:
                    yield ThinkingDelta(block, part.content)
            elif isinstance(part, pm.ToolCallPart):
                calls.add(block)
                name = names.get(part.tool_name, part.tool_name)
                yield ToolCallDelta(block, _arguments_text(part.args), part.tool_call_id, name)


def _arguments_text(args: str | Mapping[str, Any] | None) -> str:
    if not args:
        return ""
    return args if isinstance(args, str) else msgspec.json.encode(args).decode()


def _ended(stream: StreamedResponse, answer: pm.ModelResponse, details: dict[str, Any]) -> bool:
    """Whether the provider said that this was all: no adapter may take a cut stream for a short answer."""
    if answer.state == "incomplete":
        return False
    if details.get("finish_reason") or details.get("block_reason"):
        return True
    # A refusal replaces the finish reason in the details, and only chat completions remember having seen one.
    return "refusal" in details and bool(getattr(stream, "_has_finish_reason", True))


def _native_tools(wanted: Any) -> list[Any]:
    return _all_native_tools().validate_python(wanted) if wanted else []


@cache
def _all_native_tools() -> TypeAdapter[list[Any]]:
    """What reads them; to make it takes a while."""
    from pydantic import TypeAdapter
    from pydantic_ai.native_tools import AbstractNativeTool

    return TypeAdapter(list[AbstractNativeTool])
