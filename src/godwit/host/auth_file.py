"""AuthFile: the file in which keys of providers are stored, or where it says that the keyring has them.

Owns reading, writing and locking; leaves out what the entries mean (`auth_store.py`). Rules: file and folder are for their
owner alone, or nothing is read; a file that cannot be read is left as it is; it is replaced as a whole, so whoever reads it
meanwhile sees the old one or the new one; nothing of what stands in it is shown.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import re
import stat
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from typing import Any
from urllib.parse import quote

import msgspec

from ..core.errors import ConfigurationError
from ..core.keys import KeyForm, KeyKind, KeyPlace
from .oauth import Client

FILE = "auth.json"
VARIABLE = "GODWIT_AUTH"
"""Names the file; nothing is stored when it is empty."""
_ANY, _WRITE = 0o077, 0o022
"""What others may not do: anything with the file; write in its folder, where they could put another."""
_VERSION = 1
_MOST_BYTES = 4 * 1024 * 1024


class Entry(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """What is stored for one provider. `secret`: `key`, or `access` and `refresh`; None where the keyring has it.
    `revision`: another one each time that it is written."""

    kind: KeyKind
    revision: str
    place: KeyPlace = "file"
    secret: dict[str, str] | None = None
    form: KeyForm | None = None
    variable: str | None = None
    expires_ms: int | None = None
    renewable: bool = False
    client: Client | None = None
    client_secret_env: str | None = None

    def __repr__(self) -> str:
        return f"Entry({self.kind!r}, {self.place!r})"


class _Content(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    version: int
    providers: dict[str, Entry]


def default_file(environment: Mapping[str, str] | None = None) -> str | None:
    """Where keys are stored: GODWIT_AUTH, else `godwit/auth/auth.json` in XDG_DATA_HOME or ~/.local/share. None when
    GODWIT_AUTH is empty, or when the environment has no home."""
    known = os.environ if environment is None else environment
    named = known.get(VARIABLE)
    if named is not None:
        return os.path.abspath(os.path.expanduser(named)) if named else None
    base = known.get("XDG_DATA_HOME", "")
    if not os.path.isabs(base):
        home = known.get("HOME")
        if not home:
            return None
        base = os.path.join(home, ".local", "share")
    return os.path.join(base, "godwit", "auth", FILE)


def _check_alone(what: str, mode: int, others: int, fix: str, path: str) -> None:
    if mode & others:
        raise ConfigurationError(
            f"{what} is open to others (mode {stat.S_IMODE(mode):o}), so keys are neither read from {path} nor put there: "
            f"{fix} {what}",
            path=path,
        )


def _without_values(text: str) -> str:
    """An error of msgspec without what it quotes, which may be a key in a wrong place; where it is, stays."""
    where = text.partition(" - at ")[2]
    said = re.sub(r"`[^`]*`|'[^']*'|\"[^\"]*\"", "...", text.partition(" - at ")[0])
    return f"{said} at {where}" if where else said


class AuthFile:
    """`path`: None for nowhere: nothing is stored then, and nothing can be."""

    def __init__(self, path: str | None) -> None:
        self.path = path
        self._seen: tuple[Any, dict[str, Entry]] | None = None

    def read(self) -> dict[str, Entry]:
        """What is stored, by provider. ConfigurationError, which names the file."""
        if self.path is None:
            return {}
        try:
            found = os.stat(self.path)
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise self._unreadable(error.strerror or "it cannot be read") from None
        folder = os.path.dirname(self.path)
        _check_alone(self.path, found.st_mode, _ANY, "chmod 600", self.path)
        _check_alone(folder, os.stat(folder).st_mode, _WRITE, "chmod 700", self.path)
        mark = (found.st_ino, found.st_mtime_ns, found.st_size)
        if self._seen is None or self._seen[0] != mark:
            self._seen = (mark, self._content())
        return self._seen[1]

    def _content(self) -> dict[str, Entry]:
        assert self.path is not None
        try:
            with open(self.path, "rb") as file:
                raw = file.read(_MOST_BYTES + 1)
        except OSError as error:
            raise self._unreadable(error.strerror or "it cannot be read") from None
        if len(raw) > _MOST_BYTES:
            raise self._unreadable(f"it has more than {_MOST_BYTES} bytes")
        try:
            content = msgspec.json.decode(raw, type=_Content)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise self._unreadable(_without_values(str(error))) from None
        if content.version != _VERSION:
            raise self._unreadable(f"it is of version {content.version}, and this godwit reads {_VERSION}")
        return content.providers

    def _unreadable(self, why: str) -> ConfigurationError:
        return ConfigurationError(
            f"the stored keys in {self.path} cannot be read, and were left as they are: {why}. Mend the file, or move it "
            "away and log in anew",
            path=self.path,
        )

    def change(self, provider: str, change: Callable[[Entry | None], Entry | None]) -> Entry | None:
        """Put what `change` makes of the provider's entry in its place, None to remove it; gives what was there. What
        the file has for others stays, also when several processes change it at once. ConfigurationError."""
        if self.path is None:
            raise ConfigurationError(f"there is no place to store keys: set {VARIABLE} to a file, or HOME to a folder")
        folder = os.path.dirname(self.path)
        try:
            os.makedirs(folder, mode=0o700, exist_ok=True)
            with self._locked(f"{self.path}.lock"):
                entries = dict(self.read())
                before = entries.pop(provider, None)
                after = change(before)
                if after is not None:
                    entries[provider] = after
                if after != before:
                    self._write(entries)
                return before
        except OSError as error:
            raise ConfigurationError(
                f"keys cannot be stored in {self.path}: {error.strerror or type(error).__name__}", path=self.path
            ) from None

    def _write(self, entries: dict[str, Entry]) -> None:
        assert self.path is not None
        folder = os.path.dirname(self.path)
        _check_alone(folder, os.stat(folder).st_mode, _WRITE, "chmod 700", self.path)
        raw = msgspec.json.format(msgspec.json.encode(_Content(_VERSION, entries)), indent=2)
        new = f"{self.path}.new"  # one at a time is written, and one that a crash left is of no use
        with contextlib.suppress(FileNotFoundError):
            os.unlink(new)
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        try:
            with open(descriptor, "wb") as file:
                file.write(raw)
                file.flush()
                os.fsync(file.fileno())
            os.replace(new, self.path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(new)
            raise
        opened = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(opened)
        finally:
            os.close(opened)
        self._seen = None

    @contextlib.contextmanager
    def _locked(self, path: str) -> Iterator[None]:
        """For the blink of an eye that a change takes."""
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    @contextlib.asynccontextmanager
    async def alone(self, provider: str) -> AsyncIterator[None]:
        """Of all tasks and processes one is within, for each provider. The lock of one that dies is free at once."""
        assert self.path is not None
        descriptor = os.open(f"{self.path}.{quote(provider, safe='')}.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            wait_s = 0.01
            while True:
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    # A thread that blocks there could not be given up when this process ends.
                    await asyncio.sleep(wait_s)
                    wait_s = min(2 * wait_s, 0.25)
            yield
        finally:
            os.close(descriptor)
