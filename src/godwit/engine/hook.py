"""A hook made of a function: `godwit.hook`. When it is called, and what its answer does, is `hooks`' to say."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from ..contracts import HookCall, HookHandler
from ..core.hooks import HookMatcher, HookResult, HookSpec, point_named


@dataclass(frozen=True)
class Hook:
    """A hook together with the function behind it, as `godwit.hook` makes it. Calling it calls the function."""

    spec: HookSpec
    handler: HookHandler

    def __call__(self, call: HookCall) -> HookResult | Awaitable[HookResult | None] | None:
        return self.handler(call)


def hook(
    point: str,
    *,
    id: str | None = None,  # noqa: A002 - the field's name
    tool: str | None = None,
    path: str | None = None,
    command: str | None = None,
    when: dict[str, str] | None = None,
    priority: int = 100,
    timeout_s: float = 30.0,
    retries: int = 0,
    background: bool = False,
) -> Callable[[HookHandler], Hook]:
    """Make a hook of a function that takes a `HookCall` and returns a `HookResult`, or None to go on.

    With or without `async`; without, it runs in a thread of its own. `tool`, `path`, `command`, `when`: see `HookMatcher`.
    `id`: the function's name by default. The hook is `required`: a process that has the agent but not the function blocks
    at a gating point instead of letting everything pass. Raises ConfigurationError.
    """

    where = point_named(point)
    matcher = HookMatcher(tool=tool, path=path, command=command, when=when or {})

    def make(function: HookHandler) -> Hook:
        name = id or str(getattr(function, "__name__", type(function).__name__))
        spec = HookSpec(name, where, matcher, None, priority, timeout_s, retries, background, required=True)
        return Hook(spec, function)

    return make


__all__ = ["Hook", "hook"]
