"""What MCP servers have beside tools: resources, prompts, completions, logs and roots, with servers of the official package
of both generations of the protocol, as programs and over HTTP."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from tests.engine.conftest import MODEL, Bench, data, until, until_type, within
from tests.parts import mcp_library, mcp_program
from tests.parts.mcp_library import BINARY, LARGE, PDF, PNG, Library, library_site
from tests.patience import PATIENCE_S
from tests.surfaces.server.running import running

import godwit
from godwit import Agent, McpServer, McpSettings
from godwit.core.errors import InvalidArgument, McpServerFailed, McpServerNotFound
from godwit.core.events import ArtifactStored, McpResourceUpdated, RunStarted, ToolFinished, UserMessage
from godwit.core.mcp_contents import command_names
from godwit.core.messages import Image, Text, text_of
from godwit.engine.session import Session
from godwit.models.script import ScriptedModel, call, say
from godwit.surfaces.api import Api

WAYS = (
    pytest.param("stdio", marks=pytest.mark.slow),
    "stdio-old",
    "http",
    pytest.param("http-old", marks=pytest.mark.slow),
    pytest.param("sse", marks=pytest.mark.slow),
)
PATHS = os.pathsep.join(path for path in sys.path if path)


def program(name: str = "lib", *, old: bool = False, **more: Any) -> McpServer:
    args = (mcp_library.__file__, *(["--old"] if old else []))
    return McpServer(name, command=sys.executable, args=args, env={"PYTHONPATH": PATHS}, **more)


Open = Callable[..., Any]


@pytest.fixture
async def opening(bench: Bench) -> AsyncIterator[Open]:
    """Opens a session with the library reached in that way; its script is that of the model."""
    async with AsyncExitStack() as stack:

        async def opened(way: str, script: Any = (), *, permissions: Any = None, **more: Any) -> tuple[Session, Any]:
            site: Any = None
            settings = McpSettings(wait_s=PATIENCE_S)
            if way.startswith("stdio"):
                server = program(old=way.endswith("old"), **more)
            else:
                site = stack.enter_context(library_site(stateful=way == "http-old", sse=way == "sse", library=Library()))
                server = McpServer("lib", site.url, transport="sse" if way == "sse" else None, **more)
                settings = McpSettings(reach=(site.here,), wait_s=PATIENCE_S)
            runtime = await bench.runtime(script, mcp=settings)
            options = {} if permissions is None else {"permissions": permissions}
            agent = Agent("tester", model=MODEL, mcp_servers=[server], **options)
            return await runtime.start_session(agent, workspace=bench.workspace), site

        yield opened
        await bench.close()


async def use(session: Session, tool: str, **arguments: Any) -> str:
    done = await within(session.tool(f"mcp__lib__{tool}", arguments))
    assert done.ok, done.output
    return done.output


# --- resources --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", WAYS)
async def test_resources_are_listed_and_read_as_what_they_are(opening: Open, way: str) -> None:
    session, _ = await opening(way)
    listed = await within(session.mcp_resources())
    assert [one.uri for one in listed] == list(Library().contents)  # over several pages
    assert (listed[0].server, listed[0].name, listed[0].media_type) == ("lib", "guide", "text/plain")
    (template,) = await session.mcp_resource_templates("lib")
    assert (template.uri_template, template.title) == ("docs://pages/{page}", "A page")

    (guide,) = await session.read_mcp_resource("lib", "docs://guide")
    assert (guide.text, guide.media_type, guide.size) == ("Read me.", "text/markdown", 8)
    (picture,) = await session.read_mcp_resource("lib", "docs://picture")
    assert (picture.data, picture.media_type) == (PNG, "image/png")  # by what it is, not by what the server calls it
    (paper,) = await session.read_mcp_resource("lib", "docs://paper")
    assert (paper.data, paper.media_type) == (PDF, "application/pdf")
    (binary,) = await session.read_mcp_resource("lib", "docs://data")
    assert (binary.data, binary.media_type) == (BINARY, "a/b")
    (large,) = await session.read_mcp_resource("lib", "docs://large")
    assert (large.text, large.data, large.size) == (None, None, len(LARGE))
    assert large.artifact is not None
    assert await session.artifacts.get(large.artifact) == LARGE.encode()
    assert [one.ref for one in await data(session, ArtifactStored)] == [large.artifact]

    with pytest.raises(McpServerFailed, match="the MCP server 'lib' says: there is no docs://none"):
        await session.read_mcp_resource("lib", "docs://none")
    with pytest.raises(McpServerNotFound, match=r"no MCP server 'other'\. Those it has: 'lib'"):
        await session.read_mcp_resource("other", "docs://guide")


async def test_a_uri_of_a_file_is_a_name_that_only_its_server_is_told(opening: Open) -> None:
    session, site = await opening("http")
    (found,) = await within(session.read_mcp_resource("lib", "file:///etc/passwd"))
    assert found.text == "not yours, mine"
    assert site.library.read == ["file:///etc/passwd"]
    for wrong in ("", "x" * 5000, "docs://\x1b[2J"):
        with pytest.raises(InvalidArgument, match="no URI of a resource"):
            await session.read_mcp_resource("lib", wrong)


@pytest.mark.parametrize("way", ["stdio", "http-old"])
async def test_a_model_lists_and_reads_resources(opening: Open, way: str) -> None:
    script = [
        call("list_mcp_resources"),
        call("read_mcp_resource", server="lib", uri="docs://guide"),
        call("read_mcp_resource", server="lib", uri="docs://picture"),
        call("read_mcp_resource", server="lib", uri="docs://data"),
        call("read_mcp_resource", server="lib", uri="docs://none"),
        call("read_mcp_resource", server="x", uri="docs://guide"),
        say("Done."),
    ]
    session, _ = await opening(way, script)
    await within(session.prompt_and_wait("Go."))
    listed, guide, picture, binary, none, stranger = await data(session, ToolFinished)
    assert "lib:\n  docs://guide  guide; text/plain; About docs://guide." in text_of(listed.content)
    assert "docs://pages/{page} (template)  A page" in text_of(listed.content)
    assert text_of(guide.content) == "Read me."
    assert picture.content == (Image("image/png", PNG),)
    assert text_of(binary.content).startswith("[resource docs://data of type a/b, 256 bytes, which is not shown")
    assert (none.status, text_of(none.content)) == ("error", "the MCP server 'lib' says: there is no docs://none")
    assert "no MCP server 'x' is connected that has resources. Those that are: lib" in text_of(stranger.content)
    assert {"list_mcp_resources", "read_mcp_resource"} <= set(session.tool_names())


async def test_rules_about_a_server_hold_for_its_resources(opening: Open) -> None:
    read = call("read_mcp_resource", server="lib", uri="docs://guide")
    session, _ = await opening("http", [read + call("list_mcp_resources"), say("Done.")], permissions={"mcp__lib": "deny"})
    await within(session.prompt_and_wait("Go."))
    guide, _ = await data(session, ToolFinished)
    assert guide.status == "denied"
    assert "is not permitted" in text_of(guide.content)


async def test_rules_tell_resources_apart_by_their_uris(opening: Open) -> None:
    script = [
        call("read_mcp_resource", server="lib", uri="docs://guide"),
        call("read_mcp_resource", server="lib", uri="docs://data"),
        say("Done."),
    ]
    rules = {"mcp__lib__read_mcp_resource(docs://data)": "deny", "read_mcp_resource(docs://*)": "allow", "*": "ask"}
    session, _ = await opening("http", script, permissions=rules)
    await within(session.prompt_and_wait("Go."))
    assert [one.status for one in await data(session, ToolFinished)] == ["ok", "denied"]


async def test_an_agent_with_some_tools_of_a_server_alone_has_not_its_resources(opening: Open) -> None:
    session, _ = await opening("http", [say("Done.")], tools=("touch", "read_mcp_resource"))
    await within(session.prompt_and_wait("Go."))
    assert [name for name in session.tool_names() if "resource" in name] == ["read_mcp_resource"]


# --- hearing of changes -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", WAYS)
async def test_a_changed_resource_is_an_event_of_the_session(opening: Open, way: str) -> None:
    session, _ = await opening(way)
    assert await within(session.subscribe_mcp_resource("lib", "docs://guide")) is True
    assert await session.subscribe_mcp_resource("lib", "docs://guide") is False
    await use(session, "touch", uri="docs://data")  # which nobody asked for
    await use(session, "touch", uri="docs://guide")
    told = await until_type(session, "mcp.resource_updated")
    assert told.data == McpResourceUpdated("lib", "docs://guide")
    assert await session.unsubscribe_mcp_resource("lib", "docs://guide") is True
    assert await session.unsubscribe_mcp_resource("lib", "docs://guide") is False
    await use(session, "touch", uri="docs://guide")
    assert await data(session, McpResourceUpdated) == [told.data]


async def test_what_changes_all_the_time_is_not_told_all_the_time(opening: Open) -> None:
    session, _ = await opening("stdio")
    await within(session.subscribe_mcp_resource("lib", "docs://guide"))
    await session.subscribe_mcp_resource("lib", "docs://data")
    for _ in range(30):
        await use(session, "touch", uri="docs://guide")
    await until_type(session, "mcp.resource_updated")
    await use(session, "touch", uri="docs://data")
    await until(session, lambda e: isinstance(e.data, McpResourceUpdated) and e.data.uri == "docs://data")
    told = [one.uri for one in await data(session, McpResourceUpdated)]
    assert 1 <= told.count("docs://guide") < 15


@pytest.mark.parametrize("way", ["stdio", "stdio-old"])
async def test_a_subscription_outlives_its_connection(opening: Open, way: str) -> None:
    session, _ = await opening(way)
    await within(session.subscribe_mcp_resource("lib", "docs://guide"))
    before = (await session.state()).seq
    assert not (await within(session.tool("mcp__lib__end", {}))).ok
    # Nobody asks for the server: it is started again for the sake of the subscription, and what was missed is told.
    first = await until_type(session, "mcp.resource_updated", before)
    await use(session, "touch", uri="docs://guide")
    await until_type(session, "mcp.resource_updated", first.seq)


async def test_a_stream_of_changes_that_ends_is_opened_again(opening: Open) -> None:
    session, _ = await opening("http")
    await within(session.subscribe_mcp_resource("lib", "docs://guide"))
    await use(session, "close")
    first = await until_type(session, "mcp.resource_updated")
    await use(session, "touch", uri="docs://guide")
    await until_type(session, "mcp.resource_updated", first.seq)


async def test_what_a_server_does_not_tell_of_is_refused(opening: Open) -> None:
    session, _ = await opening("stdio-old")
    with pytest.raises(McpServerFailed, match="does not tell of this resource: nothing is told of it"):
        await within(session.subscribe_mcp_resource("lib", "docs://deaf"))
    assert await session.subscribe_mcp_resource("lib", "docs://guide") is True


@pytest.mark.parametrize("way", ["stdio", "stdio-old", "http"])
async def test_a_changed_list_of_tools_or_prompts_is_picked_up(opening: Open, way: str) -> None:
    session, _ = await opening(way)
    assert len(await within(session.mcp_prompts())) == 4
    await use(session, "grow")
    for _ in range(200):
        if len(await session.mcp_prompts()) == 5:
            break
        await use(session, "say", text="wait", times=0)
    assert [one.name for one in await session.mcp_prompts("lib")][-1] == "grown4"
    assert "docs://grown4" in [one.uri for one in await session.mcp_resources()]


# --- prompts ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["stdio", "http-old"])
async def test_a_prompt_is_a_slash_command(opening: Open, way: str) -> None:
    session, _ = await opening(way, [say("Reviewed."), say("Seen.")])
    await within(session.mcp_prompts())
    listed = {one.name: one for one in await session.slash_commands() if one.name.startswith("mcp__")}
    assert sorted(listed) == ["mcp__lib__code_review", "mcp__lib__plain", "mcp__lib__review", "mcp__lib__scene"]
    assert (listed["mcp__lib__review"].usage, listed["mcp__lib__review"].source) == ("work [style]", "MCP server lib")
    helped = await session.command("/help")
    assert helped is not None
    assert "/mcp__lib__review work [style]" in helped.text

    await within(session.send('/mcp__lib__review style=Ibsen "a long play"'))
    (said,) = await data(session, UserMessage)
    assert said.content == (Text("Review a long play in the style of Ibsen."),)

    await within(session.send("/mcp__lib__scene"))
    _, scene = await data(session, UserMessage)
    texts = [block.text for block in scene.content if isinstance(block, Text)]
    assert texts[1:] == ["[as the user]", "Who is there?", "[as the assistant]", "I am.", *texts[5:]]
    assert texts[-1] == "[resource docs://guide]\nRead me."
    assert [block for block in scene.content if isinstance(block, Image)] == [Image("image/png", PNG)]


async def test_a_prompt_that_cannot_be_run_says_why(opening: Open) -> None:
    session, _ = await opening("http")

    await within(session.mcp_prompts())

    async def refused(text: str) -> str:
        done = await within(session.command(text))
        assert done is not None
        assert done.error is not None
        text_of_it: str = done.text
        return text_of_it

    assert "missing: work. /mcp__lib__review work [style]" in await refused("/mcp__lib__review")
    assert "1 arguments too many" in await refused("/mcp__lib__review a b c")
    assert "Unknown command: /mcp__lib__none" in await refused("/mcp__lib__none")
    assert await data(session, RunStarted) == []


async def test_prompts_of_a_server_that_is_gone(opening: Open) -> None:
    session, site = await opening("http")
    assert len(await within(session.mcp_prompts())) == 4
    site.stop()
    done = await within(session.command("/mcp__lib__scene"))
    assert done is not None
    assert done.error == "mcp_server_failed"
    assert "the MCP server 'lib' cannot be used" in done.text


async def test_prompts_and_completions_by_the_library(opening: Open) -> None:
    session, _ = await opening("stdio")
    prompt = {one.name: one for one in await within(session.mcp_prompts())}["review"]
    assert [(one.name, one.required) for one in prompt.arguments] == [("work", True), ("style", False)]
    made = await session.get_mcp_prompt("lib", "review", {"work": "it"})
    assert [(one.role, text_of(one.content)) for one in made.messages] == [("user", "Review it in the style of nobody.")]
    found = await session.complete_mcp("lib", prompt, "style", "Ib", {"work": "it"})
    assert found.values == ('review:style:Ib:{"work": "it"}',)
    assert (found.total, found.has_more) == (7, True)
    of_template = await session.complete_mcp("lib", {"type": "ref/resource", "uri": "docs://pages/{page}"}, "page", "1")
    assert of_template.values == ("docs://pages/{page}:page:1:",)
    with pytest.raises(InvalidArgument, match="needs the `name` of a prompt"):
        await session.complete_mcp("lib", {"type": "ref/prompt"}, "style", "")


def test_commands_are_told_apart() -> None:
    names = command_names(
        [("a", "b c"), ("a", "b_c"), ("a__b", "c"), ("a", "b__c"), ("s", "x" * 100), ("s", "é.ü"), ("s", "?")]
    )
    assert names["a", "b_c"] == "mcp__a__b_c"
    assert names["a", "b c"].startswith("mcp__a__b_c-")
    assert names["a__b", "c"] != names["a", "b__c"]
    assert len(names["s", "x" * 100]) == 64
    assert (names["s", "é.ü"], names["s", "?"]) == ("mcp__s__é_ü", "mcp__s___")
    assert len(set(names.values())) == len(names)


# --- logs and roots ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["stdio", "stdio-old", "http"])
async def test_what_a_server_logs_is_kept(opening: Open, way: str, caplog: pytest.LogCaptureFixture) -> None:
    session, _ = await opening(way, log_level="info")
    assert await session.mcp_log("lib") == []
    with caplog.at_level("INFO", "godwit.mcp"):
        await use(session, "say", text="low\n\x1b[2Jon \tpaper")
        for _ in range(100):
            if found := await session.mcp_log("lib"):
                break
            await use(session, "roots")
    assert [(one.level, one.logger, one.text) for one in found] == [("warning", "desk", "low\n\x1b[2Jon \tpaper")]
    assert "lib: desk: low  [2Jon  paper" in caplog.messages


async def test_a_server_that_logs_without_end_is_cut_short(opening: Open) -> None:
    session, _ = await opening("stdio", log_level="debug")
    await use(session, "say", text="x" * 5000, times=1000)
    for _ in range(100):
        if len(await session.mcp_log("lib")) >= 100:
            break
        await use(session, "roots")
    found = await session.mcp_log("lib")
    assert len(found) == 100
    assert max(len(one.text) for one in found) <= 2001


@pytest.mark.parametrize("way", ["stdio", "stdio-old", "http", "http-old"])
async def test_programs_are_told_the_folder_and_nobody_else_is(opening: Open, bench: Bench, way: str) -> None:
    session, _ = await opening(way)
    folder = Path(os.path.realpath(bench.workspace)).as_uri()
    assert await use(session, "roots") == (f'["{folder}"]' if way.startswith("stdio") else "[]")


# --- from afar --------------------------------------------------------------------------------------------------------


async def test_over_http_by_the_same_names(tmp_path: Path) -> None:
    model = ScriptedModel([say("Reviewed.")], MODEL)
    with running(tmp_path / "g.db", models={MODEL: model}, dialects=[Api]) as server:
        async with godwit.connect(server.url) as runtime:
            session = await runtime.start_session(Agent("a", model=MODEL), own_workspace=True)
            await session.add_mcp_server(program(log_level="info"))
            assert [one.uri for one in await session.mcp_resources("lib")] == list(Library().contents)
            assert len(await session.mcp_resource_templates("lib")) == 1
            (picture,) = await session.read_mcp_resource("lib", "docs://picture")
            assert picture.data == PNG
            (large,) = await session.read_mcp_resource("lib", "docs://large")
            assert large.artifact is not None
            assert {one.command for one in await session.mcp_prompts()} >= {"mcp__lib__review"}
            made = await session.get_mcp_prompt("lib", "scene")
            assert made.messages[1].role == "assistant"
            assert isinstance(made.messages[2].content[0], Image)
            found = await session.complete_mcp("lib", (await session.mcp_prompts("lib"))[0], "style", "x")
            assert found.has_more
            assert await session.subscribe_mcp_resource("lib", "docs://guide") is True
            await within(session.tool("mcp__lib__touch", {"uri": "docs://guide"}))
            await until_type(session, "mcp.resource_updated")
            assert await session.unsubscribe_mcp_resource("lib", "docs://guide") is True
            await within(session.tool("mcp__lib__say", {"text": "hello"}))
            assert [one.text for one in await session.mcp_log("lib")] == ["hello"]
            assert "mcp__lib__review" in [one.name for one in await session.slash_commands()]
            await within(session.send("/mcp__lib__review play"))
            assert [text_of(one.content) for one in await data(session, UserMessage)] == [
                "Review play in the style of nobody."
            ]
            with pytest.raises(McpServerNotFound):
                await session.mcp_log("none")


# --- servers that mean no good ----------------------------------------------------------------------------------------


async def test_a_server_whose_lists_are_wrong_and_without_end(bench: Bench) -> None:
    server = McpServer("wares", command=sys.executable, args=(mcp_program.__file__, "wares"))
    runtime = await bench.runtime([say("Done.")], mcp=McpSettings(wait_s=PATIENCE_S))
    session = await runtime.start_session(Agent("tester", model=MODEL, mcp_servers=[server]), workspace=bench.workspace)

    listed = await within(session.mcp_resources("wares"))
    assert 50 <= len(listed) <= 500
    assert max(len(one.name) for one in listed) <= 200
    assert max(len(one.description or "") for one in listed) <= 2000
    assert {one.size for one in listed} == {None}
    assert all(len(one.uri) < 100 for one in listed)
    assert await session.mcp_resource_templates("wares") == []  # it knows no such request

    prompts = await within(session.mcp_prompts("wares"))
    assert len(prompts) == 499  # of the first 500, one of which stands twice
    assert max(len(one.arguments) for one in prompts) == 50
    commands = {one.name: one.command for one in prompts}
    assert (commands["twin"], commands["t_win"], commands["p 0"]) == (
        *("mcp__wares__twin", "mcp__wares__t_win"),
        "mcp__wares__p_0",
    )
    assert commands["t win"].startswith("mcp__wares__t_win-")
    assert len(set(commands.values())) == 499

    with pytest.raises(McpServerFailed, match="answer cannot be used"):
        await session.get_mcp_prompt("wares", "twin")
    with pytest.raises(McpServerFailed, match="answer cannot be used"):
        await session.read_mcp_resource("wares", "docs://odd")
    with pytest.raises(McpServerFailed, match="is not encoded as it should be"):
        await session.read_mcp_resource("wares", "docs://wrong")
    done = await session.command("/mcp__wares__twin")
    assert done is not None
    assert done.error == "mcp_server_failed"


async def test_a_server_that_tells_without_end_is_told_of_a_few_times(bench: Bench) -> None:
    server = McpServer("wares", command=sys.executable, args=(mcp_program.__file__, "wares"))
    runtime = await bench.runtime([say("Done.")], mcp=McpSettings(wait_s=PATIENCE_S))
    session = await runtime.start_session(Agent("tester", model=MODEL, mcp_servers=[server]), workspace=bench.workspace)
    await within(session.subscribe_mcp_resource("wares", "docs://page"))
    await until_type(session, "mcp.resource_updated")
    await within(session.prompt_and_wait("Go."))  # which is not held up
    told = await data(session, McpResourceUpdated)
    assert 1 <= len(told) <= 200
    assert all(one.uri.startswith("docs://page") for one in told)
    log = await session.mcp_log("wares")
    assert len(log) == 100
