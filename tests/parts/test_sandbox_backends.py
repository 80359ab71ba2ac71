"""Every backend keeps what it promises here: commands in it try to break out."""

from __future__ import annotations

import pytest

from godwit.contracts import Sandbox
from godwit.testing import SandboxConformance
from godwit.workspaces.sandboxes.bubblewrap import Bubblewrap
from godwit.workspaces.sandboxes.landlock import Landlock
from godwit.workspaces.sandboxes.none import Unconfined


class TestBubblewrap(SandboxConformance):
    def make_sandbox(self) -> Sandbox:
        return Bubblewrap()


class TestLandlock(SandboxConformance):
    def make_sandbox(self) -> Sandbox:
        return Landlock()


class TestNone(SandboxConformance):
    def make_sandbox(self) -> Sandbox:
        return Unconfined()


@pytest.mark.slow
class TestOlderLandlock(SandboxConformance):
    """What earlier kernels promise holds with no more than they have."""

    @pytest.fixture(autouse=True, params=[1, 2, 3, 4, 5, 6])
    def _abi(self, request: pytest.FixtureRequest) -> None:
        self.abi: int = request.param

    def make_sandbox(self) -> Sandbox:
        return Landlock(self.abi)
