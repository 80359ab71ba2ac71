"""Every recording as a full session: real bytes over HTTP, real tools, a real database file, and the log as evidence.

What each answer says is read from the recorded bytes by `recorded.heard`, which knows nothing of our adapters. Played
whole, cut at each event, recorded by us and replayed, and with the provider changed in the middle of a conversation.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterable
from itertools import permutations
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.acceptance.recorded import (
    Heard,
    Run,
    Stage,
    Story,
    Wire,
    all_recordings,
    complaints,
    heard,
    instructions_of,
    on_stage,
    said,
    tools_of,
    without_ids,
)
from tests.acceptance.recordings.make_recordings import FOLDER as OWN_FOLDER, SCRIPTED, SIGNATURE, as_file
from tests.loopback import Reply, sse_events

import godwit
from godwit.core.agent import Limits
from godwit.core.errors import RunFailed
from godwit.core.events import AgentMessage, Event, RunRetrying, ToolFinished, ToolStarted, TurnFinished
from godwit.core.ids import ManualClock, SeededIds
from godwit.core.messages import Assistant, Thinking
from godwit.core.transcript import problems, transcript_of
from godwit.engine import model_step
from godwit.engine.runs import RunResult
from godwit.engine.session import Session
from godwit.models.replay import RecordedModel, Recorder
from godwit.models.registry import Registry

# SDKs announce the end of life of models that were recorded long ago.
pytestmark = pytest.mark.filterwarnings("ignore:The model:DeprecationWarning")

WAIT_S = 30.0
STORIES = [Story(p) for p in all_recordings()]
OWN = {s.wire: s for s in STORIES if s.name in SCRIPTED}
PLAYED = [pytest.param(s, id=s.name) for s in STORIES]
LIMITS = Limits(max_repeated_calls=100)
"""Recorded models repeat themselves more than ours may."""


@pytest.fixture(autouse=True)
def _no_delay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_step, "RETRY_FIRST_S", 0.0)


# --- playing --------------------------------------------------------------------------------------------------------


def closing(wire: Wire) -> Reply:
    """A plain text answer of this wire."""
    return OWN[wire].exchanges[-1].reply


def closing_text(wire: Wire) -> str:
    return OWN[wire].heard[-1].text


def replies_to(story: Story, run: Run) -> list[Reply]:
    """The run's answers. Where the recording ends in calls, somebody must still say something."""
    return [e.reply for e in run.exchanges] + ([closing(story.wire)] if run.unanswered else [])


async def send(session: Session, prompt: str) -> RunResult:
    """The result, also of a run that fails."""
    try:
        return await asyncio.wait_for(session.send(prompt), WAIT_S)
    except RunFailed as failed:
        result: RunResult = failed.result
        return result


async def start(stage: Stage, story: Story, **options: Any) -> Session:
    return await stage.runtime.start_session(story.agent(limits=LIMITS), **options)


async def answers_of(session: Session) -> list[Assistant]:
    return [e.data.message for e in await session.events() if isinstance(e.data, AgentMessage)]


def thinking_of(answer: Assistant) -> str:
    return "".join(b.text for b in answer.content if isinstance(b, Thinking))


def check_answer(answer: Assistant, was: Heard) -> None:
    """What is stored says what was heard."""
    assert answer.text == was.text
    assert thinking_of(answer) == was.thinking
    assert answer.complete == (was.error is None)
    if was.error is None:
        assert [(c.name, c.arguments) for c in answer.calls] == [(c.name, c.plain) for c in was.calls]
        assert all(ours.id == theirs.id for ours, theirs in zip(answer.calls, was.calls, strict=True) if theirs.id)
        assert answer.usage.requests == 1
        assert answer.usage.input_tokens > 0
        assert answer.usage.output_tokens > 0


async def check_rest(session: Session, *, status: str = "idle") -> None:
    """The session stands still, and its history is one that a provider takes."""
    events = await session.events()
    assert [e.seq for e in events] == list(range(1, len(events) + 1))
    assert not list(problems(transcript_of(events).messages))
    assert await session.status() == status
    started = [e.data.call for e in events if isinstance(e.data, ToolStarted)]
    finished = [e.data.call for e in events if isinstance(e.data, ToolFinished)]
    assert sorted(started) == sorted(finished)


def results_in(wire: Wire, body: dict[str, Any]) -> list[tuple[str, ...]]:
    return [i for i in said(wire, body) if i[0] == "result"]


def check_requests(story: Story, bodies: list[dict[str, Any]]) -> None:
    """Each request says what the recorded one said, and holds the results of the calls heard before it."""
    wire = story.wire
    due = 0
    spoiled = False
    for place, (exchange, ours) in enumerate(zip(story.exchanges, bodies, strict=True)):
        assert complaints(wire, ours) == []
        results = results_in(wire, ours)[due:]
        if place and not story.heard[place - 1].error:
            expected = story.results[place - 1]
            assert [r[2] for r in results] == [text for _, text in expected]
            assert all(call.id in (None, r[1]) for (call, _), r in zip(expected, results, strict=True))
        due += len(results)
        # A recorder that makes a call of what the provider refused says more than we do from there on.
        spoiled = spoiled or (place > 0 and story.heard[place - 1].error is not None)
        if (theirs := exchange.body) is None:
            continue
        assert ours.get("model") == theirs.get("model")
        assert ours.get("stream") == theirs.get("stream")
        assert instructions_of(wire, ours) == instructions_of(wire, theirs)
        assert [t.name for t in tools_of(wire, ours)] == [t.name for t in tools_of(wire, theirs)]
        if not spoiled:
            assert without_ids(said(wire, ours)) == without_ids(said(wire, theirs))


