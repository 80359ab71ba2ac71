"""Results from outside, and how a session ends for good: answer, archive, delete. In this process, for that is quicker."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

import godwit
from godwit.contracts import Model
from godwit.core.errors import SessionNotFound
from godwit.core.events import Event, ToolFinished, UserAnswer
from godwit.engine.session import Session
from godwit.host.runtime import Runtime
from godwit.models.replay import RecordedModel, Recorder
from godwit.models.script import ScriptedModel, call
from godwit.surfaces.cli import main
from tests.surfaces.terminal import MODEL, Command, Ended, Terminal

NUMBER = {"type": "object", "properties": {"number": {"type": "integer"}}, "required": ["number"]}
LOOKUP = godwit.ToolDefinition("lookup", "Look a customer up.", NUMBER)
Run = Callable[..., Ended]


@pytest.fixture(autouse=True)
def place(command: Command) -> None:
    """The folder of the database."""
    command.database.parent.mkdir()


@pytest.fixture
def run(command: Command, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """`godwit` with these words, in the command's folder."""
    monkeypatch.chdir(command.folder)
    monkeypatch.delenv("GODWIT_DB", raising=False)

    def run(*words: str, text: str = "") -> Ended:
        monkeypatch.setattr("sys.argv", ["godwit", *words])
        monkeypatch.setattr("sys.stdin", io.StringIO(text))
        with pytest.raises(SystemExit) as ended:
            main()
        shown = capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return Ended(ended.value.code, shown.out, shown.err)

    return run


async def desk(database: Path, model: Model, *, calls: int = 1, to_the_end: str | None = None) -> list[str]:
    """A session that waits for the results of its calls; the ids of its actions. `to_the_end`: the result given here."""
    async with await Runtime.open(database, models={MODEL: model}) as runtime:
        session = await runtime.start_session(godwit.Agent("desk", model=MODEL, tools=[LOOKUP]), name="desk")
        await session.prompt("Who is customer 7?")
        await parked(session)
        actions = [action.id for action in await session.approvals.pending()]
        assert len(actions) == calls
        if to_the_end is not None:
            await session.answer(actions[0], to_the_end)
            await session.wait()
        return [str(action) for action in actions]


async def parked(session: Session) -> None:
    async for event in session.follow():
        if event.type == "run.parked":
            return


def lookups(count: int) -> ScriptedModel:
    first = call("lookup", number=1)
    for number in range(2, count + 1):
        first = first + call("lookup", number=number)
    return ScriptedModel([first, "They are Ada and Bea."], MODEL)


def log_of(command: Command) -> list[Event]:
    return asyncio.run(command.log())


def test_a_result_is_given_and_gone_on_with(command: Command, run: Run, tmp_path: Path) -> None:
    recording = tmp_path / "desk.jsonl"
    script: list[Any] = [call("lookup", number=7), lambda request: f"It is {request.entries[-1].message.text}."]
    asyncio.run(desk(tmp_path / "recorded.db", Recorder(ScriptedModel(script, MODEL), recording), to_the_end="Ada\n"))
    [action] = asyncio.run(desk(command.database, RecordedModel(recording)))
    driven = run("answer", "last", "-", "--drive", "--replay", str(recording), text="Ada\n")
    assert driven.code == 0, driven.err
    assert f"{action} answered" in driven.out
    assert "It is Ada" in driven.out
    again = run("answer", "last", action, "Eve")
    assert (again.code, "answered before; nothing changed" in again.out) == (0, True)
    assert run("answer", "last", "Eve").code == 5, "nothing waits any more"


def test_one_of_several_is_named_and_may_be_an_error(command: Command, run: Run) -> None:
    first, second = asyncio.run(desk(command.database, lookups(2), calls=2))
    unnamed = run("answer", "last", "Ada")
    assert (unnamed.code, unnamed.err.partition(":")[0]) == (2, "error[ambiguous]")
    assert first in unnamed.err
    assert second in unnamed.err
    named = run("answer", "last", second, "no such customer", "--error", "--json")
    assert named.lines == [{"session": log_of(command)[0].session, "actions": [second], "answered": [True]}]
    last = run("answer", "last", first[:-1], "Ada")
    assert last.code == 0, last.err
    assert "no process drives it; go on with: " in last.out
    answers = [e.data for e in log_of(command) if isinstance(e.data, UserAnswer)]
    assert [(a.action, a.decision, a.is_error) for a in answers] == [(second, "result", True), (first, "result", False)]


@pytest.mark.parametrize(
    ("words", "code", "starts"),
    [
        (["act_nobody", "x"], 5, "error[action_not_found]: "),
        (["two", "words", "more"], 2, "error[usage]: 3 words are given"),
        ([], 2, "error[usage]: no answer is given"),
    ],
)
def test_an_answer_that_cannot_be(command: Command, run: Run, words: list[str], code: int, starts: str) -> None:
    asyncio.run(desk(command.database, lookups(1)))
    ended = run("answer", "last", *words)
    assert (ended.code, ended.err[: len(starts)]) == (code, starts)
    assert run("approve", "last").code == 5, "it does not wait for approval"


def test_an_archived_session_is_final_and_readable(command: Command, run: Run) -> None:
    asyncio.run(desk(command.database, lookups(1)))
    archived = run("archive", "last")
    assert archived.code == 0, archived.err
    assert archived.out.endswith(": archived; its log stays readable\n")
    events = log_of(command)
    session = events[0].session
    assert [e.type for e in events[-2:]] == ["run.finished", "session.archived"]
    assert [e.data.status for e in events if isinstance(e.data, ToolFinished)] == ["skipped"]
    assert run("archive", session, "--json").lines == [{"session": session, "archived": False}]
    assert log_of(command) == events
    assert session not in run("ls").out
    assert [row["status"] for row in run("ls", "--all", "--json").lines] == ["archived"]
    refused = run("send", session, "More.")
    assert (refused.code, refused.err.partition(":")[0]) == (6, "error[session_archived]")


def test_a_session_is_deleted_when_somebody_says_so(command: Command, run: Run) -> None:
    asyncio.run(desk(command.database, lookups(1)))
    session = log_of(command)[0].session
    for words in (["delete", session], ["delete", session, "--json"]):
        unasked = run(*words)
        assert (unasked.code, unasked.out) == (2, "")
        assert unasked.err.startswith("error[usage]: what is deleted cannot be brought back")
    gone = run("delete", session[:-2], "--yes", "--json")
    assert gone.code == 0, gone.err
    assert msgspec.json.decode(gone.out) == {"session": session, "deleted": True}
    assert run("delete", session, "--yes").code == 5
    assert run("ls", "--all", "--json").out == ""
    with pytest.raises(SessionNotFound):
        asyncio.run(_opened(command.database, session))


async def _opened(database: Path, session: str) -> None:
    async with await Runtime.open(database) as runtime:
        await runtime.open_session(session)


async def test_a_terminal_is_asked_before_anything_is_deleted(command: Command) -> None:
    await desk(command.database, lookups(1))
    for typed, shown, code in (("\n", "kept", 130), ("yes\n", "deleted", 0)):
        async with Terminal(command, "delete", "last") as terminal:
            await terminal.shows("(desk), waiting, ")
            await terminal.shows("It cannot be brought back. [y]es  [n]o: ")
            terminal.type(typed)
            await terminal.shows(shown)
            assert await terminal.code() == code
