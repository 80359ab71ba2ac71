"""McpValues: what the references of MCP servers stand for (`core/references.py`): secrets, looked up when one is connected.

Leaves out where keys are stored (`auth_store.py`). Rules: nothing looked up here is kept; sessions of tenants get nothing,
for what the program and its environment hold is not theirs.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping

from ...contracts import KeySource
from ...core.errors import ConfigurationError, GodwitError
from ...core.references import has_reference, resolved


class McpValues:
    """`own`: of the program, by name; before variables of the environment, and those before stored keys."""

    def __init__(self, own: Mapping[str, str], keys: KeySource | None) -> None:
        self._own = own
        self._keys = keys

    async def of(self, texts: Iterable[tuple[str, str]], *, tenant: str | None) -> tuple[dict[str, str], tuple[str, ...]]:
        """The texts, by what they are called, with what they refer to; and which values those are. ConfigurationError,
        naming what stands for nothing."""
        given = dict(texts)
        if not any(has_reference(text) for text in given.values()):
            return given, ()
        if tenant is not None:
            raise ConfigurationError("it refers to secrets of this program, which sessions of tenants do not get")
        names: dict[str, str | None] = {}
        for text in given.values():
            resolved(text, lambda name: names.setdefault(name, ""))
        for name in names:
            names[name] = await self._value(name)
        made: dict[str, str] = {}
        secrets: list[str] = []
        for what, text in given.items():
            made[what], values, unknown = resolved(text, names.get)
            if unknown:
                raise ConfigurationError(
                    f"its {what} refers to {unknown[0]}, which is set nowhere: neither in McpSettings.secrets nor as a"
                    " variable of the environment, nor is there a stored key of that name"
                )
            secrets += values
        return made, tuple(dict.fromkeys(secrets))

    async def _value(self, name: str) -> str | None:
        found = self._own.get(name) or os.environ.get(name)
        if found or self._keys is None:
            return found or None
        try:
            key = await self._keys.current(name)
        except GodwitError as error:
            raise ConfigurationError(f"its secret {name} cannot be read: {error.message}") from None
        return None if key is None else key.value
