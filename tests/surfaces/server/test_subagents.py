"""What clients of the protocols of others see of a session whose subagents work: it runs, and theirs are not listed."""

from __future__ import annotations

from pathlib import Path

import httpx2

from tests.engine.conftest import until_type, within
from tests.surfaces.server.running import running
from tests.surfaces.test_cli_tasks import models, root


def test_a_session_whose_subagents_work_or_ask_reads_as_running(tmp_path: Path) -> None:
    with running(tmp_path / "g.db", models=models()) as server:

        async def asked() -> str:
            session = await server.runtime.start_session(root(), workspace=tmp_path)
            server.runtime.desk.keep(session)
            await session.prompt("Go.")
            await within(until_type(session, "subagent.asked"))
            return session.id

        async def answered() -> str:
            session = await server.runtime.open_session(name)
            (action,) = await session.approvals.pending()
            await session.approvals.approve(action.id)
            return (await within(session.wait())).text

        name = server.call(asked)
        with httpx2.Client(base_url=server.url) as client:
            listed = client.get("/v1/sessions").json()["data"]
            assert [(one["id"], one["status"]) for one in listed] == [(name, "running")]
            theirs = client.get("/v1/agents/sessions", headers={"openai-beta": "agents=v1"}).json()["data"]
            assert [(one["id"], one["status"]) for one in theirs] == [(name, "in_progress")]
            kinds = [one["type"] for one in client.get(f"/v1/sessions/{name}/events").json()["data"]]
            assert "session.status_idle" not in kinds
            assert server.call(answered) == "All done."
            kinds = [one["type"] for one in client.get(f"/v1/sessions/{name}/events").json()["data"]]
            assert kinds[-1] == "session.status_idle"
