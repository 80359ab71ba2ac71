"""What a call asks of people, the answers, and with what it goes on, as data, of which errors know as well.

Owns the three kinds: a form, an address to open, something to approve. Leaves out what a form takes and whether an answer
fits (`questions.py`).
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

QuestionKind = Literal["form", "url", "approval"]
AnswerAction = Literal["accept", "decline", "cancel"]

MOST_QUESTIONS = 20
"""Of one call at a time."""
STATE_BYTES = 1024 * 1024
"""Of what a call that asks wants to be given back with the answers."""


class Question(msgspec.Struct, frozen=True, omit_defaults=True):
    """One question of a call.

    `key`: by which its answer is found. `message`: for people. `form`: `schema` says what is to be filled in, an object of
    plain values. `url`: a person opens the address, and says so when they are done. `approval`: whether what `arguments` say
    may be done.
    """

    key: str
    kind: QuestionKind
    message: str
    schema: dict[str, Any] | None = None
    url: str | None = None
    arguments: dict[str, Any] = {}


class QuestionAnswer(msgspec.Struct, frozen=True, omit_defaults=True):
    """What came of one question. `accept`: answered, with `content` where it was a form; `decline`: a person does not want
    to; `cancel`: nobody answered, or the run was told to go on without. `reason`: what a person said with it."""

    key: str
    action: AnswerAction
    content: dict[str, Any] | None = None
    reason: str | None = None


class Resumption(msgspec.Struct, frozen=True):
    """With what a call that had asked goes on: its own `state`, as it gave it, and the answers, in order."""

    state: str
    answers: tuple[QuestionAnswer, ...]

    def answer(self, key: str) -> QuestionAnswer:
        """The answer to the question of this key; `cancel` where there is none."""
        return next((one for one in self.answers if one.key == key), QuestionAnswer(key, "cancel"))


__all__ = ["MOST_QUESTIONS", "STATE_BYTES", "AnswerAction", "Question", "QuestionAnswer", "QuestionKind", "Resumption"]
