"""What web tools may look at: domains, how much of a page, only what was shown. Against real servers on loopback."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from tests.parts.tool_context import Context, call, text
from tests.parts.web_site import Site, page, redirect
from tests.parts.web_words import (
    a_here,  # noqa: F401 - a fixture
    fetched,
    fetcher,
    refusal,
    within,
)
from tests.patience import PATIENCE_S

from godwit import Agent, Runtime, Session
from godwit.core.errors import ConfigurationError, ToolFailed
from godwit.core.ids import CallId, MessageId
from godwit.core.lanes import LaneConfig, LaneSettings
from godwit.core.messages import Assistant, Message, Text, ToolCall, ToolResult, ToolStatus, User
from godwit.core.verification import VerificationCommand, VerificationPolicy
from godwit.core.web import Domains, FetchPolicy, SearchPolicy, UrlSources, UserLocation, WebPolicy
from godwit.models.script import ScriptedModel, call as model_call, say
from godwit.tools.web import WebFetch
from godwit.tools.web_search import Brave, Hit, SearXNG, Tavily, WebSearch


def named(here: Site, *names: str, **options: Any) -> WebFetch:
    """A tool that finds the site under these names."""

    async def resolve(host: str) -> Sequence[str]:
        if host not in names:
            raise socket.gaierror(f"unknown {host}")
        return ["127.0.0.1"]

    return WebFetch(allow_private=[f"{name}:{here.port}" for name in names], resolve=resolve, **options)


class TestDomains:
    async def test_only_those_allowed_and_what_is_below(self, here: Site) -> None:
        here.answers["/a"] = page("hello")
        tool = named(here, "good.example", "docs.good.example", "evilgood.example", allowed_domains=["good.example"])
        assert await fetched(tool, here.url("/a", "good.example")) == "hello"
        assert await fetched(tool, here.url("/a", "docs.good.example")) == "hello"
        said = await refusal(tool, here.url("/a", "evilgood.example"))
        assert said == "evilgood.example may not be fetched here. Only these domains: good.example."
        assert len(here.requests) == 2
        assert tool.definition.description.endswith("Only these domains: good.example.")

    async def test_never_those_blocked(self, here: Site) -> None:
        here.answers["/a"] = page("hello")
        tool = named(here, "good.example", "ads.good.example", blocked_domains=["ads.good.example"])
        assert await fetched(tool, here.url("/a", "good.example")) == "hello"
        assert "None of these domains: ads.good.example." in await refusal(tool, here.url("/a", "ads.good.example"))
        assert len(here.requests) == 1

    async def test_where_a_redirect_leads_is_checked_again(self, here: Site) -> None:
        here.answers["/in"] = redirect(here.url("/there", "docs.good.example"))
        here.answers["/out"] = redirect(here.url("/there", "evil.example"))
        here.answers["/there"] = page("there")
        tool = named(here, "good.example", "docs.good.example", "evil.example", allowed_domains=["good.example"])
        assert "there" in await fetched(tool, here.url("/in", "good.example"))
        said = await refusal(tool, here.url("/out", "good.example"))
        assert said.startswith(f"{here.url('/out', 'good.example')} redirects to {here.url('/there', 'evil.example')}: ")
        assert said.endswith("evil.example may not be fetched here. Only these domains: good.example.")
        assert [r.target for r in here.requests] == ["/in", "/there", "/out"]

    async def test_an_agents_policy_narrows_and_never_widens(self, here: Site) -> None:
        here.answers["/a"] = page("hello")
        tool = named(here, "good.example", "docs.good.example", allowed_domains=["good.example"])
        narrow = tool.within(WebPolicy(FetchPolicy(Domains(("docs.good.example", "other.example")))))
        assert await fetched(narrow, here.url("/a", "docs.good.example")) == "hello"
        assert "Only these domains: docs.good.example." in await refusal(narrow, here.url("/a", "good.example"))
        assert await fetched(tool, here.url("/a", "good.example")) == "hello"
        assert (narrow.traits.held, tool.traits.held) == (True, False)

    def test_a_wrong_domain_is_told_when_the_tool_is_made(self) -> None:
        with pytest.raises(ConfigurationError):
            WebFetch(allowed_domains=["https://good.example"])


class TestTokens:
    async def test_a_page_is_cut_and_goes_on(self, here: Site) -> None:
        here.answers["/a"] = page("0123456789" * 3, "text/plain")
        tool = fetcher(here, max_content_tokens=5)
        shown = await text(tool, Context(), url=here.url("/a"))
        assert within(shown) == "01234567890123456789"
        assert shown.endswith("(10 more characters, continue with start=20)")
        assert within(await text(tool, Context(), url=here.url("/a"), start=20)) == "0123456789"
        assert within(await text(tool, Context(), url=here.url("/a"), max_length=7)) == "0123456"

    async def test_letters_of_many_bytes_count_for_more(self, here: Site) -> None:
        here.answers["/a"] = page("鲸" * 20, "text/plain; charset=utf-8")
        tool = fetcher(here, max_content_tokens=3)
        assert await fetched(tool, here.url("/a")) == "鲸" * 4
        assert await fetched(fetcher(here, max_content_tokens=1), here.url("/a")) == "鲸"


def result(name: str, said: str, status: ToolStatus = "ok") -> ToolResult:
    return ToolResult(CallId("c"), name, (Text(said),), status)


def said(words: str) -> User:
    return User((Text(words),))


class TestSources:
    """Addresses of `good.example`, at the site's port."""

    async def refused(self, here: Site, conversation: Sequence[Message], url: str, sources: UrlSources) -> bool:
        here.answers["/a"] = here.answers["/b"] = page("hello")
        tool = named(here, "good.example", sources=sources)
        try:
            await call(tool, Context(conversation=tuple(conversation)), url=url)
        except ToolFailed as error:
            return error.details == {"kind": "not_shown"} and "was not shown in this conversation" in error.message
        return False

    @pytest.mark.parametrize(
        "words",
        [
            "Look at {url}.",
            "({url})",
            "[this]({url}) and more",
            "<{url}>",
            "see {url}#part",
            "see good.example:{port}/a, please",
            "HTTP://Good.Example:{port}/a",
            'the link "{url}"',
            "is it {url}?",
        ],
    )
    async def test_what_was_shown_may_be_fetched(self, here: Site, words: str) -> None:
        url = here.url("/a", "good.example")
        conversation = [said(words.format(url=url, port=here.port))]
        assert not await self.refused(here, conversation, url, UrlSources())

    @pytest.mark.parametrize(
        ("words", "path"),
        [
            ("nothing", "/a"),
            ("{url}/more", "/a"),
            ("{url}?b=c", "/a"),
            ("{url}", "/a?secret=1"),
            ("{url}", "/b"),
            ("{url}", "/"),
            ("https://elsewhere.example/good.example:{port}/a", "/a"),
            ("not.good.example:{port}/a", "/a"),
        ],
    )
    async def test_what_was_not_may_not(self, here: Site, words: str, path: str) -> None:
        conversation = [said(words.format(url=here.url("/a", "good.example"), port=here.port))]
        assert await self.refused(here, conversation, here.url(path, "good.example"), UrlSources())
        assert here.requests == []

    async def test_only_the_sources_count(self, here: Site) -> None:
        url = here.url("/a", "good.example")
        every = UrlSources(True, ("web_search", "crm"))
        asked = ToolCall(CallId("c"), "web_search", {"query": url})
        own = Assistant(MessageId("m"), (Text(f"I know {url}."), asked))
        cases: list[tuple[list[Message], UrlSources, bool]] = [
            ([said(url)], every, False),
            ([said(url)], UrlSources(False, ("web_search", "crm")), True),
            ([result("crm", f'{{"page": "{url}"}}')], every, False),
            ([result("crm", url)], UrlSources(True, ("web_search",)), True),
            ([result("bash", url)], every, True),
            ([result("crm", url, "error")], every, True),
            ([own], every, True),
            ([], every, True),
        ]
        for shown, sources, refused in cases:
            assert await self.refused(here, shown, url, sources) is refused, (shown, sources)

    async def test_a_model_cannot_show_itself_an_address_by_asking_for_it(self, here: Site) -> None:
        """What is refused, and what is not found, repeats what was asked for; that must not make it one that was shown."""
        url = here.url("/a?secret=1", "good.example")
        here.answers["/search"] = page(json.dumps({"results": []}), "application/json")
        search = WebSearch(SearXNG(here.url("/")))
        found = await text(search, Context(), query=url)
        tool = named(here, "good.example", sources=UrlSources(True, ("web_search", "web_fetch")))
        with pytest.raises(ToolFailed) as caught:
            await call(tool, Context(), url=url)
        echoed = [result("web_search", found), result("web_fetch", caught.value.message, "error")]
        with pytest.raises(ToolFailed):
            await call(tool, Context(conversation=tuple(echoed)), url=url)

    async def test_a_shown_address_may_lead_elsewhere(self, here: Site) -> None:
        here.answers["/a"] = redirect(here.url("/b", "good.example"))
        here.answers["/b"] = page("there")
        tool = named(here, "good.example", sources=UrlSources())
        shown = Context(conversation=(said(here.url("/a", "good.example")),))
        assert "there" in within(await text(tool, shown, url=here.url("/a", "good.example")))


