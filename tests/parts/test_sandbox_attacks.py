"""Ways out that were found by attacking, each of which came through once: with more than one command, or the host's help."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.patience import PATIENCE_S

from godwit.contracts import Sandbox
from godwit.core.errors import ToolFailed
from godwit.core.sandbox import SandboxPolicy
from godwit.workspaces.local import LocalWorkspace
from godwit.workspaces.sandboxes.bubblewrap import Bubblewrap
from godwit.workspaces.sandboxes.landlock import Landlock, kernel_abi
from godwit.workspaces.temporary import TemporaryFolder


@pytest.fixture(params=[Bubblewrap, Landlock], ids=["bubblewrap", "landlock"])
def sandbox(request: pytest.FixtureRequest) -> Sandbox:
    found: Sandbox = request.param()
    if (problem := found.problem()) is not None:
        pytest.skip(problem)
    return found


@pytest.fixture
def outside() -> Iterator[Path]:
    """A folder in none of those that sandboxes hide."""
    cache = Path.home() / ".cache"
    cache.mkdir(exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="godwit-attacks-", dir=cache))
    yield folder
    shutil.rmtree(folder)


async def run(workspace: LocalWorkspace, command: str) -> str:
    output: list[bytes] = []
    await workspace.execute(command, output=output.append, timeout_s=60)
    return b"".join(output).decode(errors="replace")


async def test_places_to_mount_on_are_not_made_elsewhere(tmp_path: Path, outside: Path, sandbox: Sandbox) -> None:
    """A workspace below /tmp: the command makes the way there, in its own /tmp, a link that leads out of the sandbox being
    made for the next one, where the folders to mount on would be made."""
    root = tmp_path / "work"
    root.mkdir()
    workspace = LocalWorkspace(root, sandbox=SandboxPolicy(), backend=sandbox)
    first = tmp_path.parts[2]
    for above in ("oldroot", "../oldroot", "../../oldroot", "../../../oldroot"):
        await run(workspace, f"cd /tmp; mv {first} away-$$; ln -sfn {above}{outside} {first}; ls -la /tmp")
        await run(workspace, "true")
        assert os.listdir(outside) == []
        await run(workspace, f"rm -f /tmp/{first}")
    await workspace.close()


def needed_libraries() -> list[str]:
    program = shutil.which("bwrap") or "/bin/sh"
    said = subprocess.run(["ldd", program], capture_output=True, text=True, check=False).stdout
    return [line.split()[0] for line in said.splitlines() if "=>" in line and "libc.so" not in line]


async def test_what_starts_the_sandbox_takes_nothing_from_the_workspace(outside: Path, sandbox: Sandbox) -> None:
    """A library path that leads into the workspace: the next command's sandbox would be started with the command's code."""
    root, library = outside / "work", outside / "work" / "lib"
    library.mkdir(parents=True)
    names = needed_libraries()
    environment = {"LD_LIBRARY_PATH": str(library), "LD_PRELOAD": "", "GREETING": "hello there"}
    workspace = LocalWorkspace(root, environment, sandbox=SandboxPolicy(), backend=sandbox)
    # No library at all: whoever loads one of them cannot start.
    await run(workspace, "; ".join(f"echo broken > lib/{name}" for name in names) + "; true")
    said = await run(workspace, "echo started")
    assert "started" in said or "lib/" in said
    assert "bwrap: error while loading" not in said
    shutil.rmtree(library)
    library.mkdir()
    assert await run(workspace, 'echo "$GREETING $LD_LIBRARY_PATH"') == f"hello there {library}\n"
    await workspace.close()


async def test_variables_are_not_shown_to_others(tmp_path: Path, sandbox: Sandbox) -> None:
    """What is passed on may be a secret, and arguments of a process can be read by everybody."""
    os.mkfifo(tmp_path / "gate")
    workspace = LocalWorkspace(tmp_path, {"A_TOKEN": "very-private-value"}, sandbox=SandboxPolicy(), backend=sandbox)
    output: list[bytes] = []

    def look(chunk: bytes) -> None:
        output.append(chunk)
        seen = subprocess.run(["ps", "-A", "-o", "args="], capture_output=True, check=True).stdout
        output.append(b"SEEN" if b"very-private-value" in seen else b"not seen")
        subprocess.run(["sh", "-c", "echo go > gate"], cwd=tmp_path, check=True)

    await workspace.execute('echo started; read x < gate; [ -n "$A_TOKEN" ] || echo missing', output=look, timeout_s=60)
    assert output == [b"started\n", b"not seen"]
    await workspace.close()


def test_a_program_in_the_workspace_is_not_taken_for_the_sandbox(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A virtual environment in the workspace stands first on the PATH, and a command may write there."""
    for name in ("bwrap", "sh"):
        planted = tmp_path / name
        planted.write_text('#!/bin/sh\ntouch "$(dirname "$0")/taken"\n')
        planted.chmod(0o755)
    before = Bubblewrap().program
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    program = (
        "from godwit.workspaces.sandboxes.bubblewrap import Bubblewrap\n"
        "from godwit.workspaces.sandboxes.probe import sh\n"
        "print(Bubblewrap().program, sh(), Bubblewrap().problem())"
    )
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    if before is not None:
        assert said.split()[0] == before
    assert said.split()[1] != str(tmp_path / "sh")
    assert not (tmp_path / "taken").exists() or before is None


