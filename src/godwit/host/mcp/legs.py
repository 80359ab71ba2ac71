"""Legs: how a call of a server's tool goes from one question to the next, in both generations of the protocol.

A server of 2026-07-28 ends the request with what it asks (`input_required`) and is sent the call again with the answers and
with its own `requestState`, so nothing is kept here. An older one asks within the open request: the call is held
(`held.py`), and is found again by its id. Leaves out what a question is (`asking.py`). Rules a change must keep:

* `requestState` goes back byte for byte, to the call that it came from, and is not sent where none came.
* A call whose server may be at work on it is sent again only where its tool may be repeated, or the server has said that it
  did nothing.
* Nothing is asked without end: rounds, questions, requests of the model and what is kept are bounded.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

import msgspec

from ...contracts import ToolContext, ToolOutput
from ...core.errors import GodwitError, OutcomeUnknown, ToolFailed
from ...core.questions import MOST_QUESTIONS, STATE_BYTES, Question, QuestionAnswer, Resumption
from .asking import Ask, FormAsk, UrlAsk, ask_of, elicited, question_of
from .forms import CannotAsk
from .held import HeldCall, HeldCalls, Open, failed
from .sampling import SampleAsk, changed, sampled

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from mcp import Client
    from mcp_types import CallToolResult, InputRequiredResult, InputResponses, Root

    from ...core.mcp import McpServer
    from ...core.mcp_oauth import McpLogin
    from ...tools.mcp import Order

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


class _Held(msgspec.Struct, frozen=True, tag="held"):
    """A call that is held. `asks`: what is open, by keys. `known`: what was asked and answered before, by digests."""

    id: str
    asks: dict[str, str]
    known: list[tuple[str, QuestionAnswer]] = []
    samples: int = 0
    v: int = 1


class _Rounds(msgspec.Struct, frozen=True, tag="rounds"):
    """A call that is sent again. `asks`: of people, by the server's keys; `samples`: what the model may be asked without
    them; `roots`: keys of what is told without asking anybody."""

    asks: dict[str, Ask]
    request_state: str | None
    rounds: int
    sampled: int
    samples: dict[str, SampleAsk] = {}
    roots: tuple[str, ...] = ()
    v: int = 1


class _Again(msgspec.Struct, frozen=True, tag="again"):
    """A call that its server refused until addresses have been opened. `logins`: how often somebody was to log in for it."""

    rounds: int
    logins: int = 0
    v: int = 1


class _Opened(NamedTuple):
    """What a server wants to have been opened before it does anything."""

    elicitations: list[Any]


_State = _Held | _Rounds | _Again


async def run(order: Order, by: Sends, context: ToolContext) -> CallToolResult | ToolOutput:
    """One leg: until the call has its result, or asks. ToolFailed; OutcomeUnknown where a call that was held is lost."""
    return await _Leg(order, by, context).run()


def abandon(state: str, held: HeldCalls) -> None:
    """The call that gave this state will not go on."""
    found = _read(state)
    if isinstance(found, _Held):
        held.end(found.id)


class _Leg:
    def __init__(self, order: Order, by: Sends, context: ToolContext) -> None:
        self.order = order
        self.by = by
        self.context = context
        self.rounds = 0
        self.samples = 0
        self.logins = 0
        self.pace_s = 0.0

    async def run(self) -> CallToolResult | ToolOutput:
        if (resumed := self.context.resumed) is None:
            return await self._sent(None, None)
        match _read(resumed.state):
            case _Held() as state:
                return await self._held(state, resumed)
            case _Rounds() as state:
                self.rounds, self.samples = state.rounds, state.sampled
                return await self._sent(await self._responses(state, resumed), state.request_state, again=True)
            case _Again() as state:
                self.rounds, self.logins = state.rounds, state.logins
                for answer in resumed.answers:
                    if answer.action != "accept":
                        raise ToolFailed(f"the MCP server wants an address to be opened first, and {_why(answer)}")
                return await self._sent(None, None)
            case None:
                raise OutcomeUnknown(f"what this call was to go on with cannot be read any more. {_UNKNOWN}")

    async def _sent(
        self,
        responses: InputResponses | None,
        request_state: str | None,
        *,
        again: bool = False,
        known: dict[str, list[QuestionAnswer]] | None = None,
    ) -> CallToolResult | ToolOutput:
        """Send the call, and again as long as nobody has to be asked. `again`: it is one that a server of the newer protocol
        has asked for."""
        while True:
            call = self.by.held.begin(
                lambda call: self._carried(call, responses, request_state, again),  # noqa: B023 - begun at once
                on=self.by,
                context=self.context,
                allows=lambda _: self.order.server.sampling == "allow",
                known=known,
            )
            call.samples = self.samples
            try:
                found = await self._outcome(call)
            except ToolFailed as error:
                first = responses is None and request_state is None
                asked = await self._login() if first and error.details.get("kind") == "authentication" else None
                if asked is None:
                    raise
                return asked
            if isinstance(found, _Opened):
                return self._opened(found)
            if isinstance(found, ToolOutput) or found.result_type != "input_required":
                return found  # type: ignore[no-any-return]
            state = self._asked(found)
            if state.asks:
                questions = [question_of(key, ask, self.order.server.name) for key, ask in state.asks.items()]
                return _output(questions, state)
            await self._pause(any_asked=bool(found.input_requests))
            responses = await self._responses(state, None)
            request_state, again = state.request_state, True

    # --- questions within an open request -----------------------------------------------------------------------------

    async def _held(self, state: _Held, resumed: Resumption) -> CallToolResult | ToolOutput:
        call = self.by.held.resume(state.id, self.context)
        if call is None or _is_lost(call):
            known: dict[str, list[QuestionAnswer]] = {}
            answers = [(digest, resumed.answer(key)) for key, digest in state.asks.items()]
            for digest, answer in (*state.known, *answers):
                if answer.action != "cancel":
                    known.setdefault(digest, []).append(answer)
            if call is not None:
                self.by.held.forget(call)
            if not self.order.repeatable:
                raise OutcomeUnknown(f"the MCP server was at work on this call, and the connection is lost. {_UNKNOWN}")
            self.samples = state.samples
            return await self._sent(None, None, known=known)
        for key in state.asks:
            if (one := call.open.get(key)) is not None:
                call.answered(one, resumed.answer(key))
        found = await self._outcome(call)
        # It was sent once, to a server of the older protocol.
        return self._opened(found) if isinstance(found, _Opened) else found

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
            return _output(
                [question_of(one.key, one.ask, self.order.server.name) for one in asked],
                _Held(call.id, digests, known, call.samples),
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
        asking = asyncio.ensure_future(sampled(ask, self.context, self.order.server.name))
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

    def _asked(self, found: InputRequiredResult) -> _Rounds:
        """What a server wants to know before it goes on. ToolFailed."""
        from mcp_types import ListRootsRequest

        self.rounds += 1
        if self.rounds > MOST_ROUNDS:
            raise ToolFailed(f"the MCP server asks to be asked again, more than {MOST_ROUNDS} times")
        requests = found.input_requests or {}
        if len(requests) > MOST_QUESTIONS:
            raise ToolFailed(f"the MCP server asks {len(requests)} things at once, and {MOST_QUESTIONS} are the most")
        asks: dict[str, Ask] = {}
        samples: dict[str, SampleAsk] = {}
        roots: list[str] = []
        for key, request in requests.items():
            if isinstance(request, ListRootsRequest):
                roots.append(key)
                continue
            try:
                ask = ask_of(request.params)
            except CannotAsk as error:
                raise ToolFailed(f"the MCP server asks what cannot be asked: {error}") from None
            if not isinstance(ask, SampleAsk):
                asks[key] = ask
            elif self.order.server.sampling == "deny":
                raise ToolFailed("the MCP server wants to ask the model something, which it may not")
            elif self.order.server.sampling == "allow":
                samples[key] = ask
            else:
                asks[key] = ask
        state = found.request_state
        if state is not None and len(state.encode(errors="replace")) > STATE_BYTES:
            raise ToolFailed(f"the MCP server wants more than {STATE_BYTES} bytes kept until it is asked again")
        return _Rounds(asks, state, self.rounds, self.samples, samples, tuple(roots))

    async def _responses(self, state: _Rounds, resumed: Resumption | None) -> InputResponses | None:
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
                raise ToolFailed(f"the MCP server wants to ask the model something, and {_why(answer)}")
        for key, sample in samples.items():
            self.samples += 1
            if self.samples > MOST_SAMPLES:
                raise ToolFailed(f"the MCP server wants to ask the model more than {MOST_SAMPLES} things for one call")
            made[key] = await sampled(sample, self.context, self.order.server.name)
        for key in state.roots:
            made[key] = ListRootsResult(roots=self.by.roots)
        return made or None

    def _opened(self, found: _Opened) -> ToolOutput:
        """The addresses that have to be opened first, as questions."""
        self.rounds += 1
        if not found.elicitations or len(found.elicitations) > MOST_QUESTIONS:
            raise ToolFailed("the MCP server wants addresses to be opened first, and says none or too many")
        try:
            asks = {str(at): ask_of(one) for at, one in enumerate(found.elicitations)}
        except CannotAsk as error:
            raise ToolFailed(f"the MCP server asks what cannot be asked: {error}") from None
        return _output([question_of(key, ask, self.order.server.name) for key, ask in asks.items()], _Again(self.rounds))

    async def _login(self) -> ToolOutput | None:
        """Somebody is to log in before the call is sent again, which the server has refused and so has not done; None where
        that leads nowhere."""
        if self.context.run is None or self.logins >= MOST_LOGINS:
            return None
        login = await self.by.login(self.order.server)
        if login is None:
            return None
        self.rounds, self.logins = self.rounds + 1, self.logins + 1
        message = f"The MCP server {self.order.server.name} wants another login for {self.order.tool}, at {login.issuer}"
        return _output([Question("login", "url", message, url=login.url)], _Again(self.rounds, self.logins))

    async def _pause(self, *, any_asked: bool) -> None:
        if self.pace_s or not any_asked:
            await asyncio.sleep(self.pace_s or PACE_S[0])
        self.pace_s = min(PACE_S[1], max(PACE_S[0], 2 * self.pace_s))

    # --- the request --------------------------------------------------------------------------------------------------

    async def _carried(
        self, call: HeldCall, responses: InputResponses | None, request_state: str | None, again: bool
    ) -> Any:
        return await self.by.ask(lambda client: self._request(client, call, responses, request_state, again))

    async def _request(
        self, client: Client, call: HeldCall, responses: InputResponses | None, request_state: str | None, again: bool
    ) -> Any:
        """The request itself, once more where the server says that it knows its tool otherwise than we do."""
        from mcp import MCPError
        from mcp_types import HEADER_MISMATCH, URL_ELICITATION_REQUIRED, ElicitationRequiredErrorData
        from pydantic import ValidationError

        from ...tools.guarded import SEEN
        from .client import all_tools

        call.seen = SEEN.get()
        old = client.session.initialize_result is not None
        if again and old:
            raise OutcomeUnknown(f"the MCP server speaks an older protocol than before, which knows no answers. {_UNKNOWN}")
        for last in (False, True):
            try:
                return await client.session.call_tool(
                    self.order.tool,
                    self.order.arguments,
                    progress_callback=call.tell,
                    input_responses=responses,
                    request_state=request_state,
                    allow_input_required=True,
                )
            except MCPError as error:
                if error.code == URL_ELICITATION_REQUIRED and old:
                    try:
                        return _Opened(ElicitationRequiredErrorData.model_validate(error.data).elicitations)
                    except ValidationError:
                        raise error from None
                if error.code != HEADER_MISMATCH or old or last:
                    raise
                await all_tools(client)
        raise AssertionError


_UNKNOWN = "Its outcome is unknown: it may or may not have taken effect. Check before doing it again."


def _output(questions: list[Question], state: _State) -> ToolOutput:
    try:
        text = msgspec.json.encode(state).decode()
    except UnicodeEncodeError:
        raise ToolFailed("the MCP server wants something kept that is no text") from None
    if len(text.encode()) > STATE_BYTES:
        raise ToolFailed(f"the MCP server asks for more than can be kept while it waits: {STATE_BYTES} bytes are the most")
    return ToolOutput((), questions=tuple(questions), state=text)


def _read(state: str) -> _State | None:
    try:
        return msgspec.json.decode(state, type=_Held | _Rounds | _Again)
    except msgspec.MsgspecError:
        return None


def _is_lost(call: HeldCall) -> bool:
    """It has ended with the connection, while nobody waited for it."""
    if not call.task.done():
        return False
    if call.task.cancelled():
        return True
    error = call.task.exception()
    return isinstance(error, ToolFailed) and bool(error.details.get("lost"))


def _why(answer: QuestionAnswer) -> str:
    said = f": {answer.reason}" if answer.reason else ""
    return f"the user does not want that{said}" if answer.action == "decline" else f"nobody has answered{said}"


__all__ = ["MOST_ROUNDS", "MOST_SAMPLES", "Sends", "abandon", "run"]
