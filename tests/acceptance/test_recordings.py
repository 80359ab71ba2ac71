"""Every recording as a full session: real bytes over HTTP, real tools, a real database file, and the log as evidence.

What each answer says is read from the recorded bytes by `recorded.heard`, which knows nothing of our adapters. Played
whole, cut at each event, recorded by us and replayed, and with the provider changed in the middle of a conversation.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from itertools import permutations
from pathlib import Path
from typing import Any

import msgspec
import pytest

from godwit.core.agent import Limits
from godwit.core.errors import RunFailed
from godwit.core.events import AgentMessage, Event, RunRetrying, ToolFinished, ToolStarted
from godwit.core.ids import ManualClock, SeededIds
from godwit.core.messages import Assistant, Thinking
from godwit.core.record import RunResult
from godwit.core.transcript import problems, transcript_of
from godwit.engine import model_step
from godwit.engine.session import Session
from godwit.models.registry import Registry
from godwit.models.replay import RecordedModel, Recorder
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
from tests.loopback import Ending, Reply, sse_events
from tests.parts.test_model_live_wires import Said, anthropic, chat, google, responses
from tests.patience import PATIENCE_S

# SDKs announce the end of life of models that were recorded long ago.
pytestmark = pytest.mark.filterwarnings("ignore:The model:DeprecationWarning")

STORIES = [Story(p) for p in all_recordings()]
OWN = {s.wire: s for s in STORIES if s.name in SCRIPTED}
PLAYED = [pytest.param(s, id=s.name) for s in STORIES]
SAMPLED = 10
"""Places an answer is cut at in the quick suite."""
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
        return await asyncio.wait_for(session.send(prompt), PATIENCE_S)
    except RunFailed as failed:
        result: RunResult = failed.result
        return result


async def start(stage: Stage, story: Story, **options: Any) -> Session:
    """A session of the recorded agent, which is not told to go on: no recording has an answer to that."""
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


async def cut_run(
    stage: Stage, story: Story, run: Run, number: int, place: int, ending: Ending, *, within: bool = False
) -> None:
    """Play the run with its answer `number` cut before event `place`, or `within` it, and hold the log to the rules."""
    exchange, whole = run.exchanges[number], run.heard[number]
    events_sent = sse_events(exchange.reply.body)
    shown = heard(story.wire, b"".join(events_sent[:place]))
    session = await start(stage, story)
    full = replies_to(story, run)
    cut = exchange.reply.with_(send=place, ending=ending)
    if within:
        half = events_sent[place][: len(events_sent[place]) * 2 // 3]
        cut = cut.with_(body=b"".join([*events_sent[:place], half]), send=place + 1)
    # An answer counts when the provider gave its reason to stop and the connection ended in order: nothing that says
    # more can be missing then. Otherwise it is asked for again as long as nobody could have seen anything of it.
    counts = shown.ended and ending == "end" and shown.error is None
    again = not counts and not shown.meaningful and shown.error is None
    stage.due[:] = [*full[:number], cut, *full[number + 1 if counts else number :]]
    asked = len(stage.requests)
    result = await send(session, run.prompt)
    requests = len(stage.requests) - asked
    retries = [e.data for e in await session.events() if isinstance(e.data, RunRetrying)]
    answers = await answers_of(session)
    final = closing_text(story.wire) if run.unanswered else run.heard[-1].text
    told = f"{story.name}, answer {number}, cut at {place}: {result}"

    if counts:
        assert retries == [], told
        assert (shown.text, shown.thinking, shown.calls) == (whole.text, whole.thinking, whole.calls), told
        assert (requests, len(answers), result.outcome) == (len(full), len(full), "done"), told
        assert all(a.complete for a in answers), told
        assert result.text == final, told
    elif again:
        assert [(r.error.code, r.retry, r.delay_ms) for r in retries] == [("stream_broken", 1, 0)], told
        assert (requests, len(answers)) == (len(full) + 1, len(full)), told
        assert result.outcome == ("failed" if run.fails else "done"), told
        if not run.fails:
            assert result.text == final, told
    else:
        assert retries == [], told
        assert (requests, len(answers), result.outcome) == (number + 1, number + 1, "failed"), told
        assert result.error is not None
        assert result.error.code == ("model_refused" if shown.error else "stream_broken"), told
        kept = answers[-1]
        assert not kept.complete
        assert kept.calls == ()
        assert kept.text == shown.text, told
        assert thinking_of(kept) == shown.thinking, told
    await check_rest(session)
    await check_usable(stage, story, session)
    # What was shown before the break is part of the conversation, calls and thoughts are not.
    spoken = "".join(i[1] for i in said(story.wire, stage.requests[-1].body) if i[0] == "text")
    assert shown.text in spoken, told
    # A run that is over is not gone on with, whatever the server has left.
    stage.due.clear()


@pytest.mark.parametrize("story", PLAYED)
async def test_the_first_answer_cut_at_some_events(story: Story, tmp_path: Path) -> None:
    run = story.runs[0]
    async with on_stage(tmp_path / "godwit.db", story) as stage:
        for turn, place in enumerate(sampled(len(sse_events(run.exchanges[0].reply.body)), SAMPLED)):
            await cut_run(stage, story, run, 0, place, "close")
            if turn % 3 == 0:
                await cut_run(stage, story, run, 0, place, "end", within=True)


@pytest.mark.slow
@pytest.mark.parametrize("within", [False, True], ids=["between", "within"])
@pytest.mark.parametrize("ending", ["close", "end"])
@pytest.mark.parametrize("story", PLAYED)
async def test_every_answer_cut_at_every_event(story: Story, ending: Ending, within: bool, tmp_path: Path) -> None:
    async with on_stage(tmp_path / "godwit.db", story) as stage:
        for run in story.runs:
            for number, exchange in enumerate(run.exchanges):
                for place in range(len(sse_events(exchange.reply.body))):
                    await cut_run(stage, story, run, number, place, ending, within=within)


@pytest.mark.parametrize("story", PLAYED)
async def test_how_the_bytes_are_cut_into_chunks_makes_no_difference(story: Story, tmp_path: Path) -> None:
    """Chunks that end within lines and within characters, as proxies make them."""
    async with on_stage(tmp_path / "godwit.db", story) as stage:
        session = await start(stage, story)
        for run in story.runs:
            stage.due[:] = [r.with_(split="crumbs") for r in replies_to(story, run)]
            await send(session, run.prompt)
        answers = [
            a for a in await answers_of(session) if a.text != closing_text(story.wire) or a.text == story.heard[-1].text
        ]
        for answer, was in zip(answers, story.heard, strict=True):
            check_answer(answer, was)
        await check_rest(session)


@pytest.mark.parametrize("wire", OWN)
async def test_a_provider_that_always_breaks_is_given_up(wire: Wire, tmp_path: Path) -> None:
    """Three more tries, then the run fails and the session goes on."""
    story = OWN[wire]
    broken = story.exchanges[0].reply.with_(send=0, ending="close")
    async with on_stage(tmp_path / "godwit.db", story) as stage:
        session = await start(stage, story)
        stage.due[:] = [broken] * 5
        result = await send(session, story.runs[0].prompt)
        assert result.error is not None
        assert (result.outcome, result.error.code) == ("failed", "stream_broken")
        assert len(stage.requests) == 4
        assert [e.data.retry for e in await session.events() if isinstance(e.data, RunRetrying)] == [1, 2, 3]
        assert await answers_of(session) == []
        await check_rest(session)
        await check_usable(stage, story, session)


@pytest.mark.parametrize("wire", OWN)
async def test_a_provider_says_when_to_come_back(wire: Wire, tmp_path: Path) -> None:
    """The planned moment is in the log, and a person may end the wait."""
    story = OWN[wire]
    busy = Reply.json({"error": {"message": "Slow down.", "type": "rate_limit_error"}}, 429, retry_after="7")
    async with on_stage(tmp_path / "godwit.db", story) as stage:
        session = await start(stage, story)
        stage.due[:] = [busy.with_(headers=(("retry-after", "0"),)), busy]
        run = await session.prompt(story.runs[0].prompt)
        planned = []
        async with asyncio.timeout(PATIENCE_S):
            async for event in session.follow():
                if isinstance(event.data, RunRetrying):
                    planned.append((event.data.error.code, event.data.delay_ms))
                    if len(planned) == 2:
                        break
            assert planned == [("rate_limited", 0), ("rate_limited", 7000)]
            assert await session.interrupt()
        result = await session.wait(run)
        assert result.outcome == "interrupted"
        assert len(stage.requests) == 2
        await check_rest(session)
        await check_usable(stage, story, session)


# --- recorded by us and replayed ------------------------------------------------------------------------------------


def plain_log(events: Iterable[Event]) -> list[Any]:
    """The log without times, the process's name, and the order in which parallel calls finished."""
    found: list[Any] = []
    turn: list[Any] = []
    for event in events:
        body = msgspec.json.decode(event.body)
        for name in ("worker", "host", "duration_ms"):
            body.pop(name, None)
        line = (event.type, event.run, body)
        if isinstance(event.data, ToolStarted | ToolFinished):
            turn.append(line)
            continue
        found += sorted(turn, key=lambda entry: json.dumps(entry[2], sort_keys=True))
        turn = []
        found.append(line)
    return [*found, *turn]


