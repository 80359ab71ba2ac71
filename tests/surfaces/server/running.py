"""A real server on a real socket, in a thread of its own, so that tests may use synchronous clients."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import uvicorn

import godwit
from godwit.contracts import Model
from godwit.surfaces.server import ServerSettings, create_app

T = TypeVar("T")


class RunningServer:
    """`url`: its base address. `runtime`: use it only inside `call`, since it lives on the server's loop."""

    def __init__(self, url: str, runtime: godwit.Runtime, loop: asyncio.AbstractEventLoop) -> None:
        self.url = url
        self.runtime = runtime
        self._loop = loop

    def call(self, make: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Run it on the server's loop and wait for it."""
        return asyncio.run_coroutine_threadsafe(make(), self._loop).result(60)


@contextmanager
def running(
    database: Path | str,
    *,
    models: Mapping[str, Model],
    settings: ServerSettings | None = None,
    dialects: Sequence[Any] | None = None,
    **options: Any,
) -> Iterator[RunningServer]:
    """`settings.port` is replaced by a free one. `options` go to `Runtime.open`."""
    started = threading.Event()
    out: dict[str, Any] = {}

    async def main() -> None:
        async with await godwit.Runtime.open(database, models=models, **options) as runtime:
            app = create_app(runtime, settings or ServerSettings(port=0), dialects)
            server = uvicorn.Server(uvicorn.Config(app, "127.0.0.1", 0, log_config=None, lifespan="off"))
            await runtime.desk.recover()
            serving = asyncio.ensure_future(server.serve())
            while not server.started:
                if serving.done():
                    serving.result()
                await asyncio.sleep(0.005)
            port = server.servers[0].sockets[0].getsockname()[1]
            out.update(server=server, running=RunningServer(f"http://127.0.0.1:{port}", runtime, asyncio.get_running_loop()))
            started.set()
            await serving

    def run() -> None:
        try:
            asyncio.run(main())
        except BaseException as error:
            out["error"] = error
        finally:
            started.set()

    thread = threading.Thread(target=run, name="server")
    thread.start()
    started.wait(30)
    if "error" in out:
        thread.join()
        raise out["error"]
    try:
        yield out["running"]
    finally:
        out["server"].should_exit = True
        out["server"].force_exit = True
        thread.join(30)
        assert not thread.is_alive(), "the server did not end"
        if "error" in out:
            raise out["error"]
