"""Questions of calls over godwit's own API: what waits says what is to be filled in, and a misfit names the field."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

import godwit
from godwit.client import connect
from godwit.core.errors import InvalidArgument
from godwit.models.script import ScriptedModel
from tests.engine.conftest import within
from tests.surfaces.api.remote import served
from tests.surfaces.server.asking import ACCEPTED, FORM, MODEL, SCRIPT, URL, clerk


@pytest.fixture
async def asking(tmp_path: Path) -> AsyncIterator[tuple[str, str, Any]]:
    """The address of the server, the session that asks, and its handle."""
    models = {MODEL: ScriptedModel([*SCRIPT], MODEL)}
    async with await godwit.Runtime.open(tmp_path / "g.db", models=models) as runtime, served(runtime) as url:
        session = await runtime.start_session(clerk())
        await session.prompt("Go.")
        async for event in session.follow():
            if event.type == "run.parked":
                break
        yield url, session.id, session


async def test_over_http(asking: tuple[str, str, Any]) -> None:
    url, session, handle = asking
    async with httpx.AsyncClient(base_url=f"{url}/godwit/v1/sessions/{session}") as http:

        async def waits() -> dict[str, Any]:
            (action,) = (await http.get("/actions")).json()["data"]
            return dict(action)

        action = await waits()
        assert (action["kind"], action["asking"], action["message"]) == ("question", True, "Who is tea for?")
        assert (action["schema"], action["url"]) == (FORM, None)
        answer = f"/actions/{action['id']}/answer"
        for wrong, field in (({}, "name"), ({"name": 3}, "name"), ({"name": "Ada", "size": 1.5}, "size"), ("Ada", None)):
            refused = await http.post(answer, json={"result": wrong})
            error = refused.json()["error"]
            assert (refused.status_code, error["code"], error["details"].get("field")) == (400, "invalid_argument", field)
        assert (await http.post(answer, json={"result": {"name": "Ada"}})).json() == {"changed": True}
        assert (await http.post(answer, json={"result": {"name": "Eve"}})).json() == {"changed": False}
        await until_opened(handle, 2)
        action = await waits()
        assert (action["schema"], action["url"]) == (None, URL)
        await http.post(f"/actions/{action['id']}/answer", json={"result": "done"})
        await until_opened(handle, 3)
        action = await waits()
        assert (action["kind"], action["asking"], action["arguments"]) == ("approval", True, {"prompt": "hm"})
        await http.post(f"/actions/{action['id']}/approve", json={})
    await within(handle.wait())
    results = [e.data.content[0].text for e in await handle.events() if e.type == "tool.finished"]
    assert results == [ACCEPTED]


async def test_the_client_answers_with_a_mapping(asking: tuple[str, str, Any]) -> None:
    url, session, handle = asking
    async with connect(url) as client:
        remote = await client.open_session(session)
        (action,) = await remote.approvals.pending()
        assert action.schema == FORM
        for refuses in (remote.answer(action.id, {"size": 2}), remote.approvals.check_arguments(action.id, {"size": 2})):
            with pytest.raises(InvalidArgument, match="wants 'name'") as refused:
                await refuses
            assert refused.value.details["field"] == "name"
        assert await remote.answer(action.id, {"name": "Ada", "size": 4}) is True
        await until_opened(handle, 2)
        (login,) = await remote.approvals.pending()
        assert login.url == URL
        await remote.deny(login.id, "not there")
        await until_opened(handle, 3)
        await remote.deny((await remote.approvals.pending())[0].id)
        await within(handle.wait())
    results = [e.data.content[0].text for e in await handle.events() if e.type == "tool.finished"]
    assert results == ["who accept {'name': 'Ada', 'size': 4} None; login decline None not there; leave decline None None"]


async def until_opened(handle: Any, count: int) -> None:
    async def opened() -> None:
        seen = 0
        async for event in handle.follow(0):
            seen += event.type == "action.opened"
            if seen == count:
                return

    await within(opened())
