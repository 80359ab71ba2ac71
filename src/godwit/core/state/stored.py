"""The state as bytes, for snapshots."""

from __future__ import annotations

import msgspec

from .shape import State

_state_decoder = msgspec.json.Decoder(State)
SNAPSHOT_VERSION = 13
"""Grows whenever `State` changes its stored shape or its meaning; a snapshot of another version is rebuilt."""


def encode_state(state: State) -> bytes:
    # JSON, as the events it came from: a person's answer may hold numbers that msgpack has no room for.
    return msgspec.json.encode(state)


def decode_state(packed: bytes) -> State:
    """Raises msgspec.DecodeError when the bytes are no state of this version."""
    return _state_decoder.decode(packed)
