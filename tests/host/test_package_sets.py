"""Packages of a policy: installed once, by real managers, from registries that the tests serve; and from the public ones,
where they can be reached."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import http.server
import io
import json
import os
import shutil
import socket
import subprocess
import sys
import tarfile
import threading
import zipfile
from collections.abc import Callable, Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from godwit.contracts import Execution
from godwit.core.addresses import kind_of
from godwit.core.errors import ConfigurationError, ToolFailed
from godwit.core.ids import SessionId
from godwit.core.packages import Manager, registries
from godwit.core.sandbox import ENVIRONMENT, SandboxPolicy
from godwit.engine.cancel import Cancel
from godwit.host import packages
from godwit.host.packages import PackageSets
from godwit.host.workspaces import LocalWorkspaces
from godwit.workspaces.sandboxes.bubblewrap import Bubblewrap

if (problem := Bubblewrap().problem()) is not None:
    pytest.skip(problem, allow_module_level=True)

_ENVIRONMENT = (
    *ENVIRONMENT,
    "npm_config_registry",
    "PIP_INDEX_URL",
    "PIP_TRUSTED_HOST",
    "PIP_CONFIG_FILE",
    "PIP_FIND_LINKS",
)


class Registry:
    """Serves npm's and pip's packages at the loopback. `held`: whoever asks for one of these waits until it is set."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.asked: list[str] = []
        self.held: dict[str, threading.Event] = {}
        self.reached = threading.Event()
        registry = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                path = self.path.rstrip("/")
                registry.asked.append(path)
                if (held := registry.held.get(path)) is not None:
                    registry.reached.set()
                    held.wait(60)
                found = registry.files.get(path)
                self.send_response(404 if found is None else 200)
                self.send_header("Content-Length", str(len(found or b"")))
                self.send_header("Content-Type", "text/html" if path.startswith("/simple") else "application/json")
                self.end_headers()
                self.wfile.write(found or b"")

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - as it is called above
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.host = f"127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def npm(self, name: str, *, says: str, installing: str | None = None) -> None:
        """A package with a program of its name. `installing`: a program in JavaScript that is run when it is installed."""
        about: dict[str, Any] = {"name": name, "version": "1.2.3", "bin": {name: "program.js"}, "main": "program.js"}
        files = {"program.js": f"#!/usr/bin/env node\nconsole.log({says!r})\n"}
        if installing is not None:
            about["scripts"] = {"postinstall": "node installing.js"}
            files["installing.js"] = installing
        files["package.json"] = json.dumps(about)
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w:gz") as file:
            for path, text in files.items():
                member = tarfile.TarInfo(f"package/{path}")
                member.size, member.mode = len(text.encode()), 0o755
                file.addfile(member, io.BytesIO(text.encode()))
        content = packed.getvalue()
        place = f"/{name}/-/{name}-1.2.3.tgz"
        integrity = "sha512-" + base64.b64encode(hashlib.sha512(content).digest()).decode()
        about["dist"] = {"tarball": f"http://{self.host}{place}", "integrity": integrity}
        shown = {"name": name, "dist-tags": {"latest": "1.2.3"}, "versions": {"1.2.3": about}}
        self.files |= {f"/{name}": json.dumps(shown).encode(), place: content}

    def pip(self, name: str, *, says: str) -> None:
        packed, about = io.BytesIO(), f"{name}-1.2.3.dist-info"
        with zipfile.ZipFile(packed, "w") as file:
            file.writestr(f"{name}.py", f"SAYS = {says!r}\ndef main():\n    print(SAYS)\n")
            file.writestr(f"{about}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.2.3\n")
            file.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
            file.writestr(f"{about}/entry_points.txt", f"[console_scripts]\n{name} = {name}:main\n")
            file.writestr(f"{about}/RECORD", "")
        wheel = f"{name}-1.2.3-py3-none-any.whl"
        self.files |= {
            f"/simple/{name}": f'<a href="/files/{wheel}">{wheel}</a>'.encode(),
            f"/files/{wheel}": packed.getvalue(),
        }

    def times(self, path: str) -> int:
        return self.asked.count(path)


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> Iterator[Registry]:
    made = Registry()
    monkeypatch.setenv("npm_config_registry", f"http://{made.host}/")
    monkeypatch.setenv("PIP_INDEX_URL", f"http://{made.host}/simple/")
    monkeypatch.setenv("PIP_TRUSTED_HOST", "127.0.0.1")
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_FIND_LINKS", "")
    yield made
    for held in made.held.values():
        held.set()
    made.server.shutdown()
    made.server.server_close()


