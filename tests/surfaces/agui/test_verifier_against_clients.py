"""The verifier agrees with the official one, but for the rules it has besides; and old clients take the old shapes."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings

from godwit.core.errors import IllegalStream
from godwit.surfaces.agui.chunks import Lines, expand
from godwit.surfaces.agui.events import AnyEvent, RunError, RunFinished, encode
from godwit.surfaces.agui.fields import from_wire
from godwit.surfaces.agui.profiles import wire
from godwit.surfaces.agui.verifier import Verifier

from .judge import STRICTER, STRICTER_IN, Judge, judge
from .streams import on_the_wire, streams

__all__ = ["judge"]
SETTINGS = settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))


def ours(events: list[dict[str, Any]]) -> tuple[int | None, IllegalStream | None]:
    verifier = Verifier()
    for at, event in enumerate(events):
        try:
            verifier.apply(from_wire(event))
        except IllegalStream as error:
            return at, error
    return None, None


def stricter(error: IllegalStream) -> bool:
    rule = error.details["rule"]
    return rule in STRICTER or (rule in STRICTER_IN and STRICTER_IN[rule] in error.message)


def compare(judge: Judge, events: list[dict[str, Any]]) -> None:
    at, error = ours(events)
    theirs = judge("new", events)
    if error is not None and stricter(error):
        assert theirs.at is None or (at is not None and theirs.at >= at), theirs
        return
    assert theirs.at == at, f"{theirs} / {error}"


@SETTINGS
@given(events=on_the_wire())
def test_the_verdicts_agree(judge: Judge, events: list[dict[str, Any]]) -> None:
    compare(judge, events)


@SETTINGS
@given(stream=streams(legal=True))
def test_chunks_stand_for_the_same_events(judge: Judge, stream: list[AnyEvent]) -> None:
    lines: Lines = {}
    ours: list[AnyEvent] = []
    for event in stream:
        whole, lines = expand(lines, event)
        ours += whole
    sent = [msgspec.json.decode(encode(event)) for event in stream]
    assert [msgspec.json.decode(encode(event)) for event in ours] == judge.expand(sent)


@pytest.mark.slow
@settings(SETTINGS, max_examples=20_000)
@given(events=on_the_wire())
def test_the_verdicts_agree_on_many_more(judge: Judge, events: list[dict[str, Any]]) -> None:
    compare(judge, events)


@SETTINGS
@given(stream=streams(legal=True))
def test_a_client_before_1_0_takes_what_is_sent_to_it(judge: Judge, stream: list[AnyEvent]) -> None:
    # a run that was stopped has failed there, so it cannot fail late; a session never sends that
    pairs = zip([None, *stream], stream, strict=False)
    stream = [event for before, event in pairs if not (isinstance(before, RunFinished) and isinstance(event, RunError))]
    sent = [msgspec.json.decode(one) for event in stream for one in wire(event, "0.x")]
    assert judge("old", sent).at is None


@pytest.mark.parametrize(
    "outcome", [-5, {}, {"type": "cancelled"}, {"type": "success"}, {"type": "suspended", "interruptIds": None}]
)
@pytest.mark.parametrize("kind", ["SUBAGENT_STARTED", "SUBAGENT_ERROR", "SUBAGENT_FINISHED"])
def test_the_client_looks_at_the_outcome_of_all_that_is_told_of_subagents(judge: Judge, kind: str, outcome: Any) -> None:
    about = {"subagentRunId": "s", "name": "s", "message": "m"}
    events = [{"type": "RUN_STARTED", "threadId": "t", "runId": "r"}]
    if kind != "SUBAGENT_STARTED":
        events.append({"type": "SUBAGENT_STARTED", **about})
    compare(judge, [*events, {"type": kind, **about, "outcome": outcome}])
