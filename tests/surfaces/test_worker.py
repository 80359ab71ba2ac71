"""Workers: programs that do calls of sessions which are driven elsewhere, over the database and over HTTP."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

import godwit
from godwit.client.tasks import DatabaseTasks
from godwit.core.errors import ConfigurationError, LaneNotFound, StoreError, ToolNotFound
from godwit.core.events import ToolFinished
from godwit.core.ids import SystemClock
from godwit.core.lanes import LaneConfig, LaneHandler, LaneSettings, RetryPolicy
from godwit.core.messages import text_of
from godwit.engine.session import Session
from godwit.host.lane_tasks import LaneTasks
from godwit.host.runtime import Runtime
from godwit.models.script import Script, ScriptedModel, call, say
from tests.patience import PATIENCE_S
from tests.surfaces.api.remote import served
from tests.surfaces.terminal import Command, finish, record

MODEL = "scripted:test"
LANES = LaneSettings((LaneConfig("execute", mode="outside", retry=RetryPolicy("fixed", delay_ms=0)),))


class Site:
    """A host whose execute lane is worked on outside, and a folder for the worker that is not the session's."""

    def __init__(self, folder: Path, over_http: bool, stack: AsyncExitStack) -> None:
        self.database = folder / "godwit.db"
        self.sessions = folder / "sessions"
        self.folder = folder / "worker"
        self.sessions.mkdir()
        self.folder.mkdir()
        self.target: str | Path = self.database
        self._over_http = over_http
        self._stack = stack

    async def start(self, script: Script, *tools: Any) -> Session:
        runtime = await Runtime.open(self.database, models={MODEL: ScriptedModel(script, MODEL)}, lanes=LANES)
        await self._stack.enter_async_context(runtime)
        if self._over_http:
            self.target = await self._stack.enter_async_context(served(runtime))
        agent = godwit.Agent("worker", model=MODEL, tools=list(tools) or ["files", "bash"])
        return await runtime.start_session(agent, workspace=self.sessions)

    def worker(self, **more: Any) -> godwit.Worker:
        return godwit.Worker(self.target, folder=self.folder, **more)


@pytest.fixture(params=["database", "server"])
async def site(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Site]:
    async with AsyncExitStack() as stack:
        yield Site(tmp_path, request.param == "server", stack)


async def within(work: Any) -> Any:
    return await asyncio.wait_for(work, PATIENCE_S)


async def results(session: Session) -> list[ToolFinished]:
    return [e.data for e in await session.events() if isinstance(e.data, ToolFinished)]


async def test_built_in_tools_run_in_the_workers_folder(site: Site) -> None:
    script = [
        call("write", file_path="a.txt", content="by a worker\n"),
        call("bash", command="cat a.txt; pwd; exit 3"),
        call("read", file_path="a.txt"),
        say("done"),
    ]
    session = await site.start(script)
    async with site.worker(name="w1") as worker:
        run = await within(session.send("go"))
    assert run.text == "done"
    write, bash, read = await results(session)
    assert (site.folder / "a.txt").read_text() == "by a worker\n"
    assert not (site.sessions / "a.txt").exists()
    assert (bash.status, bash.metadata["exit_code"], bash.metadata["worker"]) == ("error", 3, "w1")
    assert str(site.folder) in text_of(bash.content)
    assert write.status == "ok"
    assert read.status == "error", "reading is of lane query, which is worked on inside, where the file is not"
    assert (worker.done, worker.failed, worker.lost) == (1, 1, 0)


async def test_functions_of_ones_own_and_a_folder_for_each_session(site: Site) -> None:
    @godwit.tool
    def stamp(text: str, context: godwit.ToolContext) -> str:
        """Write it down."""
        folder = Path(context.workspace.root)
        (folder / "stamp").write_text(text)
        return folder.name

    session = await site.start([call("stamp", text="hello"), say("done")], stamp)
    async with site.worker(tools=[stamp], per_session=True):
        await within(session.send("go"))
    (result,) = await results(session)
    assert text_of(result.content) == session.id
    assert (site.folder / session.id / "stamp").read_text() == "hello"


