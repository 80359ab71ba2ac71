"""The app of a server: the dialects behind one front."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from .callers import Callers
from .dialect import Dialect
from .front import Front
from .login_pages import LOGIN_PATH
from .operations import operations
from .service import Service
from .settings import ServerSettings
from .sources import webhook_sources
from .upkeep import Upkeep

if TYPE_CHECKING:
    from ...host.runtime import Runtime

MakeDialect = Callable[[Service], Dialect]


class App(Front):
    """An ASGI app. `upkeep.start()` before the first request and `upkeep.stop()` after the last one, as `serve` does."""

    def __init__(self, service: Service, dialects: Sequence[Dialect]) -> None:
        super().__init__(service, dialects, Callers(service), lambda front: operations(front, lambda: self.upkeep.ready))
        self.upkeep = Upkeep(self)


def create_app(
    runtime: Runtime, settings: ServerSettings | None = None, dialects: Sequence[MakeDialect] | None = None
) -> App:
    """An ASGI app over this runtime, which stays the caller's to close; from now on it heeds `settings.max_runs` and reaches
    what `settings.reach` names. `dialects`: by default all there are."""
    if settings is not None and settings.max_runs is not None:
        runtime.limit_runs(settings.max_runs)
    if settings is not None:
        runtime.allow_reach(settings.reach)
        if settings.public_url is not None:
            runtime.mcp.logins.come_back_to(settings.public_url.rstrip("/") + LOGIN_PATH)
    service = Service(runtime, settings or ServerSettings(), webhook_sources())
    return App(service, [make(service) for make in (_dialects() if dialects is None else dialects)])


def _dialects() -> Sequence[MakeDialect]:
    from ..agui.app import Agui
    from ..api import Api
    from ..managed_agents import ManagedAgents
    from ..mcp_server import McpServer
    from ..openai_agents import OpenAIAgents

    return (Api, McpServer, Agui, OpenAIAgents, ManagedAgents)
