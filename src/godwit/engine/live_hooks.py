"""Live hooks: the part of a session's handle that registers hooks in this process."""

from __future__ import annotations

from ..contracts import HookHandler
from ..core.errors import InvalidArgument
from ..core.hooks import HookSpec
from .handle import Handle
from .hook import Hook
from .hooks import Hooks


class LiveHooks(Handle):
    """Hooks that are called from now on, the agent's included."""

    def register_hook(self, hook: HookSpec | Hook, handler: HookHandler | None = None) -> HookSpec | None:
        """Call this hook from now on (seed 001); returns the one of the same id that it replaces.

        Hooks live in this process and are shared by the session's handles in it; they end when the last of these is closed.
        A hook without handler and command lets everything pass. ConfigurationError when it cannot be used, InvalidArgument
        on a handle that only watches; then nothing has changed.
        """
        return self._live_hooks().register(hook, handler)

    def unregister_hook(self, hook_id: str) -> HookSpec | None:
        """Call the hook of this id no more; returns it, or None when there is none. Its handler stays (seed 001)."""
        return self._live_hooks().unregister(hook_id)

    def register_hook_handler(self, hook_id: str, handler: HookHandler) -> None:
        """The function behind the hook of this id, in place of the one before; it may come before the hook (seed 001)."""
        self._live_hooks().register_handler(hook_id, handler)

    def unregister_hook_handler(self, hook_id: str) -> None:
        """The hook of this id has no function any more. Nothing happens when it had none (seed 001)."""
        self._live_hooks().unregister_handler(hook_id)

    def hook_count(self) -> int:
        """How many hooks are registered in this process, the agent's included (seed 001)."""
        return self._hooks.count

    def hooks(self) -> list[HookSpec]:
        """The registered hooks, the agent's included, in the order in which they are called."""
        return self._hooks.list()

    def _live_hooks(self) -> Hooks:
        self._check_open()
        if not self._drives:
            raise InvalidArgument("this handle only watches: hooks are called by the process that drives the session")
        return self._home.hooks(self.id, keep=True)
