"""A command that may reach some hosts: with real programs, against servers of this test's own, and what a name server of
somebody else's could do. What a command tries by itself stands in `godwit.testing.escapes`."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import http.server
import os
import shutil
import socket
import struct
import subprocess
import tempfile
import termios
import threading
import zipfile
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from godwit.contracts import Execution
from godwit.core.errors import ConfigurationError, ToolFailed
from godwit.core.hosts import Hosts
from godwit.core.sandbox import SandboxPolicy
from godwit.engine.cancel import Cancel
from godwit.workspaces.egress.outlet import Outlet
from godwit.workspaces.egress.service import SERVICE
from godwit.workspaces.local import LocalWorkspace
from godwit.workspaces.sandboxes.bubblewrap import Bubblewrap
from godwit.workspaces.sandboxes.choice import choose
from godwit.workspaces.sandboxes.landlock import Landlock
from godwit.workspaces.sandboxes.none import Unconfined

if (problem := Bubblewrap().problem()) is not None:
    pytest.skip(problem, allow_module_level=True)


class Names:
    """A name server: the addresses of each name, and which were asked for."""

    def __init__(self) -> None:
        self.known: dict[str, list[list[str]]] = {}
        self.asked: list[str] = []

    def give(self, name: str, *answers: Sequence[str]) -> None:
        """One answer after another, the last one again and again."""
        self.known[name] = [list(one) for one in answers]

    async def resolve(self, name: str) -> list[str]:
        self.asked.append(name)
        answers = self.known.get(name)
        if answers is None:
            raise OSError(f"no such name: {name}")
        return answers.pop(0) if len(answers) > 1 else answers[0]


@pytest.fixture
def names() -> Names:
    return Names()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        if self.headers.get("Transfer-Encoding") == "chunked":
            received = b""
            while size := int(self.rfile.readline(), 16):
                received += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        else:
            received = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        said = b"%d bytes" % len(received)
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - as it is called above
        pass


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[Path, int]]:
    """A folder, and the port at 127.0.0.1 where it is served."""
    folder = tmp_path / "served"
    folder.mkdir()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        yield folder, server.server_address[1]
        server.shutdown()
        thread.join()


@pytest.fixture
def root() -> Iterator[Path]:
    cache = Path.home() / ".cache"
    cache.mkdir(exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="godwit-hosts-", dir=cache))
    yield folder
    shutil.rmtree(folder)


Run = Callable[..., Any]


@pytest.fixture
def run(root: Path, names: Names) -> Run:
    backend = Bubblewrap(resolve=names.resolve)

    async def run(command: str, *allowed: str, denied: Sequence[str] = (), **options: Any) -> tuple[Execution, str]:
        output: list[bytes] = []
        policy = SandboxPolicy(allowed_hosts=allowed, denied_hosts=tuple(denied))
        workspace = LocalWorkspace(root, sandbox=policy, backend=backend)
        options.setdefault("timeout_s", 60)
        try:
            ended = await workspace.execute(command, output=output.append, **options)
        finally:
            await workspace.close()
        return ended, b"".join(output).decode(errors="replace")

    return run


def needs(program: str) -> None:
    if shutil.which(program) is None:
        pytest.skip(f"there is no {program} here")


# --- names and addresses ----------------------------------------------------------------------------------------------


async def test_a_listed_name_leads_to_an_address_only_when_that_may_be_reached(
    run: Run, names: Names, served: tuple[Path, int]
) -> None:
    """A name server that says what it likes reaches nothing of this machine's or its network's."""
    folder, port = served
    (folder / "a").write_text("the file")
    address = f"http://rebind.example:{port}/a"
    for answer in (["127.0.0.1"], ["93.184.216.34", "127.0.0.1"], ["::1"], ["::ffff:127.0.0.1"], ["10.0.0.1"], ["0.0.0.0"]):
        names.give("rebind.example", answer)
        _, said = await run(f"curl -sS {address}", f"rebind.example:{port}")
        assert "leads to an address that is not public" in said, answer
        assert "the file" not in said
    names.give("rebind.example", ["127.0.0.1"])
    ended, said = await run(f"curl -sS {address}", f"rebind.example:{port}", f"127.0.0.1:{port}")
    assert (ended.exit_code, said) == (0, "the file"), "whoever lists the address as well wants it"


async def test_a_name_is_looked_up_once_for_a_connection(run: Run, names: Names, served: tuple[Path, int]) -> None:
    """The first answer would pass, the second would lead here: the connection goes to what was judged."""
    _, port = served
    names.give("rebind.example", ["192.0.2.1"], ["127.0.0.1"])
    _, said = await run(f"curl -sS http://rebind.example:{port}/", f"rebind.example:{port}")
    assert "not public" in said
    assert names.asked == ["rebind.example"]


async def test_a_metadata_service_is_reached_by_nobody(run: Run, names: Names) -> None:
    names.give("metadata.example", ["169.254.169.254"])
    for address, *listed in (
        ("http://169.254.169.254/", "169.254.169.254"),
        ("http://metadata.example/", "metadata.example", "169.254.0.0/16"),
        ("http://169.254.169.254/", "*"),
    ):
        _, said = await run(f"curl -sS {address}", *listed)
        assert "not public (metadata)" in said


async def test_what_is_not_listed_is_not_looked_up(run: Run, names: Names) -> None:
    """A lookup would tell the name's own name server whatever is in the name."""
    names.give("data.evil.example", ["127.0.0.1"])
    _, said = await run("curl -sS http://data.evil.example/; getent hosts data.evil.example", "listed.example")
    assert "data.evil.example is not in the sandbox's allowed_hosts, which is listed.example" in said
    assert names.asked == []


