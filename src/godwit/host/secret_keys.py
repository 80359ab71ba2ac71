"""Keys that seal secrets: where they come from, and which of them is the current one.

A key comes from the program, from the variable `GODWIT_SECRET_KEYS`, or from a file beside the database that is made when
the first secret is kept. Leaves out what is done with a key (`secrets.py`). Rules: a key is shown nowhere, only its id,
from which nothing of it follows; the file is for its owner's eyes alone, and is never without a key that it once had and
that something may still be sealed with.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import fcntl
import hashlib
import os
import stat
from collections.abc import Iterator, Sequence
from typing import Protocol

from ..core.errors import ConfigurationError, StoreError

VARIABLE = "GODWIT_SECRET_KEYS"
KEY_BYTES = 32
_HEAD = "# Keys of godwit's secrets, the current one first. Without them the secrets in the database are lost.\n"


class SecretKey:
    """32 bytes, and the id that is stored with what they seal."""

    __slots__ = ("id", "raw")

    def __init__(self, raw: bytes) -> None:
        self.raw = raw
        self.id = "key_" + hashlib.blake2b(raw, digest_size=8, person=b"godwit key id").hexdigest()

    def __repr__(self) -> str:
        return f"SecretKey({self.id!r})"

    @classmethod
    def new(cls) -> SecretKey:
        return cls(os.urandom(KEY_BYTES))

    @classmethod
    def parse(cls, text: str) -> SecretKey:
        """From its text, base64 of 32 bytes. ConfigurationError, which does not show it."""
        try:
            raw = base64.b64decode(text.strip().rstrip("=").replace("-", "+").replace("_", "/") + "=", validate=True)
        except (binascii.Error, ValueError):
            raw = b""
        if len(raw) != KEY_BYTES:
            raise ConfigurationError(
                f"a key of secrets is base64 of {KEY_BYTES} bytes, as `openssl rand -base64 {KEY_BYTES}` makes: this is none"
            )
        return cls(raw)

    def text(self) -> str:
        return base64.b64encode(self.raw).decode()


class Keys(Protocol):
    """The keys there are. The first seals, all of them open."""

    def all(self) -> Sequence[SecretKey]:
        """As they are now, at least one; made when there was none."""
        ...

    def renew(self, used: Sequence[str]) -> SecretKey:
        """Put a new key first, where this source can; of the others those stay that were the current one until now or whose
        ids are `used`. The current one."""
        ...


class NoKeys:
    """Where keys have to be given and were not: whoever seals or opens a secret is told."""

    def all(self) -> Sequence[SecretKey]:
        raise ConfigurationError(f"secrets in a database that others share need a key that they share: set {VARIABLE}")

    def renew(self, used: Sequence[str]) -> SecretKey:
        return self.all()[0]


class GivenKeys:
    """Keys from outside: who gives them changes them, by giving the new one first and the old ones behind it."""

    def __init__(self, keys: Sequence[SecretKey]) -> None:
        if not keys:
            raise ConfigurationError("no key of secrets was given: give at least one, or leave the setting out")
        self._keys = tuple(keys)

    def all(self) -> Sequence[SecretKey]:
        return self._keys

    def renew(self, used: Sequence[str]) -> SecretKey:
        return self._keys[0]


class KeyFile:
    """A file with a key per line. Other processes may change it, so it is looked at whenever a key is asked for."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = os.path.abspath(path)
        self._seen: tuple[int, int, int] | None = None
        self._keys: tuple[SecretKey, ...] = ()

    def all(self) -> Sequence[SecretKey]:
        """ConfigurationError when others may read it, or it holds what is no key; StoreError."""
        try:
            found = self._read()
            if found is None:
                with self._alone():
                    found = self._read()
                    if found is None:
                        found = self._write([SecretKey.new()])
        except OSError as error:
            raise StoreError(f"the keys in {self._path} cannot be used: {error.strerror}", path=self._path) from None
        return found

    def renew(self, used: Sequence[str]) -> SecretKey:
        try:
            with self._alone():
                before = self._read() or ()
                kept = [key for place, key in enumerate(before) if place == 0 or key.id in used]
                return self._write([SecretKey.new(), *kept])[0]
        except OSError as error:
            raise StoreError(f"the keys in {self._path} cannot be changed: {error.strerror}", path=self._path) from None

    def _read(self) -> tuple[SecretKey, ...] | None:
        try:
            found = os.stat(self._path)
        except FileNotFoundError:
            return None
        mark = (found.st_ino, found.st_mtime_ns, found.st_size)
        if mark == self._seen:
            return self._keys
        if stat.S_IMODE(found.st_mode) & 0o077:
            raise ConfigurationError(
                f"{self._path} holds keys and can be read by others (mode {stat.S_IMODE(found.st_mode):o}): chmod 600 it",
                path=self._path,
            )
        with open(self._path, encoding="ascii", errors="replace") as file:
            lines = [line for line in file.read().splitlines() if line.strip() and not line.startswith("#")]
        if not lines:
            raise ConfigurationError(f"{self._path} holds no key: put it back from where it is kept", path=self._path)
        self._keys = tuple(SecretKey.parse(line) for line in lines)
        self._seen = mark
        return self._keys

    def _write(self, keys: Sequence[SecretKey]) -> tuple[SecretKey, ...]:
        """All of it or nothing, and durable, before anything is sealed with it."""
        new = f"{self._path}.{os.getpid()}"
        with contextlib.suppress(FileNotFoundError):
            os.unlink(new)
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with open(descriptor, "w", encoding="ascii") as file:
                file.write(_HEAD + "".join(f"{key.text()}\n" for key in keys))
                file.flush()
                os.fsync(file.fileno())
            os.replace(new, self._path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(new)
            raise
        folder = os.open(os.path.dirname(self._path), os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
        self._seen = None
        return self._read() or ()

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Of two processes that make or change the file, one waits for the other."""
        folder = os.open(os.path.dirname(self._path), os.O_RDONLY)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
            yield
        finally:
            os.close(folder)


def keys_of(store: object, given: Sequence[str] | None = None) -> Keys:
    """The keys for this store, see `keys_for`. Of one that others open elsewhere they have to be given: a key that this
    process made would open nothing there, and nothing here when it is gone. ConfigurationError, also later where there are
    none."""
    if getattr(store, "shared", False) and given is None and not os.environ.get(VARIABLE):
        return NoKeys()
    return keys_for(getattr(store, "file", None), given)


def keys_for(file: str | None, given: Sequence[str] | None = None) -> Keys:
    """The keys for the database `file`, None for one in memory: those given, else those of `GODWIT_SECRET_KEYS` (parted by
    commas), else of the file `<file>.key`. ConfigurationError."""
    if given is None and (named := os.environ.get(VARIABLE)):
        given = [part for part in named.split(",") if part.strip()]
    if given is not None:
        return GivenKeys([SecretKey.parse(text) for text in given])
    return GivenKeys([SecretKey.new()]) if file is None else KeyFile(f"{file}.key")
