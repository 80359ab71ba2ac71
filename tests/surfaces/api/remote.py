"""A server on a real socket in the test's own event loop, and a bench whose sessions are remote handles on it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import godwit
from godwit.client import RemoteRuntime, connect
from godwit.host.runtime import Runtime
from godwit.models.script import Script
from godwit.surfaces.api import Api
from godwit.surfaces.server import ServerSettings
from godwit.surfaces.server.listening import serving
from tests.engine.conftest import MODEL, Bench


@asynccontextmanager
async def served(runtime: Runtime, settings: ServerSettings | None = None) -> AsyncIterator[str]:
    """The server's address, while it serves this runtime."""
    async with serving(runtime, settings or ServerSettings(port=0), [Api]) as server:
        yield server.url


class RemoteBench(Bench):
    """The engine's bench, with a server in between: what it gives out are clients and remote handles.

    `hosts`: the runtimes behind the servers. A session's function tools are registered with the server's runtime, for they
    cannot be sent.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.hosts: list[Runtime] = []
        self.clients: list[RemoteRuntime] = []
        self._stack = AsyncExitStack()

    async def runtime(self, script: Script = (), **options: Any) -> Any:
        host = await super().runtime(script, **options)
        self.hosts.append(host)
        url = await self._stack.enter_async_context(served(host))
        client = await self._stack.enter_async_context(connect(url))
        self.clients.append(client)
        self.runtimes[-1] = client  # type: ignore[call-overload]
        return client

    async def start(self, script: Script, *tools: Any, runtime: Any = None, **agent: Any) -> Any:
        client = runtime or await self.runtime(script)
        if self.model is not None and script:
            self.model._turns = list(script)
        self.register(tools)
        named = [one if isinstance(one, str | godwit.ToolDefinition) else one.definition.name for one in tools]
        made = godwit.Agent("tester", model=agent.pop("model", MODEL), tools=named, **agent)
        return await client.start_session(made, workspace=self.workspace)

    def register(self, tools: Sequence[Any]) -> None:
        for tool in tools:
            if hasattr(tool, "definition"):
                self.hosts[-1]._tools._searching._toolbox.register(tool, replace=True)

    async def close(self) -> None:
        await self._stack.aclose()
        for host in self.hosts:
            await host.close()
        self.hosts.clear()
        self.clients.clear()
        self.runtimes.clear()
