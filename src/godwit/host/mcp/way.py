"""McpWay: how one MCP server is reached, and what is said where it cannot be.

Leaves out when it is opened and what is asked (`connection.py`). Rule: a way belongs to one connection for as long as
that is; what it opens is entered and left by one task.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Protocol

from ...core.errors import GodwitError
from ...core.mcp import Trouble

if TYPE_CHECKING:
    from mcp import Client

    from ...tools.guarded import Seen
    from .client import Ears

Failure = tuple[Trouble, str]

LAST_ERROR = 500
"""Characters of what a library says of a failure that are passed on."""


class McpWay(Protocol):
    """`within_s`: how long connecting, and listing its tools, may take. `stateful`: the server keeps something for who asks,
    so a connection is one session's. `failure`: why it cannot be reached any more, or what came of the last request, for
    people; empty when nothing is known."""

    @property
    def within_s(self) -> float: ...
    @property
    def stateful(self) -> bool: ...
    @property
    def failure(self) -> str: ...

    def open(self, ears: Ears, broken: Callable[[], None]) -> AbstractAsyncContextManager[Client]:
        """Connect. `broken`: is called when the server is gone. Whatever the library raises, GodwitError, OSError, and
        TimeoutError."""
        ...

    def hidden(self, text: str) -> str:
        """The text without what it was given secretly."""
        ...

    def refused(self, seen: Seen) -> str | None:
        """Why it does not take the credential; None when it does, or has not said."""
        ...

    def taken(self) -> None:
        """It has answered as it should: it takes the credential."""
        ...

    def reason(self, error: BaseException) -> Failure:
        """Why connecting or staying failed."""
        ...


def reason_of(error: BaseException, within_s: float) -> Failure:
    """What an error means where nothing better is known."""
    first = first_of(error)
    if isinstance(first, TimeoutError):
        return "connection", f"timed out: it does not answer within {within_s:g} s"
    if isinstance(first, GodwitError):
        return "connection", first.message
    return "connection", f"it does not speak MCP as it should ({type(first).__name__})"


def first_of(error: BaseException) -> BaseException:
    """What a group of errors began with."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def hidden(text: str, secrets: tuple[str, ...]) -> str:
    """The text without these, but for those that are too short to be told from any other text."""
    for secret in secrets:
        if len(secret) >= SHORTEST:
            text = text.replace(secret, "[hidden]")
    return text


SHORTEST = 8
"""Characters of a secret that is looked for."""
