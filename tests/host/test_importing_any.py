"""Files as any tool might have left them: whatever the tree, the log folds, every message is in it, and the conversation is
the one that the tool itself would go on with."""

from __future__ import annotations

import asyncio
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings, strategies as st
from tests.host.session_files import ClaudeFile, PiFile, pi_call, use, write
from tests.host.test_importing_pi import brought, of, said

from godwit import Runtime
from godwit.core.events import AgentMessage, EntryKept, UserMessage
from godwit.core.transcript import transcript_of

SETTINGS = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

# What a turn does, and how far back the next one begins: 0 is the last entry.
STEPS = st.lists(
    st.tuples(st.sampled_from(["user", "answer", "call", "broken call", "note", "compaction"]), st.integers(0, 6)),
    min_size=1,
    max_size=25,
)


def _pi_path(lines: list[dict[str, Any]], leaf: str | None) -> list[dict[str, Any]]:
    by_id = {one["id"]: one for one in lines[1:]}
    path = []
    while leaf is not None and leaf in by_id:
        path.append(by_id[leaf])
        leaf = by_id[leaf]["parentId"]
    return path[::-1]


def _pi_says(lines: list[dict[str, Any]], leaf: str | None) -> list[str]:
    """The texts that pi would send: its own rule for compactions."""
    path = _pi_path(lines, leaf)
    at = next((n for n in range(len(path) - 1, -1, -1) if path[n]["type"] == "compaction"), None)
    shown = path
    first: list[str] = []
    if at is not None:
        kept = next((n for n in range(at) if path[n]["id"] == path[at]["firstKeptEntryId"]), at)
        first, shown = [path[at]["summary"]], [*path[kept:at], *path[at + 1 :]]
    texts = [
        b["text"] for one in shown if one["type"] == "message" for b in one["message"]["content"] if b["type"] == "text"
    ]
    return first + [text for text in texts if text]


@SETTINGS
@given(steps=STEPS)
async def test_any_tree_of_pi(tmp_path: Path, steps: list[tuple[str, int]]) -> None:
    file = PiFile()
    begins: list[str] = []
    ends: list[str] = []
    messages = 0
    for number, (step, back) in enumerate(steps):
        # Only from where a turn has ended: of a turn that a branch leaves halfway more is said elsewhere.
        parent = ends[-1 - back % len(ends)] if back and ends else file.last
        match step:
            case "user":
                file.user(f"said {number}", parent)
            case "answer":
                file.answer(f"answer {number}", parent=parent)
            case "call":
                file.answer(f"calls {number}", pi_call(f"t{number}", command="ls"), parent=parent)
                file.result(f"t{number}", f"result {number}")
            case "broken call":
                file.answer(f"cut {number}", parent=parent, stopReason="aborted")
            case "note":
                file.entry("custom", parent, customType="x", data=number)
            case _:
                # Never a result: pi does not part it from its call.
                path = {entry["id"] for entry in _pi_path(file.lines, parent)}
                kept = next((one for one in reversed(begins) if one in path), "none")
                file.entry("compaction", parent, summary=f"summary {number}", firstKeptEntryId=kept, tokensBefore=1)
        begins.append(file.lines[-2 if step == "call" else -1]["id"])
        messages += step in ("user", "answer", "call", "broken call")
        assert file.last is not None
        ends.append(file.last)
    async with await Runtime.open(":memory:", check_models=False) as runtime:
        report, events = await brought(runtime, write(tmp_path / "s.jsonl", file.lines))
        assert len(of(events, UserMessage)) + len(of(events, AgentMessage)) == messages
        assert report.counts.get("results", 0) == sum(step == "call" for step, _ in steps)
        found = [line for text in _texts(events) for line in [text] if line]
        expected = _pi_says(file.lines, file.last)
        assert [text.removeprefix("<summary>\n") for text in found] == expected