async def whole_life(stage: Stage, story: Story, session: Session) -> list[Event]:
    """All prompts of the recording, and one whose answer is cut at once and asked for again."""
    for run in story.runs:
        stage.due[:] = replies_to(story, run)
        await send(session, run.prompt)
    stage.due[:] = [closing(story.wire).with_(send=0, ending="close"), closing(story.wire)]
    assert (await send(session, "Are you still there?")).text == closing_text(story.wire)
    return await session.events()


@pytest.mark.parametrize("story", PLAYED)
async def test_a_recorded_session_replayed_gives_the_same_log(story: Story, tmp_path: Path) -> None:
    file = tmp_path / "recording.jsonl"
    seeded: dict[str, Any] = {"clock": ManualClock(), "ids": SeededIds(story.name)}
    registry = Registry(environment={})
    async with on_stage(tmp_path / "recorded.db", story, registry=registry, **seeded) as stage:
        recorder = Recorder(registry.resolve(story.model), file, seed=story.name)
        registry.register(story.model, recorder)
        session = await start(stage, story, session="ses_replayed")
        recorded = await whole_life(stage, story, session)
        assert any(e.type == "run.retrying" for e in recorded)
        asked = len(stage.requests)

    replay = RecordedModel(file)
    assert len(replay) == asked
    registry = Registry(environment={})
    registry.register(story.model, replay)
    seeded = {"clock": ManualClock(), "ids": SeededIds(replay.seed)}
    async with on_stage(tmp_path / "replayed.db", registry=registry, **seeded) as stage:
        session = await start(stage, story, session="ses_replayed")
        replayed = await whole_life(stage, story, session)
        assert stage.requests == []
    assert [e.seq for e in replayed] == [e.seq for e in recorded]
    assert plain_log(replayed) == plain_log(recorded)


