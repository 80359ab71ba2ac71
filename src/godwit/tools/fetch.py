"""Fetcher: one HTTP exchange at a time, with whoever may be at the other end.

Owns the way from an address to bytes: resolving, judging, connecting, the exchange, redirects, limits. Leaves out what the
bytes mean (`page.py`). Rules:

* The name is resolved once per connection, every address it has is judged, and the connection goes to one of those very
  addresses; TLS checks the certificate for the name. A name server that answers otherwise the next time changes nothing.
* Each redirect begins from the beginning. Nothing is carried over: there are no cookies, no credentials, no referrer.
* Everything is limited: the time, the bytes of a head, on the wire and unpacked. A body that reaches a limit is cut.
* No proxy, no setting of the environment, no other protocol than HTTP/1.1 and TLS.
* Errors name the place by `Url.brief`, and quote nothing of what was received.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import socket
import zlib
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from ..contracts import CancelToken
from ..core.addresses import Address, is_near
from ..core.errors import ToolFailed
from ..threads import in_thread
from .address import AddressGuard
from .url import Url

if TYPE_CHECKING:
    import ssl

T = TypeVar("T")

Resolve = Callable[[str], Awaitable[Sequence[str]]]
"""A host's addresses, best first. Raises OSError when it has none."""
Look = Callable[["Answer"], bool]
"""Is shown an answer that has no body yet; says whether the body is wanted, or raises ToolFailed."""
Follow = Callable[[Url, Url], None]
"""Is shown where a redirect leads, from here to there, and raises ToolFailed when that is not to be followed."""

READ_BYTES = 64 * 1024
MAX_ADDRESSES = 4
"""So many of a host's addresses are tried."""
REDIRECTS = (301, 302, 303, 307, 308)
CRUMBS = 10_000
"""A body in more pieces than this, of less than `CRUMB_BYTES` each, is made to keep us busy."""
CRUMB_BYTES = 32


class FetchLimits(msgspec.Struct, frozen=True):
    """`timeout_s`: for the whole, redirects included; `connect_s`: for one address, TLS included. `wire_bytes`: received in
    all, headers included; `body_bytes`: of the body once unpacked; `header_bytes`: of one response's head or trailer,
    give or take one read."""

    timeout_s: float = 30.0
    connect_s: float = 10.0
    wire_bytes: int = 5 * 1024 * 1024
    body_bytes: int = 10 * 1024 * 1024
    header_bytes: int = 64 * 1024
    redirects: int = 5


class Answer(msgspec.Struct, frozen=True):
    """`headers` by lower-case name, the first of each. `wire_bytes`: received for the body. `cut`: the body goes on.

    `hops`: the addresses that led here by redirect, in order.
    """

    url: Url
    status: int
    headers: dict[str, str]
    body: bytes = b""
    wire_bytes: int = 0
    cut: bool = False
    hops: tuple[Url, ...] = ()


