"""Artifacts in SQLite: implements `BlobStore`, as a part of `SqliteStore`.

Rule: what is let go of leaves a trace with its time, so that who asks for it later is told why it is gone.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime

from ..contracts import UNLIMITED, StoredArtifact
from ..core.artifact import ArtifactLimits, HeldArtifact
from ..core.errors import ArtifactNotFound
from ..core.ids import ArtifactRef, SessionId
from .part import SqlitePart, session_key
from .requests import Call
from .transaction import Transaction


class SqliteArtifacts(SqlitePart):
    """What `SqliteStore` does with artifacts."""

    async def put_artifact(
        self,
        session: SessionId,
        content: bytes,
        media_type: str,
        *,
        limits: ArtifactLimits = UNLIMITED,
        pinned: bool = False,
    ) -> StoredArtifact:
        """Keep `content` for the session, then let go of what is beyond `limits`. SessionNotFound."""

        def apply(transaction: Transaction) -> StoredArtifact:
            key = session_key(transaction, session)
            now = self._clock.now_ms()
            ref, kind = put_content(transaction, key, content, media_type, now)
            if pinned:
                transaction.execute("pin_artifact", {"session": key, "ref": ref, "pinned": True})
            _trim(transaction, session, key, limits, now)
            return StoredArtifact(ref, len(content), kind)

        return await self._writer.do(Call(apply))

    async def get_artifact(self, ref: ArtifactRef) -> tuple[StoredArtifact, bytes]:
        """ArtifactNotFound."""
        found = self._select("get_artifact", (ref,))
        if not found:
            raise _no_artifact(ref, self._select("artifact_released", (ref,))[0][0])
        _, size, media_type, content = found[0]
        return StoredArtifact(ref, size, media_type), content

    async def artifacts(self, session: SessionId) -> list[HeldArtifact]:
        """What the session holds, oldest first. SessionNotFound."""
        self._find(session)
        return [
            HeldArtifact(ref, size, media_type, bool(pinned), stored_ms)
            for ref, size, media_type, pinned, stored_ms in self._select("held_artifacts", (session,))
        ]

    async def pin_artifact(self, session: SessionId, ref: ArtifactRef, *, pinned: bool = True) -> bool:
        """Pin what the session holds, or take the pin out. SessionNotFound, ArtifactNotFound."""

        def apply(transaction: Transaction) -> bool:
            key = session_key(transaction, session)
            found = transaction.execute("artifact_use", (key, ref)).fetchone()
            if found is None:
                raise ArtifactNotFound(f"session {session} holds no artifact {ref!r}", session=session, ref=ref)
            if found[1] is not None:
                raise _no_artifact(ref, found[1])
            if bool(found[0]) == pinned:
                return False
            transaction.execute("pin_artifact", {"session": key, "ref": ref, "pinned": pinned})
            return True

        return await self._writer.do(Call(apply))

    async def release_artifact(self, session: SessionId, ref: ArtifactRef) -> bool:
        """Let go of what the session holds, pinned or not; False when it holds no such thing. SessionNotFound."""
        now = self._clock.now_ms()

        def apply(transaction: Transaction) -> bool:
            key = session_key(transaction, session)
            found = transaction.execute("artifact_use", (key, ref)).fetchone()
            if found is None or found[1] is not None:
                return False
            transaction.execute("release_artifact", {"session": key, "ref": ref, "now": now})
            transaction.execute("delete_unused_artifact", {"ref": ref})
            return True

        return await self._writer.do(Call(apply))


def put_content(transaction: Transaction, key: int, content: bytes, media_type: str, now: int) -> tuple[ArtifactRef, str]:
    """Keep it for the session of this key; its reference, and the media type it was first stored with."""
    ref = ArtifactRef(f"sha256:{hashlib.sha256(content).hexdigest()}")
    known = transaction.execute("find_artifact", (ref,)).fetchone()
    if known is None:
        transaction.execute("insert_artifact", (ref, len(content), media_type, content))
    transaction.execute("use_artifact", {"session": key, "ref": ref, "now": now})
    return ref, media_type if known is None else known[2]


def _trim(transaction: Transaction, session: SessionId, key: int, limits: ArtifactLimits, now: int) -> None:
    """Let go of the oldest artifacts until the limits hold, or only pinned ones are left."""

    def release(holder: int, ref: str) -> bool:
        """True when the content went with it."""
        transaction.execute("release_artifact", {"session": holder, "ref": ref, "now": now})
        return transaction.execute("delete_unused_artifact", {"ref": ref}).rowcount > 0

    if limits.max_artifacts is not None or limits.max_bytes is not None:
        held = transaction.execute("held_artifacts", (session,)).fetchall()
        count, size = len(held), sum(one[1] for one in held)
        for ref, own, _, pinned, _ in held:
            if not _beyond(count, limits.max_artifacts) and not _beyond(size, limits.max_bytes):
                break
            if not pinned:
                release(key, ref)
                count, size = count - 1, size - own
    if limits.total_artifacts is not None or limits.total_bytes is not None:
        count, size = transaction.execute("artifact_totals").fetchone()
        while _beyond(count, limits.total_artifacts) or _beyond(size, limits.total_bytes):
            oldest = transaction.execute("oldest_artifact_uses").fetchall()
            for holder, ref, own in oldest:
                if release(holder, ref):
                    count, size = count - 1, size - own
                if not _beyond(count, limits.total_artifacts) and not _beyond(size, limits.total_bytes):
                    break
            if not oldest:
                break


def _beyond(value: int, limit: int | None) -> bool:
    return limit is not None and value > limit


def _no_artifact(ref: ArtifactRef, released_ms: int | None) -> ArtifactNotFound:
    if released_ms is None:
        return ArtifactNotFound(f"there is no artifact {ref!r}", ref=ref)
    when = datetime.fromtimestamp(released_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M UTC")
    return ArtifactNotFound(
        f"artifact {ref!r} was let go of at {when}, by a person or when newer ones reached the limit: pin what must stay",
        ref=ref,
        released_ms=released_ms,
    )


__all__ = ["SqliteArtifacts", "put_content"]