# --- another provider in the middle ---------------------------------------------------------------------------------

ORDERS: list[tuple[Wire, ...]] = [*permutations(("anthropic", "chat", "google"), 3)]  # type: ignore[list-item]
ORDERS += [("anthropic", "chat", "google", "responses"), ("responses", "google", "anthropic", "chat")]
ORDERS += [("google", "responses", "chat", "anthropic"), ("chat", "anthropic", "responses", "google")]


@pytest.mark.parametrize("order", [pytest.param(o, id="-".join(o)) for o in ORDERS])
async def test_a_session_goes_on_with_another_provider(order: tuple[Wire, ...], tmp_path: Path) -> None:
    """Each thinks, signs and calls two tools at once; the next one is asked with all of that in the history."""
    stories = [OWN[wire] for wire in order]
    async with on_stage(tmp_path / "godwit.db", *stories) as stage:
        session = await stage.runtime.start_session(stories[0].agent(*stories[1:]))
        prompts: list[str] = []
        texts: list[str] = []
        for number, story in enumerate(stories):
            if number:
                await session.set_model(story.model)
            run = story.runs[0]
            stage.due[:] = replies_to(story, run)
            asked = len(stage.requests)
            result = await send(session, run.prompt)
            assert (result.outcome, result.text) == ("done", run.heard[-1].text), result.error
            assert [r.path for r in stage.requests[asked:]] == [e.path for e in run.exchanges]
            prompts.append(run.prompt)
            texts.append(run.heard[0].text)
            for place, body in enumerate(stage.bodies(asked)):
                history = said(story.wire, body)
                assert complaints(story.wire, body) == []
                # Another provider's thoughts may be told as a note in the user's turn.
                assert [i[1] for i in history if i[0] == "user" and not i[1].startswith("<assistant_thinking>")] == prompts
                # All calls of all providers, each with its result, in order.
                calls = [i for i in history if i[0] == "call"]
                results = [i for i in history if i[0] == "result"]
                assert [(c[2], c[3]) for c in calls] == [*CALLED * (number + place)]
                assert [r[2] for r in results] == [*RESULTS * (number + place)]
                assert [c[1] for c in calls] == [r[1] for r in results]
                # What the earlier providers said is all there, thoughts or not.
                spoken = "".join(i[1] for i in history if i[0] in ("text", "thinking"))
                position = 0
                for text in texts[: number + place]:
                    position = spoken.index(text, position) + len(text)
                # A signature goes to nobody but who made it.
                signed = json.dumps(body).count(SIGNATURE)
                own = order[:number].count(story.wire) + place
                assert signed == (own if story.wire in SIGNING else 0)
            await check_rest(session)
        await check_usable(stage, stories[-1], session)


