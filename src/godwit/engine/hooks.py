"""Hooks: the code around the steps of one live session: who is called at a point, in which order, and what they come to.

Leaves out calling one of them (`hook_calls`), what a point means (loop and steps) and how a matcher is compiled and a
command run (`contracts.HookKit`, the host's). Rule a change must keep: where no hook is registered, nothing is built, called
or waited for.

Hooks live in the process. All handles of a session in one process share them; a crash in the middle of one means that it is
called again (at least once).
"""

from __future__ import annotations

import asyncio
import builtins
import posixpath
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import msgspec

from ..contracts import CancelToken, HookHandler, HookKit
from ..core.errors import ConfigurationError
from ..core.events import HookReported
from ..core.hooks import (
    ASKING,
    CONTINUE,
    ENDS_CHAIN,
    GATING,
    INTERRUPTED,
    MODIFIABLE,
    HookPoint,
    HookResult,
    HookSpec,
    applied,
    folded,
    subject,
)
from ..core.ids import RunId, SessionId
from .cancel import Cancel
from .hook import Hook
from .hook_calls import HookCalls, failed, packed_payload

ASKED_AGAIN = 5
"""How often a point is asked again because a hook answered `retry`; then it blocks."""
DELAY_LONGEST_S = 60.0
"""The longest wait before it is asked again, whatever the hook said."""
CLOSING_S = 5.0
"""How long all hooks of after_session together may hold up the closing of a session."""
Matches = Callable[[dict[str, Any]], bool]
_NONE: Mapping[Any, Any] = {}
V = TypeVar("V")


_Asked = list[tuple[HookSpec, HookHandler | None]]
_OF_HANDLES: frozenset[HookPoint] = frozenset(("before_session", "after_session"))
"""Points of one session's handles, which those of sessions above are not asked about."""


class _Registered:
    __slots__ = ("command", "matches", "of_agent", "spec")

    def __init__(self, spec: HookSpec, matches: Matches | None, command: HookHandler | None, of_agent: bool) -> None:
        self.spec = spec
        self.matches = matches
        self.command = command
        self.of_agent = of_agent


