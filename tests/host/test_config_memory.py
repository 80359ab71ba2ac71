"""[memory] and [mcp] of configuration files: what agents do with memory, where it is, who makes its vectors, and how MCP
servers are connected to."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.host.test_config import Files
from tests.parts.web_site import page, site

import godwit
from godwit.core.agent import AgentSpec
from godwit.core.errors import ConfigurationError
from godwit.core.events import MemoryRecalled, ToolFinished
from godwit.core.memory import MemoryPolicy, PrunePolicy
from godwit.host.runtime import Runtime
from godwit.models.script import ScriptedModel, call

MODEL = "scripted:test"


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


def spec(**options: Any) -> AgentSpec:
    return godwit.Agent("clerk", model=MODEL, **options).spec


def held(files: Files, text: str, agent: AgentSpec) -> AgentSpec:
    return files.load(text).terms.held(agent)


def test_what_a_file_says_takes_the_place_of_what_the_agent_says(files: Files) -> None:
    own = MemoryPolicy(max_items=9, record=("success",), scope="project")
    text = "[memory]\nmax_items = 2\nscopes = ['user']\nprune = { max_age_days = 3 }\n"
    assert held(files, text, spec(memory=own)).memory == MemoryPolicy(
        max_items=2, scopes=("user",), record=("success",), scope="project", prune=PrunePolicy(3)
    )
    assert held(files, text, spec()).memory == MemoryPolicy(
        recall=False, max_items=2, scopes=("user",), prune=PrunePolicy(3)
    ), "an agent that says nothing of memory recalls nothing"
    assert held(files, "[memory]\nrecall = true\n", spec()).memory == MemoryPolicy()
    assert held(files, "[memory]\nwrites = ['tenant']\n", spec(memory=True)).memory == MemoryPolicy(
        writes=("tenant",), scope="tenant"
    )
    assert held(files, "[memory]\nscope = 'tenant'\n", spec(memory=True)).memory == MemoryPolicy(
        writes=("user", "project", "tenant"), scope="tenant"
    )
    assert held(files, "", spec(memory=own)).memory == own


def test_memory_that_is_turned_off_is_nobodys(files: Files) -> None:
    off = held(files, "[memory]\nenabled = false\nrecall = true\n", spec(memory=True, tools=["files", "memory", "recall"]))
    assert (off.memory, off.tools) == (None, ("files",))


def test_a_folder_may_only_turn_it_off(files: Files) -> None:
    config = files.load("[memory]\nrecall = true\n", "[memory]\nrecall = false\nmax_items = 50\nfile = '/tmp/x.db'\n")
    assert (config.memory.recall, config.memory.max_items, config.memory.file) == (False, None, None)
    assert [(notice.line, notice.text.partition(" ")[0]) for notice in config.notices] == [(3, "max_items"), (4, "file")]
    config = files.load(f"trusted = ['{files.workspace}']\n", "[memory]\nmax_items = 50\n[mcp]\nwait_s = 1\n")
    assert config.memory.max_items == 50
    assert config.mcp is not None
    assert files.load(None, "[mcp]\nwait_s = 1\n").mcp is None


@pytest.mark.parametrize(
    ("text", "line", "what"),
    [
        ("[memory]\nmax_items = 0\n", 2, "max_items=0 must be at least 1"),
        ("[memory]\nscopes = ['everybody']\n", 2, "scopes: invalid enum value 'everybody'"),
        ("[memory]\nwrites = ['user']\nscope = 'tenant'\n", 3, "none of those it writes to"),
        ("[memory]\nembedder = 'small'\n", 2, "has to be provider:model"),
        ("[memory]\nfile = 'm.db'\n", 2, "not absolute"),
        ("[memory.prune]\nmin_importance = 5\n", 1, "must be from 0 to 1"),
        ("[mcp]\n\nidle_s = 0\n", 3, "idle_s=0.0 must be more than 0"),
        ("[mcp]\nreach = ['http://a']\n", 2, "neither a host name"),
        ("[mcp.tokens]\na = 'hunter2'\n", 1, "a token is never in a file"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(files: Files, text: str, line: int, what: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        files.load(text)
    assert str(caught.value).startswith(f"{files.user}:{line}: ")
    assert what in str(caught.value)
    assert "hunter2" not in str(caught.value)


async def test_a_session_is_held_to_it_from_its_next_run_on(files: Files) -> None:
    model = ScriptedModel(["One.", "Two.", call("remember", content="x"), "Three."])
    config = files.load("[memory]\nrecall = true\n")
    async with await Runtime.open(":memory:", models={MODEL: model}, config=lambda _: config) as runtime:
        agent = godwit.Agent("clerk", model=MODEL, tools=["memory"], permissions={"remember": "allow"})
        session = await runtime.start_session(agent, workspace=files.workspace)
        await session.memory.remember("The boat is called Godwit")
        await session.send("What is the boat called?")
        assert [e for e in await session.events() if isinstance(e.data, MemoryRecalled)]
        config = files.load("[memory]\nenabled = false\n")
        seen = (await session.state()).seq
        await session.send("And the boat?")
        later = await session.events(seen)
        assert not [e for e in later if isinstance(e.data, MemoryRecalled)]
        assert model.requests[1].tools == ()
        await session.send("Remember x.")
        (finished,) = [e.data for e in await session.events(seen) if isinstance(e.data, ToolFinished)]
        assert finished.status == "error"
    assert [tool.name for tool in model.requests[0].tools] == ["remember", "recall", "forget"]


async def test_a_process_has_its_memories_where_the_file_says(files: Files, tmp_path: Path) -> None:
    place = tmp_path / "memories.db"
    config = files.load(f"[memory]\nfile = '{place}'\n[mcp]\nmax_connections = 3\nconnect_s = 2\n")
    async with await Runtime.open(":memory:", models={}, config=config) as runtime:
        await runtime.memory.remember("kept elsewhere")
        assert (runtime.mcp.settings.max_connections, runtime.mcp.settings.connect_s) == (3, 2)
    async with await Runtime.open(place, models={}) as runtime:
        assert [one.content for one in await runtime.memory.recent()] == ["kept elsewhere"]
    async with await Runtime.open(":memory:", config=files.load("[memory]\nenabled = false\n")) as runtime:
        assert not runtime.memory.available


async def test_a_provider_makes_the_vectors(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OURS_KEY", "k-123")
    async with site() as here:
        here.answers["/v1/embeddings"] = vectors
        text = f"[memory]\nembedder = 'ours:small'\n[providers.ours]\nbase_url = '{here.url('/v1')}'\nkey_env = 'OURS_KEY'\n"
        async with await Runtime.open(":memory:", config=files.load(text)) as runtime:
            await runtime.memory.remember("my automobile is red")
            await runtime.memory.remember("bread is in the pantry")
            (found, *_) = await runtime.memory.search("car")
        assert found.memory.content == "my automobile is red"
        assert {request.headers["authorization"] for request in here.requests} == {"Bearer k-123"}
        assert {json.loads(request.body)["model"] for request in here.requests} == {"small"}


async def vectors(request: Any, _: Any, writer: Any) -> None:
    """Answers as OpenAI's endpoint does: one direction for cars, another for everything else."""
    texts = json.loads(request.body)["input"]
    told = [[1.0, 0.0] if "car" in text or "automobile" in text else [0.0, 1.0] for text in texts]
    data = [{"object": "embedding", "index": at, "embedding": one} for at, one in enumerate(told)]
    answer = {"object": "list", "model": "small", "data": data, "usage": {"prompt_tokens": 1, "total_tokens": 1}}
    writer.write(page(json.dumps(answer), "application/json"))
    await writer.drain()
