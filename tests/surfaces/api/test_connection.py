"""What a client is promised when the connection breaks: it sees each event once, and nothing it sends is done twice."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

import godwit
from godwit.client import connect
from godwit.contracts import SessionHandle
from godwit.core.errors import NoOpenRun, SessionNotFound, Unreachable
from godwit.core.events import Event, RunStarted, UserMessage
from godwit.models.script import ScriptedModel, call, hold, say
from godwit.surfaces.server import ServerSettings
from tests.engine.conftest import MODEL, data, within

from .proxy import cutting
from .remote import RemoteBench, served


@godwit.tool
def note(text: str) -> str:
    """Write a note."""
    return f"noted {text}"


@pytest.mark.parametrize("seed", range(6))
async def test_cut_connections_change_nothing_of_what_is_seen_and_done(bench: RemoteBench, seed: int) -> None:
    script = [step for n in range(4) for step in (call("note", text=str(n)), f"answer {n} " + "x" * 400)]
    direct = await bench.start(script, note)
    async with cutting(bench.clients[0].connection.url, seed) as (url, proxy), connect(url) as client:
        session = await client.open_session(direct.id)
        seen: list[Event] = []
        texts: dict[str, str] = {}

        async def follow() -> None:
            async for event in session.follow():
                seen.append(event)
                if sum(e.type == "run.finished" for e in seen) == 4:
                    return

        async def watch() -> None:
            """Deltas may be lost, but none is shown twice or in another order."""
            ended = 0
            async for item in session.watch(0):
                if isinstance(item, Event):
                    ended += item.type == "run.finished"
                    if ended == 4:
                        return
                elif item.kind == "text":
                    assert item.offset >= len(texts.get(item.id, ""))
                    texts[item.id] = texts.get(item.id, "").ljust(item.offset) + item.text

        following, watching = asyncio.ensure_future(follow()), asyncio.ensure_future(watch())
        for n in range(4):
            result = await within(session.send(f"prompt {n}"))
            assert result.text.startswith(f"answer {n}")
        await within(following)
        await within(watching)
        assert seen == await direct.events()
        assert [m.content[0].text for m in await data(direct, UserMessage)] == [f"prompt {n}" for n in range(4)]
        assert len(await data(direct, RunStarted)) == 4
        assert proxy.cuts > 5


@pytest.mark.parametrize("seed", range(3))
async def test_what_is_done_once_tells_so_however_often_it_was_asked(bench: RemoteBench, seed: int) -> None:
    """Methods that say whether something has changed: asked again on the way, they must not find their own doing."""
    entered, release = asyncio.Event(), asyncio.Event()

    @godwit.tool
    async def gate() -> str:
        """Wait."""
        entered.set()
        await release.wait()
        return "through"

    direct = await bench.start(
        [call("gate"), call("note", text="a"), "done", "later"], gate, note, permissions={"note": "ask"}
    )
    async with cutting(bench.clients[0].connection.url, seed) as (url, _), connect(url) as client:
        session = await client.open_session(direct.id)
        await session.prompt("Go.")
        await within(entered.wait())
        one, two = await session.follow_up("one"), await session.follow_up("two")
        await session.queue.reorder([two, one])
        await session.queue.withdraw(one)
        assert [e.text for e in await session.queue.list()] == ["two"]
        release.set()
        while not (pending := await session.approvals.pending()):
            await direct.recv_event()
        assert await session.approve(pending[0].id) is True
        assert await session.approve(pending[0].id) is False
        assert (await within(session.wait())).text == "later"
        assert await session.pause("lunch") is True
        assert await session.pause() is False
        assert await session.resume() is True
        assert await session.resume() is False
        call_result = await session.tool("note", {"text": "direct"})
        assert call_result.output == "noted direct"
        done = [e for e in await direct.events() if e.type == "tool.started"]
        assert len(done) == 3
        other = await client.start_session("tester")
        assert len([row for row in await client.sessions() if row.id == other.id]) == 1
        assert len(await client.sessions()) == 2
        await client.archive(other.id)
        await client.delete_session(other.id)
        with pytest.raises(SessionNotFound):
            await client.status(other.id)


async def test_a_cancelled_wait_for_an_event_loses_none(bench: RemoteBench) -> None:
    session: SessionHandle = await bench.start(["one", "two"])
    receiver = session.event_rx(0)
    seen: list[Event] = []
    sending = asyncio.ensure_future(session.send("Go."))
    while not seen or seen[-1].type != "run.finished":
        try:
            seen.append(await asyncio.wait_for(anext(receiver), 0.001))
        except TimeoutError:
            continue
    await within(sending)
    assert seen == await session.events()


async def test_the_stream_of_a_run_goes_on_when_the_server_is_another(tmp_path: Path) -> None:
    """The server ends and another one takes its address; the follower sees one log."""
    release, reached = asyncio.Event(), asyncio.Event()
    runtime = await godwit.Runtime.open(
        tmp_path / "g.db", models={MODEL: ScriptedModel([say("half ") + hold(release, reached=reached)], MODEL)}
    )
    seen: list[Event] = []
    async with served(runtime) as url, connect(url) as client:
        port = int(url.rpartition(":")[2])
        session = await client.start_session(godwit.Agent("tester", model=MODEL))
        following = asyncio.ensure_future(_until_finished(session, seen))
        await session.prompt("Go.")
        await within(reached.wait())
    await runtime.close()
    second = await godwit.Runtime.open(tmp_path / "g.db", models={MODEL: ScriptedModel(["?", "whole"], MODEL)})
    second.models.resolve(MODEL)._turns = ["whole"]  # type: ignore[attr-defined]
    async with served(second, ServerSettings(port=port)), connect(f"http://127.0.0.1:{port}") as client:
        session = await client.open_session(session.id)
        again = asyncio.ensure_future(_until_finished(session, []))
        assert (await within(session.wait())).text == "whole"
        await within(again)
        assert (await session.events())[: len(seen)] == seen
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)
    await second.close()


async def _until_finished(session: SessionHandle, seen: list[Event]) -> None:
    async for event in session.follow():
        seen.append(event)
        if event.type == "run.finished":
            return


async def test_a_server_that_is_not_there_is_unreachable() -> None:
    async with connect("http://127.0.0.1:9", patience_s=0.2) as client:
        with pytest.raises(Unreachable, match=r"127\.0\.0\.1:9"):
            await client.sessions()


async def test_errors_are_the_exceptions_they_were(bench: RemoteBench) -> None:
    session = await bench.start(["x"])
    with pytest.raises(NoOpenRun) as refused:
        await session.steer("Too early.")
    assert refused.value.code == "no_open_run"
    with pytest.raises(SessionNotFound) as unknown:
        await bench.clients[0].open_session("ses_unknown")
    assert unknown.value.details == {"session": "ses_unknown"}


async def test_who_comes_in_the_middle_of_an_answer_is_shown_its_beginning(bench: RemoteBench) -> None:
    release, reached = asyncio.Event(), asyncio.Event()
    session = await bench.start([say("half ") + hold(release, reached=reached) + say("an answer")])
    early = asyncio.ensure_future(_texts(session))
    await session.prompt("Go.")
    await within(reached.wait())
    late = [asyncio.ensure_future(_texts(session)) for _ in range(30)]
    gone = session.watch(0)
    await within(anext(gone))
    await gone.aclose()
    for _ in range(3):
        await session.status()  # the latecomers are there by then, or come to the rest as well
    release.set()
    first = await within(early)
    assert "".join(first[1]) == "half an answer"
    for one in late:
        assert (await within(one))[0] == first[0]
        assert "".join(one.result()[1]) in ("half an answer", "")


async def _texts(session: SessionHandle) -> tuple[list[Event], list[str]]:
    """The events to the end of the run, and the texts of the deltas between them."""
    seen: list[Event] = []
    texts: list[str] = []
    async for item in session.watch(0):
        if not isinstance(item, Event):
            texts.append(item.text)
            continue
        seen.append(item)
        if item.type == "run.finished":
            break
    return seen, texts
