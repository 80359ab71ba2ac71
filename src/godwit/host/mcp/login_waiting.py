"""WaitingLogins: logins to MCP servers that were begun and wait for a browser to come back.

Owns the two ways back: to an address of this machine, for as long as this process waits there; or to our server, at whose
address any of its processes may take it up. Leaves out the login (`logins.py`). Rules a change must keep:

* A login is finished once, by the state that was sent, which nobody can guess; after its time there is none.
* The browser is sent back to this machine or to our own server, and to no address that anybody names.
* Who finishes one for a session has to be whose it is.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlsplit

import msgspec

from ...contracts import SecretStore
from ...core.errors import ConfigurationError, DocumentNotFound, GodwitError, InvalidArgument, NotFound
from ...core.mcp import McpServer
from ...core.mcp_oauth import McpLogin
from ..oauth_callback import Callback
from .login_words import login_place
from .logins import LOGIN_S, Begun, McpLogins
from .owner import Owner

if TYPE_CHECKING:
    from ...contracts import DocumentStore
    from ...tools.mcp_transport import Challenge

KIND = "mcp.login.begun"
"""What logins are sealed as that wait at the address of our server."""
MOST = 200
"""Logins that wait in one process."""


@dataclass(eq=False)
class _Here:
    """One that waits in this process. `task`: listens for the browser. `over`: how it ended."""

    begun: Begun
    task: asyncio.Task[None]
    over: asyncio.Future[None]


class WaitingLogins:
    def __init__(self, logins: McpLogins, store: DocumentStore, sealed: SecretStore) -> None:
        self._logins = logins
        self._store = store
        self._sealed = sealed
        self._here: dict[str, _Here] = {}
        self._route: str | None = None

    def come_back_to(self, address: str) -> None:
        """From now on browsers are sent back to this address of our server, which has to hand what comes to `came`."""
        self._route = address

    async def begin(self, server: McpServer, owner: Owner, *, scopes: Sequence[str] = ()) -> McpLogin:
        """Begin a login, in place of an earlier one of the same owner to the same address that waits here.
        McpLoginFailed."""
        begun = await (self._at_server if self._route else self._at_machine)(server, owner, scopes)
        return McpLogin(server.name, begun.page, begun.issuer, begun.expires_ms)

    def noted(self, owner: Owner, url: str) -> Challenge | None:
        """What the server has asked this owner for."""
        return self._logins.noted(owner, url)

    async def forget(self, owner: Owner, url: str) -> bool:
        """Forget a login that is kept; False when there is none."""
        return await self._logins.forget(owner, url)

    def over(self, login: McpLogin) -> asyncio.Future[None]:
        """What comes of a login that was begun just now and waits in this process. McpLoginFailed; NotFound when nobody
        came."""
        return next(one.over for one in self._here.values() if one.begun.page == login.url)

    async def answer(self, address: str, owner: Owner, server: McpServer) -> None:
        """Finish one by the address that a browser was sent back to, as a person has it. McpLoginFailed; InvalidArgument for
        what is no such address; NotFound for one of somebody else's login, or of another server."""
        back = _query(address.strip())
        begun = await self._found(back.get("state", ""))
        if begun is None or begun.owner != owner or login_place(begun.url) != login_place(server.url):
            raise _none()
        await self.came(back)

    async def came(self, back: Mapping[str, str]) -> str:
        """Finish the login that this query is the answer to; the server's name. McpLoginFailed; NotFound."""
        begun = await self._taken(back.get("state", ""))
        if begun is None:
            raise _none()
        here = self._here.pop(begun.state, None)
        if here is not None and here.task is not asyncio.current_task():
            here.task.cancel()
        try:
            await self._logins.finish(begun, back)
        except GodwitError as error:
            _end(here, error)
            raise
        _end(here, None)
        return begun.server

    async def close(self) -> None:
        """Wait for no browser any more."""
        for here in list(self._here.values()):
            self._drop(here)
        self._here.clear()

    # --- within -------------------------------------------------------------------------------------------------------

    async def _at_server(self, server: McpServer, owner: Owner, scopes: Sequence[str]) -> Begun:
        assert self._route is not None
        begun = await self._logins.begin(server, owner, self._route, scopes=scopes)
        packed = msgspec.json.encode(begun)
        document = await self._sealed.seal(KIND, _id(begun.state), packed, tenant=None)
        await self._store.put_documents([msgspec.structs.replace(document, expires_ms=begun.expires_ms)])
        return begun

    async def _at_machine(self, server: McpServer, owner: Owner, scopes: Sequence[str]) -> Begun:
        for here in [one for one in self._here.values() if one.begun.owner == owner and one.begun.url == server.url]:
            self._drop(here)
        if len(self._here) >= MOST:
            raise ConfigurationError(f"{MOST} logins wait for their browser already")
        fixed = None if server.oauth is None else server.oauth.callback_port
        earlier = await self._logins.earlier_redirect(owner, server.url)
        port = fixed or (None if earlier is None else urlsplit(earlier).port)
        callback = Callback()
        opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        task = asyncio.create_task(self._listen(callback, port, fixed is not None, opened), name="an MCP login")
        await asyncio.wait([task, opened], return_when=asyncio.FIRST_COMPLETED)
        if task.done() and task.exception() is not None:
            raise ConfigurationError(f"port {port} of this machine, which the browser is to come back to, is not free")
        try:
            begun = await self._logins.begin(server, owner, callback.url, state=callback.secret, scopes=scopes)
        except BaseException:
            task.cancel()
            raise
        over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._here[begun.state] = _Here(begun, task, over)
        return begun

    async def _listen(self, callback: Callback, port: int | None, fixed: bool, opened: asyncio.Future[None]) -> None:
        async with callback.open(port, fixed=fixed):
            opened.set_result(None)
            try:
                back = await callback.answer(LOGIN_S, None)
            except TimeoutError:
                if (here := self._here.pop(callback.secret, None)) is not None:
                    _end(here, NotFound(f"nobody came back from the browser in {LOGIN_S:g} seconds"))
                return
        with contextlib.suppress(GodwitError):  # who waits for it is told
            await self.came(back)

    async def _found(self, state: str) -> Begun | None:
        if (here := self._here.get(state)) is not None:
            return here.begun
        with contextlib.suppress(DocumentNotFound):
            return msgspec.json.decode(await self._sealed.get(KIND, _id(state), tenant=None), type=Begun)
        return None

    async def _taken(self, state: str) -> Begun | None:
        """The login of this state, for whoever is the first to ask."""
        if (here := self._here.get(state)) is not None:
            return None if here.over.done() else here.begun
        begun = await self._found(state)
        return begun if begun is not None and await self._sealed.delete(KIND, _id(state), tenant=None) else None

    def _drop(self, here: _Here) -> None:
        self._here.pop(here.begun.state, None)
        here.task.cancel()
        _end(here, NotFound("another login was begun in its place, or the program ended"))


def _end(here: _Here | None, error: GodwitError | None) -> None:
    if here is None or here.over.done():
        return
    if error is None:
        here.over.set_result(None)
    else:
        here.over.set_exception(error)
        here.over.exception()  # it may be told to nobody


def _query(address: str) -> dict[str, str]:
    try:
        found = dict(parse_qsl(urlsplit(address).query))
    except ValueError:
        found = {}
    if "state" not in found:
        raise InvalidArgument(
            "this is not the address that the browser was sent back to: it begins with http and has a state"
        )
    return found


def _none() -> NotFound:
    return NotFound("no such login waits here: it was finished, has taken too long, or is somebody else's")


def _id(state: str) -> str:
    return hashlib.sha256(state.encode()).hexdigest()


__all__ = ["KIND", "WaitingLogins"]
