"""Listening: one server from its start to its end.

It listens only when somebody can get in, and is ready when runs of dead processes were gone on with. Told to end (SIGTERM,
SIGINT), it takes no new connections, ends its streams with a word to connect again, lets open requests end, and leaves the
open runs to the runtime's `close`, which lets each yield at a checkpoint.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import signal
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import uvicorn

from ...core.errors import ConfigurationError
from .app import App, MakeDialect, create_app
from .connection import connection_class
from .settings import ServerSettings
from .tls import CHECK_S, Certificate

if TYPE_CHECKING:
    from ...host.runtime import Runtime


class Serving:
    """A server that answers. `url`: its address."""

    def __init__(self, app: App, server: _Server, port: int) -> None:
        settings = app.service.settings
        host = f"[{settings.host}]" if ":" in settings.host else settings.host
        self.app = app
        self.url = f"{'http' if settings.tls_cert is None else 'https'}://{host}:{port}"
        self._server = server

    def end(self) -> None:
        """Begin to end; `serving` returns when it has."""
        self._server.should_exit = True

    async def wait(self) -> None:
        """Until it was told to end."""
        await self._server.told.wait()


class _Server(uvicorn.Server):
    """Tells when it begins to end, and leaves signals to us."""

    def __init__(self, config: uvicorn.Config, ending: Callable[[], None]) -> None:
        super().__init__(config)
        self.up = asyncio.Event()
        """It listens, or cannot."""
        self.told = asyncio.Event()
        self._ending = ending

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: Any = None) -> None:
        await super().startup(sockets)
        self.up.set()

    async def shutdown(self, sockets: Any = None) -> None:
        self.told.set()
        self._ending()
        await super().shutdown(None)


@contextlib.asynccontextmanager
async def serving(
    runtime: Runtime, settings: ServerSettings | None = None, dialects: Sequence[MakeDialect] | None = None
) -> AsyncIterator[Serving]:
    """A server that answers inside of the block. ConfigurationError when nobody could get in, the address is taken, or its
    certificate cannot be used."""
    app = create_app(runtime, settings, dialects)
    settings = app.service.settings
    await app.callers.check()
    certificate = None if settings.tls_cert is None else Certificate(settings.tls_cert, settings.tls_key)
    if certificate is not None:
        app.upkeep.also(certificate.refresh, CHECK_S)
    config = uvicorn.Config(
        app,
        settings.host,
        settings.port,
        http=connection_class(settings.header_s, settings.send_s),
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        h11_max_incomplete_event_size=settings.max_header,
        timeout_keep_alive=max(1, round(settings.keep_alive_s)),
        timeout_graceful_shutdown=max(1, round(settings.shutdown_s)),
        ssl_context_factory=None if certificate is None else lambda *_: certificate.context,
    )
    server = _Server(config, app.service.tenants.end_streams)
    running = asyncio.create_task(_run(server))
    try:
        await server.up.wait()
        if not server.started:
            raise ConfigurationError(f"the address {settings.host}:{settings.port} cannot be listened on", field="port")
        await app.upkeep.start()
        yield Serving(app, server, server.servers[0].sockets[0].getsockname()[1])
    finally:
        server.should_exit = True
        try:
            await asyncio.gather(running, return_exceptions=True)
        finally:
            await app.upkeep.stop()


async def _run(server: _Server) -> None:
    try:
        await server.serve()
    except SystemExit:
        pass  # it has logged why, and `started` says that it does not listen
    finally:
        server.up.set()
        server.told.set()


def freeze() -> None:
    """What lives by now, most of it code, is not looked at again for garbage: a look at all of it stops everything for a
    tenth of a second. For a process that does nothing else than serve, once it listens."""
    gc.collect()
    gc.freeze()


async def serve(
    runtime: Runtime,
    settings: ServerSettings | None = None,
    *,
    dialects: Sequence[MakeDialect] | None = None,
    started: Callable[[Serving], None] | None = None,
) -> None:
    """Serve until the task is cancelled or the process is told to end by SIGTERM or SIGINT. `started`: is called when it
    answers. Close the runtime then: that lets open runs yield."""
    async with serving(runtime, settings, dialects) as server:
        loop = asyncio.get_running_loop()
        caught = []
        for number in (signal.SIGTERM, signal.SIGINT):
            with contextlib.suppress(NotImplementedError, RuntimeError, ValueError):
                loop.add_signal_handler(number, server.end)
                caught.append(number)
        freeze()
        try:
            if started is not None:
                started(server)
            await server.wait()
        finally:
            for number in caught:
                loop.remove_signal_handler(number)
