"""Sessions taken out: as data that comes in again equal, as a page that runs nothing, as Markdown, for pi."""

from __future__ import annotations

import html.parser
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from tests.host.session_files import PIXEL, ClaudeFile, PiFile, pi_call, use, write
from tests.host.test_importing_pi import brought, of, said
from tests.loopback import recordings

import godwit
from godwit import Runtime, ScriptedModel
from godwit.core.errors import InvalidArgument, SessionNotFound
from godwit.core.events import (
    Draft,
    Event,
    SessionConfigured,
    SessionCreated,
    SessionForked,
    SessionLabelled,
    SubagentFinished,
    SubagentStarted,
)
from godwit.core.facts import ExportFormat
from godwit.core.rules import Permissions
from godwit.core.transcript import transcript_of
from godwit.host.folder_context import FolderFiles
from godwit.models.script import call

MODEL = "scripted:test"


@pytest.fixture
async def runtime(tmp_path: Path) -> AsyncIterator[Runtime]:
    async with await Runtime.open(tmp_path / "godwit.db", check_models=False) as opened:
        yield opened


async def taken(runtime: Runtime, session: str, format_: ExportFormat, **how: Any) -> bytes:
    return b"".join([piece async for piece in runtime.export_session(session, format_, **how)])


# --- our own --------------------------------------------------------------------------------------------------------


async def _lived(path: Path, tmp_path: Path) -> tuple[bytes, list[Event]]:
    """A session that called, delegated, was rewound and compacted, and its export."""
    model = ScriptedModel(
        [call("bash", command="echo hi"), call("task", agent="helper", prompt="Help."), "Helped."],
        select=lambda request: request.turn,
    )
    helper = godwit.Agent("helper", model="scripted:helper")
    agent = godwit.Agent("boss", model=MODEL, tools=["bash"], subagents=[helper])
    models = {MODEL: model, "scripted:helper": ScriptedModel(["I helped."])}
    folder = tmp_path / "work"
    folder.mkdir()
    async with await Runtime.open(path, models=models) as runtime:
        labels = godwit.Labels(correlation="c-1")
        session = await runtime.start_session(agent, workspace=folder, environment={"KEY": "secret"}, labels=labels)
        await session.send("Do it.")
        configured = SessionConfigured(permissions=Permissions(allow=("bash",)))
        await runtime.store.append(session.id, [Draft(configured, at_ms=runtime.clock.now_ms())])
        await session.rewind(1)
        data = await session.export("jsonl")
        return data, await runtime.store.read(session.id)


async def test_an_export_comes_in_again_equal(tmp_path: Path) -> None:
    data, before = await _lived(tmp_path / "a.db", tmp_path)
    assert b'"type":"subagent.started"' in data
    async with await Runtime.open(tmp_path / "b.db", check_models=False) as runtime:
        report, after = await brought(runtime, write_bytes(tmp_path / "s.jsonl", data))
        assert (report.format, report.origin, len(report.children)) == ("godwit", before[0].session, 1)
        assert [(e.seq, e.type, e.at_ms, e.run) for e in after[: len(before)]] == [
            (e.seq, e.type, e.at_ms, e.run) for e in before
        ]
        changed = {old.type for old, new in zip(before, after, strict=False) if old.body != new.body}
        assert changed == {"session.created", "subagent.started", "subagent.finished"}
        created = after[0].data
        assert isinstance(created, SessionCreated)
        assert (created.environment, created.agent.name, created.labels.correlation) == ({}, "imported", "c-1")
        assert [e.type for e in after[len(before) :]] == ["session.configured"] * 2 + ["session.imported"]
        assert of(after, SessionConfigured)[-2].permissions == Permissions()
        started, finished = of(after, SubagentStarted)[0], of(after, SubagentFinished)[0]
        assert started.child == finished.child == report.children[0]
        child = await runtime.store.read(report.children[0])
        assert isinstance(child[0].data, SessionCreated)
        assert (child[0].data.parent, child[0].data.root) == (report.session, report.session)
        assert transcript_of(after).messages == transcript_of(before).messages == ()
        again = await runtime.import_session(tmp_path / "s.jsonl")
        assert (again.new, again.session) == (False, report.session)
        # Out once more: the same events, and the import's own behind them.
        second = await taken(runtime, report.session, "jsonl")
        assert len(second.splitlines()) > len(data.splitlines())


