"""The bash tool: a shell command in the workspace, its output live and as the result.

Rules: output is text as it comes, never split inside a character; the result keeps all of it up to 10 MiB, then its
beginning and its end, and says how much is missing. A command that fails, runs out of time or is cancelled is an error
result that keeps what the command had printed. The timeout is exact to the millisecond.
"""

from __future__ import annotations

import codecs
import time
from collections import deque
from typing import Annotated, Any

from msgspec import Meta

from ..contracts import ToolContext, ToolOutput, ToolTraits
from ..core.rules import Subject
from .typed import Arguments, TypedTool, told

KEPT_BYTES = 10 * 1024 * 1024


class BashArguments(Arguments, frozen=True):
    command: Annotated[str, Meta(min_length=1, description="The command, as given to bash -c.")]
    timeout: Annotated[
        int,
        Meta(
            ge=1, le=600_000, description="Milliseconds after which the command is killed. Default 120000, at most 600000."
        ),
    ] = 120_000


class Bash(TypedTool[BashArguments]):
    """Runs alone: no one can tell from a command what it writes."""

    name = "bash"
    description = (
        "Run a shell command in the workspace folder. Each call starts a new shell; nothing is kept but files. There is no "
        "input. Returns stdout and stderr together, and the exit code when it is not 0. Commands may be confined: only the "
        "workspace and $TMPDIR can be written then, and there is no network. A program started in the background, its "
        "output redirected as in `server > server.log 2>&1 &`, may end with the call: use it in the same one."
    )
    traits = ToolTraits(exclusive=True)
    arguments = BashArguments

    def subject(self, arguments: dict[str, Any]) -> Subject:
        return Subject("command", self.checked(arguments).command)

    async def work(self, arguments: BashArguments, context: ToolContext) -> ToolOutput:
        kept = Kept()
        decoder = codecs.getincrementaldecoder("utf-8")("replace")

        def take(chunk: bytes) -> None:
            kept.add(chunk)
            if text := decoder.decode(chunk):
                context.output(text)

        started = time.monotonic()
        ended = await context.workspace.execute(
            arguments.command,
            output=take,
            timeout_s=arguments.timeout / 1000,
            grace_s=context.grace_s,
            cancel=context.cancel,
        )
        duration_ms = round((time.monotonic() - started) * 1000)
        if rest := decoder.decode(b"", final=True):
            context.output(rest)
        note = None
        if ended.timed_out:
            note = f"[command timed out after {arguments.timeout} ms]"
        elif ended.cancelled:
            note = "[command cancelled]"
        elif ended.exit_code != 0:
            note = "[command was killed]" if ended.exit_code is None else f"[exit code {ended.exit_code}]"
        text = kept.text()
        if note is not None:
            text = f"{text}{'' if not text or text.endswith(chr(10)) else chr(10)}{note}"
        facts = {
            "exit_code": ended.exit_code,
            "timed_out": ended.timed_out,
            "cancelled": ended.cancelled,
            "duration_ms": duration_ms,
        }
        return told(text or "(no output)", facts, is_error=note is not None)


class Kept:
    """Output, whole up to `limit` bytes, then its first and its last half."""

    def __init__(self, limit: int = KEPT_BYTES) -> None:
        self._half = limit // 2
        self._head = bytearray()
        self._tail: deque[bytes] = deque()
        self._tail_size = 0
        self._missing = 0

    def add(self, chunk: bytes) -> None:
        room = self._half - len(self._head)
        if room > 0:
            self._head += chunk[:room]
            chunk = chunk[room:]
        if not chunk:
            return
        self._tail.append(chunk)
        self._tail_size += len(chunk)
        while self._tail_size > self._half:
            extra = self._tail_size - self._half
            first = self._tail.popleft()
            if len(first) > extra:
                self._tail.appendleft(first[extra:])
            cut = min(extra, len(first))
            self._missing += cut
            self._tail_size -= cut

    def text(self) -> str:
        tail = b"".join(self._tail)
        if not self._missing:
            return (bytes(self._head) + tail).decode("utf-8", "replace")
        # Both cuts may go through a character, which is then left out and counted.
        head = _whole_end(bytes(self._head))
        start = _whole_start(tail)
        missing = self._missing + len(self._head) - len(head) + start
        note = f"\n[... {missing} bytes left out ...]\n"
        return head.decode("utf-8", "replace") + note + tail[start:].decode("utf-8", "replace")


def _whole_end(content: bytes) -> bytes:
    """Without the beginning of a character at the end whose rest is missing."""
    for back in range(1, min(4, len(content)) + 1):
        byte = content[-back]
        if byte & 0xC0 == 0x80:
            continue
        length = (
            1 if byte < 0x80 else 2 if byte >> 5 == 0b110 else 3 if byte >> 4 == 0b1110 else 4 if byte >> 3 == 0b11110 else 1
        )
        return content[:-back] if length > back else content
    return content


def _whole_start(content: bytes) -> int:
    start = 0
    while start < min(3, len(content)) and content[start] & 0xC0 == 0x80:
        start += 1
    return start
