"""Two `godwit serve` on one database: when the one that sends is killed, the other sends what was promised."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path
from typing import Any

import anthropic
import pytest

from tests.host.webhook_site import Inbox, verified
from tests.parts.web_site import page, site
from tests.surfaces.server.process import serving, setup
from tests.surfaces.terminal import Command

SAYING = """
    from godwit.models.script import ScriptedModel, say

    def runtime():
        return {"models": {"scripted:any": ScriptedModel([say("First.")])}}
"""
CONFIG = """
[server]
reach = ["{here}"]

[server.webhooks]
retries_s = [{retries}]
"""


@pytest.mark.slow
async def test_another_server_sends_what_one_that_was_killed_has_promised(tmp_path: Path) -> None:
    folder = tmp_path / "work"
    folder.mkdir()
    flags = ("--setup", setup(folder, SAYING), "--model", "*=scripted:any")
    async with site() as here:
        inbox = Inbox(here)
        inbox.always = page("", status="503 Not Now")
        config = tmp_path / "own.toml"
        config.write_text(CONFIG.format(here=here.here, retries=", ".join(["0.2"] * 200)))
        env = {"GODWIT_CONFIG": str(config)}
        types = ("--type", "session.created", "--type", "session.idled")
        added = await Command(folder).run("webhooks", "add", inbox.url, *types, "--json", **env)
        assert added.code == 0, added.err
        with serving(folder, *flags, **env) as first, serving(folder, *flags, **env) as second:
            session = await asyncio.to_thread(_worked, first.url)
            # Whoever leads has tried in vain; then it dies, and the one that is left may be the one that never sent.
            await inbox.until(lambda came: len({one.headers["webhook-id"] for one in came}) == 2)
            tried = set(inbox.ids())
            await asyncio.to_thread(first.end, signal.SIGKILL)
            before = len(inbox.requests)
            inbox.always = None
            requests = await inbox.until(lambda came: {one.headers["webhook-id"] for one in came[before:]} == tried)
            told = [verified(one, added.lines[0]["secret"]) for one in requests[before:]]
            assert {one["data"]["id"] for one in told} == {session}
            assert second.process.poll() is None


def _worked(url: str) -> str:
    """A session that has answered."""
    with anthropic.Anthropic(base_url=url, api_key="any") as client:
        agent = client.beta.agents.create(name="a", model="claude-test")
        environment = client.beta.environments.create(name="e")
        session = client.beta.sessions.create(agent=agent.id, environment_id=environment.id)
        with client.beta.sessions.events.stream(session.id) as stream:
            message: Any = {"type": "user.message", "content": [{"type": "text", "text": "Hello."}]}
            client.beta.sessions.events.send(session.id, events=[message])
            for event in stream:
                if event.type == "session.status_idle":
                    return session.id
    raise AssertionError("the stream has ended")
