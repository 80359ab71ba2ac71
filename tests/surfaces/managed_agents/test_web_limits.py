"""What the web tools of a toolset may look at, through the official client: shown, refused, and held in a session."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import anthropic
import pytest

from godwit.core.web import UrlSources
from godwit.models.script import ScriptedModel, call, say
from godwit.surfaces.server import ServerSettings
from godwit.tools.web import WebFetch
from godwit.tools.web_search import Hit, WebSearch
from tests.surfaces.server.running import RunningServer, running

from .conftest import Start, client_of
from .talk import TOOLSET, Talk, custom, said

ALLOW = {"type": "always_allow"}
PLACE = {"type": "approximate", "city": "Oslo", "country": "NO", "region": None, "timezone": "Europe/Oslo"}


def limited(**tools: dict[str, Any]) -> Any:
    return {**TOOLSET, "configs": [{"name": name, **limits} for name, limits in tools.items()]}


class Found:
    """A search service that finds a page in each of three places, and knows of no domains."""

    name = "found"

    async def search(self, query: str, count: int) -> Sequence[Hit]:
        urls = ("https://docs.example.com/1", "https://example.com/blog/2", "https://evil.example/3")
        return [Hit(url, url, "") for url in urls]


def results(talk: Talk) -> list[tuple[bool, str]]:
    return [(bool(e.is_error), e.content[0].text) for e in talk.list() if e.type == "agent.tool_result"]


def test_they_are_shown_as_they_were_sent(client: anthropic.Anthropic) -> None:
    fetch = {"allowed_domains": ["Docs.example.com", "example.org"], "max_content_tokens": 1000}
    search = {"blocked_domains": ["ads.example.com/x"], "user_location": PLACE}
    made = client.beta.agents.create(name="Bird", model="m", tools=[limited(web_fetch=fetch, web_search=search)])
    shown: Any = made.tools[0].to_dict()
    assert shown["configs"] == [
        {"name": "web_fetch", "type": "web_fetch", "enabled": True, "permission_policy": ALLOW, **fetch},
        {"name": "web_search", "type": "web_search", "enabled": True, "permission_policy": ALLOW, **search},
    ]
    again = client.beta.agents.update(made.id, tools=[limited(web_fetch=fetch, web_search=search)], version=1)
    assert (again.version, again.tools) == (1, made.tools)
    changed = client.beta.agents.update(made.id, tools=[limited(web_fetch={**fetch, "max_content_tokens": 2})])
    assert changed.version == 2
    assert client.beta.agents.retrieve(made.id, version=1).tools == made.tools


def test_sources_are_shown_in_their_long_form(client: anthropic.Anthropic) -> None:
    one = {"type": "tool_reference", "name": "web_search"}
    given = {"server_tool_results": {"type": "only", "tools": [one]}, "user_input": "none"}
    made = client.beta.agents.create(
        name="Bird", model="m", tools=[limited(web_fetch={"url_sources": given}), custom("crm"), custom("mail")]
    )
    shown: Any = made.tools[0].to_dict()
    assert shown["configs"][0]["url_sources"] == {
        "user_input": {"type": "none"},
        "server_tool_results": {"type": "only", "tools": [one]},
        "client_tool_results": {"type": "all"},
    }
    other = {"type": "tool_reference", "name": "mail"}
    given = {"client_tool_results": {"type": "except", "tools": [other]}, "server_tool_results": {"type": "none"}}
    tools = [limited(web_fetch={"url_sources": given}), custom("crm"), custom("mail")]
    assert client.beta.agents.update(made.id, tools=tools).version == 2


def test_what_they_come_to(start: Start) -> None:
    server = start()
    with client_of(server) as client:
        except_mail = {"type": "except", "tools": [{"type": "tool_reference", "name": "mail"}]}
        given = {"client_tool_results": except_mail, "user_input": {"type": "all"}}
        tools = [limited(web_fetch={"url_sources": given}), custom("crm"), custom("mail")]
        made = client.beta.agents.create(name="Bird", model="m", tools=tools)
    _, spec = server.call(lambda: server.runtime.store.get_agent(made.id))
    assert spec.web is not None
    assert spec.web.fetch.sources == UrlSources(True, ("web_search", "web_fetch", "crm"))


NONE = {"user_input": "none", "server_tool_results": "none", "client_tool_results": {"type": "none"}}


@pytest.mark.parametrize(
    ("tools", "words"),
    [
        ({"web_fetch": {"allowed_domains": ["a.example"], "blocked_domains": ["b.example"]}}, "cannot be combined"),
        ({"web_search": {"allowed_domains": []}}, "allowed_domains"),
        ({"web_search": {"allowed_domains": ["a.example"] * 65}}, "allowed_domains"),
        ({"web_fetch": {"allowed_domains": ["https://a.example"]}}, "allowed_domains.0: 'https://a.example' has a scheme"),
        ({"web_fetch": {"blocked_domains": ["a.example", "b.example:80"]}}, "blocked_domains.1: 'b.example:80' has a port"),
        ({"web_fetch": {"allowed_domains": ["a.example/blog"]}}, "has a path"),
        ({"web_search": {"allowed_domains": ["*.a.example"]}}, "without the star"),
        ({"web_fetch": {"max_content_tokens": 0}}, "max_content_tokens"),
        ({"web_search": {"max_content_tokens": 9}}, "web_search has no such setting"),
        ({"web_fetch": {"user_location": PLACE}}, "web_fetch has no such setting"),
        ({"bash": {"allowed_domains": ["a.example"]}}, "bash has no such setting"),
        ({"web_search": {"user_location": {**PLACE, "country": "no"}}}, "country"),
        ({"web_search": {"user_location": {**PLACE, "city": "a\nb"}}}, "city"),
        ({"web_search": {"user_location": {"type": "exact"}}}, "user_location"),
        ({"web_fetch": {"url_sources": NONE}}, "disable it instead"),
        ({"web_fetch": {"url_sources": {"user_input": "some"}}}, "user_input"),
        ({"web_fetch": {"url_sources": {"server_tool_results": {"type": "only", "tools": []}}}}, "tools"),
        (
            {"web_fetch": {"url_sources": {"client_tool_results": {"type": "only", "tools": [
                {"type": "tool_reference", "name": "crm"}, {"type": "tool_reference", "name": "crm"}]}}}},
            "'crm' is there twice",
        ),
        (
            {"web_fetch": {"url_sources": {"client_tool_results": {"type": "only", "tools": [
                {"type": "tool_reference", "name": "bash"}]}}}},
            "'bash' is not one of the tools that this is about: crm",
        ),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_by_name(shared_client: anthropic.Anthropic, tools: dict[str, Any], words: str) -> None:
    with pytest.raises(anthropic.BadRequestError) as refused:
        shared_client.beta.agents.create(name="Bird", model="m", tools=[limited(**tools), custom("crm")])
    assert words in str(refused.value.body)


def run(path: Path, *script: Any) -> Any:
    settings = ServerSettings(port=0, models={"*": "scripted:any"})
    return running(
        path / "g.db", models={"scripted:any": ScriptedModel(list(script))}, settings=settings, tools=[WebSearch(Found())]
    )


def test_they_hold_in_a_session_and_after_a_restart(tmp_path: Path) -> None:
    fetch, search = {"allowed_domains": ["127.0.0.1"]}, {"allowed_domains": ["example.com"]}
    away = call("web_fetch", url="https://evil.example/")
    here = call("web_fetch", url="http://127.0.0.1/")
    script = [away + here + call("web_search", query="x"), say("Done."), away, say("Done.")]
    with run(tmp_path, *script) as server:
        with Talk(server, limited(web_fetch=fetch, web_search=search)) as talk, talk.listen() as listener:
            talk.say()
            listener.idle()
            evil, own, found = results(talk)
            assert evil == (True, "evil.example may not be fetched here. Only these domains: 127.0.0.1.")
            assert own[0]
            assert "may not be fetched here" not in own[1]  # an address of its own is refused for another reason
            assert "https://docs.example.com/1" in found[1]
            assert "https://example.com/blog/2" in found[1]
            assert "evil" not in found[1]
            session = talk.id
    with run(tmp_path, *script) as server, client_of(server) as client:
        client.beta.sessions.events.send(session, events=[said("Again.")])
        with client.beta.sessions.events.stream(session, extra_query={"from_seq": "0"}) as stream:
            told = [e.content[0].text for e in _until_idle(stream, 2) if e.type == "agent.tool_result"]
    assert told[3] == "evil.example may not be fetched here. Only these domains: 127.0.0.1."


def _until_idle(stream: Any, times: int) -> list[Any]:
    heard: list[Any] = []
    for event in stream:
        heard.append(event)
        if [e.type for e in heard].count("session.status_idle") == times:
            break
    return heard


def test_only_what_was_shown(tmp_path: Path) -> None:
    """From what a person says and a client's tool answers, and not from what the model makes up or searches for."""
    shown = call("web_fetch", url="http://127.0.0.1/said") + call("web_fetch", url="http://127.0.0.1/made-up")
    told = call("web_fetch", url="http://127.0.0.1/told") + call("web_fetch", url="https://example.com/blog/2")
    script = [shown + call("crm") + call("web_search", query="http://127.0.0.1/made-up"), told, say("Done.")]
    none = {"url_sources": {"server_tool_results": "none"}}
    with run(tmp_path, *script) as server:
        with Talk(server, limited(web_fetch=none), custom("crm")) as talk, talk.listen() as listener:
            talk.say("Look at http://127.0.0.1/said!")
            use = listener.some("agent.custom_tool_use")
            answer = {"type": "user.custom_tool_result", "custom_tool_use_id": use.id}
            talk.send({**answer, "content": [{"type": "text", "text": json.dumps({"page": "http://127.0.0.1/told"})}]})
            listener.until(lambda heard: [e for e in heard if e.type == "agent.message"])
            refused = {}
            uses = {e.id: e.input.get("url") for e in talk.list() if e.type == "agent.tool_use"}
            for event in talk.list():
                if event.type == "agent.tool_result" and uses[event.tool_use_id]:
                    refused[uses[event.tool_use_id]] = "was not shown in this conversation" in event.content[0].text
    assert refused == {
        "http://127.0.0.1/said": False,
        "http://127.0.0.1/made-up": True,
        "http://127.0.0.1/told": False,
        "https://example.com/blog/2": True,
    }


