"""web_fetch in a session: what it brings is recorded as untrusted, and where it is led is ruled like where it was sent."""

from __future__ import annotations

import godwit
from godwit.core.agent import Permissions
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


async def test_hooks_are_asked_about_the_address_of_the_call_and_rules_about_each(bench: Bench) -> None:
    async with site() as one:
        one.answers["/"] = redirect("/next")
        one.answers["/next"] = redirect("/last")
        asked: list[str] = []

        @godwit.hook("before_tool", tool="web_fetch")
        async def look(given: godwit.HookCall) -> None:
            asked.append(given.payload["arguments"]["url"])

        rules = Permissions(deny=("web_fetch(**/last)",))
        script: Script = [call("web_fetch", url=one.url("/")), "done"]
        session = await bench.start(script, WebFetch(allow_private=[one.here]), hooks=[look], permissions=rules)
        await session.send("Look it up.")
        assert asked == [one.url("/")]
        [found] = await data(session, ToolFinished)
        assert "which the permissions deny" in text_of(found.content)
        assert [r.target for r in one.requests] == ["/", "/next"]


async def test_a_rule_for_a_host_is_for_that_host(bench: Bench) -> None:
    """Whatever the address is written like, and wherever it leads."""
    async with site() as one, site() as other:
        one.answers["/docs/"] = redirect("/docs/start")
        one.answers["/docs/start"] = page("docs", "text/plain")
        one.answers["/docs/out"] = redirect(f"http://localhost:{other.port}/")
        one.answers["/docs/up"] = redirect("/admin/x")
        fetch = WebFetch(allow_private=[one.here, f"localhost:{other.port}"])
        rules = Permissions(
            allow=(f"web_fetch(http://127.0.0.1:{one.port}/docs/**)",), deny=("web_fetch(**/admin/**)",), default="deny"
        )
        paths = ("/docs/", "/docs/out", "/docs/up", "/docs/../admin/x", "/docs/%2e%2e/other", "/%64ocs/start")
        script: Script = [*(call("web_fetch", url=one.url(path)) for path in paths), "done"]
        session = await bench.start(script, fetch, permissions=rules)
        await session.send("Look it up.")
        assert [(f.status, "[from " in text_of(f.content)) for f in await data(session, ToolFinished)] == [
            ("ok", True),
            ("error", False),
            ("error", False),
            ("denied", False),
            ("denied", False),
            ("ok", False),
        ]
        assert [r.target for r in one.requests] == ["/docs/", "/docs/start", "/docs/out", "/docs/up", "/docs/start"]
        assert other.connections == 0
