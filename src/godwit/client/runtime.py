"""RemoteRuntime: a server as a program opens it to work with sessions, under the names of `host.runtime.Runtime`."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path

from ..contracts import FoundText, SessionHandle, SessionRow
from ..core.agent import AgentRef, AgentSpec
from ..core.errors import InvalidArgument
from ..core.events import Delta, Event, Labels, UserAnswer, UserInterrupt, UserMessage
from ..core.facts import ExportFormat, ImportReport
from ..core.gate import Status
from ..core.ids import RunId, Seq
from ..core.lanes import DeadLetter
from ..core.model_info import ModelInfo
from ..engine.handles import id_of
from ..host.agents import Agent
from .connection import PATIENCE_S, Connection, segment
from .following import Feed
from .memories import RemoteMemories
from .session import RemoteSession
from .shapes import EventsListed, Listed, Opened, StoredAgent

IMPORT_S = 600.0
"""How long a server may take to read a file."""

_OF_SESSIONS = ("name", "title", "extensions", "subagent_ids", "client_tools")
_OF_SPEC = tuple(name for name in AgentSpec.__struct_fields__ if name not in _OF_SESSIONS)


def connect(url: str, *, key: str | None = None, patience_s: float = PATIENCE_S) -> RemoteRuntime:
    """A runtime on the server at `url`, which is asked when it is used. `key`: who asks; None where the server wants none.

    `patience_s`: how long a server that does not answer is asked again, before Unreachable is raised. InvalidArgument.
    """
    return RemoteRuntime(Connection(url, key, patience_s=patience_s))


class RemoteRuntime:
    """Starts, opens, lists and ends sessions on a server. Use it as an async context manager, or with `close`."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    async def __aenter__(self) -> RemoteRuntime:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Give all connections up. What the server does goes on."""
        await self.connection.close()

    # --- agents ----------------------------------------------------------------------------------------------------

    async def create(self, agent: Agent | AgentSpec) -> AgentRef:
        """Store the agent under its name: a new immutable version, or the newest one when nothing changed.

        InvalidArgument for an agent with functions, guards or commands of this process: a server has its own.
        """
        if isinstance(agent, Agent):
            if agent.functions or agent.commands or agent.hook_handlers or agent.budget_guard is not None:
                raise InvalidArgument(
                    f"agent {agent.name!r} has Python of this process, which cannot be sent: name tools that the server has"
                )
            for below in agent.subagents:
                await self.create(below)
            agent = agent.spec
        body = {name: getattr(agent, name) for name in _OF_SPEC}
        stored = await self.connection.call("PUT", f"/agents/{segment(agent.name)}", StoredAgent, body)
        return AgentRef(stored.spec.name, stored.version)

    async def agent(self, name: str, version: int | None = None) -> StoredAgent:
        """The agent of this name or id. AgentNotFound."""
        return await self.connection.get(f"/agents/{segment(name)}", StoredAgent, version=version)

    async def agents(self, *, limit: int = 50) -> list[StoredAgent]:
        """The newest version of each, those made last first."""
        return (await self.connection.get("/agents", Listed[StoredAgent], limit=limit)).data

    async def agent_versions(self, name: str, *, limit: int = 50) -> list[StoredAgent]:
        """The agent's versions, the newest first. AgentNotFound."""
        path = f"/agents/{segment(name)}/versions"
        return (await self.connection.get(path, Listed[StoredAgent], limit=limit)).data

    async def archive_agent(self, name: str) -> StoredAgent:
        """No new session of it starts from now on. AgentNotFound."""
        return await self.connection.call("POST", f"/agents/{segment(name)}/archive", StoredAgent)

    async def delete_agent(self, name: str) -> None:
        """Forget it; its sessions go on. AgentNotFound."""
        await self.connection.call("DELETE", f"/agents/{segment(name)}", object)

    # --- models ----------------------------------------------------------------------------------------------------

    async def list_models(
        self, provider: str | None = None, *, ready: bool = False, deprecated: bool = False
    ) -> list[ModelInfo]:
        """The models that the server knows; as `Runtime.list_models`, without the names of its variables."""
        found = await self.connection.get(
            "/models", Listed[ModelInfo], provider=provider, ready=ready or None, deprecated=deprecated or None
        )
        return found.data

    async def find_model(self, hint: str) -> ModelInfo:
        """What the server knows of the model that this hint means to it. ModelNotFound."""
        return await self.connection.get(f"/models/{segment(hint)}", ModelInfo)

    # --- sessions --------------------------------------------------------------------------------------------------

    async def start_session(
        self,
        agent: Agent | AgentSpec | AgentRef | str,
        *,
        workspace: str | os.PathLike[str] | None = None,
        own_workspace: bool = False,
        environment: Mapping[str, str] | None = None,
        labels: Labels | None = None,
        name: str | None = None,
        metadata: Mapping[str, str] | None = None,
        session: str | None = None,
        parent: SessionHandle | str | None = None,
        vaults: Sequence[str] = (),
        goal: str | None = None,
    ) -> RemoteSession:
        """A new session of the agent; `workspace`: a folder of the server's, `own_workspace`: a new one is made there.

        Of the labels, tenant and principal are those of the key. Errors as for `Runtime.start_session`; PermissionDenied.
        """
        if labels is not None and (labels.tenant is not None or labels.principal is not None):
            raise InvalidArgument("tenant and principal are those of the key: they cannot be given")
        ref = await self.create(agent) if isinstance(agent, Agent | AgentSpec) else agent
        labels = labels or Labels()
        body = {
            "agent": ref if isinstance(ref, str) else {"name": ref.name, "version": ref.version},
            "workspace": None if workspace is None else os.path.abspath(workspace),
            "own_workspace": own_workspace,
            "environment": dict(environment or {}),
            "labels": {"agent_template": labels.agent_template, "correlation": labels.correlation},
            "name": name,
            "metadata": dict(metadata or {}),
            "session": session,
            "parent": None if parent is None else id_of(parent),
            "vaults": list(vaults),
            "goal": goal,
        }
        return RemoteSession(self.connection, await self.connection.call("POST", "/sessions", Opened, body))

    async def dead_letters(self) -> list[DeadLetter]:
        """Calls of all sessions whose last try outside failed, the oldest first."""
        return (await self.connection.get("/dead_letters", Listed[DeadLetter])).data

    async def open_session(self, session: str, *, drive: bool = True) -> RemoteSession:
        """A handle for a stored session. `drive` is for `Runtime.open_session`: here it is the server that drives, when
        something is asked of it. SessionNotFound."""
        opened = await self.connection.get(f"/sessions/{segment(session)}", Opened)
        return RemoteSession(self.connection, opened)

    async def sessions(
        self,
        *,
        limit: int = 50,
        statuses: Sequence[Status] | None = None,
        workspace: str | None = None,
        prefix: str | None = None,
        include_archived: bool = True,
        parent: str | None = None,
        top_level: bool = False,
    ) -> list[SessionRow]:
        """Sessions by newest activity. `parent`: only those that work for this one themselves; `top_level`: only
        those that work for none. InvalidArgument for both."""
        found: list[SessionRow] = []
        after: str | None = None
        while len(found) < limit:
            page = await self.connection.get(
                "/sessions",
                Listed[SessionRow],
                limit=min(limit - len(found), 1000),
                after=after,
                status=None if statuses is None else list(statuses),
                workspace=workspace,
                prefix=prefix,
                include_archived=include_archived,
                parent=parent,
                top_level=top_level,
            )
            found += page.data
            after = page.next
            if after is None:
                break
        return found

    @property
    def memory(self) -> RemoteMemories:
        """What is remembered for the key's user and tenant; `memory.of(project=...)` with a folder's of the server."""
        return RemoteMemories(self.connection)

    async def search(
        self,
        query: str,
        *,
        workspace: str | os.PathLike[str] | None = None,
        per_session: int = 3,
        limit: int = 20,
    ) -> list[FoundText]:
        """Places where these words were said, in the sessions of the key's tenant, the best first. `workspace`: a folder of
        the server's. InvalidArgument for a query without words."""
        folder = None if workspace is None else os.path.abspath(workspace)
        listed = await self.connection.get(
            "/search", Listed[FoundText], query=query, workspace=folder, per_session=per_session, limit=limit
        )
        return listed.data

    async def row(self, session: str) -> SessionRow:
        """The session as it is listed. SessionNotFound."""
        return await self.connection.get(f"/sessions/{segment(session)}/status", SessionRow)

    async def last_event(self, session: str, type: str) -> Event | None:  # noqa: A002 - the field's name
        """The newest event of this type; None when there is none. SessionNotFound."""
        path = f"/sessions/{segment(session)}/events"
        page = await self.connection.get(path, EventsListed, types=[type], newest_first=True, limit=1)
        return Event.of_frame(bytes(page.data[0])) if page.data else None

    async def send_event(
        self, session: str, event: UserMessage | UserInterrupt | UserAnswer, *, key: str | None = None
    ) -> None:
        """See `RemoteSession.send_event`."""
        await (await self.open_session(session)).send_event(event, key=key)

    async def stream_events(
        self, session: str, from_seq: Seq | None = None, *, deltas: bool = False
    ) -> AsyncGenerator[Event | Delta, None]:
        """The stored events with a greater seq than `from_seq`, then each new one, once each; without it those that are
        stored from this call on. It ends behind `session.archived`, or when the session is deleted. SessionNotFound."""
        row = await self.row(session)
        start = row.head if from_seq is None else from_seq
        return _until_the_end(Feed(self.connection, row.id, start, deltas=deltas), row.labels)

    async def interrupt(
        self,
        session: str,
        *,
        run: RunId | str | None = None,
        force: bool = False,
        reason: str | None = None,
        key: str | None = None,
    ) -> bool:
        """See `RemoteSession.interrupt`."""
        return await (await self.open_session(session)).interrupt(run=run, force=force, reason=reason, key=key)

    async def pause(self, session: str, reason: str | None = None) -> bool:
        """See `RemoteSession.pause`."""
        return await (await self.open_session(session)).pause(reason)

    async def resume(self, session: str) -> bool:
        """See `RemoteSession.resume`."""
        return await (await self.open_session(session)).resume()

    async def status(self, session: str) -> Status:
        return (await self.row(session)).status

    async def archive(self, session: str) -> None:
        """End the open run and make the session final. Its log stays readable."""
        await self.connection.call("POST", f"/sessions/{segment(session)}/archive", object)

    async def delete_session(self, session: str) -> None:
        """Archive it, then remove its log and all that only it used."""
        await self.connection.call("DELETE", f"/sessions/{segment(session)}", object)

    async def import_session(
        self,
        file: str | os.PathLike[str] | bytes,
        *,
        format: str = "auto",  # noqa: A002 - what a person calls it
        agent: Agent | AgentSpec | str | None = None,
        workspace: str | os.PathLike[str] | None = None,
        name: str | None = None,
        model: str | None = None,
        file_name: str = "",
        progress: Callable[[int], None] | None = None,
    ) -> ImportReport:
        """Send a session file and have the server make a session of it, see `Runtime.import_session`. It gets no folder.

        InvalidArgument; TooLarge for more than the server takes.
        """
        if workspace is not None:
            raise InvalidArgument("a session that is imported on a server has no folder: leave out `workspace`")
        if isinstance(file, bytes):
            content = file
        else:
            path = Path(file)
            if not path.is_file():
                raise InvalidArgument(f"{os.fspath(file)!r} is not a file", path=os.fspath(file))
            content, file_name = await asyncio.to_thread(path.read_bytes), file_name or path.name
        if isinstance(agent, Agent | AgentSpec):
            agent = (await self.create(agent)).name
        query = {"format": format, "agent": agent, "name": name, "model": model, "file_name": file_name}
        report = await self.connection.call("POST", "/imports", ImportReport, content, query=query, wait_s=IMPORT_S)
        if progress is not None:
            progress(len(content))
        return report

    async def export_session(
        self,
        session: str,
        format: ExportFormat = "html",  # noqa: A002 - what a person calls it
        *,
        children: bool = True,
    ) -> AsyncIterator[bytes]:
        """The session as it stands now, see `Runtime.export_session`; as one piece."""
        yield await self.connection.get(f"/sessions/{segment(session)}/export", bytes, format=format, children=children)

    async def head(self, session: str) -> Seq:
        return (await self.row(session)).head


async def _until_the_end(feed: Feed, labels: Labels) -> AsyncGenerator[Event | Delta, None]:
    try:
        while (item := await feed.next_or_end()) is not None:
            if isinstance(item, Event):
                item.labels = labels
            yield item
    finally:
        await feed.close()