class Sessions:
    """Sessions of one process, whose packages come from the registry as from a mirror of who runs it."""

    def __init__(self, folder: Path, registry: Registry, root: Path) -> None:
        standing = SandboxPolicy(allowed_hosts=(registry.host,), environment=_ENVIRONMENT)
        self.places = LocalWorkspaces(standing=lambda _: standing, packages=folder)
        self._root = root

    async def run(self, command: str, *named: str, cancel: Cancel | None = None) -> tuple[Execution, str]:
        workspace = self.places(SessionId("s"), str(self._root), {}, SandboxPolicy(packages=named))
        output: list[bytes] = []
        ended = await workspace.execute(command, output=output.append, timeout_s=60, cancel=cancel)
        return ended, b"".join(output).decode(errors="replace")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "packages"


Make = Callable[[], Sessions]


@pytest.fixture
def make(tmp_path: Path, folder: Path, registry: Registry) -> Make:
    root = tmp_path / "workspace"
    root.mkdir()
    return lambda: Sessions(folder, registry, root)


def needs(program: str) -> None:
    if shutil.which(program) is None:
        pytest.skip(f"there is no {program} here")


async def test_packages_of_npm_and_pip_are_there_for_commands(make: Make, registry: Registry, folder: Path) -> None:
    needs("npm")
    registry.npm("kitten", says="miaow")
    registry.pip("puppy", says="woof")
    sessions = make()
    named = ("npm:kitten@1.2.3", "pip:puppy==1.2.3")
    looks = "kitten; node -e 'require(\"kitten\")'; puppy; python3 -c 'import puppy; print(puppy.SAYS)'"
    ended, said = await sessions.run(looks, *named)
    assert (ended.exit_code, said.split()) == (0, ["miaow", "miaow", "woof", "woof"])
    _, said = await sessions.run("echo $VIRTUAL_ENV; echo x > $VIRTUAL_ENV/x || echo held", *named)
    assert said.startswith(str(folder))
    assert said.endswith("held\n"), "what others use is only read"
    assert (registry.times("/kitten/-/kitten-1.2.3.tgz"), registry.times("/files/puppy-1.2.3-py3-none-any.whl")) == (1, 1)
    await sessions.places.close()


async def test_they_are_installed_once(make: Make, registry: Registry) -> None:
    """By many sessions at once, of two runtimes on the same folder; and not again by the next."""
    needs("npm")
    registry.npm("kitten", says="miaow")
    one, two = make(), make()
    ran = await asyncio.gather(*(sessions.run("kitten", "npm:kitten") for sessions in (one, two, one, two)))
    assert [said for _, said in ran] == ["miaow\n"] * 4
    three = make()
    assert (await three.run("kitten", "npm:kitten"))[1] == "miaow\n"
    assert registry.times("/kitten/-/kitten-1.2.3.tgz") == 1
    registry.npm("puppy", says="woof")
    assert (await three.run("puppy; kitten", "npm:puppy", "npm:kitten"))[1] == "woof\nmiaow\n"
    for sessions in (one, two, three):
        await sessions.places.close()


