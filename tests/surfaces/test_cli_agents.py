"""Agents of files on the command line: listed, checked, worked as, and given to others as subagents."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from godwit.core.agent import AgentRef, AgentSpec, base_of
from godwit.core.ids import AgentName
from godwit.core.rules import Permissions
from godwit.host.agent_files import load_all
from godwit.host.builtin_agents import BUILTIN_AGENTS
from godwit.host.runtime import Runtime
from godwit.models.replay import Recorder
from godwit.models.script import ScriptedModel, call
from godwit.surfaces.cli_agent import ASKED_BY_DEFAULT, AgentFlags
from godwit.surfaces.cli_agents import held
from godwit.surfaces.cli_exit import CliError
from tests.loopback import Loopback, Reply
from tests.surfaces.terminal import MODEL, Command, finish, record

POET = "---\nname: poet\ndescription: Writes a line.\ntools: Read, Bash(git log:*)\n---\nYou write one line.\n"


def own(**more: object) -> AgentSpec:
    return AgentSpec(AgentName("a"), ("inherit",), permissions=Permissions(**more))  # type: ignore[arg-type]


async def test_agents_are_listed_with_where_they_come_from_and_what_is_wrong(command: Command) -> None:
    folder = command.folder / ".claude" / "agents"
    folder.mkdir(parents=True)
    (folder / "poet.md").write_text(POET)
    listed = await command.run("agents")
    assert listed.code == 0, listed.err
    assert "poet" in listed.out
    assert "Writes a line.  (.claude/agents/poet.md)" in listed.out
    assert "(built in)" in listed.out
    (folder / "bad.md").write_text("---\nname: bad\ndescription: b\ntools: Bash(\n---\n")
    told = await command.run("agents", "--json")
    assert told.code == 2
    (poet,) = [line for line in told.lines if line["name"] == "poet"]
    assert (poet["source"], poet["tools"], poet["hidden"]) == (".claude/agents/poet.md", ["read", "bash"], False)
    assert told.err.startswith("error: .claude/agents/bad.md:4: permission rule 'Bash(' cannot be read")
    doctor = await command.run("doctor", "--json")
    assert {"name": "agent files", "value": "1 agents (godwit agents)", "ok": True} in doctor.lines
    assert any(line["name"] == "agent file" and "bad.md:4: " in line["value"] for line in doctor.lines)
    elsewhere = await command.run("agents", "--workspace", "nowhere")
    assert elsewhere.code == 2


async def test_run_works_as_an_agent_of_a_file(command: Command, tmp_path: Path) -> None:
    folder = command.folder / ".godwit" / "agents"
    folder.mkdir(parents=True)
    (folder / "poet.md").write_text(POET)
    recording = tmp_path / "poet.jsonl"
    model = Recorder(ScriptedModel([call("bash", command="git log"), "A line."], MODEL), recording, match="results_vary")
    spec = load_all(str(command.folder)).agents["poet"].spec
    async with await Runtime.open(tmp_path / "godwit.db", models={MODEL: model}) as runtime:
        session = await runtime.session_for_agent(spec, model=MODEL, workspace=tmp_path)
        await session.send("Go.")
    trust = {"GODWIT_TRUST": str(tmp_path / "trusted.json")}
    done = await command.run("run", "Go.", "--agent", "poet", "--trust", "--replay", str(recording), **trust)
    # What its file allows is asked about all the same: nobody above it has allowed it.
    assert done.code == 4, done.err
    (row,) = (await command.run("ls", "--json")).lines
    assert row["agent"]["name"].startswith("poet@0~")
    done = await command.run(
        "run", "Go.", "--agent", "poet", "--replay", str(recording), "--allow", "bash", "--new", **trust
    )
    assert done.code == 0, done.err
    assert "A line." in done.out
    nobody = await command.run("run", "Go.", "--agent", "nobody", "--replay", str(recording))
    assert nobody.code == 5
    assert "there is no agent 'nobody'" in nobody.err


async def test_an_agent_whose_model_cannot_be_asked_keeps_nobody_from_working(command: Command, greeting_of: Path) -> None:
    folder = command.folder / ".godwit" / "agents"
    folder.mkdir(parents=True)
    (folder / "poet.yaml").write_text("name: poet\ndescription: Writes.\nmodel: nowhere:model\n")
    done = await command.run("run", "Go.", "--replay", str(greeting_of))
    assert done.code == 0, done.err


@pytest.fixture
async def greeting_of(tmp_path: Path) -> Path:
    return await record(tmp_path / "hi.jsonl", ["Hello."], flags=AgentFlags())


def test_what_the_flags_ask_about_is_asked_whatever_a_file_allows() -> None:
    flags = AgentFlags().permissions()
    guarded = ASKED_BY_DEFAULT[1:]
    made = held(own(allow=("read", "bash(git:*)", "write"), default="deny"), flags, guarded).permissions
    assert (made.allow, made.ask, made.default) == (("read", "write"), ("bash(git:*)",), "deny")
    assert set(made.deny) == {"write(**/.git/**)", "write(**/.godwit/**)", "write(**/.mcp.json)"}
    made = held(own(deny=("bash(rm:*)",)), flags, guarded).permissions
    assert (made.allow, made.ask, made.deny) == ((), ASKED_BY_DEFAULT, ("bash(rm:*)",))
    made = held(own(allow=("*",)), flags, guarded).permissions
    assert made.allow == ()
    assert made.ask == ("*", *ASKED_BY_DEFAULT)


def test_the_flags_add_to_the_agent_and_may_allow() -> None:
    flags = AgentFlags(ask=("write(docs/**)",), deny=("edit",), allow=("bash",))
    made = held(own(allow=("write", "bash(git:*)"), default="deny"), flags.permissions(), ASKED_BY_DEFAULT[1:]).permissions
    assert (made.allow, made.ask, made.deny) == (("bash(git:*)",), ("write",), ("edit",))
    named = AgentFlags(max_turns=3, thinking="low").named(BUILTIN_AGENTS["review"], MODEL)
    assert (named.models, named.limits.max_turns, named.settings.thinking) == ((MODEL,), 3, "low")
    assert base_of_name(named) == "review"
    with pytest.raises(CliError, match="--agent review says what --tools would say"):
        AgentFlags(tools="files").named(BUILTIN_AGENTS["review"], MODEL)


def base_of_name(spec: AgentSpec) -> str:
    return base_of(AgentRef(spec.name, 1)).name


async def test_a_chat_follows_the_agents_of_the_folder(command: Command, tmp_path: Path) -> None:
    end = {"id": "a", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    delta = {"index": 0, "delta": {"role": "assistant", "content": "Yes."}, "finish_reason": None}
    events = [{**end, "choices": [one]} for one in (delta, {**delta, "delta": {}, "finish_reason": "stop"})]
    async with Loopback(otherwise=lambda _: Reply.sse(events, done=True)) as server:
        trust = {"GODWIT_TRUST": str(tmp_path / "trusted.json")}
        await follow(command, **trust, OPENAI_BASE_URL=f"{server.url}/v1", GODWIT_MODEL="openai-chat:m")


async def follow(command: Command, **env: str) -> None:
    folder = command.folder / ".godwit" / "agents"
    folder.mkdir(parents=True)
    chat = await command.start("chat", "--trust", stdin=asyncio.subprocess.PIPE, **env)
    assert chat.stdin is not None

    async def say(text: str, runs: int) -> dict[str, str]:
        """The agents that the session's run may hand tasks to."""
        chat.stdin.write(f"{text}\n".encode())  # type: ignore[union-attr]
        await command.until("run.finished", count=runs)
        async with command.session() as watching:
            ref = (await watching.state()).agent
            assert ref is not None
            _, spec = await watching._store.get_agent(ref.name, ref.version)
        assert base_of(ref).name == "coder"
        return {name: one.instructions for name, one in spec.subagent_specs.items()}

    assert await say("Go.", 1) == {}
    (folder / "poet.md").write_text(POET)
    (folder / "bad.md").write_text("---\nname: [\n---\n")
    assert await say("More.", 2) == {"poet": "You write one line."}
    (folder / "poet.md").write_text(POET.replace("one line", "two lines"))
    assert await say("Still more.", 3) == {"poet": "You write two lines."}
    (folder / "poet.md").unlink()
    assert await say("Enough.", 4) == {}
    chat.stdin.close()
    ended = await finish(chat)
    assert ended.code == 0, ended.err
    assert ended.out.count("agents of files changed: poet") == 3
    # A session that is gone on with learns of them as well.
    (folder / "poet.md").write_text(POET)
    went_on = await command.run("run", "--continue", "Go.", **env)
    assert "agents of files changed: poet" in went_on.out
