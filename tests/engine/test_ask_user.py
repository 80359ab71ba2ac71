"""The tool `ask_user`: a model asks, and goes on with the answer, or decides itself."""

from __future__ import annotations

from typing import Any

import pytest

import godwit
from godwit.core.errors import InvalidArgument
from godwit.core.messages import ToolResult
from godwit.engine.session import Session
from godwit.models.script import call

from .conftest import MODEL, Bench, until_type, within

COLOURS = [{"label": "red", "description": "as a rose"}, {"label": "blue"}]
ONE = call("ask_user", questions=[{"question": "Which colour?", "header": "Colour", "options": COLOURS}])


async def begun(bench: Bench, *script: Any, **sent: Any) -> Session:
    runtime = await bench.runtime([*script, "done"])
    session = await runtime.start_session(godwit.Agent("tester", model=MODEL, tools=["ask_user"]))
    await session.prompt("Go.", **sent)
    return session


async def told(session: Session) -> str:
    await within(session.wait())
    return next(m for m in await session.history() if isinstance(m, ToolResult)).text


async def asked(session: Session) -> Any:
    await until_type(session, "run.parked")
    (action,) = await session.approvals.pending()
    return action


async def test_a_choice(bench: Bench) -> None:
    session = await begun(bench, ONE)
    action = await asked(session)
    assert (action.kind, action.asking, action.message) == ("question", True, "Which colour?")
    assert action.schema["properties"]["answer"] == {
        "type": "string",
        "oneOf": [{"const": "red", "title": "red: as a rose"}, {"const": "blue"}],
        "title": "Colour",
    }
    with pytest.raises(InvalidArgument):
        await session.answer(action.id, {"answer": "green"})
    await session.answer(action.id, {"answer": "blue", "comment": "not too dark"})
    assert await told(session) == "Which colour?\n-> blue\nIn the user's own words: not too dark"


async def test_several_questions_are_one_form(bench: Bench) -> None:
    session = await begun(
        bench,
        call(
            "ask_user",
            questions=[
                {"question": "What is it called?"},
                {"question": "Which parts?", "options": COLOURS, "multi_select": True},
            ],
        ),
    )
    action = await asked(session)
    assert (action.message, action.schema["required"]) == ("2 questions", ["answer_1"])
    await session.command('/answer answer_1="Big Ben" answer_2=1,blue')
    assert await told(session) == "What is it called?\n-> Big Ben\nWhich parts?\n-> red, blue"


async def test_nothing_chosen_and_declined_and_nobody_there(bench: Bench) -> None:
    session = await begun(bench, ONE)
    await session.answer((await asked(session)).id, {})
    assert "(nothing was chosen)" in await told(session)
    session = await begun(bench, ONE)
    await session.deny((await asked(session)).id, "later")
    assert (await told(session)).startswith("The user does not want to answer (later).")
    session = await begun(bench, ONE, unattended=True)
    assert (await told(session)).startswith("Nobody has answered (nobody can be asked in this run). Decide yourself")


async def test_two_options_of_one_label_cannot_be_told_apart(bench: Bench) -> None:
    session = await begun(
        bench, call("ask_user", questions=[{"question": "Which?", "options": [{"label": "a"}, {"label": "a"}]}])
    )
    assert "have one label" in await told(session)


async def test_slash_commands_show_and_take_the_form(bench: Bench) -> None:
    session = await begun(bench, ONE)
    action = await asked(session)
    listed = await session.command("/pending")
    assert listed is not None
    assert [line.strip() for line in listed.text.splitlines()][1:] == [
        f"{action.id}  question, for 0 s: asked by ask_user",
        "Which colour?",
        "answer Colour (one of these; may be left out)",
        "red red: as a rose",
        "blue",
        "comment In your own words (text; may be left out): instead of what can be chosen, or beside it",
    ]
    wrong = await session.command("/answer answer=green")
    assert wrong is not None
    assert (wrong.error is not None, "'green' is none of red, blue" in wrong.text) == (True, True)
    await session.command(f"/answer {action.id} answer=2")
    assert (await told(session)).startswith("Which colour?\n-> blue")
