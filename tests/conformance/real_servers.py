"""The reference servers of the protocol, as `scripts/conformance` installs them, and how each is reached in a test."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tests.conformance import suite
from tests.patience import PATIENCE_S

from godwit import McpServer, McpSettings

FROM_PYPI = suite.ROOT / ".clients" / "servers"
OF_NPM = ("everything", "filesystem", "memory", "sequential-thinking")
OF_PYPI = ("git", "time")


class Served(NamedTuple):
    """A server as an agent names it, and what its runtime has to be told."""

    server: McpServer
    settings: McpSettings


def absent() -> str | None:
    """Why the servers cannot be used."""
    if not (FROM_PYPI / "bin" / "python").exists():
        return "the MCP servers from PyPI are not installed: scripts/conformance does that"
    return suite.absent()


def command(name: str, *args: str) -> list[str]:
    """The program that speaks over stdio."""
    if name in OF_PYPI:
        return [str(FROM_PYPI / "bin" / f"mcp-server-{name}"), *args]
    folder = suite.PACKAGES / "@modelcontextprotocol" / f"server-{name}"
    about = json.loads((folder / "package.json").read_text(encoding="utf-8"))
    (script,) = about["bin"].values()
    return [str(suite.node()), str(folder / script), *args]


@contextlib.contextmanager
def served(name: str, way: str, *args: str, env: dict[str, str] | None = None) -> Iterator[Served]:
    """The server `real`, reached by `stdio`, `http` or `sse`. `args`: of its program."""
    env = env or {}
    if way == "stdio":
        first, *rest = command(name, *args)
        yield Served(McpServer("real", command=first, args=tuple(rest), env=env), McpSettings(wait_s=PATIENCE_S))
        return
    port, path = 0, "/mcp"
    if name == "everything":
        port = _free_port()
        words = command(name, "streamableHttp" if way == "http" else "sse")
        env, path = {**env, "PORT": str(port)}, "/mcp" if way == "http" else "/sse"
    elif name in OF_PYPI:
        served_by = str(Path(__file__).with_name("served.py"))
        words = [str(FROM_PYPI / "bin" / "python"), served_by, name, *(one for one in args if one != "--repository")]
    else:
        words = [sys.executable, str(Path(__file__).with_name("bridge.py")), *command(name, *args)]
    with subprocess.Popen(words, env={**os.environ, **env}, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        try:
            assert process.stdout is not None
            here = f"127.0.0.1:{port or int(process.stdout.readline())}"
            if port:
                _until_it_listens(port, process)
            transport = "sse" if way == "sse" else "http"
            server = McpServer("real", f"http://{here}{path}", transport=transport)  # type: ignore[arg-type]
            yield Served(server, McpSettings(reach=(here,), wait_s=PATIENCE_S))
        finally:
            process.kill()


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def _until_it_listens(port: int, process: subprocess.Popen[bytes]) -> None:
    until_s = time.monotonic() + PATIENCE_S
    while time.monotonic() < until_s and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.02)
    raise AssertionError(f"nothing listens on port {port}")
