"""LimitedBlobs: a store's artifacts under the limits of this process's runtime."""

from __future__ import annotations

from ..contracts import UNLIMITED, BlobStore, StoredArtifact
from ..core.artifact import ArtifactLimits, HeldArtifact
from ..core.ids import ArtifactRef, SessionId


class LimitedBlobs:
    """Implements `godwit.contracts.BlobStore`. Who puts something with limits of their own has them instead."""

    def __init__(self, blobs: BlobStore, limits: ArtifactLimits) -> None:
        self._blobs = blobs
        self._limits = limits

    async def put_artifact(
        self,
        session: SessionId,
        content: bytes,
        media_type: str,
        *,
        limits: ArtifactLimits = UNLIMITED,
        pinned: bool = False,
    ) -> StoredArtifact:
        chosen = self._limits if limits == UNLIMITED else limits
        return await self._blobs.put_artifact(session, content, media_type, limits=chosen, pinned=pinned)

    async def get_artifact(self, ref: ArtifactRef) -> tuple[StoredArtifact, bytes]:
        return await self._blobs.get_artifact(ref)

    async def artifacts(self, session: SessionId) -> list[HeldArtifact]:
        return await self._blobs.artifacts(session)

    async def pin_artifact(self, session: SessionId, ref: ArtifactRef, *, pinned: bool = True) -> bool:
        return await self._blobs.pin_artifact(session, ref, pinned=pinned)

    async def release_artifact(self, session: SessionId, ref: ArtifactRef) -> bool:
        return await self._blobs.release_artifact(session, ref)
