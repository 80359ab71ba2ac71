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
from .batch import Unit
from .part import StorePart, session_key
from .requests import ARTIFACTS, Call


class ArtifactsPart(StorePart):
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

        async def apply(transaction: Unit) -> StoredArtifact:
            key = await session_key(transaction, session)
            now = self._clock.now_ms()
            ref, kind = await put_content(transaction, key, content, media_type, now)
            if pinned:
                await transaction.do("pin_artifact", {"session": key, "ref": ref, "pinned": True})
            await _trim(transaction, session, key, limits, now)
            return StoredArtifact(ref, len(content), kind)

        return await self._writer.do(Call(apply, about=ARTIFACTS))

    async def get_artifact(self, ref: ArtifactRef) -> tuple[StoredArtifact, bytes]:
        """ArtifactNotFound."""
        found = await self._select("get_artifact", (ref,))
        if not found:
            raise _no_artifact(ref, (await self._select("artifact_released", (ref,)))[0][0])
        _, size, media_type, content = found[0]
        return StoredArtifact(ref, size, media_type), content

    async def artifacts(self, session: SessionId) -> list[HeldArtifact]:
        """What the session holds, oldest first. SessionNotFound."""
        await self._look_up(session)
        return [
            HeldArtifact(ref, size, media_type, bool(pinned), stored_ms)
            for ref, size, media_type, pinned, stored_ms in await self._select("held_artifacts", (session,))
        ]

    async def pin_artifact(self, session: SessionId, ref: ArtifactRef, *, pinned: bool = True) -> bool:
        """Pin what the session holds, or take the pin out. SessionNotFound, ArtifactNotFound."""

        async def apply(transaction: Unit) -> bool:
            key = await session_key(transaction, session)
            found = await transaction.one("artifact_use", (key, ref))
            if found is None:
                raise ArtifactNotFound(f"session {session} holds no artifact {ref!r}", session=session, ref=ref)
            if found[1] is not None:
                raise _no_artifact(ref, found[1])
            if bool(found[0]) == pinned:
                return False
            await transaction.do("pin_artifact", {"session": key, "ref": ref, "pinned": pinned})
            return True

        return await self._writer.do(Call(apply, about=ARTIFACTS))

    async def release_artifact(self, session: SessionId, ref: ArtifactRef) -> bool:
        """Let go of what the session holds, pinned or not; False when it holds no such thing. SessionNotFound."""
        now = self._clock.now_ms()

        async def apply(transaction: Unit) -> bool:
            key = await session_key(transaction, session)
            found = await transaction.one("artifact_use", (key, ref))
            if found is None or found[1] is not None:
                return False
            await transaction.do("release_artifact", {"session": key, "ref": ref, "now": now})
            await transaction.do("delete_unused_artifact", {"ref": ref})
            return True

        return await self._writer.do(Call(apply, about=ARTIFACTS))


async def put_content(transaction: Unit, key: int, content: bytes, media_type: str, now: int) -> tuple[ArtifactRef, str]:
    """Keep it for the session of this key; its reference, and the media type it was first stored with."""
    ref = ArtifactRef(f"sha256:{hashlib.sha256(content).hexdigest()}")
    known = await transaction.one("find_artifact", (ref,))
    if known is None:
        await transaction.do("insert_artifact", (ref, len(content), media_type, content))
    await transaction.do("use_artifact", {"session": key, "ref": ref, "now": now})
    return ref, media_type if known is None else known[2]


async def _trim(transaction: Unit, session: SessionId, key: int, limits: ArtifactLimits, now: int) -> None:
    """Let go of the oldest artifacts until the limits hold, or only pinned ones are left."""

    async def release(holder: int, ref: str) -> bool:
        """True when the content went with it."""
        await transaction.do("release_artifact", {"session": holder, "ref": ref, "now": now})
        return (await transaction.do("delete_unused_artifact", {"ref": ref})) > 0

    if limits.max_artifacts is not None or limits.max_bytes is not None:
        held = await transaction.all("held_artifacts", (session,))
        count, size = len(held), sum(one[1] for one in held)
        for ref, own, _, pinned, _ in held:
            if not _beyond(count, limits.max_artifacts) and not _beyond(size, limits.max_bytes):
                break
            if not pinned:
                await release(key, ref)
                count, size = count - 1, size - own
    if limits.total_artifacts is not None or limits.total_bytes is not None:
        count, size = await transaction.first("artifact_totals")
        while _beyond(count, limits.total_artifacts) or _beyond(size, limits.total_bytes):
            oldest = await transaction.all("oldest_artifact_uses")
            for holder, ref, own in oldest:
                if await release(holder, ref):
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


__all__ = ["ArtifactsPart", "put_content"]
