"""No sandbox: commands are ordinary processes of this user and can do what the user can. It promises nothing and says so."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping, Sequence

from ...contracts import Confinement, Enclosure
from ...core.sandbox import PROMISES, Promise, SandboxPolicy
from .limits import limited

logger = logging.getLogger("godwit")


class Unconfined:
    """Implements `godwit.contracts.Sandbox`. Limits are set all the same; root can lift them again."""

    name = "none"

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._said: set[str] = set()

    def problem(self) -> str | None:
        return None

    def gaps(self, policy: SandboxPolicy, enclosure: Enclosure | None = None) -> dict[Promise, str]:
        return dict.fromkeys(PROMISES, "nothing confines commands")

    def warn(self, why: str) -> None:
        """Say once per reason that commands run without a sandbox."""
        with self._lock:
            if why in self._said:
                return
            self._said.add(why)
        logger.warning("commands run WITHOUT A SANDBOX, as you and with all you can reach: %s", why)

    def confine(
        self, argv: Sequence[str], *, enclosure: Enclosure, environment: Mapping[str, str], policy: SandboxPolicy
    ) -> Confinement:
        return Confinement(*limited(argv, {**environment, "TMPDIR": enclosure.temporary}, policy))
