"""Apart: a request that the host makes to an MCP server, outside of calls; and with what one goes on that had asked.

Leaves out how requests go on (`legs.py`). Rules: no model is asked, since nothing says what it may cost; what a server wants
to be given back is given back with the very request that it came from, to that server; answers are checked before they are
sent.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from ...contracts import ModelAnswer
from ...core.agent import ModelSettings
from ...core.errors import InvalidArgument, ToolFailed
from ...core.ids import RunId, SessionId
from ...core.messages import Message
from ...core.questions import QuestionAnswer, Resumption, filled
from . import rounds
from .asking import FormAsk

if TYPE_CHECKING:
    from ...tools.mcp import Order


class _Bound(msgspec.Struct, frozen=True):
    """A state, and which request it belongs to."""

    of: str
    state: str
    v: int = 1


class Apart:
    """Of a request that the host makes for a session, outside of calls. `resumed`: with what it goes on."""

    run: RunId | None = None

    def __init__(self, session: SessionId, resumed: Resumption | None) -> None:
        self.session = session
        self.resumed = resumed

    def progress(self, text: str) -> None:
        return

    async def ask_model_with(
        self,
        messages: Sequence[Message],
        *,
        instructions: str = "",
        settings: ModelSettings | None = None,
        model: str | None = None,
        purpose: str = "tool",
    ) -> ModelAnswer:
        raise ToolFailed("no model can be asked from here")


def bound(state: str, order: Order) -> str:
    """The state for who made this request, to give it back with the answers."""
    return msgspec.json.encode(_Bound(_digest(order), state)).decode()


def unbound(answers: Resumption, order: Order) -> Resumption:
    """With what this request goes on. InvalidArgument."""
    try:
        given = msgspec.json.decode(answers.state, type=_Bound)
    except msgspec.MsgspecError:
        given = None
    state = None if given is None else rounds.read(given.state)
    if given is None or state is None or isinstance(state, rounds.Held):
        raise InvalidArgument("these are no answers to what an MCP server asked: take what McpInputRequired.answered gives")
    if given.of != _digest(order):
        raise InvalidArgument("these are answers to what was asked for another request: make that one again")
    asks = state.asks if isinstance(state, rounds.Rounds) else {}
    return Resumption(given.state, tuple(_checked(one, asks) for one in answers.answers))


def _checked(answer: QuestionAnswer, asks: dict[str, rounds.Ask]) -> QuestionAnswer:
    ask = asks.get(answer.key)
    if answer.action != "accept" or not isinstance(ask, FormAsk):
        return answer
    return msgspec.structs.replace(answer, content=filled(ask.schema, answer.content or {}))


def _digest(order: Order) -> str:
    what = (order.server.name, order.what, order.name, sorted(order.arguments.items()))
    return hashlib.sha256(msgspec.json.encode(what)).hexdigest()


__all__ = ["Apart", "bound", "unbound"]
