"""Slash commands in a session: when they are taken and refused, what they see, and that none ever reaches a model."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

import godwit
from godwit.contracts import HookCall
from godwit.core.errors import ConfigurationError, KeyReused, RunFailed, SessionArchived, SessionBusy, SessionClosed
from godwit.core.events import CommandExecuted, Delta, Event, HookBlocked, RunStarted, UserMessage
from godwit.core.hooks import HookResult, HookSpec
from godwit.core.messages import Text, Usage, User
from godwit.engine.builtin_commands import CommandContext
from godwit.engine.commands import (
    UNKNOWN,
    Command,
    CommandOutput,
    parse,
)
from godwit.engine.typed_commands import BLOCKED
from godwit.models.script import ScriptedModel, hold, say
from tests.engine.command_words import PING, TEXTS, said

from .conftest import MODEL, Bench, data, types, until_type, within


async def test_send_never_calls_the_model_for_a_command(bench: Bench) -> None:
    """Seed 001: what `send` answers is the command's output, and the log keeps it outside the transcript."""
    session = await bench.start(["never"])
    assert bench.model is not None
    result = await within(session.send("/foobar now", sender="ada"))
    assert result.text.startswith("Unknown command: /foobar")
    assert result.outcome == "failed"
    assert result.error is not None
    assert result.error.code == UNKNOWN
    done = await within(session.send("  /cost "))
    assert done.outcome == "done"
    assert done.text.startswith("Session: ")
    assert (done.turns, done.tool_calls, done.usage) == (0, 0, Usage())
    recorded = await data(session, CommandExecuted)
    assert [(c.name, c.arguments, c.is_error, c.starts) for c in recorded] == [
        ("foobar", "now", True, None),
        ("cost", "", False, None),
    ]
    assert recorded[1].text == done.text
    assert recorded[1].id == done.run
    assert (await session.events())[-1].seq == done.seq
    assert await session.history() == ()
    assert bench.model.requests == []
    assert not await session.is_running()


async def test_stream_gives_one_delta_and_the_event(bench: Bench) -> None:
    """Seed 001: `stream("/x")` gives exactly one piece of text and the end."""
    session = await bench.start([])
    items = [item async for item in session.stream("/help")]
    delta, event = items
    assert isinstance(delta, Delta)
    assert isinstance(event, Event)
    assert isinstance(event.data, CommandExecuted)
    assert delta.kind == "text"
    assert delta.text == event.data.text
    assert delta.id == event.data.id
    assert "/help" in delta.text


async def test_texts_that_are_no_commands_are_prompts(bench: Bench) -> None:
    session = await bench.start(["one", "two", "three", "four", "five", "six"])
    await within(session.send("/etc/hosts is broken"))
    await within(session.send("//help me"))
    await within(session.send("/help", commands=False))
    await within(session.send([Text("/help")]))
    async for _ in session.stream("/help", commands=False):
        pass
    await within(session.wait(await session.prompt("/help")))
    given = [m for m in await session.history() if isinstance(m, User)]
    texts = ["".join(b.text for b in m.content if isinstance(b, Text)) for m in given]
    assert texts == ["/etc/hosts is broken", "/help me", "/help", "/help", "/help", "/help"]
    assert "command.executed" not in await types(session)


async def test_a_history_of_ones_own_is_no_place_for_commands(bench: Bench) -> None:
    session = await bench.start(["fine"])
    assert (await within(session.send("/help", history=[]))).text == "fine"
    assert (await within(session.prompt_and_wait("/help"))).text == "fine"
    assert await data(session, CommandExecuted) == []


async def test_a_command_during_a_run_is_refused_at_once_unless_it_is_safe(bench: Bench) -> None:
    """Seed 001, later: SessionBusy, without waiting for the run."""
    gate = asyncio.Event()
    session = await bench.start([hold(gate) + say("done")])
    session.register_command(PING)
    session.register_command(Command("peek", "", lambda _a, context: context.status, safe=True))
    run = await session.prompt("Go.")
    await until_type(session, "model.started")
    with pytest.raises(SessionBusy, match="/ping"):
        await within(session.send("/ping"))
    with pytest.raises(SessionBusy):
        async for _ in session.stream("/ping"):
            pass
    assert await said(session, "/peek") == "running"
    assert "Unknown command" in await said(session, "/nope")
    gate.set()
    assert (await within(session.wait(run))).text == "done"
    assert [c.name for c in await data(session, CommandExecuted)] == ["peek", "nope"]
    assert await said(session, "/ping") == "pong"


async def test_a_closed_handle_and_an_archived_session_take_no_commands(bench: Bench) -> None:
    session = await bench.start([])
    other = await bench.runtimes[0].open_session(session.id)
    await session.close()
    with pytest.raises(SessionClosed):
        await session.send("/help")
    with pytest.raises(SessionClosed):
        async for _ in session.stream("/help"):
            pass
    with pytest.raises(SessionClosed):
        session.register_command(PING)
    with pytest.raises(SessionClosed):
        session.unregister_command("help")
    ran = False

    def run(_arguments: str, _context: Any) -> str:
        nonlocal ran
        ran = True
        return ""

    other.register_command(Command("effect", "", run))
    await bench.runtimes[0].archive(session.id)
    with pytest.raises(SessionArchived):
        await other.send("/effect")
    assert not ran