CALLED = [("weather", '{"city": "Oslo"}'), ("weather", '{"city": "Lima"}')]
RESULTS = ["4 C, rain", "19 C, clear"]
SIGNING = ("anthropic", "google", "responses")


@pytest.mark.parametrize("wire", OWN)
async def test_an_answer_that_ended_while_thinking_leaves_the_session_usable(wire: Wire, tmp_path: Path) -> None:
    """The token limit is reached before anything is said: no provider takes that back as an answer."""
    story = OWN[wire]
    said_nothing = {"anthropic": anthropic, "chat": chat, "responses": responses, "google": google}[wire]
    async with on_stage(tmp_path / "godwit.db", story) as stage:
        session = await start(stage, story)
        stage.due[:] = [said_nothing(Said(thinking=["Let me ", "see"], stop="length"))]
        result = await send(session, "Think hard.")
        assert (result.outcome, result.text) == ("done", ""), result.error
        assert result.message is not None
        assert result.message.stop == "max_tokens"
        await check_rest(session)
        await check_usable(stage, story, session)
        stage.due[:] = replies_to(story, story.runs[0])
        assert (await send(session, story.runs[0].prompt)).text == story.runs[0].heard[-1].text
        assert [c for b in stage.bodies() for c in complaints(wire, b)] == []


async def test_a_call_id_may_come_again(tmp_path: Path) -> None:
    """Small servers number each answer's calls anew: the same id in a later turn still has its own result."""
    for wire in ("chat", "google"):
        story = OWN[wire]
        async with on_stage(tmp_path / f"{wire}.db", story) as stage:
            session = await start(stage, story)
            for _ in range(2):
                stage.due[:] = replies_to(story, story.runs[0])
                result = await send(session, story.runs[0].prompt)
                assert result.outcome == "done", result.error
            finished = [e for e in await session.events() if isinstance(e.data, ToolFinished)]
            assert len(finished) == 4
            assert [c for b in stage.bodies() for c in complaints(wire, b)] == []
            await check_rest(session)


# --- our own files --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SCRIPTED)
def test_the_scripted_recordings_are_what_their_script_writes(name: str) -> None:
    assert (OWN_FOLDER / f"{name}.json").read_bytes() == as_file(name)


def test_all_four_wires_are_proven_without_any_real_recording() -> None:
    assert set(OWN) == {"chat", "responses", "anthropic", "google"}
    for story in OWN.values():
        first = story.heard[0]
        assert first.thinking
        assert first.text
        assert len(first.calls) == 2
        assert len(story.runs) == 2


@pytest.mark.skipif(len(STORIES) == len(OWN), reason="no recordings: set GODWIT_RECORDINGS to a folder of them")
def test_every_real_recording_is_read() -> None:
    names = {s.name for s in STORIES} - set(SCRIPTED)
    assert {"complex_agent_run", "openai_responses_stream", "coding_subagents", "openrouter_stream_error"} <= names
    assert {s.wire for s in STORIES if s.name in names} == {"chat", "responses", "anthropic", "google"}
    for story in STORIES:
        assert story.definitions or not any(h.calls for h in story.heard)
        assert sum(len(r.exchanges) for r in story.runs) == len(story.exchanges)
