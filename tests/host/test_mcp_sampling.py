"""Servers that want to ask the session's model something: approved, changed, denied, allowed, and over budget."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.engine.conftest import MODEL, Bench, data, until_type, within
from tests.parts.mcp_asker import asker_site
from tests.parts.mcp_site import PNG

from godwit import Agent, Budget, McpServer, McpSettings
from godwit.core.events import ActionOpened, ToolFinished, UsageRecorded
from godwit.core.messages import Image, Text, Usage, text_of
from godwit.engine.session import Session
from godwit.models.script import ScriptedModel, call, end, hold, say

ASK = {
    "messages": [{"role": "user", "content": {"type": "text", "text": "What is it?"}}],
    "maxTokens": 50,
    "systemPrompt": "Be short.",
    "temperature": 0.5,
    "stopSequences": ["END"],
    "modelPreferences": {"hints": [{"name": "sonnet"}]},
}


@pytest.fixture(params=["new", "old"])
def era(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@asynccontextmanager
async def sampling(
    bench: Bench, log: Path, era: str, *, steps: list[Any], aside: Any = "It is tea.", policy: Any = None, **agent: Any
) -> AsyncIterator[tuple[Session, ScriptedModel]]:
    """A session whose model calls a tool that wants to ask the model; `aside`: what that answers."""

    def turns(request: Any) -> int:
        return 2 if request.turn == 0 else len([e for e in request.entries if type(e.message).__name__ == "Assistant"])

    model = ScriptedModel([call("mcp__desk__ask", steps=steps), "done", aside], MODEL, select=turns)
    with asker_site(old=era == "old") as site:
        site.asker.log = str(log)
        settings = McpSettings(reach=(site.here,), connect_s=60, wait_s=60)
        server = McpServer("desk", site.url, **({"sampling": policy} if policy else {}))
        runtime = await bench.runtime(models={MODEL: model}, mcp=settings)
        yield await runtime.start_session(Agent("tester", model=MODEL, mcp_servers=[server], **agent)), model
        await bench.close()


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "heard"


async def opened(session: Session) -> Any:
    return (await until_type(session, "action.opened")).data


async def result(session: Session) -> tuple[str, str]:
    await within(session.wait())
    (finished,) = await data(session, ToolFinished)
    return finished.status, text_of(finished.content)


async def test_a_person_approves_what_the_model_is_asked(bench: Bench, log: Path, era: str) -> None:
    answer = say("It is tea.") + end("stop_sequence", usage=Usage(10, 5, requests=1))
    async with sampling(bench, log, era, steps=[{"sample": ASK}], aside=answer) as (session, model):
        await session.prompt("Go.")
        action = await opened(session)
        assert (action.kind, action.message) == ("approval", "The MCP server 'desk' wants to ask the model something.")
        assert action.arguments == {
            "server": "desk",
            "messages": [{"role": "user", "text": "What is it?"}],
            "max_tokens": 50,
            "system": "Be short.",
            "temperature": 0.5,
            "stop_sequences": ["END"],
            "models": ["sonnet"],
        }
        await session.approve(action.action)
        assert await result(session) == ("ok", json.dumps([["It is tea.", MODEL, "stopSequence"]]))
        (asked,) = [one for one in model.requests if one.turn == 0]
        assert [entry.message.content for entry in asked.entries] == [(Text("What is it?"),)]
        assert (asked.instructions, asked.tools) == ("Be short.", ())
        assert (asked.settings.max_tokens, asked.settings.temperature) == (50, 0.5)
        assert asked.settings.stop_sequences == ("END",)
        (used,) = await data(session, UsageRecorded)
        assert (used.purpose, used.model, used.usage.total_tokens) == ("mcp:desk", MODEL, 15)


async def test_a_person_changes_what_the_model_is_asked(bench: Bench, log: Path, era: str) -> None:
    image = {"type": "image", "data": base64.b64encode(PNG).decode(), "mimeType": "image/png"}
    messages = [
        {"role": "user", "content": {"type": "text", "text": "Secret?"}},
        {"role": "assistant", "content": {"type": "text", "text": "No."}},
        {"role": "user", "content": image},
    ]
    steps = [{"sample": {"messages": messages, "maxTokens": 1_000_000}}]
    async with sampling(bench, log, era, steps=steps) as (session, model):
        await session.prompt("Go.")
        action = await opened(session)
        shown = action.arguments
        assert shown["messages"][2] == {"role": "user", "image": 2, "about": f"image/png, {len(PNG)} bytes"}
        assert shown["max_tokens"] == 32_000, "a server does not get more than that"
        shown = {**shown, "max_tokens": 7}
        shown["messages"] = [{"role": "user", "text": "Open?"}, shown["messages"][2]]
        await session.approve(action.action, arguments=shown)
        assert (await result(session))[0] == "ok"
        (asked,) = [one for one in model.requests if one.turn == 0]
        assert [entry.message.content for entry in asked.entries] == [(Text("Open?"), Image("image/png", PNG))]
        assert asked.settings.max_tokens == 7


async def test_a_person_does_not_want_it(bench: Bench, log: Path, era: str) -> None:
    async with sampling(bench, log, era, steps=[{"sample": ASK}]) as (session, model):
        await session.prompt("Go.")
        await session.deny((await opened(session)).action, "not that")
        told = await result(session)
        if era == "old":
            assert told == ("ok", '["error -1: User rejected sampling request"]'), "the server may go on without"
        else:
            assert told == (
                "error",
                "the MCP server wants to ask the model something, and the user does not want that: not that",
            )
        assert [one.turn for one in model.requests] == [1, 2]


async def test_a_change_that_cannot_be_read_asks_nothing(bench: Bench, log: Path, era: str) -> None:
    async with sampling(bench, log, era, steps=[{"sample": ASK}]) as (session, model):
        await session.prompt("Go.")
        await session.approve((await opened(session)).action, arguments={"messages": "all of them"})
        assert "what was approved to be asked of the model cannot be read" in (await result(session))[1]
        assert [one.turn for one in model.requests] == [1, 2]


async def test_it_is_allowed_and_nobody_is_asked(bench: Bench, log: Path, era: str) -> None:
    steps = [{"sample": ASK}, {"all": {"a": {"form": "Who?"}, "b": {"sample": ASK}}}]
    async with sampling(bench, log, era, steps=steps, policy="allow") as (session, _):
        await session.prompt("Go.")
        await session.answer((await opened(session)).action, {"name": "Ada"})
        status, text = await result(session)
        answered = ["It is tea.", MODEL, "endTurn"]
        assert (status, json.loads(text)) == (
            "ok",
            [answered, {"a": ["accept", {"name": "Ada", "size": 3}], "b": answered}],
        )
        assert len(await data(session, ActionOpened)) == 1
        assert len(await data(session, UsageRecorded)) == 2


async def test_it_is_not_allowed_and_the_server_knows(bench: Bench, log: Path, era: str) -> None:
    async with sampling(bench, log, era, steps=[{"sample": ASK}], policy="deny") as (session, model):
        await session.prompt("Go.")
        status, text = await result(session)
        assert ("Sampling not supported" in text) if era == "old" else (status == "error" and "which it may not" in text)
        assert [one.turn for one in model.requests] == [1, 2]


async def test_a_budget_forbids_it(bench: Bench, log: Path, era: str) -> None:
    long = {**ASK, "messages": [{"role": "user", "content": {"type": "text", "text": "word " * 4000}}]}
    steps = [{"sample": long}]
    budget = Budget(tokens=2000)
    async with sampling(bench, log, era, steps=steps, policy="allow", budget=budget) as (session, model):
        await session.prompt("Go.")
        status, text = await result(session)
        assert "tokens" in text, text
        assert status == ("ok" if era == "old" else "error")
        assert 0 not in [one.turn for one in model.requests]


async def test_a_model_is_not_asked_without_end(bench: Bench, log: Path, era: str) -> None:
    async with sampling(bench, log, era, steps=[{"sample": ASK}] * 21, policy="allow") as (session, model):
        await session.prompt("Go.")
        _, text = await result(session)
        assert "20" in text
        assert [one.turn for one in model.requests].count(0) == 20


async def test_an_interrupt_while_the_model_is_asked(bench: Bench, log: Path, era: str) -> None:
    reached, never = asyncio.Event(), asyncio.Event()
    aside = hold(never, reached=reached) + "too late"
    async with sampling(bench, log, era, steps=[{"sample": ASK}], aside=aside, policy="allow") as (session, _):
        run = await session.prompt("Go.")
        await within(reached.wait())
        await session.interrupt()
        assert (await within(session.wait(run))).outcome == "interrupted"


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({**ASK, "messages": []}, "asks? the model nothing"),
        ({**ASK, "messages": [{"role": "assistant", "content": {"type": "text", "text": "x"}}]}, "has to be the user's"),
        ({**ASK, "messages": [{"role": "user", "content": {"type": "audio", "data": "", "mimeType": "a/b"}}]}, "audio"),
        ({**ASK, "messages": [{"role": "user", "content": {"type": "text", "text": "x" * 600_000}}]}, "bytes"),
        ({**ASK, "messages": [{"role": "user", "content": {"type": "text", "text": "x"}}] * 201}, "201 messages"),
    ],
)
async def test_what_cannot_be_asked_of_a_model(bench: Bench, log: Path, era: str, wrong: Any, why: str) -> None:
    import re

    async with sampling(bench, log, era, steps=[{"sample": wrong}]) as (session, _):
        await session.prompt("Go.")
        _, text = await result(session)
        assert re.search(why.replace("asks?", "ask"), text), text
        assert not await data(session, ActionOpened)
