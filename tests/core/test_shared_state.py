"""The shared state: what patches make of a value, what is refused, and what of it the fold and the transcript know."""

from __future__ import annotations

import contextlib
import copy
import time
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings, strategies as st
from tests.core.walk import CREATED, JSON, Walk

from godwit.core.agent import AgentRef
from godwit.core.errors import InvalidArgument, PatchFailed
from godwit.core.events import (
    AgentMessage,
    EventData,
    InputDelivered,
    ModelStarted,
    RunClaimed,
    RunFinished,
    RunStarted,
    SessionCompacted,
    SessionForked,
    SessionRewound,
    StateUpdated,
    ToolFinished,
    ToolStarted,
    TurnFinished,
    TurnStarted,
    UserMessage,
    decode,
    encode,
)
from godwit.core.ids import AgentName, CallId, InputId, MessageId, RunId, SessionId
from godwit.core.messages import Assistant, Text, ToolCall, text_of
from godwit.core.shared_state import (
    STATE_BYTES,
    STATE_OPERATIONS,
    STATE_TOOL,
    TOLD_CHARACTERS,
    PatchOperation,
    at_pointer,
    folded,
    patch_of,
    patched,
    same,
    state_change,
    state_text,
    state_told,
    state_value,
)

LETTER = {"title": "Letter", "lines": ["Dear", "all"], "a/b": {"m~n": 1}, "": 0}


def op(kind: str, path: str, value: Any = msgspec.UNSET, *, origin: str | None = None) -> dict[str, Any]:
    made: dict[str, Any] = {"op": kind, "path": path}
    if value is not msgspec.UNSET:
        made["value"] = value
    return made if origin is None else {**made, "from": origin}


@pytest.mark.parametrize(
    ("value", "operations", "made"),
    [
        (LETTER, [op("replace", "/title", None)], {**LETTER, "title": None}),
        (LETTER, [op("add", "/lines/0", "!")], {**LETTER, "lines": ["!", "Dear", "all"]}),
        (LETTER, [op("add", "/lines/2", "!")], {**LETTER, "lines": ["Dear", "all", "!"]}),
        (LETTER, [op("add", "/lines/-", ["!"])], {**LETTER, "lines": ["Dear", "all", ["!"]]}),
        (LETTER, [op("add", "/a~1b/m~0n", 2)], {**LETTER, "a/b": {"m~n": 2}}),
        (LETTER, [op("replace", "/", 5)], {**LETTER, "": 5}),
        (LETTER, [op("remove", "/lines/1")], {**LETTER, "lines": ["Dear"]}),
        (LETTER, [op("move", "/lines/0", origin="/lines/1")], {**LETTER, "lines": ["all", "Dear"]}),
        (LETTER, [op("move", "/title", origin="/title")], LETTER),
        (LETTER, [op("copy", "/lines/-", origin="/lines")], {**LETTER, "lines": ["Dear", "all", ["Dear", "all"]]}),
        (LETTER, [op("test", "/a~1b", {"m~n": 1.0}), op("test", "/lines", ["Dear", "all"])], LETTER),
        (LETTER, [op("test", "", LETTER), op("replace", "", [1])], [1]),
        (LETTER, [op("remove", ""), op("add", "/new", 1)], {"new": 1}),
        (LETTER, [op("copy", "", origin="/lines"), op("add", "/1", "dear")], ["Dear", "dear", "all"]),
        ({"a": 1}, [op("remove", "/a")], None),
        (None, [op("add", "/a", {}), op("add", "/a/b", [])], {"a": {"b": []}}),
        ([[0]], [op("replace", "/0/0", 1)], [[1]]),
    ],
)
def test_a_patch_makes_another_value_and_leaves_the_one_before(value: Any, operations: list[Any], made: Any) -> None:
    before = copy.deepcopy(value)
    assert patched(value, patch_of(operations)) == made
    assert value == before


