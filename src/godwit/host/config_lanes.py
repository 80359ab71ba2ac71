"""`[lanes]` of a configuration file: what all lanes of a process share, and a table for each lane.

Leaves out what lanes are and do (`core.lanes`). Rule: what is mistyped is an error and not a lane that no call ever takes.
"""

from __future__ import annotations

from typing import Any

import msgspec

from ..core.lanes import PRIORITIES, LaneConfig, LaneSettings, RateLimit, RetryPolicy
from .config_file import File

_SHARED = tuple(name for name in LaneSettings.__struct_fields__ if name != "lanes")
_OF_ONE = tuple(name for name in LaneConfig.__struct_fields__ if name != "name")


def lanes_from(file: File, given: Any) -> LaneSettings:
    """What TOML made of the section. ConfigurationError, beginning with file and line."""
    if not isinstance(given, dict):
        raise file.error("", "lanes", "[lanes] has to be a table")
    tables = {key: value for key, value in given.items() if isinstance(value, dict)}
    shared = {key: value for key, value in given.items() if key not in tables}
    for key in shared:
        if key in PRIORITIES:
            raise file.error("lanes", key, f"the lane {key!r} has to be a table: [lanes.{key}]")
    file.check_keys("lanes", shared, _SHARED)
    if shared.get("ageing_s") is False:
        shared["ageing_s"] = None  # TOML has no word for none
    settings = file.table("lanes", shared, LaneSettings)
    return msgspec.structs.replace(settings, lanes=tuple(_lane(file, name, table) for name, table in tables.items()))


def _lane(file: File, name: str, given: dict[str, Any]) -> LaneConfig:
    section = f"lanes.{name}"
    file.check_keys(section, given, _OF_ONE)
    own = {key: value for key, value in given.items() if key not in ("rate", "retry")}
    made = file.table(section, {"name": name, **own}, LaneConfig)
    if name not in PRIORITIES and not made.tools:
        raise file.error(
            "lanes",
            name,
            f"[{section}] takes no calls: say which with tools; {', '.join(PRIORITIES)} are the lanes that are always there",
        )
    if "rate" in given:
        made = msgspec.structs.replace(made, rate=file.table(f"{section}.rate", given["rate"], RateLimit))
    if "retry" in given:
        retry = given["retry"]
        if isinstance(retry, dict):
            retry = {"strategy": made.retry.strategy, **retry}
        made = msgspec.structs.replace(made, retry=file.table(f"{section}.retry", retry, RetryPolicy))
    return made


__all__ = ["lanes_from"]