def test_folders_in_folders_without_end_are_removed() -> None:
    folder = TemporaryFolder()
    path = folder.path()
    subprocess.run(
        [sys.executable, "-c", "import os\nfor _ in range(1100): os.mkdir('a'); os.chdir('a')\nos.chmod('.', 0)"],
        cwd=path,
        check=True,
    )
    folder.close()
    assert not os.path.exists(path)


async def test_the_shell_that_sets_limits_is_not_the_commands(outside: Path, sandbox: Sandbox) -> None:
    library = outside / "lib"
    library.mkdir()
    (library / "libc.so.6").write_text("broken")
    policy = SandboxPolicy(cpu_s=7)
    workspace = LocalWorkspace(outside, {"LD_LIBRARY_PATH": str(library)}, sandbox=policy, backend=sandbox)
    said = await run(workspace, "true")
    assert "/sh: error while loading" not in said
    assert "bash: error while loading" in said, "the command itself takes what it is told to take"
    (library / "libc.so.6").unlink()
    assert await run(workspace, "ulimit -t; echo $LD_LIBRARY_PATH") == f"7\n{library}\n"
    await workspace.close()


async def test_killing_all_it_can_leaves_nothing(outside: Path, sandbox: Sandbox) -> None:
    """The group of processes spans the namespaces: a command can kill its keeper, and with it itself, but nothing else."""
    if "no_survivors" in sandbox.gaps(SandboxPolicy()):
        pytest.skip(f"{sandbox.name} does not promise it")
    mark = f"godwit-mark-{os.urandom(6).hex()}"
    workspace = LocalWorkspace(outside, sandbox=SandboxPolicy(), backend=sandbox)
    await run(workspace, f"setsid bash -c 'exec -a {mark} sleep 300' & sleep 0.1; kill -9 0")
    assert alive(mark) == []
    await workspace.close()


async def test_what_is_dying_makes_no_own_folder(outside: Path, sandbox: Sandbox) -> None:
    """When a command has ended, what kept `.godwit` from being made is taken away: what it left must be dead by then."""
    if "settings_kept" in sandbox.gaps(SandboxPolicy()):
        pytest.skip(f"{sandbox.name} does not promise it")
    workspace = LocalWorkspace(outside, sandbox=SandboxPolicy(), backend=sandbox)
    maker = "(trap '' HUP TERM; while :; do mkdir .godwit/evil || mkdir .godwit; done) >/dev/null 2>&1 &"
    for _ in range(4):
        await run(workspace, " ".join([maker] * 4))
        assert os.listdir(outside) == []
    await workspace.close()