def _texts(events: list[Any]) -> list[str]:
    """What the conversation says, of a summary the summary alone."""
    found = []
    for message in transcript_of(events).messages:
        text = message.text
        if text.startswith("The conversation before this point was summarised"):
            text = text.partition("<summary>\n")[2].partition("\n</summary>")[0]
        found.append(text)
    return found


@SETTINGS
@given(steps=STEPS, parents=st.lists(st.integers(-1, 30), max_size=25))
async def test_a_tree_of_nonsense_still_makes_a_log(
    tmp_path: Path, steps: list[tuple[str, int]], parents: list[int]
) -> None:
    """Results before their calls, parents that come later or never, ids twice: nothing is lost and the log folds."""
    file = PiFile()
    for number, (step, back) in enumerate(steps):
        match step:
            case "user":
                file.user(f"said {number}")
            case "answer" | "note":
                file.result(f"t{back}", f"result {number}")
            case "call":
                file.answer(pi_call(f"t{back}"), pi_call(f"t{back}"), pi_call(f"t{number}"))
            case "broken call":
                file.answer(pi_call(f"t{back}"), stopReason="error")
            case _:
                file.entry("compaction", summary="s", firstKeptEntryId=f"{back:08x}", tokensBefore=1)
    ids = [one["id"] for one in file.lines[1:]]
    for one, at in zip(file.lines[1:], parents, strict=False):
        one["parentId"] = None if at < 0 else ids[at] if at < len(ids) else "nowhere"
    async with await Runtime.open(":memory:", check_models=False) as runtime:
        report, events = await brought(runtime, write(tmp_path / "s.jsonl", file.lines))
        results = sum(step in ("answer", "note") for step, _ in steps)
        assert report.counts.get("results", 0) + report.kept.get("result without a call", 0) >= results
        assert len(of(events, EntryKept)) == sum(report.kept.values())
        await runtime.export_session(report.session, "md").__anext__()


@SETTINGS
@given(steps=st.lists(st.tuples(st.sampled_from(["user", "answer", "call", "side", "junk"]), st.booleans()), max_size=20))
async def test_any_transcript_of_claude_code(tmp_path: Path, steps: list[tuple[str, bool]]) -> None:
    file = ClaudeFile()
    expected: list[str] = []
    side: str | None = None
    for number, (step, split) in enumerate(steps):
        match step:
            case "user":
                file.user(f"said {number}")
                expected.append(f"said {number}")
            case "answer":
                file.answer(f"answer {number}", f"m{number}")
                if split:
                    file.answer(f" and {number}", f"m{number}")
                expected.append(f"answer {number}" + (f" and {number}" if split else ""))
            case "call":
                first = file.answer(use(f"a{number}"), f"m{number}")
                second = file.answer(use(f"b{number}"), f"m{number}")
                if split:
                    file.result(f"a{number}", f"A{number}", first)
                    file.result(f"b{number}", f"B{number}", second)
                else:
                    file.result(f"b{number}", f"B{number}", second)
                    file.result(f"a{number}", f"A{number}", first)
                expected += ["", f"A{number}", f"B{number}"]
            case "side":
                last = file.last
                side = file.user(f"side {number}", side, isSidechain=True, agentId="s")
                file.last = last
            case _:
                file.lines.append({"type": "noise", "sessionId": file.session, "n": number})
    file.user("end")
    async with await Runtime.open(":memory:", check_models=False) as runtime:
        report, events = await brought(runtime, write(tmp_path / "s.jsonl", file.lines))
        assert [one.partition(": ")[2] for one in said(events)] == [*expected, "end"]
        assert report.adapted == {}
        assert len(report.children) == (1 if any(step == "side" for step, _ in steps) else 0)