class Fetcher:
    """`resolve`: looks names up in place of the system. `tls`: a context in place of the system's trust."""

    def __init__(
        self,
        guard: AddressGuard,
        *,
        limits: FetchLimits | None = None,
        resolve: Resolve | None = None,
        tls: ssl.SSLContext | None = None,
        user_agent: str = "godwit",
    ) -> None:
        self._guard = guard
        self._limits = limits or FetchLimits()
        self._resolve = resolve or _system_resolve
        self._tls = tls
        self._user_agent = user_agent

    def allow(self, places: Iterable[str]) -> None:
        """Reach these as well from now on, see `core.addresses.place`. ConfigurationError."""
        self._guard.allow(places)

    async def get(self, url: Url, *, accept: str = "*/*", look: Look | None = None, follow: Follow | None = None) -> Answer:
        """What is there, at the end of the redirects. `follow`: is shown each of them, and may refuse. ToolFailed."""

        def wanted(answer: Answer) -> bool:
            return _location(answer) is None and (look is None or look(answer))

        async def lead() -> Answer:
            here, hops = url, tuple[Url, ...]()
            while True:
                answer = await self._exchange("GET", here, {"Accept": accept}, None, wanted)
                location = _location(answer)
                if location is None:
                    return msgspec.structs.replace(answer, hops=hops)
                hops = (*hops, here)
                if len(hops) > self._limits.redirects:
                    raise ToolFailed(f"{url.brief} redirects more than {self._limits.redirects} times")
                there = _led(here, location)
                if follow is not None:
                    follow(here, there)
                here = there

        return await self._in_time(url, lead())

    async def send(
        self, method: str, url: Url, *, headers: Mapping[str, str], body: bytes | None = None, look: Look | None = None
    ) -> Answer:
        """One exchange, redirects not followed. ToolFailed."""
        return await self._in_time(url, self._exchange(method, url, headers, body, look))

    async def reachable(self, url: Url) -> list[Address]:
        """Addresses of the URL's host to connect to, best first, for who speaks to it by a client of their own and must
        connect to one of these very addresses. ToolFailed."""
        addresses = await self._addresses(url)
        self._guard.check(url, addresses)
        found = addresses[:MAX_ADDRESSES]
        for address in found:
            if not self._guard.is_allowed(url, address) and _leads_near(address, url.port):
                raise _near(url)
        return found

    def tls(self) -> ssl.SSLContext:
        """What certificates are checked with."""
        return self._context()

    async def _in_time(self, url: Url, work: Coroutine[Any, Any, Answer]) -> Answer:
        try:
            async with asyncio.timeout(self._limits.timeout_s) as deadline:
                return await work
        except TimeoutError:
            if deadline.expired():
                raise ToolFailed(f"{url.brief} took longer than {self._limits.timeout_s:g} s", timed_out=True) from None
            raise

    async def _exchange(
        self,
        method: str,
        url: Url,
        headers: Mapping[str, str],
        body: bytes | None,
        look: Look | None,
    ) -> Answer:
        addresses = await self._addresses(url)
        self._guard.check(url, addresses)
        try:
            reader, writer = await self._connected(url, addresses)
            try:
                return await _talk(reader, writer, method, url, self._all(url, headers, body), body, look, self._limits)
            finally:
                # Not a polite close: whoever is there might never answer it.
                writer.transport.abort()
                with contextlib.suppress(OSError):
                    await writer.wait_closed()
        except OSError as error:
            raise ToolFailed(f"{url.brief}: {_reason(error)}") from None

    async def _addresses(self, url: Url) -> list[Address]:
        if (literal := url.literal) is not None:
            return [literal]
        try:
            found = await self._resolve(url.host)
        except OSError as error:
            raise ToolFailed(f"there is no host {url.host}, or it cannot be looked up ({_reason(error)})") from None
        return list(dict.fromkeys(ip_address(text.partition("%")[0]) for text in found))

    async def _connected(self, url: Url, addresses: Sequence[Address]) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        import ssl

        failure: OSError = OSError("no address")
        for address in addresses[:MAX_ADDRESSES]:
            try:
                async with asyncio.timeout(self._limits.connect_s):
                    return await self._open(url, address)
            except ssl.SSLCertVerificationError as error:
                why = error.verify_message or "it does not verify"
                raise ToolFailed(f"{url.brief}: the certificate is not valid for {url.host}: {why}") from None
            except TimeoutError as error:
                failure = error if str(error) else TimeoutError(f"no connection within {self._limits.connect_s:g} s")
            except OSError as error:
                failure = error
        raise failure

    async def _open(self, url: Url, address: Address) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        loop = asyncio.get_running_loop()
        tls = self._context() if url.scheme == "https" else None
        family = socket.AF_INET if address.version == 4 else socket.AF_INET6
        connection = socket.socket(family, socket.SOCK_STREAM)
        try:
            connection.setblocking(False)
            await loop.sock_connect(connection, (str(address), url.port))
            # Public addresses of this very machine, and of its neighbours, lead to what a firewall keeps from all others.
            if _is_near(connection) and not self._guard.is_allowed(url, address):
                raise _near(url)
        except BaseException:
            connection.close()
            raise
        # From here on asyncio owns the socket, whatever happens.
        return await asyncio.open_connection(
            sock=connection, ssl=tls, server_hostname=url.host if tls is not None else None, limit=READ_BYTES
        )

    def _context(self) -> ssl.SSLContext:
        if self._tls is None:
            import ssl

            self._tls = ssl.create_default_context()
            self._tls.set_alpn_protocols(["http/1.1"])
        return self._tls

    def _all(self, url: Url, headers: Mapping[str, str], body: bytes | None) -> list[tuple[str, str]]:
        whole = {
            "Host": url.authority,
            "User-Agent": self._user_agent,
            "Accept": "*/*",
            "Accept-Encoding": "gzip, deflate",
            "Connection": "close",
            **headers,
        }
        if body is not None:
            whole["Content-Length"] = str(len(body))
        return list(whole.items())


