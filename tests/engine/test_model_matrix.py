"""A session goes from each provider to each other one and back, and none of them refuses what it is sent.

Real sessions over real sockets to providers that are as strict as the real ones (`tests/strict_provider.py`). The history
has texts, thinking, calls at once with the ids of each provider's kind, errors, images, documents, a cut answer, a
compaction, a rewind and a fork.
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import pytest

import godwit
from godwit.contracts import SessionHandle, ToolContext, ToolOutput, ToolTraits, Workspace
from godwit.core.agent import ToolDefinition
from godwit.core.errors import RunFailed
from godwit.core.messages import Document, Image, Text, UserBlock
from godwit.host.runtime import Runtime
from godwit.models.registry import Registry
from tests.loopback import Reply
from tests.parts.test_model_live_wires import PIXEL, Said
from tests.strict_provider import StrictProvider

PROVIDERS: dict[str, dict[str, Any]] = {
    "anthropic": {"model": "claude-opus-4-6", "format": "anthropic", "call_id": "toolu_01{n}AbCdEfGhIjKlMn"},
    "openai": {"model": "gpt-5", "format": "openai-responses", "call_id": "call_{n}AbCdEfGhIjKlMnOpQrSt"},
    "openai-chat": {"model": "gpt-4o", "format": "openai-chat", "call_id": "call_{n}Chat"},
    "google": {"model": "gemini-3.8-flash", "format": "google", "call_id": "fn.weather/{n}:" + "g" * 70},
    "mistral": {"model": "mistral-large-4", "format": "mistral", "call_id": "abcdefg{n:02}"},
    "groq": {"model": "openai/gpt-oss-120b", "format": "groq", "call_id": "fc_{n}-0000-groq", "text_only": True},
    "deepseek": {"model": "deepseek-v4-pro", "format": "deepseek", "call_id": "call_00_{n}Deep", "text_only": True},
    "openrouter": {"model": "moonshotai/kimi-k2", "format": "openrouter", "call_id": "functions.weather:{n}"},
    "ollama": {"model": "gpt-oss:20b", "format": "ollama", "call_id": "call_{n}olla", "text_only": True},
    "xai": {"model": "grok-4.6", "format": "xai", "call_id": "call_{n:08}"},
}
SOON = ("anthropic", "openai", "google", "mistral", "deepseek")
"""One of each family of rules. The others are checked by `scripts/prove`."""


READS = ("anthropic", "openai", "openai-chat", "google")
"""Those that take documents."""


class Weather:
    """Tells the weather in words, with a picture of it for Oslo; there is none in Rome."""

    definition = ToolDefinition(
        "weather",
        "The weather of a city",
        {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"], "additionalProperties": False},
    )
    traits = ToolTraits(repeatable=True, read_only=True)

    def validate(self, arguments: dict[str, Any]) -> None:
        return None

    def locks(self, arguments: dict[str, Any], workspace: Workspace | None) -> frozenset[str]:
        return frozenset()

    async def run(self, arguments: dict[str, Any], context: ToolContext) -> ToolOutput:
        if arguments["city"] == "Rome":
            return ToolOutput((Text("no such city"),), is_error=True)
        return ToolOutput((Text("rain"), Image("image/png", PIXEL)))


@dataclass
class World:
    providers: dict[str, StrictProvider]
    runtime: Runtime
    restart: Callable[[], Awaitable[Runtime]]
    """Close the runtime and open another on the same database, with nothing of what the first one had made of it."""

    def says(self, name: str, *said: Said | Reply) -> None:
        self.providers[name].says(*said)

    @property
    def refused(self) -> list[str]:
        return [f"{p.name}: {text}" for p in self.providers.values() for text in p.refused]

    def name(self, provider: str) -> str:
        return self.providers[provider].full_name


@asynccontextmanager
async def world(*names: str, database: str | Path = ":memory:") -> AsyncIterator[World]:
    async with AsyncExitStack() as stack:
        providers: dict[str, StrictProvider] = {}
        for name in names:
            made = providers[name] = StrictProvider(name, **PROVIDERS[name])
            await stack.enter_async_context(made.server)
        for one in providers.values():
            others = [p for p in providers.values() if p is not one]
            one.foreign = lambda others=others: chain.from_iterable(p.thoughts() for p in others)  # type: ignore[misc]

        async def opened() -> Runtime:
            registry = Registry(environment={})
            for name, provider in providers.items():
                registry.register_provider(name, base_url=provider.base, api_key="k-12345678")
            return await Runtime.open(database, models=registry, tools=[Weather()])

        async def restart() -> Runtime:
            await it.runtime.close()
            it.runtime = await opened()
            return it.runtime

        it = World(providers, await opened(), restart)
        try:
            yield it
        finally:
            await it.runtime.close()


def called(provider: str, turn: int) -> Said:
    """An answer that thinks, speaks, and calls twice."""
    call_id = PROVIDERS[provider]["call_id"]
    calls = [(call_id.format(n=turn * 2 + k), "weather", ['{"city": ', f'"{c}"}}']) for k, c in enumerate(("Oslo", "Rome"))]
    return Said([f"{provider} thinks of {turn}"], ["I look."], calls, "tools")


def told(provider: str, text: str) -> Said:
    return Said([f"{provider} thinks again of {text}"], [text])


async def a_turn(session: SessionHandle, world: World, provider: str, turn: int) -> None:
    world.says(provider, called(provider, turn), told(provider, f"Rain, says {provider} in {turn}."))
    try:
        result = await session.send(f"What is the weather in Oslo and Rome? ({turn})")
    except RunFailed as error:
        raise AssertionError([provider, turn, *world.refused]) from error
    assert (result.outcome, result.text) == ("done", f"Rain, says {provider} in {turn}."), (result, world.refused)


async def there_and_back(source: str, target: str) -> None:
    async with world(*dict.fromkeys((source, target))) as it:
        session = await it.runtime.start_session(
            godwit.Agent("w", model=it.name(source), instructions="Be kind.", tools=["weather"], thinking="high")
        )
        if not PROVIDERS[source].get("text_only"):
            it.says(source, told(source, "A pixel."))
            files: list[UserBlock] = [Text("What is this?"), Image("image/png", PIXEL)]
            if source in READS:
                files.append(Document("application/pdf", b"%PDF-1.4 a plan", name="plan.pdf"))
            seen = await session.send(files)
            assert seen.text == "A pixel.", it.refused
        await a_turn(session, it, source, 1)
        before = (await session.turnings())[0]
        # Cut in the middle of its text: what had come is kept.
        cut = it.providers[source]._spoken(Said(text=["I was going to ", "say more"]), {})
        it.says(source, cut.with_(send=len(cut.pieces) // 2, ending="abort"))
        with pytest.raises(RunFailed, match="before the answer's end"):
            await session.send("Go on.")
        await session.set_model(it.name(target))
        await a_turn(session, it, target, 2)
        await session.set_model(it.name(source))
        await a_turn(session, it, source, 3)
        it.says(source, Said(text=["They asked for the weather."]))
        await session.compact(keep_tokens=60)
        await session.set_model(it.name(target))
        await a_turn(session, it, target, 4)
        await session.rewind(before.seq)
        await a_turn(session, it, target, 5)
        await session.set_model(it.name(source))
        await a_turn(session, it, source, 6)
        fork = await session.fork()
        await a_turn(fork, it, source, 7)
        await fork.set_model(it.name(target))
        await a_turn(fork, it, target, 8)
        assert it.refused == []


@pytest.mark.parametrize("target", SOON)
@pytest.mark.parametrize("source", SOON)
async def test_from_each_provider_to_each_other_and_back(source: str, target: str) -> None:
    await there_and_back(source, target)


@pytest.mark.parametrize("target", PROVIDERS)
async def test_what_was_said_once_is_said_the_same_after_a_restart(target: str, tmp_path: Path) -> None:
    source = "google" if target != "google" else "openai"
    async with world(source, target, database=tmp_path / "g.db") as it:
        agent = godwit.Agent("w", model=it.name(source), instructions="Be kind.", tools=["weather"])
        session = await it.runtime.start_session(agent)
        it.says(source, told(source, "A pixel."))
        await session.send([Text("What is this?"), Image("image/png", PIXEL)])
        await a_turn(session, it, source, 1)
        await session.set_model(it.name(target))
        await a_turn(session, it, target, 2)
        before = said_in(it.providers[target].bodies[-1])
        again = await (await it.restart()).open_session(session.id)
        await a_turn(again, it, target, 3)
        after = said_in(it.providers[target].bodies[-1])
        assert it.refused == []
        assert len(after) > len(before) > 4
        assert after[: len(before)] == before


def said_in(body: dict[str, Any]) -> list[str]:
    """The messages of a request as they were written, without marks for caches, which move on."""
    messages = next(body[key] for key in ("messages", "input", "contents") if key in body)
    return [re.sub(r', "cache_control": \{[^}]*\}', "", json.dumps(message)) for message in messages]


@pytest.mark.slow
@pytest.mark.parametrize("source", PROVIDERS)
async def test_from_all_providers_to_all_others_and_back(source: str) -> None:
    for target in PROVIDERS:
        await there_and_back(source, target)