@pytest.mark.parametrize(
    ("operations", "says"),
    [
        (
            [op("replace", "/titel", 1)],
            "operation 1 .replace '/titel'.: there is no 'titel': the object there has 'title', 'lines'",
        ),
        ([op("add", "/x/y", 1)], "there is no 'x'"),
        ([op("remove", "/lines/2")], "the list there has 2 items, so it has no place '2'"),
        ([op("add", "/lines/3", 1)], "the list there has 2 items, so it has no place '3'"),
        ([op("add", "/lines/01", 1)], "no place '01'"),
        ([op("replace", "/lines/-", 1)], "no place '-'"),
        ([op("remove", "/lines/x")], "no place 'x'"),
        ([op("add", "/title/x", 1)], 'what should hold it is "Letter", which holds nothing'),
        ([op("remove", "/title/x/y")], "there is no 'x' in \"Letter\", which holds nothing"),
        ([op("test", "/title", "letter")], 'the value there is "Letter"'),
        ([op("test", "/a~1b/m~0n", True)], "the value there is 1"),
        ([op("move", "/lines/0", origin="/lines")], "nothing is moved into itself"),
        ([op("copy", "/x", origin="/y")], "there is no 'y'"),
        ([op("add", "/ok", 1), op("remove", "/ok"), op("remove", "/ok")], "operation 3"),
    ],
)
def test_a_patch_that_does_not_fit_says_why_and_changes_nothing(operations: list[Any], says: str) -> None:
    value = copy.deepcopy(LETTER)
    with pytest.raises(PatchFailed, match=says):
        patched(value, patch_of(operations))
    assert value == LETTER
    assert folded(value, patch_of(operations), None) is value


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("add", "a patch is a list"),
        ({"op": "add"}, "a patch is a list"),
        ([1], "operation 1 is an object with `op` and `path`, not int"),
        ([{"path": "/a"}], "op None is none of add, remove, replace"),
        ([op("put", "/a", 1)], "op 'put' is none of"),
        ([op("add", "/a")], "operation 1: add needs a `value`"),
        ([{"op": "remove"}], "remove needs `path`"),
        ([op("copy", "/a")], "copy needs `from`"),
        ([op("remove", "a")], "path 'a': a path begins with '/'"),
        ([op("remove", "/a~2")], "'~' is written ~0"),
        ([op("add", "/a", object())], "the value of operation 1 cannot be stored as JSON"),
        ([op("remove", "/a")] * (STATE_OPERATIONS + 1), "at most 1,000 operations"),
        ([op("add", "/a", "x" * STATE_BYTES)], "has 262,146 bytes as JSON, and may have 262,144"),
        ([op("add", "/a", "x" * 200_000), op("add", "/b", "x" * 100_000)], "the patch has 300,.* bytes"),
    ],
)
def test_what_is_no_patch_is_refused(given: Any, says: str) -> None:
    with pytest.raises(InvalidArgument, match=says):
        patch_of(given)


def test_a_patch_can_make_nothing_huge_or_endless_whatever_it_copies() -> None:
    """A list that is copied into itself doubles with every operation."""
    doubling = patch_of([op("copy", "/a/-", origin="/a") for _ in range(900)])
    began = time.process_time()
    with pytest.raises(InvalidArgument, match="larger than 262,144 bytes"):
        patched({"a": ["x" * 100]}, doubling)
    value = {"a": ["x" * 100]}
    assert folded(value, doubling, None) is value
    with pytest.raises(InvalidArgument, match="nests the shared state more than 64 deep"):
        patched({"a": {}}, patch_of([op("add", "/a" * (n + 2), {}) for n in range(70)]))
    with pytest.raises(InvalidArgument, match="nested more than 64 deep"):
        state_value(_nested(65))
    # Much work within the bounds: a large part is copied to and fro as often as a patch may.
    to_and_fro = [op("copy", "/b", origin="/a")] * STATE_OPERATIONS
    assert patched({"a": ["x" * 60_000, *range(5_000)]}, patch_of(to_and_fro))
    assert time.process_time() - began < 20


def _nested(depth: int) -> Any:
    value: Any = 0
    for _ in range(depth):
        value = [value]
    return value


def test_equal_is_what_json_says() -> None:
    assert same({"a": 1, "b": [1.0]}, {"b": [1], "a": 1})
    assert not same(True, 1)
    assert not same([0], [False])
    assert not same({"a": 1}, {"a": 1, "b": None})
    assert not same("1", 1)
    assert not same(None, {})


def test_how_it_is_shown() -> None:
    assert state_text(None) == "{}"
    assert state_text({"a": [1, None]}) == '{"a":[1,null]}'
    long = state_text({"text": "x" * 20_000})
    assert long.startswith('{"text":"xxx')
    assert long.endswith("[... the first 16,384 of 20,011 characters; update_state with `show` shows what stands at a path]")
    assert len(long) < TOLD_CHARACTERS + 120
    assert at_pointer(LETTER, "/lines/1") == "all"
    assert at_pointer(None, "") == {}
    with pytest.raises(InvalidArgument, match="path '/lines/2': the list there has 2 items"):
        at_pointer(LETTER, "/lines/2")
    with pytest.raises(InvalidArgument, match="a path begins with"):
        at_pointer(LETTER, "lines")
    patch = patch_of([op("replace", "/title", "B"), op("move", "/x", origin=""), op("remove", "")])
    assert state_change(patch, None) == 'replace /title: "B", move /x from the whole, remove the whole'
    assert state_change((), {"a": 1}) == '{"a":1}'


