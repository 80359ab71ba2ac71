"""A provider on 127.0.0.1 that streams scripted chat completions, as cheaply as Python can: one process, no framework.

The model's name in the request chooses the answer: `text-200` streams 200 chunks of text, `tools-20` asks for one tool call
until the messages behind the last user's hold 20 results, then says a word. Each server-sent event is an HTTP chunk and a
socket write of its own. The bytes of every answer are made once.

Run as a process of its own (`python -m bench.provider`) so that its time is not counted as ours; it prints its port and
ends when its standard input does. Left out: everything a provider checks.
"""

from __future__ import annotations

import asyncio
import functools
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

TOOL = "add"
"""The tool that `tools-N` models call, with `a` and `b`."""

_MODEL = re.compile(rb'"model":\s*"([^"]*)"')
_USER = re.compile(rb'"role":\s*"user"')
_RESULT = re.compile(rb'"role":\s*"tool"')
_LENGTH = re.compile(rb"content-length:\s*(\d+)", re.IGNORECASE)
_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
_END = b"0\r\n\r\n"


def text_of(chunks: int) -> list[str]:
    """The pieces of text that `text-<chunks>` streams."""
    return [f"word{n % 10} " for n in range(chunks)]


def arguments_of(step: int) -> dict[str, int]:
    """The arguments of the call in step `step`, from 0. No two calls of one run are equal."""
    return {"a": step, "b": 1}


def _events(model: str, deltas: list[dict[str, Any]], finish: str) -> tuple[bytes, ...]:
    def event(delta: dict[str, Any] | None, **rest: Any) -> bytes:
        choices = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": rest.pop("finish", None)}]
        body = {"id": "chatcmpl-bench", "object": "chat.completion.chunk", "created": 1700000000, "model": model}
        return b"data: " + json.dumps({**body, "choices": choices, **rest}, separators=(",", ":")).encode() + b"\n\n"

    first: dict[str, Any] = {"role": "assistant", "content": None if "tool_calls" in deltas[0] else "", **deltas[0]}
    usage = {"prompt_tokens": 100, "completion_tokens": len(deltas), "total_tokens": 100 + len(deltas)}
    events = [event(first), *(event(d) for d in deltas[1:]), event({}, finish=finish), event(None, usage=usage)]
    events.append(b"data: [DONE]\n\n")
    return tuple(b"%x\r\n%b\r\n" % (len(e), e) for e in events)


@functools.lru_cache(maxsize=4096)
def answer(model: str, results: int) -> tuple[bytes, ...]:
    """The HTTP chunks of the answer of `model` when the messages behind the last user's hold `results` tool results."""
    kind, _, number = model.rpartition("-")
    count = int(number)
    if kind == "tools" and results < count:
        text = json.dumps(arguments_of(results), separators=(",", ":"))
        head = {"index": 0, "id": f"call_{results}", "type": "function", "function": {"name": TOOL, "arguments": ""}}
        half = len(text) // 2
        pieces = [{"index": 0, "function": {"arguments": part}} for part in (text[:half], text[half:])]
        return _events(model, [{"tool_calls": [head]}, *({"tool_calls": [p]} for p in pieces)], "tool_calls")
    return _events(model, [{"content": piece} for piece in (text_of(count) if kind == "text" else ["done"])], "stop")


class _Connection(asyncio.Protocol):
    """One keep-alive connection; requests come one after the other."""

    def __init__(self) -> None:
        self._data = bytearray()
        self._need = 0
        self._transport: asyncio.WriteTransport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._data += data
        while self._data:
            if not self._need:
                end = self._data.find(b"\r\n\r\n")
                if end < 0:
                    return
                length = _LENGTH.search(self._data, 0, end)
                self._need = end + 4 + (int(length[1]) if length else 0)
            if len(self._data) < self._need:
                return
            request = bytes(self._data[: self._need])
            del self._data[: self._need]
            self._need = 0
            self._reply(request)

    def _reply(self, request: bytes) -> None:
        model = _MODEL.search(request)
        assert model is not None, "a request without a model"
        users = [m.start() for m in _USER.finditer(request)]
        results = len(_RESULT.findall(request, users[-1] if users else 0))
        write = self._transport.write
        write(_HEAD)
        for piece in answer(model[1].decode(), results):
            write(piece)
        write(_END)


async def _serve() -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(_Connection, "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    ended = asyncio.Event()
    loop.add_reader(sys.stdin.fileno(), lambda: None if os.read(sys.stdin.fileno(), 1) else ended.set())
    await ended.wait()


@contextmanager
def provider(environment: dict[str, str] | None = None) -> Iterator[str]:
    """The base URL (`http://127.0.0.1:<port>/v1`) of a provider process that lives as long as the block."""
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.provider"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, **(environment or {})},
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield f"http://127.0.0.1:{int(process.stdout.readline())}/v1"
    finally:
        process.stdin.close()
        process.wait(10)
        process.stdout.close()


if __name__ == "__main__":
    asyncio.run(_serve())
