"""web_fetch in a session: what it brings is recorded as untrusted, and where it is led is ruled like where it was sent."""

from __future__ import annotations

from godwit.core.events import ToolFinished
from godwit.core.messages import text_of
from godwit.models.script import Script, call
from godwit.tools.web import WebFetch
from tests.engine.conftest import Bench, data, until_type
from tests.parts.web_site import page, redirect, site


async def test_an_approval_for_one_host_is_none_for_another(bench: Bench) -> None:
    async with site() as one, site() as other:
        one.answers["/"] = redirect(f"http://localhost:{other.port}/")
        one.answers["/moved"] = redirect("/here")
        one.answers["/here"] = page("here", "text/plain")
        fetch = WebFetch(allow_private=[one.here, f"localhost:{other.port}"])
        script: Script = [call("web_fetch", url=one.url("/")), call("web_fetch", url=one.url("/moved")), "done"]
        session = await bench.start(script, fetch, permissions={"web_fetch": "ask"})
        run = await session.prompt("Look it up.")
        seq = 0
        for _ in range(2):
            seq = (await until_type(session, "action.opened", seq)).seq
            [action] = await session.approvals.pending()
            await session.approvals.approve(action.id)
        await session.wait(run)
        led, moved = await data(session, ToolFinished)
        assert (led.status, moved.status) == ("error", "ok")
        assert "another host" in text_of(led.content)
        assert other.connections == 0
        assert moved.metadata["untrusted"] is True
        assert moved.metadata["redirects"] == [one.url("/moved")]


async def test_where_it_is_allowed_redirects_are_followed(bench: Bench) -> None:
    async with site() as one, site() as other:
        one.answers["/"] = redirect(f"http://localhost:{other.port}/")
        other.answers["/"] = page("there", "text/plain")
        fetch = WebFetch(allow_private=[one.here, f"localhost:{other.port}"])
        session = await bench.start([call("web_fetch", url=one.url("/")), "done"], fetch)
        await session.send("Look it up.")
        [found] = await data(session, ToolFinished)
        assert found.status == "ok"
        assert "there" in text_of(found.content)
        # The host's own call is trusted likewise.
        assert (await session.tool("web_fetch", {"url": one.url("/")})).ok
