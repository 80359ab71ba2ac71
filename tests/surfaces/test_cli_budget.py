"""Budgets on the command line: flags of a run, what is shown and set, and who may allow more."""

from __future__ import annotations

from pathlib import Path

import pytest

from godwit.core.budget import Budget
from godwit.core.errors import ConfigurationError
from godwit.core.events import BudgetExceeded, SessionConfigured, UserAnswer
from godwit.core.messages import Usage
from godwit.models.script import Script, call, end, say
from godwit.surfaces.cli_budget import changed
from godwit.surfaces.cli_exit import CliError
from tests.surfaces.terminal import Command, Terminal, record


@pytest.fixture
async def twice(tmp_path: Path) -> str:
    """A run that calls bash twice and then answers."""
    counted = end(usage=Usage(5000, 100, requests=1))
    turns: Script = [
        call("bash", command="echo one") + counted,
        call("bash", command="echo two") + counted,
        say("That was it.") + counted,
    ]
    return str(await record(tmp_path / "twice.jsonl", turns))


@pytest.mark.slow
async def test_a_limit_ends_a_script_and_a_higher_one_lets_it_go_on(command: Command, twice: str) -> None:
    ended = await command.run("run", "Go.", "--replay", twice, "--allow", "bash", "--max-tokens", "6000", "--max-usd", "9")
    assert ended.code == 3, ended.err
    assert "Budget exhausted on 'tokens': 5,100 of 6,000 tokens spent, and the next step needs 5,1" in ended.out
    shown = await command.run("budget", "last")
    assert shown.code == 0, shown.err
    lines = [line.split() for line in shown.out.splitlines()]
    assert lines[0][-5:] == ["a", "limit", "ends", "the", "run"]
    assert ["tokens", "5,100", "6,000", "900"] in lines
    assert ["usd", "$0.00", "$9.00", "$9.00"] in lines
    assert ["tool", "calls", "1", "-"] in lines
    raised = await command.run("budget", "last", "--set", "tokens=5e4", "--set", "usd=none", "--json")
    assert raised.code == 0, raised.err
    assert raised.lines[0]["budget"] == {"tokens": 50_000}
    assert raised.lines[0]["spent"]["turns"] == 1
    again = await command.run("resume", "last", "--again", "--replay", twice)
    assert again.code == 0, again.err
    assert "That was it." in again.out


async def test_a_parked_run_is_answered_by_another_process(command: Command, twice: str) -> None:
    first = await command.run("run", "Go.", "--replay", twice, "--allow", "bash", "--max-tokens", "1")
    assert first.code == 3
    await command.run("budget", "last", "--set", "tokens=6000", "--set", "on_limit=ask")
    # --yes approves calls; a limit that it raised each time would be none.
    parked = await command.run("run", "Go.", "--continue", "--replay", twice, "--yes")
    assert parked.code == 4, parked.err + parked.out
    assert "? budget asks: Budget: 5,100 of 6,000 tokens spent, and the next step needs 5,1" in parked.out
    shown = await command.run("budget", "last")
    lines = [line.split() for line in shown.out.splitlines()]
    assert lines[0][-5:] == ["a", "limit", "asks", "for", "more"]
    assert ["tokens", "5,100", "6,000", "900"] in lines
    listed = await command.run("approve", "last", "--list")
    assert "Approve to allow 6,000 tokens more." in listed.out
    wrong = await command.run("approve", "last", "--args", '{"usd": 5}')
    assert (wrong.code, "the question is about tokens" in wrong.err) == (2, True)
    allowed = await command.run("approve", "last", "--args", '{"tokens": 50000}')
    assert allowed.code == 0, allowed.err
    assert "approved: 50,000 tokens more" in allowed.out
    done = await command.run("resume", "last", "--replay", twice)
    assert done.code == 0, done.err
    assert "That was it." in done.out
    log = await command.log()
    assert [e.data.sender for e in log if isinstance(e.data, UserAnswer)] == ["cli"]
    last = [e.data for e in log if isinstance(e.data, SessionConfigured)][-1]
    assert last.budgets == (Budget(tokens=56_000, on_limit="ask"),)
    told = await command.run("log", "last")
    assert "session tokens 56000" in told.out