async def test_a_sessions_registry_is_read_as_a_copy_and_changed_by_register(bench: Bench) -> None:
    """Seed 001: command_registry gives owned data; register_command works on a shared session."""
    session = await bench.start([])
    listed = session.command_registry()
    listed.register(PING)
    assert "Unknown command" in await said(session, "/ping")
    session.register_command(PING)
    assert await said(session, "/ping") == "pong"
    assert session.unregister_command("ping") is PING
    assert session.unregister_command("ping") is None
    assert "Unknown command" in await said(session, "/ping")
    assert session.unregister_command("cost") is not None
    other = await bench.runtimes[0].open_session(session.id)
    assert await said(other, "/cost") != ""


async def test_commands_come_from_the_runtime_the_agent_and_the_session(bench: Bench) -> None:
    runtime = await bench.runtime([], commands=[PING, Command("who", "", lambda _a, _c: "the runtime")])
    made = godwit.Agent(
        "tester",
        model=MODEL,
        commands=[Command("who", "", lambda _a, _c: "the agent"), Command("help", "", lambda _a, _c: "mine")],
    )
    session = await runtime.start_session(made)
    assert await said(session, "/ping") == "pong"
    assert await said(session, "/who") == "the agent"
    assert await said(session, "/help") == "mine"
    again = await bench.runtime([])
    bare = await again.open_session(session.id)
    assert "Unknown command" in await said(bare, "/who")
    assert await said(await again.open_session(session.id, agent=made), "/who") == "the agent"


async def test_commands_and_folders_that_cannot_be_are_refused_where_they_are_given() -> None:
    wrong: Any = [lambda: "pong"]
    with pytest.raises(ConfigurationError, match="two commands"):
        godwit.Agent("x", model=MODEL, commands=[PING, PING])
    with pytest.raises(ConfigurationError, match="not function"):
        godwit.Agent("x", model=MODEL, commands=wrong)
    with pytest.raises(ConfigurationError, match="two commands"):
        await godwit.Runtime.open(":memory:", commands=[PING, PING])
    with pytest.raises(ConfigurationError, match="put it into a list"):
        await godwit.Runtime.open(":memory:", command_folders="commands")
    with pytest.raises(ConfigurationError, match="needs a path"):
        await godwit.Runtime.open(":memory:", command_folders=[""])


async def test_a_command_sees_where_its_session_stands(bench: Bench) -> None:
    seen: list[CommandContext] = []

    async def look(_arguments: str, context: CommandContext) -> str:
        seen.append(context)
        return f"{await context.history_len()} messages"

    runtime = await bench.runtime(["hello"])
    made = godwit.Agent("tester", model=MODEL, tools=["files"], commands=[Command("look", "", look)])
    session = await runtime.start_session(made, workspace=bench.workspace, labels=godwit.Labels(tenant="acme"))
    await within(session.send("Hi."))
    assert await said(session, "/look", sender="ada") == "2 messages"
    context = seen[0]
    assert (context.id, context.workspace, context.model) == (session.id, session.workspace, MODEL)
    assert (context.status, context.run, context.sender) == ("idle", None, "ada")
    assert context.labels.tenant == "acme"
    assert context.tokens == (await session.state()).usage.total_tokens > 0
    assert context.cost_usd is None
    assert "read" in context.tool_names
    assert context.mcp_servers == {}
    assert context.session is session


async def test_a_command_may_turn_into_a_prompt(bench: Bench) -> None:
    session = await bench.start(["reviewed", "and again"])
    session.register_command(Command("review", "", lambda arguments, _c: CommandOutput(prompt=f"Review {arguments}.")))
    result = await within(session.send("/review a.py"))
    assert result.text == "reviewed"
    assert result.turns == 1
    kinds = await types(session)
    assert kinds[1:4] == ["command.executed", "user.message", "run.started"]
    (recorded,) = await data(session, CommandExecuted)
    assert (recorded.name, recorded.arguments, recorded.starts) == ("review", "a.py", result.run)
    (message,) = await data(session, UserMessage)
    assert message.content == (Text("Review a.py."),)
    items = [item async for item in session.stream("/review b.py")]
    events = [item.type for item in items if isinstance(item, Event)]
    assert events[0] == "command.executed"
    assert events[-1] == "run.finished"


async def test_a_command_can_choose_the_model_of_its_run_alone(bench: Bench) -> None:
    other = ScriptedModel(["from the other"], "scripted:other")
    mine = ScriptedModel(["from the other's turn", "from mine"], MODEL)
    runtime = await bench.runtime([], models={MODEL: mine, "scripted:other": other})
    session = await bench.start([], runtime=runtime)
    session.register_command(Command("ask", "", lambda a, _c: CommandOutput(prompt="Say.", model=a)))
    assert await said(session, "/ask scripted:other") == "from the other"
    assert await said(session, "Say.") == "from mine"
    assert session.model == MODEL
    wrong = await within(session.send("/ask nobody:nothing"))
    assert wrong.error is not None
    assert wrong.error.code == "model_not_found"
    assert len(await data(session, RunStarted)) == 2


