"""What a session remembers beyond itself: kept, found, forgotten, by its host and by its model."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

import godwit
from godwit.contracts import MemoryStore
from godwit.core.errors import ConfigurationError, InvalidArgument, LooksLikeSecret, MemoryNotFound, MemoryUnavailable
from godwit.core.events import Labels
from godwit.core.ids import SequentialIds
from godwit.core.key_shapes import LEFT_OUT, looks_like_key, without_keys
from godwit.core.memory import MemoryPolicy, MemoryReach, PrunePolicy
from godwit.core.messages import ToolResult, text_of
from godwit.core.narrowing import narrowed
from godwit.engine.memory import MemoryAccess, ReachedMemories
from godwit.models.script import call
from godwit.stores.sqlite import SqliteStore

from .conftest import MODEL, Bench, within

KEY = "sk-" + "ant-" + "api03-" + "x9Qz" * 8


class Meaning:
    """An embedder for which words of one row mean the same."""

    ROWS = (("car", "automobile", "vehicle"), ("bread", "loaf", "bakery"), ("boat", "ship", "vessel"))

    def __init__(self, name: str = "meaning-1") -> None:
        self.name = name
        self.asked: list[list[str]] = []
        self.fails = False

    async def embed(self, texts: Sequence[str]) -> Sequence[Sequence[float]]:
        if self.fails:
            raise ConnectionError("the service is away")
        self.asked.append(list(texts))
        return [[float(any(word in text.lower() for word in row)) for row in self.ROWS] for text in texts]


async def test_what_is_remembered_outlives_session_and_process(bench: Bench) -> None:
    session = await bench.start(["ok"])
    assert session.init_warning is None
    kept = await session.memory.remember("The tests run with just test", kind="procedural", tags=["tests"], importance=0.8)
    assert (kept.session, kept.place.scope) == (session.id, "user")
    await session.memory.remember("The folder is a boat yard", scope="project")
    await bench.close()
    other = await bench.start(["ok"])
    memory = other.memory
    assert await memory.get(kept.id) == kept
    assert [f.memory.id for f in await memory.search("how do I run the TESTS here, please?")] == [kept.id]
    assert (await memory.get(kept.id)).access_count == 1
    assert [m.id for m in await memory.search_by_tags(["tests", "none"])] == [kept.id]
    assert [m.id for m in await memory.important(0.8)] == [kept.id]
    assert len(await memory.recent()) == 2
    assert (await memory.stats()).scopes == {"user": 1, "project": 1}
    assert await memory.prune(PrunePolicy(max_items=0), scopes=["project"]) == 1
    assert await memory.forget(kept.id)
    assert not await memory.forget(kept.id)
    with pytest.raises(MemoryNotFound):
        await memory.get(kept.id)
    await memory.remember("x")
    assert await memory.clear("user") == 1


async def test_the_same_key_is_the_same_memory(bench: Bench) -> None:
    memory = (await bench.start(["ok"])).memory
    first = await memory.remember("one", key="k")
    again = await memory.remember("one, put otherwise", key="k")
    assert (again.id, again.created_ms) == (first.id, first.created_ms)
    assert (await memory.stats()).total == 1


async def test_nobody_is_told_what_another_remembers(bench: Bench) -> None:
    runtime = await bench.runtime(["ok"])
    agent = godwit.Agent("tester", model=MODEL)

    async def memory(tenant: str | None, user: str | None, folder: Path = bench.workspace) -> ReachedMemories:
        labels = Labels(tenant=tenant, principal=user)
        return (await runtime.start_session(agent, workspace=folder, labels=labels)).memory

    ann = await memory("acme", "ann")
    mine = await ann.remember("The vault is behind the mirror")
    ours = await ann.remember("The yard opens at six", scope="project")
    all_of_us = await ann.remember("The company was founded in 1901", scope="tenant")
    elsewhere = bench.workspace / "elsewhere"
    elsewhere.mkdir()
    for other, sees in (
        (await memory("acme", "bob"), {ours.id, all_of_us.id}),
        (await memory("acme", None), {ours.id, all_of_us.id}),
        (await memory("acme", "ann", elsewhere), {mine.id, all_of_us.id}),
        (await memory("rival", "ann"), set()),
        (await memory(None, "ann"), set()),
        (runtime.memory.of(tenant="rival", user="ann", project=str(bench.workspace)), set()),
    ):
        assert {m.id for m in await other.recent(100)} == sees
        assert {f.memory.id for f in await other.search("vault yard company founded mirror")} == sees
        if mine.id not in sees:
            with pytest.raises(MemoryNotFound):
                await other.get(mine.id)
            assert not await other.forget(mine.id)
            taken = await other.remember("mine now", id=mine.id)
            assert (await ann.get(mine.id)).content == "The vault is behind the mirror"
            assert await other.forget(taken.id)
    assert {m.id for m in await ann.recent()} == {mine.id, ours.id, all_of_us.id}


@pytest.mark.parametrize(
    "text",
    [
        f"use {KEY}",
        "ghp_16C7e42F292c6912E7710c838347Ae178B4a",
        "AKIAIOSFODNN7EXAMPLE",
        "the password is hunter2!",
        "API_KEY=a8f5f167f44f4964e6c998dee827110c",
        '"token": "abc-123-def"',
        "postgres://ann:s3cret@db/yard",
        "Authorization: Bearer abcdefghijklmnop1234567890",
        "-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----",
    ],
)
async def test_what_looks_like_a_key_is_not_kept(bench: Bench, text: str) -> None:
    memory = (await bench.start(["ok"])).memory
    with pytest.raises(LooksLikeSecret) as refused:
        await memory.remember(f"Remember: {text}")
    assert text[-8:] not in str(refused.value)
    with pytest.raises(LooksLikeSecret):
        await memory.remember("harmless", metadata={"note": text})
    kept = await memory.remember_failure(f"deploy with {text}", "it failed")
    assert LEFT_OUT in kept.content
    assert not looks_like_key(kept.content)


@pytest.mark.parametrize(
    "text",
    [
        "The password is kept in the vault of the office",
        "Tokens are counted by the provider; a token is about 4 characters",
        "The secret: be kind",
        "see https://example.com/a:b@c",
        "commit 3f2a9b8c7d6e5f4a3b2c1d0e9f8a7b6c5d4e3f2a",
    ],
)
def test_plain_words_are_no_key(text: str) -> None:
    assert not looks_like_key(text)
    assert without_keys(text) == text


async def test_a_model_remembers_recalls_and_forgets(bench: Bench) -> None:
    session = await bench.start(
        [
            call("remember", content="Ann drinks oolong", tags=["tea"], importance=0.9),
            "Kept.",
            call("recall", query="which tea does she drink"),
            "Oolong.",
        ],
        "memory",
        permissions={"remember": "allow", "recall": "allow", "forget": "ask"},
    )
    await within(session.send("I drink oolong."))
    (kept,) = await session.memory.recent()
    assert (kept.content, kept.tags, kept.kind, kept.session) == ("Ann drinks oolong", ("tea",), "semantic", session.id)
    await within(session.send("Which tea?"))
    results = [text_of(m.content) for m in await session.history() if isinstance(m, ToolResult)]
    assert f"[{kept.id}, semantic, user," in results[-1]
    done = await session.tool("forget", {"memory": kept.id})
    assert done.ok
    assert (await session.memory.stats()).total == 0


async def test_rules_of_permission_name_scopes_and_ids(bench: Bench) -> None:
    session = await bench.start(
        [call("remember", content="for all", scope="project"), call("remember", content="mine"), "ok"],
        "memory",
        permissions=godwit.Permissions(allow=("remember",), deny=("remember(project)",)),
    )
    await within(session.send("Keep both."))
    statuses = [e.data.status for e in await session.events() if e.type == "tool.finished"]  # type: ignore[union-attr]
    assert statuses == ["denied", "ok"]
    assert [m.content for m in await session.memory.recent()] == ["mine"]


async def test_a_model_writes_only_where_its_agent_may(bench: Bench) -> None:
    session = await bench.start(
        [call("remember", content="for the whole company", scope="tenant"), call("forget", memory="m"), "ok"],
        "memory",
        permissions={"*": "allow"},
    )
    await session.memory.remember("the company's", scope="tenant", id="m")
    await within(session.send("Tell everybody."))
    first, second = [e.data for e in await session.events() if e.type == "tool.finished"]
    assert first.status == "error"  # type: ignore[union-attr]
    assert second.metadata.get("forgotten") is False, second  # type: ignore[union-attr]
    assert [m.id for m in await session.memory.recent()] == ["m"]


def test_a_child_writes_nowhere_that_its_parent_does_not() -> None:
    def writes(child: MemoryPolicy | None, parent: MemoryPolicy | None) -> tuple[str, ...]:
        below = godwit.Agent("child", model=MODEL, memory=child).spec
        above = godwit.Agent("parent", model=MODEL, memory=parent).spec
        return (narrowed(below, above, home="/").memory or MemoryPolicy()).writes

    wide = MemoryPolicy(writes=("user", "project", "tenant"))
    assert writes(wide, None) == ("user", "project")
    assert writes(None, MemoryPolicy(writes=("user",))) == ("user",)
    assert writes(wide, wide) == ("user", "project", "tenant")
    assert writes(None, MemoryPolicy(writes=())) == ()


async def test_vectors_find_other_words_and_a_failing_embedder_costs_nothing_else(bench: Bench) -> None:
    embedder = Meaning()
    runtime = await bench.runtime(["ok"], embedder=embedder)
    session = await bench.start(["ok"], runtime=runtime)
    car = await session.memory.remember("The automobile is green")
    await session.memory.remember("A loaf is two euros")
    assert [f.memory.id for f in await session.memory.search("vehicle")] == [car.id]
    embedder.fails = True
    assert await session.memory.search("vehicle") == []
    late = await session.memory.remember("This vessel leaks")
    assert [f.memory.id for f in await session.memory.search("automobile")] == [car.id]
    embedder.fails = False
    # What has no vector yet gets one when somebody searches.
    assert [f.memory.id for f in await session.memory.search("ship")] == [late.id]
    await bench.close()
    # Another model: its vectors are made anew, and never compared with the old ones.
    other = Meaning("meaning-2")
    again = await bench.start(["ok"], runtime=await bench.runtime(["ok"], embedder=other))
    assert [f.memory.id for f in await again.memory.search("vehicle")] == [car.id]
    assert sorted(other.asked[0]) == sorted(
        ["vehicle", "The automobile is green", "A loaf is two euros", "This vessel leaks"]
    )


async def test_memory_that_cannot_be_opened_is_a_warning(bench: Bench, tmp_path: Path) -> None:
    runtime = await bench.runtime(["ok", "ok"], memory=tmp_path / "missing" / "memory.db")
    session = await bench.start([], runtime=runtime, memory=True)
    assert session.init_warning is not None
    assert "missing" in session.init_warning
    assert runtime.init_warning == session.init_warning
    assert not session.memory.available
    assert (await within(session.send("hello"))).outcome == "done"
    (failed,) = [e.data for e in await session.events() if e.type == "memory.failed"]
    assert (failed.what, failed.error.code) == ("recall", "memory_unavailable")  # type: ignore[union-attr]
    with pytest.raises(MemoryUnavailable, match="missing"):
        await session.memory.remember("x")


async def test_memory_in_a_file_of_its_own_and_nowhere(bench: Bench, tmp_path: Path) -> None:
    session = await bench.start(["ok"], runtime=await bench.runtime(["ok"], memory=tmp_path / "memory.db"))
    await session.memory.remember("kept apart")
    await bench.close()
    async with SqliteStore.open(tmp_path / "memory.db") as store:
        assert isinstance(store, MemoryStore)
        memories = ReachedMemories(MemoryAccess(store, ids=SequentialIds()), MemoryReach())
        assert [m.content for m in await memories.recent()] == ["kept apart"]
    without = await bench.start(["ok"], runtime=await bench.runtime(["ok"], memory=False))
    assert (without.init_warning, without.memory.available) == (None, False)


async def test_what_cannot_be_a_memory_is_refused(bench: Bench) -> None:
    runtime = await bench.runtime(["ok"])
    session = await runtime.start_session(godwit.Agent("tester", model=MODEL))
    for wrong in (
        {"content": " "},
        {"content": "x" * 8_001},
        {"content": "x", "importance": 1.5},
        {"content": "x", "kind": "vague"},
        {"content": "x", "scope": "world"},
        {"content": "x", "scope": "project"},
        {"content": "x", "tags": [""]},
        {"content": "x", "metadata": {"m": "x" * 9_000}},
        {"content": "x", "id": ""},
        {"content": "x\ud800"},
        {"content": "x", "tags": ["\udfff"]},
    ):
        with pytest.raises(InvalidArgument):
            await session.memory.remember(**wrong)
    assert (await session.memory.stats()).total == 0


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_items": -1},
        {"max_age_days": -1.0},
        {"working_days": math.inf},
        {"max_age_days": math.nan},
        {"min_importance": 2},
    ],
)
def test_what_cannot_be_a_policy_of_pruning_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        PrunePolicy(**wrong)
