"""Rounds: what a request that asks keeps until it goes on, and what of a server's questions people are asked.

Owns the state that stands in the log between two legs. Leaves out what a question is (`asking.py`) and how a request goes
from one to the next (`legs.py`). Rules a change must keep: `requestState` is kept byte for byte, and not made up where none
came; what is asked at once, and what is kept, is bounded; a state that was written once can be read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from ...contracts import ToolOutput
from ...core.errors import ToolFailed
from ...core.mcp import McpServer
from ...core.questions import MOST_QUESTIONS, STATE_BYTES, Question, QuestionAnswer
from .asking import Ask, ask_of, question_of
from .forms import CannotAsk
from .sampling import SampleAsk

if TYPE_CHECKING:
    from mcp_types import InputRequiredResult


class Held(msgspec.Struct, frozen=True, tag="held"):
    """A call that is held. `asks`: what is open, by keys. `known`: what was asked and answered before, by digests."""

    id: str
    asks: dict[str, str]
    known: list[tuple[str, QuestionAnswer]] = []
    samples: int = 0
    v: int = 1


class Rounds(msgspec.Struct, frozen=True, tag="rounds"):
    """A request that is sent again. `asks`: of people, by the server's keys; `samples`: what the model may be asked without
    them; `roots`: keys of what is told without asking anybody. `rounds`, `sampled`: how often it has asked so far, and the
    model."""

    asks: dict[str, Ask]
    request_state: str | None
    rounds: int
    sampled: int
    samples: dict[str, SampleAsk] = {}
    roots: tuple[str, ...] = ()
    v: int = 1

    def questions(self, server: str) -> list[Question]:
        """As people get them."""
        return [question_of(key, ask, server) for key, ask in self.asks.items()]


class Again(msgspec.Struct, frozen=True, tag="again"):
    """A request that its server refused until addresses have been opened. `logins`: how often somebody was to log in for
    it."""

    rounds: int
    logins: int = 0
    v: int = 1


State = Held | Rounds | Again


def asked(found: InputRequiredResult, server: McpServer, *, rounds: int, sampled: int, models: bool) -> Rounds:
    """What a server wants to know before it goes on. `models`: whether a model can be asked at all. ToolFailed."""
    from mcp_types import ListRootsRequest

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
        ask = _ask(request.params)
        if not isinstance(ask, SampleAsk):
            asks[key] = ask
        elif server.sampling == "deny":
            raise ToolFailed("the MCP server wants to ask the model something, which it may not")
        elif not models:
            raise ToolFailed("the MCP server wants to ask the model something, which it may only within a call")
        elif server.sampling == "allow":
            samples[key] = ask
        else:
            asks[key] = ask
    state = found.request_state
    if state is not None and len(state.encode(errors="replace")) > STATE_BYTES:
        raise ToolFailed(f"the MCP server wants more than {STATE_BYTES} bytes kept until it is asked again")
    return Rounds(asks, state, rounds, sampled, samples, tuple(roots))


def addresses(elicitations: list[Any], server: McpServer) -> list[Question]:
    """The addresses that have to be opened before a server does anything, as questions. ToolFailed."""
    if not elicitations or len(elicitations) > MOST_QUESTIONS:
        raise ToolFailed("the MCP server wants addresses to be opened first, and says none or too many")
    return [question_of(str(at), _ask(one), server.name) for at, one in enumerate(elicitations)]


def output(questions: list[Question], state: State) -> ToolOutput:
    """What a leg ends with that asks. ToolFailed."""
    try:
        text = msgspec.json.encode(state).decode()
    except UnicodeEncodeError:
        raise ToolFailed("the MCP server wants something kept that is no text") from None
    if len(text.encode()) > STATE_BYTES:
        raise ToolFailed(f"the MCP server asks for more than can be kept while it waits: {STATE_BYTES} bytes are the most")
    return ToolOutput((), questions=tuple(questions), state=text)


def read(state: str) -> State | None:
    """The state as `output` wrote it; None for what cannot be read."""
    try:
        return msgspec.json.decode(state, type=Held | Rounds | Again)
    except msgspec.MsgspecError:
        return None


def why(answer: QuestionAnswer) -> str:
    """Why a question has no answer, for the middle of a sentence."""
    said = f": {answer.reason}" if answer.reason else ""
    return f"the user does not want that{said}" if answer.action == "decline" else f"nobody has answered{said}"


def _ask(params: Any) -> Ask:
    try:
        return ask_of(params)
    except CannotAsk as error:
        raise ToolFailed(f"the MCP server asks what cannot be asked: {error}") from None


__all__ = ["Again", "Ask", "Held", "Rounds", "State", "addresses", "asked", "output", "read", "why"]
