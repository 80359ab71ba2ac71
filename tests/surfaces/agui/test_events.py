"""The events as data: each reads as it was written, by the official packages too; and the library may be imported alone."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import ag_ui.core
import msgspec
import pytest
from hypothesis import given, settings
from pydantic import TypeAdapter

from godwit.core.errors import InvalidArgument
from godwit.surfaces import agui
from godwit.surfaces.agui import decode, encode, event_of
from godwit.surfaces.agui.events import EVENT_TYPES, AnyEvent, Cancelled, RunFinished, RunStarted, Success
from godwit.surfaces.agui.seed_events import SeedInterrupt, SeedRunFinished
from tests.patience import PATIENCE_S

from .judge import Judge, judge
from .streams import ANY_EVENT

__all__ = ["judge"]


@settings(max_examples=300, deadline=None)
@given(event=ANY_EVENT)
def test_an_event_reads_as_it_was_written(event: AnyEvent) -> None:
    assert decode(encode(event)) == event
    assert event_of(msgspec.json.decode(encode(event))) == event
    assert event_of(event) is event
    absent = {key for key, value in msgspec.json.decode(encode(event)).items() if value is None}
    assert absent <= {"snapshot", "event", "value"}, "a null stands only where the protocol asks for a value"


def test_a_run_that_says_no_outcome_has_one() -> None:
    """As all did before there were outcomes."""
    run = {"type": "RUN_FINISHED", "threadId": "t", "runId": "r"}
    finished = event_of(run)
    assert isinstance(finished, RunFinished)
    assert (finished.outcome, finished.effective_outcome) == (None, Success())
    cancelled = event_of({**run, "outcome": {"type": "cancelled"}})
    assert isinstance(cancelled, RunFinished)
    assert cancelled.effective_outcome == Cancelled()
    old = SeedRunFinished(thread_id="t", run_id="r")
    assert old.effective_outcome == "SUCCESS"
    assert msgspec.structs.replace(old, interrupt=SeedInterrupt()).effective_outcome == "INTERRUPT"
    assert msgspec.structs.replace(old, outcome="INTERRUPT").effective_outcome == "INTERRUPT"


OFFICIAL: TypeAdapter[Any] = TypeAdapter(ag_ui.core.Event)


@settings(max_examples=300, deadline=None)
@given(event=ANY_EVENT)
def test_the_official_package_reads_and_writes_the_same(event: AnyEvent) -> None:
    model = OFFICIAL.validate_json(encode(event))
    assert model.type.value == event.type
    read = event_of(model)
    if isinstance(event, RunStarted) and isinstance(read, RunStarted):
        read = msgspec.structs.replace(read, input=event.input)  # it writes absent lists of tools as empty ones there
    assert read == event


@pytest.mark.parametrize("body", [b"", b"{}", b'{"type":"NEWS"}', b'{"type":"TEXT_MESSAGE_START"}', b"[]"])
def test_what_is_no_event_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidArgument, match=r"no event of AG-UI 1\.0"):
        decode(body)


def test_every_type_of_the_official_client_is_there(judge: Judge) -> None:
    """By its own schemas: each type of ours is one of theirs, and no other is taken."""
    types = {str(cls.__struct_config__.tag) for cls in EVENT_TYPES.values()}
    assert len(types) == 31
    start = {"type": "RUN_STARTED", "threadId": "t", "runId": "r"}
    for kind in sorted(types):
        assert "No matching discriminator" not in judge("new", [start, {"type": kind}]).why
    assert "No matching discriminator" in judge("new", [start, {"type": "THINKING_START"}]).why


def test_every_name_is_there_and_loads_little() -> None:
    """The library needs msgspec and jsonpatch: no web framework, no package of the protocol, nothing else of godwit."""
    program = """
import sys
import godwit.surfaces.agui as agui
assert not [m for m in sys.modules if m.startswith("godwit.surfaces.agui.")], "nothing is loaded yet"
for name in agui.__all__:
    getattr(agui, name)
own = {m for m in sys.modules if m.split(".")[0] == "godwit" and not m.startswith("godwit.surfaces.agui")}
words = {m for m in own if m == "godwit.core" or m.startswith("godwit.core.")}  # which load nothing but msgspec themselves
assert own - words == {"godwit", "godwit.surfaces"}, own
assert "godwit.core.events" not in own, "errors need few of them"
heavy = {"pydantic", "starlette", "fastapi", "mcp", "uvicorn", "websockets", "ag_ui", "httpx", "httpx2", "pydantic_ai"}
assert not heavy & {m.split(".")[0] for m in sys.modules}
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=PATIENCE_S)


def test_names_are_listed_and_others_refused() -> None:
    assert set(agui.__all__) == set(dir(agui))
    missing: Any = agui
    with pytest.raises(AttributeError, match="has no attribute 'Nothing'"):
        missing.Nothing  # noqa: B018
