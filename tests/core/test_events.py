"""Events as bytes: what is written comes back, and what is not understood stays as it is."""

from __future__ import annotations

import json

import msgspec
import pytest
from hypothesis import given, settings, strategies as st
from tests.core.walk import ANY_EVENT, JSON

from godwit.core.events import (
    EVENT_TYPES,
    OUTSIDE_TYPES,
    Draft,
    Event,
    RunStarted,
    SessionOpened,
    Unknown,
    UserMessage,
    decode,
    encode,
    type_of,
)
from godwit.core.ids import InputId, RunId, SessionId
from godwit.core.messages import Text

S = SessionId("s-1")


def stored(body: bytes, *, run: str | None = None) -> Event:
    data = decode(body)
    return Event(S, 7, 1234, RunId(run) if run else None, type_of(data), body)


@pytest.mark.parametrize("name", sorted(EVENT_TYPES))
@given(draw=st.data())
@settings(max_examples=15)
def test_every_type_comes_back_as_it_was_written(name: str, draw: st.DataObject) -> None:
    data = draw.draw(ANY_EVENT[name])
    body = encode(data)
    assert decode(body) == data
    assert encode(decode(body)) == body
    assert body.startswith(b'{"type":"' + name.encode() + b'"')
    plain = json.loads(body)
    frame = json.loads(stored(body, run="r-1").frame(), object_pairs_hook=unique)
    assert frame == {"seq": 7, "at": 1234, "session": "s-1", "run": "r-1"} | plain


def unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    assert len({k for k, _ in pairs}) == len(pairs), f"a key stands twice: {pairs}"
    return dict(pairs)


@given(st.dictionaries(st.text(max_size=8).filter(lambda k: k not in ("type", "seq", "at", "session", "run")), JSON))
@settings(max_examples=40)
def test_an_unknown_type_is_kept_to_the_byte(fields: dict[str, object]) -> None:
    body = json.dumps({"type": "future.happened", **fields}, indent=1).encode()
    data = decode(body)
    assert data == Unknown("future.happened", body)
    assert encode(data) == body
    assert Draft(data, at_ms=1).body == body
    e = stored(body, run="r-1")
    assert e.frame().endswith(body[1:])
    assert json.loads(e.frame()) == {
        "seq": 7,
        "at": 1234,
        "session": "s-1",
        "run": "r-1",
        "type": "future.happened",
        **fields,
    }


def test_fields_of_a_newer_version_survive_beside_the_known_ones() -> None:
    body = b'{"type":"session.opened","host":"h","lamp":{"on":true,"lumen":1.50}}'
    e = stored(body)
    assert e.data == SessionOpened("h")
    assert e.frame().endswith(body[1:])


@pytest.mark.parametrize(
    "body",
    [b'{"type":"session.rewound"}', b'{"type":"run.claimed","run":1,"attempt":"x"}', b'{"type":"user.message","id":"i"}'],
)
def test_a_known_type_in_another_shape_is_kept_as_unknown(body: bytes) -> None:
    data = decode(body)
    assert isinstance(data, Unknown)
    assert (data.type, data.body) == (json.loads(body)["type"], body)


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"{}", b'{"type":3}'])
def test_bytes_that_are_no_event_are_an_error(body: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        decode(body)


def test_a_draft_is_encoded_once_and_an_event_decoded_on_use() -> None:
    message = UserMessage(InputId("i"), (Text("hé"),))
    draft = Draft(message, at_ms=5, run=RunId("r"))
    assert (draft.type, draft.body) == ("user.message", encode(message))
    e = Event(S, 1, draft.at_ms, draft.run, draft.type, draft.body)
    assert e.data == message
    assert e.data is e.data
    assert e == Event(S, 1, 99, draft.run, draft.type, draft.body, message)  # times are no part of what an event says
    assert e != Event(S, 2, 5, draft.run, draft.type, draft.body)


def test_the_run_stands_once_in_a_frame() -> None:
    frame = stored(encode(RunStarted(RunId("r-1"))), run="r-1").frame()
    assert frame.count(b'"run":') == 1
    assert json.loads(frame)["run"] == "r-1"


def test_each_type_has_one_name_and_inputs_come_from_outside() -> None:
    assert all(name == str(cls.__struct_config__.tag) for name, cls in EVENT_TYPES.items())
    assert {cls for name, cls in EVENT_TYPES.items() if name.startswith("user.")} <= set(OUTSIDE_TYPES)
