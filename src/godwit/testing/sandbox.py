"""The conformance suite of sandboxes: what a backend promises, commands try to break.

    from godwit.testing import SandboxConformance

    class TestMySandbox(SandboxConformance):
        def make_sandbox(self) -> MySandbox:
            return MySandbox()

The attempts stand in `escapes/`, and what they try to reach in `outside.py`. What a backend does not promise under the
policy at hand is skipped, and one that does not work here skips all. Rules: a test looks at what became of the outside as
well as at what the attempts say of themselves.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import unittest
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

from ..contracts import Execution, Sandbox
from ..core.errors import ToolFailed
from ..core.sandbox import Promise, SandboxPolicy
from ..engine.cancel import Cancel
from ..workspaces.local import LocalWorkspace
from ..workspaces.sandboxes.enclosure import enclose
from .outside import SECRET, Outside

_PATIENCE_S = 60.0
_ESCAPES = Path(__file__).with_name("escapes")
_PROGRAM = 'import sys; sys.path.insert(0, "."); from escapes import main; main()'


class SandboxConformance:
    """The promises of `Sandbox`. Subclass it, and give `make_sandbox`."""

    def make_sandbox(self) -> Sandbox:
        raise AssertionError("a subclass of SandboxConformance says how its sandbox is made")

    def make_folder(self) -> Path:
        """A new folder for one test, which the suite removes. In none of those that sandboxes hide, such as /tmp."""
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        with contextlib.suppress(OSError):
            cache.mkdir(parents=True, exist_ok=True)
        return Path(tempfile.mkdtemp(prefix="godwit-escapes-", dir=cache if os.access(cache, os.W_OK) else None)).resolve()

    # --- the words the tests are written in ---

    @contextlib.contextmanager
    def outside(self) -> Iterator[Outside]:
        folder = self.make_folder()
        try:
            yield Outside(folder)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def sandbox(self, policy: SandboxPolicy, *promises: Promise, outside: Outside | None = None) -> Sandbox:
        """The backend; the test is skipped when it does not work here or does not make the promises."""
        sandbox = self.make_sandbox()
        problem = sandbox.problem()
        if problem is not None:
            raise unittest.SkipTest(problem)
        enclosure = None
        if outside is not None:
            enclosure = enclose(str(outside.workspace), str(outside.folder / "t" / "t"), policy, (str(outside.database),))
        gaps = sandbox.gaps(policy, enclosure)
        for promise in promises:
            if promise in gaps:
                raise unittest.SkipTest(f"{sandbox.name} does not promise {promise} here: {gaps[promise]}")
        return sandbox

    @contextlib.asynccontextmanager
    async def workspace(self, outside: Outside, sandbox: Sandbox, policy: SandboxPolicy) -> AsyncIterator[LocalWorkspace]:
        made = LocalWorkspace(
            outside.workspace, {"HOME": str(outside.folder)}, sandbox=policy, backend=sandbox, hidden=_database(outside)
        )
        try:
            yield made
        finally:
            await made.close()

    async def run(
        self, outside: Outside, sandbox: Sandbox, policy: SandboxPolicy, command: str, **options: Any
    ) -> tuple[Execution, str]:
        output: list[bytes] = []
        async with self.workspace(outside, sandbox, policy) as workspace:
            options.setdefault("timeout_s", _PATIENCE_S)
            ended = await workspace.execute(command, output=output.append, **options)
        return ended, b"".join(output).decode(errors="replace")

    async def attempts(
        self, outside: Outside, sandbox: Sandbox, policy: SandboxPolicy, group: str, facts: dict[str, Any]
    ) -> dict[str, str]:
        """Run the attempts of the group, and assert that each says it was held."""
        attempts = outside.workspace / _ESCAPES.name
        shutil.copytree(_ESCAPES, attempts, ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True)
        described: dict[str, Any] = {
            "root": str(outside.workspace),
            "outside": str(outside.outside),
            "file": str(outside.file),
        }
        described |= {"mark": outside.mark, "host": os.getpid(), **facts}
        (outside.workspace / "facts.json").write_text(json.dumps(described))
        python = f"{_quoted(sys.executable)} -I -S -B -c {_quoted(_PROGRAM)} {group} facts.json"
        ended, said = await self.run(outside, sandbox, policy, python)
        assert ended.exit_code == 0, (ended, said)
        came: dict[str, str] = json.loads(next(line for line in said.splitlines() if line.startswith("{")))
        assert came, "nothing was tried"
        through = {name: what for name, what in came.items() if what.startswith("ESCAPED")}
        assert not through, through
        return came

    # --- what must work, or there is no use in being safe ---

    async def test_a_command_can_work(self) -> None:
        with self.outside() as outside:
            policy = outside.policy()
            sandbox = self.sandbox(policy)
            command = (
                "set -e; echo one > a; cat a; mkdir -p b/c; mv a b/c/a; ln -s b/c/a link; cat link; rm -r b; ls; "
                "echo temporary > $TMPDIR/t; cat $TMPDIR/t; echo null > /dev/null; echo to stderr >&2; "
                "echo to a device > /dev/stderr; head -c 4 /dev/zero | wc -c; cat <(echo substituted); wc -c < /dev/null; "
                f"{_quoted(sys.executable)} -c 'print(6 * 7)'; pwd; exit 3"
            )
            ended, said = await self.run(outside, sandbox, policy, command)
            expected = [
                "one", "one", "link", "temporary", "to stderr", "to a device", "4", "substituted", "0", "42",
                str(outside.workspace),
            ]  # fmt: skip
            assert [line.strip() for line in said.splitlines()] == expected, said
            assert ended == Execution(3)
            assert sorted(os.listdir(outside.workspace)) == ["link"], "nothing of the sandbox is left"

    async def test_a_signal_reads_as_in_a_shell(self) -> None:
        with self.outside() as outside:
            policy = outside.policy()
            ended, said = await self.run(outside, self.sandbox(policy), policy, "kill -SEGV $$")
            assert (ended, said) == (Execution(139), ""), (ended, said)

    async def test_the_temporary_folder_is_of_the_session_and_goes_with_it(self) -> None:
        with self.outside() as outside:
            policy = outside.policy()
            sandbox = self.sandbox(policy)
            output: list[bytes] = []
            async with self.workspace(outside, sandbox, policy) as workspace:
                await workspace.execute(f"echo kept > $TMPDIR/{outside.mark}; chmod 0 $TMPDIR", output=output.append)
                await workspace.execute(f"chmod 700 $TMPDIR; cat $TMPDIR/{outside.mark}", output=output.append)
                where = Path(workspace._temporary.path())
                assert (where / outside.mark).read_text() == "kept\n"
                assert where.stat().st_mode & 0o077 == 0
            assert b"".join(output) == b"kept\n"
            assert not where.exists()

    async def test_folders_of_the_policy_can_be_written_and_read(self) -> None:
        with self.outside() as outside:
            more, inner = outside.folder / "more", outside.secrets / "open"
            more.mkdir()
            inner.mkdir()
            (inner / "note").write_text("to be read")
            policy = outside.policy(writable=(str(more),), readable=(str(inner),))
            sandbox = self.sandbox(policy)
            await self.run(outside, sandbox, policy, f"echo written > {more}/file")
            assert (more / "file").read_text() == "written\n"
            _, said = await self.run(outside, sandbox, policy, f"cat {outside.file}")
            assert said == "untouched\n"

    async def test_loopback_of_its_own_or_none(self) -> None:
        with self.outside() as outside:
            policy = outside.policy(network=True)
            sandbox = self.sandbox(policy)
            code = (
                "import socket; s = socket.create_server(('127.0.0.1', 0)); "
                "c = socket.create_connection(s.getsockname()); s.accept()[0].sendall(b'hello'); print(c.recv(9).decode())"
            )
            _, said = await self.run(outside, sandbox, policy, f'{_quoted(sys.executable)} -c "{code}"')
            assert said == "hello\n"

    async def test_no_new_rights_and_no_open_files(self) -> None:
        with self.outside() as outside:
            policy = outside.policy()
            sandbox = self.sandbox(policy, "writes_confined")
            command = "grep -E '^(CapEff|CapPrm|CapInh|CapAmb|NoNewPrivs)' /proc/self/status; ls /proc/self/fd | wc -l"
            _, said = await self.run(outside, sandbox, policy, command)
            rights = dict(re.findall(r"(\w+):\s*(\S+)", said))
            assert {int(value, 16) for name, value in rights.items() if name.startswith("Cap")} == {0}
            assert rights["NoNewPrivs"] == "1"
            assert said.splitlines()[-1].strip() == "4", "three and the folder that is being listed"

    # --- promises ---

    async def test_writes_are_confined(self) -> None:
        with self.outside() as outside, outside.another_process() as other:
            policy = outside.policy()
            sandbox = self.sandbox(policy, "writes_confined")
            before = outside.state()
            with outside.file.open("a") as held:
                facts = {"other": other.pid, "open": held.fileno()}
                await self.attempts(outside, sandbox, policy, "writes_confined", facts)
            assert outside.state() == before
            for folder in ("/dev/shm", "/tmp", "/var/tmp", "/run"):
                assert not os.path.exists(f"{folder}/{outside.mark}"), folder

    async def test_what_a_command_may_not_make(self) -> None:
        """The workspace's `.godwit`, whose settings others read, and what belongs to a database in the workspace."""
        with self.outside() as outside:
            policy = outside.policy()
            sandbox = self.sandbox(policy, "settings_kept", outside=outside)
            own = outside.workspace / ".godwit"
            facts = {"own": str(own), "database": str(outside.database)}
            await self.attempts(outside, sandbox, policy, "kept", facts)
            assert not own.exists(), "and nothing is left of keeping it"
            own.mkdir()
            (own / "config.toml").write_text("# ours\n")
            outside.database.write_text("ours")
            await self.attempts(outside, sandbox, policy, "kept", facts)
            assert sorted(os.listdir(own)) == ["config.toml", "godwit.db"]
            assert ((own / "config.toml").read_text(), outside.database.read_text()) == ("# ours\n", "ours")
            ended, said = await self.run(outside, sandbox, policy, "cat .godwit/config.toml")
            assert (ended.exit_code, said) == (0, "# ours\n")

    async def test_a_database_in_the_workspace_itself(self) -> None:
        with self.outside() as outside:
            outside.database = outside.workspace / "godwit.db"
            outside.database.write_text(SECRET)
            policy = outside.policy()
            sandbox = self.sandbox(policy, "settings_kept", "secrets_hidden", outside=outside)
            facts = {"own": str(outside.workspace / ".godwit"), "database": str(outside.database)}
            await self.attempts(outside, sandbox, policy, "kept", facts)
            _, said = await self.run(outside, sandbox, policy, "cat godwit.db; ln godwit.db copy; cat copy; rm -f godwit.db")
            assert SECRET not in said
            assert outside.database.read_text() == SECRET
            left = {name for name in os.listdir(outside.workspace) if name.startswith("godwit.db")}
            assert left == {"godwit.db"}

    async def test_attributes_are_confined(self) -> None:
        with self.outside() as outside:
            policy = outside.policy()
            sandbox = self.sandbox(policy, "attributes_confined")
            before = outside.state()
            await self.attempts(outside, sandbox, policy, "attributes_confined", {})
            assert outside.state() == before

    async def test_secrets_are_hidden(self) -> None:
        with self.outside() as outside, outside.another_process() as other, outside.key.open() as held:
            policy = outside.policy()
            sandbox = self.sandbox(policy, "secrets_hidden")
            facts = {
                "secrets": [str(outside.key), str(outside.single), str(outside.folder / "way-to-hidden" / "key")],
                "secret_folder": str(outside.secrets),
                "inner_secret": str(outside.workspace / "none" / "none"),
                "other": other.pid,
                "open_secret": held.fileno(),
                "variable": f"SECRET_{outside.mark.replace('-', '_')}",
            }
            await self.attempts(outside, sandbox, policy, "secrets_hidden", facts)
            assert outside.key.read_text() == SECRET

    async def test_secrets_within_the_workspace_are_hidden(self) -> None:
        with self.outside() as outside, outside.another_process() as other, outside.key.open() as held:
            inner = outside.workspace / "deep" / "deeper" / "hidden"
            inner.mkdir(parents=True)
            (inner / "key").write_text(SECRET)
            policy = outside.policy(hidden=(str(inner),))
            sandbox = self.sandbox(policy, "secrets_hidden", outside=outside)
            facts = {
                "secrets": [str(inner / "key")],
                "secret_folder": str(inner),
                "inner_secret": str(inner),
                "other": other.pid,
                "open_secret": held.fileno(),
                "variable": "none",
            }
            for _ in range(2):  # what the first command renamed, the second one might see
                await self.attempts(outside, sandbox, policy, "secrets_hidden", facts)
            _, said = await self.run(outside, sandbox, policy, "mv deep elsewhere; grep -r secret --include=key . ")
            assert SECRET not in said
            assert (inner / "key").read_text() == SECRET

    async def test_the_network_is_off(self) -> None:
        with self.outside() as outside, outside.another_process() as other, outside.servers() as facts:
            policy = outside.policy()
            sandbox = self.sandbox(policy, "network_off")
            await self.attempts(outside, sandbox, policy, "network_off", {"other": other.pid, **facts})
            assert outside.drained() == 0

    async def test_the_network_is_limited(self) -> None:
        with (
            self.outside() as outside,
            outside.another_process() as other,
            outside.servers() as facts,
            outside.web() as port,
        ):
            listed = f"127.0.0.1:{port}"
            policy = outside.policy(allowed_hosts=(listed,))
            sandbox = self.sandbox(policy, "network_limited")
            code = f"import urllib.request as u; print(u.build_opener(u.ProxyHandler()).open('http://{listed}/').read().decode())"
            _, said = await self.run(outside, sandbox, policy, f'{_quoted(sys.executable)} -I -S -c "{code}"')
            assert said.split() == ["reached", outside.mark, "host:", listed]
            facts |= {"other": other.pid, "listed": listed}
            await self.attempts(outside, sandbox, policy, "network_limited", facts)
            assert outside.drained() == 0

    async def test_a_refusal_is_told_with_the_setting(self) -> None:
        with self.outside() as outside:
            policy = outside.policy(allowed_hosts=("127.0.0.1:9",))
            sandbox = self.sandbox(policy, "network_limited")
            code = "import urllib.request as u; u.urlopen('https://elsewhere.example/')"
            ended, said = await self.run(
                outside, sandbox, policy, f'{_quoted(sys.executable)} -I -S -c "{code}" 2>/dev/null'
            )
            assert ended.exit_code != 0
            assert "elsewhere.example" in said
            assert "allowed_hosts" in said

    async def test_a_list_of_hosts_is_held_or_nothing_runs(self) -> None:
        with self.outside() as outside:
            policy = outside.policy(allowed_hosts=("127.0.0.1:9",))
            sandbox = self.sandbox(outside.policy())
            if "network_limited" not in sandbox.gaps(policy):
                return
            try:
                _, said = await self.run(outside, sandbox, policy, "echo it ran")
            except ToolFailed:
                return
            raise AssertionError(f"a list that cannot be held must not be open: {said}")

    async def test_processes_are_isolated(self) -> None:
        with self.outside() as outside, outside.another_process() as other, _segment() as key:
            policy = outside.policy()
            sandbox = self.sandbox(policy, "processes_isolated")
            before = os.getpriority(os.PRIO_PROCESS, other.pid)
            facts = {"other": other.pid, "other_mark": f"other-{outside.mark}", "segment_key": key}
            await self.attempts(outside, sandbox, policy, "processes_isolated", facts)
            assert other.poll() is None
            assert os.getpriority(os.PRIO_PROCESS, other.pid) == before

    async def test_nothing_survives_an_end(self) -> None:
        with self.outside() as outside:
            policy = outside.policy()
            sandbox = self.sandbox(policy, "no_survivors")
            ended, said = await self.run(outside, sandbox, policy, _daemons(outside.mark) + "; echo all started")
            assert (ended.exit_code, said.splitlines()[-1]) == (0, "all started")
            assert _alive(outside.mark) == []

    async def test_nothing_survives_being_ended(self) -> None:
        with self.outside() as outside:
            policy = outside.policy()
            sandbox = self.sandbox(policy, "no_survivors")
            command = _daemons(outside.mark) + "; trap '' TERM; echo all started; sleep 300; sleep 300"
            for grace_s in (0.0, 0.1):
                cancel = Cancel()
                output = _Heard(b"all started", cancel)
                async with self.workspace(outside, sandbox, policy) as workspace:
                    ended = await workspace.execute(command, output=output, cancel=cancel, grace_s=grace_s, timeout_s=60)
                assert ended == Execution(None, cancelled=True)
                assert _alive(outside.mark) == []
            ended, _ = await self.run(outside, sandbox, policy, command, timeout_s=1.0, grace_s=0.0)
            assert ended == Execution(None, timed_out=True)
            assert _alive(outside.mark) == []

    async def test_a_command_may_tidy_up(self) -> None:
        with self.outside() as outside:
            policy = outside.policy()
            sandbox = self.sandbox(policy)
            cancel = Cancel()
            output = _Heard(b"ready", cancel)
            async with self.workspace(outside, sandbox, policy) as workspace:
                command = "trap 'echo tidied; exit' TERM; echo ready; sleep 300 & wait"
                ended = await workspace.execute(command, output=output, cancel=cancel, grace_s=20)
            assert ended == Execution(None, cancelled=True)
            assert output.all == b"ready\ntidied\n"

    async def test_memory_and_file_sizes_and_time_are_limited(self) -> None:
        with self.outside() as outside:
            policy = outside.policy(memory_bytes=300 << 20, file_bytes=1 << 20, cpu_s=1)
            sandbox = self.sandbox(policy, "limits_enforced")
            python = f"exec {_quoted(sys.executable)} -I -S -c"
            raised = (
                "import resource; [resource.setrlimit(k, (-1, -1)) for k in (resource.RLIMIT_AS, resource.RLIMIT_FSIZE)]"
            )
            for code, expected in (
                ("bytearray(1 << 30)", "MemoryError"),
                ("import mmap; mmap.mmap(-1, 1 << 30)", "Cannot allocate memory"),
                (raised, "not allowed to raise"),
            ):
                ended, said = await self.run(outside, sandbox, policy, f"{python} '{code}'")
                assert ended.exit_code == 1, (code, ended, said)
                assert expected in said
            ended, _ = await self.run(outside, sandbox, policy, "head -c 3000000 /dev/zero > large; exit $?")
            assert ended.exit_code not in (0, None)
            assert (outside.workspace / "large").stat().st_size == 1 << 20
            ended, _ = await self.run(outside, sandbox, policy, f"{python} 'while True: pass'")
            assert ended.exit_code in (128 + signal.SIGXCPU, 128 + signal.SIGKILL)
            ended, _ = await self.run(outside, sandbox, policy, "ulimit -c; [ $(ulimit -c) = 0 ]")
            assert ended.exit_code == 0

    async def test_processes_are_limited(self) -> None:
        with self.outside() as outside:
            policy = outside.policy(processes=20)
            sandbox = self.sandbox(policy, "limits_enforced")
            code = (
                "import os, signal, time; made = []\n"
                "try:\n"
                "  while len(made) < 200:\n"
                "    child = os.fork()\n"
                "    if child == 0: time.sleep(60); os._exit(0)\n"
                "    made.append(child)\n"
                "except OSError as error: print(error)\n"
                "print(len(made)); [os.kill(one, 9) for one in made]\n"
            )
            (outside.workspace / "bomb.py").write_text(code)
            ended, said = await self.run(outside, sandbox, policy, f"exec {_quoted(sys.executable)} -I -S bomb.py")
            assert ended.exit_code == 0, said
            assert 10 <= int(said.splitlines()[-1]) <= 20, said