def test_a_session_may_be_given_others(tmp_path: Path) -> None:
    away = call("web_fetch", url="https://evil.example/")
    with run(tmp_path, away, say("1"), away, say("2")) as server:
        with Talk(server, TOOLSET) as talk, talk.listen() as listener, client_of(server) as client:
            tools = [limited(web_fetch={"blocked_domains": ["evil.example"]})]
            shown = client.beta.sessions.update(talk.id, agent={"tools": tools})
            assert shown.agent.tools[0].to_dict()["configs"][0]["blocked_domains"] == ["evil.example"]  # type: ignore[index]
            talk.say()
            listener.idle()
            assert results(talk) == [(True, "evil.example may not be fetched here. None of these domains: evil.example.")]


def test_an_agent_of_godwits_own_shows_them(server: RunningServer, client: anthropic.Anthropic) -> None:
    import httpx

    body = {
        "models": ["scripted:any"],
        "tools": ["web_fetch"],
        "web": {
            "fetch": {"domains": {"allowed": ["a.example"]}, "max_content_tokens": 9, "sources": {"tools": ["web_fetch"]}}
        },
    }
    made = httpx.put(f"{server.url}/godwit/v1/agents/bird", json=body)
    assert made.status_code == 200, made.text
    shown: Any = client.beta.agents.retrieve(made.json()["id"]).tools[0].to_dict()
    assert shown["configs"][0] == {
        "name": "web_fetch",
        "type": "web_fetch",
        "enabled": True,
        "permission_policy": ALLOW,
        "allowed_domains": ["a.example"],
        "max_content_tokens": 9,
        "url_sources": {
            "user_input": {"type": "all"},
            "server_tool_results": {"type": "only", "tools": [{"type": "tool_reference", "name": "web_fetch"}]},
            "client_tool_results": {"type": "all"},
        },
    }


