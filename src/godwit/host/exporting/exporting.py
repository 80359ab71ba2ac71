"""What exports there are, and which sessions one takes along."""

from __future__ import annotations

from collections.abc import AsyncIterator

from ...contracts import Store
from ...core.errors import InvalidArgument
from ...core.facts import EXPORT_FORMATS
from ...core.ids import SessionId
from .jsonl import jsonl
from .markdown import markdown
from .page import page
from .pi_file import pi_file


async def export(store: Store, session: SessionId, format_: str, *, children: bool = True) -> AsyncIterator[bytes]:
    """The session as it stands now, piece by piece. SessionNotFound, InvalidArgument (no such format)."""
    if format_ not in EXPORT_FORMATS:
        raise InvalidArgument(f"format {format_!r} is none of {', '.join(EXPORT_FORMATS)}", format=format_)
    row = await store.session(session)
    heads = {row.id: row.head}
    for one in await store.descendants(session) if children and format_ != "pi" else ():
        heads[one] = (await store.session(one)).head
    match format_:
        case "jsonl":
            pieces = jsonl(store, session, heads)
        case "pi":
            pieces = pi_file(store, session, row.head)
        case "html":
            pieces = page(store, session, heads, _title(row.name, row.first_prompt, session))
        case _:
            pieces = markdown(store, session, heads, _title(row.name, row.first_prompt, session))
    async for piece in pieces:
        yield piece


def _title(name: str | None, prompt: str, session: SessionId) -> str:
    words = " ".join((name or prompt).split())
    return (words if len(words) <= 80 else f"{words[:79]}…") or session
