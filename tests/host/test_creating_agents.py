"""Creating an agent, and a session of it, tells at once what could not work here, and leaves nothing behind."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.engine.conftest import MODEL, Bench, within

import godwit
from godwit.core.errors import AgentNotFound, AuthenticationFailed, ConfigurationError, InvalidArgument, ModelNotFound
from godwit.host.config import load
from godwit.models.registry import Registry
from godwit.models.script import ScriptedModel


@pytest.mark.parametrize("models", [["nowhere:model"], ["unheard-of"], [MODEL, "nowhere:fallback"]])
async def test_a_model_that_is_not_there_is_told_when_the_agent_is_created(bench: Bench, models: list[str]) -> None:
    runtime = await bench.runtime(["hello"])
    agent = godwit.Agent("tester", model=models)
    with pytest.raises(ModelNotFound, match=models[-1]):
        await runtime.create(agent)
    with pytest.raises(ModelNotFound, match=models[-1]):
        await runtime.start_session(agent)
    with pytest.raises(AgentNotFound):
        await runtime.store.get_agent("tester")
    assert await runtime.sessions() == []


async def test_a_missing_key_is_told_when_the_agent_is_created(bench: Bench) -> None:
    runtime = await bench.runtime(models=Registry(environment={}))
    with pytest.raises(AuthenticationFailed, match="ANTHROPIC_API_KEY"):
        await runtime.create(godwit.Agent("tester", model="anthropic:claude-sonnet-4-5"))


async def test_an_agent_that_others_have_stored_is_looked_at_when_a_session_of_it_is_to_be_driven(bench: Bench) -> None:
    elsewhere = await bench.runtime(models={"own:model": ScriptedModel(["hello"], "own:model")})
    ref = await elsewhere.create(godwit.Agent("tester", model="own:model"))
    runtime = await bench.runtime()
    with pytest.raises(ModelNotFound, match="own:model"):
        await runtime.start_session(ref)
    assert await runtime.sessions() == []
    session = await runtime.start_session(ref, drive=False)
    assert (await within((await elsewhere.open_session(session.id)).send("Hi."))).text == "hello"


async def test_a_host_that_stores_agents_for_others_asks_for_no_check(bench: Bench) -> None:
    runtime = await bench.runtime(check_models=False)
    ref = await runtime.create(godwit.Agent("tester", model="nowhere:model"))
    assert (await runtime.start_session(ref)).agent == ref


async def test_create_knows_the_folder_that_sessions_are_to_work_in(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folder's file asks for a sandbox that cannot be had: told when the agent is created for it, and only then."""
    monkeypatch.setenv("GODWIT_CONFIG", "")
    folder = tmp_path / "strict"
    (folder / ".godwit").mkdir(parents=True)
    (folder / ".godwit" / "config.toml").write_text('[sandbox]\nrequire = ["network_off"]\n')
    runtime = await bench.runtime(["hello"], config=load)
    agent = godwit.Agent("tester", model=MODEL, sandbox=godwit.SandboxPolicy(backend="none"))
    await runtime.create(agent)
    await runtime.create(agent, workspace=tmp_path)
    with pytest.raises(ConfigurationError, match="network_off"):
        await runtime.create(agent, workspace=folder)


async def test_a_folder_that_is_none_is_told(bench: Bench, tmp_path: Path) -> None:
    runtime = await bench.runtime(["hello"])
    with pytest.raises(InvalidArgument, match="is not a folder"):
        await runtime.create(godwit.Agent("tester", model=MODEL), workspace=tmp_path / "nothing")