async def test_an_export_is_known_where_it_came_from(runtime: Runtime, tmp_path: Path) -> None:
    file = PiFile()
    file.user("hello")
    report = await runtime.import_session(write(tmp_path / "s.jsonl", file.lines))
    path = write_bytes(tmp_path / "x.jsonl", await taken(runtime, report.session, "jsonl"))
    back = await runtime.import_session(path)
    assert (back.new, back.session) == (False, report.session)
    session = await runtime.open_session(report.session, drive=False)
    await session.set_model("test:other")
    older = await runtime.import_session(path)
    assert (older.new, older.session == report.session) == (True, False)


async def test_a_fork_comes_with_its_past(tmp_path: Path) -> None:
    model = ScriptedModel(["One.", "Two.", "Three."])
    async with await Runtime.open(tmp_path / "a.db", models={MODEL: model}) as runtime:
        agent = godwit.Agent("boss", model=MODEL)
        session = await runtime.start_session(agent, environment={"KEY": "secret"})
        await session.send("First.")
        place = (await session.tree()).nodes[-1].seq
        await session.label(place, "begun")
        await session.send("Second.")
        fork = await session.fork()
        data = await fork.export("jsonl")
        spent = await runtime.store.spent(fork.id)
        pi = await session.export("pi")
    async with await Runtime.open(tmp_path / "b.db", check_models=False) as runtime:
        report, events = await brought(runtime, write_bytes(tmp_path / "s.jsonl", data))
        assert said(events) == ["User: First.", "Assistant: One.", "User: Second.", "Assistant: Two."]
        (forked,) = of(events, SessionForked)
        assert (forked.environment, forked.origin == session.id) == ({}, False)
        assert b"secret" not in await taken(runtime, report.session, "jsonl")
        assert await runtime.store.spent(report.session) == spent
        _, again = await brought(runtime, write_bytes(tmp_path / "pi.jsonl", pi))
        assert [one.label for one in of(again, SessionLabelled)] == ["begun"]


async def test_what_was_under_way_does_not_go_on(tmp_path: Path) -> None:
    """Exported while a call waits to be approved, and while an input waits behind it."""
    agent = godwit.Agent("careful", model=MODEL, tools=["bash"], permissions=Permissions(ask=("bash",)))
    model = ScriptedModel([call("bash", command="touch ran"), "Done."])
    folder = tmp_path / "work"
    folder.mkdir()
    async with await Runtime.open(tmp_path / "a.db", models={MODEL: model}) as runtime:
        session = await runtime.start_session(agent, workspace=folder)
        await session.prompt("Touch it.")
        await session.follow_up("And then?")
        async for event in session.follow():
            if event.type == "run.parked":
                break
        data = await session.export("jsonl")
    async with await Runtime.open(tmp_path / "b.db", models={MODEL: model}) as runtime:
        allowed = godwit.Agent("careful", model=MODEL, tools=["bash"])
        report, events = await brought(runtime, write_bytes(tmp_path / "s.jsonl", data), agent=allowed, workspace=folder)
        assert report.adapted == {"events that ended what was open": 5}
        session = await runtime.open_session(report.session)
        assert (await session.status(), (await session.state()).last_outcome) == ("idle", "interrupted")
        assert [type(m).__name__ for m in transcript_of(events).messages] == ["User", "Assistant", "ToolResult"]
        await session.close()
    assert not (folder / "ran").exists()


