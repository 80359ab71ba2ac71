"""Held calls: calls that servers of the older protocol are at work on, and what they have asked within them.

Such a server waits within the open request, so the call is held here while people think: by an id, which stands in the
log, and for the session alone whose call it is. Leaves out what a question is (`asking.py`) and how a call goes on
(`legs.py`). Rules a change must keep:

* What a server asks belongs to a call that is under way, of one session, or is refused: never is another one asked.
* A held call ends: with its result, when it is given up, with its session, after `HELD_S`, and with the process.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import secrets
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ...core.errors import InvalidArgument
from ...core.ids import SessionId
from ...core.questions import QuestionAnswer
from .asking import Ask, ask_of, digest_of, elicited
from .forms import CannotAsk
from .progress import progress_of
from .sampling import SampleAsk, changed
from .within import Within

if TYPE_CHECKING:
    from mcp_types import ErrorData

    from ...tools.guarded import Seen

HELD_S = 24 * 3600.0
"""How long a call is held while nobody answers."""
MOST_HELD = 1000
"""Calls of this process that wait for people."""
MOST_HELD_PER_SESSION = 20
MOST_ASKS = 100
"""Questions within one call."""
_REJECTED = -1
"""What the specification gives for a request of the model that a person did not want."""

_CALL: contextvars.ContextVar[HeldCall | None] = contextvars.ContextVar("godwit_mcp_call", default=None)
"""The call that the current task works for. What a server asks on the stream of its answer comes in this context."""


@dataclass(eq=False)
class Open:
    """One thing a server has asked and waits for. `allowed`: a person has answered it before, or need not be asked; then
    the model is asked `allowed`."""

    key: str
    ask: Ask
    digest: str
    answer: asyncio.Future[Any]
    allowed: SampleAsk | None = None

    def give(self, answer: Any) -> None:
        if not self.answer.done():
            self.answer.set_result(answer)


@dataclass(eq=False)
class HeldCall:
    """One call under way. `on`: the connection. `within`: for what it is made; None while it waits for people. `known`:
    answers by what was asked, each for one time. `given`: those that servers were given in this call so far. `seen`: of the
    request on the way."""

    id: str
    session: SessionId
    on: object
    allows: Callable[[SampleAsk], bool]
    within: Within | None
    known: dict[str, list[QuestionAnswer]] = field(default_factory=dict)
    given: list[tuple[str, QuestionAnswer]] = field(default_factory=list)
    open: dict[str, Open] = field(default_factory=dict)
    samples: int = 0
    task: asyncio.Task[Any] = field(init=False)
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    timer: asyncio.TimerHandle | None = None
    seen: Seen | None = None
    _asks: int = 0
    _tell: tuple[Within, Callable[..., Awaitable[None]]] | None = None

    @property
    def works(self) -> bool:
        """Whether the server has not answered it yet."""
        return not self.task.done()

    @property
    def waiting(self) -> list[Open]:
        """What the server has asked and was not answered yet."""
        return [one for one in self.open.values() if not one.answer.done()]

    def begin(self, work: Coroutine[Any, Any, Any]) -> None:
        inside = contextvars.copy_context()
        inside.run(_CALL.set, self)
        self.task = asyncio.get_running_loop().create_task(work, context=inside)
        self.task.add_done_callback(_look_at)

    async def tell(self, progress: float, total: float | None = None, message: str | None = None) -> None:
        """How far the server is, for whoever waits for it just now."""
        within = self.within
        if within is not None:
            if self._tell is None or self._tell[0] is not within:
                self._tell = (within, progress_of(within))
            await self._tell[1](progress, total, message)

    async def ask(self, params: Any) -> Any:
        """What the server is answered; it may take as long as people do."""
        self._asks += 1
        if self._asks > MOST_ASKS:
            return _refusal(f"this call has asked {MOST_ASKS} times, and that is the most")
        try:
            ask = ask_of(params)
        except CannotAsk as error:
            return _refusal(f"this cannot be asked: {error}", invalid=True)
        digest = digest_of(ask)
        one = Open(f"{self.id}-{self._asks}", ask, digest, asyncio.get_running_loop().create_future())
        if isinstance(ask, SampleAsk) and self.allows(ask):
            one.allowed = ask
        elif before := self.known.get(digest):
            self.answered(one, before.pop(0))
        self.open[one.key] = one
        self.asked.set()
        try:
            return await one.answer
        finally:
            self.open.pop(one.key, None)

    def answered(self, one: Open, answer: QuestionAnswer) -> None:
        """People have answered, or nobody did. What the model is to be asked first stays open, `allowed`."""
        self.given.append((one.digest, answer))
        if not isinstance(one.ask, SampleAsk):
            one.give(elicited(one.ask, answer))
        elif answer.action == "accept":
            try:
                one.allowed = changed(one.ask, answer.content or {})
            except InvalidArgument as error:
                one.give(failed(error.message))
            self.asked.set()
        else:
            one.give(rejected())

    def end(self) -> None:
        """Nobody waits for it any more: the server is told that the call is cancelled, and what it still asks gets `cancel`.
        In this order, for it would go on with the answer, and might end the call or ask the next thing before it hears."""
        if self.timer is not None:
            self.timer.cancel()
        self.task.add_done_callback(lambda _: self._unanswered())
        self.task.cancel()

    def _unanswered(self) -> None:
        for one in self.waiting:
            one.give(rejected() if isinstance(one.ask, SampleAsk) else elicited(one.ask, QuestionAnswer(one.key, "cancel")))


class HeldCalls:
    """Those of one process."""

    def __init__(self) -> None:
        self._calls: dict[str, HeldCall] = {}

    def begin(
        self,
        work: Callable[[HeldCall], Coroutine[Any, Any, Any]],
        *,
        on: object,
        within: Within,
        allows: Callable[[SampleAsk], bool],
        known: dict[str, list[QuestionAnswer]] | None = None,
    ) -> HeldCall:
        """A call that is sent now, on this connection. It has to be ended, or held."""
        call = HeldCall(secrets.token_hex(8), within.session, on, allows, within, known or {})
        call.begin(work(call))
        self._calls[call.id] = call
        return call

    def hold(self, call: HeldCall) -> bool:
        """Keep it while people think. False when there are too many."""
        held = [one for one in self._calls.values() if one.within is None and one.works]
        if len(held) >= MOST_HELD or sum(one.session == call.session for one in held) >= MOST_HELD_PER_SESSION:
            return False
        call.within = None
        if call.seen is not None:
            call.seen.held = True
        call.timer = asyncio.get_running_loop().call_later(HELD_S, self.end, call.id, call.session)
        return True

    def resume(self, held: str, within: Within) -> HeldCall | None:
        """The held call of this id, if it is there and of this session."""
        call = self._calls.get(held)
        if call is None or call.session != within.session or call.within is not None:
            return None
        if call.timer is not None:
            call.timer.cancel()
        call.within = within
        if call.seen is not None:
            call.seen.held, call.seen.streams = False, 0
        return call

    def forget(self, call: HeldCall) -> None:
        """It has its result."""
        self._calls.pop(call.id, None)

    def end(self, held: str, session: SessionId | None = None) -> None:
        call = self._calls.get(held)
        if call is not None and session in (None, call.session):
            del self._calls[held]
            call.end()

    def end_session(self, session: SessionId) -> None:
        """Let go of those that wait for people."""
        for call in [one for one in self._calls.values() if one.session == session and one.within is None]:
            self.end(call.id)

    async def close(self) -> None:
        ended = list(self._calls.values())
        for call in ended:
            self.end(call.id)
        if ended:
            await asyncio.wait([call.task for call in ended], timeout=1.0)

    async def asked(self, on: object, params: Any, *, of_one: bool) -> Any:
        """A server asks something on this connection. `of_one`: the connection is one session's."""
        call = _CALL.get()
        if call is None and of_one:
            call = self._likely(on)
        if call is None or not call.works or call.on is not on:
            return _refusal("nothing is asked outside of a call that is under way on this connection")
        return await call.ask(params)

    def _likely(self, on: object) -> HeldCall | None:
        """Of several calls of one session that is at work longest and has asked least: nothing says which it is, and the
        answer goes to who asked."""
        found = [call for call in self._calls.values() if call.on is on and call.works]
        if len({call.session for call in found}) != 1:
            return None
        return min(found, key=lambda call: len(call.waiting))


def rejected() -> ErrorData:
    from mcp_types import ErrorData

    return ErrorData(code=_REJECTED, message="User rejected sampling request")


def failed(why: str) -> ErrorData:
    from mcp_types import INTERNAL_ERROR, ErrorData

    return ErrorData(code=INTERNAL_ERROR, message=why)


def _refusal(why: str, *, invalid: bool = False) -> ErrorData:
    from mcp_types import INVALID_PARAMS, INVALID_REQUEST, ErrorData

    return ErrorData(code=INVALID_PARAMS if invalid else INVALID_REQUEST, message=why)


def _look_at(task: asyncio.Task[Any]) -> None:
    """Nobody may be left to ask how it ended."""
    with contextlib.suppress(asyncio.CancelledError):
        task.exception()


__all__ = ["HeldCall", "HeldCalls", "Open", "failed", "rejected"]
