"""Commands of LocalWorkspace: output, exit, and that nothing of them is left when they are ended."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.patience import PATIENCE_S

from godwit.contracts import Execution
from godwit.core.errors import ToolFailed
from godwit.engine.cancel import Cancel
from godwit.workspaces.local import LocalWorkspace

SRC = Path(__file__).resolve().parents[2] / "src"


class Output:
    """What a command printed, and a way to wait for a part of it."""

    def __init__(self) -> None:
        self.all = b""
        self._more = asyncio.Event()

    def __call__(self, chunk: bytes) -> None:
        self.all += chunk
        self._more.set()

    async def until(self, part: bytes) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while part not in self.all:
                self._more.clear()
                await self._more.wait()

    @property
    def pids(self) -> list[int]:
        return [int(word) for word in self.all.split() if word.isdigit()]


@pytest.fixture
def workspace(tmp_path: Path) -> LocalWorkspace:
    return LocalWorkspace(tmp_path)


@pytest.fixture
def left() -> Iterator[list[int]]:
    """Pids of processes a test leaves on purpose."""
    pids: list[int] = []
    yield pids
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass


def alive(pid: int) -> bool:
    """Running, and not just waiting for a parent to notice."""
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, check=False).stdout
    return bool(state.strip()) and not state.strip().startswith(b"Z")


def wait_for(condition: Callable[[], bool]) -> None:
    """Across processes there is nothing else to wait on."""
    end = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


class TestRunning:
    async def test_output_and_exit_code(self, workspace: LocalWorkspace) -> None:
        output = Output()
        assert await workspace.execute("echo out; echo err >&2; echo more; exit 3", output=output) == Execution(3)
        assert output.all == b"out\nerr\nmore\n"

    async def test_where_and_with_what(self, workspace: LocalWorkspace) -> None:
        output = Output()
        await workspace.execute("pwd -P; echo $PWD; cat; echo ${BASH_VERSION:+bash}", output=output)
        assert output.all.decode() == f"{workspace.root}\n{workspace.root}\nbash\n"

    async def test_output_comes_while_the_command_runs(self, workspace: LocalWorkspace) -> None:
        output = Output()
        Path(workspace.root, "gate").parent.mkdir(exist_ok=True)
        os.mkfifo(Path(workspace.root, "gate"))
        task = asyncio.create_task(workspace.execute("echo first; cat gate; echo last", output=output))
        await output.until(b"first\n")
        assert not task.done()
        await asyncio.to_thread(Path(workspace.root, "gate").write_bytes, b"opened\n")
        assert await task == Execution(0)
        assert output.all == b"first\nopened\nlast\n"

    async def test_all_of_a_large_output_comes(self, workspace: LocalWorkspace) -> None:
        output = Output()
        await workspace.execute("head -c 5000000 /dev/zero; echo end", output=output)
        assert len(output.all) == 5_000_004
        assert output.all.endswith(b"end\n")

    async def test_a_signal_reads_as_in_a_shell(self, workspace: LocalWorkspace) -> None:
        assert await workspace.execute("kill -SEGV $$", output=Output()) == Execution(139)

    async def test_many_at_once(self, workspace: LocalWorkspace) -> None:
        outputs = [Output() for _ in range(20)]
        await asyncio.gather(*(workspace.execute(f"echo {i}", output=o) for i, o in enumerate(outputs)))
        assert [o.all for o in outputs] == [b"%d\n" % i for i in range(20)]

    async def test_what_cannot_be_started(self, workspace: LocalWorkspace) -> None:
        with pytest.raises(ToolFailed, match="NUL"):
            await workspace.execute("echo \0", output=Output())
        with pytest.raises(ToolFailed, match="could not be started: argument list too long"):
            await workspace.execute("echo " + "x" * 3_000_000, output=Output())

    async def test_an_output_that_fails_ends_the_command(self, workspace: LocalWorkspace) -> None:
        def refuse(chunk: bytes) -> None:
            raise RuntimeError(f"refused {chunk.decode().strip()}")

        with pytest.raises(RuntimeError, match="refused hello"):
            await workspace.execute("echo hello; sleep 60", output=refuse, grace_s=0)

    async def test_nothing_is_left_open(self, workspace: LocalWorkspace) -> None:
        await workspace.execute("true", output=Output())
        before = sorted(os.listdir("/dev/fd"))
        for _ in range(10):
            await workspace.execute("echo x", output=Output())
            await workspace.execute("sleep 60", output=Output(), timeout_s=0.01, grace_s=0)
        assert sorted(os.listdir("/dev/fd")) == before


class TestEnvironment:
    async def test_credentials_stay_here(self, workspace: LocalWorkspace, monkeypatch: pytest.MonkeyPatch) -> None:
        hidden = [
            "OPENAI_API_KEY", "GITHUB_TOKEN", "AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY_ID", "AWS_SESSION_TOKEN", "MY_SECRET",
            "DB_PASSWORD", "PGPASSWORD", "password_x", "STRIPE_KEY", "GOOGLE_APPLICATION_CREDENTIALS", "TOKEN",
            "openai_api_key",
        ]  # fmt: skip
        shown = ["PLAIN", "TOKENIZERS_PARALLELISM", "KEYBOARD", "SECRETARY"]
        for name in hidden + shown:
            monkeypatch.setenv(name, "value")
        output = Output()
        await workspace.execute("env", output=output)
        names = {line.split("=")[0] for line in output.all.decode().splitlines()}
        assert names.isdisjoint(hidden)
        assert names.issuperset(shown)
        assert "PATH" in names

    async def test_what_is_given_is_given(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("A_TOKEN", "mine")
        monkeypatch.setenv("B", "mine")
        workspace = LocalWorkspace(tmp_path, {"A_TOKEN": "given", "B": "given", "C": "given"})
        output = Output()
        await workspace.execute("echo $A_TOKEN $B $C $D", output=output, environment={"C": "more", "D": "more"})
        assert output.all == b"given given more more\n"


SLEEPERS = {
    # Each prints the pids of what it starts and then hangs; `trap` in the hard ones makes SIGTERM nothing to them.
    "plain": "echo $$; sleep 60",
    "child": "sleep 60 & echo $! $$; wait",
    "grandchild": "bash -c 'bash -c \"sleep 60 & echo \\$! \\$\\$; wait\" & echo $! $$; wait' & echo $! $$; wait",
    "deaf": "trap '' TERM; sleep 60 & echo $! $$; while :; do wait; done",
    "deaf child": "(trap '' TERM; sleep 60; sleep 60) & echo $! $$; wait",
    "own group": "set -m; sleep 60 & echo $! $$; wait",
    "timeout": "timeout 60 sleep 60 & echo $! $$; wait",
    "stopped": "sleep 60 & echo $! $$; kill -STOP $!; kill -STOP $$",
    "shell gone": "(trap '' TERM; sleep 60) & echo $! $$; exec sleep 60",
}


KILLS = """
import asyncio, os, sys
from godwit.contracts import Confinement
from godwit.workspaces.command import execute, shell
said = []
def hear(event, arguments):
    if event == "os.killpg":
        said.append("there" if os.path.exists(f"/proc/{arguments[0]}") else "gone")
