"""Threads: which session a thread of a front end is.

A thread that has the id of a session is that session, so whatever was begun elsewhere can be opened here. Any other id is
the front end's own; its session's id follows from it and from the tenant, so that a request which is sent again finds the
same one. Rule: a thread stays with the agent that it was begun with.
"""

from __future__ import annotations

import re

from ...contracts import SessionRow
from ...core.agent import base_of
from ...core.errors import AgentNotFound, Conflict, SessionExists, SessionNotFound
from ...core.ids import SessionId, derived_id
from ..server.caller import Caller
from ..server.roster import Offered, StoredRoster, agent_named

_SESSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}")


def session_of(tenant: str | None, thread: str) -> SessionId:
    """The id of the session that is made for a thread."""
    return SessionId(derived_id("ses", tenant or "", "agui", thread))


class Threads:
    """Those of a server. `roster`: which agents there are."""

    def __init__(self, roster: StoredRoster | None = None) -> None:
        self._roster = StoredRoster() if roster is None else roster

    async def find(self, caller: Caller, thread: str) -> SessionRow | None:
        """The session of a thread; None where there is none yet."""
        names = [SessionId(thread)] if _SESSION.fullmatch(thread) else []
        for name in (*names, session_of(caller.principal.tenant, thread)):
            try:
                return await caller.row(name)
            except SessionNotFound:
                continue
        return None

    async def agent(self, caller: Caller, name: str | None) -> Offered:
        """The agent of this name, title or id; without one the only one there is. AgentNotFound."""
        if name is not None:
            return await agent_named(self._roster, caller, name, ())
        offered = await self._roster.offered(caller)
        if len(offered) != 1:
            known = ", ".join(one.title for one in offered) or "none yet: PUT /godwit/v1/agents/NAME makes one"
            raise AgentNotFound(f"say which agent: /agui/NAME; there are: {known}", agent="")
        return offered[0]

    async def agent_of(self, caller: Caller, row: SessionRow, name: str | None) -> None:
        """Conflict where the thread was begun with another agent than that one; AgentNotFound."""
        if name is None:
            return
        base = base_of(row.agent)
        if name == base.name:
            return
        wanted = await self.agent(caller, name)
        if wanted.id != base.name and wanted.title != base.name:
            raise Conflict(
                f"this thread was begun with the agent {base.name!r} and stays with it: begin another one", agent=base.name
            )

    async def open(self, caller: Caller, thread: str, name: str | None) -> SessionRow:
        """The session of a thread, made where there is none. AgentNotFound, Conflict, and what starting a session raises."""
        row = await self.find(caller, thread)
        if row is not None:
            await self.agent_of(caller, row, name)
            return row
        agent = await self.agent(caller, name)
        await caller.changes()
        session = session_of(caller.principal.tenant, thread)
        try:
            await agent.start(caller, session)
        except SessionExists:
            pass  # somebody asked for the same at once
        return await caller.row(session)


__all__ = ["Threads", "session_of"]
