"""Answers: the part of a session's handle that answers what the session waits for."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

from ..core.events import Remember
from ..core.messages import ResultBlock
from .approvals import Approvals
from .handle import Handle


class Answers(Handle):
    """Approvals, questions, and results from outside. An answer wakes the session here."""

    @cached_property
    def approvals(self) -> Approvals:
        """What the session waits for, and the answers."""
        return Approvals(self._store, self.id, self._inbox, self._home.clock)

    async def approve(
        self,
        action: str,
        *,
        arguments: dict[str, Any] | None = None,
        remember: Remember | None = None,
        rule: str | None = None,
        sender: str | None = None,
    ) -> bool:
        """See `Approvals.approve`; wakes the session here."""
        given = self.approvals.approve(action, arguments=arguments, remember=remember, rule=rule, sender=sender)
        return await self._answered(given)

    async def deny(
        self,
        action: str,
        reason: str | None = None,
        *,
        remember: Remember | None = None,
        rule: str | None = None,
        sender: str | None = None,
    ) -> bool:
        """See `Approvals.deny`; wakes the session here."""
        return await self._answered(self.approvals.deny(action, reason, remember=remember, rule=rule, sender=sender))

    async def answer(
        self,
        action: str,
        result: str | tuple[ResultBlock, ...] | Mapping[str, Any],
        *,
        is_error: bool = False,
        sender: str | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> bool:
        """See `Approvals.answer`; wakes the session here."""
        given = self.approvals.answer(action, result, is_error=is_error, sender=sender, metadata=metadata)
        return await self._answered(given)

    async def _answered(self, answer: Any) -> bool:
        answered: bool = await answer
        self._wake()
        return answered