sys.addaudithook(hear)
confinement = Confinement((shell(), "-c", "sleep 60 & echo $!"), dict(os.environ), leaves=False)
show = lambda chunk: print(chunk.decode(), end="")
asyncio.run(execute(confinement, folder=sys.argv[1], output=show, timeout_s=30, grace_s=0, cancel=None))
print(*said, sep="\\n")
"""


class TestEnding:
    @pytest.mark.parametrize("name", SLEEPERS)
    async def test_cancel_ends_every_process(self, name: str, workspace: LocalWorkspace) -> None:
        output, cancel = Output(), Cancel()
        lines = SLEEPERS[name].count("echo")
        task = asyncio.create_task(workspace.execute(SLEEPERS[name] + " ", output=output, cancel=cancel, grace_s=0.1))
        async with asyncio.timeout(PATIENCE_S):
            while output.all.count(b"\n") < lines:
                await output.until(output.all + b"")
                await asyncio.sleep(0.01)
        pids = output.pids
        assert all(alive(pid) for pid in pids)
        cancel.cancel()
        assert await task == Execution(None, cancelled=True)
        assert [pid for pid in pids if alive(pid)] == []

    async def test_timeout_is_exact(self, workspace: LocalWorkspace) -> None:
        started = time.monotonic()
        output = Output()
        ended = await workspace.execute("echo before; sleep 60", output=output, timeout_s=0.5, grace_s=50)
        assert ended == Execution(None, timed_out=True)
        assert 0.5 <= time.monotonic() - started < 50
        assert output.all == b"before\n"

    async def test_grace_lets_a_command_tidy_up(self, workspace: LocalWorkspace) -> None:
        output, cancel = Output(), Cancel()
        command = "trap 'echo tidied; exit' TERM; echo ready; sleep 60 & wait"
        task = asyncio.create_task(workspace.execute(command, output=output, cancel=cancel, grace_s=10))
        await output.until(b"ready")
        cancel.cancel()
        assert await task == Execution(None, cancelled=True)
        assert output.all == b"ready\ntidied\n"

    async def test_without_grace_it_is_killed_at_once(self, workspace: LocalWorkspace) -> None:
        output, cancel = Output(), Cancel()
        command = "trap 'echo tidied; exit' TERM; echo ready; sleep 60 & wait"
        task = asyncio.create_task(workspace.execute(command, output=output, cancel=cancel, grace_s=0))
        await output.until(b"ready")
        cancel.cancel()
        assert await task == Execution(None, cancelled=True)
        assert output.all == b"ready\n"

    async def test_cancelled_before_it_began(self, workspace: LocalWorkspace) -> None:
        cancel = Cancel()
        cancel.cancel()
        assert await workspace.execute("touch f", output=Output(), cancel=cancel) == Execution(None, cancelled=True)
        assert os.listdir(workspace.root) == []

    async def test_a_cancelled_caller_leaves_nothing(self, workspace: LocalWorkspace) -> None:
        output = Output()
        task = asyncio.create_task(workspace.execute(SLEEPERS["deaf"], output=output, grace_s=0.1))
        await output.until(b"\n")
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert len(output.pids) == 2
        assert [pid for pid in output.pids if alive(pid)] == []

    async def test_cancelling_the_caller_of_an_ending_command_cuts_the_grace_short(self, workspace: LocalWorkspace) -> None:
        output, cancel = Output(), Cancel()
        task = asyncio.create_task(workspace.execute(SLEEPERS["deaf"], output=output, cancel=cancel, grace_s=60))
        await output.until(b"\n")
        cancel.cancel()
        await asyncio.sleep(0)
        task.cancel()
        async with asyncio.timeout(PATIENCE_S):
            with pytest.raises(asyncio.CancelledError):
                await task
        assert [pid for pid in output.pids if alive(pid)] == []

    async def test_a_second_cancellation_cuts_the_grace_short(self, workspace: LocalWorkspace) -> None:
        output = Output()
        task = asyncio.create_task(workspace.execute(SLEEPERS["deaf"], output=output, grace_s=60))
        await output.until(b"\n")
        task.cancel()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        task.cancel()
        async with asyncio.timeout(PATIENCE_S):
            with pytest.raises(asyncio.CancelledError):
                await task
        assert [pid for pid in output.pids if alive(pid)] == []

    def test_a_loop_that_closes_leaves_nothing(self, workspace: LocalWorkspace) -> None:
        output: list[bytes] = []

        async def main() -> None:
            seen = asyncio.Event()

            def take(chunk: bytes) -> None:
                output.append(chunk)
                seen.set()

            command = workspace.execute("echo $$; sleep 60", output=take, grace_s=60)
            kept.append(asyncio.ensure_future(command))
            await seen.wait()

        kept: list[asyncio.Future[Execution]] = []
        asyncio.run(main())
        wait_for(lambda: not alive(int(output[0])))  # killed it is at once, and gone when the kernel comes to it

    async def test_what_is_left_in_the_background_delays_nobody(
        self, workspace: LocalWorkspace, left: list[int], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("godwit.workspaces.command._DRAIN_S", 60.0)  # silence is enough
        output = Output()
        started = time.monotonic()
        assert await workspace.execute("sleep 60 & echo $!", output=output) == Execution(0)
        assert time.monotonic() - started < 50
        left += output.pids
        assert alive(output.pids[0])

    async def test_a_chatty_process_in_the_background_delays_nobody(
        self, workspace: LocalWorkspace, left: list[int]
    ) -> None:
        output = Output()
        started = time.monotonic()
        assert await workspace.execute("(while :; do echo x; done) & echo pid $!", output=output) == Execution(0)
        assert time.monotonic() - started < 50
        left.append(int(output.all.partition(b"pid ")[2].split()[0]))

    @pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
    def test_what_must_not_be_left_is_killed_while_the_pid_is_still_the_commands(self, tmp_path: Path) -> None:
        """Once its first process has been reaped its pid may be anybody's, and so may be what is killed by it."""
        ran = subprocess.run(
            [sys.executable, "-c", KILLS, str(tmp_path)],
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONPATH": str(SRC)},
            check=True,
        )
        printed, *kills = ran.stdout.splitlines()
        assert not alive(int(printed))
        assert kills
        assert set(kills) == {"there"}

    async def test_late_output_of_a_pipeline_is_kept(self, workspace: LocalWorkspace) -> None:
        output = Output()
        await workspace.execute("echo late > >(sleep 0.05; cat)", output=output)
        assert output.all == b"late\n"