class Hooks(HookCalls):
    """The hooks of one session in this process."""

    __slots__ = (
        "__weakref__",
        "_at",
        "_brought",
        "_handlers",
        "_handlers_of_agent",
        "_hooks",
        "_kit",
        "_of_agent",
        "above",
        "asked_below",
        "note",
    )

    def __init__(self, session: SessionId, kit: HookKit | None = None) -> None:
        super().__init__(session)
        self.asked_below = False  # sessions that work for this one ask it as well
        self.above: Hooks | None = None  # of the session that this one works for
        self.note: str | None = None  # of before_session, for the next prompt
        self._kit = kit
        # Replaced as a whole and never changed, so that a session without hooks shares these and costs little.
        self._hooks: Mapping[str, _Registered] = _NONE
        self._handlers: Mapping[str, HookHandler] = _NONE
        self._at: Mapping[HookPoint, tuple[_Registered, ...]] = _NONE
        self._of_agent: tuple[HookSpec, ...] | None = None
        self._brought: Mapping[str, HookHandler] = _NONE
        self._handlers_of_agent: Mapping[str, HookHandler] = _NONE

    # --- who is there --------------------------------------------------------------------------------------------

    def register(self, hook: HookSpec | Hook, handler: HookHandler | None = None) -> HookSpec | None:
        """Call this hook from now on; one of the same id is replaced and returned. Its handler stays unless given.

        ConfigurationError when its matcher cannot be used; nothing has changed then.
        """
        spec = hook
        if isinstance(hook, Hook):
            spec, handler = hook.spec, handler or hook.handler
        if not isinstance(spec, HookSpec):
            raise ConfigurationError(f"{hook!r} is no hook: give a HookSpec, or a function made with godwit.hook")
        if handler is not None:
            _check_callable(spec.id, handler)
        made = self._made(spec, of_agent=False)
        before = self._hooks.get(spec.id)
        self._hooks = {**self._hooks, spec.id: made}
        if handler is not None:
            self._handlers = {**self._handlers, spec.id: handler}
        self._sort()
        return before.spec if before is not None else None

    def unregister(self, id: str) -> HookSpec | None:  # noqa: A002 - the field's name
        """Call the hook of this id no more. Returns it, or None when there is none. Its handler stays."""
        before = self._hooks.get(id)
        if before is None:
            return None
        self._hooks = _without(self._hooks, id)
        self._sort()
        return before.spec

    def register_handler(self, id: str, handler: HookHandler) -> None:  # noqa: A002 - the field's name
        """The function behind the hook of this id, in place of the one before, and of its command."""
        _check_callable(id, handler)
        self._handlers = {**self._handlers, id: handler}

    def unregister_handler(self, id: str) -> None:  # noqa: A002 - the field's name
        """The hook of this id has no function any more. Nothing happens when it had none."""
        self._handlers = _without(self._handlers, id)
        self._handlers_of_agent = _without(self._handlers_of_agent, id)

    @property
    def count(self) -> int:
        return len(self._hooks)

    def list(self) -> list[HookSpec]:
        """All hooks, in the order in which they would be called at one point."""
        return [r.spec for r in sorted(self._hooks.values(), key=_order)]

    def adopt(self, specs: tuple[HookSpec, ...], handlers: Mapping[str, HookHandler] | None = None) -> None:
        """The agent's own hooks, in place of those it had before; what was registered by hand stays.

        One that was unregistered stays away until the agent's hooks change. ConfigurationError.
        """
        if handlers is not None and handlers != self._brought:
            self._brought = dict(handlers)
            self._handlers_of_agent = dict(handlers)
        if specs == self._of_agent:
            return
        made = [self._made(spec, of_agent=True) for spec in specs]
        self._of_agent = specs
        kept = {i: r for i, r in self._hooks.items() if not r.of_agent}
        self._hooks = {**{r.spec.id: r for r in made}, **kept}
        self._sort()

    @property
    def adopted(self) -> bool:
        """Whether some version of the agent has brought its hooks."""
        return self._of_agent is not None

    def wants(self, point: HookPoint) -> bool:
        """True when some hook is there for this point. Ask before a payload is built."""
        return point in self._at or (self.above is not None and point not in _OF_HANDLES and self.above.wants(point))

    def _made(self, spec: HookSpec, *, of_agent: bool) -> _Registered:
        matcher = spec.matcher
        compiled: Callable[[str | None, str | None, str | None], bool] | None = None
        if any(v is not None for v in (matcher.tool, matcher.tool_regex, matcher.path, matcher.command)):
            if self._kit is None:
                raise ConfigurationError(f"hook {spec.id!r}: this host cannot compile its matcher", hook=spec.id)
            compiled = self._kit.matcher(spec)
        command = None
        if spec.command is not None:
            if self._kit is None:
                raise ConfigurationError(f"hook {spec.id!r}: this host cannot run commands for hooks", hook=spec.id)
            command = self._kit.command(spec)
        when = {key: frozenset(value.split("|")) for key, value in matcher.when.items()}
        if compiled is None and not when:
            return _Registered(spec, None, command, of_agent)

        def matches(payload: dict[str, Any]) -> bool:
            if any(str(payload.get(key)) not in values for key, values in when.items()):
                return False
            if compiled is None:
                return True
            tool, path, command = subject(payload)
            return compiled(tool, path and self._as_matched(path), command)

        return _Registered(spec, matches, command, of_agent)

    def _as_matched(self, path: str) -> str:
        """The path without detours, relative to the workspace where it lies in it. Links are not followed."""
        path = posixpath.normpath(path)
        root = (self.workspace or "").rstrip("/") + "/"
        return path.removeprefix(root) if root != "/" else path

    def _sort(self) -> None:
        at: dict[HookPoint, list[_Registered]] = {}
        for registered in sorted(self._hooks.values(), key=_order):
            at.setdefault(registered.spec.point, []).append(registered)
        self._at = {point: tuple(found) for point, found in at.items()}

    # --- being called ----------------------------------------------------------------------------------------------

    def matching(self, point: HookPoint, payload: dict[str, Any]) -> builtins.list[HookSpec]:
        """The hooks that would be called with this payload, as far as none of them changes it."""
        return [r.spec for r in self._at.get(point, ()) if r.matches is None or r.matches(payload)]

    async def fire(
        self,
        point: HookPoint,
        payload: dict[str, Any],
        *,
        run: RunId | None = None,
        cancel: CancelToken | None = None,
    ) -> HookResult:
        """Call the hooks of this point that match, one after the other, and return what they come to.

        Never `retry`: the point is asked again here, after the delay, and blocks when that does not end. `modified` is what
        the last hook left: the arguments at before_tool, else the keys of `core.hooks.MODIFIABLE`. A block tells its `hook`
        and whether it `failed`. INTERRUPTED when `cancel` falls meanwhile. Failures that were passed over and messages
        for people wait in `take_reports`.
        """
        if not self.wants(point):
            return CONTINUE
        for _ in range(ASKED_AGAIN + 1):
            result = await self._chains(point, payload, run, cancel)
            if result.action != "retry":
                return result
            if not await _passed(min(result.delay_s, DELAY_LONGEST_S), cancel):
                return INTERRUPTED
        why = f"it asked to be asked again {ASKED_AGAIN + 1} times"
        reason = f"{why}: {result.reason}" if result.reason else why
        return HookResult("block", reason=f"Required hook '{result.hook}' failed: {reason}", hook=result.hook, failed=True)

    async def _chains(
        self, point: HookPoint, payload: dict[str, Any], run: RunId | None, cancel: CancelToken | None
    ) -> HookResult:
        """The session's own hooks, then those of the sessions that it works for, each seeing what the ones before left. One
        that several of them have, since it is the host's or of an agent that asks itself, is asked once."""
        asked: _Asked = []
        result = CONTINUE
        level: Hooks | None = self
        while level is not None and result.action not in ENDS_CHAIN and result is not INTERRUPTED:
            if point in level._at and (level is self or point not in _OF_HANDLES):
                answer = await level._chain(point, payload, run, cancel, self, asked)
                if answer is INTERRUPTED:
                    return INTERRUPTED
                if answer.modified is not None:
                    modified = answer.modified
                    payload = {**payload, **({"arguments": modified} if point == "before_tool" else modified)}
                result = answer if level is self else folded(result, answer)
            level = level.above
        return result

    async def _chain(
        self,
        point: HookPoint,
        payload: dict[str, Any],
        run: RunId | None,
        cancel: CancelToken | None,
        of: Hooks,
        asked: _Asked,
    ) -> HookResult:
        """`of`: the session's, which may be one that works for this one's. `asked`: what has been; it is added to."""
        result, changed = CONTINUE, False
        # What is registered meanwhile is called from the next time on.
        for registered in self._at.get(point, ()):
            spec = registered.spec
            if registered.matches is not None and not registered.matches(payload):
                continue
            handler = self._handlers.get(spec.id) or self._handlers_of_agent.get(spec.id) or registered.command
            if handler is None:
                if not (spec.required and point in GATING):
                    continue
                why = "it has no handler in this process: open the session with the agent that brings it"
                return failed(spec, why)
            this = (spec, None if handler is registered.command else handler)
            if this in asked:
                continue
            asked.append(this)
            if cancel is not None and cancel.cancelled:
                return INTERRUPTED
            packed = packed_payload(payload)
            if spec.background:
                self._keep(asyncio.ensure_future(self._in_background(spec, handler, packed, run, of)))
                continue
            answer = await self._asked(spec, handler, packed, run, cancel, of)
            if answer is INTERRUPTED:
                return INTERRUPTED
            if answer.modified is not None:
                payload, changed = applied(point, payload, answer.modified), True
            if answer.message is not None:
                self._report(HookReported(spec.id, point, answer.message))
            result = folded(result, answer)
            if answer.action in ENDS_CHAIN:
                break
        if result.action == "escalate" and point not in ASKING:
            why = f"A person has to decide, and nobody can be asked here: {result.reason or 'no reason given'}"
            result = msgspec.structs.replace(result, action="block", reason=why)
        if result.action == "block" and not result.reason:
            result = msgspec.structs.replace(result, reason="Blocked")
        if not changed:
            return result
        if point == "before_tool":
            return msgspec.structs.replace(result, modified=payload["arguments"])
        return msgspec.structs.replace(result, modified={key: payload[key] for key in MODIFIABLE[point]})

    async def opened(self, source: str, *, agent: str, model: str) -> None:
        """Tell of a handle that opens the session: `startup` for a new one, else `resume`. Its note goes with the
        next prompt."""
        if self.wants("before_session"):
            result = await self.fire("before_session", {"source": source, "agent": agent, "model": model})
            self.note = result.note

    async def closed(self, reason: str) -> None:
        """Tell of a handle that is closed, or a host that ends; not for longer than `CLOSING_S`."""
        if self.wants("after_session"):
            cancel = Cancel()
            timer = asyncio.get_running_loop().call_later(CLOSING_S, cancel.cancel)
            try:
                await self.fire("after_session", {"reason": reason}, cancel=cancel)
            finally:
                timer.cancel()


def _check_callable(id: str, handler: HookHandler) -> None:  # noqa: A002 - the field's name
    if not callable(handler):
        raise ConfigurationError(f"the handler of hook {id!r} cannot be called: {handler!r}", hook=id)


def _without(found: Mapping[str, V], key: str) -> Mapping[str, V]:
    return {k: v for k, v in found.items() if k != key} if key in found else found


def _order(registered: _Registered) -> tuple[int, str]:
    return registered.spec.priority, registered.spec.id


async def _passed(delay_s: float, cancel: CancelToken | None) -> bool:
    """Let the time pass. False when `cancel` fell meanwhile."""
    if cancel is None:
        await asyncio.sleep(delay_s)
        return True
    cut = asyncio.ensure_future(cancel.wait())
    try:
        await asyncio.wait([cut], timeout=delay_s)
        return not cut.done()
    finally:
        cut.cancel()
