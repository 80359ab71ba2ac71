"""The shared state over HTTP, as plain JSON. What the remote handle does with it: `test_handle.py`."""

from __future__ import annotations

from typing import Any

import httpx2

import godwit
from tests.engine.conftest import MODEL, Bench

from .remote import RemoteBench, served


async def test_as_plain_json(bench: RemoteBench) -> None:
    host = await Bench.runtime(bench, ["Yes."])
    handle = await host.start_session(godwit.Agent("tester", model=MODEL, tools=["state"]), workspace=bench.workspace)
    async with served(host) as url, httpx2.AsyncClient(base_url=f"{url}/godwit/v1/sessions/{handle.id}") as http:
        path = "/shared_state"
        assert (await http.get(path)).json() == {"value": {}}
        letter = {"title": "Letter", "lines": []}
        assert (await http.put(path, json={"value": letter, "sender": "ann"})).json() == {"value": letter}
        patch = {"operations": [{"op": "move", "from": "/title", "path": "/name"}], "key": "once"}
        for _ in range(2):
            assert (await http.patch(path, json=patch)).json() == {"value": {"lines": [], "name": "Letter"}}
        misfit = await http.patch(path, json={"operations": [{"op": "remove", "path": "/title"}]})
        assert (misfit.status_code, misfit.json()["error"]["code"]) == (409, "patch_failed")
        assert misfit.json()["error"]["details"] == {"operation": 1}
        put = {"op": "put", "path": "/a"}
        bodies: list[dict[str, Any]] = [{}, {"operations": [put]}, {"operations": {}}, {"operations": [], "more": 1}]
        for wrong in bodies:
            assert (await http.patch(path, json=wrong)).status_code == 400
        assert (await http.put(path, json={"value": "x" * 262_144})).status_code == 400
        assert (await http.put(path, json={})).status_code == 400
        assert (await http.put(path, json={"value": None})).json() == {"value": {}}
        assert [event.type for event in await handle.events()].count("state.updated") == 3
