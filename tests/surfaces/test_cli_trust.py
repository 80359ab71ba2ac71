"""Trusting a folder on the command line: what counts before and after, what is asked and said; and `godwit skills`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from godwit.core.errors import ConfigurationError
from godwit.host import trust
from godwit.host.config import load
from tests.surfaces.terminal import Command, Ended, record

SETTINGS = '[permissions]\nallow = ["bash"]\n[[hooks]]\npoint = "before_run"\ncommand = "touch hooked"\n'


class Place:
    """A folder that brings things of its own, and a home beside it."""

    def __init__(self, command: Command, tmp_path: Path) -> None:
        self.command = command
        self.list = tmp_path / "home" / "trusted.json"
        (tmp_path / "home").mkdir()
        self.env = {"GODWIT_TRUST": str(self.list), "HOME": str(tmp_path / "home")}
        self.put(".godwit/config.toml", SETTINGS)
        self.put(".godwit/commands/hi.md", "Say hi.")
        self.put(".claude/agents/poet.md", "---\nname: poet\ndescription: Writes.\n---\nYou write.\n")
        self.put(".agents/skills/pdf/SKILL.md", "---\nname: pdf\ndescription: For PDFs.\n---\nSteps.\n")

    def put(self, path: str, text: str) -> None:
        file = self.command.folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    async def run(self, *words: str) -> Ended:
        return await self.command.run(*words, **self.env)

    @property
    def hooked(self) -> bool:
        return (self.command.folder / "hooked").exists()


@pytest.fixture
def place(command: Command, tmp_path: Path) -> Place:
    return Place(command, tmp_path)


@pytest.fixture
async def greeting(tmp_path: Path) -> Path:
    return await record(tmp_path / "greeting.jsonl", ["Hello."])


async def test_nothing_of_a_folder_counts_before_it_is_trusted_and_that_is_said(place: Place, greeting: Path) -> None:
    ran = await place.run("run", "Go.", "--replay", str(greeting))
    assert ran.code == 0, ran.err
    assert "not trusted: settings: permissions.allow; settings: hooks; commands: hi; agents: poet; skills: pdf" in ran.out
    assert not place.hooked
    wrong = await place.run("run", "/hi", "--replay", str(greeting))
    assert wrong.err.startswith("error[unknown_command]")
    named = await place.run("run", "Go.", "--agent", "poet", "--replay", str(greeting))
    assert named.code == 5
    assert "is not trusted: godwit trust lets it count" in named.err
    for verb, shown in (("commands", "/hi"), ("agents", "poet"), ("skills", "pdf")):
        listed = await place.run(verb)
        assert shown in listed.out
        assert "note: this folder is not trusted" in listed.err


async def test_trusted_once_it_counts_until_its_settings_change(place: Place, greeting: Path) -> None:
    (place.command.folder / ".claude" / "agents" / "poet.md").unlink()  # which was not there when it was recorded
    done = await place.run("trust")
    assert done.code == 0, done.err
    assert "is trusted\n  commands: hi\n  skills: pdf\n" in done.out
    ran = await place.run("run", "Go.", "--replay", str(greeting))
    assert (ran.code, "not used" in ran.out, place.hooked) == (0, False, True), ran.err
    assert "unknown_command" not in (await place.run("run", "/hi", "--replay", str(greeting))).err
    place.put(".godwit/commands/more.md", "More.")
    place.put(".godwit/config.toml", SETTINGS.replace("hooked", "other"))
    changed = await place.run("run", "Go.", "--new", "--replay", str(greeting))
    assert changed.code == 0, changed.err
    assert "which have changed since it was trusted" in changed.out
    assert "unknown_command" not in (await place.run("run", "/more", "--replay", str(greeting))).err
    assert not (place.command.folder / "other").exists()
    again = await place.run("run", "Go.", "--new", "--trust", "--replay", str(greeting))
    assert again.code == 0, again.err
    assert (place.command.folder / "other").exists()
    listed = await place.run("trust", "--list", "--json")
    assert listed.lines == [{"folder": str(place.command.folder.resolve()), "state": "trusted"}]
    await place.run("trust", "--revoke")
    assert json.loads(place.list.read_text()) == {}


async def test_skills_are_listed_and_shown_with_what_is_wrong(place: Place) -> None:
    place.put(".agents/skills/bad/SKILL.md", "---\nname: bad\ntags: [\n---\n")
    listed = await place.run("skills")
    assert listed.code == 2
    assert listed.out == "pdf  For PDFs.  (.agents/skills/pdf/SKILL.md)\n"
    assert "error: .agents/skills/bad/SKILL.md:3: " in listed.err
    shown = (await place.run("skills", "pdf", "--json")).lines[0]
    assert (shown["body"], shown["files"], shown["allowed_tools"]) == ("Steps.", [], None)
    missing = await place.run("skills", "none")
    assert (missing.code, "there are: pdf" in missing.err) == (5, True)


def test_a_list_in_the_folder_itself_is_not_heeded_and_no_folder_trusts_those_below(place: Place) -> None:
    root, below = place.command.folder, place.command.folder / "below"
    below.mkdir()
    trust.say(root, True, environment=place.env)
    assert load(root, environment={**place.env, "GODWIT_CONFIG": ""}).trusted
    assert trust.state_of(below, environment=place.env) == "unknown"
    inside = {**place.env, "GODWIT_TRUST": str(root / "trusted.json")}
    (root / "trusted.json").write_text(place.list.read_text())
    assert trust.state_of(root, environment=inside) == "unknown"
    with pytest.raises(ConfigurationError, match="cannot be trusted itself"):
        trust.say(root, True, environment=inside)
    trust.say(root, False, environment=place.env)
    assert trust.state_of(root, environment=place.env) == "refused"
    place.list.write_text("{nonsense")
    with pytest.raises(ConfigurationError, match="cannot be read"):
        trust.state_of(root, environment=place.env)
