"""Slash commands: how a text is read, what the registry does, and that no command ever reaches a model."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings, strategies as st

import godwit
from godwit.contracts import HookCall
from godwit.core.agent import AgentSpec
from godwit.core.budget import Budget
from godwit.core.errors import ConfigurationError, KeyReused, RunFailed, SessionArchived, SessionBusy, SessionClosed
from godwit.core.events import CommandExecuted, Delta, Event, HookBlocked, RunStarted, UserAnswer, UserMessage
from godwit.core.hooks import HookMatcher, HookResult, HookSpec
from godwit.core.ids import AgentName
from godwit.core.messages import Text, Usage, User
from godwit.core.verification import VerificationCommand, VerificationPolicy
from godwit.engine.builtin_commands import CommandContext, builtin_commands
from godwit.engine.commands import (
    BROKEN,
    NAME_LIMIT,
    TEXT_LIMIT,
    UNKNOWN,
    Command,
    CommandOutput,
    CommandRegistry,
    as_prompt,
    parse,
)
from godwit.engine.permissions import Policy
from godwit.engine.session import Session
from godwit.engine.typed_commands import BLOCKED
from godwit.models.script import Script, ScriptedModel, call, hold, say

from .conftest import MODEL, Bench, data, types, until_type, within

PING = Command("ping", "Answer pong.", lambda _arguments, _context: "pong")


def registry(*more: Command) -> CommandRegistry:
    return CommandRegistry([*builtin_commands(), *more])


async def said(session: Session, text: str, **options: Any) -> str:
    return (await within(session.send(text, **options))).text


# --- reading --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "name", "arguments"),
    [
        ("/help", "help", ""),
        ("  /model foo", "model", "foo"),
        ("/steer  leave\nit  ", "steer", "leave\nit"),
        ("/review\nall of it", "review", "all of it"),
        ("/git:commit -m 'x'", "git:commit", "-m 'x'"),
        ("/model?", "model?", ""),
        ("/übersetzen bitte", "übersetzen", "bitte"),
        ("/u\u0308bersetzen", "übersetzen", ""),
        ("/", "", ""),
        ("/tmp is full", "tmp", "is full"),
    ],
)
def test_a_command_is_a_slash_and_a_word(text: str, name: str, arguments: str) -> None:
    assert parse(text) == (name, arguments)


@pytest.mark.parametrize(
    "text",
    [
        "hello", "not /a command", "", "   ", "/etc/hosts is broken", "/usr/", "/* a comment */", "/1", "/ help", "//",
        "//help", "// a comment", "/-v", "/_x", "\\/help", "http://a/b",
    ],
)  # fmt: skip
def test_what_is_no_command_is_a_prompt(text: str) -> None:
    assert parse(text) is None


def test_two_slashes_say_a_command_to_the_model() -> None:
    assert as_prompt("//tmp is full") == "/tmp is full"
    assert as_prompt("  //help") == "/help"
    for text in ("// a comment", "//host/share", "///help", "hello", " /etc/hosts "):
        assert as_prompt(text) == text


@pytest.mark.parametrize(
    "name", ["", " ", "a b", "/x", "1x", "-x", "a:", ":a", "a::b", "a/b", "x" * (NAME_LIMIT + 1), "a\n"]
)
def test_a_name_that_cannot_be_typed_is_refused(name: str) -> None:
    with pytest.raises(ConfigurationError):
        Command(name, "", lambda _a, _c: "")


def test_a_command_needs_a_body() -> None:
    body: Any = "echo"
    with pytest.raises(ConfigurationError, match="cannot be called"):
        Command("x", "", body)


# --- the registry ---------------------------------------------------------------------------------------------------


async def test_dispatch_answers_commands_and_leaves_prompts() -> None:
    """Seed 001: dispatch("/foobar") tells of an unknown command, dispatch("hello world") gives nothing."""
    commands = registry()
    unknown = await commands.dispatch("/foobar", None)
    assert unknown is not None
    assert unknown.text.startswith("Unknown command: /foobar\n")
    assert "Type /help for available commands" in unknown.text
    assert unknown.error == UNKNOWN
    assert await commands.dispatch("hello world", None) is None


async def test_an_unknown_name_is_answered_with_what_was_meant() -> None:
    commands = registry()
    for typed, meant in (("/stats", "/status"), ("/follow", "/follow-up"), ("/Help", "/help"), ("/model?", "/model")):
        output = await commands.dispatch(typed, None)
        assert output is not None
        assert meant in output.text.split("Did you mean")[1]
    alone = await commands.dispatch("/", None)
    assert alone is not None
    assert "/help" in alone.text


async def test_registering_replaces_and_unregistering_returns_the_old() -> None:
    """Seed 001: a custom "ping" makes one more, and answers."""
    commands = registry()
    before = len(commands)
    commands.register(PING)
    assert len(commands) == before + 1
    assert "ping" in commands
    output = await commands.dispatch("/ping", None)
    assert output == CommandOutput("pong")
    other = Command("ping", "Answer otherwise.", lambda _a, _c: "ping?")
    commands.register(other)
    assert len(commands) == before + 1
    assert commands.find("ping") is other
    assert commands.unregister("ping") is other
    assert commands.unregister("ping") is None
    assert commands.find("ping") is None


def test_lists_are_sorted_by_name_and_say_how_a_command_is_used() -> None:
    commands = registry(PING)
    names = [name for name, _ in commands.list()]
    assert names == sorted(names)
    full = {info.name: info for info in commands.list_full()}
    assert list(full) == names
    assert full["ping"] == ("ping", "Answer pong.", None)
    assert full["model"].usage == "[PROVIDER:MODEL]"


def test_a_copy_is_a_registry_of_its_own() -> None:
    commands = registry()
    copy = commands.copy()
    copy.register(PING)
    assert copy.unregister("help") is not None
    assert "ping" not in commands
    assert "help" in commands


def test_only_a_command_is_registered() -> None:
    wrong: Any = lambda: "pong"  # noqa: E731
    with pytest.raises(ConfigurationError):
        registry().register(wrong)


async def test_bodies_may_wait_or_not_and_get_what_was_typed() -> None:
    got: list[tuple[str, Any]] = []

    async def slow(arguments: str, context: Any) -> CommandOutput:
        await asyncio.sleep(0)
        got.append((arguments, context))
        return CommandOutput("slow", state_changed=True)

    output = await registry(Command("slow", "", slow)).dispatch(" /slow  a  'b' ", "context")
    assert output == CommandOutput("slow", state_changed=True)
    assert got == [("a  'b'", "context")]


async def test_a_command_that_breaks_is_answered_and_not_raised() -> None:
    def broken(_arguments: str, _context: Any) -> str:
        raise KeyError("x")

    answer: Any = lambda _arguments, _context: 5  # noqa: E731
    commands = registry(
        Command("broken", "", broken),
        Command("five", "", answer),
        Command("nothing", "", lambda _a, _c: CommandOutput(prompt="  ")),
        Command("huge", "", lambda _a, _c: "x" * (TEXT_LIMIT + 5)),
        Command("half", "", lambda _a, _c: "\ud800"),
    )
    outputs = {name: await commands.dispatch(f"/{name}", None) for name in ("broken", "five", "nothing", "huge", "half")}
    for name in ("broken", "five", "nothing"):
        output = outputs[name]
        assert output is not None
        assert output.error == BROKEN
        assert output.text.startswith(f"/{name}")
    assert outputs["huge"] is not None
    assert outputs["huge"].text.endswith("x\n… (5 more characters)")
    assert outputs["half"] == CommandOutput("?")


async def test_a_cancelled_command_is_cancelled() -> None:
    async def forever(_arguments: str, _context: Any) -> str:
        await asyncio.Event().wait()
        return ""

    task = asyncio.ensure_future(registry(Command("forever", "", forever)).dispatch("/forever", None))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


TEXTS = st.one_of(
    st.text(st.characters(codec=None), max_size=30),
    st.builds(
        "".join, st.lists(st.sampled_from(["/", "a", "help", ":", " ", "\n", "é", "\ud800", "1", "-", "\0"]), max_size=8)
    ),
    st.sampled_from([f"/{c.name}" for c in builtin_commands()]).flatmap(
        lambda name: st.text(max_size=20).map(lambda arguments: f"{name} {arguments}")
    ),
)


@given(text=TEXTS)
def test_reading_and_dispatch_never_raise(text: str) -> None:
    """Whatever the text: either it is a prompt, or there is an answer that can be stored."""
    commands = CommandRegistry([PING])
    typed = parse(text)
    output = asyncio.run(commands.dispatch(text, None))
    assert (output is None) == (typed is None)
    if output is not None:
        output.text.encode()
        assert text.strip().startswith("/")
    assert as_prompt(text) in (text, text.lstrip()[1:])


# --- in a session ---------------------------------------------------------------------------------------------------


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


# --- the built-in ones ----------------------------------------------------------------------------------------------


async def test_help_lists_all_and_explains_one(bench: Bench) -> None:
    session = await bench.start([])
    session.register_command(PING)
    text = await said(session, "/help")
    for command in session.command_registry().commands():
        assert f"/{command.name}" in text
        assert command.description in text
    one = await said(session, "/help /model")
    assert one.splitlines()[0] == "/model [PROVIDER:MODEL]"
    assert "Unknown command: /nothing" in await said(session, "/help nothing")


async def test_cost_and_status_tell_what_was_used(bench: Bench) -> None:
    """Seed 001: "/cost" with 5000 tokens and 0.0123 shows both."""
    session = await bench.start([])
    assert "Cost: unknown" in await said(session, "/cost")
    commands = session.command_registry()
    state = msgspec.structs.replace(await session.state(), usage=Usage(4000, 1000, cost_usd=0.0123), turns=1)
    context = CommandContext(session, commands, state, Policy([]))
    cost = await commands.dispatch("/cost", context)
    assert cost is not None
    assert cost.text.splitlines() == [
        f"Session: {session.id}",
        f"Model: {MODEL}",
        "Tokens: 5000 (4000 in, 1000 out)",
        "Cost: $0.0123",
    ]
    status = await commands.dispatch("/status", context)
    assert status is not None
    for shown in ("Status: queued", "Turns: 1", "5000, $0.0123", f"Workspace: {session.workspace}", "To answer: 0"):
        assert shown in status.text


async def test_model_thinking_and_name_are_shown_and_set(bench: Bench) -> None:
    """Seed 001: "/model" tells the model, "/model a" switches it."""
    other = ScriptedModel([], "scripted:other")
    runtime = await bench.runtime([], models={MODEL: ScriptedModel([], MODEL), "scripted:other": other})
    session = await bench.start([], runtime=runtime)
    assert await said(session, "/model") == f"Current model: {MODEL}"
    await said(session, "/model scripted:other")
    assert session.model == "scripted:other"
    wrong = await within(session.send("/model gpt-4o"))
    assert wrong.outcome == "failed"
    assert session.model == "scripted:other"
    assert "as the model does" in await said(session, "/thinking")
    await said(session, "/thinking high")
    assert session.thinking == "high"
    assert "none of off" in await said(session, "/thinking much")
    await said(session, "/name my work")
    assert (await session.state()).name == "my work"
    assert "needs something" in await said(session, "/name")


async def test_history_runs_tools_and_mcp_are_listed(bench: Bench) -> None:
    session = await bench.start([call("bash", command="echo hi"), "done"], "files", "bash")
    await within(session.send("Say hi."))
    history = (await said(session, "/history")).splitlines()
    assert history[0] == "Messages: 4"
    assert history[1:] == ["  user: Say hi.", "  assistant:  → bash", "  bash: hi", "  assistant: done"]
    assert (await said(session, "/history 1")).splitlines() == ["Messages: 4", "  … 3 before", "  assistant: done"]
    assert "no count" in await said(session, "/history many")
    runs = (await said(session, "/runs")).splitlines()
    assert runs[0] == "Runs: 1"
    assert "done, 2 turns, 1 call  Say hi." in runs[1]
    tools = (await said(session, "/tools")).splitlines()
    assert tools[0] == f"Tools: {len(session.tool_names())} total"
    assert tools[1].startswith(f"Builtin ({len(session.tool_names())}): ")
    assert await said(session, "/mcp") == "No MCP servers connected."
    assert await said(session, "/artifacts") == "Artifacts: 0"
    assert "takes nothing" in await said(session, "/mcp x")


async def test_a_run_is_steered_and_interrupted_by_commands(bench: Bench) -> None:
    gate = asyncio.Event()
    session = await bench.start([hold(gate) + say("first"), "after the steer", "after the follow-up"])
    assert "no run is open" in (await said(session, "/steer Stop."))
    assert await said(session, "/interrupt") == "No run is open."
    run = await session.prompt("Go.")
    await until_type(session, "model.started")
    await said(session, "/steer Be brief.", sender="ada")
    await said(session, "/follow-up Then rest.")
    await said(session, "/follow-up Not this.")
    queued = (await said(session, "/queue")).splitlines()
    assert queued[0] == "Queue: 3 messages"
    last = queued[3].split()[0]
    assert await said(session, f"/queue withdraw {last}") == f"Withdrawn: {last}"
    assert "no waiting" in await said(session, f"/queue withdraw {last}")
    assert "type /queue" in await said(session, "/queue clear")
    gate.set()
    assert (await within(session.wait(run))).text == "after the follow-up"
    assert [m.sender for m in await data(session, UserMessage)][1] == "ada"


async def test_interrupt_and_stop_end_the_run(bench: Bench) -> None:
    never = asyncio.Event()
    session = await bench.start([hold(never) + say("x"), hold(never) + say("x")])
    for text in ("/interrupt", "/stop force"):
        run = await session.prompt("Go.")
        await until_type(session, "model.started", (await session.events())[-1].seq - 1)
        assert await said(session, text) == "Interrupted."
        assert (await within(session.wait(run))).outcome == "interrupted"
    assert "type /interrupt" in await said(session, "/interrupt now")


async def test_pause_and_resume(bench: Bench) -> None:
    session = await bench.start(["done"])
    assert "Paused" in await said(session, "/pause lunch")
    assert await said(session, "/pause") == "It was paused already."
    assert "Status: paused" in await said(session, "/status")
    assert await said(session, "/resume") == "It goes on."
    assert await said(session, "/resume") == "It was not paused."


async def test_what_waits_is_listed_and_answered(bench: Bench) -> None:
    question = godwit.ToolDefinition("ask", "Ask.", {"type": "object", "properties": {}})
    session = await bench.start(
        [
            call("bash", command="echo one") + call("bash", command="echo two\u202e"),
            call("ask"),
            "done",
        ],
        "bash",
        question,
        permissions={"bash": "ask"},
    )
    assert await said(session, "/pending") == "To answer: 0"
    assert "nothing waits" in await said(session, "/approve")
    run = await session.prompt("Go.")
    await until_type(session, "run.parked")
    first, second = await session.approvals.pending()
    pending = await said(session, "/pending")
    assert "To answer: 2" in pending
    assert "echo two\\u202e" in pending
    assert "name one" in await said(session, "/approve")
    assert "name one" in await said(session, "/deny not this")
    assert (await said(session, f"/deny {second.id} not this", sender="ada")).startswith("Denied: bash")
    assert (await said(session, "/approve", sender="ada")).startswith("Approved: bash")
    external = await until_type(session, "run.parked", (await session.events())[-1].seq)
    assert external.run == run
    assert "nothing waits" in await said(session, "/approve")
    assert "needs something" in await said(session, "/answer")
    assert (await said(session, "/answer forty two")).startswith("Answered: ask")
    assert (await within(session.wait(run))).text == "done"
    answers = {e.data.action: e.data for e in await session.events() if e.type == "user.answer"}  # type: ignore[union-attr]
    assert answers[second.id].reason == "not this"  # type: ignore[union-attr]
    assert answers[first.id].sender == "ada"  # type: ignore[union-attr]


async def test_an_answer_is_remembered_as_far_as_it_says(bench: Bench) -> None:
    @godwit.tool
    def pay(amount: int) -> str:
        """Pay."""
        return f"paid {amount}"

    turns: Script = [call("pay", amount=1), call("pay", amount=1), "done"]
    session = await bench.start(turns, pay, permissions={"pay": "ask"})
    run = await session.prompt("Pay.")
    await until_type(session, "run.parked")
    (pending,) = await session.approvals.pending()
    assert pending.rules
    assert "may be remembered: " in await said(session, "/pending")
    assert "neither session nor always" in await said(session, f"/approve {pending.id} forever")
    answer = await said(session, "/approve session pay")
    assert answer.startswith("Approved, and so from now on in this session: pay")
    assert (await within(session.wait(run))).text == "done"
    (given,) = await data(session, UserAnswer)
    assert (given.remember, given.rule) == ("session", "pay")


async def test_permissions_lists_the_agents_rules_and_the_sessions(bench: Bench) -> None:
    rules = godwit.Permissions(allow=("read",), ask=("bash(git push:*)",), deny=("write(\u202e*)",), default="ask")
    session = await bench.start([], permissions=rules)
    await session.configure(permissions=godwit.Permissions(allow=("bash(ls)",)))
    assert (await said(session, "/permissions")).splitlines() == [
        "Permissions: ask what no rule is about",
        '  deny   "write(\\u202e*)"  (agent)',
        '  ask    "bash(git push:*)"  (agent)',
        '  allow  "read"  (agent)',
        '  allow  "bash(ls)"  (session)',
    ]
    assert (await said(session, "/permissions check bash git push origin")).startswith("ask: ")
    allowed = (await said(session, "/permissions check bash ls")).splitlines()
    assert allowed[0].startswith("allow: ")
    assert allowed[1].startswith('  allow  "ls"')
    assert (await said(session, "/permissions check read a.py")).startswith("allow: ")
    assert "nothing it does" in await said(session, "/permissions give")
    assert "needs something" in await said(session, "/permissions check")


async def test_verify_runs_the_projects_checks_and_nothing_that_is_typed(bench: Bench) -> None:
    policy = VerificationPolicy((VerificationCommand("one", "true"), VerificationCommand("two", "exit 3")), presets=False)
    runtime = await bench.runtime([])
    made = AgentSpec(AgentName("tester"), (MODEL,), verification=policy)
    session = await runtime.start_session(made, workspace=bench.workspace)
    both = (await said(session, "/verify")).splitlines()
    assert both[0] == "passed: one"
    assert both[1].startswith("failed: two (")
    assert both[2].startswith("Verification failed: 1 failed check in workspace")
    assert (await said(session, "/verify one")).splitlines()[0] == "passed: one"
    wrong = await within(session.send("/verify touch ran"))
    assert wrong.error is not None
    assert wrong.text == "/verify: no check is named 'touch ran': there are one, two"
    assert not (bench.workspace / "ran").exists()
    bare = await bench.start([], runtime=runtime)
    assert "nothing here says what to check" in await said(bare, "/verify")
    assert [r.subject for r in await session.verification_reports()] == ["workspace", "one"]


async def test_hooks_are_listed_and_what_they_report_is_recorded(bench: Bench) -> None:
    session = await bench.start([])
    assert await said(session, "/hooks") == "Hooks: 0"
    session.register_hook(HookSpec("lint", "after_tool", HookMatcher(tool="write"), command="ruff check"))
    session.register_hook(HookSpec("hello", "after_command"), lambda _: HookResult(message="well done"))
    assert (await said(session, "/hooks")).splitlines() == [
        "Hooks: 2",
        "  after_command  hello",
        "  after_tool  lint: ruff check  (when tool write)",
    ]
    result = await within(session.send("/cost"))
    events = await session.events()
    assert [e.type for e in events[-2:]] == ["hook.reported", "command.executed"]
    assert result.seq == events[-1].seq


async def test_a_budget_is_shown_and_set_limit_by_limit(bench: Bench) -> None:
    session = await bench.start(["one", "two"], budget=Budget(turns=3))
    await within(session.send("Go."))
    lines = (await said(session, "/budget")).splitlines()
    assert lines[:2] == ["Budget of the session: turns 3; at a limit it stops", "  turns: 1 of 3"]
    assert lines[2] == "Budget of the session and all that works for it: no limits"
    assert "1 turns, 0 tool_calls" in lines[3]
    set_ = await said(session, "/budget tokens=50000 on_limit=ask")
    assert set_ == "From the next prompt on: tokens 50000, turns 3; at a limit it asks"
    await said(session, "/budget turns=none scope=session")
    await said(session, "/budget usd=2.5 scope=tree")
    now = await session.budget()
    assert now is not None
    assert (now.limits, now.on_limit) == ({"tokens": 50000}, "ask")
    tree = await session.budget("tree")
    assert tree is not None
    assert tree.limits == {"usd": 2.5}
    for wrong in ("/budget tokens", "/budget tokens=-1", "/budget usd=nan", "/budget lunch=1", "/budget scope=all turns=1"):
        answer = await within(session.send(wrong))
        assert answer.outcome == "failed", wrong
    assert await session.budget() == now
    await said(session, "/budget none")
    assert await session.budget() == Budget(turns=3)


async def test_artifacts_are_listed_and_pinned(bench: Bench) -> None:
    session = await bench.start([call("bash", command="seq 1 60000"), "done"], "bash")
    await within(session.send("Count."))
    first, line = (await said(session, "/artifacts")).splitlines()
    assert first == "Artifacts: 1"
    ref = line.split()[0]
    assert await said(session, f"/artifacts pin {ref[:20]}") == f"Pinned: {ref}"
    assert await said(session, f"/artifacts pin {ref}") == "It was pinned already."
    assert (await said(session, "/artifacts 1")).endswith("  pinned")
    assert await said(session, f"/artifacts unpin {ref}") == f"Not pinned any more: {ref}"
    assert (await within(session.send("/artifacts pin nothing"))).outcome == "failed"
    assert "needs something" in await said(session, "/artifacts pin")


async def test_clear_begins_the_transcript_anew_and_keeps_the_log(bench: Bench) -> None:
    """Seed 001: "/clear" with 10 messages tells the 10."""
    session = await bench.start([f"answer {n}" for n in range(6)])
    assert await said(session, "/clear") == "Cleared 0 messages."
    for number in range(5):
        await within(session.send(f"Message {number}."))
    before = len(await session.events())
    assert "Cleared 10 messages." in await said(session, "/clear")
    assert await session.history() == ()
    assert len(await session.events()) > before
    assert "The last rewind is taken back." in await said(session, "/redo")
    assert len(await session.history()) == 10
    again = await within(session.send("/redo"))
    assert again.outcome == "failed"


async def test_rewind_diff_and_checkpoints_go_back_with_the_files(bench: Bench) -> None:
    turns: Script = [
        call("write", file_path="a.txt", content="one\n"), "written",
        call("write", file_path="a.txt", content="two\n"), "changed",
    ]  # fmt: skip
    session = await bench.start(turns, "files")
    await within(session.send("Write it."))
    await within(session.send("Change it."))
    places = (await said(session, "/rewind")).splitlines()
    assert places[0] == "Places to go back to: 2"
    assert places[2].endswith("before: Change it.")
    seq = places[2].split()[0]
    assert "+two" in await said(session, f"/diff {seq}")
    assert "+two" in await said(session, "/diff last")
    assert (await said(session, "/checkpoints")).startswith("Checkpoints of files: ")
    for wrong in (
        "/rewind soon",
        "/rewind 1 all",
        f"/rewind {seq} files maybe",
        "/diff 1 2 3",
        "/redo maybe",
        "/rewind 99999",
    ):
        assert (await within(session.send(wrong))).outcome == "failed", wrong
    went = await said(session, f"/rewind {seq} files")
    assert went.splitlines()[0] == f"Went back to event {seq}."
    assert "modified: a.txt" in went
    assert "Taken back: Change it." in went
    assert (bench.workspace / "a.txt").read_text() == "one\n"
    assert len(await session.history()) == 4
    assert "modified: a.txt" in await said(session, "/redo")
    assert (bench.workspace / "a.txt").read_text() == "two\n"
    (bench.workspace / "a.txt").write_text("mine\n")
    refused = await within(session.send("/rewind last files"))
    assert refused.outcome == "failed"
    assert "a.txt" in refused.text
    await said(session, "/rewind last files keep")
    assert (bench.workspace / "a.txt").read_text() == "mine\n"
