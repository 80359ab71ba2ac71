"""MCP servers for the measurements, in processes of their own: `mcp_servers.py stdio TOOLS [NAME]`, or `http SERVERS TOOLS`,
which says the ports of its servers on one line.

Of the standard library alone, so that many start quickly. They list tools such as real servers have, and do nothing. Speaks
the protocol of 2025-11-25.
"""

import asyncio
import contextlib
import json
import sys

_TEXT = (
    "It takes what it is given, looks up the records that fit, and returns them in pages. Use it for one record at a time."
)


def tool(number: int) -> dict[str, object]:
    text = {"type": "string", "description": "What is looked for, as it is written in the record."}
    properties = {"record": text, "owner": text, "limit": {"type": "integer", "minimum": 1, "maximum": 100}}
    schema = {"type": "object", "properties": properties, "required": ["record"], "additionalProperties": False}
    return {
        "name": f"update_record_{number:03}",
        "description": f"Update records of kind {number}. {_TEXT}",
        "inputSchema": schema,
    }


def answer(message: dict[str, object], tools: int) -> bytes | None:
    """What is said to a message; None for one that wants no answer."""
    if "id" not in message:
        return None
    said: dict[str, object]
    match message["method"]:
        case "initialize":
            about = {"name": "bench", "version": "1"}
            said = {"result": {"protocolVersion": "2025-11-25", "capabilities": {"tools": {}}, "serverInfo": about}}
        case "tools/list":
            said = {"result": {"tools": [tool(number) for number in range(tools)]}}
        case method:
            said = {"error": {"code": -32601, "message": f"no method {method}"}}
    return json.dumps({"jsonrpc": "2.0", "id": message["id"], **said}).encode()


def stdio(tools: int) -> None:
    for line in sys.stdin.buffer:
        said = answer(json.loads(line), tools)
        if said is not None:
            sys.stdout.buffer.write(said + b"\n")
            sys.stdout.buffer.flush()


async def http(servers: int, tools: int) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
                length = next(
                    (int(one.partition(":")[2]) for one in head.split("\r\n") if one.startswith("content-length")), 0
                )
                body = await reader.readexactly(length)
                said = answer(json.loads(body), tools) if body else None
                status = "200 OK" if said else "202 Accepted" if body else "405 Method Not Allowed"
                said = said or b""
                kind = "content-type: application/json\r\n" if said else ""
                writer.write(f"HTTP/1.1 {status}\r\n{kind}content-length: {len(said)}\r\n\r\n".encode() + said)
                await writer.drain()
        writer.close()

    opened = [await asyncio.start_server(serve, "127.0.0.1", 0) for _ in range(servers)]
    print(*(one.sockets[0].getsockname()[1] for one in opened), flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)  # until who started it has gone


if __name__ == "__main__":
    if sys.argv[1] == "stdio":
        stdio(int(sys.argv[2]))
    else:
        asyncio.run(http(int(sys.argv[2]), int(sys.argv[3])))
