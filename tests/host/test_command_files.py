"""Command files: found, read, reloaded; what is wrong with one, and what becomes of its text."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

import godwit
from godwit.core.events import CommandExecuted, RunStarted, UserMessage
from godwit.core.messages import Text
from godwit.engine.commands import CommandProblem, CommandRegistry
from godwit.engine.session import Session
from godwit.host.command_files import FOLDERS, CommandFiles, filled, read_file, registry_of
from godwit.host.found_files import DEPTH_LIMIT, FILE_LIMIT, FILES_LIMIT, Bad
from godwit.models.script import ScriptedModel

MODEL = "scripted:test"
OTHER = "scripted:other"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "project" / ".godwit" / "commands"
    made.mkdir(parents=True)
    return made


def write(folder: Path, name: str, text: str | bytes) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def files_of(folder: Path) -> CommandFiles:
    return CommandFiles(".godwit/commands", str(folder.parent.parent))


def problems(folder: Path, *, fatal: bool | None = True) -> list[str]:
    files = files_of(folder)
    files.commands()
    return [str(p) for p in files.problems() if fatal is None or p.fatal == fatal]


def names(files: CommandFiles) -> list[str]:
    return sorted(c.name for c in files.commands())


# --- finding --------------------------------------------------------------------------------------------------------


def test_folders_make_parts_of_names(folder: Path) -> None:
    write(folder, "review.md", "Review it.")
    write(folder, "git/commit.md", "Commit it.")
    write(folder, "git/branch/new.md", "Branch.")
    write(folder, "notes.txt", "no command")
    write(folder, ".hidden.md", "no command")
    write(folder, ".git/x.md", "no command")
    files = files_of(folder)
    assert names(files) == ["git:branch:new", "git:commit", "review"]
    found = {c.name: c for c in files.commands()}
    assert found["git:commit"].source == ".godwit/commands/git/commit.md"
    assert not found["git:commit"].safe
    assert files.problems() == ()


def test_a_folder_that_is_not_there_holds_nothing(tmp_path: Path) -> None:
    for files in (CommandFiles(".godwit/commands", str(tmp_path)), CommandFiles(".godwit/commands", None)):
        assert files.commands() == ()
        assert files.problems() == ()
    assert CommandFiles(tmp_path / "none", None).commands() == ()


def test_the_persons_own_folder_is_below_their_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    write(tmp_path / "home/.config/godwit/commands", "mine.md", "Mine.")
    write(tmp_path / "config/godwit/commands", "other.md", "Other.")
    assert names(CommandFiles(FOLDERS[-1], None)) == ["mine"]
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    assert names(CommandFiles(FOLDERS[-1], None)) == ["other"]


def test_changes_are_seen_without_a_watcher(folder: Path) -> None:
    path = write(folder, "review.md", "First.")
    registry = CommandRegistry(sources=[files_of(folder)])

    def shown() -> list[tuple[str, str]]:
        registry.refresh()
        return list(registry.list())

    assert shown() == [("review", "First.")]
    before = registry.find("review")
    assert registry.find("review") is before, "a file that has not changed is not read again"
    stamp = path.stat().st_mtime_ns + 1_000_000
    write(folder, "review.md", "Other.")  # as long as before
    os.utime(path, ns=(stamp, stamp))
    assert shown() == [("review", "Other.")]
    write(folder, "more.md", "More.")
    assert shown() == [("more", "More."), ("review", "Other.")]
    path.unlink()
    assert shown() == [("more", "More.")]
    write(folder, "more.md", "---\nx: [\n---\nMore, broken.")
    assert shown() == []
    assert registry.problems() != []
    write(folder, "more.md", "More again.")
    assert shown() == [("more", "More again.")]
    assert registry.problems() == []


def test_the_first_folder_counts_and_no_file_hides_a_builtin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    project = tmp_path / "project"
    write(project / ".godwit/commands", "review.md", "Godwit's.")
    write(project / ".claude/commands", "review.md", "Claude's.")
    write(project / ".claude/commands", "only.md", "Claude's only.")
    write(tmp_path / "home/.config/godwit/commands", "only.md", "The person's.")
    write(project / ".godwit/commands", "approve.md", "Trust me.")
    registry = registry_of(str(project))
    found = {c.name: c.description for c in registry.commands()}
    assert found["review"] == "Godwit's."
    assert found["only"] == "Claude's only."
    assert found["approve"] != "Trust me."
    told = {(p.file, p.message, p.fatal) for p in registry.problems()}
    assert told == {
        (".godwit/commands/approve.md", "/approve is a built-in command already", True),
        (".claude/commands/review.md", "/review is .godwit/commands/review.md already", False),
        ("~/.config/godwit/commands/only.md", "/only is .claude/commands/only.md already", False),
    }


# --- what is wrong with a file --------------------------------------------------------------------------------------

WRONG: list[tuple[str, str | bytes, str]] = [
    ("yaml.md", "---\ndescription: x\nmodel: [\n---\nBody.", "yaml.md:3: the front matter is not YAML"),
    ("tab.md", "---\nmodel:\n\t- a\n---\nBody.", "tab.md:3: the front matter is not YAML"),
    ("open.md", "---\ndescription: x\nBody.", "open.md:1: the front matter has no end"),
    ("list.md", "---\n- a\n---\nBody.", "list.md:2: the front matter is no list of key: value"),
    ("twice.md", "---\nmodel: a:b\nmodel: a:c\n---\nBody.", "twice.md:3: 'model' stands there twice"),
    ("deep.md", "---\nmodel: {a: b}\n---\nBody.", "deep.md:2: 'model' is a text or a list of texts"),
    ("nest.md", "---\nmodel: " + "[" * 5000 + "\n---\nBody.", "nest.md:"),
    ("empty.md", "", "empty.md:1: has no text"),
    ("blank.md", "---\ndescription: x\n---\n\n  \n", "blank.md:4: has no text"),
    ("latin.md", b"Line.\nf\xfcr alle", "latin.md:2: is not UTF-8"),
    ("nul.md", "Line.\n\n\0", "nul.md:3: holds a NUL character"),
    ("large.md", "x" * (FILE_LIMIT + 1), f"large.md: has {FILE_LIMIT + 1:,} bytes"),
    ("my review.md", "Body.", "my review.md: 'my review' cannot be a command's name"),
    ("a:b.md", "Body.", "a:b.md: the name of a command file holds no colon"),
    ("1.md", "Body.", "1.md: '1' cannot be a command's name"),
]


@pytest.mark.parametrize(("name", "content", "said"), WRONG, ids=[name for name, _, _ in WRONG])
def test_a_bad_file_says_where_it_is_wrong_and_hides_no_other(
    folder: Path, name: str, content: str | bytes, said: str
) -> None:
    write(folder, "good.md", "Good.")
    write(folder, name, content)
    assert names(files_of(folder)) == ["good"]
    (problem,) = problems(folder)
    assert problem.startswith(f".godwit/commands/{said}")


def test_two_files_of_one_name_are_told(folder: Path) -> None:
    write(folder, "u\u0308ben.md", "One.")
    write(folder, "\u00fcben.md", "Two.")
    if len(list(folder.iterdir())) == 1:
        pytest.skip("this file system takes the two names for one")
    assert names(files_of(folder)) == ["\u00fcben"]
    (problem,) = problems(folder)
    assert "is .godwit/commands/" in problem
    assert problem.endswith("already: rename one of them")


def test_links_do_not_lead_out(folder: Path, tmp_path: Path) -> None:
    secret = write(tmp_path, "secret.md", "The secret.")
    write(tmp_path / "elsewhere", "x.md", "Elsewhere.")
    inside = write(folder.parent.parent, "docs/inside.md", "Inside.")
    (folder / "out.md").symlink_to(secret)
    (folder / "up.md").symlink_to("../../../secret.md")
    (folder / "in.md").symlink_to(inside)
    (folder / "gone.md").symlink_to("nowhere.md")
    (folder / "there").symlink_to(tmp_path / "elsewhere")
    (folder / "loop.md").symlink_to("loop.md")
    assert names(files_of(folder)) == ["in"]
    told = {problem.split(":")[0].rpartition("/")[2] for problem in problems(folder)}
    assert told == {"out.md", "up.md", "gone.md", "there", "loop.md"}


def test_a_folder_that_is_a_link_out_of_the_workspace_is_not_read(tmp_path: Path) -> None:
    write(tmp_path / "elsewhere/commands", "x.md", "Elsewhere.")
    project = tmp_path / "project"
    project.mkdir()
    (project / ".godwit").symlink_to(tmp_path / "elsewhere")
    files = CommandFiles(".godwit/commands", str(project))
    assert files.commands() == ()
    assert [p.file for p in files.problems()] == [".godwit/commands"]


def test_what_is_no_regular_file_is_not_read(folder: Path) -> None:
    os.mkfifo(folder / "pipe.md")
    (folder / "really.md").mkdir()
    assert names(files_of(folder)) == []
    assert problems(folder) == [".godwit/commands/pipe.md: is no regular file"]


def test_there_are_limits_to_how_many_and_how_deep(folder: Path) -> None:
    write(folder, "/".join(["a"] * (DEPTH_LIMIT + 2)) + "/deep.md", "Deep.")
    assert names(files_of(folder)) == []
    assert problems(folder)[0].endswith("lies too deep to be looked into")
    for number in range(FILES_LIMIT + 1):
        write(folder, f"c{number:03}.md", "x")
    assert len(files_of(folder).commands()) == FILES_LIMIT
    assert any("more than 500" in p for p in problems(folder))


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_what_may_not_be_read_is_told(folder: Path) -> None:
    write(folder, "good.md", "Good.")
    write(folder, "shut/x.md", "x")
    write(folder, "mine.md", "x").chmod(0)
    (folder / "shut").chmod(0)
    try:
        assert names(files_of(folder)) == ["good"]
        assert len(problems(folder)) == 2
    finally:
        (folder / "shut").chmod(0o700)


# --- reading --------------------------------------------------------------------------------------------------------


def test_front_matter_is_read_as_people_write_it() -> None:
    """Hints of several brackets and descriptions with a colon are no YAML, and are common."""
    file = read_file(
        b"---\ndescription: Fix: the rest's easy # really\nargument-hint: [pr-number] [priority]\nmodel: scripted:other\n"
        b"---\n\nDo $1.\n"
    )
    assert (file.description, file.hint, file.model, file.body) == (
        "Fix: the rest's easy # really",
        "[pr-number] [priority]",
        "scripted:other",
        "Do $1.",
    )
    assert file.notes == ()
    one = read_file(b"---\r\nargument-hint: [message]\r\ndescription: yes\r\n---\r\nDo\r\nit.")
    assert (one.hint, one.description, one.body) == ("[message]", "yes", "Do\nit.")
    quoted = read_file(b'---\ndescription: "A: b"\nargument-hint: >\n  one\n  two\n---\nDo it.')
    assert (quoted.description, quoted.hint) == ("A: b", "one two")


def test_without_a_description_the_first_line_is_one() -> None:
    assert read_file(b"\xef\xbb\xbf\n# Review the change\n\nAll of it.").description == "Review the change"
    assert read_file(b"---\ndescription:\n---\n" + b"x" * 200).description == "x" * 79 + "…"
    assert read_file(b"---\n---\nBody.").body == "Body."


def test_what_has_no_effect_is_told_with_its_line(folder: Path) -> None:
    write(
        folder,
        "commit.md",
        "---\nallowed-tools: Bash(git add:*), Bash(git status:*)\nmodel: haiku\ncolour: red\n---\n\nStatus: !`git status`\n",
    )
    assert names(files_of(folder)) == ["commit"]
    assert problems(folder) == []
    notes = problems(folder, fatal=False)
    assert [n.split(": ")[0] for n in notes] == [f".godwit/commands/commit.md:{line}" for line in (4, 2, 3, 7)]
    assert "grants nothing" in notes[1]
    assert "haiku" in notes[2]
    assert "!`git status` is not run" in notes[3]


@given(
    content=st.binary(max_size=80)
    | st.text(alphabet="-\n :[]{}'\"&*!|>#ab\t", max_size=80).map(lambda t: f"---\n{t}\n---\nx".encode())
)
def test_any_content_is_read_or_refused(content: bytes) -> None:
    try:
        file = read_file(content)
    except Bad as bad:
        wrong = bad
    else:
        assert file.body.strip()
        assert file.description
        return
    assert wrong.message
    assert wrong.line is None or 1 <= wrong.line <= content.count(b"\n") + content.count(b"\r") + 2


# --- arguments ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "arguments", "prompt"),
    [
        ("Fix $ARGUMENTS.", "the  bug", "Fix the  bug."),
        ("Fix $1, then $2; $3.", 'one "two three"', "Fix one, then two three; ."),
        ("$1 and $1", "x", "x and x"),
        ("Fix it.", "", "Fix it."),
        ("Fix it.", "the bug", "Fix it.\n\nArguments: the bug"),
        ("Fix $ARGUMENTS.", "", "Fix ."),
        ("$1|$2", "don't stop", "don't|stop"),
        ("$1|$2", "it\\'s here", "it's|here"),
        ("\\$1, $10, \\$ARGUMENTS, $ARGUMENTSX $0 $", "x", "$1, $10, $ARGUMENTS, $ARGUMENTSX $0 $\n\nArguments: x"),
        ("$1", "$2 $1", "$2"),
        ("$ARGUMENTS", "\\1 \\g<0> $1", "\\1 \\g<0> $1"),
        ("$9", "1 2 3 4 5 6 7 8 9 10", "9"),
    ],
)  # fmt: skip
def test_arguments_are_put_in_once(body: str, arguments: str, prompt: str) -> None:
    assert filled(body, arguments) == prompt


# --- in a session ---------------------------------------------------------------------------------------------------


@pytest.fixture
async def session(folder: Path) -> AsyncIterator[Session]:
    models = {MODEL: ScriptedModel(["one", "two", "three"], MODEL), OTHER: ScriptedModel(["other"], OTHER)}
    async with await godwit.Runtime.open(":memory:", models=models, command_folders=FOLDERS[:2]) as runtime:
        yield await runtime.start_session(godwit.Agent("tester", model=MODEL), workspace=folder.parent.parent)


async def prompts(session: Session) -> list[str]:
    found = [e.data for e in await session.events() if isinstance(e.data, UserMessage)]
    return ["".join(b.text for b in m.content if isinstance(b, Text)) for m in found]


async def test_a_command_file_is_an_ordinary_prompt(folder: Path, session: Session) -> None:
    write(folder, "review.md", "---\ndescription: Review.\nargument-hint: FILE\n---\nReview $1 well.")
    assert "/review FILE" in (await session.send("/help")).text
    result = await session.send("/review a.py")
    assert (result.text, result.outcome) == ("one", "done")
    assert await prompts(session) == ["Review a.py well."]
    recorded = [e.data for e in await session.events() if isinstance(e.data, CommandExecuted)]
    assert (recorded[-1].name, recorded[-1].arguments, recorded[-1].starts) == ("review", "a.py", result.run)


async def test_its_model_holds_for_its_run(folder: Path, session: Session) -> None:
    write(folder, "ask.md", f"---\nmodel: {OTHER}\n---\nAsk.")
    assert (await session.send("/ask")).text == "other"
    assert session.model == MODEL
    write(folder, "ask.md", "---\nmodel: nobody:none\n---\nAsk.")
    wrong = await session.send("/ask")
    assert wrong.error is not None
    assert wrong.error.code == "model_not_found"
    started = [e.data for e in await session.events() if isinstance(e.data, RunStarted)]
    assert [s.model for s in started] == [OTHER]


async def test_a_file_that_could_not_be_read_is_told_to_who_types_it(folder: Path, session: Session) -> None:
    write(folder, "broken.md", "---\nmodel: [\n---\nx")
    answer = await session.send("/broken")
    assert answer.outcome == "failed"
    assert ".godwit/commands/broken.md:2: the front matter is not YAML" in answer.text
    assert "Command files that cannot be used:\n  .godwit/commands/broken.md:2" in (await session.send("/help")).text
    assert await prompts(session) == []


async def test_files_are_included_from_the_workspace(folder: Path, session: Session) -> None:
    project = folder.parent.parent
    write(project, "src/a.py", "print('a')\n")
    write(project, "b c.txt", "no end")
    write(project, "data.bin", b"\xff\xfe")
    write(project, "big.txt", "x" * (FILE_LIMIT + 1))
    write(
        folder,
        "review.md",
        'Compare @src/a.py, @src/a.py. And (@"b c.txt") with @$1; @data.bin @big.txt.\n'
        "Ask me@src/a.py, @nobody or `@src/a.py` about @src and @dataclass.",
    )
    await session.send("/review src/a.py @src/a.py")
    (prompt,) = await prompts(session)
    text, *included = prompt.split("\n\n")
    assert text.startswith("Compare @src/a.py, @src/a.py.")
    assert included == [
        "<file path=\"src/a.py\">\nprint('a')\n</file>",
        '<file path="b c.txt">\nno end\n</file>',
        '<file path="data.bin">left out: it is no text</file>',
        '<file path="big.txt">left out: 65,537 bytes are too many</file>',
    ]


@pytest.mark.parametrize("path", ["/etc/passwd", "../secret.txt", "~/.ssh/id_rsa", "link.txt", "a/../../secret.txt"])
async def test_nothing_is_included_from_outside(folder: Path, session: Session, tmp_path: Path, path: str) -> None:
    write(tmp_path, "secret.txt", "The secret.")
    (folder.parent.parent / "a").mkdir()
    (folder.parent.parent / "link.txt").symlink_to(tmp_path / "secret.txt")
    write(folder, "leak.md", f"Tell me @{path} now.")
    answer = await session.send("/leak")
    assert answer.error is not None
    assert answer.error.code == "path_escape"
    assert f"@{path} of .godwit/commands/leak.md" in answer.text
    assert await prompts(session) == []


async def test_what_the_model_may_not_read_is_not_included(folder: Path, session: Session) -> None:
    project = folder.parent.parent
    write(project, ".env", "KEY=secret")
    write(project, "asked.txt", "asked")
    write(project, "a.txt", "a")
    (project / "link.txt").symlink_to(".env")
    await session.configure(permissions=godwit.Permissions(deny=("read(.env)",), ask=("read(asked.txt)",)))
    write(folder, "leak.md", "See @.env @link.txt @asked.txt @a.txt")
    await session.send("/leak")
    (prompt,) = await prompts(session)
    assert "secret" not in prompt
    assert '<file path=".env">left out: it must not be read</file>' in prompt
    assert '<file path="link.txt">left out: it must not be read</file>' in prompt
    assert '<file path="asked.txt">left out: it is read only with an approval</file>' in prompt
    assert prompt.endswith('<file path="a.txt">\na\n</file>')


async def test_shell_in_a_file_is_not_run(folder: Path, session: Session) -> None:
    write(folder, "status.md", "Status: !`touch ran`")
    await session.send("/status2")  # unknown
    write(folder, "stand.md", "Status: !`touch ran`")
    await session.send("/stand")
    assert await prompts(session) == ["Status: !`touch ran`"]
    assert not (folder.parent.parent / "ran").exists()


def test_a_problem_reads_as_a_place_and_a_reason() -> None:
    assert str(CommandProblem("a.md", 3, "is wrong")) == "a.md:3: is wrong"
    assert str(CommandProblem("a.md", None, "is wrong")) == "a.md: is wrong"
