"""Sessions of pi, brought in: what each entry becomes, and that all of a real session comes."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.host.session_files import PIXEL, PiFile, pi_call, write
from tests.loopback import recordings

import godwit
from godwit import Runtime, ScriptedModel
from godwit.core.errors import InvalidArgument
from godwit.core.events import (
    AgentMessage,
    EntryKept,
    Event,
    RunFinished,
    SessionCompacted,
    SessionImported,
    SessionLabelled,
    ToolFinished,
    ToolStarted,
    UserMessage,
)
from godwit.core.facts import ImportReport
from godwit.core.messages import Assistant, Image, Text, Thinking, ToolCall, ToolResult, User
from godwit.core.state import State, fold
from godwit.core.transcript import problems, transcript_of
from godwit.host.importing.turns import NO_RESULT

MODEL = "scripted:test"


@pytest.fixture
async def runtime(tmp_path: Path) -> AsyncIterator[Runtime]:
    async with await Runtime.open(
        tmp_path / "godwit.db", models={MODEL: ScriptedModel(["Go on."], select=lambda _: 0)}
    ) as opened:
        yield opened


async def brought(runtime: Runtime, path: Path, **how: Any) -> tuple[ImportReport, list[Event]]:
    """The report and the log, which was folded again."""
    report = await runtime.import_session(path, **how)
    events = await runtime.store.read(report.session)
    state = State()
    for event in events:
        state = fold(state, event)
    transcript = transcript_of(events)
    assert list(problems(transcript.messages)) == []
    assert report.head == state.seq
    return report, events


def said(events: list[Event]) -> list[str]:
    """What the conversation says now, message by message."""
    return [f"{type(m).__name__}: {m.text}" for m in transcript_of(events).messages]


def of(events: list[Event], kind: type) -> list[Any]:
    return [event.data for event in events if isinstance(event.data, kind)]


async def test_a_real_session_comes_whole(runtime: Runtime) -> None:
    folder = recordings()
    if folder is None or not (folder / "pi_session_914_messages.jsonl").is_file():
        pytest.skip("the recordings are not here")
    path = folder / "pi_session_914_messages.jsonl"
    report, events = await brought(runtime, path)
    theirs = [json.loads(line)["message"] for line in path.read_text().split("\n") if '"type":"message"' in line]
    assert len(theirs) == 914
    assert (report.counts, report.kept, report.adapted, report.skipped) == (
        {"user": 88, "agent": 453, "results": 373}, {}, {}, {},
    )  # fmt: skip

    users, answers = iter(of(events, UserMessage)), iter(of(events, AgentMessage))
    results = {(one.call, one.name): one for one in of(events, ToolFinished)}
    seen: set[int] = set()
    for message in theirs:
        if message["role"] == "user":
            assert [b.text for b in next(users).content] == [b["text"] for b in message["content"]]
        elif message["role"] == "assistant":
            ours: Assistant = next(answers).message
            for block, original in zip(ours.content, message["content"], strict=True):
                match block:
                    case Text():
                        assert (original["type"], block.text) == ("text", original["text"])
                    case Thinking():
                        assert (original["type"], block.text) == ("thinking", original["thinking"])
                    case ToolCall():
                        id_ = original["id"].partition("|")[0]
                        assert (block.id, block.name, block.arguments) == (id_, original["name"], original["arguments"])
                    case _:
                        raise AssertionError(block)
            usage = message["usage"]
            assert ours.usage.input_tokens == usage["input"] + usage["cacheRead"] + usage["cacheWrite"]
            assert (ours.usage.output_tokens, ours.usage.cost_usd) == (usage["output"], usage["cost"]["total"])
        else:
            found = results[(message["toolCallId"].partition("|")[0], message["toolName"])]
            assert [b.text for b in found.content] == [b["text"] for b in message["content"]]
            assert (found.status == "error") == message["isError"]
            assert found.metadata == message.get("details", {})
            seen.add(id(found))
    assert (next(users, None), next(answers, None), len(seen)) == (None, None, 373)

    session = await runtime.open_session(report.session, drive=False)
    assert session.model == "anthropic:claude-sonnet-4-5"
    row = await runtime.row(report.session)
    assert (row.status, row.first_prompt) == ("idle", "/mode")
    first = json.loads(path.read_text().split("\n")[1])["message"]["timestamp"]
    assert abs(row.created_ms - first) < 100


async def test_an_imported_session_goes_on_with_a_prompt(runtime: Runtime, tmp_path: Path) -> None:
    file = PiFile()
    file.user("List them.")
    file.answer("I look.", pi_call("t1", command="ls"))
    file.result("t1", "a.txt")
    file.answer("One file.")
    agent = godwit.Agent("worker", model=MODEL)
    report = await runtime.import_session(write(tmp_path / "s.jsonl", file.lines), agent=agent, model=MODEL, name="files")
    session = await runtime.open_session(report.session)
    result = await session.send("And now?")
    assert (result.outcome, result.text) == ("done", "Go on.")
    history = await session.history()
    assert [type(m).__name__ for m in history] == ["User", "Assistant", "ToolResult", "Assistant", "User", "Assistant"]
    assert ((await runtime.row(report.session)).name, session.model) == ("files", MODEL)


async def test_a_tree_becomes_branches_that_can_be_gone_back_to(runtime: Runtime, tmp_path: Path) -> None:
    file = PiFile()
    first = file.user("one")
    answer = file.answer("two")
    left = file.user("three")
    file.answer("four")
    file.user("drei", parent=answer)
    file.answer("vier")
    file.user("eins", parent=None)
    second_root = file.answer("zwei")
    file.user("fuenf", parent="00000bad")
    file.answer("sechs")
    file.user("vertraut", parent=second_root)
    assert (first, left) < (second_root, second_root)
    report, events = await brought(runtime, write(tmp_path / "s.jsonl", file.lines))
    assert said(events) == ["User: eins", "Assistant: zwei", "User: vertraut"]
    assert report.counts == {"user": 6, "agent": 5, "branches": 4, "roots": 1}
    assert report.adapted == {"entries whose parent is missing": 1}

    def stood(text: str) -> list[str]:
        """What the conversation was where this was last said."""
        at = max(n for n, e in enumerate(events) if isinstance(e.data, AgentMessage) and e.data.message.text == text)
        end = next(n for n, e in enumerate(events[at:], at) if e.type == "turn.finished")
        return said(events[: end + 1])

    assert stood("four") == ["User: one", "Assistant: two", "User: three", "Assistant: four"]
    assert stood("vier") == ["User: one", "Assistant: two", "User: drei", "Assistant: vier"]
    assert stood("sechs") == ["User: fuenf", "Assistant: sechs"]
    session = await runtime.open_session(report.session, drive=False)
    place = next(e.seq for e in events if isinstance(e.data, AgentMessage) and e.data.message.text == "four")
    await session.rewind(next(e.seq for e in events[place:] if e.type == "turn.finished"))
    assert [m.text for m in await session.history()] == ["one", "two", "three", "four"]


async def test_a_branch_out_of_the_middle_of_a_turn_repeats_it(runtime: Runtime, tmp_path: Path) -> None:
    file = PiFile()
    file.user("go")
    file.answer(pi_call("t1", command="a"), pi_call("t2", command="b"))
    half = file.result("t1", "A")
    file.result("t2", "B")
    file.answer("both")
    file.user("only the first", parent=half)
    report, events = await brought(runtime, write(tmp_path / "s.jsonl", file.lines))
    messages = transcript_of(events).messages
    results = [m for m in messages if isinstance(m, ToolResult)]
    assert [(m.status, m.text) for m in results] == [("ok", "A"), ("unknown", NO_RESULT)]
    assert messages[-1] == User((Text("only the first"),))
    assert report.adapted["turns repeated, since a branch left them halfway"] == 1
    assert sum(e.data.message.usage.requests for e in events if isinstance(e.data, AgentMessage)) == 2


async def test_compactions_keep_what_they_kept(runtime: Runtime, tmp_path: Path) -> None:
    file = PiFile()
    file.user("old")
    file.answer("older")
    kept = file.user("kept")
    file.answer(pi_call("t1"))
    file.result("t1", "done")
    details = {"readFiles": ["a.py"], "modifiedFiles": ["b.py"], "more": 1}
    file.entry("compaction", summary="They began.", firstKeptEntryId=kept, tokensBefore=5000, details=details)
    file.answer("after")
    file.entry("compaction", summary="All of it.", firstKeptEntryId="gone", tokensBefore=9)
    file.user("then")
    report, events = await brought(runtime, write(tmp_path / "s.jsonl", file.lines))
    first, second = of(events, SessionCompacted)
    assert (first.summary, first.tokens_before, first.files_read, first.files_changed) == (
        "They began.", 5000, ("a.py",), ("b.py",),
    )  # fmt: skip
    before = next(n for n, e in enumerate(events) if e.data == second)
    assert [one.partition("\n")[0] for one in said(events[:before])] == [
        "User: The conversation before this point was summarised, to make room. The summary:",
        "User: kept", "Assistant: ", "ToolResult: done", "Assistant: after",
    ]  # fmt: skip
    assert [type(m).__name__ for m in transcript_of(events).messages] == ["User", "User"]
    assert report.counts["compactions"] == 2
    assert report.kept == {"compaction details": 1}
    assert report.adapted == {"compactions whose first kept message is missing": 1}


async def test_versions_1_and_2_are_read(runtime: Runtime, tmp_path: Path) -> None:
    old = PiFile(version=None)
    old.lines[0] |= {"provider": "openai", "modelId": "gpt-5", "thinkingLevel": "high"}
    old.user("a")
    old.answer("b")
    old.user("c")
    old.entry("compaction", summary="so far", firstKeptEntryIndex=3, tokensBefore=1)
    old.user("d")
    report, events = await brought(runtime, write(tmp_path / "v1.jsonl", old.lines))
    assert [one.splitlines()[0] for one in said(events)][1:] == ["User: c", "User: d"]
    assert report.adapted == {}

    middle = PiFile(version=2)
    middle.user("a")
    middle.entry("message", message={"role": "hookMessage", "customType": "todo", "content": "remember", "display": True})
    report, events = await brought(runtime, write(tmp_path / "v2.jsonl", middle.lines))
    assert said(events) == ["User: a", "User: remember"]
    assert [m.sender for m in of(events, UserMessage)] == [None, "extension todo"]
    assert report.kept == {"custom_message details": 1}


async def test_what_has_no_counterpart_is_kept_as_it_is(runtime: Runtime, tmp_path: Path) -> None:
    file = PiFile()
    target = file.user("hello")
    file.entry("custom", customType="state", data={"n": 1})
    file.entry("label", targetId=target, label="start")
    file.entry("session_info", name="greeting")
    file.entry("model_change", provider="google", modelId="gemini-3")
    file.entry("thinking_level_change", thinkingLevel="minimal")
    file.entry("thinking_level_change", thinkingLevel="enormous")
    file.entry("label", targetId="nowhere", label="lost")
    file.entry("label", targetId=file.last, label="start")
    file.entry("branch_summary", fromId="x", summary="It led nowhere.", details={"files": []})
    file.entry("custom_message", customType="hint", content="psst", display=False, details={"a": 1})
    file.entry("from the future", some=["thing"])
    file.entry("message", message={"role": "user", "content": ""})
    report, events = await brought(runtime, write(tmp_path / "s.jsonl", file.lines))
    kept = [(one.kind, one.data) for one in of(events, EntryKept)]
    assert ("custom", {"customType": "state", "data": {"n": 1}}) in kept
    session = await runtime.open_session(report.session, drive=False)
    assert [node.label for node in (await session.tree()).nodes if node.label] == ["start"]
    (labelled,) = of(events, SessionLabelled)
    assert (labelled.label, next(e.type for e in events if e.seq == labelled.target)) == ("start", "input.delivered")
    assert ("thinking_level_change", {"thinkingLevel": "enormous"}) in kept
    assert ("from the future", {"some": ["thing"]}) in kept
    assert sum(report.kept.values()) == len(kept) == 8
    assert (await runtime.row(report.session)).name == "greeting"
    assert "User: psst" in said(events)
    assert any("It led nowhere." in one for one in said(events))
    (imported,) = of(events, SessionImported)
    assert (imported.format, imported.origin, imported.kept) == ("pi", "pi-session", report.kept)


async def test_commands_images_thinking_and_answers_that_were_cut(runtime: Runtime, tmp_path: Path) -> None:
    import base64

    data = base64.b64encode(PIXEL).decode()
    file = PiFile()
    ran = {"role": "bashExecution", "command": "make", "output": "no rule", "exitCode": 2, "cancelled": False}
    file.entry("message", message=ran)
    file.entry("message", message={**ran, "command": "secret", "excludeFromContext": True})
    file.user([{"type": "text", "text": "See:"}, {"type": "image", "data": data, "mimeType": "image/png"}])
    file.answer(
        {"type": "thinking", "thinking": "hm", "thinkingSignature": "sig"},
        {"type": "strange", "x": 1},
        {"type": "toolCall", "id": "t1", "name": "bash", "arguments": "{broken"},
    )
    file.result("t1", "no", isError=True)
    file.answer("half an an", stopReason="aborted", errorMessage="Request was aborted")
    file.user("again")
    file.answer(stopReason="error", errorMessage="overloaded")
    file.answer({"type": "text", "text": "cut"}, pi_call("t9"), stopReason="aborted")
    report, events = await brought(runtime, write(tmp_path / "s.jsonl", file.lines))
    direct = [e for e in of(events, ToolFinished) if e.origin == "direct"]
    assert [(e.status, e.metadata) for e in direct] == [("error", {"exit_code": 2})] * 2
    assert [e.arguments for e in of(events, ToolStarted) if e.origin == "direct"] == [
        {"command": "make"}, {"command": "secret"},
    ]  # fmt: skip
    messages = transcript_of(events).messages
    assert messages[0].text == "Ran `make`\n```\nno rule\n```\n\nCommand exited with code 2"
    assert messages[1] == User((Text("See:"), Image("image/png", PIXEL)))
    answered = messages[2]
    assert isinstance(answered, Assistant)
    thinking, strange, call = answered.content
    assert isinstance(thinking, Thinking)
    assert thinking.signature == "sig"
    assert strange.data == {"type": "strange", "x": 1}  # type: ignore[union-attr]
    assert isinstance(call, ToolCall)
    assert call.malformed == "{broken"
    assert [r.outcome for r in of(events, RunFinished)] == ["interrupted", "failed", "interrupted"]
    assert [r.error.message for r in of(events, RunFinished)][:2] == ["Request was aborted", "overloaded"]
    assert [e.status for e in of(events, ToolFinished) if e.call == "t9"] == ["skipped"]
    assert report.counts == {"direct calls": 2, "user": 2, "agent": 4, "results": 1}


async def test_files_as_they_are_found(runtime: Runtime, tmp_path: Path) -> None:
    """CRLF, U+2028, junk, blank lines, a byte order mark, half a surrogate pair and a torn end."""
    file = PiFile()
    file.user("a\u2028b")
    file.lines += [b"", b"not json", b"[1]", b"{half", b"\x00\xff"]
    file.answer("c")
    surrogate = json.dumps(file.lines[-1]).replace('"c"', '"\\ud83d!"').encode()
    file.lines[-1] = surrogate
    file.lines[0] = b"\xef\xbb\xbf" + json.dumps(file.lines[0]).encode()
    path = write(tmp_path / "s.jsonl", file.lines, end="\r\n")
    with path.open("ab") as more:
        more.write(b'{"type":"message","id":"t","parentId":"2","mess')
    report, events = await brought(runtime, path)
    assert said(events) == ["User: a\u2028b", "Assistant: \ufffd!"]
    assert report.skipped == {"lines that are no JSON object": 4, "last line torn": 1}
    whole = tmp_path / "whole.jsonl"
    whole.write_bytes(path.read_bytes().rpartition(b"\r\n")[0].replace(b"!", b"?"))
    report, _ = await brought(runtime, whole)
    assert (report.skipped, report.counts) == ({"lines that are no JSON object": 4}, {"user": 1, "agent": 1})


@pytest.mark.parametrize("where", [b"kept here", b"kept-id", b'"role"', b"pi-session", b"toolu_1"])
async def test_bytes_that_are_no_text_cost_a_character_and_no_more(runtime: Runtime, tmp_path: Path, where: bytes) -> None:
    """A file that a disk or an editor has damaged is read as far as it can be."""
    file = PiFile()
    file.user("kept here")
    file.lines[-1]["kept-id"] = "x"
    file.answer("looking", {"type": "toolCall", "id": "toolu_1", "name": "bash", "arguments": {"command": "ls"}})
    file.result("toolu_1", "kept here")
    file.answer("the end")
    damaged = write(tmp_path / "s.jsonl", file.lines).read_bytes().replace(where, where[:2] + b"\xe4\xff" + where[2:], 1)
    (tmp_path / "s.jsonl").write_bytes(damaged)
    _, events = await brought(runtime, tmp_path / "s.jsonl")
    assert said(events)[-1] == "Assistant: the end"


async def test_the_same_file_is_the_same_session(runtime: Runtime, tmp_path: Path) -> None:
    file = PiFile()
    file.user("hello")
    path = write(tmp_path / "s.jsonl", file.lines)
    first = await runtime.import_session(path)
    again = await runtime.import_session(write(tmp_path / "copy.jsonl", file.lines))
    assert (first.new, again.new, again.session, again.counts) == (True, False, first.session, first.counts)
    assert len(await runtime.sessions()) == 1
    file.answer("more")
    grown = await runtime.import_session(write(path, file.lines))
    assert (grown.new, grown.session == first.session) == (True, False)
    other = await runtime.import_session(path, labels=godwit.Labels(tenant="t"))
    assert (other.new, other.session == grown.session) == (True, False)
    await runtime.delete_session(grown.session)
    assert (await runtime.import_session(path)).new


async def test_what_is_no_session_file_is_refused(runtime: Runtime, tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match="is not a file"):
        await runtime.import_session(tmp_path / "missing.jsonl")
    for content in (b"", b"hello\n", b'{"a":1}\n'):
        path = tmp_path / "x.jsonl"
        path.write_bytes(content)
        with pytest.raises(InvalidArgument, match="looks like no session"):
            await runtime.import_session(path)
    with pytest.raises(InvalidArgument, match="is none of auto, godwit, pi"):
        await runtime.import_session(path, format="word")
    assert await runtime.sessions() == []


async def test_an_upload_says_nothing_of_folders_here(runtime: Runtime, tmp_path: Path) -> None:
    file = PiFile(cwd=str(tmp_path))
    file.user("hello")
    path = write(tmp_path / "s.jsonl", file.lines)
    uploaded = await runtime.import_session(path.read_bytes(), file_name="s.jsonl", labels=godwit.Labels(tenant="t"))
    assert (await runtime.row(uploaded.session)).workspace is None
    at_home = await runtime.import_session(path)
    assert (await runtime.row(at_home.session)).workspace == str(tmp_path)


async def test_a_file_does_not_open_all_of_a_disk(runtime: Runtime, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "home"
    (home / "src").mkdir(parents=True)
    (tmp_path / "link").symlink_to("/")
    monkeypatch.setenv("HOME", str(home))
    found = {}
    for number, cwd in enumerate(("/", str(tmp_path), str(home), str(tmp_path / "link"), str(home / "src" / ".."))):
        file = PiFile(id_=f"s{number}", cwd=cwd)
        file.user("hello")
        report = await runtime.import_session(write(tmp_path / "s.jsonl", file.lines))
        found[cwd] = (await runtime.row(report.session)).workspace
    assert set(found.values()) == {None}
    file = PiFile(cwd=str(home / "src"))
    file.user("hello")
    report = await runtime.import_session(write(tmp_path / "s.jsonl", file.lines))
    assert (await runtime.row(report.session)).workspace == str(home / "src")
    asked = await runtime.import_session(write(tmp_path / "t.jsonl", [file.lines[0]]), workspace=home)
    assert (await runtime.row(asked.session)).workspace == str(home)


async def test_providers_get_their_own_blocks_back(runtime: Runtime, tmp_path: Path) -> None:
    """Signatures and ids as each provider gave them, in the form in which answers that were asked for here have them."""
    from godwit.models.translation import response

    item = {"id": "rs_1", "type": "reasoning", "encrypted_content": "sealed"}
    openai = {"api": "openai-responses", "provider": "openai", "model": "gpt-5"}
    google = {"api": "google-generative-ai", "provider": "google", "model": "gemini-3"}
    file = PiFile()
    file.user("go")
    file.answer({"type": "thinking", "thinking": "a", "thinkingSignature": "sig"}, "one")
    redacted = {"type": "thinking", "thinking": "", "thinkingSignature": "hidden", "redacted": True}
    file.answer(redacted, "two")
    thought = {"type": "thinking", "thinking": "b", "thinkingSignature": json.dumps(item)}
    file.answer(thought, {"type": "toolCall", "id": "call_1|fc_1", "name": "bash", "arguments": {}}, **openai)
    file.result("call_1|fc_1", "ok")
    file.answer({**pi_call("t1"), "thoughtSignature": "mine"}, **google)
    file.result("t1", "ok")
    _, events = await brought(runtime, write(tmp_path / "s.jsonl", file.lines))
    first, second, third, fourth = (one.message for one in of(events, AgentMessage))

    def parts(message: Assistant, provider: Any) -> list[Any]:
        made = response(message, *provider)
        assert made is not None
        return list(made.parts)

    thinking = parts(first, ("anthropic", "anthropic"))[0]
    assert (thinking.content, thinking.signature, thinking.provider_name) == ("a", "sig", "anthropic")
    thinking = parts(second, ("anthropic", "anthropic"))[0]
    assert (thinking.id, thinking.signature, thinking.provider_name) == ("redacted_thinking", "hidden", "anthropic")
    thinking, asked = parts(third, ("openai", "openai-responses"))
    assert (thinking.id, thinking.signature, thinking.provider_name) == ("rs_1", "sealed", "openai")
    assert (asked.tool_call_id, asked.id) == ("call_1", "fc_1")
    assert [m.call_id for m in transcript_of(events).messages if isinstance(m, ToolResult)] == ["call_1", "t1"]
    (asked,) = parts(fourth, ("google", "google"))
    assert asked.provider_details == {"thought_signature": "mine"}
