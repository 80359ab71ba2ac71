"""Caller: who asks, and what of the service they may use. Over stdio it is the person whose process this is."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from ...contracts import SessionRow
from ...core.errors import ConfigurationError, ToolNotFound
from ...core.principal import Principal, Scope
from ...engine.session import Session
from .service import Service


@dataclass(frozen=True)
class Caller:
    """`begins`: what is to be done before something is changed for this request, once or more often."""

    service: Service
    principal: Principal
    begins: Callable[[], Awaitable[None]] | None = None

    async def changes(self, scope: Scope = "operate") -> None:
        """Something is about to be changed. PermissionDenied."""
        self.principal.require(scope)
        if self.begins is not None:
            await self.begins()

    async def row(self, session: str) -> SessionRow:
        """SessionNotFound, also for one of another tenant."""
        return await self.service.row(self.principal, session)

    async def driven(self, session: str) -> Session:
        """A handle that drives the session here; one that only looks where this host cannot drive it, or the caller may
        not have it driven."""
        if self.principal.may("operate"):
            try:
                return await self.service.session(self.principal, session)
            except (ToolNotFound, ConfigurationError):
                pass
        return await self.watched(session)

    async def watched(self, session: str) -> Session:
        """A handle to look with: nothing is driven because of it."""
        row = await self.row(session)
        return await self.service.runtime.open_session(row.id, drive=False)
