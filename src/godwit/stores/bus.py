"""Hints and deltas between the processes that share one database, over unix datagram sockets.

Each process that waits or publishes binds a socket in the runtime folder; the folder is the list of peers. After a commit
the writer sends (session, head) to all of them; deltas go only to peers that said they watch the session. Nothing here
is needed for correctness: whatever is lost, `PRAGMA data_version` finds within a second or the stored event replaces.

Rules: nothing blocks its caller. A peer whose queue is full (Linux keeps as few as 10 datagrams) gets what was for it some
milliseconds later: deltas in their order up to a limit, beyond it they are dropped, the offsets show the hole and it asks
for the text so far; then hints, merged. A hint never overtakes the deltas it ends. Sockets nobody reads are removed.
The order of locks is `Underway.lock` after `_lock`, so that a text never follows the hint that ended it.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import select
import socket
import stat
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import msgspec

from ..core.events import Delta
from ..core.ids import Seq, SessionId
from .letters import (
    DATAGRAM,
    Deltas,
    Hello,
    Hint,
    Hints,
    Late,
    Letter,
    Watch,
    decoder,
    encoder,
    in_datagrams,
    joined,
    pieces,
)

_PATH_LIMIT = 100  # sockaddr_un holds 108 bytes on Linux and 104 on macOS
_BUFFER = 1 << 18
_DELTA_WAIT_S = 0.03
_DELTA_PIECES = 16
_RETRY_S = 0.004
_SETTLE_S = 0.1
_ASK_AGAIN_S = 0.1


class Office(Protocol):
    """What the bus needs of its store. All of it is called on the bus's thread."""

    def moved(self, session: SessionId, head: Seq, ended: Sequence[str]) -> None:
        """Another process committed."""
        ...

    def shown(self, delta: Delta, *, anew: bool) -> bool:
        """Another process published; False when text before it is missing. `anew`: there is none before it any more."""
        ...

    def backlog(self, session: SessionId) -> list[Delta]:
        """What this process itself published of the session and is not stored yet."""
        ...

    def waiting(self) -> bool:
        """Whether anybody waits, so that a lost hint would be felt."""
        ...

    def look(self, *, sure: bool) -> None:
        """Compare every head somebody waits for with the database; unless `sure`, only when it was written to."""
        ...


