"""States and patches: what is made of two states is what turns one into the other, and a session tells just that."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import jsonpatch
import msgspec
import pydantic
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from godwit.core.errors import IllegalStream, InvalidArgument
from godwit.surfaces.agui import (
    AgentSession,
    PatchBuilder,
    StateManager,
    TypedStateManager,
    apply_patch,
    can_apply,
    create_patch,
    events as e,
    merge_patches,
    verify,
)

from .judge import Judge, judge
from .recorded import Gone, Recorded

__all__ = ["judge"]
SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 3), st.sampled_from([0.0, 1.0, 1.5]), st.text('ab~/"é', max_size=3)
)
JSON = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text("ab~/0-", max_size=2), inner, max_size=4)),
    max_leaves=12,
)


_encoder = msgspec.json.Encoder(order="deterministic")


def same(one: Any, other: Any) -> bool:
    """The same JSON, where 1, 1.0 and true are three things and Python has one."""
    return _encoder.encode(one) == _encoder.encode(other)


# --- patches ---------------------------------------------------------------------------------------------------------


@settings(max_examples=300, deadline=None)
@given(old=JSON, new=JSON)
def test_a_patch_makes_the_new_of_the_old(old: Any, new: Any) -> None:
    before = msgspec.json.encode([old, new])
    patch = create_patch(old, new)
    assert same(apply_patch(old, patch), new)
    assert (patch == []) == same(old, new)
    assert msgspec.json.encode([old, new]) == before, "nothing that was given is changed"
    verify([e.RunStarted(thread_id="t", run_id="r"), e.StateDelta(delta=patch)], complete=False)


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(old=JSON, new=JSON)
def test_a_front_end_makes_the_same_of_a_patch(judge: Judge, old: Any, new: Any) -> None:
    made = judge.patched(old, create_patch(old, new))
    assert _as_numbers(made) == _as_numbers(new)


def _as_numbers(value: Any) -> Any:
    """JavaScript has one kind of number, and no order of keys is meant."""
    match value:
        case bool() | str() | None:
            return (type(value).__name__, value)
        case dict():
            return {key: _as_numbers(one) for key, one in value.items()}
        case list():
            return [_as_numbers(one) for one in value]
        case _:
            return float(value)


@pytest.mark.parametrize(
    ("old", "new"), [({"a": 1}, {"a": True}), ([0, False], [False, 0]), ({"a": 1}, {"a": 1.0}), ([1, 2], [True, 2])]
)
def test_what_python_takes_for_the_same_and_json_does_not(old: Any, new: Any) -> None:
    patch = create_patch(old, new)
    assert patch
    assert same(apply_patch(old, patch), new)


def test_a_small_change_is_a_small_patch() -> None:
    old = {"items": [{"done": False} for _ in range(100)]}
    new = msgspec.json.decode(msgspec.json.encode(old))
    new["items"][50]["done"] = True
    assert create_patch(old, new) == [{"op": "replace", "path": "/items/50/done", "value": True}]


@pytest.mark.parametrize(
    "patch",
    [
        [{"op": "remove", "path": "/nothing"}],
        [{"op": "replace", "path": "/nothing", "value": 1}],
        [{"op": "add", "path": "/a/b", "value": 1}],
        [{"op": "add", "path": "/list/9", "value": 1}],
        [{"op": "add", "path": "/list/x", "value": 1}],
        [{"op": "test", "path": "/a", "value": True}],
        [{"op": "test", "path": "/nothing", "value": 1}],
        [{"op": "add", "path": "no pointer", "value": 1}],
        [{"op": "move", "from": "/list", "path": "/list/0"}],
        [{"op": "multiply", "path": "/a"}],
        [{"op": "copy", "from": "/nothing", "path": "/a"}],
        {"op": "add"},
    ],
)
def test_a_patch_that_does_not_apply_changes_nothing(patch: Any) -> None:
    state = {"a": 1, "list": [1]}
    whole = [{"op": "replace", "path": "/a", "value": 5}, *patch] if isinstance(patch, list) else patch
    assert not can_apply(state, whole)
    with pytest.raises(InvalidArgument):
        apply_patch(state, whole)
    assert state == {"a": 1, "list": [1]}


def test_a_patch_by_hand() -> None:
    patch = (
        PatchBuilder()
        .test("/a", 1)
        .add("/b", {"c": [1]})
        .copy("/b/c", "/d")
        .move("/a", "/e~1f")
        .replace("/b/c/0", 2)
        .remove("/d/0")
        .build()
    )
    assert can_apply({"a": 1}, patch)
    assert apply_patch({"a": 1}, patch) == {"b": {"c": [2]}, "d": [], "e/f": 1}
    assert jsonpatch.apply_patch({"a": 1}, patch) == apply_patch({"a": 1}, patch)
    with pytest.raises(InvalidArgument, match="no operation"):
        PatchBuilder().add("b", 1)


def test_patches_one_after_the_other_are_one() -> None:
    one, two = create_patch({}, {"a": 1}), create_patch({"a": 1}, {"a": [1]})
    assert apply_patch({}, merge_patches(one, two)) == {"a": [1]}


# --- managers --------------------------------------------------------------------------------------------------------


def test_a_state_counts_its_changes() -> None:
    manager = StateManager({"a": 1})
    assert (manager.current, manager.version) == ({"a": 1}, 0)
    assert manager.update({"a": 1}) is None
    assert manager.version == 0
    patch = manager.update({"a": 2})
    assert patch is not None
    assert apply_patch({"a": 1}, patch) == manager.snapshot() == {"a": 2}
    assert manager.version == 1
    manager.reset({"a": 2})
    assert (manager.current, manager.version) == ({"a": 2}, 2)
    assert StateManager().current == {}


def test_a_state_is_changed_by_a_function() -> None:
    manager = StateManager({"list": []})

    def add(state: Any) -> None:
        state["list"].append(1)

    assert manager.update_with(add) == [{"op": "add", "path": "/list/0", "value": 1}]
    assert manager.update_with(lambda state: {**state, "b": None}) == [{"op": "add", "path": "/b", "value": None}]
    assert manager.update_with(lambda _: None) is None
    assert (manager.current, manager.version) == ({"list": [1], "b": None}, 2)


def test_a_state_is_not_changed_from_outside() -> None:
    given_state: dict[str, Any] = {"list": []}
    manager = StateManager(given_state)
    given_state["list"].append(1)
    manager.current["list"].append(2)
    manager.snapshot()["list"].append(3)
    assert manager.current == {"list": []}


def test_what_is_no_json_is_no_state() -> None:
    manager = StateManager({"a": 1})
    with pytest.raises(InvalidArgument, match="no JSON"):
        manager.update({"a": object()})
    assert manager.current == {"a": 1}


class Struct(msgspec.Struct):
    count: int = 0
    names: list[str] = []


@dataclass
class Data:
    count: int = 0
    names: list[str] = field(default_factory=list)


class Model(pydantic.BaseModel):
    count: int = 0
    names: list[str] = []


@pytest.mark.parametrize("kind", [Struct, Data, Model])
def test_a_state_of_a_type(kind: Any) -> None:
    manager = TypedStateManager(kind(count=1))
    assert (manager.current, manager.version) == (kind(count=1), 0)
    assert manager.as_json() == manager.snapshot() == {"count": 1, "names": []}
    assert manager.update(kind(count=1)) is None

    def grow(state: Any) -> None:
        state.count += 1
        state.names.append("a")

    patch = manager.update_with(grow)
    assert patch is not None
    assert apply_patch({"count": 1, "names": []}, patch) == {"count": 2, "names": ["a"]}
    assert (manager.current, manager.version) == (kind(count=2, names=["a"]), 1)
    manager.reset(kind())
    assert (manager.current, manager.version) == (kind(), 2)


@pytest.mark.parametrize("kind", [Struct, Data, Model])
def test_a_state_that_is_not_of_its_type_is_refused(kind: Any) -> None:
    manager = TypedStateManager(kind())
    manager.reset({"count": "many"})
    with pytest.raises(InvalidArgument, match=r"no (Struct|Data|Model)"):
        _ = manager.current


# --- the state of a session ------------------------------------------------------------------------------------------


async def test_a_session_tells_its_state_whole_and_then_as_patches() -> None:
    producer = Recorded()
    session = AgentSession(producer, state=Struct())
    await session.start_run()
    await session.state.update(Struct(count=1))
    await session.state.update(Struct(count=1))  # nothing has changed

    def count(state: Struct) -> None:
        state.count += 1

    await session.state.update_with(count)
    assert (session.state.current, session.state.version) == (Struct(count=2), 2)
    assert session.state.snapshot() == {"count": 2, "names": []}
    await session.state.reset(Struct())
    assert (session.state.current, session.state.version) == (Struct(), 3)
    await session.finish_run()
    assert producer.events[1:-1] == [
        e.StateSnapshot(snapshot={"count": 1, "names": []}),
        e.StateDelta(delta=[{"op": "replace", "path": "/count", "value": 2}]),
        e.StateSnapshot(snapshot={"count": 0, "names": []}),
    ]
    verify(producer.events)


async def test_a_state_that_was_told_anew_is_changed_by_patches() -> None:
    producer = Recorded()
    session = AgentSession(producer, state={"a": 1})
    await session.start_run()
    await session.state.reset({"a": 1})
    await session.state.update({"a": 2})
    assert producer.types == ["RUN_STARTED", "STATE_SNAPSHOT", "STATE_DELTA"]


async def test_a_new_run_begins_with_the_whole_state() -> None:
    """The front end may have changed what it has in the meantime."""
    producer = Recorded()
    session = AgentSession(producer)
    for _ in range(2):
        await session.start_run()
        await session.state.update({"a": 1})
        await session.finish_run()
    assert [type(event) for event in producer.events if "STATE" in event.type] == [e.StateSnapshot] * 2


async def test_a_state_that_could_not_be_told_is_not_taken() -> None:
    producer = Recorded()
    session = AgentSession(producer, state={"a": 1})
    with pytest.raises(IllegalStream):
        await session.state.update({"a": 2})  # no run
    await session.start_run()
    for told in (False, True):
        producer.fails = 1
        with pytest.raises(Gone):
            await session.state.update({"a": 3})
        producer.fails = 1
        with pytest.raises(Gone):
            await session.state.reset({"a": 3})
        assert session.state.current == ({"a": 2} if told else {"a": 1})
        await session.state.update({"a": 2})
    state: Any = None
    for event in producer.events:
        match event:
            case e.StateSnapshot(snapshot=state):
                pass
            case e.StateDelta(delta=patch):
                state = apply_patch(state, patch)
            case _:
                pass
    assert state == session.state.current == {"a": 2}
