"""Senders: the line between a sender and its reader, SSE over a real server, WebSockets of both kinds over real sockets."""

from __future__ import annotations

import asyncio
import gc
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketState
from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.frames import Frame, Opcode

from godwit.core.errors import ChannelClosed, ChannelFull, InvalidArgument
from godwit.surfaces.agui import (
    AgentSession,
    SseSender,
    SseStream,
    WebSocketSender,
    events as e,
    format_sse_event,
    sse_channel,
    verify,
    websocket_channel,
)
from tests.patience import PATIENCE_S

from .listening import served

CUSTOM = e.Custom(name="n", value=1)
BROKEN = e.Custom(name="n", value=object())


def parsed(body: bytes) -> list[dict[str, Any]]:
    """The events of an SSE body."""
    lines = [line for frame in body.split(b"\n\n") for line in frame.split(b"\n")]
    return [json.loads(line.removeprefix(b"data: ")) for line in lines if line.startswith(b"data: ")]


async def body_of(stream: SseStream) -> bytes:
    return b"".join([chunk async for chunk in stream])


async def speak(sender: SseSender | WebSocketSender) -> None:
    session = AgentSession(sender)
    await session.start_run()
    await session.say("Größe: 1\n2")
    await session.finish_run()
    sender.close()


# --- the line --------------------------------------------------------------------------------------------------------


async def test_what_is_sent_is_read_in_order_to_its_end() -> None:
    sender, stream = sse_channel(2)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(speak(sender))  # more than the buffer holds: it waits for the reader
        body = tasks.create_task(body_of(stream))
    verify(parsed(body.result()))
    assert sender.is_closed


async def test_a_full_line_takes_no_more_at_once_and_waits_otherwise() -> None:
    sender, stream = sse_channel(2)
    sender.try_send(CUSTOM)
    sender.try_send(CUSTOM)
    with pytest.raises(ChannelFull):
        sender.try_send(CUSTOM)
    waiting = asyncio.create_task(sender.send(CUSTOM))
    await asyncio.sleep(0)
    assert not waiting.done()
    chunks = aiter(stream)
    await anext(chunks)
    await waiting
    sender.close()
    assert len([chunk async for chunk in chunks]) == 2


async def test_a_reader_that_is_gone_closes_its_sender() -> None:
    sender, stream = sse_channel(2)
    assert not sender.is_closed
    assert sender.is_connected
    await stream.aclose()
    assert sender.is_closed
    assert not sender.is_connected
    for send in (sender.send, sender.emit):
        with pytest.raises(ChannelClosed):
            await send(CUSTOM)
    with pytest.raises(ChannelClosed):
        await sender.send_many([CUSTOM])
    with pytest.raises(ChannelClosed):
        sender.try_send(CUSTOM)


@pytest.mark.parametrize("make", [sse_channel, websocket_channel])
async def test_a_reader_that_is_dropped_closes_its_sender(make: Callable[[int], tuple[Any, Any]]) -> None:
    sender, reader = make(2)
    assert not sender.is_closed
    del reader
    gc.collect()
    assert sender.is_closed
    with pytest.raises(ChannelClosed):
        await sender.send(CUSTOM)


async def test_a_sender_that_waits_is_woken_when_its_reader_goes() -> None:
    sender, stream = sse_channel(1)
    await sender.send(CUSTOM)
    waiting = asyncio.create_task(sender.send(CUSTOM))
    await asyncio.sleep(0)
    await stream.aclose()
    with pytest.raises(ChannelClosed):
        await waiting


async def test_a_reader_that_is_cancelled_closes_its_sender() -> None:
    sender, stream = sse_channel(1)
    reading = asyncio.create_task(body_of(stream))
    await asyncio.sleep(0)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    assert sender.is_closed


async def test_a_closed_sender_sends_no_more_and_what_it_sent_is_read() -> None:
    sender, stream = sse_channel(3)
    await sender.emit_many([CUSTOM, CUSTOM])
    sender.close()
    with pytest.raises(ChannelClosed):
        await sender.send(CUSTOM)
    assert len(parsed(await body_of(stream))) == 2


async def test_a_reader_that_waits_is_told_of_the_end() -> None:
    sender, stream = sse_channel(3, keep_alive_s=None)
    reading = asyncio.create_task(body_of(stream))
    await asyncio.sleep(0)
    assert not reading.done()
    sender.close()
    async with asyncio.timeout(PATIENCE_S):
        assert await reading == b""


async def test_a_sender_can_wait_for_its_reader_to_go() -> None:
    sender, stream = sse_channel(3)
    await sender.send(CUSTOM)
    waiting = asyncio.create_task(sender.wait_gone())
    await asyncio.sleep(0)
    assert not waiting.done()
    await stream.aclose()
    async with asyncio.timeout(PATIENCE_S):
        await waiting
    assert await body_of(stream) == b"", "what nobody read is not kept"