async def test_a_worker_takes_only_what_it_can_do(site: Site) -> None:
    session = await site.start([call("bash", command="echo one"), say("done")])
    await session.set_lane_handler("execute", LaneHandler("outside", labels={"os": "plan9"}))
    run = asyncio.ensure_future(session.send("go"))
    async with site.worker() as wrong, site.worker(labels={"os": "plan9"}, name="right"):
        await within(run)
    (result,) = await results(session)
    assert result.metadata["worker"] == "right"
    assert wrong.done == 0


async def test_an_interrupt_reaches_the_command_of_a_worker(site: Site, tmp_path: Path) -> None:
    mark = tmp_path / "worker" / "pid"
    session = await site.start([call("bash", command="echo $$ > pid; exec sleep 300"), say("done")])
    await session.set_lane_handler("execute", LaneHandler("outside", timeout_s=3600, lease_s=0.4))
    await session.prompt("go")
    async with site.worker() as worker:
        await until(lambda: mark.exists() and mark.read_text().strip() != "")
        await asyncio.sleep(0.5)  # longer than the lease: the heartbeat keeps it
        assert worker.active == 1
        await session.interrupt()
        assert (await within(session.wait())).outcome == "interrupted"
        await until(lambda: worker.active == 0)
    assert (worker.done, worker.lost) == (0, 1)


async def test_what_a_command_prints_is_shown_live_where_the_database_is_shared(site: Site) -> None:
    session = await site.start([call("bash", command="echo live; sleep 0.3"), say("done")])
    shown: list[str] = []

    async def watch() -> None:
        async for one in session.watch():
            if isinstance(one, godwit.Delta) and one.kind == "tool_output":
                shown.append(one.text)

    watching = asyncio.ensure_future(watch())
    async with site.worker():
        await within(session.send("go"))
    watching.cancel()
    assert ("live\n" in "".join(shown)) is isinstance(site.target, Path), "over HTTP the result alone is"


async def test_leaving_ends_what_is_under_way_and_takes_nothing_new(site: Site) -> None:
    go, begun = asyncio.Event(), asyncio.Event()

    @godwit.tool
    async def slow() -> str:
        """Be slow."""
        begun.set()
        await go.wait()
        return "slow"

    session = await site.start([call("slow"), call("slow"), say("done")], slow)
    run = asyncio.ensure_future(session.send("go"))
    worker = site.worker(tools=[slow])
    async with worker:
        await within(begun.wait())
        worker.stop()
        go.set()
    assert worker.done == 1
    async with site.worker(tools=[slow]) as second:
        await within(run)
    assert second.done == 1


