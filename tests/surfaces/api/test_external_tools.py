"""Tools of a client over HTTP, as plain JSON. What the remote handle does with them: `test_handle.py`."""

from __future__ import annotations

import httpx2

import godwit
from tests.engine.conftest import MODEL, Bench

from .remote import RemoteBench, served

COLOUR = {"name": "colour", "description": "Which?", "parameters": {"type": "object", "properties": {}}}


async def test_as_plain_json(bench: RemoteBench) -> None:
    host = await Bench.runtime(bench, ["Yes."])
    own = godwit.ToolDefinition("own", "Do it.", {"type": "object", "properties": {}})
    handle = await host.start_session(godwit.Agent("tester", model=MODEL, tools=[own]), workspace=bench.workspace)
    async with served(host) as url, httpx2.AsyncClient(base_url=f"{url}/godwit/v1/sessions/{handle.id}") as http:
        assert (await http.get("/external_tools")).json() == {"data": []}
        assert (await http.put("/external_tools", json={"tools": [COLOUR]})).json() == {"changed": True}
        assert (await http.put("/external_tools", json={"tools": [COLOUR]})).json() == {"changed": False}
        assert (await http.get("/external_tools")).json() == {"data": [COLOUR]}
        refused = await http.put("/external_tools", json={"tools": [{**COLOUR, "name": "own"}]})
        assert refused.status_code == 400
        assert refused.json()["error"]["details"]["names"] == ["own"]
        assert (await http.put("/external_tools", json={"tools": [{"name": "x"}]})).status_code == 400
        assert (await http.put("/external_tools", json={"tools": []})).json() == {"changed": True}