async def test_wildcards_ports_and_what_is_denied(run: Run, names: Names, served: tuple[Path, int]) -> None:
    folder, port = served
    (folder / "a").write_text("the file")
    for name in ("a.listed.example", "b.listed.example", "listed.example", "notlisted.example"):
        names.give(name, ["127.0.0.1"])
    lists = (f"*.listed.example:{port}", f"127.0.0.1:{port}")
    denied = ("b.listed.example",)
    _, said = await run(f"curl -sS http://a.listed.example:{port}/a", *lists, denied=denied)
    assert said == "the file"
    _, said = await run(f"curl -sS http://b.listed.example:{port}/a", *lists, denied=denied)
    assert "b.listed.example is in the sandbox's denied_hosts" in said
    for name in ("listed.example", "notlisted.example"):
        _, said = await run(f"curl -sS http://{name}:{port}/a", *lists)
        assert f"{name} is not in the sandbox's allowed_hosts" in said
    _, said = await run("curl -sS http://a.listed.example/a", *lists)
    assert "port 80 of a.listed.example is not in" in said
    _, said = await run(f"curl -sS http://a.listed.example:{port}/a", "*.listed.example")
    assert f"port {port} of a.listed.example is not in" in said


async def test_localhost_is_this_machine_only_when_it_is_listed(run: Run, names: Names, served: tuple[Path, int]) -> None:
    folder, port = served
    (folder / "a").write_text("the file")
    names.give("localhost", ["127.0.0.1"])
    own = (
        "python3 -c \"import http.server as h; h.test(h.SimpleHTTPRequestHandler, port=8099, bind='127.0.0.1')\" "
        ">/dev/null 2>&1 & until curl -sS http://localhost:8099/mine 2>/dev/null; do :; done"
    )
    _, said = await run(f"echo its own > mine; {own}", "listed.example")
    assert said == "its own\n", "without an entry a command's loopback is its own"
    _, said = await run(f"curl -sS http://localhost:{port}/a", f"localhost:{port}")
    assert said == "the file"


# --- programs ---------------------------------------------------------------------------------------------------------


async def test_curl_sends_and_gets(run: Run, names: Names, served: tuple[Path, int], root: Path) -> None:
    needs("curl")
    folder, port = served
    names.give("files.example", ["127.0.0.1"])
    lists = (f"files.example:{port}", f"127.0.0.1:{port}")
    content = os.urandom(3_000_000)
    (folder / "large").write_bytes(content)
    (root / "mine").write_bytes(content)
    base = f"http://files.example:{port}"
    ended, said = await run(f"curl -sSf {base}/large -o got && cmp got mine && echo same", *lists)
    assert (ended.exit_code, said) == (0, "same\n")
    ended, said = await run(f"curl -sSf -p {base}/large -o got && cmp got mine && echo same", *lists)
    assert (ended.exit_code, said) == (0, "same\n"), "through CONNECT"
    ended, said = await run(
        f"curl -sSf --socks5-hostname 127.0.0.1:3128 {base}/large -o got && cmp got mine && echo same", *lists
    )
    assert (ended.exit_code, said) == (0, "same\n"), "through SOCKS"
    for header in ("", "-H 'Transfer-Encoding: chunked'", "-H 'Expect: 100-continue'"):
        _, said = await run(f"curl -sSf {header} --data-binary @mine {base}/", *lists)
        assert said == "3000000 bytes", header
    ended, said = await run(f"curl -sSI {base}/large | grep -i -E '^(HTTP|content-length)'", *lists)
    assert said.split() == ["HTTP/1.1", "200", "OK", "Content-Length:", "3000000"]
    _, said = await run(f"for i in 1 2 3 4 5 6 7 8; do curl -sSf {base}/large | wc -c & done; wait", *lists)
    assert said.split() == ["3000000"] * 8