class TestWatchdog:
    PROGRAM = """
import asyncio, sys
from godwit.workspaces.local import LocalWorkspace
async def main():
    show = lambda chunk: (sys.stdout.write(chunk.decode()), sys.stdout.flush())
    await LocalWorkspace(sys.argv[1]).execute(sys.argv[2], output=show)
asyncio.run(main())
"""

    def start(self, folder: Path, command: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", self.PROGRAM, str(folder), command],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(SRC)},
        )

    @pytest.mark.parametrize("name", ["child", "deaf", "own group"])
    def test_a_killed_process_leaves_no_command(self, name: str, tmp_path: Path) -> None:
        with self.start(tmp_path, SLEEPERS[name]) as process:
            assert process.stdout is not None
            pids = [int(word) for word in process.stdout.readline().split()]
            assert len(pids) == 2
            assert all(alive(pid) for pid in pids)
            process.kill()
            process.wait()
            wait_for(lambda: not any(alive(pid) for pid in pids))

    def test_what_was_left_on_purpose_stays(self, tmp_path: Path, left: list[int]) -> None:
        with self.start(tmp_path, "sleep 60 >/dev/null 2>&1 & echo $!") as process:
            assert process.stdout is not None
            left.append(int(process.stdout.readline()))
            assert process.wait(PATIENCE_S) == 0
        assert alive(left[0])
