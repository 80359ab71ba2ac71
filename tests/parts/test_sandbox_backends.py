"""Every backend keeps what it promises here: commands in it try to break out."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

import godwit
from godwit.contracts import Sandbox
from godwit.testing import SandboxConformance
from godwit.workspaces.sandboxes.bubblewrap import Bubblewrap
from godwit.workspaces.sandboxes.landlock import Landlock
from godwit.workspaces.sandboxes.none import Unconfined

_NOBODY = 65534


class TestBubblewrap(SandboxConformance):
    def make_sandbox(self) -> Sandbox:
        return Bubblewrap()


class TestLandlock(SandboxConformance):
    def make_sandbox(self) -> Sandbox:
        return Landlock()


class TestNone(SandboxConformance):
    def make_sandbox(self) -> Sandbox:
        return Unconfined()


def test_processes_of_an_ordinary_user_are_limited() -> None:
    """The kernel does not count those of root, so as root this is tried as nobody."""
    if os.getuid() != 0:
        pytest.skip("not root: the suite has tried it")
    if (problem := Bubblewrap().problem()) is not None:
        pytest.skip(problem)
    folder = Path(tempfile.mkdtemp(prefix="godwit-nobody-"))
    program = (
        "import asyncio\n"
        "from godwit.testing.sandbox import SandboxConformance\n"
        "from godwit.workspaces.sandboxes.bubblewrap import Bubblewrap\n"
        "class Suite(SandboxConformance):\n"
        "    def make_sandbox(self): return Bubblewrap()\n"
        "asyncio.run(Suite().test_processes_are_limited())\n"
        "asyncio.run(Suite().test_memory_and_file_sizes_and_time_are_limited())\n"
    )
    paths = os.pathsep.join(
        [str(Path(godwit.__file__).resolve().parent.parent), *(p for p in sys.path if "site-packages" in p)]
    )
    env = {"PATH": os.defpath, "HOME": str(folder), "PYTHONPATH": paths, "PYTHONDONTWRITEBYTECODE": "1"}
    version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    try:
        os.chown(folder, _NOBODY, _NOBODY)
        for python in (sys.executable, shutil.which(version, path=os.defpath) or ""):
            words = [python, "-c", "import godwit.testing.sandbox"]
            with contextlib.suppress(OSError):
                probe = subprocess.run(
                    words, env=env, user=_NOBODY, group=_NOBODY, cwd="/", capture_output=True, check=False
                )
                if probe.returncode == 0:
                    break
        else:
            pytest.skip("nobody can run this Python")
        done = subprocess.run(
            [python, "-c", program],
            env=env,
            user=_NOBODY,
            group=_NOBODY,
            extra_groups=[],
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.slow
class TestOlderLandlock(SandboxConformance):
    """What earlier kernels promise holds with no more than they have."""

    @pytest.fixture(autouse=True, params=[1, 2, 3, 4, 5, 6])
    def _abi(self, request: pytest.FixtureRequest) -> None:
        self.abi: int = request.param

    def make_sandbox(self) -> Sandbox:
        return Landlock(self.abi)