async def test_the_failed_run_of_a_command_raises_as_any_other(bench: Bench) -> None:
    session = await bench.start([])  # a script without an answer
    session.register_command(Command("go", "", lambda _a, _c: CommandOutput(prompt="Go.")))
    with pytest.raises(RunFailed):
        await within(session.send("/go"))


async def test_a_key_gives_the_first_answer_again(bench: Bench) -> None:
    session = await bench.start(["once"])
    count = 0

    def counted(_arguments: str, _context: Any) -> str:
        nonlocal count
        count += 1
        return f"number {count}"

    session.register_command(Command("count", "", counted))
    session.register_command(Command("go", "", lambda _a, _c: CommandOutput(prompt=f"Go {count}.")))
    assert await said(session, "/count", key="k") == "number 1"
    assert await said(session, "/count", key="k") == "number 1"
    assert await said(session, "/count") == "number 2"
    assert count == 2
    with pytest.raises(KeyReused):
        await session.send("/count up", key="k")
    first = await within(session.send("/go", key="g"))
    count = 7
    again = await bench.runtimes[0].open_session(session.id)
    again.register_command(Command("go", "", lambda _a, _c: CommandOutput(prompt="Other.")))
    assert (await within(again.send("/go", key="g"))).run == first.run
    assert [item.type async for item in again.stream("/go", key="g") if isinstance(item, Event)][-1] == "run.finished"
    assert len(await data(session, RunStarted)) == 1


async def test_hooks_stand_before_and_behind_a_command(bench: Bench) -> None:
    session = await bench.start(["done"])
    hooks = bench.runtimes[0].hooks(session.id)
    ran: list[str] = []
    told: list[dict[str, Any]] = []

    def note(arguments: str, _context: Any) -> str:
        ran.append(arguments)
        return f"noted {arguments}"

    session.register_command(Command("note", "", note))
    session.register_command(Command("go", "", lambda arguments, _c: CommandOutput(prompt=f"Go {arguments}.")))

    def before(call: HookCall) -> HookResult:
        match call.payload["arguments"]:
            case "block":
                return HookResult("block", reason="not today")
            case "skip":
                return HookResult("skip", reason="left out")
            case "person":
                return HookResult("escalate")
            case "broken":
                raise KeyError("x")
            case arguments:
                return HookResult(modified={"arguments": f"{arguments}!"})

    hooks.register(HookSpec("gate", "before_command"), before)
    hooks.register(HookSpec("tell", "after_command"), lambda call: told.append(call.payload))
    assert await said(session, "/note this", sender="ada") == "noted this!"
    assert told == [
        {"name": "note", "arguments": "this!", "sender": "ada", "text": "noted this!", "is_error": False},
    ]
    blocked = await within(session.send("/note block"))
    assert blocked.error is not None
    assert (blocked.error.code, blocked.text) == (BLOCKED, "A hook blocked /note: not today")
    assert (await within(session.send("/note skip"))).text == "left out"
    for text in ("/note person", "/note broken", "/go block"):
        assert (await within(session.send(text))).outcome == "failed"
    assert ran == ["this!"]
    assert len(told) == 1
    events = await session.events()
    assert next(e.data.reason for e in events if isinstance(e.data, HookBlocked)) == "not today"
    assert events[events.index(next(e for e in events if e.type == "hook.blocked")) + 1].type == "command.executed"
    assert blocked.seq == next(e.seq for e in events if isinstance(e.data, CommandExecuted) and e.data.arguments == "block")
    assert "Unknown command" in await said(session, "/nothing block"), "there is nothing to ask a hook about"
    assert (await within(session.send("/go now"))).outcome == "done"
    (message,) = await data(session, UserMessage)
    assert message.content == (Text("Go now!."),)
    assert [c.arguments for c in await data(session, CommandExecuted)][-1] == "now", "as it was typed"


async def test_a_text_that_is_no_unicode_is_refused_as_a_prompt_would_be(bench: Bench) -> None:
    session = await bench.start([])
    with pytest.raises(godwit.errors.InvalidArgument, match="no Unicode"):
        await session.send("/help \ud800")


@settings(max_examples=25, deadline=None)
@given(texts=st.lists(TEXTS, min_size=1, max_size=6))
def test_no_text_that_is_a_command_starts_a_run(texts: list[str]) -> None:
    """No command of the built-in ones ever asks a model, moves the transcript or breaks the session."""

    async def work() -> None:
        model = ScriptedModel(["never"] * 9, MODEL)
        async with await godwit.Runtime.open(":memory:", models={MODEL: model}, command_folders=()) as runtime:
            session = await runtime.start_session(godwit.Agent("tester", model=MODEL))
            for text in texts:
                typed = parse(text)
                if typed is None or typed.name == "follow-up":
                    continue
                try:
                    await session.send(text)
                except godwit.errors.InvalidArgument:
                    continue  # no Unicode
            assert model.requests == []
            assert await session.history() == ()
            assert not await session.is_running()

    asyncio.run(work())