async def test_a_refusal_is_a_403_that_says_why_and_stands_at_the_end_of_the_output(run: Run) -> None:
    needs("curl")
    ended, said = await run("curl -sS -w '%{http_code}\\n' http://evil.example/x; echo the last", "listed.example")
    why = "evil.example is not in the sandbox's allowed_hosts, which is listed.example"
    assert said.splitlines() == [f"godwit: {why}", "403", "the last", f"godwit: refused evil.example:80: {why}"]
    assert ended.exit_code == 0
    ended, said = await run(
        "for i in 1 2 3; do curl -s https://evil.example/; done; curl -s telnet://evil.example:25", "x.example"
    )
    assert said.count("godwit: refused evil.example:443") == 1
    assert "(3 times)" in said


async def test_a_host_that_cannot_be_reached_is_no_refusal(run: Run, names: Names) -> None:
    needs("curl")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    names.give("down.example", ["127.0.0.1"])
    _, said = await run(
        f"curl -sS -w ' %{{http_code}}' http://down.example:{port}/", f"down.example:{port}", f"127.0.0.1:{port}"
    )
    assert said.startswith(f"godwit: no connection to down.example:{port}")
    assert said.endswith(" 502")
    _, said = await run("curl -sS -w ' %{http_code}' http://nowhere.example/", "nowhere.example")
    assert "nowhere.example could not be looked up" in said
    assert "refused" not in said


async def test_git_clones_and_pip_installs(run: Run, names: Names, served: tuple[Path, int]) -> None:
    needs("git")
    folder, port = served
    names.give("code.example", ["127.0.0.1"])
    lists = (f"code.example:{port}", f"127.0.0.1:{port}")
    _repository(folder / "project")
    ended, said = await run(f"git clone -q http://code.example:{port}/project/.git cloned && cat cloned/file", *lists)
    assert (ended.exit_code, said) == (0, "of the repository\n")
    ended, said = await run("git clone -q http://other.example/x away", *lists)
    assert ended.exit_code != 0
    assert "other.example is not in" in said
    _index(folder / "simple")
    index = f"--index-url http://code.example:{port}/simple --trusted-host code.example --no-cache-dir"
    pip = f"PIP_CONFIG_FILE=/dev/null PIP_FIND_LINKS= pip install -q {index} --target got kitten"
    ended, said = await run(f"{pip} >/dev/null 2>&1; PYTHONPATH=got python3 -c 'import kitten; print(kitten.SAYS)'", *lists)
    assert said.splitlines()[-1:] == ["miaow"], said


def _repository(folder: Path) -> None:
    folder.mkdir()
    (folder / "file").write_text("of the repository\n")
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b.c", "-C", str(folder)]
    for words in (["init", "-q"], ["add", "file"], ["commit", "-q", "-m", "one"], ["update-server-info"]):
        subprocess.run([*git, *words], check=True)


def _index(folder: Path) -> None:
    place = folder / "kitten"
    place.mkdir(parents=True)
    wheel = place / "kitten-1.0-py3-none-any.whl"
    about = "kitten-1.0.dist-info"
    with zipfile.ZipFile(wheel, "w") as file:
        file.writestr("kitten.py", "SAYS = 'miaow'\n")
        file.writestr(f"{about}/METADATA", "Metadata-Version: 2.1\nName: kitten\nVersion: 1.0\n")
        file.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        file.writestr(f"{about}/RECORD", "")
    (place / "index.html").write_text(f'<a href="{wheel.name}">{wheel.name}</a>')


async def test_node_asks_the_proxy(run: Run, names: Names, served: tuple[Path, int]) -> None:
    needs("npm")
    folder, port = served
    names.give("npm.example", ["127.0.0.1"])
    (folder / "kitten").write_text('{"name": "kitten", "dist-tags": {"latest": "1.2.3"}, "versions": {"1.2.3": {}}}')
    _, said = await run(
        f"HOME=$PWD npm --registry=http://npm.example:{port}/ view kitten dist-tags.latest 2>&1 | tail -3",
        f"npm.example:{port}",
        f"127.0.0.1:{port}",
    )
    assert "1.2.3" in said


