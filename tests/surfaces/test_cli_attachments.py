"""Files on the command line: `--attach`, and `@path` in a chat."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings, strategies as st

import godwit
from godwit.core.errors import AttachmentRefused
from godwit.core.events import UserMessage
from godwit.core.messages import Document, Image, Text, UserBlock
from godwit.models.script import ScriptedModel
from godwit.surfaces.api import Api
from godwit.surfaces.cli_attaching import mentioned, named_files
from tests.files import pdf, png
from tests.surfaces.server.running import running
from tests.surfaces.terminal import MODEL, Command, Terminal, record


async def said(command: Command) -> list[tuple[UserBlock, ...]]:
    return [e.data.content for e in await command.log() if isinstance(e.data, UserMessage)]


# --- mentions ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "project"
    (made / "src").mkdir(parents=True)
    (made / "src" / "x.py").write_text("x = 1\n")
    (made / "a b.txt").write_text("blanks\n")
    (made / "shot.png").write_bytes(png(2, 2))
    (made / "v1.").write_text("a dot\n")
    (made / "data.bin").write_bytes(b"\0\1")
    (tmp_path / "secret").write_text("geheim\n")
    (made / "link").symlink_to(tmp_path / "secret")
    (made / "within").symlink_to(made / "src" / "x.py")
    return made


@pytest.mark.parametrize(
    ("line", "names"),
    [
        ("@src/x.py", ["src/x.py"]),
        ("Look at @src/x.py, and (@shot.png).", ["src/x.py", "shot.png"]),
        ("@\"a b.txt\" or @'a b.txt'?", ["a b.txt"]),
        ("Is @v1. there?", ["v1."]),
        ("@./src/../src/x.py @within", ["src/x.py"]),
        ("Ask @anna, mail me@src/x.py, @ alone, @@src/x.py", []),
        ("@src and @. and @missing.py", []),
        ("@a b.txt", []),
        ("@" + "a" * 5000 + " @\0", []),
    ],
)
def test_a_mention_is_a_file_of_the_folder(folder: Path, line: str, names: list[str]) -> None:
    found = mentioned(line, folder)
    assert [one.name for one in found.files] == names
    assert found.notes == []


@pytest.mark.parametrize("path", ["../secret", "src/../../secret", "link", "/etc/passwd", "../../../../../../etc/passwd"])
def test_what_lies_outside_stays_text_and_is_told(folder: Path, path: str) -> None:
    found = mentioned(f"Read @{path}.", folder)
    assert found.files == []
    [note] = found.notes
    assert note.startswith(f"@{path}")
    assert "outside of" in note


def test_what_cannot_be_sent_is_told_and_many_are_too_many(folder: Path) -> None:
    [note] = mentioned("@data.bin", folder).notes
    assert note.startswith("@data.bin is not sent: it is no png, jpeg, gif or webp image, no PDF and no text in UTF-8")
    for number in range(60):
        (folder / f"{number}.txt").write_text("a")
    found = mentioned(" ".join(f"@{number}.txt" for number in range(60)), folder)
    assert (len(found.files), len(found.notes)) == (50, 10)


@given(st.text(st.sampled_from("@./~\"' ax\0\\ü"), max_size=40))
@settings(max_examples=200)
def test_no_line_breaks_it_or_leads_out(line: str) -> None:
    root = Path(__file__).parent
    found = mentioned(line, root)
    assert all(one.name is not None and (root / one.name).is_file() for one in found.files)


def test_what_a_flag_names_is_read_or_refused(folder: Path) -> None:
    assert named_files([str(folder / "shot.png"), "https://example.org/a"]) == [
        Image("image/png", png(2, 2), name="shot.png"),
        godwit.Link("https://example.org/a"),
    ]
    assert named_files(None) == []
    with pytest.raises(AttachmentRefused, match="it is a folder"):
        named_files([str(folder)])


# --- the commands -----------------------------------------------------------------------------------------------------


async def test_run_and_send_take_files(command: Command, tmp_path: Path) -> None:
    (command.folder / "shot.png").write_bytes(png(2, 2))
    (command.folder / "plan").write_bytes(pdf(1))
    files = [command.folder / "shot.png", command.folder / "plan"]
    recording = await record(tmp_path / "r.jsonl", ["A dot."], "/see this", attachments=files)
    ended = await command.run("run", "/see this", "--attach", "shot.png", "--attach", "plan", "--replay", str(recording))
    assert (ended.code, "A dot." in ended.out) == (0, True), ended.err
    expected = (
        Image("image/png", png(2, 2), name="shot.png"),
        Document("application/pdf", pdf(1), name="plan"),
        Text("/see this"),
    )
    assert await said(command) == [expected]
    shown = await command.run("log", "last")
    assert "prompt: /see this (with image 'shot.png' (image/png, " in shown.out
    queued = await command.run("send", "last", "And this.", "--follow-up", "--attach", "shot.png")
    assert queued.code == 0, queued.err
    assert (await said(command))[-1] == (expected[0], Text("And this."))


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (
            ("run", "See.", "-m", MODEL, "--attach", "missing.png"),
            "error[attachment_refused]: attachment (missing.png): it can",
        ),
        (("run", "--attach", "a.txt"), "error[usage]: --attach goes with a prompt"),
        (("send", "last", "See.", "--attach", "."), "error[attachment_refused]: attachment (.): it is a folder"),
    ],
)
async def test_a_file_that_is_not_there_leaves_no_trace(command: Command, words: tuple[str, ...], told: str) -> None:
    ended = await command.run(*words)
    assert (ended.code, ended.err.startswith(told)) == (2, True), ended.err
    assert not command.database.exists()


async def test_a_file_that_is_refused_leaves_no_session(command: Command, tmp_path: Path) -> None:
    recording = str(await record(tmp_path / "r.jsonl", ["Fine."], "See."))
    address = "http://127.0.0.1:1/a.png"
    refused = await command.run("run", "See.", "--replay", recording, "--attach", address)
    assert (refused.code, "error[attachment_refused]" in refused.err) == (2, True), refused.err
    assert (await command.run("ls", "--json")).lines == []
    assert (await command.run("run", "See.", "--replay", recording)).code == 0
    again = await command.run("run", "See.", "--continue", "--replay", recording, "--attach", address)
    assert again.code == 2
    assert len((await command.run("ls", "--json")).lines) == 1, "one that was there stays"


async def test_a_chat_sends_the_files_that_are_mentioned(command: Command, tmp_path: Path) -> None:
    (command.folder / "notes.md").write_text("# Notes\n")
    line = "Read @notes.md, @../secret and ask @anna."
    (command.folder.parent / "secret").write_text("geheim")
    notes = [godwit.file(command.folder / "notes.md")]
    recording = await record(tmp_path / "c.jsonl", ["I did."], line, attachments=notes)
    async with Terminal(command, "chat", "--replay", str(recording)) as terminal:
        await terminal.shows("> ")
        terminal.type(line + "\n")
        await terminal.shows("@../secret is not sent: it lies outside of")
        await terminal.shows("with document 'notes.md' (text/plain, 8 bytes)")
        await terminal.shows("I did.")
        terminal.type("/quit\n")
        assert await terminal.code() == 0
    assert await said(command) == [(Document("text/plain", b"# Notes\n", name="notes.md"), Text(line))]


async def test_with_a_server_files_are_those_of_this_machine(command: Command, tmp_path: Path) -> None:
    model = ScriptedModel(["One.", "Two."], MODEL)
    (command.folder / "mine.txt").write_text("mine\n")
    with running(tmp_path / "g.db", models={MODEL: model}, dialects=[Api]) as server:
        at = {"GODWIT_SERVER": server.url}
        done = await command.run("run", "See.", "-m", MODEL, "--attach", "mine.txt", "--json", **at)
        assert done.code == 0, done.err
        chatted = await command.run("chat", "--continue", text="And @mine.txt?\n", **at)
        assert chatted.code == 0, chatted.err
        log = (await command.run("log", "last", "--json", **at)).lines
    contents = [
        line["data"]["content"] if "data" in line else line["content"] for line in log if line["type"] == "user.message"
    ]
    assert [[block.get("name") for block in content] for content in contents] == [["mine.txt", None], ["mine.txt", None]]
