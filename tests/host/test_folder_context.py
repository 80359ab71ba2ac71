"""What files say to the model: AGENTS.md, skills, and when it is told."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

import godwit
from godwit.core.events import ContextLoaded, ToolFinished
from godwit.core.messages import User, text_of
from godwit.engine.folder_context import GONE
from godwit.host import config, context_files, skills
from godwit.host.folder_context import FolderFiles
from godwit.models.script import call


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    made = tmp_path / "home"
    made.mkdir()
    monkeypatch.setenv("HOME", str(made))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    return made


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "repo"
    (made / ".git").mkdir(parents=True)
    return made


def put(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def skill(path: Path, name: str, front: str = "", body: str = "Do it well.") -> Path:
    return put(path / name / "SKILL.md", f"---\nname: {name}\ndescription: For {name}.\n{front}---\n{body}\n")


class Talk:
    """A session of a scripted model, in a process of its own for all it knows."""

    def __init__(self, runtime: godwit.Runtime, session: godwit.Session, model: godwit.ScriptedModel) -> None:
        self.runtime, self.session, self.model = runtime, session, model

    def told(self, request: int = -1) -> list[str]:
        """What stands in a request as said by people."""
        return [text_of(e.message.content) for e in self.model.requests[request].entries if isinstance(e.message, User)]

    def tools(self) -> list[str]:
        return [tool.name for tool in self.model.requests[-1].tools]

    async def loaded(self) -> list[ContextLoaded]:
        return [e.data for e in await self.session.events() if isinstance(e.data, ContextLoaded)]

    async def results(self) -> list[ToolFinished]:
        return [e.data for e in await self.session.events() if isinstance(e.data, ToolFinished)]


@asynccontextmanager
async def talking(
    folder: Path,
    *answers: Any,
    trusts: bool = True,
    database: str = ":memory:",
    session: str | None = None,
    **agent: Any,
) -> AsyncIterator[Talk]:
    model = godwit.ScriptedModel(answers)
    async with await godwit.Runtime.open(
        database, models={"scripted:test": model}, folder_files=FolderFiles(), config=config.load, trusts=lambda _: trusts
    ) as runtime:
        if session is None:
            made = godwit.Agent("coder", model="scripted:test", tools=["files"], **agent)
            yield Talk(runtime, await runtime.start_session(made, workspace=folder), model)
        else:
            yield Talk(runtime, await runtime.open_session(session), model)


# --- instructions ---------------------------------------------------------------------------------------------------------


async def test_files_from_the_root_down_are_told_once_before_the_first_prompt(home: Path, folder: Path) -> None:
    put(home / ".claude" / "CLAUDE.md", "Be brief.")
    put(folder / "AGENTS.md", "Use tabs.")
    put(folder / "CLAUDE.md", "Not this one.")
    below = folder / "a" / "b"
    put(below / "CLAUDE.md", "Here use blanks.")
    async with talking(below, "one", "two") as talk:
        await talk.session.send("go")
        await talk.session.send("on")
        first, prompt = talk.told(0)
        assert prompt == "go"
        assert [first.index(text) for text in ("Be brief.", "Use tabs.", "Here use blanks.")] == sorted(
            first.index(text) for text in ("Be brief.", "Use tabs.", "Here use blanks.")
        )
        assert "Not this one." not in first
        assert talk.told(1) == [first, "go", "on"]
        [event] = await talk.loaded()
        assert event.files == ("~/.claude/CLAUDE.md", "../../AGENTS.md", "CLAUDE.md")


async def test_a_change_is_told_behind_what_was_said_and_the_request_only_grows(folder: Path, tmp_path: Path) -> None:
    put(folder / "AGENTS.md", "Use tabs.")
    database = str(tmp_path / "s.db")
    async with talking(folder, "one", "two", database=database) as talk:
        await talk.session.send("go")
        put(folder / "AGENTS.md", "Use blanks.")
        await talk.session.send("on")
        before = talk.told(1)
        assert before[:2] == talk.told(0)
        assert "takes the place" in before[2]
        assert "Use blanks." in before[2]
    async with talking(folder, "one", "two", "three", "four", database=database, session=talk.session.id) as talk:
        await talk.session.send("more")
        assert talk.told() == [*before, "more"]
        (folder / "AGENTS.md").unlink()
        await talk.session.send("last")
        assert talk.told()[-2:-1] == [GONE]
        assert len(await talk.loaded()) == 3


async def test_going_back_to_before_it_was_told_has_it_told_again(folder: Path) -> None:
    put(folder / "AGENTS.md", "Use tabs.")
    async with talking(folder, "one", "two") as talk:
        await talk.session.send("go")
        told = talk.told()
        await talk.session.rewind(1)
        await talk.session.send("anew")
        assert talk.told() == [told[0], "anew"]


async def test_it_is_told_again_once_a_summary_stands_in_its_place(folder: Path) -> None:
    put(folder / "AGENTS.md", "Use tabs.")
    model = godwit.ScriptedModel(["a summary", "one", "two"], select=lambda r: 0 if r.turn == 0 else r.turn)
    async with await godwit.Runtime.open(":memory:", models={"scripted:test": model}, folder_files=FolderFiles()) as runtime:
        agent = godwit.Agent("coder", model="scripted:test")
        talk = Talk(runtime, await runtime.start_session(agent, workspace=folder), model)
        await talk.session.send("go")
        await talk.session.compact(keep_tokens=0)
        await talk.session.send("on")
        summary, instructions, prompt = talk.told()
        assert "a summary" in summary
        assert "Use tabs." in instructions
        assert prompt == "on"


async def test_nothing_is_read_unless_the_host_says_so_and_the_files_may_turn_it_off(home: Path, folder: Path) -> None:
    put(folder / "AGENTS.md", "Use tabs.")
    skill(folder / ".godwit" / "skills", "pdf")
    model = godwit.ScriptedModel(["one"])
    async with await godwit.Runtime.open(":memory:", models={"scripted:test": model}) as runtime:
        session = await runtime.start_session(godwit.Agent("a", model="scripted:test"), workspace=folder)
        talk = Talk(runtime, session, model)
        await session.send("go")
        assert talk.told() == ["go"]
        assert talk.tools() == []
    async with talking(folder, "one", context_files=False, skills=False) as talk:
        await talk.session.send("go")
        assert talk.told() == ["go"]
        assert "skill" not in talk.tools()
    put(folder / ".godwit" / "config.toml", "[context]\nfiles = false\nskills = false\n")
    async with talking(folder, "one") as talk:
        await talk.session.send("go")
        assert talk.told() == ["go"]
        assert "skill" not in talk.tools()
    put(home / ".config" / "godwit" / "config.toml", "[context]\nskills = false\n")
    put(folder / ".godwit" / "config.toml", "[context]\nskills = true\n")
    found = config.load(folder, environment={"HOME": str(home)})
    assert found.context.skills is False
    assert [n.line for n in found.notices] == [2]


def test_imports_are_followed_within_the_repository_and_bounded(folder: Path, tmp_path: Path) -> None:
    put(tmp_path / "secret.md", "secret")
    os.symlink(tmp_path / "secret.md", folder / "link.md")
    put(folder / "docs" / "style.md", "Style. @../rules.md")
    put(folder / "rules.md", "Rules. @docs/style.md")
    put(folder / ".env", "KEY=1")
    lines = [
        "See @docs/style.md.",
        "Out: @../secret.md @link.md @/etc/passwd @~/x.md",
        "Mail ada@example.org, `@rules.md`, @nobody, @no/file",
        "```",
        "@rules.md",
        "```",
        "@.env",
    ]
    put(folder / "AGENTS.md", "\n".join(lines))
    found = context_files.load(str(folder), lambda path: not path.endswith(".env"))
    assert [f.shown for f in found.files] == ["rules.md", "docs/style.md", "AGENTS.md"]
    assert not any("secret" in f.text and f.shown != "AGENTS.md" for f in found.files)
    assert [p.partition(": ")[0] for p in found.problems] == ["AGENTS.md:2"] * 4 + ["AGENTS.md:7"]
    for n in range(9):
        put(folder / f"{n}.md", f"@{n + 1}.md")
    put(folder / "AGENTS.md", "@0.md")
    found = context_files.load(str(folder))
    assert len(found.files) == context_files.IMPORT_DEPTH + 1
    assert found.problems == ("4.md:1: @5.md is left out: imports are followed 5 deep",)


def test_files_that_are_too_large_or_no_text_are_told_and_hide_none(folder: Path) -> None:
    put(folder / "AGENTS.md", "x" * (64 * 1024 + 1))
    (folder / "a").mkdir()
    (folder / "a" / "AGENTS.md").write_bytes(b"fine\n\xff")
    put(folder / "a" / "b" / "AGENTS.md", "Fine.")
    found = context_files.load(str(folder / "a" / "b"))
    assert [f.text for f in found.files] == ["Fine."]
    assert [p.partition(" ")[0] for p in found.problems] == ["../../AGENTS.md:", "../AGENTS.md:2:"]


# --- skills ---------------------------------------------------------------------------------------------------------------


async def test_a_skill_is_listed_by_its_description_and_loaded_when_asked_for(home: Path, folder: Path) -> None:
    made = skill(folder / ".godwit" / "skills", "pdf", body="Secret steps.")
    put(made.parent / "forms.md", "Forms.")
    put(folder / "other.md", "Other.")
    skill(home / ".claude" / "skills", "own")
    skill(home / ".claude" / "skills", "quiet", "disable-model-invocation: true\n")
    script = (
        call("skill", name="pdf"),
        call("skill", name="pdf", file="forms.md"),
        call("skill", name="pdf", file="../../../other.md"),
        call("skill", name="quiet"),
        "done",
    )
    async with talking(folder, *script) as talk:
        await talk.session.send("go")
        assert "- own: For own.\n- pdf: For pdf." in talk.told()[0]
        assert "Secret steps" not in talk.told()[0]
        assert "quiet" not in talk.told()[0]
        body, forms, out, quiet = await talk.results()
        assert "Secret steps." in text_of(body.content)
        assert "forms.md" in text_of(body.content)
        assert body.metadata["skill"] == "pdf"
        assert text_of(forms.content) == "Forms."
        assert out.status == quiet.status == "error"
        assert "outside" in text_of(out.content)
        assert "own, pdf" in text_of(quiet.content)
        [event] = await talk.loaded()
        assert event.skills == ("own", "pdf")


@pytest.mark.parametrize("text", ["Read, Grep(src/**)", "[Read, 'Grep(src/**)']", "\n  - Read\n  - Grep(src/**)"])
def test_allowed_tools_are_a_text_or_a_list(folder: Path, text: str) -> None:
    skill(folder / ".godwit" / "skills", "look", f"allowed-tools: {text}\nargument-hint: [FILE]\n")
    found = skills.load(str(folder), [".godwit/skills"])
    assert found.problems == ()
    assert (found.skills["look"].limits, found.skills["look"].hint) == (("read", "grep(src/**)"), "[FILE]")


async def test_allowed_tools_limit_the_run_from_then_on_and_no_longer(folder: Path) -> None:
    path = skill(folder / ".godwit" / "skills", "look", "allowed-tools: Read, Grep(src/**)\n")
    put(folder / "a.txt", "A")
    write = call("write", file_path="b.txt", content="B")
    script = (call("skill", name="look"), write, call("read", file_path="a.txt"), "done", write, "done")
    async with talking(folder, *script) as talk:

        async def widen(_: godwit.HookCall) -> None:
            path.write_text(path.read_text().replace("Read,", "Read, Write,"))

        talk.session.register_hook(godwit.hook("after_tool", tool="skill")(widen))
        await talk.session.send("go")
        loaded, refused, read = await talk.results()
        assert loaded.metadata["allowed_tools"] == ["read", "grep(src/**)"]
        assert refused.status == "denied"
        assert "'look'" in text_of(refused.content)
        assert read.status == "ok"
        assert not (folder / "b.txt").exists()
        await talk.session.send("on")
        assert (folder / "b.txt").read_text() == "B"


async def test_allowed_tools_of_others_folders_limit_nothing_and_grant_nothing(folder: Path) -> None:
    skill(folder / ".claude" / "skills", "look", "allowed-tools: Write\n")
    script = (call("skill", name="look"), call("read", file_path="a.txt"), call("write", file_path="b", content="B"), "done")
    put(folder / "a.txt", "A")
    async with talking(folder, *script, permissions={"write": "deny"}) as talk:
        await talk.session.send("go")
        assert [r.status for r in await talk.results()] == ["ok", "ok", "denied"]
    assert [p.line for p in skills.load(str(folder)).problems] == [4]


async def test_skills_of_a_folder_that_is_not_trusted_do_not_count(home: Path, folder: Path) -> None:
    skill(folder / ".godwit" / "skills", "theirs")
    skill(home / ".agents" / "skills", "mine")
    async with talking(folder, "done", trusts=False) as talk:
        await talk.session.send("go")
        assert (await talk.loaded())[0].skills == ("mine",)
        assert {"mine"} == {c.name for c in (await talk.session.slash_commands())} & {"mine", "theirs"}


async def test_a_new_skill_counts_from_the_next_prompt_and_is_a_command_at_once(folder: Path) -> None:
    async with talking(folder, "one", "two", "three") as talk:
        await talk.session.send("go")
        assert talk.told() == ["go"]
        skill(folder / ".godwit" / "skills", "deploy", "argument-hint: PLACE\n", "Deploy to $1.")
        await talk.session.send("/deploy rome")
        assert "Deploy to rome." in talk.told()[-1]
        assert "- deploy: For deploy." in talk.told()[-2]
        assert "skill" in talk.tools()


def test_of_one_name_the_first_folder_counts_and_wrong_files_are_told_with_their_line(home: Path, folder: Path) -> None:
    ours = skill(folder / ".godwit" / "skills", "one")
    skill(folder / ".claude" / "skills", "one")
    skill(home / ".godwit" / "skills", "one")
    put(folder / ".agents" / "skills" / "none" / "SKILL.md", "No front matter.")
    put(folder / ".agents" / "skills" / "bad" / "SKILL.md", "---\nname: bad\ndescription: d\ntags: [\n---\nx\n")
    put(folder / ".agents" / "skills" / "Upper" / "SKILL.md", "---\nname: Upper\ndescription: d\n---\nx\n")
    put(folder / ".agents" / "skills" / "mute" / "SKILL.md", "---\nname: mute\n---\nx\n")
    os.symlink(home, folder / ".agents" / "skills" / "out")
    put(home / "SKILL.md", "---\ndescription: d\n---\nx\n")
    found = skills.load(str(folder))
    assert found.skills["one"].folder == str(ours.parent)
    assert list(found.skills) == ["one"]
    told = {p.file.rsplit("/", 2)[1]: p.line for p in found.problems if p.fatal}
    assert told == {"none": 1, "bad": 4, "Upper": 2, "mute": 1, "out": None}