class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(302 if self.path == "/away" else 200)
        self.send_header("Location", "http://127.0.0.2:1/")
        self.send_header("Content-Type", "text/plain")
        self.end_headers()
        self.wfile.write(b"Soup and fish.")

    def log_message(self, *_: object) -> None:
        pass


def test_a_web_fetch_of_the_hosts_own_is_the_one_that_is_used(tmp_path: Path) -> None:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page) as pages:
        threading.Thread(target=pages.serve_forever, daemon=True).start()
        place = f"127.0.0.1:{pages.server_address[1]}"
        script = [call("web_fetch", url=f"http://{place}/") + call("web_fetch", url=f"http://{place}/away"), say("Done.")]
        settings = ServerSettings(port=0, models={"*": "scripted:any"})
        own = WebFetch(allow_private=[place, "127.0.0.2:1"])
        model = {"scripted:any": ScriptedModel(script)}
        with (
            running(tmp_path / "g.db", models=model, settings=settings, tools=[own]) as server,
            Talk(server, limited(web_fetch={"allowed_domains": ["127.0.0.1"]})) as talk,
            talk.listen() as listener,
        ):
            talk.say()
            listener.idle()
            page, away = sorted(results(talk))  # as they ended, otherwise
        pages.shutdown()
    assert (page[0], "Soup and fish." in page[1]) == (False, True)
    assert (away[0], "127.0.0.2 may not be fetched here" in away[1]) == (True, True)
