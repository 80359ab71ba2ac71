"""Properties of the projection over random legal histories: order, ids, and that it may begin at any place."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given, settings

from godwit.core.events import Event, UserMessage
from godwit.core.ids import Seq, SessionId
from godwit.surfaces.managed_agents.event_ids import call_index, call_number, event_id, place_of_id
from godwit.surfaces.managed_agents.projected import Place, Projected
from godwit.surfaces.managed_agents.projection import BASES, Projector
from tests.core.walk import CREATED, Walk, picker, walks
from tests.surfaces.managed_agents.legal import check

BEHIND = 1 << 31
SESSION_OF_OTHERS = event_id(SessionId("ses_other"), Seq(5), call_index(0))
"""An event of a session that is another's."""


def project(events: Sequence[Event], after: Place = (0, BEHIND), *, rest: bool = True) -> list[Projected]:
    """What comes behind a place, folded from the last base before it."""
    upto = after[0] if after[1] == BEHIND else after[0] - 1
    base = next((e for e in reversed(events[:upto]) if e.type in BASES), None)
    projector = Projector(events[0].session, "coder", None if base is None else base.data)
    shown: list[Projected] = []
    for event in events[base.seq if base is not None else 0 :]:
        wanted = projector.wants(event)
        if wanted is not None:
            projector.know(next(e for e in events if isinstance(e.data, UserMessage) and e.data.id == wanted))
        shown += projector.feed(event)
    if rest:
        shown += projector.rest()
    return [p for p in shown if p.place > after]


def walked(numbers: list[int]) -> list[Event]:
    walk = Walk()
    walk.take(CREATED)
    pick = picker(numbers)
    for _ in range(len(numbers) // 2):
        if walk.step(pick) is None:
            break
    return walk.events


@given(walks(120))
@settings(max_examples=150)
def test_the_order_is_legal_and_an_id_is_used_once(numbers: list[int]) -> None:
    check(project(walked(numbers)))


@given(walks(60))
@settings(max_examples=100)
def test_it_may_begin_at_every_place(numbers: list[int]) -> None:
    events = walked(numbers)
    whole = project(events)
    for seq in range(len(events) + 1):
        assert project(events, (seq, BEHIND)) == [p for p in whole if p.place > (seq, BEHIND)]
    for shown in whole:
        assert project(events, shown.place) == [p for p in whole if p.place > shown.place]


@given(walks(60))
@settings(max_examples=60)
def test_what_is_known_at_the_end_of_the_log_stays_where_it_was(numbers: list[int]) -> None:
    """Whoever reads while the log grows sees the same places as who reads it later, but for messages that were dropped."""
    events = walked(numbers)
    whole = project(events)
    for seq in range(1, len(events) + 1):
        now = project(events[:seq], rest=False)
        assert now == whole[: len(now)]


def test_an_id_leads_to_its_place_and_is_another_sessions_nowhere() -> None:
    session = SessionId("ses_1")
    for seq, index in ((1, 0), (77, 256), (1 << 40, 65535)):
        made = event_id(session, Seq(seq), index)
        assert place_of_id(session, made) == (seq, index)
        assert place_of_id(SessionId("ses_2"), made) is None
        assert place_of_id(session, made.upper()) is None
        assert place_of_id(session, made + "a") is None
    assert place_of_id(session, "") is None
    assert place_of_id(session, "sevt_" + "0" * 24) is None
    assert [call_number(call_index(n, handed_out=h)) for n in (0, 1, 9) for h in (False, True)] == [0, 0, 1, 1, 9, 9]
    assert call_number(258) is None
