"""Values that stand for a key: `!command` and `$NAME`, read when the key is needed.

What a command has printed is kept in this process, so that it runs once. Rule: neither a command nor what it prints stands
in a log or an error; a command may hold a key itself.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import threading
from collections import defaultdict
from collections.abc import Mapping

from ..core.errors import AuthenticationFailed, InvalidArgument
from ..core.keys import checked_key, form_of, variable_of

COMMAND_S = 30.0
"""How long a command may take: time enough to unlock a safe."""
_MOST_BYTES = 65_536

_printed: dict[str, str] = {}
_locks: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
"""One for each command, so that it runs once."""


async def key_of(
    value: str, provider: str, environment: Mapping[str, str] | None = None, *, limit_s: float = COMMAND_S
) -> str:
    """The key that a value stands for. `limit_s`: how long a command may take. AuthenticationFailed."""
    return await asyncio.to_thread(read_key, value, provider, environment, limit_s=limit_s)


def read_key(value: str, provider: str, environment: Mapping[str, str] | None = None, *, limit_s: float = COMMAND_S) -> str:
    """As `key_of`, in this thread."""
    match form_of(value):
        case "command":
            with _locks[value]:
                found = _printed.get(value)
                if found is None:
                    found = _printed[value] = _checked(
                        _output(value[1:], provider, environment, limit_s), provider, "command"
                    )
            return found
        case "variable":
            name = variable_of(value) or ""
            said = (os.environ if environment is None else environment).get(name, "")
            if not said.strip():
                raise AuthenticationFailed(
                    f"the key of provider {provider!r} is to be in {name}, which is not set",
                    provider=provider,
                    variables=[name],
                )
            return _checked(said, provider, f"variable {name}")
        case "literal":
            return _checked(value, provider, "value")


def forget_outputs() -> None:
    """Run the commands anew when their keys are needed next."""
    _printed.clear()


def _checked(key: str, provider: str, what: str) -> str:
    try:
        return checked_key(key)
    except InvalidArgument as error:
        raise AuthenticationFailed(f"the {what} of provider {provider!r}: {error.message}", provider=provider) from None


def _output(command: str, provider: str, environment: Mapping[str, str] | None, limit_s: float) -> str:
    def failed(what: str) -> AuthenticationFailed:
        return AuthenticationFailed(f"the command for the key of provider {provider!r} {what}", provider=provider)

    try:
        # A session of its own: what the command starts ends with it. What it says beside the key could hold it too.
        process = subprocess.Popen(
            command,
            shell=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=None if environment is None else dict(environment),
            start_new_session=True,
        )
    except (OSError, ValueError):
        raise failed("cannot be started") from None
    with process:
        try:
            printed, _ = process.communicate(timeout=limit_s)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise failed(f"took more than {limit_s:g} seconds") from None
    if process.returncode:
        raise failed(f"ended with code {process.returncode}; run it in a terminal to see why")
    if len(printed) > _MOST_BYTES:
        raise failed("printed more than a key")
    return printed.decode("utf-8", "replace")