async def test_one_that_has_nothing_to_do_ends_at_once(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("godwit.client.worker.WAIT_S", 60.0)
    session = await site.start([call("bash", command="true"), say("done")])
    async with site.worker(concurrency=2) as worker:
        await within(session.send("go"))  # so it has asked, and asks again
        worker.stop()
        await asyncio.wait_for(worker.wait(), 30)  # long before its question would end by itself
    assert (worker.done, worker.lost) == (1, 0)


async def test_what_a_worker_breaks_off_is_done_again_only_where_that_is_allowed(site: Site) -> None:
    begun = asyncio.Event()
    hang = True

    async def work() -> str:
        begun.set()
        if hang:
            await asyncio.Event().wait()
        return "done at last"

    once = godwit.tool(work, name="once", description="Once.")
    again = godwit.tool(work, name="again", description="Again.", repeatable=True)
    session = await site.start([call("once"), call("again"), say("done")], once, again)
    run = asyncio.ensure_future(session.send("go"))
    for _ in range(2):
        async with site.worker(tools=[once, again]) as worker:
            await within(begun.wait())
            begun.clear()
            worker.cancel()
        assert worker.failed == 1
    hang = False
    async with site.worker(tools=[once, again]):
        await within(run)
    first, second = await results(session)
    assert (first.status, "stopped" in text_of(first.content)) == ("error", True)
    assert text_of(second.content) == "done at last"
    assert [d.command_type for d in await session.dead_letters()] == ["once"]


class Ahead(SystemClock):
    """The clock of a machine that is an hour ahead."""

    def now_ms(self) -> int:
        return super().now_ms() + 3_600_000


async def test_a_worker_whose_clock_is_wrong_does_its_work(site: Site) -> None:
    session = await site.start([call("bash", command="sleep 0.3; echo there"), say("done")])
    worker = site.worker()
    worker._clock = Ahead()
    async with worker:
        await within(session.send("go"))
    (result,) = await results(session)
    assert "there" in text_of(result.content)
    assert (worker.done, worker.lost) == (1, 0)


async def test_what_takes_too_long_ends_at_the_worker_and_is_a_dead_letter(site: Site) -> None:
    session = await site.start([call("bash", command="exec sleep 300"), say("done")])
    await session.set_lane_handler("execute", LaneHandler("outside", timeout_s=1))
    async with site.worker() as worker:
        await within(session.send("go"))
        await until(lambda: worker.active == 0)
    (result,) = await results(session)
    assert text_of(result.content) == "[nobody answered in time]"
    assert [d.error for d in await session.dead_letters()] == ["nobody answered in time"]


async def test_whoever_cancels_a_worker_leaves_nothing_running(site: Site) -> None:
    begun, broken_off = asyncio.Event(), asyncio.Event()

    async def work() -> str:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            broken_off.set()
        return "never"

    once = godwit.tool(work, name="once", description="Once.")
    session = await site.start([call("once"), say("done")], once)
    run = asyncio.ensure_future(session.send("go"))

    async def program() -> None:
        async with site.worker(tools=[once]) as worker:
            await worker.wait()

    working = asyncio.ensure_future(program())
    await within(begun.wait())
    working.cancel()
    await within(asyncio.wait({working}))
    assert broken_off.is_set()
    await within(run)
    assert "stopped" in text_of((await results(session))[0].content)


async def test_tasks_of_one_session_do_not_take_each_others_temporary_files(site: Site) -> None:
    @godwit.tool
    async def shell(command: str, context: godwit.ToolContext) -> str:
        """Run a command that goes with others."""
        shown = bytearray()
        await context.workspace.execute(command, output=shown.extend)
        return shown.decode()

    first = "echo kept > $TMPDIR/mine; until test -e go; do sleep 0.05; done; cat $TMPDIR/mine"
    script = [call("shell", command=first) + call("shell", command="echo short"), say("done")]
    session = await site.start(script, shell)
    run = asyncio.ensure_future(session.send("go"))
    async with site.worker(tools=[shell], per_session=True, concurrency=2) as worker:
        await until(lambda: worker.done == 1)
        (site.folder / session.id / "go").touch()
        await within(run)
    assert sorted(text_of(r.content).strip() for r in await results(session)) == ["kept", "short"]


class Busy(DatabaseTasks):
    """A database that is busy the second time it hears a heartbeat, and the first time a result."""

    beats = results = 0

    async def heartbeat(self, task: str, token: str) -> int:
        self.beats += 1
        if self.beats == 2:
            raise StoreError("busy")
        return await super().heartbeat(task, token)

    async def complete(self, task: str, token: str, content: Any, **more: Any) -> bool:
        self.results += 1
        if self.results == 1:
            raise StoreError("busy")
        return await super().complete(task, token, content, **more)


async def test_a_database_that_is_busy_for_a_moment_costs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("godwit.client.worker.DatabaseTasks", Busy)
    monkeypatch.setattr("godwit.client.worker.WAIT_S", 0.3)
    monkeypatch.setattr("godwit.client.worker.PAUSE_S", 0.01)
    monkeypatch.setattr("godwit.host.lane_tasks.BEGIN_S", 0.5)
    async with AsyncExitStack() as stack:
        site = Site(tmp_path, False, stack)
        session = await site.start([call("bash", command="sleep 1.5; echo there"), say("done")])
        await session.set_lane_handler("execute", LaneHandler("outside", lease_s=4))
        async with site.worker() as worker:
            await within(session.send("go"))
        (result,) = await results(session)
        assert (result.status, text_of(result.content).strip()) == ("ok", "there")
        assert (worker.done, worker.lost) == (1, 0)


async def test_what_a_worker_cannot_be_is_told_before_it_works(tmp_path: Path) -> None:
    wrongs: list[dict[str, Any]] = [{"concurrency": 0}, {"lanes": []}, {"folder": tmp_path / "none"}, {"tools": ["verify"]}]
    for wrong in wrongs:
        with pytest.raises(ConfigurationError):
            godwit.Worker(tmp_path / "g.db", **wrong)
    with pytest.raises(ToolNotFound):
        godwit.Worker(tmp_path / "g.db", tools=["none"])


async def test_a_remote_handle_says_who_does_the_calls(tmp_path: Path) -> None:
    """The same methods with the same answers as in the process that drives the session."""
    script: Script = [call("bash", command=f"echo {n}") for n in range(3)] + [say("done"), say("thanks")]
    lanes = LaneSettings(metrics=True)
    async with AsyncExitStack() as stack:
        runtime = await Runtime.open(tmp_path / "g.db", models={MODEL: ScriptedModel(script, MODEL)}, lanes=lanes)
        await stack.enter_async_context(runtime)
        client = await stack.enter_async_context(godwit.connect(await stack.enter_async_context(served(runtime))))
        session = await client.start_session(godwit.Agent("worker", model=MODEL, tools=["bash"]), workspace=tmp_path)
        assert session.has_queue() is True
        with pytest.raises(LaneNotFound):
            await session.set_lane_handler("nowhere", "outside")
        with pytest.raises(ConfigurationError):
            await session.set_lane_handler("generate", "outside")
        await session.set_lane_handler("execute", {"mode": "outside", "timeout_s": 60, "labels": {"os": "any"}})
        assert (await session.queue_stats()).lanes["execute"].mode == "outside"
        run = asyncio.ensure_future(session.send("go"))
        await parked(session, 1)
        (task,) = await session.pending_external_tasks()
        assert (task.command_type, task.payload, task.labels) == ("bash", {"command": "echo 0"}, {"os": "any"})
        assert (await session.queue_stats()).external == 1
        assert await session.complete_external_task("act_none", {"success": True}) is False
        given = {"success": True, "result": {"output": "by hand", "exit_code": 0}}
        assert await session.complete_external_task(task.id, given, sender="me") is True
        assert await session.complete_external_task(task.id, given) is False
        for count in (2, 3):
            await parked(session, count)
            leased = await runtime.external_tasks.lease(["execute"], tenant=None, worker="w", labels={"os": "any"})
            assert leased is not None
            assert await runtime.external_tasks.fail(leased.task.id, leased.token, "no", tenant=None)
        assert (await within(run)).text == "done"
        first, second = await session.dead_letters()
        assert (first.error, first.worker, first.payload) == ("no", "w", {"command": "echo 1"})
        assert await session.drop_dead_letter(first.id) is True
        assert await session.drop_dead_letter(first.id) is False
        assert await session.requeue_dead_letter(second.id) is True
        assert await session.dead_letters() == []
        metrics = await session.queue_metrics()
        assert metrics is not None
        assert metrics.lanes["generate"].completed == 4


async def parked(session: Any, count: int) -> None:
    """Until its run has been parked so often."""
    events = session.follow()
    while count:
        count -= (await within(anext(events))).type == "run.parked"


# --- the command line -----------------------------------------------------------------------------------------------


async def work_process(site: Site, *flags: str, cwd: Path | None = None) -> asyncio.subprocess.Process:
    where = ["--db", str(site.target)] if isinstance(site.target, Path) else ["--server", site.target]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "godwit", *where, "work", "-w", str(site.folder), "--json", *flags,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(Path(godwit.__file__).parents[1])},
        cwd=cwd,
    )  # fmt: skip
    assert process.stdout is not None
    first = json.loads(await within(process.stdout.readline()))
    assert first["lanes"] == ["execute"]
    return process


