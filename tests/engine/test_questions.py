"""Calls that ask: their questions are actions that outlive the process, and they go on with the answers."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import godwit
from godwit import Question, ToolContext, ToolOutput
from godwit.core.errors import InvalidArgument
from godwit.core.events import ActionClosed, ActionOpened, ToolFinished, ToolStarted
from godwit.core.messages import Text, ToolResult
from godwit.core.questions import MOST_QUESTIONS
from godwit.core.rules import ApprovalPolicy
from godwit.core.transcript import problems
from godwit.engine.session import Session
from godwit.models.script import ScriptedModel, call

from .conftest import MODEL, Bench, data, types, until_type, within

FORM = {
    "type": "object",
    "properties": {"name": {"type": "string", "minLength": 2}, "size": {"type": "integer", "default": 3}},
    "required": ["name"],
}
LEGS: list[Any] = []
"""With what the tools below were run, in order."""
GONE: list[str] = []


def said(text: str) -> ToolOutput:
    return ToolOutput((Text(text),))


@godwit.tool
async def order(ctx: ToolContext, what: str) -> ToolOutput:
    """Order something, for somebody."""
    LEGS.append(ctx.resumed)
    if ctx.resumed is None:
        return ToolOutput((), questions=(Question("who", "form", f"Who is {what} for?", FORM),), state=f"half of {what}")
    answer = ctx.resumed.answer("who")
    return said(f"{answer.action} {answer.content} {answer.reason} after {ctx.resumed.state}, key {ctx.key[-6:]}")


@godwit.tool
async def wander(ctx: ToolContext) -> ToolOutput:
    """Ask without end."""
    LEGS.append(ctx.resumed)
    return ToolOutput((), questions=(Question("on", "form", "On?", {"type": "object", "properties": {}}),), state="x")


@godwit.tool
async def many(ctx: ToolContext) -> ToolOutput:
    """Ask three things of three kinds."""
    if ctx.resumed is None:
        return ToolOutput(
            (),
            questions=(
                Question("login", "url", "Please log in.", url="https://login.example/x"),
                Question("model", "approval", "May it ask the model?", arguments={"prompt": "hm"}),
                Question("who", "form", "Who?", FORM),
            ),
            state="s",
        )
    return said("; ".join(f"{a.key}={a.action}:{a.content}:{a.reason}" for a in ctx.resumed.answers))


class Holder:
    """A tool that keeps something for each call that asks."""

    definition = godwit.core.agent.ToolDefinition("hold", "Hold.", {"type": "object", "properties": {}})
    traits = godwit.contracts.ToolTraits()

    def validate(self, arguments: dict[str, Any]) -> None: ...
    def locks(self, arguments: dict[str, Any], workspace: object) -> frozenset[str]:
        return frozenset()

    async def run(self, arguments: dict[str, Any], context: ToolContext) -> ToolOutput:
        if context.resumed is None:
            return ToolOutput((), questions=(Question("q", "form", "Well?", FORM),), state="held-1")
        return said(context.resumed.answers[0].action)

    async def abandoned(self, state: str) -> None:
        GONE.append(state)


@pytest.fixture(autouse=True)
def fresh() -> None:
    LEGS.clear()
    GONE.clear()


async def result_of(session: Session) -> ToolResult:
    return next(m for m in await session.history() if isinstance(m, ToolResult))


async def asked(session: Session) -> Any:
    await until_type(session, "run.parked")
    (action,) = await session.approvals.pending()
    return action


async def test_a_question_is_a_pending_action_and_its_answer_lets_the_call_go_on(bench: Bench) -> None:
    session = await bench.start([call("order", what="tea"), "done"], order)
    run = await session.prompt("Go.")
    action = await asked(session)
    assert await session.status() == "waiting"
    assert (action.kind, action.name, action.message, action.schema) == ("question", "order", "Who is tea for?", FORM)
    assert await session.answer(action.id, {"name": "Ada"}) is True
    assert (await within(session.wait(run))).text == "done"
    started = await data(session, ToolStarted)
    assert [s.resumed for s in started] == [False, True]
    assert started[0].key == started[1].key
    result = await result_of(session)
    assert result.text == f"accept {{'name': 'Ada', 'size': 3}} None after half of tea, key {started[0].key[-6:]}"
    assert await session.answer(action.id, {"name": "Bea"}) is False, "a repeated answer changes nothing"
    assert not list(problems(await session.history()))
    assert (await session.state()).spent().tool_calls == 1, "it was begun once"


async def test_what_does_not_fit_the_form_is_refused_and_changes_nothing(bench: Bench) -> None:
    session = await bench.start([call("order", what="tea"), "done"], order)
    await session.prompt("Go.")
    action = await asked(session)
    before = len(await session.events())
    for wrong, field in (
        ({}, "name"),
        ({"name": "A"}, "name"),
        ({"name": 3}, "name"),
        ({"name": "Ada", "size": 1.5}, "size"),
        ({"name": "Ada", "more": 1}, "more"),
        ("Ada", None),
        ("[1]", None),
    ):
        with pytest.raises(InvalidArgument) as refused:
            await session.answer(action.id, wrong)
        assert refused.value.details.get("field") == field, wrong
    assert len(await session.events()) == before
    await session.answer(action.id, '{"name": "Ada", "size": 4}')
    await within(session.wait())
    assert "'size': 4" in (await result_of(session)).text


async def test_declined(bench: Bench) -> None:
    session = await bench.start([call("order", what="tea"), "done"], order)
    await session.prompt("Go.")
    await session.deny((await asked(session)).id, "nobody's business")
    await within(session.wait())
    assert (await result_of(session)).text.startswith("decline None nobody's business after half of tea")


async def test_another_process_asks_on_and_goes_on(bench: Bench) -> None:
    agent = godwit.Agent("tester", model=MODEL, tools=[order])
    runtime = await bench.runtime([call("order", what="tea")])
    session = await runtime.start_session(agent)
    await session.prompt("Go.")
    action = await asked(session)
    await bench.close()
    runtime = await bench.runtime(["", "done"])
    again = await runtime.open_session(session.id, agent=agent)
    (found,) = await again.approvals.pending()
    assert (found.id, found.schema) == (action.id, FORM)
    await again.answer(found.id, {"name": "Ada"})
    assert (await within(again.wait())).text == "done"
    assert "accept {'name': 'Ada', 'size': 3} None after half of tea" in (await result_of(again)).text
    assert [leg is None for leg in LEGS] == [True, False], "it was begun once"


async def test_several_questions_of_all_kinds_one_after_the_other(bench: Bench) -> None:
    session = await bench.start([call("many"), "done"], many)
    await session.prompt("Go.")
    first = await asked(session)
    assert (first.kind, first.url) == ("question", "https://login.example/x")
    await session.answer(first.id, "done")
    second = (await until_opened(session, 2)).data
    assert (second.kind, second.arguments, second.message) == ("approval", {"prompt": "hm"}, "May it ask the model?")
    await session.approve(second.action, arguments={"prompt": "hm?"})
    third = (await until_opened(session, 3)).data
    await session.answer(third.action, {"name": "Ada"})
    await within(session.wait())
    told = (await result_of(session)).text
    assert told == "login=accept:{}:None; model=accept:{'prompt': 'hm?'}:None; who=accept:{'name': 'Ada', 'size': 3}:None"
    assert [c.reason for c in await data(session, ActionClosed)] == ["answered"] * 3


async def until_opened(session: Session, number: int) -> Any:
    async def find() -> Any:
        seen = 0
        async for event in session.follow(0):
            seen += event.type == "action.opened"
            if seen == number:
                return event
        raise AssertionError

    return await within(find())


async def test_an_unattended_run_asks_nobody(bench: Bench) -> None:
    session = await bench.start([call("order", what="tea"), "done"], order)
    run = await session.prompt("Go.", unattended=True)
    await within(session.wait(run))
    assert "cancel None nobody can be asked in this run after half of tea" in (await result_of(session)).text
    assert not await data(session, ActionOpened)


async def test_a_call_of_the_host_asks_nobody(bench: Bench) -> None:
    session = await bench.start([], order, wander)
    result = await session.tool("order", {"what": "tea"})
    assert (result.status, "cancel None a call of the host asks nobody" in result.output) == ("ok", True)
    endless = await session.tool("wander")
    assert (endless.status, "asks and asks" in endless.output) == ("error", True)


async def test_a_new_message_goes_before_an_open_question(bench: Bench) -> None:
    session = await bench.start([call("order", what="tea"), "changed"], order)
    run = await session.prompt("Go.")
    action = await asked(session)
    await session.steer("Never mind.")
    assert (await within(session.wait(run))).text == "changed"
    assert "cancel None the user sent a new message instead" in (await result_of(session)).text
    assert await session.answer(action.id, {"name": "Ada"}) is False
    assert not await session.approvals.pending()


async def test_an_interrupt_ends_what_asks(bench: Bench) -> None:
    session = await bench.start([call("hold"), "never"], Holder())
    run = await session.prompt("Go.")
    await asked(session)
    await session.interrupt()
    assert (await within(session.wait(run))).outcome == "interrupted"
    finished = (await data(session, ToolFinished))[0]
    assert (finished.status, "while it waited for an answer" in finished.content[0].text) == ("error", True)
    assert GONE == ["held-1"], "the tool was told that it need not keep it"
    assert not list(problems(await session.history()))


async def test_nobody_answers_in_time(bench: Bench) -> None:
    session = await bench.start([call("order", what="tea"), "done"], order, approvals=ApprovalPolicy(timeout_s=0.05))
    run = await session.prompt("Go.")
    await within(session.wait(run))
    assert "cancel None nobody answered in time" in (await result_of(session)).text


async def test_what_asks_without_end_is_ended(bench: Bench) -> None:
    session = await bench.start([call("wander"), "done"], wander)
    run = await session.prompt("Go.", unattended=True)
    await within(session.wait(run))
    result = await result_of(session)
    assert (result.status, "it has asked 20 times" in result.text) == ("error", True)


@pytest.mark.parametrize("kind", ["keys", "many", "state"])
async def test_questions_that_cannot_be_put_are_an_error_of_the_call(bench: Bench, kind: str) -> None:
    @godwit.tool
    async def odd() -> ToolOutput:
        """Ask oddly."""
        one = Question("a", "form", "?", FORM)
        if kind == "keys":
            return ToolOutput((), questions=(one, one))
        if kind == "many":
            return ToolOutput((), questions=tuple(Question(str(n), "form", "?", FORM) for n in range(MOST_QUESTIONS + 1)))
        return ToolOutput((), questions=(one,), state="x" * 2_000_000)

    session = await bench.start([call("odd"), "done"], odd)
    run = await session.prompt("Go.")
    assert (await within(session.wait(run))).text == "done"
    assert "asks what cannot be asked" in (await result_of(session)).text
    assert "tool.asked" not in await types(session)


async def test_siblings_do_not_wait_for_what_asks(bench: Bench) -> None:
    @godwit.tool
    async def other() -> str:
        """Other."""
        return "other"

    session = await bench.start([call("order", what="a") + call("other") + call("order", what="b"), "done"], order, other)
    run = await session.prompt("Go.")
    await until_type(session, "run.parked")
    assert [d.name for d in await data(session, ToolFinished)] == ["other"]
    first, second = await session.approvals.pending()
    await session.answer(second.id, {"name": "Bea"})
    await asyncio.sleep(0)
    await session.answer(first.id, {"name": "Ada"})
    assert (await within(session.wait(run))).text == "done"
    results = [m.text for m in await session.history() if isinstance(m, ToolResult)]
    assert ["Ada" in results[0], results[1], "Bea" in results[2]] == [True, "other", True]


async def test_a_question_of_a_subagent_is_answered_from_above(bench: Bench) -> None:
    child = godwit.Agent("child", model="scripted:child", tools=[order])
    models = {
        MODEL: ScriptedModel([call("task", agent="child", description="d", prompt="p"), "done"], MODEL),
        "scripted:child": ScriptedModel([call("order", what="tea"), "c"], "scripted:child"),
    }
    runtime = await bench.runtime(models=models)
    session = await bench.start([], runtime=runtime, subagents=[child])
    run = await session.prompt("Go.")

    async def pending() -> Any:
        async for _ in session.follow(0):
            if found := await session.approvals.pending():
                return found[0]
        raise AssertionError

    action = await within(pending())
    assert (action.message, action.schema is not None, action.path) == ("Who is tea for?", True, ("child",))
    await session.answer(action.id, {"name": "Ada"})
    assert (await within(session.wait(run))).text == "done"