async def test_no_command_touches_a_set_even_where_it_may_write_around_it(tmp_path: Path, registry: Registry) -> None:
    """A set that a command made up, or changed, would be run by others. Both before there are any and after."""
    needs("npm")
    registry.npm("kitten", says="miaow")
    around, root = tmp_path / "around", tmp_path / "workspace"
    around.mkdir()
    root.mkdir()
    standing = SandboxPolicy(allowed_hosts=(registry.host,), environment=_ENVIRONMENT)
    places = LocalWorkspaces(standing=lambda _: standing, packages=around / "packages")
    made_up = PackageSets(around / "packages").of(SandboxPolicy(packages=("npm:kitten",)))
    assert made_up is not None

    async def run(command: str, *named: str) -> str:
        policy = SandboxPolicy(writable=(str(around),), packages=named)
        output: list[bytes] = []
        await places(SessionId("s"), str(root), {}, policy).execute(command, output=output.append)
        return b"".join(output).decode(errors="replace")

    forge = f"mkdir -p {made_up.folder}/npm/bin; touch {made_up.folder}/../whole; touch {around}/mine && echo tried"
    assert (await run(forge)).endswith("tried\n")
    assert [path.name for path in around.iterdir()] == ["mine"]
    assert await run("kitten", "npm:kitten") == "miaow\n"
    change = f"cd {made_up.folder}; touch x; rm -r npm; mv npm y; cd ..; touch z; rm whole; mv {around}/packages {around}/p"
    change += "; echo tried"
    assert (await run(change, "npm:kitten")).endswith("tried\n")
    assert (await run(change)).endswith("tried\n")
    assert sorted(path.name for path in around.iterdir()) == ["mine", "packages"]
    assert sorted(path.name for path in Path(made_up.folder).iterdir()) == ["npm"]
    assert await run("kitten", "npm:kitten") == "miaow\n"
    assert registry.times("/kitten/-/kitten-1.2.3.tgz") == 1
    await places.close()


async def test_what_a_killed_process_left_is_begun_anew(make: Make, registry: Registry, folder: Path) -> None:
    needs("npm")
    registry.npm("kitten", says="miaow")
    registry.held["/kitten/-/kitten-1.2.3.tgz"] = threading.Event()
    program = (
        "import asyncio, sys\nfrom pathlib import Path\nfrom tests.host.test_package_sets import *\n"
        "class There: host = sys.argv[1]\n"
        "asyncio.run(Sessions(Path(sys.argv[2]), There, Path(sys.argv[3])).run('kitten', 'npm:kitten'))\n"
    )
    root = folder.parent / "workspace"
    here = str(Path(__file__).parent.parent.parent)
    given = {**os.environ, "PYTHONPATH": os.pathsep.join((here, *sys.path))}
    process = subprocess.Popen(  # noqa: ASYNC220 - it is killed below
        [sys.executable, "-c", program, registry.host, str(folder), str(root)], env=given
    )
    try:
        assert await asyncio.to_thread(registry.reached.wait, 60)
        begun = {path.name for path in folder.iterdir() if path.is_dir()}
        assert len(begun) == 1
        (name,) = begun
        (folder / name / "set" / "half").write_text("of it")
    finally:
        process.kill()
        process.wait()
    registry.held.popitem()[1].set()
    sessions = make()
    assert (await sessions.run("kitten", "npm:kitten"))[1] == "miaow\n"
    assert {path.name for path in folder.iterdir() if path.is_dir()} == begun
    assert not (folder / name / "set" / "half").exists()
    await sessions.places.close()


async def test_a_package_that_is_not_there_is_told(make: Make, registry: Registry) -> None:
    needs("npm")
    sessions = make()
    for _ in range(2):
        with pytest.raises(ToolFailed, match=r"the packages of npm \(nowhere\) could not be installed: .*\n(?s:.*)404"):
            await sessions.run("echo it ran > ran", "npm:nowhere")
    assert registry.times("/nowhere") == 1, "and not tried again at once"
    assert (await sessions.run("ls"))[1] == ""
    await sessions.places.close()


async def test_who_stops_waiting_disturbs_no_other(make: Make, registry: Registry) -> None:
    needs("npm")
    registry.npm("kitten", says="miaow")
    held = registry.held["/kitten/-/kitten-1.2.3.tgz"] = threading.Event()
    sessions, cancel = make(), Cancel()
    stopped = asyncio.create_task(sessions.run("kitten", "npm:kitten", cancel=cancel))
    other = asyncio.create_task(sessions.run("kitten", "npm:kitten"))
    assert await asyncio.to_thread(registry.reached.wait, 60)
    cancel.cancel()
    assert (await stopped)[0] == Execution(None, cancelled=True)
    held.set()
    assert (await other)[1] == "miaow\n"
    await sessions.places.close()


