"""A form for an answer, over HTTP: by the remote handle, and as plain JSON."""

from __future__ import annotations

import httpx2
import pytest
from pydantic import BaseModel

import godwit
from godwit.core.errors import ConfigurationError, RunFailed
from tests.engine.conftest import MODEL, Bench, within

from .remote import RemoteBench, served


class Found(BaseModel):
    path: str
    line: int


async def test_a_remote_handle_gives_the_type_back(bench: RemoteBench) -> None:
    session = await bench.start(["no", '{"path": "a", "line": 1}', '{"path": "b", "line": 2}'])
    assert (await within(session.send("Find.", output=Found))).output == Found(path="a", line=1)
    schema = Found.model_json_schema()
    assert (await within(session.send("Find.", output=schema))).output == {"path": "b", "line": 2}
    with pytest.raises(ConfigurationError):
        await session.send("Find.", output={"type": "nonsense"})


async def test_an_agent_with_a_form_is_sent_with_it(bench: RemoteBench) -> None:
    session = await bench.start(['{"path": "a", "line": 1}', "no", "no"], output=Found, output_retries=1)
    assert (await within(session.send("Find."))).output == {"path": "a", "line": 1}
    with pytest.raises(RunFailed) as failed:
        await within(session.send("Find."))
    assert failed.value.result.error is not None
    assert failed.value.result.error.code == "output_schema"


async def test_a_host_that_knows_the_type_answers_with_plain_json(bench: RemoteBench) -> None:
    host = await Bench.runtime(bench, ['{"path": "a", "line": 1}'])
    agent = godwit.Agent("tester", model=MODEL, output=Found)
    handle = await host.start_session(agent, workspace=bench.workspace)
    assert (await within(handle.send("Find."))).output == Found(path="a", line=1)
    async with served(host) as url, httpx2.AsyncClient() as http:
        answered = await http.get(f"{url}/godwit/v1/sessions/{handle.id}/result")
    assert answered.json()["output"] == {"path": "a", "line": 1}
