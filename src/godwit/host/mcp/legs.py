"""Legs: how a request that a server may answer with questions goes from one to the next, in both generations of the
protocol: a call of a tool, a resource, a prompt.

A server of 2026-07-28 ends the request with what it asks (`input_required`) and is sent the request again with the answers
and with its own `requestState`, so nothing is kept here. An older one asks within the open request: the call is held
(`held.py`), and is found again by its id. Leaves out what a question is (`asking.py`), what is kept until it is answered
(`rounds.py`) and the request itself (`requests.py`). Rules a change must keep:

* `requestState` goes back byte for byte, to the request that it came from, and is not sent where none came.
* A call whose server may be at work on it is sent again only where its tool may be repeated, or the server has said that it
  did nothing.
* Nothing is asked without end: rounds, questions, requests of the model and what is kept are bounded.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final, Protocol

from ...contracts import ToolOutput
from ...core.errors import GodwitError, OutcomeUnknown, ToolFailed
from ...core.questions import MOST_QUESTIONS, Question, QuestionAnswer, Resumption
from . import rounds
from .asking import FormAsk, UrlAsk, elicited, question_of
from .held import HeldCall, HeldCalls, Open, failed
from .requests import UNKNOWN, Given, Opened, sent
from .sampling import changed, sampled

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from mcp import Client
    from mcp_types import CallToolResult, GetPromptResult, InputResponses, ReadResourceResult, Root

    from ...core.mcp import McpServer
    from ...core.mcp_oauth import McpLogin
    from ...tools.mcp import Order
    from .within import Within

    Result = CallToolResult | ReadResourceResult | GetPromptResult | ToolOutput

MOST_ROUNDS: Final = 100
"""How often a server may ask to be asked again within one call."""
MOST_SAMPLES: Final = 20
"""How often the model is asked for one call."""
MOST_LOGINS: Final = 2
"""How often somebody is to log in for one call."""
PACE_S: Final = (0.1, 5.0)
"""Before a server is asked again where nobody was asked: first, and at most; each wait is twice the one before."""


class Sends(Protocol):
    """A connection, as calls need it."""

    @property
    def held(self) -> HeldCalls: ...
    @property
    def roots(self) -> list[Root]: ...
    async def login(self, server: McpServer) -> McpLogin | None:
        """Begin a login to the server, which has refused a request; None where it does not say how, or nobody can."""
        ...

    async def ask(self, request: Callable[[Client], Awaitable[Any]]) -> Any:
        """ToolFailed, with `lost` where the connection went with the call."""
        ...


async def run(order: Order, by: Sends, within: Within, *, models: bool = True) -> Result:
    """One leg: until the request has its result, or asks. `models`: whether the session's can be asked. ToolFailed;
    OutcomeUnknown where a call that was held is lost."""
    return await _Leg(order, by, within, models).run()


def abandon(state: str, held: HeldCalls) -> None:
    """The call that gave this state will not go on."""
    found = rounds.read(state)
    if isinstance(found, rounds.Held):
        held.end(found.id)


class _Leg:
    def __init__(self, order: Order, by: Sends, within: Within, models: bool) -> None:
        self.order = order
        self.by = by
        self.within = within
        self.models = models
        self.rounds = 0
        self.samples = 0
        self.logins = 0
        self.pace_s = 0.0

    async def run(self) -> Result:
        if (resumed := self.within.resumed) is None:
            return await self._sent(Given())
        match rounds.read(resumed.state):
            case rounds.Held() as state:
                return await self._held(state, resumed)
            case rounds.Rounds() as state:
                self.rounds, self.samples = state.rounds, state.sampled
                return await self._sent(Given(await self._responses(state, resumed), state.request_state, again=True))
            case rounds.Again() as state:
                self.rounds, self.logins = state.rounds, state.logins
                for answer in resumed.answers:
                    if answer.action != "accept":
                        raise ToolFailed(f"the MCP server wants an address to be opened first, and {rounds.why(answer)}")
                return await self._sent(Given())
            case None:
                raise OutcomeUnknown(f"what this call was to go on with cannot be read any more. {UNKNOWN}")

    async def _sent(self, given: Given, *, known: dict[str, list[QuestionAnswer]] | None = None) -> Result:
        """Send the request, and again as long as nobody has to be asked."""
        while True:
            call = self.by.held.begin(
                lambda call: self._carried(call, given),  # noqa: B023 - begun at once
                on=self.by,
                within=self.within,
                allows=lambda _: self.models and self.order.server.sampling == "allow",
                known=known,
            )
            call.samples = self.samples
            try:
                found = await self._outcome(call)
            except ToolFailed as error:
                refused = given.is_first and error.details.get("kind") == "authentication"
                asked = await self._login() if refused else None
                if asked is None:
                    raise
                return asked
            if isinstance(found, Opened):
                return self._opened(found)
            if isinstance(found, ToolOutput) or found.result_type != "input_required":
                return found  # type: ignore[no-any-return]
            state = self._asked(found)
            if state.asks:
                return rounds.output(state.questions(self.order.server.name), state)
            await self._pause(any_asked=bool(found.input_requests))
            given = Given(await self._responses(state, None), state.request_state, again=True)

    # --- questions within an open request -----------------------------------------------------------------------------

    async def _held(self, state: rounds.Held, resumed: Resumption) -> Result:
        call = self.by.held.resume(state.id, self.within)
        if call is not None and not _is_lost(call):
            for key in state.asks:
                if (one := call.open.get(key)) is not None:
                    call.answered(one, resumed.answer(key))
            try:
                found = await self._outcome(call)
            except ToolFailed as error:
                if not error.details.get("lost"):
                    raise
                call = None  # it went before the answer could reach it, or with it
            else:
                # It was sent once, to a server of the older protocol.
                return self._opened(found) if isinstance(found, Opened) else found
        if call is not None:
            self.by.held.forget(call)
        if not self.order.repeatable:
            raise OutcomeUnknown(f"the MCP server was at work on this call, and the connection is lost. {UNKNOWN}")
        known: dict[str, list[QuestionAnswer]] = {}
        for digest, answer in (*state.known, *((digest, resumed.answer(key)) for key, digest in state.asks.items())):
            if answer.action != "cancel":
                known.setdefault(digest, []).append(answer)
        self.samples = state.samples
        return await self._sent(Given(), known=known)

    async def _outcome(self, call: HeldCall) -> Any:
        """What comes of a call: its result, or a question and with it the end of this leg."""
        held = False
        try:
            while True:
                call.asked.clear()
                if call.task.done():
                    if call.task.cancelled():
                        raise ToolFailed("the connection to the MCP server was closed", lost=True)
                    return call.task.result()
                if (sample := next((one for one in call.waiting if one.allowed is not None), None)) is not None:
                    await self._sample(call, sample)
                elif call.waiting:
                    output = self._holding(call)
                    held = output is not None
                    if output is not None:
                        return output
                else:
                    waiting = asyncio.ensure_future(call.asked.wait())
                    try:
                        await asyncio.wait([call.task, waiting], return_when=asyncio.FIRST_COMPLETED)
                    finally:
                        waiting.cancel()
        finally:
            if not held:
                if call.works:
                    self.by.held.end(call.id)
                    await asyncio.wait([call.task])
                self.by.held.forget(call)

    def _holding(self, call: HeldCall) -> ToolOutput | None:
        """The questions that are open; None where the call cannot be held, and the server was told so."""
        asked = call.waiting[:MOST_QUESTIONS]
        if not self.by.held.hold(call):
            for one in asked:
                one.give(failed("too many calls wait for answers"))
            return None
        known = [(digest, answer) for digest, answer in call.given if answer.action != "cancel"]
        digests = {one.key: one.digest for one in asked}
        try:
            return rounds.output(
                [question_of(one.key, one.ask, self.order.server.name) for one in asked],
                rounds.Held(call.id, digests, known, call.samples),
            )
        except ToolFailed:
            self.by.held.end(call.id)
            raise

    async def _sample(self, call: HeldCall, one: Open) -> None:
        """Ask the model what a server was allowed to ask within its call, unless the call ends before."""
        assert one.allowed is not None
        ask, one.allowed = one.allowed, None
        call.open.pop(one.key, None)
        call.samples += 1
        if call.samples > MOST_SAMPLES:
            one.give(failed(f"the model was asked {MOST_SAMPLES} times for this call, and that is the most"))
            return
        asking = asyncio.ensure_future(sampled(ask, self.within, self.order.server.name))
        try:
            await asyncio.wait([asking, call.task, one.answer], return_when=asyncio.FIRST_COMPLETED)
            if not asking.done():
                return
            try:
                one.give(asking.result())
            except GodwitError as error:
                one.give(failed(error.message))
        finally:
            asking.cancel()

    # --- questions that end the request -------------------------------------------------------------------------------

    def _asked(self, found: Any) -> rounds.Rounds:
        """What a server wants to know before it goes on. ToolFailed."""
        self.rounds += 1
        if self.rounds > MOST_ROUNDS:
            raise ToolFailed(f"the MCP server asks to be asked again, more than {MOST_ROUNDS} times")
        return rounds.asked(found, self.order.server, rounds=self.rounds, sampled=self.samples, models=self.models)

    async def _responses(self, state: rounds.Rounds, resumed: Resumption | None) -> InputResponses | None:
        """What the server is answered. ToolFailed where a person does not want the model to be asked, or it cannot be."""
        from mcp_types import ListRootsResult

        made: InputResponses = {}
        samples = dict(state.samples)
        for key, ask in state.asks.items():
            answer = resumed.answer(key) if resumed is not None else QuestionAnswer(key, "cancel")
            if isinstance(ask, FormAsk | UrlAsk):
                made[key] = elicited(ask, answer)
            elif answer.action == "accept":
                samples[key] = changed(ask, answer.content or {})
            else:
                raise ToolFailed(f"the MCP server wants to ask the model something, and {rounds.why(answer)}")
        for key, sample in samples.items():
            self.samples += 1
            if self.samples > MOST_SAMPLES:
                raise ToolFailed(f"the MCP server wants to ask the model more than {MOST_SAMPLES} things for one call")
            made[key] = await sampled(sample, self.within, self.order.server.name)
        for key in state.roots:
            made[key] = ListRootsResult(roots=self.by.roots)
        return made or None

    def _opened(self, found: Opened) -> ToolOutput:
        self.rounds += 1
        return rounds.output(rounds.addresses(found.elicitations, self.order.server), rounds.Again(self.rounds))

    async def _login(self) -> ToolOutput | None:
        """Somebody is to log in before the call is sent again, which the server has refused and so has not done; None where
        that leads nowhere."""
        if self.within.run is None or self.logins >= MOST_LOGINS:
            return None
        login = await self.by.login(self.order.server)
        if login is None:
            return None
        self.rounds, self.logins = self.rounds + 1, self.logins + 1
        message = f"The MCP server {self.order.server.name} wants another login for {self.order.name}, at {login.issuer}"
        return rounds.output([Question("login", "url", message, url=login.url)], rounds.Again(self.rounds, self.logins))

    async def _pause(self, *, any_asked: bool) -> None:
        if self.pace_s or not any_asked:
            await asyncio.sleep(self.pace_s or PACE_S[0])
        self.pace_s = min(PACE_S[1], max(PACE_S[0], 2 * self.pace_s))

    # --- the request --------------------------------------------------------------------------------------------------

    async def _carried(self, call: HeldCall, given: Given) -> Any:
        return await self.by.ask(lambda client: sent(client, self.order, call, given))


def _is_lost(call: HeldCall) -> bool:
    """It has ended with the connection, while nobody waited for it."""
    if not call.task.done():
        return False
    if call.task.cancelled():
        return True
    error = call.task.exception()
    return isinstance(error, ToolFailed) and bool(error.details.get("lost"))


__all__ = ["MOST_ROUNDS", "MOST_SAMPLES", "Sends", "abandon", "run"]
