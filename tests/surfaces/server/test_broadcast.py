"""A broadcast: the same bytes for all, nothing kept for the slow, nothing lost and nothing twice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from godwit.core.errors import GodwitError, StoreLocked
from godwit.core.ids import Seq
from godwit.surfaces.server import broadcast
from godwit.surfaces.server.broadcast import Broadcast, Frame, Piece, Place
from tests.patience import PATIENCE_S

BEHIND = 1 << 31


class Log:
    """A feed whose log grows when it is told to. `read`: how many frames were read from it for who had fallen behind."""

    def __init__(self) -> None:
        self.frames: list[Frame] = []
        self.shown: dict[str, bytes] = {}
        self.read = 0
        self._coming: asyncio.Queue[Frame | None] = asyncio.Queue()

    def say(self, data: str) -> None:
        frame = Frame((Seq(len(self.frames) + 1), 0), data.encode())
        self.frames.append(frame)
        self._coming.put_nowait(frame)

    def show(self, of: str, data: str, *, first: bool = False, topic: str = "text") -> None:
        self.shown[of] = (b"" if first else self.shown[of]) + data.encode()
        place: Place = (Seq(len(self.frames)), 0)
        self._coming.put_nowait(Frame(place, data.encode(), Piece(topic, of, first)))

    def end(self) -> None:
        self._coming.put_nowait(None)

    async def stored(self, after: Place) -> AsyncIterator[Frame]:
        for frame in list(self.frames):
            if frame.place > after:
                self.read += 1
                yield frame
                await asyncio.sleep(0)

    async def live(self, after: Place) -> AsyncIterator[Frame]:
        while (frame := await self._coming.get()) is not None:
            if frame.piece is not None or frame.place > after:
                yield frame

    def so_far(self, piece: Piece) -> bytes | None:
        return self.shown.get(piece.of)


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not holds():  # noqa: ASYNC110
            await asyncio.sleep(0)


async def test_all_get_the_same_and_who_comes_later_what_they_ask_for() -> None:
    log, heard = Log(), dict[str, bytes]()
    one = Broadcast(log, (Seq(0), BEHIND))

    async def follow(name: str, after: Place) -> None:
        heard[name] = b""
        async for chunk in one.follow(after):
            heard[name] += chunk

    first = asyncio.ensure_future(follow("first", (Seq(0), BEHIND)))
    for word in "abc":
        log.say(word)
    await until(lambda: heard.get("first") == b"abc")
    rest = [asyncio.ensure_future(follow("most", (Seq(1), 0))), asyncio.ensure_future(follow("now", (Seq(3), BEHIND)))]
    await until(lambda: heard.get("most") == b"bc")
    log.say("d")
    log.end()
    await asyncio.gather(first, *rest)
    assert heard == {"first": b"abcd", "most": b"bcd", "now": b"d"}
    assert log.read == 0, "what the ring holds is read by nobody"
    assert one.ended


async def test_a_slow_follower_reads_from_the_log_and_keeps_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(broadcast, "RING_FRAMES", 8)
    log, heard, slow = Log(), list[bytes](), list[bytes]()
    one = Broadcast(log, (Seq(0), BEHIND))

    async def follow() -> None:
        async for chunk in one.follow((Seq(0), BEHIND)):
            heard.append(chunk)

    fast = asyncio.ensure_future(follow())
    sluggish = one.follow((Seq(0), BEHIND))
    log.say("0,")
    slow.append(await anext(sluggish))
    for number in range(1, 100):
        log.say(f"{number},")
        await until(lambda: b"".join(heard).endswith(log.frames[-1].data))
    assert len(one._ring) == 8
    log.end()
    async for chunk in sluggish:
        slow.append(chunk)
    await fast
    assert b"".join(slow) == b"".join(heard) == b"".join(f.data for f in log.frames)
    assert 0 < log.read < 100


async def test_pieces_reach_those_who_asked_from_their_beginning() -> None:
    log = Log()
    one = Broadcast(log, (Seq(0), BEHIND))
    heard: dict[str, bytes] = {}

    async def follow(name: str, *topics: str) -> None:
        heard[name] = b""
        async for chunk in one.follow((Seq(0), BEHIND), topics):
            heard[name] += chunk

    tasks = [asyncio.ensure_future(follow("rich", "text")), asyncio.ensure_future(follow("plain"))]
    log.show("m", "<", first=True)
    log.show("m", "x")
    log.show("t", "?", first=True, topic="thinking")
    await until(lambda: heard.get("rich") == b"<x")
    tasks.append(asyncio.ensure_future(follow("late", "text")))
    await asyncio.sleep(0)
    log.show("m", "y")
    log.show("m", "z")
    await until(lambda: heard.get("late") == b"<xyz")
    del log.shown["m"]
    log.say("!")
    log.show("n", "<", first=True)
    log.end()
    await asyncio.gather(*tasks)
    assert heard == {"rich": b"<xyz!<", "plain": b"!", "late": b"<xyz!<"}


async def test_who_falls_behind_within_a_message_is_not_shown_its_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(broadcast, "RING_FRAMES", 4)
    log = Log()
    one = Broadcast(log, (Seq(0), BEHIND))
    sluggish = one.follow((Seq(0), BEHIND), ["text"])
    reading = asyncio.ensure_future(anext(sluggish))
    await asyncio.sleep(0)
    log.show("m", "<", first=True)
    assert await reading == b"<"
    for _ in range(10):
        log.show("m", "x")
    log.say("!")
    log.show("n", "[", first=True)
    log.show("n", "y")
    log.end()
    await until(lambda: one.ended)
    assert b"".join([chunk async for chunk in sluggish]) == b"![y"


async def test_it_reads_while_somebody_follows_and_no_longer() -> None:
    log, over = Log(), list[bool]()
    one = Broadcast(log, (Seq(0), BEHIND), lambda: over.append(True))
    following = one.follow((Seq(0), BEHIND))
    log.say("a")
    assert await anext(following) == b"a"
    assert (one.followers, over) == (1, [])
    await following.aclose()  # type: ignore[attr-defined]
    assert one.followers == 0
    assert one.ended
    assert over


async def test_a_thousand_followers_share_each_frame() -> None:
    log, count = Log(), 1000
    one = Broadcast(log, (Seq(0), BEHIND))
    last: list[bytes] = []

    async def follow() -> None:
        async for chunk in one.follow((Seq(0), BEHIND)):
            last.append(chunk)

    tasks = [asyncio.ensure_future(follow()) for _ in range(count)]
    await until(lambda: one.followers == count)
    log.say("once")
    await until(lambda: len(last) == count)
    assert len({id(chunk) for chunk in last}) == 1, "the very same bytes"
    log.end()
    await asyncio.gather(*tasks)


@pytest.mark.parametrize("fault", [StoreLocked("the disk is busy"), RuntimeError("a secret of the inside")])
async def test_a_reader_that_breaks_off_is_no_end_of_the_session(fault: Exception) -> None:
    """Who follows would take an end for the session's, and not connect again."""

    class Broken(Log):
        async def live(self, after: Place) -> AsyncIterator[Frame]:
            async for frame in super().live(after):
                yield frame
            raise fault

    log = Broken()
    one = Broadcast(log, (Seq(0), BEHIND))
    both = [one.follow((Seq(0), BEHIND)) for _ in range(2)]
    log.say("a")
    assert [await anext(following) for following in both] == [b"a", b"a"]
    log.end()
    for following in both:
        with pytest.raises(GodwitError) as caught:
            await anext(following)
        assert "secret" not in caught.value.message
    assert one.followers == 0