async def test_abstract_sockets_are_closed_with_a_network_too(outside: Path, sandbox: Sandbox) -> None:
    """An X server listens on one, and whoever reaches it types in all its windows."""
    if kernel_abi() < 6:
        pytest.skip("this kernel cannot close them")
    name = f"godwit-{os.urandom(6).hex()}"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("\0" + name)
        server.listen()
        workspace = LocalWorkspace(outside, sandbox=SandboxPolicy(network=True), backend=sandbox)
        make = "import socket; s = socket.socket(socket.AF_UNIX); t = socket.socket(socket.AF_UNIX); "
        theirs = f"{make}s.connect(chr(0) + '{name}'); print('reached')"
        said = await run(workspace, f'{sys.executable} -c "{theirs}" 2>&1')
        assert "reached" not in said
        assert "PermissionError" in said
        own = f"{make}t.bind(chr(0) + '{name}-own'); t.listen(); s.connect(chr(0) + '{name}-own'); print('reached')"
        assert await run(workspace, f'{sys.executable} -c "{own}"') == "reached\n"
        await workspace.close()


async def test_a_workspace_that_is_everything_is_refused(sandbox: Sandbox) -> None:
    workspace = LocalWorkspace("/", sandbox=SandboxPolicy(), backend=sandbox)
    with pytest.raises(ToolFailed, match="the whole file system"):
        await workspace.execute("true", output=lambda _: None)
    await workspace.close()


async def test_the_temporary_folder_can_be_written_wherever_the_workspace_is(
    tmp_path: Path, outside: Path, sandbox: Sandbox
) -> None:
    for root in (tmp_path, outside):
        workspace = LocalWorkspace(root, sandbox=SandboxPolicy(), backend=sandbox)
        assert await run(workspace, "echo x > $TMPDIR/a && cat $TMPDIR/a") == "x\n"
        if sandbox.name == "bubblewrap":
            assert await run(workspace, "echo y > /tmp/b && cat /tmp/b $TMPDIR/a") == "y\nx\n"
        await workspace.close()


def alive(mark: str) -> list[str]:
    listing = subprocess.run(["ps", "-A", "-o", "stat=,args="], capture_output=True, text=True, check=True).stdout
    rows = [line.split(None, 1) for line in listing.splitlines()]
    return [row[1] for row in rows if len(row) > 1 and row[1].startswith(mark) and "Z" not in row[0]]


def test_the_dead_are_buried_where_we_are_the_first_process(outside: Path) -> None:
    """In a container without an init, what loses its parent is left to us."""
    if (problem := Bubblewrap().problem()) is not None:
        pytest.skip(problem)
    program = (
        "import asyncio, ctypes, os, sys\n"
        "from godwit.core.sandbox import SandboxPolicy\n"
        "from godwit.workspaces.local import LocalWorkspace\n"
        "ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER\n"
        "workspace = LocalWorkspace(sys.argv[1], sandbox=SandboxPolicy(backend='bubblewrap'))\n"
        "async def main():\n"
        "    for _ in range(3): await workspace.execute('sleep 300 & setsid sleep 300 & true', output=print)\n"
        "    await workspace.close()\n"
        "asyncio.run(main())\n"
        "from godwit.workspaces.watchdog import WATCHDOG; WATCHDOG.close()\n"
        "with open(f'/proc/self/task/{os.getpid()}/children') as file: print(file.read().split())\n"
    )
    said = subprocess.run([sys.executable, "-c", program, outside], capture_output=True, text=True, check=True).stdout
    assert said == "[]\n"


def test_nothing_lives_on_when_the_host_is_killed(outside: Path) -> None:
    if (problem := Bubblewrap().problem()) is not None:
        pytest.skip(problem)
    mark = f"godwit-mark-{os.urandom(6).hex()}"
    program = (
        "import asyncio, sys\n"
        "from godwit.core.sandbox import SandboxPolicy\n"
        "from godwit.workspaces.local import LocalWorkspace\n"
        "show = lambda chunk: (sys.stdout.write(chunk.decode()), sys.stdout.flush())\n"
        "workspace = LocalWorkspace(sys.argv[1], sandbox=SandboxPolicy(backend='bubblewrap'))\n"
        "asyncio.run(workspace.execute(sys.argv[2], output=show))\n"
    )
    command = f"setsid bash -c 'exec -a {mark} sleep 300' & bash -c 'exec -a {mark} sleep 300' & echo started; wait"
    with subprocess.Popen([sys.executable, "-c", program, outside, command], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "started\n"
        process.kill()
        process.wait()
    end = time.monotonic() + PATIENCE_S
    while alive(mark):
        assert time.monotonic() < end
        time.sleep(0.01)
