"""A real server on a real socket, in a thread of its own, so that tests may use synchronous clients."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import msgspec

import godwit
from godwit.contracts import Model
from godwit.host.api_keys import ApiKeys
from godwit.surfaces.server import ServerSettings, serving
from godwit.surfaces.server.app import App
from tests.patience import PATIENCE_S

T = TypeVar("T")


class RunningServer:
    """`url`: its base address. `key`: the operator's, where one is asked for. `runtime` and `app`: use them only inside
    `call`, since they live on the server's loop."""

    def __init__(
        self, url: str, key: str | None, runtime: godwit.Runtime, app: App, loop: asyncio.AbstractEventLoop
    ) -> None:
        self.url = url
        self.key = key
        self.runtime = runtime
        self.app = app
        self._loop = loop

    def call(self, make: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Run it on the server's loop and wait for it."""
        return asyncio.run_coroutine_threadsafe(make(), self._loop).result(PATIENCE_S)


async def _some_key(runtime: godwit.Runtime) -> str:
    keys = ApiKeys(runtime.store, runtime.clock, runtime.ids)
    return (await keys.create("operator", tenant=None, scopes=["admin"]))[0]


@contextmanager
def running(
    database: Path | str,
    *,
    models: Mapping[str, Model],
    settings: ServerSettings | None = None,
    dialects: Sequence[Any] | None = None,
    prepare: Callable[[godwit.Runtime], Coroutine[Any, Any, Any]] | None = None,
    make_key: bool = True,
    **options: Any,
) -> Iterator[RunningServer]:
    """`settings.port` is replaced by a free one. `prepare`: is awaited before the server listens, to make keys for instance.
    `make_key`: one of the operator's, where keys are asked for. `options` go to `Runtime.open`."""
    started = threading.Event()
    out: dict[str, Any] = {}
    chosen = msgspec.structs.replace(settings or ServerSettings(), port=0)

    async def main() -> None:
        loop, ended = asyncio.get_running_loop(), asyncio.Event()
        async with await godwit.Runtime.open(database, models=models, **options) as runtime:
            if prepare is not None:
                await prepare(runtime)
            key = await _some_key(runtime) if make_key and chosen.asks_for_keys and chosen.jwt is None else None
            async with serving(runtime, chosen, dialects) as server:
                out.update(end=lambda: loop.call_soon_threadsafe(ended.set))
                out.update(running=RunningServer(server.url, key, runtime, server.app, loop))
                started.set()
                await ended.wait()

    def run() -> None:
        try:
            asyncio.run(main())
        except BaseException as error:
            out["error"] = error
        finally:
            started.set()

    thread = threading.Thread(target=run, name="server")
    thread.start()
    started.wait(PATIENCE_S)
    if "error" in out:
        thread.join()
        raise out["error"]
    try:
        yield out["running"]
    finally:
        out["end"]()
        thread.join(PATIENCE_S)
        assert not thread.is_alive(), "the server did not end"
        if "error" in out:
            raise out["error"]
