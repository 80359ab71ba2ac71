"""Tools that have no body: their calls are answered from outside."""

from __future__ import annotations

import re
from typing import Any

from ..contracts import ToolContext, ToolOutput, ToolTraits, Workspace
from ..core.agent import ToolDefinition
from ..core.errors import ConfigurationError, ToolFailed
from .schema import Schema

_EXTERNAL_NAME = re.compile(r"[a-zA-Z0-9_-]{1,128}")
"""Names given elsewhere may be as long as any provider takes them."""


class ExternalTool:
    """A tool whose calls are answered from outside. Made by `external_tool`."""

    def __init__(self, definition: ToolDefinition) -> None:
        if not _EXTERNAL_NAME.fullmatch(definition.name):
            raise ConfigurationError(
                f"{definition.name!r} cannot be a tool's name: it takes 1 to 128 letters, digits, '_' and '-'",
                name=definition.name,
            )
        self.definition = definition
        self.traits = ToolTraits(external=True)
        try:
            self._schema = Schema(definition.parameters)
        except ConfigurationError as error:
            raise ConfigurationError(f"tool {definition.name!r}: {error.message}", name=definition.name) from None

    def validate(self, arguments: dict[str, Any]) -> None:
        self._schema.check(self.definition.name, arguments)

    def locks(self, arguments: dict[str, Any], workspace: Workspace | None) -> frozenset[str]:
        return frozenset()

    async def run(self, arguments: dict[str, Any], context: ToolContext) -> ToolOutput:
        raise ToolFailed(f"{self.definition.name} is answered from outside and cannot be run here")


def external_tool(name: str, description: str, parameters: dict[str, Any]) -> ExternalTool:
    """A tool without a body: its calls wait for an answer from outside. `parameters`: a JSON schema of type object.

    ConfigurationError when the schema or the name cannot be used.
    """
    return ExternalTool(ToolDefinition(name, description, parameters))
