"""Sessions of imp and transcripts of Claude Code, brought in."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.host.session_files import PIXEL, ClaudeFile, imp_lines, use, write
from tests.host.test_importing_pi import brought, of, said

from godwit import Runtime
from godwit.core.events import AgentMessage, EntryKept, SessionCompacted, SubagentFinished, SubagentStarted, ToolFinished
from godwit.core.messages import Assistant, Image, Thinking, ToolResult, User
from godwit.core.transcript import problems, transcript_of


@pytest.fixture
async def runtime(tmp_path: Path) -> AsyncIterator[Runtime]:
    async with await Runtime.open(tmp_path / "godwit.db", check_models=False) as opened:
        yield opened


async def test_a_session_of_imp(runtime: Runtime, tmp_path: Path) -> None:
    report, events = await brought(runtime, write(tmp_path / "1234-abcd.jsonl", imp_lines()))
    assert (report.format, report.origin) == ("imp", "1234-abcd")
    assert said(events) == ["User: What is here?", "Assistant: ", "ToolResult: a.txt", "Assistant: One file.",
                            "User: Go on elsewhere."]  # fmt: skip
    answer = of(events, AgentMessage)[0].message
    assert [type(b).__name__ for b in answer.content] == ["Thinking", "ToolCall"]
    assert (answer.usage.input_tokens, answer.usage.cost_usd) == (14, 0.0031)
    assert of(events, ToolFinished)[0].metadata == {"exit_code": 0}
    (compaction,) = of(events, SessionCompacted)
    assert (compaction.summary, compaction.tokens_before, compaction.tokens_after) == ("They looked.", 100, 20)
    at = next(n for n, e in enumerate(events) if e.data is compaction)
    assert [type(m).__name__ for m in transcript_of(events[: at + 1]).messages] == ["User", "Assistant"]
    assert report.kept == {"usage-record": 1, "session-meta": 1}
    assert report.counts["labels"] == 1
    row = await runtime.row(report.session)
    assert (row.name, row.created_ms, row.updated_ms) == ("looking", 1_772_359_200_000, 1_772_359_206_000)


async def test_a_transcript_of_claude_code(runtime: Runtime, tmp_path: Path) -> None:
    file = ClaudeFile()
    file.bare("file-history-snapshot", messageId="x", snapshot={})
    file.user("Look around.")
    file.entry("attachment", attachment={"type": "skill_listing"})
    thought = {"type": "thinking", "thinking": "hm", "signature": "sig"}
    file.answer(thought, "msg_1")
    file.answer("I look.", "msg_1")
    first = file.answer(use("t1", command="ls"), "msg_1")
    file.entry("progress", data={"type": "bash_progress", "output": "a"})
    second = file.answer(use("t2", "Read", file_path="a"), "msg_1")
    file.result("t1", "a.txt", parent=first, toolUseResult={"stdout": "a.txt", "stderr": ""})
    picture = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": _base64(PIXEL)}}
    third = file.result("t2", [picture], parent=second)
    file.answer("A file and a picture.", "msg_2", parent=third)
    file.user("<note>", isMeta=True)
    file.answer("API Error: overloaded", "x", isApiErrorMessage=True)
    file.user([{"type": "text", "text": "Go on"}, {"type": "unheard of"}])
    file.answer({"type": "redacted_thinking", "data": "secret"}, "msg_3")
    file.answer("Done.", "msg_3", message_extra=1)
    file.bare("ai-title", aiTitle="looking around")
    file.bare("queue-operation", operation="enqueue")
    report, events = await brought(runtime, write(tmp_path / "s.jsonl", file.lines))
    assert said(events) == ["User: Look around.", "Assistant: I look.", "ToolResult: a.txt", "ToolResult: ",
                            "Assistant: A file and a picture.",
                            "User: <note>", "User: Go on", "Assistant: Done."]  # fmt: skip
    messages = transcript_of(events).messages
    assert isinstance(messages[1], Assistant)
    assert [type(b).__name__ for b in messages[1].content] == ["Thinking", "Text", "ToolCall", "ToolCall"]
    assert messages[1].model == "anthropic:claude-opus-4-5"
    assert (messages[1].usage.input_tokens, messages[1].usage.output_tokens) == (60, 4)
    assert isinstance(messages[3], ToolResult)
    assert messages[3].content == (Image("image/png", PIXEL),)
    assert isinstance(messages[7], Assistant)
    assert messages[7].content[0] == Thinking("", "secret", True, messages[7].content[0].opaque)  # type: ignore[union-attr]
    assert of(events, ToolFinished)[0].metadata == {"stdout": "a.txt", "stderr": ""}
    assert report.counts == {"user": 3, "agent": 3, "results": 2}
    assert (report.adapted, (await runtime.row(report.session)).name) == ({}, "looking around")
    assert report.kept == {
        "file-history-snapshot": 1, "attachment": 1, "progress bash_progress": 1, "answer of no model": 1,
        "content of a user message": 1, "ai-title": 1, "queue-operation": 1,
    }  # fmt: skip


async def test_results_between_the_parts_of_an_answer(runtime: Runtime, tmp_path: Path) -> None:
    """Calls that ran while the answer was still coming."""
    file = ClaudeFile()
    file.user("go")
    file.answer(use("t1"), "msg_1")
    file.result("t1", "one")
    file.answer(use("t2"), "msg_1")
    file.user("and hurry")
    file.result("t2", "two")
    file.answer("ok", "msg_2")
    _, events = await brought(runtime, write(tmp_path / "s.jsonl", file.lines))
    assert said(events) == [
        "User: go",
        "Assistant: ",
        "ToolResult: one",
        "ToolResult: two",
        "User: and hurry",
        "Assistant: ok",
    ]


async def test_a_message_said_in_another_way_is_a_branch(runtime: Runtime, tmp_path: Path) -> None:
    file = ClaudeFile()
    file.user("one")
    back = file.answer("two", "msg_1")
    file.user("three")
    file.answer("four", "msg_2")
    file.user("drei", parent=back)
    report, events = await brought(runtime, write(tmp_path / "s.jsonl", file.lines))
    assert said(events) == ["User: one", "Assistant: two", "User: drei"]
    assert report.counts == {"user": 3, "agent": 2, "branches": 1}


async def test_a_compaction_goes_on_behind_its_boundary(runtime: Runtime, tmp_path: Path) -> None:
    file = ClaudeFile()
    file.user("one")
    kept = file.answer("two", "msg_1")
    told = {"trigger": "auto", "preTokens": 1000, "preservedSegment": {"headUuid": kept}}
    file.entry("system", None, subtype="compact_boundary", logicalParentUuid=kept, compactMetadata=told)
    file.user("A summary.", isCompactSummary=True, isVisibleInTranscriptOnly=True)
    file.user("three")
    _, events = await brought(runtime, write(tmp_path / "s.jsonl", file.lines))
    (compaction,) = of(events, SessionCompacted)
    assert (compaction.summary, compaction.tokens_before) == ("A summary.", 1000)
    assert [one.splitlines()[0] for one in said(events)][1:] == ["Assistant: two", "User: three"]


async def test_subagents_in_the_file_become_sessions_of_their_own(runtime: Runtime, tmp_path: Path) -> None:
    file = ClaudeFile()
    file.user("Have two looked at.")
    first = file.answer(use("t1", "Task", prompt="Look at a.", description="a", subagent_type="Explore"), "msg_1")
    second = file.answer(use("t2", "Task", prompt="Look at b.", description="b"), "msg_1")
    a = file.user("Look at a.", None, isSidechain=True)
    b = file.user("Look at b.", None, isSidechain=True)
    a = file.answer("a is fine", "msg_a", a, isSidechain=True)
    b = file.answer(use("t3"), "msg_b", b, isSidechain=True)
    b = file.result("t3", "b", b, isSidechain=True)
    file.answer("b as well", "msg_b2", b, isSidechain=True)
    file.result("t1", "a is fine", first)
    last = file.result("t2", "b as well", second)
    file.answer("Both fine.", "msg_2", last)
    report, events = await brought(runtime, write(tmp_path / "s.jsonl", file.lines))
    assert a != b
    assert said(events) == ["User: Have two looked at.", "Assistant: ", "ToolResult: a is fine", "ToolResult: b as well",
                            "Assistant: Both fine."]  # fmt: skip
    started, finished = of(events, SubagentStarted), of(events, SubagentFinished)
    assert [(s.agent, s.prompt, s.description) for s in started] == [
        ("Explore", "Look at a.", "a"),
        ("subagent", "Look at b.", "b"),
    ]
    assert [(f.status, f.output, f.turns) for f in finished] == [
        ("completed", "a is fine", 1),
        ("completed", "b as well", 2),
    ]
    assert sorted(report.children) == sorted(s.child for s in started)
    for one in finished:
        row = await runtime.row(one.child)
        assert (row.parent, row.head, row.status) == (report.session, one.up_to, "idle")
        assert list(problems(transcript_of(await runtime.store.read(one.child)).messages)) == []
    spent = await runtime.store.spent(report.session)
    assert spent.turns == 5


async def test_subagents_in_files_beside_it(runtime: Runtime, tmp_path: Path) -> None:
    file = ClaudeFile("main")
    file.user("Have it looked at.")
    file.answer(use("t1", "Agent", prompt="Look."), "msg_1")
    file.result("t1", "fine", toolUseResult={"agentId": "a1", "status": "completed"})
    file.answer("Fine.", "msg_2")
    agent = ClaudeFile("main", isSidechain=True, agentId="a1")
    agent.user("Look.")
    agent.answer("fine", "msg_a")
    lost = ClaudeFile("main", isSidechain=True, agentId="b2")
    lost.user("Nobody asked.")
    folder = tmp_path / "main" / "subagents"
    write(folder / "agent-a1.jsonl", agent.lines)
    (folder / "agent-a1.meta.json").write_text(json.dumps({"agentType": "Explore"}))
    write(tmp_path / "agent-b2.jsonl", lost.lines)
    write(tmp_path / "agent-c3.jsonl", ClaudeFile("another", isSidechain=True).lines or [{"type": "user"}])
    report, events = await brought(runtime, write(tmp_path / "main.jsonl", file.lines))
    assert len(report.children) == 2
    (started,) = of(events, SubagentStarted)
    assert (started.agent, started.child in report.children) == ("Explore", True)
    alone, _ = await brought(runtime, folder / "agent-a1.jsonl")
    assert (alone.origin, alone.children, alone.counts) == ("a1", (), {"user": 1, "agent": 1})


async def test_old_summaries_name_the_session(runtime: Runtime, tmp_path: Path) -> None:
    file = ClaudeFile()
    leaf = file.user("hello")
    lines = [{"type": "summary", "summary": "Greeting", "leafUuid": leaf},
             {"type": "summary", "summary": "Another", "leafUuid": "elsewhere"}]  # fmt: skip
    report, events = await brought(runtime, write(tmp_path / "s.jsonl", [*lines, *file.lines]))
    assert ((await runtime.row(report.session)).name, report.kept) == ("Greeting", {"summary": 2})
    assert [one.data["summary"] for one in of(events, EntryKept)] == ["Greeting", "Another"]
    assert [type(m) for m in transcript_of(events).messages] == [User]


def _base64(data: bytes) -> str:
    import base64

    return base64.b64encode(data).decode()