class Bus:
    """`folder`: where the sockets lie, None for a store that only polls. `poll_s`: seconds between two looks, None never."""

    def __init__(self, folder: Path | None, token: str, office: Office, *, poll_s: float | None) -> None:
        self._folder = folder
        self._path = None if folder is None else folder / f"{token}.sock"
        self._office = office
        self._poll_s = poll_s
        self._lock = threading.RLock()
        self._out: socket.socket | None = None
        self._in: socket.socket | None = None
        self._thread: threading.Thread | None = None
        self._bell: tuple[int, int] | None = None
        self._closed = False
        self._asleep = False
        self._peers: set[str] = set()
        self._listed = (-1, 0.0)  # the folder's mtime when it was listed, and when that was
        self._late: dict[str, Late] = {}
        self._watched: set[SessionId] = set()
        self._watching: dict[SessionId, set[str]] = {}  # peers by the session they watch
        self._batch: list[Delta] = []
        self._batch_due = 0.0
        self._asked: dict[SessionId, float] = {}

    # --- called from any thread ---

    def start(self) -> None:
        """Begin to listen. Idempotent."""
        if self._thread is None:
            with self._lock:
                self._begin()

    def _begin(self) -> None:
        if self._thread is None and not self._closed:
            self._bind()
            self._bell = os.pipe()
            for end in self._bell:
                os.set_blocking(end, False)
            self._thread = threading.Thread(target=self._run, name="godwit-bus", daemon=True)
            self._thread.start()
            self._send_all(Hello())

    def hint(self, heads: list[Hint]) -> None:
        """Tell the peers that these sessions have grown."""
        if self._folder is None or self._closed:
            return
        with self._lock:
            if self._batch and any(ended for _, _, ended in heads):
                self._flush()
            if not self._list_peers():
                return
            for letter in in_datagrams(heads):
                data = encoder.encode(Hints(letter))
                for peer in list(self._peers):
                    if peer in self._late or not self._send(peer, data):
                        self._later(peer).add_hints(letter)

    def wanted(self, session: SessionId) -> bool:
        """Whether a peer watches the session."""
        return session in self._watching

    def post(self, delta: Delta) -> None:
        """Send a delta to the peers that watch, within 30 ms."""
        with self._lock:
            if delta.session not in self._watching:
                return
            self._batch.append(delta)
            if len(self._batch) >= _DELTA_PIECES:
                self._flush()
            elif len(self._batch) == 1:
                self._batch_due = time.monotonic() + _DELTA_WAIT_S
                self._ring()

    def watch(self, session: SessionId) -> None:
        """Ask the peers for the session's deltas and the text so far."""
        with self._lock:
            self._watched.add(session)
            self._send_all(Watch([session], True))

    def unwatch(self, session: SessionId) -> None:
        with self._lock:
            self._watched.discard(session)
            self._asked.pop(session, None)
            self._send_all(Watch([session], False))

    def look_soon(self) -> None:
        """Somebody began to wait: the thread may sleep without a look due."""
        if self._asleep:
            self._ring()

    def close(self) -> None:
        with self._lock:
            if self._closed:
                return
            self._flush()
            self._closed = True
            thread = self._thread
            self._ring()
        if thread is not None:
            thread.join()
        with self._lock:
            for end in self._bell or ():
                os.close(end)
            self._bell = None
            for one in {self._in, self._out}:
                if one is not None:
                    one.close()
            if self._in is not None and self._path is not None:
                with contextlib.suppress(OSError):
                    self._path.unlink()
            self._in = self._out = None

    # --- the thread ---

    def _run(self) -> None:
        assert self._bell is not None
        poller = select.poll()
        poller.register(self._bell[0], select.POLLIN)
        if self._in is not None:
            poller.register(self._in, select.POLLIN)
        next_look = time.monotonic() + (self._poll_s or 0)
        while not self._closed:
            now = time.monotonic()
            due: list[float] = []
            with self._lock:
                if self._batch and self._batch_due <= now:
                    self._flush()
                elif self._batch:
                    due.append(self._batch_due)
                if self._late:
                    self._send_late()
                    if self._late:
                        due.append(now + _RETRY_S)
            # Set before asking, so that who begins to wait right after the answer rings.
            self._asleep = True
            if self._poll_s is not None and self._office.waiting():
                self._asleep = False
                if next_look <= now:
                    self._office.look(sure=False)
                    next_look = time.monotonic() + self._poll_s
                due.append(next_look)
            timeout = max(0.0, min(due) - time.monotonic()) * 1000 + 0.5 if due else None
            for descriptor, _ in poller.poll(timeout):
                if descriptor == self._bell[0]:
                    with contextlib.suppress(BlockingIOError):
                        os.read(descriptor, 4096)
                else:
                    self._receive()

    def _receive(self) -> None:
        assert self._in is not None
        for _ in range(64):  # then the timers get their turn
            try:
                data, sender = self._in.recvfrom(_BUFFER)
            except (BlockingIOError, InterruptedError):
                return
            except OSError:
                return
            try:
                letter = decoder.decode(data)
            except msgspec.MsgspecError:
                continue  # a peer of another version; the poll covers what it meant
            match letter:
                case Hints():
                    for session, head, ended in letter.heads:
                        self._office.moved(session, head, ended)
                    if letter.unsure:
                        self._office.look(sure=True)
                case Deltas():
                    for delta in letter.deltas:
                        if not self._office.shown(delta, anew=letter.anew):
                            self._ask_again(delta.session, sender)
                case Hello():
                    with self._lock:
                        self._peers.add(sender)
                        if self._watched:
                            self._send_watches(sender)
                case Watch():
                    self._serve(sender, letter)

    def _serve(self, sender: str, letter: Watch) -> None:
        with self._lock:
            self._peers.add(sender)
            self._flush()
            for session in letter.sessions:
                if letter.on:
                    self._watching.setdefault(session, set()).add(sender)
                    self._send_deltas({sender}, self._office.backlog(session), anew=True)
                elif session in self._watching:
                    self._watching[session].discard(sender)
                    if not self._watching[session]:
                        del self._watching[session]

    def _ask_again(self, session: SessionId, sender: str) -> None:
        now = time.monotonic()
        with self._lock:
            if session in self._watched and now - self._asked.get(session, 0.0) > _ASK_AGAIN_S:
                self._asked[session] = now
                self._send(sender, encoder.encode(Watch([session], True)))

    # --- sending, under the lock ---

    def _bind(self) -> None:
        if self._folder is None or self._path is None:
            return
        one = self._socket()
        for _ in range(20):
            try:
                self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                one.bind(str(self._path))
            except FileNotFoundError:  # another instance closed and removed the empty folder in between
                continue
            except OSError:
                break
            if self._out is not None:
                self._out.close()
            self._in = self._out = one
            return
        one.close()
        self._folder = None  # no folder to meet in: the poll remains

    def _socket(self) -> socket.socket:
        one = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        one.setblocking(False)
        for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
            with contextlib.suppress(OSError):
                one.setsockopt(socket.SOL_SOCKET, option, _BUFFER)
        return one

    def _list_peers(self, *, fresh: bool = False) -> bool:
        """Keep `_peers` as the folder has it; True when there are any."""
        assert self._folder is not None
        try:
            changed = os.stat(self._folder).st_mtime_ns
        except OSError:
            self._peers.clear()
            self._listed = (-1, 0.0)
            return False
        # A change right after a listing may bear the same time stamp, so a young folder is listed again.
        settled = changed == self._listed[0] and self._listed[1] * 1e-9 - changed * 1e-9 > _SETTLE_S
        if fresh or not settled:
            at = time.time_ns()
            with contextlib.suppress(OSError):
                own = None if self._path is None else self._path.name
                found = {str(self._folder / n) for n in os.listdir(self._folder) if n.endswith(".sock") and n != own}
                for gone in self._peers - found:
                    self._drop(gone)
                self._peers = found
                self._listed = (changed, at)
        return bool(self._peers)

    def _send_all(self, letter: Letter) -> None:
        if self._folder is None or self._closed or not self._list_peers(fresh=True):
            return
        data = encoder.encode(letter)
        for peer in list(self._peers):
            self._send(peer, data)

    def _send(self, peer: str, data: bytes) -> bool:
        """False when the peer's queue is full."""
        if self._out is None:
            self._out = self._socket()
        try:
            self._out.sendto(data, peer)
        except (BlockingIOError, InterruptedError):
            return False
        except (ConnectionRefusedError, FileNotFoundError) as error:
            if isinstance(error, ConnectionRefusedError):
                with contextlib.suppress(OSError):
                    os.unlink(peer)
            self._drop(peer)
        except OSError as error:
            if error.errno in (errno.ENOBUFS, errno.ENOMEM):
                return False
            # Looked for again with the next letter: the folder has not changed, so a peer that lives would stay forgotten.
            self._listed = (-1, 0.0)
            self._drop(peer)
        return True

    def _drop(self, peer: str) -> None:
        self._peers.discard(peer)
        self._late.pop(peer, None)
        for session in [s for s, peers in self._watching.items() if peer in peers]:
            self._watching[session].discard(peer)
            if not self._watching[session]:
                del self._watching[session]

    def _later(self, peer: str) -> Late:
        late = self._late.get(peer)
        if late is None:
            late = self._late[peer] = Late()
            # Where nobody listens there is no thread to try again; starting it is cheap.
            self._begin()
            self._ring()
        return late

    def _send_late(self) -> None:
        for peer, late in list(self._late.items()):
            while late.letters and self._send(peer, late.letters[0]):
                late.size -= len(late.letters.popleft())
            if late.letters:
                continue
            if late.unsure and self._send(peer, encoder.encode(Hints([], True))):
                late.unsure = False
            for letter in in_datagrams([(s, head, ended) for s, (head, ended) in late.hints.items()]):
                if not self._send(peer, encoder.encode(Hints(letter))):
                    break
                for session, _, _ in letter:
                    del late.hints[session]
            if not late.hints and not late.unsure:
                self._late.pop(peer, None)

    def _send_watches(self, peer: str) -> None:
        watched = list(self._watched)
        for start in range(0, len(watched), 100):
            self._send(peer, encoder.encode(Watch(watched[start : start + 100], True)))

    def _flush(self) -> None:
        """Send the batched deltas, neighbours of one text joined."""
        batch, self._batch = self._batch, []
        by_session: dict[SessionId, list[Delta]] = {}
        for delta in batch:
            by_session.setdefault(delta.session, []).append(delta)
        for session, deltas in by_session.items():
            self._send_deltas(set(self._watching.get(session, ())), joined(deltas))

    def _send_deltas(self, peers: set[str], deltas: list[Delta], *, anew: bool = False) -> None:
        if not peers:
            return
        letter: list[Delta] = []
        size = 0
        for delta in (piece for whole in deltas for piece in pieces(whole)):
            weight = 100 + 4 * len(delta.text) + len(delta.id) + len(delta.session)
            if letter and size + weight > DATAGRAM:
                self._send_letter(peers, Deltas(letter, anew))
                letter, size = [], 0
            letter.append(delta)
            size += weight
        if letter:
            self._send_letter(peers, Deltas(letter, anew))

    def _send_letter(self, peers: set[str], letter: Deltas) -> None:
        data = encoder.encode(letter)
        for peer in list(peers):
            if peer in self._late or not self._send(peer, data):
                self._later(peer).add_letter(data)

    def _ring(self) -> None:
        if self._bell is not None:
            with contextlib.suppress(BlockingIOError, OSError):
                os.write(self._bell[1], b"!")


def socket_folder(file: str, token: str) -> Path | None:
    """Where the sockets of the database `file` lie: beside it, or in the temp folder when that path is too long.

    None when the temp folder's is not ours alone.
    """
    beside = Path(f"{file}.d")
    if len(os.fsencode(beside / f"{token}.sock")) <= _PATH_LIMIT:
        return beside
    digest = hashlib.sha256(os.fsencode(file)).hexdigest()[:16]
    folder = Path(tempfile.gettempdir()) / f"godwit-{os.getuid()}-{digest}"
    if len(os.fsencode(folder / f"{token}.sock")) > _PATH_LIMIT:
        return None
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        found = os.lstat(folder)
    except OSError:
        return None
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        return None
    return folder