@pytest.mark.parametrize("story", PLAYED)
async def test_a_recording_runs_through_a_whole_session(story: Story, tmp_path: Path) -> None:
    async with on_stage(tmp_path / "godwit.db", story) as stage:
        session = await start(stage, story)
        recorded_requests: list[dict[str, Any]] = []
        place = 0
        for run in story.runs:
            stage.due[:] = replies_to(story, run)
            asked, requests = len(stage.due), len(stage.requests)
            result = await send(session, run.prompt)
            assert result.outcome == ("failed" if run.fails else "done"), result.error
            assert stage.due == []
            assert len(stage.requests) == requests + asked
            bodies = stage.bodies(requests)
            assert all(s.path == run.exchanges[0].path for s in stage.requests[requests:])
            recorded_requests += bodies[: len(run.exchanges)]
            answers = (await answers_of(session))[place:]
            place += len(answers)
            assert len(answers) == asked
            for answer, was in zip(answers, run.heard, strict=False):
                check_answer(answer, was)
            if run.fails:
                assert result.error is not None
                assert str(run.heard[-1].error) in result.error.message
                assert result.usage.requests == asked
            else:
                assert result.text == (closing_text(story.wire) if run.unanswered else run.heard[-1].text)
                assert result.usage.requests == asked
                assert result.usage.input_tokens > 0
                assert result.usage.output_tokens > 0
                assert result.tool_calls == sum(len(h.calls) for h in run.heard)
            if run.unanswered:
                (last,) = bodies[len(run.exchanges) :]
                assert complaints(story.wire, last) == []
                calls = [c.id for c in run.heard[-1].calls]
                assert [r[1] for r in results_in(story.wire, last)][-len(calls) :] == calls
            await check_rest(session)
        check_requests(story, recorded_requests)
        await check_usable(stage, story, session)


async def check_usable(stage: Stage, story: Story, session: Session) -> None:
    """Another prompt is answered, and the request for it is one that a provider takes."""
    stage.due[:] = [closing(story.wire)]
    result = await send(session, "Are you still there?")
    assert (result.outcome, result.text) == ("done", closing_text(story.wire))
    body = stage.requests[-1].body
    assert complaints(story.wire, body) == []
    assert said(story.wire, body)[-1] == ("user", "Are you still there?")
    await check_rest(session)


# --- cut ------------------------------------------------------------------------------------------------------------


def sampled(count: int, most: int) -> list[int]:
    """Places 0 to count - 1, evenly spread when there are more than `most`; the first and the last are among them."""
    if count <= most:
        return list(range(count))
    return sorted({round(n * (count - 1) / (most - 1)) for n in range(most)})


async def cut_run(stage: Stage, story: Story, run: Run, number: int, place: int, ending: str) -> None:
    """Play the run with its answer `number` cut before event `place`, and hold the log to the rules."""
    exchange, whole = run.exchanges[number], run.heard[number]
    body = exchange.reply.body
    shown = heard(story.wire, b"".join(sse_events(body)[:place]))
    session = await start(stage, story)
    full = replies_to(story, run)
    cut = exchange.reply.with_(send=place, ending=ending)
    stage.due[:] = [*full[:number], cut, *full[number:]]
    asked = len(stage.requests)
    result = await send(session, run.prompt)
    requests = len(stage.requests) - asked
    events = await session.events()
    retries = [e.data for e in events if isinstance(e.data, RunRetrying)]
    answers = await answers_of(session)
    final = closing_text(story.wire) if run.unanswered else run.heard[-1].text
    told = f"{story.name}, answer {number}, cut at {place}: {result}"

    if not shown.meaningful and not shown.error:
        if answers and len(answers) > number and shown.ended and not retries:
            # Nothing to show was in it at all.
            assert answers[number].complete, told
        else:
            assert [r.error.code for r in retries] == ["stream_broken"], told
            assert retries[0].retry == 1
            assert requests == len(full) + 1, told
            assert result.outcome == ("failed" if run.fails else "done"), told
            if not run.fails:
                assert result.text == final, told
    elif result.outcome == "failed":
        assert retries == [], told
        assert requests == number + 1, told
        assert result.error is not None
        assert result.error.code == ("model_refused" if shown.error else "stream_broken"), told
        kept = answers[-1]
        assert len(answers) == number + 1
        assert not kept.complete
        assert kept.calls == ()
        assert kept.text == shown.text, told
        assert thinking_of(kept) == shown.thinking, told
    else:
        # Only what says nothing more may be missing.
        assert shown.ended, told
        assert retries == [], told
        assert (shown.text, shown.thinking, shown.calls) == (whole.text, whole.thinking, whole.calls), told
        assert answers[number].complete, told
        if not run.fails:
            assert result.text == final, told
    await check_rest(session)
    await check_usable(stage, story, session)
    # A run that is over is not gone on with, whatever the server has left.
    stage.due.clear()


@pytest.mark.parametrize("story", PLAYED)
async def test_the_first_answer_cut_at_any_event(story: Story, tmp_path: Path) -> None:
    run = story.runs[0]
    async with on_stage(tmp_path / "godwit.db", story) as stage:
        for place in sampled(len(sse_events(run.exchanges[0].reply.body)), 12):
            await cut_run(stage, story, run, 0, place, "close")


@pytest.mark.slow
@pytest.mark.parametrize("ending", ["close", "end"])
@pytest.mark.parametrize("story", PLAYED)
async def test_every_answer_cut_at_every_event(story: Story, ending: str, tmp_path: Path) -> None:
    async with on_stage(tmp_path / "godwit.db", story) as stage:
        for run in story.runs:
            for number, exchange in enumerate(run.exchanges):
                for place in range(len(sse_events(exchange.reply.body))):
                    await cut_run(stage, story, run, number, place, ending)
