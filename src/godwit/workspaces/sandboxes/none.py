"""No sandbox: commands are ordinary processes of this user and can do what the user can.

It promises nothing, and `choice` says so loudly.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ...contracts import Confinement, Enclosure
from ...core.errors import ToolFailed
from ...core.sandbox import PROMISES, Promise, SandboxPolicy
from .limits import limited


class Unconfined:
    """Implements `godwit.contracts.Sandbox`. Limits are set all the same; root can lift them again."""

    name = "none"

    def problem(self) -> str | None:
        return None

    def gaps(self, policy: SandboxPolicy, enclosure: Enclosure | None = None) -> dict[Promise, str]:
        return dict.fromkeys(PROMISES, "nothing confines commands")

    def confine(
        self, argv: Sequence[str], *, enclosure: Enclosure, environment: Mapping[str, str], policy: SandboxPolicy
    ) -> Confinement:
        if policy.allowed_hosts:
            raise ToolFailed(f"{self.name} cannot hold a command to the hosts of a list, so it is not run")
        return Confinement(*limited(argv, {**environment, "TMPDIR": enclosure.temporary}, policy))
