"""The sandbox of an agent: taken as it says, refused where it cannot be had; the database is out of reach."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.patience import PATIENCE_S

import godwit
from godwit import SandboxPolicy
from godwit.core.errors import ConfigurationError
from godwit.core.events import ActionOpened, EventData, RunFinished, ToolFinished
from godwit.core.ids import AgentName
from godwit.core.messages import text_of
from godwit.core.sandbox import Promise
from godwit.host.config import Config, load
from godwit.host.runtime import Runtime
from godwit.models.script import Script, ScriptedModel, call
from godwit.workspaces.sandboxes.choice import backends

MODEL = "scripted:test"


@pytest.fixture
async def runtimes(tmp_path: Path) -> AsyncIterator[Runtimes]:
    made = Runtimes(tmp_path)
    yield made
    for runtime in made.open:
        await runtime.close()


class Runtimes:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.open: list[Runtime] = []

    async def runtime(
        self, script: Script = (), *, path: str = "godwit.db", sandbox: SandboxPolicy | None = None
    ) -> Runtime:
        model = ScriptedModel(script, MODEL)
        runtime = await Runtime.open(self.folder / path, models={MODEL: model}, sandbox=sandbox)
        self.open.append(runtime)
        return runtime


def agent(sandbox: SandboxPolicy | None = None) -> godwit.Agent:
    return godwit.Agent("tester", model=MODEL, tools=["bash", "files"], sandbox=sandbox)


async def results(session: godwit.Session) -> list[str]:
    return [text_of(e.data.content) for e in await session.events() if isinstance(e.data, ToolFinished)]


async def until(session: godwit.Session, kind: type[EventData]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        async for event in session.follow(0):
            if isinstance(event.data, kind):
                return


def needs(*promises: Promise) -> None:
    gaps = backends()[0].gaps(SandboxPolicy())
    for promise in promises:
        if promise in gaps:
            pytest.skip(f"{promise} does not hold here: {gaps[promise]}")


async def test_an_agent_says_how_its_commands_are_confined(runtimes: Runtimes, tmp_path: Path) -> None:
    """S001-98: bash goes through the configured sandbox."""
    needs("writes_confined", "secrets_hidden")
    folder, outside = tmp_path / "work", tmp_path / "outside"
    folder.mkdir()
    outside.mkdir()
    (outside / "secret").write_text("secret")
    command = f"echo inside > made; echo x > {outside}/made; cat {outside}/secret; true"
    hidden, open_one = SandboxPolicy(hidden=(str(outside),)), SandboxPolicy(writable=(str(outside),))
    for policy, made, seen in ((hidden, False, False), (open_one, True, True), (SandboxPolicy(backend="none"), True, True)):
        runtime = await runtimes.runtime([call("bash", command=command), "Done."])
        session = await runtime.start_session(agent(policy), workspace=folder)
        await session.send("Go.")
        (said,) = await results(session)
        assert (folder / "made").read_text() == "inside\n"
        assert (outside / "made").exists() is made
        assert (said.strip() == "secret") is seen, said
        (outside / "made").unlink(missing_ok=True)


async def test_configuration_files_add_to_it(tmp_path: Path) -> None:
    needs("writes_confined")
    folder, outside, person = tmp_path / "work", tmp_path / "outside", tmp_path / "config.toml"
    (folder / ".godwit").mkdir(parents=True)
    outside.mkdir()
    person.write_text(f'[sandbox]\nwritable = ["{outside}"]\nmemory_bytes = 1_000_000_000\n')
    theirs = folder / ".godwit" / "config.toml"
    theirs.write_text('[sandbox]\nnetwork = true\nwritable = ["/"]\nbackend = "none"\ncpu_s = 77\n')

    def read(workspace: str | None) -> Config:
        return load(workspace, environment={"GODWIT_CONFIG": str(person)})

    found = read(str(folder))
    assert found.sandbox == SandboxPolicy(writable=(str(outside),), memory_bytes=1_000_000_000, cpu_s=77)
    assert [(n.line, n.text.partition(" is not used")[0]) for n in found.notices] == [
        (2, "network"),
        (3, "writable"),
        (4, "backend"),
    ]
    script: Script = [call("bash", command=f"echo x > {outside}/made; ulimit -v; ulimit -t"), "Done."]
    model = ScriptedModel(script, MODEL)
    async with await Runtime.open(":memory:", models={MODEL: model}, config=read) as runtime:
        session = await runtime.start_session(agent(), workspace=folder)
        await session.send("Go.")
        assert (await results(session))[0].split() == ["976563", "77"]
    assert (outside / "made").exists()
    theirs.write_text('[sandbox]\ncpu_s = "five"\n')
    async with await Runtime.open(":memory:", models={MODEL: model}, config=read) as runtime:
        with pytest.raises(ConfigurationError, match=r"config.toml:2: \[sandbox\] cpu_s: expected"):
            await runtime.start_session(agent(), workspace=folder)


async def test_a_runtime_may_say_it_for_all(runtimes: Runtimes, tmp_path: Path) -> None:
    folder = tmp_path / "work"
    folder.mkdir()
    runtime = await runtimes.runtime(
        [call("bash", command=f"echo x > {tmp_path}/made"), "Done."], sandbox=SandboxPolicy(backend="none")
    )
    session = await runtime.start_session(agent(SandboxPolicy(require=("writes_confined",))), workspace=folder)
    await session.send("Go.")
    assert (tmp_path / "made").exists()


async def test_what_is_demanded_and_cannot_be_had_is_refused_before_anything_is_stored(
    runtimes: Runtimes, tmp_path: Path
) -> None:
    runtime = await runtimes.runtime()
    demanding = agent(SandboxPolicy(backend="none", require=("network_off",)))
    for attempt in (runtime.create(demanding), runtime.start_session(demanding, workspace=tmp_path)):
        with pytest.raises(ConfigurationError, match="must keep network_off, and here none does not: nothing confines"):
            await attempt
    assert await runtime.sessions() == []
    with pytest.raises(godwit.GodwitError):
        await runtime.store.get_agent(AgentName("tester"))


async def test_another_machine_refuses_as_well(runtimes: Runtimes, tmp_path: Path) -> None:
    """A session that was started where the promise held, opened where it does not."""
    needs("no_survivors")
    runtime = await runtimes.runtime([])
    session = await runtime.start_session(agent(SandboxPolicy(require=("no_survivors",))), workspace=tmp_path)
    weaker = await runtimes.runtime([], sandbox=SandboxPolicy(backend="none", require=("no_survivors",)))
    with pytest.raises(ConfigurationError, match="must keep no_survivors"):
        await weaker.open_session(session.id)
    assert (await weaker.open_session(session.id, drive=False)).id == session.id


async def test_a_run_can_be_ended_where_its_sandbox_cannot_be_had(runtimes: Runtimes, tmp_path: Path) -> None:
    needs("no_survivors")
    runtime = await runtimes.runtime([call("bash", command="true"), "Done."])
    asking = godwit.Agent(
        "tester",
        model=MODEL,
        tools=["bash"],
        permissions={"bash": "ask"},
        sandbox=SandboxPolicy(require=("no_survivors",)),
    )
    session = await runtime.start_session(asking, workspace=tmp_path)
    await session.prompt("Go.")
    await until(session, ActionOpened)
    await runtime.close()
    weaker = await runtimes.runtime([], sandbox=SandboxPolicy(backend="none", require=("no_survivors",)))
    handle = await weaker.open_session(session.id, drive=False)
    await handle.interrupt()
    await until(handle, RunFinished)
    assert (await handle.status()) == "idle"


@pytest.mark.parametrize("path", [".godwit/godwit.db", "godwit.db"])
async def test_the_database_in_the_workspace_is_out_of_reach(runtimes: Runtimes, tmp_path: Path, path: str) -> None:
    needs("settings_kept", "secrets_hidden")
    (tmp_path / ".godwit").mkdir()
    script: Script = [
        call(
            "bash",
            command=f"cat {path} | head -c 15; rm -f {path}; echo x > {path}-journal; cat {path}.d/*; ls {path}.files",
        ),
        call("read", file_path=path),
        call("write", file_path=f"{path}-journal", content="x"),
        call("write", file_path=".godwit/config.toml", content="x"),
        "Done.",
    ]
    runtime = await runtimes.runtime(script, path=path)
    session = await runtime.start_session(agent(), workspace=tmp_path)
    assert (await session.send("Go.")).text == "Done."
    said = await results(session)
    assert "SQLite" not in said[0]
    assert os.listdir(f"{tmp_path}/{path}.files"), "the kept files are there, and not for commands"
    assert not set(os.listdir(f"{tmp_path}/{path}.files")) & set(said[0].split())
    assert all("it is hidden" in one or "belongs to godwit" in one or "a database of godwit" in one for one in said[1:])
    assert not (tmp_path / f"{path}-journal").exists()
    assert not (tmp_path / ".godwit" / "config.toml").exists()


async def test_a_session_has_a_temporary_folder_until_it_is_left(runtimes: Runtimes, tmp_path: Path) -> None:
    runtime = await runtimes.runtime(
        [call("bash", command="echo kept > $TMPDIR/f"), "One.", call("bash", command="cat $TMPDIR/f"), "Two."]
    )
    session = await runtime.start_session(agent(), workspace=tmp_path)
    await session.send("Go.")
    await session.send("And on.")
    assert (await results(session))[-1].strip() == "kept"
    assert runtime._places is not None
    where = runtime._places._temporary[session.id].path()
    assert "f" in os.listdir(where)
    await session.close()
    await runtime.close()
    assert not os.path.exists(where)