class _Heard:
    """Takes output, and cancels when a word has come."""

    def __init__(self, word: bytes, cancel: Cancel) -> None:
        self.all = b""
        self._word = word
        self._cancel = cancel

    def __call__(self, chunk: bytes) -> None:
        self.all += chunk
        if self._word in self.all:
            self._cancel.cancel()


def _database(outside: Outside) -> tuple[str, ...]:
    path = str(outside.database)
    return (path, f"{path}-wal", f"{path}-shm", f"{path}-journal", f"{path}.d/")


def _quoted(path: str) -> str:
    return "'" + path.replace("'", "'\\''") + "'"


def _daemons(mark: str) -> str:
    """Starts processes in every way that is known to outlive a command, all of them called by the mark."""
    sleeper = f"exec -a {mark} sleep 300"
    return "; ".join(
        [
            f'bash -c "{sleeper}" >/dev/null 2>&1 &',
            f'nohup bash -c "{sleeper}" >/dev/null 2>&1 &',
            f'setsid bash -c "{sleeper}" >/dev/null 2>&1 &',
            f"(setsid bash -c 'setsid bash -c \"{sleeper}\" & disown' >/dev/null 2>&1 &)",
            f"(trap '' HUP INT TERM; {sleeper}) >/dev/null 2>&1 &",
            f"bash -c \"trap '' TERM; bash -c '{sleeper}' & disown; exit\" >/dev/null 2>&1",
        ]
    ).replace("&;", "&")


def _alive(mark: str) -> list[str]:
    listing = subprocess.run(["ps", "-A", "-o", "pid=,stat=,args="], capture_output=True, text=True, check=True).stdout
    rows = [line.split(None, 2) for line in listing.splitlines()]
    return [" ".join(row) for row in rows if len(row) > 2 and row[2].startswith(mark) and "Z" not in row[1]]


@contextlib.contextmanager
def _segment() -> Iterator[int]:
    """A System V shared memory segment of the host; gives its key."""
    libc = ctypes.CDLL(None, use_errno=True)
    key = int.from_bytes(os.urandom(3), "big") + 1
    made = libc.shmget(key, 4096, 0o1000 | 0o600)
    try:
        yield key
    finally:
        if made >= 0:
            libc.shmctl(made, 0, None)
