"""The context of a slash command: the session it is typed in, and where that stands as the command begins."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from ...core.errors import ToolNotFound
from ...core.events import Labels
from ...core.gate import Status
from ...core.ids import RunId, SessionId
from ...core.mcp import server_and_tool
from ...core.messages import Message, Usage
from ...core.state import State
from ...core.tool_search import DeferredTool
from ..commands import CommandRegistry
from ..permissions import Policy
from ..session import Session


@dataclass(frozen=True)
class CommandContext:
    """What a command is given: its session, and where it stands as the command begins.

    `commands`: the session's registry. `sender`: who typed it, as given to `send`. `state`: the fold of the log.
    `policy`: the permission rules of all layers.
    """

    session: Session
    commands: CommandRegistry
    state: State
    policy: Policy
    sender: str | None = None

    @property
    def id(self) -> SessionId:
        return self.session.id

    @property
    def workspace(self) -> str | None:
        """The absolute folder the session works in."""
        return self.session.workspace

    @property
    def model(self) -> str:
        """The model of the next run."""
        return self.session.model

    @property
    def status(self) -> Status:
        return self.state.gate.status

    @property
    def run(self) -> RunId | None:
        """The open run, if any."""
        return self.state.gate.run

    @property
    def usage(self) -> Usage:
        """All that the session has used."""
        return self.state.usage

    @property
    def tokens(self) -> int:
        return self.state.usage.total_tokens

    @property
    def cost_usd(self) -> float | None:
        """None when no price is known."""
        return self.state.usage.cost_usd

    @property
    def labels(self) -> Labels:
        return self.session.labels

    @property
    def tool_names(self) -> list[str]:
        """As the agent lists them when this process does not have them all."""
        try:
            return self.session.tool_names()
        except ToolNotFound:
            spec = self.session.config.spec
            return [*spec.tools, *(t.name for t in (*spec.external_tools, *spec.client_tools))]

    async def deferred_tools(self) -> list[DeferredTool]:
        """Those of the tools that the model has to look for; none when this process does not have all."""
        try:
            return await self.session.deferred_tools()
        except ToolNotFound:
            return []

    @property
    def mcp_servers(self) -> dict[str, int]:
        """Connected MCP servers, by their names, and how many tools the session has of each."""
        return dict(Counter(of[0] for name in self.tool_names if (of := server_and_tool(name)) is not None))

    async def history(self) -> tuple[Message, ...]:
        """The session's messages."""
        return await self.session.history()

    async def history_len(self) -> int:
        """How many messages there are."""
        return len(await self.session.history())
