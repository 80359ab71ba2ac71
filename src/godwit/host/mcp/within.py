"""Within: what a request to an MCP server may ask of the call that it is made for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from ...contracts import ModelAnswer
from ...core.agent import ModelSettings
from ...core.ids import RunId, SessionId
from ...core.messages import Message
from ...core.questions import Resumption


class Within(Protocol):
    """As of `contracts.ToolContext`, which is one."""

    @property
    def session(self) -> SessionId: ...
    @property
    def run(self) -> RunId | None: ...
    @property
    def resumed(self) -> Resumption | None: ...
    def progress(self, text: str) -> None: ...
    async def ask_model_with(
        self,
        messages: Sequence[Message],
        *,
        instructions: str = "",
        settings: ModelSettings | None = None,
        model: str | None = None,
        purpose: str = "tool",
    ) -> ModelAnswer: ...


__all__ = ["Within"]