async def test_a_sender_is_not_gone_before_all_is_read() -> None:
    sender, stream = sse_channel(3)
    await sender.send(CUSTOM)
    sender.close()
    waiting = asyncio.create_task(sender.wait_gone())
    await asyncio.sleep(0)
    assert not waiting.done()
    await body_of(stream)
    async with asyncio.timeout(PATIENCE_S):
        await waiting


def test_a_line_holds_one_event_at_least() -> None:
    with pytest.raises(InvalidArgument, match="holds none"):
        sse_channel(0)


async def test_a_session_survives_a_line_that_was_closed() -> None:
    sender, stream = sse_channel(10)
    session = AgentSession(sender)
    run_id = await session.start_run()
    await stream.aclose()
    with pytest.raises(ChannelClosed):
        await session.finish_run()
    assert session.run_id == run_id
    assert not session.is_connected


@pytest.mark.parametrize("at_once", [False, True])
async def test_an_event_that_is_no_json_becomes_the_failure_of_the_run(at_once: bool) -> None:
    sender, stream = sse_channel(10)
    session = AgentSession(sender)
    await session.start_run()
    with pytest.raises(InvalidArgument, match="CUSTOM cannot be written as JSON"):
        sender.try_send(BROKEN) if at_once else await session.emit(BROKEN)
    assert sender.is_closed  # nothing may follow it
    events = parsed(await body_of(stream))
    assert [event["type"] for event in events] == ["RUN_STARTED", "RUN_ERROR"]
    assert events[-1]["code"] == "serialization"
    verify(events)


# --- SSE -------------------------------------------------------------------------------------------------------------


def test_an_event_as_a_frame() -> None:
    text = format_sse_event(e.RunError(message="two\nlines"))
    assert text.startswith("data: ")
    assert text.endswith("\n\n")
    assert '"type":"RUN_ERROR"' in text
    assert text.count("\n") == 2, "what is sent has no line breaks of its own"
    text = format_sse_event(e.TextMessageStart(message_id="m"))
    assert '"messageId":"m"' in text
    assert '"role":"assistant"' in text


async def test_the_seeds_frames_name_their_type() -> None:
    sender, stream = sse_channel(10, profile="seed")
    session = AgentSession(sender, "t", profile="seed")
    await session.start_run("r")
    await (await session.start_thinking("Hm")).end()
    await session.interrupt("why")
    sender.close()
    run = '"threadId":"t","runId":"r"'
    assert (await body_of(stream)).decode() == (
        f'event: RUN_STARTED\ndata: {{"type":"RUN_STARTED",{run}}}\n\n'
        'event: THINKING_START\ndata: {"type":"THINKING_START","title":"Hm"}\n\n'
        'event: THINKING_END\ndata: {"type":"THINKING_END"}\n\n'
        f'event: RUN_FINISHED\ndata: {{"type":"RUN_FINISHED",{run},"outcome":"INTERRUPT",'
        '"interrupt":{"reason":"why"}}\n\n'
    )


async def test_a_channel_for_an_old_client_adapts_by_itself() -> None:
    sender, stream = sse_channel(10, profile="0.x")
    session = AgentSession(sender)
    await session.start_run()
    await session.cancel_run()
    sender.close()
    assert [event["type"] for event in parsed(await body_of(stream))] == ["RUN_STARTED", "RUN_ERROR"]


async def test_a_quiet_stream_is_kept_alive() -> None:
    sender, stream = sse_channel(10, keep_alive_s=0.001)
    chunks = aiter(stream)
    assert await anext(chunks) == b": keep-alive\n\n"
    await sender.send(CUSTOM)
    seen = b""
    while b"data" not in seen:
        seen = await anext(chunks)
    assert parsed(seen) == [{"type": "CUSTOM", "name": "n", "value": 1}]


async def test_sse_over_http() -> None:
    async def run(_: Request) -> StreamingResponse:
        sender, stream = sse_channel(2)
        tasks.append(asyncio.create_task(speak(sender)))
        return StreamingResponse(stream, media_type="text/event-stream")

    tasks: list[asyncio.Task[None]] = []
    async with served(Starlette(routes=[Route("/", run, methods=["POST"])])) as address:
        async with httpx2.AsyncClient(timeout=PATIENCE_S, trust_env=False) as client:
            response = await client.post(f"http://{address}/")
    assert response.headers["content-type"].startswith("text/event-stream")
    events = parsed(response.content)
    verify(events)
    assert events[2]["delta"] == "Größe: 1\n2"
    await asyncio.gather(*tasks)


