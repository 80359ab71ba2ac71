"""How much of a session's runs is handed out, and a page of one run's events.

Data. The log keeps everything; these bound what somebody who lists runs or reads their events gets of it. Rule: counts are
of all that happened, whatever the limits are.
"""

from __future__ import annotations

import msgspec

from .errors import ConfigurationError
from .events import Event
from .ids import Seq


class RecordLimits(msgspec.Struct, frozen=True, omit_defaults=True):
    """`max_runs`: the newest so many runs of a session; `max_events_per_run`: the newest so many events of each. None:
    all. 0: none, while counting goes on."""

    max_runs: int | None = None
    max_events_per_run: int | None = None

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if value is not None and (type(value) is not int or value < 0):
                raise ConfigurationError(f"record limit {name}={value!r} must be a number from 0, or None", value=value)


class RunPage(msgspec.Struct, frozen=True):
    """Some events of one run, in order, and where to go on.

    `first_available_seq`: the first event that can still be read, None when there is none. `latest_seq`: the run's newest
    event. `next_after`: what to ask for next. `retention_gap`: limits have taken events away that stand behind the cursor of
    this request. `has_more`: another page is there already. `event_count`: of the whole run so far.
    """

    events: tuple[Event, ...]
    first_available_seq: Seq | None
    latest_seq: Seq
    next_after: Seq
    retention_gap: bool
    has_more: bool
    event_count: int
