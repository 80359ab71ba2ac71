"""A small MCP server over stdio that answers what its tools are once it may: `mcp_gate.py PORT [NAME]`.

It tells who listens on that port of loopback when it is asked, and waits for a byte from there. Of the standard library
alone, so that many of them start quickly. Speaks the protocol of 2025-11-25.
"""

import json
import socket
import sys


def main() -> None:
    for line in sys.stdin:
        message = json.loads(line)
        if "id" not in message:
            continue
        match message["method"]:
            case "initialize":
                about = {"name": "gate", "version": "1"}
                version = message["params"]["protocolVersion"]
                answer = {"result": {"protocolVersion": version, "capabilities": {"tools": {}}, "serverInfo": about}}
            case "tools/list":
                with socket.create_connection(("127.0.0.1", int(sys.argv[1]))) as gate:
                    gate.sendall(b"?")
                    gate.recv(1)
                answer = {"result": {"tools": [{"name": "good", "inputSchema": {"type": "object"}}]}}
            case method:
                answer = {"error": {"code": -32601, "message": f"no method {method}"}}
        print(json.dumps({"jsonrpc": "2.0", "id": message["id"], **answer}), flush=True)


if __name__ == "__main__":
    main()
