"""A workspace under a policy: what commands get, what file tools leave alone, and which backend is taken."""

from __future__ import annotations

import asyncio
import logging
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
import pytest

from godwit.contracts import Confinement, Enclosure, Sandbox
from godwit.core.errors import ConfigurationError, PathEscape, ToolFailed
from godwit.core.sandbox import PROMISES, Promise, SandboxPolicy
from godwit.tools.typed import lock_of
from godwit.workspaces import temporary as temporary_folders
from godwit.workspaces.local import LocalWorkspace
from godwit.workspaces.sandboxes import choice
from godwit.workspaces.sandboxes.bubblewrap import Bubblewrap
from godwit.workspaces.sandboxes.choice import backends, choose
from godwit.workspaces.sandboxes.enclosure import access_of, enclose
from godwit.workspaces.sandboxes.landlock import Landlock
from godwit.workspaces.sandboxes.none import Unconfined
from godwit.workspaces.temporary import TemporaryFolder

SRC = Path(__file__).resolve().parents[2] / "src"
UNCONFINED = SandboxPolicy(backend="none")


async def run(workspace: LocalWorkspace, command: str) -> str:
    output: list[bytes] = []
    await workspace.execute(command, output=output.append)
    return b"".join(output).decode()


class Broken:
    """A backend that does not work here."""

    name = "broken"

    def problem(self) -> str | None:
        return "it is broken: mend it"

    def gaps(self, policy: SandboxPolicy, enclosure: Enclosure | None = None) -> dict[Promise, str]:
        return dict.fromkeys(PROMISES, "it is broken: mend it")

    def confine(
        self, argv: Sequence[str], *, enclosure: Enclosure, environment: Mapping[str, str], policy: SandboxPolicy
    ) -> Confinement:
        raise ToolFailed("it is broken")