async def test_an_archived_session_stays_archived(runtime: Runtime, tmp_path: Path) -> None:
    file = PiFile()
    file.user("hello")
    report = await runtime.import_session(write(tmp_path / "s.jsonl", file.lines))
    await runtime.archive(report.session)
    data = await taken(runtime, report.session, "jsonl")
    async with await Runtime.open(":memory:", check_models=False) as other:
        came, events = await brought(other, write_bytes(tmp_path / "x.jsonl", data))
        assert (await other.row(came.session)).status == "archived"
        assert [e.type for e in events[-2:]] == ["session.imported", "session.archived"]


async def test_artifacts_come_along(tmp_path: Path) -> None:
    async with await Runtime.open(tmp_path / "a.db", check_models=False) as runtime:
        session = await runtime.start_session(godwit.Agent("keeper", model=MODEL), drive=False)
        stored = await runtime.store.put_artifact(session.id, b"\x00large", "application/x-large")
        path = write_bytes(tmp_path / "s.jsonl", await session.export("jsonl"))
    async with await Runtime.open(tmp_path / "b.db", check_models=False) as runtime:
        report = await runtime.import_session(path)
        assert (await runtime.get_artifact(stored.ref), report.counts["artifacts"]) == (b"\x00large", 1)


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ("gap", "follows"),
        ("illegal", "cannot have happened"),
        ("version", "of version 9"),
        ("empty", "no events"),
        ("rewound", "cannot have happened"),
        ("unreadable", "cannot be read"),
    ],
)
async def test_a_log_that_cannot_be_is_refused_and_leaves_nothing(
    runtime: Runtime, tmp_path: Path, wrong: str, why: str
) -> None:
    file = PiFile()
    file.user("hello")
    file.answer("hi")
    report = await runtime.import_session(write(tmp_path / "s.jsonl", file.lines))
    lines = (await taken(runtime, report.session, "jsonl")).splitlines()
    head = report.head
    match wrong:
        case "gap":
            del lines[4]
        case "illegal":
            lines[4] = re.sub(rb'"type":.*', b'"type":"turn.finished","index":9}', lines[4])
        case "rewound":
            lines[head] = re.sub(rb'"type":.*', b'"type":"session.rewound","to":999}', lines[head])
        case "unreadable":
            lines[head] = re.sub(rb'"type":.*', b'"type":"session.configured","permissions":{"allow":["("]}}', lines[head])
        case "version":
            lines[0] = lines[0].replace(b'"version":1', b'"version":9')
        case "empty":
            lines = lines[:1]
    async with await Runtime.open(tmp_path / "b.db", check_models=False) as other:
        with pytest.raises(InvalidArgument, match=why):
            await other.import_session(write_bytes(tmp_path / "x.jsonl", b"\n".join(lines) + b"\n"))
        assert await other.sessions() == []
        assert (await other.import_session(tmp_path / "s.jsonl")).new


async def test_a_torn_export_comes_as_far_as_it_goes(runtime: Runtime, tmp_path: Path) -> None:
    file = PiFile()
    file.user("hello")
    file.answer("hi")
    report = await runtime.import_session(write(tmp_path / "s.jsonl", file.lines))
    data = await taken(runtime, report.session, "jsonl")
    cut = data[: data.index(b'"type":"agent.message"') + 40]
    came, events = await brought(runtime, write_bytes(tmp_path / "x.jsonl", cut))
    assert (came.new, came.skipped) == (True, {"last line torn": 1, "end of the export": 1})
    assert said(events) == ["User: hello"]


# --- the page -------------------------------------------------------------------------------------------------------

WORD = re.compile(r"[a-z0-9-]+")
TAGS = frozenset(
    WORD.findall(
        "html head meta title style body h1 h2 h3 h4 h5 h6 dl dt dd p details summary table tr td th thead tbody a article"
        " div pre code span b em strong s ul ol li hr br blockquote section img"
    )
)
ATTRIBUTES = frozenset(WORD.findall("class id lang charset name content rel alt open start title style"))


