"""Rule: what the front asks of a request before its dialect sees it."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import msgspec
from starlette.requests import HTTPConnection

from ...core.principal import Scope

SAFE = ("GET", "HEAD", "OPTIONS")


class Rule(msgspec.Struct, frozen=True):
    """`scope`: what the caller's key must have; a dialect may ask for more once it has read the body. `writes`: it changes
    something, so that it is recorded for the audit log and its answer is kept for those who ask again. `upload`: its body is
    a file. `waits`: it may take as long as it likes to answer, as a long poll does.
    """

    scope: Scope
    writes: bool
    upload: bool = False
    waits: bool = False


READ = Rule("read", False)
OPERATE = Rule("operate", True)
ADMIN = Rule("admin", True)
UPLOAD = Rule("operate", True, upload=True)


@runtime_checkable
class Ruled(Protocol):
    """A dialect that knows better than the method what a request does."""

    def rule(self, request: HTTPConnection) -> Rule | None:
        """The rule of this request; None for what the method says."""
        ...


def rule_of(request: HTTPConnection, dialect: object) -> Rule:
    """Reading needs `read`, all else `operate`, unless the dialect says otherwise. Only the dialect says what is a file:
    by its content type any request could have the limits of one, and be read into memory."""
    found = dialect.rule(request) if isinstance(dialect, Ruled) else None
    if found is not None:
        return found
    if request.scope["method"] in SAFE:
        return READ
    return OPERATE
