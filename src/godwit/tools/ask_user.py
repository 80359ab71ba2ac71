"""The tool `ask_user`: a model asks the person it works for, with choices or for words, and goes on with the answer.

Leaves out how people are asked: the questions are one form (`core/questions.py`), which every surface shows as any other.
Rules: it touches nothing, so it needs no approval of its own and may run again after a crash; where nobody can be asked,
and where a person does not want to answer, the model is told to decide itself, and the run goes on.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from ..contracts import ToolContext, ToolOutput, ToolTraits
from ..core.errors import ToolFailed
from ..core.messages import Text
from ..core.questions import Question, QuestionAnswer
from .typed import Arguments, TypedTool, clean

ASK_TOOL = "ask_user"
QUESTIONS, OPTIONS, CHARACTERS = 4, 12, 2000
"""The most questions of a call, options of a question, and characters of a text."""
_KEY, _OWN_WORDS = "form", "comment"

_Line = Annotated[str, Meta(min_length=1, max_length=200)]


class Option(Arguments, frozen=True):
    label: Annotated[str, Meta(min_length=1, max_length=200, description="What is chosen, in a few words.")]
    description: Annotated[str, Meta(max_length=CHARACTERS, description="What it means or brings with it.")] | None = None


class Asked(Arguments, frozen=True):
    question: Annotated[str, Meta(min_length=1, max_length=CHARACTERS, description="The whole question.")]
    header: Annotated[_Line, Meta(description="A short name for it, of one to three words.")] | None = None
    options: (
        Annotated[
            list[Option],
            Meta(min_length=2, max_length=OPTIONS, description="What may be chosen. Leave it out to be told in words."),
        ]
        | None
    ) = None
    multi_select: Annotated[bool, Meta(description="Whether several options may be chosen.")] = False


class AskArguments(Arguments, frozen=True):
    questions: Annotated[list[Asked], Meta(min_length=1, max_length=QUESTIONS)]


class AskUser(TypedTool[AskArguments]):
    """Asks a person."""

    name = ASK_TOOL
    description = (
        "Ask the user something and wait for the answer. Use it when the work depends on what only the user can decide or"
        " know, and not for what you can find out yourself or may well assume. Ask all that you need in one call. Give"
        " options where there are a few good answers, the best one first; the user can always answer in their own words,"
        " so no option for something else is needed. It may take long, and nobody may answer: you are told to decide then."
    )
    traits = ToolTraits(repeatable=True, read_only=True, bound=True)
    arguments = AskArguments

    async def work(self, arguments: AskArguments, context: ToolContext) -> ToolOutput:
        asked = arguments.questions
        for one in asked:
            labels = [clean(option.label) for option in one.options or ()]
            if len(set(labels)) != len(labels):
                raise ToolFailed(f"two options of the question {one.question[:100]!r} have one label")
        if context.resumed is None:
            return ToolOutput((), questions=(_question_of(asked),))
        return _told(asked, context.resumed.answer(_KEY))


def _question_of(asked: list[Asked]) -> Question:
    properties = {_name(number, asked): _field(one, alone=len(asked) == 1) for number, one in enumerate(asked, 1)}
    if any(one.options for one in asked):
        properties[_OWN_WORDS] = {
            "type": "string",
            "title": "In your own words",
            "description": "instead of what can be chosen, or beside it",
        }
    required = [_name(number, asked) for number, one in enumerate(asked, 1) if not one.options]
    message = clean(asked[0].question) if len(asked) == 1 else f"{len(asked)} questions"
    return Question(_KEY, "form", message, {"type": "object", "properties": properties, "required": required})


def _name(number: int, asked: list[Asked]) -> str:
    return "answer" if len(asked) == 1 else f"answer_{number}"


def _field(one: Asked, *, alone: bool) -> dict[str, Any]:
    about: dict[str, Any] = {"title": clean(one.header or ("Your answer" if alone else one.question))}
    if not alone and one.header is not None:
        about["description"] = clean(one.question)
    if not one.options:
        return {"type": "string", "minLength": 1, **about}
    listed = [
        {"const": clean(option.label), "title": clean(f"{option.label}: {option.description}")}
        if option.description
        else {"const": clean(option.label)}
        for option in one.options
    ]
    if one.multi_select:
        return {"type": "array", "items": {"anyOf": listed}, **about}
    return {"type": "string", "oneOf": listed, **about}


def _told(asked: list[Asked], answer: QuestionAnswer) -> ToolOutput:
    """What the model reads of it."""
    why = f" ({clean(answer.reason)})" if answer.reason else ""
    if answer.action == "decline":
        text = f"The user does not want to answer{why}. Do not ask this again: decide yourself, or go on without."
    elif answer.action == "cancel":
        text = (
            f"Nobody has answered{why}. Decide yourself what is most sensible, go on, and say at the end what you assumed."
        )
    else:
        content = answer.content or {}
        said: list[str] = []
        for number, one in enumerate(asked, 1):
            value = content.get(_name(number, asked))
            listed = ", ".join(value) if isinstance(value, list | tuple) else value
            said.append(f"{clean(one.question)}\n-> {listed or '(nothing was chosen)'}")
        if words := content.get(_OWN_WORDS):
            said.append(f"In the user's own words: {words}")
        text = "\n".join(said)
    return msgspec.structs.replace(ToolOutput((Text(text),)), metadata={"action": answer.action})


__all__ = ["ASK_TOOL", "AskUser"]
