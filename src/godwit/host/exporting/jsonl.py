"""godwit's own export: the log as it is, with those of the sessions that work for it and what they hold.

`importing.godwit_log` reads it.
"""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator

import msgspec

from ...contracts import Store
from ...core.errors import ArtifactNotFound
from ...core.ids import SessionId
from ..importing.godwit_log import MARK, VERSION

PAGE = 500
_encoder = msgspec.json.Encoder()


async def jsonl(store: Store, session: SessionId, heads: dict[SessionId, int]) -> AsyncIterator[bytes]:
    """Line by line; `heads`: which sessions, the first one first, and up to which event. The artifacts of a session come
    behind its log, but for those that were let go of."""
    yield _line({MARK: "session", "version": VERSION, "session": session, "sessions": list(heads)})
    for one, head in heads.items():
        seq = 0
        while seq < head and (page := await store.read(one, seq, limit=PAGE, to_seq=head)):
            yield b"".join(event.frame() + b"\n" for event in page)
            seq = page[-1].seq
        for held in await store.artifacts(one):
            try:
                stored, content = await store.get_artifact(held.ref)
            except ArtifactNotFound:
                continue  # let go of meanwhile
            body = {MARK: "artifact", "session": one, "ref": held.ref, "media_type": stored.media_type}
            yield _line({**body, "data": base64.b64encode(content).decode()})
    yield _line({MARK: "end", "session": session, "events": sum(heads.values())})


def _line(value: dict[str, object]) -> bytes:
    return _encoder.encode(value) + b"\n"
