"""`godwit import` and `godwit export`, as a person and as a script use them."""

from __future__ import annotations

import json
from pathlib import Path

from tests.host.session_files import ClaudeFile, PiFile, imp_lines, write
from tests.surfaces.terminal import Command


def _folder(root: Path) -> Path:
    pi = PiFile(cwd=str(root))
    pi.user("Look around.")
    pi.answer("Nothing here.")
    pi.entry("custom", customType="x", data=1)
    claude = ClaudeFile()
    claude.user("Hello.")
    claude.answer("Hi.", "m1")
    folder = root / "sessions"
    write(folder / "a.jsonl", pi.lines)
    write(folder / "below" / "b.jsonl", claude.lines)
    write(folder / "c.jsonl", imp_lines())
    write(folder / "other.jsonl", [{"no": "session"}])
    write(folder / "agent-x.jsonl", claude.lines)
    return folder


async def test_a_folder_of_sessions_comes_in(command: Command) -> None:
    folder = _folder(command.folder)
    done = await command.run("import", str(folder))
    assert done.code == 0, done.err
    assert "pi a.jsonl: 1 user, 1 agent\n  kept as data: 1 custom\n" in done.out
    assert "claude-code b.jsonl: 1 user, 1 agent" in done.out
    assert "1 files are no session files" in done.err
    rows = [json.loads(line) for line in (await command.run("ls", "--all", "--json")).out.splitlines()]
    assert sorted(row["first_prompt"] for row in rows) == ["Hello.", "Look around.", "What is here?"]
    assert {row["agent"]["name"] for row in rows} == {"coder"}
    pi = next(row for row in rows if row["first_prompt"] == "Look around.")
    assert pi["workspace"] == str(command.folder)
    again = [json.loads(line) for line in (await command.run("import", str(folder), "--json")).out.splitlines()]
    assert [one["new"] for one in again] == [False] * 3
    assert next(one for one in again if one["format"] == "pi")["session"] == pi["id"]


async def test_what_cannot_be_read_is_told_and_the_rest_comes(command: Command) -> None:
    folder = _folder(command.folder)
    done = await command.run("import", str(folder / "other.jsonl"), str(folder / "a.jsonl"), "--json")
    assert done.code == 1
    lines = [json.loads(line) for line in done.out.splitlines()]
    assert (lines[0]["error"]["code"], lines[1]["new"]) == ("invalid_argument", True)
    assert (await command.run("import", str(folder / "nothing.jsonl"))).code == 2
    assert "is for one session" in (await command.run("import", str(folder), "--name", "x")).err
    assert "is for a server" in (await command.run("import", str(folder), "--agent", "x")).err


async def test_a_session_goes_out_and_in_again(command: Command) -> None:
    folder = _folder(command.folder)
    assert (await command.run("import", str(folder / "a.jsonl"), "--name", "looking")).code == 0
    page = command.folder / "page.html"
    done = await command.run("export", "last", "-o", str(page))
    assert done.code == 0, done.err
    assert "secrets too" in done.err
    assert page.read_bytes().startswith(b"<!DOCTYPE html>")
    assert page.stat().st_mode & 0o777 == 0o600
    assert (await command.run("export", "last")).out.startswith("# looking\n")
    assert '"type":"session"' in (await command.run("export", "last", "--format", "pi")).out
    data = command.folder / "s.jsonl"
    assert (await command.run("export", "last", "-o", str(data))).code == 0
    elsewhere = command.folder / "other.db"
    came = await command.run("--db", str(elsewhere), "import", str(data), "--json")
    assert json.loads(came.out)["format"] == "godwit"
    assert (await command.run("--db", str(elsewhere), "export", "last")).out.splitlines()[0] == "# looking"
    assert (await command.run("export", "last", "--format", "docx")).code != 0
    refused = await command.run("export", "last", "-o", str(command.folder / "missing" / "x.md"))
    assert "cannot be written" in refused.err
    assert [one.name for one in command.folder.glob(".page*")] == []
