"""Subagents that a session on a server gets to know while it lives, and agents of a server on the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

import godwit
from godwit import WorkerAgentSpec
from godwit.contracts import Model
from godwit.core.agent import AgentSpec
from godwit.core.errors import ModelNotFound, PermissionDenied
from godwit.core.hooks import HookSpec
from godwit.core.ids import AgentName
from godwit.host.api_keys import ApiKeys
from godwit.models.script import ScriptedModel
from godwit.surfaces.api import Api
from godwit.surfaces.server import ServerSettings
from tests.engine.conftest import within
from tests.surfaces.server.running import running
from tests.surfaces.terminal import Command

POET = "---\nname: poet\ndescription: Writes a line.\ntools: Read\n---\nYou write one line.\n"


def models() -> dict[str, Model]:
    return {
        "scripted:boss": ScriptedModel(["Heard."] * 9, "scripted:boss"),
        "scripted:poet": ScriptedModel(["A line."] * 9, "scripted:poet"),
    }


async def test_a_session_on_a_server_gets_to_know_agents(tmp_path: Path) -> None:
    (tmp_path / "agents").mkdir()
    (tmp_path / "agents" / "poet.md").write_text(POET)
    with running(tmp_path / "g.db", models=models(), dialects=[Api]) as server:
        async with godwit.connect(server.url) as runtime:
            session = await runtime.start_session(godwit.Agent("boss", model="scripted:boss"), own_workspace=True)
            assert await session.register_agent_dir(tmp_path / "agents") == 1
            assert await session.register_agent_dir(tmp_path / "nowhere") == 0
            critic = WorkerAgentSpec("critic", "Finds what is wrong.", "reviewer", model="scripted:poet")
            (known,) = await session.register_worker_agents([critic])
            assert (known.name, known.models, known.limits.max_turns) == ("critic", ("scripted:poet",), 25)
            again = await runtime.open_session(session.id)
            assert sorted(again.config.spec.subagents) == ["critic", "poet"]
            task = await session.tasks.start("critic", "Look.")
            (ended,) = await within(session.tasks.wait([task.id]))
            assert (ended.status, ended.output) == ("completed", "A line.")
            with pytest.raises(ModelNotFound):
                await session.register_agents([AgentSpec(AgentName("x"), ("nobody:x",)), known])
            assert sorted((await runtime.open_session(session.id)).config.spec.subagents) == ["critic", "poet"]


async def test_an_agent_may_hold_no_more_than_one_that_is_put(tmp_path: Path) -> None:
    settings = ServerSettings(keys=True)
    with running(tmp_path / "g.db", models=models(), dialects=[Api], settings=settings) as server:

        async def key() -> str:
            runtime = server.runtime
            keys = ApiKeys(runtime.store, runtime.clock, runtime.ids)
            return (await keys.create("acme", tenant="acme", scopes=["operate"]))[0]

        async with godwit.connect(server.url, key=server.call(key)) as runtime:
            session = await runtime.start_session(godwit.Agent("boss", model="scripted:boss"), own_workspace=True)
            hook = HookSpec("h", "before_tool", command="true")
            with pytest.raises(PermissionDenied):
                await session.register_agents([AgentSpec(AgentName("x"), ("scripted:poet",), hooks=(hook,))])


async def test_run_works_as_an_agent_of_the_server(command: Command, tmp_path: Path) -> None:
    with running(tmp_path / "g.db", models=models(), dialects=[Api]) as server:
        async with godwit.connect(server.url) as runtime:
            await runtime.create(godwit.Agent("poet", model="scripted:poet"))
        at = {"GODWIT_SERVER": server.url}
        done = await command.run("run", "Go.", "--agent", "poet", **at)
        assert (done.code, "A line." in done.out) == (0, True), done.err
        other = await command.run("run", "Go.", "--agent", "poet", "-m", "scripted:boss", **at)
        assert (other.code, "Heard." in other.out) == (0, True), other.err
        nobody = await command.run("run", "Go.", "--agent", "nobody", **at)
        assert (nobody.code, "stored there" in nobody.err) == (5, True), nobody.err
        both = await command.run("run", "Go.", "--agent", "poet", "--tools", "bash", **at)
        assert both.code == 2, both.err
