"""An app on a real socket, in the loop of the test."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uvicorn
from starlette.applications import Starlette


@asynccontextmanager
async def served(app: Starlette) -> AsyncIterator[str]:
    """Its address, without a scheme."""
    with socket.create_server(("127.0.0.1", 0)) as listening:  # who connects before it accepts waits in its backlog
        host, port = listening.getsockname()
        server = uvicorn.Server(uvicorn.Config(app, log_level="critical", timeout_graceful_shutdown=1))
        task = asyncio.create_task(server.serve([listening]))
        try:
            yield f"{host}:{port}"
        finally:
            server.should_exit = True
            await task