@SETTINGS
@given(content=st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(
        ["type", "id", "parentId", "message", "content", "role", "text", "timestamp", "arguments", "usage", "name", "x"]
    ), inner, max_size=5),
    max_leaves=12,
))  # fmt: skip
async def test_entries_of_any_shape_are_kept_or_passed_over(tmp_path: Path, content: Any) -> None:
    file = PiFile()
    file.user("hello")
    for role in ("user", "assistant", "toolResult", "bashExecution", "custom"):
        body = content if isinstance(content, dict) else {"content": content}
        file.lines.append({"type": "message", "id": f"x{role}", "parentId": file.last, "message": {**body, "role": role}})
    file.lines += [content if isinstance(content, dict) else {"type": content}, {"type": "compaction", "summary": content}]
    transcript = ClaudeFile()
    transcript.user("hello")
    for kind in ("user", "assistant", "system", "progress"):
        transcript.lines.append({"type": kind, "uuid": kind, "sessionId": "s", "message": content, "data": content})
    async with await Runtime.open(":memory:", check_models=False) as runtime:
        await brought(runtime, write(tmp_path / "s.jsonl", file.lines))
        await brought(runtime, write(tmp_path / "c.jsonl", transcript.lines))


KILLED = """
import asyncio, os, signal, sys
from godwit import Runtime
from godwit.host.importing import shared

async def main():
    async with await Runtime.open(sys.argv[1], check_models=False) as runtime:
        def told(read):
            if read > int(sys.argv[3]):
                os.kill(os.getpid(), signal.SIGKILL)
        await runtime.import_session(sys.argv[2], progress=told)

asyncio.run(main())
"""


async def test_an_import_that_was_killed_leaves_nothing_and_can_be_done_again(tmp_path: Path) -> None:
    file = PiFile()
    for number in range(3000):
        file.user(f"message {number} {'x' * 400}")
    path = write(tmp_path / "s.jsonl", file.lines)
    database = tmp_path / "godwit.db"
    where = [str(database), str(path), str(path.stat().st_size // 2)]
    assert (await asyncio.to_thread(_run, KILLED, *where)).returncode == -signal.SIGKILL
    async with await Runtime.open(database, check_models=False) as runtime:
        assert await runtime.sessions() == []
        assert _events(runtime) > 500  # what it had brought is still there, and nobody's
        report = await runtime.import_session(path)
        assert (report.new, report.counts) == (True, {"user": 3000})
        assert _events(runtime) == report.head


def _run(script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", script, *arguments], check=False, capture_output=True, text=True)


def _events(runtime: Runtime) -> int:
    with sqlite3.connect(runtime.store.file) as db:  # type: ignore[attr-defined]
        return int(db.execute("SELECT count(*) FROM events").fetchone()[0])


async def test_two_imports_of_one_file_at_once_make_one_session(tmp_path: Path) -> None:
    file = PiFile()
    for number in range(500):
        file.user(f"message {number}")
    path = write(tmp_path / "s.jsonl", file.lines)
    async with await Runtime.open(tmp_path / "godwit.db", check_models=False) as runtime:
        reports = await asyncio.gather(*(runtime.import_session(path) for _ in range(4)))
        assert len({one.session for one in reports}) == 1
        assert sum(one.new for one in reports) == 1
        assert len(await runtime.sessions()) == 1
        assert _events(runtime) == reports[0].head


async def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    """Measured in a process of its own: what a file four times as long takes more."""
    peaks = []
    for size in (4_000, 16_000):
        file = PiFile()
        for number in range(size):
            file.user(f"message {number} {'x' * 600}")
        path = write(tmp_path / f"{size}.jsonl", file.lines)
        script = (
            "import asyncio, pathlib, re, sys\nfrom godwit import Runtime\n"
            "async def main():\n"
            "    async with await Runtime.open(sys.argv[1], check_models=False, durability='process') as r:\n"
            "        await r.import_session(sys.argv[2])\n"
            "asyncio.run(main())\n"
            "print(re.search(r'VmHWM:\\s+(\\d+)', pathlib.Path('/proc/self/status').read_text())[1])\n"
        )
        ran = await asyncio.to_thread(_run, script, str(tmp_path / f"{size}.db"), str(path))
        assert ran.returncode == 0, ran.stderr
        peaks.append(int(ran.stdout))
    assert peaks[1] < peaks[0] + 8 * 1024, peaks  # KiB; the file itself is 9 MiB longer