async def test_a_client_that_leaves_closes_the_sender() -> None:
    senders: list[SseSender] = []

    async def run(_: Request) -> StreamingResponse:
        sender, stream = sse_channel(100, keep_alive_s=0.01)
        senders.append(sender)
        await sender.send(CUSTOM)
        return StreamingResponse(stream, media_type="text/event-stream")

    async with served(Starlette(routes=[Route("/", run)])) as address:
        async with httpx2.AsyncClient(timeout=PATIENCE_S, trust_env=False) as client:
            async with client.stream("GET", f"http://{address}/") as response:
                async for _ in response.aiter_bytes():
                    break
        async with asyncio.timeout(PATIENCE_S):
            await senders[0].wait_gone()
    assert senders[0].is_closed


# --- WebSocket -------------------------------------------------------------------------------------------------------

Serve = Callable[[Any], Awaitable[None]]


@asynccontextmanager
async def starlette_server(handle: Serve) -> AsyncIterator[str]:
    async def endpoint(socket: WebSocket) -> None:
        await handle(socket)

    async with served(Starlette(routes=[WebSocketRoute("/", endpoint)])) as address:
        yield f"ws://{address}/"


@asynccontextmanager
async def plain_server(handle: Serve) -> AsyncIterator[str]:
    async def endpoint(connection: ServerConnection) -> None:
        await handle(connection)

    async with serve(endpoint, "127.0.0.1", 0) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        yield f"ws://127.0.0.1:{port}/"


KINDS = pytest.mark.parametrize("server", [starlette_server, plain_server])


@KINDS
async def test_events_come_as_texts_and_the_end_closes(server: Any) -> None:
    async def handle(socket: Any) -> None:
        sender, handler = websocket_channel(2)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(speak(sender))
            await handler.serve(socket)
        assert sender.is_closed

    async with server(handle) as url, asyncio.timeout(PATIENCE_S):
        async with connect(url, proxy=None) as client:
            await client.send("words that nobody looks at")
            await client.send(b"\x00")
            texts = [text async for text in client]  # it ends as the connection is closed normally
            assert client.close_code == 1000
    assert all(isinstance(text, str) for text in texts)
    verify([json.loads(text) for text in texts])


@KINDS
async def test_a_client_that_closes_closes_the_sender_of_a_socket(server: Any) -> None:
    made: asyncio.Future[tuple[WebSocketSender, asyncio.Event]] = asyncio.get_running_loop().create_future()

    async def handle(socket: Any) -> None:
        sender, handler = websocket_channel(2)
        ended = asyncio.Event()
        made.set_result((sender, ended))
        await handler.serve(socket)
        ended.set()

    async with server(handle) as url, asyncio.timeout(PATIENCE_S):
        async with connect(url, proxy=None):
            sender, ended = await made
            assert not sender.is_closed
        await ended.wait()
    assert sender.is_closed
    with pytest.raises(ChannelClosed):
        await sender.send(CUSTOM)


async def test_a_socket_that_cannot_be_opened_or_is_let_go_closes_the_sender() -> None:
    class Unopened:
        """As a WebSocket of Starlette whose client has gone."""

        client_state = WebSocketState.CONNECTING

        async def accept(self) -> None:
            raise RuntimeError("gone")

        async def send_text(self, text: str) -> None: ...

    sender, handler = websocket_channel(2)
    with pytest.raises(RuntimeError):
        await handler.serve(Unopened())
    assert sender.is_closed

    class Quiet:
        """As a connection on which nothing ever comes."""

        def __aiter__(self) -> Quiet:
            return self

        async def __anext__(self) -> str:
            await asyncio.Event().wait()
            raise StopAsyncIteration

    sender, handler = websocket_channel(2)
    serving = asyncio.create_task(handler.serve(Quiet()))
    await asyncio.sleep(0)
    assert not sender.is_closed
    serving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await serving
    assert sender.is_closed


@KINDS
async def test_an_event_that_is_no_json_ends_a_socket_too(server: Any) -> None:
    async def handle(socket: Any) -> None:
        sender, handler = websocket_channel(4)
        await sender.send(e.RunStarted(thread_id="t", run_id="r"))
        with pytest.raises(InvalidArgument):
            await sender.send(BROKEN)
        await handler.serve(socket)

    async with server(handle) as url, asyncio.timeout(PATIENCE_S):
        async with connect(url, proxy=None) as client:
            texts = [text async for text in client]
    verify([json.loads(text) for text in texts])
    assert len(texts) == 2


async def test_a_quiet_socket_is_pinged() -> None:
    pings: asyncio.Queue[bytes] = asyncio.Queue()

    class Pinged(ClientConnection):
        """Tells of the pings that it gets."""

        def process_event(self, event: Any) -> None:
            if isinstance(event, Frame) and event.opcode is Opcode.PING:
                pings.put_nowait(bytes(event.data))
            super().process_event(event)

    async def handle(socket: Any) -> None:
        _sender, handler = websocket_channel(2, ping_s=0.01)
        await handler.serve(socket)

    async with plain_server(handle) as url, asyncio.timeout(PATIENCE_S):
        async with connect(url, proxy=None, create_connection=Pinged):
            assert await pings.get()
            assert await pings.get()