async def test_what_installs_itself_reaches_and_writes_nothing_else(make: Make, registry: Registry, folder: Path) -> None:
    """The code of a package runs when it is installed."""
    needs("npm")
    home = Path.home() / ".cache" / f"godwit-test-{os.getpid()}"
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        code = f"""
            const fs = require("fs"), net = require("net"), http = require("http"), out = []
            const tell = () => fs.writeFileSync(process.env.npm_config_prefix + "/told", out.join("\\n"))
            for (const path of [{str(home)!r}, {str(folder / "escaped")!r}, "../../../../../../whole", "/tmp/../{folder}/x"])
                try {{ fs.writeFileSync(path, "x"); out.push("wrote " + path) }} catch (e) {{ out.push("held") }}
            try {{ out.push("sees " + fs.readFileSync("/root/.ssh/id_rsa")) }} catch (e) {{ out.push("held") }}
            const one = net.connect({port}, "127.0.0.1", () => {{ out.push("connected"); tell() }})
            one.on("error", () => {{
                out.push("held")
                const [host, at] = process.env.HTTP_PROXY.slice(7).split(":")
                http.get({{host, port: at, path: "http://127.0.0.1:{port}/"}}, r => {{ out.push(r.statusCode); tell() }})
            }})
        """
        registry.npm("kitten", says="miaow", installing=code)
        sessions = make()
        _, said = await sessions.run("kitten; cat $(dirname $(dirname $(which kitten)))/told", "npm:kitten")
        told = said.split("\n")
        assert (told[0], told[1], told[5:]) == ("miaow", "held", ["held", "held", "403"])
        # What lies in /tmp it may think it wrote: it has a /tmp of its own.
        assert not home.exists()
        assert not list(folder.rglob("escaped"))
        assert not (folder / "x").exists()
        assert [path.read_text() for path in folder.glob("*/whole")] == [""]
        other.settimeout(0.01)
        with pytest.raises(TimeoutError):
            other.accept()
    await sessions.places.close()


async def test_system_packages_must_be_there(tmp_path: Path) -> None:
    needs("dpkg-query")
    sets = PackageSets(tmp_path)
    policy = SandboxPolicy(packages=("apt:dpkg",))
    sets.check(policy)
    assert await sets.ensure(policy) is None
    for lacking in ("no-such-package", "dpkg=0.0.1"):
        policy = SandboxPolicy(packages=("apt:dpkg", f"apt:{lacking}"))
        with pytest.raises(ConfigurationError, match=f"not on this machine: {lacking}. godwit installs none"):
            sets.check(policy)
        with pytest.raises(ToolFailed, match=lacking):
            await sets.ensure(policy)


async def test_a_machine_that_cannot_have_them_says_so_before_a_session_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    places = LocalWorkspaces(packages=tmp_path / "packages")
    monkeypatch.setattr(packages, "_PROGRAMS", {**packages._PROGRAMS, "go": "no-such-go"})
    with pytest.raises(
        ConfigurationError, match="packages of go cannot be installed: there is no no-such-go on this machine"
    ):
        await places.check(SandboxPolicy(packages=("go:golang.org/x/tools/cmd/goimports",)))
    with pytest.raises(ConfigurationError, match="packages cannot be installed: the sandbox must keep"):
        await places.check(SandboxPolicy(backend="none", packages=("pip:kitten",)))
    assert not (tmp_path / "packages").exists()


def public(*managers: Manager) -> SandboxPolicy:
    """What is needed to reach the registries of these; skips when they cannot be."""
    found = []
    for host in registries(managers):
        try:
            socket.create_connection((host, 443), 5).close()
            addresses = {entry[4][0] for entry in socket.getaddrinfo(host, 443, type=socket.SOCK_STREAM)}
        except OSError as error:
            pytest.skip(f"{host} cannot be reached from here: {error}")
        found += [str(one) for one in addresses if kind_of(ip_address(one)) is not None]  # a mirror within a network
    return SandboxPolicy(allowed_hosts=tuple(dict.fromkeys(found)))


@pytest.mark.slow
async def test_the_public_registries(tmp_path: Path) -> None:
    needs("npm")
    standing = public("npm", "pip")
    places = LocalWorkspaces(standing=lambda _: standing, packages=tmp_path / "packages")
    policy = SandboxPolicy(packages=("npm:is-odd@3.0.1", "pip:six==1.16.0"))
    await places.check(policy)
    output: list[bytes] = []
    workspace = places(SessionId("s"), str(tmp_path), {}, policy)
    looks = "node -p 'require(\"is-odd\")(3)'; python3 -c 'import six; print(six.__version__)'"
    ended = await workspace.execute(looks, output=output.append)
    assert (ended.exit_code, b"".join(output).split()) == (0, [b"true", b"1.16.0"])
    await places.close()