class Page(html.parser.HTMLParser):
    """What a page is made of, and everything in it that could act."""

    def __init__(self, page: bytes) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.acting: list[tuple[str, str, str | None]] = []
        self.text: list[str] = []
        self.feed(page.decode())
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            given = value or ""
            fine = {
                "href": given.startswith(("#", "http://", "https://", "mailto:")),
                "src": tag == "img" and given.startswith("data:image/"),
                "http-equiv": given == "Content-Security-Policy",
            }.get(
                name,
                name in ATTRIBUTES,
            )
            if not fine or (name == "style" and not re.fullmatch(r"text-align:(left|right|center)", given)):
                self.acting.append((tag, name, value))

    def handle_data(self, data: str) -> None:
        self.text.append(data)


NASTY = [
    "<script>window.hacked=1</script>",
    "</pre></details></article><img src=x onerror=alert(1)>",
    '"><svg/onload=alert(1)>',
    "[click](javascript:alert(1)) ![x](http://evil.example/x.png) [d](data:text/html,<script>1</script>)",
    "<a href='vbscript:x'>x</a> <https://example.org/?a=\"b\"> <javascript:alert(1)>",
    "&lt;script&gt; \x00\x1b[31m\u202e\ufffe ]]> <!-- --> {{7*7}} </style><style>*{background:url(//evil)}",
    "`</code><script>` ```\n</pre><script>alert(1)</script>\n```",
]


def _nasty_file(texts: list[str]) -> PiFile:
    file = PiFile()
    for number, text in enumerate(texts):
        file.user(text)
        arguments = {"command": text, "path": text, "old_string": text, "new_string": f"{text}!", text: text}
        file.answer({"type": "thinking", "thinking": text}, text, pi_call(f"t{number}", text or "x", **arguments))
        file.result(f"t{number}", text, isError=True, details={"diff": f"+{text}\n-{text}"})
        file.entry("custom", customType=text, data={text: text})
        file.entry("compaction", summary=text or "x", firstKeptEntryId="none", tokensBefore=1)
        file.entry("session_info", name=text)
    return file


def _checked(page: bytes) -> Page:
    found = Page(page)
    assert set(found.tags) <= TAGS, set(found.tags) - TAGS
    assert found.acting == []
    assert found.tags.count("style") == found.tags.count("body") == 1
    return found


async def test_no_content_acts_on_a_page(runtime: Runtime, tmp_path: Path) -> None:
    report = await runtime.import_session(write(tmp_path / "s.jsonl", _nasty_file(NASTY).lines))
    found = _checked(await taken(runtime, report.session, "html"))
    shown = "".join(found.text)
    for text in NASTY[:3]:
        assert text in shown
    assert "\u202e" not in shown
    assert "⟪U+202E⟫" in shown


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(texts=st.lists(st.text(max_size=60) | st.sampled_from(NASTY), min_size=1, max_size=3))
async def test_any_text_stays_text(tmp_path: Path, texts: list[str]) -> None:
    texts = [text.encode("utf-8", "replace").decode() for text in texts]
    async with await Runtime.open(":memory:", check_models=False) as runtime:
        report = await runtime.import_session(write(tmp_path / "s.jsonl", _nasty_file(texts).lines))
        _checked(await taken(runtime, report.session, "html"))
        await taken(runtime, report.session, "md")


