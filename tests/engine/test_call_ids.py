"""The ids of a conversation's calls are known, and each of its entries is read once."""

from __future__ import annotations

from typing import SupportsIndex, overload

from godwit.core.ids import CallId, MessageId
from godwit.core.messages import Assistant, Text, ToolCall, User
from godwit.core.transcript import Entry
from godwit.engine.call_ids import CallIds


class Read(list[Entry]):
    """Counts how often one of it is looked at."""

    looks = 0

    @overload
    def __getitem__(self, place: SupportsIndex) -> Entry: ...
    @overload
    def __getitem__(self, place: slice) -> list[Entry]: ...
    def __getitem__(self, place: SupportsIndex | slice) -> Entry | list[Entry]:
        self.looks += 1
        return super().__getitem__(place)


def answer(seq: int, *calls: str) -> Entry:
    blocks = [ToolCall(CallId(call), "look", {}) for call in calls]
    return Entry(Assistant(MessageId(f"m{seq}"), (Text("I look."), *blocks)), seq)


def test_what_was_read_is_not_read_again() -> None:
    ids, entries = CallIds(), Read()
    assert ids.of(entries) == set()
    entries += [Entry(User((Text("Look."),)), 1), answer(2, "a", "b"), answer(3)]
    assert ids.of(entries) == {"a", "b"}
    assert entries.looks == 3
    entries.append(answer(4, "c"))
    assert ids.of(entries) == {"a", "b", "c"}
    assert entries.looks == 4


def test_another_list_is_another_conversation() -> None:
    ids, entries = CallIds(), Read([answer(1, "a"), answer(2, "b")])
    assert ids.of(entries) == {"a", "b"}
    gone_back = Read([answer(1, "a"), answer(5, "d")])
    assert ids.of(gone_back) == {"a", "d"}
    assert ids.of(entries) == {"a", "b"}
