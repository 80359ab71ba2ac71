"""MCP servers that do what they should not: a session ends its run, whole, and the next call finds the server again."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.engine.conftest import Bench, data, until, within
from tests.parts.leaks import memory_mb
from tests.parts.raw_mcp_site import RawMcpSite, Writer, answer, http, raw_mcp_site, said

from godwit import McpServer, McpSettings
from godwit.core.errors import ConfigurationError
from godwit.core.events import Delta, Event, McpUnavailable, ToolFinished, ToolStarted
from godwit.core.messages import text_of
from godwit.engine import run_servers
from godwit.engine.session import Session
from godwit.host.mcp import connection as mcp_connection
from godwit.models.script import call, say
from godwit.tools import guarded, mcp_transport

Message = dict[str, Any]


@pytest.fixture
async def site() -> AsyncIterator[RawMcpSite]:
    async with raw_mcp_site() as made:
        yield made


async def session_of(
    bench: Bench, site: RawMcpSite, *script: Any, timeout_s: float = 1.0, connect_s: float = 30.0, **agent: Any
) -> Session:
    runtime = await bench.runtime(list(script), mcp=McpSettings(reach=(site.here,), connect_s=connect_s))
    servers = [McpServer("raw", site.url, timeout_s=timeout_s), McpServer("same", site.url)]
    return await bench.start(list(script), runtime=runtime, mcp_servers=servers, **agent)


async def ran(session: Session) -> list[tuple[str, str]]:
    """The status and the text of each result, once the run has ended."""
    await within(session.prompt_and_wait("Go."))
    return [(one.status, text_of(one.content)) for one in await data(session, ToolFinished)]


async def hang(_: Message, __: Writer) -> None:
    await asyncio.sleep(3600)


async def drip(_: Message, writer: Writer) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 100000\r\n\r\n")
    while True:
        writer.write(b" ")
        await writer.drain()
        await asyncio.sleep(0.02)


async def junk(_: Message, writer: Writer) -> None:
    writer.write(http(b'{"jsonrpc": 7, \xff'))


async def page(_: Message, writer: Writer) -> None:
    writer.write(http(b"<html>", "text/html"))


async def no_result(message: Message, writer: Writer) -> None:
    writer.write(answer(message, {"content": "no list"}))


async def wrong_id(message: Message, writer: Writer) -> None:
    writer.write(answer(message, said("for somebody"), id=987654))


async def huge(message: Message, writer: Writer) -> None:
    writer.write(answer(message, said("0" * 5000)))


async def huge_event(message: Message, writer: Writer) -> None:
    event = (
        b"event: message\ndata: " + json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": said("0" * 5000)}).encode()
    )
    writer.write(http(event + b"\n\n", "text/event-stream"))


async def cut_off(_: Message, writer: Writer) -> None:
    writer.write(http(b'{"jsonrpc": "2.0", ', length=500))
    await writer.drain()
    writer.close()
    raise ConnectionError


async def cut_off_event(_: Message, writer: Writer) -> None:
    writer.write(http(b"event: message\ndata: {", "text/event-stream", length=500))
    await writer.drain()
    writer.close()
    raise ConnectionError


async def closed(_: Message, writer: Writer) -> None:
    writer.close()
    raise ConnectionError


async def server_error(_: Message, writer: Writer) -> None:
    writer.write(http(b"oh no", "text/plain", status="500 Internal Server Error"))


async def gzip_bomb(_: Message, writer: Writer) -> None:
    body = gzip.compress(bytes(50_000_000))
    writer.write(http(body).replace(b"content-type", b"content-encoding: gzip\r\ncontent-type", 1))


async def huge_header(_: Message, writer: Writer) -> None:
    writer.write(http(b"{}").replace(b"content-type", b"x-much: " + b"h" * 1_000_000 + b"\r\ncontent-type", 1))


async def circle(_: Message, writer: Writer) -> None:
    writer.write(http(b"", status="307 Temporary Redirect").replace(b"content-type", b"location: /mcp\r\ncontent-type", 1))


async def elsewhere(_: Message, writer: Writer) -> None:
    where = b"location: http://127.0.0.2:9/mcp\r\ncontent-type"
    writer.write(http(b"", status="307 Temporary Redirect").replace(b"content-type", where, 1))


async def endless_line(_: Message, writer: Writer) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\ndata: ")
    while True:
        writer.write(b"x" * 1000)
        await writer.drain()


async def endless_comments(_: Message, writer: Writer) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n")
    while True:
        writer.write(b": nothing\n\n" * 100)
        await writer.drain()


@pytest.mark.parametrize("behaves", [gzip_bomb, huge_header, circle, elsewhere, endless_line, endless_comments])
async def test_what_http_can_do_wrong_costs_one_call(bench: Bench, site: RawMcpSite, behaves: Any) -> None:
    site.on["bad"] = behaves
    script = [call("mcp__raw__bad"), call("mcp__raw__worse"), say("Done.")]
    session = await session_of(bench, site, *script, timeout_s=5.0)
    before = memory_mb()
    bad, next_one = await ran(session)
    assert bad[0] == "error"
    assert next_one == ("ok", "worse did it")
    assert memory_mb() - before < 200
    assert site.heard.count("tools/call") < 50


@pytest.mark.parametrize(
    ("behaves", "why"),
    [
        (hang, "timed out"), (drip, "timed out"), (wrong_id, "timed out"), (junk, "Failed to parse"), (page, "content type"),
        (no_result, "cannot be used"), (huge, "more than 4000 bytes"), (huge_event, "more than 4000 bytes"),
        (cut_off, "cannot be used"), (cut_off_event, "cannot be used"), (closed, "cannot be used"), (server_error, "says"),
    ],
)  # fmt: skip
async def test_a_call_that_goes_wrong_is_an_error_of_its_own_alone(
    bench: Bench, site: RawMcpSite, monkeypatch: pytest.MonkeyPatch, behaves: Any, why: str
) -> None:
    monkeypatch.setattr(guarded, "MOST_BYTES", 4000)

    async def meanwhile(message: Message, writer: Writer) -> None:
        """Answered only when the other one has gone wrong."""
        await until(session, lambda e: isinstance(e.data, ToolFinished) and e.data.name == "mcp__raw__bad")
        writer.write(answer(message, said("it did")))

    site.on["bad"], site.on["good"] = behaves, meanwhile
    script = [call("mcp__raw__bad") + call("mcp__same__good"), call("mcp__raw__worse"), say("Done.")]
    session = await session_of(bench, site, *script, timeout_s=0.5)
    bad, good, next_one = await ran(session)
    assert bad[0] == "error"
    assert why in bad[1]
    assert good == ("ok", "it did")
    assert next_one == ("ok", "worse did it")
    assert site.heard.count("tools/call") == 3
    assert [s.name for s in await data(session, ToolStarted)] == [
        "mcp__raw__bad", "mcp__same__good", "mcp__raw__worse",
    ]  # fmt: skip


@pytest.mark.parametrize("behaves", [hang, drip, junk, page, no_result, wrong_id, cut_off, closed, server_error])
@pytest.mark.parametrize("method", ["server/discover", "initialize", "tools/list"])
async def test_a_server_that_goes_wrong_as_it_is_connected_costs_a_run_its_tools(
    bench: Bench, site: RawMcpSite, method: str, behaves: Any
) -> None:
    site.on[method] = behaves
    session = await session_of(bench, site, call("mcp__raw__good"), say("Done."), connect_s=0.5)
    (result,) = await ran(session)
    if result[0] == "ok":
        assert method == "server/discover"  # then the older way is tried
        return
    missing, _ = await data(session, McpUnavailable)
    assert missing.message.startswith("the MCP server 'raw' is not connected: ")
    assert result == ("error", f"The{missing.message[3:]}")
    assert "tools/call" not in site.heard


async def test_a_tool_that_is_none_costs_no_other_one(bench: Bench, site: RawMcpSite, caplog: Any) -> None:
    nested: Any = {"type": "object"}
    for _ in range(60):
        nested = {"type": "object", "properties": {"x": nested}}
    site.tools += [
        "a text", None, {"name": "a"}, {"name": 5, "inputSchema": {"type": "object"}}, {"name": "b", "inputSchema": "text"},
        {"name": "c", "inputSchema": {"type": "array"}}, {"name": "d", "inputSchema": {"type": "object", "properties": 7}},
        {"name": "e", "inputSchema": {"type": "object", "$ref": "https://elsewhere.example/schema"}},
        {"name": "", "inputSchema": {"type": "object"}}, {"name": "f" * 300, "inputSchema": {"type": "object"}},
        {"name": "nested", "inputSchema": nested}, {"name": "g", "inputSchema": {"type": "object"}, "annotations": "none"},
        {"name": "h", "description": 8, "inputSchema": {"type": "object"}},
    ]  # fmt: skip
    session = await session_of(bench, site, say("Done."))
    await ran(session)
    assert bench.model is not None
    names = {tool.name for tool in bench.model.requests[0].tools if tool.name.startswith("mcp__raw__")}
    assert {"mcp__raw__good", "mcp__raw__bad", "mcp__raw__worse"} <= names <= {
        "mcp__raw__good", "mcp__raw__bad", "mcp__raw__worse", "mcp__raw__nested",
    }  # fmt: skip
    assert caplog.text.count("is left out") >= 12


async def test_no_schema_of_a_server_takes_hours(bench: Bench, site: RawMcpSite) -> None:
    evil = {"type": "string", "pattern": "^(a+)+$"}
    again = {"anyOf": [{"$ref": "#/$defs/again"}, {"$ref": "#/$defs/again"}], "not": {}}
    output = {"type": "object", "properties": {"x": evil}}
    site.tools = [
        {"name": "good", "inputSchema": {"type": "object", "properties": {"x": evil}}, "outputSchema": output},
        {
            "name": "bad",
            "inputSchema": {"type": "object", "properties": {"x": {"$ref": "#/$defs/again"}}, "$defs": {"again": again}},
        },
    ]
    text = "a" * 60 + "!"

    async def structured(message: Message, writer: Writer) -> None:
        writer.write(answer(message, {"content": [], "structuredContent": {"x": text}}))

    site.on["good"] = structured
    session = await session_of(bench, site, call("mcp__raw__good", x=text), call("mcp__raw__bad", x=1), say("Done."))
    good, bad = await ran(session)
    assert good == ("ok", json.dumps({"x": text}, separators=(",", ":")))
    assert bad[0] == "invalid"


async def test_an_interrupt_is_told_to_the_server_and_blocks_nothing(
    bench: Bench, site: RawMcpSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mcp_transport, "NOTE_S", 0.3)
    told = asyncio.Event()

    async def cancelled(_: Message, writer: Writer) -> None:
        told.set()
        await hang(_, writer)

    site.on["bad"], site.on["notifications/cancelled"] = hang, cancelled
    session = await session_of(bench, site, call("mcp__raw__bad"), call("mcp__raw__good"), say("Done."), timeout_s=60)
    running = asyncio.create_task(within(session.prompt_and_wait("Go.")))
    await within(site.calling.wait())
    await session.interrupt()
    await running
    await within(told.wait())
    assert (await ran(session))[-1] == ("ok", "good did it")


async def test_streams_that_break_off_are_not_asked_for_without_pause(
    bench: Bench, site: RawMcpSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mcp_transport, "STREAM_PAUSE_S", 0.01)
    monkeypatch.setattr(mcp_transport, "MOST_STREAMS", 4)

    async def resumable(_: Message, writer: Writer) -> None:
        writer.write(http(b"id: 1\nretry: 0\nevent: message\ndata:\n\n", "text/event-stream"))

    site.on["bad"] = site.on["GET"] = resumable
    session = await session_of(bench, site, call("mcp__raw__bad"), call("mcp__raw__good"), say("Done."), timeout_s=60)
    bad, good = await ran(session)
    assert bad[0] == "error"
    assert good == ("ok", "good did it")
    assert site.heard.count("GET") <= 2 + 4
    assert site.heard.count("tools/call") == 2


async def test_a_list_that_changes_all_the_time_changes_a_run_a_few_times_at_most(
    bench: Bench, site: RawMcpSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mcp_connection, "RELIST_S", 0.0)
    lists, read = 0, asyncio.Event()

    async def listed(message: Message, writer: Writer) -> None:
        nonlocal lists
        lists += 1
        writer.write(answer(message, {"tools": [*site.tools, {"name": f"new{lists}", "inputSchema": {"type": "object"}}]}))
        await writer.drain()
        read.set()

    async def changes(message: Message, writer: Writer) -> None:
        read.clear()
        changed = {"jsonrpc": "2.0", "method": "notifications/tools/list_changed"}
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n")
        writer.write(f"event: message\ndata: {json.dumps(changed)}\n\n".encode())
        await writer.drain()
        await read.wait()
        done = {"jsonrpc": "2.0", "id": message["id"], "result": said("changed")}
        writer.write(f"event: message\ndata: {json.dumps(done)}\n\n".encode())
        await writer.drain()
        writer.close()
        raise ConnectionError

    site.on["tools/list"], site.on["bad"] = listed, changes
    steps = run_servers.MOST_CHANGES + 4
    session = await session_of(bench, site, *[call("mcp__raw__bad", n=n) for n in range(steps)], say("Done."), timeout_s=60)
    assert all(status == "ok" for status, _ in await ran(session))
    assert bench.model is not None
    seen = [tuple(tool.name for tool in request.tools) for request in bench.model.requests]
    assert 2 <= len(dict.fromkeys(seen)) <= 1 + run_servers.MOST_CHANGES
    assert lists > 1 + run_servers.MOST_CHANGES


async def test_a_server_that_does_not_let_go_is_left(
    bench: Bench, site: RawMcpSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mcp_connection, "CLOSE_S", 0.2)

    async def begins(message: Message, writer: Writer) -> None:
        about = {"protocolVersion": "2025-06-18", "capabilities": {}, "serverInfo": {"name": "raw", "version": "1"}}
        body = json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": about}).encode()
        writer.write(http(body).replace(b"content-type", b"mcp-session-id: 1\r\ncontent-type", 1))

    site.on |= {"initialize": begins, "GET": hang, "DELETE": hang}
    session = await session_of(bench, site, call("mcp__raw__good"), say("Done."))
    assert await ran(session) == [("ok", "good did it")]
    (connection, *_) = session._home.parts.tool_servers._connections.values()  # type: ignore[union-attr]
    await within(connection.close())
    assert connection._task is None
    assert "DELETE" in site.heard


@pytest.mark.parametrize("url", ["http://user:secret-word@127.0.0.1/mcp", "http://[::1/mcp", "https://a..b/"])
async def test_an_address_that_is_none_keeps_no_run_waiting(bench: Bench, url: str) -> None:
    runtime = await bench.runtime([call("mcp__raw__good"), say("Done.")], mcp=McpSettings())
    session = await bench.start([], runtime=runtime, mcp_servers=[McpServer("raw", url)])
    (result,) = await ran(session)
    assert result[1].startswith("The MCP server 'raw' is not connected: ")
    assert "secret-word" not in result[1]


def test_places_that_are_none_are_told_at_once() -> None:
    with pytest.raises(ConfigurationError):
        McpSettings(reach=("not a place!",))


async def test_progress_is_told_at_a_pace_that_can_be_followed(bench: Bench, site: RawMcpSite) -> None:
    async def floods(message: Message, writer: Writer) -> None:
        token = message["params"]["_meta"]["progressToken"]
        events: list[Any] = [
            {"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progressToken": token, "progress": n}}
            for n in range(3000)
        ]
        events.append({"jsonrpc": "2.0", "id": message["id"], "result": said("done")})
        writer.write(
            http("".join(f"event: message\ndata: {json.dumps(e)}\n\n" for e in events).encode(), "text/event-stream")
        )

    site.on["bad"] = floods
    session = await session_of(bench, site, call("mcp__raw__bad"), say("Done."), timeout_s=60)
    shown: list[Delta] = []

    async def watch() -> None:
        async for one in session.watch():
            if isinstance(one, Delta) and one.kind == "progress":
                shown.append(one)
            if isinstance(one, Event) and isinstance(one.data, ToolFinished):
                return

    watching = asyncio.create_task(watch())
    assert await ran(session) == [("ok", "done")]
    await within(watching)
    assert 1 <= len(shown) < 1000


async def test_what_a_server_says_of_its_tools_has_a_bound(
    bench: Bench, site: RawMcpSite, caplog: pytest.LogCaptureFixture
) -> None:
    site.tools = [{"name": f"t{n:03}", "description": "x" * 15_000, "inputSchema": {"type": "object"}} for n in range(300)]
    session = await session_of(bench, site, say("Done."), tool_search="never")
    await ran(session)
    assert bench.model is not None
    of_raw = [tool for tool in bench.model.requests[0].tools if tool.name.startswith("mcp__raw__")]
    assert sum(len(tool.description) for tool in of_raw) < 1024 * 1024
    assert len(of_raw) > 60
    assert "says more than" in caplog.text
