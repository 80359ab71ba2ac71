"""The shared state in the hands of a session's host and of its running tools: reading and changing it.

Leaves out what a patch makes of a value (`core.shared_state`), how a model changes it (the tool `update_state`) and what it
is told (`core.transcript`). Rule: a patch is stored for the value that it fits and no other, so it is an append to the log
as it was read, tried again when the log has gone on; what does not fit is refused and leaves nothing.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import msgspec

from ..contracts import EventStore, Tool
from ..core.errors import HeadMoved, InvalidArgument, PatchFailed
from ..core.events import StateUpdated
from ..core.ids import CallId, Clock, Seq, SessionId
from ..core.senders import check_sender
from ..core.shared_state import STATE_TOOL, STATE_TOOLS, PatchOperation, digest_of, patch_of, patched, state_value
from ..core.state import State
from .handle import Handle
from .log import append_outside, load_state

ATTEMPTS = 200
"""How often a change is tried to be stored while the session goes on."""
_NOWHERE: Seq = -1
"""No log ends here."""


def shown_state(value: Any) -> Any:
    """The value as it is given out: a copy, and an empty object while there is none."""
    return {} if value is None else msgspec.json.decode(msgspec.json.encode(value))


def tells(tools: Sequence[Tool]) -> bool:
    """Whether a model that has these tools is told of the shared state."""
    return any(tool.definition.name == STATE_TOOL for tool in tools)


async def write_shared(
    store: EventStore,
    session: SessionId,
    clock: Clock,
    event: StateUpdated,
    *,
    key: str | None = None,
    epoch: int | None = None,
) -> State:
    """Store this change for the value that there is, and return the state with it. What changes nothing is not stored.

    `key`: an idempotency key; what was stored under it is not stored again. PatchFailed, InvalidArgument, SessionArchived,
    KeyReused; HeadMoved when the session went on each time.
    """
    for _ in range(ATTEMPTS):
        state = await load_state(store, session)
        try:
            value = patched(state.shared, event.patch) if event.patch else event.value
        except (PatchFailed, InvalidArgument):
            # Under its key it may have been made before, and need not fit again.
            if key is None or not await _was_made(store, session, clock, event, key, epoch):
                raise
            return await load_state(store, session)
        if state.shared_told == event.tell and digest_of(value) == digest_of(state.shared):
            return state
        try:
            await append_outside(store, session, [event], clock, key=key, expect=state.seq, epoch=epoch)
        except HeadMoved:
            continue
        return await load_state(store, session)
    raise HeadMoved("the session went on each time while its shared state was being changed: try again")


async def _was_made(
    store: EventStore, session: SessionId, clock: Clock, event: StateUpdated, key: str, epoch: int | None
) -> bool:
    """Whether this was stored under the key; it is not stored now. KeyReused when something else was."""
    try:
        await append_outside(store, session, [event], clock, key=key, expect=_NOWHERE, epoch=epoch)
    except HeadMoved:
        return False
    return True


class HostSharedState(Handle, ABC):
    """The part of a session's handle that has its shared state."""

    @abstractmethod
    def _tools_here(self) -> list[Tool]:
        """The agent's tools."""

    async def shared_state(self) -> Any:
        """The value that the session's client and its agent share, as it is now; an empty object while there is none."""
        return shown_state((await load_state(self._store, self.id)).shared)

    async def set_shared_state(
        self, value: Any, *, sender: str | None = None, key: str | None = None, tell: bool | None = None
    ) -> Any:
        """Put this JSON value in its place, and return it; the same one again changes nothing.

        `tell`: whether the model is told what it is like, with what is said to it next; by default when the agent has the
        tool `update_state`. `sender`: who sets it; `key`: an idempotency key. InvalidArgument for what is no JSON or is
        larger than 256 KiB; SessionArchived.
        """
        return await self._share(StateUpdated(value=state_value(value)), sender, key, tell)

    async def patch_shared_state(
        self,
        operations: Sequence[PatchOperation | Mapping[str, Any]],
        *,
        sender: str | None = None,
        key: str | None = None,
        tell: bool | None = None,
    ) -> Any:
        """Change it by the operations of a JSON Patch (RFC 6902), all of them or none, and return the whole.

        The rest as for `set_shared_state`. PatchFailed when the patch does not fit the value as it is, and nothing has
        changed then; InvalidArgument for what is no patch, or makes the value too large.
        """
        patch = patch_of(operations)
        return await self._share(StateUpdated(patch), sender, key, tell) if patch else await self.shared_state()

    async def _share(self, event: StateUpdated, sender: str | None, key: str | None, tell: bool | None) -> Any:
        self._check_open()
        check_sender(sender)
        if tell is None:
            # By its name as well, for a process that does not have all of the agent's tools.
            tell = tells(self._tools_here()) or not {STATE_TOOL, STATE_TOOLS}.isdisjoint(self._spec.tools)
        event = msgspec.structs.replace(event, sender=sender, tell=tell)
        return shown_state((await write_shared(self._store, self.id, self._clock, event, key=key)).shared)


class CallState:
    """The shared state in the hands of one running call. `tell`: whether the model is told of its changes; `seen`: has its
    caller know what stands at a seq; `epoch`: that of the driver whose call it is."""

    def __init__(
        self,
        store: EventStore,
        session: SessionId,
        clock: Clock,
        call: CallId,
        *,
        tell: Callable[[], bool],
        seen: Callable[[Seq], Awaitable[object]],
        epoch: Callable[[], int | None],
    ) -> None:
        self._store = store
        self._session = session
        self._clock = clock
        self._call = call
        self._tell = tell
        self._seen = seen
        self._epoch = epoch

    async def set(self, value: Any) -> Any:
        return await self._write(StateUpdated(value=state_value(value)), None)

    async def patch(self, operations: Sequence[PatchOperation | Mapping[str, Any]], key: str | None) -> Any:
        patch = patch_of(operations)
        if not patch:
            return shown_state((await load_state(self._store, self._session)).shared)
        return await self._write(StateUpdated(patch), key)

    async def _write(self, event: StateUpdated, key: str | None) -> Any:
        event = msgspec.structs.replace(event, call=self._call, tell=self._tell())
        state = await write_shared(self._store, self._session, self._clock, event, key=key, epoch=self._epoch())
        await self._seen(state.seq)
        return shown_state(state.shared)


__all__ = ["CallState", "HostSharedState", "shown_state", "tells", "write_shared"]
