"""The outside that commands in a sandbox try to reach: files, secrets, servers and processes, made anew for each test."""

from __future__ import annotations

import contextlib
import http.server
import os
import select
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ..core.sandbox import SandboxPolicy

SECRET = "the secret"


class Outside:
    """What lies around a workspace: a folder of files, secrets, and things that listen."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.mark = f"godwit-{uuid.uuid4().hex[:12]}"
        self.workspace = folder / "workspace"
        self.outside = folder / "outside"
        self.secrets = folder / "hidden"
        self.database = self.workspace / ".godwit" / "godwit.db"
        for one in (self.workspace, self.outside, self.secrets, self.outside / "empty"):
            one.mkdir()
        self.file = self.outside / "file"
        self.file.write_text("untouched\n")
        self.key = self.secrets / "key"
        self.key.write_text(SECRET)
        self.program = self.secrets / "program"
        self.program.write_text(f"#!/bin/sh\necho {SECRET}\n")
        self.program.chmod(0o700)
        self.single = self.outside / "token"
        self.single.write_text(SECRET)
        (folder / "way-to-hidden").symlink_to(self.secrets)
        self.received = 0
        self._open: list[Any] = []
        self._stop = threading.Event()

    def policy(self, **options: Any) -> SandboxPolicy:
        hidden = (str(self.folder / "way-to-hidden"), str(self.single), *options.pop("hidden", ()))
        return SandboxPolicy(hidden=hidden, **options)

    def state(self) -> dict[str, tuple[Any, ...]]:
        """Everything about the files outside, but for when they were last read."""
        found = {}
        for folder, names, files in os.walk(self.outside):
            for name in (*names, *files, "."):
                path = os.path.join(folder, name)
                seen = os.lstat(path)
                content = Path(path).read_bytes() if os.path.isfile(path) and not os.path.islink(path) else b""
                attributes = os.listxattr(path, follow_symlinks=False) if hasattr(os, "listxattr") else []
                found[path] = (seen.st_mode, seen.st_uid, seen.st_gid, seen.st_mtime_ns, seen.st_size, content, attributes)
        return found

    @contextlib.contextmanager
    def another_process(self) -> Iterator[subprocess.Popen[bytes]]:
        """A process of ours beside the command. It is known by its arguments and by a variable."""
        process = subprocess.Popen(
            [sys.executable, "-c", "import time; time.sleep(600)", f"other-{self.mark}"],
            env={**os.environ, f"SECRET_{self.mark.replace('-', '_')}": SECRET},
            cwd=self.folder,
            start_new_session=True,
            stdin=subprocess.DEVNULL,
        )
        try:
            yield process
        finally:
            process.kill()
            process.wait()

    @contextlib.contextmanager
    def servers(self) -> Iterator[dict[str, Any]]:
        """Things that listen: TCP, UDP, socket files, an abstract socket. Whoever reaches one is counted."""
        facts: dict[str, Any] = {}
        inet = socket.create_server(("0.0.0.0", 0))
        facts["tcp"] = inet.getsockname()[1]
        datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        datagrams.bind(("0.0.0.0", 0))
        facts["udp"] = datagrams.getsockname()[1]
        listening = [inet, datagrams]
        # A socket's path may have about 100 bytes, and this folder's may be longer.
        with _working_in(self.outside):
            for name, kind in (("socket", socket.SOCK_STREAM), ("datagrams", socket.SOCK_DGRAM)):
                one = socket.socket(socket.AF_UNIX, kind)
                one.bind(_short(self.outside / name))
                listening.append(one)
                facts[name] = str(self.outside / name)
        if sys.platform == "linux":
            abstract = socket.socket(socket.AF_UNIX)
            abstract.bind("\0" + self.mark)
            listening.append(abstract)
        for one in listening:
            if one.type == socket.SOCK_STREAM:
                one.listen()
        facts["hosts"] = ["127.0.0.1", "localhost", *_own_addresses()]
        thread = threading.Thread(target=self._serve, args=(listening,), daemon=True)
        thread.start()
        try:
            yield facts
        finally:
            self._stop.set()
            thread.join()
            for one in listening:
                one.close()

    @contextlib.contextmanager
    def web(self) -> Iterator[int]:
        """A port of all addresses at which a web server tells each who asks which host it was asked for. Reaching it counts
        as nothing."""
        mark = self.mark

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                said = f"reached {mark}\nhost: {', '.join(self.headers.get_all('Host', []))}\n".encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(said)))
                self.end_headers()
                self.wfile.write(said)

            do_POST = do_GET

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - as it is called above
                pass

        server = http.server.ThreadingHTTPServer(("0.0.0.0", 0), Handler)
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()
            server.server_close()

    def _serve(self, listening: Sequence[socket.socket]) -> None:
        while not self._stop.is_set():
            ready, _, _ = select.select(listening, [], [], 0.02)
            for one in ready:
                if one.type == socket.SOCK_STREAM:
                    connection, _ = one.accept()
                    with connection:
                        self.received += 1
                        with contextlib.suppress(OSError):
                            connection.sendall(b"reached")
                else:
                    one.recv(1000)
                    self.received += 1

    def drained(self) -> int:
        """How many reached a server, when all that is under way has come."""
        time.sleep(0.1)
        return self.received


def _short(path: Path) -> str:
    return path.name


@contextlib.contextmanager
def _working_in(folder: Path) -> Iterator[None]:
    before = os.getcwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def _own_addresses() -> list[str]:
    """An address of this machine beside loopback, if it has one. Nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        try:
            one.connect(("192.0.2.1", 9))
        except OSError:
            return []
        return [one.getsockname()[0]]
