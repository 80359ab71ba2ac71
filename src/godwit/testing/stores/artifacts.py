"""Promises about artifacts: found by their content, held by sessions, within limits."""

from __future__ import annotations

from ...core.artifact import ArtifactLimits
from ...core.errors import ArtifactNotFound, SessionNotFound
from ...core.ids import ArtifactRef, SessionId
from ..words import S, new_session, refused
from .suite import StoreSuite


class Artifacts(StoreSuite):
    """What `BlobStore` keeps."""

    async def test_artifacts_by_their_content(self) -> None:
        import hashlib

        content = bytes(range(256)) * 40
        other = SessionId("other")
        async with self.opened() as store:
            await new_session(store)
            await new_session(store, other)
            stored = await store.put_artifact(S, content, "application/x-bird")
            assert stored.ref == "sha256:" + hashlib.sha256(content).hexdigest()
            assert (stored.size, stored.media_type) == (len(content), "application/x-bird")
            assert await store.put_artifact(S, content, "application/x-bird") == stored
            assert await store.put_artifact(other, content, "application/x-bird") == stored
            own = await store.put_artifact(S, b"", "text/plain")
            assert await store.get_artifact(stored.ref) == (stored, content)
            assert await store.get_artifact(own.ref) == (own, b"")
            await store.delete(S)
            await refused(ArtifactNotFound, store.get_artifact(own.ref))
            assert await store.get_artifact(stored.ref) == (stored, content)
            await store.delete(other)
            await refused(ArtifactNotFound, store.get_artifact(stored.ref))
            await refused(ArtifactNotFound, store.get_artifact(ArtifactRef("sha256:00")))

    async def test_artifacts_within_limits(self) -> None:
        one, two, three = b"1" * 10, b"2" * 20, b"3" * 30
        async with self.opened() as store:
            await new_session(store)
            refs = [(await store.put_artifact(S, content, "text/plain")).ref for content in (one, two, three)]
            held = await store.artifacts(S)
            assert [(a.ref, a.size, a.media_type, a.pinned) for a in held] == [
                (ref, size, "text/plain", False) for ref, size in zip(refs, (10, 20, 30), strict=True)
            ]
            assert all(a.stored_ms > 0 for a in held)
            # Put again it is young again, and still there once.
            await store.put_artifact(S, one, "text/plain")
            assert [a.ref for a in await store.artifacts(S)] == [refs[1], refs[2], refs[0]]

            four = await store.put_artifact(S, b"4" * 40, "text/plain", limits=ArtifactLimits(max_artifacts=3))
            assert [a.ref for a in await store.artifacts(S)] == [refs[2], refs[0], four.ref]
            gone = await refused(ArtifactNotFound, store.get_artifact(refs[1]))
            assert gone.details["released_ms"] > 0
            assert "let go of" in gone.message
            gone = await refused(ArtifactNotFound, store.pin_artifact(S, refs[1]))
            assert gone.details["released_ms"] > 0

            five = await store.put_artifact(S, b"5" * 5, "text/plain", limits=ArtifactLimits(max_bytes=60))
            assert [a.ref for a in await store.artifacts(S)] == [refs[0], four.ref, five.ref]
            # What comes back is held again.
            await store.put_artifact(S, two, "text/plain")
            assert (await store.get_artifact(refs[1]))[1] == two
            # Nothing is kept that alone is beyond a limit, and a limit of 0 keeps nothing.
            large = await store.put_artifact(S, b"6" * 99, "text/plain", limits=ArtifactLimits(max_bytes=60))
            await refused(ArtifactNotFound, store.get_artifact(large.ref))
            await store.put_artifact(S, three, "text/plain", limits=ArtifactLimits(max_artifacts=0))
            assert await store.artifacts(S) == []
            await refused(SessionNotFound, store.artifacts(SessionId("none")))

    async def test_pinned_artifacts_stay(self) -> None:
        async with self.opened() as store:
            await new_session(store)
            refs = [(await store.put_artifact(S, bytes([n]) * 10, "text/plain")).ref for n in range(4)]
            assert await store.pin_artifact(S, refs[0])
            assert not await store.pin_artifact(S, refs[0])
            assert await store.pin_artifact(S, refs[2])
            new = await store.put_artifact(S, b"new", "text/plain", limits=ArtifactLimits(max_artifacts=3))
            assert [(a.ref, a.pinned) for a in await store.artifacts(S)] == [
                (refs[0], True),
                (refs[2], True),
                (new.ref, False),
            ]
            # Pinned ones count, also when they are too many.
            other = await store.put_artifact(S, b"other", "text/plain", limits=ArtifactLimits(max_artifacts=1, max_bytes=1))
            assert [a.ref for a in await store.artifacts(S)] == [refs[0], refs[2]]
            await refused(ArtifactNotFound, store.get_artifact(other.ref))
            assert await store.pin_artifact(S, refs[0], pinned=False)
            assert not await store.pin_artifact(S, refs[0], pinned=False)
            await store.put_artifact(S, b"more", "text/plain", limits=ArtifactLimits(max_artifacts=2))
            assert (await store.artifacts(S))[0].ref == refs[2]
            # Pinned as it is put: nothing lets go of it in between, however small the limits are.
            kept = await store.put_artifact(S, b"kept", "text/plain", limits=ArtifactLimits(max_artifacts=0), pinned=True)
            assert [(a.ref, a.pinned) for a in await store.artifacts(S)] == [(refs[2], True), (kept.ref, True)]
            await store.put_artifact(S, b"kept", "text/plain", limits=ArtifactLimits(max_artifacts=0))
            assert (await store.artifacts(S))[1].pinned, "putting it again takes no pin out"
            await refused(ArtifactNotFound, store.pin_artifact(S, ArtifactRef("sha256:00")))
            await refused(SessionNotFound, store.pin_artifact(SessionId("none"), refs[2]))

    async def test_an_artifact_is_there_while_any_session_holds_it(self) -> None:
        other = SessionId("other")
        async with self.opened() as store:
            await new_session(store)
            await new_session(store, other)
            shared = await store.put_artifact(S, b"shared", "text/plain")
            await store.put_artifact(other, b"shared", "text/plain")
            await store.put_artifact(S, b"own", "text/plain", limits=ArtifactLimits(max_artifacts=1))
            assert [a.size for a in await store.artifacts(S)] == [3]
            assert (await store.get_artifact(shared.ref))[1] == b"shared"
            await refused(ArtifactNotFound, store.pin_artifact(S, shared.ref))
            await store.delete(S)
            assert (await store.get_artifact(shared.ref))[1] == b"shared"
            await store.put_artifact(other, b"last", "text/plain", limits=ArtifactLimits(max_artifacts=1))
            await refused(ArtifactNotFound, store.get_artifact(shared.ref))

    async def test_a_session_lets_go_of_what_it_is_told_to(self) -> None:
        other = SessionId("other")
        async with self.opened() as store:
            await new_session(store)
            await new_session(store, other)
            shared = await store.put_artifact(S, b"shared", "text/plain", pinned=True)
            await store.put_artifact(other, b"shared", "text/plain")
            assert await store.release_artifact(S, shared.ref)
            assert not await store.release_artifact(S, shared.ref)
            assert await store.artifacts(S) == []
            assert (await store.get_artifact(shared.ref))[1] == b"shared"
            assert await store.release_artifact(other, shared.ref)
            gone = await refused(ArtifactNotFound, store.get_artifact(shared.ref))
            assert gone.details["released_ms"] > 0
            await store.put_artifact(S, b"shared", "text/plain")
            assert [a.ref for a in await store.artifacts(S)] == [shared.ref]
            assert not await store.release_artifact(S, ArtifactRef("sha256:00"))
            await refused(SessionNotFound, store.release_artifact(SessionId("none"), shared.ref))

    async def test_limits_of_the_whole_store(self) -> None:
        other = SessionId("other")
        async with self.opened() as store:
            await new_session(store)
            await new_session(store, other)
            old = await store.put_artifact(S, b"a" * 10, "text/plain")
            pinned = await store.put_artifact(S, b"b" * 10, "text/plain")
            await store.pin_artifact(S, pinned.ref)
            await store.put_artifact(other, b"b" * 10, "text/plain")
            third = await store.put_artifact(S, b"c" * 10, "text/plain")
            await store.put_artifact(other, b"a" * 10, "text/plain")
            # Three contents, of which two are held twice. The oldest that nobody has pinned goes from all who hold it.
            fourth = await store.put_artifact(other, b"d" * 10, "text/plain", limits=ArtifactLimits(total_bytes=30))
            await refused(ArtifactNotFound, store.get_artifact(third.ref))
            assert (await store.get_artifact(old.ref))[1] == b"a" * 10
            assert [a.ref for a in await store.artifacts(S)] == [pinned.ref]
            assert [a.ref for a in await store.artifacts(other)] == [pinned.ref, old.ref, fourth.ref]
            await store.put_artifact(S, b"e" * 10, "text/plain", limits=ArtifactLimits(total_artifacts=1))
            await refused(ArtifactNotFound, store.get_artifact(old.ref))
            assert [a.ref for a in await store.artifacts(S)] == [pinned.ref]
            assert [a.ref for a in await store.artifacts(other)] == [pinned.ref]