def test_an_event_comes_back_as_it_was() -> None:
    data = StateUpdated(patch_of([op("add", "/a", None), op("remove", "/b"), op("move", "/c", origin="/d")]), tell=True)
    body = encode(data)
    assert decode(body) == data
    assert msgspec.json.decode(body)["patch"] == [
        {"op": "add", "path": "/a", "value": None},
        {"op": "remove", "path": "/b"},
        {"op": "move", "path": "/c", "from": "/d"},
    ]


# --- against another implementation -----------------------------------------------------------------------------------

NAMES = ("a", "b", "0", "1", "-", "", "x/y", "m~n")
POINTERS = st.lists(st.sampled_from(("a", "b", "0", "1", "2", "-", "", "x~1y", "m~0n", "01")), max_size=3).map(
    lambda tokens: "".join(f"/{token}" for token in tokens)
)
SMALL = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2) | st.sampled_from(("", "s")),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=3),
    max_leaves=8,
)
OPERATIONS = st.one_of(
    st.builds(lambda kind, path, value: op(kind, path, value), st.sampled_from(("add", "replace", "test")), POINTERS, SMALL),
    st.builds(lambda path: op("remove", path), POINTERS.filter(bool)),
    st.builds(
        lambda kind, path, origin: op(kind, path, origin=origin), st.sampled_from(("move", "copy")), POINTERS, POINTERS
    ),
)


REFUSED = object()


@given(SMALL.filter(lambda value: value is not None), st.lists(OPERATIONS, min_size=1, max_size=4))
@settings(max_examples=300, deadline=None)
def test_a_patch_is_done_as_another_implementation_does_it(value: Any, operations: list[dict[str, Any]]) -> None:
    """And refused as it refuses it; but the whole is nothing that it takes away."""
    jsonpatch = pytest.importorskip("jsonpatch")
    before = copy.deepcopy(value)
    made: Any = REFUSED
    theirs: Any = REFUSED
    with contextlib.suppress(PatchFailed):
        made = patched(value, patch_of(operations))
    assert value == before, "what was given stays as it is"
    with contextlib.suppress(Exception):
        theirs = jsonpatch.apply_patch(before, operations)
        theirs = None if theirs == {} else theirs
    assert (made is REFUSED) == (theirs is REFUSED)
    assert made is REFUSED or same(made, theirs)


# --- in a session -----------------------------------------------------------------------------------------------------

STEPS = st.lists(
    st.tuples(
        st.sampled_from(["set", "patch", "misfit", "rewind", "fork", "say", "turn", "compact", "at_once"]),
        st.integers(0, 10**6),
    ),
    min_size=1,
    max_size=25,
)


@given(STEPS)
@settings(max_examples=200, deadline=None)
def test_it_goes_back_with_a_rewind_and_along_with_a_fork_and_its_model_knows_it(steps: list[tuple[str, int]]) -> None:
    """Whatever is changed, gone back to and forked from, the fold has the value of where the conversation stands; and a
    model that is spoken to has last read just that one."""
    walk = Walk()
    walk.take(CREATED)
    values: list[Any] = [None, None]  # by seq, as they should be

    def take(data: EventData) -> None:
        walk.take(data)
        values.append(values[-1])

    def change(data: StateUpdated, made: Any) -> None:
        take(data)
        values[-1] = made

    for kind, number in steps:
        head = walk.state.seq
        match kind:
            case "set":
                value = {"n": number % 5, "list": []} if number % 3 else None
                change(StateUpdated(value=value or {}, tell=True), value)
            case "patch" if values[-1] is not None:
                made = {**values[-1], "n": number, "list": [*values[-1]["list"], number % 7]}
                patch = patch_of([op("replace", "/n", number), op("add", "/list/-", number % 7)])
                change(StateUpdated(patch, sender="ann", tell=True), made)
            case "misfit":
                take(StateUpdated(patch_of([op("replace", "", 1), op("remove", "/nothing")]), tell=True))
            case "rewind" if walk.state.run is None:
                to = 1 + number % head
                if walk.events[to - 1].type not in ("user.message", "input.delivered"):
                    take(SessionRewound(to, shared=values[to]))
                    values[-1] = values[to]
            case "fork":
                to = 1 + number % head
                forked = Walk()
                for one in walk.events[:to]:
                    forked.take(one.data)
                if forked.state.run is None:
                    walk = forked
                    del values[to + 1 :]
                    take(SessionForked(SessionId("origin"), AgentRef(AgentName("coder"), 1)))
            case "compact":
                take(SessionCompacted("so far", 1 + number % head))
            case "say" | "turn" | "at_once":
                _say(walk, take, change, values, kind, number)
            case _:
                pass
        assert walk.state.shared == values[-1]
        assert walk.transcript._shared == values[-1]


