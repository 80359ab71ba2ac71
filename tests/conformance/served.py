"""Serves a reference server from PyPI over streamable HTTP, as its own object: `served.py time` or `served.py git [FOLDER]`;
its port is the first line of its stdout. Is run by the Python that the servers are installed for."""

from __future__ import annotations

import asyncio
import importlib
import socket
import sys
from pathlib import Path

import uvicorn


def main(name: str, place: list[str]) -> None:
    create = importlib.import_module(f"mcp_server_{name}.server").create_server
    server = create("Etc/UTC") if name == "time" else create(Path(place[0]) if place else None)
    connection = socket.socket()
    connection.bind(("127.0.0.1", 0))
    print(connection.getsockname()[1], flush=True)
    app = server.streamable_http_app(host="127.0.0.1")
    asyncio.run(uvicorn.Server(uvicorn.Config(app, log_level="warning")).serve([connection]))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
