"""What web_search asks its services and shows of them, and when it is there at all."""

from __future__ import annotations

import asyncio
import gzip
import json
import re
from typing import Any

import pytest
from tests.parts.tool_context import Context, call, text
from tests.parts.web_site import Request, Site, page
from tests.parts.web_words import (
    SECRET,
    a_here,  # noqa: F401 - a fixture
    within,
)

from godwit.contracts import ToolOutput
from godwit.core.errors import ConfigurationError, ToolFailed, ToolNotFound
from godwit.core.messages import text_of
from godwit.tools.toolbox import default_toolbox
from godwit.tools.web import WebFetch
from godwit.tools.web_search import Brave, SearXNG, Tavily, WebSearch


class TestSearch:
    RESULTS = (
        {
            "title": "<strong>Blue</strong> whales &amp; co",
            "url": "https://a.example/?q=1",
            "text": "The <b>largest</b>\nanimal.",
        },
        {"title": "", "url": "https://b.example/", "text": None},
        {"title": "again", "url": "https://a.example/?q=1", "text": "x"},
        {"title": "bad", "url": "javascript:alert(1)", "text": "x"},
        {"title": "bad", "url": 7},
        "nonsense",
        {"title": "C", "url": "https://c.example/", "text": "y" * 2000},
    )

    def results(self, name: str) -> list[Any]:
        return [
            {**{k: v for k, v in r.items() if k != "text"}, name: r.get("text")} if isinstance(r, dict) else r
            for r in self.RESULTS
        ]

    async def listed(self, tool: WebSearch, **arguments: Any) -> tuple[ToolOutput, list[str]]:
        output = await call(tool, Context(), **arguments)
        return output, within(text_of(output.content)).split("\n")

    async def test_searxng(self, here: Site) -> None:
        here.answers["/base/search"] = page(json.dumps({"results": self.results("content")}), "application/json")
        output, lines = await self.listed(WebSearch(SearXNG(here.url("/base/"))), query="blue whales?", count=3)
        assert here.requests[0].target == "/base/search?q=blue+whales%3F&format=json"
        assert lines[:3] == ["1. Blue whales & co", "   https://a.example/?q=1", "   The largest animal."]
        assert lines[3:6] == ["", "2. (no title)", "   https://b.example/"]
        assert lines[7:9] == ["3. C", "   https://c.example/"]
        assert len(lines[9]) < 620
        assert output.metadata == {"backend": "SearXNG", "count": 3, "untrusted": True}

    async def test_brave(self, here: Site) -> None:
        body = json.dumps({"web": {"results": self.results("description")}}).encode()
        here.answers["/s"] = page(gzip.compress(body), "application/json", Content_Encoding="gzip")
        backend = Brave(SECRET, address=here.url("/s"))
        _, lines = await self.listed(WebSearch(backend), query="whales", count=1)
        assert lines == ["1. Blue whales & co", "   https://a.example/?q=1", "   The largest animal."]
        assert here.requests[0].target == "/s?q=whales&count=1"
        assert here.requests[0].headers["x-subscription-token"] == SECRET
        assert SECRET not in repr(backend)

    async def test_tavily(self, here: Site) -> None:
        here.answers["/s"] = page(json.dumps({"results": self.results("content")}), "application/json")
        _, lines = await self.listed(WebSearch(Tavily(SECRET, address=here.url("/s"))), query="whales")
        assert lines[0] == "1. Blue whales & co"
        [request] = here.requests
        assert (request.method, request.headers["authorization"]) == ("POST", f"Bearer {SECRET}")
        assert json.loads(request.body) == {"query": "whales", "max_results": 8, "search_depth": "basic"}

    @pytest.mark.parametrize(
        ("status", "headers", "told"),
        [
            ("401 Unauthorized", {}, "does not accept the key"),
            ("403 Forbidden", {}, "refuses access"),
            ("429 Too Many", {"Retry_After": "7"}, "try again after 7 s"),
            (
                "429 Too Many",
                {"Retry_After": "Wed, 21 Oct 2026 07:28:30 GMT", "Date": "Wed, 21 Oct 2026 07:28:00 GMT"},
                "try again after 30 s",
            ),
            ("429 Too Many", {"Retry_After": "soon"}, "try again later"),
            ("432 Plan", {}, "plan's limit"),
            ("302 Found", {"Location": "/x"}, "leads elsewhere"),
            ("422 Unprocessable", {}, "refused the request (422)"),
            ("503 Unavailable", {}, "is failing (503)"),
        ],
    )
    async def test_refusals(self, here: Site, status: str, headers: dict[str, str], told: str) -> None:
        here.answers["/s"] = page(f"the key {SECRET} is bad", status=status, **headers)
        for backend in (Brave(SECRET, address=here.url("/s")), Tavily(SECRET, address=here.url("/s"))):
            with pytest.raises(ToolFailed, match=re.escape(told)) as caught:
                await call(WebSearch(backend), Context(), query="whales")
            assert SECRET not in repr(caught.value) + repr(caught.value.details)
            if told.endswith(" s"):
                assert caught.value.details["retry_after_s"] in (7, 30)
        assert len(here.requests) == 2  # a redirect is not followed: it would take the key along

    async def test_searxng_without_json(self, here: Site) -> None:
        here.answers["/search"] = page("no", status="403 Forbidden")
        with pytest.raises(ToolFailed, match=r"search\.formats"):
            await call(WebSearch(SearXNG(here.url(""))), Context(), query="whales")

    @pytest.mark.parametrize("body", ["<html>", "[]", '"x"', "{", '{"results": 7}', '{"results": null}', "{}"])
    async def test_answers_that_are_none(self, here: Site, body: str) -> None:
        here.answers["/search"] = page(body, "application/json")
        tool = WebSearch(SearXNG(here.url("")))
        if body.startswith('{"r') or body == "{}":
            assert await text(tool, Context(), query="whales") == "No results."
        else:
            with pytest.raises(ToolFailed, match="JSON results"):
                await call(tool, Context(), query="whales")

    async def test_cancelled(self, here: Site) -> None:
        async def silent(_: Request, reader: asyncio.StreamReader, __: asyncio.StreamWriter) -> None:
            await reader.read()

        here.answers["/search"] = silent
        context = Context()
        task = asyncio.create_task(call(WebSearch(SearXNG(here.url(""))), context, query="whales"))
        await here.asked.wait()
        context.cancel.cancel()
        with pytest.raises(ToolFailed, match="cancelled"):
            await task

    def test_bad_settings(self) -> None:
        for make in (lambda: Brave(" "), lambda: Brave("a b"), lambda: Tavily("a\nb"), lambda: SearXNG("localhost:8888")):
            with pytest.raises(ConfigurationError):
                make()


