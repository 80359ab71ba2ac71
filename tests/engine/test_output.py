"""Answers that are held to a form: what the model is told, what goes back, what a run comes to, and what the log keeps."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from pydantic import BaseModel, field_validator

import godwit
from godwit.core.errors import ConfigurationError, RunFailed
from godwit.core.events import Event, OutputChecked, RunFinished
from godwit.core.messages import text_of
from godwit.models.script import call, end, hold, say
from tests.patience import PATIENCE_S

from .conftest import Bench, data, within

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"n": {"type": "integer", "minimum": 1}},
    "required": ["n"],
    "additionalProperties": False,
}


class Found(BaseModel):
    """What a search came to."""

    path: str
    line: int

    @field_validator("line")
    @classmethod
    def positive(cls, line: int) -> int:
        if line < 1:
            raise ValueError("lines count from 1")
        return line


def told(bench: Bench, request: int = -1) -> str:
    """The last thing that was said to the model."""
    assert bench.model is not None
    return text_of(bench.model.requests[request].entries[-1].message.content)


def instructions(bench: Bench, request: int = -1) -> str:
    assert bench.model is not None
    return bench.model.requests[request].instructions


async def test_an_answer_becomes_a_value_of_the_type(bench: Bench) -> None:
    session = await bench.start(['{"path": "a.py", "line": 3}'])
    result = await within(session.send("Find it.", output=Found))
    assert result.output == Found(path="a.py", line=3)
    assert '"line"' in told(bench)
    assert instructions(bench) == ""
    (checked,) = await data(session, OutputChecked)
    assert (checked.value, checked.problem, checked.attempt) == ({"path": "a.py", "line": 3}, None, 1)
    (finished,) = await data(session, RunFinished)
    assert finished.output == (await session.events())[-2].seq


async def test_the_next_prompt_has_no_form_any_more(bench: Bench) -> None:
    session = await bench.start(['{"n": 1}', "Words."])
    assert (await within(session.send("Count.", output=SCHEMA))).output == {"n": 1}
    result = await within(session.send("Say it."))
    assert (result.text, result.output) == ("Words.", None)


@pytest.mark.parametrize(
    ("said", "told_of"),
    [
        ("one", "no JSON"),
        ('{"n": "1"}', "n: expected integer"),
        ('{"n": 0}', "n: expected at least 1"),
        ('{"n": 1, "m": 2}', "m: unknown"),
        ("[1]", "expected object"),
        (say('{"n": ') + end("max_tokens"), "cut off"),
    ],
)
async def test_what_does_not_fit_goes_back_with_what_is_wrong(bench: Bench, said: Any, told_of: str) -> None:
    session = await bench.start([said, '{"n": 1}'])
    result = await within(session.send("Count.", output=SCHEMA))
    assert (result.outcome, result.output) == ("done", {"n": 1})
    assert told_of in told(bench)
    assert '"minimum":1' in told(bench)
    assert [(c.attempt, c.problem is None) for c in await data(session, OutputChecked)] == [(1, False), (2, True)]


async def test_a_validator_of_the_type_is_asked(bench: Bench) -> None:
    session = await bench.start(['{"path": "a", "line": 0}', '{"path": "a", "line": 1}'], output=Found)
    assert (await within(session.send("Find it."))).output == Found(path="a", line=1)
    assert "lines count from 1" in told(bench)


@pytest.mark.parametrize("retries", [0, 1, 3])
async def test_after_the_last_try_the_run_fails(bench: Bench, retries: int) -> None:
    session = await bench.start(["no"] * 9, output=SCHEMA, output_retries=retries)
    with pytest.raises(RunFailed) as failed:
        await within(session.send("Count."))
    error = failed.value.result.error
    assert error is not None
    assert (error.code, error.details["attempts"]) == ("output_schema", retries + 1)
    assert failed.value.result.output is None
    assert bench.model is not None
    assert len(bench.model.requests) == retries + 1


async def test_an_agents_form_stands_in_its_instructions_and_one_of_a_prompt_goes_before_it(bench: Bench) -> None:
    session = await bench.start(['{"n": 1}', '{"path": "a", "line": 2}'], output=SCHEMA, instructions="Be exact.")
    assert (await within(session.send("Count."))).output == {"n": 1}
    assert instructions(bench).startswith("Be exact.\n\nEnd your work with")
    assert told(bench) == "Count."
    assert (await within(session.send("Find it.", output=Found))).output == Found(path="a", line=2)
    assert instructions(bench, 0) == instructions(bench, 1)
    assert "whatever form was asked for before" in told(bench)


@godwit.tool
def look() -> str:
    """Look around."""
    return "all quiet"


async def test_tools_are_used_before_the_answer_is_held_to_its_form(bench: Bench) -> None:
    session = await bench.start([say("I look.") + call("look"), '{"n": 1}'], look, output=SCHEMA)
    assert (await within(session.send("Look."))).output == {"n": 1}
    assert len(await data(session, OutputChecked)) == 1


async def test_a_stream_shows_the_check(bench: Bench) -> None:
    session = await bench.start(["no", '{"n": 1}'])
    seen = [item.type async for item in session.stream("Count.", output=SCHEMA) if isinstance(item, Event)]
    assert seen.count("output.checked") == 2
    assert seen[-1] == "run.finished"


async def test_types_that_are_no_models(bench: Bench) -> None:
    session = await bench.start(["[1, 2]", '"yes"', '{"n": 4}'])
    assert (await within(session.send("Count.", output=list[int]))).output == [1, 2]
    assert (await within(session.send("Count.", output={"enum": ["yes", "no"]}))).output == "yes"
    assert (await within(session.send("Count.", output=godwit.OutputSpec(SCHEMA, retries=0)))).output == {"n": 4}


async def test_a_schema_is_no_type_that_another_has_the_schema_of(bench: Bench) -> None:
    session = await bench.start(["[1, 2]", "[1, 2]", '["3"]', "[3]"])
    assert (await within(session.send("Count.", output=set[int]))).output == {1, 2}
    plain = {"type": "array", "items": {"type": "integer"}, "uniqueItems": True}
    assert (await within(session.send("Count.", output=plain))).output == [1, 2]
    # Nor is it asked of the type, which takes a text for a number.
    assert (await within(session.send("Count.", output=plain))).output == [3]


@pytest.mark.parametrize("output", [{"type": "nonsense"}, {"properties": 3}, {"$ref": "#/nowhere"}, "text", 3])
async def test_what_is_no_form_is_refused_before_anything_is_stored(bench: Bench, output: Any) -> None:
    session = await bench.start(["x"])
    before = len(await session.events())
    with pytest.raises(ConfigurationError):
        await session.send("Count.", output=output)
    assert len(await session.events()) == before
    with pytest.raises(ConfigurationError):
        godwit.Agent("a", model="scripted:test", output=output)


async def test_a_pattern_is_matched_in_linear_time(bench: Bench) -> None:
    schema = {"type": "object", "properties": {"s": {"type": "string", "pattern": "^(a+)+$"}}}
    session = await bench.start(['{"s": "' + "a" * 40 + '!"}', '{"s": "aa"}'])
    assert (await within(session.send("Go.", output=schema))).output == {"s": "aa"}
    with pytest.raises(ConfigurationError, match="linear"):
        await session.send("Go.", output={"type": "string", "pattern": "(a)\\1"})


async def test_a_schema_that_is_none_is_refused_before_anything_is_said(bench: Bench) -> None:
    session = await bench.start(["Fine."])
    with pytest.raises(ConfigurationError, match="'enum' is a list, not 5"):
        await within(session.send("Go.", output=godwit.OutputSpec({"properties": {"n": {"enum": 5}}}, retries=0)))
    assert (await within(session.send("Go on."))).text == "Fine."


async def test_a_schema_that_turns_out_to_fit_nothing_fails_the_run_and_no_more(bench: Bench) -> None:
    session = await bench.start(['{"n": 1}', "Fine."])
    circle = {"properties": {"n": {"$ref": "#/properties/n"}}}
    with pytest.raises(RunFailed, match="nested too deeply"):
        await within(session.send("Go.", output=godwit.OutputSpec(circle, retries=0)))
    assert (await within(session.send("Go on."))).text == "Fine."


async def test_another_process_goes_on_with_the_form_and_its_tries(bench: Bench) -> None:
    release, reached = asyncio.Event(), asyncio.Event()
    session = await bench.start(["no", hold(release, reached=reached) + say('{"n": 1}')])
    run = await session.prompt("Count.", output=SCHEMA)
    await within(reached.wait())
    await bench.runtimes[0].close()
    second = await bench.runtime(["no", "no", '{"n": 2}'])
    again = await second.open_session(session.id)
    result = await within(again.wait(run))
    assert result.output == {"n": 2}
    assert [c.attempt for c in await data(again, OutputChecked)] == [1, 2, 3]


async def test_a_run_that_is_continued_keeps_its_form(bench: Bench) -> None:
    session = await bench.start(["no", "no", '{"n": 1}'])
    with pytest.raises(RunFailed) as failed:
        await within(session.send("Count.", output=godwit.OutputSpec(SCHEMA, retries=1)))
    result = await within(session.resume_run(failed.value.result.run))
    assert result.output == {"n": 1}


async def test_a_message_while_it_works_leaves_the_form(bench: Bench) -> None:
    release, reached = asyncio.Event(), asyncio.Event()
    session = await bench.start([hold(release, reached=reached) + say('{"n": 1}'), '{"n": 2}'])
    run = await session.prompt("Count.", output=SCHEMA)
    await within(reached.wait())
    await session.follow_up("And again.")
    release.set()
    result = await within(session.wait(run))
    assert result.output == {"n": 2}
    assert [c.value for c in await data(session, OutputChecked)] == [{"n": 1}, {"n": 2}]


async def test_work_that_is_verified_has_the_form_first(bench: Bench) -> None:
    session = await bench.start([call("look"), "no", '{"n": 1}'], look, output=SCHEMA, verification=["true"])
    result = await within(session.send("Count."))
    assert (result.output, result.verified) == ({"n": 1}, True)
    kinds = [e.type for e in await session.events()]
    assert kinds.index("verification.reported") > max(i for i, k in enumerate(kinds) if k == "output.checked")


async def test_an_interrupt_ends_a_run_whose_answer_did_not_fit(bench: Bench) -> None:
    release, reached = asyncio.Event(), asyncio.Event()
    session = await bench.start(["no", hold(release, reached=reached) + say("{}")])
    run = await session.prompt("Count.", output=SCHEMA)
    await within(reached.wait())
    await session.interrupt()
    result = await asyncio.wait_for(session.wait(run), PATIENCE_S)
    assert (result.outcome, result.output) == ("interrupted", None)