async def test_at_a_terminal_a_person_is_asked(command: Command, twice: str) -> None:
    words = ("run", "Go.", "--replay", twice, "--allow", "bash", "--max-tool-calls", "1")
    async with Terminal(command, *words, EDITOR="", VISUAL="") as terminal:
        await terminal.shows("! budget: 1 of 1 tool call")
        await terminal.shows("? budget asks: Budget: 1 of 1 tool call spent. Approve to allow 1 tool call more.")
        await terminal.shows("nswer later: ")
        terminal.type("e\n")
        await terminal.shows("as they are): ")
        terminal.type('{"tool_calls": -2}\n')
        await terminal.shows("tool_calls=-2 must be a whole number, 0 or more")
        await terminal.shows("nswer later: ")
        terminal.type("y\n")
        await terminal.shows("That was it.")
        assert await terminal.code() == 0
    assert not any(isinstance(e.data, BudgetExceeded) for e in await command.log())


@pytest.mark.slow
async def test_no_more_at_a_terminal_ends_the_run(command: Command, twice: str) -> None:
    async with Terminal(command, "run", "Go.", "--replay", twice, "--allow", "bash", "--max-tool-calls", "1") as terminal:
        await terminal.shows("nswer later: ")
        terminal.type("n that is enough\n")
        await terminal.shows("not allowed more: that is enough")
        assert await terminal.code() == 3


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(("run", "Go.", "--max-usd", "-1"), marks=pytest.mark.slow),
        ("run", "Go.", "--max-usd", "nan"),
        pytest.param(("run", "Go.", "--max-tool-calls", "1.5"), marks=pytest.mark.slow),
    ],
)
async def test_flags_that_are_no_amounts_leave_no_trace(command: Command, twice: str, words: tuple[str, ...]) -> None:
    refused = await command.run(*words, "--replay", twice)
    assert refused.code == 2
    assert words[2] in refused.err or "usd" in refused.err
    assert not command.database.exists()


async def test_a_limit_in_money_wants_a_price(command: Command) -> None:
    refused = await command.run(
        "run", "Go.", "-m", "vllm:x", "--max-usd", "1", VLLM_BASE_URL="https://models.example.com/v1"
    )
    assert refused.code == 3, refused.err
    assert "GODWIT_PRICES=vllm:x=INPUT/OUTPUT" in refused.out
    wrong = await command.run("budget", "last", GODWIT_PRICES="vllm:x")
    assert (wrong.code, "GODWIT_PRICES" in wrong.err) == (2, True)


def test_set_changes_what_it_names() -> None:
    before = Budget(usd=2, tokens=100, on_limit="ask")
    assert changed(before, ["usd=5"]) == Budget(usd=5, tokens=100, on_limit="ask")
    assert changed(before, ["tokens=None", "turns=1e3", "soft=0.5", "on_limit=stop"]) == Budget(usd=2, turns=1000, soft=0.5)
    for wrong in ("usd", "=5", "usd"):
        with pytest.raises(CliError, match="not of the form name=value"):
            changed(before, [wrong])
    for bad in ("usd=-1", "usd=much", "euros=5", "turns=1.5", "usd=nan", "on_limit=beg"):
        with pytest.raises(ConfigurationError, match="--set: "):
            changed(before, [bad])


@pytest.mark.slow
async def test_what_cannot_be_set_changes_nothing(command: Command, twice: str) -> None:
    await command.run("run", "Go.", "--replay", twice, "--allow", "bash", "--max-tool-calls", "9")
    head = len(await command.log())
    for wrong in ("usd=-1", "euros=5", "usd"):
        refused = await command.run("budget", "last", "--set", wrong)
        assert refused.code == 2, refused.out
    assert len(await command.log()) == head
    session = await command.run("budget", "nobody")
    assert session.code == 5
