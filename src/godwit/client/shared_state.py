"""RemoteSharedState: the part of a remote handle that has the session's shared state. See `engine.shared_state`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..core.shared_state import PatchOperation, patch_of, state_value
from .connection import new_key
from .handle import RemoteHandle
from .shapes import SharedStateTold


class RemoteSharedState(RemoteHandle):
    """The value that one session's client and its agent share."""

    async def shared_state(self) -> Any:
        """The value, as it is now; an empty object while there is none."""
        return (await self._get("/shared_state", SharedStateTold)).value

    async def set_shared_state(
        self, value: Any, *, sender: str | None = None, key: str | None = None, tell: bool | None = None
    ) -> Any:
        """Put this JSON value in its place, and return it. InvalidArgument, SessionArchived."""
        return await self._share("PUT", {"value": state_value(value)}, sender, key, tell)

    async def patch_shared_state(
        self,
        operations: Sequence[PatchOperation | Mapping[str, Any]],
        *,
        sender: str | None = None,
        key: str | None = None,
        tell: bool | None = None,
    ) -> Any:
        """Change it by a JSON Patch, and return the whole. PatchFailed, InvalidArgument, SessionArchived."""
        return await self._share("PATCH", {"operations": patch_of(operations)}, sender, key, tell)

    async def _share(
        self, method: str, change: dict[str, Any], sender: str | None, key: str | None, tell: bool | None
    ) -> Any:
        self._check_open()
        own = new_key()
        body = {**change, "sender": sender, "key": key or own, "tell": tell}
        return (await self._post("/shared_state", SharedStateTold, body, method=method, key=own)).value


__all__ = ["RemoteSharedState"]
