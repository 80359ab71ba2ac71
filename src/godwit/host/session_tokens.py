"""SessionTokens: tokens that one session was given for servers, and that no other session has.

They are sealed, and kept as a document that goes with the session. A session has them by standing in its list of vaults as
one more (`vault_of`), which is none: it is listed nowhere, and nobody can name it.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from ..contracts import DocumentStore, SecretStore
from ..core.errors import DocumentExists, DocumentNotFound, RevisionConflict
from ..core.ids import SessionId

KIND = "session_tokens"
"""What they are sealed as."""
PREFIX = "own_"
_TRIES = 20


def vault_of(session: str) -> str:
    """What stands among a session's vaults for its own tokens."""
    return PREFIX + session


class SessionTokens:
    def __init__(self, store: DocumentStore, secrets: SecretStore) -> None:
        self._store = store
        self._secrets = secrets

    async def give(self, session: str, tokens: Mapping[str, str], *, tenant: str | None) -> None:
        """Keep these, by the places they are for (`vaults.place_of`), beside those it has. The session may still be to be
        made. RevisionConflict, SecretUnreadable."""
        for _ in range(_TRIES):
            packed = msgspec.json.encode({**await self._of(session, tenant), **tokens})
            document = await self._secrets.seal(KIND, session, packed, tenant=tenant)
            try:
                await self._store.put_documents([msgspec.structs.replace(document, session=SessionId(session))])
            except (RevisionConflict, DocumentExists):
                continue
            return
        raise RevisionConflict(
            f"the tokens of session {session!r} are being changed by others all the time", session=session
        )

    async def forget(self, session: str, *, tenant: str | None) -> None:
        """Those of a session that is not made after all."""
        await self._secrets.delete(KIND, session, tenant=tenant)

    async def token_for(self, place: str, vault: str, *, tenant: str | None) -> str | None:
        """The session's own token for this place. `vault`: what `vault_of` gave. SecretUnreadable."""
        return (await self._of(vault.removeprefix(PREFIX), tenant)).get(place)

    async def _of(self, session: str, tenant: str | None) -> dict[str, str]:
        try:
            packed = await self._secrets.get(KIND, session, tenant=tenant)
        except DocumentNotFound:
            return {}
        return msgspec.json.decode(packed, type=dict[str, str])