# --- ends -------------------------------------------------------------------------------------------------------------


async def test_connections_end_with_the_command_and_nothing_is_left(run: Run) -> None:
    """Also when the command is killed in the middle of one."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        listed = f"127.0.0.1:{server.getsockname()[1]}"
        await run("true", listed)
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(3):
            cancel = Cancel()
            running = asyncio.create_task(run(f"curl -sS http://{listed}/", listed, cancel=cancel, grace_s=0.0))
            connection, _ = await asyncio.to_thread(server.accept)
            with connection:
                assert (await asyncio.to_thread(connection.recv, 4)) == b"GET "
                cancel.cancel()
                ended, _ = await running
                assert ended == Execution(None, cancelled=True)
                connection.settimeout(20)
                with contextlib.suppress(ConnectionError):
                    while await asyncio.to_thread(connection.recv, 1000):
                        pass
        for _ in range(200):
            if len(os.listdir("/proc/self/fd")) <= before:
                break
            await asyncio.sleep(0.01)
        assert len(os.listdir("/proc/self/fd")) <= before


async def test_no_descriptor_and_no_signal_is_changed_for_the_command(run: Run) -> None:
    _, said = await run("ls /proc/self/fd | wc -l; grep SigIgn /proc/self/status; exit 7", "listed.example")
    count, ignored = said.splitlines()
    assert count.strip() == "4", "three and the folder that is being listed"
    assert int(ignored.split()[1], 16) == 0
    ended, _ = await run("exit 7", "listed.example")
    assert ended.exit_code == 7


async def test_what_is_handed_out_is_believed_to_be_nothing_but_a_listening_socket(tmp_path: Path) -> None:
    """The program that hands it out runs within the sandbox, and may be another one than ours."""
    there = tmp_path / "file"
    there.write_text("x")
    running = threading.Event()
    SERVICE.call(running.set)  # its event loop is made now, if it was not there
    await asyncio.to_thread(running.wait)
    before = len(os.listdir("/proc/self/fd"))
    with (
        there.open() as file,
        socket.socket(socket.AF_UNIX) as unix,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams,
        socket.socket() as silent,
    ):
        unix.bind(str(tmp_path / "socket"))
        unix.listen()
        every: list[list[Any]] = [[file], [unix], [datagrams], [silent], [file, unix, datagrams, silent], []]
        for sent in every:
            outlet = Outlet(Hosts(("127.0.0.1",)))
            outlet.open()
            with socket.socket(fileno=os.dup(outlet.descriptor)) as way:
                way.settimeout(20)
                socket.send_fds(way, [b"x"], [one.fileno() for one in sent])
                for _ in range(20_000):  # until it has been received
                    if not struct.unpack("i", fcntl.ioctl(way, termios.TIOCOUTQ, b"\0" * 4))[0]:
                        break
                    await asyncio.sleep(0.001)
                outlet.close()
                with contextlib.suppress(ConnectionResetError):
                    assert await asyncio.to_thread(way.recv, 1) == b"", "it was not taken, and nobody listens any more"
    for _ in range(200):
        if len(os.listdir("/proc/self/fd")) <= before:
            break
        await asyncio.sleep(0.01)
    assert len(os.listdir("/proc/self/fd")) <= before


# --- a list is held or refused ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", [Landlock(), Unconfined()], ids=["landlock", "none"])
async def test_a_backend_that_cannot_hold_a_list_does_not_start(tmp_path: Path, backend: Any) -> None:
    policy = SandboxPolicy(backend=backend.name, allowed_hosts=("listed.example",))
    if backend.problem() is None:
        with pytest.raises(ConfigurationError, match="the sandbox must keep network_limited, and here"):
            choose(policy, among=(backend,))
    workspace = LocalWorkspace(tmp_path, sandbox=policy, backend=backend)
    with pytest.raises(ToolFailed, match="cannot hold a command to the hosts of a list"):
        await workspace.execute("echo it ran > there", output=lambda _: None)
    assert not (tmp_path / "there").exists()
    await workspace.close()


def test_unix_sockets_and_a_list_contradict_each_other() -> None:
    with pytest.raises(ConfigurationError, match="choose one"):
        SandboxPolicy(allowed_hosts=("listed.example",), unix_sockets=True)
