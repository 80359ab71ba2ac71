"""The artifacts of one session: what it holds, what stays, and their content."""

from __future__ import annotations

from ..contracts import BlobStore
from ..core.artifact import HeldArtifact
from ..core.errors import ArtifactNotFound, InvalidArgument
from ..core.ids import ArtifactRef, SessionId

SCHEME = "sha256:"


class Artifacts:
    """`session.artifacts`: large outputs kept by reference. A ref may be given by its beginning, without `sha256:`."""

    __slots__ = ("_blobs", "_session")

    def __init__(self, blobs: BlobStore, session: SessionId) -> None:
        self._blobs = blobs
        self._session = session

    async def list(self) -> list[HeldArtifact]:
        """What the session holds, oldest first."""
        return await self._blobs.artifacts(self._session)

    async def get(self, ref: str) -> bytes:
        """The content. ArtifactNotFound, which tells whether it was let go of; InvalidArgument when several begin so."""
        return (await self._blobs.get_artifact(await self.find(ref)))[1]

    async def pin(self, ref: str) -> bool:
        """Keep it whatever the limits are; False when it was pinned before. Errors as for `get`."""
        return await self._blobs.pin_artifact(self._session, await self.find(ref))

    async def unpin(self, ref: str) -> bool:
        """Let it go when its time comes; False when it was not pinned. Errors as for `get`."""
        return await self._blobs.pin_artifact(self._session, await self.find(ref), pinned=False)

    async def release(self, ref: str) -> bool:
        """Let go of it, pinned or not; the content goes when nobody else holds it. False when it is not held.
        InvalidArgument when several begin so."""
        return await self._blobs.release_artifact(self._session, await self.find(ref))

    async def find(self, ref: str) -> ArtifactRef:
        """The whole ref for its beginning; one that nothing held begins with comes back as it is."""
        beginning = ref if ref.startswith(SCHEME) else SCHEME + ref
        if len(beginning) == len(SCHEME) + 64:
            return ArtifactRef(beginning)
        if len(beginning) == len(SCHEME):
            raise ArtifactNotFound("an artifact is named by its ref, or the beginning of it", ref=ref)
        found = [one.ref for one in await self.list() if one.ref.startswith(beginning)]
        if len(found) > 1:
            raise InvalidArgument(f"{ref!r} begins {len(found)} artifacts of this session: give more of it", ref=ref)
        return found[0] if found else ArtifactRef(beginning)
