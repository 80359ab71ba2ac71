"""Sessions by their ids: what can be done with them through `Runtime` alone, without a handle.

Leaves out how (`desk`). Rule: what stops a session needs none of its tools, and begins nothing.
"""

from __future__ import annotations

from ..core.events import UserAnswer, UserInterrupt, UserMessage
from ..core.gate import Status
from ..core.ids import RunId, Seq, SessionId
from ..engine.receiver import EventReceiver, EventStream, Watch
from .desk import Desk
from .home import RuntimeHome


class SessionsById(RuntimeHome):
    """What a runtime does with sessions for those who know only their ids (seed 003)."""

    desk: Desk

    async def send_event(
        self, session: str, event: UserMessage | UserInterrupt | UserAnswer, *, key: str | None = None
    ) -> None:
        """Send an input to a session, see `Session.send_event`. A message or an answer makes this process drive it, and
        raises what `open_session` does before anything is stored; an interrupt begins nothing."""
        await self.desk.send_event(session, event, key=key)

    async def stream_events(self, session: str, from_seq: Seq | None = None, *, deltas: bool = False) -> EventStream:
        """The stored events with a greater seq than `from_seq`, then each new one, once each; from the first with 0, and
        without it those that are stored from this call on. `deltas`: with what is on its way between them.

        It reads on for as long as the session lasts: it ends behind `session.archived`, or when the session is deleted.
        However slow it is read, nobody waits for it and no event is left out. Waiting for the next one with a timeout loses
        nothing. Leaving it (`aclose`) stops nothing; come back with the last seq that was seen.
        SessionNotFound now; while it is read StoreClosed, when the runtime is closed.
        """
        row = await self.store.session(SessionId(session))
        start = row.head if from_seq is None else from_seq
        over = row.status == "archived" and start >= row.head
        if deltas:
            return EventStream(Watch(self.store, row.id, start, labels=row.labels), over=over)
        return EventStream(EventReceiver(self.store, row.id, start, labels=row.labels), over=over)

    async def interrupt(
        self,
        session: str,
        *,
        run: RunId | str | None = None,
        force: bool = False,
        reason: str | None = None,
        key: str | None = None,
    ) -> bool:
        """End the open run, wherever it is driven, see `Session.interrupt`. Its tools need not be here."""
        return await self.desk.interrupt(session, run=run, force=force, reason=reason, key=key)

    async def pause(self, session: str, reason: str | None = None) -> bool:
        """Stop at the next checkpoint, wherever the session is driven, see `Session.pause`."""
        return await self.desk.pause(session, reason)

    async def resume(self, session: str) -> bool:
        """Go on from the checkpoint in this process, see `Session.resume`. What `open_session` raises."""
        return await self.desk.resume(session)

    async def status(self, session: str) -> Status:
        return (await self.store.session(SessionId(session))).status

    async def archive(self, session: str) -> None:
        """End the open run and make the session final. Its log stays readable.

        SessionArchived when it is; SessionBusy when a tool of the session itself asks for it, or when a rewind's files
        cannot be put back.
        """
        await self.desk.archive(session)
        self.mcp.leave_session(SessionId(session), ended=True)

    async def delete_session(self, session: str) -> None:
        """Archive it unless it is, then remove its log and all that only it used, its folder too when it has one of a
        server's.

        SessionOwned when another process that drove it does not let go of it within the time of its lease.
        """
        await self.desk.delete(session)
        self._left(SessionId(session))
        self.mcp.leave_session(SessionId(session), ended=True)

    async def get_artifact(self, ref: str) -> bytes:
        """The content of an artifact, by the reference a result names. ArtifactNotFound."""
        from ..core.ids import ArtifactRef

        return (await self.store.get_artifact(ArtifactRef(ref)))[1]
