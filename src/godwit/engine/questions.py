"""Questions of calls: a tool that needs something of a person ends with questions, and its call goes on with the answers.

Owns how questions become actions, one after the other, what answers are made into, and with what the call goes on. Leaves
out what a form takes (`core/questions.py`) and who answers (`approvals.py`). Rules a change must keep: all that a call needs
to go on stands in the log, so another process goes on with it; it is not reviewed and not paid for again, as it was begun;
where nobody can be asked, or a person has something else to say, it goes on with `cancel` for what is open.
"""

from __future__ import annotations

import contextlib
import logging
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from ..contracts import Tool, ToolOutput
from ..core.errors import InvalidArgument
from ..core.events import ActionOpened, ToolAsked, UserAnswer
from ..core.ids import ActionId
from ..core.questions import MOST_QUESTIONS, STATE_BYTES, Question, QuestionAnswer, Resumption, filled
from ..core.state import Call

if TYPE_CHECKING:
    from .driver import Driver

logger = logging.getLogger("godwit")

MOST_ROUNDS = 20
"""How often one call may ask."""
ASKS_NOBODY = "a call of the host asks nobody"
NOBODY = "nobody can be asked in this run"
INSTEAD = "the user sent a new message instead"


@runtime_checkable
class Abandons(Protocol):
    """A tool that keeps something for a call that asks."""

    async def abandoned(self, state: str) -> None:
        """The call that gave this state will not go on."""
        ...


def is_asking(output: object) -> bool:
    """Whether a call has stopped to ask."""
    return isinstance(output, ToolOutput) and bool(output.questions)


def problem_of(call: Call, output: ToolOutput) -> str | None:
    """Why these questions cannot be put."""
    questions = output.questions
    if len(questions) > MOST_QUESTIONS:
        return f"it asks {len(questions)} questions at once, and {MOST_QUESTIONS} are the most"
    if len({question.key for question in questions}) != len(questions):
        return "it asks two questions under one key"
    if call.rounds >= MOST_ROUNDS:
        return f"it has asked {call.rounds} times, and that is the most"
    if len(output.state.encode()) > STATE_BYTES:
        return f"it wants more than {STATE_BYTES} bytes kept while it waits"
    return None


def can_ask(driver: Driver) -> bool:
    """Whether there is somebody to ask in this run."""
    run, policy = driver.state.run, driver.state.approvals or driver.spec.approvals
    return not (run is not None and run.unattended) and policy.on_ask != "deny"


async def next_action(driver: Driver, call: Call) -> ActionOpened:
    """The action for the next question of the call that is not put yet."""
    asked, _ = await _so_far(driver, call)
    question = asked.questions[len(asked.questions) - call.left]
    policy = driver.state.approvals or driver.spec.approvals
    expires_ms = None if policy.timeout_s is None else driver.clock.now_ms() + round(policy.timeout_s * 1000)
    return ActionOpened(
        ActionId(driver.ids.new("act")),
        "approval" if question.kind == "approval" else "question",
        call.id,
        call.name,
        question.arguments,
        question.message,
        question.schema,
        expires_ms=expires_ms,
        on_timeout=policy.on_timeout if question.kind == "approval" else "deny",
        url=question.url,
        asking=True,
    )


async def resumption(driver: Driver, call: Call, *, otherwise: str) -> Resumption:
    """With what the call goes on. `otherwise`: why nobody has answered what is still open."""
    asked, answers = await _so_far(driver, call)
    made: list[QuestionAnswer] = []
    for question in asked.questions:
        answer = answers.get(question.key)
        made.append(
            QuestionAnswer(question.key, "cancel", reason=otherwise) if answer is None else _made_of(question, answer)
        )
    return Resumption(asked.state, tuple(made))


async def abandon(driver: Driver, call: Call, tool: Tool | None) -> None:
    """Tell the tool that its call, which waits for answers, will not go on."""
    if isinstance(tool, Abandons):
        asked, _ = await _so_far(driver, call)
        await let_go(tool, asked.state)


async def let_go(tool: object, state: str) -> None:
    """The same, with the state at hand. Whatever the tool makes of it holds up nobody."""
    if isinstance(tool, Abandons):
        try:
            await tool.abandoned(state)
        except Exception as error:
            logger.warning("a tool that was to let go of a call failed: %s", type(error).__name__)


def _made_of(question: Question, answer: UserAnswer) -> QuestionAnswer:
    if answer.is_error:
        said = "".join(block.text for block in answer.content if hasattr(block, "text")).strip("[]")
        return QuestionAnswer(question.key, "cancel", reason=answer.reason or said or None)
    if answer.decision == "deny":
        return QuestionAnswer(question.key, "decline", reason=answer.reason)
    content: dict[str, Any] | None = answer.arguments
    if question.kind == "approval":
        content = question.arguments if content is None else content
    elif question.kind == "form":
        with contextlib.suppress(InvalidArgument):  # as it was recorded, should it not fit
            content = filled(question.schema, content or {})
    return QuestionAnswer(question.key, "accept", content, answer.reason)


async def _so_far(driver: Driver, call: Call) -> tuple[ToolAsked, dict[str, UserAnswer]]:
    """What the call has asked last, and what was answered, by keys."""
    await driver.log.commit()
    types = ("tool.asked", "action.opened", "user.answer")
    asked: ToolAsked | None = None
    opened: list[ActionId] = []
    answered: dict[ActionId, UserAnswer] = {}
    for event in await driver.parts.store.read(driver.session, call.asked - 1, types=types):
        match event.data:
            case ToolAsked() as data if data.call == call.id:
                asked, opened = data, []
            case ActionOpened() as data if data.call == call.id:
                opened.append(data.action)
            case UserAnswer() as data:
                answered[data.action] = data
    assert asked is not None
    found: dict[str, UserAnswer] = {}
    with contextlib.suppress(IndexError):
        for place, action in enumerate(opened):
            if action in answered:
                found[asked.questions[place].key] = answered[action]
    return asked, found


__all__ = [
    "ASKS_NOBODY",
    "INSTEAD",
    "MOST_ROUNDS",
    "NOBODY",
    "Abandons",
    "abandon",
    "can_ask",
    "is_asking",
    "let_go",
    "next_action",
    "problem_of",
    "resumption",
]
