"""Lines of JSON from a file that somebody else wrote: one at a time, however long the file is.

A line ends at LF alone: U+2028 and its kind stand within texts, and a CR before the LF belongs to neither. What is no JSON
object is counted and passed over, an unfinished last line as well.
"""

from __future__ import annotations

import io
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import msgspec

from ...core.errors import InvalidArgument

MAX_LINE = 256 * 1024 * 1024
"""Bytes that one line may have; a longer one is passed over."""
_SURROGATE = re.compile("[\ud800-\udfff]")
UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What a decoder raises for bytes that are no JSON, no text, or nested too deep."""
_decoder = msgspec.json.Decoder()


class Source(Protocol):
    """Something to import that can be read again from its beginning. `path`: where it is, if it is a file."""

    name: str
    path: Path | None

    def open(self) -> BinaryIO: ...


class FileSource:
    """A file. InvalidArgument when it is none or cannot be read."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path: Path | None = Path(path)
        self.name = self.path.name
        if not self.path.is_file():
            raise InvalidArgument(f"{os.fspath(path)!r} is not a file", path=os.fspath(path))

    def open(self) -> BinaryIO:
        assert self.path is not None
        try:
            return self.path.open("rb")
        except OSError as error:
            raise InvalidArgument(f"{str(self.path)!r} cannot be read: {error.strerror}", path=str(self.path)) from None


class BytesSource:
    """What was uploaded."""

    def __init__(self, content: bytes, name: str = "") -> None:
        self.path: Path | None = None
        self.name = name
        self._content = content

    def open(self) -> BinaryIO:
        return io.BytesIO(self._content)


class Lines:
    """The lines of a source, with what was passed over. Iterate once."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self.junk = 0
        self.torn = 0
        self.read = 0
        """Bytes so far."""

    def __iter__(self) -> Iterator[bytes]:
        """Each line that may be JSON, without its end."""
        with self._source.open() as file:
            while line := file.readline(MAX_LINE):
                self.read += len(line)
                if len(line) == MAX_LINE and not line.endswith(b"\n"):
                    self.junk += 1
                    while (line := file.readline(MAX_LINE)) and not line.endswith(b"\n"):
                        self.read += len(line)
                    self.read += len(line)
                    continue
                stripped = line.strip(b" \t\r\n\xef\xbb\xbf")
                if not stripped:
                    continue
                if not line.endswith(b"\n") and not _whole(stripped):
                    self.torn += 1
                elif stripped[:1] != b"{":
                    self.junk += 1
                else:
                    yield stripped

    def objects(self) -> Iterator[dict[str, Any]]:
        """Each line that is a JSON object."""
        for line in self:
            found = parsed(line)
            if found is None:
                self.junk += 1
            else:
                yield found


def parsed(line: bytes) -> dict[str, Any] | None:
    """The object, or None. Half a surrogate pair becomes U+FFFD, which no store could keep, and so does what is no UTF-8."""
    try:
        found = _decoder.decode(line)
    except UNREADABLE:
        try:
            found = _mended(json.loads(line.decode("utf-8", "replace"), parse_constant=_no_number))
        except (ValueError, RecursionError):
            return None
    return found if isinstance(found, dict) else None


def _no_number(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def _mended(value: Any) -> Any:
    if isinstance(value, str):
        return _SURROGATE.sub("\ufffd", value)
    if isinstance(value, list):
        return [_mended(one) for one in value]
    if isinstance(value, dict):
        return {_SURROGATE.sub("\ufffd", key): _mended(one) for key, one in value.items()}
    return value


def _whole(line: bytes) -> bool:
    return line[:1] == b"{" and line[-1:] == b"}" and parsed(line) is not None


def moment_ms(value: Any) -> int | None:
    """Milliseconds since 1970 of a time as these files write them: ISO text, or a number of seconds or milliseconds."""
    from datetime import UTC, datetime

    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, int | float):
        # Seconds until the year 5138, milliseconds since 1973.
        ms = value if abs(value) >= 1e11 else value * 1000
        return int(ms) if 0 <= ms < 1 << 53 else None
    if isinstance(value, str):
        try:
            found = datetime.fromisoformat(value)
        except ValueError:
            return None
        try:
            return int((found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp() * 1000)
        except (OverflowError, ValueError):
            return None
    return None
