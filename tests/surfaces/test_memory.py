"""What is remembered, over HTTP and on the command line: the same as in process, and each caller's own."""

from __future__ import annotations

from pathlib import Path

import pytest

import godwit
from godwit.core.errors import InvalidArgument, LooksLikeSecret, MemoryNotFound, MemoryUnavailable, PermissionDenied
from godwit.core.memory import PrunePolicy
from godwit.host.api_keys import ApiKeys
from godwit.host.runtime import Runtime
from godwit.models.script import ScriptedModel
from godwit.surfaces.api import Api
from godwit.surfaces.server import ServerSettings
from tests.surfaces.server.running import running
from tests.surfaces.terminal import MODEL, Command
from tests.surfaces.test_cli_rewind import run

MODELS = {MODEL: ScriptedModel(["ok"], MODEL, select=lambda _: 0)}


async def test_a_remote_session_remembers_as_one_here(tmp_path: Path) -> None:
    with running(tmp_path / "g.db", models=MODELS, dialects=[Api]) as server:
        async with godwit.connect(server.url) as runtime:
            session = await runtime.start_session(
                godwit.Agent("a", model=MODEL, memory=godwit.MemoryPolicy(max_items=3)), own_workspace=True
            )
            memory = session.memory
            kept = await memory.remember("The boat is blue", tags=["boat"], importance=0.8, kind="semantic", key="k")
            assert await memory.remember("The boat is blue", tags=["boat"], importance=0.8, kind="semantic", key="k") == kept
            assert kept.session == session.id
            await memory.remember("A yard by the sea", scope="project")
            assert (await memory.get(kept.id)).content == "The boat is blue"
            assert [f.memory.id for f in await memory.search("which colour has the boat?")] == [kept.id]
            assert [m.id for m in await memory.search_by_tags(["boat"])] == [kept.id]
            assert [m.id for m in await memory.important(0.8)] == [kept.id]
            assert [m.content for m in await memory.recent(1)] == ["A yard by the sea"]
            assert (await memory.stats()).scopes == {"user": 1, "project": 1}
            good = await memory.remember_success("tie the boat up", ["bash"], "It lies still.")
            assert (good.kind, good.importance, good.tags) == ("procedural", 0.8, ("success", "pattern"))
            assert "It lies still." in good.content
            again = await memory.remember_success("tie the boat up", [], "With two lines.")
            assert (again.id, "With two lines." in again.content) == (good.id, True)
            bad = await memory.remember_failure("tie the boat up", "the rope broke", ["bash"])
            assert (bad.kind, bad.tags, "Tools: bash" in bad.content) == ("episodic", ("failure", "avoid"), True)
            for one in (good, bad):
                assert await memory.forget(one.id)
            # The user's are everywhere, the folder's in the folder.
            assert [m.id for m in await runtime.memory.recent()] == [kept.id]
            assert len(await runtime.memory.of(project=session.workspace).recent()) == 2
            assert (await session.send("the boat?")).outcome == "done"
            (event,) = [e for e in await session.events() if e.type == "memory.recalled"]
            assert kept.id in event.data.text  # type: ignore[union-attr]
            with pytest.raises(LooksLikeSecret):
                await memory.remember("the password is hunter2!")
            with pytest.raises(InvalidArgument):
                runtime.memory.of(user="bob")
            assert await memory.prune(PrunePolicy(max_items=0), scopes=["project"]) == 1
            assert await memory.forget(kept.id)
            assert not await memory.forget(kept.id)
            with pytest.raises(MemoryNotFound):
                await memory.get(kept.id)
            await memory.remember("x")
            assert await memory.clear("user") == 1
        async with await Runtime.open(tmp_path / "local.db") as local:
            assert await local.memory.recent() == []