async def test_godwit_work_does_calls_and_drains_when_told_to_end(site: Site) -> None:
    script = [call("bash", command="echo begun > begun; sleep 1; echo done > done"), say("done")]
    session = await site.start(script)
    process = await work_process(site, "--lane", "execute", "--name", "w9")
    run = asyncio.ensure_future(session.send("go"))
    await until((site.folder / "begun").exists)
    process.send_signal(signal.SIGTERM)
    out, err = await within(process.communicate())
    assert process.returncode == 0, err
    assert json.loads(out.splitlines()[-1]) == {"done": 1, "failed": 0, "lost": 0}
    assert (site.folder / "done").exists(), "what was under way has ended as it would"
    await within(run)
    (result,) = await results(session)
    assert (result.status, result.metadata["worker"]) == ("ok", "w9")


async def test_godwit_work_that_is_told_to_end_while_it_starts_ends_well(site: Site) -> None:
    await site.start([])
    own = site.folder / "ending_tools.py"
    own.write_text(
        "import os, signal\nimport godwit\nos.kill(os.getpid(), signal.SIGTERM)\n"
        "@godwit.tool\ndef look() -> str:\n    'Look.'\n    return ''\n"
    )
    process = await work_process(site, "--lane", "execute", "--tool", "ending_tools:look", cwd=site.folder)
    out, err = await within(process.communicate())
    assert process.returncode == 0, err
    assert json.loads(out.splitlines()[-1]) == {"done": 0, "failed": 0, "lost": 0}