async def test_a_page_shows_what_was_done(runtime: Runtime, tmp_path: Path) -> None:
    import base64

    file = ClaudeFile()
    file.user([{"type": "text", "text": "Look."}, {"type": "image", "source": {
        "type": "base64", "media_type": "image/png", "data": base64.b64encode(PIXEL).decode()}}])  # fmt: skip
    file.answer({"type": "thinking", "thinking": "deep thought", "signature": "s"}, "m1")
    file.answer(use("t1", "Edit", file_path="a.py", old_string="x = 1", new_string="x = 2"), "m1")
    file.result("t1", "edited")
    file.answer(use("t2", "Bash", command="cat big"), "m2")
    file.result("t2", "line\n" * 5000)
    back = file.answer("# Title\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n**bold** [site](https://example.org)", "m3")
    file.answer(use("t3", "Task", prompt="Help.", subagent_type="Explore"), "m4", back)
    side = file.user("Help.", None, isSidechain=True)
    file.answer("helped", "m5", side, isSidechain=True)
    file.result("t3", "helped", file.lines[-3]["uuid"])
    file.user("left behind")
    file.user("the other way", parent=back)
    report = await runtime.import_session(write(tmp_path / "s.jsonl", file.lines))
    page = await taken(runtime, report.session, "html")
    found = _checked(page)
    text = page.decode()
    assert f'src="data:image/png;base64,{base64.b64encode(PIXEL).decode()}"' in text
    assert "<span class=d>-x = 1</span><span class=a>+x = 2</span>" in text
    assert "<div class=thinking>deep thought</div>" in text
    assert "<h1>Title</h1>" in text
    assert "<strong>bold</strong>" in text
    assert "<table>" in text
    assert 'href="https://example.org" rel="noopener noreferrer nofollow"' in text
    assert f'href="#s-{report.children[0]}"' in text
    assert f'id="s-{report.children[0]}"' in text
    assert "A branch that the conversation left" in text
    assert "all of the result, 5001 lines" in text
    assert "the other way" in "".join(found.text)
    assert "Content-Security-Policy" in text
    assert "prefers-color-scheme: dark" in text
    ids = re.findall(r'id="([^"]+)"', text)
    assert len(ids) == len(set(ids))
    for target in re.findall(r'href="#([^"]+)"', text):
        assert target in ids
    alone = await taken(runtime, report.session, "html", children=False)
    assert b"<section class=child" not in alone


async def test_markdown_reads_well(runtime: Runtime, tmp_path: Path) -> None:
    file = PiFile()
    file.user("Say hi.")
    file.answer("Calling.", pi_call("t1", command="echo hi"))
    file.result("t1", "```\nhi\n```")
    file.answer("It says hi.")
    report = await runtime.import_session(write(tmp_path / "s.jsonl", file.lines))
    text = (await taken(runtime, report.session, "md")).decode()
    assert text.startswith("# Say hi.\n\n> This holds what the session's log holds")
    assert (
        "**bash** `echo hi` ok\n\n```\necho hi\n```\n\n<details><summary>result</summary>\n\n````\n```\nhi\n```\n````"
        in text
    )
    assert "It says hi." in text
    assert "- usage: 222 in, 10 out, 200 cached, $0.5000" in text


async def test_questions_of_calls_read_with_their_answers_and_without_secrets(tmp_path: Path) -> None:
    form = {
        "type": "object",
        "properties": {"city": {"type": "string", "title": "Which city?"}, "password": {"type": "string"}},
    }

    @godwit.tool
    async def order(ctx: godwit.ToolContext) -> godwit.ToolOutput:
        """Ask four things."""
        if ctx.resumed is None:
            return godwit.ToolOutput(
                (),
                questions=(
                    godwit.Question("a", "form", "Where <b>to</b>?", form),
                    godwit.Question("b", "url", "Log in.", url="https://login.example/"),
                    godwit.Question("c", "approval", "May I?", arguments={"n": 1}),
                    godwit.Question("d", "form", "More?", form),
                ),
            )
        return godwit.ToolOutput((godwit.Text("ordered"),))

    models = {MODEL: ScriptedModel([call("order"), "Done."])}
    async with await Runtime.open(tmp_path / "g.db", models=models) as runtime:
        session = await runtime.start_session(godwit.Agent("clerk", model=MODEL, tools=[order]))
        run = await session.prompt("Go.")
        given: list[Any] = [{"city": "Oslo", "password": "hunter2"}, "done", True, None]
        async for event in session.follow():
            if event.type != "action.opened":
                continue
            answer = given.pop(0)
            (action,) = await session.approvals.pending()
            if answer is True:
                await session.approve(action.id)
            elif answer is None:
                await session.deny(action.id, "enough", sender="ada")
                break
            else:
                await session.answer(action.id, answer)
        await session.wait(run)
        markdown = (await taken(runtime, session.id, "md")).decode()
        page = (await taken(runtime, session.id, "html")).decode()
    told = (
        "> Asked: Where <b>to</b>?  \n> answered:  \n>   Which city?: Oslo  \n>   password: ••••••  \n\n"
        "> Asked: Log in. (https://login.example/)  \n> done  \n\n"
        '> Asked: May I? {"n": 1}  \n> approved  \n\n'
        "> Asked: More?  \n> declined by ada: enough  \n\n"
    )
    assert told in markdown, markdown
    assert "Asked: Where &lt;b&gt;to&lt;/b&gt;?<div>answered:</div><div>  Which city?: Oslo</div>" in page
    assert "hunter2" not in markdown + page


