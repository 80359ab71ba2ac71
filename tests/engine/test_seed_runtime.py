"""Rows of seed 003 in docs/seeds.md whose meaning no other test shows: the runtime, and the life of a session."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

import godwit
from godwit.contracts import Execution, FileInfo, Model, StoredArtifact, Workspace
from godwit.core.artifact import ArtifactLimits
from godwit.core.errors import (
    ActionNotFound,
    AgentNotFound,
    ArtifactNotFound,
    CheckpointNotFound,
    GodwitError,
    ModelNotFound,
    SessionArchived,
    SessionNotFound,
    ToolNotFound,
)
from godwit.core.events import AgentMessage, InputDelivered, RunFinished, ToolFinished, ToolStarted, UserMessage
from godwit.core.ids import ArtifactRef, InputId, SequentialIds, SessionId, SystemClock
from godwit.core.messages import Text, ToolResult
from godwit.core.sandbox import SandboxPolicy
from godwit.models.script import Script, ScriptedModel, call
from godwit.stores.sqlite import SqliteStore
from godwit.tools.toolbox import Toolbox
from tests.engine.conftest import MODEL, Bench, data, types, until_type, within
from tests.engine.seed_words import Gate, note, users


class Shelf:
    """A workspace that is no folder: a dict. Only what the `files` tools need here."""

    root = "/shelf"

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}

    async def read(self, path: str) -> bytes:
        return self.files[path]

    async def write(self, path: str, content: bytes, *, create_only: bool = False) -> None:
        self.files[path] = content

    async def delete(self, path: str) -> None:
        del self.files[path]

    async def info(self, path: str) -> FileInfo | None:
        return FileInfo(path, "file", len(self.files[path]), 0) if path in self.files else None

    async def listdir(self, path: str = ".") -> list[FileInfo]:
        return [FileInfo(p, "file", len(c), 0) for p, c in self.files.items()]

    async def glob(self, pattern: str, path: str = ".", *, limit: int = 1000) -> list[FileInfo]:
        return await self.listdir()

    async def grep(
        self, pattern: str, path: str = ".", *, glob: str | None = None, ignore_case: bool = False, limit: int = 1000
    ) -> list[tuple[str, int, str]]:
        return []

    async def execute(self, command: str, *, output: Any, **options: Any) -> Execution:
        output(f"would run {command}".encode())
        return Execution(0)


NO_LIMITS = ArtifactLimits()


class BoxStore(SqliteStore):
    """A store that keeps artifacts in a place of its own."""

    box: dict[str, tuple[StoredArtifact, bytes]]

    async def put_artifact(
        self,
        session: SessionId,
        content: bytes,
        media_type: str,
        *,
        limits: ArtifactLimits = NO_LIMITS,
        pinned: bool = False,
    ) -> StoredArtifact:
        stored = StoredArtifact(ArtifactRef(f"box:{len(self.box)}"), len(content), media_type)
        self.box[stored.ref] = (stored, content)
        return stored

    async def get_artifact(self, ref: ArtifactRef) -> tuple[StoredArtifact, bytes]:
        return self.box[ref]


class OneModel:
    """A registry that knows a single model under any name."""

    def __init__(self, model: Model) -> None:
        self.model = model

    def resolve(self, name: str) -> Model:
        return self.model


async def test_a_runtime_is_made_of_exchangeable_parts(tmp_path: Path) -> None:
    """S003-03: store, models, tools, workspace, clock and ids all come from the host."""
    shelf, store = Shelf(), BoxStore.open(":memory:")
    store.box = {}

    @godwit.tool
    async def put(text: str, ctx: godwit.ToolContext) -> str:
        """Put it on the shelf."""
        await ctx.workspace.write("a", text.encode())
        return "x" * 200_000

    def workspace(_session: str, _root: str, _environment: Mapping[str, str], _sandbox: SandboxPolicy) -> Workspace:
        return shelf

    runtime = godwit.Runtime(
        store=store,
        models=OneModel(ScriptedModel([call("put", text="hello"), "done"], "own:model")),
        toolbox=Toolbox([put]),
        workspace=workspace,
        clock=SystemClock(),
        ids=SequentialIds(),
    )
    async with runtime:
        session = await runtime.start_session(godwit.Agent("tester", model="any:name", tools=["put"]), workspace=tmp_path)
        assert (await within(session.send("Go."))).text == "done"
        assert shelf.files == {"a": b"hello"}
        assert (await data(session, ToolFinished))[0].metadata["artifact"] == "box:0"
        assert len(await runtime.get_artifact("box:0")) == 200_000


async def test_a_whole_life_of_an_agent(bench: Bench) -> None:
    """S003-01: define, start, talk, interrupt, pause, resume in another process, archive, delete."""
    gate = Gate()
    agent = godwit.Agent("tester", model=MODEL, tools=[gate.tool])
    script: Script = ["hello", call("gate"), "after the pause"]
    runtime = await bench.runtime(script)
    session = await runtime.start_session(await runtime.create(agent))
    with pytest.raises(ToolNotFound):
        await (await bench.runtime(script)).open_session(session.id)  # a process that lacks the agent's functions
    await session.send_event(UserMessage(InputId(""), (Text("Hi."),)))
    assert (await within(session.wait())).text == "hello"
    await session.prompt("Work.")
    await within(gate.entered.wait())
    pausing = asyncio.create_task(session.pause())
    await until_type(session, "session.paused")
    gate.release.set()
    await within(pausing)
    assert await runtime.status(session.id) == "paused"
    await bench.close()
    runtime = await bench.runtime(script)
    session = await runtime.open_session(session.id, agent=agent)
    await session.resume()
    assert (await within(session.wait())).text == "after the pause"
    assert await session.interrupt() is False
    follower = session.follow()
    await runtime.archive(session.id)
    seen = [(await within(anext(follower))).type]
    while seen[-1] != "session.archived":
        seen.append((await within(anext(follower))).type)
    assert seen == await types(session)
    await runtime.delete_session(session.id)
    assert await runtime.sessions() == []


async def test_every_call_fails_within_one_family_of_errors(bench: Bench) -> None:
    """S003-04."""
    runtime = await bench.runtime(["hello"])
    session = await bench.start(["hello"], runtime=runtime)
    await within(session.send("Hi."))
    await runtime.archive(session.id)
    refused: list[tuple[Any, type[GodwitError]]] = [
        (runtime.open_session("ses_none"), SessionNotFound),
        (runtime.status("ses_none"), SessionNotFound),
        (runtime.archive("ses_none"), SessionNotFound),
        (runtime.delete_session("ses_none"), SessionNotFound),
        (runtime.start_session("nobody"), AgentNotFound),
        (runtime.get_artifact("none"), ArtifactNotFound),
        (session.send("x"), SessionArchived),
        (session.pause(), SessionArchived),
        (session.steer("x"), SessionArchived),
        (session.follow_up("x"), SessionArchived),
        (session.approve("none"), ActionNotFound),
        (session.set_model("x:y"), ModelNotFound),
        (session.set_model(MODEL), SessionArchived),
        (session.resume_run("none"), CheckpointNotFound),
    ]
    for work, kind in refused:
        with pytest.raises(GodwitError) as failed:
            await within(work)
        assert isinstance(failed.value, kind), failed.value
        assert failed.value.code
        assert failed.value.message
        assert failed.value.fault().code == failed.value.code


async def test_one_runtime_serves_many_tasks(bench: Bench) -> None:
    """S003-07."""
    runtime = await bench.runtime(["hello"])
    agent = godwit.Agent("tester", model=MODEL)

    async def one(number: int) -> tuple[str, str]:
        session = await runtime.start_session(agent)
        result = await session.send(f"I am {number}.")
        return session.id, users(await session.history())[0] + result.text

    done = await within(asyncio.gather(*(one(n) for n in range(50))))
    assert len({session for session, _ in done}) == 50
    assert [text for _, text in done] == [f"I am {n}.hello" for n in range(50)]


async def test_create_stores_versions_of_an_agent(bench: Bench) -> None:
    """S003-08, 10."""
    runtime = await bench.runtime(["hello"])
    first = await runtime.create(godwit.Agent("tester", model=MODEL, instructions="One."))
    assert await runtime.create(godwit.Agent("tester", model=MODEL, instructions="One.")) == first
    second = await runtime.create(godwit.Agent("tester", model=MODEL, instructions="Two."))
    assert (first.version, second.version) == (1, 2)
    for handle, says in ((first, "One."), (second, "Two."), ("tester", "Two.")):
        session = await runtime.start_session(handle)
        assert (await within(session.send("Hi."))).text == "hello"
        assert session.config.spec.instructions == says


async def test_a_new_session_is_queued_until_it_runs(bench: Bench) -> None:
    """S003-11, 12, 13, 31."""
    session = await bench.start(["hello"])
    runtime = bench.runtimes[0]
    assert (await session.status(), await runtime.status(session.id)) == ("queued", "queued")
    assert (await within(session.send("Hi."))).text == "hello", "the handle is ready for events"
    assert (await session.status(), await runtime.status(session.id)) == ("idle", "idle")


async def test_a_started_session_hears_other_processes(bench: Bench) -> None:
    """S003-13: ready for events also before its first run, wherever they come from."""
    session = await bench.start(["hello"])
    other = await bench.runtime()
    watching = await other.open_session(session.id, drive=False)
    run = await watching.prompt("Hi.")
    assert (await within(watching.wait(run))).text == "hello"


async def test_folder_and_variables_are_honoured(bench: Bench) -> None:
    """S003-14."""
    runtime = await bench.runtime([call("bash", command='printf "%s in %s" "$GREETING" "$(basename "$PWD")"'), "done"])
    agent = godwit.Agent("tester", model=MODEL, tools=["bash"])
    session = await runtime.start_session(agent, workspace=bench.workspace, environment={"GREETING": "ahoy"})
    await within(session.send("Go."))
    result = next(m for m in await session.history() if isinstance(m, ToolResult))
    assert "ahoy in workspace" in result.text


async def test_from_seq_gives_greater_seqs_then_what_comes(bench: Bench) -> None:
    """S003-21, 22."""
    session = await bench.start(["one", "two"])
    await within(session.send("First."))
    head = (await session.events())[-1].seq
    for start in (0, 3, head):
        assert [e.seq for e in await session.events(start)] == list(range(start + 1, head + 1))
    seen: list[int] = []
    joined = asyncio.Event()

    async def read() -> None:
        async for event in session.follow(3):
            seen.append(event.seq)
            if event.seq == head:
                joined.set()
            if event.type == "run.finished" and event.seq > head:
                return

    reader = asyncio.create_task(read())
    await within(joined.wait())
    await within(session.send("Second."))
    await within(reader)
    assert seen == list(range(4, (await session.events())[-1].seq + 1))
    nothing = session.follow(seen[-1] + 100)
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(anext(nothing), 0.05)
        pytest.fail("there are no events yet beyond the head")


async def test_watching_without_from_seq_shows_only_what_is_new(bench: Bench) -> None:
    """S003-23."""
    session = await bench.start(["one", "two"])
    await within(session.send("First."))
    head = (await session.events())[-1].seq
    watching = session.watch()
    first = asyncio.ensure_future(anext(watching))
    await asyncio.sleep(0)
    await within(session.send("Second."))
    event = await within(first)
    assert isinstance(event, godwit.Event)
    assert event.seq == head + 1


async def test_interrupt_stops_and_leaves_an_idle_session(bench: Bench) -> None:
    """S003-24, 25."""
    gate = Gate()
    session = await bench.start([call("gate"), "usable"], gate.tool)
    await session.prompt("Go.")
    await within(gate.entered.wait())
    assert await within(session.interrupt()) is True
    assert await session.status() == "idle"
    assert (await types(session))[-1] == "run.finished"
    assert (await within(session.send("Again."))).text == "usable"


async def test_a_paused_session_takes_nothing_and_its_state_is_on_disk(bench: Bench) -> None:
    """S003-26, 27, 28."""
    gate = Gate()
    session = await bench.start([call("gate"), "done"], gate.tool)
    await session.prompt("Go.")
    await within(gate.entered.wait())
    pausing = asyncio.create_task(session.pause())
    await until_type(session, "session.paused")
    gate.release.set()
    await within(pausing)
    assert await session.status() == "paused"
    await session.follow_up("Wait for me.")
    delivered = len(await data(session, InputDelivered))
    # Another process may look, answer and queue, and takes nothing either.
    runtime = await bench.runtime(["done", "done"])
    other = await runtime.open_session(session.id, agent=godwit.Agent("tester", model=MODEL, tools=[gate.tool]))
    assert await other.status() == "paused"
    assert [e.text for e in await other.queue.list()] == ["Wait for me."]
    state = await other.state()
    assert state == await session.state(), "all of it is on disk"
    assert state.run is not None
    assert (state.run.turns, state.run.tool_calls) == (1, 1)
    assert len(await data(session, InputDelivered)) == delivered
    assert await session.is_running()


async def test_resume_goes_on_after_a_restart(bench: Bench) -> None:
    """S003-29, 30."""
    gate = Gate()
    script: Script = [call("note", text="a") + call("gate"), "resumed"]
    session = await bench.start(script, note, gate.tool)
    run = await session.prompt("Go.")
    await within(gate.entered.wait())
    pausing = asyncio.create_task(session.pause())
    await until_type(session, "session.paused")
    gate.release.set()
    await within(pausing)
    await bench.close()
    runtime = await bench.runtime(script)
    again = await runtime.open_session(session.id, agent=godwit.Agent("tester", model=MODEL, tools=[note, gate.tool]))
    assert await again.resume() is True
    assert await again.status() in ("queued", "running", "idle")
    assert (await within(again.wait(run))).text == "resumed"
    assert len([d for d in await data(again, ToolStarted) if d.name == "note"]) == 1
    assert await again.resume() is False


async def test_archiving_stops_the_run_and_keeps_the_log(bench: Bench) -> None:
    """S003-32, 33, 34."""
    gate = Gate()
    session = await bench.start([call("gate"), "never"], gate.tool)
    runtime = bench.runtimes[0]
    await session.prompt("Go.")
    await within(gate.entered.wait())
    await within(runtime.archive(session.id))
    assert await runtime.status(session.id) == "archived"
    assert [d.outcome for d in await data(session, RunFinished)] == ["interrupted"]
    assert (await types(session))[-1] == "session.archived"
    assert users(await session.history()) == ["Go."]
    with pytest.raises(SessionArchived):
        await session.send("More.")
    assert [r.id for r in await runtime.sessions(include_archived=False)] == []


class NotingStore(SqliteStore):
    """The real store; it notes the status of what is to be deleted."""

    found: list[str]

    async def delete(self, session: SessionId) -> None:
        self.found.append((await self.session(session)).status)
        await super().delete(session)


async def test_deleting_archives_first_and_leaves_nothing(bench: Bench) -> None:
    """S003-35, 36, 37."""
    store = NotingStore.open(bench.path)
    store.found = []

    @godwit.tool
    def much() -> str:
        return "line\n" * 50_000

    runtime = await bench.runtime([call("much"), "done"], store=store)
    session = await bench.start([call("much"), "done"], much, runtime=runtime)
    await within(session.send("Go."))
    ref = (await data(session, ToolFinished))[0].metadata["artifact"]
    assert await runtime.get_artifact(ref)
    assert await runtime.status(session.id) == "idle"
    await within(runtime.delete_session(session.id))
    assert store.found == ["archived"]
    with pytest.raises(SessionNotFound):
        await runtime.status(session.id)
    with pytest.raises(SessionNotFound):
        await runtime.delete_session(session.id)
    with pytest.raises(ArtifactNotFound):
        await runtime.get_artifact(ref)
    assert await runtime.sessions() == []
    with sqlite3.connect(f"file:{bench.path}?mode=ro", uri=True) as file:
        tables = [t for (t,) in file.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for table in tables:
            columns = [c[1] for c in file.execute(f"PRAGMA table_info({table})")]
            for column in columns:
                found = file.execute(f"SELECT count(*) FROM {table} WHERE {column} = ?", (session.id,)).fetchone()
                assert found == (0,), f"{table}.{column} still names the session"
    file.close()


async def test_the_answer_reads_the_same_from_any_model() -> None:
    """S003-02: what a session does does not depend on which model, or how it chunks its answer."""
    logs = []
    for name, chunk in (("first:model", None), ("second:model", 1)):
        model = ScriptedModel([call("note", text="a"), "It is done."], name, chunk=chunk)
        async with await godwit.Runtime.open(":memory:", models={name: model}, ids=SequentialIds()) as runtime:
            session = await runtime.start_session(godwit.Agent("tester", model=name, tools=[note]))
            await within(session.send("Go."))
            logs.append((await types(session), [m.message.text for m in await data(session, AgentMessage)]))
    assert logs[0] == logs[1]


def test_an_unknown_model_is_told_by_name() -> None:
    """S002-03, in part: the name is checked when it is resolved."""
    from godwit.models.registry import Registry

    with pytest.raises(ModelNotFound) as failed:
        Registry(environment={}).resolve("nobody:nothing")
    assert "nobody" in failed.value.message
