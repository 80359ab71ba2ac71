"""Configuration files: where they are, what they may do, and that an error names file and line and nothing is used."""

from __future__ import annotations

from pathlib import Path

import pytest

import godwit
from godwit.core.errors import ConfigurationError
from godwit.core.events import ActionOpened, ToolFinished
from godwit.core.messages import Text
from godwit.engine.permissions import Layer
from godwit.host.config import Config, load, user_file
from godwit.host.config_file import MAX_FILE
from godwit.host.runtime import Runtime
from godwit.models.script import ScriptedModel, call


class Files:
    """A home with a configuration file, and a workspace with one."""

    def __init__(self, path: Path) -> None:
        self.home = path / "home"
        self.workspace = path / "work"
        self.user = self.home / ".config" / "godwit" / "config.toml"
        self.project = self.workspace / ".godwit" / "config.toml"
        for file in (self.user, self.project):
            file.parent.mkdir(parents=True)
        self.environment = {"HOME": str(self.home)}

    def load(self, user: str | None = None, project: str | None = None) -> Config:
        for file, text in ((self.user, user), (self.project, project)):
            file.unlink(missing_ok=True)
            if text is not None:
                file.write_text(text)
        return load(self.workspace, environment=self.environment)


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


def test_without_files_nothing_is_set(files: Files) -> None:
    assert files.load() == Config()
    assert load(None, environment=files.environment) == Config()
    assert load(files.workspace / "gone", environment=files.environment) == Config()


def test_where_the_persons_file_is(tmp_path: Path) -> None:
    assert user_file({"HOME": "/h"}) == "/h/.config/godwit/config.toml"
    assert user_file({"HOME": "/h", "XDG_CONFIG_HOME": "/x"}) == "/x/godwit/config.toml"
    assert user_file({"HOME": "/h", "XDG_CONFIG_HOME": "x"}) == "/h/.config/godwit/config.toml"  # relative ones are ignored
    assert user_file({"HOME": "/h", "XDG_CONFIG_HOME": "/x", "GODWIT_CONFIG": "/c.toml"}) == "/c.toml"
    assert user_file({"HOME": "/h", "GODWIT_CONFIG": ""}) is None
    named = tmp_path / "other.toml"
    with pytest.raises(ConfigurationError, match=rf"{named}:1: there is no such file, though GODWIT_CONFIG names it"):
        load(None, environment={"GODWIT_CONFIG": str(named)})
    named.write_text('[permissions]\nask = ["bash"]')
    assert load(None, environment={"GODWIT_CONFIG": str(named)}).user_permissions.ask == ("bash",)


def test_the_persons_file_may_allow(files: Files) -> None:
    found = files.load('[permissions]\nallow = ["bash(ls:*)"]\nask = ["bash"]\ndeny = ["bash(rm:*)"]\ndefault = "ask"\n')
    layers = found.standing.layers
    assert layers[0] == Layer("config", godwit.Permissions(("bash(ls:*)",), ("bash",), ("bash(rm:*)",)))
    assert (found.default, found.notices, found.user) == ("ask", (), str(files.user))


def test_a_folders_file_may_only_be_stricter(files: Files) -> None:
    found = files.load(
        '[permissions]\nallow = ["read"]\n',
        '[permissions]\nallow = [\n  "bash(ls:*)",\n  "write",\n]\nask = ["edit"]\n'
        'deny = ["bash(rm:*)"]\ndefault = "allow"\n',
    )
    assert found.project_permissions.rules == godwit.Permissions((), ("edit",), ("bash(rm:*)",))
    assert found.default is None
    shown = [str(notice) for notice in found.notices]
    assert [line.split(": ")[0] for line in shown] == [f"{files.project}:{n}" for n in (3, 4, 8)]
    assert "allow 'bash(ls:*)' is not used: this folder may only deny and ask" in shown[0]
    assert files.load(None, '[permissions]\ndefault = "deny"').default == "deny"
    assert files.load('[permissions]\ndefault = "deny"', '[permissions]\ndefault = "ask"').default == "deny"


def test_a_trusted_folders_file_counts_as_the_persons_own(files: Files) -> None:
    project = '[permissions]\nallow = ["write"]\ndefault = "allow"\n'
    for folder in (str(files.workspace), str(files.workspace / ".." / "work"), f"{files.workspace}/"):
        found = files.load(f'trusted = ["{folder}"]\n[permissions]\ndefault = "ask"', project)
        assert found.trusted
        assert (found.project_permissions.allow, found.default, found.notices) == (("write",), "allow", ())
    for folder in (str(files.workspace.parent), str(files.workspace / "sub"), str(files.home)):
        assert not files.load(f'trusted = ["{folder}"]', project).trusted
    for wrong, what in (("['work']", "'work' is not absolute"), ("'x'", "has to be a list"), ("[1]", "has to be a list")):
        with pytest.raises(ConfigurationError, match=rf"{files.user}:2: trusted .*{what}"):
            files.load(f"\ntrusted = {wrong}\n", project)
    said = files.load(None, f'trusted = ["{files.workspace}"]\n' + project)
    assert not said.trusted
    assert any("trusted is read from your own file only" in str(notice) for notice in said.notices)


def test_a_persons_file_within_the_workspace_is_not_trusted(tmp_path: Path) -> None:
    """A home that is the workspace: the agent could write the file."""
    file = tmp_path / ".config" / "godwit" / "config.toml"
    file.parent.mkdir(parents=True)
    file.write_text(f'trusted = ["{tmp_path}"]\n[permissions]\nallow = ["bash"]\ndeny = ["write"]\n')
    found = load(tmp_path, environment={"HOME": str(tmp_path)})
    assert (found.trusted, found.user_permissions.allow, found.user_permissions.deny) == (False, (), ("write",))
    assert "where an agent can write" in found.notices[0].text