class Own:
    """A service that knows of no domains."""

    name = "own"

    def __init__(self) -> None:
        self.asked: list[tuple[str, int]] = []

    async def search(self, query: str, count: int) -> list[Hit]:
        self.asked.append((query, count))
        urls = ("https://a.example/1", "https://sub.a.example/2", "https://b.example/3", "https://a.example./4")
        return [Hit(f"hit {n}", url, "") for n, url in enumerate(urls)][:count]


def titles(output: str) -> list[str]:
    return [line.split(" ", 1)[1] for line in output.splitlines() if line[:1].isdigit()]


class TestSearch:
    async def test_what_lies_outside_is_left_out(self) -> None:
        own = Own()
        tool = WebSearch(own, allowed_domains=["a.example"])
        assert titles(within(await text(tool, Context(), query="x"))) == ["hit 0", "hit 1"]
        assert titles(within(await text(tool, Context(), query="x", count=1))) == ["hit 0"]
        blocked = WebSearch(own, blocked_domains=["a.example/1"])
        assert titles(within(await text(blocked, Context(), query="x"))) == ["hit 1", "hit 2"]
        assert own.asked == [("x", 20)] * 3
        nothing = tool.within(WebPolicy(search=SearchPolicy(Domains(("c.example",)))))
        assert await text(nothing, Context(), query="x") == "No results. Only these domains: (none)."
        assert len(own.asked) == 3

    async def test_how_many_without_a_count(self) -> None:
        own = Own()
        tool = WebSearch(own).within(WebPolicy(search=SearchPolicy(results=3)))
        await call(tool, Context(), query="x")
        await call(tool, Context(), query="x", count=2)
        await call(WebSearch(own), Context(), query="x")
        assert own.asked == [("x", 3), ("x", 2), ("x", 8)]

    async def test_services_are_asked_for_less(self, here: Site) -> None:
        body = {"results": [], "web": {"results": []}}
        here.answers["/search"] = page(json.dumps(body), "application/json")
        place = UserLocation("Tromsø", "Troms", "NO", "Europe/Oslo")
        policy = WebPolicy(search=SearchPolicy(Domains(("a.example", "b.example/x"), ("ads.a.example",)), place))
        for backend in (SearXNG(here.url("/")), Brave("key", address=here.url("/search"))):
            await call(WebSearch(backend).within(policy), Context(), query="x")
        query = "q=x+%28site%3Aa.example+OR+site%3Ab.example%2Fx%29+-site%3Aads.a.example"
        assert [r.target for r in here.requests] == [f"/search?{query}&format=json", f"/search?{query}&count=20"]
        told = {name: value for name, value in here.requests[1].headers.items() if name.startswith("x-loc-")}
        assert told == {
            "x-loc-city": "Troms%C3%B8",
            "x-loc-state-name": "Troms",
            "x-loc-country": "NO",
            "x-loc-timezone": "Europe/Oslo",
        }
        await call(WebSearch(Tavily("key", address=here.url("/search"))).within(policy), Context(), query="x")
        assert json.loads(here.requests[2].body) == {
            "query": "x",
            "max_results": 20,
            "search_depth": "basic",
            "include_domains": ["a.example", "b.example/x"],
            "exclude_domains": ["ads.a.example"],
        }

    async def test_too_many_domains_for_a_query_are_left_out_here(self, here: Site) -> None:
        here.answers["/search"] = page(json.dumps({"results": []}), "application/json")
        tool = WebSearch(SearXNG(here.url("/")), allowed_domains=[f"a{n}.example" for n in range(64)])
        await call(tool, Context(), query="x")
        assert here.requests[0].target == "/search?q=x&format=json"

    def test_where_the_person_is_is_told_to_the_model(self) -> None:
        tool = WebSearch(Own(), location=UserLocation("Oslo", country="NO"))
        assert tool.definition.description.endswith("The person is about here: Oslo, NO.")


