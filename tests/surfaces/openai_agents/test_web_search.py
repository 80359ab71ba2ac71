"""The web search of an agent narrowed to domains and a place, through the official client."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import openai
import pytest

from godwit.core.messages import ToolResult
from godwit.models.script import ScriptedModel, call, say
from godwit.tools.web_search import Hit, WebSearch
from tests.surfaces.server.running import RunningServer, running

from .conftest import ANY, NONE, Shared, client_of


class Found:
    """A search service that finds a page in each of three places, and knows of no domains."""

    name = "found"

    def __init__(self) -> None:
        self.counts: list[int] = []

    async def search(self, query: str, count: int) -> Sequence[Hit]:
        self.counts.append(count)
        urls = ("https://docs.example.com/1", "https://example.com/blog/2", "https://evil.example/3")
        return [Hit(url, url, "") for url in urls]


def run(path: Path, search: Found, *script: Any) -> Any:
    models = {"scripted:any": ScriptedModel(list(script))}
    return running(path / "g.db", models=models, settings=ANY, tools=[WebSearch(search)])


def told(server: RunningServer, session: str) -> list[str]:
    """What the model was told of its searches."""

    async def read() -> list[str]:
        handle = await server.runtime.desk.session(session)
        return [message.text for message in await handle.history() if isinstance(message, ToolResult)]

    return server.call(read)


def said(client: openai.OpenAI, session: str, text: str) -> None:
    with client.beta.agents.sessions.stream(session, input=text) as events:
        events.get_final_result()


def test_it_is_shown_as_it_was_sent_and_holds_after_a_restart(tmp_path: Path) -> None:
    place = {"city": "Oslo", "country": "NO", "region": None, "timezone": "Europe/Oslo"}
    tool: Any = {"type": "web_search", "allowed_domains": ["docs.example.com", "example.com/blog"], "location": place}
    shown = {**tool, "context_size": "medium", "mode": "live"}
    search = Found()
    script = [call("web_search", query="x"), say("1"), call("web_search", query="y"), say("2")]
    with run(tmp_path, search, *script) as server:
        client = client_of(server)
        agent = client.beta.agents.create(model="m", tools=[tool])
        session = client.beta.agents.sessions.create(agent_id=agent.id, environment=NONE)
        assert [one.to_dict() for one in (*agent.tools, *session.agent.tools)] == [shown, shown]
        said(client, session.id, "Go.")
    with run(tmp_path, search, *script) as server:
        client = client_of(server)
        said(client, session.id, "On.")
        assert [one.to_dict() for one in client.beta.agents.sessions.retrieve(session.id).agent.tools] == [shown]
        found = told(server, session.id)
    assert len(found) == 2
    for one in found:
        assert "https://docs.example.com/1" in one
        assert "https://example.com/blog/2" in one
        assert "evil" not in one
    assert search.counts == [20, 20]


def test_how_much_is_found(tmp_path: Path) -> None:
    search = Found()
    script = [call("web_search", query="x"), say("1")] * 3
    with run(tmp_path, search, *script) as server:
        client = client_of(server)
        tool: Any = {"type": "web_search", "context_size": "low"}
        session = client.beta.agents.sessions.create(agent={"model": "m", "tools": [tool]}, environment=NONE)
        for size in ("low", "high", None):
            changed: Any = {"tools": [{"type": "web_search"} if size is None else {**tool, "context_size": size}]}
            shown: Any = client.beta.agents.sessions.update(session.id, agent=changed).agent.tools[0]
            assert shown.context_size == (size or "medium")
            said(client, session.id, "Go.")
    assert search.counts == [4, 16, 8]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"allowed_domains": []}, "allowed_domains"),
        ({"allowed_domains": ["https://a.example"]}, "allowed_domains.0: 'https://a.example' has a scheme"),
        ({"location": {"country": "Norway"}}, "country='Norway' is no two-letter code"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(shared: Shared, given: dict[str, Any], words: str) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        shared.client.beta.agents.create(model="m", extra_body={"tools": [{"type": "web_search", **given}]})
    assert words in str(refused.value.body)
