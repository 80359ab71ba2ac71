"""An agent for the page beside this. In place of a model stands a script, so no provider's key is needed.

    python server.py [PORT] [PAGE]

Its sessions are kept in `godwit.db`: end it in the middle of an answer, start it again, and reload the page.
"""

import asyncio
import sys

import godwit
from godwit.contracts import ModelRequest
from godwit.core.messages import Assistant, ToolResult, User, text_of
from godwit.models.script import Reply, Script, call, say, think
from godwit.surfaces.server import ServerSettings, serve

COLOUR = {
    "question": "Which colour is it to be?",
    "header": "Colour",
    "options": [{"label": "Red", "description": "As barns are."}, {"label": "Blue", "description": "As the sea is."}],
}
PLAN = [{"content": "look around", "status": "in_progress"}, {"content": "settle on a colour"}]
SCRIPT: Script = [
    think("First I want to know where I am.") + say("I make a plan. ") + call("todo", todos=PLAN),
    say("May I look around? ") + call("bash", command="echo here I am; pwd"),
    call("ask_user", questions=[COLOUR]) + call("todo", update=[{"item": 1, "status": "completed"}]),
    lambda request: call("todo", update=[{"item": 2, "status": "completed"}]) + paint(request),
    say("So it is settled: I have looked around, and I know the colour."),
]


def paint(request: ModelRequest) -> Reply:
    """Put into the state that the page and the agent share what was answered."""
    told = "".join(text_of(entry.message.content) for entry in request.entries if isinstance(entry.message, ToolResult))
    colour = max(("Red", "Blue"), key=told.rfind)
    return call("update_state", operations=[{"op": "add", "path": "/colour", "value": colour}])


def place(request: ModelRequest) -> int:
    """How many answers there are since somebody has said something: the script begins anew with each message."""
    answers = 0
    for entry in reversed(request.entries):
        if isinstance(entry.message, User):
            break
        answers += isinstance(entry.message, Assistant)
    return answers


async def main(port: int, page: str) -> None:
    """`page`: where it is. Pages of other addresses are refused, since no key is asked for."""
    model = godwit.ScriptedModel(SCRIPT, "scripted:helper", select=place)
    async with await godwit.Runtime.open("godwit.db", models={model.name: model}) as runtime:
        agent = godwit.Agent(
            "helper",
            model=model.name,
            description="Looks around and asks.",
            tools=["bash", "ask_user", "todo", "state"],
            permissions={"bash": "ask"},
        )
        await runtime.register_agents([agent.spec])
        settings = ServerSettings(port=port, origins=(page,))
        await serve(runtime, settings, started=lambda server: print(f"AG-UI at {server.url}/agui/helper", flush=True))


if __name__ == "__main__":
    port, page = [*sys.argv[1:], *("8000", "http://127.0.0.1:5173")[len(sys.argv) - 1 :]]
    asyncio.run(main(int(port), page))
