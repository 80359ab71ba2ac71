"""Ids of events and threads, as this protocol writes them.

An event's id says where it comes from: the session (a digest of it), a seq of its log and an index. So it is the same in a
list, on a stream and after a restart, no table is kept, and an id that arrives leads straight to what it names. Indices
below `OF_MODEL` number what one of our events becomes; from there on they are about the model request that started at that
seq, whose events have to have their ids before it is known where they will stand.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from functools import lru_cache

from ...core.ids import Seq, SessionId

OF_MODEL = 256
SPAN_START = OF_MODEL
THINKING = OF_MODEL + 1
MESSAGE = OF_MODEL + 2
SPAN_END = OF_MODEL + 3
_CALLS = OF_MODEL + 4
_PREFIX = "sevt_"
_LENGTH = 24
_MOST = (1 << 16) - 1


_ALPHABET = "abcdefghijklmnopqrstuvwxyz234567"
_PAIRS = [a + b for a in _ALPHABET for b in _ALPHABET]


@lru_cache(maxsize=4096)
def _digest(session: SessionId) -> bytes:
    return hashlib.blake2b(session.encode(), digest_size=7).digest()


@lru_cache(maxsize=4096)
def _beginning(session: SessionId) -> tuple[str, int]:
    """How all ids of the session begin, and the one bit of the digest that stands in the character behind it."""
    digest = int.from_bytes(_digest(session), "big")
    return _PREFIX + "".join(_ALPHABET[digest >> shift & 31] for shift in range(51, 0, -5)), (digest & 1) << 64


def event_id(session: SessionId, seq: Seq, index: int) -> str:
    """The id of the event of this index that comes from this seq."""
    # Base 32 by hand, as a page of events has hundreds of them: the digest's part is made once.
    beginning, bit = _beginning(session)
    n = bit | seq << 16 | min(index, _MOST)
    return (
        f"{beginning}{_PAIRS[n >> 55]}{_PAIRS[n >> 45 & 1023]}{_PAIRS[n >> 35 & 1023]}"
        f"{_PAIRS[n >> 25 & 1023]}{_PAIRS[n >> 15 & 1023]}{_PAIRS[n >> 5 & 1023]}{_ALPHABET[n & 31]}"
    )


def place_of_id(session: SessionId, id: str) -> tuple[Seq, int] | None:  # noqa: A002 - the field's name
    """Seq and index of an event of this session; None when the id is none of its."""
    coded = id.removeprefix(_PREFIX)
    if len(coded) != _LENGTH or len(id) != _LENGTH + len(_PREFIX) or coded != coded.lower():
        return None
    try:
        packed = base64.b32decode(coded.upper())
    except (binascii.Error, ValueError):
        return None
    if packed[:7] != _digest(session):
        return None
    return Seq(int.from_bytes(packed[7:13], "big")), int.from_bytes(packed[13:], "big")


def call_index(number: int, *, handed_out: bool = False) -> int:
    """The index of a model's call, counted from 0. `handed_out`: of its second event, when a call that was asked about
    first is then given to the client."""
    return _CALLS + 2 * number + handed_out


def call_number(index: int) -> int | None:
    """The call that this index is about; None when it is about none."""
    return (index - _CALLS) // 2 if index >= _CALLS else None


def is_handed_out(index: int) -> bool:
    """Whether it is that of a call's second event."""
    return index >= _CALLS and (index - _CALLS) % 2 == 1


def thread_id(session: SessionId) -> str:
    """The id of a session's one thread."""
    return "sthr_" + session.removeprefix("ses_")
