"""A session and all that works for it, followed over HTTP: one stream, one cursor, whatever breaks in between."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import Any

import httpx2
import pytest

import godwit
from godwit.client import connect
from godwit.contracts import SessionHandle
from godwit.core.errors import InvalidArgument
from godwit.core.events import Event
from godwit.models.script import ScriptedModel, call
from tests.engine.conftest import within
from tests.engine.test_tree import check, logs
from tests.patience import PATIENCE_S

from .proxy import cutting
from .remote import RemoteBench


async def begun(bench: RemoteBench) -> SessionHandle:
    """A session with two children at once and one beside."""
    both = [{"agent": "leaf", "prompt": "a"}, {"agent": "leaf", "prompt": "b"}]
    boss: list[Any] = [call("task", tasks=both), call("task", agent="leaf", prompt="c", background=True), *["Heard."] * 4]
    models = {
        "scripted:boss": ScriptedModel(boss, "scripted:boss"),
        "scripted:leaf": ScriptedModel(["Leaf " + "x" * 400], "scripted:leaf"),
    }
    client = await bench.runtime(models=models)
    leaf = godwit.Agent("leaf", model="scripted:leaf")
    made = await bench.hosts[0].start_session(godwit.Agent("boss", model="scripted:boss", subagents=[leaf]))
    session: SessionHandle = await client.open_session(made.id)
    return session


async def take(session: SessionHandle, count: int, cursor: str | None = None) -> tuple[list[Event], str]:
    tree = session.follow_tree(cursor)
    try:
        return [await within(anext(tree)) for _ in range(count)], tree.cursor
    finally:
        await tree.aclose()


@pytest.mark.parametrize("seed", range(3))
async def test_a_tree_is_followed_through_connections_that_are_cut(bench: RemoteBench, seed: int) -> None:
    session = await begun(bench)
    host = bench.hosts[0]
    async with cutting(bench.clients[0].connection.url, seed, longest=12_000) as (url, proxy), connect(url) as client:
        follower = await client.open_session(session.id)
        seen: list[Event] = []

        async def follow() -> None:
            async with aclosing(follower.follow_tree()) as tree:
                async for event in tree:
                    seen.append(event)

        following = asyncio.ensure_future(follow())
        await within(session.send("Go."))
        while await host.store.sessions_with_tasks() or await host.store.open_runs():
            await host.subagents.settle()
            await asyncio.sleep(0.01)
        wanted = await logs(host, session.id)
        while len(seen) < len(wanted):
            await within(asyncio.wait([following], timeout=0.05))
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
        check(seen, wanted)
        assert len({e.session for e in seen}) == 4
        assert proxy.cuts > 2


async def test_it_goes_on_behind_a_cursor_and_ends_with_the_session(bench: RemoteBench) -> None:
    session = await begun(bench)
    host = bench.hosts[0]
    await within(session.send("Go."))
    while await host.store.sessions_with_tasks() or await host.store.open_runs():
        await host.subagents.settle()
        await asyncio.sleep(0.01)
    await host.archive(session.id)
    wanted = await logs(host, session.id)
    first, cursor = await take(session, len(wanted) // 2)
    rest, end = await take(session, len(wanted) - len(first), cursor)
    check([*first, *rest], wanted)
    url = f"{bench.clients[0].connection.url}/godwit/v1/sessions/{session.id}/tree"
    async with httpx2.AsyncClient(timeout=PATIENCE_S) as api:
        whole = (await api.get(url)).text
        assert whole.count("\nid: ") + whole.startswith("id: ") == len(wanted)
        assert whole.endswith("event: end\ndata: {}\n\n")
        for given in ({"headers": {"last-event-id": end}}, {"params": {"cursor": end}}):
            assert (await api.get(url, **given)).text.count("id: ") == 0  # type: ignore[arg-type]
        assert (await api.get(url, params={"cursor": "no"})).status_code == 400
    with pytest.raises(InvalidArgument):
        await take(session, 1, "no")
