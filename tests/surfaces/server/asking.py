"""An agent whose tools ask people, for the protocols of a server."""

from __future__ import annotations

from typing import Any

import godwit
from godwit import Question, ToolContext, ToolOutput
from godwit.core.messages import Text
from godwit.models.script import call

MODEL = "scripted:any"
FORM: dict[str, Any] = {
    "type": "object",
    "properties": {"name": {"type": "string", "minLength": 2}, "size": {"type": "integer", "default": 3}},
    "required": ["name"],
}
URL = "https://login.example/x"


@godwit.tool
async def order(ctx: ToolContext, what: str = "tea") -> ToolOutput:
    """Order something, for somebody who has logged in and agrees."""
    if ctx.resumed is None:
        questions = (
            Question("who", "form", f"Who is {what} for?", FORM),
            Question("login", "url", "Please log in.", url=URL),
            Question("leave", "approval", "May it ask the model?", arguments={"prompt": "hm"}),
        )
        return ToolOutput((), questions=questions, state="s")
    told = "; ".join(f"{a.key} {a.action} {a.content} {a.reason}" for a in ctx.resumed.answers)
    return ToolOutput((Text(told),))


ACCEPTED = "who accept {'name': 'Ada', 'size': 3} None; login accept {} None; leave accept {'prompt': 'hm'} None"
"""What the model reads when all three were answered well."""


def clerk(name: str = "clerk") -> godwit.Agent:
    return godwit.Agent(name, model=MODEL, tools=[order])


SCRIPT: list[Any] = [call("order"), "Ordered."]
