"""The store of large outputs, by the hash of their content. Which session holds what, and how much, is `core.artifact`'s."""

from __future__ import annotations

from typing import Protocol

import msgspec

from ..core.artifact import ArtifactLimits, HeldArtifact
from ..core.ids import ArtifactRef, SessionId

UNLIMITED = ArtifactLimits()


class StoredArtifact(msgspec.Struct, frozen=True):
    ref: ArtifactRef
    size: int
    media_type: str


class BlobStore(Protocol):
    """Large outputs by content hash. Storing the same bytes twice keeps them once.

    A session holds what it has put until limits make it let go, the oldest first and what it has pinned never. Content is
    there while any session holds it.
    """

    async def put_artifact(
        self,
        session: SessionId,
        content: bytes,
        media_type: str,
        *,
        limits: ArtifactLimits = UNLIMITED,
        pinned: bool = False,
    ) -> StoredArtifact:
        """Keep it for the session, then let go of what is beyond `limits`: of this one as well, when it is too large and not
        `pinned` with it. One that was pinned before stays so.

        Put again, it is as young as a new one and keeps its first media type. SessionNotFound.
        """
        ...

    async def get_artifact(self, ref: ArtifactRef) -> tuple[StoredArtifact, bytes]:
        """ArtifactNotFound; one that was let go of says so (`released_ms` in its details)."""
        ...

    async def artifacts(self, session: SessionId) -> list[HeldArtifact]:
        """What the session holds, oldest first. SessionNotFound."""
        ...

    async def pin_artifact(self, session: SessionId, ref: ArtifactRef, *, pinned: bool = True) -> bool:
        """Pin what the session holds, or take the pin out; False when it was so already. SessionNotFound,
        ArtifactNotFound."""
        ...

    async def release_artifact(self, session: SessionId, ref: ArtifactRef) -> bool:
        """Let go of what the session holds, pinned or not; the content goes when nobody else holds it. False when the
        session holds no such thing. SessionNotFound."""
        ...