async def test_what_the_model_was_told_beside_the_prompt_is_there(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    (tmp_path / "AGENTS.md").write_text("Say <b>ahoy</b>.")
    models = {MODEL: ScriptedModel(["Ahoy."])}
    async with await Runtime.open(":memory:", models=models, folder_files=FolderFiles()) as runtime:
        session = await runtime.start_session(godwit.Agent("sailor", model=MODEL, memory=True), workspace=tmp_path)
        await session.memory.remember("The boat is called Godwit")
        await session.send("How is the boat called?")
        page, text = (await session.export()).decode(), (await session.export("md")).decode()
        log = (await session.export("jsonl")).decode()
    for shown in (page, text):
        assert shown.index("Told from files: AGENTS.md") < shown.rindex("How is the boat called?")
        assert "Recalled: 1 memory" in shown
        assert "The boat is called Godwit" in shown
    assert "Say &lt;b&gt;ahoy" in page
    assert "context.loaded" in log
    assert "memory.recalled" in log


async def test_a_long_session_makes_a_page(runtime: Runtime, tmp_path: Path) -> None:
    file = PiFile()
    for number in range(2000):
        file.user(f"message {number}")
        file.answer(f"answer {number}", pi_call(f"t{number}", command="ls"))
        file.result(f"t{number}", "out")
    report = await runtime.import_session(write(tmp_path / "s.jsonl", file.lines))
    assert report.counts == {"user": 2000, "agent": 2000, "results": 2000}
    found = _checked(await taken(runtime, report.session, "html"))
    assert found.tags.count("article") == 4000 + 2
    assert found.tags.count("tr") == 2001


# --- pi -------------------------------------------------------------------------------------------------------------


def _messages(data: bytes) -> list[Any]:
    found = [json.loads(line) for line in data.decode().split("\n") if line]
    return [one["message"] for one in found if one["type"] == "message"]


async def test_a_real_session_of_pi_goes_in_and_out(runtime: Runtime, tmp_path: Path) -> None:
    folder = recordings()
    if folder is None or not (folder / "pi_session_914_messages.jsonl").is_file():
        pytest.skip("the recordings are not here")
    source = folder / "pi_session_914_messages.jsonl"
    theirs = _messages(source.read_bytes())
    report = await runtime.import_session(source)
    ours = _messages(await taken(runtime, report.session, "pi"))
    assert len(ours) == len(theirs) == 914
    results = {one["toolCallId"]: one for one in theirs if one["role"] == "toolResult"}
    for mine, original in zip(
        [one for one in ours if one["role"] != "toolResult"],
        [one for one in theirs if one["role"] != "toolResult"],
        strict=True,
    ):
        assert mine["role"] == original["role"]
        if mine["role"] == "user":
            assert mine["content"] == original["content"]
            continue
        assert [_bare(block) for block in mine["content"]] == [_bare(block) for block in original["content"]]
        for key in ("model", "provider", "stopReason"):
            assert mine[key] == original[key]
        assert mine["usage"]["cost"]["total"] == original["usage"]["cost"]["total"]
        assert mine["usage"]["input"] == original["usage"]["input"]
    for mine in ours:
        if mine["role"] == "toolResult":
            original = results.pop(mine["toolCallId"])
            assert (mine["content"], mine["isError"], mine.get("details")) == (
                original["content"],
                original["isError"],
                original.get("details") or None,
            )
    assert results == {}
    # And in again, from what was exported: the same conversation.
    again = await runtime.import_session(write_bytes(tmp_path / "out.jsonl", await taken(runtime, report.session, "pi")))
    first = transcript_of(await runtime.store.read(report.session)).messages
    second = transcript_of(await runtime.store.read(again.session)).messages
    assert [m.text for m in first] == [m.text for m in second]
    page = Page(await taken(runtime, report.session, "html"))
    assert page.tags.count("article") >= 88 + 453


def _bare(block: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in block.items() if key not in ("partialJson", "thinkingSignature", "textSignature")}


async def test_a_tree_goes_to_pi_and_back(runtime: Runtime, tmp_path: Path) -> None:
    file = PiFile()
    file.user("one")
    back = file.answer("two")
    file.user("three")
    file.answer("four")
    file.entry("label", targetId=back, label="here")
    file.user("drei", parent=back)
    kept = file.answer("vier")
    file.entry("compaction", summary="so far", firstKeptEntryId=kept, tokensBefore=7)
    file.user("fuenf")
    report, events = await brought(runtime, write(tmp_path / "s.jsonl", file.lines))
    data = await taken(runtime, report.session, "pi")
    again, second = await brought(runtime, write_bytes(tmp_path / "out.jsonl", data))
    assert said(second) == said(events)
    assert again.counts == report.counts
    assert again.kept == report.kept == {}
    assert report.counts["labels"] == 1


async def test_why_an_answer_was_cut_goes_back_to_pi(runtime: Runtime, tmp_path: Path) -> None:
    file = PiFile()
    file.user("one")
    file.answer("and s", stopReason="aborted", errorMessage="Request was aborted")
    file.user("two")
    file.answer("or e", stopReason="error", errorMessage="overloaded")
    report, _ = await brought(runtime, write(tmp_path / "s.jsonl", file.lines))
    lines = [json.loads(line) for line in (await taken(runtime, report.session, "pi")).splitlines()]
    answers = [one["message"] for one in lines if one.get("message", {}).get("role") == "assistant"]
    assert [(m["stopReason"], m["errorMessage"]) for m in answers] == [
        ("aborted", "Request was aborted"),
        ("error", "overloaded"),
    ]


# --- refusals -------------------------------------------------------------------------------------------------------


async def test_what_is_not_there_or_no_format(runtime: Runtime) -> None:
    with pytest.raises(SessionNotFound):
        await taken(runtime, "nobody", "html")
    with pytest.raises(InvalidArgument, match="none of html, md, jsonl, pi"):
        await taken(runtime, "nobody", "docx")  # type: ignore[arg-type]


async def test_an_open_turn_is_shown(tmp_path: Path) -> None:
    agent = godwit.Agent("careful", model=MODEL, tools=["bash"], permissions=Permissions(ask=("bash",)))
    model = ScriptedModel([call("bash", command="touch ran"), "Done."])
    async with await Runtime.open(tmp_path / "a.db", models={MODEL: model}) as runtime:
        session = await runtime.start_session(agent, workspace=tmp_path)
        await session.prompt("Touch it.")
        async for event in session.follow():
            if event.type == "run.parked":
                break
        page = (await session.export()).decode()
        assert "This turn had not ended." in page
        assert "no result" in page
        assert b"touch ran" in await session.export("md")


def write_bytes(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path
