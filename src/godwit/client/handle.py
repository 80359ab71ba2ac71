"""What the parts of a remote handle share: the connection, the session it is for, and what was read of it when it opened."""

from __future__ import annotations

import dataclasses
from typing import Any, TypeVar
from weakref import WeakSet

from ..contracts import SessionRow
from ..core.agent import AgentRef, ThinkingLevel, ToolDefinition
from ..core.errors import InvalidArgument, SessionClosed
from ..core.events import Event, Labels
from ..core.facts import SessionConfig
from ..core.ids import RunId, Seq, SessionId
from ..core.output import OutputSpec
from ..host.output_types import TypedOutputs
from .connection import Connection, segment
from .following import Feed, RemoteEvents, RemoteTree
from .shapes import Opened

T = TypeVar("T")


class RemoteHandle:
    """One session of a server, as one holder of it sees it."""

    def __init__(self, connection: Connection, opened: Opened) -> None:
        self.id: SessionId = opened.session.id
        self.labels: Labels = opened.session.labels
        self.workspace: str | None = opened.config.workspace
        self._connection = connection
        self._config = opened.config
        self._outputs = TypedOutputs()
        self._forms: dict[RunId, OutputSpec] = {}
        self._tools = opened.tools
        self._opened_at: Seq = opened.session.head
        self._closed = False
        self._followers: WeakSet[RemoteEvents | RemoteTree] = WeakSet()
        self._receiver: RemoteEvents | None = None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id} on {self._connection.url}{' closed' if self._closed else ''}>"

    # --- what was read when it opened ------------------------------------------------------------------------------

    @property
    def is_closed(self) -> bool:
        return self._closed

    @property
    def agent(self) -> AgentRef:
        return self._config.agent

    @property
    def model(self) -> str:
        """The model of the next run, as far as this handle has set or read it."""
        return self._config.model

    @property
    def thinking(self) -> ThinkingLevel | None:
        return self._config.thinking

    @property
    def config(self) -> SessionConfig:
        return dataclasses.replace(self._config, environment=dict(self._config.environment))

    @property
    def cwd(self) -> str | None:
        """The workspace's folder on the server."""
        return self.workspace

    @property
    def tenant_id(self) -> str | None:
        return self.labels.tenant

    @property
    def principal(self) -> str | None:
        return self.labels.principal

    @property
    def agent_template_id(self) -> str | None:
        return self.labels.agent_template

    @property
    def correlation_id(self) -> str | None:
        return self.labels.correlation

    def tool_definitions(self) -> list[ToolDefinition]:
        """What the model is told of the session's tools; none when the server does not have all of them."""
        return list(self._tools)

    def tool_names(self) -> list[str]:
        return [d.name for d in self._tools]

    # --- for the parts ---------------------------------------------------------------------------------------------

    def _check_open(self) -> None:
        """Raise SessionClosed when the handle is."""
        if self._closed:
            raise SessionClosed(session=self.id)

    @property
    def _path(self) -> str:
        return f"/sessions/{segment(self.id)}"

    async def _get(self, path: str, gives: type[T], **query: Any) -> T:
        return await self._connection.get(f"{self._path}{path}", gives, **query)

    async def _post(
        self, path: str, gives: type[T], body: object = None, *, method: str = "POST", key: str | None = None
    ) -> T:
        return await self._connection.call(method, f"{self._path}{path}", gives, body, key=key)

    async def _row(self) -> SessionRow:
        return await self._get("/status", SessionRow)

    def _follow(self, from_seq: Seq) -> RemoteEvents:
        feed = Feed(self._connection, self.id, from_seq, deltas=False)
        follower = RemoteEvents(feed, self._row, from_seq, self.labels)
        self._followers.add(follower)
        return follower

    def _labelled(self, frames: list[Any]) -> list[Event]:
        events = [Event.of_frame(bytes(frame)) for frame in frames]
        for event in events:
            event.labels = self.labels
        return events


def no_context(context: Any) -> None:
    """A `context` is a value in the process that drives the session. InvalidArgument when one is given."""
    if context is not None:
        raise InvalidArgument("a context is for function tools in this process and cannot be sent to a server")