def _near(url: Url) -> ToolFailed:
    return ToolFailed(f"{url.host} is in the network of this machine, which is not reached from here", kind="near")


def _leads_near(address: Address, port: int) -> bool:
    """Whether a connection there would be near, without one: a datagram socket knows which end it has, and sends nothing."""
    with socket.socket(socket.AF_INET if address.version == 4 else socket.AF_INET6, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((str(address), port))
        except OSError:
            return False  # no way there: the connection will say so
        return _is_near(probe)


def _is_near(connection: socket.socket) -> bool:
    return is_near(*(ip_address(end[0].partition("%")[0]) for end in (connection.getsockname(), connection.getpeername())))


def _location(answer: Answer) -> str | None:
    return answer.headers.get("location") if answer.status in REDIRECTS else None


async def _system_resolve(host: str) -> list[str]:
    found, error = await in_thread(lambda: socket.getaddrinfo(host, None, type=socket.SOCK_STREAM), "godwit-tool")
    if error is not None:
        raise error if isinstance(error, OSError) else OSError(str(error))
    return [str(entry[4][0]) for entry in found or ()]


def _led(here: Url, location: str) -> Url:
    """Where a redirect leads. What is wrong with it is told without showing it: it may hold secrets."""
    try:
        there = here.join(location)
    except ToolFailed as error:
        raise ToolFailed(f"{here.brief} redirects to an address that is not followed: {error.message}") from None
    if here.scheme == "https" and there.scheme == "http":
        raise ToolFailed(f"{here.brief} redirects from https to {there.brief}, which would not be secure: not followed")
    return there


async def _talk(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    method: str,
    url: Url,
    headers: list[tuple[str, str]],
    body: bytes | None,
    look: Look | None,
    limits: FetchLimits,
) -> Answer:
    import h11

    machine = h11.Connection(h11.CLIENT, max_incomplete_event_size=limits.header_bytes)
    try:
        request = machine.send(h11.Request(method=method, target=url.target, headers=headers)) or b""
        request += machine.send(h11.Data(body)) or b"" if body else b""
        request += machine.send(h11.EndOfMessage()) or b""
    except h11.LocalProtocolError as error:
        raise ToolFailed(f"{url.brief} cannot be asked for: {error}") from None
    writer.write(request)

    answer: Answer | None = None
    unpacked = _Unpacked("", limits.body_bytes)
    received = wire = pieces = 0
    try:
        while True:
            event = machine.next_event()
            if event is h11.NEED_DATA:
                if received >= limits.wire_bytes:
                    if answer is None:
                        raise ToolFailed(f"{url.brief} sent {received} bytes and no response: given up")
                    return _whole(answer, unpacked, wire, cut=True)
                chunk = await reader.read(READ_BYTES)
                received += len(chunk)
                machine.receive_data(chunk)
            elif isinstance(event, h11.Response):
                found: dict[str, str] = {}
                for name, value in event.headers:
                    found.setdefault(name.decode("ascii"), _text(value))
                answer = Answer(url, event.status_code, found)
                if look is not None and not look(answer):
                    return answer
                encodings = [_text(v) for n, v in event.headers if n == b"content-encoding"]
                unpacked = _Unpacked(", ".join(encodings), limits.body_bytes)
            elif isinstance(event, h11.Data):
                wire, pieces = wire + len(event.data), pieces + 1
                if pieces % 64 == 0:
                    await asyncio.sleep(0)  # what is in the buffer already is read without waiting
                    if pieces > CRUMBS and wire < pieces * CRUMB_BYTES:
                        raise ToolFailed(f"{url.brief} sends its body in crumbs: {wire} bytes in {pieces} pieces: given up")
                if not unpacked.add(bytes(event.data)):
                    assert answer is not None
                    return _whole(answer, unpacked, wire, cut=True)
            elif isinstance(event, h11.EndOfMessage):
                assert answer is not None
                return _whole(answer, unpacked, wire, cut=not unpacked.complete)
            elif isinstance(event, h11.ConnectionClosed) or event is h11.PAUSED:
                raise ToolFailed(f"{url.brief}: the connection was closed before the response was there")
    except h11.RemoteProtocolError as error:
        raise ToolFailed(f"{url.brief} does not answer as HTTP demands{_why(error)}") from None
    except zlib.error as error:
        raise ToolFailed(f"{url.brief}: the body is not packed as its headers say ({error})") from None


def _whole(answer: Answer, unpacked: _Unpacked, wire: int, *, cut: bool) -> Answer:
    return msgspec.structs.replace(answer, body=bytes(unpacked.content), wire_bytes=wire, cut=cut)


class _Unpacked:
    """A body as its pieces come, unpacked up to a limit and never further."""

    def __init__(self, encoding: str, limit: int) -> None:
        self.content = bytearray()
        self._limit = limit
        self._encoding = encoding.strip().lower()
        self._stream: Any = None
        if self._encoding not in ("", "identity", "gzip", "x-gzip", "deflate"):
            told = re.sub(r"[^a-z0-9, -]", "?", self._encoding[:20])
            raise ToolFailed(f"the body is packed as {told!r}, which was not asked for")

    @property
    def complete(self) -> bool:
        return self._encoding in ("", "identity") or self._stream is None or bool(self._stream.eof)

    def add(self, piece: bytes) -> bool:
        """False when the limit is reached: the rest is not wanted."""
        room = self._limit - len(self.content)
        if self._encoding in ("", "identity"):
            self.content += piece[:room]
            return len(piece) <= room
        if self._stream is None:
            self._stream = zlib.decompressobj(_window(self._encoding, piece))
        if self._stream.eof:
            return True  # what follows the packed body is none of it
        # One byte more than there is room for tells whether there is more; 0 would mean no limit.
        unpacked = self._stream.decompress(piece, room + 1)
        self.content += unpacked[:room]
        return len(unpacked) <= room


def _window(encoding: str, first: bytes) -> int:
    if encoding != "deflate":
        return 16 + zlib.MAX_WBITS
    # By the standard with a zlib header; some send it bare.
    headed = len(first) < 2 or (first[0] & 0x0F == 8 and (first[0] << 8 | first[1]) % 31 == 0)
    return zlib.MAX_WBITS if headed else -zlib.MAX_WBITS


def _why(error: Exception) -> str:
    # What h11 quotes are words of whoever answered, which have no place outside the marks.
    said = str(error)
    return "" if re.search(r"b['\"]|bytearray", said) or len(said) > 200 else f": {said}"


def _text(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")


def _reason(error: OSError) -> str:
    # What asyncio says of a failed connection names the address once more, and not why.
    told = os.strerror(error.errno) if type(error).__module__ == "builtins" and error.errno else error.strerror
    return told or str(error) or type(error).__name__


async def until_cancelled(work: Coroutine[Any, Any, T], cancel: CancelToken) -> T:
    """The work's result; when the token falls first, the work is cancelled at once and ToolFailed raised."""
    task = asyncio.ensure_future(work)

    def fall() -> None:
        task.cancel()

    take_back = cancel.on_cancel(fall)
    try:
        return await task
    except asyncio.CancelledError:
        current = asyncio.current_task()
        if cancel.cancelled and current is not None and not current.cancelling():
            raise ToolFailed("[cancelled]", cancelled=True) from None
        raise
    finally:
        take_back()
