"""Properties of the fold over random legal histories: what holds at every seq, whatever happened."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st
from tests.core.walk import ANY_EVENT, CREATED, Walk, candidates, ending, event, picker, walks

from godwit.core.errors import Conflict, GodwitError, NotFound
from godwit.core.events import (
    EVENT_TYPES,
    AgentMessage,
    Event,
    EventData,
    SessionArchived,
    SessionRewound,
    ToolAsked,
    ToolFinished,
    ToolStarted,
    TurnFinished,
    TurnStarted,
    Unknown,
    from_outside,
)
from godwit.core.gate import RUN_TABLE, admit, consequence, decode_gate, encode_gate
from godwit.core.messages import Message
from godwit.core.state import CALL_TABLE, State, decode_state, encode_state, fold
from godwit.core.transcript import TRANSCRIPT_TYPES, branch_message, problems, transcript_of


def walked(numbers: list[int]) -> Walk:
    walk = Walk()
    walk.take(CREATED)
    pick = picker(numbers)
    for _ in range(len(numbers) // 2):
        if walk.step(pick) is None:
            break
    return walk


def stored(state: State, *data: EventData) -> State:
    for d in data:
        state = fold(state, event(state.seq + 1, d))
    return state


@given(walks())
@settings(max_examples=60)
def test_the_gate_alone_agrees_and_the_transcript_is_valid_at_every_seq(numbers: list[int]) -> None:
    walk = Walk()
    walk.take(CREATED)
    pick = picker(numbers)
    for _ in range(len(numbers) // 2):
        assert walk.gate == walk.state.gate
        assert walk.state.seq == walk.transcript.seq == len(walk.events)
        assert list(problems(walk.transcript.messages)) == []
        assert list(problems(walk.transcript.own_messages)) == []
        assert walk.state.status == derived_status(walk.events)
        if walk.step(pick) is None:
            break


def derived_status(events: list[Event]) -> str:
    """The status by section 5 of the architecture, told from the names of the events alone."""
    phases = {
        "run.started": "queued",
        "run.claimed": "running",
        "run.parked": "waiting",
        "run.unparked": "queued",
        "run.yielded": "queued",
        "run.retrying": "retrying",
        "run.finished": "none",
    }
    phase, paused, archived, opened = "none", False, False, False
    for e in events:
        if e.type == "session.forked":
            phase, paused, archived, opened = "none", False, False, False
        phase = phases.get(e.type, phase)
        paused = (paused or e.type == "session.paused") and e.type != "session.resumed"
        archived = archived or e.type == "session.archived"
        opened = opened or e.type in ("session.opened", "run.claimed")
    if archived:
        return "archived"
    if paused:
        return "paused"
    return phase if phase != "none" else "idle" if opened else "queued"


@given(walks())
@settings(max_examples=40)
def test_a_refused_event_is_a_conflict_and_changes_nothing(numbers: list[int]) -> None:
    walk = walked(numbers)
    before, gate = encode_state(walk.state), encode_gate(walk.gate)
    seen: list[GodwitError] = []
    for data in candidates(walk.state):
        for check in (lambda: fold(walk.state, event(walk.state.seq + 1, data)), lambda: admit(walk.gate, data)):  # noqa: B023
            try:
                check()
            except (Conflict, NotFound) as error:
                seen.append(error)
    assert all(error.message and error.code != GodwitError.code for error in seen)
    assert encode_state(walk.state) == before
    assert encode_gate(walk.gate) == gate


@given(walks(30), st.data())
@settings(max_examples=60)
def test_an_event_of_any_content_is_folded_or_refused(numbers: list[int], draw: st.DataObject) -> None:
    walk = walked(numbers)
    data = draw.draw(ANY_EVENT[draw.draw(st.sampled_from(sorted(ANY_EVENT)))])
    before = encode_state(walk.state)
    refused = walk.refused(data)
    assert encode_state(walk.state) == before
    if refused is not None and from_outside(data):
        with pytest.raises(type(refused)):
            admit(walk.gate, data, inbox_limit=1 << 31)
    if refused is None:
        walk.take(data)
        assert decode_state(encode_state(walk.state)) == walk.state


@given(walks())
@settings(max_examples=50)
def test_a_snapshot_and_the_rest_fold_to_the_same_at_every_cut(numbers: list[int]) -> None:
    walk = walked(numbers)
    state, states = State(), [State()]
    for e in walk.events:
        # Every state equals its stored form, so folding on from either is the same by determinism ...
        state = fold(state, e)
        assert decode_state(encode_state(state)) == state
        assert decode_gate(encode_gate(state.gate)) == state.gate
        states.append(state)
    assert state == walk.state
    # ... which is shown in full for a few cuts.
    for cut in {0, len(walk.events) // 3, len(walk.events) // 2, len(walk.events) - 1}:
        rest = decode_state(encode_state(states[cut]))
        for e in walk.events[cut:]:
            rest = fold(rest, e)
        assert rest == walk.state


@given(walks())
@settings(max_examples=60)
def test_every_call_gets_exactly_one_result_before_its_turn_ends(numbers: list[int]) -> None:
    asked: list[str] = []
    results: Counter[str] = Counter()
    for e in walked(numbers).events:
        match e.data:
            case TurnStarted():
                asked, results = [], Counter()
            case AgentMessage(message=message):
                asked = [c.id for c in message.calls]
            case ToolFinished(call=call, origin="model"):
                results[call] += 1
            case TurnFinished():
                assert results == Counter(asked)
            case _:
                pass


@given(walks())
@settings(max_examples=60)
def test_a_rewind_gives_back_the_transcript_as_it_stood(numbers: list[int]) -> None:
    walk = walked(numbers)
    stood: list[tuple[Message, ...]] = [()]
    transcript = transcript_of([])
    for e in walk.events:
        transcript.apply(e)
        if isinstance(e.data, SessionRewound):
            told = () if e.data.summary is None else (branch_message(e.data.summary),)
            assert transcript.messages == (*stood[min(e.data.to, e.seq - 1)], *told)
        stood.append(transcript.own_messages)
    needed = [e for e in walk.events if e.type in TRANSCRIPT_TYPES]
    assert transcript_of(needed).messages == transcript.messages


@given(walks())
@settings(max_examples=40)
def test_what_the_gate_admits_from_outside_never_makes_the_fold_fail(numbers: list[int]) -> None:
    """Neither at once, with what follows from it, nor for an event the driver had decided on before it knew of it."""
    walk = walked(numbers)
    state = walk.state
    everything = list(candidates(state))
    driver = [d for d in everything if not from_outside(d) and walk.refused(d) is None]
    for data in everything:
        if not from_outside(data):
            continue
        try:
            gate = admit(state.gate, data)
        except (Conflict, NotFound):
            continue
        follows = consequence(gate, data)
        after = stored(state, data, *([follows] if follows else []))
        assert after.gate == (admit(gate, follows) if follows else gate)
        for late in driver:
            try:
                admit(after.gate, late)
            except (Conflict, NotFound):
                continue
            fold(after, event(after.seq + 1, late))


@given(walks())
@settings(max_examples=60)
def test_an_open_run_can_be_ended_from_any_state(numbers: list[int]) -> None:
    walk = walked(numbers)
    if walk.gate.run is None:
        return
    follow_ups = [q for q in walk.gate.queue if q.delivery == "follow_up"]
    for data in list(ending(walk.state)):
        walk.take(data)
    assert walk.gate.phase == "none"
    assert list(walk.gate.queue) == follow_ups
    assert list(problems(walk.transcript.messages)) == []


@given(walks())
@settings(max_examples=40)
def test_events_of_a_newer_version_change_nothing_but_the_seq(numbers: list[int]) -> None:
    walk = walked(numbers)
    if isinstance(walk.events[-1].data, SessionArchived):
        return
    state, messages = walk.state, walk.transcript.messages
    walk.take(Unknown("future.happened", b'{"type":"future.happened"}'))
    assert walk.gate == state.gate
    assert walk.transcript.messages == messages
    assert (walk.state.run, walk.state.turn, walk.state.seq) == (state.run, state.turn, state.seq + 1)


def test_walks_reach_every_event_and_every_edge_of_the_tables() -> None:
    """The properties above say little about what no walk comes to."""
    seen: set[str] = set()
    edges: set[tuple[Any, ...]] = set()
    for seed in range(80):
        rng = random.Random(seed)
        walk = Walk()
        walk.take(CREATED)
        states = [walk.state]
        for _ in range(30 + seed):
            if walk.step(rng.randrange) is None:
                break
            states.append(walk.state)
        for data in list(ending(walk.state)) if walk.gate.run else []:
            walk.take(data)
            states.append(walk.state)
        if not walk.gate.archived and not walk.gate.restoring:
            walk.take(SessionArchived())
            states.append(walk.state)
        for taken, before, after in zip(walk.events[1:], states, states[1:], strict=False):
            seen.add(taken.type)
            edges.add((before.gate.phase, type(taken.data), after.gate.phase))
            own = isinstance(taken.data, ToolStarted | ToolFinished) and taken.data.origin != "model"
            if isinstance(taken.data, ToolStarted | ToolAsked | ToolFinished) and not own and before.turn and after.turn:
                was, now = ({c.id: c.phase for c in turn.calls}[taken.data.call] for turn in (before.turn, after.turn))
                edges.add((was, type(taken.data), now))
    assert seen >= EVENT_TYPES.keys() - {"session.created"}
    table = {(phase, kind, after) for phase, moves in RUN_TABLE.items() for kind, after in moves.items()}
    calls = {(phase, kind, after) for phase, moves in CALL_TABLE.items() for kind, after in moves.items()}
    assert (table | calls) - edges == set()


@pytest.mark.slow
@given(walks(200))
@settings(max_examples=400)
def test_long_walks(numbers: list[int]) -> None:
    walk = walked(numbers)
    assert walk.gate == walk.state.gate
    assert list(problems(walk.transcript.messages)) == []
    assert decode_state(encode_state(walk.state)) == walk.state
    assert walk.state.status == derived_status(walk.events)
