"""TypedAnswers: what a person types behind `--` of a prompt's command, as the answers to what its server asks first.

Leaves out what the prompt is given (`prompt_commands.py`). Rules: nothing is answered that was not typed or is a form's
default; what nobody has asked for is told, and then the prompt is not used.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..core.asked import AnswerAction, Question
from ..core.errors import InvalidArgument, McpInputRequired
from ..core.forms import answered, fields_of, form_lines
from ..core.questions import Resumption, filled, needed

ANSWERS = "--"
MOST_ROUNDS = 20
"""How often a server may ask for one command."""


class TypedAnswers:
    """`words`: what stands behind `--`; None without it. `typed`: the command, as it was typed."""

    def __init__(self, words: Sequence[str] | None, typed: str) -> None:
        self._words = words
        self._typed = typed.rstrip()
        self._left = list(words or ())
        self._rounds = 0

    def to(self, asked: McpInputRequired) -> Resumption:
        """The answers to all that is asked now. InvalidArgument, with what is asked and how it is answered."""
        self._rounds += 1
        if self._words is None:
            told = [line for one in asked.questions for line in _lines(one)]
            how = " ".join([self._typed, ANSWERS, *(name for one in asked.questions for name in _usage(one))])
            raise InvalidArgument("\n".join([*told, f"Type it with the answers: {how}"]))
        if self._rounds > MOST_ROUNDS:
            raise InvalidArgument(f"its server asks more than {MOST_ROUNDS} times")
        made: dict[str, Mapping[str, Any] | AnswerAction] = {}
        for one in asked.questions:
            made[one.key] = self._filled(one) if one.kind == "form" else "accept"
        return asked.answered(made)

    def check(self) -> None:
        """InvalidArgument where something was typed that was not asked for."""
        if self._left:
            raise InvalidArgument(f"behind {ANSWERS} stands {self._left[0]!r}, and its server has not asked for that")

    def _filled(self, question: Question) -> dict[str, Any]:
        words = self._words or ()
        names = {field.name for field in fields_of(question.schema)}
        own = [word for word in words if word.partition("=")[0] in names]
        if not own and len(words) == 1 and self._left:
            own = [*words]  # a lone value, or a JSON object
        if not own and not needed(question.schema):
            return filled(question.schema, {})
        made = answered(question.schema, own)
        self._left = [word for word in self._left if word not in own]
        return made


def _lines(question: Question) -> list[str]:
    url = [] if question.url is None else [f"  open: {question.url}"]
    return [question.message, *url, *(f"  {line}" for line in form_lines(question.schema))]


def _usage(question: Question) -> list[str]:
    """What is to be typed for it."""
    names = [field.name for field in fields_of(question.schema)]
    wanted = needed(question.schema)
    return [f"{name}=VALUE" if name in wanted else f"[{name}=VALUE]" for name in names]


__all__ = ["ANSWERS", "TypedAnswers"]
