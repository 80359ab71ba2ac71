"""Promises about who waits and watches: every event once, in order, and deltas beside them."""

from __future__ import annotations

import asyncio
from typing import Any

from ...contracts import Appended
from ...core.errors import HeadMoved, SessionBusy, SessionPaused as SessionPausedError, StaleEpoch
from ...core.events import (
    AgentMessage,
    Delta,
    Event,
    InputDelivered,
    RunFinished,
    RunStarted,
    SessionConfigured,
    SessionPaused,
    SessionResumed,
    ToolFinished,
)
from ...core.ids import CallId, InputId, MessageId, RunId, SessionId
from ...core.messages import Assistant, Text
from ..words import RUN, S, drafts, drive, folded, message, new_session, prompt, refused, seqs, within
from .suite import StoreSuite


class Followers(StoreSuite):
    """Waiting for events, deltas between them, and a second store that wakes."""

    async def test_wait_returns_the_head(self) -> None:
        async with self.opened() as store:
            await new_session(store)
            assert await within(store.wait(S, 0)) == 1
            assert await within(store.wait(S, 1, 0.01)) == 1
            assert await within(store.wait(S, 1, 0)) == 1
            assert await within(store.wait(S, 7, 0.01)) == 1
            waiting = asyncio.create_task(store.wait(S, 1))
            late = asyncio.create_task(store.wait(S, 2))
            given_up = asyncio.create_task(store.wait(S, 1))
            await asyncio.sleep(0)
            given_up.cancel()
            await store.append(S, drafts(SessionPaused()))
            assert await within(waiting) == 2
            await store.append(S, drafts(SessionResumed(), SessionPaused()))
            assert await within(late) == 4
            await asyncio.gather(given_up, return_exceptions=True)
            assert given_up.cancelled()

    async def test_followers_see_every_event_once_in_order(self) -> None:
        last = 200
        async with self.opened() as store:
            await new_session(store)

            async def follow(begin: int, by: int) -> list[Event]:
                seen: list[Event] = []
                cursor = begin
                while cursor < last:
                    events = await store.read(S, cursor, limit=by)
                    if not events:
                        await store.wait(S, cursor)
                    seen += events
                    cursor = seen[-1].seq if seen else cursor
                return seen

            followers = [asyncio.create_task(follow(n % 5, 1 + n * 7)) for n in range(20)]
            for number in range(2, last + 1):
                await store.append(S, drafts(SessionConfigured(name=str(number))))
            whole = await store.read(S)
            for number, seen in enumerate(await within(asyncio.gather(*followers))):
                assert seen == whole[number % 5 :]
            assert [e.data for e in whole[1:]] == [SessionConfigured(name=str(n)) for n in range(2, last + 1)]

    async def test_deltas_reach_watchers_at_once(self) -> None:
        async with self.opened() as store:
            await new_session(store)
            seen: list[Delta] = []
            store.publish(Delta(S, "progress", "call-0", text="nobody looks"))
            end = store.watch(S, seen.append)
            sent = [
                Delta(S, "text", "m", 0, "Hel"),
                Delta(S, "text", "m", 3, "lo"),
                Delta(S, "thinking", "m", 0, "hm", 1),
                Delta(S, "tool_output", "c", 0, "out", name="bash"),
                Delta(S, "progress", "c", text="half"),
                Delta(S, "discard", "m"),
            ]
            for delta in sent:
                store.publish(delta)
            store.publish(Delta(SessionId("other"), "text", "m", 0, "elsewhere"))
            assert seen == sent
            end()
            end()
            store.publish(sent[0])
            assert seen == sent

    async def test_who_joins_late_gets_the_text_so_far(self) -> None:
        async with self.opened() as store:
            await new_session(store)
            for delta in (
                Delta(S, "text", "m", 0, "Hel", after=4),
                Delta(S, "text", "m", 3, "lo", after=4),
                Delta(S, "tool_arguments", "m", 0, "{", 1, "bash", 4),
                Delta(S, "tool_output", "c", 0, "out", name="bash"),
                Delta(S, "progress", "c", text="half"),
            ):
                store.publish(delta)
            seen: list[Delta] = []
            end = store.watch(S, seen.append)
            assert {(d.kind, d.id, d.block, d.offset, d.text, d.name, d.after) for d in seen} == {
                ("text", "m", 0, 0, "Hello", None, 4),
                ("tool_arguments", "m", 1, 0, "{", "bash", 4),
                ("tool_output", "c", 0, 0, "out", "bash", 0),
            }
            store.publish(Delta(S, "text", "m", 5, "!"))
            assert seen[3:] == [Delta(S, "text", "m", 5, "!")]
            end()
            store.publish(Delta(S, "discard", "m"))
            seen.clear()
            store.watch(S, seen.append)()
            assert [d.kind for d in seen] == ["tool_output"]

    async def test_what_is_stored_is_not_shown_again(self) -> None:
        async with self.opened() as store:
            await new_session(store)
            await prompt(store)
            lease = await drive(store)
            for delta in (Delta(S, "text", "m", 0, "Hello"), Delta(S, "thinking", "m", 0, "hm", 1)):
                store.publish(delta)
            for call in ("a", "b"):
                store.publish(Delta(S, "tool_output", call, 0, "out"))
            answer = AgentMessage(Assistant(MessageId("m"), (Text("Hello"),)))
            await store.append(S, drafts(answer, ToolFinished(CallId("a"), "bash", "ok")), epoch=lease.epoch)
            seen: list[Delta] = []
            store.watch(S, seen.append)()
            assert seen == [Delta(S, "tool_output", "b", 0, "out")]

    async def test_a_broken_watcher_harms_nobody(self) -> None:
        async with self.opened() as store:
            await new_session(store)
            faults: list[dict[str, Any]] = []
            asyncio.get_running_loop().set_exception_handler(lambda _, context: faults.append(context))
            seen: list[Delta] = []

            def fail(delta: Delta) -> None:
                raise RuntimeError(f"cannot show {delta}")

            store.watch(S, fail)
            store.watch(S, seen.append)
            store.publish(Delta(S, "text", "m", 0, "x"))
            assert seen == [Delta(S, "text", "m", 0, "x")]
            assert len(faults) == 1

    async def test_a_second_store_sees_and_wakes(self) -> None:
        async with self.opened() as one:
            two = await self.make_second(one)
            if two is None:
                return
            try:
                await new_session(one)
                assert await within(two.wait(S, 0)) == 1
                waiting = asyncio.create_task(two.wait(S, 1))
                await asyncio.sleep(0)
                await prompt(one)
                assert await within(waiting) == 3
                assert seqs(await two.read(S)) == [1, 2, 3]
                # Each has checked appends of the session before, and must notice the other's.
                lease = await drive(two)
                await refused(StaleEpoch, one.append(S, drafts(InputDelivered(InputId("input-1"))), epoch=lease.epoch + 1))
                await refused(SessionBusy, one.append(S, drafts(message(2))))
                await two.append(
                    S, drafts(InputDelivered(InputId("input-1")), RunFinished(RUN, "done"), run=RUN), epoch=lease.epoch
                )
                assert await one.append(S, drafts(message(2), RunStarted(RunId("run-2")))) == Appended(7, 8)
                await refused(HeadMoved, two.append(S, drafts(SessionPaused()), expect=6))
                assert await two.append(S, drafts(SessionPaused()), expect=8) == Appended(9, 9)
                await refused(SessionPausedError, one.append(S, drafts(SessionPaused())))
                assert folded(await one.read(S)).seq == 9
            finally:
                await two.close()
