"""OwnLogins: logins to MCP servers of the person whose machine this is, beside the keys of providers.

Owns where each stands (the file `auth.mcp.json`, its secret part in the keyring where keys are), and that a token is renewed
once for all tasks and processes. Leaves out the file itself (`auth_file.py`) and those of tenants (`tenant_logins.py`).
Rule: what an authorization server answers to a renewal is kept whoever stops waiting, for a refresh token is good once.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import os
from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from ...core.errors import ConfigurationError, ToolFailed
from ...core.ids import Clock
from ..auth_file import AuthFile, Entry
from ..keyring_secrets import KeyringSecrets
from ..oauth import Refreshed, RefreshFailed, refresh
from ..token_renewal import CLOSE_S, SOON_S
from .login_words import KeptLogin, is_final, login_ended, login_place
from .owner import Owner

if TYPE_CHECKING:
    from ...tools.fetch import Fetcher
    from ..auth_store import AuthStore

logger = logging.getLogger("godwit")


class OwnLogins:
    """Is `login_words.KeptLogins`, of one person. `auth`: whose file these stand beside. `fetcher`: asks token endpoints."""

    def __init__(self, auth: AuthStore, fetcher: Callable[[], Fetcher], clock: Clock) -> None:
        self._auth = auth
        self._fetcher = fetcher
        self._clock = clock
        self._file = AuthFile(file_beside(auth.path))
        self._renewing: dict[str, asyncio.Task[str | None]] = {}
        self._secrets: dict[str, tuple[str, dict[str, str]]] = {}

    async def find(self, owner: Owner, url: str, /) -> KeptLogin | None:
        place = login_place(url)
        entry = self._file.read().get(place)
        if entry is None or entry.client is None:
            return None
        secret = await self._secret(place, entry)
        return KeptLogin(
            entry.client, secret.get("access", ""), secret.get("refresh"), secret.get("client_secret"), entry.expires_ms
        )

    async def keep(self, owner: Owner, url: str, login: KeptLogin, /) -> None:
        secret = {
            "access": login.access_token,
            "refresh": login.refresh_token or "",
            "client_secret": login.client_secret or "",
        }
        entry = Entry(
            "oauth",
            _revision(),
            expires_ms=login.expires_ms,
            renewable=login.refresh_token is not None,
            client=login.client,
        )
        kept = {name: value for name, value in secret.items() if value}
        await asyncio.to_thread(self._store, login_place(url), entry, kept, None)

    async def forget(self, owner: Owner, url: str, /) -> bool:
        place = login_place(url)

        def work() -> bool:
            before = self._file.change(place, lambda _: None) if place in self._file.read() else None
            if before is not None and before.place == "keyring":
                self._in_keyring().remove(place)
            return before is not None

        return await asyncio.to_thread(work)

    async def token(self, owner: Owner, url: str, /, *, refused: str | None = None) -> str | None:
        place = login_place(url)
        entry = self._file.read().get(place)
        if entry is None:
            return None
        access = (await self._secret(place, entry)).get("access", "")
        if access != refused and not self._ends(entry, SOON_S):
            return access
        renewing = self._renewing.get(place)
        if renewing is None:
            renewing = asyncio.create_task(self._renew(place, refused), name="renew a login")
            self._renewing[place] = renewing
            renewing.add_done_callback(lambda ended: self._ended(place, ended))
        return await asyncio.shield(renewing)

    async def close(self) -> None:
        if self._renewing:
            await asyncio.wait(self._renewing.values(), timeout=CLOSE_S)

    # --- within -------------------------------------------------------------------------------------------------------

    def _ended(self, place: str, task: asyncio.Task[str | None]) -> None:
        del self._renewing[place]
        if not task.cancelled() and task.exception() is not None:
            logger.info("a login to an MCP server was not renewed")  # those who wait are told why

    async def _renew(self, place: str, refused: str | None) -> str | None:
        async with self._file.alone(f"mcp-{hashlib.sha256(place.encode()).hexdigest()[:32]}"):
            entry = self._file.read().get(place)
            if entry is None:
                return None
            secret = await self._secret(place, entry)
            access, good = secret.get("access", ""), secret.get("access") != refused
            if good and not self._ends(entry, SOON_S):
                return access  # another process was faster
            failed: RefreshFailed | None = None
            if entry.client is not None and secret.get("refresh"):
                found = await refresh(self._fetcher(), entry.client, secret["refresh"], secret.get("client_secret"))
                if isinstance(found, Refreshed):
                    await asyncio.to_thread(self._renewed, place, entry, secret, found)
                    return found.access_token
                failed = found
                if is_final(failed):
                    without = {name: value for name, value in secret.items() if name != "refresh"}
                    kept = msgspec.structs.replace(entry, revision=_revision(), renewable=False)
                    await asyncio.to_thread(self._store, place, kept, without, entry)
            if good and not self._ends(entry, 0):
                return access
            if failed is None and not good and not self._ends(entry, 0):
                return None  # the server has refused it, and there is no other
            raise login_ended(place, failed, refused=not good)

    def _renewed(self, place: str, used: Entry, secret: dict[str, str], found: Refreshed) -> None:
        new = {**secret, "access": found.access_token}
        if found.refresh_token is not None:
            new["refresh"] = found.refresh_token
        until = None if found.expires_s is None else self._clock.now_ms() + int(found.expires_s * 1000)
        self._store(place, msgspec.structs.replace(used, revision=_revision(), expires_ms=until), new, used)

    def _store(self, place: str, entry: Entry, secret: dict[str, str], instead: Entry | None) -> None:
        """`instead`: of this entry alone; when a person has logged in or out meanwhile, what they said counts."""
        in_keyring = self._auth.takes_keyring() if instead is None else instead.place == "keyring"
        entry = msgspec.structs.replace(
            entry, place="keyring" if in_keyring else "file", secret=None if in_keyring else secret
        )

        def change(now: Entry | None) -> Entry | None:
            if instead is not None and (now is None or now.revision != instead.revision):
                return now
            if in_keyring:
                self._in_keyring().put(place, secret)
            return entry

        before = self._file.change(place, change)
        if before is not None and before.place == "keyring" and not in_keyring:
            with contextlib.suppress(ConfigurationError):  # it may be gone with its library; the file is what counts
                self._in_keyring().remove(place)

    def _ends(self, entry: Entry, within_s: float) -> bool:
        return entry.expires_ms is not None and entry.expires_ms <= self._clock.now_ms() + within_s * 1000

    def _in_keyring(self) -> KeyringSecrets:
        return KeyringSecrets(self._file.path or "")

    async def _secret(self, place: str, entry: Entry) -> dict[str, str]:
        if entry.place == "file":
            return entry.secret or {}
        kept = self._secrets.get(place)
        if kept is None or kept[0] != entry.revision:
            found = await asyncio.to_thread(self._in_keyring().get, place)
            if found is None:
                raise ToolFailed(f"the login to {place} is no longer in the keyring")
            kept = self._secrets[place] = (entry.revision, found)
        return kept[1]


def file_beside(path: str | None) -> str | None:
    """`auth.mcp.json` for `auth.json`; None for nowhere."""
    if path is None:
        return None
    name, extension = os.path.splitext(path)
    return f"{name}.mcp{extension}"


def _revision() -> str:
    return os.urandom(8).hex()


__all__ = ["OwnLogins", "file_beside"]
