"""What is approved is shown: every line, every character, every argument."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from godwit.models.script import Script, call
from godwit.surfaces.cli_agent import AgentFlags
from godwit.surfaces.cli_asked import HEAD_LINES, TAIL_LINES, asked, shortened
from godwit.surfaces.cli_words import call_text, visible
from tests.surfaces.terminal import Command, Terminal, record

LONG = "\n".join([*(f"echo line {n}" for n in range(60)), "true rm -rf / # the end"])


def texts(name: str, arguments: dict[str, Any], folder: Path | None = None) -> list[str]:
    return [line.text for line in asked(name, arguments, None if folder is None else str(folder))]


def test_a_command_keeps_its_lines_and_all_else_is_json() -> None:
    shown = texts("bash", {"command": "echo a # note\nrm -rf x\n\tok", "timeout_s": 5, "more": {"a": [1]}})
    assert shown == [
        "  bash",
        "  command: (3 lines)",
        "  │ echo a # note",
        "  │ rm -rf x",
        "  │ \tok",
        "  timeout_s: 5",
        '  more: {"a": [1]}',
    ]
    deep = texts("fetch", {"headers": {f"name {n}": "x" * 20 for n in range(5)}})
    assert deep[1:3] == ["  headers:", "  │ {"]
    assert all(f'  │   "name {n}": "{"x" * 20}"' in "\n".join(deep) for n in range(5))


@pytest.mark.parametrize(
    ("hidden", "shown"),
    [
        ("a\x1b[2Kb", "a␛[2Kb"),
        ("a\rb", "a␍b"),
        ("a\x7fb\x9b", "a␡b\\u009b"),
        ("a\u202eb\u2066", "a\\u202eb\\u2066"),
        ("a\u200bb\u00a0c\u2028d", "a\\u200bb\\u00a0c\\u2028d"),
        ("a\U000e0041\u3164\ufe0f", "a\\U000e0041\\u3164\\ufe0f"),
        ("Grüße, 世界 \t\n", "Grüße, 世界 \t\n"),
    ],
)
def test_what_would_not_be_seen_is_made_visible(hidden: str, shown: str) -> None:
    assert visible(hidden) == shown
    assert shown.removesuffix("\n") in "\n".join(texts("bash", {"command": hidden}))


def test_a_write_is_shown_as_what_it_changes(tmp_path: Path) -> None:
    arguments = {"file_path": "n.py", "content": "one\nTWO\nthree\n"}
    assert texts("write", arguments, tmp_path)[2:] == ["  a new file; 3 lines:", "  │ +one", "  │ +TWO", "  │ +three"]
    (tmp_path / "n.py").write_text("one\ntwo\nthree\n")
    shown = texts("write", arguments, tmp_path)
    assert shown[2] == "  changes the file so:"
    assert shown[4:] == ["  │  one", "  │ -two", "  │ +TWO", "  │  three"]
    (tmp_path / "n.py").write_bytes(b"\xff\x00")
    assert texts("write", arguments, tmp_path)[2] == "  replaces what is there; 3 lines:"
    (tmp_path / "n.py").write_text("one\nTWO\nthree\n")
    assert texts("write", arguments, tmp_path)[2:] == ["  changes nothing: the file holds this already"]
    (tmp_path / "n.py").write_bytes(b"one\r\nTWO\r\nthree\r\n")
    assert any("␍" in line for line in texts("write", arguments, tmp_path)), "line ends are part of the change"
    assert texts("write", {"file_path": "e", "content": "", "mode": 7}, tmp_path)[1:] == [
        "  file_path: e",
        "  mode: 7",
        "  a new file; empty",
    ]


def test_an_edit_and_a_patch_are_shown_as_diffs(tmp_path: Path) -> None:
    edit = {"file_path": "n.py", "old_string": "two", "new_string": "2", "replace_all": True}
    missing = texts("edit", edit, tmp_path)
    assert missing[-4:] == ["  there is no such text file now; replaces", "  │ -two", "  by", "  │ +2"]
    (tmp_path / "n.py").write_text("two\ntwo\n")
    shown = texts("edit", edit, tmp_path)
    assert shown[2:4] == ["  replace_all: true", "  changes the file so (2 places):"]
    assert shown[5:] == ["  │ -two", "  │ -two", "  │ +2", "  │ +2"]
    twice = texts("edit", {**edit, "replace_all": False}, tmp_path)
    assert "found 2 times" in twice[3]
    assert twice[-3:] == ["  │ -two", "  by", "  │ +2"]
    patch = texts("patch", {"file_path": "n.py", "diff": "@@ -1,1 +1,1 @@\n-two\n+2\n"}, tmp_path)
    assert patch[-3:] == ["  │ @@ -1,1 +1,1 @@", "  │ -two", "  │ +2"]


def test_a_long_call_is_shortened_with_a_count() -> None:
    lines = asked("bash", {"command": LONG})
    shown, hidden = shortened(lines)
    assert hidden == len(lines) - HEAD_LINES - TAIL_LINES == 23
    assert shown[HEAD_LINES].text == "  … 23 more lines"
    assert shown[-1].text == "  │ true rm -rf / # the end"
    wide, cut = shortened(asked("bash", {"command": "x" * 5000 + "; rm -rf /"}))
    assert cut == 1
    assert "more characters" in wide[1].text
    assert wide[1].text.endswith("; rm -rf /")
    assert shortened(lines[:20]) == (lines[:20], 0)


def test_one_line_marks_what_it_leaves_out() -> None:
    assert call_text("bash", {"command": "echo a # note\nrm -rf x"}) == "bash echo a # note ⏎ rm -rf x"
    assert call_text("bash", {"command": LONG}).endswith("…")
    assert call_text("write", {"file_path": "n.py", "content": "a\nb\n"}) == "write n.py content=(2 lines)"


async def test_the_question_shows_the_whole_command(command: Command, tmp_path: Path) -> None:
    turns: Script = [call("bash", command=LONG), call("write", file_path="n.py", content="print(1)\nprint(2)\n"), "Done."]
    recording = await record(tmp_path / "long.jsonl", turns, flags=AgentFlags(allow=("bash", "write")))
    words = ("run", "Go.", "--ask", "write", "--replay", str(recording))
    async with Terminal(command, *words) as terminal:
        await terminal.shows("command: (61 lines)")
        await terminal.shows("│ echo line 1\n")
        await terminal.shows("… 23 more lines")
        await terminal.shows("│ true rm -rf / # the end")
        await terminal.shows("[s]how all")
        terminal.type("s\n")
        for n in range(60):
            await terminal.shows(f"│ echo line {n}\n")
        await terminal.shows("│ true rm -rf / # the end")
        await terminal.shows("nswer later: ")
        terminal.type("y\n")
        await terminal.shows("file_path: n.py")
        await terminal.shows("a new file; 2 lines:")
        await terminal.shows("│ +print(1)")
        await terminal.shows("│ +print(2)")
        await terminal.shows("nswer later: ")
        terminal.type("y\n")
        await terminal.shows("— done")
        assert await terminal.code() == 0


async def test_a_parked_call_is_shown_before_it_is_approved(command: Command, tmp_path: Path) -> None:
    recording = await record(tmp_path / "long.jsonl", [call("bash", command=LONG), "Done."])
    parked = await command.run("run", "Go.", "--replay", str(recording))
    assert parked.code == 4, parked.err
    assert "  │ true rm -rf / # the end\n" in parked.out
    assert "… 23 more lines" in parked.out
    assert "--list" in parked.out
    listed = await command.run("approve", "last", "--list")
    assert (listed.code, listed.err) == (0, "")
    assert all(f"  │ {line}\n" in listed.out for line in LONG.split("\n"))
    as_json = await command.run("approve", "last", "--list", "--json")
    assert [line["arguments"] for line in as_json.lines] == [{"command": LONG}]
    assert [e.type for e in await command.log()][-1] == "run.parked", "nothing was changed"
    async with Terminal(command, "resume", "last", "--replay", str(recording)) as terminal:
        await terminal.shows("│ true rm -rf / # the end")
        await terminal.shows("nswer later: ")
        terminal.type("a\n")
        assert await terminal.code() == 4
