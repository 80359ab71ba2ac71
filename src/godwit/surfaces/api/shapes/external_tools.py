"""Shapes of a client's tools."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from ....core.agent import ToolDefinition
from .common import Shape


class ExternalToolsBody(Shape, frozen=True):
    """All tools of the client; none: it has none any more."""

    tools: Annotated[list[ToolDefinition], Meta(max_length=128)]


class ExternalToolList(Shape, frozen=True):
    data: list[ToolDefinition]
