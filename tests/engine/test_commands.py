"""Slash commands by themselves: how a text is read, what the registry does, and that neither ever raises."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given

from godwit.core.errors import ConfigurationError
from godwit.engine.builtin_commands import builtin_commands
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
from tests.engine.command_words import PING, TEXTS


def registry(*more: Command) -> CommandRegistry:
    return CommandRegistry([*builtin_commands(), *more])


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


async def test_a_prompt_that_is_text_stays_text() -> None:
    ask = Command("ask", "", lambda typed, _: CommandOutput(prompt=f"Explain {typed}."))
    output = await CommandRegistry([ask]).dispatch("/ask this", None)
    assert output is not None
    assert (output.prompt, output.error) == ("Explain this.", None)
