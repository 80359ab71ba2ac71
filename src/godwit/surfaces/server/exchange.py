"""Exchange: one request and its answer, as far as the front knows it; it stands in the request's scope."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any

from ...core.principal import Principal
from .connection import STATE, Wire
from .rule import READ, Rule

_KEY = "godwit.exchange"


class Exchange:
    """`id`: ours, sent as `request-id`; `client_id`: what the client called it. `key`: an idempotency key for what this
    request does, the same when it is sent again. `began_s`: by the monotonic clock. `streams`: where its stream, if it
    becomes one, is counted. `begins`: to be called before a request changes something whose rule does not say that it does.
    `over`: it is answered, or its client has left. `secret`: its answer holds a secret that is told once, so it is kept
    nowhere."""

    __slots__ = (
        "began_s",
        "begins",
        "client_id",
        "dialect",
        "id",
        "key",
        "method",
        "over",
        "path",
        "peer",
        "principal",
        "replayed",
        "rule",
        "scope",
        "secret",
        "sent",
        "status",
        "streamed",
        "streams",
        "wire",
    )

    def __init__(self, scope: MutableMapping[str, Any], id: str, began_s: float, dialect: str) -> None:  # noqa: A002 - the header's
        self.scope = scope
        self.id = id
        self.began_s = began_s
        self.dialect = dialect
        self.client_id: str | None = None
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.peer: str | None = None
        self.wire: Wire | None = scope.get("state", {}).get(STATE)
        self.principal: Principal | None = None
        self.rule: Rule = READ
        self.key: str | None = None
        self.over = False
        self.replayed = False
        self.secret = False
        self.status = 0
        self.sent = 0
        self.streamed = False
        self.begins: Callable[[], Awaitable[None]] | None = None
        self.streams: Callable[[Callable[[], None]], Callable[[], None]] | None = None
        scope[_KEY] = self

    @property
    def route(self) -> str:
        """The template of the route that answered, so that ids are not in it; `-` when none did."""
        path = getattr(self.scope.get("route"), "path", None)
        return path if isinstance(path, str) and path else "-"


def exchange_of(scope: Mapping[str, Any]) -> Exchange | None:
    """None outside of a server's front."""
    found = scope.get(_KEY)
    return found if isinstance(found, Exchange) else None