async def test_each_key_reaches_its_own(tmp_path: Path) -> None:
    keys: dict[str, str] = {}

    async def prepare(runtime: godwit.Runtime) -> None:
        made = ApiKeys(runtime.store, runtime.clock, runtime.ids)
        for name, tenant, scope in (
            ("ann", "acme", "operate"),
            ("bob", "acme", "operate"),
            ("chief", "acme", "admin"),
            ("eve", "rival", "admin"),
        ):
            keys[name] = (await made.create(name, tenant=tenant, scopes=[scope]))[0]

    settings = ServerSettings(keys=True)
    with running(tmp_path / "g.db", models=MODELS, dialects=[Api], settings=settings, prepare=prepare) as server:
        async with (
            godwit.connect(server.url, key=keys["ann"]) as ann,
            godwit.connect(server.url, key=keys["bob"]) as bob,
            godwit.connect(server.url, key=keys["chief"]) as chief,
            godwit.connect(server.url, key=keys["eve"]) as eve,
        ):
            session = await ann.start_session(godwit.Agent("a", model=MODEL), own_workspace=True)
            mine = await session.memory.remember("Ann's own boat")
            ours = await session.memory.remember("The yard's boat", scope="project")
            with pytest.raises(PermissionDenied):
                await session.memory.remember("everybody's boat", scope="tenant")
            theirs = await chief.memory.remember("everybody's boat", scope="tenant")
            with pytest.raises(PermissionDenied):
                await ann.memory.clear("tenant")
            assert not await ann.memory.forget(theirs.id)
            assert {f.memory.id for f in await session.memory.search("boat")} == {mine.id, ours.id, theirs.id}
            # Bob may work in Ann's session, and is not told what she alone keeps.
            seen = await bob.open_session(session.id, drive=False)
            assert {f.memory.id for f in await seen.memory.search("boat")} == {ours.id, theirs.id}
            assert (await seen.memory.stats()).total == 2
            with pytest.raises(MemoryNotFound):
                await seen.memory.get(mine.id)
            with pytest.raises(InvalidArgument):
                await seen.memory.remember("planted", scope="user")
            assert not await seen.memory.forget(mine.id)
            assert [m.id for m in await bob.memory.recent()] == [theirs.id]
            for folder in (None, session.workspace):
                assert list(await eve.memory.of(project=folder).recent()) == []
            assert await eve.memory.clear("tenant") == 0
            assert await ann.memory.get(mine.id) == await session.memory.get(mine.id)


async def test_a_server_without_memory_says_so(tmp_path: Path) -> None:
    with running(tmp_path / "g.db", models=MODELS, dialects=[Api], memory=tmp_path / "no" / "m.db") as server:
        async with godwit.connect(server.url) as runtime:
            status = await runtime.memory.status()
            assert not status.available
            assert "cannot be opened" in (status.warning or "")
            with pytest.raises(MemoryUnavailable):
                await runtime.memory.recent()


async def test_memory_on_the_command_line(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(command.folder)
    command.database.parent.mkdir()
    added = await run(command, "memory", "add", "Tests run with", "just test", "--tag", "tests", "--importance", "0.9")
    assert added.code == 0, added.err
    id_ = added.out.strip()
    assert (await run(command, "memory", "add", "A boat yard", "--scope", "project", "--json")).lines[0]["place"] == {
        "scope": "project",
        "owner": str(command.folder),
    } | {"tenant": None}
    assert id_ in (await run(command, "memory")).out
    assert [one["id"] for one in (await run(command, "memory", "list", "--tag", "tests", "--json")).lines] == [id_]
    (found,) = (await run(command, "memory", "search", "how are the tests run?", "--json")).lines
    assert (found["memory"]["id"], found["score"] > 0) == (id_, True)
    assert (await run(command, "memory", "search", "penguins")).code == 1
    again = await run(command, "memory", "add", "Tests run with make", "--id", id_)
    assert again.out.strip() == id_
    assert (await run(command, "memory", "add", "my api_key is a1b2c3d4e5")).code != 0
    monkeypatch.chdir(command.folder.parent)
    assert "boat" not in (await run(command, "memory")).out
    monkeypatch.chdir(command.folder)
    assert (await run(command, "memory", "prune", "--max-items", "0", "--scope", "project", "--json")).lines == [
        {"deleted": 1}
    ]
    assert (await run(command, "memory", "forget", id_)).code == 0
    assert (await run(command, "memory", "forget", id_)).code == 5
    for wrong in (("search",), ("add",), ("forget",), ("list", "words")):
        assert (await run(command, "memory", *wrong)).code == 2
