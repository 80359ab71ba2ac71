"""Questions of calls for protocols that know approvals and functions only: as what they are shown, in every one of them.

A form is a function of the client's, whose result is the form in JSON: it is the one way in which those protocols bring
values back, and official clients leave a function that they do not know to somebody else. An address and a question for
leave are approvals. Rule: what a client is shown is enough to answer it.
"""

from __future__ import annotations

from typing import Any, Final

from ...core.events import ActionOpened

QUESTION: Final = "godwit_question"
"""The name of the function, or of what is to be approved."""


def is_form(opened: ActionOpened) -> bool:
    """Whether it is answered with fields."""
    return opened.asking and opened.kind == "question" and opened.url is None


def told(opened: ActionOpened) -> dict[str, Any]:
    """What is asked: by the call of which tool, in which words, and what is to be filled in, opened or approved."""
    said: dict[str, Any] = {"tool": opened.name, "message": opened.message or ""}
    if opened.kind == "approval":
        return {**said, "arguments": opened.arguments}
    return {**said, "url": opened.url} if opened.url is not None else {**said, "schema": opened.schema or {}}


__all__ = ["QUESTION", "is_form", "told"]
