"""Registered agents: a session and a runtime get to know agents from code and from files; sessions of such agents."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest
from tests.engine.conftest import MODEL, Bench, within
from tests.host.test_command_files import write

import godwit
from godwit.contracts import ModelRequest
from godwit.core.agent import base_of
from godwit.core.errors import AgentNotFound, ConfigurationError, ModelNotFound, ToolNotFound
from godwit.core.messages import User, text_of
from godwit.core.worker_agents import WorkerAgentSpec
from godwit.models.script import Reply, ScriptedModel, call, hold, say

POET = "---\nname: poet\ndescription: Writes a line.\ntools: Read\n---\nYou write one line.\n"


def models(*boss: Reply | str) -> dict[str, ScriptedModel]:
    """The model of whoever hands out tasks; its children have the same one, and answer with what they were asked."""

    def poet(request: ModelRequest) -> Reply:
        first = request.entries[0].message
        assert isinstance(first, User)
        return say(f"({text_of(first.content)})")

    return {MODEL: ScriptedModel(list(boss), MODEL), "scripted:poet": ScriptedModel([poet] * 4, "scripted:poet")}


def poet(**more: object) -> WorkerAgentSpec:
    return WorkerAgentSpec("poet", "Writes a line.", "read_only", model="scripted:poet", **more)  # type: ignore[arg-type]


def told(model: ScriptedModel, request: int) -> list[str]:
    """Which subagents the model was told of in this request."""
    tools = {tool.name: tool for tool in model.requests[request].tools}
    return list(tools["task"].parameters["properties"]["agent"]["enum"]) if "task" in tools else []


async def test_a_worker_is_usable_at_once(bench: Bench) -> None:
    given = models("Nobody is here.", call("task", agent="poet", prompt="rain"), "It is fine.")
    runtime = await bench.runtime(models=given)
    session = await bench.start((), runtime=runtime)
    await session.send("Who is here?")
    spec = await session.register_worker_agent(poet(max_steps=9))
    assert (spec.name, spec.limits.max_turns) == ("poet", 9)
    assert (await within(session.send("A line."))).text == "It is fine."
    (task,) = await session.tasks.all()
    assert (task.agent, task.output) == ("poet", "(rain)")
    assert told(given[MODEL], 0) == []
    assert told(given[MODEL], 1) == ["poet"]


async def test_a_host_gives_tasks_to_it_while_a_run_is_open(bench: Bench) -> None:
    gate = asyncio.Event()
    given = models(hold(gate) + say("Done."), "Heard.")
    runtime = await bench.runtime(models=given)
    session = await bench.start((), runtime=runtime)
    run = await session.prompt("Go.")
    await session.register_worker_agent(poet())
    task = await session.tasks.start("poet", "rain")
    (ended,) = await within(session.tasks.wait([task.id]))
    assert ended.output == "(rain)"
    gate.set()
    await within(session.wait(run))


async def test_what_is_registered_outlives_the_process(bench: Bench) -> None:
    runtime = await bench.runtime(models=models())
    session = await bench.start((), runtime=runtime)
    made = await session.register_worker_agents([poet(), WorkerAgentSpec("other", "Does else.", hidden=True)])
    assert [spec.name for spec in made] == ["poet", "other"]
    assert base_of(session.agent).name == "tester"
    await bench.close()

    given = models(call("task", agent="poet", prompt="sun"), "Fine.")
    again = await (await bench.runtime(models=given)).open_session(session.id)
    assert (await within(again.send("A line."))).text == "Fine."
    assert told(given[MODEL], 0) == ["poet"]
    assert [(t.agent, t.output) for t in await again.tasks.all()] == [("poet", "(sun)")]


async def test_two_who_register_at_once_lose_nothing(bench: Bench) -> None:
    runtime = await bench.runtime(models=models())
    session = await bench.start((), runtime=runtime)
    other = await runtime.open_session(session.id)
    names = [f"w{number}" for number in range(6)]
    await asyncio.gather(
        *(
            (session, other)[number % 2].register_worker_agent(WorkerAgentSpec(name, f"The {name}."))
            for number, name in enumerate(names)
        )
    )
    watching = await runtime.open_session(session.id, drive=False)
    assert sorted(watching.config.spec.subagents) == names


async def test_the_same_again_changes_nothing_and_another_of_its_name_takes_its_place(bench: Bench) -> None:
    runtime = await bench.runtime(models=models())
    session = await bench.start((), runtime=runtime)
    await session.register_worker_agent(poet())
    head = await runtime.head(session.id)
    await session.register_worker_agent(poet())
    assert await runtime.head(session.id) == head
    await session.register_worker_agent(WorkerAgentSpec("poet", "Writes two lines."))
    assert session.config.spec.subagents == {"poet": "Writes two lines."}


async def test_a_folder_is_registered_with_what_is_right_in_it(
    bench: Bench, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    runtime = await bench.runtime(models=models())
    session = await bench.start((), runtime=runtime)
    assert await session.register_agent_dir(tmp_path / "none") == 0
    write(tmp_path / "agents", "poet.md", POET)
    write(tmp_path / "agents", "bad.md", "no front matter")
    with caplog.at_level(logging.WARNING, "godwit"):
        assert await session.register_agent_dir(tmp_path / "agents") == 1
    assert f"{tmp_path}/agents/bad.md:1: has no front matter" in caplog.text
    assert session.config.spec.subagents == {"poet": "Writes a line."}
    assert await runtime.register_agent_dir(tmp_path / "agents") == 1
    assert [spec.name for spec in runtime.registered_agents()] == ["poet"]


async def test_what_an_agent_of_a_file_may_not_do_it_cannot_do(bench: Bench, tmp_path: Path) -> None:
    """`tools: Read, Grep` allows these and denies writing, also where the model calls it all the same."""
    file = "---\nname: looker\ndescription: Looks.\nmodel: scripted:poet\ntools: Read, Grep\n---\nLook.\n"
    write(tmp_path / "agents", "looker.md", file)
    given = models(call("task", agent="looker", prompt="Look."), "Fine.")
    looks: list[Reply | str] = [call("read", file_path="a.txt"), call("write", file_path="b.txt", content="x"), "Seen."]
    given["scripted:poet"] = ScriptedModel(looks, "scripted:poet")
    write(bench.workspace, "a.txt", "alpha\n")
    runtime = await bench.runtime(models=given)
    session = await bench.start((), runtime=runtime)
    await session.register_agent_dir(tmp_path / "agents")
    assert (await within(session.send("Go."))).text == "Fine."
    offered = {tool.name for tool in given["scripted:poet"].requests[0].tools}
    assert offered == {"read", "grep"}
    assert not (bench.workspace / "b.txt").exists()
    assert "alpha" in str(given["scripted:poet"].requests[1].entries[-1].message)


@pytest.mark.parametrize(
    ("confirming", "asked", "came_to"),
    [("auto_approve", False, "ran"), ("deny_on_ask", False, "denied"), ("inherit_parent", True, "ran")],
)
async def test_what_becomes_of_questions(bench: Bench, confirming: str, asked: bool, came_to: str) -> None:
    given = models(call("task", agent="doer", prompt="Do."), "Fine.")
    given["scripted:poet"] = ScriptedModel([call("write", file_path="a.txt", content="x"), "Tried."], "scripted:poet")
    runtime = await bench.runtime(models=given)
    session = await bench.start((), runtime=runtime)
    doer = WorkerAgentSpec("doer", "Does.", model="scripted:poet", confirmation_inheritance=confirming)  # type: ignore[arg-type]
    await session.register_worker_agent(doer)
    run = await session.prompt("Go.")
    if asked:
        async for event in session.follow(0):
            if event.type == "subagent.asked":
                break
        (question,) = await session.approvals.pending()
        assert question.name == "write"
        await session.approve(question.id)
    assert (await within(session.wait(run))).text == "Fine."
    assert not await session.pending_confirmations()
    assert (bench.workspace / "a.txt").exists() == (came_to == "ran")
    if came_to == "denied":
        assert "nobody can be asked" in str(given["scripted:poet"].requests[1].entries[-1].message)


async def test_rules_of_the_session_hold_for_what_is_approved_by_itself(bench: Bench) -> None:
    given = models(call("task", agent="doer", prompt="Do."), "Fine.")
    given["scripted:poet"] = ScriptedModel([call("write", file_path="a.txt", content="x"), "Tried."], "scripted:poet")
    runtime = await bench.runtime(models=given)
    session = await bench.start((), runtime=runtime, permissions={"write": "deny"})
    await session.register_worker_agent(
        WorkerAgentSpec("doer", "Does.", model="scripted:poet", confirmation_inheritance="auto_approve")
    )
    await within(session.send("Go."))
    assert not (bench.workspace / "a.txt").exists()


async def test_a_hidden_agent_is_for_hosts_alone(bench: Bench) -> None:
    given = models("Fine.", "Heard.")
    runtime = await bench.runtime(models=given)
    session = await bench.start((), runtime=runtime)
    await session.register_worker_agent(poet(hidden=True))
    await session.send("Go.")
    assert told(given[MODEL], 0) == []
    task = await session.tasks.start("poet", "rain")
    assert [t.output for t in await within(session.tasks.wait([task.id]))] == ["(rain)"]


async def test_none_is_registered_unless_all_can_be(bench: Bench) -> None:
    runtime = await bench.runtime(models=models())
    session = await bench.start((), runtime=runtime)
    head = await runtime.head(session.id)
    wrong = WorkerAgentSpec("other", "Does else.", model="nowhere:model")
    with pytest.raises(ModelNotFound):
        await session.register_worker_agents([poet(), wrong])
    with pytest.raises(ModelNotFound):
        await runtime.register_worker_agents([poet(), wrong])
    toolless = godwit.AgentSpec(poet().agent().name, ("inherit",), tools=("nothing",))
    with pytest.raises(ToolNotFound):
        await session.register_agents([toolless])
    assert await runtime.head(session.id) == head
    assert runtime.registered_agents() == []


async def test_an_agent_of_the_same_name_elsewhere_stays_as_it_is(bench: Bench) -> None:
    """Neither the stored agent nor its functions come to one that a session has registered under the same name."""
    given = models(call("task", agent="poet", prompt="rain"), "Fine.")
    runtime = await bench.runtime(models=given)
    stored = await runtime.create(godwit.Agent("poet", model=MODEL, instructions="Another."))
    session = await bench.start((), runtime=runtime)
    await session.register_worker_agent(poet())
    assert (await within(session.send("Go."))).text == "Fine."
    (task,) = await session.tasks.all()
    assert task.output == "(rain)"
    assert (await runtime.row(task.session)).agent.name.startswith("poet@0~")
    assert (await runtime.store.get_agent("poet"))[0] == stored


async def test_agents_name_what_the_runtime_knows(bench: Bench) -> None:
    given = models(call("task", agent="poet", prompt="rain"), "Fine.")
    runtime = await bench.runtime(models=given)
    with pytest.raises(AgentNotFound):
        await runtime.create(godwit.Agent("tester", model=MODEL, subagents=["poet"]))
    await runtime.register_worker_agent(poet())
    session = await runtime.start_session(godwit.Agent("tester", model=MODEL, subagents=["poet", "explore"]))
    assert session.config.spec.subagents["poet"] == "Writes a line."
    assert (await within(session.send("Go."))).text == "Fine."
    # As it was when the agent was created, whatever is registered later.
    await runtime.register_worker_agent(WorkerAgentSpec("poet", "Another."))
    assert session.config.spec.subagent_specs["poet"].description == "Writes a line."


async def test_an_agent_is_given_others_whole(bench: Bench) -> None:
    given = models(call("task", agent="poet", prompt="rain"), "Fine.")
    runtime = await bench.runtime(models=given)
    agent = godwit.Agent("tester", model=MODEL, subagents=[poet(), "explore"])
    assert list(agent.spec.subagents) == ["poet", "explore"]
    session = await runtime.start_session(agent)
    assert (await within(session.send("Go."))).text == "Fine."
    with pytest.raises(ConfigurationError, match="'poet' is named twice"):
        godwit.Agent("tester", model=MODEL, subagents=[poet(), "poet"])


async def test_sessions_of_workers_and_of_known_agents(bench: Bench, tmp_path: Path) -> None:
    given = models("I look.")
    runtime = await bench.runtime(models=given)
    session = await runtime.session_for_worker(
        WorkerAgentSpec("looker", "Looks.", "reviewer", prompt="Be kind.", max_steps=9),
        workspace=bench.workspace,
        model=MODEL,
    )
    spec = session.config.spec
    assert spec.limits.max_turns == 9
    assert spec.instructions.startswith("You review")
    assert spec.instructions.endswith("Be kind.")
    assert (await within(session.send("Go."))).text == "I look."
    write(tmp_path / "agents", "poet.md", POET)
    await runtime.register_agent_dir(tmp_path / "agents")
    session = await runtime.session_for_agent("poet", model=MODEL, name="Of a file")
    assert session.config.spec.instructions == "You write one line."
    assert (await runtime.row(session.id)).name == "Of a file"
    assert (await within(session.send("Go."))).text == "I look."
    session = await runtime.session_for_agent("reviewer", model=MODEL)
    assert (await within(session.send("Go."))).text == "I look."
    with pytest.raises(ConfigurationError, match="agent 'poet' has no model of its own"):
        await runtime.session_for_agent("poet")
    with pytest.raises(AgentNotFound):
        await runtime.session_for_agent("nobody", model=MODEL)
    # No stored agent has become another by it.
    with pytest.raises(AgentNotFound):
        await runtime.store.get_agent("poet")