async def test_a_person_who_watches_a_run_is_not_asked_for_what_workers_do(command: Command, tmp_path: Path) -> None:
    recording = await record(tmp_path / "asks.jsonl", [call("bash", command="echo a"), "Done."])
    assert (await command.run("run", "Go.", "--replay", str(recording))).code == 4
    async with command.session() as session:
        await session.set_lane_handler("execute", "outside")
    assert (await command.run("approve", "last")).code == 0
    process = await command.start("resume", "last", "--replay", str(recording))
    async with godwit.Worker(command.database, tools=["bash"], folder=tmp_path) as worker:
        ended = await finish(process)
    assert (ended.code, "Done." in ended.out) == (0, True), ended.out
    assert worker.done == 1


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not holds():  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0.02)


async def told(site: Site, *words: str) -> tuple[int | None, str, str]:
    """What `godwit` comes to, by the database or the server, and what it prints."""
    where = ["--db", str(site.target)] if isinstance(site.target, Path) else ["--server", site.target]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "godwit", *where, *words, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, err = await within(process.communicate())
    return process.returncode, out.decode(), err.decode()


async def test_dead_letters_are_listed_shown_put_back_and_removed(site: Site) -> None:
    session = await site.start([call("bash", command="echo 1"), call("bash", command="echo 2"), "done", "heard"])
    tasks = session._home.parts.task_queue
    assert isinstance(tasks, LaneTasks)
    assert (await told(site, "dead-letters"))[1:] == ("no call that was to be done outside has failed for good\n", "")
    run = asyncio.ensure_future(session.send("go"))
    for count in (1, 2):
        await parked(session, count)
        leased = await tasks.lease(["execute"], tenant=None, worker="w")
        assert leased is not None
        assert await tasks.fail(leased.task.id, leased.token, "no disk", tenant=None)
    assert (await within(run)).text == "done"
    code, out, _ = await told(site, "dead-letters")
    first, second = out.splitlines()
    assert (code, "echo 1" in first, "echo 2" in second) == (0, True, True)
    assert "no disk (1 attempt, last by w, " in first
    (one, two) = (line.split()[0] for line in (first, second))
    code, out, err = await told(site, "dead-letters", one)
    assert (code, json.loads(out)) == (0, {"command": "echo 1"})
    assert session.id in err
    found = (await told(site, "dead-letters", "--session", session.id, "--json"))[1].splitlines()
    assert [json.loads(line)["id"] for line in found] == [one, two]
    assert (await told(site, "dead-letters", "--drop"))[0] != 0
    assert (await told(site, "dead-letters", one, "--drop"))[:2] == (0, f"{one} is removed\n")
    code, _, err = await told(site, "dead-letters", one, "--requeue")
    assert (code != 0, "no dead letter's id begins" in err) == (True, True)
    assert (await told(site, "dead-letters", two, "--requeue"))[0] == 0
    assert await session.dead_letters() == []
    async with site.worker():
        async for event in session.follow():
            if event.type == "run.finished" and (await session.run_count()) == 2:
                break
    assert "2" in text_of((await session.history())[-2].content)