async def test_no_worker_does_what_is_limited() -> None:
    """A worker has tools of its own, which know of no limits; without it the call would wait for one."""
    lanes = LaneSettings((LaneConfig("query", mode="outside"),))
    model = ScriptedModel([model_call("web_search", query="x"), say("Done.")], "scripted:test")
    async with await Runtime.open(
        ":memory:", models={"scripted:test": model}, tools=[WebSearch(Own())], lanes=lanes
    ) as home:
        web = {"search": {"domains": {"allowed": ["a.example"]}}}
        session = await home.start_session(Agent("a", model="scripted:test", tools=["web_search"], web=web))
        done = await asyncio.wait_for(session.send("go"), PATIENCE_S)
        assert done.outcome == "done"


MADE_UP = "http://127.0.0.1/made-up"
SHOWN: dict[str, Any] = {"fetch": {"sources": {"tools": []}}}


async def refused(session: Session) -> list[bool]:
    """Of the fetches, whether each was of an address that was not shown."""
    fetched = [m for m in await session.history() if isinstance(m, ToolResult) and m.name == "web_fetch"]
    return ["was not shown in this conversation" in m.text for m in fetched]


async def test_what_a_check_says_shows_nothing(tmp_path: Path) -> None:
    """A model may have written what a check puts out."""
    script = [say("Done."), model_call("web_fetch", url=MADE_UP), say("Done."), model_call("web_fetch", url=MADE_UP)]
    model = ScriptedModel([*script, say("Done.")], "scripted:test")
    async with await Runtime.open(":memory:", models={"scripted:test": model}) as home:
        look = VerificationCommand("look", f"echo {MADE_UP}; test -e looked || {{ touch looked; false; }}")
        checks = VerificationPolicy((look,), only_if_changed=False)
        agent = Agent("a", model="scripted:test", tools=["web_fetch"], web=SHOWN, verification=checks)
        session = await home.start_session(agent, workspace=tmp_path)
        await asyncio.wait_for(session.send("go"), PATIENCE_S)
        assert any(MADE_UP in m.text for m in await session.history() if isinstance(m, User))
        assert await refused(session) == [True]
        await asyncio.wait_for(session.send(f"Look at {MADE_UP}."), PATIENCE_S)
        assert await refused(session) == [True, False]


async def test_what_a_task_came_to_shows_nothing() -> None:
    begin = model_call("task", agent="echo", prompt="p", description="d", background=True)
    model = ScriptedModel([begin, say("I wait."), model_call("web_fetch", url=MADE_UP), say("Done.")], "scripted:test")
    echo = ScriptedModel([say(f"See {MADE_UP}.")], "scripted:echo")
    async with await Runtime.open(":memory:", models={"scripted:test": model, "scripted:echo": echo}) as home:
        of = Agent("echo", model="scripted:echo", description="Says it again.")
        agent = Agent("a", model="scripted:test", tools=["web_fetch"], web=SHOWN, subagents=[of])
        session = await home.start_session(agent)
        await session.send("go")
        async with asyncio.timeout(PATIENCE_S):
            async for event in session.follow():
                if event.type == "tool.finished" and event.data.name == "web_fetch":  # type: ignore[union-attr]
                    break
        await asyncio.wait_for(session.wait(), PATIENCE_S)
        assert any(MADE_UP in m.text for m in await session.history() if isinstance(m, User))
        assert await refused(session) == [True]