def test_one_file_is_not_read_twice(files: Files) -> None:
    files.project.write_text('[permissions]\nallow = ["bash"]\ndeny = ["write"]\n')
    found = load(files.workspace, environment={"GODWIT_CONFIG": str(files.project)})
    assert (found.project, found.user_permissions.allow, found.user_permissions.deny) == (None, (), ("write",))


@pytest.mark.parametrize(
    ("text", "line", "what"),
    [
        ("[permissions]\nallow = [\n", 3, "this is no TOML"),
        ("a = = 1\n", 1, "this is no TOML"),
        ("[permissions]\nallow = ['a', 'a']\n[permissions]\n", 3, "this is no TOML"),
        ("\n[permisions]\nallow = []\n", 2, "there is no setting or section 'permisions': did you mean 'permissions'?"),
        ("x = 1\n", 1, "there is no setting or section 'x'; there are 'permissions'"),
        ("[permissions]\nask = []\n\nalow = []\n", 4, "there is no setting 'alow' in .permissions.: did you mean 'allow'?"),
        ("[permissions]\nallow = 'bash'\n", 2, "allow: expected array, got str"),
        ("[permissions]\nallow = ['a', 1]\n", 2, "allow: expected str, got int"),
        ("[permissions]\nask = []\ndefault = 'maybe'\n", 3, "default: invalid enum value 'maybe'"),
        ("permissions = 1\n", 1, "has to be a table"),
        ("[permissions]\nallow = [\n  'read',\n  'bash(rm',\n]\n", 4, "'bash.rm' cannot be read: the closing"),
        ("[permissions]\ndeny = ['read', 'bash([z-a])']\n", 2, "runs backwards"),
        ("permissions.ask = ['a b']\n", 1, "holds ' '"),
        ("permissions = { ask = [''] }\n", 1, "names no tool"),
        ('[permissions]\nask = [\n "x",\n "a\\"b",\n]\n', 4, "holds"),
        ("hooks = 1\n", 1, "hooks are written as"),
        ("[[hooks]]\npoint = 'nowhere'\ncommand = 'x'\n", 1, "nowhere"),
        ("\ntrusted = 'x'\n", 2, "has to be a list of folders"),
        ("x" * (MAX_FILE + 1), 1, "more than"),
        ("a = " + "[" * 5000, 1, "no TOML|nested"),
    ],
)  # fmt: skip
def test_an_error_names_file_and_line(files: Files, text: str, line: int, what: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"^{files.user}:{line}: .*{what}"):
        files.load(text)
    if "trusted" not in text:
        with pytest.raises(ConfigurationError, match=rf"^{files.project}:{line}: .*{what}"):
            files.load(None, text)


def test_what_cannot_be_read_says_so(files: Files) -> None:
    files.user.write_bytes(b"[permissions]\nask = ['\xff']\n")
    with pytest.raises(ConfigurationError, match=rf"{files.user}:2: it is not UTF-8"):
        load(None, environment=files.environment)
    files.user.unlink()
    files.user.mkdir()
    with pytest.raises(ConfigurationError, match=rf"{files.user}:1: it cannot be read: "):
        load(None, environment=files.environment)


def test_hooks_of_a_folder_are_not_called(files: Files) -> None:
    hooks = "[[hooks]]\npoint = 'before_tool'\ncommand = 'x'\n"
    found = files.load(hooks, "\n" + hooks)
    assert ([h.command for h in found.user_hooks], found.project_hooks) == (["x"], ())
    assert str(found.notices[0]).startswith(f"{files.project}:2: its 1 hook(s) are not called")


async def test_a_runtime_holds_to_its_config(files: Files) -> None:
    files.load('[permissions]\ndeny = ["note(*secret*)"]\n', '[permissions]\nask = ["note(*ask*)"]\n')

    def note(text: str) -> str:
        """Take a note."""
        return f"noted {text}"

    def script(text: str) -> ScriptedModel:
        return ScriptedModel([call("note", text=text), "done"], "scripted:test")

    async def result_of(text: str, config: Config | None) -> str:
        models = {"scripted:test": script(text)}
        async with await Runtime.open(":memory:", models=models, config=config) as runtime:
            agent = godwit.Agent("clerk", model="scripted:test", tools=[note])
            session = await runtime.start_session(agent, workspace=files.workspace)
            await session.prompt("go")
            async for event in session.follow():
                if isinstance(event.data, ToolFinished):
                    block = event.data.content[0]
                    assert isinstance(block, Text)
                    return block.text
                if isinstance(event.data, ActionOpened):
                    return "asked"
            raise AssertionError

    config = load(files.workspace, environment=files.environment)
    assert await result_of("x", config) == "noted x"
    assert await result_of("ask", config) == "asked"
    assert await result_of("secret", config) == "This call is not permitted: 'note(*secret*)' denies it."
    assert await result_of("secret", None) == "noted secret"


async def test_a_wrong_file_starts_no_session(files: Files) -> None:
    files.project.write_text("[permissions]\nalow = []\n")

    def here(workspace: str | None) -> Config:
        return load(workspace, environment=files.environment)

    async with await Runtime.open(
        ":memory:", models={"scripted:test": ScriptedModel([], "scripted:test")}, config=here
    ) as runtime:
        agent = godwit.Agent("clerk", model="scripted:test")
        with pytest.raises(ConfigurationError, match=rf"{files.project}:2: .*did you mean 'allow'"):
            await runtime.start_session(agent, workspace=files.workspace)
        assert await runtime.sessions() == []
        await runtime.start_session(agent)