class TestEnvironment:
    async def names(self, folder: Path, policy: SandboxPolicy) -> set[str]:
        workspace = LocalWorkspace(folder, {"GIVEN_TOKEN": "x"}, sandbox=policy)
        said = await run(workspace, "env")
        await workspace.close()
        return {line.split("=")[0] for line in said.splitlines()}

    async def test_only_what_is_listed_passes(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("PLAIN", "MY_TOKEN", "MY_OTHER", "LC_ALL", "OPENAI_API_KEY", "HTTPS_PROXY"):
            monkeypatch.setenv(name, "C")
        assert await self.names(tmp_path, UNCONFINED) >= {"PATH", "PWD", "TMPDIR", "LC_ALL", "GIVEN_TOKEN"}
        assert (await self.names(tmp_path, UNCONFINED)).isdisjoint({"PLAIN", "MY_TOKEN", "OPENAI_API_KEY", "HTTPS_PROXY"})
        some = await self.names(tmp_path, SandboxPolicy(backend="none", environment=("MY_*", "PATH")))
        assert some >= {"MY_OTHER", "GIVEN_TOKEN", "PATH"}
        assert some.isdisjoint({"MY_TOKEN", "PLAIN", "LC_ALL"}), "a credential passes by its full name only"
        assert "MY_TOKEN" in await self.names(tmp_path, SandboxPolicy(backend="none", environment=("MY_TOKEN",)))
        everything = await self.names(tmp_path, SandboxPolicy(backend="none", environment=("*",)))
        assert "PLAIN" in everything
        assert "OPENAI_API_KEY" not in everything

    async def test_proxies_pass_with_the_network(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HTTPS_PROXY", "http://proxy:3128")
        monkeypatch.setenv("http_proxy", "user:password@proxy:3128")
        names = await self.names(tmp_path, SandboxPolicy(backend="none", network=True))
        assert "HTTPS_PROXY" in names
        assert "http_proxy" not in names, "it holds a password"


class TestFileTools:
    async def test_the_own_folder_is_not_written(self, tmp_path: Path) -> None:
        own = tmp_path / ".godwit"
        own.mkdir()
        (own / "config.toml").write_text("x = 1")
        (own / "godwit.db").write_text("sessions of others")
        (tmp_path / "link").symlink_to(".godwit")
        workspace = LocalWorkspace(tmp_path, sandbox=UNCONFINED)
        for path in (".godwit/config.toml", "link/config.toml", ".GODWIT/config.toml", ".godwit/new/deep", "a/../.godwit/x"):
            with pytest.raises(ToolFailed, match=r"\.godwit belongs to godwit"):
                await workspace.write(path, b"")
        with pytest.raises(ToolFailed, match="belongs to godwit"):
            await workspace.delete(".godwit/config.toml")
        assert await workspace.read("link/config.toml") == b"x = 1"
        for path in (".godwit/godwit.db", "link/godwit.db", str(own / "godwit.db")):
            with pytest.raises(ToolFailed, match="a database of godwit"):
                await workspace.read(path)
        assert [info.path for info in await workspace.listdir(".godwit")] == [".godwit/config.toml"]
        for pattern in ("sessions", "of others"):
            assert await workspace.grep(pattern) == []
            assert await workspace.grep(pattern, ".godwit") == []
        assert [info.path for info in await workspace.glob("**")] == [".godwit/config.toml"]
        assert sorted(os.listdir(own)) == ["config.toml", "godwit.db"]

    async def test_it_is_not_made_either(self, tmp_path: Path) -> None:
        workspace = LocalWorkspace(tmp_path, sandbox=UNCONFINED)
        with pytest.raises(ToolFailed, match="belongs to godwit"):
            await workspace.write(".godwit/config.toml", b"hooks = []")
        assert os.listdir(tmp_path) == []

    async def test_hidden_places_are_left_alone(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HOME", str(tmp_path))
        for path in (".ssh/id", "keys/a", "keys/open/b", "data.db", "notes"):
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path).write_text("content")
        policy = SandboxPolicy(backend="none", hidden=("~/keys",), readable=("~/keys/open",))
        workspace = LocalWorkspace(tmp_path, sandbox=policy, hidden=(str(tmp_path / "data.db"),))
        for path in (".ssh/id", "keys/a", "data.db"):
            with pytest.raises(ToolFailed, match="hidden by the sandbox"):
                await workspace.read(path)
            with pytest.raises(ToolFailed, match="hidden by the sandbox"):
                await workspace.write(path, b"")
        assert await workspace.read("keys/open/b") == b"content"
        with pytest.raises(ToolFailed, match="only be read"):
            await workspace.write("keys/open/b", b"")
        assert {path for path, _, _ in await workspace.grep("content")} == {"keys/open/b", "notes"}

    async def test_what_a_command_makes_is_not_taken_for_what_was_there_before_it(self, tmp_path: Path) -> None:
        """A hidden path that is not there is hidden as it is named, and not what a command has a link lead to."""
        (tmp_path / "notes").write_text("content")
        workspace = LocalWorkspace(tmp_path, sandbox=SandboxPolicy(backend="none", hidden=(str(tmp_path / "keys"),)))
        await run(workspace, "ln -s notes keys")
        assert await workspace.read("notes") == b"content"

    async def test_without_a_policy_nothing_is_left_alone(self, tmp_path: Path) -> None:
        workspace = LocalWorkspace(tmp_path)
        await workspace.write(".godwit/config.toml", b"x")
        assert await workspace.read(".godwit/config.toml") == b"x"


class TestEnclosure:
    def access(self, folder: Path, policy: SandboxPolicy, *hidden: str) -> Enclosure:
        (folder / "root").mkdir(exist_ok=True)
        (folder / "temporary" / "s").mkdir(parents=True, exist_ok=True)
        return enclose(str(folder / "root"), str(folder / "temporary" / "s"), policy, hidden)

    def test_the_inner_one_counts_and_the_later_wish(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        home = tmp_path / "home"
        for path in (".ssh", ".aws/work", ".config/gh", ".kube"):
            (home / path).mkdir(parents=True)
        monkeypatch.setenv("HOME", str(home))
        policy = SandboxPolicy(
            readable=("~/.kube",), writable=("~/.aws/work", "~/.config", "~/.missing"), hidden=("~/.kube",)
        )
        access = dict(self.access(tmp_path, policy).access)
        assert access[str(home / ".ssh")] == "hidden"
        assert (access[str(home / ".aws")], access[str(home / ".aws/work")]) == ("hidden", "write")
        assert (access[str(home / ".config")], access[str(home / ".config/gh")]) == ("write", "hidden")
        assert access[str(home / ".kube")] == "hidden", "the policy's own wish to hide wins"
        assert access[str(tmp_path / "root")] == access[str(tmp_path / "temporary/s")] == "write"
        assert access_of(str(tmp_path / "temporary" / "of another"), access) == "hidden"
        assert not any("missing" in path for path in access)

    def test_links_lead_to_what_is_hidden_and_broken_ones_to_nothing(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        home = tmp_path / "home"
        (home / "elsewhere").mkdir(parents=True)
        (home / ".ssh").symlink_to("elsewhere")
        (home / ".aws").symlink_to("nowhere")
        monkeypatch.setenv("HOME", str(home))
        access = dict(self.access(tmp_path, SandboxPolicy()).access)
        assert access[str(home / "elsewhere")] == "hidden"
        assert not any(path.endswith(("nowhere", ".aws", ".ssh")) for path in access)

    def test_what_belongs_to_godwit(self, tmp_path: Path) -> None:
        root = tmp_path / "root"
        database = (f"{root}/godwit.db", f"{root}/godwit.db-journal", f"{root}/godwit.db.d/")
        enclosure = self.access(tmp_path, SandboxPolicy(), *database)
        assert enclosure.kept == tuple(
            f"{root}/{name}" for name in (".godwit/", "godwit.db", "godwit.db-journal", "godwit.db.d/")
        )
        (root / ".godwit").mkdir()
        (root / ".godwit" / "godwit.db").touch()
        (root / "godwit.db").touch()
        access = dict(self.access(tmp_path, SandboxPolicy(), *database).access)
        assert access[f"{root}/.godwit"] == "read"
        assert access[f"{root}/.godwit/godwit.db"] == access[f"{root}/godwit.db"] == "hidden"

    def test_an_own_folder_that_is_a_link_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "root").mkdir()
        (tmp_path / "root" / ".godwit").symlink_to("elsewhere")
        with pytest.raises(ToolFailed, match="is a link"):
            self.access(tmp_path, SandboxPolicy())


class TestChoice:
    def test_the_strongest_that_works(self) -> None:
        landlock = Landlock()
        if landlock.problem() is None:
            assert choose(SandboxPolicy(), among=(Broken(), landlock, Unconfined())) is landlock
        assert choose(SandboxPolicy(), among=(Broken(), Unconfined())).name == "none"
        assert [one.name for one in backends()] == ["bubblewrap", "landlock", "none"]

    def test_a_named_one_must_work(self) -> None:
        with pytest.raises(ConfigurationError, match="'bubblewrap' cannot be used: there is no bwrap"):
            choose(SandboxPolicy(backend="bubblewrap"), among=(_Missing(), Unconfined()))

    def test_what_is_required_must_hold(self) -> None:
        policy = SandboxPolicy(require=("no_survivors",))
        with pytest.raises(ConfigurationError) as caught:
            choose(policy, among=(Broken(), Unconfined()))
        assert caught.value.message == (
            "the sandbox must keep no_survivors, and here none does not: nothing confines commands. "
            "broken: it is broken: mend it. `godwit doctor` shows what holds here"
        )
        assert caught.value.details == {"promise": "no_survivors", "backend": "none"}

    async def test_running_unconfined_is_said_once(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        choice._say.cache_clear()
        workspace = LocalWorkspace(tmp_path, sandbox=UNCONFINED, backend=Unconfined())
        with caplog.at_level(logging.WARNING, logger="godwit"):
            await run(workspace, "true")
            await run(workspace, "true")
        await workspace.close()
        assert [r.getMessage() for r in caplog.records] == [
            "commands run WITHOUT A SANDBOX, as you and with all you can reach: the policy says so (backend none)"
        ]

    async def test_what_cannot_be_hidden_is_said(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        landlock = Landlock()
        if (problem := landlock.problem()) is not None:
            pytest.skip(problem)
        (tmp_path / ".godwit").mkdir()
        (tmp_path / ".godwit" / "godwit.db").touch()
        workspace = LocalWorkspace(tmp_path, sandbox=SandboxPolicy(), backend=landlock)
        with caplog.at_level(logging.WARNING, logger="godwit"):
            await run(workspace, "true")
        await workspace.close()
        assert [r.getMessage() for r in caplog.records] == [
            f"landlock cannot hide all it should from commands: {tmp_path}/.godwit/godwit.db lies within a folder that may "
            "be written. Keep it elsewhere, or install bubblewrap"
        ]

    async def test_what_breaks_later_is_no_way_around(self, tmp_path: Path) -> None:
        """A bwrap that fails to make the sandbox: the command is not run, and not run unconfined either."""
        fake = tmp_path / "bwrap"
        fake.write_text("#!/bin/sh\necho 'bwrap: the kernel says no' >&2\nexit 1\n")
        fake.chmod(0o755)
        root = tmp_path / "root"
        root.mkdir()
        workspace = LocalWorkspace(root, sandbox=SandboxPolicy(), backend=Bubblewrap(str(fake)))
        shown: list[bytes] = []
        with pytest.raises(ToolFailed, match="could not be confined, so it was not run: bwrap: the kernel says no"):
            await workspace.execute("touch made", output=shown.append)
        await workspace.close()
        assert os.listdir(root) == []
        assert shown == []
        assert "bwrap: the kernel says no" in str(Bubblewrap(str(fake)).problem())

    async def test_a_command_may_say_what_bwrap_says(self, tmp_path: Path, sandbox: Sandbox) -> None:
        workspace = LocalWorkspace(tmp_path, sandbox=SandboxPolicy(), backend=sandbox)
        assert await run(workspace, "echo 'bwrap: hello'; echo more; exit 1") == "bwrap: hello\nmore\n"
        await workspace.close()


class _Missing(Bubblewrap):
    def __init__(self) -> None:
        super().__init__()
        self.program = None


@pytest.fixture
def sandbox() -> Sandbox:
    found = Bubblewrap()
    if (problem := found.problem()) is not None:
        pytest.skip(problem)
    return found


KEEPERS = {
    # Each prints its temporary folder, and then stands still while it has it.
    "commands": """
import sys
from godwit.workspaces.temporary import TemporaryFolder
print(TemporaryFolder().path(), flush=True)
sys.stdin.read()
""",
    "the look whether a sandbox works": """
import os, sys
from godwit.core.errors import ToolFailed
from godwit.workspaces.sandboxes.probe import Probe
class Slow:
    name = "slow"
    def confine(self, argv, *, enclosure, environment, policy):
        print(os.path.dirname(enclosure.root), flush=True)
        sys.stdin.read()
        raise ToolFailed("there is nothing to confine with")
Probe(Slow()).problem()
""",
}


class TestTemporaryFolder:
    def test_is_ours_alone_and_goes(self) -> None:
        folder = TemporaryFolder()
        path = Path(folder.path())
        assert folder.path() == str(path)
        assert path.stat().st_mode & 0o777 == 0o700
        (path / "a").mkdir()
        (path / "a" / "b").write_text("x")
        (path / "a").chmod(0)
        (path / "out").symlink_to("/etc")
        folder.close()
        folder.close()
        assert not path.exists()
        assert Path("/etc").exists()

    @pytest.mark.parametrize("program", KEEPERS.values(), ids=KEEPERS)
    def test_what_a_killed_process_left_is_removed(self, program: str, tmp_path: Path) -> None:
        env = {**os.environ, "PYTHONPATH": str(SRC), "TMPDIR": str(tmp_path)}

        def start() -> subprocess.Popen[str]:
            return subprocess.Popen(
                [sys.executable, "-c", program], env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )

        with start() as killed, start() as living:
            assert killed.stdout is not None
            assert living.stdout is not None
            left = Path(killed.stdout.readline().strip())
            kept = Path(living.stdout.readline().strip())
            killed.kill()
            killed.wait()
            assert left.exists()
            with start() as third:
                assert third.stdout is not None
                own = Path(third.stdout.readline().strip())
                assert not left.parent.exists()
                assert kept.exists()
                third.communicate("")
            assert not own.parent.exists(), "gone with its process"
            living.communicate("")
        assert os.listdir(tmp_path) == []

    def test_a_folder_of_somebody_else_is_left_alone(self, tmp_path: Path) -> None:
        target = tmp_path / "target"
        target.mkdir()
        (target / ".lock").touch()
        prefix = f"godwit-commands-{os.getuid()}-"
        (tmp_path / f"{prefix}link").symlink_to(target)
        temporary_folders._sweep(str(tmp_path), prefix)
        assert target.exists()


class TestKeptPlaces:
    async def test_commands_side_by_side_keep_them(self, tmp_path: Path, sandbox: Sandbox) -> None:
        """One that ends must not take away what keeps another from making `.godwit`."""
        workspace = LocalWorkspace(tmp_path, sandbox=SandboxPolicy(), backend=sandbox)
        os.mkfifo(tmp_path / "gate")
        waiting = asyncio.create_task(run(workspace, "cat gate; mkdir .godwit && echo MADE; ls -d .godwit"))
        for _ in range(3):
            assert await run(workspace, "mkdir .godwit 2>/dev/null && echo MADE") == ""
        await asyncio.to_thread((tmp_path / "gate").write_text, "go\n")
        said = await waiting
        assert "MADE" not in said
        assert said.splitlines()[0] == "go"
        assert os.listdir(tmp_path) == ["gate"]
        await workspace.close()


class TestLinks:
    POLICY = SandboxPolicy(backend="none", links=(("/mnt/there", "inner/files"),))

    async def test_file_tools_find_the_folder_at_both_places(self, tmp_path: Path) -> None:
        workspace = LocalWorkspace(tmp_path, sandbox=self.POLICY)
        await workspace.write("/mnt/there/a/b.txt", b"words")
        assert await workspace.read("inner/files/a/b.txt") == b"words"
        assert [info.path for info in await workspace.listdir("/mnt/there")] == ["inner/files/a"]
        assert [info.path for info in await workspace.glob("**", "/mnt/there")] == ["inner/files/a/b.txt"]
        assert lock_of("/mnt/there/a/b.txt", workspace) == lock_of("inner/files/a/b.txt", workspace)
        for way in ("/mnt/there/../../../x", "/mnt/therefore", "/mnt"):
            with pytest.raises(PathEscape):
                await workspace.read(way)
        await workspace.close()

    @pytest.mark.skipif(Bubblewrap().problem() is not None, reason="bubblewrap does not work here")
    async def test_commands_find_it_and_it_leads_no_further_than_they_see(self, tmp_path: Path) -> None:
        folder, secret = tmp_path / "folder", tmp_path / "secret"
        (folder / "inner/files").mkdir(parents=True)
        secret.mkdir()
        (secret / "key").write_text("sesame")
        policy = msgspec.structs.replace(self.POLICY, backend="bubblewrap", hidden=(str(secret),))
        workspace = LocalWorkspace(folder, sandbox=policy)
        assert await run(workspace, "echo words > /mnt/there/a.txt; cat inner/files/a.txt; ls /mnt") == "words\nthere\n"
        assert "cannot touch" in await run(workspace, "touch /mnt/more 2>&1")
        assert (
            await run(workspace, f"rm -r inner/files; ln -s {secret} inner/files; cat /mnt/there/key 2>/dev/null; echo no")
            == "no\n"
        )
        assert await run(workspace, "cat /mnt/there/key 2>/dev/null; echo no") == "no\n"
        await workspace.close()

    async def test_the_workspace_itself_has_a_second_name_in_the_root(self, tmp_path: Path) -> None:
        workspace = LocalWorkspace(tmp_path, sandbox=SandboxPolicy(backend="none", links=(("/godwit-workspace", "."),)))
        await workspace.write("/godwit-workspace/a/b.txt", b"words")
        assert await workspace.read("a/b.txt") == b"words"
        assert [info.path for info in await workspace.listdir("/godwit-workspace")] == ["a"]
        assert lock_of("/godwit-workspace/a/b.txt", workspace) == lock_of("a/b.txt", workspace)
        for way in ("/godwit-workspace/../x", "/godwit-workspaces", "/"):
            with pytest.raises(PathEscape):
                await workspace.read(way)
        await workspace.close()

    @pytest.mark.skipif(Bubblewrap().problem() is not None, reason="bubblewrap does not work here")
    async def test_commands_find_a_name_in_the_root_and_all_else_stays_as_it_was(self, tmp_path: Path) -> None:
        folder, secret = tmp_path / "folder", tmp_path / "secret"
        folder.mkdir()
        secret.mkdir()
        (secret / "key").write_text("sesame")
        policy = SandboxPolicy(
            backend="bubblewrap", links=(("/godwit-workspace", "."), ("/etc", "fake")), hidden=(str(secret),)
        )
        workspace = LocalWorkspace(folder, sandbox=policy)
        plain = LocalWorkspace(folder, sandbox=msgspec.structs.replace(policy, links=()))
        assert await run(
            workspace, "cd /godwit-workspace; mkdir out; echo words > out/a.txt; cat /godwit-workspace/out/a.txt"
        )
        assert (folder / "out/a.txt").read_text() == "words\n"
        # A name that the machine has is not taken: /etc is its own.
        assert await run(workspace, "head -c 5 /etc/passwd") == await run(plain, "head -c 5 /etc/passwd")
        assert await run(workspace, "ls -A / | grep -vx godwit-workspace") == await run(plain, "ls -A /")
        for attempt in ("touch /more", "mkdir /usr/more", "rm /godwit-workspace", "mv /bin /sbin2", f"cat {secret}/key"):
            assert await run(workspace, f"{attempt} 2>/dev/null || echo refused") == "refused\n", attempt
        assert (
            await run(workspace, f"ln -s {secret} out/way; cat /godwit-workspace/out/way/key 2>/dev/null; echo no") == "no\n"
        )
        await workspace.close()
        await plain.close()