def _say(walk: Walk, take: Any, change: Any, values: list[Any], kind: str, number: int) -> None:
    """A run: something is said, and perhaps the model changes the state, or room is made."""
    n = walk.state.seq
    run, said = RunId(f"r{n}"), InputId(f"i{n}")
    take(UserMessage(said, (Text("go"),), "prompt"))
    take(RunStarted(run, said))
    take(RunClaimed(run, 1, "w"))
    take(InputDelivered(said))
    _knows(walk, values[-1])
    known = values[-1]
    if kind == "turn":
        take(TurnStarted(walk.state.turns + 1))
        take(ModelStarted(MessageId(f"m{n}"), "p:m"))
        name = STATE_TOOL if number % 2 else "other"
        call = ToolCall(CallId(f"c{n}"), name, {})
        take(AgentMessage(Assistant(MessageId(f"m{n}"), (call,), stop="tool_use")))
        take(ToolStarted(call.id, name, {}, "k"))
        change(
            StateUpdated(value={"n": number, "list": ["model"]}, call=call.id, tell=True), {"n": number, "list": ["model"]}
        )
        known = values[-1] if name == STATE_TOOL else known
        shown = state_text(values[-1]) if name == STATE_TOOL else "done"
        take(ToolFinished(call.id, name, "ok", (Text(shown),)))
        if number % 5 == 0:
            change(StateUpdated(value={"n": -1, "list": []}, tell=True), {"n": -1, "list": []})
        before = len(walk.transcript.entries)
        take(TurnFinished(walk.state.turns))
        told = [text_of(e.message.content) for e in walk.transcript.entries[before:]][2:]
        # The result of its own tool has shown it to the model; what became of it since, or by another tool, is told.
        assert told == ([] if known == values[-1] else [state_told(values[-1])])
    elif kind == "at_once":
        take(TurnStarted(walk.state.turns + 1))
        take(SessionCompacted("so far", walk.state.seq + 1, trigger="threshold", at_once=True))
        take(TurnFinished(walk.state.turns))
        _knows(walk, values[-1])
    take(RunFinished(run, "done"))


def _knows(walk: Walk, value: Any) -> None:
    """The model has last read of this value, and a session that never had one says nothing of it."""
    texts = [text_of(e.message.content) for e in walk.transcript.entries]
    told = [t for t in texts if t.startswith(("[Shared state]", "{"))]
    if told:
        assert told[-1] in (state_told(value), state_text(value))
    else:
        assert value is None


def test_what_nobody_tells_is_not_told() -> None:
    walk = Walk()
    walk.take(CREATED)

    def take(data: EventData) -> None:
        walk.take(data)

    take(StateUpdated(value={"n": 1}))
    texts = _texts_of_run(walk, take)
    assert not any("Shared state" in text for text in texts)
    take(StateUpdated(patch_of([op("replace", "/n", 2)]), tell=True))
    assert _texts_of_run(walk, take)[-2] == state_told({"n": 2})
    before = _texts(walk)
    # Said again, nothing new is told, and what was told stays as it was to the letter.
    take(StateUpdated(value={"n": 2}, tell=True))
    after = _texts_of_run(walk, take)
    assert after[: len(before)] == before
    assert len(after) == len(before) + 1


def _texts(walk: Walk) -> list[str]:
    return [text_of(entry.message.content) for entry in walk.transcript.entries]


def _texts_of_run(walk: Walk, take: Any) -> Sequence[str]:
    n = walk.state.seq
    run, said = RunId(f"r{n}"), InputId(f"i{n}")
    for data in (
        UserMessage(said, (Text("go"),), "prompt"),
        RunStarted(run, said),
        RunClaimed(run, 1, "w"),
        InputDelivered(said),
    ):
        take(data)
    found = _texts(walk)
    take(RunFinished(run, "done"))
    return found


@given(
    JSON,
    st.lists(
        st.builds(
            PatchOperation,
            st.sampled_from(("add", "remove", "replace", "move", "copy", "test")),
            st.text(max_size=4),
            JSON,
            st.none() | st.text(max_size=4),
        ),
        max_size=3,
    ),
)
@settings(max_examples=300, deadline=None)
def test_the_fold_never_fails(value: Any, patch: list[PatchOperation]) -> None:
    """Whatever stands in an event, also what nobody writes."""
    before = copy.deepcopy(value)
    made = folded(value, tuple(patch), value)
    assert value == before
    assert msgspec.json.decode(msgspec.json.encode(made)) == made