class TestToolbox:
    def test_web_fetch_is_there(self) -> None:
        box = default_toolbox({})
        assert [t.definition.name for t in box.select(["web"])] == ["web_fetch"]
        assert [t.definition.name for t in box.select(["web_fetch"])] == ["web_fetch"]

    @pytest.mark.parametrize(
        ("environment", "told"),
        [
            ({}, "set GODWIT_SEARCH to brave, tavily or searxng"),
            ({"BRAVE_API_KEY": SECRET}, "set GODWIT_SEARCH to brave, tavily or searxng"),
            ({"GODWIT_SEARCH": "google"}, "it can be brave, tavily or searxng"),
            ({"GODWIT_SEARCH": "brave"}, "set BRAVE_API_KEY as well"),
            ({"GODWIT_SEARCH": "tavily", "BRAVE_API_KEY": SECRET}, "set TAVILY_API_KEY as well"),
            ({"GODWIT_SEARCH": "searxng"}, "set GODWIT_SEARCH_URL as well"),
            ({"GODWIT_SEARCH": "searxng", "GODWIT_SEARCH_URL": "localhost"}, "GODWIT_SEARCH_URL: the address"),
            ({"GODWIT_SEARCH": "brave", "BRAVE_API_KEY": f"{SECRET} x"}, "BRAVE_API_KEY: the key"),
        ],
    )
    def test_web_search_is_absent_and_says_why(self, environment: dict[str, str], told: str) -> None:
        box = default_toolbox(environment)
        assert "web_search" not in box.names
        with pytest.raises(ToolNotFound, match=re.escape(told)) as caught:
            box.select(["web_search"])
        assert SECRET not in caught.value.message

    @pytest.mark.parametrize(
        ("environment", "backend"),
        [
            ({"GODWIT_SEARCH": "brave", "BRAVE_API_KEY": SECRET}, Brave),
            ({"GODWIT_SEARCH": "Tavily", "TAVILY_API_KEY": SECRET, "BRAVE_API_KEY": "other"}, Tavily),
            ({"GODWIT_SEARCH": "searxng", "GODWIT_SEARCH_URL": "http://localhost:8888/"}, SearXNG),
        ],
    )
    def test_web_search_by_choice(self, environment: dict[str, str], backend: type) -> None:
        _fetch, search = default_toolbox(environment).select(["web"])
        assert isinstance(search, WebSearch)
        assert isinstance(search.backend, backend)
        assert SECRET not in repr(vars(search))

    def test_ones_of_your_own_take_their_places(self) -> None:
        fetch, search = WebFetch(allow_private=["127.0.0.1:8080"]), WebSearch(SearXNG("http://localhost:8888/"))
        box = default_toolbox({"GODWIT_SEARCH": "brave", "BRAVE_API_KEY": SECRET}, own=[search, fetch])
        assert box.select(["web"]) == [fetch, search]
        assert box.select(["web_search", "web_fetch"]) == [search, fetch]

    def test_only_godwits_own_classes_do(self) -> None:
        def read(file_path: str) -> str:
            return file_path

        class Other(WebSearch):
            name = "web_fetch"

        for own in ([read], [WebFetch(), WebFetch()], [Other(SearXNG("http://localhost:8888/"))]):
            with pytest.raises(ConfigurationError, match="already"):
                default_toolbox({}, own=own)
