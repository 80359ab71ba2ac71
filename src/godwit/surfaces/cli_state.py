"""`godwit state`: the shared state of a session. It only reads or appends; nothing is driven."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from .cli_exit import DONE, CliError
from .cli_place import Where, find
from .cli_view import write_json
from .cli_words import clean


async def state(place: Where, typed: str, given: str | None, *, as_json: bool) -> int:
    value: Any = None
    if given is not None:
        try:
            value = msgspec.json.decode(given)
        except (msgspec.DecodeError, RecursionError) as error:
            raise CliError(f"--set: this is no JSON: {error}") from None
    async with place.reach() as runtime:
        row = await find(runtime, typed)
        handle = await runtime.open_session(row.id, drive=False)
        if given is None:
            value = await handle.shared_state()
        else:
            value = await handle.set_shared_state(value, sender="cli")
    if as_json:
        write_json({"session": row.id, "state": value})
    else:
        print(clean(json.dumps(value, indent=2, ensure_ascii=False)))
    return DONE
