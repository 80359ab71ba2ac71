"""`godwit todos` and `godwit goal`: what a session has to do. Both only read or append; nothing is driven."""

from __future__ import annotations

import sys

from ..core.goal import GoalEnd
from ..core.todos import todos_summary, todos_text
from .cli_exit import DONE
from .cli_place import Where, find
from .cli_view import write_json
from .cli_words import clean


async def todos(place: Where, typed: str, *, as_json: bool) -> int:
    async with place.reach() as runtime:
        row = await find(runtime, typed)
        found = await (await runtime.open_session(row.id, drive=False)).todos()
    if as_json:
        for number, todo in enumerate(found, 1):
            write_json({"item": number, "content": todo.content, "status": todo.status})
    elif found:
        print(clean(f"{row.id}: {todos_summary(found)}\n{todos_text(found)}"))
    else:
        print(f"{row.id}: the list is empty")
    return DONE


async def goal(place: Where, typed: str, text: str | None, end: GoalEnd | None, *, as_json: bool) -> int:
    async with place.reach() as runtime:
        row = await find(runtime, typed)
        handle = await runtime.open_session(row.id, drive=False)
        if end is not None:
            if not await handle.end_goal(text or "", status=end):
                print("no goal is open, so nothing was changed", file=sys.stderr)
        elif text is not None:
            await handle.set_goal(text)
        found = await handle.goal()
    if as_json:
        write_json({"session": row.id, "goal": found})
    elif found is None:
        print(f"{row.id}: no goal is set")
    else:
        why = f": {found.reason}" if found.reason else ""
        print(clean(f"{row.id}: {found.status}{why}\n{found.text}"))
    return DONE
